#!/usr/bin/env bash
# Goal: where docker's registry and the distribution-spec agree, we answer as it
# does: the same requests to both, status by status and field by field.
. "$(dirname "$0")/../lib.sh"

need python3 docker-registry
start_daemon

port=$(free_port)
cat >"$WORK/registry.yml" <<END
version: 0.1
log: {level: error, accesslog: {disabled: true}}
storage:
  filesystem: {rootdirectory: $WORK/registry}
  delete: {enabled: true}
http: {addr: "127.0.0.1:$port"}
END
docker-registry serve "$WORK/registry.yml" >"$WORK/registry.log" 2>&1 &
on_exit _stop_quietly $!
if ! retry_until 20 curl -fsS -o /dev/null "http://127.0.0.1:$port/v2/"; then
	cat "$WORK/registry.log"
	exit 1
fi
python3 "${0%.sh}.py" "$URL" "http://127.0.0.1:$port"
