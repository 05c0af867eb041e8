import sys
from concurrent.futures import ThreadPoolExecutor

from registry import *

r = Registry(sys.argv[1])


def dump(value, indent=None):
    return json.dumps(value, indent=indent).encode()


CONFIG = b'{"architecture":"amd64"}'
LAYER = noise(3000, b"layer")


def good(name):
    return image(r.push_blob(name, CONFIG), len(CONFIG),
                 r.push_blob(name, LAYER), len(LAYER))


def round_trip():
    """Odd white space and all: the bytes come back as they were."""
    body = dump(good("man/one"), indent=3) + b"\n\n"
    digest = sha256(body)
    a = r.put_manifest("man/one", "v1", body)
    equal("put by tag: status", 201, a.status)
    equal("put by tag: fields",
          (f"/v2/man/one/manifests/{digest}", digest, f'"{digest}"'),
          (a["Location"], a["Docker-Content-Digest"], a["ETag"]))
    for reference in ("v1", digest):
        path = f"/v2/man/one/manifests/{reference}"
        a = r.get(path)
        kind = reference[:6]
        equal(f"get {kind}: status", 200, a.status)
        check(f"get {kind}: exact bytes", a.body == body)
        wanted = {
            "Content-Type": OCI_MANIFEST,
            "Content-Length": str(len(body)),
            "Docker-Content-Digest": digest,
            "ETag": f'"{digest}"',
        }
        equal(f"get {kind}: fields", wanted, {k: a[k] for k in wanted})
        h = r.head(path)
        equal(f"head {kind}", (200, b"", wanted),
              (h.status, h.body, {k: h[k] for k in wanted}))
        for accept in ("text/html", DOCKER_MANIFEST, "*/*;q=0", ""):
            equal(f"get {kind}: never 404 for Accept {accept[:12]!r}", 200,
                  r.get(path, accept=accept).status)
        equal(f"get {kind}: If-None-Match", 304,
              r.get(path, if_none_match=f'"{digest}"').status)
        equal(f"get {kind}: another If-None-Match", 200,
              r.get(path, if_none_match='"sha256:0"').status)
    check("a tag is asked for again each time",
          r.get("/v2/man/one/manifests/v1")["Cache-Control"] == "no-cache")
    a = r.put_manifest("man/one", digest, body)
    equal("put by digest", 201, a.status)
    a = r.put_manifest("man/one", "typed", body,
                       OCI_MANIFEST + "; charset=utf-8")
    equal("parameters of the type are ignored", (201, OCI_MANIFEST),
          (a.status, r.get("/v2/man/one/manifests/typed")["Content-Type"]))
    a = r.put_manifest("man/one", "untyped", body, None)
    equal("mediaType does without Content-Type", 201, a.status)
    big = dict(good("man/one"), annotations={"x": "y" * (4 << 20)})
    a = r.put_manifest("man/one", "big", big)
    equal("over 4 MiB: put", 201, a.status)
    check("over 4 MiB: get",
          r.get("/v2/man/one/manifests/big").body == dump(big))


def media_types():
    """All four kinds, and a tag that moves from one to another."""
    name = "man/kinds"
    oci = good(name)
    docker = dict(oci, mediaType=DOCKER_MANIFEST)
    entries = []
    for kind, value in ((OCI_MANIFEST, oci), (DOCKER_MANIFEST, docker)):
        body = dump(value)
        equal(f"kind {kind[-20:]}", 201,
              r.put_manifest(name, "tag", body, kind).status)
        entries.append({"mediaType": kind, "digest": sha256(body),
                        "size": len(body),
                        "platform": {"os": "linux", "architecture": "amd64"}})
    for kind in (OCI_INDEX, DOCKER_LIST):
        body = dump({"schemaVersion": 2, "mediaType": kind,
                     "manifests": entries})
        equal(f"kind {kind[-20:]}", 201,
              r.put_manifest(name, "tag", body, kind).status)
        a = r.get(f"/v2/{name}/manifests/tag")
        equal(f"kind {kind[-20:]}: back", (kind, body),
              (a["Content-Type"], a.body))
    old = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_LAYER, "digest": sha256(LAYER),
         "size": len(LAYER)}]})
    equal("an index of blobs, as BuildKit once wrote it", 201,
          r.put_manifest(name, "old", old, OCI_INDEX).status)
    foreign = dict(oci, layers=oci["layers"] + [{
        "mediaType": "application/vnd.docker.image.rootfs.foreign.diff.tar."
        "gzip", "digest": sha256(b"foreign"), "size": 7,
        "urls": ["http://nowhere"]}])
    equal("a foreign layer may be absent", 201,
          r.put_manifest(name, "foreign", foreign).status)
    subject = dict(oci, subject={
        "mediaType": OCI_MANIFEST, "digest": sha256(b"no subject"),
        "size": 5}, artifactType="application/x-test")
    a = r.put_manifest(name, "subject", subject)
    equal("a subject may be absent", 201, a.status)
    equal("it is told that it counts", sha256(b"no subject"),
          a["OCI-Subject"])
    none = dict(oci, layers=[])
    equal("no layers", 201, r.put_manifest(name, "none", none).status)


