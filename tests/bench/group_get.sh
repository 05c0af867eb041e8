# Goal: GET of a stored blob against nginx serving the same file by sendfile:
# 32 keep-alive connections of wrk, two workers each, one log line a request
# each. The bytes are random, so that the store keeps them as they are.
# shellcheck shell=bash

# get_once KEY URL: one wrk run; samples requests and bytes a second.
get_once()
{
	local out errors seconds
	out=$(timeout 120 wrk -t 2 -c 32 -d "$(pick 1 4)" --timeout 20s \
		-s "$BENCH/wrk.lua" "$2" | grep '^requests=')
	errors=$(field errors <<<"$out")
	seconds=$(field seconds <<<"$out")
	[[ $errors == 0 ]] || say "$1: $errors errors"
	sample "$1.requests" "$(calc "$(field requests <<<"$out") / $seconds")"
	sample "$1.bytes" "$(calc "$(field bytes <<<"$out") / $seconds")"
}

# get_size BYTES: pushes the blob, then the rounds.
get_size()
{
	local file=$FS/www/$1 digest round
	head -c "$1" /dev/urandom >"$file"
	chmod 644 "$file"
	digest=$(ours_put bench/get "$file")
	cmp "$file" <(curl -fsS "$OURS_URL/v2/bench/get/blobs/$digest") ||
		die "a blob came back different"
	sync -f "$FS"
	for ((round = 0; round < $(pick 2 7); round++)); do
		get_once "get-ours-$1" "$OURS_URL/v2/bench/get/blobs/$digest"
		get_once "get-nginx-$1" "http://127.0.0.1:$NGINX_PORT/$1"
	done
}

# get_row WHAT BYTES TARGET UNIT FORMAT
get_row()
{
	local r
	get_size "$2"
	r=$(ratio "get-ours-$2.$4" "get-nginx-$2.$4")
	row "$1" "$($5 "get-ours-$2.$4")" "$($5 "get-nginx-$2.$4")" \
		"$(times "$r")" "≥ $3×" "$r >= $3"
}

group_get()
{
	mkdir "$FS/www"
	ours_start "$(new_dir get)"
	nginx_start "$FS/www"
	section "GET of a blob, 32 connections, against nginx (sendfile)"
	get_row "4 KiB" 4096 1.0 requests per_second
	get_row "64 KiB" 65536 0.9 requests per_second
	get_row "64 MiB" 67108864 1.0 bytes mega
	stop "$OURS_PID"
	stop "$NGINX_PID"
}
