"""cachectl with a registry that is gone, hung or wrong, with hostile snapshots,
and with a mount that cannot be written. Whatever it meets: the command runs,
its status is returned, the delay is bounded, the reason is one line, and
nothing is written but into the mount.

usage: bad_luck.py --cachectl FILE --work DIR [--small-disk DIR]
                   [--few-inodes DIR] [--read-only DIR]"""

import argparse
import os
import shutil
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor

import fake_registry as fake
import hostile_trees as hostile
import tap
from daemon import free_port

REPO, TAG = "main/pip", "latest"
STATUS = 7            # of the command; nothing else exits with it
MEMORY = 1 << 30      # bytes that no answer may make it hold
GOOD = [hostile.folder("d"), hostile.file("d/f", 1000),
        hostile.link("l", "d/f")]


peak = [0, "nothing"]  # bytes that cachectl held at most, and where


class Run:
    """One `cachectl run` with a command that leaves a mark."""

    def __init__(self, a, name, url, path=None, options=(), status=STATUS,
                 file_limit=None):
        self.scratch = tempfile.mkdtemp(dir=a.work)
        self.path = path or os.path.join(self.scratch, "mount")
        self.mark = os.path.join(self.scratch, "mark")
        limit = file_limit and ["prlimit", f"--fsize={file_limit}"] or []
        command = [*limit, a.cachectl, "--server", url, "--scope", "main", *options,
                   "run", "-m", f"pip={self.path},tag={TAG}", "--", "sh", "-c",
                   # Its parent is cachectl, which has restored by now.
                   f"grep VmHWM /proc/$PPID/status >{self.mark}; "
                   f"exit {status}"]
        begin = time.monotonic()
        try:
            done = subprocess.run(command, capture_output=True, timeout=60,
                                  stdin=subprocess.DEVNULL, check=False)
            self.status = done.returncode
            self.stderr = done.stderr.decode(errors="replace")
            self.stdout = done.stdout.decode(errors="replace")
        except subprocess.TimeoutExpired as e:
            self.status, self.stdout = None, ""
            self.stderr = (e.stderr or b"").decode(errors="replace")
        self.seconds = time.monotonic() - begin
        if self.seconds > 2:
            tap.note(f"{name}: {self.seconds:.1f} s")
        self.ran = os.path.exists(self.mark)
        if self.ran:
            with open(self.mark, encoding="ascii") as f:
                held = int(f.read().split()[1]) << 10
            peak[:] = max(peak, [held, name])

    def __repr__(self):
        return (f"status {self.status}, {self.seconds:.1f} s, command "
                f"{'ran' if self.ran else 'did not run'}, said:\n"
                f"{self.stderr[-1500:]}")

    def lines(self):
        return [x for x in self.stderr.splitlines() if x.strip()]

    def files(self):
        """What is in the mount, without the client's own."""
        found = []
        for where, folders, files in os.walk(self.path):
            folders[:] = [f for f in folders if f != ".cachectl"]
            found += [os.path.relpath(os.path.join(where, f), self.path)
                      for f in files + folders]
        return sorted(found)

    def close(self):
        shutil.rmtree(self.scratch, ignore_errors=True)


def check_open(run, name, limit, reason=True):
    """It failed open: command and status, in time, one line of reason."""
    good = run.ran and run.status == STATUS and run.seconds < limit
    if reason:
        good = good and 1 <= len(run.lines()) <= 2
    tap.check(f"{name}: the build goes on", good, run)
    return good


# --- the server

def server_gone(a):
    for name, url in (("gone", f"http://127.0.0.1:{free_port()}"),
                      ("no such host", "http://cache.invalid:8080")):
        run = Run(a, name, url)
        check_open(run, name, 6)
        run.close()
    port = []
    kept = fake.not_http_at_all(port)
    run = Run(a, "hangs", f"http://127.0.0.1:{port[0]}")
    check_open(run, "connecting hangs", 6)
    run.close()
    for s in kept:
        s.close()


