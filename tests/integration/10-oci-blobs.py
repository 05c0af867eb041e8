import sys

from registry import *

r = Registry(sys.argv[1])


def base():
    a = r.get("/v2/")
    equal("base: status", 200, a.status)
    equal("base: version", "registry/2.0",
          a["Docker-Distribution-API-Version"])
    a = r.get("/v2/no/such/endpoint")
    equal("unknown path", (404, "UNSUPPORTED"), (a.status, a.error()))
    a = r.request("PUT", "/v2/")
    equal("known path, wrong method", (405, "UNSUPPORTED"),
          (a.status, a.error()))
    check("405 has Allow", "GET" in (a["Allow"] or ""), a)
    a = r.request("POST", f"/v2/a/blobs/{EMPTY_DIGEST}", b"")
    equal("POST of a blob", 405, a.status)


def whole(data, digest):
    path = f"/v2/blobs/one/blobs/{digest}"
    a = r.get(path)
    equal("get: status", 200, a.status)
    equal("get: body", data, a.body)
    wanted = {
        "Content-Length": str(len(data)),
        "Content-Type": "application/octet-stream",
        "Docker-Content-Digest": digest,
        "ETag": f'"{digest}"',
        "Accept-Ranges": "bytes",
        "Content-Encoding": None,
    }
    equal("get: fields", wanted, {k: a[k] for k in wanted})
    check("get: immutable", "immutable" in a["Cache-Control"], a)
    check("get: not public", "public" not in a["Cache-Control"], a)
    h = r.head(path)
    equal("head: status", 200, h.status)
    equal("head: no body", b"", h.body)
    equal("head: fields as of get", wanted, {k: h[k] for k in wanted})
    equal("head: ignores Range", 200, r.head(path, range="bytes=0-0").status)


def ranges(data, digest):
    path = f"/v2/blobs/one/blobs/{digest}"
    n = len(data)
    good = {
        "bytes=0-0": (0, 0),
        "bytes=500-1499": (500, 1499),
        "bytes=500-": (500, n - 1),
        "bytes=-500": (n - 500, n - 1),
        f"bytes=-{n + 5}": (0, n - 1),
        f"bytes={n - 10}-{n + 3000}": (n - 10, n - 1),
        f"bytes=0-{n - 1}": (0, n - 1),
        "BYTES=1-2": (1, 2),
        "bytes=3-99999999999999999999999": (3, n - 1),
    }
    for value, (first, last) in good.items():
        a = r.get(path, range=value)
        equal(f"range {value}: status", 206, a.status)
        equal(f"range {value}: Content-Range", f"bytes {first}-{last}/{n}",
              a["Content-Range"])
        equal(f"range {value}: length", str(last - first + 1),
              a["Content-Length"])
        check(f"range {value}: bytes", a.body == data[first:last + 1])
    for value in (f"bytes={n}-", "bytes=9999999-", "bytes=500-0", "bytes=-0",
                  "bytes=99999999999999999999999-"):
        a = r.get(path, range=value)
        equal(f"range {value}", (416, f"bytes */{n}", "SIZE_INVALID"),
              (a.status, a["Content-Range"], a.error()))
        equal(f"range {value}: not for a cache to keep", None,
              a["Cache-Control"])
    for value in ("bytes=0-1,5-6", "bytes=-1,-2", "lines=0-1", "bytes=",
                  "bytes=a-b", "bytes 0-1", "bytes=1"):
        a = r.get(path, range=value)
        equal(f"range {value} is ignored", (200, None, n),
              (a.status, a["Content-Range"], len(a.body)))


def conditions(data, digest):
    path = f"/v2/blobs/one/blobs/{digest}"
    tag = f'"{digest}"'
    for value in (tag, "W/" + tag, '"x", ' + tag, "*"):
        a = r.get(path, if_none_match=value)
        equal(f"If-None-Match {value[:12]}", (304, b"", tag),
              (a.status, a.body, a["ETag"]))
        equal(f"head, If-None-Match {value[:12]}", 304,
              r.head(path, if_none_match=value).status)
    for value in ('"x"', '"sha256:00"', digest, "W/x", ""):
        equal(f"If-None-Match {value[:12]!r} does not hold it back", 200,
              r.get(path, if_none_match=value).status)
    equal("If-Match holds", 200, r.get(path, if_match=tag).status)
    equal("If-Match fails", 412, r.get(path, if_match='"x"').status)
    for value, status in ((tag, 206), ('"x"', 200), ("W/" + tag, 200),
                          ("Wed, 21 Oct 2015 07:28:00 GMT", 200)):
        equal(f"If-Range {value[:12]}", status,
              r.get(path, range="bytes=5-9", if_range=value).status)


