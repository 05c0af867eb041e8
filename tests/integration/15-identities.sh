#!/usr/bin/env bash
# Goal: who may do what. A blob is seen only through a repository that the
# identity may pull from, push does not imply delete, and the administration
# API shows and removes no more than that.
# Sanitize: address thread
. "$(dirname "$0")/../lib.sh"

need python3
python3 "${0%.sh}.py" tokens >"$WORK/tokens"
start_daemon --token-file "$WORK/tokens"
python3 "${0%.sh}.py" "$URL"
