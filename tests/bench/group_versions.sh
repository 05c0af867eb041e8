# Goal: what a second version of an environment costs the store: the first is
# restored, one package is upgraded in it with pip, and it is saved again.
# shellcheck shell=bash

VERSIONS_BUMP="SQLAlchemy==2.1.9"

# store_size DIR: sets STORE_DISK (as du counts) and STORE_BYTES (as stats do).
store_size()
{
	sync -f "$FS"
	STORE_DISK=$(($(du -sk "$1" | cut -f 1) * 1024))
	STORE_BYTES=$(ours_stat .store.stored_bytes)
}

# versions_upgrade ENV: pip where there is an index; else edits of as many
# bytes as that upgrade changes.
versions_upgrade()
{
	if [[ -x $1/bin/pip ]]; then
		VERSIONS_KIND="$VERSIONS_BUMP in place of 2.1.8"
		bounded "$1/bin/pip" install -q --no-input \
			--disable-pip-version-check "$VERSIONS_BUMP"
	else
		VERSIONS_KIND="7 % of a generated tree edited"
		bounded "$TOOLS/tree" edit-files "$1" 70
	fi
}

group_versions()
{
	local data env=$FS/env disk bytes r
	# shellcheck disable=SC2034  # read by tree_make
	PIP_ARGUMENTS=(-r "$BENCH/requirements.txt")
	# shellcheck disable=SC2034
	[[ -z ${QUICK:-} ]] || PIP_ARGUMENTS=("SQLAlchemy==2.1.8")
	tree_make "$env"
	data=$(new_dir store)
	ours_start "$data"
	cachectl save --tag v1 env "$env"
	store_size "$data"
	disk=$STORE_DISK
	bytes=$STORE_BYTES
	# An environment knows its own path: the copy takes its place.
	mv "$env" "$FS/env.first"
	cachectl restore --tag v1 env "$env"
	versions_upgrade "$env"
	cachectl save --tag v2 env "$env"
	store_size "$data"
	section "Two versions of an environment ($VERSIONS_KIND)"
	r=$(calc "$STORE_BYTES / $bytes")
	row "stored bytes of both, against one" "$(human "$STORE_BYTES")" \
		"$(human "$bytes")" "$(times "$r")" "≤ 1.15×" "$r <= 1.15"
	r=$(calc "$STORE_DISK / $disk")
	row "the same as \`du\` of the data folder" "$(human "$STORE_DISK")" \
		"$(human "$disk")" "$(times "$r")" "≤ 1.15×" "$r <= 1.15"
	stop "$OURS_PID"
}
