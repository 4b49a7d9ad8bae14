"""What the guardian makes of what it sees: whom it tells, when it acts, and how it holds the venue's countdown up."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from surefoot import guardian
from surefoot.alerts import Level
from surefoot.assembly import dialect_of
from surefoot.binance.codec import VenueError
from surefoot.binance.dialect import Ask
from surefoot.binance.dialogue import Keys
from surefoot.config import Settings, Venue, load
from surefoot.control import ControlError
from surefoot.core.messages import SettingsChanged
from surefoot.core.view import PriceView, View
from surefoot.guardian import Guardian
from surefoot.notify import all_alerts
from surefoot.plight import Kind
from surefoot.store.journal import Journal
from surefoot.venuedesk import Fate, Reply, VenueDesk
from tests.store.samples import OPEN_MS, started
from tests.views import NOON_MS, empty_view, position

SECOND = 1_000
NOWHERE = Venue("http://127.0.0.1:9", "ws://127.0.0.1:9", "ws://127.0.0.1:9")


class QuietDesk(VenueDesk):
    """Keeps what it is asked, and reaches nobody."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(NOWHERE, Keys("k", "s"), dialect_of(settings), 5_000)
        self.asked: list[dict[str, str]] = []
        self.refuses = False
        self.gone: set[str] = set()

    async def ask(self, ask: Ask) -> Reply:
        self.asked.append(dict(ask.params))
        if self.refuses or self.asked[-1]["symbol"] in self.gone:
            return Reply(Fate.REFUSED, 0, error=VenueError(-1002, "no"), text="-1002 no")
        return Reply(Fate.DONE, 0)


class Watch:
    """A guardian that is told what it sees and what time it is (seconds of its watch)."""

    def __init__(self, folder: Path, flags: Mapping[str, str], *, has_key: bool = True) -> None:
        self.journal = folder / "j.sqlite"
        self.settings = load(None, flags, {}).settings
        self.desk = QuietDesk(self.settings) if has_key else None
        self.said: list[dict[str, str]] = []
        self.now_s = 0
        self.it = Guardian(self.settings, self.journal, [], self.desk, lambda line: self.said.append(json.loads(line)))

    def see(self, *, price_s: int | None = None, held: bool = True) -> None:
        at_ms = NOON_MS + (self.now_s if price_s is None else price_s) * SECOND
        view = replace(empty_view(), at_ms=NOON_MS + self.now_s * SECOND, links=("account", "market"))
        view = replace(view, prices=(PriceView("BTCUSDT", None, at_ms),), positions=(position(),) if held else ())
        self.it._judge.see(view, self.now_s * SECOND)
        self.it._folded = False

    async def go_on(self, to_s: int, *, seen: bool) -> None:
        """Second by second, the countdown too."""
        while self.now_s < to_s:
            self.now_s += 1
            if seen:
                self.see()
            elif self.it._judge.is_silent(self.now_s * SECOND) and not self.it._folded:
                await self.it._learn_from_journal()
            self.it._decide(self.now_s * SECOND)
            if self.settings.guard.countdown_s:
                await self.it._tend_countdown(self.now_s * SECOND)

    @property
    def titles(self) -> list[str]:
        return [said["title"] for said in self.said if said["event"] == "told"]


@pytest.fixture
def watch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Watch:
    monkeypatch.setattr(guardian, "_now_ms", lambda: 0)
    return Watch(tmp_path, {"guard.act": "flatten"})


def answers_from(watch: Watch, at_s: int) -> None:
    """The venue has answered the guardian since then."""
    assert watch.it._emergency is not None
    watch.it._emergency.answering_ms = at_s * SECOND


@pytest.fixture(autouse=True)
def _acts_on_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    async def act(it: Guardian, desk: VenueDesk, emergency: object) -> None:
        it._tell(Level.CRITICAL, "acts", "in this test")

    monkeypatch.setattr(Guardian, "_act", act)


async def settled(watch: Watch) -> list[str]:
    """What was said once what was begun is done."""
    assert watch.it._emergency is not None
    if watch.it._emergency.acting is not None:
        await watch.it._emergency.acting
    return watch.titles


