import sys

from registry import *

r = Registry(sys.argv[1])
BLOB = noise(70000, b"sha512")


def uploads(name, digest, query=""):
    return f"/v2/{name}/blobs/uploads/?digest={digest}{query}"


def post(name, data, headers=None, body=None):
    return r.request("POST", uploads(name, sha512(data)),
                     data if body is None else body, headers)


def found(what, name, data):
    """By both names, each told as it was asked."""
    for digest in (sha512(data), sha256(data)):
        path = f"/v2/{name}/blobs/{digest}"
        a, h = r.get(path), r.head(path)
        equal(f"{what}: by {digest[:6]}", (200, digest, 200, digest),
              (a.status, a["Docker-Content-Digest"], h.status,
               h["Docker-Content-Digest"]))
        check(f"{what}: by {digest[:6]}: bytes", a.body == data)
        equal(f"{what}: by {digest[:6]}: length", str(len(data)),
              h["Content-Length"])


def created(what, name, data, a):
    equal(f"{what}: created", (201, f"/v2/{name}/blobs/{sha512(data)}",
                               sha512(data)),
          (a.status, a["Location"], a["Docker-Content-Digest"]))
    found(what, name, data)


def pushes():
    name = "d512/push"
    for n in (0, 1, 300, 20000):
        data = noise(n, b"post %d" % n)
        created(f"POST of {n}", name, data, post(name, data))
    data = noise(5000, b"put")
    for query in ("", "?digest-algorithm=sha512", "?digest-algorithm=sha256"):
        data += b"x"
        begun = r.request("POST", f"/v2/{name}/blobs/uploads/{query}")
        equal(f"begin {query}", 202, begun.status)
        a = r.request("PUT", f"{begun['Location']}?digest={sha512(data)}",
                      data)
        created(f"PUT {query}", name, data, a)
    data = noise(50000, b"chunks")
    session = r.begin(name)
    for at in range(0, 50000, 20000):
        piece = data[at:at + 20000]
        a = r.request("PATCH", session, piece, {
            "Content-Range": f"{at}-{at + len(piece) - 1}"})
        assert a.status == 202, a
    created("chunks", name, data,
            r.request("PUT", f"{session}?digest={sha512(data)}"))
    data = b"text that shrinks when it is compressed. " * 9000
    created("a zstd body", name, data,
            post(name, data, {"Content-Encoding": "zstd"}, zstd(data)))
    a = r.get(f"/v2/{name}/blobs/{sha512(data)}", range="bytes=5-9")
    equal("a range", (206, data[5:10], sha512(data)),
          (a.status, a.body, a["Docker-Content-Digest"]))
    tag = f'"{sha256(data)}"'
    equal("one content, one entity tag", 304,
          r.get(f"/v2/{name}/blobs/{sha512(data)}", if_none_match=tag).status)


def refused():
    name = "d512/bad"
    post("d512/elsewhere", BLOB)
    for what, answer in (
            ("POST", r.request("POST", uploads(name, sha512(b"other")),
                               b"data")),
            ("PUT", r.request("PUT", r.begin(name) + "?digest="
                              + sha512(b"other"), b"data"))):
        equal(f"{what} of other bytes", (400, "DIGEST_INVALID"),
              (answer.status, answer.error()))
    for digest in (sha512(b"data"), sha512(b"other"), sha256(b"data")):
        equal(f"nothing is stored: {digest[:10]}", 404,
              r.get(f"/v2/{name}/blobs/{digest}").status)
    digest = r.push_blob(name, b"by sha256")
    equal("pushed by sha256 only", 404,
          r.get(f"/v2/{name}/blobs/{sha512(b'by sha256')}").status)
    equal("knowing a digest opens nothing", 404,
          r.get(f"/v2/{name}/blobs/{sha512(BLOB)}").status)


def mount_and_delete():
    data = noise(3000, b"mount")
    post("d512/from", data)
    for query in ("&from=d512/from", ""):
        name = "d512/to" + ("a" if query else "b")
        a = r.request("POST", f"/v2/{name}/blobs/uploads/?mount="
                      + sha512(data) + query)
        created(f"mount {query}", name, data, a)
    for query in ("&from=d512/none", "&from=d512/bad"):
        a = r.request("POST", "/v2/d512/toc/blobs/uploads/?mount="
                      + sha512(data) + query)
        equal(f"mount {query}: a session", 202, a.status)
    a = r.request("POST", "/v2/d512/toc/blobs/uploads/?mount="
                  + sha512(b"nowhere"))
    equal("mount of nothing: a session", 202, a.status)
    a = r.request("POST", "/v2/d512/toc/blobs/uploads/?mount="
                  + sha512(data) + "&from=Bad")
    equal("mount from no name", (400, "NAME_INVALID"), (a.status, a.error()))
    for name in ("d512/from", "d512/toa", "d512/tob"):
        path = f"/v2/{name}/blobs/{sha512(data)}"
        equal(f"{name}: delete", 202, r.delete(path).status)
        for digest in (sha512(data), sha256(data)):
            equal(f"{name}: gone by {digest[:6]}", 404,
                  r.get(f"/v2/{name}/blobs/{digest}").status)
    equal("delete again", 404, r.delete(path).status)


def manifest(name, data=BLOB):
    config = b"{}"
    post(name, config)
    post(name, data)
    return json.dumps(image(sha512(config), 2, sha512(data),
                            len(data))).encode()


