"""What one client was promised by a server that is not being killed: every
write is tried, the answer says what is true from then on."""

import random

from registry import digest_of, manifest


class Broken(Exception):
    """The server broke a promise."""


class Ledger:
    def __init__(self, registry, seed=1):
        self.registry = registry
        self.rng = random.Random(seed)
        self.blobs = {}  # (repo, digest): bytes
        self.tags = {}   # (repo, tag): manifest bytes

    def noise(self, size):
        return self.rng.randbytes(size)

    def text(self, size):
        line = b"%x " % self.rng.getrandbits(256)
        return (line * (size // len(line) + 1))[:size]

    def put(self, repo, data):
        """Tries to store a blob; returns the answer."""
        digest = digest_of(data)
        answer = self.registry.put_single(repo, data, digest)
        if answer.status == 201:
            self.blobs[(repo, digest)] = data
        return answer

    def tag(self, repo, tag, blobs):
        """Tries to move a tag to a new manifest of these blobs."""
        body = manifest([(digest_of(b), len(b)) for b in blobs],
                        annotations={"n": str(self.rng.getrandbits(64))})
        answer = self.registry.manifest_put(repo, tag, body)
        if answer.status == 201:
            self.tags[(repo, tag)] = body
        return answer

    def must(self, answer, *wanted):
        if answer.status not in wanted:
            raise Broken(f"status {answer.status}, wanted {wanted}: {answer}")
        return answer

    def fill(self, repo, sizes):
        """Blobs of these sizes, half of them well compressible, and a tag."""
        made = [self.text(n) if i % 2 else self.noise(n)
                for i, n in enumerate(sizes)]
        for data in made:
            self.must(self.put(repo, data), 201)
        self.must(self.tag(repo, "latest", made), 201)
        return made

    def check_all(self):
        """Reads everything back. Raises Broken with the first difference."""
        for (repo, digest), data in self.blobs.items():
            answer = self.registry.blob(repo, digest)
            if answer.status != 200 or answer.body != data:
                raise Broken(f"blob {repo} {digest} of {len(data)} bytes: "
                             f"{answer}")
        for (repo, tag), body in self.tags.items():
            answer = self.registry.manifest(repo, tag)
            if answer.status != 200 or answer.body != body:
                raise Broken(f"tag {repo}:{tag}: {answer}")
        return len(self.blobs), len(self.tags)

    def all_there(self):
        """The same as a reason: None, or what is wrong."""
        try:
            self.check_all()
        except Broken as e:
            return str(e)
        return None
