#!/usr/bin/env bash
# Goal: two builders that save different new files to one tag at once, 50 times
# each, lose nothing; a deletion by one arrives at the other; hard links of both
# stay together.
#
# Timeout: 300
# Sanitize: address
. "$(dirname "$0")/../lib.sh"

ROUNDS=50
start_daemon
export CACHEMOUNT_STRICT=1

# A common past, some of which goes while they work.
mkdir -p "$WORK/a/old" "$WORK/b"
for i in $(seq 100); do
	printf 'old %d' "$i" >"$WORK/a/old/$i"
done
ctl -q save shared "$WORK/a"
ctl -q restore shared "$WORK/b"

# builder NAME DIR FIRST: new files, and old ones of its own half deleted.
builder()
{
	local i
	for ((i = 1; i <= ROUNDS; i++)); do
		mkdir -p "$2/new-$((i % 7))"
		printf '%s %d' "$1" "$i" >"$2/new-$((i % 7))/$1-$i"
		rm "$2/old/$(($3 + i))"
		ctl -q save shared "$2" 2>>"$WORK/$1.err" ||
			printf 'round %d failed\n' "$i" >>"$WORK/$1.err"
	done
}
builder a "$WORK/a" 0 &
one=$!
builder b "$WORK/b" 50 &
wait "$one" "$!"
check_eq "no save of the one failed" "" "$(cat "$WORK/a.err")"
check_eq "no save of the other failed" "" "$(cat "$WORK/b.err")"

ctl -q restore shared "$WORK/c"
lost=0
for name in a b; do
	for ((i = 1; i <= ROUNDS; i++)); do
		file=$WORK/c/new-$((i % 7))/$name-$i
		[[ -f $file && $(<"$file") == "$name $i" ]] ||
			lost=$((lost + 1))
	done
done
check_eq "every new file of both is there" 0 "$lost"
check_eq "and nothing else" $((2 * ROUNDS)) \
	"$(find "$WORK/c" -path "$WORK/c/.cachectl" -prune -o -type f -print |
		wc -l)"
check_eq "what either deleted is gone" "" "$(ls "$WORK/c/old")"

# Each takes over what the other did.
ctl -q restore shared "$WORK/a"
ctl -q restore shared "$WORK/b"
check "the one is in step" diff -r -x .cachectl "$WORK/a" "$WORK/c"
check "the other is in step" diff -r -x .cachectl "$WORK/b" "$WORK/c"

# Changes of one file: the newer wins, whoever saves last.
printf older >"$WORK/a/file"
touch -d '2020-01-01' "$WORK/a/file"
printf newer >"$WORK/b/file"
touch -d '2021-01-01' "$WORK/b/file"
ctl -q save shared "$WORK/b"
ctl -q save shared "$WORK/a"
ctl -q restore shared "$WORK/c"
check_eq "the newer of two changes wins" newer "$(cat "$WORK/c/file")"

# Names given to one file by both.
mkdir "$WORK/l"
printf linked >"$WORK/l/file"
ctl -q save links "$WORK/l"
ctl -q restore links "$WORK/m"
ln "$WORK/l/file" "$WORK/l/name of l"
ln "$WORK/m/file" "$WORK/m/name of m"
ctl -q save links "$WORK/l"
ctl -q save links "$WORK/m"
ctl -q restore links "$WORK/n"
check_eq "hard links of both are one file" 3 \
	"$(stat -c %h "$WORK/n/name of l")"

# replace: the whole tree of who saves last.
ctl -q restore shared "$WORK/a"
printf lost >"$WORK/a/of a"
ctl -q save shared "$WORK/a"
printf kept >"$WORK/c/of c"
ctl -q save --merge replace shared "$WORK/c"
ctl -q restore shared "$WORK/e"
check "replace: theirs is gone" test ! -e "$WORK/e/of a"
check_eq "replace: ours is there" kept "$(cat "$WORK/e/of c")"
