import sys
import time

from registry import *

r = Registry(sys.argv[1])


def stored(name, data):
    a = r.get(f"/v2/{name}/blobs/{sha256(data)}")
    return a.status == 200 and a.body == data


def begin():
    a = r.request("POST", "/v2/up/a/blobs/uploads/")
    equal("begin: status", 202, a.status)
    location, session = a["Location"], a["Docker-Upload-UUID"]
    equal("begin: relative Location", f"/v2/up/a/blobs/uploads/{session}",
          location)
    equal("begin: Range", "0-0", a["Range"])
    equal("begin: no body", b"", a.body)
    g = r.get(location)
    equal("status: 204", 204, g.status)
    equal("status: fields", (location, "0-0", session),
          (g["Location"], g["Range"], g["Docker-Upload-UUID"]))
    equal("begin: sha256 by name", 202, r.request(
        "POST", "/v2/up/a/blobs/uploads/?digest-algorithm=sha256").status)
    a = r.request("POST", "/v2/up/a/blobs/uploads/?digest-algorithm=sha512")
    equal("begin: sha512 by name", 202, a.status)
    a = r.request("POST", "/v2/up/a/blobs/uploads/?digest-algorithm=sha384")
    equal("begin: sha384", (400, "UNSUPPORTED"), (a.status, a.error()))
    a = r.request("POST", "/v2/up/a/blobs/uploads/", b"body")
    equal("begin: a body without digest", (400, "BLOB_UPLOAD_INVALID"),
          (a.status, a.error()))
    a = r.request("POST", "/v2/Up/a/blobs/uploads/")
    equal("begin: illegal name", (400, "NAME_INVALID"), (a.status, a.error()))


def cancel():
    location = r.begin("up/a")
    equal("cancel", 204, r.delete(location).status)
    for method in ("GET", "PATCH", "DELETE"):
        a = r.request(method, location, b"x" if method == "PATCH" else None)
        equal(f"cancelled: {method}", (404, "BLOB_UPLOAD_UNKNOWN"),
              (a.status, a.error()))
    a = r.request("PUT", location + "?digest=" + sha256(b"x"), b"x")
    equal("cancelled: PUT", (404, "BLOB_UPLOAD_UNKNOWN"),
          (a.status, a.error()))
    for session in ("nonsense", "0" * 32, "..", "%2e%2e", "a" * 500):
        a = r.get(f"/v2/up/a/blobs/uploads/{session}")
        check(f"no such session {session[:10]}", a.status in (400, 404), a)
    location = r.begin("up/a")
    a = r.get(location.replace("/up/a/", "/up/b/"))
    equal("a session of another repository", 404, a.status)


def single():
    for n in (0, 1, 1024, 20000, 3000000):
        for chunked in (False, True):
            data = noise(n, b"single %d %d" % (n, chunked))
            a = r.request("POST", "/v2/up/one/blobs/uploads/?digest="
                          + sha256(data), data, chunked=chunked)
            name = f"POST ?digest= {n}{' chunked' if chunked else ''}"
            equal(f"{name}: status", 201, a.status)
            equal(f"{name}: fields",
                  (f"/v2/up/one/blobs/{sha256(data)}", sha256(data)),
                  (a["Location"], a["Docker-Content-Digest"]))
            check(f"{name}: stored", stored("up/one", data))
    data = noise(100, b"twice")
    equal("twice the same", [201, 201], [r.request(
        "POST", "/v2/up/one/blobs/uploads/?digest=" + sha256(data),
        data).status for _ in range(2)])
    for digest, wanted in ((sha256(b"other"), "DIGEST_INVALID"),
                           ("sha256:123", "DIGEST_INVALID"),
                           ("", "DIGEST_INVALID"),
                           ("sha512:" + "0" * 128, "DIGEST_INVALID"),
                           ("sha512:123", "DIGEST_INVALID"),
                           ("sha384:" + "0" * 96, "UNSUPPORTED")):
        a = r.request("POST", "/v2/up/one/blobs/uploads/?digest=" + digest,
                      b"data")
        equal(f"POST ?digest={digest[:10]} of other bytes", (400, wanted),
              (a.status, a.error()))
    equal("wrong digest: nothing stored", 404,
          r.get(f"/v2/up/one/blobs/{sha256(b'data')}").status)


def put_whole():
    data = noise(50000, b"put")
    a = r.request("PUT", r.begin("up/put") + "?digest=" + sha256(data), data)
    equal("POST, PUT: status", 201, a.status)
    equal("POST, PUT: fields", (f"/v2/up/put/blobs/{sha256(data)}",
          sha256(data)), (a["Location"], a["Docker-Content-Digest"]))
    check("POST, PUT: stored", stored("up/put", data))
    data = noise(50000, b"put chunked")
    a = r.request("PUT", r.begin("up/put") + "?digest=" + sha256(data), data,
                  chunked=True)
    equal("POST, PUT chunked", 201, a.status)
    location = r.begin("up/put")
    a = r.request("PUT", location, data)
    equal("PUT without digest", (400, "DIGEST_INVALID"),
          (a.status, a.error()))
    equal("its session lives", 204, r.get(location).status)
    a = r.request("PUT", location + "?digest=" + sha256(b"no"), data)
    equal("PUT with the wrong digest", (400, "DIGEST_INVALID"),
          (a.status, a.error()))
    equal("its session is gone", 404, r.get(location).status)
    equal("nothing stored", 404,
          r.get(f"/v2/up/put/blobs/{sha256(b'no')}").status)


