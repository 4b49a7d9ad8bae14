"""A run in mode live, whose addresses are those of the simulated exchange: it buys nothing before a person says so."""

from __future__ import annotations

import getpass
from pathlib import Path

import pytest

from surefoot.core.messages import LinkLost, LinkRestored, LiveSwitched
from tests.e2e.processes import BUSY, Trader, check_orders, eventually, exchange, trader
from tests.e2e.test_crash import entries_of, is_held, outcomes, surefoot, told
from tests.e2e.test_kill import SEED, market_of

LIVE = BUSY | {"mode": "live", "live_confirmed": "true", "strategy.score_min_live": "0.5"}
NOT_ON = "real money is not switched on yet"
SPEED, MINUTES = 600, 900


def refusal_after(bot: Trader, lines: int) -> str:
    """Why real money bought nothing, by the first such refusal that the record shows after so many lines."""

    def look() -> str | None:
        refused = outcomes(bot.record()[lines:], "entries-off")
        return next((each.detail for each in refused if "real money" in each.detail), None)

    return eventually("an entry is refused", look)


@pytest.mark.spec("SAFE-6", "SAFE-3", "OPS-1")
@pytest.mark.timeout(240)
def test_nothing_is_bought_with_real_money_before_it_is_switched_on_and_nothing_after_it_is_off(tmp_path: Path) -> None:
    options = market_of(tmp_path, SEED, MINUTES, str(SPEED))
    with exchange(*options) as venue, trader(venue, tmp_path / "journal.sqlite", LIVE) as bot:
        for _ in range(2):  # a restart does not switch it on
            bot.start()
            view = bot.wait_for_agreement()
            assert (view.live_off, view.entries_off) == (NOT_ON, NOT_ON)
            lines = len(bot.record())
            assert refusal_after(bot, lines) == NOT_ON
            bot.kill()
        assert venue.orders() == []

        bot.start()
        bot.wait_for_agreement()
        assert surefoot(bot, "live", "on", "--reason", "books agree").returncode == 2
        done = surefoot(bot, "live", "on", "--reason", "books agree", "--yes")
        assert (done.returncode, done.stdout) == (0, f"live-on taken from {getpass.getuser()}\n"), done.stderr
        bot.wait_until("something is held, with its stop", lambda v: any(p.stop_price for p in v.positions))
        bot.kill()
        bot.start()  # nor off
        assert bot.wait_for_agreement().live_off is None
        bot.wait_until("something is held after the restart", is_held)

        done = surefoot(bot, "live", "off", "--reason", "away for a week")
        assert done.returncode == 0, done.stderr
        lines = len(bot.record())
        off = f"real money was switched off by {getpass.getuser()}: away for a week"
        assert refusal_after(bot, lines) == off
        bot.wait_until("stops and targets go on", lambda view: not view.positions and not view.orders)
        assert entries_of(bot.record()[lines:]) == []
        assert [(each.on, each.reason) for each in told(bot, LiveSwitched)] == [
            (True, "books agree"),
            (False, "away for a week"),
        ]
        check_orders(bot)
        bot.stop()


@pytest.mark.spec("NET-7", "SAFE-6", "SAFE-3")
@pytest.mark.timeout(240)
def test_nothing_is_bought_before_it_is_known_what_the_key_may_do_and_what_is_held_is_sold_as_ever(
    tmp_path: Path,
) -> None:
    """The venue does not tell it for as long as nobody lets it, at a restart with a position, too."""
    options = market_of(tmp_path, SEED, MINUTES, str(SPEED))
    with exchange(*options) as venue, trader(venue, tmp_path / "journal.sqlite", LIVE) as bot:
        bot.start("--rights-unknown", "1000")
        doubt = "it is not known what the key may do: the venue refuses (None HTTP 503: busy)"
        bot.wait_until("it is up", lambda view: True)
        assert surefoot(bot, "live", "on", "--reason", "books agree", "--yes").returncode == 0
        bot.wait_until("nothing is bought", lambda view: view.books == "agree" and view.entries_off == doubt)
        bot.kill()
        bot.start("--rights-unknown", "1")
        bot.wait_until("it is known", lambda view: view.books == "agree" and view.entries_off is None)
        bot.wait_until("something is held, with its stop", lambda view: any(p.stop_price for p in view.positions))
        bot.kill()
        bot.start("--rights-unknown", "1000")
        bot.wait_until("nothing more is bought", lambda view: view.entries_off == doubt)
        lines = len(bot.record())
        bot.wait_until("stops and targets go on", lambda view: not view.positions and not view.orders)
        assert entries_of(bot.record()[lines:]) == []
        assert [each.link for each in told(bot, LinkLost)].count("key") == 3
        assert [each.link for each in told(bot, LinkRestored)].count("key") == 1
        check_orders(bot)
        bot.stop()


@pytest.mark.spec("NET-7")
@pytest.mark.timeout(120)
def test_run_ends_when_the_venue_tells_at_last_that_a_bot_must_not_hold_the_key(tmp_path: Path) -> None:
    options = market_of(tmp_path, SEED, MINUTES, str(SPEED))
    with exchange(*options) as venue, trader(venue, tmp_path / "journal.sqlite", LIVE) as bot:
        bot.start("--rights-unknown", "1", "--rights-withdraw")
        assert bot.process is not None
        said = bot.process.communicate(timeout=60)[0]
        assert bot.process.returncode == 2, said
        assert "REFUSED: the key may withdraw: a bot's key must not; make one without that right" in said
        assert venue.orders() == []
