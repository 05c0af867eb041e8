#!/usr/bin/env bash
# Goal: where the anonymous may pull, a registry's client is still asked who it
# is, so that its pushes carry its name; who has no name pulls by an access token
# of its own; no token allows more, or longer, than it should.
# Timeout: 180
# Sanitize: address thread
. "$(dirname "$0")/../lib.sh"

need python3 curl
"$CACHEMOUNTD" --new-token ci --pattern 'main/**' --token-file "$WORK/tokens" \
	>"$WORK/secret" 2>/dev/null
secret=$(<"$WORK/secret")
# The server stays behind: its data folder, and what is told of it.
DATA=$WORK/data
start_daemon --token-file "$WORK/tokens" --allow-anonymous=pull
python3 "${0%.sh}.py" "$URL" "$secret" "$DATA/token.key" first || _failures=1

check "curl: Basic" http 200 -u "ci:$secret" "$URL/v2/"
check "curl: Bearer of a secret" http 200 -H "Authorization: Bearer $secret" \
	"$URL/v2/"
check "curl: a wrong password" http 401 -u "ci:wrong" "$URL/v2/"
printf 'bytes\n' >"$WORK/bytes"
digest=$(sha256 "$WORK/bytes")
check "curl pushes with Basic" http 201 -u "ci:$secret" \
	--data-binary "@$WORK/bytes" -H 'Content-Type:' \
	"$URL/v2/main/curl/blobs/uploads/?digest=$digest"
check "curl pulls without" http 200 "$URL/v2/main/curl/blobs/$digest"

# cachectl needs no challenge: it sends its token, or pulls without.
mkdir "$WORK/mount"
echo kept >"$WORK/mount/file"
check "cachectl saves with its token" \
	ctl --strict --token-file "$WORK/secret" save things "$WORK/mount"
check "cachectl restores without one" ctl --strict restore things "$WORK/again"
check_same_file "what it saved" "$WORK/mount/file" "$WORK/again/file"
check_status "and saves nothing without one" 12 \
	ctl --strict save other "$WORK/mount"

# Behind a proxy, and with the address it is told.
challenge()
{
	curl -sS -o /dev/null -D - "$@" "$URL/v2/" | tr -d '\r' |
		sed -n 's/^[Ww][Ww][Ww]-[Aa]uthenticate: //p'
}
check_eq "the realm is where the client came to" \
	"Bearer realm=\"http://$HOSTPORT/v2/token\",service=\"cachemount\"" \
	"$(challenge)"
check_match "behind a proxy with TLS" '"https://cache.example/v2/token"' \
	"$(challenge -H 'X-Forwarded-Proto: https' -H 'Host: cache.example')"
check_match "which has another name" '"https://cache.example:444/v2/token"' \
	"$(challenge -H 'X-Forwarded-Proto: https' \
		-H 'X-Forwarded-Host: cache.example:444')"
check_match "a host that is none is not repeated" "\"http://$HOSTPORT/" \
	"$(challenge -H 'X-Forwarded-Host: a"b,c')"

# Images, as people push and pull them.
if command -v skopeo >/dev/null; then
	python3 "$(dirname "$0")/images.py" "$WORK/in"
	mkdir "$WORK/nobody"
	export REGISTRY_AUTH_FILE=$WORK/nobody/auth.json
	export DOCKER_CONFIG=$WORK/nobody
	copy()
	{
		skopeo --insecure-policy --tmpdir "$WORK" copy --quiet --all \
			--preserve-digests --src-tls-verify=false \
			--dest-tls-verify=false "$@"
	}
	image=docker://$HOSTPORT/main/app:v1
	check_status "skopeo: a push of nobody's is refused" 1 \
		copy "oci:$WORK/in/layout:multi" "$image"
	check "skopeo: a push with credentials" copy --dest-creds "ci:$secret" \
		"oci:$WORK/in/layout:multi" "$image"
	check "skopeo: anyone pulls" copy "$image" "dir:$WORK/pulled"
	check_status "skopeo: no push where one may not" 1 \
		copy --dest-creds "ci:$secret" "oci:$WORK/in/layout:multi" \
		"docker://$HOSTPORT/other/app:v1"
	check_status "skopeo: nor with a wrong password" 1 \
		copy --dest-creds "ci:wrong" "oci:$WORK/in/layout:multi" "$image"
	check "skopeo: login" skopeo login --tls-verify=false --username ci \
		--password "$secret" "$HOSTPORT"
	check "skopeo: and push by it" copy "oci:$WORK/in/layout:single" \
		"docker://$HOSTPORT/main/app:v2"
	check_status "skopeo: no login by a wrong password" 1 \
		skopeo login --tls-verify=false --username ci --password no \
		"$HOSTPORT"
else
	skip_one skopeo "is not here"
fi
check_eq "who pushed is known" ci "$(curl -sS -u "ci:$secret" \
	"$URL/api/v1/tags?repository=main/app" | python3 -c \
	'import json, sys; print(json.load(sys.stdin)["tags"][0]["writer"])')"

stop_daemon
start_daemon --token-file "$WORK/tokens" --allow-anonymous=pull \
	--public-url https://cache.example/
python3 "${0%.sh}.py" "$URL" "$secret" "$DATA/token.key" again || _failures=1
check_match "the address that is told wins" \
	'realm="https://cache.example/v2/token"' \
	"$(challenge -H 'X-Forwarded-Host: other.example')"
stop_daemon

start_daemon --token-file "$WORK/tokens"
python3 "${0%.sh}.py" "$URL" "$secret" "$DATA/token.key" closed || _failures=1
check_eq "where nobody is anonymous, Basic is asked for" \
	'Basic realm="cachemount"' "$(challenge)"
