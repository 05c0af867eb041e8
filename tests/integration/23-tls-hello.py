"""Sends real TLS hellos, thousands of them, each with its own random bytes, to
a port that speaks plain HTTP: the checks of 23-tls-hello.sh.

Usage: 23-tls-hello.py HOST PORT all|full
"""
import os
import random
import socket
import ssl
import sys
import threading
import time

from registry import check, done, equal

HOST, PORT = sys.argv[1], int(sys.argv[2])
HELLOS = int(os.environ.get("HELLOS", "6000"))
THREADS = 8
random.seed(int(time.time()))


def hello(i):
    """A ClientHello as OpenSSL makes it, of one kind or another."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    if i % 3 == 0:
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    if i % 3 == 1:
        context.minimum_version = ssl.TLSVersion.TLSv1_3
    if i % 2:
        context.set_alpn_protocols(["h2", "http/1.1"])
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    name = "a" * (i % 60 + 1) + ".example" if i % 5 else None
    tls = context.wrap_bio(incoming, outgoing, server_hostname=name)
    try:
        tls.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return outgoing.read()


def connect():
    s = socket.create_connection((HOST, PORT), timeout=20)
    s.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return s


def read_all(s):
    data = b""
    try:
        while piece := s.recv(65536):
            data += piece
    except ConnectionResetError:
        data += b"[reset]"
    return data


def say(pieces, pause=0.0):
    """Sends the pieces; what came back until the server closed."""
    with connect() as s:
        for piece in pieces:
            try:
                s.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                break
            time.sleep(pause)
        s.shutdown(socket.SHUT_WR)
        return read_all(s)


def get(s, path="/livez"):
    s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return s.recv(65536)


def is_400(data):
    return (data.startswith(b"HTTP/1.1 400 ") and b"plain HTTP" in data and
            b"[reset]" not in data)


def many():
    """Each gets its answer whole, however its bytes fall."""
    wrong, lines, lock = [], [0], threading.Lock()

    def some(first):
        for i in range(first, HELLOS, THREADS):
            text = hello(i)
            cut = random.randrange(1, len(text))
            pieces = [text] if i % 4 else [text[:cut], text[cut:]]
            answer = say(pieces)
            with lock:
                lines[0] += b"\n" in text or b"\r" in text
                if not is_400(answer):
                    wrong.append((text[:60], answer))

    threads = [threading.Thread(target=some, args=(i,))
               for i in range(THREADS)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    equal(f"{HELLOS} hellos, none without an answer", [], wrong[:3])
    check("many held a line's end, where a parser would stumble",
          lines[0] > HELLOS // 10, lines[0])


def first_byte():
    """The answer comes on the first byte: nobody waits for the rest."""
    with connect() as s:
        began = time.monotonic()
        s.sendall(b"\x16")
        check("one byte is enough", is_400(s.recv(65536)))
        check("and at once", time.monotonic() - began < 2)
        check("then our side ends", s.recv(1) == b"")
        began = time.monotonic()
        try:
            while time.monotonic() - began < 20:
                s.sendall(b"\x03")
                time.sleep(0.2)
        except OSError:
            pass
        check("and who goes on is cut off", time.monotonic() - began < 10)
    check("byte by byte", is_400(say([bytes([b]) for b in hello(1)[:40]],
                                     0.02)))
    with connect() as s:
        time.sleep(1.5)
        s.sendall(hello(2))
        s.shutdown(socket.SHUT_WR)
        check("late, but whole", is_400(read_all(s)))


def library():
    """What a client's own library makes of it."""
    context = ssl._create_unverified_context()
    reasons = set()
    for _ in range(50):
        with connect() as s:
            try:
                context.wrap_socket(s)
                reasons.add("a handshake?")
            except ssl.SSLError as e:
                reasons.add(e.reason)
    equal("OpenSSL sees another protocol, each time",
          {"WRONG_VERSION_NUMBER"}, reasons)


def floods():
    """A client that sends without end is cut off, and resets harm nobody."""
    sent = 0
    with connect() as s:
        s.settimeout(10)
        try:
            while sent < 64 << 20:
                sent += s.send(b"\x16" * 65536)
        except OSError:
            pass
    check("an endless hello is not read for long", sent < 32 << 20, sent)
    reset = b"\x01\x00\x00\x00\x00\x00\x00\x00"
    for i in range(400):
        s = connect()
        s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        if i % 4:
            s.sendall((b"", hello(i), b"\x16", b"G")[i % 4])
        s.close()
    with connect() as s:
        check("others are served after resets", b" 200 " in get(s))


def silent():
    """Clients that connect and say nothing cost the others nothing, and are
    still served when they speak, until their time is over."""
    began = time.monotonic()
    quiet = [connect() for _ in range(800)]
    slowest = 0.0
    for _ in range(100):
        asked = time.monotonic()
        with connect() as s:
            assert b" 200 " in get(s)
        slowest = max(slowest, time.monotonic() - asked)
    check("others are served at once", slowest < 2, slowest)
    check("one of them speaks up", b" 200 " in get(quiet[0]))
    check("and again", b" 200 " in get(quiet[0]))
    quiet[1].sendall(hello(3))
    check("another says hello", is_400(quiet[1].recv(65536)))
    quiet[2].shutdown(socket.SHUT_WR)
    equal("one that ends is let go", b"", quiet[2].recv(1))
    quiet[3].settimeout(20)
    equal("the others are closed", b"", quiet[3].recv(1))
    check("after ten seconds or so", 8 < time.monotonic() - began < 18)
    for s in quiet:
        s.close()


def full():
    """Sixteen connections are all there may be: others wait for their turn,
    and get it, silent or not, hello or request."""
    held = [connect() for _ in range(8)]
    for s in held:
        s.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        s.recv(65536)
    held += [connect() for _ in range(8)]
    time.sleep(0.3)
    asking, greeting = connect(), connect()
    asking.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    greeting.sendall(hello(1))
    asking.settimeout(0.5)
    try:
        got = asking.recv(65536)
    except TimeoutError:
        got = b"nothing"
    equal("one more than fits is not served yet", b"nothing", got)
    asking.settimeout(20)
    held[0].close()
    held[15].close()
    check("it is, when others have gone", b" 200 " in asking.recv(65536))
    check("so is a hello", is_400(greeting.recv(65536)))
    for s in held + [asking, greeting]:
        s.close()
    began = time.monotonic()
    for i in range(200):
        with connect() as s:
            if i % 2:
                assert b" 200 " in get(s)
            else:
                s.sendall(hello(i))
                assert is_400(s.recv(65536))
    check("and the next two hundred", time.monotonic() - began < 20)


if sys.argv[3] == "full":
    full()
else:
    many()
    first_byte()
    library()
    floods()
    silent()
done()
