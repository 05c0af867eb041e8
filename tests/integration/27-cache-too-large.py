"""Pushes build caches as BuildKit shapes them, of 1 MiB and a byte more, and an
image, for 27-cache-too-large.sh."""
import sys

from registry import *

CACHE = "application/vnd.buildkit.cacheconfig.v0"
NAME = "caches/app"
r = Registry(sys.argv[1])


def blob(size, kind):
    return {"mediaType": kind, "size": size,
            "digest": r.push_blob(NAME, b" " * size)}


layer = blob(1000, OCI_LAYER)
for size, word in ((1 << 20, "fits"), ((1 << 20) + 1, "large")):
    config = blob(size, CACHE)
    for kind, media, body in (
            ("manifest", OCI_MANIFEST, {"config": config, "layers": [layer]}),
            ("index", OCI_INDEX, {"manifests": [layer, config]})):
        body.update(schemaVersion=2, mediaType=media)
        a = r.put_manifest(NAME, f"{kind}-{word}", body, media)
        equal(f"{kind}, {word}: pushed", 201, a.status)
r.push_image(NAME, "image", "seed")
done()
