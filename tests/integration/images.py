"""Makes images by hand, so that every byte is ours: OUT/layout, an OCI layout
with the tags "single" and "multi" (an index of two platforms), and OUT/docker,
skopeo's dir: form of a Docker schema 2 image."""

import gzip
import io
import json
import os
import sys
import tarfile

from registry import (DOCKER_MANIFEST, OCI_CONFIG, OCI_INDEX, OCI_MANIFEST,
                      noise, sha256)

OUT = sys.argv[1]
OCI_LAYER_GZIP = "application/vnd.oci.image.layer.v1.tar+gzip"


def write(path, data):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "wb") as f:
        f.write(data)


def layer(name, size):
    """A gzipped tar with two files, and the digest of the tar."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        for path, data in ((f"{name}.bin", noise(size, name.encode())),
                           ("etc/motd", b"hello from " + name.encode())):
            info = tarfile.TarInfo(path)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return gzip.compress(plain.getvalue(), mtime=0), sha256(plain.getvalue())


def parts(name, architecture):
    """Config and layers of an image: [(bytes, digest)], config first."""
    layers = [layer(f"{name}-{i}", 200000 * i + 10) for i in range(3)]
    config = json.dumps({
        "architecture": architecture, "os": "linux",
        "config": {"Cmd": ["/hello"]},
        "rootfs": {"type": "layers", "diff_ids": [d for _, d in layers]},
        "history": [{"created_by": "by hand"}] * 3,
    }).encode()
    return [(b, sha256(b)) for b in [config] + [b for b, _ in layers]]


def descriptor(media_type, data, **more):
    return dict(mediaType=media_type, digest=sha256(data), size=len(data),
                **more)


def manifest(blobs, media_type, config_type, layer_type):
    return json.dumps({
        "schemaVersion": 2, "mediaType": media_type,
        "config": descriptor(config_type, blobs[0][0]),
        "layers": [descriptor(layer_type, b) for b, _ in blobs[1:]],
    }, indent=2).encode()


def layout():
    root = OUT + "/layout"
    entries = []

    def blob(data):
        write(f"{root}/blobs/sha256/{sha256(data)[7:]}", data)

    def oci(name, architecture):
        blobs = parts(name, architecture)
        for data, _ in blobs:
            blob(data)
        body = manifest(blobs, OCI_MANIFEST, OCI_CONFIG, OCI_LAYER_GZIP)
        blob(body)
        return body

    single = oci("single", "amd64")
    for architecture in ("amd64", "arm64"):
        entries.append(descriptor(
            OCI_MANIFEST, oci("multi-" + architecture, architecture),
            platform={"os": "linux", "architecture": architecture}))
    index = json.dumps({"schemaVersion": 2, "mediaType": OCI_INDEX,
                        "manifests": entries}, indent=1).encode()
    blob(index)
    write(root + "/oci-layout", b'{"imageLayoutVersion":"1.0.0"}')
    write(root + "/index.json", json.dumps({
        "schemaVersion": 2, "manifests": [
            descriptor(OCI_MANIFEST, single, annotations={
                "org.opencontainers.image.ref.name": "single"}),
            descriptor(OCI_INDEX, index, annotations={
                "org.opencontainers.image.ref.name": "multi"})],
    }).encode())


def docker():
    blobs = parts("docker", "amd64")
    for data, digest in blobs:
        write(f"{OUT}/docker/{digest[7:]}", data)
    write(OUT + "/docker/manifest.json", manifest(
        blobs, DOCKER_MANIFEST,
        "application/vnd.docker.container.image.v1+json",
        "application/vnd.docker.image.rootfs.diff.tar.gzip"))
    write(OUT + "/docker/version", b"Directory Transport Version: 1.1\n")


layout()
docker()
