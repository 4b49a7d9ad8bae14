"""When a trader counts as not working: a table of pictures and times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pytest

from surefoot.core.view import PriceView, View
from surefoot.plight import Bounds, Judge, Kind, at_stake
from tests.views import NOON_MS, empty_view, order, position

SECOND = 1_000
BOUNDS = Bounds(silent_ms=30 * SECOND, idle_ms=90 * SECOND, bare_ms=30 * SECOND)
BOTH = ("account", "market")


def picture(at_s: int, *, price_s: int | None = None, links: Sequence[str] = BOTH, run: str = "a1") -> View:
    """At so many seconds, with a price of then or of an earlier second."""
    price = PriceView("BTCUSDT", None, NOON_MS + (at_s if price_s is None else price_s) * SECOND)
    view = replace(empty_view(), at_ms=NOON_MS + at_s * SECOND, prices=(price,), links=tuple(links), run=run)
    return replace(view, positions=(position(),))


def kinds(judge: Judge, at_s: int) -> list[Kind]:
    return [trouble.kind for trouble in judge.troubles(at_s * SECOND)]


def seen(*pictures: tuple[int, View]) -> Judge:
    """What was seen at so many seconds of the watch, which began at 0."""
    judge = Judge(BOUNDS, 0)
    for at_s, view in pictures:
        judge.see(view, at_s * SECOND)
    return judge


@pytest.mark.spec("OPS-2")
def test_a_trader_that_is_never_seen_is_silent_and_nothing_is_known_to_be_at_stake() -> None:
    judge = Judge(BOUNDS, 0)
    assert kinds(judge, 30) == []
    assert kinds(judge, 31) == [Kind.SILENT]
    assert not judge.has_seen()
    assert judge.stake == ""


@pytest.mark.spec("OPS-2")
def test_pictures_of_a_trader_that_works_are_no_trouble_for_however_long() -> None:
    judge = seen(*((second, picture(second)) for second in range(0, 1_000, 25)))
    assert kinds(judge, 1_000) == []


@pytest.mark.spec("OPS-2")
@pytest.mark.parametrize(
    ("what", "late", "kind"),
    [
        ("its time stands still", picture(0, price_s=0), Kind.STILL),
        ("its prices are old", picture(100, price_s=0), Kind.PRICES),
        ("there never was a price", replace(picture(100), prices=()), Kind.PRICES),
        ("no link to the account", picture(100, links=("market",)), Kind.LINK),
        ("no link at all", picture(100, links=()), Kind.LINK),
    ],
)
def test_pictures_without_work_are_a_trouble_past_their_bound(what: str, late: View, kind: Kind) -> None:
    judge = seen((0, picture(0)))
    for second in range(20, 90, 20):
        judge.see(replace(late, at_ms=late.at_ms if kind is Kind.STILL else NOON_MS + second * SECOND), second * SECOND)
    assert kinds(judge, 90) == []
    judge.see(late, 91 * SECOND)
    assert kind in kinds(judge, 91), what
    judge.see(picture(200), 92 * SECOND)
    assert kinds(judge, 92) == []


@pytest.mark.spec("OPS-2", "SAFE-2")
def test_a_position_without_a_stop_is_a_trouble_beyond_the_traders_own_bound() -> None:
    def bare(ms: int) -> View:
        return replace(picture(1), positions=(position("ETHUSDT", unprotected_ms=ms),))

    assert kinds(seen((1, bare(30_000))), 2) == []
    (trouble,) = seen((1, bare(30_001))).troubles(2 * SECOND)
    assert (trouble.kind, trouble.text) == (Kind.BARE, "ETHUSDT: 0.02979 without a resting stop for 30 s")


@pytest.mark.spec("OPS-2")
def test_silence_comes_before_all_else_and_ends_with_a_picture_that_has_its_time_to_work() -> None:
    judge = seen((0, picture(0)))
    assert kinds(judge, 200) == [Kind.SILENT]
    judge.see(picture(1), 200 * SECOND)  # it hung: its time and its prices are those of then
    assert kinds(judge, 201) == []
    assert kinds(judge, 229) == []


@pytest.mark.spec("OPS-2")
def test_a_restarted_trader_has_its_time_to_find_links_and_prices() -> None:
    judge = seen((0, picture(0)))
    for second in range(20, 100, 20):
        judge.see(picture(second, price_s=0, links=()), second * SECOND)
    judge.see(picture(100, price_s=0, links=(), run="a2"), 100 * SECOND)
    for second in range(120, 190, 20):
        judge.see(picture(second, price_s=0, links=(), run="a2"), second * SECOND)
    assert kinds(judge, 190) == []
    judge.see(picture(191, price_s=0, links=(), run="a2"), 191 * SECOND)
    assert kinds(judge, 191) == [Kind.LINK, Kind.PRICES]


@pytest.mark.spec("OPS-2")
def test_who_was_itself_held_up_does_not_blame_the_trader() -> None:
    judge = seen((0, picture(0)))
    judge.excuse(1_000 * SECOND)
    assert kinds(judge, 1_030) == []
    assert kinds(judge, 1_031) == [Kind.SILENT]


@pytest.mark.spec("OPS-2")
def test_what_is_at_stake_is_what_is_held_and_what_is_on_its_way() -> None:
    assert at_stake(empty_view()) == ""
    assert at_stake(replace(empty_view(), orders=(order(1, "entry"),))) == "1 orders"
    both = replace(empty_view(), positions=(position(),), orders=(order(1, "stop"), order(2, "target")))
    assert at_stake(both) == "0.02979 BTCUSDT, 2 orders"


@pytest.mark.spec("OPS-2")
def test_the_journal_of_a_silent_trader_counts_more_than_its_last_picture_until_there_is_a_new_one() -> None:
    judge = seen((0, picture(0)))
    assert judge.stake == "0.02979 BTCUSDT"
    judge.learn("")
    assert judge.stake == ""
    judge.see(picture(1), SECOND)
    assert judge.stake == "0.02979 BTCUSDT"
