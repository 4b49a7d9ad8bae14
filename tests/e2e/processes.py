"""Real processes for tests: the simulated exchange, the trader, and what may be asked of both from outside.

Rules: every wait has an end, every process is ended by its own handle, every port is the system's choice. The exchange
is asked over its own REST, the trader over its socket and its journal, as anybody could.
"""

from __future__ import annotations

import http.client
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import IO, Any, TypeVar
from urllib.parse import urlencode, urlsplit

from simex.market import MINUTE_MS, GeneratedMarket
from simex.signing import hmac_signature
from simex.venue import Candle
from surefoot.assembly import build_engine
from surefoot.config import Settings, load
from surefoot.control import read_view, socket_path
from surefoot.core.engine import Engine
from surefoot.core.messages import Command, Event, OrderFilled, ReplaceOrder, SubmitList, SubmitOrder, VenueTraded
from surefoot.core.model import OrderRequest
from surefoot.core.orders import State
from surefoot.core.view import View
from surefoot.store.journal import JournalReader

ROOT = Path(__file__).parents[2]
FULL = bool(os.environ.get("SUREFOOT_FULL"))
SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
T0_MS = 1_717_200_000_000
PATIENCE_S = 20.0
GIVEN_UP_S = 85.0  # a receive window of a minute, and 15 s
CLOCK_REFUSED = -1021
VENUES_OWN = ("autoclose-", "adl_autoclose", "settlement_autoclose-")

# So permissive that there is always something to do: a position lives for some minutes only.
BUSY = {
    "market.interval": "1m",
    "market.confirm_interval": "3m",
    "market.warmup_candles": "100",
    "strategy.score_min_paper": "0.5",
    "strategy.score_min_backtest": "0.5",
    "rsi.period": "5",
    "rsi.oversold": "49",
    "rsi.extreme_low": "49",
    "exits.stop_pct_of_price": "0.5",
    "exits.target_pct_of_price": "0.3",
    "breaker.day_loss_max_pct": "100",
    "breaker.rolling_loss_max_pct": "100",
    "breaker.week_loss_max_pct": "100",
    "breaker.drawdown_max_pct": "100",
    "breaker.stale_data_max_s": "0",
    "risk.correlation_max": "1",
    "risk.loss_streak_max": "0",
    "orders.recv_window_ms": "60000",
}


Found = TypeVar("Found")


def eventually(what: str, look: Callable[[], Found | None], within_s: float = PATIENCE_S) -> Found:
    """The first answer of `look` that is neither None nor False; a failure when there is none in time."""
    until_s = time.monotonic() + within_s
    while time.monotonic() < until_s:
        found = look()
        if found is not None and found is not False:
            return found
        time.sleep(0.1)
    raise AssertionError(f"not within {within_s:g} s: {what}")


def settings_of(journal: Path, symbols: Sequence[str], changes: Mapping[str, str]) -> dict[str, str]:
    """Settings by dotted name, as flags give them."""
    return {"market.symbols": ",".join(symbols), "store.journal_path": str(journal), **changes}


def candle_files(folder: Path, seed: int, symbols: Sequence[str], days: int) -> list[str]:
    """Files of generated one-minute candles, up to `T0_MS`."""
    market = GeneratedMarket(seed, symbols, T0_MS, history_days=days)
    return [_csv(folder / f"{symbol}-1m.csv", market.history[symbol]) for symbol in symbols]


def _csv(path: Path, candles: Sequence[Candle]) -> str:
    rows = (f"{c.open_ms},{c.open},{c.high},{c.low},{c.close},{c.volume}" for c in candles)
    path.write_text("\n".join(("open_time,open,high,low,close,volume", *rows)) + "\n")
    return str(path)


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT}", **more}


# -- the exchange ----------------------------------------------------------------------------------------------------


