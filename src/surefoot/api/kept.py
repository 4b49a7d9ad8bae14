"""Answers of requests that act, kept so that the same request is not carried out twice.

Rules. A key belongs to who sends it, and to one request: the same key with another request is a conflict. Of a refusal
nothing is kept, so that it may be tried again; of a request whose end we did not see it is said that it may have acted.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Response

from surefoot.api.plain import JSON, encoded
from surefoot.api.problems import Problem
from surefoot.api.webstore import WebStore

KEPT_MS = 86_400_000
NO_CONTENT = 204

Act = Callable[[], Awaitable[object]]


class Answers:
    """The kept answers of a web store."""

    def __init__(self, store: WebStore, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._going: set[tuple[str, str]] = set()

    async def once(self, name: str, key: str, request: str, act: Act, status: int = 200) -> Response:
        """Act, unless this was asked before; `status` is of the answer. Raises what `act` raises, and Problem (409)."""
        now_ms, place = self._now_ms(), (name, key)
        with self._store.change():
            self._store.run("DELETE FROM answers WHERE made_ms < ?", (now_ms - KEPT_MS,))
            known = self._store.row("SELECT request, status, body FROM answers WHERE name = ? AND key = ?", place)
            if known is None:
                columns = "name, key, made_ms, request"
                self._store.run(f"INSERT INTO answers ({columns}) VALUES (?, ?, ?, ?)", (*place, now_ms, request))
        if known is not None:
            return self._again(place, request, *known)
        self._going.add(place)
        try:
            body = body_of(await act(), status)
        except Problem:
            self._store.run("DELETE FROM answers WHERE name = ? AND key = ?", place)
            raise
        finally:
            self._going.discard(place)
        where = "WHERE name = ? AND key = ?"
        self._store.run(f"UPDATE answers SET status = ?, body = ? {where}", (status, body.decode(), *place))
        return answer_of(body, status)

    def _again(
        self, place: tuple[str, str], request: str, asked: str, status: int | None, body: str | None
    ) -> Response:
        if asked != request:
            raise Problem(409, "key_reused", "this Idempotency-Key was used for another request")
        if status is not None:
            return answer_of((body or "").encode(), status)
        if place in self._going:
            raise Problem(409, "still_going_on", "this request is being carried out")
        raise Problem(
            409, "end_not_seen", "the end of this request was not seen: it may have acted; look, then ask anew"
        )


def body_of(value: object, status: int) -> bytes:
    """What an act returned, as JSON; nothing where the status says that there is nothing."""
    return b"" if status == NO_CONTENT else encoded(value)


def answer_of(body: bytes, status: int) -> Response:
    return Response(status_code=status) if status == NO_CONTENT else Response(body, status, media_type=JSON)
