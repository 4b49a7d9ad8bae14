"""Candles are read around the moment in which one closes, and our idea of the venue's clock is off by seconds."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import pytest

from simex.venue import HttpRequest as VenueRequest
from surefoot.assembly import engine_settings
from surefoot.binance import codec
from surefoot.binance.candles import CandleFeed
from surefoot.core.engine import Engine
from surefoot.core.messages import CandleClosed, HistoryLoaded
from surefoot.core.model import INTERVAL_MS, Candle, Signal
from surefoot.research.exact import Fate
from tests.stage import QUARTER_HOUR_MS, Planned, Script, Stage, stage_settings

# What the clock was thought to be; further ahead, the venue refuses what is signed, and the clock is read anew.
BEHIND = [("GET", "/api/v3/time", Fate(answer_extra_ms=9_000))]  # by 4.5 s
AHEAD = [("GET", "/api/v3/time", Fate(extra_ms=1_900))]  # by 0.95 s
SLOW_PAGES = [("GET", "/api/v3/klines", Fate(answer_extra_ms=6_000))]
WEATHERS: dict[str, list[tuple[str, str, Fate]]] = {"fine": [], "behind": BEHIND, "ahead": AHEAD}
MINUTE_MS = 60_000


class Listener(Script):
    """Keeps the candles that the signals are told, as history or as closed just now, by interval."""

    def __init__(self) -> None:
        super().__init__()
        self.heard: dict[str, list[Candle]] = {}

    def warm(self, candles: Sequence[Candle]) -> None:
        self.heard.setdefault(candles[0].interval, []).extend(candles)

    def on_candle(self, candle: Candle) -> Signal:
        self.heard.setdefault(candle.interval, []).append(candle)
        return super().on_candle(candle)


def staged(weather: str, **overrides: str) -> tuple[Stage, Listener]:
    listener = Listener()
    stage = Stage(
        stage_settings(["BTCUSDT"], **overrides),
        fates=Planned([*WEATHERS[weather]]),
        engine_maker=lambda settings, _: Engine(engine_settings(settings), listener),
    )
    return stage, listener


def before_the_close(stage: Stage, ms: int) -> None:
    stage.wait(QUARTER_HOUR_MS - stage.now_ms % QUARTER_HOUR_MS - ms)


def venue_candles(stage: Stage, interval: str) -> list[Candle]:
    """What the venue has, the running one included."""
    target = f"/api/v3/klines?symbol=BTCUSDT&interval={interval}&limit=1000"
    answer = stage.exchange.rest(VenueRequest("GET", target, {}, b""), stage.now_ms)
    return list(codec.read_klines(answer.body, "BTCUSDT", interval))


def prices(stage: Stage, *texts: str) -> None:
    for text in texts:
        stage.price("BTCUSDT", Decimal(text))
        stage.wait(1_000)


@pytest.mark.spec("DATA-1", "DATA-2", "DATA-4")
@pytest.mark.parametrize("slow", [[], SLOW_PAGES], ids=["", "slow"])
@pytest.mark.parametrize("weather", WEATHERS)
@pytest.mark.parametrize(
    ("cut_before_ms", "print_after_ms"), [(500, 100), (1_500, 100), (1_500, 8_000), (3_500, 8_000)]
)
def test_candles_around_a_lost_link_are_the_venues_and_none_is_left_out(
    cut_before_ms: int, print_after_ms: int, weather: str, slow: list[tuple[str, str, Fate]]
) -> None:
    """The link is back a second after it was cut, and candles are read at once."""
    stage, listener = staged(weather)
    stage.start()
    stage.wait(20_000)
    prices(stage, "60000", "60100")
    before_the_close(stage, 10_000)
    prices(stage, "60200")
    before_the_close(stage, cut_before_ms)
    stage.planned.requests += slow
    stage.driver.cut("market", "cut")
    before_the_close(stage, 100)
    stage.price("BTCUSDT", Decimal(60_500))  # the candle that is closing goes on
    stage.wait(100 + print_after_ms)
    prices(stage, "60600")
    stage.wait(20_000)
    for price in ("60700", "60800"):
        before_the_close(stage, 0)
        prices(stage, price)
    assert listener.heard["15m"] == venue_candles(stage, "15m")[:-1]
    assert len(listener.heard["15m"]) == 3


@pytest.mark.spec("DATA-1", "SIG-5")
@pytest.mark.parametrize("slow", [[], SLOW_PAGES], ids=["", "slow"])
@pytest.mark.parametrize(("weather", "start_before_ms"), [("fine", 1_000), ("behind", 9_500), ("ahead", 2_500)])
def test_context_that_is_read_as_its_candle_closes_is_closed(
    weather: str, start_before_ms: int, slow: list[tuple[str, str, Fate]]
) -> None:
    stage, listener = staged(weather, filters__trend="block")
    four_hours_ms = INTERVAL_MS["4h"]
    stage.now_ms = stage.now_ms // four_hours_ms * four_hours_ms
    for number in range(2 * 16):
        stage.exchange.tick("BTCUSDT", Decimal(60_000 + number), Decimal(1), Decimal(100), stage.now_ms)
        stage.now_ms += QUARTER_HOUR_MS
    stage.now_ms -= start_before_ms
    stage.planned.requests += slow * 2
    stage.driver = stage._new_driver()
    stage.start()
    stage.wait(start_before_ms - 100)
    prices(stage, "61000")
    stage.wait(20_000)
    assert listener.heard["4h"] == venue_candles(stage, "4h")[:1]


@pytest.mark.spec("DATA-2")
def test_all_before_a_candle_that_closed_have_closed() -> None:
    """Also where our clock has been set back since it was compared with the venue's."""
    feed = CandleFeed("BTCUSDT", MINUTE_MS, 3)
    feed.start_reading(100 * MINUTE_MS)
    before, after = minute(99), minute(100)
    feed.take_closed(after, 101 * MINUTE_MS)
    events = feed.take_page([before], 90 * MINUTE_MS, 101 * MINUTE_MS)
    assert events == [HistoryLoaded(101 * MINUTE_MS, (before,)), CandleClosed(101 * MINUTE_MS, after)]


def minute(number: int) -> Candle:
    one = Decimal(1)
    return Candle("BTCUSDT", "1m", number * MINUTE_MS, (number + 1) * MINUTE_MS - 1, one, one, one, one, one)
