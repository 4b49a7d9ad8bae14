"""Settings that change while the bot trades, in virtual time: what was changed is the same as a restart with it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from decimal import Decimal

import pytest

from surefoot.assembly import InForce, build_session
from surefoot.core.messages import RecordDecision, RunStarted, SettingsChanged
from surefoot.research.exact import Fate, VirtualTime
from surefoot.store.records import decode
from tests.core.desk import facts
from tests.stage import KEYS, PLENTY, QUARTER_HOUR_MS, Planned, Stage, instrument, stage_settings

HISTORY_CANDLES = 700


class Live(Stage):
    """A stage whose settings change as the trader changes them. The bot has its own signals, unless `scripted`."""

    in_force: InForce
    scripted = False

    def _new_driver(self) -> VirtualTime:
        self.in_force = InForce(self.settings)
        for kind, body in self.journal:
            self.in_force.engine.fold(decode(kind, body))
        engine, sink = self.in_force.engine, self._record
        if self.scripted:
            engine._signals = self.script
        session = build_session(self.in_force.settings, KEYS, lambda: 0.5, watch_always=True)
        return VirtualTime(
            engine, session, self.exchange, self._tape, self._latency_ms, sink, self.planned, self.now_ms
        )

    def start(self) -> None:
        self.runs += 1
        symbols = self.in_force.settings.market.symbols
        held = {*self.engine.portfolio.positions, *(order.symbol for order in self.engine.orders.open_orders())}
        started = RunStarted(self.now_ms, f"r{self.runs}", "paper", symbols, "stage", "0")
        self.driver.begin(started, sorted(held - {*symbols}))

    def change(self, changes: Mapping[str, str | None]) -> str:
        """What the trader does; the problem that keeps it from being done."""
        old, session = self.in_force.settings.market.symbols, self.driver.session
        new = [symbol for symbol in self.in_force.after(changes).market.symbols if symbol not in old]
        if new:
            session.study(new)
            self.driver._send_requests()
            self.wait(8_000)
            assert session.studied is not None
            if session.studied.problem:
                return session.studied.problem
        self.driver.tell(SettingsChanged(self.now_ms, "ada", "a test", changes))
        self.wait(0)
        for event in self.in_force.settle(session, self.now_ms):
            self.driver._react(event)
        self.driver._send_requests()
        return ""

    def decisions(self) -> list[RecordDecision]:
        return [command for command in self.sent if isinstance(command, RecordDecision)]

    def streams(self) -> list[str]:
        """What the market's connections carry, as the exchange says."""
        found: list[str] = []
        for link, number in self.driver._links.items():
            if link.startswith("market"):
                self.exchange.ws_text(number, '{"method":"LIST_SUBSCRIPTIONS","id":"list"}', self.now_ms)
                answers = [json.loads(text) for _, text in self.exchange.take_frames() if '"list"' in text]
                found += answers[0]["result"]
        return sorted(found)


def price_at(number: int, symbol: str) -> Decimal:
    wave = math.sin(number / 7 + len(symbol)) * 40 + math.sin(number / 3) * 15
    return Decimal(f"{1_000 + wave:.2f}")


ALL = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


class Scripted(Live):
    scripted = True


def started(
    fates: Planned | None = None, symbols: Sequence[str] = ALL[:2], kind: type[Live] = Live, **overrides: str
) -> Live:
    """A bot that starts when the venue has a week of candles."""
    specs = [instrument(symbol) for symbol in ALL]
    stage = kind(stage_settings(symbols, **overrides), fates=fates, instruments=specs)
    for number in range(HISTORY_CANDLES):
        for symbol in ALL:
            stage.exchange.tick(symbol, price_at(number, symbol), Decimal(1), Decimal(100), stage.now_ms)
        stage.now_ms += QUARTER_HOUR_MS
    stage.driver = stage._new_driver()
    stage.start()
    stage.wait(10_000)
    return stage


def told(stage: Live) -> dict[str, RecordDecision]:
    """What is decided on each symbol at the next candle."""
    stage.sent.clear()
    close_candles(stage)
    stage.wait(2_000)
    return {decision.signal.symbol: decision for decision in stage.decisions()}


