"""Milliseconds or microseconds: what the times of a connection or an answer are counted in."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

from simex.refusal import Refusal

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
