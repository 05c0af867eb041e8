"""A registry's protocol (OCI distribution-spec 1.1) as a test drives it: one
call a request, the answer as it is, nothing hidden and nothing tried twice."""

import hashlib
import http.client
import json
import socket
import urllib.parse

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_EMPTY = "application/vnd.oci.empty.v1+json"
LAYER = "application/vnd.cachemount.test.layer"
SNAPSHOT = "application/vnd.cachemount.snapshot.v1"


class Gone(Exception):
    """No whole answer came: the request may have had its effect, or not."""


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def descriptor(data_digest, size, media_type=LAYER):
    return {"mediaType": media_type, "digest": data_digest, "size": size}


def manifest(blobs, **more):
    """The bytes of a manifest whose config is the first of `blobs`, a list of
    (digest, size)."""
    body = {"schemaVersion": 2, "mediaType": OCI_MANIFEST,
            "config": descriptor(*blobs[0]),
            "layers": [descriptor(*b) for b in blobs[1:]], **more}
    return json.dumps(body).encode()


class Answer:
    def __init__(self, status, headers, body):
        self.status = status
        self.headers = {k.lower(): v for k, v in headers}
        self.body = body

    def __repr__(self):
        return f"{self.status} {self.headers} {self.body[:300]!r}"

    def location(self):
        """Path and query of Location: what the next request is sent to."""
        url = urllib.parse.urlsplit(self.headers["location"])
        return url.path + ("?" + url.query if url.query else "")

    def received(self):
        """Bytes that an upload session says it has. "0-0" is none: the tests
        send more than one byte."""
        last = int(self.headers["range"].rpartition("-")[2])
        return last + 1 if last else 0


class Registry:
    """One keep-alive connection. Not shared between threads."""

    def __init__(self, hostport, timeout=30, headers=None):
        self.hostport = hostport
        self.timeout = timeout
        self.headers = headers or {}
        self.connection = None

    def close(self):
        if self.connection:
            self.connection.close()
            self.connection = None

    def _connect(self):
        if self.connection is None:
            host, port = self.hostport.rsplit(":", 1)
            c = http.client.HTTPConnection(host, int(port), self.timeout)
            c.connect()
            c.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connection = c
        return self.connection

    def request(self, method, path, body=None, headers=None):
        """Sends it and returns the Answer; Gone if there is none."""
        try:
            c = self._connect()
            all_headers = {**self.headers, **(headers or {})}
            if body is None and method in ("POST", "PUT", "PATCH"):
                body = b""
            try:
                c.request(method, path, body, all_headers)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it may have answered before the body was through
            r = c.getresponse()
            answer = Answer(r.status, r.getheaders(), r.read())
            if r.will_close:
                self.close()
            return answer
        except (OSError, http.client.HTTPException) as e:
            self.close()
            raise Gone(f"{method} {path[:120]}: {e!r}") from e

    # --- blobs

    def blob(self, repo, digest, method="GET", **headers):
        return self.request(method, f"/v2/{repo}/blobs/{digest}",
                            headers={k.replace("_", "-"): v
                                     for k, v in headers.items()})

    def blob_delete(self, repo, digest):
        return self.request("DELETE", f"/v2/{repo}/blobs/{digest}")

    def begin(self, repo):
        return self.request("POST", f"/v2/{repo}/blobs/uploads/")

    def put_single(self, repo, data, digest, **headers):
        return self.request(
            "POST", f"/v2/{repo}/blobs/uploads/?digest={quote(digest)}", data,
            {"Content-Type": "application/octet-stream",
             **{k.replace("_", "-"): v for k, v in headers.items()}})

    def put_two(self, repo, data, digest):
        """POST, then PUT with the whole body: what all registries take."""
        answer = self.begin(repo)
        if answer.status != 202:
            return answer
        return self.finish(answer.location(), digest, data)

    def mount(self, repo, digest, source):
        return self.request("POST", f"/v2/{repo}/blobs/uploads/"
                            f"?mount={quote(digest)}&from={quote(source)}")

    def patch(self, location, data, offset=None, coding=None):
        headers = {"Content-Type": "application/octet-stream"}
        if coding:
            headers["Content-Encoding"] = coding
        if offset is not None:
            headers["Content-Range"] = f"{offset}-{offset + len(data) - 1}"
        return self.request("PATCH", location, data, headers)

    def finish(self, location, digest, data=b""):
        mark = "&" if "?" in location else "?"
        return self.request("PUT", f"{location}{mark}digest={quote(digest)}",
                            data, {"Content-Type": "application/octet-stream"})

    def session(self, location, method="GET"):
        return self.request(method, location)

    # --- manifests and tags

    def manifest(self, repo, reference, method="GET", **headers):
        return self.request(method, f"/v2/{repo}/manifests/{reference}",
                            headers={"Accept": f"{OCI_MANIFEST}, */*",
                                     **{k.replace("_", "-"): v
                                        for k, v in headers.items()}})

    def manifest_put(self, repo, reference, data, **headers):
        return self.request("PUT", f"/v2/{repo}/manifests/{reference}", data,
                            {"Content-Type": OCI_MANIFEST,
                             **{k.replace("_", "-"): v
                                for k, v in headers.items()}})

    def manifest_delete(self, repo, reference):
        return self.request("DELETE", f"/v2/{repo}/manifests/{reference}")

    def tags(self, repo):
        return self.request("GET", f"/v2/{repo}/tags/list")

    # --- the extension and the administration API

    def missing(self, repo, digests):
        return self.post_json(f"/v2/{repo}/_cachemount/missing",
                              {"digests": digests})

    def post_json(self, path, body):
        return self.request("POST", path, json.dumps(body).encode(),
                            {"Content-Type": "application/json"})

    def stats(self):
        return json.loads(self.request("GET", "/api/v1/stats").body)


def quote(text):
    return urllib.parse.quote(text, safe="")
