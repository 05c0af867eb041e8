"""Speaks broken HTTP to a server: the cases of 20-http-hostile.sh.

Usage: 20-http-hostile.py HOST PORT PID CASE...   (no CASE: all)

Each case prints "ok NAME" or "not ok NAME: why". Only the standard library is
used, and mostly raw sockets, as a client library would not say such things.
"""
import os
import socket
import sys
import threading
import time

HOST, PORT, PID = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
DIGEST = "sha256:" + "0" * 64
BLOB = f"/v2/hostile/blobs/{DIGEST}"
CASES = {}


def case(fn):
    CASES[fn.__name__.replace("_", "-")] = fn
    return fn


def connect(timeout=20.0):
    s = socket.create_connection((HOST, PORT), timeout=timeout)
    s.settimeout(timeout)
    return s


def read_all(s, limit=1 << 20):
    """What the server says until it closes, or until `limit` bytes."""
    data = b""
    try:
        while len(data) < limit:
            piece = s.recv(65536)
            if not piece:
                break
            data += piece
    except (ConnectionResetError, BrokenPipeError):
        pass
    return data


def read_reply(s):
    """One reply: its status and body, by Content-Length."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = s.recv(65536)
        if not piece:
            return 0, b"", data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            length = int(value)
    while len(body) < length:
        piece = s.recv(65536)
        if not piece:
            break
        body += piece
    return int(head.split()[1]), body, head


def status_of(data):
    return int(data.split()[1]) if data.startswith(b"HTTP/1.1 ") else 0


def ask(text, shut=False):
    """Sends bytes, returns the status of the first reply."""
    with connect() as s:
        try:
            s.sendall(text)
        except (ConnectionResetError, BrokenPipeError):
            pass
        if shut:
            s.shutdown(socket.SHUT_WR)
        return status_of(read_all(s, 1))


def expect(what, got, wanted):
    if got not in (wanted if isinstance(wanted, tuple) else (wanted,)):
        raise AssertionError(f"{what}: got {got}, wanted {wanted}")


def get(path, extra="", version="1.1", method="GET"):
    return (f"{method} {path} HTTP/{version}\r\nHost: x\r\n"
            f"{extra}Connection: close\r\n\r\n").encode("latin-1")


def post(extra, body=b""):
    return (f"POST /v2/hostile/blobs/uploads/ HTTP/1.1\r\nHost: x\r\n{extra}"
            "\r\n").encode("latin-1") + body


def rss_kib():
    with open(f"/proc/{PID}/status", encoding="ascii") as f:
        for line in f:
            if line.startswith("VmRSS:"):
                return int(line.split()[1])
    return 0


@case
def framing():
    """A body whose end is in doubt is refused, and the connection closed."""
    both = "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n"
    for name, extra in {
            "length and chunked": both,
            "two lengths": "Content-Length: 3\r\nContent-Length: 4\r\n",
            "one length twice": "Content-Length: 3\r\nContent-Length: 3\r\n",
            "unknown coding": "Transfer-Encoding: gzip\r\n",
            "list of codings": "Transfer-Encoding: gzip, chunked\r\n",
            "two codings": "Transfer-Encoding: chunked\r\n" * 2,
            "signed length": "Content-Length: +3\r\n",
            "hex length": "Content-Length: 0x3\r\n",
            "length list": "Content-Length: 3, 3\r\n",
            "negative length": "Content-Length: -1\r\n",
            "two hosts": "Host: y\r\n",
    }.items():
        smuggled = b"abc" + get("/livez")
        with connect() as s:
            s.sendall(post(extra, smuggled))
            data = read_all(s)
        expect(name, status_of(data), 400)
        expect(name + ", smuggled", data.count(b"HTTP/1.1 200"), 0)
    expect("huge length", ask(post("Content-Length: 9" + "9" * 30 + "\r\n")),
           (400, 413))


@case
def target():
    for name, path, wanted in (
            ("escaped NUL", "/v2/a%00b/tags/list", 400),
            ("escaped slash", "/v2/a%2fb/tags/list", 400),
            ("escaped newline", "/v2/a%0a/tags/list", 400),
            ("cut escape", "/v2/a%4", 400),
            ("no hex", "/v2/%zz/tags/list", 400),
            ("dots", "/v2/../../etc/passwd/tags/list", 400),
            ("escaped dots", "/v2/%2e%2e/tags/list", 400),
            ("dots only", "/../../../../etc/passwd", 404),
            ("8-bit byte", "/v2/\xe9/tags/list", 400),
            ("control byte", "/v2/\x01/tags/list", 400),
            ("fragment", "/v2/#x", 400),
            ("empty name", "/v2//tags/list", 400),
            ("upper case", "/v2/ABC/tags/list", 400),
            ("long path", "/v2/" + "a" * 3000 + "/tags/list", 414),
            ("long query", "/v2/?x=" + "a" * 9000, 414),
            ("many arguments", "/v2/?" + "&".join(["a=b"] * 50), 414),
            ("NUL in query", "/v2/?x=%00", 400),
            ("many segments", "/v2/" + "a/" * 900 + "tags/list", (400, 404)),
            ("no path", "*", 400),
            ("absolute form", "http://x/livez", 200)):
        expect(name, ask(get(path)), wanted)


@case
def garbage():
    """Nonsense is answered with 400 or a close, and nothing else happens."""
    for text in (b"\r\n\r\n\r\n", b"\x00" * 500, b"GET\r\n\r\n",
                 b"GET / HTTP/9.9\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost x\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: x\r\n: y\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: x\r\na b: y\r\n\r\n",
                 b"GET / HTTP/1.1\r\nHost: x\r\nA: \x01\r\n\r\n",
                 b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
                 b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" +
                 os.urandom(500)):
        expect(repr(text[:30]), ask(text, shut=True), (0, 400, 505))
    for _ in range(20):
        ask(os.urandom(300) + b"\r\n\r\n", shut=True)


@case
def header_lines():
    """Lines that a proxy in front may see otherwise are refused."""
    for name, text in {
            "bare LF": b"GET /livez HTTP/1.1\nHost: x\n\n",
            "bare LF in one place":
                b"GET /livez HTTP/1.1\r\nHost: x\nA: b\r\n\r\n",
            "bare LF at the end": b"GET /livez HTTP/1.1\r\nHost: x\r\n\n",
            "folded field":
                b"GET /livez HTTP/1.1\r\nHost: x\r\nA: b\r\n c\r\n\r\n",
            "field without a name":
                b"GET /livez HTTP/1.1\r\nHost: x\r\n: b\r\n\r\n",
            "NUL in the target": b"GET /livez\0x HTTP/1.1\r\nHost: x\r\n\r\n",
            "NUL in a value":
                b"GET /livez HTTP/1.1\r\nHost: x\r\nA: b\0c\r\n\r\n",
            "two spaces": b"GET  /livez HTTP/1.1\r\nHost: x\r\n\r\n",
            "space in the target": b"GET /live z HTTP/1.1\r\nHost: x\r\n\r\n",
            "no Host": b"GET /livez HTTP/1.1\r\nA: b\r\n\r\n",
            "no fields": b"GET /livez HTTP/1.1\r\n\r\n",
            "space before colon":
                b"GET /livez HTTP/1.1\r\nHost: x\r\nA : b\r\n\r\n",
            "chunked in HTTP/1.0":
                b"POST /livez HTTP/1.0\r\nHost: x\r\n"
                b"Transfer-Encoding: chunked\r\n\r\n"}.items():
        expect(name, ask(text, True), 400)
    expect("blanks around a value",
           ask(b"GET /livez HTTP/1.1\r\nHost: \t x \r\nA:b\r\nB:\r\n\r\n",
               True), 200)
    expect("blank lines first",
           ask(b"\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n", True),
           200)
    expect("HTTP/1.0 without Host", ask(b"GET /livez HTTP/1.0\r\n\r\n", True),
           200)


@case
def big_headers():
    field = "X-Pad: " + "a" * 1000 + "\r\n"
    expect("40 KiB", ask(get("/livez", field * 40)), (431, 0))
    expect("10 MiB", ask(get("/livez", field * 10000)), (431, 0))
    expect("300 fields", ask(get("/livez", "A: b\r\n" * 300)), 431)
    expect("20 KiB", ask(get("/livez", field * 20)), 200)


@case
def early_replies():
    """A refused body never costs the client its reply."""
    with connect() as s:
        s.sendall(b"POST /livez HTTP/1.1\r\nHost: x\r\n"
                  b"Content-Length: 100000\r\n\r\n" + b"x" * 100000)
        expect("small body", read_reply(s)[0], 405)
        s.sendall(get("/livez"))
        expect("same connection", read_reply(s)[0], 200)
    with connect() as s:
        s.sendall(b"POST /livez HTTP/1.1\r\nHost: x\r\n"
                  b"Content-Length: 1000000000\r\n\r\n")
        sender = threading.Thread(target=flood, args=(s, 1000000000))
        sender.start()
        status, _, head = read_reply(s)
        sender.join()
        expect("large body", status, 405)
        expect("it closes", b"Connection: close" in head, True)
    with connect() as s:
        s.sendall(b"POST /livez HTTP/1.1\r\nHost: x\r\n"
                  b"Transfer-Encoding: chunked\r\n\r\n")
        sender = threading.Thread(target=flood_chunks, args=(s, 200))
        sender.start()
        expect("large chunked body", read_reply(s)[0], 405)
        sender.join()
    with connect() as s:
        s.sendall(b"PUT /v2/a/manifests/t HTTP/1.1\r\nHost: x\r\n"
                  b"Content-Type: application/vnd.oci.image.manifest.v1+json"
                  b"\r\nContent-Length: 9000000\r\n"
                  b"Expect: 100-continue\r\n\r\n")
        expect("413 takes the place of 100", read_reply(s)[0], 413)


def flood(s, size):
    block = b"x" * 65536
    try:
        while size > 0:
            size -= s.send(block)
    except OSError:
        pass


def flood_chunks(s, count):
    try:
        for _ in range(count):
            s.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        s.sendall(b"0\r\n\r\n")
    except OSError:
        pass


@case
def expectations():
    body = b"hello"
    path = f"/v2/hostile/blobs/uploads/?digest={DIGEST}"
    with connect() as s:
        s.sendall((f"POST {path} HTTP/1.1\r\nHost: x\r\n"
                   f"Content-Length: {len(body)}\r\n"
                   "Expect: 100-continue\r\n\r\n").encode())
        expect("100", s.recv(65536).split()[1], b"100")
        s.sendall(body)
        expect("then the reply", read_reply(s)[0], (201, 400))
    expect("unknown expectation", ask(get("/livez", "Expect: tea\r\n")), 417)


@case
def chunked():
    for name, body in {
            "no size": b"xyz\r\n\r\n", "huge size": b"f" * 40 + b"\r\n",
            "negative size": b"-1\r\n\r\n",
            "no end of chunk": b"3\r\nabcdef\r\n0\r\n\r\n"}.items():
        expect(name, ask(post("Transfer-Encoding: chunked\r\n", body), True),
               (0, 400, 413))
    # An empty chunked body is no body.
    expect("empty", ask(b"DELETE /livez HTTP/1.1\r\nHost: x\r\nTransfer-"
                        b"Encoding: chunked\r\nConnection: close\r\n\r\n"
                        b"0\r\n\r\n"), 405)


@case
def half_closed():
    """A client that closes its sending side after a request is served."""
    expect("GET", ask(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n", True),
           (200, 0))
    with connect() as s:
        s.sendall(post("Content-Length: 1000\r\n", b"x" * 10))
        s.shutdown(socket.SHUT_WR)
        expect("cut body", status_of(read_all(s)), (0, 400))


@case
def web_pages():
    def answer(origin):
        with connect() as s:
            s.sendall(post(f"Content-Length: 0\r\nOrigin: {origin}\r\n"))
            return read_reply(s)[0]

    expect("another site", answer("https://evil.example"), 403)
    expect("no site", answer("null"), 403)
    expect("itself", answer("http://x"), (201, 202))


@case
def pipelined():
    with connect() as s:
        s.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n" * 200)
        s.shutdown(socket.SHUT_WR)
        data = read_all(s)
    expect("some replies", data.count(b"HTTP/1.1 200") > 0, True)
    expect("no others", data.count(b"HTTP/1.1 "),
           data.count(b"HTTP/1.1 200"))


def closed_after(s, feed, limit):
    """Feeds a byte a second; how long until the server closes."""
    began = time.monotonic()
    s.settimeout(1.0)
    while time.monotonic() - began < limit:
        try:
            s.send(feed)
            if s.recv(65536) == b"":
                break
        except TimeoutError:
            continue
        except OSError:
            break
    return time.monotonic() - began


def timed(results, name, start, feed, limit):
    with connect() as s:
        s.sendall(start)
        results[name] = closed_after(s, feed, limit)


@case
def slow_clients():
    """One byte a second, in every place; all at once, since it takes long."""
    results, threads = {}, []
    for name, start, feed, limit in (
            ("request line", b"GET /", b"a", 20),
            ("header field", b"GET /livez HTTP/1.1\r\nHost: x\r\nA: ", b"a",
             20),
            ("body", post("Content-Length: 100000\r\n"), b"a", 75),
            ("chunked body", post("Transfer-Encoding: chunked\r\n",
                                  b"fffff\r\n"), b"a", 75),
            ("refused body", b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-"
             b"Length: 99999999\r\n\r\n", b"a", 15)):
        threads.append(threading.Thread(target=timed, args=(
            results, name, start, feed, limit)))
        threads[-1].start()
    for t in threads:
        t.join()
    for name, limit in (("request line", 13), ("header field", 13),
                        ("body", 65), ("chunked body", 65),
                        ("refused body", 9)):
        expect(f"{name} closed within {limit} s", results[name] < limit, True)


@case
def idle_connections():
    """Ten thousand of them; others are served as before."""
    count = int(os.environ.get("IDLE_CONNECTIONS", "10000"))
    before = rss_kib()
    idle = []
    try:
        for i in range(count):
            s = connect()
            idle.append(s)
            if i % 4 == 0:
                s.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        slowest = 0.0
        for _ in range(50):
            began = time.monotonic()
            expect("served", ask(get("/livez")), 200)
            slowest = max(slowest, time.monotonic() - began)
        grown = rss_kib() - before
        print(f"# {len(idle)} idle: slowest {slowest * 1000:.1f} ms, "
              f"{grown / count:.1f} KiB each")
        expect("none above 2 s", slowest < 2.0, True)
        most = int(os.environ.get("IDLE_KIB", "80"))
        expect(f"at most {most} KiB each", grown < most * count, True)
    finally:
        for s in idle:
            s.close()


@case
def stuck_readers():
    """Clients that ask and never read hold no more than their slot."""
    stuck = []
    for _ in range(200):
        s = connect()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        s.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n" * 500)
        stuck.append(s)
    began = time.monotonic()
    expect("served", ask(get("/livez")), 200)
    expect("at once", time.monotonic() - began < 2.0, True)
    for s in stuck:
        s.close()


@case
def resets():
    """Connections torn down in mid-everything."""
    linger = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    for i in range(300):
        s = connect()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        s.sendall((b"", b"GET / HT", get("/livez"),
                   post("Content-Length: 10000\r\n", b"x" * 5000),
                   get(BLOB), post("Expect: 100-continue\r\n"
                                   "Content-Length: 5\r\n"))[i % 6])
        s.close()
    expect("served", ask(get("/livez")), 200)


def main():
    failed = 0
    for name in sys.argv[4:] or CASES:
        try:
            CASES[name]()
            with connect() as s:
                s.sendall(get("/livez"))
                expect("alive", read_reply(s)[0], 200)
            print(f"ok {name}", flush=True)
        except (AssertionError, OSError, IndexError, ValueError) as e:
            failed += 1
            print(f"not ok {name}: {e!r}", flush=True)
    sys.exit(1 if failed else 0)


main()
