#!/usr/bin/env bash
# Goal: BuildKit itself, with its cache in our registry: what one builder exports
# makes every step CACHED on a builder that has never built anything, in each
# mode, compression and shape, after a kill -9 as well; what was removed is a
# clean miss and breaks no build; two builders may export to one tag at once.
# Timeout: 600
# Quick: no
# Tools: buildkit
. "$(dirname "$0")/../lib.sh"

need python3 runc skopeo
need_root
tools=$("$CM_TOP/deploy/go-tools" buildkit) || skip "no buildkitd (see above)"
"$CACHEMOUNTD" --new-token ci --token-file "$WORK/tokens" >"$WORK/secret" \
	2>/dev/null
start_daemon --token-file "$WORK/tokens" --allow-anonymous=pull
export DAEMON_PORT=${HOSTPORT##*:}
export DOCKER_CONFIG=$WORK/docker
mkdir "$DOCKER_CONFIG"
printf '{"auths": {"%s": {"auth": "%s"}}}\n' "$HOSTPORT" \
	"$(printf 'ci:%s' "$(<"$WORK/secret")" | base64 -w 0)" \
	>"$DOCKER_CONFIG/config.json"

# A base image that has a shell, from our own registry: this machine's
# rootfs musl.
base=$(rootfs musl)
tar -C "$base" -cf "$WORK/base.tar" .
mkdir -p "$WORK/context"
python3 "${0%.sh}.py" image "$WORK/base.tar" "$WORK/base"
skopeo --insecure-policy copy --quiet --dest-tls-verify=false \
	--authfile "$DOCKER_CONFIG/config.json" "oci:$WORK/base:base" \
	"docker://$HOSTPORT/base:v1"

cat >"$WORK/context/Dockerfile" <<END
FROM $HOSTPORT/base:v1 AS make
ARG SEED
RUN echo ran && echo "\$SEED" >/seed && seq 200000 >/numbers
COPY data /data
RUN echo ran && cat /seed /numbers /data/bytes >/made
FROM $HOSTPORT/base:v1
RUN echo ran && mkdir /out
COPY --from=make /made /out/made
RUN echo ran && wc -c /out/made >/out/size
END
mkdir "$WORK/context/data"
head -c 2000000 /dev/urandom >"$WORK/context/data/bytes"

# builder NAME [TOML]: a buildkitd with a state of its own. Its socket is
# $WORK/NAME/sock.
builder()
{
	local dir=$WORK/$1
	mkdir -p "$dir"
	cat >"$dir/buildkitd.toml" <<-END
		[worker.containerd]
		  enabled = false
		[worker.oci]
		  enabled = true
		  networkMode = "host"
		  noProcessSandbox = false
		[registry."$HOSTPORT"]
		  ${2:-http = true}
	END
	"$tools/buildkitd" --root "$dir/root" --addr "unix://$dir/sock" \
		--config "$dir/buildkitd.toml" >"$dir/log" 2>&1 </dev/null &
	eval "pid_$1=$!"
	on_exit end_builder "$1"
	if ! retry_until 30 "$tools/buildctl" --addr "unix://$dir/sock" \
		debug workers >/dev/null 2>&1; then
		tail -n 20 "$dir/log"
		return 1
	fi
}

# end_builder NAME: and its state is gone.
end_builder()
{
	local pid=pid_$1
	[[ -n ${!pid:-} ]] || return 0
	kill -TERM "${!pid}" 2>/dev/null || true
	retry_until 20 _gone "${!pid}" || kill -KILL "${!pid}" || true
	wait "${!pid}" 2>/dev/null || true
	eval "pid_$1="
	findmnt -rno TARGET | grep -F "$WORK/$1/" | sort -r |
		xargs -r umount -l 2>/dev/null || true
	rm -rf --one-file-system -- "${WORK:?}/$1"
}

# build BUILDER SEED ARGUMENT…: what it says goes to $WORK/said-BUILDER, the files
# of the result to $WORK/out-BUILDER: a builder fetches a cached layer only when
# somebody wants its files.
build()
{
	local name=$1 seed=$2
	shift 2
	rm -rf --one-file-system -- "$WORK/out-$name"
	timeout 180 "$tools/buildctl" --addr "unix://$WORK/$name/sock" build \
		--progress plain --frontend dockerfile.v0 \
		--local "context=$WORK/context" \
		--local "dockerfile=$WORK/context" \
		--opt "build-arg:SEED=$seed" \
		--output "type=local,dest=$WORK/out-$name" "$@" \
		>"$WORK/said-$name" 2>&1
}

# right BUILDER SEED: whether the files of its last build are what they must be.
right()
{
	{
		echo "$2"
		seq 200000
		cat "$WORK/context/data/bytes"
	} | cmp - "$WORK/out-$1/out/made"
}

# export TAG OPTIONS, import TAG: the arguments.
to()
{
	printf -- '--export-cache=type=registry,ref=%s/cache:%s,%s' \
		"$HOSTPORT" "$1" "$2"
}

from()
{
	printf -- '--import-cache=type=registry,ref=%s/cache:%s' "$HOSTPORT" "$1"
}

# steps BUILDER: "CACHED of ALL" steps of its last build.
steps()
{
	python3 "${0%.sh}.py" steps "$WORK/said-$1"
}

# warm NAME SEED ARGUMENT…: a fresh builder builds it with every step cached.
warm()
{
	local what=$1 seed=$2
	shift 2
	builder fresh
	if build fresh "$seed" "$@"; then
		check_eq "$what: every step CACHED" "6 of 6" "$(steps fresh)"
		check "$what: the right bytes" right fresh "$seed"
	else
		not_ok "$what: builds" "$(tail -n 20 "$WORK/said-fresh")"
	fi
	end_builder fresh
}

# made NAME BUILDER SEED ARGUMENT…: a build that must succeed, with right files.
made()
{
	local what=$1
	shift
	if build "$@"; then
		check "$what" right "$1" "$2"
	else
		not_ok "$what" "$(tail -n 20 "$WORK/said-$1")" \
			"$(tail -n 5 "$DAEMON_LOG")"
	fi
}

# ended NAME PID BUILDER: a build in the background, which must succeed.
ended()
{
	if wait "$2"; then
		ok "$1"
	else
		not_ok "$1" "$(tail -n 20 "$WORK/said-$3")"
	fi
}

builder one
made "builds and exports, mode=max" one a "$(to max mode=max)"
check_eq "nothing was cached before" "0 of 6" "$(steps one)"
warm "mode=max" a "$(from max)"

for options in compression=zstd,mode=max \
	compression=uncompressed,mode=max \
	compression=gzip,mode=max,image-manifest=false \
	compression=zstd,mode=max,image-manifest=false,oci-mediatypes=false; do
	tag=${options//[^a-z0-9]/-}
	made "exports $options" one a \
		"$(to "$tag" "$options,force-compression=true")"
	warm "$options" a "$(from "$tag")"
done

made "exports mode=min" one a "$(to min mode=min)" \
	--output "type=image,name=$HOSTPORT/result:a,push=true"
builder fresh
made "mode=min: a fresh builder builds" fresh a "$(from min)"
check_match "mode=min: what is in the result is cached" '^[3-6] of 6$' \
	"$(steps fresh)"
end_builder fresh

# An index again over what was a manifest: the tag changes its kind.
made "a tag changes from manifest to index" one a \
	"$(to max mode=max,image-manifest=false)"
warm "and serves as before" a "$(from max)"

# The registry that a builder is told is "insecure": it tries TLS first.
builder insecure 'insecure = true'
made "insecure: falls back to HTTP" insecure a "$(from max)"
check_eq "insecure: every step CACHED" "6 of 6" "$(steps insecure)"
end_builder insecure

# Two builders, one tag, at once.
builder two
for seed in c d e; do
	build one "one-$seed" "$(to shared mode=max)" &
	first=$!
	build two "two-$seed" "$(to shared mode=max)" &
	second=$!
	ended "round $seed: the one exports" "$first" one
	ended "round $seed: the other exports" "$second" two
	builder fresh
	made "round $seed: what won is whole" fresh "one-$seed" "$(from shared)"
	found=$(steps fresh)
	made "round $seed: for either" fresh "two-$seed" "$(from shared)"
	check_match "round $seed: one of them is all CACHED" '6 of 6' \
		"$found, $(steps fresh)"
	end_builder fresh
done

check "the server is killed" kill -KILL "$DAEMON_PID"
retry_until 10 _gone "$DAEMON_PID"
start_daemon --token-file "$WORK/tokens" --allow-anonymous=pull
warm "after a kill -9" a "$(from max)"
builder fresh
build fresh killed "$(to killed mode=max)" &
first=$!
sleep 1
kill -KILL "$DAEMON_PID" 2>/dev/null || true
retry_until 10 _gone "$DAEMON_PID"
start_daemon --token-file "$WORK/tokens" --allow-anonymous=pull
wait "$first" || true
ok "a kill -9 in the middle of a build"
made "and the next build exports" fresh killed "$(to killed mode=max)"
end_builder fresh
warm "what it exported is whole" killed "$(from killed)"

# Half of it goes.
"$CACHEMOUNTD" --new-token root --permissions pull,push,delete,admin \
	--token-file "$WORK/tokens" >"$WORK/root" 2>/dev/null
sleep 2
for tag in max shared compression-zstd-mode-max; do
	check "tag $tag is removed" http 202 -X DELETE \
		-u "root:$(<"$WORK/root")" "$URL/v2/cache/manifests/$tag"
done
builder fresh
made "a removed cache breaks no build" fresh a "$(from max)"
check_eq "it is a clean miss" "0 of 6" "$(steps fresh)"
end_builder fresh
warm "what was kept is whole" a "$(from max)" \
	"$(from compression-uncompressed-mode-max)"
builder fresh
made "and is exported anew" fresh f "$(from min)" "$(to max mode=max)"
end_builder fresh
warm "and found" f "$(from max)"
end_builder one
end_builder two

# Where nobody is anonymous, BuildKit is asked for Basic instead of Bearer.
stop_daemon
start_daemon --token-file "$WORK/tokens"
warm "by Basic" f "$(from max)" "$(to basic mode=max)"
warm "and what it exported" f "$(from basic)"
