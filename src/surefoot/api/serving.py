"""The web process: an app served at an address until it is told to end."""

from __future__ import annotations

import asyncio
import os
import socket
import ssl
from collections.abc import Callable
from ipaddress import ip_address

import uvicorn

from surefoot.api.app import create_app
from surefoot.api.bounded import BoundedProtocol
from surefoot.api.onetime import offered_link
from surefoot.api.parts import Parts
from surefoot.config import Loaded, WebSettings
from surefoot.control import CONTROL_KEY, control_key

GRACE_S = 3
BACKLOG = 128
STREAM_BYTES_MAX = 65_536  # of a message that a client sends


class ServingError(Exception):
    """The address cannot be listened at, or not with this certificate; one line for a person."""


def listener(web: WebSettings, any_port: bool) -> socket.socket:
    """A socket at the address; with `any_port` at a free port when the wanted one is taken. Raises ServingError."""
    host = "127.0.0.1" if web.host == "localhost" else web.host
    family = socket.AF_INET6 if ip_address(host).version == 6 else socket.AF_INET
    for port in (web.port, 0) if any_port else (web.port,):
        taken = socket.socket(family)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind((host, port))
            taken.listen(BACKLOG)
        except OSError as problem:
            taken.close()
            told = f"web.port = {port} at {host} cannot be used: {problem.strerror}; set another with --set web.port=N"
            refusal = ServingError(told)
        else:
            taken.setblocking(False)
            return taken
    raise refusal


def check_tls(web: WebSettings) -> None:
    """Whether certificate and key can be read and belong together. Raises ServingError."""
    if not web.tls_cert_file:
        return
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        # A key with a passphrase would be asked about on a terminal that nobody looks at.
        context.load_cert_chain(web.tls_cert_file, web.tls_key_file, password=lambda: "")
    except OSError as problem:
        told = getattr(problem, "reason", None) or problem.strerror or "no certificate with its key, as PEM"
        files = f"web.tls_cert_file = {web.tls_cert_file}, web.tls_key_file = {web.tls_key_file}"
        raise ServingError(f"{files} cannot be used: {told.lower().replace('_', ' ')}") from None


def url_of(bound: socket.socket, web: WebSettings) -> str:
    """The address of the page, for a browser."""
    host, port = bound.getsockname()[:2]
    scheme = "https" if web.tls_cert_file else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def serve(loaded: Loaded, bound: socket.socket, on_ready: Callable[[], None]) -> None:
    """Serve until SIGTERM or SIGINT; `on_ready` is called once requests are answered. Raises StoreError, and
    ControlError for a key of the run that is none."""
    parts = Parts.made(loaded.settings)
    parts.desk.sources, parts.desk.control_key = loaded.sources, control_key(os.environ)
    os.environ.pop(CONTROL_KEY, None)  # what is started from here must not sign
    try:
        link = offered_link(os.environ)
        if link is not None:
            parts.sessions.offer_link(*link)
        server = _Server(server_config(parts), on_ready)
        with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets=[bound]))
    finally:
        parts.close()


def server_config(parts: Parts) -> uvicorn.Config:
    """How an app of these parts is served."""
    web = parts.settings.web
    return uvicorn.Config(
        create_app(parts),
        loop="uvloop",
        http=BoundedProtocol,
        ws="websockets-sansio",
        ws_max_size=STREAM_BYTES_MAX,
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,  # whom to believe is decided in `shield.address_of`
        server_header=False,
        ssl_certfile=web.tls_cert_file or None,
        ssl_keyfile=web.tls_key_file or None,
        timeout_graceful_shutdown=GRACE_S,
    )


class _Server(uvicorn.Server):
    """Says when it is ready."""

    def __init__(self, config: uvicorn.Config, on_ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_ready = on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            self._on_ready()
