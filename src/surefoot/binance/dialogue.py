"""What passes between the session and whoever moves its bytes: arrivals in, requests out.

A driver in real time or in virtual time makes the first and takes the second; neither decides anything.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

MARKET, ACCOUNT, BOOK, ORDERS = "market", "account", "book", "orders"


@dataclass(frozen=True, slots=True)
class Keys:
    api_key: str
    secret: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """What the venue answered, over HTTP or by the WebSocket API, in the shape that it has over HTTP."""

    request_id: int
    status: int
    headers: Mapping[str, str]  # lower-case names
    body: bytes


@dataclass(frozen=True, slots=True)
class HttpFailed:
    """No answer. `sent` is False only when the request certainly never left this machine."""

    request_id: int
    sent: bool
    text: str


@dataclass(frozen=True, slots=True)
class LinkUp:
    link: str


@dataclass(frozen=True, slots=True)
class LinkDown:
    link: str
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    link: str
    data: bytes | str


@dataclass(frozen=True, slots=True)
class Wake:
    """Nothing came, but a deadline did."""


Arrival = HttpAnswer | HttpFailed | LinkUp | LinkDown | Frame | Wake


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """The bytes to send: `target` is path and query, signed as they stand."""

    request_id: int
    method: str
    target: str
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SocketRequest:
    """A request by the WebSocket API, signed as it stands. Its answer comes as a frame of that link, or the link ends;
    it is `HttpFailed` only when the link was not there any more."""

    request_id: int
    link: str
    text: str


@dataclass(frozen=True, slots=True)
class OpenLink:
    link: str
    target: str


@dataclass(frozen=True, slots=True)
class CloseLink:
    link: str


@dataclass(frozen=True, slots=True)
class SendText:
    link: str
    text: str


Request = HttpRequest | SocketRequest | OpenLink | CloseLink | SendText


class SessionFailed(Exception):
    """The dialogue cannot go on until a person changes something; the text says what."""