FAULTS = [
    ("garbage", fake.garbage, 10),
    ("closes at once", fake.silence, 10),
    ("hung", fake.hang, 15),
    ("500", fake.status(500), 12),
    ("503, come back in an hour", fake.status(503, Retry_After="3600"), 12),
    ("429", fake.status(429, Retry_After="3600"), 12),
    ("401", fake.status(401, WWW_Authenticate='Basic realm="x"'), 10),
    ("403", fake.status(403), 10),
    ("redirects for ever", fake.redirect_to_itself, 10),
    ("HTTP/0.9", fake.old_http, 10),
    ("a negative length", fake.bad_length, 10),
    ("endless headers", fake.endless_headers, 15),
    ("manifest truncated", fake.only("manifest", fake.truncated), 12),
    ("manifest stalls", fake.only("manifest", fake.stalled), 15),
    ("manifest without end", fake.only("manifest", fake.endless_body), 15),
    ("manifest garbage", fake.only("manifest", fake.garbage), 12),
    ("blob truncated", fake.only("blob", fake.truncated), 12),
    ("blob a byte short", fake.only("blob", fake.shorter), 12),
    ("blob a byte long", fake.only("blob", fake.longer), 12),
    ("blob with a flipped bit", fake.only("blob", fake.flipped), 12),
    ("blob stalls", fake.only("blob", fake.stalled), 15),
    ("blob a byte a second", fake.only("blob", fake.drip), 30),
    ("blob without end", fake.only("blob", fake.endless_body), 15),
    ("blob 404", fake.only("blob", fake.status(404)), 10),
    ("blob 500", fake.only("blob", fake.status(500)), 12),
    ("blob not zstd", fake.only("blob", fake.zstd_body(b"not zstd")), 12),
]


def server_wrong(a):
    """Several at once: most of the time is the client's patience."""
    with ThreadPoolExecutor(6) as pool:
        for done in [pool.submit(one_fault, a, *f) for f in FAULTS]:
            done.result()


def one_fault(a, name, fault, limit):
    registry = fake.FakeRegistry(fault)
    registry.snapshot(REPO, TAG, GOOD, [hostile.CHUNK])
    run = Run(a, name, registry.url)
    check_open(run, name, limit)
    tap.check(f"{name}: no half file is left",
              not [f for f in run.files() if f.endswith("/f")], run.files())
    run.close()
    registry.close()


def zstd_bomb(a):
    """Four gigabytes of zeros as a small zstd body."""
    zstd = shutil.which("zstd")
    if not zstd:
        tap.skip_one("zstd bomb", "zstd is not here")
        return
    zeros = subprocess.Popen(["head", "-c", "4G", "/dev/zero"],
                             stdout=subprocess.PIPE)
    frame = subprocess.run([zstd, "-1", "-c"], stdin=zeros.stdout,
                           capture_output=True, check=True).stdout
    zeros.wait()
    registry = fake.FakeRegistry(fake.only("blob", fake.zstd_body(frame)))
    registry.snapshot(REPO, TAG, GOOD, [hostile.CHUNK])
    run = Run(a, "zstd bomb", registry.url)
    check_open(run, "zstd bomb", 15)
    run.close()
    registry.close()


def server_good(a):
    """The fake as it should be: else the faults above would prove nothing."""
    registry = fake.FakeRegistry()
    registry.snapshot(REPO, TAG, GOOD, [hostile.CHUNK])
    run = Run(a, "plain", registry.url)
    check_open(run, "a plain registry", 10, reason=False)
    tap.check_eq("a plain registry: the snapshot is restored",
                 ["d", "d/f", "l"], run.files(), run)
    run.close()
    registry.manifests.clear()
    run = Run(a, "plain", registry.url)
    check_open(run, "a miss", 10, reason=False)
    run.close()
    registry.close()


