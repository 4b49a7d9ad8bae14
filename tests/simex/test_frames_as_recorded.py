"""Our frames have the keys and kinds of values of frames that were recorded from the real exchange."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from simex.exchange import Exchange
from simex.futures.contracts import DEFAULT_CONTRACTS
from simex.venue import DEFAULT_INSTRUMENTS, AccountSpec, HttpRequest
from tests.simex.wire import ALICE, Floor, secret_of

pytestmark = [pytest.mark.spec("SIM-1")]
_NUMBER = re.compile(r"-?[0-9]+(\.(?P<decimals>[0-9]+))?")
# What was added to the wire after the recordings were made (2021 and 2024), by event.
NEWER = {
    "um aggTrade": {"nq", "st"},
    "um bookTicker": {"st", "ps"},
    "um depthUpdate": {"st", "ps"},
    "um markPriceUpdate": {"ap", "st"},
    "um trades": {"isRPITrade"},
    "um aggTrades": {"nq"},
}
RECORDINGS = {
    "spot": ("ticks/spot/btcusdt_20240808.gz", "fixtures/cryptofeed/BINANCE.ws.1.0.gz"),
    "um": ("ticks/usdm/btcusdt_20240808.gz", "fixtures/cryptofeed/BINANCE_FUTURES.ws.1.0.gz"),
}
STREAMS = {
    "spot": "/stream?streams=btcusdt@trade/btcusdt@aggTrade/btcusdt@bookTicker/btcusdt@kline_1m/btcusdt@depth@100ms",
    "um": "/public/stream?streams=btcusdt@trade/btcusdt@bookTicker/btcusdt@depth@100ms",
    "um market": "/market/stream?streams=btcusdt@aggTrade/btcusdt@kline_1m/btcusdt@markPrice@1s",
}
EXAMPLES = {
    "Endpoints/Spot/ExchangeData/GetTicker": "/api/v3/ticker/24hr?symbol=BTCUSDT",
    "Endpoints/Spot/ExchangeData/GetTradingDayTicker": "/api/v3/ticker/tradingDay?symbol=BTCUSDT",
    "Endpoints/Spot/ExchangeData/GetRollingWindowTicker": "/api/v3/ticker?symbol=BTCUSDT",
    "Endpoints/Spot/ExchangeData/GetPrice": "/api/v3/ticker/price?symbol=BTCUSDT",
    "Endpoints/Spot/ExchangeData/GetAggregatedTradeHistory": "/api/v3/aggTrades?symbol=BTCUSDT",
    "Endpoints/Spot/ExchangeData/GetTradeHistory": "/api/v3/historicalTrades?symbol=BTCUSDT",
    "Endpoints/UsdFutures/ExchangeData/GetBookPrice": "/fapi/v1/ticker/bookTicker?symbol=BTCUSDT",
    "Endpoints/UsdFutures/ExchangeData/GetMarkPrice": "/fapi/v1/premiumIndex?symbol=BTCUSDT",
    "Endpoints/UsdFutures/ExchangeData/GetPrice": "/fapi/v2/ticker/price?symbol=BTCUSDT",
    "Endpoints/UsdFutures/ExchangeData/GetTradeHistory": "/fapi/v1/historicalTrades?symbol=BTCUSDT",
    "Endpoints/UsdFutures/ExchangeData/GetAggregatedTradeHistory": "/fapi/v1/aggTrades?symbol=BTCUSDT",
}


@pytest.fixture
def at() -> Floor:
    account = AccountSpec(ALICE, secret_of(ALICE), {})
    made = Floor(Exchange(DEFAULT_INSTRUMENTS, [account], contracts=DEFAULT_CONTRACTS))
    made.tick("60000")
    return made


def kind(value: Any) -> Any:
    """Fields and kinds of values; of a list, its first entry."""
    if isinstance(value, dict):
        return {name: kind(entry) for name, entry in value.items()}
    if isinstance(value, list):
        return [kind(value[0])] if value else []
    if isinstance(value, str):
        return "number as text" if _NUMBER.fullmatch(value) else "text"
    return type(value).__name__


def decimals(value: str) -> int:
    found = _NUMBER.fullmatch(value)
    assert found is not None, value
    return len(found["decimals"] or "")


def without(shown: Any, names: set[str]) -> Any:
    return {name: entry for name, entry in shown.items() if name not in names}


def event_name(frame: Any) -> str:
    return str(frame["data"].get("e") or frame["stream"].partition("@")[2])


@cache
def recorded(folder: Path, market: str) -> dict[str, Any]:
    """One whole frame of each event; levels on both sides where it has levels."""
    found: dict[str, Any] = {}
    for file in RECORDINGS[market]:
        for frame in frames_of(folder / "open" / file):
            data = frame["data"]
            if all(data.get(side, True) for side in "ba"):
                found.setdefault(event_name(frame), data)
    return found


def frames_of(file: Path) -> Iterator[Any]:
    with gzip.open(file, "rt") as lines:
        for line in lines:
            _, _, text = line.partition(" ")
            if text.startswith('{"stream"'):
                yield json.loads(text)


def ours(at: Floor, market: str) -> dict[str, Any]:
    links = [at.open(target) for name, target in STREAMS.items() if name.startswith(market)]
    at.tick("60001")
    at.exchange.wake(at.now_ms + 1_000)
    heard = [at.heard(link) for link in links]
    return {event_name(frame): frame["data"] for frames in heard for frame in frames}


@pytest.mark.parametrize("market", ["spot", "um"])
def test_stream_frames_are_like_recorded_ones(shared_data: Path, at: Floor, market: str) -> None:
    real, made = recorded(shared_data, market), ours(at, market)
    assert set(real) >= {"trade", "aggTrade", "bookTicker", "kline", "depthUpdate"}
    for name, frame in real.items():
        added = NEWER.get(f"{market} {name}", set())
        assert added <= set(made[name])
        assert kind(without(made[name], added)) == kind(frame), name


@pytest.mark.parametrize("market", ["spot", "um"])
def test_prices_and_quantities_have_as_many_decimals_as_recorded_ones(
    shared_data: Path, at: Floor, market: str
) -> None:
    real, made = recorded(shared_data, market), ours(at, market)
    # Of the same symbol: the others were recorded of small ones.
    for name, fields in (("trade", "pq"), ("bookTicker", "bBaA")):
        assert real[name]["s"] == made[name]["s"] == "BTCUSDT"
        for field in fields:
            assert decimals(made[name][field]) == decimals(real[name][field]), (name, field)
    for place in (0, 1):
        assert decimals(made["depthUpdate"]["b"][0][place]) == decimals(real["depthUpdate"]["b"][0][place])


@pytest.mark.parametrize("market", ["spot", "um"])
def test_depth_snapshots_are_like_recorded_ones(shared_data: Path, at: Floor, market: str) -> None:
    with gzip.open(shared_data / "open" / RECORDINGS[market][0], "rt") as lines:
        texts = (line.partition(" ")[2] for line in lines)
        real = next(json.loads(text) for text in texts if text.startswith('{"lastUpdateId"'))
    target = {"spot": "/api/v3/depth", "um": "/fapi/v1/depth"}[market]
    made = json.loads(at.exchange.rest(HttpRequest("GET", f"{target}?symbol=BTCUSDT"), at.now_ms).body)
    assert kind(made) == kind(real)


@pytest.mark.parametrize("name", EXAMPLES)
def test_answers_are_like_examples(shared_data: Path, at: Floor, name: str) -> None:
    lines = (shared_data / "open/fixtures/binance_net" / f"{name}.txt").read_text().split("\n", 3)
    example = json.loads(lines[3])
    request = HttpRequest("GET", EXAMPLES[name], {"x-mbx-apikey": ALICE})
    made = json.loads(at.exchange.rest(request, at.now_ms).body)
    if isinstance(made, list):
        example, made = example[0], made[0]
    market = "um " if "UsdFutures" in name else ""
    added = NEWER.get(market + ("trades" if "TradeHistory" in name and "Agg" not in name else "aggTrades"), set())
    assert kind(without(made, added)) == kind(example)


def test_mark_price_is_like_the_example(shared_data: Path, at: Floor) -> None:
    text = (shared_data / "open/fixtures/binance_net/Subscriptions/UsdFutures/MarkPrice.txt").read_text()
    example = json.loads(text.partition("\n= ")[2])
    made = ours(at, "um")["markPriceUpdate"]
    assert kind(without(made, NEWER["um markPriceUpdate"])) == kind(example["data"])
