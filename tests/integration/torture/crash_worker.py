"""One client of the crash test: random writes to repositories of its own."""

import random
import threading

from crash_model import ABSENT, MAYBE, PRESENT, Session, Violation
from crash_reader import Reader
from registry import SNAPSHOT, Gone, Registry, digest_of, manifest

# Sizes around what a store treats differently: empty, inside the index, files,
# and longer than a buffer.
SIZES = [(0, 0), (1, 200), (1, 200), (4000, 5000), (16380, 16390),
         (20000, 70000), (20000, 70000), (100000, 300000), (1 << 20, 2 << 20)]
CHUNK = (100, 150000)
BLOBS_MAX = 24
TAGS = ["latest", "linux-amd64-glibc2.36", "v1"]
SHARED = "torture/shared"


class Server:
    """What all workers know of the server's state."""

    def __init__(self, hostport, plain):
        self.hostport = hostport
        self.plain = plain  # no extension, no administration API
        self.killing = threading.Event()  # set before each kill
        self.failure = None


class Worker(Reader, threading.Thread):
    def __init__(self, number, server, contents, seed, chain):
        threading.Thread.__init__(self, daemon=True, name=f"worker-{number}")
        Reader.__init__(self, Registry(server.hostport), random.Random(seed))
        self.server = server
        self.contents = contents
        self.repos = [f"torture/w{number}/a", f"torture/w{number}/b"]
        self.scratch = f"torture/w{number}/scratch"
        self.chain = chain
        self.gate = threading.Event()      # closed while the server is down
        self.verified = threading.Event()  # since the last restart
        self.parked = threading.Event()
        self.ended = False
        self.shared = []
        self.frames = []  # digests of contents that are sent as zstd

    # --- the thread

    def run(self):
        try:
            while not self.ended:
                self.parked.set()
                self.gate.wait()
                self.parked.clear()
                self._until_gone()
        except Exception as e:  # a Violation, or a defect of this test
            self.server.failure = self.server.failure or f"{self.name}: {e!r}"
            self.verified.set()
            self.parked.set()

    def _until_gone(self):
        try:
            self.verify()
            self.verified.set()
            while self.gate.is_set() and not self.ended:
                self.step()
        except Gone as e:
            if not self.server.killing.wait(3):
                raise Violation(f"cut off without being killed: {e}") from e
        self.registry.close()  # the next one is to another process
        self.gate.clear()

    # --- writes. Each says first what is uncertain while it is under way.

    def step(self):
        steps = [(30, self.put_blob), (25, self.put_manifest),
                 (5, self.put_bad_manifest), (15, self.read_blob), (15, self.read_tag),
                 (6, self.delete_tag), (6, self.delete_blob),
                 (3, self.delete_manifest), (4, self.put_wrong_digest)]
        if not self.server.plain:
            steps += [(20, self.session_step), (8, self.put_frame),
                      (6, self.mount), (8, self.ask_missing),
                      (2, self.purge), (8, self.move_contended),
                      (4, self.put_stale)]
        weights, calls = zip(*steps)
        call = self.rng.choices(calls, weights)[0]
        call()
        self.count(call.__name__)

    def put_blob(self, repo=None):
        repo = repo or self.rng.choice(self.repos)
        if len(self.book.present_blobs(repo)) > BLOBS_MAX:
            self.delete_blob(repo)
            return
        digest, data = self.contents.new(self.rng, SIZES)
        key = (repo, digest)
        if self.book.blobs.get(key) != PRESENT:
            self.book.maybe(self.book.blobs, key)
        if self.expect(self._push(repo, data, digest), 201):
            self.book.blobs[key] = PRESENT

    def _push(self, repo, data, digest):
        if not self.server.plain and self.rng.random() < 0.5:
            return self.registry.put_single(repo, data, digest)
        return self.registry.put_two(repo, data, digest)

    def session_step(self):
        """Begins a session, or goes on with one."""
        if len(self.book.sessions) < 3 and self.rng.random() < 0.3:
            repo = self.rng.choice(self.repos)
            answer = self.registry.begin(repo)
            if self.expect(answer, 202):
                self.book.sessions.append(self._session(repo, answer))
        elif self.book.sessions:
            self._continue(self.rng.choice(self.book.sessions))

    def _session(self, repo, answer):
        """Of plain chunks, or of one zstd frame that several have sent."""
        if self.frames and self.rng.random() < 0.3:
            digest = self.rng.choice(self.frames)
            return Session(repo, answer.location(), digest,
                           self.contents.frame(digest))
        digest, _ = self.contents.new(self.rng, SIZES[4:])
        return Session(repo, answer.location(), digest)

    def _continue(self, s):
        data = s.frame or self.contents.data(s.digest)
        if s.acked == len(data):
            self._finish(s)
            return
        if s.frame and s.acked > 0:
            self._cancel(s)  # a frame is sent whole, or not at all
            return
        end = len(data) if s.frame else s.acked + self.rng.randint(*CHUNK)
        chunk = data[s.acked:end]
        s.sent = s.acked + len(chunk)
        offset = s.acked if self.rng.random() < 0.7 else None
        answer = self.registry.patch(s.location, chunk, offset,
                                     "zstd" if s.frame else None)
        if self.expect(answer, 202):
            if answer.received() != s.sent:
                raise Violation(f"{s.sent} bytes sent, {answer}")
            s.acked = s.sent
            s.location = answer.location()
        else:
            s.sent = s.acked

    def _finish(self, s):
        key = (s.repo, s.digest)
        if self.book.blobs.get(key) != PRESENT:
            self.book.maybe(self.book.blobs, key)
        s.finishing = True
        answer = self.registry.finish(s.location, s.digest)
        s.finishing = False
        if self.expect(answer, 201):
            self.book.blobs[key] = PRESENT
            self.book.sessions.remove(s)

    def _cancel(self, s):
        self.book.sessions.remove(s)
        # One without an acknowledged byte may have gone with the process.
        gone = [404] if s.acked == 0 else []
        self.expect(self.registry.session(s.location, "DELETE"), 204, *gone)

    def put_frame(self):
        """A blob as zstd, in one request."""
        if not self.frames:
            return
        repo, digest = self.rng.choice(self.repos), self.rng.choice(self.frames)
        key = (repo, digest)
        if self.book.blobs.get(key) != PRESENT:
            self.book.maybe(self.book.blobs, key)
        answer = self.registry.put_single(
            repo, self.contents.frame(digest), digest, Content_Encoding="zstd")
        if self.expect(answer, 201):
            self.book.blobs[key] = PRESENT

    def put_wrong_digest(self):
        repo = self.rng.choice(self.repos)
        _, data = self.contents.new(self.rng, SIZES)
        wrong = digest_of(data + b"!")
        self.book.maybe(self.book.blobs, (repo, wrong))
        self.expect(self._push(repo, data, wrong), 400)
        self.book.blobs[(repo, wrong)] = ABSENT

    def _new_manifest(self, repo, **more):
        """Its digest, bytes and blobs; None without blobs to name."""
        have = self.book.present_blobs(repo)
        if not have:
            return None
        blobs = self.rng.sample(have, self.rng.randint(1, min(6, len(have))))
        body = manifest([(d, self.contents.size(d)) for d in blobs],
                        annotations={"n": str(self.rng.getrandbits(64))},
                        artifactType=SNAPSHOT, **more)
        digest = digest_of(body)
        self.book.named[digest] = set(blobs)
        self.book.bodies[digest] = body
        return digest, body

    def put_manifest(self, repo=None):
        repo = repo or self.rng.choice(self.repos)
        made = self._new_manifest(repo)
        if not made:
            return
        digest, body = made
        tag = self.rng.choice(TAGS)
        values = self.book.tags.setdefault((repo, tag), {None})
        headers = self._condition(values)
        self.book.maybe(self.book.manifests, (repo, digest))
        values.add(digest)
        answer = self.registry.manifest_put(repo, tag, body, **headers)
        if self.expect(answer, 201):
            self.book.manifests[(repo, digest)] = PRESENT
            self.book.tags[(repo, tag)] = {digest}
        else:
            self.book.manifests[(repo, digest)] = ABSENT
            values.discard(digest)

    def _condition(self, values):
        """A precondition that holds, or none."""
        if self.server.plain or len(values) > 1 or self.rng.random() < 0.4:
            return {}
        value = next(iter(values))
        return {"If_Match": f'"{value}"'} if value else {"If_None_Match": "*"}

    def put_stale(self):
        """A precondition that does not hold: nothing changes."""
        repo, tag = self.rng.choice(self.repos), self.rng.choice(TAGS)
        made = self._new_manifest(repo)
        values = self.book.tags.get((repo, tag), {None})
        if not made or None in values:
            return
        if self.rng.random() < 0.5:
            headers = {"If_None_Match": "*"}
        else:
            headers = {"If_Match": f'"{made[0]}"'}
        answer = self.registry.manifest_put(repo, tag, made[1], **headers)
        self.expect(answer, 412)
        self.book.manifests[(repo, made[0])] = ABSENT

    def put_bad_manifest(self):
        """One that names a blob that is not there: refused, nothing changes."""
        repo, tag = self.rng.choice(self.repos), self.rng.choice(TAGS)
        absent = digest_of(b"%x" % self.rng.getrandbits(64))
        body = manifest([(absent, 16)])
        answer = self.registry.manifest_put(repo, tag, body)
        self.expect(answer, 400, 404)

    def delete_tag(self):
        key = (self.rng.choice(self.repos), self.rng.choice(TAGS))
        values = self.book.tags.setdefault(key, {None})
        certain = len(values) == 1
        had = values - {None}
        if self.server.plain:
            return
        values.add(None)
        answer = self.registry.manifest_delete(*key)
        wanted = (202, 404) if not certain else (202,) if had else (404,)
        if self.expect(answer, *wanted):
            self.book.tags[key] = {None}

    def delete_manifest(self):
        known = [k for k, s in self.book.manifests.items()
                 if s == PRESENT and k[0] in self.repos]
        if not known:
            return
        key = self.rng.choice(known)
        self.book.maybe(self.book.manifests, key)
        for tag in self.book.tags_at(*key):
            self.book.tags[(key[0], tag)].add(None)
        answer = self.registry.manifest_delete(*key)
        if not self.expect(answer, 202):
            return
        self.book.manifests[key] = ABSENT
        for tag in self.book.tags_at(*key):
            self.book.tags[(key[0], tag)].discard(key[1])

    def delete_blob(self, repo=None):
        repo = repo or self.rng.choice(self.repos)
        have = self.book.present_blobs(repo)
        if not have:
            return
        digest = self.rng.choice(have)
        holders = self.book.holders(repo, digest)
        if PRESENT in holders:
            if not self.server.plain:  # named by a manifest: refused
                answer = self.registry.blob_delete(repo, digest)
                self.expect(answer, 405, 409, 412, 403, 400)
            elif len(have) > BLOBS_MAX:
                self.delete_manifest()
            return
        self.book.maybe(self.book.blobs, (repo, digest))
        answer = self.registry.blob_delete(repo, digest)
        if MAYBE in holders and answer.status not in (202, 404):
            self.book.blobs[(repo, digest)] = PRESENT
        elif self.expect(answer, 202):
            self.book.blobs[(repo, digest)] = ABSENT

    def purge(self):
        """Fills the scratch repository and purges it."""
        book, repo = self.book, self.scratch
        for _ in range(3):
            self.put_blob(repo)
        self.put_manifest(repo)
        for table in (book.blobs, book.manifests):
            for key in [k for k in table if k[0] == repo]:
                book.maybe(table, key)
        tags = [k for k in book.tags if k[0] == repo]
        for key in tags:
            book.tags[key].add(None)
        answer = self.registry.post_json("/api/v1/purge",
                                         {"repository": repo})
        if self.expect(answer, 200):
            for key in tags:
                book.tags[key] = {None}

    def mount(self):
        if not self.shared:
            return
        repo, digest = self.rng.choice(self.repos), self.rng.choice(self.shared)
        if self.book.blobs.get((repo, digest)) != PRESENT:
            self.book.maybe(self.book.blobs, (repo, digest))
        answer = self.registry.mount(repo, digest, SHARED)
        if self.expect(answer, 201):
            self.book.blobs[(repo, digest)] = PRESENT

    def move_contended(self):
        """Compare and swap on the tag that all workers fight for."""
        self.chain.move(self)
