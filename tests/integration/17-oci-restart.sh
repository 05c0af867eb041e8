#!/usr/bin/env bash
# Goal: what was answered with 2xx is there after a kill -9 and a restart: blobs,
# tags, and the bytes of a session in progress, which goes on where it was.
. "$(dirname "$0")/../lib.sh"

need python3
start_daemon
python3 "${0%.sh}.py" "$URL" before "$WORK/session"
stop_daemon KILL || true
start_daemon
python3 "${0%.sh}.py" "$URL" after "$WORK/session"
