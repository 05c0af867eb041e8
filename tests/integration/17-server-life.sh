#!/usr/bin/env bash
# Goal: the daemon's life outside requests. It starts or says in one line why
# not, with the exit status of its manual page; is never open by accident;
# takes new tokens while it runs; logs what it should and no secret, and waits
# for nobody who reads the log; drains on SIGTERM.
# Sanitize: thread (address)
. "$(dirname "$0")/../lib.sh"

need python3 curl jq

# refused NAME STATUS PATTERN ARGUMENT…: it does not start, and why.
refused()
{
	local name=$1 wanted=$2 pattern=$3 out status=0
	shift 3
	out=$(timeout 20 "$CACHEMOUNTD" "$@" 2>&1 >/dev/null) || status=$?
	check_eq "$name: status" "$wanted" "$status"
	out=$(grep '^cachemountd: ' <<<"$out") || true
	check_match "$name: reason" "$pattern" "$out"
	check_eq "$name: one line" 1 "$(wc -l <<<"$out")"
}

# --- starts and refusals ---

D=$WORK/d
: >"$WORK/file"
echo nonsense >"$WORK/bad-tokens"
refused "unknown option" 2 'unknown option --frob' --frob
refused "bad value" 2 '--workers: "x"' --workers=x
refused "open by accident" 2 \
	'0.0.0.0:0 .*--token-file.*--allow-anonymous' \
	--data "$D" --listen 0.0.0.0:0
refused "open by accident, IPv6" 2 '--token-file.*--allow-anonymous' \
	--data "$D" --listen '[::]:0'
refused "bad token file" 2 'bad-tokens:1: ' \
	--data "$D" --listen 127.0.0.1:0 --token-file "$WORK/bad-tokens"
refused "data under a file" 3 "$WORK/file" \
	--data "$WORK/file/x" --listen 127.0.0.1:0

export CACHEMOUNT_PORT=tcp://10.0.0.1:8080 CACHEMOUNT_SERVICE_HOST=10.0.0.1
start_daemon --log-format=json
unset CACHEMOUNT_PORT CACHEMOUNT_SERVICE_HOST
ok "starts among Kubernetes' variables"
refused "data folder in use" 4 "$DATA" --data "$DATA" --listen 127.0.0.1:0
refused "port taken" 5 "$HOSTPORT.*in use" --data "$D" --listen "$HOSTPORT"
check "health check" "$CACHEMOUNTD" --healthcheck --listen "$HOSTPORT"
check "health check of the address in the environment" \
	env CACHEMOUNT_LISTEN="$HOSTPORT" CACHEMOUNT_PORT=tcp://10.0.0.1:8080 \
	"$CACHEMOUNTD" --healthcheck
kill -STOP "$DAEMON_PID"
check_status "health check of a server that hangs" 1 \
	timeout 10 "$CACHEMOUNTD" --healthcheck --listen "$HOSTPORT"
kill -CONT "$DAEMON_PID"

# --- the log ---

curl -s -o /dev/null -u "x:hush-hush" \
	-H 'traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01' \
	"$URL/v2/logged/tags/list?secret=hush-hush"
printf 'GET /v2/%s HTTP/1.1\r\nHost: x\r\n\r\n' $'\e[31m' |
	timeout 5 python3 -c 'import socket, sys
s = socket.create_connection(sys.argv[1].split(":"))
s.sendall(sys.stdin.buffer.read()); s.recv(100)' "$HOSTPORT"
sleep 0.3
check "every line is JSON" jq -e . "$DAEMON_LOG"
line=$(grep '"/v2/logged/tags/list"' "$DAEMON_LOG")
check_eq "method" GET "$(jq -r .method <<<"$line")"
check_eq "status" 404 "$(jq -r .status <<<"$line")"
check_eq "trace id" 0af7651916cd43dd8448eb211c80319c \
	"$(jq -r .trace_id <<<"$line")"
check_match "remote" '^127.0.0.1:' "$(jq -r .remote <<<"$line")"
check_eq "no secret" 0 "$(grep -c hush-hush "$DAEMON_LOG" || true)"
check_eq "no control byte" 0 "$(grep -c $'\e' "$DAEMON_LOG" || true)"

if stop_daemon; then ok "ends with 0"; else not_ok "ends with 0"; fi
check_status "health check of nobody" 1 \
	"$CACHEMOUNTD" --healthcheck --listen "$HOSTPORT"

# A server that answers, but one byte a second, and would for long.
python3 - "$HOSTPORT" >"$WORK/slow" <<'P' &
import socket, sys, time
host, port = sys.argv[1].split(":")
with socket.create_server((host, int(port))) as s:
    print("listening", flush=True)
    s.settimeout(20)
    c = s.accept()[0]
    try:
        for byte in b"HTTP/1.1 200 OK\r\n":
            c.sendall(bytes([byte]))
            time.sleep(1)
    except OSError:
        print("gone", flush=True)
