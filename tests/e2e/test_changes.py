"""Symbols, intervals and numbers change while real processes trade over real sockets; a restart knows of it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from surefoot.control import read_candles, socket_path
from surefoot.core.messages import RecordDecision, SettingsChanged
from surefoot.core.view import View
from tests.core.desk import facts
from tests.e2e.processes import BUSY, Trader, environment, eventually, exchange, trader

SPEED = "120"  # two candles of a minute in a second
MARKET = ("--seed", "7", "--speed", SPEED, "--symbols", "BTCUSDT,ETHUSDT,SOLUSDT", "--history-days", "2")


def surefoot(bot: Trader, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "surefoot", *words, "--journal", str(bot.journal)]
    return subprocess.run(command, capture_output=True, text=True, env=environment(), timeout=60)


def change(bot: Trader, *words: str) -> None:
    done = surefoot(bot, "config", *words, "--reason", "a test")
    assert done.returncode == 0, done.stdout + done.stderr


def prices(view: View) -> Sequence[str]:
    return [price.symbol for price in view.prices if price.price is not None]


def decided_after(bot: Trader, symbol: str, interval_ms: int) -> bool:
    """Whether a candle of that length was decided on, since settings changed last."""
    record = bot.record()
    since = max(at for at, message in enumerate(record) if isinstance(message, SettingsChanged))
    closes = [
        message.signal.at_ms + 1
        for message in record[since:]
        if isinstance(message, RecordDecision)
        and message.signal.symbol == symbol
        and message.signal.rule.partition(":")[0] != "not ready"
    ]
    return len(closes) >= 2 and not any(close_ms % interval_ms for close_ms in closes[1:])


@pytest.mark.spec("MODE-5", "CFG-4", "OPS-1")
def test_symbols_and_intervals_come_and_go_while_it_trades_and_a_restart_knows(tmp_path: Path) -> None:
    changes = BUSY | {"market.symbols": "BTCUSDT,ETHUSDT"}
    with exchange(*MARKET) as venue, trader(venue, tmp_path / "journal.sqlite", changes) as bot:
        bot.start()
        bot.wait_for_agreement()
        refused = surefoot(bot, "config", "set", "market.symbols", "BTCUSDT,DOGEUSDT", "--reason", "a test")
        assert (refused.returncode, "-1121" in refused.stdout) == (1, True), refused.stdout

        change(bot, "set", "market.symbols", "BTCUSDT,SOLUSDT")
        bot.wait_until("one came and one went", lambda view: prices(view) == ["BTCUSDT", "SOLUSDT"])
        eventually("the new one is decided on", lambda: decided_after(bot, "SOLUSDT", 60_000))
        held = asyncio.run(read_candles(socket_path(bot.journal), "SOLUSDT", "1m", 200)).candles
        assert len(held) == 200

        change(bot, "set", "market.interval", "3m")
        eventually("candles are longer", lambda: decided_after(bot, "SOLUSDT", 180_000))
        change(bot, "set", "risk.positions_max", "1")
        bot.wait_for_agreement()
        bot.kill()
        lived = bot.folded()
        assert lived.settings.symbols == ("BTCUSDT", "SOLUSDT")
        assert lived.settings.risk.positions_max == 1
        assert facts(bot.folded()) == facts(lived)

        bot.start()
        bot.wait_for_agreement()
        bot.wait_until("it goes on with them", lambda view: prices(view) == ["BTCUSDT", "SOLUSDT"])
        shown = json.loads(surefoot(bot, "config", "show", "--json").stdout)
        assert shown["market.interval"]["value"] == "3m"
        assert shown["market.symbols"]["source"].startswith("changed at run time by ")
        change(bot, "unset", "market.symbols")
        bot.wait_until(
            "it was taken back", lambda view: [one.symbol for one in view.prices] == list(bot.settings.market.symbols)
        )
        bot.stop()