def patch_ranges():
    data = noise(90000, b"ranges")
    location = r.begin("up/patch")
    for first in (0, 30000):
        piece = data[first:first + 30000]
        a = r.request("PATCH", location, piece, {
            "Content-Range": f"{first}-{first + len(piece) - 1}",
            "Content-Type": "application/octet-stream"})
        equal(f"PATCH at {first}: status", 202, a.status)
        equal(f"PATCH at {first}: Range", f"0-{first + 29999}", a["Range"])
        location = a["Location"]
    for first in (0, 30000, 90000):
        a = r.request("PATCH", location, data[:100], {
            "Content-Range": f"{first}-{first + 99}"})
        equal(f"PATCH out of order at {first}",
              (416, "BLOB_UPLOAD_INVALID", "0-59999", location),
              (a.status, a.error(), a["Range"], a["Location"]))
    a = r.request("PUT", location + "?digest=" + sha256(data), data[:100],
                  {"Content-Range": "0-99"})
    equal("PUT out of order", (416, "0-59999"), (a.status, a["Range"]))
    equal("the truth by GET", "0-59999", r.get(location)["Range"])
    for value in ("bytes 60000-60099/*", "60000", "60000-", "x-y",
                  "60099-60000", "-1-5", "60000-99999999999999999999"):
        a = r.request("PATCH", location, data[60000:60100],
                      {"Content-Range": value})
        equal(f"Content-Range {value}", (400, "BLOB_UPLOAD_INVALID"),
              (a.status, a.error()))
    a = r.request("PATCH", location, data[60000:60100],
                  {"Content-Range": "60000-60200"})
    equal("Content-Range and Content-Length differ", 400, a.status)
    equal("nothing was taken", "0-59999", r.get(location)["Range"])
    a = r.request("PUT", location + "?digest=" + sha256(data), data[60000:],
                  {"Content-Range": "60000-89999"})
    equal("PUT with the last chunk", 201, a.status)
    check("chunks: stored", stored("up/patch", data))


def patch_chunked_range():
    """Content-Range with a chunked body: checked as it comes."""
    data = noise(20000, b"chunked range")
    location = r.begin("up/patch")
    a = r.request("PATCH", location, data, {"Content-Range": "0-19999"},
                  chunked=True)
    equal("chunked PATCH with Content-Range", (202, "0-19999"),
          (a.status, a["Range"]))
    location = r.begin("up/patch")
    a = r.request("PATCH", location, data, {"Content-Range": "0-99"},
                  chunked=True)
    equal("chunked PATCH, longer than it says", 400, a.status)
    a = r.request("PATCH", r.begin("up/patch"), data,
                  {"Content-Range": "0-29999"}, chunked=True)
    equal("chunked PATCH, shorter than it says", 400, a.status)


def patch_stream():
    data = noise(400000, b"stream")
    location = r.begin("up/stream")
    a = r.request("PATCH", location, data[:150000], chunked=True)
    equal("stream: status", (202, "0-149999"), (a.status, a["Range"]))
    a = r.request("PATCH", a["Location"], data[150000:], chunked=True)
    equal("stream: a second one appends", (202, "0-399999"),
          (a.status, a["Range"]))
    a = r.request("PATCH", a["Location"], b"")
    equal("stream: an empty one", (202, "0-399999"), (a.status, a["Range"]))
    a = r.request("PUT", a["Location"] + "?digest=" + sha256(data), b"")
    equal("stream: PUT", 201, a.status)
    check("stream: stored", stored("up/stream", data))


def cut():
    """What came before the connection broke stays in the session."""
    data = noise(300000, b"cut")
    location = r.begin("up/cut")
    head = (f"PATCH {location} HTTP/1.1\r\nHost: x\r\nContent-Length: "
            f"{len(data)}\r\n\r\n").encode()
    r.raw(head + data[:200000], shutdown=True)
    for _ in range(50):
        a = r.get(location)
        if a.status == 204 and a["Range"] == "0-199999":
            break
        time.sleep(0.1)
    equal("cut off: what came is there", (204, "0-199999"),
          (a.status, a["Range"]))
    a = r.request("PUT", location + "?digest=" + sha256(data), data[200000:],
                  {"Content-Range": "200000-299999"})
    equal("cut off: goes on", 201, a.status)
    check("cut off: stored", stored("up/cut", data))
    data = noise(100000, b"cut single")
    head = (f"POST /v2/up/cut/blobs/uploads/?digest={sha256(data)} HTTP/1.1"
            f"\r\nHost: x\r\nContent-Length: {len(data)}\r\n\r\n").encode()
    r.raw(head + data[:50000], shutdown=True)
    equal("cut off without a session: nothing", 404,
          r.get(f"/v2/up/cut/blobs/{sha256(data)}").status)


