"""Request parameters, read with the refusals Binance gives for bad ones.

Query string and form body are one set of names; where both carry a name the query's value counts. An empty value is
the same as none.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Final
from urllib.parse import parse_qsl

from simex import refusal
from simex.refusal import Refusal

_NUMBER: Final = re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?")
_INTEGER: Final = re.compile(r"[0-9]{1,20}")
_ZONE: Final = re.compile(r"[+-]?(?P<hours>[0-9]{1,2})(:(?P<minutes>[0-5][0-9]))?")
_CLIENT_ID: Final = re.compile(r"[a-zA-Z0-9\-_]{1,36}")
_WORD: Final = re.compile(r"[A-Z0-9_]{1,40}")
LEGAL_WORD: Final = "^[A-Z0-9_]{1,40}$"
LEGAL_NUMBER: Final = r"^([0-9]{1,20})(\.[0-9]{1,20})?$"
LEGAL_INTEGER: Final = "^[0-9]{1,20}$"
LEGAL_CLIENT_ID: Final = "^[a-zA-Z0-9-_]{1,36}$"
DECIMALS_MAX: Final = 8
ZONE_MIN_MINUTES: Final = -12 * 60
ZONE_MAX_MINUTES: Final = 14 * 60


class Params:
    """The parameters of one request, all as text."""

    __slots__ = ("values",)

    def __init__(self, values: Mapping[str, str]) -> None:
        self.values = values

    @classmethod
    def from_wire(cls, query: str, body: bytes) -> Params:
        """Parse query and body; -1101 when one of them repeats a name."""
        values = _parsed(body.decode("utf-8", "replace")) if body else {}
        values.update(_parsed(query))
        return cls(values)

    def has(self, name: str) -> bool:
        return bool(self.values.get(name))

    def maybe(self, name: str) -> str | None:
        return self.values.get(name) or None

    def text(self, name: str) -> str:
        value = self.values.get(name)
        if not value:
            raise refusal.missing(name)
        return value

    def maybe_decimal(self, name: str) -> Decimal | None:
        """A decimal number; refusals -1100 for what is none and -1111 for more than eight decimals."""
        text = self.maybe(name)
        if text is None:
            return None
        if not _NUMBER.fullmatch(text):
            raise refusal.illegal(name, LEGAL_NUMBER)
        if len(text.partition(".")[2].rstrip("0")) > DECIMALS_MAX:
            raise refusal.too_precise(name)
        return Decimal(text)

    def decimal(self, name: str) -> Decimal:
        value = self.maybe_decimal(name)
        if value is None:
            raise refusal.missing(name)
        return value

    def maybe_integer(self, name: str) -> int | None:
        text = self.maybe(name)
        if text is None:
            return None
        if not _INTEGER.fullmatch(text):
            raise refusal.illegal(name, LEGAL_INTEGER)
        return int(text)

    def maybe_time_ms(self, name: str) -> int | None:
        """A time in milliseconds or, with sixteen digits, microseconds."""
        value = self.maybe_integer(name)
        return value // 1000 if value is not None and value >= 10**15 else value

    def limit(self, default: int, largest: int) -> int:
        """The `limit` parameter, cut to the largest; -1130 when it is zero."""
        value = self.maybe_integer("limit")
        if value == 0:
            raise refusal.invalid("limit")
        return default if value is None else min(value, largest)

    def flag(self, name: str, default: bool) -> bool:
        text = self.maybe(name)
        return default if text is None else text.lower() == "true"

    def client_id(self, name: str) -> str | None:
        text = self.maybe(name)
        if text is not None and not _CLIENT_ID.fullmatch(text):
            raise refusal.illegal(name, LEGAL_CLIENT_ID)
        return text

    def choice(self, name: str, allowed: Iterable[str], code: int, text: str) -> str:
        value = self.text(name)
        if value not in allowed:
            raise Refusal(code, text)
        return value

    def maybe_choice(self, name: str, allowed: Iterable[str], default: str) -> str:
        """One of some words; -1130 for any other."""
        value = self.maybe(name)
        if value is not None and value not in allowed:
            raise refusal.invalid(name)
        return default if value is None else value

    def zone_minutes(self) -> int:
        """The `timeZone` parameter, hours or hours and minutes, as minutes ahead of UTC; -1130 when there is none."""
        text = self.maybe("timeZone") or "0"
        found = _ZONE.fullmatch(text)
        minutes = 60 * int(found["hours"]) + int(found["minutes"] or 0) if found else ZONE_MAX_MINUTES + 1
        minutes = -minutes if text.startswith("-") else minutes
        if not ZONE_MIN_MINUTES <= minutes <= ZONE_MAX_MINUTES:
            raise refusal.invalid("timeZone")
        return minutes

    def words(self, name: str) -> list[str]:
        """One word, or a JSON list of words; -1100 for anything else."""
        text = self.maybe(name)
        if text is None:
            return []
        try:
            words = json.loads(text) if text.startswith("[") else [text]
        except ValueError:
            words = []
        if not words or not all(isinstance(word, str) and _WORD.fullmatch(word) for word in words):
            raise refusal.illegal(name, LEGAL_WORD)
        return words

    def symbols(self) -> list[str]:
        """The `symbols` JSON list; -1100 for anything else, -1151 for a symbol named twice."""
        try:
            names = json.loads(self.text("symbols"))
        except ValueError:
            names = None
        if not isinstance(names, list) or not names or not all(isinstance(name, str) for name in names):
            raise refusal.illegal("symbols", '^\\["[A-Z0-9-_.]{1,20}"(,"[A-Z0-9-_.]{1,20}"){0,}\\]$')
        if len(set(names)) < len(names):
            raise Refusal(-1151, "Symbol is present multiple times in the list.")
        return names


def _parsed(text: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        if name in values:
            raise Refusal(-1101, f"Duplicate values for parameter '{name}' detected.")
        values[name] = value
    return values
