"""Replay of single trades: Binance's files and recorded streams, exact and in order."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from decimal import Decimal
from pathlib import Path

import pytest

from simex.exchange import Exchange
from simex.tapefile import TapeError
from simex.tradefile import Print, holds_trades, load_trades, read_trades
from simex.tradetape import TradeTape
from simex.venue import DEFAULT_INSTRUMENTS
from tests.simex.sockets import T0_MS

DATA = Path(os.environ.get("SUREFOOT_DATA", Path(__file__).parents[3] / "shared" / "data"))
TRADES = [(T0_MS, "60000.10", "0.5"), (T0_MS + 5, "60001", "1.25"), (T0_MS + 5, "59999.95", "0.00100")]
EXPECTED = [Print(at_ms, Decimal(price), Decimal(quantity)) for at_ms, price, quantity in TRADES]
KINDS = {
    "spot-trades": ("", "{n},{p},{q},1.0,{t},True,True"),
    "um-trades": ("id,price,qty,quote_qty,time,is_buyer_maker\n", "{n},{p},{q},1.0,{t},true"),
    "spot-aggTrades": ("", "{n},{p},{q},3735683259,3735683260,{t},True,True"),
    "um-aggTrades": (
        "agg_trade_id,price,quantity,first_trade_id,last_trade_id,transact_time,is_buyer_maker\n",
        "{n},{p},{q},1,2,{t},true",
    ),
}


def rows(kind: str, factor: int = 1) -> str:
    head, row = KINDS[kind]
    return head + "".join(row.format(n=n, p=p, q=q, t=t * factor) + "\n" for n, (t, p, q) in enumerate(TRADES, 7))


@pytest.mark.spec("SIM-3")
@pytest.mark.parametrize("kind", KINDS)
def test_files_of_trades_and_aggregate_trades_are_read_exactly(tmp_path: Path, kind: str) -> None:
    path = tmp_path / f"BTCUSDT-{kind}-2024-06-01.csv"
    path.write_text(rows(kind))
    assert list(read_trades(path)) == EXPECTED
    path.write_text(rows(kind, factor=1_000))  # microseconds, as in newer files of the spot market
    assert list(read_trades(path)) == EXPECTED
    packed = tmp_path / f"BTCUSDT-{kind}-2024-06-01.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("trades.csv", rows(kind))
    assert holds_trades(str(packed))
    assert list(read_trades(packed)) == EXPECTED


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("1,2,3\n", "neither the columns of trades nor those of aggregate trades"),
        ("id,price,qty\n", "columns price, qty"),
        (f"1,60000,0,1.0,{T0_MS},True,True\n", "line 1: 0 is not a quantity"),
        (f"1,-5,1,1.0,{T0_MS},True,True\n", "line 1: -5 is not a price"),
        (f"1,5,1,1,{T0_MS},True,True\n2,5,1,1,{T0_MS - 1},True,True\n", "line 2: time"),
        ("", "the file has no trades"),
    ],
)
def test_a_bad_file_is_refused_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "BTCUSDT-trades.csv"
    path.write_text(text)
    with pytest.raises(TapeError, match=told):
        load_trades([str(path)])


def recording(folder: Path, events: list[dict[str, object]]) -> str:
    path = folder / "btcusdt_20240601.gz"
    lines = (f"{T0_MS * 1_000_000} {json.dumps({'stream': 's', 'data': event})}\n" for event in events)
    with gzip.open(path, "wt") as file:
        file.writelines(lines)
    return str(path)


def test_a_recording_gives_its_trades_and_nothing_else(tmp_path: Path) -> None:
    trade: dict[str, object] = {"e": "trade", "s": "BTCUSDT", "t": 1, "p": "60000.10", "q": "0.5", "T": T0_MS}
    events: list[dict[str, object]] = [
        trade,
        trade | {"X": "NA", "p": "0"},
        {"e": "depthUpdate"},
        {"u": 1, "b": "1"},
        trade | {"T": T0_MS - 3},
    ]
    files = load_trades([recording(tmp_path, events)])
    assert list(files.trades("BTCUSDT")) == [EXPECTED[0], EXPECTED[0]]
    path = tmp_path / "btcusdt_bad.gz"
    path.write_bytes(b"not packed")
    with pytest.raises(TapeError, match="not a recording of streams"):
        load_trades([str(path)])


def test_trades_of_several_symbols_share_one_clock_and_offer_a_share_of_the_last_minute() -> None:
    heard: list[tuple[str, int, Decimal, Decimal]] = []

    class Taker(Exchange):
        def tick(
            self, symbol: str, price: Decimal, volume: Decimal, liquidity: Decimal, now_ms: int, told: bool = True
        ) -> None:
            heard.append((symbol, now_ms - T0_MS, price, liquidity))

    one, two = Decimal(1), Decimal(2)
    tape = TradeTape(
        {
            "BTCUSDT": iter([(T0_MS, one, Decimal(10)), (T0_MS + 59_999, two, Decimal(5)), (T0_MS + 60_000, one, one)]),
            "ETHUSDT": iter([(T0_MS, two, one)]),
        },
        T0_MS + 60_001,
    )
    exchange = Taker(DEFAULT_INSTRUMENTS, ())
    while tape.next_ms() is not None:
        tape.advance(exchange)
    assert heard == [
        ("BTCUSDT", 0, one, Decimal("1.0")),
        ("ETHUSDT", 0, two, Decimal("0.1")),
        ("BTCUSDT", 59_999, two, Decimal("1.5")),
        ("BTCUSDT", 60_000, one, Decimal("0.6")),
    ]


@pytest.mark.spec("SIM-3")
@pytest.mark.skipif(not (DATA / "open/ticks").is_dir(), reason="no recorded ticks: set SUREFOOT_DATA")
def test_recorded_ticks_make_the_candles_of_their_own_trades() -> None:
    path = DATA / "open/ticks/spot/btcusdt_20240808.gz"
    trades = list(read_trades(path))
    assert len(trades) == 9_757  # as the manifest counts them
    files = load_trades([str(path)])
    exchange = Exchange(files.instruments, ())
    tape = TradeTape({"BTCUSDT": files.trades("BTCUSDT")}, files.last_ms + 1)
    while tape.next_ms() is not None:
        tape.advance(exchange)
    midnight_ms = 1_723_161_600_000  # at which Binance's own candle closed at 61685.99
    assert [trade.price for trade in trades if trade.at_ms < midnight_ms][-1] == Decimal("61685.99")
    minute = trades[-1].at_ms // 60_000 * 60_000
    own = [trade for trade in trades if trade.at_ms >= minute]
    (bar,) = exchange._books["BTCUSDT"].series.bars("1m", minute, minute)
    prices = [trade.price for trade in own]
    assert (bar.open, bar.high, bar.low, bar.close) == (prices[0], max(prices), min(prices), prices[-1])
    assert (bar.volume, bar.trades) == (sum(trade.quantity for trade in own), len(own))
