#!/usr/bin/env bash
# Goal: what names a subject is listed under it, with type and annotations, by
# pages, filtered, and never answered with 404.
# Sanitize: address thread
. "$(dirname "$0")/../lib.sh"

need python3
start_daemon
python3 "${0%.sh}.py" "$URL"
