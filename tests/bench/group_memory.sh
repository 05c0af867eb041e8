# Goal: the server's memory with 64 uploads and 64 downloads of 1 GiB in flight
# at once. All of them move 64 MiB (no disk would take 64 GiB) and are cut off
# together; the kernel's own record of the peak (VmHWM) is what counts.
# shellcheck shell=bash

# resident PID FIELD: of /proc/PID/status, in bytes.
resident()
{
	awk -v field="$2:" '$1 == field { print $2 * 1024 }' "/proc/$1/status"
}

# memory_row WHAT DIGEST: a server with a fresh peak.
memory_row()
{
	local out peak
	ours_start "$MEMORY_DATA"
	out=$(timeout "$SLOWEST" "$TOOLS/hold" "$OURS_PORT" bench/memory "$2" \
		-u 64 -g 64 -s "$MEMORY_SIZE" -m "$MEMORY_MOVE") ||
		say "not all were in flight: $out"
	peak=$(resident "$OURS_PID" VmHWM)
	row "$1: resident at most" "$(human "$peak")" "" \
		"$(field uploads <<<"$out") + $(field downloads <<<"$out") in flight" \
		"< 128 MiB" "$peak < 134217728"
	stop "$OURS_PID"
}

group_memory()
{
	local random=$FS/random text=$FS/text random_digest text_digest
	MEMORY_SIZE=$(pick 134217728 1073741824)
	MEMORY_MOVE=$(pick 8388608 67108864)
	MEMORY_DATA=$(new_dir store)
	head -c "$MEMORY_SIZE" /dev/urandom >"$random"
	{ seq -w 1 200000000 || true; } 2>/dev/null |
		head -c "$MEMORY_SIZE" >"$text"
	ours_start "$MEMORY_DATA"
	random_digest=$(ours_put bench/memory "$random")
	text_digest=$(ours_put bench/memory "$text")
	stop "$OURS_PID"
	section "64 uploads and 64 downloads of $(human "$MEMORY_SIZE") in flight"
	memory_row "a blob stored as it is" "$random_digest"
	memory_row "a blob stored as zstd, decoded on the way" "$text_digest"
}
