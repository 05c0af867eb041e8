"""A registry client for the integration tests, bare on purpose: what goes over
the wire is what a test says. Prints "ok NAME" and "not ok NAME" as tests/lib.sh
does; done() ends the script with what that adds up to."""

import hashlib
import http.client
import json
import os
import socket
import sys
from urllib.parse import quote, urlsplit

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"
OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
EMPTY_DIGEST = "sha256:" + hashlib.sha256(b"").hexdigest()

_failures = 0


def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def sha512(data):
    return "sha512:" + hashlib.sha512(data).hexdigest()


def check(name, holds, *why):
    """A thing proved, or not; `why` is shown when it isn't."""
    global _failures
    if holds:
        print("ok", name)
        return True
    _failures += 1
    print("not ok", name)
    for text in why:
        print("  #", text)
    return False


def equal(name, wanted, got):
    return check(name, wanted == got, f"wanted {wanted!r}", f"got    {got!r}")


def done():
    sys.stdout.flush()
    sys.exit(1 if _failures else 0)


class Answer:
    def __init__(self, response, body):
        self.status = response.status
        self.headers = response.headers
        self.body = body

    def __getitem__(self, name):
        return self.headers.get(name)

    def json(self):
        return json.loads(self.body)

    def error(self):
        """The code of the error body; None if it has no such body."""
        try:
            errors = json.loads(self.body)["errors"]
            if errors[0]["message"]:
                return errors[0]["code"]
        except (ValueError, KeyError, IndexError, TypeError):
            pass
        return None

    def message(self):
        return json.loads(self.body)["errors"][0]["message"]

    def __repr__(self):
        return f"{self.status} {dict(self.headers)} {self.body[:300]!r}"


class Registry:
    """One keep-alive connection, made anew when the server closed it."""

    def __init__(self, url, token=None):
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port
        self.token = token
        self.connection = None

    def connect(self):
        if self.connection is None:
            self.connection = http.client.HTTPConnection(
                self.host, self.port, timeout=30)
        return self.connection

    def close(self):
        if self.connection:
            self.connection.close()
        self.connection = None

    def request(self, method, path, body=None, headers=None, chunked=False):
        """`body` bytes go out with Content-Length, or in chunks."""
        headers = dict(headers or {})
        if self.token:
            headers.setdefault("Authorization", "Bearer " + self.token)
        if chunked:
            pieces = [body[i:i + 7000] for i in range(0, len(body), 7000)]
            body = iter(pieces)
            headers["Transfer-Encoding"] = "chunked"
        connection = self.connect()
        try:
            connection.request(method, path, body, headers,
                               encode_chunked=chunked)
            response = connection.getresponse()
            answer = Answer(response, response.read())
        except (OSError, http.client.HTTPException):
            self.close()
            raise
        if response.will_close:
            self.close()
        return answer

    def get(self, path, **headers):
        return self.request("GET", path, headers=fields(headers))

    def head(self, path, **headers):
        return self.request("HEAD", path, headers=fields(headers))

    def delete(self, path):
        return self.request("DELETE", path)

    def post_json(self, path, value):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        return self.request("POST", path, body,
                            {"Content-Type": "application/json"})

    def begin(self, name):
        """A new upload session's path."""
        answer = self.request("POST", f"/v2/{name}/blobs/uploads/")
        assert answer.status == 202, answer
        return answer["Location"]

    def push_blob(self, name, data):
        digest = sha256(data)
        answer = self.request(
            "POST", f"/v2/{name}/blobs/uploads/?digest={digest}", data)
        assert answer.status == 201, answer
        return digest

    def put_manifest(self, name, reference, value, media_type=OCI_MANIFEST,
                     **headers):
        body = value if isinstance(value, bytes) else json.dumps(value).encode()
        headers = fields(headers)
        if media_type:
            headers["Content-Type"] = media_type
        return self.request("PUT", f"/v2/{name}/manifests/{reference}", body,
                            headers)

    def push_image(self, name, tag, seed):
        """A small image with contents of its own; its manifest's bytes."""
        config = json.dumps({"seed": seed}).encode()
        layer = f"layer of {seed} ".encode() * 40
        body = json.dumps(image(self.push_blob(name, config), len(config),
                                self.push_blob(name, layer),
                                len(layer))).encode()
        answer = self.put_manifest(name, tag, body)
        assert answer.status == 201, answer
        return body

    def raw(self, data, shutdown=False, timeout=30):
        """Sends bytes as they are on a connection of their own; what came back
        until the server closed it or fell silent for a second."""
        with socket.create_connection((self.host, self.port),
                                      timeout=timeout) as s:
            s.sendall(data)
            if shutdown:
                s.shutdown(socket.SHUT_WR)
            s.settimeout(1)
            answer = b""
            try:
                while piece := s.recv(65536):
                    answer += piece
            except (socket.timeout, ConnectionResetError):
                pass
            return answer


def fields(keywords):
    """if_none_match="x" -> {"If-None-Match": "x"}"""
    return {k.replace("_", "-").title(): v for k, v in keywords.items()}


def image(config, config_size, layer, layer_size):
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": {"mediaType": OCI_CONFIG, "digest": config,
                   "size": config_size},
        "layers": [{"mediaType": OCI_LAYER, "digest": layer,
                    "size": layer_size}],
    }


def noise(size, seed=b"noise"):
    """Bytes that don't compress, the same each time."""
    out, block = bytearray(), hashlib.sha256(seed).digest()
    while len(out) < size:
        out += block
        block = hashlib.sha256(block).digest()
    return bytes(out[:size])


def zstd(data):
    """One zstd frame made of raw blocks: all the format asks for, without a
    compressor. RFC 8878 §3.1.1: magic, a header that says the size and that
    there is one segment, blocks of at most 128 KiB."""
    out = bytearray(b"\x28\xb5\x2f\xfd\xe0") + len(data).to_bytes(8, "little")
    pieces = [data[i:i + 131072] for i in range(0, len(data), 131072)] or [b""]
    for i, piece in enumerate(pieces):
        last = i == len(pieces) - 1
        out += (len(piece) << 3 | last).to_bytes(3, "little") + piece
    return bytes(out)


def unzstd(data):
    """Decodes by the zstd program."""
    import subprocess
    return subprocess.run(["zstd", "-dcq"], input=data, check=True,
                          stdout=subprocess.PIPE).stdout


__all__ = [n for n in dir() if not n.startswith("_")] + ["quote", "os"]
