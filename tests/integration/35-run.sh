#!/usr/bin/env bash
# Goal: cachectl run stands between a build and its command without being
# noticed: streams, exit status, signals from outside and from a terminal; and
# a progress bar is where a person sees it, and nowhere else.
# Sanitize: address
# Timeout: 180
. "$(dirname "$0")/../lib.sh"

need python3

mkdir "$WORK/home"
export HOME=$WORK/home
while read -r name; do unset "$name"; done < <(compgen -e CACHEMOUNT_)
unset XDG_CONFIG_HOME NO_COLOR

start_daemon
mkdir "$WORK/runs"
python3 "${0%.sh}.py" --cachectl "$CACHECTL" --url "$URL" --work "$WORK/runs"
