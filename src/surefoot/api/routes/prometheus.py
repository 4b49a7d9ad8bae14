"""`GET /metrics`, for Prometheus: not under /api/v1, because it is no user who asks.

Rules. With SUREFOOT_METRICS_TOKEN set, whoever shows it may read. Without one only this machine may, and nobody whom a
proxy lets in: behind one, everybody comes from this machine.
"""

from __future__ import annotations

import asyncio
import hmac
from ipaddress import ip_address
from pathlib import Path

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from surefoot.api.guard import METRICS, Shared
from surefoot.api.parts import Parts
from surefoot.api.problems import Problem
from surefoot.chronicle import AskError, journal_path
from surefoot.config import Settings
from surefoot.control import ControlError, read_view, socket_path
from surefoot.core.view import View
from surefoot.telemetry import CONTENT_TYPE, Telemetry, Visits

PROXIED = ("forwarded", "x-forwarded-for", "x-real-ip", "via")
VIEW_WAIT_S = 2.0

router = APIRouter(tags=["metrics"], include_in_schema=False)
_TELEMETRY = Telemetry()


@router.get(METRICS)
async def metrics(request: Request, parts: Shared) -> Response:
    """What Prometheus reads."""
    check(request, parts)
    text = await asyncio.to_thread(rendered, parts.settings, _TELEMETRY, parts.visits)
    return Response(text, media_type=CONTENT_TYPE)


def check(request: Request, parts: Parts) -> None:
    """Whether who asks may read; raises Problem."""
    token = parts.settings.metrics_token
    if token is None:
        here = request.client is not None and ip_address(request.client.host).is_loopback
        if here and not any(name in request.headers for name in PROXIED) and not parts.settings.web.behind_proxy:
            return
        raise Problem(403, "metrics_closed", "set SUREFOOT_METRICS_TOKEN to let others read metrics")
    scheme, _, shown = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not hmac.compare_digest(shown.encode(), token.get_secret_value().encode()):
        raise Problem(401, "metrics_token", "show SUREFOOT_METRICS_TOKEN as a bearer token")


def rendered(settings: Settings, telemetry: Telemetry, visits: Visits) -> bytes:
    """The metrics of now; blocks."""
    path = _journal(settings)
    return telemetry.render(_view(path), path, visits)


def _journal(settings: Settings) -> Path | None:
    try:
        path = journal_path(None, settings)
    except AskError:
        path = settings.store.journal_path
    return path if path.is_file() else None


def _view(path: Path | None) -> View | None:
    try:
        return None if path is None else read_view(socket_path(path), VIEW_WAIT_S)
    except ControlError:  # of another version: nothing that could be told
        return None
