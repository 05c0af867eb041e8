#!/usr/bin/env bash
# Goal: the list of tags and its pages, and what names and paths are refused.
# Sanitize: address thread
. "$(dirname "$0")/../lib.sh"

need python3
start_daemon
python3 "${0%.sh}.py" "$URL"
