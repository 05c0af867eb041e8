#!/usr/bin/env bash
# Goal: cachectl never fails or holds up a build because of the cache: server
# gone, hung or wrong, disk full, target unwritable, hostile snapshots. The
# reason is one line, the command runs and its status is returned.
#
# Timeout: 600
# Sanitize: address
. "$(dirname "$0")/../lib.sh"

need python3

small='' few='' read_only=''
if [[ $EUID -eq 0 ]]; then
	mkdir "$WORK/small" "$WORK/few" "$WORK/read-only"
	if mount -t tmpfs -o size=4m none "$WORK/small" 2>/dev/null; then
		on_exit umount "$WORK/small"
		small=$WORK/small
	fi
	if mount -t tmpfs -o nr_inodes=8 none "$WORK/few" 2>/dev/null; then
		on_exit umount "$WORK/few"
		few=$WORK/few
	fi
	if mount -t tmpfs -o ro,size=1m none "$WORK/read-only" 2>/dev/null; then
		on_exit umount "$WORK/read-only"
		read_only=$WORK/read-only
	fi
fi

mkdir "$WORK/runs"
python3 "$CM_TOP/tests/integration/torture/bad_luck.py" \
	--cachectl "$CACHECTL" --work "$WORK/runs" \
	--small-disk "$small" --few-inodes "$few" --read-only "$read_only"
