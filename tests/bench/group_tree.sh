# Goal: save and restore of a real tree, an installed Python environment,
# against tar, restic and casync that restore it from their local repositories.
#
# As fair as we know: a journaled file system, a new folder for each restore,
# nothing deleted between them, dirty pages written and memory touched before
# each, and another order in each round.
# shellcheck shell=bash

# tree_make DIR: an installed environment, or, where no package index answers, a
# generated tree of the same size. Says which in TREE_KIND.
tree_make()
{
	local wanted=("${PIP_ARGUMENTS[@]}")
	python3 -m venv "$1" >&2
	if timeout 900 "$1/bin/pip" install -q --no-input \
		--disable-pip-version-check "${wanted[@]}" \
		>"$WORK/pip.log" 2>&1; then
		TREE_KIND="a Python environment"
		return 0
	fi
	say "no package index answers: generating a tree"
	rm -rf "$1"
	bounded "$TOOLS/tree" make "$1" "$(pick 3000 13000)" \
		"$(pick 80000000 340000000)"
	TREE_KIND="a generated tree"
}

# tree_figures DIR: sets TREE_FILES and TREE_BYTES.
tree_figures()
{
	local out
	out=$("$TOOLS/tree" stat "$1")
	TREE_FILES=$(field files <<<"$out")
	TREE_BYTES=$(field bytes <<<"$out")
}

# peers_fill TREE: what each peer restores from.
peers_fill()
{
	export RESTIC_PASSWORD=bench RESTIC_REPOSITORY=$FS/restic
	export RESTIC_CACHE_DIR=$FS/restic-cache
	bounded sh -c "tar -C '$1' -c . | zstd -q -3 -o '$FS/tree.tar.zst'"
	bounded restic init
	bounded restic backup "$1"
	bounded casync make --store="$FS/casync.castr" "$FS/tree.caidx" "$1"
}

# restore_NAME DIR: each peer restores into that new folder.
restore_ours()
{
	timed restore-ours "$CACHECTL" --server "$OURS_URL" --scope bench \
		--strict restore env "$1"
}

restore_tar()
{
	timed restore-tar sh -c "zstd -q -dc '$FS/tree.tar.zst' |
		tar -x -C '$1'"
}

restore_restic()
{
	timed restore-restic restic restore latest --target "$1"
}

restore_casync()
{
	timed restore-casync casync extract --store="$FS/casync.castr" \
		"$FS/tree.caidx" "$1"
}

# restore_rounds TREE: all four in turns; the first round is checked.
restore_rounds()
{
	local round i order=(ours tar restic casync) dir
	for ((round = 0; round < $(pick 2 5); round++)); do
		for ((i = 0; i < 4; i++)); do
			set -- "$1" "${order[(round + i) % 4]}"
			dir=$(new_dir "restore-$2")
			settle
			"restore_$2" "$dir"
			((round > 0)) || same_tree "$1" "$dir" "$2"
			[[ $2 != ours ]] || RESTORED=$dir
		done
	done
}

# same_tree TREE DIR NAME: dies if DIR, or TREE's own path below it, differs.
same_tree()
{
	local dir=$2
	[[ -d $2$1 ]] && dir=$2$1
	bounded diff -r --no-dereference --exclude .cachectl "$1" "$dir" ||
		die "$3 restored something else"
}

restore_rows()
{
	local peer r
	for peer in restic casync; do
		r=$(ratio "restore-$peer.wall" restore-ours.wall)
		row "restore into a new folder, against $peer" \
			"$(millis restore-ours.wall)" \
			"$(millis "restore-$peer.wall")" \
			"$(times "$r") faster" "≥ 3×" "$r >= 3"
	done
	r=$(ratio restore-ours.wall restore-tar.wall)
	row "the same, against \`zstd -dc \\| tar -x\`" \
		"$(millis restore-ours.wall)" "$(millis restore-tar.wall)" \
		"$(times "$r") the time" "≤ 0.8×" "$r <= 0.8"
}

