"""A store that heals: scrub, backup, fsck and rebuild over damaged data
folders, killed in the middle, and on a full disk.

usage: care.py --work DIR [--small-disk DIR] --cachemountd FILE --cachectl FILE"""

import argparse
import json
import os
import random
import shutil
import sqlite3
import subprocess
import time

import tap
from daemon import Daemon
from ledger import Broken, Ledger
from registry import Gone, Registry, digest_of

KIB = 1024
FAST = ("--scrub-rate", "1GiB/s", "--scrub-every", "1s")
STILL = ("--scrub-rate", "0", "--backup-every", "0")


class Folder:
    """A data folder, the server over it, and the tools for it."""

    def __init__(self, a, name, options=STILL, path=None):
        self.a = a
        self.name = name
        self.path = path or os.path.join(a.work, name)
        self.log = os.path.join(a.work, name + ".log")
        self.set_options(options)
        self.registry = Registry(self.daemon.hostport, timeout=30)
        self.ledger = Ledger(self.registry)

    def set_options(self, options):
        """What the next server is started with, on the same address."""
        before = getattr(self, "daemon", None)
        self.daemon = Daemon([self.a.cachemountd, "--data", "{data}",
                              "--listen", "{listen}", *options], self.path,
                             self.log, hostport=before and before.hostport)

    def filled(self, small=0):
        self.daemon.start()
        self.ledger.fill("care/a", [10, 9000, 40 * KIB, 300 * KIB, 900 * KIB])
        for i in range(small):
            self.must_put(f"care/s{i % 7}", self.ledger.noise(900 + i))
        return self

    def must_put(self, repo, data):
        self.ledger.must(self.ledger.put(repo, data), 201)
        return data

    def stop(self):
        self.registry.close()
        return self.daemon.stop()

    def kill(self):
        self.registry.close()
        self.daemon.kill()

    def check(self, what, truth, *why):
        return tap.check(f"{self.name}: {what}", truth, *why)

    def check_kept(self, when):
        why = self.ledger.all_there()
        self.check(f"all reads back, {when}", why is None, why,
                   self.daemon.tail())

    # --- the tools

    def command(self, verb, *options):
        return [self.a.cachemountd, verb, "--data", self.path, *options]

    def run(self, verb, *options):
        """The exit status, and all that was said."""
        r = subprocess.run(self.command(verb, *options), timeout=120,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                           text=True, errors="replace")
        return r.returncode, r.stdout

    def check_run(self, what, wanted, words, verb, *options):
        """Runs a tool: its exit status, and that it says these words."""
        status, said = self.run(verb, *options)
        return self.check(what, status == wanted and
                          all(w in said for w in words),
                          f"status {status}, wanted {wanted}", said)

    def check_clean(self, when):
        self.check_run(f"fsck finds nothing, {when}", 0,
                       (" 0 harmful findings",), "fsck", "--read-data")

    def kill_in_the_middle(self, verb, *options):
        """Starts a tool and kills it at a random instant; whether it was still
        at work."""
        p = subprocess.Popen(self.command(verb, *options),
                             stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
        time.sleep(self.a.rng.uniform(0.001, 0.15))
        alive = p.poll() is None
        p.kill()
        p.wait()
        return alive

    def backup(self):
        """A backup by the running server: its state at the end."""
        answer = self.registry.post_json("/api/v1/backup", {})
        end = time.monotonic() + 60
        while answer.status == 200 and time.monotonic() < end:
            state = json.loads(answer.body)
            if state["state"] != "running":
                return state
            time.sleep(0.1)
            answer = self.registry.request("GET", "/api/v1/backup")
        return {"state": repr(answer)}

    def counters(self):
        return self.registry.stats()["counters"]

    def await_counter(self, name, value, limit=30):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.counters().get(name, 0) >= value:
                return True
            time.sleep(0.1)
        return False

    def start_fails(self, what, wanted, *words):
        with open(self.log, "ab"):
            size = os.path.getsize(self.log)
        self.daemon.spawn()
        try:
            status = self.daemon.process.wait(30)
        except subprocess.TimeoutExpired:
            self.daemon.kill()
            status = None
        with open(self.log, encoding="utf-8", errors="replace") as f:
            f.seek(size)
            said = f.read()
        return self.check(what, status == wanted and said.count("\n") == 1
                          and all(w in said for w in words),
                          f"status {status}, wanted {wanted}", said)

    # --- its files

    def index(self):
        return os.path.join(self.path, "index.db")

    def blob_file(self, data):
        hexes = digest_of(data).partition(":")[2]
        where = os.path.join(self.path, "blobs", "sha256", hexes[:2])
        for name in os.listdir(where):
            if name.startswith(hexes):
                return os.path.join(where, name)
        raise FileNotFoundError(hexes)

    def names(self, folder):
        return sorted(os.listdir(os.path.join(self.path, folder)))


def flip_bit(path):
    with open(path, "r+b") as f:
        f.seek(os.path.getsize(path) // 2)
        byte = f.read(1)
        f.seek(-1, os.SEEK_CUR)
        f.write(bytes([byte[0] ^ 0x10]))


# --- the scrub

def scrub(a):
    f = Folder(a, "scrub", FAST + ("--backup-every", "0")).filled(200)
    lost = f.must_put("care/b", f.ledger.noise(200 * KIB))
    bad = f.must_put("care/b", f.ledger.text(300 * KIB))
    f.ledger.must(f.ledger.tag("care/b", "lost", [lost]), 201)
    f.ledger.must(f.ledger.tag("care/b", "bad", [bad]), 201)
    f.check("a whole round finds nothing", f.await_counter("scrub_rounds", 2)
            and f.counters().get("scrub_damaged", 0) == 0, f.counters())
    os.unlink(f.blob_file(lost))
    flip_bit(f.blob_file(bad))
    f.check("it finds a deleted file and a flipped bit",
            f.await_counter("scrub_damaged", 2), f.counters())
    status = [f.registry.manifest("care/b", t).status for t in ("lost", "bad")]
    status += [f.registry.blob("care/b", digest_of(d), "HEAD").status
               for d in (lost, bad)]
    f.check("both read as absent, and what names them",
            status == [404] * 4, status)
    f.check("the bad bytes are in quarantine", len(f.names("quarantine")) == 1)
    with open(f.log, encoding="utf-8") as log:
        said = log.read()
    f.check("the log tells of both", said.count("blob-damaged") == 2 and
            digest_of(lost) in said and digest_of(bad) in said)
    for data in (lost, bad):
        f.must_put("care/b", data)
    f.check_kept("after they were pushed again")
    state = f.registry.stats()["scrub"]
    f.check("stats tell of the scrub", set(state) ==
            {"running", "progress", "began", "ended"} and state["ended"],
            state)
    f.stop()
    f.check_clean("at the end")


def scrub_killed(a):
    """Killed while it reads; the round goes on and finds what there is."""
    f = Folder(a, "scrub-killed").filled(100)
    f.stop()
    f.set_options(("--scrub-rate", "2MiB/s", "--backup-every", "0"))
    bad = next(d for d in f.ledger.blobs.values() if len(d) == 40 * KIB)
    flip_bit(f.blob_file(bad))
    for _ in range(4):
        f.daemon.start()
        time.sleep(a.rng.uniform(0.05, 0.4))
        f.kill()
    f.daemon.start()
    f.check("it finds the damage in the end",
            f.await_counter("scrub_rounds", 1), f.counters())
    f.check("and reads as absent", f.registry.blob(
        "care/a", digest_of(bad)).status == 404)
    f.must_put("care/a", bad)
    f.check_kept("when it is pushed again")
    f.stop()
    f.check_clean("at the end")


# --- a damaged index

def lose_log(f):
    """What a stop on a full disk leaves, and a kill."""
    for extra in ("-wal", "-shm"):
        if os.path.exists(f.index() + extra):
            os.unlink(f.index() + extra)


def cut(f):
    lose_log(f)
    os.truncate(f.index(), os.path.getsize(f.index()) // 2)


def garbage(f):
    lose_log(f)
    with open(f.index(), "wb") as out:
        out.write(os.urandom(60000))


def empty(f):
    os.truncate(f.index(), 0)


def deleted(f):
    os.unlink(f.index())


def rebuilt(a, name, damage, at_start=True):
    f = Folder(a, name).filled(300)
    state = f.backup()
    f.check("a backup is made", state["state"] == "done" and
            state["file"] in ("backups/" + n for n in f.names("backups")),
            state)
    late = f.must_put("care/late", f.ledger.noise(50 * KIB))
    f.ledger.must(f.ledger.tag("care/late", "late", [late]), 201)
    f.stop()
    damage(f)
    if at_start:
        f.start_fails("the start says what to run", 6,
                      "cachemountd rebuild --data")
    f.check_run("fsck says what to run", 6, ("cachemountd rebuild",), "fsck")
    kept = os.path.exists(f.index()) and open(f.index(), "rb").read()
    f.check_run("it is rebuilt", 0, ("from ", "tags"), "rebuild")
    if kept:
        aside = [n for n in os.listdir(f.path)
                 if n.startswith("index.db.damaged-")]
        f.check("the old index is kept", len(aside) == 1 and
                os.path.getsize(os.path.join(f.path, aside[0])) == len(kept),
                os.listdir(f.path))
    f.check_run("nothing to rebuild then", 1, ("nothing to rebuild",),
                "rebuild")
    f.check_clean("after it")
    f.daemon.start()
    f.check("what came after the backup is a miss", [
        f.registry.manifest("care/late", "late").status,
        f.registry.blob("care/late", digest_of(late)).status] == [404, 404])
    del f.ledger.tags[("care/late", "late")]
    del f.ledger.blobs[("care/late", digest_of(late))]
    f.check_kept("that the backup knew")
    f.must_put("care/late", late)
    f.ledger.must(f.ledger.tag("care/late", "late", [late]), 201)
    f.check_kept("with what is pushed again")
    f.stop()


def no_backup(a):
    f = Folder(a, "no-backup").filled()
    f.stop()
    deleted(f)
    f.check_run("without a backup it says so", 3, ("no backup", "--empty"),
                "rebuild")
    f.start_fails("and nothing is begun", 6, "cachemountd rebuild --data")
    f.check_run("--empty begins with no names", 0, ("0 tags",), "rebuild",
                "--empty")
    f.daemon.start()
    f.check("all is a miss", {f.registry.blob(r, d).status
                              for r, d in f.ledger.blobs} == {404})
    for (repo, _), data in list(f.ledger.blobs.items()):
        f.must_put(repo, data)
    f.ledger.tags.clear()
    f.check_kept("when it is pushed again")
    f.stop()


def locked(a):
    """Another program has the index open and locked."""
    f = Folder(a, "locked").filled()
    f.stop()
    db = sqlite3.connect(f.index(), isolation_level=None)
    db.execute("BEGIN EXCLUSIVE")
    f.start_fails("the start says that it is locked", 4, "locked")
    db.execute("ROLLBACK")
    db.close()
    f.daemon.start()
    f.check_kept("when it is not any more")
    f.check_run("fsck of a served folder says that it is in use", 4, ("use",),
                "fsck")
    f.check_run("so does rebuild", 4, ("use",), "rebuild", "--force")
    f.check_run("and backup, with the way out", 4, ("cachectl backup",),
                "backup", os.path.join(a.work, "copy"))
    f.stop()


def by_hand(a):
    """cachectl backup, and copies to a file."""
    f = Folder(a, "by-hand").filled()
    r = subprocess.run([a.cachectl, "--server",
                        "http://" + f.daemon.hostport, "backup"],
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                       text=True, timeout=60)
    f.check("cachectl backup", r.returncode == 0 and
            "backups/index-000001.db" in r.stdout, r)
    f.stop()
    copy = os.path.join(a.work, "by-hand.db")
    f.check_run("a copy to a file", 0, (), "backup", copy)
    f.check_run("not over one that is there", 1, ("exists",), "backup", copy)
    shutil.rmtree(os.path.join(f.path, "backups"))
    garbage(f)
    f.check_run("serves a rebuild", 0, ("by-hand.db",), "rebuild", "--from",
                copy)
    f.daemon.start()
    f.check_kept("from the copy")
    f.stop()
    f.check_run("an unknown option", 2, ("--help",), "fsck", "--force")
    f.check_run("help", 0, ("--repair",), "fsck", "--help")


# --- killed in the middle

def backup_killed(a):
    f = Folder(a, "backup-killed").filled(2000)
    for _ in range(6):
        f.registry.post_json("/api/v1/backup", {})
        time.sleep(a.rng.uniform(0, 1.2))
        f.kill()
        f.daemon.start()
    state = f.backup()
    f.check("a backup is made in the end", state["state"] == "done", state)
    f.check("no leftovers, and no more than are kept",
            1 <= len(f.names("backups")) <= 2 and
            all(n.startswith("index-") for n in f.names("backups")),
            f.names("backups"))
    f.check_kept("after the kills")
    f.stop()
    garbage(f)
    f.check_run("the backup serves", 0, ("from ",), "rebuild")
    f.check_clean("after the rebuild")
    f.daemon.start()
    f.check_kept("after the rebuild")
    f.stop()


def rebuild_killed(a):
    f = Folder(a, "rebuild-killed").filled(2000)
    f.backup()
    lost = next(d for d in f.ledger.blobs.values() if len(d) == 40 * KIB)
    f.stop()
    os.unlink(f.blob_file(lost))
    garbage(f)
    killed = sum(f.kill_in_the_middle("rebuild") for _ in range(12))
    tap.note(f"rebuild-killed: {killed} of 12 were at work")
    status, said = f.run("rebuild")
    f.check("it ends when it is run again", status == 0 or
            "nothing to rebuild" in said,
            status, said)
    f.check_clean("then")
    f.daemon.start()
    f.check("the tag of a lost blob does not resolve",
            f.registry.manifest("care/a", "latest").status == 404)
    f.must_put("care/a", lost)
    f.check_kept("when it is pushed again")
    f.stop()


def killed_at_the_limit(a):
    """fsck agrees with a server that was killed while it evicts, and with its
    totals."""
    f = Folder(a, "at-the-limit", ("--max-size", "16MiB", "--lease", "1s") +
               STILL)
    f.daemon.start()
    taken = 0
    for n in range(5):
        end = time.monotonic() + a.rng.uniform(1.5, 3)
        while time.monotonic() < end:
            layers = [f.ledger.noise(60 * KIB) for _ in range(6)]
            layers += [f.ledger.noise(300) for _ in range(20)]
            answers = [f.ledger.put(f"s{n}/a", d) for d in layers]
            answers.append(f.ledger.tag(f"s{n}/a", f"t{taken}", layers))
            taken += {x.status for x in answers} == {201}
        f.kill()
        f.check_run(f"fsck agrees after kill {n + 1}", 0,
                    (" 0 harmful findings",), "fsck", "--read-data")
        f.daemon.start()
    evicted = f.counters().get("swept_blobs", 0)
    f.check("and it did evict", taken * 360 * KIB > 16 << 20, taken, evicted)
    f.stop()
    f.check_clean("at the end")


def repair_killed(a):
    f = Folder(a, "repair-killed").filled(1500)
    f.stop()
    lost = [d for d in f.ledger.blobs.values() if len(d) > 16 * KIB]
    for data in lost:
        os.unlink(f.blob_file(data))
    db = sqlite3.connect(f.index())
    db.execute("UPDATE blobs SET holders = holders + 1")
    db.execute("UPDATE repo_blobs SET refs = refs + 1")
    db.execute("UPDATE totals SET value = value + 3"
               " WHERE name <> 'quarantined'")
    db.commit()
    db.close()
    f.check_run("fsck finds it", 8, ("totals:", "tables:", "blob:"), "fsck")
    for _ in range(10):
        f.kill_in_the_middle("fsck", "--repair")
    f.check_run("fsck --repair ends when it is run again", 0, (" 0 left",),
                "fsck", "--repair")
    f.check_clean("then")
    f.daemon.start()
    f.check("the tag of lost blobs does not resolve",
            f.registry.manifest("care/a", "latest").status == 404)
    for data in lost:
        f.must_put("care/a", data)
    f.check_kept("when they are pushed again")
    f.stop()


# --- a full disk

def fill_disk(path, leave):
    with open(os.path.join(path, "filler"), "ab", buffering=0) as out:
        while True:
            s = os.statvfs(path)
            step = min(64 * KIB, s.f_bavail * s.f_frsize - leave)
            if step <= 0:
                return
            out.write(bytes(step))


def full_disk(a):
    if not a.small_disk:
        tap.skip_one("full-disk", "needs root, for a disk of its own")
        return
    disk = a.small_disk
    f = Folder(a, "full-disk", path=os.path.join(disk, "data")).filled(1500)
    f.check("a backup is made", f.backup()["state"] == "done")
    fill_disk(disk, 64 * KIB)
    state = f.backup()
    f.check("a backup that finds no room says so", state["state"] == "failed"
            and "space" in state["failure"] and state["count"] == 1, state)
    f.check("and leaves nothing", len(f.names("backups")) == 1,
            f.names("backups"))
    f.check_kept("while full")
    f.stop()
    garbage(f)
    fill_disk(disk, 64 * KIB)
    f.check_run("a rebuild that finds no room says so", 3, ("space",),
                "rebuild")
    f.check("and leaves the old index where it is",
            os.path.getsize(f.index()) == 60000 and
            not [n for n in os.listdir(f.path) if "rebuild" in n],
            os.listdir(f.path))
    os.unlink(os.path.join(disk, "filler"))
    f.check_run("with room it is rebuilt", 0, ("from ",), "rebuild")
    f.check_clean("then")
    f.daemon.start()
    f.check_kept("then")
    f.stop()


CASES = [
    scrub, scrub_killed,
    lambda a: rebuilt(a, "cut", cut, at_start=False),
    lambda a: rebuilt(a, "garbage", garbage),
    lambda a: rebuilt(a, "empty", empty),
    lambda a: rebuilt(a, "deleted", deleted),
    no_backup, locked, by_hand, backup_killed, rebuild_killed, repair_killed,
    killed_at_the_limit,
    full_disk,
]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--work", required=True)
    p.add_argument("--small-disk", default="")
    p.add_argument("--cachemountd", required=True)
    p.add_argument("--cachectl", required=True)
    a = p.parse_args()
    a.rng = random.Random(int(os.environ.get("TORTURE_SEED", "1")))
    for case in CASES:
        try:
            case(a)
        except (Broken, Gone, RuntimeError, OSError,
                subprocess.SubprocessError) as e:
            tap.not_ok(f"{case.__name__}: went through", repr(e))
    tap.finish()


main()
