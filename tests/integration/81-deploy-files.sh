#!/usr/bin/env bash
# Goal: what deploy/ hands to Docker, compose and Kubernetes parses, keeps to
# the hardening it promises, and agrees with itself and with the server on user,
# port, times and version. Needs neither Docker nor a cluster.
. "$(dirname "$0")/../lib.sh"

need python3
python3 -c 'import yaml' 2>/dev/null || skip "python3-yaml is not here"
python3 "${0%.sh}.py" "$CM_TOP" || _failures=1

# The settings files are read by the server itself: --healthcheck, which must
# read them first, finds nobody, and no fault in them.
for conf in image kubernetes; do
	out=$("$CACHEMOUNTD" --healthcheck --listen "127.0.0.1:$(free_port)" \
		--config "$CM_TOP/deploy/$conf/cachemountd.conf" 2>&1) &&
		status=0 || status=$?
	check_eq "$conf/cachemountd.conf is understood" 1 "$status"
	check_match "$conf/cachemountd.conf: nobody there" refused "$out"
done
