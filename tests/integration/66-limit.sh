#!/usr/bin/env bash
# Goal: a store at its limit. Pushes go on beyond it while others read: a reader
# finds all of an image, or a clean miss; the limit holds on disk; what is
# counted is what is there. A kill in the middle of it all leaves the same. One
# scope's quota is its own. With nothing left to evict, 507 says why.
#
# Timeout: 240
# Sanitize: (address thread)
. "$(dirname "$0")/../lib.sh"

need python3
python3 "${0%.sh}.py" "$WORK" "$CACHEMOUNTD"
