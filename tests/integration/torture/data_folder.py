"""A data folder that is not as it should be: read-only, in use, written by a
newer version, its index cut or overwritten, its blobs gone or damaged. Each has
its one clear line or behaviour; nothing wrong is served, nothing is lost that
was whole.

usage: data_folder.py --work DIR [--read-only DIR] -- COMMAND…"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess

import tap
from daemon import Daemon
from ledger import Broken, Ledger
from registry import Gone, Registry, digest_of

KIB = 1024


class Folder:
    """A data folder with something in it, and the server over it."""

    def __init__(self, a, name):
        self.a = a
        self.name = name
        self.path = os.path.join(a.work, name)
        self.log = os.path.join(a.work, name + ".log")
        self.daemon = Daemon(a.command, self.path, self.log)
        self.registry = Registry(self.daemon.hostport, timeout=20)
        self.ledger = Ledger(self.registry)

    def filled(self):
        self.daemon.start()
        self.ledger.fill("folder/a", [10, 9000, 40 * KIB, 300 * KIB,
                                      1200 * KIB])
        return self

    def stop(self):
        self.registry.close()
        return self.daemon.stop()

    def check(self, what, truth, *why):
        return tap.check(f"{self.name}: {what}", truth, *why)

    def start_fails(self, what, *words):
        """The server ends, not with 0, and its one line has these words."""
        size = os.path.getsize(self.log) if os.path.exists(self.log) else 0
        self.daemon.spawn()
        try:
            status = self.daemon.process.wait(15)
        except subprocess.TimeoutExpired:
            status = None
            self.daemon.kill()
        with open(self.log, encoding="utf-8", errors="replace") as f:
            f.seek(size)
            said = f.read()
        tap.note(f"{self.name}: {said.strip()}")
        return self.check(
            what, status not in (None, 0) and said.count("\n") == 1 and
            status > 0 and all(w in said.lower() for w in words),
            f"status {status}", said)

    def check_kept(self, when):
        why = self.ledger.all_there()
        self.check(f"all reads back, {when}", why is None, why,
                   self.daemon.tail())

    # --- its files

    def index(self):
        return os.path.join(self.path, "index.db")

    def blob_file(self, data):
        """The file that holds a blob, plain or compressed; None: in the
        index."""
        hexes = digest_of(data).partition(":")[2]
        for where, _, files in os.walk(os.path.join(self.path, "blobs")):
            for name in files:
                if name.startswith(hexes):
                    return os.path.join(where, name)
        return None

    def blob_files(self):
        return sorted(os.path.join(w, f) for w, _, files in
                      os.walk(os.path.join(self.path, "blobs"))
                      for f in files)

    def quarantine(self):
        path = os.path.join(self.path, "quarantine")
        return os.listdir(path) if os.path.isdir(path) else []


def flip_bit(path, at=None):
    with open(path, "r+b") as f:
        f.seek(0, os.SEEK_END)
        at = f.tell() // 2 if at is None else at
        f.seek(at)
        byte = f.read(1)
        f.seek(at)
        f.write(bytes([byte[0] ^ 0x10]))


# --- folders that cannot be used

def read_only(a):
    f = Folder(a, "read-only")
    if not a.read_only:
        tap.skip_one("read-only", "needs root, for a read-only mount")
        return
    f.daemon = Daemon(a.command, a.read_only, f.log)
    f.start_fails("says that it cannot write", "read-only")


def no_folder(a):
    f = Folder(a, "no-folder")
    with open(f.path, "w", encoding="ascii") as out:
        out.write("a file\n")
    f.start_fails("a file in its place is refused", "no-folder")
    f.path = os.path.join(f.path, "below")
    f.daemon = Daemon(a.command, f.path, f.log)
    f.start_fails("a path through a file is refused", "no-folder")


def two_servers(a):
    f = Folder(a, "two-servers").filled()
    second = Folder(a, "two-servers")
    second.log = second.daemon.log_path = os.path.join(a.work, "second.log")
    second.start_fails("the second says that it is in use", "use")
    f.check("the first goes on", f.daemon.alive())
    f.check_kept("after the second was refused")
    f.ledger.must(f.ledger.put("folder/b", b"still writing"), 201)
    f.daemon.kill()
    f.registry.close()
    f.daemon.start()
    f.check_kept("by a third, after the first was killed")
    f.stop()


# --- the index

def newer_schema(a):
    f = Folder(a, "newer-schema").filled()
    f.stop()
    db = sqlite3.connect(f.index())
    version = db.execute("PRAGMA user_version").fetchone()[0]
    db.execute(f"PRAGMA user_version = {version + 1}")
    db.close()
    f.start_fails("says that a newer version wrote it", "newer")
    db = sqlite3.connect(f.index())
    found = db.execute("PRAGMA user_version").fetchone()[0]
    db.execute(f"PRAGMA user_version = {version}")
    db.close()
    f.check("and left it as it was", version > 0 and found == version + 1,
            version, found)
    f.daemon.start()
    f.check_kept("by the version that wrote it")
    f.stop()


def damaged_index(a, name, damage):
    """An index that is no index: refused; the blobs' files stay."""
    f = Folder(a, name).filled()
    f.stop()
    kept = f.index() + ".kept"
    shutil.copy(f.index(), kept)
    files = f.blob_files()
    for extra in ("-wal", "-shm"):
        if os.path.exists(f.index() + extra):
            os.unlink(f.index() + extra)
    damage(f.index())
    f.start_fails("is refused", "index")
    f.check("the blobs' files stay", f.blob_files() == files and files,
            files, f.blob_files())
    shutil.copy(kept, f.index())
    f.daemon.start()
    f.check_kept("once the index is back")
    f.stop()


