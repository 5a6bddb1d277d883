"""The web server on the second node: GET answers the page, POST what was sent, PUT nothing.

/v1/models has a list as OpenAI's and Anthropic's SDKs read it.

HTTP on 80 (IPv4 and IPv6), HTTPS on 443. Arguments: the page's file, and the certificate and its key.
"""

import json
import socket
import ssl
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

page_file, certificate, key = sys.argv[1:]
with open(page_file, "rb") as file:
    PAGE = file.read()


MODEL = {"id": "model-of-the-tailnet", "object": "model", "type": "model", "created": 0, "owned_by": "a",
         "display_name": "a", "created_at": "2026-01-01T00:00:00Z"}
MODELS = json.dumps({"object": "list", "data": [MODEL], "has_more": False, "first_id": None, "last_id": None}).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, body, kind="text/plain"):
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def do_GET(self):
        if self.path.startswith("/v1/models"):
            self.answer(MODELS, "application/json")
        else:
            self.answer(PAGE)

    def do_PUT(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.answer(b"")

    def do_POST(self):
        self.answer(self.rfile.read(int(self.headers["Content-Length"])))

    def log_message(self, *_):
        pass


class Server6(ThreadingHTTPServer):
    address_family = socket.AF_INET6


plain, plain6 = ThreadingHTTPServer(("127.0.0.1", 80), Handler), Server6(("::1", 80), Handler)
secure = ThreadingHTTPServer(("127.0.0.1", 443), Handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
# The handshake is each connection's own: one that stays silent does not keep the others from being accepted.
secure.socket = context.wrap_socket(secure.socket, server_side=True, do_handshake_on_connect=False)
for server in (plain, plain6):
    threading.Thread(target=server.serve_forever, daemon=True).start()
secure.serve_forever()
