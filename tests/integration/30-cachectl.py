"""What 30-cachectl.sh can't do in shell.

usage: 30-cachectl.py answer TEXT COMMAND...  on a terminal, at "[y/N]"
       30-cachectl.py endless FILE            a server whose lists never end;
                                              its address is put into FILE
"""

import http.server
import os
import pty
import sys


def answer(text, words):
    """The command's exit status."""
    pid, fd = pty.fork()
    if pid == 0:
        os.execv(words[0], words)
    said = b""
    try:
        while b"[y/N]" not in said:
            said += os.read(fd, 1000)
        os.write(fd, text.encode() + b"\n")
        while os.read(fd, 1000):
            pass
    except OSError:
        pass  # how a terminal ends
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


class Endless(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        body = b'{"tags":[],"next":"a:b"}'
        if "/ext/" in self.path:
            body = (b'{"extension":"cachemount","version":1,'
                    b'"features":["missing"]}')
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


def endless(file):
    server = http.server.HTTPServer(("127.0.0.1", 0), Endless)
    with open(file + ".new", "w", encoding="ascii") as f:
        f.write(f"http://127.0.0.1:{server.server_address[1]}")
    os.rename(file + ".new", file)
    server.serve_forever()


if sys.argv[1] == "answer":
    sys.exit(answer(sys.argv[2], sys.argv[3:]))
endless(sys.argv[2])
