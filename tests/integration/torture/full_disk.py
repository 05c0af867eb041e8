"""Fills the file system that the data folder is on: in the middle of an upload,
at its commit, in the index. The server answers 507 and says why, keeps running,
keeps serving, and takes writes again when there is space again.

usage: full_disk.py --name NAME --disk MOUNTPOINT -- COMMAND…"""

import argparse
import json
import os
import threading
import time

import tap
from daemon import Daemon
from ledger import Broken, Ledger
from registry import Gone, Registry, digest_of

KIB = 1024


class Disk:
    """The file system's free space, taken and given back with a file."""

    def __init__(self, path):
        self.path = path
        self.filler = os.path.join(path, "filler")

    def free(self):
        s = os.statvfs(self.path)
        return s.f_bavail * s.f_frsize

    def leave(self, size):
        """Takes all space but about `size` bytes; real blocks, on disk."""
        block = b"\xa5" * (64 * KIB)
        with open(self.filler, "ab", buffering=0) as f:
            while True:
                step = min(len(block), self.free() - size)
                if step <= 0:
                    break
                try:
                    f.write(block[:step])
                except OSError:
                    break
            os.fsync(f.fileno())

    def give_back(self):
        with open(self.filler, "wb") as f:
            os.fsync(f.fileno())


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--name", required=True)
    p.add_argument("--disk", required=True)
    p.add_argument("--log", required=True)
    p.add_argument("command", nargs="+")
    return p.parse_args()


