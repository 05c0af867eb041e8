#!/usr/bin/env bash
# Goal: /metrics is well-formed, counts exactly what was done, has few series
# whatever clients ask for, and is for admins only; stats shows the same, and its
# history outlives a restart.
# Sanitize: address thread
. "$(dirname "$0")/../lib.sh"

need python3 jq

counts=${0%.sh}.py

start_daemon
python3 "$counts" exact "$URL" "$DAEMON_PID" || not_ok 'exact counts'

# --- stats, for people ------------------------------------------------------

check 'stats: runs without a terminal' \
	bash -c '"$0" --server "$1" stats >"$2" 2>"$2.err" </dev/null' \
	"$CACHECTL" "$URL" "$WORK/stats"
shown=$(cat "$WORK/stats")
check_eq 'stats: nothing on stderr' '' "$(cat "$WORK/stats.err")"
for line in 'hit rate +[0-9.]+ %' 'hit rate by bytes +[0-9.]+ %' \
	'served +[0-9.]+ [KMG]?i?B' 'uploads spared +[0-9.]+ %' \
	'KIND, 30 DAYS' 'buildkit-cache +100.0 %' 'SCOPE, 30 DAYS' 'main +' \
	'other +' 'STORE +NOW' 'saved on disk +[0-9.]+ [KMG]?i?B, [0-9.]+ %'; do
	check_match "stats: $line" "$line" "$shown"
done
check_eq 'stats: no colour, no spaces at the ends of lines' 0 \
	"$(grep -cE $'\033|[[:space:]]$' "$WORK/stats")"
ctl --json stats >"$WORK/before"
check 'stats --json: integer bytes' jq -e '[.history.days[].kinds[][],
	(.store[] | numbers)] | all(type == "number" and . == floor)' \
	"$WORK/before"

# --- a restart --------------------------------------------------------------

status=0
stop_daemon || status=$?
check_eq 'the daemon ends' 0 "$status"
start_daemon
ctl --json stats >"$WORK/after"
for file in before after; do
	# The question itself is of the kind "other".
	jq -S '[.history.days[] | del(.age, .kinds.other)]' \
		"$WORK/$file" >"$WORK/$file.days"
	jq -S '[.history.scopes[] | del(.kinds.other)]' \
		"$WORK/$file" >"$WORK/$file.scopes"
done
check 'history: days after a restart' \
	diff "$WORK/before.days" "$WORK/after.days"
check 'history: scopes after a restart' \
	diff "$WORK/before.scopes" "$WORK/after.scopes"
check 'counters go on, and agree with the history' jq -e '.counters.hits ==
	([.history.days[].kinds | del(.upload)[].hits] | add) and
	.counters.hits > 0' "$WORK/after"
stop_daemon KILL || true
start_daemon
ctl --json stats | jq -S '[.history.scopes[] | del(.kinds.other)]' \
	>"$WORK/killed.scopes"
check 'history: what was told outlives a kill' \
	diff "$WORK/before.scopes" "$WORK/killed.scopes"
stop_daemon

# --- who may read it --------------------------------------------------------

python3 "$counts" tokens >"$WORK/tokens"
figures=127.0.0.1:$(free_port)
start_daemon --token-file "$WORK/tokens" --metrics-listen "$figures"
python3 "$counts" permission "$URL" "http://$figures" || not_ok 'permission'
stop_daemon

status=0
"$CACHEMOUNTD" --data "$DATA" --listen "127.0.0.1:0" \
	--metrics-listen nonsense >"$WORK/out" 2>&1 </dev/null || status=$?
check_eq 'metrics-listen: a bad address is a wrong use' 2 "$status"
check_match 'metrics-listen: and is named' 'metrics-listen' \
	"$(cat "$WORK/out")"
# --- what goes --------------------------------------------------------------

DATA=$WORK/second
start_daemon --max-size 8MiB --lease 1s --quota full=30MiB,unused=1GiB
python3 "$counts" removals "$URL" || not_ok 'removals'
shown=$(ctl stats)
for line in 'used +[0-9.]+ MiB, [0-9.]+ %' 'full +[0-9.]+ MiB +30.0 MiB +' 'limit +8.0 MiB, 100.0 %' \
	'idle when evicted, last' 'for the limit +[1-9]' 'by purge +3 ' \
	'a larger limit would have answered 1 request, 128[.0-9]* KiB'; do
	check_match "stats: $line" "$line" "$shown"
done
mkdir "$WORK/third"
status=0
timeout 20 "$CACHEMOUNTD" --data "$WORK/third" --listen "127.0.0.1:0" \
	--metrics-listen "$HOSTPORT" >"$WORK/out" 2>&1 </dev/null || status=$?
check_eq 'metrics-listen: a port that is taken' 5 "$status"
