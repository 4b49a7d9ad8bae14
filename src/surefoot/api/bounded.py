"""HTTP/1.1 by httptools under uvicorn, with a bound on what one connection can make us keep.

Rules. A head that is too long is answered 431, an unfinished part of a message that is too long likewise; both end the
connection. Fields that follow a body in chunks are dropped: they must not become headers after headers were looked at.
Who is answered before the end of a message has as long to end it as an idle connection is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

HEAD_BYTES_MAX = 32_768  # of a head; and of what comes without making a part of a message whole
FIELD_BYTES = len(": \r\n")


class HeadTooLong(Exception):
    """More than a request's head may have; ends the parser's work."""


class BoundedProtocol(HttpToolsProtocol):
    """A connection."""

    _is_in_head = False
    _is_too_long = False
    _is_some_whole = False
    _loose_bytes = 0  # received since a part of a message was whole

    def data_received(self, data: bytes) -> None:
        self._is_some_whole = False
        super().data_received(data)
        self._loose_bytes = 0 if self._is_some_whole else self._loose_bytes + len(data)
        if self._loose_bytes > HEAD_BYTES_MAX and not self.transport.is_closing():
            self._refuse()

    def on_message_begin(self) -> None:
        self._is_in_head = True
        super().on_message_begin()

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_in_head:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._is_in_head, self._is_some_whole = False, True
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
            self._refuse()
        else:
            super().send_400_response(msg)

    def _unset_keepalive_if_required(self) -> None:
        if not self._is_answered_early:
            super()._unset_keepalive_if_required()

    @property
    def _is_answered_early(self) -> bool:
        return self.cycle is not None and self.cycle.response_complete and self.cycle.more_body

    def _refuse(self) -> None:
        if not self._is_answered_early:
            self.transport.write(STATUS_LINE[431] + b"content-length: 0\r\nconnection: close\r\n\r\n")
        self.transport.close()


def _size(headers: Sequence[tuple[bytes, bytes]]) -> int:
    return sum(len(name) + len(value) + FIELD_BYTES for name, value in headers)
