#!/usr/bin/env bash
# Goal: whatever a client says, and however slowly, the server answers it or
# closes, keeps its memory, and serves the others as before: contradictory
# framing, header tricks, odd targets, huge headers, refused bodies, one byte a
# second, ten thousand idle connections, resets.
# Timeout: 300
# Sanitize: thread (address)
. "$(dirname "$0")/../lib.sh"

need python3

# Sanitizers make a connection dearer, in time and in memory.
if [[ $CACHEMOUNTD == */build-*/* ]]; then
	export IDLE_CONNECTIONS=2000 IDLE_KIB=2000
fi

hard=$(ulimit -Hn)
[[ $hard == unlimited ]] || ((hard > 12000)) ||
	export IDLE_CONNECTIONS=$((hard / 2))
ulimit -n "$hard"

start_daemon --log-level error --max-connections 12000
python3 "${0%.sh}.py" "${HOSTPORT%:*}" "${HOSTPORT##*:}" "$DAEMON_PID" ||
	_failures=1
check "still running" alive "$DAEMON_PID"
if stop_daemon; then ok "ends cleanly"; else not_ok "ends cleanly"; fi
check_eq "no complaint of libmicrohttpd's" "" \
	"$(grep -i 'fatal\|panic' "$DAEMON_LOG" || true)"
