import http.client
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "torture"))
from daemon import Daemon  # noqa: E402

sys.path.pop(0)
sys.modules.pop("registry", None)
from registry import *  # noqa: E402

WORK = Path(sys.argv[1])
MIB = 1 << 20
LIMIT = 48 * MIB
LAYER = MIB
# What is read is leased, and stays: of all that fits, a part.
LEASE = 1
READ = 12
PAUSE = 0.1  # of each pusher

_serial = 0


def server(name, *options):
    return Daemon([sys.argv[2], "--data", "{data}", "--listen", "{listen}",
                   "--access-log", "off", *options],
                  str(WORK / name), str(WORK / (name + ".log")))


def client(d):
    return Registry("http://" + d.hostport)


def disk(d, *folders):
    """Bytes of blocks of the files below these folders."""
    total = 0
    for folder in folders:
        for p in (Path(d.data) / folder).rglob("*"):
            try:
                s = p.stat()
            except FileNotFoundError:
                continue
            if p.is_file():
                total += s.st_blocks * 512
    return total


def store(r):
    return r.get("/api/v1/stats").json()["store"]


def push(r, name, tag, seed, size=LAYER):
    """An image with a layer of its own, as a builder pushes it; 201, or the
    status that it failed with."""
    layer = random.Random(seed).randbytes(size)
    config = json.dumps({"seed": seed}).encode()
    for data in (config, layer):
        digest = sha256(data)
        if r.head(f"/v2/{name}/blobs/{digest}").status == 200:
            continue
        a = r.request("POST", f"/v2/{name}/blobs/uploads/?digest={digest}",
                      data)
        if a.status != 201:
            return a
    return r.put_manifest(name, tag, image(sha256(config), len(config),
                                           sha256(layer), len(layer)))


def pull(r, name, tag):
    """True: all of it was there; False: a clean miss; else what was wrong."""
    a = r.get(f"/v2/{name}/manifests/{tag}")
    if a.status == 404:
        return False
    if a.status != 200:
        return f"manifest {tag}: {a}"
    m = a.json()
    for d in [m["config"]] + m["layers"]:
        b = r.get(f"/v2/{name}/blobs/{d['digest']}")
        if b.status != 200 or sha256(b.body) != d["digest"]:
            return f"{tag}: a dangling layer: {b.status}"
    return True


class Load:
    """Pushers and readers side by side; what they saw."""

    def __init__(self, d, kills=False):
        self.d = d
        self.kills = kills
        self.stop = threading.Event()
        self.lock = threading.Lock()
        self.tags = []
        self.wrong = []
        self.pushed = self.hits = self.misses = self.over = 0

    def guarded(self, step):
        r = client(self.d)
        while not self.stop.is_set():
            try:
                step(r)
            except (OSError, http.client.HTTPException):
                if not self.kills:
                    raise
                r.close()
                time.sleep(0.02)

    def push_step(self, r):
        with self.lock:
            self.pushed += 1
            n = self.pushed
        a = push(r, f"main/p{n % 3}", f"t{n}", n)
        if a.status == 201:
            with self.lock:
                self.tags.append(n)
        else:
            self.wrong.append(f"push: {a}")
        time.sleep(PAUSE)

    def pull_step(self, r):
        with self.lock:
            n = random.choice(self.tags[-READ:]) if self.tags else None
        if n is None:
            time.sleep(0.01)
            return
        got = pull(r, f"main/p{n % 3}", f"t{n}")
        if got is True:
            self.hits += 1
        elif got is False:
            self.misses += 1
        else:
            self.wrong.append(got)

    def watch_step(self, _):
        self.over = max(self.over,
                        disk(self.d, "blobs", "uploads", "quarantine") - LIMIT)
        time.sleep(0.05)

    def run(self, until):
        steps = [self.push_step] * 3 + [self.pull_step] * 2 + [self.watch_step]
        threads = [threading.Thread(target=self.guarded, args=(s,))
                   for s in steps]
        for t in threads:
            t.start()
        until(self)
        self.stop.set()
        for t in threads:
            t.join()


