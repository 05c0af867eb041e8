"""A Python index on the loopback that stands in front of this machine's own.

The builders of deploy/quickstart are given this index, so that it can count
what each of them takes from the real one. It asks whatever index pip is set up
for here (PIP_* variables, pip's configuration files, certificates, proxies), or
serves the files of a folder.

Indexes say how long a file may be kept (a file never changes under its name, so
for ever) and name each answer with an ETag; pip keeps nothing without them.
Some mirrors drop these headers: here they are put back.

    GET /simple/NAME/          the page, its links pointing back here
    GET /files/ID/FILENAME     a file that a page has named
    GET /counters              what the index has sent: {"pages", "page_bytes",
                               "files", "file_bytes"}, bodies only

Usage: python index-front.py [--folder DIR]; prints its address once it listens,
ends when its standard input does. Runs on the Python of a builder, with the
copy of requests that pip brings.
"""

import ast
import gzip
import hashlib
import html
import json
import os
import re
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import unquote, urljoin, urlsplit

# pip's own, since a builder has nothing else installed.
from pip._internal.models.index import PyPI
from pip._vendor import requests

JSON_TYPE = "application/vnd.pypi.simple.v1+json"
ACCEPT = JSON_TYPE + ", text/html;q=0.1"
PAGE_LIMIT = 64 << 20
PIECE = 256 << 10


def pip_settings():
    """What pip is set up for, its name -> value; variables win over files."""
    out = subprocess.run(
        [sys.executable, "-m", "pip", "config", "list"],
        capture_output=True, text=True, timeout=60, check=True).stdout
    found = {}
    for line in out.splitlines():
        key, _, value = line.partition("=")
        section, _, name = key.rpartition(".")
        rank = {"global": 0, "install": 1, ":env:": 2}.get(section)
        if rank is not None and rank >= found.get(name, (-1, None))[0]:
            found[name] = (rank, ast.literal_eval(value))
    return {name: value for name, (_, value) in found.items()}


class Upstream:
    """This machine's index, or several, asked in the order pip names them."""

    def __init__(self):
        settings = pip_settings()
        self.timeout = float(settings.get("default-timeout",
                                          settings.get("timeout", 15)))
        self.trusted = settings.get("trusted-host", "").split()
        self.verify = settings.get("cert") or True
        self.client_cert = settings.get("client-cert")
        self.proxy = settings.get("proxy")
        self.bases = []
        if settings.get("no-index", "").lower() not in ("1", "true", "yes", "on"):
            urls = [settings.get("index-url", PyPI.simple_url)]
            urls += settings.get("extra-index-url", "").split()
            self.bases = [url.rstrip("/") + "/" for url in urls]
        self.local = threading.local()

    def session(self):
        """A session a thread: they are not made to be shared."""
        if not hasattr(self.local, "session"):
            session = requests.Session()
            session.cert = self.client_cert
            if self.proxy:
                session.proxies = {"http": self.proxy, "https": self.proxy}
            self.local.session = session
        return self.local.session

    def get(self, url, headers):
        verify = self.verify
        if {urlsplit(url).hostname, urlsplit(url).netloc} & set(self.trusted):
            verify = False
        return self.session().get(url, headers=headers, stream=True,
                                  verify=verify, timeout=min(self.timeout, 60))


class Folder:
    """The wheels and sdists of one folder, as an index."""

    def __init__(self, folder):
        self.folder = folder

    def page(self, name):
        files = []
        for filename in sorted(os.listdir(self.folder)):
            project = re.sub(r"[-_.]+", "-", filename.rsplit("-", 1)[0]
                             if filename.endswith(".tar.gz")
                             else filename.split("-")[0]).lower()
            if project == name:
                with open(os.path.join(self.folder, filename), "rb") as f:
                    digest = hashlib.sha256(f.read()).hexdigest()
                files.append({"filename": filename, "url": filename,
                              "hashes": {"sha256": digest}})
        return {"meta": {"api-version": "1.0"}, "name": name, "files": files}


