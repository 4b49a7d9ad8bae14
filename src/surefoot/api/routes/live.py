"""The stream."""

from __future__ import annotations

from fastapi import APIRouter, WebSocket

from surefoot.api.guard import person_of
from surefoot.api.parts import Parts
from surefoot.api.problems import Problem
from surefoot.api.stream import serve_stream

router = APIRouter(tags=["stream"])


@router.websocket("/stream")
async def stream(socket: WebSocket) -> None:
    """Snapshot and updates; the first message brings the token."""
    parts: Parts = socket.app.state.parts

    async def admit(token: str) -> float | None:
        try:
            person_of(parts, token)
            return parts.tokens.read(token).ends_ms / 1_000
        except Problem:
            return None

    await serve_stream(socket, parts.desk.board, admit)
