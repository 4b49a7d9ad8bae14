"""Rows of numbers as compressed text: what is kept for a long time and seldom asked for takes little memory.

Rules: nothing is rounded, and a Decimal comes back with the digits that it was written with.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal


def packed(rows: Iterable[Sequence[int | Decimal]]) -> bytes:
    """The rows, one line each."""
    return zlib.compress("\n".join(" ".join(map(str, row)) for row in rows).encode(), 1)


def unpacked(rows: bytes) -> Iterator[list[str]]:
    """The rows again, their numbers as text."""
    return (line.split(" ") for line in zlib.decompress(rows).decode().split("\n"))
