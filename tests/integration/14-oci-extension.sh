#!/usr/bin/env bash
# Goal: the extension: what it says of itself, and the batch question.
# Sanitize: address thread
. "$(dirname "$0")/../lib.sh"

need python3
start_daemon
python3 "${0%.sh}.py" "$URL"