def refused():
    """Each refusal says which field."""
    name = "man/bad"
    ok = good(name)
    missing = sha256(b"missing")
    entry = ok["layers"][0]

    def layer(**change):
        return dict(ok, layers=[dict(entry, **change)])

    def without(value, key):
        return {k: v for k, v in value.items() if k != key}

    cases = [
        ("not JSON", b"not json", "MANIFEST_INVALID", "JSON"),
        ("nothing", b"", "MANIFEST_INVALID", "JSON"),
        ("not UTF-8", b'{"schemaVersion":2,"x":"\xff"}', "MANIFEST_INVALID",
         "JSON"),
        ("an array", b"[]", "MANIFEST_INVALID", "object"),
        ("deep nesting", b"[" * 100000, "MANIFEST_INVALID", "JSON"),
        ("a doubled key", b'{"schemaVersion":2,"schemaVersion":2}',
         "MANIFEST_INVALID", "uplicate"),
        ("trailing bytes", dump(ok) + b"x", "MANIFEST_INVALID", "JSON"),
        ("schemaVersion 1", dict(ok, schemaVersion=1), "MANIFEST_INVALID",
         "schemaVersion"),
        ("no schemaVersion", without(ok, "schemaVersion"),
         "MANIFEST_INVALID", "schemaVersion"),
        ("another mediaType", dict(ok, mediaType=OCI_INDEX),
         "MANIFEST_INVALID", "mediaType"),
        ("no config", without(ok, "config"), "MANIFEST_INVALID", "config"),
        ("no layers", without(ok, "layers"), "MANIFEST_INVALID", "layers"),
        ("layers an object", dict(ok, layers={}), "MANIFEST_INVALID",
         "layers"),
        ("a layer a string", dict(ok, layers=["x"]), "MANIFEST_INVALID",
         "layers[0]"),
        ("no digest", dict(ok, layers=[without(entry, "digest")]),
         "MANIFEST_INVALID", "digest"),
        ("no size", dict(ok, layers=[without(entry, "size")]),
         "MANIFEST_INVALID", "size"),
        ("a negative size", layer(size=-1), "MANIFEST_INVALID", "size"),
        ("a fractional size", layer(size=1.5), "MANIFEST_INVALID", "size"),
        ("a digest of no form", layer(digest="sha256:x"),
         "MANIFEST_INVALID", "digest"),
        ("sha384", layer(digest="sha384:" + "0" * 96), "MANIFEST_INVALID",
         "sha256"),
        ("a missing sha512", layer(digest="sha512:" + "0" * 128),
         "MANIFEST_BLOB_UNKNOWN", "sha512:" + "0" * 128),
        ("a missing blob", layer(digest=missing), "MANIFEST_BLOB_UNKNOWN",
         missing),
        ("another size than the blob's", layer(size=1), None, "size"),
    ]
    for what, value, code, word in cases:
        a = r.put_manifest(name, "bad", value)
        equal(f"{what}: status", 400, a.status)
        if code:
            equal(f"{what}: code", code, a.error())
        check(f"{what}: says {word[:20]}", word in a.message(), a)
    equal("nothing was tagged", 404,
          r.get(f"/v2/{name}/manifests/bad").status)
    for kind in ("text/plain", "application/json",
                 "application/vnd.docker.distribution.manifest.v1+json"):
        a = r.put_manifest(name, "bad", without(ok, "mediaType"), kind)
        equal(f"type {kind[-16:]}", (400, "MANIFEST_INVALID"),
              (a.status, a.error()))
    a = r.put_manifest(name, "bad", without(ok, "mediaType"), None)
    equal("no type at all", (400, "MANIFEST_INVALID"), (a.status, a.error()))
    a = r.put_manifest("man/elsewhere", "bad", ok)
    equal("blobs of another repository do not count",
          (400, "MANIFEST_BLOB_UNKNOWN"), (a.status, a.error()))
    a = r.put_manifest(name, sha256(b"other"), ok)
    equal("by another digest", (400, "DIGEST_INVALID"), (a.status, a.error()))
    a = r.put_manifest(name, "sha256:x", ok)
    equal("by no digest", (400, "DIGEST_INVALID"), (a.status, a.error()))
    for tag in (".dot", "-dash", "a" * 129, "sp%20ace", "%C3%A9"):
        a = r.put_manifest(name, tag, ok)
        equal(f"tag {tag[:8]}", (400, "MANIFEST_INVALID"),
              (a.status, a.error()))
        equal(f"get of tag {tag[:8]}", 404,
              r.get(f"/v2/{name}/manifests/{tag}").status)
    a = r.put_manifest(name, "bad", ok, content_encoding="gzip")
    equal("a coded manifest", (415, "UNSUPPORTED"), (a.status, a.error()))


