"""Clients that meet: on one digest, on one repository, and in great numbers.

usage: together.py --data DIR --log FILE [--idle N] -- COMMAND…"""

import argparse
import json
import os
import random
import threading
import time
from functools import partial

import tap
from crowd import Crowd
from daemon import Daemon
from ledger import Ledger
from registry import Gone, Registry, digest_of, manifest
from slow import SlowClients

KIB = 1024
SANITIZED = "ASAN_OPTIONS" in os.environ
CONNECTION_MEMORY = 66 * KIB  # 64 KiB of libmicrohttpd's, and ours


def arguments():
    p = argparse.ArgumentParser()
    p.add_argument("--data", required=True)
    p.add_argument("--log", required=True)
    p.add_argument("--idle", type=int, default=10000)
    p.add_argument("command", nargs="+")
    return p.parse_args()


class Together:
    """Runs functions at once, each with a connection of its own, and collects
    what went wrong."""

    def __init__(self, hostport):
        self.hostport = hostport
        self.odd = []

    def run(self, *functions):
        barrier = threading.Barrier(len(functions))

        def call(function):
            r = Registry(self.hostport, timeout=60)
            try:
                barrier.wait(30)
                function(r)
            except Exception as e:
                self.odd.append(f"{function}: {e!r}")
            r.close()

        threads = [threading.Thread(target=call, args=(f,), daemon=True)
                   for f in functions]
        for t in threads:
            t.start()
        for t in threads:
            t.join(120)
            if t.is_alive():
                self.odd.append("a client is stuck")
        return self.odd

    def wanted(self, answer, *statuses):
        if answer.status not in statuses:
            self.odd.append(f"wanted {statuses}: {answer}")
        return answer.status


# --- on one digest

def same_digest(d, rounds=15, clients=8):
    """Many upload one blob at once: all succeed, it is kept once."""
    t = Together(d.hostport)
    rng = random.Random(1)
    before = Registry(d.hostport).stats()["store"]
    for i in range(rounds):
        data = rng.randbytes(700 * KIB)
        digest = digest_of(data)

        def upload(r, repo, data=data, digest=digest):
            push = r.put_single if rng.random() < 0.5 else r.put_two
            t.wanted(push(repo, data, digest), 201)

        # Half of them to one repository, half each to its own.
        t.run(*[partial(upload, repo=f"same/r{i}" if n % 2 else f"same/o{n}")
                for n in range(clients)])
        answer = Registry(d.hostport).blob(f"same/r{i}", digest)
        if answer.body != data:
            t.odd.append(f"wrong bytes: {answer}")
    after = Registry(d.hostport).stats()["store"]
    tap.check("same digest: all uploads of it succeed", not t.odd, *t.odd[:3],
              d.tail())
    tap.check_eq("same digest: it is kept once", rounds,
                 after["blobs"] - before["blobs"])


# --- deletes against uploads

def delete_against_upload(d, rounds=150):
    """A repository's upload is safe from another's deletes of the same blob,
    though that one may be its last holder at any moment."""
    t = Together(d.hostport)
    rng = random.Random(2)
    contents = [rng.randbytes(n) for n in (3000, 40 * KIB, 150 * KIB)]

    def keeper(r):
        for i in range(rounds):
            data = contents[i % 3]
            digest = digest_of(data)
            t.wanted(r.put_single("race/kept", data, digest), 201)
            answer = r.blob("race/kept", digest)
            if answer.status != 200 or answer.body != data:
                t.odd.append(f"acknowledged and not there: {answer}")
            t.wanted(r.blob_delete("race/kept", digest), 202)

    def deleter(r):
        for i in range(rounds):
            data = contents[i % 3]
            digest = digest_of(data)
            t.wanted(r.put_two("race/gone", data, digest), 201)
            t.wanted(r.blob_delete("race/gone", digest), 202)

    def reader(r):
        for i in range(rounds * 2):
            digest = digest_of(contents[i % 3])
            for repo in ("race/kept", "race/gone"):
                answer = r.blob(repo, digest)
                if t.wanted(answer, 200, 404) == 200 and \
                        digest_of(answer.body) != digest:
                    t.odd.append(f"wrong bytes: {answer}")

    t.run(keeper, deleter, reader, reader)
    tap.check("delete against upload: what is acknowledged is there",
              not t.odd, *t.odd[:3], d.tail())


def delete_against_manifest(d, rounds=150):
    """A manifest that was accepted has its blobs, whoever deletes them."""
    t = Together(d.hostport)
    data = b"named and deleted"
    digest = digest_of(data)
    done = threading.Event()
    accepted = []

    def tagger(r):
        for i in range(rounds):
            t.wanted(r.put_single("race/tag", data, digest), 201)
            body = manifest([(digest, len(data))], annotations={"n": str(i)})
            # 400 or 404: the blob was deleted in between.
            if t.wanted(r.manifest_put("race/tag", "latest", body),
                        201, 400, 404) == 201:
                accepted.append(i)
                whole(r)
                t.wanted(r.manifest_delete("race/tag", digest_of(body)), 202)
        done.set()

    def whole(r):
        answer = r.blob("race/tag", digest)
        if answer.status != 200:
            t.odd.append(f"a tag without its blob: {answer}")

    def deleter(r):
        rng = random.Random()
        while not done.is_set():
            time.sleep(rng.uniform(0, 0.01))
            # 409 or the like: a manifest names it.
            answer = r.blob_delete("race/tag", digest)
            t.wanted(answer, 202, 404, 400, 403, 405, 409, 412)

    t.run(tagger, deleter, deleter)
    tap.check("delete against manifest: an accepted tag is whole",
              not t.odd and 0 < len(accepted) < rounds, len(accepted),
              *t.odd[:3], d.tail())


