#!/usr/bin/env bash
# Goal: images that skopeo copies in come back byte for byte: an OCI image, an
# index of two platforms, and a Docker schema 2 image.
. "$(dirname "$0")/../lib.sh"

need python3 skopeo
start_daemon
python3 "$(dirname "$0")/images.py" "$WORK/in"

# copy SOURCE DESTINATION: as it is, not converted, not compressed anew.
copy()
{
	skopeo --insecure-policy --tmpdir "$WORK" copy --quiet --all \
		--preserve-digests --src-tls-verify=false \
		--dest-tls-verify=false "$1" "$2"
}

# push_pull NAME SOURCE: into the server and out of it again.
push_pull()
{
	local image=docker://$HOSTPORT/skopeo/$1:v1
	check "$1: push" copy "$2" "$image"
	check "$1: push again" copy "$2" "$image"
	check "$1: pull" copy "$image" "dir:$WORK/out-$1"
	copy "$2" "dir:$WORK/in-$1"
	check "$1: every byte" diff -r "$WORK/in-$1" "$WORK/out-$1"
}

push_pull single "oci:$WORK/in/layout:single"
push_pull multi "oci:$WORK/in/layout:multi"
push_pull docker "dir:$WORK/in/docker"

check "from repository to repository" copy \
	"docker://$HOSTPORT/skopeo/multi:v1" "docker://$HOSTPORT/copy/multi:v2"
check "the copy" copy "docker://$HOSTPORT/copy/multi:v2" "dir:$WORK/out-copy"
check "the copy: every byte" diff -r "$WORK/in-multi" "$WORK/out-copy"

check_eq "list-tags" '["v1"]' "$(skopeo list-tags --tls-verify=false \
	"docker://$HOSTPORT/skopeo/single" |
	python3 -c 'import json, sys; print(json.dumps(json.load(sys.stdin)["Tags"]))')"
check "inspect" skopeo --insecure-policy inspect --tls-verify=false \
	"docker://$HOSTPORT/skopeo/docker:v1"
check "delete" skopeo --insecure-policy delete --tls-verify=false \
	"docker://$HOSTPORT/skopeo/docker:v1"
check_status "and it is gone" 1 copy "docker://$HOSTPORT/skopeo/docker:v1" \
	"dir:$WORK/out-gone"
