#!/usr/bin/env bash
# Goal: a build cache that BuildKit will not import, of which it says nothing
# itself, is told in the server's log and by cachectl show; others are not.
# Sanitize: address
. "$(dirname "$0")/../lib.sh"

need python3 jq
start_daemon --log-format json
python3 "${0%.sh}.py" "$URL"

# told TAG: how many lines of the log tell of it.
told()
{
	jq -r --arg tag "caches/app:$1," 'select(.event == "cache-too-large") |
		.message | select(contains($tag))' "$DAEMON_LOG" | wc -l
}

for tag in manifest index; do
	check_eq "$tag: told in the log" 1 "$(told "$tag-large")"
	check_eq "$tag: a smaller one isn't" 0 "$(told "$tag-fits")"
	said=$(ctl show "caches/app:$tag-large" 2>&1)
	check_match "$tag: told by cachectl" 'will not import' "$said"
	check_match "$tag: and what it is" 'kind +build cache, ' "$said"
	check_eq "$tag: for programs" 'false 1048577' "$(
		ctl --json show "caches/app:$tag-large" 2>/dev/null |
			jq -r '"\(.importable) \(.config_bytes)"')"
	said=$(ctl show "caches/app:$tag-fits" 2>&1)
	check_eq "$tag: no word of a smaller one" 0 \
		"$(grep -c 'will not import' <<<"$said" || true)"
done
large='.tags[] | select(.importable | not) | .tag'
check_eq "the API lists them" 'index-large manifest-large' \
	"$(curl -sS "$URL/api/v1/tags" | jq -r "$large" | xargs)"
check_match "so does cachectl" '2 build caches.*caches/app:index-large' \
	"$(ctl ls 2>&1 >/dev/null)"
stop_daemon
start_daemon --log-format json
check_eq "also after a restart" 'index-large manifest-large' \
	"$(ctl --json ls 2>/dev/null | jq -r "$large" | xargs)"
check_match "an image" 'kind +image, ' "$(ctl show caches/app:image)"
check_status "has no files to list" 1 ctl show --files caches/app:image
