"""The reads of the crash test: whenever they answer, they must be right; and
after each restart they prove that what was acknowledged is there."""

import json

from crash_model import ABSENT, PRESENT, Book, Violation
from registry import digest_of

BUSY = (429, 503)


class Reader:
    """Reads against a book. `repos` is given by who writes to them."""

    repos = ()

    def __init__(self, registry, rng):
        self.registry = registry
        self.rng = rng
        self.book = Book()
        self.counts = {}

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

    # --- one thing

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
        # A session without an acknowledged byte may go with the process.
        if answer.status == 404 and not s.finishing and s.acked == 0:
            self.book.sessions.remove(s)
            return
        if answer.status == 404 and s.finishing:
            self.check_blob((s.repo, s.digest))
            if (s.acked > 0 and
                    self.book.blobs[(s.repo, s.digest)] != PRESENT):
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

    # --- everything

    def verify(self):
        """All that this worker was promised, read back."""
        for key in list(self.book.blobs):
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