def wait_for(what, seconds):
    end = time.monotonic() + seconds
    while not what() and time.monotonic() < end:
        time.sleep(0.05)
    return what()


def settled(d, r):
    """What is counted is what is there."""
    wait_for(lambda: store(r)["used_bytes"] <= store(r)["high_bytes"], 10)
    wait_for(lambda: store(r)["file_bytes"] == disk(d, "blobs"), 10)
    s = store(r)
    equal("files: counted as on disk", disk(d, "blobs"), s["file_bytes"])
    equal("uploads: none left", (0, 0),
          (s["upload_bytes"], disk(d, "uploads")))
    equal("used is the sum of its parts", s["used_bytes"],
          s["file_bytes"] + s["index_bytes"] + s["upload_bytes"]
          + s["quarantine_bytes"])
    check("the store is below its high watermark",
          s["used_bytes"] <= s["high_bytes"], s)
    check("and used above half of it", s["used_bytes"] > LIMIT / 2, s)
    return s


def at_the_limit():
    d = server("limit", "--max-size", str(LIMIT), "--lease", f"{LEASE}s")
    d.start()
    r = client(d)
    for n in (1, 2):
        push(r, "main/base", f"v{n}", -n)
    r.post_json("/api/v1/pin", {"repository": "main/base"})
    load = Load(d)
    load.run(lambda l: wait_for(lambda: l.pushed >= 200, 60))
    check("every push goes through, every pull finds all or nothing",
          not load.wrong, *load.wrong[:3])
    check("the limit holds on disk", load.over <= 0, load.over)
    check("there were hits", load.hits > 20, load.hits)
    s = settled(d, r)
    check("much was evicted", s["tags"] < load.pushed - 100, s)
    counters = r.get("/api/v1/stats").json()["counters"]
    equal("each push is there, or was evicted", load.pushed + 2,
          s["tags"] + counters["evicted_tags_size"])
    equal("what is pinned stays", [True, True],
          [pull(r, "main/base", f"v{n}") for n in (1, 2)])
    equal("the last one too", True,
          pull(r, f"main/p{load.tags[-1] % 3}", f"t{load.tags[-1]}"))
    before = r.get("/api/v1/stats").json()["counters"].get("ghost_hits", 0)
    equal("the first is a clean miss", False, pull(r, "main/p1", "t1"))
    equal("which a larger limit would have saved", before + 1,
          r.get("/api/v1/stats").json()["counters"]["ghost_hits"])
    equal("an orderly end", 0, d.stop())


def recently_used_stay():
    """Exactly by last use, over a restart and a kill."""
    d = server("order", "--max-size", str(LIMIT), "--lease", "1s")
    d.start()
    r = client(d)
    for n in range(30):
        push(r, "main/o", f"t{n}", 5000 + n)
    order = list(range(30))
    random.Random(4).shuffle(order)
    for i, n in enumerate(order):
        equal(f"pull t{n}", True, pull(r, "main/o", f"t{n}"))
        if i == 15:
            d.stop()
            d.start()
            r.close()
    time.sleep(2.5)  # the last uses are written down
    d.kill()
    d.start()
    r.close()
    time.sleep(1)
    for n in range(20):
        push(r, "main/new", f"n{n}", 6000 + n)
    wait_for(lambda: store(r)["used_bytes"] <= store(r)["high_bytes"], 10)
    left = {t["tag"] for t in
            r.get("/api/v1/tags?repository=main/o").json()["tags"]}
    gone = [n for n in order if f"t{n}" not in left]
    check("some went", 3 <= len(gone) < 30, gone)
    equal("least recently used first, exactly", order[:len(gone)], gone)
    equal("nothing new went", 20,
          len(r.get("/api/v1/tags?repository=main/new").json()["tags"]))
    d.stop()