def manifests():
    name = "d512/man"
    body = manifest(name)
    digest = sha512(body)
    a = r.put_manifest(name, digest, body)
    equal("put by sha512", (201, f"/v2/{name}/manifests/{digest}", digest),
          (a.status, a["Location"], a["Docker-Content-Digest"]))
    for reference in (digest, sha256(body)):
        path = f"/v2/{name}/manifests/{reference}"
        a, h = r.get(path), r.head(path)
        equal(f"get by {reference[:6]}",
              (200, body, reference, 200, reference),
              (a.status, a.body, a["Docker-Content-Digest"], h.status,
               h["Docker-Content-Digest"]))
    index = json.dumps({
        "schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": [
            {"mediaType": OCI_MANIFEST, "digest": digest,
             "size": len(body)}]}).encode()
    a = r.put_manifest(name, sha512(index), index, OCI_INDEX)
    equal("an index that names it by sha512", 201, a.status)
    a = r.delete(f"/v2/{name}/manifests/{digest}")
    equal("it is held by the index", (409, "DENIED"), (a.status, a.error()))
    a = r.delete(f"/v2/{name}/blobs/{sha512(BLOB)}")
    equal("its blob is held by it", (409, "DENIED"), (a.status, a.error()))
    for gone in (sha512(index), digest):
        equal("delete by sha512", 202,
              r.delete(f"/v2/{name}/manifests/{gone}").status)
        equal("gone", 404, r.get(f"/v2/{name}/manifests/{gone}").status)
    a = r.put_manifest(name, sha512(b"other"), body)
    equal("put by another sha512", (400, "DIGEST_INVALID"),
          (a.status, a.error()))
    a = r.put_manifest("d512/empty", "t", body)
    equal("blobs that are not there",
          (400, "MANIFEST_BLOB_UNKNOWN", True),
          (a.status, a.error(), sha512(b"{}") in a.message()))
    a = r.put_manifest(name, sha512(body), body, if_match=f'"{sha256(body)}"')
    equal("If-Match where nothing is", 412, a.status)
    equal("If-None-Match where nothing is", 201,
          r.put_manifest(name, sha512(body), body, if_none_match="*").status)
    a = r.post_json("/api/v1/verify", {"repository": name, "digests": [
        sha256(body)]})
    equal("verify", 200, a.status)
    r.put_manifest(name, "verify", body)
    a = r.post_json("/api/v1/verify", {"repository": name, "tag": "verify"})
    equal("verify finds what it names by sha512", {
        sha256(body): "ok", sha256(b"{}"): "ok", sha256(BLOB): "ok"},
        {d["digest"]: d["status"] for d in a.json()["results"]})


def tags():
    name = "d512/tags"
    body = manifest(name)

    def put(reference, *tags, **headers):
        query = "&".join("tag=" + quote(t, safe="") for t in tags)
        return r.put_manifest(name, f"{reference}?{query}", body, **headers)

    def names(tag):
        a = r.head(f"/v2/{name}/manifests/{tag}")
        return a["Docker-Content-Digest"] if a.status == 200 else None

    many = [f"{'t' * 120}{n:02}" for n in range(16)]
    for digest, wanted in ((sha256(body), ["1.2.3", "1.2", "1", "latest"]),
                           (sha512(body), ["long"]), (sha512(body), many)):
        a = put(digest, *wanted)
        equal(f"{len(wanted)} tags: told", (201, wanted),
              (a.status, (a["OCI-Tag"] or "").split(", ")))
        equal(f"{len(wanted)} tags: set", [digest] * len(wanted),
              [names(t) for t in wanted])
    a = put(sha512(body), "twice", "twice")
    equal("twice is once", "twice", a["OCI-Tag"])
    equal("no tags, no field", None, put(sha256(body))["OCI-Tag"])
    a = put(sha256(body), "1")
    equal("a tag by the other digest tells that", [sha256(body), sha256(body)],
          [names("1"), a["Docker-Content-Digest"]])
    a = put(sha256(body), "good", "not good")
    equal("one is no tag", (400, "MANIFEST_INVALID"), (a.status, a.error()))
    check("it says which", "not good" in a.message(), a)
    a = put(sha256(body), "good", "")
    equal("an empty one", (400, "MANIFEST_INVALID"), (a.status, a.error()))
    equal("then none is set", None, names("good"))
    a = put("latest", "good")
    equal("with a tag in the path", (400, "MANIFEST_INVALID"),
          (a.status, a.error()))
    for count in (17, 32, 40):
        a = put(sha256(body), *[f"n{i}" for i in range(count)])
        equal(f"{count} tags: too many", (414, "SIZE_INVALID"),
              (a.status, a.error()))
    equal("then none is set either", None, names("n0"))
    bad = body.replace(b'"size": 2', b'"size": 3')
    a = r.put_manifest(name, f"{sha256(bad)}?tag=good", bad)
    equal("a manifest that is refused", 400, a.status)
    equal("sets no tag", None, names("good"))
    a = put(sha256(body), "good", if_match='"' + sha256(b"x") + '"')
    equal("a condition is about the digest", (412, None),
          (a.status, names("good")))
    equal("and holds", 201,
          put(sha256(body), "good", if_match=f'"{sha256(body)}"').status)


def before():
    pushes()
    refused()
    mount_and_delete()
    manifests()
    tags()


def after():
    """What was answered is kept though the server was killed."""
    found("after: a blob", "d512/tags", BLOB)
    body = manifest("d512/tags")
    for tag, digest in (("long", sha512(body)), ("latest", sha256(body))):
        a = r.get(f"/v2/d512/tags/manifests/{tag}")
        equal(f"after: {tag}", (200, digest, body),
              (a.status, a["Docker-Content-Digest"], a.body))


{"before": before, "after": after}[sys.argv[2]]()
done()