# --- the snapshot

def hostile_cases(outside):
    """(name, arguments of FakeRegistry.snapshot())."""
    for group in (hostile.paths(outside), hostile.links(outside),
                  hostile.types(), hostile.sizes()):
        for name, lines in group:
            yield name, {"lines": lines}
    for name, blob in hostile.text():
        yield name, {"lines": [], "tree": blob}
    for name, change in hostile.manifests():
        yield name, {"lines": GOOD, "manifest": change}
    yield "a million entries and one that leaves", {
        "lines": [], "tree": hostile.million(outside)}
    yield "more levels than a path can have", {"lines": hostile.deep(17000)}


def hostile_snapshots(a):
    outside = os.path.join(a.work, "outside")
    os.mkdir(outside)
    for name, arguments in hostile_cases(outside):
        registry = fake.FakeRegistry()
        registry.snapshot(REPO, TAG, chunks=[hostile.CHUNK], **arguments)
        run = Run(a, name, registry.url)
        good = run.ran and run.status == STATUS and run.seconds < 20
        refused = 1 <= len(run.lines()) <= 2 and \
            len(run.lines()[0]) < 700
        # A directory may have been made before its files were refused.
        left = [f for f in run.files()
                if not os.path.isdir(os.path.join(run.path, f))]
        tap.check(f"hostile, {name}: refused, and the build goes on",
                  good and refused and not left, run, left[:10])
        escaped = os.listdir(outside) + [
            p for p in (os.path.join(run.scratch, "hostile"), "/etc/hostile")
            if os.path.exists(p)]
        if escaped:
            tap.not_ok(f"hostile, {name}: nothing outside", escaped)
        run.close()
        registry.close()


def tamed_snapshots(a):
    """What is restored, but without its teeth."""
    registry = fake.FakeRegistry()
    registry.snapshot(REPO, TAG, [
        hostile.file("setgid", mode="2755"), hostile.file("setuid",
                                                          mode="4755"),
    ], [hostile.CHUNK])
    run = Run(a, "plain", registry.url)
    modes = [os.stat(os.path.join(run.path, f)).st_mode & 0o7000
             for f in run.files()]
    tap.check_eq("setuid and setgid are not restored", [0, 0], modes, run)
    run.close()
    registry.close()


def link_on_disk(a):
    """A link that was on disk before: not followed."""
    outside = tempfile.mkdtemp(dir=a.work)
    mount = tempfile.mkdtemp(dir=a.work)
    os.symlink(outside, os.path.join(mount, "d"))
    with open(os.path.join(outside, "precious"), "w", encoding="ascii") as f:
        f.write("precious\n")
    registry = fake.FakeRegistry()
    registry.snapshot(REPO, TAG, [
        hostile.folder("d"), hostile.file("d/f", 1000),
        hostile.file("d/precious", 9)], [hostile.CHUNK])
    run = Run(a, "link", registry.url, mount)
    tap.check_eq("a link on disk is not followed", ["precious"],
                 os.listdir(outside), run)
    with open(os.path.join(outside, "precious"), encoding="ascii") as f:
        tap.check_eq("nor what is behind it changed", "precious\n", f.read())
    check_open(run, "a link on disk", 10, reason=False)
    run.close()
    registry.close()


# --- the mount

def mount_cases(a):
    """(name, mount point, words that the reason must have)."""
    if a.small_disk:
        yield "the disk is full", os.path.join(a.small_disk, "m"), "room"
    if a.few_inodes:
        yield "the disk has no inode left", \
            os.path.join(a.few_inodes, "m"), "room"
    if a.read_only:
        yield "the target is read-only", a.read_only, "read-only"
        yield "the target cannot be made", \
            os.path.join(a.read_only, "sub", "mount"), "read-only"
    path = os.path.join(a.work, "a-file")
    with open(path, "w", encoding="ascii") as f:
        f.write("a file\n")
    yield "the target is a file", path, "directory"
    yield "the target is below a file", os.path.join(path, "m"), "directory"
    os.symlink(os.path.join(a.work, "nowhere"), os.path.join(a.work, "link"))
    yield "the target is a dangling link", os.path.join(a.work, "link"), ""


