"""Kills the server at random instants under mixed load and proves after each
restart that what was acknowledged is there (design, invariants 1 to 3).

usage: crash.py [--kills N] [--seed S] [--workers N] [--limit SECONDS]
                [--power IMAGE_MB] [--plain] --data DIR -- COMMAND…

COMMAND starts the server, with {data} and {listen} where they belong. --plain
leaves out what only cachemountd offers. --power N makes each kill a loss of
power: the data folder lies on a file system of N MB in a file, and the server
is started again on what a copy of that file holds, without what was only in
memory. Needs root and loop devices."""

import argparse
import os
import random
import sys
import time

import tap
from crash_chain import Chain
from crash_model import Contents, Violation
from crash_worker import SHARED, SIZES, Server, Worker
from daemon import Daemon
from power import PowerDisk
from registry import Gone, Registry


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--kills", type=int, default=25)
    p.add_argument("--seed", type=int)
    p.add_argument("--workers", type=int, default=6)
    p.add_argument("--limit", type=float, default=240)
    p.add_argument("--power", type=int, default=0)
    p.add_argument("--plain", action="store_true")
    p.add_argument("--ready", default="/readyz", metavar="PATH")
    p.add_argument("--listen", metavar="HOST:PORT")
    p.add_argument("--name", default="crash")
    p.add_argument("--data", required=True)
    p.add_argument("command", nargs="+")
    a = p.parse_args()
    if a.seed is None:
        a.seed = int.from_bytes(os.urandom(4), "big")
    return a


class Crash:
    def __init__(self, a):
        self.a = a
        self.rng = random.Random(a.seed)
        self.disk = PowerDisk(a.data, a.power) if a.power else None
        self.data = os.path.join(a.data, "mount/data") if a.power else a.data
        self.daemon = Daemon(a.command, self.data,
                             os.path.join(a.data, "server.log"), a.ready,
                             hostport=a.listen)
        self.server = Server(self.daemon.hostport, a.plain)
        self.contents = Contents()
        self.chain = Chain()
        self.workers = [
            Worker(i, self.server, self.contents, self.rng.getrandbits(64),
                   self.chain) for i in range(a.workers)]
        self.kills = self.early = 0
        self.slowest = 0.0

    # --- the life of the server

    def start(self):
        self.slowest = max(self.slowest, self.daemon.start())

    def kill(self):
        self.server.killing.set()
        self.daemon.kill()
        self.kills += 1
        for w in self.workers:
            w.gate.clear()
        self.wait_all("parked", 40)
        if self.disk:
            self.disk.lose_power()

    def wait_all(self, event, seconds):
        """False if it took too long, or a worker found a fault."""
        end = time.monotonic() + seconds
        for w in self.workers:
            if not getattr(w, event).wait(max(0.0, end - time.monotonic())):
                raise Violation(f"{w.name} is stuck (not {event})")
        if self.server.failure:
            raise Violation(self.server.failure)

    def release(self):
        """The server is up: all verify, then write again."""
        self.server.killing.clear()
        for w in self.workers:
            w.verified.clear()
            w.parked.clear()
            w.gate.set()

    def seed_shared(self):
        r = Registry(self.daemon.hostport)
        shared = []
        for _ in range(8):
            digest, data = self.contents.new(self.rng, SIZES)
            answer = r.put_two(SHARED, data, digest)
            if answer.status != 201:
                raise Violation(f"seed: {answer}")
            shared.append(digest)
        if not self.a.plain:
            self.chain.seed(r)
        frames = [self.contents.new(self.rng, SIZES)[0] for _ in range(12)]
        for w in self.workers:
            w.shared = shared
            w.frames = [f for f in frames if self.contents.frame(f)]
        r.close()

    def walk_chain(self):
        r = Registry(self.daemon.hostport)
        self.chain.walk(r)
        r.close()

    def killed_while_starting(self):
        """Some restarts die before they are ready."""
        while self.rng.random() < 0.15 and self.kills < self.a.kills:
            self.daemon.spawn()
            time.sleep(self.rng.uniform(0, 0.06))
            self.kill()
            self.early += 1

    def round(self):
        self.release()
        if self.rng.random() < 0.85:
            self.wait_all("verified", 60)
            if not self.a.plain:
                self.walk_chain()
        longest = self.rng.choice((0.02, 0.3, 0.3, 0.8))
        time.sleep(self.rng.uniform(0, longest))
        if self.server.failure:
            raise Violation(self.server.failure)
        self.kill()
        self.killed_while_starting()
        self.start()

    def run(self):
        begin = time.monotonic()
        self.start()
        self.seed_shared()
        for w in self.workers:
            w.start()
        while self.kills < self.a.kills:
            if time.monotonic() - begin > self.a.limit:
                tap.note(f"time is over after {self.kills} kills")
                break
            self.round()
        return self.last_words()

    def last_words(self):
        """Everything once more, then an orderly end and a start after it."""
        self.release()
        self.wait_all("verified", 60)
        for w in self.workers:
            w.ended = True
        for w in self.workers:
            w.join(60)
        if self.server.failure:
            raise Violation(self.server.failure)
        status = self.daemon.stop()
        self.start()
        for w in self.workers:
            w.registry.close()  # was to the process before
            w.verify()
            w.registry.close()
        if not self.a.plain:
            self.walk_chain()
        return status

    def temporary_files(self, limit=10):
        """What is left of the killed runs, once the first sweep is through."""
        end = time.monotonic() + limit
        while True:
            left = [f for f in os.listdir(os.path.join(self.data, "uploads"))
                    if f.startswith("t-")]
            if not left or time.monotonic() > end:
                return left
            time.sleep(0.2)

    def counts(self):
        total = {}
        for w in self.workers:
            for what, n in w.counts.items():
                total[what] = total.get(what, 0) + n
        return total


