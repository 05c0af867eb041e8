"""Kills cachectl at random instants while it restores and saves. The next run
finds its way: a folder that was half restored becomes the snapshot, and a tag
names the tree of before or the tree of after, never something in between.

usage: client_kill.py --cachectl FILE --work DIR --kills N [--seed S]
                      -- COMMAND… (that starts the server)"""

import argparse
import hashlib
import os
import random
import shutil
import stat
import subprocess
import time

import tap
from daemon import Daemon


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--cachectl", required=True)
    p.add_argument("--work", required=True)
    p.add_argument("--kills", type=int, default=20)
    p.add_argument("--seed", type=int)
    p.add_argument("command", nargs="+")
    a = p.parse_args()
    if a.seed is None:
        a.seed = int.from_bytes(os.urandom(4), "big")
    return a


def tree_of(folder):
    """What a restore must bring back: {path: all that says how it is}."""
    found = {}
    for where, folders, files in os.walk(folder):
        folders[:] = [f for f in folders
                      if f != ".cachectl" or where != folder]
        for name in folders + files:
            path = os.path.join(where, name)
            s = os.lstat(path)
            what = [stat.S_IFMT(s.st_mode), stat.S_IMODE(s.st_mode)]
            if stat.S_ISREG(s.st_mode):
                with open(path, "rb") as f:
                    what += [s.st_size, s.st_mtime_ns,
                             hashlib.sha256(f.read()).hexdigest()]
            elif stat.S_ISLNK(s.st_mode):
                what.append(os.readlink(path))
            found[os.path.relpath(path, folder)] = what
    return found


def difference(a, b):
    """The first few paths that differ."""
    return [(k, a.get(k), b.get(k)) for k in sorted(a.keys() | b.keys())
            if a.get(k) != b.get(k)][:5]


class ClientKill:
    def __init__(self, a):
        self.a = a
        self.rng = random.Random(a.seed)
        self.daemon = Daemon(a.command, os.path.join(a.work, "data"),
                             os.path.join(a.work, "log"))
        self.source = os.path.join(a.work, "source")
        self.target = os.path.join(a.work, "target")
        self.slowest = self.usual = 0.0  # seconds that a run may take

    def ctl(self, verb, folder, kill_after=None):
        """Runs it; True if it ended by itself."""
        p = subprocess.Popen(
            [self.a.cachectl, "--server", f"http://{self.daemon.hostport}",
             "--scope", "main", "--strict", verb, "tree", folder],
            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL)
        try:
            _, said = p.communicate(timeout=60 if kill_after is None else
                                    kill_after)
        except subprocess.TimeoutExpired as e:
            p.kill()
            if kill_after is None:
                p.communicate()
                raise RuntimeError(f"{verb} did not end in 60 s") from e
            p.communicate()
            return False
        if p.returncode:
            raise RuntimeError(f"{verb}: status {p.returncode}: "
                               f"{said.decode(errors='replace')}")
        return True

    def change(self):
        """Some files more, some changed, some gone."""
        os.makedirs(self.source, exist_ok=True)
        names = [f"d{i % 20}/f{i}" for i in range(400)]
        for name in self.rng.sample(names, 120):
            path = os.path.join(self.source, name)
            if os.path.exists(path) and self.rng.random() < 0.3:
                os.unlink(path)
                continue
            os.makedirs(os.path.dirname(path), exist_ok=True)
            size = self.rng.choice((0, 10, 4000, 60000, 400000))
            with open(path, "wb") as f:
                f.write(self.rng.randbytes(size))

    def restored(self):
        """The tree that a fresh restore gives."""
        fresh = os.path.join(self.a.work, "fresh")
        shutil.rmtree(fresh, ignore_errors=True)
        self.ctl("restore", fresh)
        return tree_of(fresh)

    def timed(self, verb, folder):
        begin = time.monotonic()
        self.ctl(verb, folder)
        return time.monotonic() - begin

    def restores(self):
        """Killed while restoring onto an older state of the folder."""
        killed = 0
        for _ in range(self.a.kills):
            wanted = tree_of(self.source)
            limit = self.slowest * self.rng.random()
            killed += not self.ctl("restore", self.target, limit)
            self.ctl("restore", self.target)
            diff = difference(wanted, tree_of(self.target))
            if diff:
                tap.not_ok("restore: a killed one is made good", diff,
                           f"seed {self.a.seed}")
                return
            self.change()
            self.usual = self.timed("save", self.source)
            if self.rng.random() < 0.4:
                shutil.rmtree(self.target)
        tap.note(f"restore: {killed} of {self.a.kills} were killed")
        tap.check("restore: a killed one is made good", killed > 0, killed)

    def saves(self):
        """Killed while saving a changed folder."""
        killed = torn = 0
        before = tree_of(self.source)
        for _ in range(self.a.kills):
            self.change()
            after = tree_of(self.source)
            limit = self.usual * self.rng.uniform(0, 1.4)
            killed += not self.ctl("save", self.source, limit)
            got = self.restored()
            if got not in (before, after):
                tap.not_ok("save: before or after, nothing in between",
                           difference(after, got), difference(before, got),
                           f"seed {self.a.seed}")
                return
            torn += got == before
            self.ctl("save", self.source)
            diff = difference(after, self.restored())
            if diff or tree_of(self.source) != after:
                tap.not_ok("save: a killed one is made good", diff,
                           f"seed {self.a.seed}")
                return
            before = after
        tap.note(f"save: {killed} of {self.a.kills} were killed, {torn} "
                 "before the tag moved")
        tap.check("save: before or after, nothing in between", killed > 0,
                  killed)
        tap.ok("save: a killed one is made good")

    def run(self):
        self.daemon.start()
        self.change()
        self.ctl("save", self.source)
        self.slowest = self.timed("restore", self.target)
        self.restores()
        self.saves()
        tap.check_eq("the server ends in order", 0, self.daemon.stop())


def main():
    a = arguments()
    tap.note(f"seed {a.seed}: to run it again, TORTURE_SEED={a.seed}")
    c = ClientKill(a)
    try:
        c.run()
    except (RuntimeError, OSError) as e:
        tap.not_ok("went through", repr(e), f"seed {a.seed}",
                   c.daemon.tail())
    finally:
        c.daemon.stop()
    tap.finish()


main()
