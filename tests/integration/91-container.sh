#!/usr/bin/env bash
# Goal: the image of deploy/Dockerfile, built by a real Docker, serves
# read-only, without capabilities and not as root: it becomes healthy, images go
# in and out, and SIGTERM ends it once transfers have finished. Then by compose,
# from a token file: a BuildKit cache mount that one builder fills is warm on a
# second one that has never built anything.
#
# Two Docker daemons of the script's own: "one" builds and serves, "two" is the
# builder that has nothing.
# Timeout: 1800
# Quick: no
. "$(dirname "$0")/../lib.sh"
# shellcheck source=tests/integration/docker.sh
. "$(dirname "$0")/docker.sh"

need_root
need python3
(need_packages container) || skip "Docker cannot be installed here"

# --- the image ---

docker_network
start_docker one
tar -C "$(rootfs slim)" -c . | docker_at one import - base:slim >/dev/null
tar -C "$(rootfs musl)" -c . | docker_at one import - base:shell >/dev/null

# build_image TAG OPTION…: deploy/Dockerfile, on a base that is here.
build_image()
{
	local tag=$1
	shift
	docker_at one build --network host --build-arg BASE=base:slim \
		--build-arg REVISION=tested --progress plain \
		--file "$CM_TOP/deploy/Dockerfile" --tag "$tag" "$@" "$CM_TOP"
}

begin=$SECONDS
build_image cachemount >"$WORK/build.log" 2>&1 || {
	tail -n 60 "$WORK/build.log"
	not_ok "the image builds"
	exit 1
}
ok "the image builds"
say "built in $((SECONDS - begin)) s"
check "cachectl alone builds" build_image cachectl --target cachectl
for image in base:slim cachemount cachectl; do
	say "$image: $(human "$(docker_at one image inspect \
		--format '{{.Size}}' "$image")")"
done

# config FORMAT: of the image's configuration.
config()
{
	docker_at one image inspect --format "{{$1}}" cachemount
}

# inside PROGRAM ARGUMENT…: another program of the image.
inside()
{
	docker_at one run --rm --network none --read-only --cap-drop ALL \
		--entrypoint "$1" cachemount "${@:2}"
}

check_eq "numeric user" 10001:10001 "$(config .Config.User)"
check_match "version" 'image.version:0.1.0' "$(config .Config.Labels)"
check_match "revision" 'image.revision:tested' "$(config .Config.Labels)"
check_eq "no compiler, no sources, no package lists" "" "$(
	inside /bin/sh -c 'command -v cc gcc make meson ld
		ls -d /src /deploy /srv/* /build /var/lib/apt/lists/*Packages*
		' 2>/dev/null
)"
check_eq "its data belongs to its user" "10001:10001 750" \
	"$(inside /usr/bin/stat -c '%u:%g %a' /data)"
check_match "cachectl is in it" '^cachectl ' "$(inside /cachectl --version)"
check_match "cachectl is enough by itself" '^cachectl ' "$(docker_at one \
	run --rm --network none --read-only --cap-drop ALL cachectl --version)"
check_status "it does not open itself by accident" 2 \
	docker_at one run --rm --network none --read-only cachemount

# --- run, with nothing that it does not need ---

# of CONTAINER FORMAT: what Docker knows of it.
of()
{
	docker_at one inspect --format "{{$2}}" "$1"
}

# healthy CONTAINER: whether Docker says so.
healthy()
{
	[[ $(of "$1" .State.Health.Status 2>/dev/null) == healthy ]]
}

# process CONTAINER FIELD: of its first process, from /proc.
process()
{
	sed -n "s/^$2:[[:space:]]*//p" "/proc/$(of "$1" .State.Pid)/status"
}

HOSTPORT=127.0.0.1:$(free_port)
check "starts, among Kubernetes' variables" docker_at one run --detach \
	--name open --read-only --cap-drop ALL \
	--security-opt no-new-privileges --publish "$HOSTPORT:8080" \
	--volume open:/data --env CACHEMOUNT_ALLOW_ANONYMOUS=push \
	--env CACHEMOUNT_PORT=tcp://10.0.0.1:8080 \
	--env CACHEMOUNT_PORT_8080_TCP=tcp://10.0.0.1:8080 \
	--env CACHEMOUNT_SERVICE_HOST=10.0.0.1 cachemount
check "becomes healthy" retry_until 40 healthy open
check_match "not root" '^10001[[:space:]]' "$(process open Uid)"
check_match "nor in root's group" '^10001[[:space:]]' "$(process open Gid)"
check_eq "no capability" 0000000000000000 "$(process open CapEff)"
check_eq "none to be had" 0000000000000000 "$(process open CapBnd)"
check_eq "no new privileges" 1 "$(process open NoNewPrivs)"
check_status "its root cannot be written" 1 docker_at one exec open \
	/usr/bin/touch /etc/cachemount/x

# copy SOURCE DESTINATION: by skopeo, as it is.
copy()
{
	near skopeo --insecure-policy --tmpdir "$WORK" copy --quiet --all \
		--preserve-digests --src-tls-verify=false \
		--dest-tls-verify=false "$1" "$2"
}

python3 "$(dirname "$0")/images.py" "$WORK/in"
copy "oci:$WORK/in/layout:multi" "dir:$WORK/before"
check "an image goes in" copy "dir:$WORK/before" "docker://$HOSTPORT/a/b:v1"
check "and out" copy "docker://$HOSTPORT/a/b:v1" "dir:$WORK/after"
check "every byte of it" diff -r "$WORK/before" "$WORK/after"

