"""What 25-buildkit.sh needs besides BuildKit.

image TAR LAYOUT   an OCI layout of one layer, the tar, under the tag "base"
steps LOG          "CACHED of ALL": the steps RUN and COPY of a build's plain
                   progress, and how many of them were cached
"""
import gzip
import hashlib
import json
import os
import re
import sys


def put(layout, data):
    digest = hashlib.sha256(data).hexdigest()
    with open(os.path.join(layout, "blobs", "sha256", digest), "wb") as f:
        f.write(data)
    return {"digest": "sha256:" + digest, "size": len(data)}


def image(tar, layout):
    os.makedirs(os.path.join(layout, "blobs", "sha256"))
    with open(tar, "rb") as f:
        plain = f.read()
    kind = "application/vnd.oci.image."
    layer = dict(put(layout, gzip.compress(plain, 1, mtime=0)),
                 mediaType=kind + "layer.v1.tar+gzip")
    config = dict(put(layout, json.dumps({
        "architecture": "amd64" if os.uname().machine == "x86_64"
        else "arm64",
        "os": "linux",
        "config": {"Env": ["PATH=/bin"], "Cmd": ["/bin/sh"]},
        "rootfs": {"type": "layers", "diff_ids": [
            "sha256:" + hashlib.sha256(plain).hexdigest()]},
    }).encode()), mediaType=kind + "config.v1+json")
    manifest = dict(put(layout, json.dumps({
        "schemaVersion": 2, "mediaType": kind + "manifest.v1+json",
        "config": config, "layers": [layer]}).encode()),
        mediaType=kind + "manifest.v1+json",
        annotations={"org.opencontainers.image.ref.name": "base"})
    with open(os.path.join(layout, "index.json"), "w") as f:
        json.dump({"schemaVersion": 2, "manifests": [manifest]}, f)
    with open(os.path.join(layout, "oci-layout"), "w") as f:
        json.dump({"imageLayoutVersion": "1.0.0"}, f)


def steps(log):
    """A cached step whose layers are fetched loses its CACHED to the progress
    of that; but one that ran has said so, as each RUN says "ran"."""
    names, cached, fetched, ran = set(), set(), set(), set()
    with open(log, errors="replace") as f:
        for line in f:
            if found := re.match(r"#(\d+) \[.*\] (RUN|COPY) ", line):
                names.add(found[1])
            elif found := re.match(r"#(\d+) CACHED$", line):
                cached.add(found[1])
            elif found := re.match(r"#(\d+) extracting sha256:", line):
                fetched.add(found[1])
            elif found := re.match(r"#(\d+) [\d.]+ ran$", line):
                ran.add(found[1])
    print(f"{len((cached | fetched - ran) & names)} of {len(names)}")


{"image": image, "steps": steps}[sys.argv[1]](*sys.argv[2:])
