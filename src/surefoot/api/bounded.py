"""HTTP/1.1 by httptools under uvicorn, with a bound on what one connection can make us keep.

Rules. A head that is too long is answered 431, an unfinished part of a message that is too long likewise; both end the
connection. Fields that follow a body in chunks are dropped: they must not become headers after headers were looked at.
Who is answered before the end of a message has as long to end it as an idle connection is kept. Who connects, or
begins a head, has a bound to end it, and is cut off then; while an answer is under way, that bound waits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_BYTES_MAX = 32_768  # of a head; and of what comes without making a part of a message whole
FIELD_BYTES = len(": \r\n")
HEAD_WAIT_S = 10.0


class HeadTooLong(Exception):
    """More than a request's head may have; ends the parser's work."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection."""

    _is_in_head = False
    _is_too_long = False
    _is_some_whole = False
    _loose_bytes = 0  # received since a part of a message was whole
    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_there()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._is_some_whole = False
        super().data_received(data)
        self._loose_bytes = 0 if self._is_some_whole else self._loose_bytes + len(data)
        if self._loose_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse(431)
        if self._head_due is None and self._is_head_wanted:
            self._await_head()

    def on_message_begin(self) -> None:
        self._is_in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head, self._is_some_whole = False, True
        self._head_is_there()
        if len(self.url) + _size(self.headers) > HEAD_BYTES_MAX:
            self._is_too_long = True
            raise HeadTooLong
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        self._is_some_whole = True
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._is_some_whole = True
        super().on_message_complete()
        if self.cycle is not None:
            self.cycle.more_body = False

    def send_400_response(self, msg: str) -> None:
        if self._is_too_long:
            self._refuse(431)
        else:
            super().send_400_response(msg)

    def _unset_keepalive_if_required(self) -> None:
        if not self._is_answered_early:
            super()._unset_keepalive_if_required()

    @property
    def _is_answered_early(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete and self.cycle.more_body

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    @property
    def _is_head_wanted(self) -> bool:
        """Whether nothing else ends this connection: neither an answer, nor its rest, nor what a WebSocket has."""
        is_idle = self.timeout_keep_alive_task is None and not self._is_answering and self in self.connections
        return self._is_in_head or is_idle

    def _await_head(self) -> None:
        self._head_due = self.loop.call_later(HEAD_WAIT_S, self._head_is_late)

    def _head_is_there(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _head_is_late(self) -> None:
        if self._is_answering:
            self._await_head()
        elif self._is_in_head:
            self._refuse(408)
        else:  # a browser that opened a connection ahead takes nothing that it did not ask for
            self.transport.close()

    def _refuse(self, status: int) -> None:
        if not self._is_answered_early:
            self.transport.write(STATUS_LINE[status] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()


def _size(headers: Sequence[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + FIELD_BYTES for name, value in headers)