pid=$(of open .State.Pid)
((pid > 1)) || die "the container does not run"
kill -STOP "$pid"
check_status "a server that hangs is not healthy, and soon" 1 \
	timeout 8 "$DOCKER" --host "unix://$WORK/one/socket" exec open \
	/usr/bin/cachemountd --healthcheck
kill -CONT "$pid"
near python3 "$(dirname "$0")/17-server-life.py" "$HOSTPORT" "$pid" finish ||
	_failures=1
check_eq "drained, it ends with 0" 0 "$(timeout 40 "$DOCKER" \
	--host "unix://$WORK/one/socket" wait open)"
check "starts again" docker_at one start open
check "is healthy again" retry_until 40 healthy open
check "has what it had" copy "docker://$HOSTPORT/a/b:v1" "dir:$WORK/again"
begin=$SECONDS
check "stops" docker_at one stop --time 40 open
check "at once, when idle" test $((SECONDS - begin)) -lt 10
check_eq "with 0" 0 "$(of open .State.ExitCode)"
check_match "having written all" '"stopped"' "$(docker_at one logs open 2>&1)"

# --- compose ---

HOSTPORT=127.0.0.1:$(free_port)
export CACHEMOUNT_PUBLISH=$HOSTPORT CACHEMOUNT_TOKENS=$WORK/tokens

# compose ARGUMENT…: with the file of deploy/.
compose()
{
	DOCKER_HOST="unix://$WORK/one/socket" docker-compose --ansi never \
		--project-name test --file "$CM_TOP/deploy/compose.yaml" "$@"
}

# new_token NAME: prints a secret; its line goes to the token file.
new_token()
{
	docker_at one run --rm --network none cachemount --new-token "$1" \
		2>>"$WORK/tokens"
}

secret=$(new_token ci)
printf '%s' "$secret" >"$WORK/secret"
check_match "a token from the image" '^cmt_' "$secret"
check "compose up" compose up --detach --no-build
server=$(compose ps --quiet cachemountd)
check "compose: healthy" retry_until 40 healthy "$server"
check_eq "compose: read-only" true "$(of "$server" .HostConfig.ReadonlyRootfs)"
check_eq "compose: no capability" 0000000000000000 "$(process "$server" CapBnd)"
check_eq "compose: no new privileges" 1 "$(process "$server" NoNewPrivs)"
check_eq "compose: memory" $((512 << 20)) "$(of "$server" .HostConfig.Memory)"
check_eq "compose: threads" 256 "$(of "$server" .HostConfig.PidsLimit)"

# status [ARGUMENT…]: of GET /v2/.
status()
{
	near curl -s -m 10 -o /dev/null -w '%{http_code}' "$@" \
		"http://$HOSTPORT/v2/"
}

# accepted SECRET: whether it opens anything.
accepted()
{
	[[ $(status -u "any:$1") == 200 ]]
}

check_eq "compose: nobody without a token" 401 "$(status)"
check "compose: with it" accepted "$secret"
second=$(new_token second)
check "compose: a token added later" retry_until 10 accepted "$second"

# --- a cache mount, from builder to builder ---

mkdir "$WORK/context"
cat >"$WORK/context/Dockerfile" <<'END'
FROM base:shell
ARG SERVER
RUN --mount=type=bind,from=cachemount,source=/cachectl,target=/usr/local/bin/cachectl \
    --mount=type=cache,target=/cache \
    --mount=type=secret,id=cachemount-token \
    cachectl --server $SERVER run -m things=/cache -- \
    /bin/sh -c 'if [ -e /cache/made ]; then echo found $(cat /cache/made); \
        else echo made here; echo "by the first builder" >/cache/made; fi'
END

# build NAME: on that daemon; what it said is in $log.
build()
{
	log=$(docker_at "$1" build --no-cache --network host --progress plain \
		--secret "id=cachemount-token,src=$WORK/secret" \
		--build-arg "SERVER=http://$HOSTPORT" "$WORK/context" 2>&1) ||
		not_ok "builder $1 builds" "$log"
}

# said TEXT: whether a line of the build ends so.
said()
{
	grep -q " $1" <<<"$log" || {
		printf '%s\n' "$log"
		return 1
	}
}

build one
check "the first builder fills its mount" said 'made here'
check "and saves it" said 'cachectl: things: saved 1 file,'

near ip link add two type bridge
near ip address add 172.30.0.1/24 dev two
near ip link set two up
start_docker two --bridge two --iptables=false
docker_at one save --output "$WORK/images.tar" cachemount:latest base:shell
check "an empty builder takes the images" \
	docker_at two load --quiet --input "$WORK/images.tar"
build two
check "the empty builder finds the mount full" said 'found by the first builder'
check "restored from the cache" said 'cachectl: things: restored 1 file,'

check "compose down" compose down
check "compose up again" compose up --detach --no-build
check "healthy again" retry_until 40 healthy \
	"$(compose ps --quiet cachemountd)"
docker_at two builder prune --all --force >/dev/null
build two
check "the volume outlived it" said 'found by the first builder'
server=$(compose ps --quiet cachemountd)
check "compose stop" compose stop
check_eq "it ends with 0" 0 "$(of "$server" .State.ExitCode)"
