# Docker daemons of a script's own, for tests/integration/9*. Sourced after
# lib.sh.
#
# They share a network namespace that nobody else sees, since a Docker daemon
# changes the network that it runs on: bridges, packet filters, and another
# daemon's bridge. It reaches the outside through slirp4netns, a process like
# any other. All that a daemon keeps is in $WORK/NAME; its mounts are in a mount
# namespace, so that they go when it does.
# shellcheck shell=bash

# Debian's client, which has BuildKit built in or comes with it.
DOCKER=/usr/bin/docker
[[ -x $DOCKER ]] || DOCKER=$(command -v docker) || DOCKER=docker
export DOCKER_BUILDKIT=1 DOCKER_CONFIG=$WORK/docker-config
unset DOCKER_HOST DOCKER_CONTEXT

# The name server that slirp4netns offers.
DOCKER_DNS=10.0.2.3

# docker_network: makes the namespace. Skips the script where that can't be.
docker_network()
{
	local pid
	unshare --net sleep infinity &
	pid=$!
	on_exit kill "$pid"
	DOCKER_NETWORK=/proc/$pid/ns/net
	retry_until 10 _own_network || skip "no network namespace can be had"
	slirp4netns --configure --mtu=65520 --disable-host-loopback \
		"$pid" tap0 >"$WORK/slirp.log" 2>&1 </dev/null &
	on_exit kill $!
	retry_until 10 _has_address ||
		skip "slirp4netns does not run: $(tail -n 1 "$WORK/slirp.log")"
	printf 'nameserver %s\n' "$DOCKER_DNS" >"$WORK/resolv.conf"
}

_own_network()
{
	[[ $(readlink "$DOCKER_NETWORK") != $(readlink /proc/self/ns/net) ]]
}

_has_address()
{
	near ip -4 address show dev tap0 2>/dev/null | grep -q inet
}

# near COMMAND…: on the network of the daemons.
near()
{
	nsenter --net="$DOCKER_NETWORK" "$@"
}

# docker_at NAME ARGUMENT…: the client of that daemon.
docker_at()
{
	local name=$1
	shift
	"$DOCKER" --host "unix://$WORK/$name/socket" "$@"
}

# start_docker NAME OPTION…: a daemon with a bridge of its own; waits until it
# answers. Skips the script where none can run.
start_docker()
{
	local name=$1 dir=$WORK/$1 pid i
	shift
	mkdir -p "$dir" "$DOCKER_CONFIG"
	printf '{}\n' >"$dir/daemon.json"
	# Not through near: $! is to be the daemon itself.
	# SC2016: for the inner shell.
	# shellcheck disable=SC2016
	nsenter --net="$DOCKER_NETWORK" unshare --mount --propagation private \
		sh -c 'mount --bind "$0" /etc/resolv.conf && exec dockerd "$@"' \
		"$WORK/resolv.conf" \
		--config-file "$dir/daemon.json" --data-root "$dir/data" \
		--exec-root "$dir/exec" --pidfile "$dir/pid" \
		--host "unix://$dir/socket" "$@" >"$dir/log" 2>&1 </dev/null &
	pid=$!
	on_exit stop_docker "$pid"
	for ((i = 0; i < 300; i++)); do
		docker_at "$name" version >/dev/null 2>&1 && return 0
		alive "$pid" || break
		sleep 0.2
	done
	tail -n 20 "$dir/log"
	skip "a Docker daemon cannot run here: $(tail -n 1 "$dir/log")"
}

# stop_docker PID: with its containers.
stop_docker()
{
	kill -TERM "$1" 2>/dev/null || return 0
	retry_until 60 _gone "$1" || kill -KILL "$1"
	wait "$1" 2>/dev/null || true
}
