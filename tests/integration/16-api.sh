#!/usr/bin/env bash
# Goal: the administration API: figures, listings by pages, purge by each of its
# filters, and verify, which finds a damaged blob and takes it away.
# Sanitize: address thread
. "$(dirname "$0")/../lib.sh"

need python3
start_daemon
python3 "${0%.sh}.py" "$URL" "$DATA"