P
slow=$!
on_exit _stop_quietly "$slow"
retry_until 10 grep -q listening "$WORK/slow"
check_status "health check of a server that drips" 1 \
	timeout 10 "$CACHEMOUNTD" --healthcheck --listen "$HOSTPORT"
check "it does not wait for the rest" retry_until 5 grep -q gone "$WORK/slow"

mkfifo "$WORK/nobody-reads"
exec 9<>"$WORK/nobody-reads"
"$CACHEMOUNTD" --data "$DATA" --listen 127.0.0.1:0 \
	>"$WORK/url" 2>"$WORK/nobody-reads" &
pid=$!
on_exit _stop_quietly "$pid"
check "port 0 is printed" retry_until 10 grep -q '^http://' "$WORK/url"
url=$(cat "$WORK/url")
python3 - "${url##*:}" <<'P' && ok "a stuck stderr stops nobody" ||
import socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
s.settimeout(20)
f = s.makefile("rb")
for _ in range(8000):
    s.sendall(b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
    size = 0
    while (line := f.readline()) != b"\r\n":
        if line.lower().startswith(b"content-length:"):
            size = int(line.split()[1])
    f.read(size)
P
	not_ok "a stuck stderr stops nobody"
kill -TERM "$pid"
check "and not the end" retry_until 10 _gone "$pid"
exec 9>&-

# --- tokens ---

secret=$("$CACHEMOUNTD" --new-token ci --permissions pull,push \
	--pattern 'main/**' --token-file "$WORK/tokens" 2>"$WORK/said")
check_match "a secret" '^cmt_[A-Za-z0-9_-]{43}$' "$secret"
check_eq "it is not in the file" 0 "$(grep -c "$secret" "$WORK/tokens" || true)"
check_eq "nor told elsewhere" 0 "$(grep -c "$secret" "$WORK/said" || true)"
check_eq "private" 600 "$(stat -c %a "$WORK/tokens")"

"$CACHEMOUNTD" --new-token third >"$WORK/third" 2>>"$WORK/tokens"
start_daemon --token-file "$WORK/tokens"
check "what went to stderr is a line for the file" \
	http 200 -u "any:$(<"$WORK/third")" "$URL/v2/"
check "nobody: asked who" http 401 "$URL/v2/"
check_match "how" 'Basic realm="cachemount"' "$(cat "$WORK/header")"
check "named" http 200 -u "any:$secret" "$URL/v2/"
check "bearer" http 200 -H "Authorization: Bearer $secret" "$URL/v2/"
check "elsewhere" http 403 -u "any:$secret" "$URL/v2/other/tags/list"
check "probes are open" http 200 "$URL/readyz"
second=$("$CACHEMOUNTD" --new-token second --token-file "$WORK/tokens" \
	2>/dev/null)
check "a new token is taken" retry_until 5 \
	http 200 -u "x:$second" "$URL/v2/"
echo nonsense >>"$WORK/tokens"
check "a bad file is told" retry_until 5 grep -q tokens-kept "$DAEMON_LOG"
check "and changes nothing" http 200 -u "any:$secret" "$URL/v2/"
check_status "nor is it added to" 2 \
	"$CACHEMOUNTD" --new-token third --token-file "$WORK/tokens"
grep '^second' "$WORK/tokens" >"$WORK/fresh"
cp "$WORK/fresh" "$WORK/tokens"
kill -HUP "$DAEMON_PID"
check "a token is gone" retry_until 5 http 401 -u "any:$secret" "$URL/v2/"
if stop_daemon; then ok "ends with 0 again"; else not_ok "ends"; fi

# --- draining ---

start_daemon --drain-timeout 20s
python3 "${0%.sh}.py" "$HOSTPORT" "$DAEMON_PID" finish || _failures=1
if wait "$DAEMON_PID"; then ok "drained: ends with 0"; else not_ok "drained"; fi

start_daemon --drain-timeout 1s
python3 "${0%.sh}.py" "$HOSTPORT" "$DAEMON_PID" cut || _failures=1
if wait "$DAEMON_PID"; then ok "cut off: ends with 0"; else not_ok "cut"; fi

start_daemon --drain-timeout 60s
python3 "${0%.sh}.py" "$HOSTPORT" "$DAEMON_PID" twice || _failures=1
if wait "$DAEMON_PID"; then ok "twice: ends with 0"; else not_ok "twice"; fi

# --- a damaged index ---

head -c 4096 /dev/urandom | dd of="$DATA/index.db" conv=notrunc status=none
refused "damaged index" 6 . --data "$DATA" --listen 127.0.0.1:0