def unwritable_mounts(a):
    registry = fake.FakeRegistry()
    size = len(hostile.CHUNK)
    registry.snapshot(REPO, TAG, [hostile.file(f"f{i}", size)
                                  for i in range(8)], [hostile.CHUNK])
    for name, path, word in mount_cases(a):
        run = Run(a, name, registry.url, path)
        check_open(run, name, 10)
        tap.check(f"{name}: it says so", word in run.stderr.lower(), run)
        run.close()
    if a.small_disk:
        short = [f for f in os.listdir(os.path.join(a.small_disk, "m"))
                 if f.startswith("f") and os.path.getsize(
                     os.path.join(a.small_disk, "m", f)) != size]
        tap.check_eq("the disk is full: no half file is left", [], short)
    else:
        tap.skip_one("the disk is full", "needs root")
    limited_files(a, registry)
    registry.close()


def limited_files(a, registry):
    """A limit on the size of files: its signal must not end us."""
    if not shutil.which("prlimit"):
        tap.skip_one("a limit on files", "prlimit is not here")
        return
    run = Run(a, "a limit on files", registry.url, file_limit=100000)
    check_open(run, "a limit on files", 10)
    tap.check_eq("a limit on files: no half file is left", [], run.files())
    run.close()


# --- not failing open

def strict(a):
    run = Run(a, "--strict", f"http://127.0.0.1:{free_port()}",
              options=["--strict"])
    tap.check("--strict: a server that is gone is a failure",
              run.status not in (0, STATUS, None) and not run.ran, run)
    run.close()
    registry = fake.FakeRegistry()
    registry.snapshot(REPO, TAG, [hostile.file("../hostile")],
                      [hostile.CHUNK])
    run = Run(a, "--strict", registry.url, options=["--strict"])
    tap.check("--strict: a hostile snapshot is a failure",
              run.status not in (0, STATUS, None) and not run.ran, run)
    run.close()
    registry.close()


def save_fails(a):
    """The command succeeds and the snapshot cannot be published."""
    with ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(one_save, a, *c) for c in SAVES]:
            done.result()


def one_save(a, name, fault, limit):
    registry = fake.FakeRegistry(fake.only("write", fault))
    mount = tempfile.mkdtemp(dir=a.work)
    with open(os.path.join(mount, "new"), "wb") as f:
        f.write(os.urandom(3 << 20))
    run = Run(a, name, registry.url, mount, status=0)
    tap.check(f"{name}: the build goes on",
              run.ran and run.status == 0 and run.seconds < limit and
              1 <= len(run.lines()) <= 2 and "write" in registry.asked,
              run, registry.asked[:10])
    run.close()
    registry.close()


SAVES = [
    ("save: 500", fake.status(500), 15),
    ("save: 507", fake.status(507), 15),
    ("save: hung", fake.hang, 20),
    ("save: cut off", fake.silence, 15),
]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--cachectl", required=True)
    p.add_argument("--work", required=True)
    p.add_argument("--small-disk", default="")
    p.add_argument("--few-inodes", default="")
    p.add_argument("--read-only", default="")
    a = p.parse_args()
    for case in (server_good, server_gone, server_wrong, zstd_bomb,
                 hostile_snapshots, tamed_snapshots, link_on_disk,
                 unwritable_mounts, strict, save_fails):
        try:
            case(a)
        except OSError as e:
            tap.not_ok(f"{case.__name__}: went through", repr(e))
    tap.note(f"at most {peak[0] >> 20} MiB resident, with {peak[1]}")
    tap.check("no answer makes it hold much memory", peak[0] < MEMORY, peak)
    tap.finish()


main()