class Exchange:
    """`python -m simex` and its account, over REST."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self._lines: queue.Queue[dict[str, Any]] = queue.Queue()
        self.faults: Counter[str] = Counter()  # those told of until the tape ended
        self._reader = threading.Thread(target=self._read_on, daemon=True)
        self._reader.start()
        self.hello = self._lines.get(timeout=PATIENCE_S)
        self.rest = str(self.hello["rest"])
        self.symbols: list[str] = self.hello["symbols"]

    def _read_on(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(json.loads(line))

    def wait_for_end(self, within_s: float) -> int:
        """When the tape ended, UTC ms of the market."""
        until_s = time.monotonic() + within_s
        while (line := self._lines.get(timeout=max(0.0, until_s - time.monotonic())))["event"] == "fault":
            self.faults[line["kind"]] += 1
        assert line["event"] == "tape_end"
        return int(line["at_ms"])

    def now_ms(self) -> int:
        return int(_http(self.rest, "GET", "/api/v3/time", {})[1]["serverTime"])

    def call(self, method: str, path: str, params: Mapping[str, object] | None = None) -> Any:
        """A signed request; what the exchange answered. Its clock runs fast, so a refused timestamp is tried again."""
        for _ in range(20):
            query = urlencode({**(params or {}), "recvWindow": 60_000, "timestamp": self.now_ms()})
            target = f"{path}?{query}&signature={hmac_signature(self.hello['secret'], query.encode())}"
            status, body = _http(self.rest, method, target, {"X-MBX-APIKEY": self.hello["api_key"]})
            if status == 200:
                return body
            assert body["code"] == CLOCK_REFUSED, (path, status, body)
        raise AssertionError(f"{method} {path}: its clock was never met")

    def orders(self) -> list[dict[str, Any]]:
        """Every order of the account, by symbol and number."""
        return [
            row for symbol in self.symbols for row in self._pages("/api/v3/allOrders", symbol, "orderId", "orderId")
        ]

    def trades(self) -> list[dict[str, Any]]:
        """Every fill of the account, by symbol and number."""
        return [row for symbol in self.symbols for row in self._pages("/api/v3/myTrades", symbol, "fromId", "id")]

    def _pages(self, path: str, symbol: str, cursor: str, key: str) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        page: list[dict[str, Any]] | None = None
        while page is None or len(page) == 1_000:
            start = rows[-1][key] + 1 if rows else 0
            page = self.call("GET", path, {"symbol": symbol, "limit": 1_000, cursor: start})
            rows += page
        return rows

    def open_orders(self) -> list[dict[str, Any]]:
        # Symbol by symbol: one look at all of them costs as much as a dozen of these, and a test may look often.
        calls = (self.call("GET", "/api/v3/openOrders", {"symbol": symbol}) for symbol in self.symbols)
        return [row for rows in calls for row in rows]

    def balances(self) -> dict[str, Decimal]:
        """Free and locked together, of what is not zero."""
        rows = self.call("GET", "/api/v3/account", {"omitZeroBalances": "true"})["balances"]
        totals = {row["asset"]: Decimal(row["free"]) + Decimal(row["locked"]) for row in rows}
        return {asset: total for asset, total in totals.items() if total}

    def contracts(self) -> dict[str, Decimal]:
        """What is held of futures, negative when short."""
        return {}

    def command(self, path: str, body: Mapping[str, object]) -> None:
        """Something that the operator wants; the exchange was started with `--admin-port 0`."""
        headers = {"X-Admin-Key": self.hello["admin_key"]}
        status, answer = _http(self.hello["admin"], "POST", path, headers, json.dumps(body))
        assert status == 200, answer


class FuturesExchange(Exchange):
    """The same of its futures market alone."""

    def now_ms(self) -> int:
        return int(_http(self.rest, "GET", "/fapi/v1/time", {})[1]["serverTime"])

    def orders(self) -> list[dict[str, Any]]:
        """Plain and conditional ones; what a conditional one became when it was triggered is none of its own.

        The conditional ones are read last: one that is triggered between two questions has said by then what it became.
        """
        plain = [
            row for symbol in self.symbols for row in self._pages("/fapi/v1/allOrders", symbol, "orderId", "orderId")
        ]
        algos = [
            {"clientOrderId": row["clientAlgoId"], "became": row["actualOrderId"]}
            for symbol in self.symbols
            for row in self._pages("/fapi/v1/allAlgoOrders", symbol, "algoId", "algoId")
        ]
        became = {algo["became"] for algo in algos}
        # Orders of the exchange itself are nobody's intent.
        ours = [row for row in plain if not row["clientOrderId"].startswith(VENUES_OWN)]
        return [row for row in ours if str(row["orderId"]) not in became] + algos

    def trades(self) -> list[dict[str, Any]]:
        return [row for symbol in self.symbols for row in self._pages("/fapi/v1/userTrades", symbol, "fromId", "id")]

    def open_orders(self) -> list[dict[str, Any]]:
        rows = self.call("GET", "/fapi/v1/openAlgoOrders", {})
        return [
            row
            | {
                "stopPrice": row["triggerPrice"] if row["orderType"] == "STOP_MARKET" else "0",
                "status": row["algoStatus"],
                "origQty": row["quantity"],
                "executedQty": "0",
            }
            for row in rows
        ]

    def balances(self) -> dict[str, Decimal]:
        rows = self.call("GET", "/fapi/v3/account", {})["assets"]
        return {row["asset"]: amount for row in rows if (amount := Decimal(row["walletBalance"]))}

    def contracts(self) -> dict[str, Decimal]:
        rows = self.call("GET", "/fapi/v3/positionRisk", {})
        return {row["symbol"]: amount for row in rows if (amount := Decimal(row["positionAmt"]))}


def _http(base: str, method: str, target: str, headers: Mapping[str, str], body: str | None = None) -> tuple[int, Any]:
    address = urlsplit(base)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=PATIENCE_S)
    try:
        connection.request(method, target, body, dict(headers))
        response = connection.getresponse()
        return response.status, json.loads(response.read())
    finally:
        connection.close()


@contextmanager
def exchange(*options: str) -> Iterator[Exchange]:
    """A simulated exchange that ends with the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "simex", "--parent-pid", str(os.getpid()), *options],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    try:
        yield FuturesExchange(process) if "futures" in options else Exchange(process)
    finally:
        _end(process, signal.SIGTERM)


