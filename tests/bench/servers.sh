# The servers that tests/bench/run starts: cachemountd, nginx and
# docker-registry, each on a free port of 127.0.0.1, data on FS, logs in WORK.
# shellcheck shell=bash

BUILD=$CM_TOP/build-bench
# shellcheck disable=SC2034  # read by the groups
TOOLS=$BUILD/tests/bench
CACHEMOUNTD=$BUILD/server/cachemountd
CACHECTL=$BUILD/client/cachectl
WORKERS=2

# build_release: the programs as a user would have them, and the load
# generators.
build_release()
{
	local setup
	"$CM_TOP/deploy/static-curl" "$CM_CACHE/static-curl"
	step "building a release in build-bench"
	mkdir -p "$BUILD"
	setup=(meson setup "$BUILD" "$CM_TOP" -Dbuildtype=release
		"-Dstatic_curl=$CM_CACHE/static-curl")
	[[ -f $BUILD/build.ninja ]] && setup+=(--reconfigure)
	quietly "$BUILD/setup.log" "${setup[@]}" || exit 1
	quietly "$BUILD/build.log" ninja -C "$BUILD" || exit 1
}

# ours_command DIR PORT: OURS_COMMAND, the server on that data folder.
ours_command()
{
	OURS_COMMAND=("$CACHEMOUNTD" --data "$1" --listen "127.0.0.1:$2")
}

# ours_start DIR: sets OURS_PID, OURS_PORT and OURS_URL. One log line a
# request goes to a file.
ours_start()
{
	OURS_PORT=$(free_port)
	OURS_URL=http://127.0.0.1:$OURS_PORT
	ours_command "$1" "$OURS_PORT"
	start "$WORK/cachemountd.log" "${OURS_COMMAND[@]}"
	OURS_PID=$STARTED
	wait_for "$OURS_URL/readyz" "$OURS_PID"
}

# ours_put REPO FILE: pushes a blob; prints its digest.
ours_put()
{
	put_blob "$OURS_URL" "$@"
}

# ours_stat PATH: a number of /api/v1/stats, such as .store.stored_bytes.
ours_stat()
{
	curl -fsS "$OURS_URL/api/v1/stats" | jq -e "$1"
}

# cachectl ARGUMENT…: against our server, in the scope "bench".
cachectl()
{
	bounded "$CACHECTL" --server "$OURS_URL" --scope bench --strict "$@"
}

# nginx_start DIR: serves it as Debian's nginx does (sendfile and tcp_nopush
# on, no open file cache), with a log line a request like ours. Sets NGINX_PID
# and NGINX_PORT.
nginx_start()
{
	NGINX_PORT=$(free_port)
	cat >"$WORK/nginx.conf" <<-END
	daemon off;
	worker_processes $WORKERS;
	pid $WORK/nginx.pid;
	error_log $WORK/nginx-error.log;
	events { worker_connections 768; }
	http {
		sendfile on;
		tcp_nopush on;
		default_type application/octet-stream;
		access_log $WORK/nginx-access.log;
		keepalive_requests 1000000000;
		client_body_temp_path $WORK/nginx-body;
		proxy_temp_path $WORK/nginx-proxy;
		fastcgi_temp_path $WORK/nginx-fastcgi;
		uwsgi_temp_path $WORK/nginx-uwsgi;
		scgi_temp_path $WORK/nginx-scgi;
		server { listen 127.0.0.1:$NGINX_PORT; root $1; }
	}
	END
	# Its workers run as another user.
	chmod 755 "$WORK" "$FS" "$1"
	start "$WORK/nginx.log" /usr/sbin/nginx -p "$WORK" -c "$WORK/nginx.conf"
	# shellcheck disable=SC2034  # read by the groups
	NGINX_PID=$STARTED
}

# registry_start DIR: Debian's configuration file, but for the folder, the
# address and the password. Sets REGISTRY_PID and REGISTRY_PORT.
registry_start()
{
	REGISTRY_PORT=$(free_port)
	cat >"$WORK/registry.yml" <<-END
	version: 0.1
	log:
	  fields:
	    service: registry
	storage:
	  cache:
	    blobdescriptor: inmemory
	  filesystem:
	    rootdirectory: $1
	  delete:
	    enabled: true
	http:
	  addr: 127.0.0.1:$REGISTRY_PORT
	  headers:
	    X-Content-Type-Options: [nosniff]
	health:
	  storagedriver:
	    enabled: true
	    interval: 10s
	    threshold: 3
	END
	start "$WORK/registry.log" docker-registry serve "$WORK/registry.yml"
	REGISTRY_PID=$STARTED
	wait_for "http://127.0.0.1:$REGISTRY_PORT/v2/" "$REGISTRY_PID"
}

# registry_put REPO FILE: pushes a blob; prints its digest.
registry_put()
{
	put_blob "http://127.0.0.1:$REGISTRY_PORT" "$@"
}

# put_blob BASE REPO FILE: by POST and PUT; prints the digest.
put_blob()
{
	local digest location
	digest=sha256:$(sha256sum "$3" | cut -d ' ' -f 1)
	location=$(curl -fsS -o /dev/null -X POST -w '%header{location}' \
		"$1/v2/$2/blobs/uploads/")
	[[ $location != /* ]] || location=$1$location
	[[ $location == *\?* ]] && location+="&" || location+="?"
	bounded curl -fsS -T "$3" -H 'Expect:' \
		-H 'Content-Type: application/octet-stream' \
		"${location}digest=$digest"
	printf '%s' "$digest"
}
