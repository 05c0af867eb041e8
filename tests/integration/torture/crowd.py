"""Many idle connections: half of them have said nothing yet, half have asked
once and wait, as a pool of keep-alive connections does."""

import socket
import time

REQUEST = b"GET /livez HTTP/1.1\r\nHost: crowd\r\n\r\n"


class Crowd:
    def __init__(self, hostport, count):
        host, port = hostport.rsplit(":", 1)
        self.address = (host, int(port))
        self.count = count
        self.sockets = []

    def gather(self, limit=30):
        """Connects them all, in bounded time; returns how many are in and, of
        those that asked, were answered."""
        end = time.monotonic() + limit
        served = 0
        while len(self.sockets) < self.count and time.monotonic() < end:
            s = socket.socket()
            s.settimeout(5)
            try:
                s.connect(self.address)
                if len(self.sockets) % 2:
                    s.sendall(REQUEST)
            except OSError:
                s.close()
                continue
            self.sockets.append(s)
        for s in self.sockets[1::2]:
            served += self._answered(s)
        return served + len(self.sockets[0::2])

    @staticmethod
    def _answered(s):
        try:
            return s.recv(4096).startswith(b"HTTP/1.1 200")
        except OSError:
            return False

    def still_served(self, n):
        """Of `n` that asked before: how many are served again."""
        served = 0
        for s in self.sockets[1::2][:n]:
            try:
                s.sendall(REQUEST)
            except OSError:
                continue
            served += self._answered(s)
        return served

    def leave(self):
        for s in self.sockets:
            s.close()
        self.sockets = []
