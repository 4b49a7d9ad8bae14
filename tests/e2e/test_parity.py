"""Real candles, replayed over real sockets into the trader process, give what the exact backtest of them gives.

Everything is compared exactly: what was ordered, what was filled, what each round trip earned, what is left. The live
side is read twice, from the trader's journal and from the exchange. `SUREFOOT_FULL=1` makes it four symbols and thirty
days instead of two symbols and two days.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from simex.tapefile import load_tape
from simex.venue import HttpRequest
from surefoot.config import Settings, load
from surefoot.core.engine import Engine
from surefoot.core.messages import (
    CancelOrder,
    Command,
    Event,
    IncomePaid,
    OrderFilled,
    ReplaceOrder,
    SubmitList,
    SubmitOrder,
)
from surefoot.core.model import Fill, Market, OrderRequest
from surefoot.core.view import View
from surefoot.research.backtest import run_backtest
from surefoot.research.data import load_candles
from surefoot.research.exact import Costs, candle_exchange
from surefoot.research.tape import tape_of
from tests.e2e.processes import FULL, SYMBOLS, exchange, folded, settings_of, trader

DAYS, THIN_DAYS = (30, 10) if FULL else (2, 2)
SOURCE = "open/klines/um_1m" if FULL else "demo/um_1m"
MINUTE_MS = 60_000
TRADED = SYMBOLS if FULL else ("BTCUSDT", "SOLUSDT")
MARKET = {
    "market.interval": "5m",
    "market.confirm_interval": "15m",
    "market.warmup_candles": "20",
    "strategy.score_min_paper": "0.5",
    "strategy.score_min_backtest": "0.5",
    "exits.stop_pct_of_price": "1",
    "exits.target_pct_of_price": "1",
    "orders.reconcile_every_s": "3600",
    "breaker.day_loss_max_pct": "100",
    "breaker.rolling_loss_max_pct": "100",
    "breaker.week_loss_max_pct": "100",
    "breaker.drawdown_max_pct": "100",
    "breaker.stale_data_max_s": "0",
    "risk.correlation_max": "1",
    "risk.loss_streak_max": "0",
    "risk.entry_gap_min_s": "0",
    "costs.latency_ms": "0",
}
COSTS = Costs({"USDT": Decimal(10_000)}, Decimal(10), Decimal(1), Decimal(2), Decimal("0.1"), "worst")
# Every exit rule moves, sells or leaves now and then.
EXITS = {
    "exits.trail_activate_pct": "0.5",
    "exits.trail_distance_pct": "0.3",
    "exits.trail_step_pct": "0.05",
    "exits.take_1_at_pct": "0.3",
    "exits.take_1_share_pct": "40",
    "exits.break_even_after_r": "0.4",
    "exits.reversal_closes": "3",
    "exits.reversal_fall_pct": "0.2",
    "exits.hold_max_s": "14400",
    "exits.hold_keep_pct": "0.4",
    "exits.opposite_score_min": "0.7",
}
FUTURES = {
    "market.venue": "futures",
    "futures.leverage": "3",
    "futures.margin_type": "ISOLATED",
    "futures.fee_bps": "4",
    "futures.funding_bps": "3",
}
# Entries get more than one tick, and are given up at the very moment of another.
THIN = {
    "costs.volume_share_pct": "0.1",
    "paper.balance_usdt": "8000000",
    "risk.notional_max_quote": "400000",  # a quarter of it while there is little history
    "orders.partial_fill_wait_s": "15",
    "orders.unprotected_max_s": "60",
}


@pytest.fixture(scope="module")
def files(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """The first days of real one-minute candles, one file a symbol."""
    folder = tmp_path_factory.mktemp("candles")
    found = [shared_data / SOURCE / f"{symbol}.parquet" for symbol in TRADED]
    if not all(file.is_file() for file in found):
        pytest.skip(f"needs market data: SUREFOOT_DATA has no {SOURCE}")
    return [_cut(file, folder / file.name, DAYS) for file in found]


def _cut(source: Path, to: Path, days: int) -> str:
    """Whole hours only. Dust is valued at the last tick by who watches all prices, at the last candle by who watches
    none, which is the same where a candle ends with the tape."""
    candles = pl.read_parquet(source)
    minute = candles["open_time"].cast(pl.Int64) // MINUTE_MS
    first = -(-int(minute[0]) // 60) * 60
    end = min(first + days * 1_440, (int(minute[-1]) + 1) // 60 * 60)
    candles.filter((minute >= first) & (minute < end)).write_parquet(to)
    return str(to)


@pytest.mark.spec("SAFE-8", "MODE-2", "BT-1")
@pytest.mark.timeout(1_800 if FULL else 120)
def test_replay_over_sockets_equals_the_exact_backtest(files: list[str], tmp_path: Path) -> None:
    counts = compare(files, tmp_path, {**MARKET, **EXITS})
    print(counts)
    assert counts["round_trips"] >= (300 if FULL else 8)
    assert counts["replaced"] >= (300 if FULL else 8)


@pytest.mark.spec("SAFE-8", "MODE-2", "BT-1", "ORD-6")
@pytest.mark.timeout(1_800 if FULL else 120)
def test_replay_equals_the_backtest_where_orders_fill_in_parts(files: list[str], tmp_path: Path) -> None:
    name = Path(files[-1]).name
    counts = compare([_cut(Path(files[-1]), tmp_path / name, THIN_DAYS)], tmp_path, {**MARKET, **THIN})
    print(counts)
    assert counts["fills"] >= counts["filled_orders"] + 5
    assert counts["cancels"] >= 3
    assert counts["oco"] >= 3


@pytest.mark.spec("SAFE-8", "MODE-2", "MODE-3", "BT-1", "PNL-2")
@pytest.mark.timeout(1_800 if FULL else 120)
def test_replay_on_futures_equals_the_exact_backtest(files: list[str], tmp_path: Path) -> None:
    counts = compare(files, tmp_path, {**MARKET, **EXITS, **FUTURES})
    print(counts)
    assert counts["round_trips"] >= (300 if FULL else 8)
    assert counts["shorts"] >= (100 if FULL else 3)
    assert counts["incomes"] >= 2
    assert counts["replaced"] == counts["oco"] == 0


@pytest.mark.spec("SAFE-8", "BT-1")
def test_both_sides_find_the_same_tick_in_a_file_whose_closes_lie_on_a_coarser_grid(tmp_path: Path) -> None:
    file = tmp_path / "SOLUSDT-1m.csv"
    file.write_text("open_time,open,high,low,close,volume\n1748359860000,146.315,146.40,146.30,146.35,1000\n")
    (replayed,) = load_tape([str(file)]).instruments
    machine, _ = candle_exchange([tape_of(load_candles(str(file)))], COSTS)
    info = json.loads(machine.rest(HttpRequest("GET", "/api/v3/exchangeInfo", {}, b""), 1_748_359_860_000).body)
    (tick,) = [f["tickSize"] for f in info["symbols"][0]["filters"] if f["filterType"] == "PRICE_FILTER"]
    assert Decimal(tick) == replayed.tick_size == Decimal("0.001")


def compare(files: Sequence[str], folder: Path, changes: Mapping[str, str]) -> dict[str, int]:
    """Run both sides on the files and compare all they did; how much of what that was."""
    symbols = [Path(file).stem for file in files]
    settings = load(None, settings_of(folder / "journal.sqlite", symbols, changes), {}).settings
    theirs: list[Event | Command] = []
    result = run_backtest(settings, files, sink=theirs.append)
    with (
        exchange("--replay", *files, *market_options(settings)) as venue,
        trader(venue, folder / "journal.sqlite", changes) as bot,
    ):
        bot.start()
        venue.wait_for_end(1_500 if FULL else 100)
        view, ours = bot.view(), bot.record()
        check_orders_and_fills(ours, theirs)
        check_equity(view, folded(settings, theirs), result)
        on_futures = settings.market.venue is Market.FUTURES
        check_books(folded(settings, ours), folded(settings, theirs), venue.balances())
        if on_futures:
            held = folded(settings, ours).portfolio.positions
            assert {symbol: each.signed_quantity for symbol, each in held.items()} == venue.contracts()
        else:
            check_exchange(venue.orders(), venue.trades(), theirs)
        bot.stop()
    return {
        "orders": len(orders_of(theirs)),
        "filled_orders": len({fill.client_order_id for fill in fills_of(theirs)}),
        "fills": len(fills_of(theirs)),
        "cancels": sum(isinstance(message, CancelOrder) for message in theirs),
        "replaced": sum(isinstance(message, ReplaceOrder) for message in theirs),
        "oco": sum(isinstance(message, SubmitList) and len(message.orders) == 2 for message in theirs),
        "round_trips": len(result["round_trips"]),
        "shorts": sum(trip["side"] == "short" for trip in result["round_trips"]),
        "incomes": len({message.income_id for message in theirs if isinstance(message, IncomePaid)}),
    }


def market_options(settings: Settings) -> tuple[str, ...]:
    """The exchange that the settings of a backtest describe, as fast as it can be."""
    costs, paper, futures = settings.costs, settings.paper, settings.futures
    given = {
        "--speed": "max",
        "--forming-klines": "no",
        "--market": settings.market.venue,
        "--balance": f"USDT={paper.balance_usdt}",
        "--wallet": f"USDT={paper.balance_usdt}",
        "--fee-bps": paper.fee_bps,
        "--futures-fee-bps": futures.fee_bps,
        "--funding-bps": futures.funding_bps,
        "--half-spread-bps": costs.half_spread_bps,
        "--slippage-bps": costs.slippage_bps,
        "--volume-share-pct": costs.volume_share_pct,
        "--path": costs.path,
        "--market-rest": "waits",
    }
    return ("--wait-for-account", *(str(word) for pair in given.items() for word in pair))


# -- what is compared ------------------------------------------------------------------------------------------------


def counter_of(client_order_id: str) -> str:
    """An order's id without the run, which is another one on each side: `sf-RUN-12t` is `12t`."""
    return client_order_id.rpartition("-")[2]


