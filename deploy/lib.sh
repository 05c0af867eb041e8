# Helpers that the scripts of deploy/ and tests/ share. Sourced, never run.
#
# Messages go to stderr, results to stdout. Nothing here names a host: where
# packages come from is what the machine's own apt is set up for.
# shellcheck shell=bash

CM_TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# Where what takes long to make is kept between runs: .cache/ of this clone,
# which git ignores, or what CACHEMOUNT_CACHE names.
# shellcheck disable=SC2034
CM_CACHE=${CACHEMOUNT_CACHE:-$CM_TOP/.cache}

# say TEXT: one line of progress.
say()
{
	printf '%s\n' "$*" >&2
}

# step TEXT: a heading of progress, with the seconds since the script began.
step()
{
	printf '%s[%4d s] %s%s\n' "$(tint '1;36')" "$SECONDS" "$*" \
		"$(tint 0)" >&2
}

# die TEXT: says why and ends the script.
die()
{
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

# usage FILE [STATUS]: prints the comment at the head of a script, which says
# what it does and takes, and ends with STATUS (2 unless told). What was asked
# for (status 0) goes to stdout.
usage()
{
	local status=${2:-2} out=2
	((status == 0)) && out=1
	sed -n '2,/^[^#]/{s/^# \{0,1\}//p}' "$1" |
		sed '/^shellcheck /d' >&"$out"
	exit "$status"
}

# tint CODE: the escape sequence for a colour; nothing when stderr is no
# terminal, or when the user asked for no colour.
tint()
{
	[[ -t 2 && -z ${NO_COLOR:-} && ${TERM:-dumb} != dumb ]] || return 0
	printf '\033[%sm' "$1"
}

# as_root COMMAND…: runs it as root, through sudo where that is needed.
as_root()
{
	if [[ $EUID -eq 0 ]]; then
		"$@"
	elif command -v sudo >/dev/null; then
		sudo -- "$@"
	else
		die "needs root (or sudo) to run: $*"
	fi
}

# quietly LOG COMMAND…: runs it with its output in LOG; shows the end of LOG
# and fails when the command fails.
quietly()
{
	local log=$1 status=0
	shift
	"$@" >"$log" 2>&1 </dev/null || status=$?
	((status == 0)) && return 0
	say "failed ($status): $*"
	tail -n 30 -- "$log" >&2
	say "all of it is in $log"
	return "$status"
}

# human BYTES: as people read it, in IEC units.
human()
{
	awk -v n="$1" 'BEGIN {
		split("B KiB MiB GiB TiB", unit, " ")
		for (i = 1; n >= 1024 && i < 5; i++)
			n /= 1024
		printf(i == 1 ? "%d %s\n" : "%.1f %s\n", n, unit[i])
	}'
}

# package_list GROUP…: what deploy/packages/GROUP.txt lists, one entry a line.
package_list()
{
	local group
	for group in "$@"; do
		sed -e 's/[[:space:]]*#.*//' -e '/^$/d' \
			"$CM_TOP/deploy/packages/$group.txt"
	done | sort -u
}

# missing_packages GROUP…: the entries of which no alternative is installed.
missing_packages()
{
	local entry have name
	have=$(dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' \
		2>/dev/null | sed -n 's/^ii  *//p')
	package_list "$@" | while IFS= read -r entry; do
		for name in ${entry//|/ }; do
			grep -qxF -- "$name" <<<"$have" && continue 2
		done
		printf '%s\n' "$entry"
	done
}

# apt_get ARGUMENT…: apt-get that asks nothing, tries again on a bad network,
# and waits a bounded time for another one to finish.
apt_get()
{
	local try
	for try in 1 2 3; do
		as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq \
			-o Acquire::Retries=3 -o DPkg::Lock::Timeout=300 \
			-o Dpkg::Use-Pty=0 "$@" </dev/null >&2 && return 0
		sleep "$((try * 2))"
	done
	return 1
}

# without_services COMMAND…: runs it while no package may start a service, as
# a web server that comes as a peer to measure against would.
without_services()
{
	local policy=/usr/sbin/policy-rc.d status=0
	if [[ -e $policy ]]; then
		"$@"
		return
	fi
	printf '#!/bin/sh\nexit 101\n' | as_root tee "$policy" >/dev/null
	as_root chmod 755 "$policy"
	"$@" || status=$?
	as_root rm -f "$policy"
	return "$status"
}

# need_packages GROUP…: installs what is missing of the groups, and only that.
need_packages()
{
	local missing entry name names=()
	if ! command -v apt-get >/dev/null || ! command -v dpkg >/dev/null; then
		[[ -n ${CACHEMOUNT_NO_INSTALL:-} ]] && return 0
		die "this machine is not Debian. Install what these Debian" \
			"packages hold, then set CACHEMOUNT_NO_INSTALL=1:" \
			"$(package_list "$@" | tr '\n' ' ')"
	fi
	missing=$(missing_packages "$@")
	[[ -n $missing ]] || return 0
	[[ -z ${CACHEMOUNT_NO_INSTALL:-} ]] ||
		die "missing packages: ${missing//$'\n'/ }"
	step "installing ${missing//$'\n'/, }"
	apt_get update || die "apt-get update failed"
	while IFS= read -r entry; do
		for name in ${entry//|/ }; do
			apt-cache show "$name" >/dev/null 2>&1 && break
		done
		names+=("$name")
	done <<<"$missing"
	without_services apt_get install -y --no-install-recommends \
		"${names[@]}" || die "apt-get could not install: ${names[*]}"
}

# debian_sources DIR [TYPE]: writes to DIR the entries of the machine's apt
# sources that provide Debian itself, whatever mirror they name and in both
# formats, as TYPE (deb or deb-src; deb unless told). Fails when there are none.
debian_sources()
{
	local dir=$1 type=${2:-deb} conf LIST='' PARTS='' codename file n=0
	conf=$(apt-config shell LIST Dir::Etc::sourcelist/f \
		PARTS Dir::Etc::sourceparts/d)
	eval "$conf"
	# shellcheck source=/dev/null
	codename=$(. /etc/os-release && printf '%s' "${VERSION_CODENAME:-}")
	mkdir -p "$dir"
	for file in "$LIST" "${PARTS%/}"/*.list "${PARTS%/}"/*.sources; do
		[[ -f $file ]] || continue
		n=$((n + 1))
		awk -v type="$type" -v codename="$codename" \
			-v format="${file##*.}" \
			-f "$CM_TOP/deploy/debian-sources.awk" "$file" \
			>"$dir/$n.${file##*.}"
		[[ -s $dir/$n.${file##*.} ]] || rm "$dir/$n.${file##*.}"
	done
	[[ -n $(ls -A "$dir") ]]
}
