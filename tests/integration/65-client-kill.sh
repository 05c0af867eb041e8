#!/usr/bin/env bash
# Goal: cachectl killed at random instants, while it restores and while it
# saves, costs only the run: the next one makes it good, and a tag names the
# tree of before or of after.
#
# Timeout: 300
# Sanitize: (address)
. "$(dirname "$0")/../lib.sh"

need python3
kills=${TORTURE_KILLS:-15}
[[ -z ${CM_TEST_ALL:-} ]] || kills=${TORTURE_KILLS:-60}

mkdir "$WORK/run"
python3 "$CM_TOP/tests/integration/torture/client_kill.py" \
	--cachectl "$CACHECTL" --work "$WORK/run" --kills "$kills" \
	${TORTURE_SEED:+--seed "$TORTURE_SEED"} -- \
	"$CACHEMOUNTD" --data '{data}' --listen '{listen}'
