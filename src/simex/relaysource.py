"""The source of a relay: where it is reached, and what its REST tells of its clock, its rules and its past.

Rules: every number is the source's. What only an account may ask, such as brackets of maintenance margins, is as listed
here.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

import aiohttp

from simex.futures.contracts import ContractSpec, MarkTold, contract_for
from simex.market import MINUTE_MS
from simex.venue import Candle, InstrumentSpec, decimals_of, instrument_for

ANSWER_S: Final = 10.0
KLINES_PER_CALL: Final = 1_000
TRADES_PER_CALL: Final = 1_000
RATES_PER_CALL: Final = 1_000
PAGES_MAX: Final = 30  # of missed trades and symbol; what is older is said to be missing


class RelayError(Exception):
    """The source cannot be used; the text is one line for the user."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where the source is reached: bases of its market streams and its REST, and which of its markets is meant."""

    streams: str
    rest: str
    is_futures: bool = False

    def targets(self, symbols: Sequence[str]) -> list[str]:
        """What to connect to; futures have their best prices on a path of their own."""
        names = [symbol.lower() for symbol in symbols]
        if not self.is_futures:
            return [self._target("", [f"{name}@{kind}" for name in names for kind in ("trade", "bookTicker")])]
        traded = [f"{name}@{kind}" for name in names for kind in ("aggTrade", "markPrice@1s")]
        return [self._target("/market", traded), self._target("/public", [f"{name}@bookTicker" for name in names])]

    def _target(self, path: str, names: Sequence[str]) -> str:
        return f"{self.streams}{path}/stream?streams={'/'.join(names)}"


def source_of(streams: str, rest: str | None, *, is_futures: bool = False) -> Source:
    """The source of two addresses; RelayError when one is no address or REST is not known."""
    examples = ("wss://fstream.binance.com", "https://fapi.binance.com") if is_futures else (
        "wss://stream.binance.com:9443", "https://api.binance.com",
    )  # fmt: skip
    address = urlsplit(streams)
    if address.scheme not in ("ws", "wss") or not address.hostname or address.path.strip("/"):
        raise RelayError(f"--relay {streams}: give an address such as {examples[0]}")
    if rest is None:
        if address.scheme == "wss":
            raise RelayError(f"--relay: give the source's REST address too, as in --relay-rest {examples[1]}")
        rest = f"http://{address.netloc}"
    if urlsplit(rest).scheme not in ("http", "https") or not urlsplit(rest).hostname:
        raise RelayError(f"--relay-rest {rest}: give an address such as {examples[1]}")
    return Source(streams.rstrip("/"), rest.rstrip("/"), is_futures)


class Relayed(NamedTuple):
    """A trade of the source; of futures an aggregate of one or more."""

    symbol: str
    trade_id: int
    price: Decimal
    quantity: Decimal
    at_ms: int


@dataclass(frozen=True, slots=True)
class Start:
    """What is known of the source before anything is relayed; `ahead_ms` is its clock less ours. Of a futures market
    also its contracts, with the rates that were settled, and its mark prices."""

    instruments: tuple[InstrumentSpec, ...]
    history: Mapping[str, Sequence[Candle]]
    ahead_ms: int
    contracts: tuple[ContractSpec, ...] = ()
    marks: Mapping[str, MarkTold] = field(default_factory=dict)