def coded():
    """A blob that pays to compress lies on disk as zstd."""
    data = b"a line that repeats itself\n" * 40000
    digest = r.push_blob("blobs/one", data)
    path = f"/v2/blobs/one/blobs/{digest}"
    plain = r.get(path)
    check("zstd blob: identity without Accept-Encoding",
          plain.body == data and plain["Content-Encoding"] is None)
    equal("zstd blob: Vary", "Accept-Encoding", plain["Vary"])
    for value in ("zstd", "gzip, zstd;q=0.5", "ZSTD"):
        a = r.get(path, accept_encoding=value)
        equal(f"Accept-Encoding {value}: coding", "zstd",
              a["Content-Encoding"])
        check(f"Accept-Encoding {value}: smaller", len(a.body) < len(data) / 2)
        check(f"Accept-Encoding {value}: decodes", unzstd(a.body) == data)
        check(f"Accept-Encoding {value}: an ETag of its own",
              a["ETag"] != plain["ETag"], a)
        equal(f"Accept-Encoding {value}: digest of the content", digest,
              a["Docker-Content-Digest"])
    for value in ("gzip", "zstd;q=0", "identity", "*", "zstd;q=0.000, *;q=0",
                  "*;q=0", ""):
        a = r.get(path, accept_encoding=value)
        check(f"Accept-Encoding {value!r}: identity",
              a["Content-Encoding"] is None and a.body == data, a)
    h = r.head(path, accept_encoding="zstd")
    equal("head of it tells the content's length", str(len(data)),
          h["Content-Length"])
    equal("head of it has no coding", None, h["Content-Encoding"])
    for first, last in ((0, 9), (5, 5), (500000, 500099),
                        (len(data) - 7, len(data) - 1)):
        a = r.get(path, range=f"bytes={first}-{last}", accept_encoding="zstd")
        equal(f"range {first}-{last} of it: identity", (206, None),
              (a.status, a["Content-Encoding"]))
        check(f"range {first}-{last} of it: bytes",
              a.body == data[first:last + 1])
    equal("its content's tag is known though it would go out coded", 304,
          r.get(path, accept_encoding="zstd",
                if_none_match=f'"{digest}"').status)
    equal("a range of one coding is not resumed in the other", 200,
          r.get(path, range="bytes=5-9",
                if_range=f'"{digest}-zstd"').status)


