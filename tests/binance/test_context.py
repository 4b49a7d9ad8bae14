"""The past of greater intervals is read at the start, ahead of the candles, whatever happens to the reads."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from surefoot.assembly import engine_settings
from surefoot.core.engine import Engine
from surefoot.core.model import INTERVAL_MS, Candle
from surefoot.research.exact import Fate
from tests.stage import QUARTER_HOUR_MS, Planned, Script, Stage, stage_settings

SYMBOLS = ("BTCUSDT", "ETHUSDT")


class Listener(Script):
    """Keeps the history that the signals are told."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: list[tuple[str, str, list[int]]] = []

    def warm(self, candles: Sequence[Candle]) -> None:
        self.heard.append((candles[0].symbol, candles[0].interval, [candle.open_ms for candle in candles]))


def started(trend: str, fates: Planned | None = None) -> tuple[Stage, Listener]:
    """A bot that starts after two days and an hour of candles that the venue has."""
    listener = Listener()
    stage = Stage(
        stage_settings(SYMBOLS, filters__trend=trend),
        fates=fates,
        engine_maker=lambda settings, _: Engine(engine_settings(settings), listener),
    )
    stage.now_ms = stage.now_ms // INTERVAL_MS["1d"] * INTERVAL_MS["1d"]
    for number in range(2 * 96 + 4):
        for symbol in SYMBOLS:
            stage.exchange.tick(symbol, Decimal(1000 + number), Decimal(1), Decimal(100), stage.now_ms)
        stage.now_ms += QUARTER_HOUR_MS
    stage.driver = stage._new_driver()
    stage.start()
    stage.wait(10_000)
    return stage, listener


@pytest.mark.spec("SIG-5", "MODE-5", "DATA-4")
@pytest.mark.parametrize(
    "fates",
    [
        [],
        [("GET", "/api/v3/klines", Fate(instead=503))],
        [("GET", "/api/v3/klines", Fate(answer_extra_ms=700)), ("GET", "/api/v3/klines", Fate(arrives=False))],
    ],
)
def test_context_is_read_first_and_once_and_closed_candles_only(fates: list[tuple[str, str, Fate]]) -> None:
    stage, listener = started("block", Planned(fates))
    contexts = [(symbol, interval, len(opens)) for symbol, interval, opens in listener.heard if interval != "15m"]
    assert sorted(contexts) == [
        ("BTCUSDT", "1d", 2),
        ("BTCUSDT", "4h", 12),
        ("ETHUSDT", "1d", 2),
        ("ETHUSDT", "4h", 12),
    ]
    assert [interval for _, interval, _ in listener.heard].index("15m") == 4
    # What the bot takes for the price is the newest candle's, not that of a day ago.
    assert stage.engine.closes["BTCUSDT"] == 1000 + 2 * 96 + 3
    stage.driver.cut("market", None)
    stage.wait(120_000)
    assert sum(interval != "15m" for _, interval, _ in listener.heard) == 4


@pytest.mark.spec("SIG-5")
def test_without_the_filter_nothing_more_is_read() -> None:
    _, listener = started("off")
    assert {interval for _, interval, _ in listener.heard} == {"15m"}
