"""Runs one script of requests against both registries and compares what came
back. What theirs says, ours must say too, but for what is in CHOSEN."""

import sys

from registry import *


class Lenient(Registry):
    """Their 416 has the Content-Length of the blob, and less body."""

    def get(self, path, **headers):
        try:
            return super().get(path, **headers)
        except http.client.IncompleteRead as short:
            return Short(short.partial)


class Short(Answer):
    def __init__(self, body):
        self.status, self.headers, self.body = 416, {}, body


OURS, THEIRS = Registry(sys.argv[1]), Lenient(sys.argv[2])

FIELDS = ("Content-Length", "Content-Type", "Docker-Content-Digest", "ETag",
          "Accept-Ranges", "Content-Range", "Range")

# What differs by choice: (request, field), and why.
CHOSEN = {
    ("ping", "Content-Length"): "ours ends with a newline",
    ("ping", "Content-Type"): "JSON has no charset",
    ("tags", "Content-Type"): "JSON has no charset",
    ("range beyond", "error"): "theirs has no error body",
    ("illegal name", "status"): "ours says what is wrong",
    ("illegal name", "error"): "ours says what is wrong",
}


def script(r):
    """The answers by name of the request."""
    data = noise(5000, b"compare")
    digest = sha256(data)
    blob = f"/v2/cmp/a/blobs/{digest}"
    out = {}
    out["ping"] = r.get("/v2/")
    out["blob absent"] = r.get(blob)
    out["head of a blob absent"] = r.head(blob)
    out["begin"] = r.request("POST", "/v2/cmp/a/blobs/uploads/")
    location = relative(out["begin"]["Location"])
    out["session status"] = r.get(location)
    out["patch"] = r.request("PATCH", location, data[:3000], {
        "Content-Type": "application/octet-stream"})
    location = relative(out["patch"]["Location"])
    out["put"] = r.request("PUT", add(location, "digest=" + digest),
                           data[3000:],
                           {"Content-Type": "application/octet-stream"})
    out["get"] = r.get(blob)
    out["head"] = r.head(blob)
    out["range"] = r.get(blob, range="bytes=10-99")
    out["range beyond"] = r.get(blob, range="bytes=9999-")
    out["if-none-match"] = r.get(blob, if_none_match=f'"{digest}"')
    wrong = relative(r.request("POST",
                               "/v2/cmp/a/blobs/uploads/")["Location"])
    out["wrong digest"] = r.request(
        "PUT", add(wrong, "digest=" + sha256(b"other")), data,
        {"Content-Type": "application/octet-stream"})
    out["mount"] = r.request("POST", "/v2/cmp/b/blobs/uploads/"
                             f"?mount={digest}&from=cmp/a")
    out["mount of nothing"] = r.request(
        "POST", "/v2/cmp/b/blobs/uploads/"
        f"?mount={sha256(b'nothing')}&from=cmp/a")
    body = json.dumps(image(digest, len(data), digest, len(data))).encode()
    out["put manifest"] = r.put_manifest("cmp/a", "v1", body)
    for reference in ("v1", sha256(body)):
        path = f"/v2/cmp/a/manifests/{reference}"
        kind = "tag" if reference == "v1" else "digest"
        out[f"get manifest by {kind}"] = r.get(path, accept=OCI_MANIFEST)
        out[f"head manifest by {kind}"] = r.head(path, accept=OCI_MANIFEST)
    out["manifest unchanged"] = r.get(
        "/v2/cmp/a/manifests/v1", accept=OCI_MANIFEST,
        if_none_match=f'"{sha256(body)}"')
    out["manifest absent"] = r.get("/v2/cmp/a/manifests/v9")
    missing = json.dumps(image(digest, len(data), sha256(b"none"),
                               4)).encode()
    out["manifest of a missing blob"] = r.put_manifest("cmp/a", "v2", missing)
    out["manifest no JSON"] = r.put_manifest("cmp/a", "v2", b"{")
    out["manifest of another digest"] = r.put_manifest(
        "cmp/a", sha256(b"other"), body)
    out["tags"] = r.get("/v2/cmp/a/tags/list")
    out["tags of nothing"] = r.get("/v2/cmp/none/tags/list")
    out["delete manifest"] = r.delete(f"/v2/cmp/a/manifests/{sha256(body)}")
    out["delete manifest again"] = r.delete(
        f"/v2/cmp/a/manifests/{sha256(body)}")
    out["delete blob"] = r.delete(blob)
    out["delete blob again"] = r.delete(blob)
    out["illegal name"] = r.get("/v2/CMP/tags/list")
    return out


def relative(location):
    return "/" + location.split("/", 3)[3] if "://" in location else location


def add(location, query):
    return location + ("&" if "?" in location else "?") + query


def place(answer):
    """Location without host, query and session."""
    location = relative(answer["Location"] or "").split("?")[0]
    if "/uploads/" in location:
        location = location[:location.index("/uploads/")] + "/uploads/…"
    return location


def comparable(answer):
    """What must be the same; of errors only status and code."""
    out = {"status": answer.status, "Location": place(answer)}
    if answer.status >= 400:
        return dict(out, error=answer.error())
    out.update((f, answer[f]) for f in FIELDS)
    return dict(out, body=answer.body.strip())


ours, theirs = script(OURS), script(THEIRS)
for name, answer in theirs.items():
    mine, other = comparable(ours[name]), comparable(answer)
    for key, value in other.items():
        if value is not None and (name, key) not in CHOSEN:
            equal(f"{name}: {key}", value, mine.get(key))
done()
