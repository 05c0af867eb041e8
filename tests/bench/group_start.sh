# Goal: from exec to the first answer, a blob, with 1,000 and with 1,000,000
# blobs in the index: warm, and with the index out of the page cache.
# shellcheck shell=bash

# start_blob: the path of the first blob that fill puts.
start_blob()
{
	local text="blob 0 of a large index" digest
	digest=$({
		printf '%s' "$text"
		head -c "$((64 - ${#text}))" /dev/zero
	} | sha256sum | cut -d ' ' -f 1)
	printf '/v2/bench/start/blobs/sha256:%s' "$digest"
}

# start_fill DIR BLOBS
start_fill()
{
	bounded "$TOOLS/fill" "$1" "$2"
}

# forget DIR: its files leave the page cache.
forget()
{
	local file
	sync -f "$1"
	find "$1" -maxdepth 1 -type f | while IFS= read -r file; do
		dd of="$file" oflag=nocache conv=notrunc,fdatasync count=0 \
			if=/dev/null status=none
	done
}

# start_once KEY DIR
start_once()
{
	local port out
	port=$(free_port)
	ours_command "$2" "$port"
	out=$("$TOOLS/firstanswer" "$port" "$(start_blob)" "${OURS_COMMAND[@]}" \
		2>>"$WORK/cachemountd.log") || die "no start: $out"
	sample "$1" "$(field seconds <<<"$out")"
}

# start_rows WHAT KEY
start_rows()
{
	local r
	r=$(median "$2-many")
	row "$1, $START_MANY blobs" "$(millis "$2-many")" \
		"$(millis "$2-few") with 1,000" \
		"$(awk -v a="$r" -v b="$(median "$2-few")" \
			'BEGIN { printf("%+.0f ms", 1000 * (a - b)) }')" \
		"< 1 s, + 100 ms" \
		"$r < 1 && $r - $(median "$2-few") < 0.1"
}

group_start()
{
	local few many round
	START_MANY=$(pick 50000 1000000)
	few=$(new_dir few)
	many=$(new_dir many)
	start_fill "$few" 1000
	start_fill "$many" "$START_MANY"
	for ((round = 0; round < $(pick 3 9); round++)); do
		start_once start-few "$few"
		start_once start-many "$many"
	done
	for ((round = 0; round < $(pick 2 5); round++)); do
		forget "$few"
		start_once cold-few "$few"
		forget "$many"
		start_once cold-many "$many"
	done
	section "Start to the first answer"
	start_rows "index in the page cache" start
	start_rows "index not in the page cache" cold
}
