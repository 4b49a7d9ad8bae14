"""Statistics of a stretch of time: the rolling tickers and the trading day, as REST and the streams show them.

Rules: a window begins with a full minute. Nothing traded in it means zeros and ids of -1, as there is no price to tell.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Final, NamedTuple

from simex.depth import AnyBook
from simex.klines import DAY_MS, MINUTE_MS
from simex.orders import ZERO

HOUR_MS: Final = 60 * MINUTE_MS
AVERAGE_MINS: Final = 5
WINDOWS_MS: Final = {"1h": HOUR_MS, "4h": 4 * HOUR_MS, "1d": DAY_MS}


class Window(NamedTuple):
    """What was traded from `open_ms` to `close_ms`, inclusive."""

    open_ms: int
    close_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    last: Decimal
    volume: Decimal
    quote: Decimal
    first_id: int
    last_id: int
    trades: int

    @property
    def change(self) -> Decimal:
        return self.last - self.open

    @property
    def change_pct(self) -> Decimal:
        return self.change / self.open * 100 if self.open else ZERO

    @property
    def average(self) -> Decimal:
        return self.quote / self.volume if self.volume else ZERO


def rolling(book: AnyBook, length_ms: int, now_ms: int) -> Window:
    """The last stretch of that length; `open_ms` is floored to a minute."""
    start_ms = now_ms - length_ms
    return window(book, start_ms - start_ms % MINUTE_MS, now_ms)


def window(book: AnyBook, open_ms: int, now_ms: int, close_ms: int | None = None) -> Window:
    """From a full minute on until now; `close_ms` is what is shown as its end."""
    shown_ms = now_ms if close_ms is None else close_ms
    bar = book.series.total_until(open_ms, now_ms)
    if bar is None:
        return Window(open_ms, shown_ms, ZERO, ZERO, ZERO, ZERO, ZERO, ZERO, -1, -1, 0)
    return Window(
        open_ms, shown_ms, bar.open, bar.high, bar.low, bar.close,
        bar.volume, bar.quote, bar.first_id, bar.last_id, bar.trades,
    )  # fmt: skip


def price_before(book: AnyBook, at_ms: int) -> Decimal:
    """The last price before a full minute; zero when there was none."""
    bars = book.series.newest("1m", at_ms - 1, 1)
    return bars[0].close if bars else ZERO


def average(book: AnyBook, now_ms: int) -> Decimal:
    """The price of the last minutes, weighted by volume; without a trade in them the last price."""
    return book.series.average_price(now_ms, AVERAGE_MINS) or book.last or ZERO


def last_quantity(book: AnyBook) -> Decimal:
    """What the newest trade was about; zero when there is none, or none are kept."""
    newest = book.log.newest(1) if book.log is not None else []
    return newest[0].quantity if newest else ZERO