class FullDisk:
    def __init__(self, a):
        self.name = a.name
        self.disk = Disk(a.disk)
        self.daemon = Daemon(a.command, os.path.join(a.disk, "data"), a.log)
        self.registry = Registry(self.daemon.hostport)
        self.ledger = Ledger(self.registry)

    def check(self, what, truth, *why):
        return tap.check(f"{self.name}: {what}", truth, *why)

    def check_full(self, what, answer):
        """507, and a body that tells a person what to do about it."""
        try:
            message = json.loads(answer.body)["errors"][0]["message"]
        except (ValueError, LookupError, TypeError):
            message = None
        self.check(what, answer.status == 507 and message and
                   "space" in message.lower(), answer)

    def check_kept(self, when):
        why = self.ledger.all_there()
        self.check(f"all that was acknowledged reads back, {when}",
                   why is None, why, self.daemon.tail())

    def check_alive(self, when):
        self.check(f"the server runs, {when}", self.daemon.alive(),
                   self.daemon.tail())

    # --- the disk is full …

    def mid_upload(self):
        """… in the middle of a body."""
        self.disk.leave(1024 * KIB)
        data = self.ledger.noise(6 * 1024 * KIB)
        self.check_full("507 in the middle of a body",
                        self.ledger.put("full/upload", data))
        self.check_alive("after a body that did not fit")

    def mid_session(self):
        """… in the middle of a session: what was acknowledged stays."""
        self.disk.leave(1024 * KIB)
        data = self.ledger.noise(5 * 1024 * KIB)
        first = 300 * KIB
        r = self.registry
        begin = self.ledger.must(r.begin("full/session"), 202)
        answer = r.patch(begin.location(), data[:first], 0)
        self.ledger.must(answer, 202)
        location = answer.location()
        self.check_full("507 to a chunk that does not fit",
                        r.patch(location, data[first:], first))
        status = r.session(location)
        self.check("a session keeps what was acknowledged",
                   status.status == 204 and
                   first <= status.received() < len(data), status)
        return location, data

    def end_session(self, location, data):
        """The same session, when there is space again."""
        r = self.registry
        digest = digest_of(data)
        have = r.session(location).received()
        answer = r.patch(location, data[have:], have)
        if self.check("the session goes on with space",
                      answer.status == 202, answer):
            answer = r.finish(answer.location(), digest)
            self.check("and ends", answer.status == 201, answer)
            self.ledger.blobs[("full/session", digest)] = data

    def at_commit(self):
        """… somewhere between the body's first byte and the answer: with a
        little more space each time."""
        counts = {}
        odd = []
        for room in range(0, 1000 * KIB, 40 * KIB):
            self.disk.give_back()
            self.disk.leave(room)
            for data in (self.ledger.noise(300 * KIB),
                         self.ledger.text(400 * KIB),
                         self.ledger.noise(6 * KIB)):
                answer = self.ledger.put("full/commit", data)
                counts[answer.status] = counts.get(answer.status, 0) + 1
                if answer.status not in (201, 507):
                    odd.append(answer)
        tap.note(f"{self.name}: at commit: {counts}")
        self.check("201 or 507 at every stage of a commit",
                   not odd and 507 in counts and self.daemon.alive(),
                   counts, *odd[:3], self.daemon.tail())

    def in_index(self):
        """… to the last block: the index cannot grow."""
        counts = {}
        odd = []
        for i in range(3000):
            self.disk.leave(0)
            data = self.ledger.noise(1 + i % 8000)
            answer = self.ledger.put("full/index", data)
            counts[answer.status] = counts.get(answer.status, 0) + 1
            if answer.status not in (201, 507):
                odd.append(answer)
            if counts.get(507, 0) >= 20 or odd:
                break
        tap.note(f"{self.name}: small blobs: {counts}")
        self.check("201 or 507 when the index cannot grow",
                   not odd and 507 in counts, counts, *odd[:3])
        blobs = [d for (r, _), d in self.ledger.blobs.items()
                 if r == "full/keep"][:2]
        answers = [self.ledger.tag("full/keep", f"t{i}", blobs)
                   for i in range(30)]
        self.check("201 or 507 to manifests, then",
                   {a.status for a in answers} <= {201, 507}, answers[-1])

    def many_at_once(self):
        """Eight clients run into the wall together."""
        self.disk.give_back()
        self.disk.leave(4096 * KIB)
        odd, stored = [], []

        def client(seed):
            ledger = Ledger(Registry(self.daemon.hostport), seed)
            try:
                for size in (900 * KIB, 100, 300 * KIB, 20 * KIB) * 3:
                    data = ledger.noise(size)
                    answer = ledger.put(f"full/many{seed}", data)
                    if answer.status not in (201, 507):
                        odd.append(answer)
            except Gone as e:
                odd.append(e)
            stored.append(ledger.blobs)

        threads = [threading.Thread(target=client, args=(i,))
                   for i in range(8)]
        for t in threads:
            t.start()
        for t in threads:
            t.join(60)
        for blobs in stored:
            self.ledger.blobs.update(blobs)
        self.check("201 or 507 to eight clients at once",
                   not odd and len(stored) == 8, *odd[:3], self.daemon.tail())

    def health(self):
        live = self.registry.request("GET", "/livez")
        self.check("alive while full", live.status == 200, live)
        self.check("not ready while full", self.turns(503))
        self.disk.give_back()
        self.check("ready when there is space", self.turns(200))
        self.disk.leave(0)

    def turns(self, status, limit=8):
        """Whether /readyz comes to say `status`, soon."""
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.registry.request("GET", "/readyz").status == status:
                return True
            time.sleep(0.2)
        return False

    def restart(self, how):
        """Starts again on the full disk: it serves what it has."""
        self.disk.leave(0)
        self.registry.close()
        if how == "kill":
            self.daemon.kill()
        else:
            self.check("an orderly end while full", self.daemon.stop() == 0,
                       self.daemon.tail())
        # Not /readyz: it says that nothing can be written.
        self.daemon.ready_path = "/livez"
        self.daemon.start()
        self.check_kept(f"after {how} and a start while full")

    # --- and is not

    def space_again(self):
        self.disk.give_back()
        data = self.ledger.noise(700 * KIB)
        answer = self.ledger.put("full/again", data)
        self.check("a write works at once when there is space",
                   answer.status == 201, answer)
        self.check("and a tag", self.ledger.tag(
            "full/again", "latest", [data]).status == 201)

    def run(self):
        self.daemon.start()
        self.ledger.fill("full/keep", [0, 50, 5000, 16384, 16385, 90 * KIB,
                                       700 * KIB, 1500 * KIB])
        self.mid_upload()
        self.disk.give_back()
        session = self.mid_session()
        self.check_kept("while full")
        self.disk.give_back()
        self.end_session(*session)
        self.at_commit()
        self.check_alive("after commits that did not fit")
        self.check_kept("after commits that did not fit")
        self.many_at_once()
        self.in_index()
        self.check_alive("with a full index")
        self.check_kept("with a full index")
        self.health()
        self.space_again()
        self.restart("kill")
        self.space_again()
        self.restart("stop")
        self.space_again()
        self.daemon.stop()
        self.registry.close()
        self.daemon.start()
        self.check_kept("after an orderly start")


def main():
    f = FullDisk(arguments())
    try:
        f.run()
    except (Broken, Gone, RuntimeError) as e:
        tap.not_ok(f"{f.name}: went through", repr(e), f.daemon.tail())
    finally:
        f.daemon.stop()
    tap.finish()


main()
