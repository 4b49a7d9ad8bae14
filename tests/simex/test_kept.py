"""What the exchange keeps for those who ask later: packed after a while, and told as if it were not."""

from __future__ import annotations

import random
import tracemalloc
from decimal import Decimal

import pytest

from simex.klines import BARS_A_SHELF, MINUTE_MS, Bar, Series
from simex.trades import PACKED_AT_ONCE, Span, Trade, TradeLog
from simex.venue import Candle

T0_MS = 1_717_200_000_000


def some_trades(count: int, seed: int = 1) -> list[Trade]:
    """Ids with gaps, several of one millisecond, digits as they come."""
    rng, found, trade_id, at_ms = random.Random(seed), list[Trade](), 0, T0_MS
    for _ in range(count):
        trade_id += rng.choice((1, 1, 1, 3))
        at_ms += rng.choice((0, 0, 7, 1_000))
        price = Decimal(rng.randrange(1, 10_000_000)).scaleb(-rng.choice((0, 2, 8)))
        quantity = Decimal(rng.randrange(1, 10_000)).scaleb(-rng.choice((3, 8)))
        found.append(Trade(trade_id, price, quantity, at_ms, rng.random() < 0.5))
    return found


@pytest.mark.spec("SIM-1")
def test_packed_trades_are_told_as_they_were_made() -> None:
    made, log, rng = some_trades(7 * PACKED_AT_ONCE + 100), TradeLog(), random.Random(2)
    for trade in made:
        log.add(trade)
    for _ in range(200):
        limit, trade = rng.choice((1, 5, 1_000, 3_000)), rng.choice(made)
        at_ms, trade_id = trade.at_ms + rng.choice((-1, 0, 1)), trade.trade_id + rng.choice((0, 1))
        until_ms = at_ms + rng.choice((0, 5_000, 1_000_000))
        assert log.from_id(trade_id, limit) == [t for t in made if t.trade_id >= trade_id][:limit]
        assert log.newest(limit, at_ms) == [t for t in made if t.at_ms <= at_ms][-limit:]
        assert log.between(at_ms, until_ms, limit) == [t for t in made if at_ms <= t.at_ms <= until_ms][:limit]
    assert [str(t.price) for t in log.newest(len(made))] == [str(t.price) for t in made]


@pytest.mark.spec("SIM-1")
def test_of_many_trades_and_candles_the_newest_are_kept_whatever_they_come_as() -> None:
    kept, rng, trade_id, at_ms = 3_000, random.Random(3), 0, T0_MS
    log, made = TradeLog(kept), list[Trade]()
    for _ in range(300):
        if rng.random() < 0.3:
            price = Decimal(rng.randrange(100, 200))
            candle = Candle(at_ms, MINUTE_MS, price, price + 5, price - 5, price, Decimal(9))
            span = Span([candle], 0, 1, trade_id + 1)
            log.add(span)
            made += span.from_id(0)
            trade_id, at_ms = trade_id + 4, at_ms + MINUTE_MS
        for trade in some_trades(rng.choice((1, 50, 400)), rng.randrange(99)):
            moved = trade._replace(trade_id=trade_id + trade.trade_id, at_ms=trade.at_ms - T0_MS + at_ms)
            log.add(moved)
            made.append(moved)
        trade_id, at_ms = made[-1].trade_id, made[-1].at_ms + 1
    assert len(made) > 6 * kept
    assert log.newest(kept) == made[-kept:]
    assert log.newest(len(made)) == made[-len(log.newest(len(made))) :]
    assert len(log.newest(len(made))) < 4 * kept


@pytest.mark.spec("SIM-1")
def test_packed_candles_are_told_as_they_were_printed() -> None:
    series, plain, rng = Series(), list[tuple[object, ...]](), random.Random(4)
    minutes = 4 * BARS_A_SHELF + 30
    for minute in range(minutes):
        for _ in range(rng.choice((1, 3))):
            at_ms = T0_MS + minute * MINUTE_MS + rng.choice((0, 1, 59_999))
            series.print(Decimal(rng.randrange(1, 10**6)).scaleb(-2), Decimal(rng.randrange(1, 99)).scaleb(-3), at_ms)
        plain.append(_values(next(series.bars("1m", T0_MS + minute * MINUTE_MS, T0_MS + minute * MINUTE_MS))))
    end_ms = T0_MS + minutes * MINUTE_MS
    assert [_values(bar) for bar in series.bars("1m", T0_MS, end_ms)] == plain
    for _ in range(50):
        first, last = sorted(rng.randrange(minutes) for _ in range(2))
        start_ms, until_ms = T0_MS + first * MINUTE_MS, T0_MS + last * MINUTE_MS
        assert [_values(bar) for bar in series.bars("1m", start_ms, until_ms)] == plain[first : last + 1]
    total = series.total(T0_MS, end_ms)
    assert total is not None
    assert total.volume == sum((bar.volume for bar in series.bars("1m", T0_MS, end_ms)), Decimal(0))
    assert [_values(bar) for bar in series.newest("1m", end_ms, 2_000)] == plain[-2_000:]


def _values(bar: Bar) -> tuple[object, ...]:
    return tuple(str(getattr(bar, name)) for name in Bar.__slots__)


@pytest.mark.spec("SIM-1", "PERF-6")
def test_a_trade_that_is_kept_takes_few_bytes() -> None:
    count, log = 40_000, TradeLog()
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for at in range(count):
            log.add(Trade(at + 1, Decimal(6_000_000 + at % 997).scaleb(-2), Decimal(at % 89 + 1).scaleb(-5), at, True))
        bytes_each = (tracemalloc.get_traced_memory()[0] - before) / count
    finally:
        tracemalloc.stop()
    assert len(log.newest(count)) == count
    assert bytes_each < 60
