"""Pictures of an engine for tests of what shows them: one with everything in it, and one of an empty account."""

from __future__ import annotations

from decimal import Decimal

from surefoot.control import Answer, Wish
from surefoot.core.messages import RecordAlarm, RecordDecision
from surefoot.core.model import RoundTrip, Signal
from surefoot.core.view import BreakerView, OrderView, PositionView, PriceView, View

NOON_MS = 1_748_779_205_000  # 2025-06-01 12:00:05 UTC


def empty_view() -> View:
    return View(
        at_ms=NOON_MS,
        run="a1b2",
        equity=None,
        quote="USDT",
        balances=(),
        prices=tuple(PriceView(symbol, None, None) for symbol in ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")),
        positions=(),
        orders=(),
        round_trips=(),
        round_trip_count=0,
        decisions=(),
        alarms=(),
        books="not compared yet",
        differences=(),
        foreign=(),
        links=(),
        entries_off="no link to account and market",
        breaker=BreakerView(None, (), ()),
    )


def position(symbol: str = "BTCUSDT", *, unprotected_ms: int | None = None) -> PositionView:
    protected = unprotected_ms is None
    return PositionView(
        symbol=symbol,
        quantity=Decimal("0.02979"),
        entry_price=Decimal("67000.10"),
        mark=Decimal("67511.005"),
        profit=Decimal("13.2215"),
        stop_price=Decimal("65660.09") if protected else None,
        target_price=Decimal("69680.11") if protected else None,
        unprotected_ms=unprotected_ms,
        unprotected_in_all_ms=400 + (unprotected_ms or 0),
    )


def order(number: int, purpose: str, *, resting: bool = True) -> OrderView:
    return OrderView(
        client_order_id=f"sf-a1b2-{number}{purpose[0]}",
        symbol="BTCUSDT",
        side="SELL",
        type="STOP_LOSS",
        purpose=purpose,
        state="NEW",
        quantity=Decimal("0.02979"),
        filled=Decimal(0),
        price=None,
        stop_price=Decimal("65660.09"),
        resting=resting,
        submitted_ms=NOON_MS - 60_000,
    )


def round_trip(number: int) -> RoundTrip:
    return RoundTrip(
        symbol="ETHUSDT",
        side="long",
        entry_ms=NOON_MS - 7_200_000 + number,
        exit_ms=NOON_MS - 3_600_000 + number,
        entry_price=Decimal("3400.00"),
        exit_price=Decimal("3536.00"),
        quantity=Decimal("0.5871"),
        reason="target",
        pnl=Decimal("75.77"),
        dust_loss=Decimal("0.00"),
    )


def decision(number: int, outcome: str, detail: str) -> RecordDecision:
    at_ms = NOON_MS - 900_000 + number
    signal = Signal("SOLUSDT", at_ms, 0.5, 0.75, "oversold", (("rsi", 27.31),))
    return RecordDecision(at_ms, signal, outcome, detail)


def alarm(number: int, text: str = "stop of BTCUSDT was refused") -> RecordAlarm:
    return RecordAlarm(NOON_MS + number, "order-alarm", text)


def rich_view() -> View:
    return View(
        at_ms=NOON_MS,
        run="a1b2",
        equity=Decimal("10012.34000000"),
        quote="USDT",
        balances=(("BTC", Decimal("0.02979")), ("USDT", Decimal("8001.10"))),
        prices=(
            PriceView("BTCUSDT", Decimal("67511.005"), NOON_MS - 400),
            PriceView("ETHUSDT", Decimal("3521.50"), NOON_MS - 400),
            PriceView("BNBUSDT", Decimal("601.1"), NOON_MS - 400),
            PriceView("SOLUSDT", Decimal("152.33"), NOON_MS - 61_000),
        ),
        positions=(position(), position("ETHUSDT", unprotected_ms=4_200)),
        orders=(order(2, "target"), order(3, "stop")),
        round_trips=(round_trip(1), round_trip(2)),
        round_trip_count=2,
        decisions=(
            decision(1, "none", "rsi is neutral"),
            decision(2, "approved", "0.59 SOL at up to 152.48"),
            decision(3, "already-holding", "already holding 0.02979"),
        ),
        alarms=(alarm(1),),
        books="agree",
        differences=(),
        foreign=("order 77 on BTCUSDT is not ours",),
        links=("account", "market"),
        entries_off=None,
        breaker=BreakerView(None, (), ()),
    )


def no_charts(symbol: str, interval: str, limit: int) -> None:
    """For a socket that nobody asks for candles."""
    raise AssertionError(f"nobody should ask for candles of {symbol}")


async def no_engine(wish: Wish, who: str) -> Answer:
    """For a socket that is only looked at."""
    raise AssertionError(f"nobody should be asked for {wish}")
