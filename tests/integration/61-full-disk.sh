#!/usr/bin/env bash
# Goal: a full disk, in the middle of an upload, at its commit or in the index,
# is answered with 507 and a reason; the server runs on, serves what it has,
# takes writes again when there is space, and loses nothing that it promised.
#
# Timeout: 240
# Sanitize: address
. "$(dirname "$0")/../lib.sh"

need python3 mount umount
need_root

# full_disk NAME MOUNT-ARGUMENT…: one run on a file system of its own.
full_disk()
{
	local name=$1
	shift
	mkdir -p "$WORK/$name"
	if ! mount "$@" "$WORK/$name" 2>"$WORK/mount.err"; then
		skip_one "$name" "cannot mount: $(tr '\n' ' ' <"$WORK/mount.err")"
		return 0
	fi
	on_exit umount "$WORK/$name"
	python3 "$CM_TOP/tests/integration/torture/full_disk.py" \
		--name "$name" --disk "$WORK/$name" --log "$WORK/$name.log" -- \
		"$CACHEMOUNTD" --data '{data}' --listen '{listen}' \
		--max-size none ||
		_failures=$((_failures + 1))
}

if command -v mkfs.ext4 >/dev/null; then
	truncate -s 64M "$WORK/image"
	mkfs.ext4 -q -F -m 0 "$WORK/image"
	full_disk ext4 -o loop "$WORK/image"
else
	skip_one ext4 "mkfs.ext4 is not here"
fi
full_disk tmpfs -t tmpfs -o size=48m none
