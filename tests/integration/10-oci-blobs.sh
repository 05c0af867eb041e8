#!/usr/bin/env bash
# Goal: GET, HEAD and DELETE of blobs: statuses, fields, ranges, conditions, and
# blobs that lie on disk as zstd.
# Sanitize: address thread
. "$(dirname "$0")/../lib.sh"

need python3 zstd
start_daemon
python3 "${0%.sh}.py" "$URL"
check_status 'no query is logged, of a bad target neither' 1 \
	grep -q '[?]x=' "$DAEMON_LOG"
