# Goal: a store of many blobs at its limit: start, lookups, memory, how long the
# eviction holds up the writer, and what it takes from the speed of pushes.
# shellcheck shell=bash

# evict_once KEY BLOBS: adds each figure of evictbench to the samples KEY.NAME.
evict_once()
{
	local dir line
	dir=$(new_dir "$1")
	timeout "${EVICT_SECONDS:-86400}" "$TOOLS/evictbench" "$dir" "$2" \
		>"$WORK/evict.out" 2>>"$WORK/commands.log" ||
		die "evictbench failed: $(tail -n 3 "$WORK/commands.log")"
	while IFS= read -r line; do
		sample "$1.${line%%=*}" "${line#*=}"
	done <"$WORK/evict.out"
	rm -rf -- "$dir"
}

# evict_row WHAT NAME UNIT TIMES: a figure with many blobs against the same with
# few: at most so many times as much.
evict_row()
{
	local many few
	many=$(median "evict-many.$2")
	few=$(median "evict-few.$2")
	row "$1" "$many $3" "$few $3 with 10,000" \
		"$(times "$(calc "$many / $few")")" "≤ $4×" "$many <= $4 * $few"
}

group_evict()
{
	local many free limited batch own first
	many=${EVICT_BLOBS:-$(pick 20000 100000)}
	evict_once evict-few 10000
	evict_once evict-many "$many"
	section "A store of $many blobs"
	first=$(median evict-many.first_ms)
	row "opened, first answer" "$first ms" "" "" "< 1 s" "$first < 1000"
	evict_row "HEAD of a random blob, p99" stat_p99_us us 2
	evict_row "GET of a random blob, p99" read_p99_us us 2
	own=$(median evict-many.resident_own_kib)
	row "resident, less what is mapped of the index" \
		"$((${own%.*} / 1024)) MiB" "" "" "< 256 MiB" "$own < 262144"
	section "The same at its limit"
	batch=$(median evict-many.batch_ms)
	row "longest batch of the eviction" "$batch ms" "" "" "< 20 ms" \
		"$batch < 20"
	free=$(median evict-many.free_per_s)
	limited=$(median evict-many.limited_per_s)
	row "images pushed, of 10 blobs" "$limited/s" "$free/s without a limit" \
		"$(times "$(calc "$limited / $free")")" "> 0.80×" \
		"$limited > 0.8 * $free"
	row "processor time of one" "$(median evict-many.limited_cpu_us) us" \
		"$(median evict-many.free_cpu_us) us" "" "" ""
}