@pytest.mark.spec("OPS-2")
async def test_it_tells_past_the_bound_acts_once_after_the_next_and_is_ready_for_another_emergency(
    watch: Watch,
) -> None:
    await watch.go_on(100, seen=True)
    await watch.go_on(130, seen=False)
    assert watch.titles == []
    await watch.go_on(131, seen=False)
    assert watch.titles == ["The trader does not answer"]
    answers_from(watch, 131)
    await watch.go_on(131 + 119, seen=False)
    assert await settled(watch) == ["The trader does not answer"]
    await watch.go_on(131 + 1_000, seen=False)
    assert await settled(watch) == ["The trader does not answer", "acts"]
    await watch.go_on(1_200, seen=True)
    assert watch.titles[2:] == ["The trader works again"]
    await watch.go_on(1_240, seen=False)
    answers_from(watch, 1_231)
    await watch.go_on(1_400, seen=False)
    assert (await settled(watch))[3:] == ["The trader does not answer", "acts"]
    kept = [alert["title"] for alert in reversed(all_alerts(watch.journal))]
    assert kept[:3] == ["The trader does not answer", "acts", "The trader works again"]


@pytest.mark.spec("OPS-2")
async def test_while_the_venue_is_down_for_all_it_does_not_act_and_the_trader_has_a_minute_to_find_it_again(
    watch: Watch,
) -> None:
    watch.see()
    for watch.now_s in range(20, 400, 20):  # it lives, and has heard no price since
        watch.see(price_s=0)
        watch.it._decide(watch.now_s * SECOND)
    assert watch.titles == ["The trader hears no prices"]
    assert watch.it._emergency is not None
    assert watch.it._emergency.acting is None
    answers_from(watch, 380)
    acted_s = None
    for watch.now_s in range(381, 460):
        watch.see(price_s=0)
        watch.it._decide(watch.now_s * SECOND)
        if acted_s is None and "acts" in await settled(watch):
            acted_s = watch.now_s
    assert acted_s == 380 + 58


@pytest.mark.spec("OPS-2")
@pytest.mark.parametrize(("act", "has_key"), [("tell", True), ("flatten", False)])
async def test_without_being_asked_to_or_without_a_key_it_tells_and_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, act: str, has_key: bool
) -> None:
    monkeypatch.setattr(guardian, "_now_ms", lambda: 0)
    watch = Watch(tmp_path, {"guard.act": act}, has_key=has_key)
    watch.see()
    await watch.go_on(40, seen=False)
    answers_from(watch, 31)
    await watch.go_on(1_000, seen=False)
    assert await settled(watch) == ["The trader does not answer"]
    assert watch.said[0]["text"].endswith("nobody acts but you")


@pytest.mark.spec("OPS-2")
async def test_a_journal_that_cannot_be_read_is_told_and_the_last_picture_counts(watch: Watch) -> None:
    watch.journal.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    watch.see()
    await watch.go_on(40, seen=False)
    assert watch.titles == ["The guardian cannot read the journal", "The trader does not answer"]


@pytest.mark.spec("OPS-2")
async def test_pictures_of_another_version_are_a_sign_of_life_and_are_told_once(
    watch: Watch, monkeypatch: pytest.MonkeyPatch
) -> None:
    def of_another_version(path: Path, timeout_s: float) -> View | None:
        raise ControlError("it is of another version")

    monkeypatch.setattr(guardian, "read_view", of_another_version)
    for second in range(1, 200):
        monkeypatch.setattr(guardian, "LOOK_EVERY_S", 1.0)
        await watch.it._look()
        watch.it._decide(second * SECOND)
    assert watch.titles == ["The guardian cannot read the trader's pictures"]


FUTURES = {"market.venue": "futures", "market.symbols": "BTCUSDT,ETHUSDT", "guard.countdown_s": "30"}


@pytest.mark.spec("OPS-2")
async def test_the_countdown_is_renewed_at_a_third_of_its_time_while_the_trader_works_and_not_after(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guardian, "_now_ms", lambda: 0)
    watch = Watch(tmp_path, FUTURES)
    assert watch.desk is not None
    await watch.go_on(31, seen=True)
    both = [{"symbol": symbol, "countdownTime": "30000"} for symbol in ("BTCUSDT", "ETHUSDT")]
    assert watch.desk.asked == both * 4  # after 1, 11, 21 and 31 seconds
    await watch.go_on(61, seen=False)  # until it counts as silent
    asked = len(watch.desk.asked)
    await watch.go_on(200, seen=False)
    assert len(watch.desk.asked) == asked
    await watch.it._disarm()
    assert watch.desk.asked[asked:] == [{**each, "countdownTime": "0"} for each in both]


