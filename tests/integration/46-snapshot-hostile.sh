#!/usr/bin/env bash
# Goal: a snapshot that no honest client makes, from the real server, is refused
# with a reason; the mount keeps what it had and can be used and saved. And one
# who swaps directories for links while a restore is at work leads no file out
# of the mount.
#
# Timeout: 300
# Sanitize: address
. "$(dirname "$0")/../lib.sh"

need python3
start_daemon
python3 "${0%.sh}.py" --url "$URL" --cachectl "$CACHECTL" --work "$WORK"
