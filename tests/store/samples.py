"""Messages for the store's tests: a short day of trading, told with the core's own nouns."""

from __future__ import annotations

from decimal import Decimal

from surefoot.core.messages import (
    CandleClosed,
    OrderAccepted,
    OrderFilled,
    RecordAlarm,
    RecordDecision,
    RunStarted,
    SubmitList,
)
from surefoot.core.model import Candle, Fill, ListType, OrderRequest, OrderType, Purpose, Side, Signal
from surefoot.store.records import Message

OPEN_MS = 1_790_000_100_000


def started(run: str = "k3f9", at_ms: int = OPEN_MS) -> RunStarted:
    return RunStarted(at_ms, run, "paper", ("BTCUSDT", "ETHUSDT"), "9f86d081", "0.1.0")


def closed(symbol: str = "BTCUSDT") -> CandleClosed:
    prices = (Decimal("30000.10"), Decimal("30010.00"), Decimal("29990.5"), Decimal("30001.00000000"))
    return CandleClosed(OPEN_MS, Candle(symbol, "15m", OPEN_MS - 900_000, OPEN_MS - 1, *prices, Decimal("12.5")))


def decided(rsi: float = 28.123456789, outcome: str = "approved", symbol: str = "BTCUSDT") -> RecordDecision:
    signal = Signal(symbol, OPEN_MS, 0.5, 0.73, "rsi moderate", (("rsi", rsi), ("rsi_confirm", 44.0)))
    return RecordDecision(OPEN_MS, signal, outcome, "bound by notional_max")


def entry_list(run: str = "k3f9", symbol: str = "BTCUSDT", counter: int = 1) -> SubmitList:
    """Entry, target and stop of one position, as they are sent."""
    quantity = Decimal("0.01666")
    orders = (
        OrderRequest(
            f"sf-{run}-{counter}e", symbol, Side.BUY, OrderType.LIMIT, Purpose.ENTRY, quantity, Decimal("30030.00")
        ),
        OrderRequest(
            f"sf-{run}-{counter}t", symbol, Side.SELL, OrderType.LIMIT_MAKER, Purpose.TARGET, None, Decimal("31200.00")
        ),
        OrderRequest(
            f"sf-{run}-{counter}s",
            symbol,
            Side.SELL,
            OrderType.STOP_LOSS,
            Purpose.STOP,
            None,
            stop_price=Decimal("29400.00"),
        ),
    )
    return SubmitList(OPEN_MS, ListType.OPOCO, f"sf-{run}-{counter}l", orders)


def accepted(run: str = "k3f9", counter: int = 1) -> OrderAccepted:
    return OrderAccepted(OPEN_MS + 40, f"sf-{run}-{counter}e", 4711, True, Decimal("0.01666"), Decimal(0))


def filled(run: str = "k3f9", symbol: str = "BTCUSDT", counter: int = 1) -> OrderFilled:
    price, quantity, fee = Decimal("30000.00"), Decimal("0.01666"), Decimal("0.00001666")
    fill = Fill(f"sf-{run}-{counter}e", symbol, 99, Side.BUY, price, quantity, fee, "BTC", False, OPEN_MS + 50)
    return OrderFilled(OPEN_MS + 50, fill, 4711, quantity)


def alarm(text: str) -> RecordAlarm:
    return RecordAlarm(OPEN_MS, "test", text)


def day_of_trading(run: str = "k3f9") -> tuple[Message, ...]:
    return started(run), closed(), decided(), entry_list(run), accepted(run), filled(run)