def too_large():
    huge = b'{"schemaVersion":2,"x":"' + b"y" * (9 << 20) + b'"}'
    try:
        a = r.put_manifest("man/bad", "huge", huge)
        equal("over 8 MiB", (413, "SIZE_INVALID"), (a.status, a.error()))
    except (BrokenPipeError, ConnectionResetError):
        check("over 8 MiB: cut off", True)
    a = r.raw(b"PUT /v2/man/bad/manifests/huge HTTP/1.1\r\nHost: x\r\n"
              b"Content-Length: 99999999\r\n\r\n")
    check("over 8 MiB, announced: 413 before a byte of it",
          a.startswith(b"HTTP/1.1 413 "), a[:200])
    many = dict(good("man/bad"))
    many["layers"] = many["layers"] * 10000
    equal("10,000 layers", 201,
          r.put_manifest("man/bad", "many", many).status)
    many["layers"] = many["layers"][:1] * 60000
    try:
        a = r.put_manifest("man/bad", "many", many)
        check("60,000 layers", a.status in (400, 413), a)
    except (BrokenPipeError, ConnectionResetError):
        check("60,000 layers: cut off", True)


def conditional():
    name = "man/cond"
    first, second, third = (dump(dict(good(name), annotations={"n": n}))
                            for n in "123")

    def tag(body):
        return f'"{sha256(body)}"'

    def put(body, reference="t", **headers):
        return r.put_manifest(name, reference, body, **headers)

    a = put(first, if_match=tag(second))
    equal("If-Match where nothing is", (412, None), (a.status, a["ETag"]))
    equal("If-Match * where nothing is", 412, put(first, if_match="*").status)
    equal("nothing was put", 404, r.get(f"/v2/{name}/manifests/t").status)
    equal("If-None-Match * where nothing is", 201,
          put(first, if_none_match="*").status)
    a = put(second, if_none_match="*")
    equal("If-None-Match * where something is",
          (412, tag(first), sha256(first)),
          (a.status, a["ETag"], a["Docker-Content-Digest"]))
    a = put(second, if_match=tag(second))
    equal("If-Match of another", (412, tag(first)), (a.status, a["ETag"]))
    equal("it was not moved", first, r.get(f"/v2/{name}/manifests/t").body)
    equal("If-Match of what is there", 201,
          put(second, if_match=tag(first)).status)
    equal("it was moved", second, r.get(f"/v2/{name}/manifests/t").body)
    equal("If-Match in a list", 201,
          put(third, if_match=f"{tag(first)}, {tag(second)}").status)
    equal("If-Match weak never holds", 412,
          put(first, if_match="W/" + tag(third)).status)
    equal("If-Match *", 201, put(first, if_match="*").status)
    equal("If-None-Match of another", 201,
          put(second, if_none_match=tag(first + b"x")).status)
    equal("If-None-Match of what is there", 412,
          put(third, if_none_match=tag(second)).status)
    equal("If-None-Match weak holds back", 412,
          put(third, if_none_match="W/" + tag(second)).status)
    equal("both", 201, put(third, if_match=tag(second),
                           if_none_match=tag(first)).status)
    for value in ("sha256:x", sha256(third), '"x', "", '*, "x"', "W/*"):
        for field in ("if_match", "if_none_match"):
            a = put(first, **{field: value})
            equal(f"{field} {value[:8]!r}", (400, "MANIFEST_INVALID"),
                  (a.status, a.error()))
    equal("by digest, If-None-Match *", 412,
          put(first, sha256(first), if_none_match="*").status)
    equal("still the third", third, r.get(f"/v2/{name}/manifests/t").body)


