#!/usr/bin/env bash
# Goal: the one file cachectl saves and restores a mount in a root that holds
# nothing else, in one that has musl for a C library, and in a Debian root.
. "$(dirname "$0")/../lib.sh"

need_root
need readelf strip
if readelf --program-headers --wide "$CACHECTL" | grep -q ' INTERP '; then
	skip "this build of cachectl is linked with shared libraries"
fi
start_daemon

strip -o "$WORK/cachectl" "$CACHECTL"
mkdir -p "$WORK/mount/deep/er"
head -c 3000000 /dev/urandom >"$WORK/mount/large"
printf 'text\n' >"$WORK/mount/deep/er/small"
ln -s deep/er/small "$WORK/mount/link"
chmod 751 "$WORK/mount/deep"
ctl --scope main save -t any things "$WORK/mount"

# inside ROOT ARGUMENT…: cachectl in a copy of the root.
inside()
{
	local root=$1
	shift
	in_root "${options[@]}" --mount "$WORK/out:/mnt" \
		--bind "$WORK/cachectl:/cachectl" "$root" -- \
		/cachectl --server "$URL" --scope main "$@"
}

# round KIND: what another machine saved is restored there, bit for bit, and
# what is saved there arrives here.
round()
{
	local kind=$1 root
	root=$(rootfs "$kind")
	rm -rf "$WORK/out" "$WORK/back"
	mkdir "$WORK/out" "$WORK/back"
	check "$kind: help" inside "$root" --help
	check "$kind: restore" inside "$root" --strict restore -t any things /mnt
	rm -rf "$WORK/out/.cachectl"
	check "$kind: the same tree" diff -r --no-dereference \
		--exclude=.cachectl "$WORK/mount" "$WORK/out"
	check_eq "$kind: the mode" 751 "$(stat -c %a "$WORK/out/deep")"
	printf '%s\n' "$kind" >"$WORK/out/from"
	check "$kind: save" inside "$root" --strict save -t any "from-$kind" /mnt
	check "$kind: and back" ctl --scope main --strict \
		restore -t any "from-$kind" "$WORK/back"
	check_eq "$kind: the new file" "$kind" "$(cat "$WORK/back/from")"
	check "$kind: a server that is gone is no failure" inside_offline "$root"
}

# The build goes on, with the command's own status.
inside_offline()
{
	in_root "${options[@]}" --mount "$WORK/out:/mnt" \
		--bind "$WORK/cachectl:/cachectl" "$1" -- \
		/cachectl --server "http://127.0.0.1:$(free_port)" \
		run -m things=/mnt -- /cachectl --version
}

options=(--bare)
round empty
options=()
round musl
check "musl: its own programs run under cachectl" \
	in_root --bind "$WORK/cachectl:/cachectl" --mount "$WORK/out:/mnt" \
	"$(rootfs musl)" -- /cachectl --server "$URL" run -m things=/mnt -- \
	/bin/musl-check
round builder
