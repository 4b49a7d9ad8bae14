"""Milliseconds or microseconds: what the times of a connection or an answer are counted in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final
from urllib.parse import parse_qs

from simex.refusal import Refusal

HEADER: Final = "x-mbx-time-unit"
ANSWER_TIMES: Final = frozenset(
    {
        "T", "authorizedSince", "closeTime", "connectedSince", "openTime", "retryAfter", "serverTime", "time",
        "timestamp", "trailingTime", "transactTime", "transactionTime", "updateTime", "workingTime",
    }
)  # fmt: skip
EVENT_TIMES: Final = frozenset({"D", "E", "O", "T", "W"})
_COLUMNS_OF_KLINES: Final = 12
PER_MS: Final = {"MILLISECOND": 1, "millisecond": 1, "MICROSECOND": 1000, "microsecond": 1000}


def units_per_ms(text: str) -> int:
    """What a millisecond counts; Refusal -1194 for a unit that does not exist."""
    units = PER_MS.get(text)
    if units is None:
        raise Refusal(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")
    return units


def of_query(query: str) -> int:
    """By the parameter `timeUnit` of a connection."""
    return units_per_ms(parse_qs(query).get("timeUnit", ["MILLISECOND"])[-1])


def of_headers(headers: Mapping[str, str]) -> int:
    """By the header of a request."""
    return units_per_ms(headers.get(HEADER, "MILLISECOND"))


def answer_in(units: int, answer: object) -> object:
    """An answer with all its times in other units; a time that is not there yet (-1) stays so."""
    if isinstance(answer, dict):
        return {
            name: _in(units, value) if name in ANSWER_TIMES else answer_in(units, value)
            for name, value in answer.items()
        }
    if isinstance(answer, list):
        if len(answer) == _COLUMNS_OF_KLINES and isinstance(answer[0], int):
            return [answer[0] * units, *answer[1:6], (answer[6] + 1) * units - 1, *answer[7:]]
        return [answer_in(units, entry) for entry in answer]
    return answer


def event_in(units: int, event: Mapping[str, object]) -> dict[str, object]:
    """An account event with its times in other units."""
    # `u` is a time in this event only; elsewhere it is a trade group.
    names = EVENT_TIMES | {"u"} if event["e"] == "outboundAccountPosition" else EVENT_TIMES
    return {name: _in(units, value) if name in names else value for name, value in event.items()}


def _in(units: int, value: object) -> object:
    return value * units if isinstance(value, int) and value >= 0 else value
