"""A tag that all workers move with If-Match. Each manifest names the one that
it replaced, so that the tag's history is a chain that can be walked: every
acknowledged move must be in it, whatever was killed meanwhile."""

import json
import threading

from crash_model import Violation
from registry import digest_of, manifest

REPO, TAG = "torture/contended", "tip"


class Chain:
    def __init__(self):
        self.lock = threading.Lock()
        self.blob = None      # (digest, size), in REPO
        self.acked = set()    # digests of manifests, since the last walk
        self.known = {}       # digest: the one before it; None: the first
        self.moves = 0
        self.lost = 0         # turns lost to another worker (412)

    def seed(self, registry):
        data = b"what every link of the chain names"
        self.blob = (digest_of(data), len(data))
        answer = registry.put_single(REPO, data, self.blob[0])
        if answer.status != 201:
            raise Violation(f"seed of the chain: {answer}")

    def move(self, worker):
        """One compare and swap by `worker`."""
        head = worker.registry.manifest(REPO, TAG, "HEAD")
        if not worker.expect(head, 200, 404):
            return
        before = head.headers.get("docker-content-digest") \
            if head.status == 200 else None
        body = manifest([self.blob], annotations={
            "before": before or "", "n": str(worker.rng.getrandbits(64))})
        condition = {"If_Match": f'"{before}"'} if before \
            else {"If_None_Match": "*"}
        answer = worker.registry.manifest_put(REPO, TAG, body, **condition)
        if not worker.expect(answer, 201, 412):
            return
        with self.lock:
            if answer.status == 201:
                self.acked.add(digest_of(body))
                self.moves += 1
            else:
                self.lost += 1

    def walk(self, registry):
        """Follows the chain from the tag down to what an earlier walk saw."""
        with self.lock:
            acked = set(self.acked)  # before the tag is read
        at = registry.manifest(REPO, TAG)
        if at.status == 404 and not acked and not self.known:
            return
        seen = {}
        while True:
            if at.status != 200:
                raise Violation(f"the chain is broken: {at}")
            digest = digest_of(at.body)
            before = json.loads(at.body)["annotations"]["before"] or None
            seen[digest] = before
            if before is None or before in self.known:
                break
            at = registry.manifest(REPO, before)
        lost = acked - seen.keys() - self.known.keys()
        if lost:
            raise Violation(f"{len(lost)} acknowledged moves of {TAG} are "
                            f"not in its history: {sorted(lost)[:3]}")
        with self.lock:
            self.known.update(seen)
            self.acked -= acked