# -- the trader ------------------------------------------------------------------------------------------------------


@dataclass
class Trader:
    """A trader on one journal: started and ended as often as a test likes; its lives follow each other."""

    venue: Exchange
    journal: Path
    changes: Mapping[str, str]
    rest: str  # where it looks for the exchange, which may be behind something
    lives: int = 0
    keys: dict[str, str] = field(default_factory=dict)  # variables that it is started with, besides
    process: subprocess.Popen[str] | None = field(default=None)

    @property
    def settings(self) -> Settings:
        return load(None, settings_of(self.journal, self.venue.symbols, self.changes), {}).settings

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    def start(self, *options: str) -> None:
        """Start a life; `options` are those of tests.e2e.trader."""
        values = settings_of(self.journal, self.venue.symbols, self.changes)
        pairs = [f"{key}={value}" for key, value in values.items()]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.trader", "--rest", self.rest, *options, "--set", *pairs],
            stdout=subprocess.PIPE,
            text=True,
            env=environment(
                TRADER_KEY=self.venue.hello["api_key"], TRADER_SECRET=self.venue.hello["secret"], **self.keys
            ),
            cwd=ROOT,
        )
        self.lives += 1

    def kill(self) -> None:
        """End it without a chance to do anything about it."""
        assert self.process is not None
        self.process.kill()
        self.died()

    def died(self, within_s: float = PATIENCE_S) -> None:
        """Wait until it is dead by signal 9."""
        assert self.process is not None
        said = self.process.communicate(timeout=within_s)[0]
        assert self.process.returncode == -signal.SIGKILL, said

    def stop(self) -> None:
        """Ask it to end, and let it."""
        assert self.process is not None
        self.process.terminate()
        said = self.process.communicate(timeout=PATIENCE_S)[0]
        assert self.process.returncode == 0, said

    def view(self) -> View | None:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"the trader ended by itself: {self.process.communicate()[0]}")
        return read_view(socket_path(self.journal), 1.0)

    def wait_until(self, what: str, wanted: Callable[[View], bool], within_s: float = PATIENCE_S) -> View:
        """The first picture that is as wanted."""
        last: View | None = None

        def look() -> View | None:
            nonlocal last
            last = self.view()
            return last if last is not None and wanted(last) else None

        try:
            return eventually(what, look, within_s)
        except AssertionError as late:
            about = last and (
                *(last.at_ms, last.links, last.books, last.differences, last.entries_off, last.alarms[-8:]),
                *(last.venue_limits, last.banned_until_ms, last.traffic),
            )
            raise AssertionError(f"{late}; last seen: {about}") from None

    def wait_for_agreement(self, within_s: float = PATIENCE_S) -> View:
        """Linked, and ledger and exchange were compared since."""
        return self.wait_until("books agree", lambda view: view.books == "agree" and len(view.links) == 2, within_s)

    def record(self) -> list[Event | Command]:
        """All that its journal holds."""
        with JournalReader(self.journal) as reader:
            return [entry.message for entry in reader.read()]

    def folded(self) -> Engine:
        """The engine that a restart would begin with."""
        return folded(self.settings, self.record())


@contextmanager
def trader(venue: Exchange, journal: Path, changes: Mapping[str, str], rest: str | None = None) -> Iterator[Trader]:
    """A trader that is not started yet; it ends with the block."""
    bot = Trader(venue, journal, changes, rest or venue.rest)
    try:
        yield bot
    finally:
        if bot.process is not None:
            _end(bot.process, signal.SIGKILL)


