#!/usr/bin/env bash
# Goal: clients that meet do each other no harm: one digest uploaded by many,
# deletes and purges against uploads and tags, ten thousand idle connections,
# and clients that send or read one byte a second.
#
# Timeout: 300
# Sanitize: (address thread)
. "$(dirname "$0")/../lib.sh"

need python3

# The crowd's sockets, on both ends.
idle=10000
limit=$(ulimit -Hn)
if [[ $limit != unlimited ]] && ((limit < idle + 500)); then
	idle=$((limit - 500))
	printf '# only %s descriptors: a crowd of %s\n' "$limit" "$idle"
fi
ulimit -Sn "$((idle + 500))"

mkdir "$WORK/data"
python3 "$CM_TOP/tests/integration/torture/together.py" --idle "$idle" \
	--data "$WORK/data" --log "$WORK/log" -- \
	"$CACHEMOUNTD" --data '{data}' --listen '{listen}' \
	--max-connections 12000
