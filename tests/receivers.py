"""Local servers that speak as the services do to which alerts go; what they were told is kept."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Heard:
    """`posts` are (path, JSON body), `mails` whole messages. `refusals` are statuses of the next posts; 0 is none."""

    port: int = 0
    posts: list[tuple[str, Any]] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)
    refusals: list[int] = field(default_factory=list)


def answer_of(path: str) -> tuple[int, bytes, str]:
    """Status, body and type as the service behind a path gives them."""
    if path.startswith("/bot"):
        return 200, b'{"ok": true, "result": {"message_id": 1}}', "application/json"
    if path.startswith("/services/"):
        return 200, b"ok", "text/html"
    if path.startswith("/api/webhooks/"):
        return 204, b"", "application/json"
    return 200, b"{}", "application/json"


@contextmanager
def web_hooks() -> Iterator[Heard]:
    """Slack's, Discord's and Telegram's APIs and a plain web hook, by their paths."""
    heard = Heard()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            heard.posts.append((self.path, json.loads(body)))
            status, answer, kind = answer_of(self.path)
            if heard.refusals and (refusal := heard.refusals.pop(0)):
                status, answer = refusal, b'{"ok": false, "description": "not now"}'
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with _serving(ThreadingHTTPServer(("127.0.0.1", 0), Handler)) as port:
        heard.port = port
        yield heard


@contextmanager
def mail_server() -> Iterator[Heard]:
    """SMTP, as far as handing in a message goes."""
    heard = Heard()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self._say("220 here")
            while line := self.rfile.readline():
                word = line.strip().upper()
                if word.startswith(b"EHLO"):
                    self._say("250-here", "250 AUTH PLAIN LOGIN")
                elif word.startswith(b"AUTH"):
                    self._say("235 welcome")
                elif word == b"DATA":
                    self._say("354 go on")
                    heard.mails.append(self._message())
                    self._say("250 taken")
                elif word == b"QUIT":
                    self._say("221 bye")
                    return
                else:
                    self._say("250 fine")

        def _message(self) -> str:
            lines: list[bytes] = []
            while (line := self.rfile.readline()) != b".\r\n":
                lines.append(line)
            return b"".join(lines).decode()

        def _say(self, *lines: str) -> None:
            self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())

    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    with _serving(server) as port:
        heard.port = port
        yield heard


@contextmanager
def _serving(server: socketserver.TCPServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