# unchanged_rows: DIR was just restored and is in step with the store.
unchanged_rows()
{
	local dir=$1 round r
	for ((round = 0; round < $(pick 5 15); round++)); do
		timed restore-same "$CACHECTL" --server "$OURS_URL" \
			--scope bench --strict restore env "$dir"
		timed save-same "$CACHECTL" --server "$OURS_URL" \
			--scope bench --strict save env "$dir"
		timed statwalk "$TOOLS/statwalk" "$dir"
	done
	r=$(median restore-same.wall)
	row "restore onto the unchanged folder" "$(millis restore-same.wall)" \
		"" "" "< 100 ms" "$r < 0.1"
	r=$(ratio save-same.wall statwalk.wall)
	row "save of it unchanged, against a bare stat walk" \
		"$(millis save-same.wall)" "$(millis statwalk.wall)" \
		"$(times "$r") the time" "≤ 1.5×" "$r <= 1.5"
}

# first_saves TREE: each into an empty store; the last server stays.
first_saves()
{
	local round received
	for ((round = 0; round < $(pick 2 3); round++)); do
		[[ -z ${OURS_PID:-} ]] || stop "$OURS_PID"
		rm -rf "$1/.cachectl"
		ours_start "$(new_dir store)"
		settle
		received=$(ours_stat .server.received_bytes)
		timed save-first "$CACHECTL" --server "$OURS_URL" \
			--scope bench --strict save env "$1"
		received=$(($(ours_stat .server.received_bytes) - received))
		sample save-first.sent "$received"
		sample save-first.rate "$(calc "$TREE_BYTES /
			$(tail -n 1 "$WORK/samples/save-first.cpu")")"
	done
}

first_save_rows()
{
	local r
	r=$(median save-first.rate)
	row "first save, source bytes a second of client processor time" \
		"$(mega save-first.rate)" "" "" "≥ 250 MB/s" "$r >= 250e6"
	row "first save, time; sent of $(human "$TREE_BYTES")" \
		"$(millis save-first.wall)" \
		"$(human "$(median save-first.sent)")" "" "" ""
}

# edit_row WHAT EDIT TARGET TREE: a copy that is in step with the store, then
# 1 % of its bytes changed, then a save.
edit_row()
{
	local dir before sent edited first
	dir=$FS/$2
	bounded cp -a "$4" "$dir"
	rm -rf "$dir/.cachectl"
	cachectl save "env-$2" "$dir"
	edited=$("$TOOLS/tree" "$2" "$dir" 10 | field bytes)
	before=$(ours_stat .server.received_bytes)
	timed "save-$2" "$CACHECTL" --server "$OURS_URL" --scope bench \
		--strict save "env-$2" "$dir"
	sent=$(($(ours_stat .server.received_bytes) - before))
	first=$(median save-first.sent)
	row "save after $1 ($(human "$edited") changed): sent" \
		"$(human "$sent")" "$(human "$TREE_BYTES")" \
		"$(percent "$(calc "$sent / $TREE_BYTES")") of the tree" \
		"${3:+≤ $3 %}" "${3:+$sent <= $TREE_BYTES * $3 / 100}"
	row "the same, against what the first save sent" "" \
		"$(human "$first")" \
		"$(percent "$(calc "$sent / $first")") of it" "" ""
}

group_tree()
{
	local tree=$FS/env
	PIP_ARGUMENTS=(-r "$BENCH/requirements.txt")
	[[ -z ${QUICK:-} ]] || PIP_ARGUMENTS=("$(grep -i sympy \
		"$BENCH/requirements.txt")")
	tree_make "$tree"
	tree_figures "$tree"
	section "$TREE_KIND of $TREE_FILES files, $(human "$TREE_BYTES")"
	peers_fill "$tree"
	first_saves "$tree"
	restore_rounds "$tree"
	restore_rows
	unchanged_rows "$RESTORED"
	first_save_rows
	edit_row "whole files at random" edit-files 3 "$tree"
	edit_row "one run in each large file" edit-runs 3 "$tree"
	edit_row "64 KiB runs all over the large files" edit-scattered "" \
		"$tree"
	stop "$OURS_PID"
}
