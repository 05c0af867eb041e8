#!/usr/bin/env bash
# Goal: a directory is the same on the second builder, by content and metadata:
# every type of entry, odd names, links, sparse and large files; then the
# changes made to it. Also for a user who is not root, and over a registry that
# has not our extension.
#
# Timeout: 300
# Sanitize: address thread
. "$(dirname "$0")/../lib.sh"

need python3
trees()
{
	python3 "$CM_TOP/tests/integration/trees.py" "$@"
}

# same NAME DIR DIR: whether both hold the same.
same()
{
	trees describe "$2" >"$WORK/left"
	trees describe "$3" >"$WORK/right"
	check "$1" diff "$WORK/left" "$WORK/right"
}

# field NAME <JSON: what cachectl --json says of the one mount.
field()
{
	python3 -c 'import json, sys
m = json.load(sys.stdin)
m = m.get("mounts", [m])[0]
m = m.get("saved") or m.get("restored")
print(json.dumps(m[sys.argv[1]]))' "$1"
}

start_daemon
export CACHEMOUNT_STRICT=1

# ---- everything at once ---------------------------------------------------
trees odd "$WORK/a"
check "odd: saved" ctl save odd "$WORK/a"
check "odd: restored" ctl restore odd "$WORK/b"
same "odd: the same" "$WORK/a" "$WORK/b"
check_eq "odd: a save of it has nothing to publish" false \
	"$(ctl --json save odd "$WORK/b" | field published)"
check_eq "odd: a restore of it has nothing to do" true \
	"$(ctl --json restore odd "$WORK/b" | field unchanged)"

trees change "$WORK/a"
check "changed: saved" ctl save odd "$WORK/a"
check "changed: restored" ctl restore odd "$WORK/b"
same "changed: the same" "$WORK/a" "$WORK/b"
check "changed: restored anew" ctl restore odd "$WORK/c"
same "changed: the same anew" "$WORK/a" "$WORK/c"
check_eq "changed: a save of it has nothing to publish" false \
	"$(ctl --json save odd "$WORK/b" | field published)"

echo extra >"$WORK/c/extra"
mkdir "$WORK/c/extras"
echo extra >"$WORK/c/extras/too"
rm -rf "$WORK/c/a"
check "replace: restored" ctl restore --merge replace odd "$WORK/c"
same "replace: exactly the snapshot" "$WORK/a" "$WORK/c"

# ---- large files ----------------------------------------------------------
trees large "$WORK/large"
check "large: saved" ctl save large "$WORK/large"
check "large: restored" ctl restore large "$WORK/large-b"
same "large: the same" "$WORK/large" "$WORK/large-b"
blocks=$(stat -c %b "$WORK/large-b/sparse")
check "large: 5 GiB of holes stay holes" test "$blocks" -lt 2000
printf 'more' | dd of="$WORK/large/dense" bs=1 seek=20000000 conv=notrunc \
	status=none
check "large: of one changed byte, little is sent" test \
	"$(ctl --json save large "$WORK/large" | field sent_bytes)" -lt 6000000
check "large: restored over" ctl restore large "$WORK/large-b"
same "large: the same again" "$WORK/large" "$WORK/large-b"
rm -rf "$WORK/large" "$WORK/large-b"

# ---- not root ---------------------------------------------------------------
if [[ $EUID -eq 0 ]] && command -v setpriv >/dev/null; then
	chmod 755 "$WORK"
	mkdir "$WORK/user"
	chown 65534:65534 "$WORK/user"
	user()
	{
		setpriv --reuid 65534 --regid 65534 --clear-groups \
			env HOME="$WORK/user" "$@"
	}
	user python3 "$CM_TOP/tests/integration/trees.py" odd "$WORK/user/a"
	# What its owner may not read is left out, with a warning.
	user chmod 400 "$WORK/user/a/closed/f"
	check "user: saved" user "$CACHECTL" --server "$URL" save user \
		"$WORK/user/a"
	check "user: restored" user "$CACHECTL" --server "$URL" restore user \
		"$WORK/user/b"
	same "user: the same" "$WORK/user/a" "$WORK/user/b"
	user python3 "$CM_TOP/tests/integration/trees.py" change "$WORK/user/a"
	check "user: changed and saved" user "$CACHECTL" --server "$URL" save \
		user "$WORK/user/a"
	check "user: restored over" user "$CACHECTL" --server "$URL" restore \
		user "$WORK/user/b"
	same "user: the same again" "$WORK/user/a" "$WORK/user/b"
else
	skip_one "user" "needs root and setpriv"
fi

# ---- another registry -------------------------------------------------------
# registry_start: docker-registry on a free port; sets URL. A port lost to
# another program is tried anew.
registry_start()
{
	local try port
	for try in 1 2 3; do
		port=$(free_port)
		cat >"$WORK/registry.yml" <<END
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage: {filesystem: {rootdirectory: $WORK/registry}}
http: {addr: "127.0.0.1:$port"}
END
		docker-registry serve "$WORK/registry.yml" \
			>"$WORK/registry.log" 2>&1 &
		on_exit _stop_quietly $!
		URL=http://127.0.0.1:$port
		retry_until 10 curl -fsS -o /dev/null "$URL/v2/" 2>/dev/null &&
			return 0
	done
	cat "$WORK/registry.log"
	say "docker-registry did not get ready (try $try)"
	return 1
}

if command -v docker-registry >/dev/null; then
	registry_start
	rm -rf "$WORK/a" "$WORK/b"
	trees odd "$WORK/a"
	check "docker-registry: saved" ctl save odd "$WORK/a"
	check "docker-registry: restored" ctl restore odd "$WORK/b"
	same "docker-registry: the same" "$WORK/a" "$WORK/b"
	trees change "$WORK/a"
	check "docker-registry: changed and saved" ctl save odd "$WORK/a"
	check "docker-registry: restored over" ctl restore odd "$WORK/b"
	same "docker-registry: the same again" "$WORK/a" "$WORK/b"
	echo mine >"$WORK/b/mine"
	echo other >"$WORK/a/other"
	check "docker-registry: saved by one" ctl save odd "$WORK/a"
	check "docker-registry: merged by the other" ctl save odd "$WORK/b"
	check "docker-registry: restored by the one" ctl restore odd "$WORK/a"
	check "docker-registry: the union is there" cat "$WORK/a/mine" \
		"$WORK/a/other"
else
	skip_one "docker-registry" "it is not here"
fi
