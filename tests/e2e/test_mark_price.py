"""Mark prices over real sockets: a trader in real time hears them of everything that it trades on futures."""

from __future__ import annotations

from pathlib import Path

import pytest

from surefoot.core.view import View
from tests.e2e.processes import exchange, trader


@pytest.mark.spec("EXIT-1", "NET-4", "DATA-3")
@pytest.mark.timeout(120)
def test_mark_prices_are_heard_over_real_sockets(tmp_path: Path) -> None:
    market = ("--market", "futures", "--speed", "1", "--history-days", "1", "--symbols", "BTCUSDT,ETHUSDT")
    settings = {"market.venue": "futures", "market.interval": "1m", "market.confirm_interval": "5m"}
    wanted = {"btcusdt@markPrice@1s", "ethusdt@markPrice@1s"}
    with exchange(*market) as venue, trader(venue, tmp_path / "journal.sqlite", settings) as bot:
        bot.start("--by-the-wall-clock")
        begun_ms = bot.wait_for_agreement().at_ms

        def is_heard(view: View) -> bool:
            """Long after they were subscribed, all of them are young: that is not from subscribing."""
            assert view.traffic is not None
            ages_ms = {stream: age_ms for stream, age_ms in view.traffic.streams if stream in wanted}
            return view.at_ms > begun_ms + 5_000 and ages_ms.keys() == wanted and max(ages_ms.values()) < 3_000

        bot.wait_until("mark prices are heard", is_heard)
        bot.stop()
