"""The fire drill: every tier acts on the simulated exchange, and a breaker that does not act is found out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from surefoot.config import Settings, load
from surefoot.core.breaker import Breaker
from surefoot.core.engine import Engine
from surefoot.core.messages import RecordTrip
from surefoot.core.model import Tier
from surefoot.research.data import DataError
from surefoot.research.drill import Book, Scene, book_of, drill

RULES = ("day_loss", "rolling_loss", "week_loss", "drawdown")
BOOK = {"BTCUSDT": Decimal("61500"), "ETHUSDT": Decimal("2830.5")}


def settings_of(**changes: str) -> Settings:
    dotted = {name.replace("__", "."): value for name, value in changes.items()}
    return load(None, {"market.symbols": "BTCUSDT,ETHUSDT"} | dotted, {}).settings


def only(rule: str, **changes: str) -> Settings:
    """Settings whose other rules no drill reaches."""
    return settings_of(**{f"breaker__{other}_max_pct": "90" for other in RULES if other != rule} | changes)


def book(settings: Settings) -> Book:
    return book_of(settings, Decimal(25_000), BOOK, ("ETHUSDT",), "a test's")


def drilled(settings: Settings) -> Scene:
    (scene,) = (scene for scene in drill(settings, book(settings)) if scene.skipped is None)
    return scene


def failed(scene: Scene) -> list[str]:
    return [check.what for check in scene.checks if not check.passed]


@pytest.mark.spec("BRK-6", "BRK-1")
@pytest.mark.parametrize("market", ["spot", "futures"])
def test_every_rule_trips_within_a_step_of_its_limit(market: str) -> None:
    settings = settings_of(market__venue=market)
    scenes = list(drill(settings, book(settings)))
    assert [f"{scene.rule} {scene.limit_pct}" for scene in scenes] == [
        "day loss 5", "rolling loss 5", "week loss 7", "drawdown 15",
    ]  # fmt: skip
    for scene in scenes:
        assert failed(scene) == []
        assert scene.loss_pct is not None
        assert scene.limit_pct <= scene.loss_pct < scene.limit_pct + Decimal("0.2")
        assert scene.equity_before is not None
        assert scene.equity_after is not None
        assert scene.equity_after < scene.equity_before < 25_000
        assert scene.held == ("ETHUSDT",)


@pytest.mark.spec("BRK-6", "BRK-3", "SAFE-3")
@pytest.mark.parametrize("market", ["spot", "futures"])
@pytest.mark.parametrize(
    ("tier", "what"),
    [
        ("warn", "a warning holds no entry back"),
        ("no_entries", "what is held kept its stop"),
        ("shrink", "half was sold, the rest has its stop"),
        ("flatten", "everything was sold"),
    ],
)
def test_every_tier_does_what_it_says(tier: str, what: str, market: str) -> None:
    scene = drilled(only("day_loss", breaker__day_loss_tier=tier, market__venue=market))
    assert failed(scene) == []
    assert scene.tier == tier
    assert what in [check.what for check in scene.checks]


@pytest.mark.spec("BRK-6")
@pytest.mark.parametrize(
    "changes",
    [
        {"market__interval": "4h", "market__confirm_interval": "1d"},
        {"market__interval": "1m", "market__confirm_interval": "15m", "exits__preset": "conservative"},
        {"exits__stop_pct_of_price": "0.5", "breaker__day_loss_max_pct": "20"},
        {"risk__capital_max_quote": "1000", "breaker__preset": "aggressive", "breaker__day_loss_tier": "shrink"},
        {"market__symbols": "BTCUSDT", "breaker__day_loss_tier": "flatten"},
        {"market__venue": "futures", "futures__margin_type": "ISOLATED", "futures__leverage": "10"},
    ],
    ids=["long candles", "short candles", "a near stop", "little capital", "one symbol", "isolated futures"],
)
def test_a_drill_fits_the_settings_it_is_given(changes: dict[str, str]) -> None:
    assert failed(drilled(only("day_loss", **changes))) == []


def _never(self: Breaker, equity: Decimal, now_ms: int) -> Iterator[Any]:
    return iter(())


def _says_nothing(self: Breaker) -> None:
    return None


@pytest.mark.spec("BRK-6")
def test_a_breaker_that_does_not_act_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(Breaker, "judge", _never)
        for market in ("spot", "futures"):
            assert "the rule tripped between two candles" in failed(drilled(only("day_loss", market__venue=market)))
    with monkeypatch.context() as broken:
        broken.setattr(Breaker, "off_text", _says_nothing)
        assert failed(drilled(only("day_loss"))) == [
            "a following signal was refused by the breaker",
            "after the restart a signal was refused again",
        ]
    fold = Engine.fold
    with monkeypatch.context() as broken:
        broken.setattr(Engine, "fold", lambda self, each: None if isinstance(each, RecordTrip) else fold(self, each))
        assert failed(drilled(only("day_loss"))) == ["a restart keeps the trip"]
    with monkeypatch.context() as broken:
        harmless = Breaker.trip

        def mild(self: Breaker, rule: str, tier: Tier, *rest: Any) -> RecordTrip:
            return replace(harmless(self, rule, tier, *rest), tier=Tier.NO_ENTRIES)

        broken.setattr(Breaker, "trip", mild)
        assert failed(drilled(only("day_loss", breaker__day_loss_tier="flatten"))) == ["everything was sold"]


def test_a_book_is_filled_up_from_settings_and_the_generated_market_and_needs_a_price() -> None:
    settings = settings_of()
    made = book_of(settings, None, {}, ("XRPUSDT",), "made up")
    assert made.equity == settings.paper.balance_usdt
    assert list(made.prices) == ["BTCUSDT", "ETHUSDT"]
    assert made.held == ("BTCUSDT",)
    with pytest.raises(DataError, match="no price of XYZUSDT"):
        book_of(settings_of(market__symbols="XYZUSDT"), None, {}, (), "made up")
