# Helpers for tests/integration/NN-topic.sh. Sourced first:
#
#	#!/usr/bin/env bash
#	# Goal: what the script proves, in a sentence or two.
#	. "$(dirname "$0")/../lib.sh"
#
# A script may say more in comments at its head, which tests/run reads:
#
#	# Timeout: 300            seconds until it counts as failed (120)
#	# Quick: no               run only with tests/run --all
#	# Sanitize: address thread   run again with these builds
#	# Tools: crane            built by deploy/go-tools before its time runs
#
# Each thing it proves is a line "ok NAME" or "not ok NAME" on stdout; all else
# that it prints is shown only when it fails. It exits 77 after skip. The script
# can also be run by itself, against the programs in build/.
#
# set -e holds: a command outside check that fails ends the script as failed.
# shellcheck shell=bash
set -eu -o pipefail
# shellcheck source=deploy/lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/../deploy/lib.sh"

CACHEMOUNTD=${CACHEMOUNTD:-$CM_TOP/build/server/cachemountd}
CACHECTL=${CACHECTL:-$CM_TOP/build/client/cachectl}

# The script's own scratch folder, gone when it ends.
WORK=$(mktemp -d "${TMPDIR:-/tmp}/cachemount-test.XXXXXX")

# What on_exit is to do, last first; and how many checks failed.
_cleanups=()
_failures=0

# on_exit COMMAND [ARGUMENT…]: runs it when the script ends, however it ends.
on_exit()
{
	_cleanups+=("$(printf '%q ' "$@")")
}