@pytest.mark.spec("OPS-2", "CFG-4")
async def test_what_is_changed_while_the_trader_runs_counts_for_the_guardian(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guardian, "_now_ms", lambda: 0)
    watch = Watch(tmp_path, FUTURES)
    assert watch.desk is not None
    await watch.it._learn_changes()  # there is no journal yet
    changes = {"market.symbols": "ETHUSDT,SOLUSDT", "orders.unprotected_max_s": "60", "orders.partial_fill_wait_s": "5"}
    with Journal.open(watch.journal) as journal:
        journal.append(started(), SettingsChanged(OPEN_MS, "ada", "wider", changes))
    await watch.it._learn_changes()
    bare = position(unprotected_ms=80_000)
    watch.it._judge.see(replace(empty_view(), links=("account", "market"), positions=(bare,)), 0)
    assert watch.it._judge.troubles(0) == ()
    bare = position(unprotected_ms=80_001)
    watch.it._judge.see(replace(empty_view(), links=("account", "market"), positions=(bare,)), 0)
    assert [trouble.kind for trouble in watch.it._judge.troubles(0)] == [Kind.BARE]
    watch.see(held=False)
    await watch.it._tend_countdown(0)
    assert [asked["symbol"] for asked in watch.desk.asked] == ["ETHUSDT", "SOLUSDT"]
    with Journal.open(watch.journal) as journal:
        journal.append(started("run2"), SettingsChanged(OPEN_MS, "ada", "back", dict.fromkeys(changes)))
    await watch.it._learn_changes()
    assert watch.it._settings == watch.settings


@pytest.mark.spec("OPS-2")
async def test_a_countdown_that_the_venue_refuses_is_told_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guardian, "_now_ms", lambda: 0)
    watch = Watch(tmp_path, FUTURES)
    assert watch.desk is not None
    watch.desk.refuses = True
    await watch.go_on(100, seen=True)
    assert watch.titles == ["The venue's countdown could not be set"]


@pytest.mark.spec("OPS-2", "SAFE-3")
async def test_a_symbol_that_is_gone_keeps_no_warning_about_another_ones_countdown_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guardian, "_now_ms", lambda: 0)
    watch = Watch(tmp_path, FUTURES)
    assert watch.desk is not None
    watch.desk.gone = {"ETHUSDT"}
    await watch.go_on(31, seen=True)
    watch.desk.gone = {"ETHUSDT", "BTCUSDT"}
    await watch.go_on(61, seen=True)
    told = [said["text"] for said in watch.said if said["event"] == "told"]
    assert told == ["ETHUSDT: -1002 no", "BTCUSDT: -1002 no; ETHUSDT: -1002 no"]
    watch.desk.gone = {"ETHUSDT"}
    await watch.go_on(91, seen=True)
    watch.desk.gone = {"ETHUSDT", "BTCUSDT"}
    await watch.go_on(121, seen=True)
    assert len(watch.titles) == 3


@pytest.mark.spec("OPS-2", "CFG-4")
async def test_the_countdown_of_a_symbol_that_was_taken_out_goes_on_while_something_of_it_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guardian, "_now_ms", lambda: 0)
    watch = Watch(tmp_path, FUTURES)
    assert watch.desk is not None
    with Journal.open(watch.journal) as journal:
        journal.append(started(), SettingsChanged(OPEN_MS, "ada", "less", {"market.symbols": "ETHUSDT"}))
    await watch.it._learn_changes()
    await watch.go_on(1, seen=True)  # of BTCUSDT something is held
    assert [asked["symbol"] for asked in watch.desk.asked] == ["BTCUSDT", "ETHUSDT"]
    watch.see(held=False)
    await watch.it._tend_countdown(11 * SECOND)
    assert [asked["symbol"] for asked in watch.desk.asked[2:]] == ["BTCUSDT", "ETHUSDT"]
    assert watch.desk.asked[2]["countdownTime"] == "0"  # what was armed is taken back
    await watch.it._tend_countdown(21 * SECOND)
    assert [asked["symbol"] for asked in watch.desk.asked[4:]] == ["ETHUSDT"]
