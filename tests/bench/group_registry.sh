# Goal: HEAD and pushes against docker-registry, the same requests from the same
# generator. Every push of ours is on disk before it is answered. docker-registry
# 2.8 syncs each file that it writes, eleven a push, but never the folder that
# holds the file's name.
# shellcheck shell=bash

# load KEY MODE PORT TARGET OPTION…: one run of pushload; samples units a second.
load()
{
	local key=$1 out
	shift
	out=$(timeout "$SLOWEST" "$TOOLS/pushload" "$@") ||
		die "pushload $*: $out"
	sample "$key" "$(calc "$(field "done" <<<"$out") /
		$(field seconds <<<"$out")")"
}

# push_rounds KEY SIZE CLIENTS BLOBS: both in turns, new blobs in each round,
# and ours in the one-request form as well.
push_rounds()
{
	local round options
	for ((round = 1; round <= $(pick 2 5); round++)); do
		options=(-c "$3" -t 2 -n "$4" -s "$2" -d "$(pick 3 10)")
		settle
		load "$1-ours" push "$OURS_PORT" bench/push "${options[@]}" \
			-S "$round$2"
		settle
		load "$1-registry" push "$REGISTRY_PORT" bench/push \
			"${options[@]}" -S "$round$2"
		settle
		load "$1-post" post "$OURS_PORT" bench/push "${options[@]}" \
			-S "9$round$2"
	done
}

# push_row WHAT KEY UNIT TARGET: rates are in blobs a second; UNIT "MB" shows
# them in bytes of 64 MiB blobs.
push_row()
{
	local r show=per_second key
	if [[ $3 == MB ]]; then
		show=mega
		for key in ours registry post; do
			awk '{ print $1 * 67108864 }' "$WORK/samples/$2-$key" \
				>"$WORK/samples/$2-$key.bytes"
		done
		set -- "$1" "$2" .bytes "$4"
	else
		set -- "$1" "$2" "" "$4"
	fi
	r=$(ratio "$2-ours$3" "$2-registry$3")
	row "$1" "$($show "$2-ours$3")" "$($show "$2-registry$3")" \
		"$(times "$r")" "${4:+≥ $4×}" "${4:+$r >= $4}"
	r=$(ratio "$2-post$3" "$2-registry$3")
	row "$1, ours as one POST" "$($show "$2-post$3")" \
		"$($show "$2-registry$3")" "$(times "$r")" "" ""
}

head_row()
{
	local file=$FS/head-blob ours theirs round r
	head -c 65536 /dev/urandom >"$file"
	ours=/v2/bench/head/blobs/$(ours_put bench/head "$file")
	theirs=/v2/bench/head/blobs/$(registry_put bench/head "$file")
	for ((round = 0; round < $(pick 2 5); round++)); do
		load "head-ours" head "$OURS_PORT" "$ours" \
			-c "$1" -t 2 -d "$(pick 1 4)"
		load "head-registry" head "$REGISTRY_PORT" "$theirs" \
			-c "$1" -t 2 -d "$(pick 1 4)"
	done
	r=$(ratio head-ours head-registry)
	row "HEAD blob, $1 connections" "$(per_second head-ours)" \
		"$(per_second head-registry)" "$(times "$r")" "≥ 40×" "$r >= 40"
}

group_registry()
{
	ours_start "$(new_dir registry-ours)"
	registry_start "$(new_dir registry-peer)"
	section "Against docker-registry"
	head_row 32
	push_rounds large 67108864 1 "$(pick 3 8)"
	push_row "64 MiB push, 1 connection" large MB 3
	push_rounds large4 67108864 4 "$(pick 4 12)"
	push_row "64 MiB push, 4 connections" large4 MB ""
	push_rounds small 1024 32 "$(pick 5000 100000)"
	push_row "1 KiB push, 32 connections, durable" small "" 20
	stop "$OURS_PID"
	stop "$REGISTRY_PID"
}
