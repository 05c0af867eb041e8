"""Hostile snapshots in the real server, and hostile hands in the mount."""

import argparse
import json
import os
import subprocess
import sys
import threading
import time

sys.path.append(os.path.join(os.path.dirname(__file__), "torture"))

import hostile_trees as hostile  # noqa: E402
from registry import OCI_MANIFEST, Registry, check, done, equal  # noqa: E402

SNAPSHOT = "application/vnd.cachemount.snapshot.v1"
TREE = "application/vnd.cachemount.tree.v1+jsonl"
CHUNK = "application/vnd.cachemount.chunk.v1"
HEAD = b'{"cachemount":"tree","version":1}\n'
TAG = "t"


class World:
    def __init__(self, a):
        self.cachectl, self.work = a.cachectl, a.work
        self.url = a.url
        self.registry = Registry(a.url)
        self.chunk = {"mediaType": CHUNK, "size": len(hostile.CHUNK),
                      "digest": self.registry.push_blob("main/m",
                                                        hostile.CHUNK)}

    def publish(self, blob):
        body = {"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                "artifactType": SNAPSHOT,
                "config": {"mediaType": TREE, "size": len(blob),
                           "digest": self.registry.push_blob("main/m", blob)},
                "layers": [self.chunk]}
        answer = self.registry.put_manifest("main/m", TAG, body)
        assert answer.status == 201, answer

    def run(self, *arguments, strict=True):
        return subprocess.run(
            [self.cachectl, "--server", self.url,
             *(["--strict"] if strict else []), *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True,
            timeout=120)


def listing(top):
    found = []
    for folder, folders, files in os.walk(top):
        if ".cachectl" in folders:
            folders.remove(".cachectl")
        found += [os.path.relpath(os.path.join(folder, n), top)
                  for n in folders + files]
    return sorted(found)


def lines_of(entries):
    return HEAD + b"".join(json.dumps(e).encode() + b"\n" for e in entries)


def refused(w):
    """Each is refused, and the mount it was meant for stays as it was."""
    outside = os.path.join(w.work, "outside")
    mount = os.path.join(w.work, "mount")
    os.mkdir(outside)
    os.mkdir(mount)
    w.publish(lines_of([hostile.folder("d"), hostile.file("d/f", 1000)]))
    assert w.run("restore", "-t", TAG, "m", mount).returncode == 0
    before = listing(mount)
    cases = [(name, lines_of(lines))
             for group in (hostile.paths(outside), hostile.links(outside),
                           hostile.types(), hostile.sizes())
             for name, lines in group] + list(hostile.text())
    wrong = []
    for name, blob in cases:
        w.publish(blob)
        run = w.run("restore", "-t", TAG, "m", mount)
        told = run.stderr.strip().splitlines()
        if run.returncode == 0 or len(told) != 1 or listing(mount) != before:
            wrong.append((name, run.returncode, run.stderr, listing(mount)))
    check(f"{len(cases)} hostile trees are refused in one line, and the mount "
          "is as it was", not wrong, *wrong)
    equal("nothing was written outside", [], listing(outside))
    with open(os.path.join(mount, "d", "f"), "rb") as f:
        equal("the mount's file is whole", hostile.CHUNK[:1000], f.read())

    # What nobody can restore is no obstacle to the next save.
    with open(os.path.join(mount, "new"), "w") as f:
        f.write("new")
    run = w.run("save", "-t", TAG, "m", mount)
    check("a save replaces what nobody can restore", run.returncode == 0, run)
    fresh = os.path.join(w.work, "fresh")
    run = w.run("restore", "-t", TAG, "m", fresh)
    check("and it is restored", run.returncode == 0 and
          listing(fresh) == ["d", "d/f", "new"], run, listing(fresh))


def bombs(w):
    """Sizes that would fill the disk are refused before a byte is written."""
    mount = os.path.join(w.work, "bomb")
    w.publish(hostile.million(os.path.join(w.work, "outside")))
    start = time.monotonic()
    run = w.run("restore", "-t", TAG, "m", mount)
    seconds = time.monotonic() - start
    check("a million entries with a bad one: refused",
          run.returncode != 0 and not listing(mount), run)
    check("in less than 20 s", seconds < 20, seconds)
    w.publish(lines_of([hostile.file("s", 1 << 39, data=[[0, 4]]),
                        hostile.file("t", 1 << 39, data=[[0, 4]]),
                        hostile.file("u", 1 << 39, data=[[0, 4]])]))
    run = w.run("restore", "-t", TAG, "m", mount)
    check("1.5 TiB of holes: refused", run.returncode != 0 and
          not listing(mount), run)


def swap_forever(mount, outside, stop):
    """Puts a link to `outside` where directories are, and back, quickly."""
    spare = os.path.join(mount, "link")
    while not stop.is_set():
        for i in range(5):
            name = os.path.join(mount, f"d{i}")
            try:
                os.symlink(outside, spare)
                os.rename(name, name + ".away")
                os.rename(spare, name)
                time.sleep(0.0005)
                os.unlink(name)
                os.rename(name + ".away", name)
            except OSError:
                for path in (spare,):
                    try:
                        os.unlink(path)
                    except OSError:
                        pass


def swapped(w):
    """Somebody in the same mount tries to lead a restore out of it."""
    outside = os.path.join(w.work, "elsewhere")
    mount = os.path.join(w.work, "swapped")
    os.mkdir(outside)
    os.mkdir(mount)
    entries = []
    for i in range(5):
        entries.append(hostile.folder(f"d{i}"))
        entries += [hostile.file(f"d{i}/f{k:03}", 200) for k in range(400)]
    w.publish(lines_of(entries))
    for i in range(5):
        os.mkdir(os.path.join(mount, f"d{i}"))
    stop = threading.Event()
    thread = threading.Thread(target=swap_forever,
                              args=(mount, outside, stop))
    thread.start()
    outcomes = []
    for _ in range(12):
        outcomes.append(w.run("restore", "-t", TAG, "--merge", "replace", "m",
                              mount).returncode)
        try:
            os.unlink(os.path.join(mount, ".cachectl", "state"))
        except OSError:
            pass
    stop.set()
    thread.join()
    equal("links swapped in during 12 restores lead nowhere", [],
          listing(outside))
    check("each restore ended", all(c in (0, 1, 2, 3, 4, 5, 6)
                                    for c in outcomes), outcomes)


def main():
    parser = argparse.ArgumentParser()
    for name in ("--url", "--cachectl", "--work"):
        parser.add_argument(name, required=True)
    w = World(parser.parse_args())
    refused(w)
    bombs(w)
    swapped(w)
    done()


main()
