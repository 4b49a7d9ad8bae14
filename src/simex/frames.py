"""Frames waiting to be sent: account frames first, then market frames, each in order of emission."""

from __future__ import annotations

import json
from collections.abc import Mapping


class Outbox:
    """What the exchange has said and nobody has sent yet."""

    __slots__ = ("account", "market")

    def __init__(self) -> None:
        self.account: list[tuple[int, str]] = []
        self.market: list[tuple[int, str]] = []

    def take(self) -> list[tuple[int, str]]:
        frames = self.account + self.market
        if frames:
            self.account = []
            self.market = []
        return frames

    def forget(self, link: int) -> None:
        """Drop what a closed link will never read."""
        self.account = [frame for frame in self.account if frame[0] != link]
        self.market = [frame for frame in self.market if frame[0] != link]


def encode(message: object) -> str:
    return json.dumps(message, separators=(",", ":"), ensure_ascii=False)


def flag(value: bool) -> str:
    return "true" if value else "false"


class RawNumber(str):
    """A JSON number as it was written: signatures cover the text, not the value."""

    __slots__ = ()


def decode(text: str) -> Mapping[str, object] | None:
    """A JSON object with its numbers kept as text; None when it is none."""
    try:
        message = json.loads(text, parse_int=RawNumber, parse_float=RawNumber, parse_constant=RawNumber)
    except (ValueError, RecursionError):
        return None
    return message if isinstance(message, dict) else None


def echoed(value: object) -> object:
    """A request id as the client wrote it."""
    if isinstance(value, RawNumber):
        return int(value) if value.lstrip("-").isdigit() else float(value)
    return value


def as_params(values: object) -> dict[str, str]:
    """The `params` of a WebSocket API request as text, the way they are signed."""
    if not isinstance(values, dict):
        return {}
    return {name: _as_text(value) for name, value in values.items() if value is not None}


def _as_text(value: object) -> str:
    if isinstance(value, str):
        return str(value)
    if isinstance(value, bool):
        return flag(value)
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