def races():
    """Of those who put at once under one condition, one wins."""
    name = "man/race"
    bodies = [dump(dict(good(name), annotations={"n": str(n)}))
              for n in range(6)]
    base = dump(good(name))

    def put(body, headers):
        return Registry(sys.argv[1]).put_manifest(name, "t", body, **headers)

    def winners(headers):
        with ThreadPoolExecutor(len(bodies)) as pool:
            got = [a.status for a in pool.map(lambda b: put(b, headers),
                                              bodies)]
        return got.count(201) if set(got) <= {201, 412} else got

    fresh, moved = [], []
    for _ in range(10):
        r.delete(f"/v2/{name}/manifests/t")
        fresh.append(winners({"if_none_match": "*"}))
        r.put_manifest(name, "t", base)
        moved.append(winners({"if_match": f'"{sha256(base)}"'}))
    equal("If-None-Match * at once: one wins", [1] * 10, fresh)
    equal("If-Match at once: one wins", [1] * 10, moved)
    equal("If-Match * at once: all win", len(bodies),
          winners({"if_match": "*"}))


def deletion():
    name = "man/del"
    body = dump(good(name))
    digest = sha256(body)
    for tag in ("a", "b"):
        r.put_manifest(name, tag, body)
    equal("delete a tag", 202, r.delete(f"/v2/{name}/manifests/a").status)
    equal("it is gone", 404, r.get(f"/v2/{name}/manifests/a").status)
    equal("the other stays", 200, r.get(f"/v2/{name}/manifests/b").status)
    equal("the manifest stays", 200,
          r.get(f"/v2/{name}/manifests/{digest}").status)
    a = r.delete(f"/v2/{name}/manifests/a")
    equal("delete it again", (404, "MANIFEST_UNKNOWN"), (a.status, a.error()))
    equal("delete by digest", 202,
          r.delete(f"/v2/{name}/manifests/{digest}").status)
    equal("its tags are gone", 404, r.get(f"/v2/{name}/manifests/b").status)
    equal("again", 404, r.delete(f"/v2/{name}/manifests/{digest}").status)
    r.put_manifest(name, digest, body)
    index = dump({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
        {"mediaType": OCI_MANIFEST, "digest": digest, "size": len(body)}]})
    r.put_manifest(name, "index", index, OCI_INDEX)
    a = r.delete(f"/v2/{name}/manifests/{digest}")
    equal("delete what an index names", (409, "DENIED"),
          (a.status, a.error()))
    equal("delete the index", 202,
          r.delete(f"/v2/{name}/manifests/{sha256(index)}").status)
    equal("then the entry", 202,
          r.delete(f"/v2/{name}/manifests/{digest}").status)
    a = r.get(f"/v2/man/nothing/manifests/v1")
    equal("get in no repository", (404, "MANIFEST_UNKNOWN"),
          (a.status, a.error()))


round_trip()
media_types()
refused()
too_large()
conditional()
races()
deletion()
done()
