#!/usr/bin/env bash
# Goal: a client that tries TLS on the plain port reads "HTTP/1.1 400", every
# time and at once, so that it falls back to HTTP; and neither many such clients
# nor silent ones are noticed by the others.
# Sanitize: thread (address)
. "$(dirname "$0")/../lib.sh"

need python3 curl
# Sanitizers make a connection dearer.
[[ $CACHEMOUNTD != */build-*/* ]] || export HELLOS=1000
start_daemon --log-level error
python3 "${0%.sh}.py" "${HOSTPORT%:*}" "${HOSTPORT##*:}" all || _failures=1
check_status "curl is told that it is no TLS" 35 \
	curl -sS -k -m 10 "https://$HOSTPORT/v2/"
check "still running" alive "$DAEMON_PID"
if stop_daemon; then ok "ends cleanly"; else not_ok "ends cleanly"; fi

# Without room the next ones wait, and are served as it comes.
start_daemon --log-level error --max-connections 16
python3 "${0%.sh}.py" "${HOSTPORT%:*}" "${HOSTPORT##*:}" full || _failures=1
