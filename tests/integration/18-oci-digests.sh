#!/usr/bin/env bash
# Goal: content pushed by its SHA-512 is found by it and told by it, in every way
# to push and over a restart; and many tags at once in one PUT.
# Sanitize: address thread
. "$(dirname "$0")/../lib.sh"

need python3
start_daemon
python3 "${0%.sh}.py" "$URL" before
stop_daemon KILL || true
start_daemon
python3 "${0%.sh}.py" "$URL" after
