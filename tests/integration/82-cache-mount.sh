#!/usr/bin/env bash
# Goal: a real RUN --mount=type=cache, in the words of the README, is warm on a
# second builder that has never built anything; and a build goes on when the
# server is gone.
# Timeout: 300
. "$(dirname "$0")/../lib.sh"

need buildah
need_root
if ldd "$CACHECTL" 2>/dev/null | grep -q '=>'; then
	skip "cachectl is not linked statically in this build"
fi
start_daemon

# on MACHINE ARGUMENT…: buildah with storage and cache mounts of its own.
on()
{
	local root=$WORK/machine-$1
	shift
	mkdir -p "$root/tmp"
	TMPDIR=$root/tmp buildah --root "$root/storage" \
		--runroot "$root/run" --storage-driver vfs "$@"
}

# A base image that has a shell: this machine's rootfs musl.
base=$(rootfs musl)
mkdir -p "$WORK/context" "$WORK/client"
cp "$CACHECTL" "$WORK/client/cachectl"
tar -C "$base" -cf "$WORK/context/base.tar" .
cat >"$WORK/context/Containerfile" <<'END'
FROM scratch
ADD base.tar /
ARG SERVER
RUN --mount=type=bind,from=cachectl,source=/cachectl,target=/usr/local/bin/cachectl \
    --mount=type=cache,target=/cache \
    /usr/local/bin/cachectl --server $SERVER run -m things=/cache -- \
    /bin/sh -c 'if [ -e /cache/made ]; then echo found $(cat /cache/made); \
        else echo made here; echo "by the first builder" >/cache/made; fi'
END

# build MACHINE SERVER: prints what the build said.
build()
{
	on "$1" build --isolation chroot --network host --no-cache \
		--build-context "cachectl=$WORK/client" \
		--build-arg "SERVER=$2" --file "$WORK/context/Containerfile" \
		"$WORK/context" 2>&1
}

# said LINE: the build printed this line, or one that starts so.
said()
{
	grep -q "^$1" <<<"$log"
}

log=$(build one "$URL") || not_ok "the first builder builds" "$log"
check "the first builder fills its mount" said 'made here'
check "and saves it" said 'cachectl: things: saved 1 file,'
log=$(build two "$URL") || not_ok "the second builder builds" "$log"
check "the second one finds it" said 'found by the first builder'
check "restored from the cache" said 'cachectl: things: restored 1 file,'
log=$(build three "http://127.0.0.1:$(free_port)") ||
	not_ok "a server that is gone breaks no build" "$log"
check "a server that is gone breaks no build" said 'made here'
check "and is told in a line" said 'cachectl: cache unavailable'
