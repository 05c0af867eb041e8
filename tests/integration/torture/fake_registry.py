"""A registry that is not what it should be. It holds what a test puts into it,
with digests that are right, and answers as its `fault` says.

A fault is a function of (handler, what, body): what was asked ("ext", "ping",
"manifest", "blob", "write", "api") and the body that would be sent, None if
there is none. It returns None when it has answered by itself, else the body to
send. The handler's raw socket is handler.connection."""

import http.server
import json
import re
import socket
import threading
import time

from registry import OCI_MANIFEST, SNAPSHOT, digest_of

TREE = "application/vnd.cachemount.tree.v1+jsonl"
CHUNK = "application/vnd.cachemount.chunk.v1"
HEADER = b'{"cachemount":"tree","version":1}\n'


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def what(self):
        path = self.path.split("?")[0]
        if self.command in ("POST", "PUT", "PATCH", "DELETE"):
            return "write"
        if path == "/v2/_cachemount/ext/v1":
            return "ext"
        if path in ("/v2/", "/v2"):
            return "ping"
        if "/manifests/" in path:
            return "manifest"
        if "/blobs/" in path:
            return "blob"
        return "api"

    def held(self, what):
        """The body that the registry has, and its type."""
        registry = self.server.registry
        if what == "ping":
            return b"{}", "application/json"
        if what == "manifest":
            m = re.match(r"/v2/(.+)/manifests/([^/?]+)", self.path)
            return registry.manifests.get(m.groups() if m else None), \
                OCI_MANIFEST
        if what == "blob":
            digest = self.path.split("?")[0].rpartition("/")[2]
            return registry.blobs.get(digest.replace("%3A", ":")), \
                "application/octet-stream"
        return None, None

    def answer(self):
        length = int(self.headers.get("Content-Length") or 0)
        if length:
            self.rfile.read(length)
        what = self.what()
        body, media_type = self.held(what)
        self.server.registry.asked.append(what)
        fault = self.server.registry.fault
        if fault:
            body = fault(self, what, body)
            if self.close_connection or getattr(self, "answered", False):
                return
        self.send(200 if body is not None else 404, body or b"", media_type)

    def send(self, status, body, media_type=None, **headers):
        self.send_response(status)
        self.send_header("Content-Type",
                         media_type or "application/octet-stream")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Docker-Content-Digest", digest_of(body))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = answer

    def handle(self):
        try:
            super().handle()
        except (OSError, ValueError):
            pass


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


class FakeRegistry:
    def __init__(self, fault=None):
        self.fault = fault
        self.blobs = {}
        self.manifests = {}
        self.asked = []
        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.registry = self
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.thread = threading.Thread(target=self.server.serve_forever,
                                       kwargs={"poll_interval": 0.05},
                                       daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def blob(self, data):
        digest = digest_of(data)
        self.blobs[digest] = data
        return digest

    def snapshot(self, repo, tag, lines, chunks=(), manifest=None, tree=None,
                 config_size=None):
        """Holds a snapshot whose tree has these lines, each a dict, or bytes
        taken as they are. `manifest` changes the manifest's dict."""
        text = tree if tree is not None else HEADER + b"".join(
            line if isinstance(line, bytes)
            else json.dumps(line).encode() + b"\n" for line in lines)
        body = {"schemaVersion": 2, "mediaType": OCI_MANIFEST,
                "artifactType": SNAPSHOT,
                "config": {"mediaType": TREE, "digest": self.blob(text),
                           "size": config_size or len(text)},
                "layers": [{"mediaType": CHUNK, "digest": self.blob(c),
                            "size": len(c)} for c in chunks]}
        if manifest:
            manifest(body)
        data = json.dumps(body).encode()
        self.manifests[(repo, tag)] = data
        self.manifests[(repo, digest_of(data))] = data


# --- faults

def only(what, fault):
    """The fault for one kind of question, the truth for all others."""
    return lambda h, w, body: fault(h, w, body) if w == what else body


def _raw(h, data):
    h.close_connection = True
    h.connection.sendall(data)


def hang(h, _what, _body):
    """Takes the question and never answers."""
    h.close_connection = True
    time.sleep(120)


def garbage(h, _what, _body):
    _raw(h, b"\x00\xff\x16\x03\x01 this is no HTTP \r\n\r\n" * 20)


def silence(h, _what, _body):
    """Closes without a word."""
    h.close_connection = True
    h.connection.shutdown(socket.SHUT_RDWR)


def status(code, **headers):
    def fault(h, _what, _body):
        h.answered = True
        h.send(code, b'{"errors":[{"code":"UNKNOWN","message":"on purpose"}]}',
               "application/json", **headers)
    return fault


def redirect_to_itself(h, _what, _body):
    h.answered = True
    h.send(307, b"", Location=h.path)


def truncated(h, _what, body):
    """Says how long it is, and stops half-way."""
    body = body or b"x" * 1000
    _raw(h, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) +
         body[:len(body) // 2])


def shorter(_h, _what, body):
    """A whole answer, with a byte too few."""
    return body and body[:-1]


def longer(_h, _what, body):
    return body and body + b"!"


def flipped(_h, _what, body):
    """The right length, and one bit wrong."""
    return body and bytes([body[0] ^ 1]) + body[1:]


def stalled(h, _what, body):
    """Half of the body, then nothing, with the connection open."""
    body = body or b"x" * 1000
    _raw(h, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) +
         body[:len(body) // 2])
    time.sleep(120)


def drip(h, _what, body):
    """A byte a second."""
    body = body or b"x" * 1000
    _raw(h, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body))
    for i in range(min(len(body), 120)):
        h.connection.sendall(body[i:i + 1])
        time.sleep(1)


def endless_body(h, _what, _body):
    h.close_connection = True
    h.connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n"
                         b"\r\n")
    chunk = b"10000\r\n" + b"x" * 65536 + b"\r\n"
    for _ in range(1 << 17):  # 8 GiB
        h.connection.sendall(chunk)


def endless_headers(h, _what, _body):
    h.close_connection = True
    h.connection.sendall(b"HTTP/1.1 200 OK\r\n")
    line = b"X-More: " + b"y" * 8000 + b"\r\n"
    for _ in range(1 << 18):
        h.connection.sendall(line)


def old_http(h, _what, body):
    """HTTP/0.9: a body without a status."""
    _raw(h, (body or b"hello") + b"\n")


def bad_length(h, _what, body):
    _raw(h, b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n" + (body or b""))


def zstd_body(frame):
    """An answer that says it is zstd and is `frame`."""
    def fault(h, _what, _body):
        h.answered = True
        h.send(200, frame, Content_Encoding="zstd")
    return fault


def not_http_at_all(port_holder):
    """A listener whose queue is full: connecting to it hangs. Returns the
    sockets to keep."""
    s = socket.socket()
    s.bind(("127.0.0.1", 0))
    s.listen(0)
    port_holder.append(s.getsockname()[1])
    kept = [s]
    for _ in range(4):
        c = socket.socket()
        c.setblocking(False)
        try:
            c.connect(s.getsockname())
        except BlockingIOError:
            pass
        kept.append(c)
    return kept
