#!/usr/bin/env bash
# Goal: a data folder that is read-only, in use, newer, damaged or incomplete
# costs one clear line at the start, or reads as absent what is damaged; nothing
# wrong is served, and what is pushed again is whole again.
#
# Timeout: 180
# Sanitize: address
. "$(dirname "$0")/../lib.sh"

need python3

read_only=
if [[ $EUID -eq 0 ]]; then
	mkdir "$WORK/read-only"
	if mount -t tmpfs -o ro,size=1m none "$WORK/read-only" 2>/dev/null; then
		on_exit umount "$WORK/read-only"
		read_only=$WORK/read-only
	fi
fi

mkdir "$WORK/folders"
python3 "$CM_TOP/tests/integration/torture/data_folder.py" \
	--work "$WORK/folders" --read-only "$read_only" -- \
	"$CACHEMOUNTD" --data '{data}' --listen '{listen}'
