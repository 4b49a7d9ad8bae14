"""Answers of requests that act, kept so that the same request is not carried out twice.

Rules. A key belongs to who sends it, and to one request: the same key with another request is a conflict. Of a refusal
nothing is kept, so that it may be tried again; of a request whose end we did not see it is said that it may have acted.
What can only lessen risk is done even where nothing can be kept; doing it twice does no harm.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

from fastapi import Response

from surefoot.api.plain import JSON, encoded
from surefoot.api.problems import Problem
from surefoot.api.webstore import WebStore, WebStoreError

KEPT_MS = 86_400_000
NO_CONTENT = 204
_log = logging.getLogger("surefoot.web")

Act = Callable[[], Awaitable[object]]


class Answers:
    """The kept answers of a web store."""

    def __init__(self, store: WebStore, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._going: set[tuple[str, str]] = set()

    async def once(
        self, name: str, key: str, request: str, act: Act, status: int = 200, *, lessens_risk: bool = False
    ) -> Response:
        """Act, unless this was asked before; `status` is of the answer. Raises what `act` raises, and Problem (409)."""
        place = (name, key)
        try:
            known = self._begin(place, request)
        except WebStoreError as problem:
            if not lessens_risk:
                raise
            _log.error("an answer is not kept, because web.sqlite cannot be written: %s", problem)
            return answer_of(body_of(await act(), status), status)
        if known is not None:
            return self._again(place, request, *known)
        self._going.add(place)
        try:
            body = body_of(await act(), status)
        except Problem:
            self._end("DELETE FROM answers", (), place)
            raise
        finally:
            self._going.discard(place)
        self._end("UPDATE answers SET status = ?, body = ?", (status, body.decode()), place)
        return answer_of(body, status)

    def _begin(self, place: tuple[str, str], request: str) -> tuple[str, int | None, str | None] | None:
        """What is kept of a request; None for one that is new, and then it is kept that it has begun."""
        now_ms = self._now_ms()
        with self._store.change():
            self._store.run("DELETE FROM answers WHERE made_ms < ?", (now_ms - KEPT_MS,))
            known = self._store.row("SELECT request, status, body FROM answers WHERE name = ? AND key = ?", place)
            if known is not None:
                return known
            columns = "name, key, made_ms, request"
            self._store.run(f"INSERT INTO answers ({columns}) VALUES (?, ?, ?, ?)", (*place, now_ms, request))
        return None

    def _end(self, change: str, values: tuple[object, ...], place: tuple[str, str]) -> None:
        """Keep how a request ended. Where that cannot be, it stays one whose end was not seen: it was done."""
        try:
            self._store.run(f"{change} WHERE name = ? AND key = ?", (*values, *place))
        except WebStoreError as problem:
            _log.error("how a request ended is not kept, because web.sqlite cannot be written: %s", problem)

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
