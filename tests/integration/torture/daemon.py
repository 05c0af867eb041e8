"""The server under test as a process: started, killed and started again on
one address, its log kept."""

import ctypes
import json
import os
import signal
import socket
import subprocess
import time

from registry import Gone, Registry


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _die_with_parent():
    """A test that is killed must not leave its server behind."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Daemon:
    """`command` may hold {data} and {listen}, which are filled in."""

    def __init__(self, command, data, log, ready_path="/readyz", env=None,
                 hostport=None):
        self.data = data
        self.hostport = hostport or f"127.0.0.1:{free_port()}"
        self.command = [word.replace("{data}", data)
                        .replace("{listen}", self.hostport)
                        for word in command]
        self.log_path = log
        self.ready_path = ready_path
        self.env = {**os.environ, **(env or {})}
        self.process = None

    def spawn(self):
        """Starts it and does not wait."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(self.command, stdout=log,
                                            stderr=log, env=self.env,
                                            stdin=subprocess.DEVNULL,
                                            preexec_fn=_die_with_parent)

    def start(self, limit=20):
        """Starts it, waits until it is ready, returns the seconds it took."""
        begin = time.monotonic()
        self.spawn()
        self.wait_ready(limit)
        return time.monotonic() - begin

    def wait_ready(self, limit=20):
        end = time.monotonic() + limit
        while time.monotonic() < end:
            if self.process.poll() is not None:
                raise RuntimeError("the server ended with status "
                                   f"{self.process.returncode}:\n{self.tail()}")
            try:
                r = Registry(self.hostport, timeout=5)
                answer = r.request("GET", self.ready_path)
                r.close()
                if answer.status == 200:
                    return
            except Gone:
                pass
            time.sleep(0.01)
        raise RuntimeError(f"not ready in {limit} s:\n{self.tail()}")

    def kill(self):
        """SIGKILL; returns when the process is no more."""
        self.process.kill()
        self.process.wait()

    def stop(self, limit=30):
        """SIGTERM; returns the exit status, None if it had to be killed."""
        if self.process is None or self.process.poll() is not None:
            return self.process and self.process.returncode
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(limit)
        except subprocess.TimeoutExpired:
            self.kill()
            return None

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def resident(self):
        """Bytes of resident memory."""
        with open(f"/proc/{self.process.pid}/statm", encoding="ascii") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def tail(self, lines=15):
        """The log's end, without the lines that only tell of requests."""
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as f:
                kept = [line[:300] for line in f if not _request_line(line)]
        except OSError as e:
            return str(e)
        return "\n".join(line.rstrip("\n") for line in kept[-lines:])


def _request_line(line):
    try:
        return json.loads(line).get("status", 500) < 500
    except (ValueError, AttributeError, TypeError):
        return False
