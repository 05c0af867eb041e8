# What the groups of tests/bench/run share: the work folder, processes,
# samples and the table. Sourced after deploy/lib.sh.
#
# Progress goes to stderr, the report to stdout. Every process started is
# ended by its pid when the run ends, however it ends.
# shellcheck shell=bash

WORK=     # scratch folder of this run
FS=       # where everything measured lies: a journaled ext4 on a loop file
FS_KIND=  # how the report calls it
PIDS=()   # processes to end
SLOWEST=600 # seconds that any one command may take

# pick QUICK FULL: the one that fits this run.
pick()
{
	if [[ -n ${QUICK:-} ]]; then printf '%s' "$1"; else printf '%s' "$2"; fi
}

# ---- the work folder -----------------------------------------------------

# work_open: makes WORK.
work_open()
{
	WORK=$(mktemp -d "${TMPDIR:-/tmp}/cachemount-bench.XXXXXX")
	trap work_close EXIT
	trap 'exit 130' INT TERM
	mkdir "$WORK/samples" "$WORK/fs"
	FS=$WORK/fs
}

# fs_open: a new, empty FS. Most machines have a journaled ext4, some have
# none, so every group makes its own.
fs_open()
{
	truncate -s 60G "$WORK/fs.img"
	# The inode tables now, not by a kernel thread while we measure.
	mkfs.ext4 -q -E lazy_itable_init=0,lazy_journal_init=0 "$WORK/fs.img"
	if as_root mount -o loop "$WORK/fs.img" "$FS" 2>/dev/null; then
		as_root chown "$EUID" "$FS"
		FS_KIND="ext4 with journal on a loop file"
	else
		rm "$WORK/fs.img"
		FS_KIND="$(stat -f -c %T "$FS") (no loop file could be mounted)"
	fi
}

