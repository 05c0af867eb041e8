#!/usr/bin/env bash
# Goal: deploy/quickstart fills a pip cache mount on one builder and finds it
# warm on the second, with packages made here so that no index is needed.
# Timeout: 300
. "$(dirname "$0")/../lib.sh"

need_root
need mmdebstrap
rootfs builder >/dev/null
"$CM_TOP/deploy/quickstart" --offline >"$WORK/out"
ok "it runs"

# cell ROW BUILDER: a number or word of the table.
cell()
{
	sed -n "s/^ *$1  *//p" "$WORK/out" | sed 's/   */\t/g' | cut -f "$2"
}

check_eq "A restores nothing" 0 "$(cell 'files restored' 1)"
check "B restores files" test "$(cell 'files restored' 2)" -gt 10
check_match "A takes packages from the index" MiB "$(cell 'of them packages' 1)"
check_eq "B takes none" "0 B" "$(cell 'of them packages' 2)"
check_eq "A compiles" gcc "$(cell 'native built by' 1)"
check_eq "B does not" "the cache" "$(cell 'native built by' 2)"
check_match "both have the same" 'the same [0-9]+ packages' "$(<"$WORK/out")"