async def look_at(source: Source, symbols: Sequence[str], history_days: int) -> Start:
    """Ask the source for its clock, the rules of its symbols and their past. Raises RelayError."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=ANSWER_S)) as http:
        rest = SourceRest(source, http)
        ahead_ms = await rest.ahead_ms()
        named = {} if source.is_futures else {"symbols": json.dumps(list(symbols), separators=(",", ":"))}
        told = await rest.get("exchangeInfo", **named)
        now_ms = _wall_ms() + ahead_ms
        rules = {entry["symbol"]: entry for entry in told["symbols"]}
        missing = [symbol for symbol in symbols if symbol not in rules]
        if missing:
            raise RelayError(f"{source.rest} has no {missing[0]}")
        instruments = tuple(_instrument(rules[symbol]) for symbol in symbols)
        minute_ms = now_ms - now_ms % MINUTE_MS
        first_ms = minute_ms - history_days * 1_440 * MINUTE_MS
        pasts = await asyncio.gather(*(rest.candles(symbol, first_ms, minute_ms) for symbol in symbols))
        start = Start(instruments, dict(zip(symbols, pasts, strict=True)), ahead_ms)
        if not source.is_futures:
            return start
        hours = {row["symbol"]: row["fundingIntervalHours"] for row in await rest.get("fundingInfo")}
        marks = dict(zip(symbols, await asyncio.gather(*(rest.mark(symbol) for symbol in symbols)), strict=True))
        rates = await asyncio.gather(*(rest.funding_rates(symbol, first_ms) for symbol in symbols))
        contracts = tuple(
            replace(_contract(rules[symbol]), funding_rates=settled, funding_hours=hours.get(symbol, 8))
            for symbol, settled in zip(symbols, rates, strict=True)
        )
        return replace(start, contracts=contracts, marks=marks)


class SourceRest:
    """Public calls to the source."""

    def __init__(self, source: Source, http: aiohttp.ClientSession) -> None:
        self._base = f"{source.rest}/fapi/v1" if source.is_futures else f"{source.rest}/api/v3"
        self._number = "a" if source.is_futures else "l"  # what the stream numbers its trades by
        self._http = http

    async def get(self, path: str, **params: object) -> Any:
        """RelayError when it does not answer with what was asked for."""
        query = {name: str(value) for name, value in params.items()}
        try:
            async with asyncio.timeout(ANSWER_S), self._http.get(f"{self._base}/{path}", params=query) as answer:
                body = await answer.read()
                if answer.status != 200:
                    raise RelayError(f"{self._base}/{path}: {answer.status} {body[:200].decode(errors='replace')}")
                return json.loads(body)
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
            raise RelayError(f"{self._base}/{path}: {str(error) or type(error).__name__}") from None

    async def ahead_ms(self) -> int:
        """The source's clock less ours, as good as the way there and back allows."""
        sent_ms = _wall_ms()
        told_ms = int((await self.get("time"))["serverTime"])
        return told_ms - (sent_ms + _wall_ms()) // 2

    async def candles(self, symbol: str, from_ms: int, before_ms: int) -> list[Candle]:
        """Closed candles of a minute, oldest first."""
        found: list[Candle] = []
        while from_ms < before_ms:
            rows = await self.get(
                "klines", symbol=symbol, interval="1m", startTime=from_ms, endTime=before_ms - 1, limit=KLINES_PER_CALL
            )
            found += [
                Candle(row[0], MINUTE_MS, *(Decimal(text) for text in row[1:6])) for row in rows if row[0] >= from_ms
            ]
            if len(rows) < KLINES_PER_CALL:
                break
            from_ms = rows[-1][0] + MINUTE_MS
        return [candle for candle in found if candle.end_ms <= before_ms]

    async def trades(self, symbol: str, from_ms: int) -> tuple[list[Relayed], bool]:
        """Trades from a time on, oldest first, and whether these are all."""
        found: list[Relayed] = []
        asked: dict[str, object] = {"startTime": from_ms}
        for _ in range(PAGES_MAX):
            rows = await self.get("aggTrades", symbol=symbol, limit=TRADES_PER_CALL, **asked)
            found += [
                Relayed(symbol, row[self._number], Decimal(row["p"]), Decimal(row["q"]), row["T"]) for row in rows
            ]
            if len(rows) < TRADES_PER_CALL:
                return found, True
            asked = {"fromId": rows[-1]["a"] + 1}
        return found, False

    async def mark(self, symbol: str) -> MarkTold:
        """Of futures: mark and index price and what is expected to be paid next."""
        row = await self.get("premiumIndex", symbol=symbol)
        mark, index = Decimal(row["markPrice"]), Decimal(row["indexPrice"])
        return MarkTold(mark, index, Decimal(row["lastFundingRate"]), row["nextFundingTime"])

    async def funding_rates(self, symbol: str, from_ms: int) -> tuple[tuple[int, Decimal], ...]:
        """Of futures: what was settled from a time on, and when, oldest first."""
        rows = await self.get("fundingRate", symbol=symbol, startTime=from_ms, limit=RATES_PER_CALL)
        # They are settled at the full hour, and listed some milliseconds after it.
        return tuple((row["fundingTime"] // MINUTE_MS * MINUTE_MS, Decimal(row["fundingRate"])) for row in rows)


def _instrument(rules: Mapping[str, Any]) -> InstrumentSpec:
    """The source's own steps and smallest sizes."""
    filters = {entry["filterType"]: entry for entry in rules["filters"]}
    tick, lot = _step(filters["PRICE_FILTER"]["tickSize"]), filters["LOT_SIZE"]
    spec = replace(
        instrument_for(rules["symbol"], [tick]),
        tick_size=tick,
        lot_size=_step(lot["stepSize"]),
        min_qty=_step(lot["minQty"]),
        max_qty=Decimal(lot["maxQty"]),
    )
    with suppress(KeyError):
        spec = replace(spec, min_notional=_step(filters["NOTIONAL"]["minNotional"]))
    return spec


def _contract(rules: Mapping[str, Any]) -> ContractSpec:
    """The source's own steps, sizes and rates; its brackets are not public."""
    filters = {entry["filterType"]: entry for entry in rules["filters"]}
    prices, lot, band = filters["PRICE_FILTER"], filters["LOT_SIZE"], filters["PERCENT_PRICE"]
    tick, step = _step(prices["tickSize"]), _step(lot["stepSize"])
    return replace(
        contract_for(rules["symbol"], [tick]),
        tick_size=tick,
        lot_size=step,
        min_qty=_step(lot["minQty"]),
        max_qty=Decimal(lot["maxQty"]),
        market_max_qty=Decimal(filters["MARKET_LOT_SIZE"]["maxQty"]),
        min_price=_step(prices["minPrice"]),
        max_price=Decimal(prices["maxPrice"]),
        price_precision=max(rules["pricePrecision"], decimals_of(tick)),
        quantity_precision=max(rules["quantityPrecision"], decimals_of(step)),
        min_notional=_step(filters["MIN_NOTIONAL"]["notional"]),
        multiplier_up=Decimal(band["multiplierUp"]),
        multiplier_down=Decimal(band["multiplierDown"]),
        trigger_protect=Decimal(rules["triggerProtect"]),
        liquidation_fee=Decimal(rules["liquidationFee"]),
        market_take_bound=Decimal(rules["marketTakeBound"]),
    )


def _step(text: str) -> Decimal:
    """A number without trailing zeros, never in powers of ten."""
    return Decimal(f"{Decimal(text).normalize():f}")


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000