def purge_against_push(d, rounds=60):
    """A purge takes tags away, never a blob from under a tag that stays."""
    t = Together(d.hostport)
    done = threading.Event()
    counts = {"pushed": 0, "purged": 0}

    def pusher(r):
        ledger = Ledger(r, 3)
        for i in range(rounds):
            data = ledger.noise(2000 + 500 * (i % 5))
            t.wanted(ledger.put("race/purge", data), 201)
            if t.wanted(ledger.tag("race/purge", f"t{i % 4}", [data]),
                        201, 400, 404) == 201:
                counts["pushed"] += 1
            check_tags(r)
        done.set()

    def check_tags(r):
        for i in range(4):
            answer = r.manifest("race/purge", f"t{i}")
            if t.wanted(answer, 200, 404) != 200:
                continue
            for part in json.loads(answer.body)["layers"] + [
                    json.loads(answer.body)["config"]]:
                got = r.blob("race/purge", part["digest"])
                still = r.manifest("race/purge", f"t{i}", "HEAD")
                if got.status != 200 and still.status == 200 and \
                        still.headers["docker-content-digest"] == \
                        answer.headers["docker-content-digest"]:
                    t.odd.append(f"a tag without its blob: {got}")

    def purger(r):
        while not done.is_set():
            answer = r.post_json("/api/v1/purge",
                                 {"repository": "race/purge"})
            t.wanted(answer, 200, 404)
            counts["purged"] += 1
            time.sleep(0.02)

    t.run(pusher, purger)
    tap.check("purge against push: a tag that stays is whole",
              not t.odd and counts["pushed"] > rounds // 4, counts,
              *t.odd[:3], d.tail())


# --- in great numbers

def crowd(d, count):
    """Ten thousand idle connections, and others at work among them."""
    people = Crowd(d.hostport, count)
    connected = people.gather()
    before = d.resident()
    worst, odd = work(d, 4, 4.0)
    tap.note(f"{connected} idle connections, {before >> 20} MiB resident, "
             f"slowest request of the others {worst * 1000:.0f} ms")
    tap.check_eq("crowd: all are let in", count, connected)
    tap.check("crowd: the others work on", not odd and worst < 2, worst,
              *odd[:3], d.tail())
    if SANITIZED:
        tap.skip_one("crowd: what each costs", "a sanitizer's memory counts")
    else:
        tap.check("crowd: each costs no more than its buffer",
                  before < (96 << 20) + count * CONNECTION_MEMORY, before)
    served = people.still_served(100)
    tap.check("crowd: the idle ones are served when they wake",
              served == 100, served)
    people.leave()


def work(d, clients, seconds):
    """Clients that write and read for a while: the slowest request, and what
    went wrong."""
    t = Together(d.hostport)
    slowest = [0.0]
    end = time.monotonic() + seconds

    def client(r):
        rng = random.Random()
        repo = f"work/w{rng.randrange(10 ** 9)}"
        while time.monotonic() < end:
            data = rng.randbytes(rng.choice((500, 30 * KIB, 200 * KIB)))
            begin = time.monotonic()
            t.wanted(r.put_single(repo, data, digest_of(data)), 201)
            answer = r.blob(repo, digest_of(data))
            slowest[0] = max(slowest[0], time.monotonic() - begin)
            if answer.body != data:
                t.odd.append(f"wrong bytes: {answer}")

    t.run(*[client] * clients)
    return slowest[0], t.odd


def slow_clients(d):
    """One byte a second, in header, body and reading: cut, at the price of a
    slot; a client that is only unhurried is not."""
    slow = SlowClients(d.hostport)
    slow.start()
    worst, odd = work(d, 2, 3.0)
    tap.check("slow clients: the others work on", not odd and worst < 2,
              worst, *odd[:3], d.tail())
    slow.report(limit=90)


def main():
    a = arguments()
    d = Daemon(a.command, a.data, a.log)
    try:
        d.start()
        same_digest(d)
        delete_against_upload(d)
        delete_against_manifest(d)
        purge_against_push(d)
        crowd(d, a.idle)
        slow_clients(d)
        tap.check("the server is still the same and fine",
                  d.alive() and Registry(d.hostport).request(
                      "GET", "/livez").status == 200, d.tail())
        tap.check_eq("and ends in order", 0, d.stop(40))
    except (Gone, RuntimeError) as e:
        tap.not_ok("went through", repr(e), d.tail())
    finally:
        d.stop()
    tap.finish()


main()
