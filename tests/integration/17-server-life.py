"""SIGTERM in the middle of an upload: the cases of 17-server-life.sh.

Usage: 17-server-life.py HOST:PORT PID finish|cut|twice
"""
import hashlib
import os
import signal
import socket
import sys
import time

HOST, _, PORT = sys.argv[1].rpartition(":")
PID, CASE = int(sys.argv[2]), sys.argv[3]
BODY = os.urandom(400_000)
DIGEST = "sha256:" + hashlib.sha256(BODY).hexdigest()
failed = 0


def check(name, good, why=""):
    global failed
    failed += not good
    print(f"{'ok' if good else 'not ok'} {CASE}: {name}", flush=True)
    if not good:
        print(f"  # {why}")


def connect():
    s = socket.create_connection((HOST, int(PORT)), timeout=20)
    return s


def get(path):
    """The status of a fresh request, 0 if refused or cut."""
    try:
        with connect() as s:
            s.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            return int(s.recv(4096).split()[1])
    except (OSError, IndexError):
        return 0


def alive():
    try:
        with open(f"/proc/{PID}/stat", encoding="ascii") as f:
            return f.read().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_end(limit):
    began = time.monotonic()
    while alive() and time.monotonic() - began < limit:
        time.sleep(0.02)
    return time.monotonic() - began


def begin_upload():
    s = connect()
    s.sendall(f"POST /v2/drain/blobs/uploads/?digest={DIGEST} HTTP/1.1\r\n"
              f"Host: x\r\nContent-Length: {len(BODY)}\r\n\r\n".encode())
    s.sendall(BODY[:1000])
    time.sleep(0.2)
    return s


def finish():
    idle = connect()
    idle.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
    idle.recv(4096)
    s = begin_upload()
    os.kill(PID, signal.SIGTERM)
    time.sleep(0.3)
    check("not ready", get("/readyz") == 503)
    check("still alive", get("/livez") == 200)
    check("requests are still served", get("/v2/") == 200)
    time.sleep(1.5)
    check("then no more", get("/v2/") in (0, 503))
    check("the idle are closed", idle.recv(10) == b"")
    s.sendall(BODY[1000:])
    reply = s.recv(4096)
    check("the upload finishes", b" 201 " in reply, reply)
    check("with a close", b"Connection: close" in reply, reply)
    check("the end is soon", wait_end(10) < 8)


def cut():
    s = begin_upload()
    os.kill(PID, signal.SIGTERM)
    took = wait_end(15)
    check("not before its time", took > 0.8, took)
    check("no later than needed", took < 8, took)
    try:
        reply = s.recv(4096)
    except OSError:
        reply = b""
    check("no reply", b" 201 " not in reply, reply)


def twice():
    s = begin_upload()
    os.kill(PID, signal.SIGTERM)
    time.sleep(0.3)
    check("it drains", alive())
    os.kill(PID, signal.SIGINT)
    check("it ends at once", wait_end(15) < 5)
    s.close()


{"finish": finish, "cut": cut, "twice": twice}[CASE]()
sys.exit(1 if failed else 0)
