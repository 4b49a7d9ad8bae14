"""Settings that change while the bot trades, in virtual time: what was changed is the same as a restart with it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal

import pytest

from surefoot.assembly import InForce, build_session
from surefoot.core.messages import RecordDecision, SettingsChanged
from surefoot.research.exact import Fate, VirtualTime
from surefoot.store.records import decode
from tests.stage import KEYS, QUARTER_HOUR_MS, Planned, Stage, stage_settings

HISTORY_CANDLES = 700


class Live(Stage):
    """A stage whose bot has its own signals, and whose settings change as the trader changes them."""

    in_force: InForce

    def _new_driver(self) -> VirtualTime:
        self.in_force = InForce(self.settings)
        for kind, body in self.journal:
            self.in_force.engine.fold(decode(kind, body))
        session = build_session(self.in_force.settings, KEYS, lambda: 0.5, watch_always=True)
        engine, sink = self.in_force.engine, self._record
        return VirtualTime(
            engine, session, self.exchange, self._tape, self._latency_ms, sink, self.planned, self.now_ms
        )

    def change(self, changes: Mapping[str, str | None]) -> None:
        self.in_force.after(changes)
        self.driver.tell(SettingsChanged(self.now_ms, "ada", "a test", changes))
        self.wait(0)
        self.in_force.settle(self.driver.session, self.now_ms)
        self.driver._send_requests()

    def decisions(self) -> list[RecordDecision]:
        return [command for command in self.sent if isinstance(command, RecordDecision)]


def price_at(number: int, symbol: str) -> Decimal:
    wave = math.sin(number / 7 + len(symbol)) * 40 + math.sin(number / 3) * 15
    return Decimal(f"{1_000 + wave:.2f}")


def started(fates: Planned | None = None, **overrides: str) -> Live:
    """A bot that starts when the venue has a week of candles."""
    stage = Live(stage_settings(("BTCUSDT", "ETHUSDT"), **overrides), fates=fates)
    for number in range(HISTORY_CANDLES):
        for symbol in ("BTCUSDT", "ETHUSDT"):
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
        for symbol in ("BTCUSDT", "ETHUSDT"):
            stage.price(symbol, price_at(HISTORY_CANDLES + number, symbol))
        if not number:
            stage.now_ms = (stage.now_ms // QUARTER_HOUR_MS + 1) * QUARTER_HOUR_MS


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
