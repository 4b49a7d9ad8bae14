"""What there is to fetch: Binance's public archives by month and day, and where REST has the rest.

Paths and times only; nothing here touches network or disk. The venue publishes a day's archive on the day after, and a
month's on the first Monday of the next; beside each lies `<name>.CHECKSUM` with its SHA-256.
https://github.com/binance/binance-public-data
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal, NamedTuple

from surefoot.research.candlefile import DataError

Market = Literal["spot", "um"]

ARCHIVE = "https://data.binance.vision"
DAY_MS = 86_400_000
# By then a month's archive is out. One that is missing later will never come, nor will those of its days.
MONTH_OUT_AFTER_DAYS = 35

_MONTH_OR_DAY = re.compile(r"(\d{4})-(\d{2})(?:-(\d{2}))?")


class Rest(NamedTuple):
    """How one market's klines are read: address, path, candles a page, weight of a page, weight allowed a minute."""

    base: str
    path: str
    page: int
    weight: int
    weight_max: int


REST = {
    "spot": Rest("https://data-api.binance.vision", "/api/v3/klines", 1_000, 2, 6_000),
    "um": Rest("https://fapi.binance.com", "/fapi/v1/klines", 1_000, 5, 2_400),
}
_FOLDERS = {"spot": "data/spot", "um": "data/futures/um"}


@dataclass(frozen=True, slots=True)
class Series:
    """What is wanted: candles of one symbol and interval on one market."""

    market: Market
    symbol: str
    interval: str


@dataclass(frozen=True, slots=True, order=True)
class Period:
    """A month or a day of candles, [from_ms, to_ms), UTC, and the archive that has them."""

    from_ms: int
    to_ms: int
    is_month: bool

    def path(self, series: Series) -> str:
        """Where the archive lies below the address of all of them."""
        kind = "monthly" if self.is_month else "daily"
        return f"{_FOLDERS[series.market]}/{kind}/klines/{series.symbol}/{series.interval}/{self.name(series)}"

    def name(self, series: Series) -> str:
        text = _date(self.from_ms).strftime("%Y-%m" if self.is_month else "%Y-%m-%d")
        return f"{series.symbol}-{series.interval}-{text}.zip"

    def days(self) -> list[Period]:
        """The days of a month."""
        return [Period(at_ms, at_ms + DAY_MS, False) for at_ms in range(self.from_ms, self.to_ms, DAY_MS)]


def range_of(first: str, last: str | None, now_ms: int) -> tuple[int, int]:
    """`2024-01` or `2024-01-31`, both inclusive, as [from, to) in UTC ms; never later than now."""
    from_ms = _bounds("--from", first)[0]
    to_ms = min(now_ms, _bounds("--to", last)[1] if last else now_ms)
    if from_ms >= to_ms:
        raise DataError(f"--from {first} --to {last or 'now'}: there is no time between these; give --from before --to")
    return from_ms, to_ms


def periods(from_ms: int, to_ms: int, now_ms: int) -> Iterator[Period]:
    """The archives that cover a time: whole months that are over, days of the present month, oldest first.

    A month of which only a part is wanted is fetched whole: that is one file instead of thirty.
    """
    day = _date(from_ms).replace(day=1)
    while _ms(day) < to_ms:
        following = _next_month(day)
        month = Period(_ms(day), _ms(following), True)
        if month.to_ms <= now_ms:
            yield month
        else:
            yield from (one for one in month.days() if one.to_ms > from_ms and one.from_ms < to_ms)
        day = following


def may_have_days(month: Period, now_ms: int) -> bool:
    """Whether the days of a month may be there although the month is not."""
    return now_ms - month.to_ms < MONTH_OUT_AFTER_DAYS * DAY_MS


def joined(spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Times [from, to), those that touch made one; oldest first."""
    found: list[tuple[int, int]] = []
    for from_ms, to_ms in sorted(spans):
        if found and from_ms <= found[-1][1]:
            found[-1] = (found[-1][0], max(to_ms, found[-1][1]))
        else:
            found.append((from_ms, to_ms))
    return found


def _bounds(option: str, text: str) -> tuple[int, int]:
    parts = _MONTH_OR_DAY.fullmatch(text)
    try:
        if parts is None:
            raise ValueError(text)
        year, month, day = int(parts[1]), int(parts[2]), parts[3]
        first = date(year, month, int(day or 1))
        return _ms(first), _ms(first + timedelta(days=1) if day else _next_month(first))
    except (ValueError, OverflowError):
        raise DataError(f"{option} {text}: no such month or day; give one like 2024-01 or 2024-01-31") from None


def _next_month(day: date) -> date:
    return date(day.year + day.month // 12, day.month % 12 + 1, 1)


def _date(at_ms: int) -> date:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).date()


def _ms(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1000
