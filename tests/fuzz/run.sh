#!/bin/sh
# Goal: run one fuzz target for a bounded time from its seeds.
#
#	run.sh TARGET SEEDS [LIBFUZZER OPTION …]
#
# FUZZ_SECONDS (10) is how long; 0 only replays the seeds. What the run finds
# on the way stays out of the sources; a crash is kept in the current folder
# as crash-…, and belongs into the seeds once it is mended.
set -eu

target=$1
seeds=$2
shift 2
seconds=${FUZZ_SECONDS:-10}
found=$(mktemp -d)
trap 'rm -rf "$found"' EXIT

if [ "$seconds" -eq 0 ]; then
	"$target" -runs=0 -rss_limit_mb=1024 "$seeds"
	exit
fi
"$target" -max_total_time="$seconds" -timeout=10 -rss_limit_mb=1024 \
	-max_len=65536 -print_final_stats=1 "$@" "$found" "$seeds"