def at_once():
    """A reply says that the session is free: the next request may come at once
    on another connection."""
    other = Registry(sys.argv[1])
    refused = 0
    for i in range(200):
        location = r.begin("up/once")
        data = b"at once %d" % i
        a = r.request("PATCH", location, data, chunked=True)
        b = other.request("PUT", location + "?digest=" + sha256(data), b"")
        refused += a.status != 202 or b.status != 201
    equal("PATCH and PUT on two connections: none refused", 0, refused)
    refused = 0
    for i in range(100):
        location = r.begin("up/once")
        r.request("PATCH", location, b"x", {"Content-Range": "5-5"})
        a = other.get(location)
        refused += a.status != 204
    equal("a refused PATCH lets go too", 0, refused)


def mounts():
    data = noise(5000, b"mount")
    digest = r.push_blob("up/source", data)

    def mount(query):
        return r.request("POST", "/v2/up/target/blobs/uploads/?" + query)

    a = mount(f"mount={digest}&from=up/nowhere")
    equal("mount from nowhere: a session", 202, a.status)
    equal("the session works", 204, r.get(a["Location"]).status)
    equal("mount of nothing: a session", 202,
          mount(f"mount={sha256(b'nothing')}&from=up/source").status)
    equal("mount of nothing from anywhere: a session", 202,
          mount(f"mount={sha256(b'nothing')}").status)
    equal("not there yet", 404,
          r.get(f"/v2/up/target/blobs/{digest}").status)
    a = mount(f"mount={digest}&from=up/source")
    equal("mount: status", 201, a.status)
    equal("mount: fields", (f"/v2/up/target/blobs/{digest}", digest),
          (a["Location"], a["Docker-Content-Digest"]))
    check("mount: there", stored("up/target", data))
    equal("mount again", 201, mount(f"mount={digest}&from=up/source").status)
    other = noise(5000, b"mount from anywhere")
    digest = r.push_blob("up/source", other)
    equal("mount from anywhere", 201, mount(f"mount={digest}").status)
    check("mount from anywhere: there", stored("up/target", other))
    a = mount("mount=sha256:xyz&from=up/source")
    equal("mount of no digest", (400, "DIGEST_INVALID"),
          (a.status, a.error()))
    equal("mount from no name", 400, mount(f"mount={digest}&from=Up").status)


def coded():
    data = b"text that is the same again and again\n" * 30000
    frame = zstd(data)
    z = {"Content-Encoding": "zstd"}
    query = "?digest=" + sha256(data)
    a = r.request("POST", "/v2/up/z1/blobs/uploads/" + query, frame, z)
    equal("zstd POST", 201, a.status)
    check("zstd POST: stored decoded", stored("up/z1", data))
    a = r.request("PUT", r.begin("up/z2") + query, frame, z)
    equal("zstd PUT", 201, a.status)
    check("zstd PUT: stored decoded", stored("up/z2", data))
    a = r.request("PATCH", r.begin("up/z3"), frame, z, chunked=True)
    equal("zstd PATCH: counts what was sent", (202, f"0-{len(frame) - 1}"),
          (a.status, a["Range"]))
    a = r.request("PUT", a["Location"] + query, b"")
    equal("zstd PATCH, PUT", 201, a.status)
    check("zstd PATCH, PUT: stored decoded", stored("up/z3", data))
    empty = zstd(b"")
    a = r.request("POST", "/v2/up/z4/blobs/uploads/?digest=" + EMPTY_DIGEST,
                  empty, z)
    equal("zstd of nothing", 201, a.status)
    for name, body in (("no frame", b"not zstd at all"),
                       ("a frame cut short", frame[:-10]),
                       ("a frame and more", frame + b"x"),
                       ("two frames", frame + frame),
                       ("nothing", b"")):
        a = r.request("POST", "/v2/up/z5/blobs/uploads/" + query, body, z)
        check(f"zstd: {name} is refused", a.status == 400 and a.error(), a)
    a = r.request("POST", "/v2/up/z5/blobs/uploads/?digest="
                  + sha256(frame), frame, z)
    equal("zstd: the digest is of the content", (400, "DIGEST_INVALID"),
          (a.status, a.error()))
    location = r.begin("up/z6")
    r.request("PATCH", location, b"plain")
    a = r.request("PATCH", location, frame, z)
    check("zstd behind plain bytes", a.status in (400, 416), a)
    for coding in ("gzip", "br", "zstd, gzip"):
        a = r.request("POST", "/v2/up/z7/blobs/uploads/" + query, frame,
                      {"Content-Encoding": coding})
        equal(f"Content-Encoding {coding}", (415, "UNSUPPORTED"),
              (a.status, a.error()))
        check(f"Content-Encoding {coding}: told what is taken",
              "zstd" in (a["Accept-Encoding"] or ""), a)
    a = r.request("POST", "/v2/up/z8/blobs/uploads/" + query, data,
                  {"Content-Encoding": "identity"})
    equal("Content-Encoding identity", 201, a.status)


begin()
cancel()
single()
put_whole()
patch_ranges()
patch_chunked_range()
patch_stream()
cut()
at_once()
mounts()
coded()
done()
