#!/usr/bin/env bash
# Goal: every verb of cachectl against the real daemon: what it does, what it
# prints for people and as JSON, and its exit codes.
# Sanitize: address
# Timeout: 180
. "$(dirname "$0")/../lib.sh"

need jq curl

# Nothing of this machine's own settings.
mkdir "$WORK/home"
export HOME=$WORK/home
while read -r name; do unset "$name"; done < <(compgen -e CACHEMOUNT_)
unset XDG_CONFIG_HOME NO_COLOR

start_daemon

# told COMMAND…: runs it; its status in $status, stdout in $out, stderr in $err.
told()
{
	status=0
	"$@" >"$WORK/out" 2>"$WORK/err" </dev/null || status=$?
	out=$(cat "$WORK/out") err=$(cat "$WORK/err")
}

# json NAME FILTER: whether the jq filter holds for $out.
json()
{
	check "$1" jq -e "$2" "$WORK/out"
}

# fill DIR NAME…: a directory with these files.
fill()
{
	local dir=$1 name
	shift
	mkdir -p "$dir"
	for name in "$@"; do
		mkdir -p "$(dirname "$dir/$name")"
		printf 'content of %s\n' "$name" >"$dir/$name"
	done
}

# same NAME DIR DIR: whether they hold the same, but for cachectl's own folder.
same()
{
	check "$1" diff -r -x .cachectl "$2" "$3"
}

told ctl config show --json
platform=$(jq -r .platform "$WORK/out")

# --- run, restore, save ---------------------------------------------------

A=$WORK/a B=$WORK/b
told ctl run -m "pip=$A" -- sh -c "mkdir -p '$A/deep' && echo 1 >'$A/one' &&
	echo 2 >'$A/deep/two' && ln -s one '$A/link'"
check_eq 'run: the first run exits with 0' 0 "$status"
check_match 'run: a miss is told, and what is saved' \
	"nothing saved yet as main/pip:$platform.*saved 2 files" "$err"
check_eq 'run: nothing on stdout but the command'\''s' '' "$out"

told ctl run -m "pip=$B" -- cat "$B/deep/two"
check_eq 'run: a second builder finds the files' 2 "$out"
same 'run: both mounts hold the same' "$A" "$B"
check_match 'run: what is restored is told' 'restored 2 files' "$err"
check_match 'run: an unchanged mount is not saved' 'nothing to save' "$err"

told ctl -q run -m "pip=$B" -- true
check_eq 'run -q: says nothing' '' "$err"

told ctl restore --tag "$platform" pip "$WORK/c"
same 'restore: the same files' "$A" "$WORK/c"
check_eq 'restore: exits with 0' 0 "$status"
fill "$WORK/c" three
told ctl save pip "$WORK/c" --json
json 'save: options behind the operands, JSON' \
	'.saved.published and .saved.files == 3 and .id == "pip"'
told ctl --json restore pip "$B"
json 'restore: JSON' '.restored.hit and .restored.written_files == 1'
same 'restore: only what is new' "$WORK/c" "$B"
told ctl restore nothing "$WORK/nothing"
check_eq 'restore: a miss is no error' 0 "$status"

told ctl save pip "$WORK/absent"
check_eq 'save: no such directory is not the build'\''s failure' 0 "$status"
check_match 'save: but it is told' 'pip: not saved' "$err"
told ctl --strict save pip "$WORK/absent"
check_match 'save --strict: then it fails' '^1[0-9]?$' "$status"