def report(c, status, seconds):
    a = c.a
    counts = c.counts()
    tap.note(f"{c.kills} kills ({c.early} while starting) in {seconds:.0f} s, "
             f"seed {a.seed}; slowest start {c.slowest:.2f} s")
    tap.note(f"operations: {counts}; chain: {c.chain.moves} moves, "
             f"{c.chain.lost} lost turns")
    tap.check(f"{a.name}: {a.kills} kills", c.kills >= a.kills,
              f"only {c.kills} in {a.limit} s")
    tap.check(f"{a.name}: what was acknowledged is there, bit for bit",
              counts.get("put_blob", 0) > c.kills // 4, counts)
    tap.check(f"{a.name}: every tag that resolves is whole",
              counts.get("put_manifest", 0) > c.kills // 4, counts)
    if not a.plain:
        tap.check(f"{a.name}: sessions go on where they were",
                  counts.get("session_step", 0) > c.kills // 4, counts)
        tap.check(f"{a.name}: no move of a contended tag is lost",
                  c.chain.moves > 0, counts)
        stats = Registry(c.daemon.hostport).stats()["store"]
        tap.check_eq(f"{a.name}: nothing in quarantine", 0,
                     stats["quarantined"])
        tap.check_eq(f"{a.name}: an orderly end after all", 0, status)
        tap.check_eq(f"{a.name}: no temporary file is left", [],
                     c.temporary_files())


def main():
    a = arguments()
    tap.note(f"seed {a.seed}: to run it again, TORTURE_SEED={a.seed}")
    c = Crash(a)
    begin = time.monotonic()
    try:
        if c.disk:
            c.disk.create()
        report(c, c.run(), time.monotonic() - begin)
    except (Violation, RuntimeError, Gone) as e:
        tap.not_ok(f"{a.name}: kill {c.kills}, seed {a.seed}", e,
                   c.server.failure or "", c.daemon.tail())
    finally:
        if c.daemon.process:
            c.daemon.stop()
        if c.disk:
            c.disk.release()
    sys.stdout.flush()
    # Workers that hang must not keep the test from ending.
    os._exit(1 if tap.failures else 0)


main()