# fs_close: ends what still runs, and gives the disk back.
fs_close()
{
	local pid
	for pid in "${PIDS[@]}"; do
		stop "$pid"
	done
	if mountpoint -q "$FS"; then
		as_root umount "$FS"
		rm "$WORK/fs.img"
	else
		rm -rf -- "${FS:?}"/*
	fi
}

work_close()
{
	fs_close
	if [[ -n ${KEEP:-} ]]; then
		say "logs and samples are in $WORK"
	else
		rm -rf -- "${WORK:?}"
	fi
}

# new_dir NAME: an empty folder on FS that no earlier call has returned.
new_dir()
{
	mktemp -d "$FS/$1.XXXXXX"
}

# settle: before a timed run: nothing left to write, memory touched. A virtual
# machine may have given free pages back to its host, and the first to use them
# would pay for all (writing 1.5 GB to a tmpfs file takes them back).
settle()
{
	local shm=/dev/shm/cachemount-bench.$$
	sync -f "$FS"
	dd if=/dev/zero of="$shm" bs=1M count=1500 status=none || true
	rm -f "$shm"
}

# ---- processes -----------------------------------------------------------

# start LOG COMMAND…: runs it in the background; its pid is in STARTED.
start()
{
	local log=$1
	shift
	"$@" >>"$log" 2>&1 </dev/null &
	STARTED=$!
	PIDS+=("$STARTED")
}

# stop PID: SIGTERM, after 20 s SIGKILL. Legal for one that has ended.
stop()
{
	local i left=()
	kill "$1" 2>/dev/null || true
	for ((i = 0; i < 200; i++)); do
		kill -0 "$1" 2>/dev/null || break
		sleep 0.1
	done
	kill -9 "$1" 2>/dev/null || true
	wait "$1" 2>/dev/null || true
	for i in "${PIDS[@]}"; do
		[[ $i == "$1" ]] || left+=("$i")
	done
	PIDS=("${left[@]}")
}

# free_port: a port on which nobody listens.
free_port()
{
	local port i
	for ((i = 0; i < 100; i++)); do
		port=$((20000 + RANDOM % 12000))
		(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || break
	done
	printf '%s' "$port"
}

# wait_for URL PID: until the server answers it; dies after 10 s.
wait_for()
{
	local i
	for ((i = 0; i < 200; i++)); do
		curl -fsS -o /dev/null "$1" 2>/dev/null && return 0
		kill -0 "$2" 2>/dev/null || break
		sleep 0.05
	done
	die "no answer from $1 (logs are in $WORK)"
}

# bounded COMMAND…: runs it with a limit on its time, output to the log.
bounded()
{
	timeout "$SLOWEST" "$@" >>"$WORK/commands.log" 2>&1 </dev/null ||
		die "failed ($?): $* $(tail -n 3 "$WORK/commands.log")"
}

# timed KEY COMMAND…: runs it and adds its wall time (s), processor time (s)
# and peak memory (KiB) to the samples KEY.wall, KEY.cpu and KEY.rss.
timed()
{
	local key=$1 wall user sys rss
	shift
	bounded "$TOOLS/timed" "$WORK/timed" "$@"
	read -r wall user sys rss _ <<<"$(tail -n 1 "$WORK/timed")"
	sample "$key.wall" "$(calc "$wall / 1e6")"
	sample "$key.cpu" "$(calc "($user + $sys) / 1e6")"
	sample "$key.rss" "$rss"
}

# ---- numbers -------------------------------------------------------------

# calc EXPRESSION: by awk. It may hold line breaks.
calc()
{
	awk "BEGIN { printf(\"%.6f\", ${1//$'\n'/ }) }"
}

# field NAME: the value of NAME= in "a=1 b=2" on stdin.
field()
{
	tr ' ' '\n' | sed -n "s/^$1=//p"
}

# sample KEY VALUE: notes one measurement.
sample()
{
	printf '%s\n' "$2" >>"$WORK/samples/$1"
}

# median KEY: of the samples so far.
median()
{
	sort -g "$WORK/samples/$1" | awk '{ v[NR] = $1 } END {
		print NR % 2 ? v[(NR + 1) / 2] : (v[NR / 2] + v[NR / 2 + 1]) / 2
	}'
}

# ratio KEY PEER: the median of the rounds' own ratios, since rounds that lie
# side by side in time share what else the machine was doing.
ratio()
{
	paste "$WORK/samples/$1" "$WORK/samples/$2" |
		awk '{ print $1 / $2 }' >"$WORK/samples/ratio.$1.$2"
	median "ratio.$1.$2"
}

# ---- the table -----------------------------------------------------------

table_head()
{
	printf '%s\n' \
		"| | cachemount | against | ratio | target | |" \
		"|---|---:|---:|---:|---:|---|"
}

# section TITLE
section()
{
	printf '| **%s** | | | | | |\n' "$1"
}

# row WHAT OURS PEER RATIO TARGET JUDGED: JUDGED is "VALUE >= LIMIT" or "VALUE
# <= LIMIT", or empty for a row without a target.
row()
{
	local verdict="" line
	if [[ -n $6 ]]; then
		verdict=$(awk "BEGIN { print ($6) ? \"met\" : \"**missed**\" }")
	fi
	printf -v line '| %s | %s | %s | %s | %s | %s |' \
		"$1" "$2" "$3" "$4" "$5" "$verdict"
	printf '%s\n' "$line"
	say "$line"
}

# per_second KEY, mega KEY, millis KEY, times VALUE: a median, as the table
# shows it.
per_second()
{
	awk -v n="$(median "$1")" 'BEGIN { printf("%.0f/s", n) }'
}

mega()
{
	awk -v n="$(median "$1")" 'BEGIN { printf("%.0f MB/s", n / 1e6) }'
}

millis()
{
	awk -v n="$(median "$1")" 'BEGIN {
		printf(n < 1 ? "%.0f ms" : "%.2f s", n < 1 ? n * 1000 : n)
	}'
}

times()
{
	awk -v n="$1" 'BEGIN { printf(n < 10 ? "%.2f×" : "%.0f×", n) }'
}

percent()
{
	awk -v n="$1" 'BEGIN { printf("%.2f %%", n * 100) }'
}

# table_notes: what the figures were measured on and how.
table_notes()
{
	local cpu system
	cpu=$(cpu_field "Model name")
	# shellcheck source=/dev/null
	system=$(. /etc/os-release && printf '%s' "$PRETTY_NAME")
	fmt -w 100 <<-END

	Measured on $(nproc) cores ($cpu, family $(cpu_field "CPU family"),
	model $(cpu_field Model)), $(free -h | awk '/^Mem/ { print $2 }')B of
	memory, Linux $(uname -r), $system, $FS_KIND, over loopback, client and
	server on the same cores, page cache warm, $(date -u +%F), load average
	at the end $(cut -d ' ' -f 1 /proc/loadavg). Peers:
	$(peer_versions).

	A figure is the median of the rounds, in which cachemount and its peer
	take turns; a ratio is the median of the rounds' own ratios. nginx: two
	workers, sendfile and tcp_nopush on, no open file cache; both servers
	write a log line a request to a file. docker-registry: Debian's
	configuration without the password; it was seen to sync files, whether
	it syncs folders was not checked. Made by
	\`tests/bench/run${QUICK:+ --quick}\`.
	END
}

# cpu_field NAME: of lscpu.
cpu_field()
{
	lscpu | sed -n "s/^$1: *//p" | head -n 1
}

# peer_versions: of the Debian packages.
peer_versions()
{
	dpkg-query -W -f '${Package} ${Version}, ' nginx-light docker-registry \
		restic casync zstd tar wrk 2>/dev/null | sed 's/, $//'
}
