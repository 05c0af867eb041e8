#!/usr/bin/env bash
# Goal: an acknowledged write survives kill -9 at any instant, and a loss of
# power (design, invariants 1 to 3). Six clients write, move tags, delete, mount
# and purge; the server is killed again and again at random instants; after each
# restart every client reads back all that it was promised, bit for bit.
#
# TORTURE_SEED repeats a run's choices (the kernel's scheduling stays its own);
# TORTURE_KILLS is how many times: 25, or 120 with tests/run --all.
#
# Timeout: 600
# Sanitize: address
. "$(dirname "$0")/../lib.sh"

need python3
kills=${TORTURE_KILLS:-25}
[[ -z ${CM_TEST_ALL:-} ]] || kills=${TORTURE_KILLS:-120}

# crash NAME KILLS [OPTION…]: one run, with a folder of its own.
crash()
{
	local name=$1 count=$2
	shift 2
	mkdir -p "$WORK/$name"
	python3 "$CM_TOP/tests/integration/torture/crash.py" --name "$name" \
		--kills "$count" ${TORTURE_SEED:+--seed "$TORTURE_SEED"} \
		--data "$WORK/$name" "$@" -- \
		"$CACHEMOUNTD" --data '{data}' --listen '{listen}' \
		--max-size none ||
		_failures=$((_failures + 1))
}

unmount_quietly()
{
	umount "$1" 2>/dev/null || :
}

crash kill "$kills"
if [[ $EUID -eq 0 ]] && command -v mkfs.ext4 >/dev/null &&
	losetup -f >/dev/null 2>&1; then
	on_exit unmount_quietly "$WORK/power/mount"
	crash power $((kills / 3)) --power 192
else
	skip_one power "needs root, mkfs.ext4 and loop devices"
fi
