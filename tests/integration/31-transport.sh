#!/usr/bin/env bash
# Goal: what may lie between cachectl and its server: TLS with a certificate of
# one's own, a proxy, a name server that is silent. Over each the cache works,
# or the build goes on within the limit on connecting.
#
# Sanitize: address
. "$(dirname "$0")/../lib.sh"

need python3 openssl curl
export HOME=$WORK
unset http_proxy https_proxy all_proxy no_proxy HTTP_PROXY HTTPS_PROXY \
	ALL_PROXY NO_PROXY SSL_CERT_FILE
start_daemon
mkdir "$WORK/mount"
head -c 3000000 /dev/urandom >"$WORK/mount/random"
seq 1 200000 >"$WORK/mount/text"

# helper MODE ARGUMENT…: starts it, sets PORT when it listens.
helper()
{
	local mode=$1
	shift
	rm -f "$WORK/port"
	python3 "${0%.sh}.py" "$mode" "$WORK/port" "$@" \
		>"$WORK/$mode.log" 2>&1 &
	on_exit kill "$!"
	retry_until 10 test -s "$WORK/port"
	PORT=$(<"$WORK/port")
}

# round NAME ARGUMENT…: saved and restored with these options, bit for bit.
round()
{
	local name=$1
	shift
	rm -rf "$WORK/back" "$WORK/mount/.cachectl"
	check "$name: saved" "$CACHECTL" "$@" --strict \
		save "$name" "$WORK/mount"
	check "$name: restored" "$CACHECTL" "$@" --strict \
		restore "$name" "$WORK/back"
	check "$name: the same" diff -r --exclude=.cachectl \
		"$WORK/mount" "$WORK/back"
}

# refused NAME ARGUMENT…: --strict fails, and without it the build goes on.
refused()
{
	local name=$1 out
	shift
	check_status "$name: --strict says so" 11 "$CACHECTL" "$@" --strict \
		restore "$name" "$WORK/refused"
	check_status "$name: the build goes on" 7 "$CACHECTL" "$@" \
		run -m "x=$WORK/refused" -- sh -c 'exit 7'
	out=$("$CACHECTL" "$@" run -m "x=$WORK/refused" -- true 2>&1)
	check_match "$name: the reason" '[Cc]ertificate|SSL' "$out"
}

# certificate NAME: a self-signed one for a host of that name.
certificate()
{
	openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 \
		-nodes -days 2 -subj "/CN=$1" -addext "subjectAltName=DNS:$1" \
		-keyout "$WORK/$1.key" -out "$WORK/$1.pem" 2>/dev/null
}

# --- TLS
certificate localhost
certificate elsewhere
helper tls "${URL##*:}" "$WORK/localhost.pem" "$WORK/localhost.key"
round ca-file --server "https://localhost:$PORT" \
	--ca-file "$WORK/localhost.pem"
SSL_CERT_FILE=$WORK/localhost.pem round ssl-cert-file \
	--server "https://localhost:$PORT"
refused unknown-issuer --server "https://localhost:$PORT"
refused other-issuer --server "https://localhost:$PORT" \
	--ca-file "$WORK/elsewhere.pem"
helper tls "${URL##*:}" "$WORK/elsewhere.pem" "$WORK/elsewhere.key"
refused other-host --server "https://localhost:$PORT" \
	--ca-file "$WORK/elsewhere.pem"
refused no-tls --server "https://localhost:${URL##*:}" \
	--ca-file "$WORK/localhost.pem"

# --- a proxy
: >"$WORK/asked"
helper proxy "$WORK/asked"
http_proxy=http://127.0.0.1:$PORT round proxy --server "$URL"
check "proxy: it was asked" grep -q "^POST $URL/v2/main/proxy/" "$WORK/asked"
: >"$WORK/asked"
http_proxy=http://127.0.0.1:$PORT no_proxy=127.0.0.1 round no-proxy \
	--server "$URL"
check_eq "no_proxy: it was not" "" "$(<"$WORK/asked")"
started=$(date +%s%N)
check_status "a proxy that is gone: the build goes on" 7 \
	env "http_proxy=http://127.0.0.1:$(free_port)" "$CACHECTL" \
	--server "$URL" run -m "x=$WORK/x" -- sh -c 'exit 7'
check "a proxy that is gone: at once" \
	test $((($(date +%s%N) - started) / 1000000)) -lt 3000

# --- names
if [[ $EUID -ne 0 ]]; then
	skip_one "a silent name server" "needs root"
	exit
fi
helper silent-names 127.83.83.83
echo 'nameserver 127.83.83.83' >"$WORK/resolv.conf"
silent()
{
	unshare --mount bash -c '
		mount --bind "$0" "$(realpath /etc/resolv.conf)" || exit 99
		exec "$@"' "$WORK/resolv.conf" "$CACHECTL" \
		--server http://cache.example:8080 run -m "x=$WORK/x" -- \
		sh -c 'exit 7'
}
if ! unshare --mount mount --bind "$WORK/resolv.conf" \
	"$(realpath /etc/resolv.conf)" 2>/dev/null; then
	skip_one "a silent name server" "no mounts here"
	exit
fi
started=$(date +%s%N)
check_status "a silent name server: the build goes on" 7 silent
took=$((($(date +%s%N) - started) / 1000000))
check "a silent name server: within the limit ($took ms)" test "$took" -lt 3000
