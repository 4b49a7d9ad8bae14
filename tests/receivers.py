"""Local servers that speak as the services do to which alerts go; what they were told is kept."""

from __future__ import annotations

import html
import json
import re
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


TELEGRAM_MAX, DISCORD_MAX = 4_096, 2_000
TELEGRAM_TAG = re.compile(r"<(/?)(b|strong|i|em|u|ins|s|strike|del|code|pre|tg-spoiler|blockquote)>")
TELEGRAM_ENTITY = re.compile(r"&(lt|gt|amp|quot|#\d+|#x[0-9a-fA-F]+);")


def telegram_problem(text: str, parse_mode: str | None) -> str | None:
    """What Telegram's API refuses: HTML other than its own, and what is too long once that is read."""
    if parse_mode == "HTML":
        open_tags: list[str] = []
        for ending, tag in TELEGRAM_TAG.findall(text):
            if not ending:
                open_tags.append(tag)
            elif not open_tags or open_tags.pop() != tag:
                return "can't parse entities: unexpected end tag"
        bare = TELEGRAM_TAG.sub("", text)
        if open_tags or re.search("[<>&]", TELEGRAM_ENTITY.sub("", bare)):
            return "can't parse entities: unsupported start tag"
        text = html.unescape(bare)
    return "message is too long" if len(text) > TELEGRAM_MAX else None


def answer_of(path: str, body: Any) -> tuple[int, bytes, str]:
    """Status, body and type as the service behind a path gives them."""
    if path.startswith("/bot"):
        problem = telegram_problem(body["text"], body.get("parse_mode"))
        if problem is not None:
            said = {"ok": False, "error_code": 400, "description": f"Bad Request: {problem}"}
            return 400, json.dumps(said).encode(), "application/json"
        return 200, b'{"ok": true, "result": {"message_id": 1}}', "application/json"
    if path.startswith("/services/"):
        return 200, b"ok", "text/html"
    if path.startswith("/api/webhooks/"):
        if len(body.get("content", "")) > DISCORD_MAX:
            return 400, b'{"content": ["Must be 2000 or fewer in length."]}', "application/json"
        return 204, b"", "application/json"
    return 200, b"{}", "application/json"


@contextmanager
def web_hooks() -> Iterator[Heard]:
    """Slack's, Discord's and Telegram's APIs and a plain web hook, by their paths."""
    heard = Heard()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            heard.posts.append((self.path, body))
            status, answer, kind = answer_of(self.path, body)
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
