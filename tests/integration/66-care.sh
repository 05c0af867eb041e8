#!/usr/bin/env bash
# Goal: the store heals. A blob's file that is deleted or flipped under the
# server is found by the scrub and reads as absent until it is pushed again; an
# index that is cut, overwritten or deleted is rebuilt from a backup, so that
# every tag that resolves can be restored; fsck finds and mends what disagrees.
# Each of scrub, backup, fsck and rebuild is killed in the middle, and runs into
# a full disk, and does its work when it is run again.
#
# Timeout: 300
# Sanitize: (address)
. "$(dirname "$0")/../lib.sh"

need python3

small=
if [[ $EUID -eq 0 ]]; then
	mkdir "$WORK/small"
	if mount -t tmpfs -o size=128m none "$WORK/small" 2>/dev/null; then
		on_exit umount "$WORK/small"
		small=$WORK/small
	fi
fi

mkdir "$WORK/folders"
python3 "$CM_TOP/tests/integration/torture/care.py" \
	--work "$WORK/folders" --small-disk "$small" \
	--cachemountd "$CACHEMOUNTD" --cachectl "$CACHECTL"
