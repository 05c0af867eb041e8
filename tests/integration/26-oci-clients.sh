#!/usr/bin/env bash
# Goal: the daily verbs of crane, oras, podman and docker, as people type them,
# against a server where the anonymous pull and a token pushes.
# Timeout: 300
# Quick: no
# Tools: crane oras
. "$(dirname "$0")/../lib.sh"

need python3
"$CACHEMOUNTD" --new-token ci --permissions pull,push,delete \
	--token-file "$WORK/tokens" >"$WORK/secret" 2>/dev/null
start_daemon --token-file "$WORK/tokens" --allow-anonymous=pull
secret=$(<"$WORK/secret")
python3 "$(dirname "$0")/images.py" "$WORK/in"
head -c 3000000 /dev/urandom >"$WORK/random"
printf 'hello\n' >"$WORK/text"

# A connection lives as long as BuildKit keeps one in its pool (120 s, others
# less): who closes first must not be the server. Asked at the end.
python3 - "$HOSTPORT" >"$WORK/idle" 2>&1 <<'END' &
import http.client, sys, time
c = http.client.HTTPConnection(sys.argv[1])
for pause in (0, 123):
    time.sleep(pause)
    c.request("GET", "/livez")
    c.getresponse().read()
    c.auto_open = False
END
idle=$!

# refused NAME COMMAND…: it must fail, and say that one must log in.
refused()
{
	local name=$1 out status=0
	shift
	out=$("$@" 2>&1) || status=$?
	if ((status != 0)) && grep -qi 'unauthorized\|401\|denied' <<<"$out"; then
		ok "$name"
	else
		not_ok "$name" "status $status" "$out"
	fi
}

# fails NAME COMMAND…: it must fail, for whatever reason.
fails()
{
	local name=$1 out
	shift
	if out=$("$@" 2>&1); then not_ok "$name" "$out"; else ok "$name"; fi
}

crane_verbs()
{
	local repo=$HOSTPORT/crane/app digest
	export DOCKER_CONFIG=$WORK/crane-config
	refused "crane: a push of nobody's" \
		crane push --insecure --index "$WORK/in/layout" "$repo:v0"
	check "crane: auth login" crane auth login --insecure "$HOSTPORT" \
		-u ci -p "$secret"
	tar -C "$WORK" -cf "$WORK/layer.tar" text random
	check "crane: append" crane append --insecure --new_layer \
		"$WORK/layer.tar" --new_tag "$repo:v1"
	check "crane: append to it" crane append --insecure --base "$repo:v1" \
		--new_layer "$WORK/layer.tar" --new_tag "$repo:v2"
	check "crane: push of an index" crane push --insecure --index \
		"$WORK/in/layout" "$repo:index"
	digest=$(crane digest --insecure "$repo:v1")
	check_match "crane: digest" '^sha256:[0-9a-f]{64}$' "$digest"
	check "crane: manifest" crane manifest --insecure "$repo:v2"
	check "crane: config" crane config --insecure "$repo:v2"
	check "crane: tag" crane tag --insecure "$repo:v1" stable
	check "crane: copy" crane copy --insecure "$repo:v2" \
		"$HOSTPORT/crane/copy:v2"
	check_eq "crane: ls" "index stable v1 v2" \
		"$(crane ls --insecure "$repo" | sort | tr '\n' ' ' |
			sed 's/ $//')"
	check "crane: mutate" crane mutate --insecure "$repo:v1" \
		--label a=b --tag "$repo:labelled"
	rm -rf "$DOCKER_CONFIG"
	check "crane: anyone pulls" crane pull --insecure --format=oci \
		"$repo:v2" "$WORK/crane-out"
	check "crane: export" crane export --insecure "$repo:v2" \
		"$WORK/crane.tar"
	check_eq "crane: the bytes" "$(sha256 "$WORK/random")" \
		"sha256:$(tar -xOf "$WORK/crane.tar" random | sha256sum |
			cut -d ' ' -f 1)"
	check "crane: validate" crane validate --insecure --remote "$repo:v2"
	refused "crane: no delete by nobody" crane delete --insecure "$repo:v2"
	crane auth login --insecure "$HOSTPORT" -u ci -p "$secret" 2>/dev/null
	check "crane: delete" crane delete --insecure \
		"$repo@$(crane digest --insecure "$repo:v2")"
	fails "crane: it is gone" crane manifest --insecure "$repo:v2"
}

