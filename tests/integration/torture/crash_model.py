"""What a client knows of a server that may be killed at any instant.

An acknowledged write is certain. A write that was under way when the server
died may have happened or not, until a read after the restart tells which; from
then on that is certain, too. Each Book belongs to one worker, who alone writes
to its repositories, so that every state of them is known."""

import random
import shutil
import subprocess

from registry import digest_of

PRESENT, ABSENT, MAYBE = "present", "absent", "maybe"


class Violation(Exception):
    """The server broke a promise."""


class Contents:
    """Blob contents by digest, kept as recipes: a test makes more bytes than
    it should hold."""

    def __init__(self):
        self.recipes = {}
        self.frames = {}
        self.zstd = shutil.which("zstd")

    @staticmethod
    def _make(recipe):
        kind, seed, size = recipe
        r = random.Random(seed)
        if kind == "text":  # compresses well: the store keeps it as zstd
            words = [b"%x" % r.getrandbits(24) for _ in range(50)]
            line = b" ".join(r.choices(words, k=200)) + b"\n"
            return (line * (size // len(line) + 1))[:size]
        return r.randbytes(size)

    def new(self, rng, sizes):
        """A new content: (digest, bytes)."""
        low, high = rng.choice(sizes)
        recipe = (rng.choice(("text", "noise")), rng.getrandbits(64),
                  rng.randint(low, high))
        data = self._make(recipe)
        digest = digest_of(data)
        self.recipes[digest] = recipe
        return digest, data

    def frame(self, digest):
        """The content as a zstd frame, as a client sends it; None without
        the program zstd."""
        if digest not in self.frames:
            self.frames[digest] = subprocess.run(
                ["zstd", "-q", "-c"], input=self.data(digest), check=True,
                capture_output=True).stdout if self.zstd else None
        return self.frames[digest]

    def data(self, digest):
        return self._make(self.recipes[digest])

    def size(self, digest):
        return self.recipes[digest][2]


class Session:
    """An upload session: `acked` bytes are promised, up to `sent` were sent."""

    def __init__(self, repo, location, digest, frame=None):
        self.repo = repo
        self.location = location
        self.digest = digest
        self.frame = frame      # a zstd frame to send whole, or None
        self.acked = 0
        self.sent = 0
        self.finishing = False  # a PUT was sent and not answered


class Book:
    def __init__(self):
        self.blobs = {}      # (repo, digest): state
        self.manifests = {}  # (repo, digest): state
        self.named = {}      # manifest digest: digests of the blobs it names
        self.bodies = {}     # manifest digest: bytes
        self.tags = {}       # (repo, tag): set of digests; None: no such tag
        self.sessions = []

    # --- what is certain

    def present_blobs(self, repo):
        return [d for (r, d), s in self.blobs.items()
                if r == repo and s == PRESENT]

    def holders(self, repo, digest):
        """States of the manifests of `repo` that name the blob."""
        return [s for (r, m), s in self.manifests.items()
                if r == repo and s != ABSENT and digest in self.named[m]]

    def tags_at(self, repo, manifest):
        return [t for (r, t), values in self.tags.items()
                if r == repo and manifest in values]

    def maybe(self, table, key):
        """Something was under way that would make the key's state new."""
        table[key] = MAYBE

    # --- what a read tells

    def saw(self, table, key, present, what):
        """A read answered: it must fit, and settles what was uncertain."""
        state = table.get(key, MAYBE)
        if state == PRESENT and not present:
            raise Violation(f"{what} {key} was acknowledged and is gone")
        if state == ABSENT and present:
            raise Violation(f"{what} {key} was deleted and is back")
        table[key] = PRESENT if present else ABSENT

    def saw_tag(self, key, digest):
        """The tag resolves to `digest`, or to nothing (None)."""
        values = self.tags.get(key, {None})
        if digest not in values:
            raise Violation(f"tag {key} names {digest}, and may only name "
                            f"one of {values}")
        self.tags[key] = {digest}
