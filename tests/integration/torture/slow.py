"""Clients that send, or read, one byte a second; when the server cuts them."""

import socket
import threading
import time

import tap
from registry import Registry, digest_of

BIG = 8 << 20


class SlowClient:
    """One of them: `head` at once, then one byte of `drip` a second."""

    def __init__(self, name, hostport, head, drip, read=True):
        self.name = name
        host, port = hostport.rsplit(":", 1)
        self.address = (host, int(port))
        self.head = head
        self.drip = drip
        self.read = read
        self.seconds = None  # until it was cut
        self.said = b""

    def run(self, limit):
        begin = time.monotonic()
        s = socket.socket()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        s.connect(self.address)
        s.settimeout(1)
        try:
            s.sendall(self.head)
            while time.monotonic() - begin < limit:
                if self._cut(s):
                    self.seconds = time.monotonic() - begin
                    break
        except OSError:
            self.seconds = time.monotonic() - begin
        s.close()

    def _cut(self, s):
        """A second of its life."""
        if self.drip:
            s.sendall(self.drip)
        if not self.read:
            time.sleep(1)
            s.recv(1)
            return not held(self.address[1], s.getsockname()[1])
        try:
            got = s.recv(4096)
        except socket.timeout:
            return False
        self.said += got
        return got == b""


def held(server_port, client_port):
    """Does the server still hold its end? A client that does not read cannot
    see the end of what it was sent, so the kernel is asked."""
    ends = (f":{server_port:04X}", f":{client_port:04X}")
    with open("/proc/net/tcp", encoding="ascii") as f:
        for line in f:
            _, local, remote, state = line.split()[:4]
            if (local[-5:], remote[-5:]) == ends:
                return state == "01"  # established
    return False


def post(path, length, more=b""):
    return (f"POST {path} HTTP/1.1\r\nHost: slow\r\n"
            f"Content-Length: {length}\r\n").encode() + more + b"\r\n"


class SlowClients:
    def __init__(self, hostport):
        self.hostport = hostport
        upload = "/v2/slow/a/blobs/uploads/?digest=" + digest_of(b"never")
        big = self._big_blob()
        chunked = (f"POST {upload} HTTP/1.1\r\nHost: slow\r\n"
                   "Transfer-Encoding: chunked\r\n\r\n").encode()
        self.clients = [
            SlowClient("nothing at all", hostport, b"", b""),
            SlowClient("the request line", hostport, b"GET /", b"x"),
            SlowClient("a header", hostport,
                       b"GET /v2/ HTTP/1.1\r\nHost: slow\r\nX-Slow: ", b"x"),
            SlowClient("many headers", hostport,
                       b"GET /v2/ HTTP/1.1\r\nHost: slow\r\n", b"X: y\r\n"),
            SlowClient("a body", hostport, post(upload, 1 << 20), b"x"),
            SlowClient("a body that stops", hostport,
                       post(upload, 1 << 20) + b"x" * 1000, b""),
            SlowClient("a chunked body", hostport, chunked, b"1\r\nx\r\n"),
            SlowClient("a second request", hostport,
                       b"GET /livez HTTP/1.1\r\nHost: slow\r\n\r\n"
                       b"GET /livez HTTP/1.1\r\nX-Slow: ", b"x"),
            SlowClient("reading", hostport, big, b"", read=False),
        ]
        self.threads = []

    def _big_blob(self):
        """The request for a blob too long for the buffers on the way."""
        r = Registry(self.hostport)
        data = b"\0" * 64 + b"big" * (BIG // 3)
        # Noise is not compressed; neither is what is sent as identity.
        r.put_single("slow/big", data, digest_of(data))
        r.close()
        return (f"GET /v2/slow/big/blobs/{digest_of(data)} HTTP/1.1\r\n"
                "Host: slow\r\n\r\n").encode()

    def start(self, limit=100):
        self.threads = [threading.Thread(target=c.run, args=(limit,),
                                         daemon=True) for c in self.clients]
        for t in self.threads:
            t.start()

    def report(self, limit):
        for t in self.threads:
            t.join(limit + 20)
        for c in self.clients:
            tap.note(f"slow {c.name}: cut after {c.seconds or -1:.0f} s "
                     f"{c.said[:60]!r}")
            tap.check(f"slow clients: {c.name}, one byte a second, is cut",
                      c.seconds is not None and c.seconds < limit, c.seconds)