oras_verbs()
{
	local repo=$HOSTPORT/oras/thing conf=$WORK/oras.json
	local plain=(--plain-http --registry-config "$conf")
	cd "$WORK"
	refused "oras: a push of nobody's" \
		oras push "${plain[@]}" "$repo:v0" text
	check "oras: login" oras login "${plain[@]}" "$HOSTPORT" -u ci \
		--password-stdin <"$WORK/secret"
	check "oras: push" oras push "${plain[@]}" \
		--artifact-type application/vnd.example.thing "$repo:v1" \
		text:text/plain random
	check "oras: attach" oras attach "${plain[@]}" \
		--artifact-type application/vnd.example.note "$repo:v1" \
		text:text/plain
	check_match "oras: discover finds it" 'vnd.example.note' \
		"$(oras discover "${plain[@]}" "$repo:v1" 2>&1)"
	check "oras: tag" oras tag "${plain[@]}" "$repo:v1" stable
	check_match "oras: repo tags" 'stable' \
		"$(oras repo tags "${plain[@]}" "$repo" 2>&1)"
	check "oras: copy" oras copy --from-plain-http --to-plain-http \
		--from-registry-config "$conf" --to-registry-config "$conf" \
		--recursive "$repo:v1" "$HOSTPORT/oras/copy:v1"
	check "oras: resolve" oras resolve "${plain[@]}" "$repo:stable"
	check "oras: manifest fetch" oras manifest fetch "${plain[@]}" "$repo:v1"
	check "oras: blob push" oras blob push "${plain[@]}" \
		"$repo@$(sha256 "$WORK/text")" text
	check "oras: blob fetch" oras blob fetch "${plain[@]}" \
		--output "$WORK/oras-blob" "$repo@$(sha256 "$WORK/random")"
	check "oras: logout" oras logout --registry-config "$conf" "$HOSTPORT"
	check "oras: anyone pulls" oras pull "${plain[@]}" \
		--output "$WORK/oras-out" "$repo:v1"
	check_same_file "oras: the bytes" "$WORK/random" "$WORK/oras-out/random"
	check_same_file "oras: and the blob's" "$WORK/random" "$WORK/oras-blob"
	refused "oras: no delete by nobody" \
		oras manifest delete "${plain[@]}" --force "$repo:v1"
	oras login "${plain[@]}" "$HOSTPORT" -u ci --password-stdin \
		<"$WORK/secret" >/dev/null 2>&1
	check "oras: manifest delete" \
		oras manifest delete "${plain[@]}" --force "$repo:v1"
	fails "oras: it is gone" oras resolve "${plain[@]}" "$repo:v1"
}

# pod MACHINE ARGUMENT…: podman with a storage of its own.
pod()
{
	local root=$WORK/pod-$1
	shift
	podman --root "$root/storage" --runroot "$root/run" \
		--storage-driver vfs --events-backend none "$@"
}