def cut_to(size):
    def damage(path):
        os.truncate(path, size if size >= 0 else os.path.getsize(path) // 2)
    return damage


def overwrite_head(path):
    with open(path, "r+b") as f:
        f.write(os.urandom(4096))


def overwrite_all(path):
    size = os.path.getsize(path)
    with open(path, "wb") as f:
        f.write(os.urandom(size))


def rotten_pages(a):
    """Pages that rotted inside: found when they are read, not at the start.
    Whatever is answered is right or an error, and the server stays."""
    f = Folder(a, "rotten-pages").filled()
    for i in range(300):
        f.ledger.must(f.ledger.put(f"folder/r{i % 20}",
                                   f.ledger.noise(100 + 20 * i)), 201)
    f.stop()
    size = os.path.getsize(f.index())
    with open(f.index(), "r+b") as out:
        for page in range(4, size // 4096, 3):
            out.seek(page * 4096)
            out.write(b"\xee" * 4096)
    f.daemon.ready_path = "/livez"
    try:
        f.daemon.start()
    except RuntimeError:
        f.check("is refused in one line, not by a crash",
                f.daemon.process.returncode > 0, f.daemon.tail())
        return
    wrong, counts = [], {}
    for (repo, digest), data in f.ledger.blobs.items():
        answer = f.registry.blob(repo, digest)
        counts[answer.status] = counts.get(answer.status, 0) + 1
        if answer.status == 200 and answer.body != data:
            wrong.append(digest)
        f.ledger.put(repo, data + b"more")
    tap.note(f"rotten-pages: {counts}")
    f.check("no wrong bytes are served, and the server stays",
            not wrong and f.daemon.alive(), wrong[:3], f.daemon.tail())
    f.stop()


# --- blobs

def check_absent(f, what, repo, data, got=False):
    """It reads as absent, by every way to ask."""
    digest = digest_of(data)
    head = f.registry.blob(repo, digest, "HEAD")
    get = f.registry.blob(repo, digest)
    missing = f.registry.missing(repo, [digest])
    f.check(f"{what}: reads as absent", (head.status, get.status) ==
            (404, 404) and digest in json.loads(missing.body)["missing"],
            head, get, missing)


def check_restored(f, what, repo, data):
    """Pushed again, it is whole."""
    digest = digest_of(data)
    answer = f.ledger.put(repo, data)
    get = f.registry.blob(repo, digest)
    f.check(f"{what}: pushed again, it is whole", answer.status == 201 and
            get.status == 200 and get.body == data, answer, get)


def verify(f, repo, digests):
    answer = f.registry.post_json("/api/v1/verify", {
        "repository": repo, "digests": digests})
    if answer.status != 200:
        return {"answer": repr(answer)}
    return {r["digest"]: r["status"]
            for r in json.loads(answer.body)["results"]}


def get_or_cut(f, repo, digest):
    """A GET of a damaged blob: the answer, or None if it was cut off."""
    try:
        return f.registry.blob(repo, digest)
    except Gone:
        return None


def missing_file(a):
    f = Folder(a, "missing-file").filled()
    for what, data in (("plain", f.ledger.noise(200 * KIB)),
                       ("compressed", f.ledger.text(200 * KIB))):
        f.ledger.must(f.ledger.put("folder/a", data), 201)
        path = f.blob_file(data)
        os.unlink(path)
        f.registry.blob("folder/a", digest_of(data))
        check_absent(f, what, "folder/a", data)
        check_restored(f, what, "folder/a", data)
        os.unlink(f.blob_file(data))
        # Nobody noticed yet, and it is pushed again, to here and elsewhere.
        check_restored(f, f"{what}, unnoticed", "folder/a", data)
        os.unlink(f.blob_file(data))
        check_restored(f, f"{what}, elsewhere", "folder/b", data)
    f.check_kept("at the end")
    f.stop()


def flipped_bit(a):
    f = Folder(a, "flipped-bit").filled()
    for what, data in (("plain", f.ledger.noise(200 * KIB)),
                       ("compressed", f.ledger.text(900 * KIB))):
        digest = digest_of(data)
        f.ledger.must(f.ledger.put("folder/a", data), 201)
        f.ledger.must(f.ledger.put("folder/b", data), 201)
        before = len(f.quarantine())
        flip_bit(f.blob_file(data))
        found = verify(f, "folder/a", [digest])
        f.check(f"{what}: verify finds it", found.get(digest) == "corrupt",
                found)
        f.check(f"{what}: it is in quarantine",
                len(f.quarantine()) == before + 1, f.quarantine())
        check_absent(f, what, "folder/a", data)
        check_absent(f, f"{what}, in the other repository", "folder/b", data)
        check_restored(f, what, "folder/a", data)
        f.check(f"{what}: verify is content",
                verify(f, "folder/a", [digest]) == {digest: "ok"})
        check_restored(f, f"{what}, in the other repository", "folder/b",
                       data)
    check_verify_tag(f)
    f.check_kept("at the end")
    f.stop()


def check_verify_tag(f):
    """verify by tag names the one bad blob among the good."""
    blobs = [f.ledger.noise(50 * KIB) for _ in range(5)]
    for data in blobs:
        f.ledger.must(f.ledger.put("folder/t", data), 201)
    f.ledger.must(f.ledger.tag("folder/t", "latest", blobs), 201)
    flip_bit(f.blob_file(blobs[2]))
    answer = f.registry.post_json("/api/v1/verify", {
        "repository": "folder/t", "tag": "latest"})
    bad = [r["digest"] for r in json.loads(answer.body)["results"]
           if r["status"] != "ok"]
    f.check("verify of a tag names the one bad blob",
            bad == [digest_of(blobs[2])], answer)
    check_restored(f, "of a tag", "folder/t", blobs[2])


def short_file(a):
    """A blob's file that was cut: never a body that looks whole."""
    f = Folder(a, "short-file").filled()
    for what, data in (("plain", f.ledger.noise(900 * KIB)),
                       ("compressed", f.ledger.text(900 * KIB))):
        digest = digest_of(data)
        f.ledger.must(f.ledger.put("folder/a", data), 201)
        path = f.blob_file(data)
        os.truncate(path, os.path.getsize(path) // 2)
        answer = get_or_cut(f, "folder/a", digest)
        f.check(f"{what}: no body that looks whole",
                answer is None or answer.status != 200, answer)
        verify(f, "folder/a", [digest])
        check_absent(f, what, "folder/a", data)
        check_restored(f, what, "folder/a", data)
    f.check_kept("at the end")
    f.stop()


def rotten_inline(a):
    """A blob inside the index, damaged there."""
    f = Folder(a, "rotten-inline").filled()
    data = f.ledger.noise(3000)
    f.ledger.must(f.ledger.put("folder/a", data), 201)
    f.check("a small blob has no file", f.blob_file(data) is None)
    f.stop()
    if not damage_inline(f.index(), data):
        tap.skip_one("rotten-inline", "its bytes are not found in the index")
        return
    f.daemon.start()
    found = verify(f, "folder/a", [digest_of(data)])
    f.check("verify finds it", found.get(digest_of(data)) == "corrupt", found)
    check_absent(f, "inline", "folder/a", data)
    check_restored(f, "inline", "folder/a", data)
    f.check_kept("at the end")
    f.stop()


def damage_inline(path, data):
    """Flips a bit of the one value in the index that is these bytes."""
    db = sqlite3.connect(path)
    bad = bytes([data[0] ^ 1]) + data[1:]
    changed = 0
    tables = [t for t, in db.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table'")]
    for table in tables:
        columns = [c[1] for c in db.execute(f"PRAGMA table_info({table})")]
        for column in columns:
            changed += db.execute(
                f"UPDATE {table} SET {column} = ? WHERE {column} = ?",
                (bad, data)).rowcount
    db.commit()
    db.close()
    return changed == 1


CASES = [
    read_only, no_folder, two_servers, newer_schema,
    lambda a: damaged_index(a, "index-cut", cut_to(-1)),
    lambda a: damaged_index(a, "index-cut-short", cut_to(100)),
    lambda a: damaged_index(a, "index-empty", cut_to(0)),
    lambda a: damaged_index(a, "index-gone", os.unlink),
    lambda a: damaged_index(a, "index-overwritten", overwrite_all),
    lambda a: damaged_index(a, "index-head", overwrite_head),
    rotten_pages, missing_file, flipped_bit, short_file, rotten_inline,
]


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--work", required=True)
    p.add_argument("--read-only", default="")
    p.add_argument("command", nargs="+")
    a = p.parse_args()
    for case in CASES:
        try:
            case(a)
        except (Broken, Gone, RuntimeError, OSError) as e:
            tap.not_ok(f"{case.__name__}: went through", repr(e))
    tap.finish()


main()