def close_candles(stage: Live) -> None:
    for number in range(2):  # a print of this quarter, then the first of the next
        for symbol in ALL:
            stage.price(symbol, price_at(HISTORY_CANDLES + number, symbol), PLENTY)
        if not number:
            stage.now_ms = (stage.now_ms // QUARTER_HOUR_MS + 1) * QUARTER_HOUR_MS


def fold_is_what_was_lived(stage: Live) -> None:
    again = InForce(stage.settings)
    for kind, body in stage.journal:
        again.engine.fold(decode(kind, body))
    assert again.settings == stage.in_force.settings
    then, now = facts(again.engine), facts(stage.engine)
    for known in (then, now):
        del known["closes"]  # history is not in the journal: it is read again
    assert then == now


@pytest.mark.spec("CFG-4")
@pytest.mark.parametrize("changes", [{"rsi.period": "9"}, {"filters.trend": "damp", "rsi.period": "7"}])
@pytest.mark.parametrize(
    "fates", [[], [("GET", "/api/v3/klines", Fate(instead=503))], [("GET", "/api/v3/klines", Fate(arrives=False))]]
)
def test_signals_that_begin_anew_are_those_of_a_restart_with_the_change(
    changes: dict[str, str | None], fates: list[tuple[str, str, Fate]]
) -> None:
    changed, restarted, unchanged = started(), started(), started()
    changed.planned.requests += fates
    changed.change(changes)
    changed.wait(60_000)
    restarted.change(changes)
    restarted.kill()
    restarted.start()
    restarted.wait(60_000)
    unchanged.wait(60_000)
    told_then, told_again, told_before = told(changed), told(restarted), told(unchanged)
    assert len(told_then) == 2
    assert {symbol: one.signal for symbol, one in told_then.items()} == {s: one.signal for s, one in told_again.items()}
    assert told_then["BTCUSDT"].signal != told_before["BTCUSDT"].signal, "the change makes no difference here"


@pytest.mark.spec("CFG-4")
def test_candle_that_closes_while_history_is_read_again_is_decided_on_with_all_of_it_and_once() -> None:
    stage, steady = started(), started()
    late = ("GET", "/api/v3/klines", Fate(answer_extra_ms=4_000))
    stage.planned.requests += [late, late]
    steady.change({"rsi.period": "9"})
    for each in (stage, steady):
        each.now_ms = (each.now_ms // QUARTER_HOUR_MS + 1) * QUARTER_HOUR_MS - 500
        each.driver.run(each.now_ms)
    stage.change({"rsi.period": "9"})
    assert told(stage) == {}, "a signal came without history"
    stage.wait(10_000)
    signals = {symbol: one.signal for symbol, one in told(steady).items()}
    assert len(signals) == len(stage.decisions()) == 2
    assert {one.signal.symbol: one.signal for one in stage.decisions()} == signals


@pytest.mark.spec("CFG-4")
def test_numbers_of_the_gate_count_from_the_next_decision_on() -> None:
    stage = started(strategy__score_min_paper="0")
    assert stage.engine.settings.risk.score_min == 0
    stage.change({"strategy.score_min_paper": "1"})
    assert stage.engine.settings.risk.score_min == 1
    requests = stage.driver.session.take_requests(stage.now_ms)
    assert not requests, "nothing has to be read for it"


# -- symbols and intervals --------------------------------------------------------------------------------------------


@pytest.mark.spec("MODE-5", "CFG-4")
@pytest.mark.parametrize(
    "fates",
    [[], [("GET", "/api/v3/exchangeInfo", Fate(instead=503))], [("GET", "/api/v3/klines", Fate(arrives=False))]],
)
@pytest.mark.parametrize("trend", ["off", "damp"])
def test_symbol_that_is_added_is_traded_as_by_a_bot_that_began_with_it(
    fates: list[tuple[str, str, Fate]], trend: str
) -> None:
    stage, other = started(filters__trend=trend), started(symbols=ALL, filters__trend=trend)
    assert set(told(stage)) == {"BTCUSDT", "ETHUSDT"}
    told(other)
    stage.planned.requests += fates
    assert stage.change({"market.symbols": "BTCUSDT,ETHUSDT,SOLUSDT"}) == ""
    assert "no" in str(stage.engine.entries_off()) or "not been compared" in str(stage.engine.entries_off())
    stage.wait(60_000)
    assert stage.engine.entries_off() is None
    other.wait(stage.now_ms - other.now_ms)
    assert stage.streams() == other.streams()
    signals = {symbol: one.signal for symbol, one in told(stage).items()}
    assert len(signals) == 3
    assert signals == {symbol: one.signal for symbol, one in told(other).items()}
    fold_is_what_was_lived(stage)
    stage.kill()
    stage.start()
    stage.wait(60_000)
    assert stage.streams() == other.streams(), "a restart knows it"


@pytest.mark.spec("MODE-5")
def test_symbol_that_the_venue_does_not_have_is_refused_and_the_bot_goes_on() -> None:
    stage = started()
    before = stage.streams()
    problem = stage.change({"market.symbols": "BTCUSDT,DOGEUSDT"})
    assert "-1121" in problem
    assert stage.in_force.settings == stage.settings
    assert stage.streams() == before
    assert set(told(stage)) == {"BTCUSDT", "ETHUSDT"}
    assert "SettingsChanged" not in stage.counts
    assert stage.change({"market.symbols": "BTCUSDT,SOLUSDT"}) == "", "the next one is asked for as if nothing had been"


@pytest.mark.spec("MODE-5")
def test_symbol_that_is_removed_leaves_the_streams_at_once_when_nothing_of_it_is_held() -> None:
    stage = started(symbols=ALL)
    stage.change({"market.symbols": "SOLUSDT,BTCUSDT"})
    stage.wait(1_000)
    assert stage.streams() == [
        f"{symbol}@{kind}" for symbol in ("btcusdt", "solusdt") for kind in ("bookTicker", "kline_15m")
    ]
    assert set(told(stage)) == {"BTCUSDT", "SOLUSDT"}
    assert stage.in_force.signals.held("ETHUSDT", "15m", 9) is None
    fold_is_what_was_lived(stage)
    stage.driver.cut("market", "closed")
    stage.wait(60_000)
    assert len(stage.streams()) == 4, "nor does it come back with a new connection"


@pytest.mark.spec("MODE-5", "SAFE-2")
@pytest.mark.parametrize("dies", [False, True])
def test_symbol_that_is_removed_while_held_stays_protected_and_managed_and_leaves_once_it_is_sold(dies: bool) -> None:
    stage = started(kind=Scripted, exits__trail_activate_pct="1", exits__trail_distance_pct="1")
    stage.script.say("ETHUSDT", 1.0)
    close_candles(stage)
    stage.wait(100)
    stage.price("ETHUSDT", price_at(HISTORY_CANDLES, "ETHUSDT"))
    stage.wait(3_000)
    entry_price = stage.engine.portfolio.positions["ETHUSDT"].entry_price
    assert entry_price is not None
    stage.change({"market.symbols": "BTCUSDT"})
    stage.wait(1_000)
    if dies:
        stage.kill()
        stage.start()
        stage.wait(20_000)
    assert {"ethusdt@bookTicker", "ethusdt@kline_15m"} < set(stage.streams())
    before = {order.id: order.request.stop_price for order in stage.engine.orders.open_orders("ETHUSDT")}
    assert not stage.engine.unprotected_since
    stage.price("ETHUSDT", (entry_price * Decimal("1.02")).quantize(Decimal("0.01")))
    stage.wait(3_000)
    after = {order.id: order.request.stop_price for order in stage.engine.orders.open_orders("ETHUSDT")}
    assert after != before, "its stop no longer follows"
    stage.script.say("ETHUSDT", 1.0)
    stage.sent.clear()
    stage.next_candle("ETHUSDT")
    stage.wait(3_000)
    assert [one.outcome for one in stage.decisions()] == ["removed"]
    stage.price("ETHUSDT", Decimal("900"))
    stage.wait(10_000)
    assert "ETHUSDT" not in stage.engine.portfolio.positions
    assert stage.streams() == ["btcusdt@bookTicker", "btcusdt@kline_15m"]
    assert stage.engine.entries_off() is None
    fold_is_what_was_lived(stage)


@pytest.mark.spec("MODE-5")
def test_entry_of_a_removed_symbol_that_has_not_filled_is_cancelled() -> None:
    stage = started(kind=Scripted, orders__entry_timeout_s="600")
    stage.script.say("ETHUSDT", 1.0)
    for number in range(2):
        for symbol in ALL:
            stage.price(symbol, price_at(HISTORY_CANDLES + number, symbol), Decimal(0))
        stage.now_ms += 0 if number else QUARTER_HOUR_MS - stage.now_ms % QUARTER_HOUR_MS
    stage.wait(3_000)
    assert stage.engine.orders.busy("ETHUSDT")
    stage.change({"market.symbols": "BTCUSDT"})
    stage.wait(3_000)
    assert not stage.engine.orders.busy("ETHUSDT")
    assert stage.streams() == ["btcusdt@bookTicker", "btcusdt@kline_15m"]


@pytest.mark.spec("MODE-5")
def test_another_interval_is_the_same_as_a_restart_with_it() -> None:
    changed, restarted = started(), started()
    for stage in (changed, restarted):
        stage.change({"market.interval": "30m", "market.confirm_interval": "2h"})
    restarted.kill()
    restarted.start()
    for stage in (changed, restarted):
        stage.wait(60_000)
    assert changed.streams() == restarted.streams()
    assert {stream.partition("@")[2] for stream in changed.streams()} == {"bookTicker", "kline_30m"}
    seen: list[dict[str, object]] = []
    for stage in (changed, restarted):
        signals: dict[str, object] = {}
        for _ in range(2):  # one of two quarters ends an interval of half an hour
            signals |= {symbol: one.signal for symbol, one in told(stage).items()}
        seen.append(signals)
    assert len(seen[0]) == 2
    assert seen[0] == seen[1]
    fold_is_what_was_lived(changed)


@pytest.mark.spec("MODE-5", "BRK-2")
def test_coins_of_an_added_symbol_that_the_account_has_are_no_profit() -> None:
    stage = Live(stage_settings(ALL[:1]), instruments=[instrument(s) for s in ALL], balances={"SOL": Decimal(5)})
    for symbol in ALL:
        stage.price(symbol, Decimal(1_000))
    stage.driver = stage._new_driver()
    stage.start()
    stage.wait(10_000)
    for symbol in ALL:
        stage.price(symbol, Decimal(1_000))
    stage.wait(1_000)
    assert stage.engine.equity() == 10_000
    assert stage.engine.breaker.start_of("day loss") == 10_000
    stage.change({"market.symbols": "BTCUSDT,SOLUSDT"})
    stage.wait(5_000)
    stage.price("SOLUSDT", Decimal(1_000))
    stage.wait(5_000)
    assert stage.engine.equity() == 15_000
    assert stage.engine.breaker.start_of("day loss") == 15_000
    assert stage.counts["RecordTransfer"] == 1


@pytest.mark.spec("DATA-5")
def test_candles_held_are_bounded_and_a_restart_finds_all_it_wants_while_a_new_series_does_not() -> None:
    stage = started(symbols=ALL[:1])
    told(stage)
    (_, _, primary), (_, _, confirm) = stage.in_force.signals.series()
    assert len(primary) == primary.capacity == 500, "more than that is known, and read"
    assert (primary.looked_up, primary.found) == (1, 1)
    assert (len(confirm), confirm.found) == (HISTORY_CANDLES // 4, 0), "no window is full of these yet"
    held = stage.in_force.signals.held("BTCUSDT", "15m", 500)
    assert held is not None
    assert len(held) == 500
    assert (primary.looked_up, primary.found) == (2, 2)
    assert stage.in_force.signals.held("BTCUSDT", "1h", 5) is not None
    assert confirm.found == 1
