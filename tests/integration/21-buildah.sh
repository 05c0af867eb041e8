#!/usr/bin/env bash
# Goal: buildah pushes an image and pulls it from another storage, and one
# builder's layers are the cache of another builder's build.
# Timeout: 300
. "$(dirname "$0")/../lib.sh"

need buildah
need_root
start_daemon

# on MACHINE ARGUMENT…: buildah with a storage of its own.
on()
{
	local root=$WORK/machine-$1
	shift
	buildah --root "$root/storage" --runroot "$root/run" \
		--storage-driver vfs "$@"
}

mkdir "$WORK/context"
head -c 3000000 /dev/urandom >"$WORK/context/random"
seq 200000 >"$WORK/context/text"
cat >"$WORK/context/Containerfile" <<'END'
FROM scratch
COPY random /data/random
COPY text /data/text
END

build()
{
	local machine=$1
	shift
	on "$machine" build --isolation chroot --layers "$@" \
		--file "$WORK/context/Containerfile" "$WORK/context"
}

check "build" build one --tag local/image
for format in oci docker; do
	image=docker://$HOSTPORT/buildah/$format:v1
	check "push $format" on one push --tls-verify=false \
		--format "${format/docker/v2s2}" local/image "$image"
	check "pull $format" on two pull --tls-verify=false "$image"
	container=$(on two from --pull-never "$HOSTPORT/buildah/$format:v1")
	mounted=$(on two mount "$container")
	for file in random text; do
		check_same_file "$format: $file" "$WORK/context/$file" \
			"$mounted/data/$file"
	done
	on two umount "$container" >/dev/null
	on two rm "$container" >/dev/null
done

cache=$HOSTPORT/buildah/cache
check "build, and leave the layers as cache" build three --tls-verify=false \
	--cache-to "$cache" --cache-from "$cache" --tag cached
log=$(build four --tls-verify=false --cache-to "$cache" \
	--cache-from "$cache" --tag cached 2>&1) || not_ok "build again" "$log"
check_match "another builder takes them" 'Cache pulled from remote' "$log"
