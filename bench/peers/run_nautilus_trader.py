"""The bench's rules in NautilusTrader: a backtest over bars, with a bracket of stop and target at its simulated venue.

RSI is computed beforehand by TA-Lib: the same values as everybody's, and less work than an indicator fed bar by bar.
"""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pandas as pd
import talib
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig, StrategyConfig
from nautilus_trader.model.currencies import BTC, USDT
from nautilus_trader.model.data import Bar, BarType
from nautilus_trader.model.enums import AccountType, OmsType, OrderSide
from nautilus_trader.model.identifiers import InstrumentId, Symbol, Venue
from nautilus_trader.model.instruments import CryptoPerpetual
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.persistence.wranglers import BarDataWrangler
from nautilus_trader.trading.strategy import Strategy
from protocol import Candles, Outcome, Peer, serve

VENUE = Venue("BINANCE")
BAR_TYPE = BarType.from_str("BTCUSDT.BINANCE-1-MINUTE-LAST-EXTERNAL")
MINUTE_MS = 60_000


def instrument(fee: float) -> CryptoPerpetual:
    return CryptoPerpetual(
        instrument_id=InstrumentId(Symbol("BTCUSDT"), VENUE),
        raw_symbol=Symbol("BTCUSDT"),
        base_currency=BTC,
        quote_currency=USDT,
        settlement_currency=USDT,
        is_inverse=False,
        price_precision=1,
        size_precision=8,
        price_increment=Price.from_str("0.1"),
        size_increment=Quantity.from_str("0.00000001"),
        margin_init=Decimal("0.01"),
        margin_maint=Decimal("0.005"),
        maker_fee=Decimal(str(fee)),
        taker_fee=Decimal(str(fee)),
        ts_event=0,
        ts_init=0,
    )


class Rules(Strategy):
    """Decides when a bar has closed; the venue fills at that bar's close, the price it knows then."""

    def __init__(self, rules: dict[str, Any], traded: CryptoPerpetual, rsi: list[float]) -> None:
        super().__init__(StrategyConfig())
        self.rules, self.traded, self.rsi = rules, traded, rsi
        self.bars_seen = 0
        self.entries: list[int] = []
        self.closed = 0
        self.equity = rules["cash"]

    def on_start(self) -> None:
        self.subscribe_bars(BAR_TYPE)

    def on_bar(self, bar: Bar) -> None:
        at, rules = self.bars_seen, self.rules
        self.bars_seen += 1
        now = self.rsi[at]
        if now > rules["high"]:
            if self.portfolio.is_net_long(self.traded.id):
                self.cancel_all_orders(self.traded.id)
                self.close_all_positions(self.traded.id)
        elif now < rules["low"] <= self.rsi[at - 1] and self.portfolio.is_flat(self.traded.id):
            self.enter(float(bar.close))

    def enter(self, price: float) -> None:
        rules, traded = self.rules, self.traded
        equity = float(self.portfolio.account(VENUE).balance_total(USDT))
        bracket = self.order_factory.bracket(
            instrument_id=traded.id,
            order_side=OrderSide.BUY,
            quantity=traded.make_qty(equity * rules["share"] / (price * (1 + rules["fee"]))),
            sl_trigger_price=traded.make_price(price * (1 - rules["stop"])),
            tp_price=traded.make_price(price * (1 + rules["target"])),
        )
        self.submit_order_list(bracket)

    def on_position_opened(self, event: Any) -> None:
        self.entries.append(self.bars_seen)  # the bar after the one decided on, as everywhere else

    def on_position_closed(self, event: Any) -> None:
        self.closed += 1

    def on_stop(self) -> None:
        unrealized = self.portfolio.unrealized_pnl(self.traded.id)
        self.equity = float(self.portfolio.account(VENUE).balance_total(USDT)) + float(unrealized or 0)


def prepare(candles: Candles, rules: dict[str, Any]) -> dict[str, Any]:
    index = pd.to_datetime(candles["open_time"] + MINUTE_MS, unit="ms", utc=True)
    columns = ("open", "high", "low", "close", "volume")
    frame = pd.DataFrame({name: candles[name] for name in columns}, index=index)
    traded = instrument(rules["fee"])
    return {"traded": traded, "close": candles["close"], "bars": BarDataWrangler(BAR_TYPE, traded).process(frame)}


def single(own: dict[str, Any], rules: dict[str, Any]) -> Outcome:
    config = BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True), run_analysis=False)
    engine = BacktestEngine(config)
    engine.add_venue(
        VENUE,
        OmsType.NETTING,
        AccountType.MARGIN,
        [Money(rules["cash"], USDT)],
        base_currency=USDT,
        default_leverage=Decimal(1),
    )
    engine.add_instrument(own["traded"])
    engine.add_data(own["bars"])
    decides = Rules(rules, own["traded"], talib.RSI(own["close"], rules["period"]).tolist())
    engine.add_strategy(decides)
    engine.run()
    outcome = Outcome(decides.entries[: decides.closed], len(decides.entries) - decides.closed, decides.equity)
    engine.dispose()
    return outcome


if __name__ == "__main__":
    serve(Peer(("nautilus_trader", "numpy", "pandas", "ta-lib"), prepare, single=single, strategy=single))