def killed():
    d = server("killed", "--max-size", str(LIMIT), "--lease", f"{LEASE}s")
    d.start()
    load = Load(d, kills=True)

    def kills(_):
        for _ in range(6):
            time.sleep(1 + random.random())
            d.kill()
            d.start()
        time.sleep(1)

    load.run(kills)
    check("pushes and pulls over kills", not load.wrong, *load.wrong[:3])
    check("the limit holds on disk over kills, but for what a kill leaves",
          load.over <= 6 * 4 * LAYER, load.over)
    r = client(d)
    got = [pull(r, f"main/p{n % 3}", f"t{n}") for n in load.tags]
    check("all that resolves is whole", set(got) <= {True, False},
          [g for g in got if g not in (True, False)][:3])
    check("the last that was acknowledged is there", got[-1] is True, got[-5:])
    check("eviction goes on after the kills", wait_for(
        lambda: store(r)["used_bytes"] <= store(r)["high_bytes"], 15), store(r))
    d.stop()


def quotas():
    d = server("quotas", "--max-size", "1GiB", "--lease", "1s", "--quota",
               "pr-1=8MiB", "--quota", "pr-2=4MiB")
    d.start()
    r = client(d)
    for n in range(3):
        push(r, "pr-2/a", f"t{n}", 700 + n)
        push(r, "main/a", f"t{n}", 700 + n)
    statuses = {push(r, f"pr-1/{'ab'[n % 2]}", f"t{n}", 800 + n).status
                for n in range(40)}
    equal("pushes beyond a quota go through", {201}, statuses)
    by_name = {s["scope"]: s for s in
               r.get("/api/v1/scopes").json()["scopes"]}
    check("the scope keeps to it",
          4 * MIB < by_name["pr-1"]["bytes"] <= 8 * MIB, by_name)
    equal("its newest is there", True, pull(r, "pr-1/b", "t39"))
    equal("others lost nothing", [True] * 6,
          [pull(r, f"{s}/a", f"t{n}") for s in ("pr-2", "main")
           for n in range(3)])
    a = push(r, "pr-2/a", "large", 900, 5 * MIB)
    equal("what can't fit is refused", (507, "INSUFFICIENT_STORAGE"),
          (a.status, a.error()))
    check("and the quota is named", "pr-2" in a.message() and
          "4.0 MiB" in a.message(), a)
    equal("nothing was lost for it", [True] * 3,
          [pull(r, "pr-2/a", f"t{n}") for n in range(3)])
    d.stop()


def stuck():
    d = server("stuck", "--max-size", "16MiB", "--lease", "1s")
    d.start()
    r = client(d)
    for n in range(11):
        push(r, "main/pinned", f"t{n}", 1000 + n)
    r.post_json("/api/v1/pin", {"repository": "main/pinned"})
    a = push(r, "main/a", "x", 2000, 8 * MIB)
    equal("nothing may go: 507", (507, "INSUFFICIENT_STORAGE"),
          (a.status, a.error()))
    check("the limit is named, and a way out", "--max-size" in a.message()
          and "16.0 MiB" in a.message() and "unpin" in a.message(), a)
    equal("all is served", [True] * 11,
          [pull(r, "main/pinned", f"t{n}") for n in range(11)])
    equal("nothing of the refused one is left", 0, store(r)["upload_bytes"])
    d.stop()
    d.command[d.command.index("16MiB")] = "8MiB"
    d.start()
    r.close()
    check("a limit below what is pinned: told to the operator", wait_for(
        lambda: "pinned-over-limit" in open(d.log_path).read(), 5))
    check("and that eviction is stuck", wait_for(
        lambda: store(r)["eviction_stuck"], 5), store(r))
    equal("all is served", [True] * 11,
          [pull(r, "main/pinned", f"t{n}") for n in range(11)])
    equal("a push is refused", 507, push(r, "main/a", "y", 2001, 1000).status)
    time.sleep(1.2)
    r.post_json("/api/v1/pin", {"repository": "main/pinned", "pinned": False})
    check("unpinned, it goes down by itself", wait_for(
        lambda: store(r)["used_bytes"] <= store(r)["high_bytes"], 15),
        store(r))
    equal("and takes pushes", 201, push(r, "main/a", "y", 2001, 1000).status)
    g = r.post_json("/api/v1/gc", {}).json()
    check("gc goes down to the low watermark",
          store(r)["used_bytes"] <= store(r)["low_bytes"], g)
    d.stop()


at_the_limit()
recently_used_stay()
killed()
quotas()
stuck()
done()
