#!/usr/bin/env bash
# Goal: every way to upload a blob, and every way to do it wrong: sessions,
# chunks, one request, mounts, encoded bodies, bodies cut off.
# Sanitize: address thread
. "$(dirname "$0")/../lib.sh"

need python3
start_daemon
python3 "${0%.sh}.py" "$URL"