def orders_of(record: Sequence[Event | Command]) -> list[tuple[object, ...]]:
    """Every order and every cancel, as decided and when."""
    rows: list[tuple[object, ...]] = []
    for message in record:
        match message:
            case SubmitOrder() | ReplaceOrder():
                rows.append((message.at_ms, "order", *order_row(message.order)))
            case ReplaceOrder():
                rows.append((message.at_ms, counter_of(message.cancel_id), *order_row(message.order)))
            case SubmitList():
                name = f"{message.type} {counter_of(message.list_id)}"
                rows += [(message.at_ms, name, *order_row(order)) for order in message.orders]
            case CancelOrder():
                rows.append((message.at_ms, "cancel", counter_of(message.client_order_id), message.symbol))
    return rows


def order_row(order: OrderRequest) -> tuple[object, ...]:
    return (
        counter_of(order.client_order_id),
        order.symbol,
        order.side,
        order.type,
        order.purpose,
        order.quantity,
        order.price,
        order.stop_price,
    )


def fills_of(record: Sequence[Event | Command]) -> list[Fill]:
    """Every fill once, in the order in which they were heard: stream and answer both tell of it."""
    heard = [message.fill for message in record if isinstance(message, OrderFilled)]
    return list({(fill.symbol, fill.trade_id): fill for fill in heard}.values())