_finish()
{
	local status=$? i
	trap - EXIT
	set +e
	for ((i = ${#_cleanups[@]} - 1; i >= 0; i--)); do
		eval "${_cleanups[i]}"
	done
	rm -rf --one-file-system -- "$WORK"
	((status == 0 && _failures > 0)) && status=1
	exit "$status"
}
trap _finish EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# ok NAME, not_ok NAME [WHY…]: a thing proved, or not.
ok()
{
	printf 'ok %s\n' "$1"
}

not_ok()
{
	_failures=$((_failures + 1))
	printf 'not ok %s\n' "$1"
	shift
	(($# == 0)) || printf '%s\n' "$@" | sed 's/^/  # /'
}

# check NAME COMMAND…: whether the command succeeds.
check()
{
	local name=$1 out status=0
	shift
	out=$("$@" 2>&1) || status=$?
	if ((status == 0)); then
		ok "$name"
	else
		not_ok "$name" "status $status of: $*" "$out"
	fi
}

# check_status NAME WANTED COMMAND…: whether it exits with that status.
check_status()
{
	local name=$1 wanted=$2 out status=0
	shift 2
	out=$("$@" 2>&1) || status=$?
	if ((status == wanted)); then
		ok "$name"
	else
		not_ok "$name" "status $status, wanted $wanted, of: $*" "$out"
	fi
}

# check_eq NAME WANTED GOT: whether two texts are the same.
check_eq()
{
	if [[ $2 == "$3" ]]; then
		ok "$1"
	else
		not_ok "$1" "wanted: $2" "got:    $3"
	fi
}

# check_match NAME PATTERN TEXT: whether an extended regular expression matches.
check_match()
{
	if [[ $3 =~ $2 ]]; then
		ok "$1"
	else
		not_ok "$1" "wanted: $2" "got:    $3"
	fi
}

# check_same_file NAME FILE FILE: whether two files hold the same bytes.
check_same_file()
{
	check "$1" cmp -- "$2" "$3"
}

# skip REASON: ends the script; what it would prove is not proved here.
skip()
{
	printf 'skip %s\n' "$*"
	exit 77
}

# skip_one NAME REASON: the same for one thing; the script goes on.
skip_one()
{
	printf 'skip %s: %s\n' "$1" "$2"
}

# need COMMAND…: skips the script when one of them is not on this machine.
need()
{
	local name
	for name in "$@"; do
		command -v "$name" >/dev/null || skip "$name is not here"
	done
}

# need_root: skips the script for a user who is not root.
need_root()
{
	[[ $EUID -eq 0 ]] || skip "needs root"
}

# retry_until SECONDS COMMAND…: runs it ten times a second until it succeeds;
# fails when the time is over.
retry_until()
{
	local end=$((SECONDS + $1))
	shift
	until "$@"; do
		((SECONDS < end)) || return 1
		sleep 0.1
	done
}

# free_port: a TCP port of the loopback that nobody listens on now.
free_port()
{
	local port try
	for try in {1..50}; do
		port=$((20000 + (RANDOM << 15 | RANDOM) % 40000))
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || {
			printf '%s\n' "$port"
			return 0
		}
	done
	die "no free port after $try tries"
}

# alive PID: whether it runs (a zombie doesn't).
alive()
{
	local state
	state=$(sed -n 's/^State:[[:space:]]*\(.\).*/\1/p' \
		"/proc/$1/status" 2>/dev/null) && [[ -n $state && $state != Z ]]
}

# start_daemon [ARGUMENT…]: starts cachemountd on a free loopback port and waits
# until it is ready. Sets DAEMON_PID, DAEMON_LOG (its stderr and stdout), URL
# and HOSTPORT. The data folder is $DATA, $WORK/data unless set. It is stopped
# when the script ends. A port lost to another program is tried anew. DAEMON_PORT
# set: on that one, as before a restart.
start_daemon()
{
	local try
	DATA=${DATA:-$WORK/data}
	mkdir -p "$DATA"
	for try in 1 2 3; do
		HOSTPORT=127.0.0.1:${DAEMON_PORT:-$(free_port)}
		URL=http://$HOSTPORT
		DAEMON_LOG=$(mktemp "$WORK/daemon.XXXXXX.log")
		# SC2034: for the scripts to read.
		# shellcheck disable=SC2086,SC2034
		${DAEMON_WRAPPER:-} "$CACHEMOUNTD" --data "$DATA" \
			--listen "$HOSTPORT" "$@" \
			>"$DAEMON_LOG" 2>&1 </dev/null &
		DAEMON_PID=$!
		on_exit _stop_quietly "$DAEMON_PID"
		_wait_ready && return 0
		grep -qi 'address already in use' "$DAEMON_LOG" || break
	done
	cat "$DAEMON_LOG"
	say "cachemountd did not get ready (try $try)"
	return 1
}

# The daemon answers, or has died, or 20 seconds are over.
_wait_ready()
{
	local end=$((SECONDS + 20))
	while ((SECONDS < end)); do
		alive "$DAEMON_PID" || return 1
		curl -fsS -o /dev/null -m 2 "$URL/readyz" 2>/dev/null &&
			return 0
		sleep 0.05
	done
	return 1
}

# stop_daemon [SIGNAL]: ends it (TERM unless told) and waits up to 30 seconds;
# returns its exit status. Fails when it had to be killed.
stop_daemon()
{
	local pid=$DAEMON_PID
	kill -s "${1:-TERM}" "$pid" 2>/dev/null || true
	if ! retry_until 30 _gone "$pid"; then
		kill -KILL "$pid"
		say "cachemountd did not end in 30 seconds"
		wait "$pid" || true
		return 1
	fi
	wait "$pid"
}

_gone()
{
	! alive "$1"
}

_stop_quietly()
{
	alive "$1" || return 0
	kill -TERM "$1" 2>/dev/null
	retry_until 15 _gone "$1" || kill -KILL "$1"
	wait "$1" 2>/dev/null
}

# ctl ARGUMENT…: cachectl against the daemon that start_daemon started.
ctl()
{
	"$CACHECTL" --server "$URL" "$@"
}

# http STATUS [ARGUMENT…]: curl with these arguments; fails, and shows the
# answer, unless it has that status. The body is in $WORK/body, the header in
# $WORK/header.
http()
{
	local wanted=$1 got
	shift
	got=$(curl -sS -m 30 -o "$WORK/body" -D "$WORK/header" \
		-w '%{http_code}' "$@") || true
	[[ $got == "$wanted" ]] && return 0
	printf 'status %s, wanted %s, of: %s\n' "$got" "$wanted" "$*"
	head -c 400 "$WORK/body"
	return 1
}

# sha256 FILE: its digest as the protocol writes it.
sha256()
{
	printf 'sha256:%s\n' "$(sha256sum -- "$1" | cut -d ' ' -f 1)"
}

# rootfs KIND: the path of a root file system, made when it isn't there yet.
rootfs()
{
	"$CM_TOP/deploy/rootfs" "$1"
}

# in_root ARGUMENT…: deploy/in-root.
in_root()
{
	"$CM_TOP/deploy/in-root" "$@"
}