class Front(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, source):
        super().__init__(("127.0.0.1", 0), Handler)
        self.source = source
        self.address = "http://127.0.0.1:%d" % self.server_port
        self.lock = threading.Lock()
        self.counters = {"pages": 0, "page_bytes": 0,
                         "files": 0, "file_bytes": 0}
        self.links = {}

    def count(self, **more):
        with self.lock:
            for name, n in more.items():
                self.counters[name] += n

    def link(self, url):
        """A path here that stands for url, the same for every builder."""
        plain, _, fragment = url.partition("#")
        ident = hashlib.sha256(plain.encode()).hexdigest()[:24]
        with self.lock:
            self.links[ident] = plain
        return "%s/files/%s/%s%s" % (self.address, ident,
                                     urlsplit(plain).path.rsplit("/", 1)[-1],
                                     "#" + fragment if fragment else "")


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format, *args):
        pass

    def do_GET(self):
        path = urlsplit(self.path).path
        page = re.fullmatch(r"/simple/([a-z0-9-]+)/", path)
        file = re.fullmatch(r"/files/([0-9a-f]{24})/([^/]+)", path)
        try:
            if path == "/counters":
                with self.server.lock:
                    body = json.dumps(self.server.counters)
                self.answer(200, body.encode(), "application/json")
            elif page and isinstance(self.server.source, Folder):
                self.folder_page(page.group(1))
            elif page:
                self.page(page.group(1))
            elif file and isinstance(self.server.source, Folder):
                self.folder_file(file.group(1))
            elif file:
                self.file(file.group(1), unquote(file.group(2)))
            else:
                self.answer(404, b"no such page\n")
        except requests.RequestException as e:
            reason = str(e).split("\n")[0]
            self.answer(502, ("the index: %s\n" % reason).encode())

    def answer(self, status, body, kind="text/plain", headers=()):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def page_answer(self, body, kind, tag):
        """pip asks for a page anew each time, but takes "unchanged"."""
        headers = [("ETag", tag), ("Cache-Control", "max-age=600")]
        if self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            for name, value in headers:
                self.send_header(name, value)
            self.end_headers()
            return
        self.answer(200, body, kind, headers)

    def page(self, name):
        last = b"no index is set up\n"
        for base in self.server.source.bases:
            url = base + name + "/"
            ask = {"Accept": ACCEPT, "Accept-Encoding": "gzip"}
            known = self.headers.get("If-None-Match")
            if known:
                ask["If-None-Match"] = known
            reply = self.server.source.get(url, ask)
            raw = reply.raw.read(PAGE_LIMIT, decode_content=False)
            self.server.count(pages=1, page_bytes=len(raw))
            if reply.status_code == 304:
                self.page_answer(b"", "", known)
                return
            if reply.status_code == 200:
                if reply.headers.get("Content-Encoding") == "gzip":
                    raw = gzip.decompress(raw)
                body, kind = self.rewritten(reply, raw)
                digest = '"%s"' % hashlib.sha256(body).hexdigest()
                self.page_answer(body, kind, reply.headers.get("ETag", digest))
                return
            last = ("status %d of %s\n" % (reply.status_code, name)).encode()
        self.answer(404, last)

    def rewritten(self, reply, raw):
        """The page with its links pointing here, and its type."""
        kind = reply.headers.get("Content-Type", "text/html")
        link = self.server.link
        if kind.split(";")[0].strip() == JSON_TYPE:
            page = json.loads(raw)
            for entry in page["files"]:
                entry["url"] = link(urljoin(reply.url, entry["url"]))
            return json.dumps(page).encode(), JSON_TYPE
        text = re.sub(
            r'(<a\b[^>]*?\bhref=")([^"]*)(")',
            lambda m: m.group(1) + html.escape(
                link(urljoin(reply.url, html.unescape(m.group(2))))) +
            m.group(3),
            raw.decode("utf-8", "replace"), flags=re.IGNORECASE)
        return text.encode(), "text/html"

    def file(self, ident, filename):
        url = self.server.links.get(ident)
        if url is None:
            self.answer(404, b"no page has named this file\n")
            return
        if filename.endswith(".metadata") and not url.endswith(".metadata"):
            url += ".metadata"
        reply = self.server.source.get(url, {"Accept-Encoding": "identity"})
        length = reply.headers.get("Content-Length")
        if reply.status_code != 200 or length is None:
            self.answer(reply.status_code if length else 502, b"")
            return
        self.file_head(ident, length, reply.headers)
        self.server.count(files=1)
        for piece in reply.raw.stream(PIECE, decode_content=False):
            self.server.count(file_bytes=len(piece))
            self.wfile.write(piece)

    def file_head(self, ident, length, upstream):
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", length)
        self.send_header("ETag", upstream.get("ETag", '"%s"' % ident))
        self.send_header("Cache-Control", upstream.get(
            "Cache-Control", "max-age=365000000, immutable, public"))
        self.end_headers()

    def folder_page(self, name):
        page = self.server.source.page(name)
        if not page["files"]:
            self.answer(404, b"no such project\n")
            return
        for entry in page["files"]:
            entry["url"] = self.server.link(entry["url"])
        body = json.dumps(page).encode()
        self.server.count(pages=1, page_bytes=len(body))
        self.page_answer(body, JSON_TYPE,
                         '"%s"' % hashlib.sha256(body).hexdigest())

    def folder_file(self, ident):
        filename = self.server.links.get(ident)
        if filename is None:
            self.answer(404, b"no page has named this file\n")
            return
        with open(os.path.join(self.server.source.folder, filename),
                  "rb") as f:
            body = f.read()
        self.server.count(files=1, file_bytes=len(body))
        self.file_head(ident, str(len(body)), {})
        self.wfile.write(body)


def main():
    if len(sys.argv) == 3 and sys.argv[1] == "--folder":
        source = Folder(sys.argv[2])
    else:
        source = Upstream()
    front = Front(source)
    threading.Thread(target=front.serve_forever, daemon=True).start()
    print(front.address, flush=True)
    while sys.stdin.buffer.read(4096):
        pass


if __name__ == "__main__":
    main()
