"""The guardian with real processes: a trader that is stopped, or killed, while it holds something or wants to buy.

Its market is made for it: what is bought is held, and neither stop nor target is near. A trader that is stopped stops
the market too, which waits for it.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from surefoot.core.view import View
from surefoot.notify import all_alerts
from tests.e2e.processes import (
    BUSY,
    FULL,
    PATIENCE_S,
    ROOT,
    T0_MS,
    Exchange,
    FuturesExchange,
    Trader,
    booked_trades,
    environment,
    eventually,
    exchange,
    has_equal_ledger,
    settings_of,
    trader,
    trades_of,
)
from tests.e2e.test_commands import child_pids, going, is_gone, lines_until
from tests.e2e.wire import wire
from tests.receivers import Heard, web_hooks

MINUTE_MS = 60_000
HISTORY, MINUTES = 300, 600
SPEED = 40
SILENT_S, ACT_AFTER_S = 2, 4
MARKET = ("--speed", str(SPEED), "--wait-for-account", "--forming-klines", "no", "--admin-port", "0")
PATIENT = BUSY | {
    "exits.stop_pct_of_price": "10",
    "exits.target_pct_of_price": "20",
    "exits.opposite_score_min": "1",
    "risk.spread_max_pct": "10",
    "risk.entry_gap_min_s": "86400",
    "orders.entry_timeout_s": "600",
}
FUTURES = {"market.venue": "futures", "futures.leverage": "2"}
QUICK = {
    "guard.silent_max_s": str(SILENT_S),
    "guard.act_after_s": str(ACT_AFTER_S),
    "guard.idle_max_s": "600",
}


def candles(folder: Path, symbol: str, price: float, leap: float) -> str:
    """One-minute candles: a slow fall that turns at `T0_MS`, a leap after it, and then nothing much."""
    rows = []
    for minute in range(-HISTORY, MINUTES):
        opened = price * (1 + leap) if minute == 1 else price
        change = -0.0002 if minute < 0 else 0.00005 if minute == 0 else 0.0001 if minute % 2 else -0.0001
        price = opened * (1 + change)
        high, low = max(opened, price), min(opened, price)
        rows.append(f"{T0_MS + minute * MINUTE_MS},{opened:.2f},{high:.2f},{low:.2f},{price:.2f},5000")
    path = folder / f"{symbol}-1m.csv"
    path.write_text("\n".join(("open_time,open,high,low,close,volume", *rows)) + "\n")
    return str(path)


@contextmanager
def market(folder: Path, venue: str, leaps: Mapping[str, float], *options: str) -> Iterator[Exchange]:
    prices = {"BTCUSDT": 70_000.0, "ETHUSDT": 3_000.0}
    files = [candles(folder, symbol, prices[symbol], leap) for symbol, leap in leaps.items()]
    tape = ("--start-ms", str(T0_MS), "--replay", *files)
    with exchange("--market", venue, *MARKET, *options, *tape) as made:
        yield made


@dataclass
class Guard:
    """`surefoot guard` as a process; `said` are the lines that it printed."""

    process: subprocess.Popen[str]
    said: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._reader = threading.Thread(target=self._read_on, daemon=True)
        self._reader.start()

    def _read_on(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.said.append(json.loads(line))

    def titles(self) -> list[str]:
        return [said["title"] for said in self.said if said["event"] == "told"]

    def wait_for(self, title: str, within_s: float = PATIENCE_S) -> None:
        try:
            eventually(title, lambda: title in self.titles(), within_s)
        except AssertionError as late:
            raise AssertionError(f"{late}; it said {self.said}") from None

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(PATIENCE_S) == 0, self.said
        self._reader.join(PATIENCE_S)


@contextmanager
def guard(bot: Trader, ear: Heard | None, **changes: str) -> Iterator[Guard]:
    """A guardian of that trader; the address is its own, and the key is that of the simulated account."""
    values = settings_of(bot.journal, bot.venue.symbols, {**bot.changes, **QUICK})
    values |= {name.replace("__", "."): value for name, value in changes.items()}
    words = [word for key, value in values.items() for word in ("--set", f"{key}={value}")]
    env = {"SIMEX_API_KEY": bot.venue.hello["api_key"], "SIMEX_API_SECRET": bot.venue.hello["secret"]}
    if ear is not None:
        env["SUREFOOT_GUARD_ALERT_URLS"] = f"json://127.0.0.1:{ear.port}/guard"
    process = subprocess.Popen(
        [
            sys.executable,
            "-m",
            "surefoot",
            "guard",
            "--json",
            "--journal",
            str(bot.journal),
            "--rest",
            bot.venue.rest,
            *words,
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=environment(**env),
        cwd=ROOT,
    )
    made = Guard(process)
    try:
        yield made
    finally:
        if process.poll() is None:
            process.kill()
        process.wait(PATIENCE_S)
        made._reader.join(PATIENCE_S)
        assert process.stdout is not None
        process.stdout.close()


def told(ear: Heard) -> list[str]:
    """Titles of what reached people."""
    return [str(post["title"]).partition(": ")[2] for path, post in ear.posts if path == "/guard"]


def is_held(view: View) -> bool:
    return bool(view.positions) and all(position.stop_price is not None for position in view.positions)


def halt(bot: Trader) -> None:
    os.kill(bot.pid, signal.SIGSTOP)


def go_on(bot: Trader) -> None:
    os.kill(bot.pid, signal.SIGCONT)


def guards_orders(venue: Exchange) -> list[dict[str, Any]]:
    """Orders of the guardian, on either market."""
    return [order for order in venue.orders() if str(order["clientOrderId"]).startswith("sfg-")]


def of_market(venue: str) -> dict[str, str]:
    return PATIENT | (FUTURES if venue == "futures" else {})


def check_that_the_trader_knows(bot: Trader, quantity: Decimal) -> None:
    """It has booked what was sold, buys nothing until a person says so, and sells nothing again."""
    view = bot.wait_until("books agree and nothing is held", lambda v: v.books == "agree" and not v.positions)
    assert view.breaker.paused is not None
    assert view.breaker.paused.startswith("paused by the guardian: it traded while this trader did not work")
    (trip,) = bot.folded().portfolio.round_trips
    assert (trip.reason, trip.quantity) == ("guardian", quantity)
    assert booked_trades(bot.record()) == trades_of(bot.venue)
    eventually("ledger equals the account", lambda: has_equal_ledger(bot))


STORY = ["The trader does not answer", "The guardian acts", "The guardian has sold", "The trader works again"]


ENDS = [("stop", "There is no trader"), ("kill", "The trader does not answer")]


@pytest.mark.spec("OPS-2", "NOTE-1", "SAFE-1", "SAFE-4")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("venue", ["spot", "futures"])
def test_a_trader_that_hangs_is_told_and_what_it_holds_is_sold_once(tmp_path: Path, venue: str) -> None:
    coins = {"BTC": Decimal("0.5")} if venue == "spot" else {}  # somebody else's, on the same account
    held = ["--balance", "USDT=10000", *(f"{asset}={amount}" for asset, amount in coins.items())]
    with (
        web_hooks() as ear,
        market(tmp_path, venue, {"BTCUSDT": 0.0}, *held) as place,
        trader(place, tmp_path / "journal.sqlite", of_market(venue)) as bot,
    ):
        bot.start()
        bot.wait_until("something is held behind a stop", is_held)
        bought = place.balances().get("BTC", Decimal(0)) - coins.get("BTC", Decimal(0)) or place.contracts()["BTCUSDT"]
        with guard(bot, ear, guard__act="flatten") as watch:
            eventually("it watches", lambda: watch.said)
            halt(bot)
            watch.wait_for("The guardian has done what it could")
            assert place.contracts() == {}
            left = place.balances().get("BTC", Decimal(0)) - coins.get("BTC", Decimal(0))
            assert 0 <= left < Decimal("0.00001"), "no less than the bot's, and nobody else's"
            assert place.open_orders() == []
            (sale,) = guards_orders(place)
            assert Decimal(sale["executedQty"]) == bought - left
            go_on(bot)
            watch.wait_for("The trader works again")
            check_that_the_trader_knows(bot, bought - left)
            assert place.open_orders() == []
            assert guards_orders(place) == [sale]
            watch.stop()
        heard = told(ear)
        bot.stop()
    story = [title for title in dict.fromkeys(heard) if title in STORY]
    assert story == STORY
    kept = all_alerts(tmp_path / "journal.sqlite")
    assert {alert["title"] for alert in kept if alert["by"] == "guardian"} == set(heard)


@pytest.mark.spec("OPS-2", "SAFE-4", "ORD-9")
@pytest.mark.timeout(120)
def test_a_trader_that_died_finds_after_its_restart_what_was_sold_meanwhile(tmp_path: Path) -> None:
    with (
        market(tmp_path, "spot", {"BTCUSDT": 0.0}) as place,
        trader(place, tmp_path / "journal.sqlite", of_market("spot")) as bot,
    ):
        bot.start()
        bot.wait_until("something is held behind a stop", is_held)
        bot.kill()
        with guard(bot, None, guard__act="flatten") as watch:  # it never saw a picture: the journal says what is held
            watch.wait_for("The guardian has done what it could")
            assert any("nobody will be told" in said["text"] for said in watch.said)
            (sale,) = guards_orders(place)
            bot.start()
            watch.wait_for("The trader works again")
            check_that_the_trader_knows(bot, Decimal(sale["executedQty"]))
            bot.kill()
            bot.start()  # what is booked once stays booked once
            check_that_the_trader_knows(bot, Decimal(sale["executedQty"]))
            watch.stop()
        bot.stop()


def two_symbols(folder: Path, venue: str) -> AbstractContextManager[Exchange]:
    """Where both symbols are wanted at once below the price that is asked: one falls to it, and the other runs away."""
    return market(folder, venue, {"BTCUSDT": -0.01, "ETHUSDT": 0.01}, "--half-spread-bps", "20")


def rests_beside_a_position(view: View) -> bool:
    entries = [order for order in view.orders if order.purpose == "entry" and order.state == "NEW"]
    return is_held(view) and [order.symbol for order in entries] == ["ETHUSDT"]


BELOW = {"orders.entry_limit_offset_pct": "0"}


def resting(venue: Exchange, symbol: str) -> set[str]:
    """Names of what rests of a symbol: plain orders and conditional ones."""
    if isinstance(venue, FuturesExchange):
        plain = venue.call("GET", "/fapi/v1/openOrders", {"symbol": symbol})
        algos = venue.call("GET", "/fapi/v1/openAlgoOrders", {"symbol": symbol})
        return {row["clientOrderId"] for row in plain} | {row["clientAlgoId"] for row in algos}
    return {row["clientOrderId"] for row in venue.call("GET", "/api/v3/openOrders", {"symbol": symbol})}


@pytest.mark.spec("OPS-2", "SAFE-2")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("venue", ["spot", "futures"] if FULL else ["futures"])
def test_of_a_killed_trader_only_the_entry_is_cancelled_and_the_stop_stays(tmp_path: Path, venue: str) -> None:
    with (
        two_symbols(tmp_path, venue) as place,
        trader(place, tmp_path / "journal.sqlite", of_market(venue) | BELOW) as bot,
    ):
        bot.start()
        view = bot.wait_until("an entry rests beside a position", rests_beside_a_position)
        protection, (entry,) = resting(place, "BTCUSDT"), [o for o in view.orders if o.purpose == "entry"]
        with guard(bot, None, guard__act="cancel") as watch:
            bot.kill()
            watch.wait_for("The guardian has done what it could")
            assert entry.client_order_id not in resting(place, "ETHUSDT")
            assert resting(place, "BTCUSDT") == protection
            assert len(protection) == 2
            assert guards_orders(place) == []
            watch.stop()


def long_after_it_would_have_acted(venue: Exchange, bounds_s: int = SILENT_S + ACT_AFTER_S) -> None:
    then_ms = venue.now_ms() + (bounds_s + 2) * SPEED * 1_000
    eventually("long after it would have acted", lambda: venue.now_ms() > then_ms, 2 * PATIENCE_S)


@pytest.mark.spec("OPS-2")
@pytest.mark.timeout(120)
def test_while_the_trader_works_nothing_is_done(tmp_path: Path) -> None:
    with (
        market(tmp_path, "spot", {"BTCUSDT": 0.0}) as place,
        trader(place, tmp_path / "journal.sqlite", of_market("spot")) as bot,
    ):
        bot.start()
        bot.wait_until("something is held behind a stop", is_held)
        with guard(bot, None, guard__act="flatten", guard__silent_max_s="5", guard__act_after_s="6") as watch:
            eventually("it watches", lambda: watch.said)
            long_after_it_would_have_acted(place, 5 + 6)
            watch.stop()
        assert watch.titles() == []
        assert guards_orders(place) == []
        assert len(place.open_orders()) == 2
        bot.stop()


@pytest.mark.spec("OPS-2")
@pytest.mark.timeout(120)
@pytest.mark.parametrize(("end", "title"), ENDS if FULL else ENDS[1:])
def test_a_trader_that_ends_with_nothing_at_stake_is_told_and_nothing_is_done(
    tmp_path: Path, end: str, title: str
) -> None:
    with (
        market(tmp_path, "spot", {"BTCUSDT": 0.0}) as place,
        trader(place, tmp_path / "journal.sqlite", of_market("spot") | {"strategy.score_min_paper": "1"}) as bot,
    ):
        bot.start()
        bot.wait_for_agreement()
        with guard(bot, None, guard__act="flatten") as watch:
            eventually("it watches", lambda: watch.said)
            getattr(bot, end)()
            watch.wait_for(title)
            long_after_it_would_have_acted(place)
            watch.stop()
        assert watch.titles() == [title]
        assert place.orders() == []


@pytest.mark.spec("OPS-2", "SAFE-2")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("end", ["killed", "stopped"] if FULL else ["killed"])
def test_the_venue_cancels_entries_when_trader_and_guardian_are_dead_and_the_stop_stays(
    tmp_path: Path, end: str
) -> None:
    span_s = 8 * SPEED  # seconds of real time
    with (
        two_symbols(tmp_path, "futures") as place,
        trader(place, tmp_path / "journal.sqlite", of_market("futures") | BELOW) as bot,
    ):
        bot.start()
        view = bot.wait_until("an entry rests beside a position", rests_beside_a_position)
        protection, (entry,) = resting(place, "BTCUSDT"), [o for o in view.orders if o.purpose == "entry"]
        with guard(bot, None, guard__countdown_s=str(span_s)) as watch:
            eventually("it is armed", lambda: any(said["event"] == "armed" for said in watch.said))
            if end == "stopped":
                watch.stop()
            watch.process.kill()
            bot.kill()
            over_ms = place.now_ms() + (span_s + 60) * 1_000
            eventually("the countdown is over", lambda: place.now_ms() > over_ms, 2 * PATIENCE_S)
            assert (entry.client_order_id in resting(place, "ETHUSDT")) == (end == "stopped")
            assert resting(place, "BTCUSDT") == protection
            assert watch.titles() == []


@pytest.mark.spec("OPS-2", "SAFE-1", "SAFE-3")
@pytest.mark.timeout(120)
@pytest.mark.parametrize("venue", ["spot", "futures"] if FULL else ["spot"])
def test_a_sale_whose_answer_is_lost_is_asked_for_and_not_sent_twice(tmp_path: Path, venue: str) -> None:
    with (
        market(tmp_path, venue, {"BTCUSDT": 0.0}) as place,
        trader(place, tmp_path / "journal.sqlite", of_market(venue)) as bot,
    ):
        bot.start()
        bot.wait_until("something is held behind a stop", is_held)
        with guard(bot, None, guard__act="flatten") as watch:
            eventually("it watches", lambda: watch.said)
            halt(bot)
            watch.wait_for("The trader does not answer")
            place.command("/faults", {"kind": "reset-after", "of": "orders"})
            watch.wait_for("The guardian has done what it could")
            assert "A sale of the guardian was not taken" in watch.titles()
            assert place.contracts() == {}
            assert place.balances().get("BTC", Decimal(0)) < Decimal("0.00001")
            assert len(guards_orders(place)) == 1
            watch.stop()


@pytest.mark.spec("OPS-2", "SAFE-2")
@pytest.mark.timeout(120)
def test_a_sale_that_is_refused_with_its_stop_gone_is_told_loudly_and_tried_until_it_is_done(tmp_path: Path) -> None:
    with (
        web_hooks() as ear,
        market(tmp_path, "spot", {"BTCUSDT": 0.0}) as place,
        trader(place, tmp_path / "journal.sqlite", of_market("spot")) as bot,
    ):
        bot.start()
        bot.wait_until("something is held behind a stop", is_held)
        with guard(bot, ear, guard__act="flatten") as watch:
            eventually("it watches", lambda: watch.said)
            halt(bot)
            watch.wait_for("The trader does not answer")
            place.command("/symbols/BTCUSDT/status", {"status": "CANCEL_ONLY"})
            watch.wait_for("A POSITION HAS NO STOP")
            watch.wait_for("The guardian tries again")
            place.command("/symbols/BTCUSDT/status", {"status": "TRADING"})
            watch.wait_for("The guardian has done what it could", 2 * PATIENCE_S)
            assert place.balances().get("BTC", Decimal(0)) < Decimal("0.00001")
            assert place.open_orders() == []
            watch.stop()
        assert "A POSITION HAS NO STOP" in told(ear)


@pytest.mark.spec("OPS-2", "SAFE-1")
@pytest.mark.timeout(120)
@pytest.mark.skipif(not FULL, reason="one of the longer proofs: SUREFOOT_FULL=1")
def test_a_trader_that_comes_back_before_the_sale_is_left_to_itself(tmp_path: Path) -> None:
    with (
        market(tmp_path, "spot", {"BTCUSDT": 0.0}) as place,
        trader(place, tmp_path / "journal.sqlite", of_market("spot")) as bot,
    ):
        bot.start()
        bot.wait_until("something is held behind a stop", is_held)
        protection = resting(place, "BTCUSDT")
        with guard(bot, None, guard__act="flatten", guard__act_after_s="10") as watch:
            eventually("it watches", lambda: watch.said)
            halt(bot)
            watch.wait_for("The trader does not answer")
            go_on(bot)
            watch.wait_for("The trader works again")
            bot.wait_for_agreement()
            watch.stop()
            assert "The guardian acts" not in watch.titles()
        assert resting(place, "BTCUSDT") == protection
        assert guards_orders(place) == []
        bot.stop()


@pytest.mark.spec("OPS-2", "SAFE-1")
@pytest.mark.timeout(120)
@pytest.mark.skipif(not FULL, reason="one of the longer proofs: SUREFOOT_FULL=1")
def test_a_trader_that_lives_and_has_no_way_to_the_venue_is_helped_by_one_that_has(tmp_path: Path) -> None:
    with (
        market(tmp_path, "spot", {"BTCUSDT": 0.0}) as place,
        wire(place.rest) as line,
        trader(place, tmp_path / "journal.sqlite", of_market("spot"), line.rest) as bot,
    ):
        bot.start()
        bot.wait_until("something is held behind a stop", is_held)
        with guard(bot, None, guard__act="flatten", guard__idle_max_s="5") as watch:
            eventually("it watches", lambda: watch.said)
            line.cut()
            watch.wait_for("The trader has no link to the venue")
            watch.wait_for("The guardian has done what it could")
            (sale,) = guards_orders(place)
            line.mend()
            watch.wait_for("The trader works again")
            check_that_the_trader_knows(bot, Decimal(sale["executedQty"]))
            assert guards_orders(place) == [sale]
            watch.stop()
        bot.stop()


# -- as a child of a run ----------------------------------------------------------------------------------------------


@pytest.mark.spec("OPS-2", "OPS-3")
@pytest.mark.timeout(120)
def test_a_run_starts_its_guardian_again_and_ends_it_first(tmp_path: Path) -> None:
    wanted = ("--set", "guard.enabled=true", "--set", "guard.act=flatten")
    with going("run", "--no-terminal", "--no-web", *wanted, cwd=tmp_path) as run:
        lines = lines_until(run, "guardian: watching ")
        assert "guard.act = flatten after 120 s; nobody will be told" in lines[-1]
        os.kill(child_pids(run.pid)["guard"], signal.SIGKILL)
        lines = lines_until(run, "guardian: watching ")
        assert "the guardian was ended by SIGKILL; starting it again in 1 s" in lines
        children = child_pids(run.pid)
        run.send_signal(signal.SIGTERM)
        out, complaints = run.communicate(timeout=PATIENCE_S)
    assert (run.returncode, complaints) == (0, "")
    assert all(is_gone(pid) for pid in children.values())
    assert "guardian: " not in out, "an end in order is no emergency"


@pytest.mark.spec("OPS-2", "OPS-3")
@pytest.mark.timeout(120)
@pytest.mark.skipif(not FULL, reason="one of the longer proofs: SUREFOOT_FULL=1")
def test_a_guardian_that_cannot_start_is_told_and_ends_no_run(tmp_path: Path) -> None:
    wanted = ("--set", "guard.enabled=true", "--journal", "j.sqlite")
    (tmp_path / "j.sqlite.guard.lock").touch()
    with (tmp_path / "j.sqlite.guard.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with going("run", "--no-terminal", "--no-web", *wanted, cwd=tmp_path) as run:
            lines = lines_until(run, "no guardian any more")
            assert lines[-1].endswith("another guardian watches j.sqlite; stop that one first")
            assert "trade" in child_pids(run.pid)
            run.send_signal(signal.SIGTERM)
            run.communicate(timeout=PATIENCE_S)
    assert run.returncode == 0
    assert any(alert["kind"] == "guardian" for alert in all_alerts(tmp_path / "j.sqlite"))