def _end(process: subprocess.Popen[str], number: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(number)
    try:
        process.wait(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    pipe: IO[str] | None = process.stdout
    if pipe is not None:
        pipe.close()


def folded(settings: Settings, record: Sequence[Event | Command]) -> Engine:
    """An engine that has taken a record in and decided nothing."""
    engine = build_engine(settings)
    for message in record:
        engine.fold(message)
    return engine


# -- what must hold --------------------------------------------------------------------------------------------------


def requests_of(record: Sequence[Event | Command]) -> list[OrderRequest]:
    """All orders that a record decided on, one by one."""
    found: list[OrderRequest] = []
    for message in record:
        if isinstance(message, SubmitOrder | ReplaceOrder):
            found.append(message.order)
        elif isinstance(message, SubmitList):
            found += message.orders
    return found


def has_equal_ledger(bot: Trader) -> bool:
    """Whether both say the same just now; the market goes on between the two looks."""
    view = bot.view()
    return view is not None and dict(view.balances) == bot.venue.balances()


def check_orders(bot: Trader) -> int:
    """No id twice on either side, and no order of the exchange that the journal does not know; how many there are."""
    theirs = Counter(str(order["clientOrderId"]) for order in bot.venue.orders())
    ours = Counter(request.client_order_id for request in requests_of(bot.record()))
    assert [name for name, count in ours.items() if count > 1] == [], "an id was decided on twice"
    assert [name for name, count in theirs.items() if count > 1] == [], "an order is doubled"
    assert set(theirs) - set(ours) == set(), "the exchange has orders that the journal does not know"
    return len(theirs)


def check_intents(bot: Trader) -> None:
    """What was decided on and is not at the exchange is known not to be there."""
    theirs = {order["clientOrderId"] for order in bot.venue.orders()}
    engine = bot.folded()
    for request in requests_of(bot.record()):
        order = engine.orders.get(request.client_order_id)
        if request.client_order_id not in theirs and order is not None:
            assert order.state in (State.LOST, State.REJECTED), f"{order.id} is {order.state} and not at the exchange"


def check_end(bot: Trader) -> None:
    """The market stands still: everything is known, the books are equal to the last digit, positions are protected."""
    # What never arrived is given up when it can no longer be admitted, by a clock that is the real one by now.
    view = bot.wait_until("nothing is on its way", is_quiet, GIVEN_UP_S)
    check_orders(bot)
    check_intents(bot)
    held = bot.venue.balances()
    assert dict(view.balances) == held
    engine = bot.folded()
    assert {asset: amount for asset, amount in engine.portfolio.wallets().items() if amount} == held
    assert booked_trades(bot.record()) == trades_of(bot.venue)
    held_here = {symbol: each.signed_quantity for symbol, each in engine.portfolio.positions.items() if each.contract}
    assert {symbol: quantity for symbol, quantity in held_here.items() if quantity} == bot.venue.contracts()
    check_protection(bot, engine)


def is_quiet(view: View) -> bool:
    """Agreed with the exchange, and no order without an answer."""
    unsure = {"SUBMITTED", "IN_DOUBT", "CANCEL_SENT"}
    return view.books == "agree" and len(view.links) == 2 and not any(order.state in unsure for order in view.orders)


def trades_of(venue: Exchange) -> set[tuple[str, int]]:
    """Symbol and number of every fill of the account."""
    return {(trade["symbol"], trade["id"]) for trade in venue.trades()}


def booked_trades(record: Sequence[Event | Command]) -> set[tuple[str, int]]:
    """Symbol and number of every fill that a record tells of."""
    return {
        (message.fill.symbol, message.fill.trade_id)
        for message in record
        if isinstance(message, OrderFilled | VenueTraded)
    }


def check_protection(bot: Trader, engine: Engine) -> None:
    """What can be sold of each position rests behind a stop at the exchange."""
    stops: dict[str, Decimal] = {}
    for order in bot.venue.open_orders():
        position = engine.portfolio.positions.get(order["symbol"])
        way_out = "BUY" if position is not None and position.direction < 0 else "SELL"
        if order["side"] == way_out and Decimal(order["stopPrice"]) and order["status"] != "PENDING_NEW":
            left = Decimal(order["origQty"]) - Decimal(order["executedQty"])
            stops[order["symbol"]] = stops.get(order["symbol"], Decimal(0)) + left
    for symbol, position in engine.portfolio.positions.items():
        instrument = engine.instruments[symbol]
        if instrument.can_close(position.quantity, position.entry_price or Decimal(0)):
            assert stops.get(symbol, 0) >= instrument.lots_down(position.quantity), f"{symbol} is not protected"


def minutes_before_end(minutes: int) -> int:
    """The time so long before the end of generated files."""
    return T0_MS - minutes * MINUTE_MS