def sizes():
    for n in (0, 1, 4096, 16384, 16385, 65536, 262144, 1048577, 5000000):
        data = noise(n, b"size %d" % n)
        digest = r.push_blob("blobs/sizes", data)
        a = r.get(f"/v2/blobs/sizes/blobs/{digest}")
        check(f"{n} bytes come back", a.status == 200 and a.body == data, a)
        if n > 10:
            a = r.get(f"/v2/blobs/sizes/blobs/{digest}",
                      range=f"bytes={n // 2}-")
            check(f"{n} bytes, second half",
                  a.status == 206 and a.body == data[n // 2:])
    a = r.get(f"/v2/blobs/sizes/blobs/{EMPTY_DIGEST}", range="bytes=0-")
    equal("range of an empty blob", 416, a.status)


def absent(digest):
    other = sha256(b"not there")
    for name, value, wanted in (
            ("blobs/one", other, (404, "BLOB_UNKNOWN")),
            ("blobs/none", digest, (404, "BLOB_UNKNOWN")),
            ("blobs/one", "sha256:baddigeststring", (400, "DIGEST_INVALID")),
            ("blobs/one", digest.upper(), (400, "DIGEST_INVALID")),
            ("blobs/one", digest[:-1], (400, "DIGEST_INVALID")),
            ("blobs/one", "md5", (400, "DIGEST_INVALID")),
            ("blobs/one", "sha512:" + "a" * 128, (404, "BLOB_UNKNOWN")),
            ("blobs/one", "sha512:" + "a" * 127, (400, "DIGEST_INVALID")),
            ("blobs/one", "sha384:" + "a" * 96, (404, "BLOB_UNKNOWN")),
            ("blobs/One", digest, (400, "NAME_INVALID")),
            ("blobs/../one", digest, (400, "NAME_INVALID"))):
        a = r.get(f"/v2/{name}/blobs/{value}")
        equal(f"get {name} {value[:12]}", wanted, (a.status, a.error()))
        equal(f"head {name} {value[:12]}", wanted[0],
              r.head(f"/v2/{name}/blobs/{value}").status)
        equal(f"delete {name} {value[:12]}", wanted[0],
              r.delete(f"/v2/{name}/blobs/{value}").status)


def targets():
    """What is wrong with the target itself is told in the face's words, too."""
    for path, wanted in (
            ("/v2/a%4", (400, "UNSUPPORTED")),
            ("/v2/" + "a" * 3000, (414, "SIZE_INVALID")),
            ("/v2/?x=" + "a" * 9000, (414, "SIZE_INVALID")),
            ("/v2/?" + "x=y&" * 40, (414, "SIZE_INVALID")),
            ("/v2/nothing", (404, "UNSUPPORTED"))):
        a = r.get(path)
        equal(f"target {path[:12]} of {len(path)}", wanted,
              (a.status, a.error()))


def deletion():
    data = noise(3000, b"deleted")
    digest = r.push_blob("blobs/del", data)
    r.push_blob("blobs/keep", data)
    equal("delete", 202, r.delete(f"/v2/blobs/del/blobs/{digest}").status)
    equal("deleted: get", 404, r.get(f"/v2/blobs/del/blobs/{digest}").status)
    equal("deleted: again", 404,
          r.delete(f"/v2/blobs/del/blobs/{digest}").status)
    equal("deleted: another repository keeps it", data,
          r.get(f"/v2/blobs/keep/blobs/{digest}").body)
    r.push_blob("blobs/del", data)
    equal("deleted: comes back", data,
          r.get(f"/v2/blobs/del/blobs/{digest}").body)
    r.push_image("blobs/used", "v1", "used")
    layer = r.get("/v2/blobs/used/manifests/v1").json()["layers"][0]["digest"]
    a = r.delete(f"/v2/blobs/used/blobs/{layer}")
    equal("delete of a blob that a manifest names", (409, "DENIED"),
          (a.status, a.error()))


def kept():
    """A reply that is kept ready, since it was asked for several times."""
    for name, data in (("small", noise(300, b"kept small")),
                       ("64 KiB", noise(65536, b"kept")),
                       ("text", b"of few words " * 5000)):
        digest = r.push_blob("blobs/kept", data)
        path = f"/v2/blobs/kept/blobs/{digest}"
        first = r.get(path)
        for i in range(4):
            a = r.get(path)
            equal(f"kept {name}: as the first",
                  (200, data, sorted(set(first.headers) - {"Date"}),
                   first["ETag"]),
                  (a.status, a.body, sorted(set(a.headers) - {"Date"}),
                   a["ETag"]))
        a = r.get(path, range="bytes=5-9")
        equal(f"kept {name}: a range", (206, data[5:10]), (a.status, a.body))
        a = r.get(path, if_none_match=f'"{digest}"')
        equal(f"kept {name}: a condition", 304, a.status)
        equal(f"kept {name}: another condition", 412,
              r.get(path, if_match='"other"').status)
        for i in range(3):
            a = r.get(path, accept_encoding="zstd")
            equal(f"kept {name}: for who takes zstd", data,
                  unzstd(a.body) if a["Content-Encoding"] else a.body)
        equal(f"kept {name}: not in another repository", 404,
              r.get(f"/v2/blobs/one/blobs/{digest}").status)
        equal(f"kept {name}: a HEAD", (200, str(len(data))),
              (r.head(path).status, r.head(path)["Content-Length"]))
        equal(f"kept {name}: deleted", 202, r.delete(path).status)
        equal(f"kept {name}: is gone", 404, r.get(path).status)


BLOB = noise(10000)
DIGEST = r.push_blob("blobs/one", BLOB)
base()
whole(BLOB, DIGEST)
ranges(BLOB, DIGEST)
conditions(BLOB, DIGEST)
coded()
sizes()
absent(DIGEST)
targets()
deletion()
kept()
done()