told ctl restore pip "$WORK/empty"
rm -r "${WORK:?}/empty"/*
told ctl save pip "$WORK/empty"
check_match 'save: an empty mount replaces nothing' 'pip: not saved: ' "$err"

fill "$WORK/v1" x y
fill "$WORK/v2" z
told ctl run -m "venv=$WORK/v1,merge=replace,tag=t" -- true
told ctl restore --merge replace --tag t venv "$WORK/v2"
same 'restore --merge replace: other files go' "$WORK/v1" "$WORK/v2"

fill "$WORK/v3" secret
chmod 4755 "$WORK/v3/secret"
told ctl save suid "$WORK/v3"
told ctl restore suid "$WORK/v4"
check_eq 'restore: no setuid bit' 755 "$(stat -c %a "$WORK/v4/secret")"
told ctl restore --allow-setuid suid "$WORK/v5"
check_eq 'restore --allow-setuid: with it' 4755 \
	"$(stat -c %a "$WORK/v5/secret")"

# --- several mounts, the summary, failures ----------------------------------

fill "$WORK/m1" one
fill "$WORK/m2" two two2
told ctl --json run -m "/root/.cache/x=$WORK/m1" -m "uv=$WORK/m2,tag=v1" \
	--summary "$WORK/summary" -- echo hello
check_eq 'run --json: stdout is the command'\''s' hello "$out"
cp "$WORK/summary" "$WORK/out"
json 'run --summary: the file' '.version == 1 and .exit_status == 0 and
	(.mounts | length) == 2 and .uploaded_bytes > 0 and
	([.mounts[].saved.published] | all) and
	.mounts[1].tag == "v1" and .command_ms >= 0 and .ms >= .command_ms'
tail -n 1 "$WORK/err" >"$WORK/out"
json 'run --json: the same on stderr' '.version == 1 and .exit_status == 0'
told ctl run -m "uv=$WORK/m3" --summary /nonexistent/x -- true
check_eq 'run --summary: one that cannot be written fails nothing' 0 "$status"
check_match 'run --summary: but is told' 'cannot write /nonexistent/x' "$err"

told ctl run -m "fail=$WORK/f1" -- sh -c "echo x >'$WORK/f1/x'; exit 9"
check_eq 'run: the status of a failed command' 9 "$status"
told ctl show "main/fail:$platform"
check_eq 'run: a failed command saves nothing' 10 "$status"
told ctl run --save-on-failure -m "fail=$WORK/f1" -- false
check_eq 'run --save-on-failure: the status stays' 1 "$status"
told ctl show "main/fail:$platform"
check_eq 'run --save-on-failure: it is saved' 0 "$status"
told ctl run --no-save -m "nosave=$WORK/f2" -- touch "$WORK/f2/x"
told ctl show "main/nosave:$platform"
check_eq 'run --no-save: nothing is saved' 10 "$status"

told ctl run -m "one=$A" -m "two=$A" -- touch "$WORK/ran"
check_match 'run: two mounts at one path are refused' '^2 .*two mounts at' \
	"$status $err"

odd=$'odd \xff\n id'
told ctl run -m "$odd=$WORK/odd" --summary "$WORK/summary" -- \
	touch "$WORK/odd/x"
cp "$WORK/summary" "$WORK/out"
json 'run: an id that is no text has its place in the JSON' \
	'.mounts[0].id == "odd ?\n id" and .mounts[0].saved.published'
check_eq 'run: its messages stay on their lines' 2 "$(wc -l <"$WORK/err")"

# --- scopes -----------------------------------------------------------------

told ctl --scope pr-12 --fallback nobody,main run -m "pip=$WORK/p" -- \
	touch "$WORK/p/of-the-branch"
check_match '--fallback: read from the base' "from main/pip:$platform" "$err"
told ctl --json ls pr-12
json '--scope: written to the own one only' \
	'(.tags | length) == 1 and .tags[0].repository == "pr-12/pip"'
told ctl restore pip "$WORK/p2"
check '--scope: the base stays as it was' test ! -e "$WORK/p2/of-the-branch"

# --- ls, du, show, stats, verify ----------------------------------------------

told ctl ls
check_match 'ls: a heading and a line' \
	"REFERENCE +SIZE +SAVED +PULLED +PINNED +WRITER.main/.*main/pip:$platform " \
	"$(tr '\n' . <"$WORK/out")"
told ctl --json ls main/pip
json 'ls --json: integers and times' '.version == 1 and
	(.tags | length) == 1 and (.tags[0].size | type) == "number" and
	(.tags[0].updated | fromdate) > 1600000000'
told ctl ls nowhere
check_eq 'ls: nothing is no error' "0  cachectl: nothing is saved below nowhere" \
	"$status $out $err"
told ctl ls one two
check_eq 'ls: two prefixes are a wrong use' 2 "$status"
told ctl du
check_match 'du: a sum' 'in these; the whole store holds' "$out"
told ctl --json du main/pip
json 'du --json' '.version == 1 and .repositories[0].repository == "main/pip"
	and .repositories[0].tags == 1 and .bytes > 0 and
	.store_stored_bytes > 0'
told ctl stats
check_match 'stats: for people' 'hit rate.*on disk' "$(tr '\n' ' ' <"$WORK/out")"
told ctl --json stats
json 'stats --json' '.store.tags > 3 and .server.uptime_ms >= 0'
told ctl show "main/pip:$platform"
check_match 'show: in numbers' 'in 3 files, 1 folder, 1 links' "$out"
told ctl --json show "main/pip:$platform"
json 'show --json' '.version == 1 and .files == 3 and .folders == 1'
digest=$(jq -r .manifest "$WORK/out")
told ctl show -f "main/pip@$digest"
check_match 'show -f: by digest, with links' 'link -> one' "$out"
told ctl --json show --files "main/pip:$platform"
check 'show --files --json: lines of JSON' jq -es 'length >= 6' "$WORK/out"
told ctl show main/pip
check_eq 'show: no reference is a wrong use' 2 "$status"
told ctl --json show main/pip:nothing
check_eq 'show: exits with 10 where nothing is' 10 "$status"
check_eq 'show --json: and says so as JSON' not-found \
	"$(jq -r .error "$WORK/err")"
told ctl verify --all
check_match 'verify: all is well' '[0-9]+ blobs checked, 0 bad' "$out"
told ctl --json verify "main/pip:$platform" "main/pip@$digest"
json 'verify --json' '.checked > 0 and .bad == 0 and .damaged == []'
told ctl verify
check_eq 'verify: of what?' 2 "$status"

# --- config, completion, help, version ------------------------------------------

mkdir -p "$HOME/.config/cachemount"
printf 'jobs = 3\nscope = mine\n' >"$HOME/.config/cachemount/cachectl.conf"
told env CACHEMOUNT_SCOPE=theirs CACHEMOUNT_PORT=tcp://10.0.0.1:1 \
	"$CACHECTL" --stall-timeout 2s --json config show
json 'config show: where each value comes from' '.settings |
	.jobs.value == "3" and (.jobs.origin | endswith("/cachectl.conf")) and
	.scope.value == "theirs" and
	.scope.origin == "environment CACHEMOUNT_SCOPE" and
	."stall-timeout".origin == "flag --stall-timeout" and
	."ca-file" == null'
told "$CACHECTL" config show
check_match 'config show: a table' 'SETTING +VALUE +FROM' "$out"
printf 'jbos = 3\n' >"$HOME/.config/cachemount/cachectl.conf"
told ctl ls
check_match 'settings: a wrong file is told of' \
	'^2 .*cachectl.conf: there is no setting "jbos"' "$status $err"
rm -r "$HOME/.config"
told "$CACHECTL" --json version
json 'version --json' '.version == 1'
told "$CACHECTL"
check_match 'without a verb: help, and 2' '^2 Usage: cachectl ' "$status $out"
told "$CACHECTL" ls --help
check_match 'ls --help' '^0 Usage: cachectl ls ' "$status $out"
told "$CACHECTL" frobnicate
check_match 'no such verb' '^2 .*there is no verb "frobnicate"' "$status $err"
for shell in bash zsh fish; do
	told "$CACHECTL" completion "$shell"
	if command -v "$shell" >/dev/null; then
		check "completion $shell: parses" "$shell" -n "$WORK/out"
	else
		skip_one "completion $shell: parses" "$shell is not here"
	fi
done
told "$CACHECTL" completion bash
check_eq 'completion bash: completes a verb' restore "$(bash -c "
	. '$WORK/out'; COMP_WORDS=(cachectl --json res) COMP_CWORD=2
	_cachectl; echo \"\${COMPREPLY[*]}\"")"
check_eq 'completion bash: completes a verb'\''s option' --save-on-failure \
	"$(bash -c ". '$WORK/out'; COMP_WORDS=(cachectl run --save) COMP_CWORD=2
	_cachectl; echo \"\${COMPREPLY[*]}\"")"
check 'a full stdout is a failure' bash -c \
	"! '$CACHECTL' --server '$URL' ls >/dev/full"

# --- pin, gc -----------------------------------------------------------------------

told ctl pin "main/pip:$platform"
check_eq 'pin: a tag' "0 main/pip:$platform is pinned" "$status $out"
told ctl --json ls main/pip
json 'ls: it is shown' '.tags[0].pinned == true'
told ctl show "main/pip:$platform"
check_match 'show: it is shown' 'pinned +yes' "$out"
told ctl --json unpin "main/pip:$platform"
json 'unpin' '.pinned == false and .pinned_tags == 0'
told ctl pin main/pip
check_eq 'pin: a repository' '0 main/pip is pinned' "$status $out"
told ctl --json unpin main/pip
json 'unpin: a repository' '.pinned_tags == 0'
told ctl pin main/none:x
check_eq 'pin: what is not there' 10 "$status"
told ctl pin
check_eq 'pin: what?' 2 "$status"
told ctl pin main/pip main/uv
check_eq 'pin: one at a time' 2 "$status"
told ctl gc
check_match 'gc: counts' 'swept .*evicted +0 tags' "$out"
told ctl --json gc
json 'gc --json: integers' '.evicted.tags == 0 and .more == false'
told ctl gc now
check_eq 'gc: takes no argument' 2 "$status"

# --- purge -----------------------------------------------------------------------

told ctl purge
check_eq 'purge: of what?' 2 "$status"
told ctl purge "main/pip:$platform"
check_match 'purge: refuses to ask where nobody is' \
	'^2 .*this would remove 1 tag, .*--yes' "$status $err"
told ctl purge -n --all
check_match 'purge -n: only counts' '^0 would remove [0-9]+ tags' "$status $out"
told ctl purge main/pip main/uv --yes
check_eq 'purge: two references are refused' 2 "$status"
told ctl purge main/pip:a --tag b --yes
check_eq 'purge: two tags are refused' 2 "$status"
told ctl purge --prefix main --writer $'\xff' --yes
check_eq 'purge: a filter that is no text is refused, not left out' 2 "$status"
told ctl --json purge --older-than 1h --all --yes
json 'purge: filters that nothing matches' '.tags == 0'
told ctl --json purge --yes "main/pip:$platform"
json 'purge: one tag' '.tags == 1 and .dry_run == false'
told ctl show "main/pip:$platform"
check_eq 'purge: it is gone' 10 "$status"
told ctl --scope pr-12 purge --yes
told ctl --json ls
json 'purge --scope: that scope, and no other' \
	'([.tags[].repository | startswith("pr-12/")] | any | not) and
	(.tags | length) > 1'
if command -v python3 >/dev/null; then
	answer()
	{
		python3 "${0%.sh}.py" answer "$1" "$CACHECTL" --server "$URL" \
			purge --all
	}
	check_status 'purge: asks on a terminal; no' 1 answer ''
	check_status 'purge: asks on a terminal; yes' 0 answer y
	told ctl --json ls
	json 'purge --all: nothing is left' '.tags == []'
fi
stop_daemon

# --- a cache that is gone -----------------------------------------------------------

told ctl ls
check_eq 'gone: ls exits with 11' 11 "$status"
told ctl run -m "pip=$A" -- sh -c 'exit 4'
check_eq 'gone: the build goes on' 4 "$status"
check_match 'gone: one line says so' \
	'^1 .*cache unavailable, going on without' "$(wc -l <"$WORK/err") $err"
told ctl --strict run -m "pip=$A" -- touch "$WORK/ran"
check_eq 'gone: run --strict exits with 125' 125 "$status"
check 'gone: run --strict runs nothing' test ! -e "$WORK/ran"
told ctl --strict restore pip "$A"
check_eq 'gone: restore --strict exits with 11' 11 "$status"
told "$CACHECTL" --server nonsense run -m "pip=$A" -- true
check_match 'a wrong address: told, and the build goes on' \
	'^0 .*write it as http://HOST:PORT' "$status $err"

# --- a list without end -----------------------------------------------------------

if command -v python3 >/dev/null; then
	python3 "${0%.sh}.py" endless "$WORK/endless" &
	on_exit kill "$!"
	retry_until 10 test -e "$WORK/endless"
	told timeout 20 "$CACHECTL" --server "$(cat "$WORK/endless")" ls
	check_match 'a list that never ends is given up' \
		'^1 .*the list does not move on' "$status $err"
fi

# --- tokens ---------------------------------------------------------------------------

"$CACHEMOUNTD" --new-token ci --pattern 'main/**' --token-file "$WORK/tokens" \
	>"$WORK/token" 2>/dev/null
# shellcheck disable=SC2034  # read by start_daemon
DATA=$WORK/data2
start_daemon --token-file "$WORK/tokens"
fill "$WORK/t1" x
told ctl --token-file "$WORK/token" run -m "pip=$WORK/t1" -- true
check_match 'token: it saves' 'pip: saved 1 file' "$err"
told ctl --token-file "$WORK/token" ls --json
json 'token: who saved is recorded' '.tags[0].writer == "ci"'
told ctl ls
check_eq 'token: without one ls exits with 12' 12 "$status"
told ctl run -m "pip=$WORK/t2" -- true
check_match 'token: without one the build goes on, and says why' \
	'^0 .*going on without: .*401' "$status $err"
echo wrong >"$WORK/wrong"
told ctl --token-file "$WORK/wrong" run -m "pip=$WORK/t2" -- true
check_match 'token: a wrong one: the build goes on, and says why' \
	'^0 .*going on without: .*401' "$status $err"
told ctl --token-file "$WORK/wrong" --strict run -m "pip=$WORK/t2" -- true
check_eq 'token: a wrong one with --strict exits with 125' 125 "$status"
told ctl --token-file "$WORK/absent" run -m "pip=$WORK/t2" -- true
check_match 'token: a file that is not there: the build goes on' \
	'^0 .*going on without a token: token-file .flag --token-file' \
	"$status $err"
told ctl --token-file "$WORK/absent" --strict run -m "pip=$WORK/t2" -- true
check_eq 'token: the same with --strict is a wrong setting' 2 "$status"
told ctl --token-file "$WORK/absent" ls
check_eq 'token: and for ls' 2 "$status"
told ctl --token-file "$WORK/token" --scope other run -m "pip=$WORK/t1" -- true
check_match 'token: another scope is not for it' \
	'^0 .*(403|DENIED|denied)' "$status $err"