def fill_row(fill: Fill) -> tuple[object, ...]:
    return (
        fill.at_ms,
        fill.symbol,
        counter_of(fill.client_order_id),
        fill.side,
        fill.price,
        fill.quantity,
        fill.fee,
        fill.fee_asset,
        fill.maker,
    )


def check_orders_and_fills(ours: Sequence[Event | Command], theirs: Sequence[Event | Command]) -> None:
    assert orders_of(ours) == orders_of(theirs)
    assert [fill_row(fill) for fill in fills_of(ours)] == [fill_row(fill) for fill in fills_of(theirs)]


def check_equity(view: View | None, theirs: Engine, result: Mapping[str, Any]) -> None:
    """The sink tells prices as well, so that an engine which took all in values what it holds as the backtest did."""
    assert view is not None
    assert view.equity is not None
    assert view.equity == theirs.equity()
    assert round(view.equity, 8) == Decimal(result["final_equity"])
    assert view.round_trip_count == len(result["round_trips"])


def check_books(ours: Engine, theirs: Engine, held: Mapping[str, Decimal]) -> None:
    assert list(ours.portfolio.round_trips) == list(theirs.portfolio.round_trips)
    assert ours.portfolio.positions == theirs.portfolio.positions
    assert ours.portfolio.wallets() == theirs.portfolio.wallets()
    assert {asset: amount for asset, amount in ours.portfolio.wallets().items() if amount} == held


def check_exchange(
    orders: Sequence[Mapping[str, Any]], trades: Sequence[Mapping[str, Any]], theirs: Sequence[Event | Command]
) -> None:
    """What the exchange remembers of the live run is what the backtest did."""
    requests = {row[2]: row for row in orders_of(theirs) if row[1] != "cancel"}
    fills = fills_of(theirs)
    assert {counter_of(order["clientOrderId"]) for order in orders} == set(requests)
    for order in orders:
        name = counter_of(order["clientOrderId"])
        _, _, _, symbol, side, kind, _, quantity, price, stop_price = requests[name]
        assert (order["symbol"], order["side"], order["type"]) == (symbol, side, kind)
        assert Decimal(order["origQty"]) == quantity or quantity is None
        assert Decimal(order["price"]) == (price or 0)
        assert Decimal(order["stopPrice"]) == (stop_price or 0)
        own = [fill for fill in fills if counter_of(fill.client_order_id) == name]
        assert Decimal(order["executedQty"]) == sum(fill.quantity for fill in own)
        assert Decimal(order["cummulativeQuoteQty"]) == sum(fill.quantity * fill.price for fill in own)
    assert sorted(trade_row(trade) for trade in trades) == sorted(
        (fill.symbol, fill.at_ms, fill.trade_id, fill.price, fill.quantity, fill.fee, fill.fee_asset) for fill in fills
    )


def trade_row(trade: Mapping[str, Any]) -> tuple[object, ...]:
    numbers = (Decimal(trade[name]) for name in ("price", "qty", "commission"))
    return (trade["symbol"], trade["time"], trade["id"], *numbers, trade["commissionAsset"])
