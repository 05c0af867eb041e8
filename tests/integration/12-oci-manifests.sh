#!/usr/bin/env bash
# Goal: manifests by tag and digest: exact bytes, media types, refusals that name
# the field, conditional puts, deletion.
# Sanitize: address thread
. "$(dirname "$0")/../lib.sh"

need python3
start_daemon
python3 "${0%.sh}.py" "$URL"
