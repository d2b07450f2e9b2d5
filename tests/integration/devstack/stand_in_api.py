"""Stands in for the API where only its process matters: ready once it serves, and it tells what it was given."""

import json
import os
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(dict(os.environ)).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if os.environ.get("FAIL"):
    raise SystemExit(f"cannot start: {os.environ['FAIL']}")
sys.stdout.write("serving\n")
ThreadingHTTPServer((os.environ["HOST"], int(os.environ["PORT"])), _Handler).serve_forever()