podman_verbs()
{
	local image=$HOSTPORT/podman/app:v1 auth=$WORK/podman-auth.json
	export REGISTRY_AUTH_FILE=$auth DOCKER_CONFIG=$WORK/podman-docker
	printf '{}\n' >"$auth"
	mkdir "$WORK/podman-context"
	cp "$WORK/random" "$WORK/text" "$WORK/podman-context/"
	printf 'FROM scratch\nCOPY random text /data/\nCMD ["/none"]\n' \
		>"$WORK/podman-context/Containerfile"
	check "podman: build" pod one build --isolation chroot --tag "$image" \
		"$WORK/podman-context"
	refused "podman: a push of nobody's" \
		pod one push --tls-verify=false "$image"
	check "podman: login" pod one login --tls-verify=false -u ci \
		-p "$secret" "$HOSTPORT"
	check "podman: push" pod one push --tls-verify=false "$image"
	check "podman: push, zstd" pod one push --tls-verify=false \
		--compression-format zstd "$image" \
		"$HOSTPORT/podman/zstd:v1"
	check "podman: manifest list" pod one manifest create list
	check "podman: of an image" pod one manifest add --tls-verify=false \
		list "docker://$image"
	check "podman: pushed" pod one manifest push --tls-verify=false --all \
		list "docker://$HOSTPORT/podman/list:v1"
	check "podman: logout" pod one logout "$HOSTPORT"
	for name in app zstd list; do
		check "podman: anyone pulls $name" pod two pull \
			--tls-verify=false "$HOSTPORT/podman/$name:v1"
	done
	check "podman: save" pod two save --format oci-archive \
		--output "$WORK/podman.tar" "$image"
	check "podman: inspect" pod two image inspect "$image"
	check_match "podman: search lists tags" 'v1' "$(pod two search \
		--tls-verify=false --list-tags "$HOSTPORT/podman/app" 2>&1)"
}

# start_docker: a Docker daemon of our own, which touches no network of the
# machine's.
start_docker()
{
	local dir=$WORK/docker
	mkdir -p "$dir/config"
	printf '{}\n' >"$dir/daemon.json"
	dockerd --config-file "$dir/daemon.json" --data-root "$dir/data" \
		--exec-root "$dir/exec" --pidfile "$dir/pid" \
		--host "unix://$dir/sock" --bridge none --iptables=false \
		--ip6tables=false --storage-driver vfs >"$dir/log" 2>&1 \
		</dev/null &
	on_exit end_docker $!
	export DOCKER_CONFIG=$dir/config DOCKER_HOST=unix://$dir/sock
	retry_until 40 docker version >/dev/null 2>&1
}

end_docker()
{
	_stop_quietly "$1"
	findmnt -rno TARGET | grep -F "$WORK/docker/" | sort -r |
		xargs -r umount -l 2>/dev/null || true
}

docker_verbs()
{
	local image=$HOSTPORT/docker/app:v1
	if ! start_docker; then
		skip_one docker "its daemon does not start here"
		return 0
	fi
	tar -C "$WORK" -cf "$WORK/docker.tar" text random
	docker import "$WORK/docker.tar" "$image" >/dev/null
	refused "docker: a push of nobody's" docker push "$image"
	refused "docker: no login by a wrong password" \
		docker login -u ci -p wrong "$HOSTPORT"
	check "docker: login" docker login -u ci -p "$secret" "$HOSTPORT"
	check "docker: push" docker push "$image"
	check "docker: logout" docker logout "$HOSTPORT"
	docker rmi "$image" >/dev/null
	check "docker: anyone pulls" docker pull "$image"
	docker save "$image" | tar -xf - -C "$WORK/docker/config" -O \
		--wildcards '*.tar' | tar -xf - -C "$WORK/docker/config" random
	check_same_file "docker: the bytes" "$WORK/random" \
		"$WORK/docker/config/random"
}

# with NAME: whether the program is here, built if it must be.
with()
{
	local folder
	command -v "$1" >/dev/null && return 0
	if folder=$("$CM_TOP/deploy/go-tools" "$1"); then
		PATH=$folder:$PATH
	else
		skip_one "$1" "could not be built (see above)"
		return 1
	fi
}

if with crane; then
	crane_verbs
fi
if with oras; then
	oras_verbs
fi
if [[ $EUID -ne 0 ]]; then
	skip_one podman "needs root"
elif command -v podman >/dev/null; then
	podman_verbs
else
	skip_one podman "is not here"
fi
if [[ $EUID -ne 0 ]]; then
	skip_one docker "needs root"
elif command -v docker >/dev/null && command -v dockerd >/dev/null; then
	docker_verbs
else
	skip_one docker "is not here"
fi

if wait "$idle"; then
	ok "a connection idle for two minutes still serves"
else
	not_ok "a connection idle for two minutes still serves" \
		"$(<"$WORK/idle")"
fi
