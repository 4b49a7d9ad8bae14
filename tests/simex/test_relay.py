"""A second simulated exchange as the source of a relay: the same trades, candles and best prices, and no others."""

from __future__ import annotations

import json
import queue
import threading
import time
import urllib.error
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from subprocess import Popen
from typing import Any

import aiohttp
import pytest

from simex.exchange import Exchange
from simex.relay import RelayMarket
from simex.relaysource import Relayed, RelayError, source_of
from simex.venue import DEFAULT_INSTRUMENTS
from tests.simex.test_server_process import PATIENCE_S, call, refused, running, told_by

SYMBOLS = "BTCUSDT,ETHUSDT"
MINUTE_MS = 60_000
CONTRACT_ORDER = ("POST", "/fapi/v1/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.01")
ORDER = ("POST", "/api/v3/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001")


@dataclass
class Venue:
    """A running exchange and the lines it says."""

    hello: dict[str, Any]
    lines: queue.Queue[dict[str, Any]] = field(default_factory=queue.Queue)

    def listen(self, process: Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.lines.put(json.loads(line))

    def until(self, state: str) -> dict[str, Any]:
        """The next line of the relay that says this state."""
        while True:
            line = self.lines.get(timeout=PATIENCE_S)
            if (line["event"], line.get("state")) == ("relay", state):
                return line


@contextmanager
def venue(*options: str) -> Iterator[Venue]:
    with running("--symbols", SYMBOLS, "--history-days", "1", "--admin-port", "0", *options) as (process, hello):
        made = Venue(hello)
        reader = threading.Thread(target=made.listen, args=(process,))
        reader.start()
        try:
            yield made
        finally:
            process.kill()
            reader.join()


@contextmanager
def relayed(market: str = "spot") -> Iterator[tuple[Venue, Venue]]:
    of = ("--market", market)
    with (
        venue("--seed", "3", "--print-every-ms", "500", "--funding-bps", "3", *of) as source,
        venue("--relay", source.hello["stream"], "--relay-stale-s", "1.5", *of) as here,
    ):
        here.until("live")
        yield source, here


def trades(at: Venue, symbol: str) -> dict[int, tuple[Decimal, Decimal]]:
    """Prices and quantities of the newest trades by their times."""
    path = "/fapi/v1/aggTrades" if at.hello["market"] == "futures" else "/api/v3/aggTrades"
    rows = call(at.hello, "GET", path, f"symbol={symbol}&limit=1000")
    return {row["T"]: (Decimal(row["p"]), Decimal(row["q"])) for row in rows}


def eventually(condition: Callable[[], bool]) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < until_s
        time.sleep(0.2)


def agree(source: Venue, here: Venue, from_ms: int) -> bool:
    """Every trade here is one of the source, and from a time on none is missing but the newest."""
    for symbol in SYMBOLS.split(","):
        mine = {at_ms: trade for at_ms, trade in trades(here, symbol).items() if at_ms >= from_ms}
        theirs = {at_ms: trade for at_ms, trade in trades(source, symbol).items() if at_ms >= from_ms}
        assert mine.items() <= theirs.items()
        if not mine or {at_ms for at_ms in theirs if at_ms <= max(mine)} != set(mine):
            return False
    return True


@pytest.mark.spec("SIM-3", "MODE-2")
async def test_history_trades_and_best_prices_are_the_sources() -> None:
    with relayed() as (source, here):
        past = "symbol=ETHUSDT&interval=1m&limit=1000&endTime="
        minute_ms = here.hello["start_ms"] // MINUTE_MS * MINUTE_MS
        mine, theirs = (call(at.hello, "GET", "/api/v3/klines", f"{past}{minute_ms - 1}") for at in (here, source))
        assert [row[:6] for row in mine] == [row[:6] for row in theirs]
        assert len(mine) == 1_000
        eventually(lambda: agree(source, here, minute_ms) and len(trades(here, "BTCUSDT")) > 4)
        async with aiohttp.ClientSession() as http:
            target = "/stream?streams=btcusdt@trade/btcusdt@bookTicker"
            heard: dict[str, set[str]] = {}
            async with (
                http.ws_connect(here.hello["stream"] + target) as mine_link,
                http.ws_connect(source.hello["stream"] + target) as their_link,
            ):
                for name, link in (("source", their_link), ("here", mine_link)):
                    quotes = heard[name] = set()
                    while len(quotes) < 6:
                        event = json.loads((await link.receive(PATIENCE_S)).data)["data"]
                        if "a" in event and "e" not in event:
                            quotes.add(f"{event['b']} {event['a']}")
            assert len(heard["source"] & heard["here"]) >= 4
        assert call(here.hello, *ORDER, sign=True)["status"] == "FILLED"


def rules_of(info: Any) -> list[dict[str, Any]]:
    """What exchangeInfo says of each contract, the numbers of its filters as numbers."""

    def exact(rule: dict[str, str]) -> dict[str, object]:
        return {key: value if key == "filterType" else Decimal(value) for key, value in rule.items()}

    return [entry | {"filters": [exact(rule) for rule in entry["filters"]]} for entry in info["symbols"]]


@pytest.mark.spec("SIM-3", "MODE-2")
async def test_of_futures_history_rules_trades_best_prices_marks_and_funding_are_the_sources() -> None:
    with relayed("futures") as (source, here):

        def both(path: str, query: str = "") -> list[Any]:
            return [call(at.hello, "GET", f"/fapi/v1/{path}", query) for at in (here, source)]

        minute_ms = here.hello["start_ms"] // MINUTE_MS * MINUTE_MS
        mine, theirs = both("klines", f"symbol=ETHUSDT&interval=1m&limit=1000&endTime={minute_ms - 1}")
        assert [row[:6] for row in mine] == [row[:6] for row in theirs]
        assert len(mine) == 1_000
        mine, theirs = (rules_of(info) for info in both("exchangeInfo"))
        assert mine == theirs
        mine, theirs = both("fundingRate", f"symbol=BTCUSDT&endTime={minute_ms}")
        assert [row["fundingRate"] for row in mine] == [row["fundingRate"] for row in theirs] == ["0.00030000"] * 3
        eventually(lambda: agree(source, here, minute_ms) and len(trades(here, "BTCUSDT")) > 4)
        async with aiohttp.ClientSession() as http:
            for target, of in (("public", "bookTicker"), ("market", "markPrice@1s")):
                heard: list[set[str]] = []
                names = f"/{target}/stream?streams=btcusdt@{of}"
                async with (
                    http.ws_connect(here.hello["stream"] + names) as mine_link,
                    http.ws_connect(source.hello["stream"] + names) as their_link,
                ):
                    for link in (their_link, mine_link):
                        heard.append(set())
                        while len(heard[-1]) < 6:
                            event = json.loads((await link.receive(PATIENCE_S)).data)["data"]
                            told = ("b", "a") if of == "bookTicker" else ("p", "i", "r", "T")
                            heard[-1].add(" ".join(str(event[key]) for key in told))
                assert len(heard[0] & heard[1]) >= 3
        assert call(here.hello, *CONTRACT_ORDER, sign=True)["orderId"] == 1


@pytest.mark.spec("SIM-3", "MODE-2")
@pytest.mark.parametrize("path", ["/market", "/public"])
def test_of_futures_one_connection_that_breaks_or_is_silent_is_not_made_up_for(path: str) -> None:
    with relayed("futures") as (source, here):
        from_ms = here.hello["start_ms"] // MINUTE_MS * MINUTE_MS
        state = told_by(source.hello, "GET", "/state")[1]
        assert sorted(link["target"].split("?")[0] for link in state["links"]) == ["/market/stream", "/public/stream"]
        kind = "disconnect" if path == "/market" else "silent"
        lasts = {} if path == "/market" else {"of": "market", "for_s": 600}
        assert told_by(source.hello, "POST", "/faults", {"kind": kind} | lasts)[0] == 200
        here.until("silent")
        with pytest.raises(urllib.error.HTTPError) as lost:
            call(here.hello, *CONTRACT_ORDER, sign=True)
        assert (lost.value.code, json.load(lost.value)["code"]) == (503, -1008)
        assert told_by(source.hello, "DELETE", "/faults")[0] == 200
        here.until("live")
        broken_ms = call(source.hello, "GET", "/fapi/v1/time")["serverTime"]
        eventually(lambda: agree(source, here, from_ms) and max(trades(here, "BTCUSDT")) > broken_ms)


@pytest.mark.spec("SIM-3", "MODE-2")
def test_a_broken_connection_comes_back_and_what_was_missed_is_read() -> None:
    with relayed() as (source, here):
        from_ms = here.hello["start_ms"] // MINUTE_MS * MINUTE_MS
        assert told_by(source.hello, "POST", "/faults", {"kind": "disconnect"})[0] == 200
        silent = here.until("silent")
        assert "the source ended the connection" in silent["reason"]
        assert 0.5 < silent["again_in_s"] < 1.5
        assert here.until("live")["connections"] == 2
        broken_ms = call(source.hello, "GET", "/api/v3/time")["serverTime"]
        eventually(lambda: agree(source, here, from_ms) and max(trades(here, "BTCUSDT")) > broken_ms)


@pytest.mark.spec("SIM-3", "MODE-2")
def test_while_the_source_is_silent_the_age_of_the_price_is_told_and_no_order_is_taken() -> None:
    with relayed() as (source, here):
        assert told_by(source.hello, "POST", "/faults", {"kind": "silent", "of": "market", "for_s": 600})[0] == 200
        silent = here.until("silent")
        assert silent["reason"] == "nothing came for 1.5 s"
        assert min(silent["age_ms"].values()) >= 1_000
        with pytest.raises(urllib.error.HTTPError) as lost:
            call(here.hello, *ORDER, sign=True)
        assert (lost.value.code, json.load(lost.value)["code"]) == (503, -1008)
        newest_ms = max(trades(here, "BTCUSDT"))
        here.until("silent")
        state = told_by(here.hello, "GET", "/state")[1]["relay"]
        assert state["state"] == "silent"
        assert state["age_ms"]["BTCUSDT"] > silent["age_ms"]["BTCUSDT"]
        assert told_by(source.hello, "DELETE", "/faults")[0] == 200
        here.until("live")
        assert call(here.hello, *ORDER, sign=True)["status"] == "FILLED"
        eventually(lambda: agree(source, here, newest_ms))


def test_a_source_that_cannot_be_used_is_one_line() -> None:
    code, text = refused("--relay", "ws://127.0.0.1:9")
    assert (code, text.startswith("simex: --relay: http://127.0.0.1:9/api/v3/time: ")) == (4, True)
    for options, told in (
        (["--relay", "127.0.0.1:9"], "give an address such as wss://"),
        (["--relay", "wss://127.0.0.1:9"], "give the source's REST address too"),
        (["--relay", "ws://127.0.0.1:9", "--speed", "60"], "--relay follows the source's clock"),
        (["--relay-rest", "http://127.0.0.1:9"], "goes with --relay"),
    ):
        code, text = refused(*options)
        assert told in text


def test_addresses_of_a_source() -> None:
    assert source_of("ws://127.0.0.1:8/", None).rest == "http://127.0.0.1:8"
    given = source_of("wss://stream.example.com:9443", "https://api.example.com/")
    assert (given.streams, given.rest) == ("wss://stream.example.com:9443", "https://api.example.com")
    with pytest.raises(RelayError):
        source_of("ws://127.0.0.1:8", "127.0.0.1")


def test_candles_are_closed_by_the_beat_only_while_the_source_is_heard() -> None:
    start_ms = 1_717_200_000_000
    closed: list[int] = []
    market = RelayMarket(["BTCUSDT"], start_ms, Decimal("0.1"))
    market.close_until = closed.append
    exchange = Exchange(DEFAULT_INSTRUMENTS, ())
    market.take(Relayed("BTCUSDT", 7, Decimal(60_000), Decimal(1), start_ms + 100))
    market.take(Relayed("BTCUSDT", 7, Decimal(60_000), Decimal(1), start_ms + 100))
    while market.next_ms() < start_ms + 5_000:
        market.advance(exchange)
    assert closed == []
    assert market.last_ms == {"BTCUSDT": start_ms + 100}
    assert exchange.last_price("BTCUSDT") == 60_000
    market.is_live = True
    while market.next_ms() < start_ms + 6_000:
        market.advance(exchange)
    assert closed[0] >= start_ms + 3_500
    assert closed[-1] <= start_ms + 6_000 - 1_500
