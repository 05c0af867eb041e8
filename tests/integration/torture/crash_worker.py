"""One client of the crash test: random writes to repositories of its own, and
after each restart the proof that what was acknowledged is there."""

import json
import random
import threading

from crash_model import ABSENT, MAYBE, PRESENT, Book, Session, Violation
from registry import SNAPSHOT, Gone, Registry, digest_of, manifest

# Sizes around what a store treats differently: empty, inside the index, files,
# and longer than a buffer.
SIZES = [(0, 0), (1, 200), (1, 200), (4000, 5000), (16380, 16390),
         (20000, 70000), (20000, 70000), (100000, 300000), (1 << 20, 2 << 20)]
CHUNK = (100, 150000)
BLOBS_MAX = 24
TAGS = ["latest", "linux-amd64-glibc2.36", "v1"]
SHARED = "torture/shared"
BUSY = (429, 503)


class Server:
    """What all workers know of the server's state."""

    def __init__(self, hostport, plain):
        self.hostport = hostport
        self.plain = plain  # no extension, no administration API
        self.killing = threading.Event()  # set before each kill
        self.failure = None


class Worker(threading.Thread):
    def __init__(self, number, server, contents, seed, chain):
        super().__init__(daemon=True, name=f"worker-{number}")
        self.server = server
        self.contents = contents
        self.rng = random.Random(seed)
        self.repos = [f"torture/w{number}/a", f"torture/w{number}/b"]
        self.scratch = f"torture/w{number}/scratch"
        self.book = Book()
        self.chain = chain
        self.registry = Registry(server.hostport)
        self.counts = {}
        self.gate = threading.Event()      # closed while the server is down
        self.verified = threading.Event()  # since the last restart
        self.parked = threading.Event()
        self.ended = False
        self.shared = []

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

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    def expect(self, answer, *wanted):
        """The answer has one of these statuses. False: it was turned away, and
        nothing was done."""
        if answer.status in wanted:
            return True
        if answer.status in BUSY:
            self.count("turned away")
            return False
        raise Violation(f"status {answer.status}, wanted {wanted}: {answer}")

    # --- writes. Each says first what is uncertain while it is under way.

    def step(self):
        steps = [(30, self.put_blob), (25, self.put_manifest),
                 (5, self.put_bad_manifest), (15, self.read_blob), (15, self.read_tag),
                 (6, self.delete_tag), (6, self.delete_blob),
                 (3, self.delete_manifest), (4, self.put_wrong_digest)]
        if not self.server.plain:
            steps += [(20, self.session_step), (6, self.mount), (8, self.ask_missing),
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
                digest, _ = self.contents.new(self.rng, SIZES[4:])
                self.book.sessions.append(
                    Session(repo, answer.location(), digest))
        elif self.book.sessions:
            self._continue(self.rng.choice(self.book.sessions))

    def _continue(self, s):
        data = self.contents.data(s.digest)
        if s.acked == len(data):
            self._finish(s)
            return
        chunk = data[s.acked:s.acked + self.rng.randint(*CHUNK)]
        s.sent = s.acked + len(chunk)
        offset = s.acked if self.rng.random() < 0.7 else None
        answer = self.registry.patch(s.location, chunk, offset)
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

    # --- reads: whenever they answer, they must be right

    def read_blob(self):
        keys = list(self.book.blobs)
        if keys:
            self.check_blob(self.rng.choice(keys), self.rng.random() < 0.3)

    def read_tag(self):
        if self.book.tags:
            self.check_tag(self.rng.choice(list(self.book.tags)))

    def ask_missing(self):
        repo = self.rng.choice(self.repos)
        keys = [d for r, d in self.book.blobs if r == repo]
        asked = self.rng.sample(keys, min(len(keys), 40))
        if not asked:
            return
        answer = self.registry.missing(repo, asked)
        if self.expect(answer, 200):
            missing = json.loads(answer.body)["missing"]
            for digest in asked:
                self.book.saw(self.book.blobs, (repo, digest),
                              digest not in missing, "blob")

    def check_blob(self, key, head=False):
        answer = self.registry.blob(*key, method="HEAD" if head else "GET")
        if not self.expect(answer, 200, 404):
            return
        if answer.status == 200 and not head and \
                digest_of(answer.body) != key[1]:
            raise Violation(f"blob {key}: {len(answer.body)} wrong bytes")
        self.book.saw(self.book.blobs, key, answer.status == 200, "blob")

    def check_manifest(self, key):
        answer = self.registry.manifest(*key)
        if not self.expect(answer, 200, 404):
            return
        if answer.status == 200 and answer.body != self.book.bodies[key[1]]:
            raise Violation(f"manifest {key}: wrong bytes {answer}")
        self.book.saw(self.book.manifests, key, answer.status == 200,
                      "manifest")

    def check_tag(self, key):
        """Where it resolves, the whole of it must be there."""
        answer = self.registry.manifest(*key)
        if not self.expect(answer, 200, 404):
            return
        if answer.status == 404:
            self.book.saw_tag(key, None)
            return
        digest = digest_of(answer.body)
        if answer.headers["docker-content-digest"] != digest:
            raise Violation(f"tag {key}: {answer} is not {digest}")
        self.book.saw_tag(key, digest)
        self.book.saw(self.book.manifests, (key[0], digest), True, "manifest")
        for blob in self.book.named[digest]:
            self.book.saw(self.book.blobs, (key[0], blob), True, "blob")
            self.check_blob((key[0], blob), head=True)

    def check_session(self, s):
        answer = self.registry.session(s.location)
        if answer.status == 404 and s.finishing:
            self.check_blob((s.repo, s.digest))
            if self.book.blobs[(s.repo, s.digest)] != PRESENT:
                raise Violation("an upload was under way to its end, and "
                                f"neither it nor the blob is there: "
                                f"{vars(s)}")
            self.book.sessions.remove(s)
            return
        if not self.expect(answer, 204):
            return
        if not s.acked <= answer.received() <= s.sent:
            raise Violation(f"an upload session with {s.acked} bytes "
                            f"acknowledged, {s.sent} sent, has "
                            f"{answer.received()}")
        s.acked = s.sent = answer.received()
        s.finishing = False

    def verify(self):
        """All that this worker was promised, read back."""
        for key in [k for k, s in self.book.blobs.items()]:
            self.check_blob(key)
        for key in list(self.book.manifests):
            self.check_manifest(key)
        for key in list(self.book.tags):
            self.check_tag(key)
        for s in list(self.book.sessions):
            self.check_session(s)
        self._forget()

    def _forget(self):
        """What is certainly absent is asked for a few more times, at random,
        and then forgotten: the book must not grow for ever."""
        for table in (self.book.blobs, self.book.manifests):
            for key in [k for k, s in table.items() if s == ABSENT]:
                if self.rng.random() < 0.3:
                    del table[key]
