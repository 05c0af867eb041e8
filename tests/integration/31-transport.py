"""What may stand between cachectl and the server, on a loopback port whose
number is written to a file once it listens.

usage: 31-transport.py tls PORTFILE UPSTREAM-PORT CERTIFICATE KEY
       31-transport.py proxy PORTFILE LOG
       31-transport.py silent-names PORTFILE ADDRESS"""

import http.client
import http.server
import socket
import ssl
import sys
import threading
import urllib.parse


def pump(source, sink):
    """Bytes one way until the end of it."""
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for s in source, sink:
        try:
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass


def tls(port_file, upstream, certificate, key):
    """Ends TLS and hands on what is in it."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    listener = socket.create_server(("127.0.0.1", 0))
    with open(port_file, "w", encoding="ascii") as f:
        f.write(f"{listener.getsockname()[1]}\n")
    while True:
        raw, _ = listener.accept()
        threading.Thread(target=serve_tls, daemon=True,
                         args=(context, raw, int(upstream))).start()


def serve_tls(context, raw, upstream):
    try:
        outer = context.wrap_socket(raw, server_side=True)
        inner = socket.create_connection(("127.0.0.1", upstream))
    except OSError:
        raw.close()
        return
    threading.Thread(target=pump, args=(inner, outer), daemon=True).start()
    pump(outer, inner)


class Proxy(http.server.BaseHTTPRequestHandler):
    """A forwarding proxy for plain HTTP that notes what it was asked."""
    protocol_version = "HTTP/1.1"
    log = None

    def log_message(self, *_):
        pass

    def forward(self):
        with open(self.log, "a", encoding="ascii") as f:
            f.write(f"{self.command} {self.path}\n")
        url = urllib.parse.urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        body = self.rfile.read(length)
        upstream = http.client.HTTPConnection("127.0.0.1", url.port)
        path = url.path + (f"?{url.query}" if url.query else "")
        fields = {k: v for k, v in self.headers.items()
                  if not k.lower().startswith("proxy-")}
        upstream.request(self.command, path, body or None, fields)
        answer = upstream.getresponse()
        data = answer.read()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "content-length", "date"):
                self.send_header(name, value)
        self.send_header("Content-Length", answer.getheader("Content-Length")
                         or len(data))
        self.end_headers()
        self.wfile.write(data)
        upstream.close()

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = forward


def proxy(port_file, log):
    Proxy.log = log
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Proxy)
    with open(port_file, "w", encoding="ascii") as f:
        f.write(f"{server.server_port}\n")
    server.serve_forever()


def silent_names(port_file, address):
    """A name server that takes every question and answers none."""
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    s.bind((address, 53))
    with open(port_file, "w", encoding="ascii") as f:
        f.write("53\n")
    while True:
        s.recv(512)


{"tls": tls, "proxy": proxy, "silent-names": silent_names}[sys.argv[1]](
    *sys.argv[2:])
