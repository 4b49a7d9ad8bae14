"""How long the trader takes from the start of its process to its first decision, and after a death to books that agree:
PERF-6.

The simulated exchange is a process of its own and up already. The program's files have been read by a start before, so
that the system has them in memory; a trader that is measured finds nothing else of its own.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench.figures import Figure
from surefoot import __version__
from surefoot.core.messages import CandleClosed, RecordDecision, RunStarted
from surefoot.store.journal import Journal
from tests.e2e.processes import BUSY, SYMBOLS, Trader, exchange, trader

GROUP = "live"
SPEED = "240"  # a candle of a minute closes every quarter of a second, so that a decision waits for none
SLOWER = "60"  # a receive window of the market's time is a second of ours
STARTS = 5
RECORDS = 100_000
LOOK_EVERY_S = 0.01
PATIENCE_S = 60.0


def starts() -> list[Figure]:
    """First decision on a new journal, and agreement of the books after a death on a long one."""
    first, again, market = [], [], ("--symbols", ",".join(SYMBOLS), "--speed")
    with tempfile.TemporaryDirectory() as folder:
        with exchange(*market, SPEED) as venue:
            for number in range(STARTS + 1):
                with trader(venue, Path(folder) / f"{number}.sqlite", BUSY) as bot:
                    first.append(_started(bot, lambda bot=bot: _has_decided(bot)))
        with exchange(*market, SLOWER) as venue, trader(venue, Path(folder) / "long.sqlite", BUSY) as bot:
            _started(bot, lambda: _has_decided(bot))
            bot.stop()
            _lengthen(bot)
            for _ in range(STARTS):
                again.append(_started(bot, lambda: _agrees(bot)))
                bot.kill()
    return [
        _figure(f"start to first decision, {len(SYMBOLS)} symbols", first[1:], "a new journal; history from the venue"),
        _figure("start after kill -9 to books that agree", again, f"a journal of {RECORDS:,} records"),
    ]


def _figure(what: str, seconds: list[float], remark: str) -> Figure:
    middle = sorted(seconds)[len(seconds) // 2]
    return Figure(GROUP, what, f"{middle:.2f} s", seconds=seconds, remark=f"{len(seconds)} starts; {remark}")


def _started(bot: Trader, done: Callable[[], bool]) -> float:
    """Seconds from the start of the process until it is done."""
    began_s = time.perf_counter()
    bot.start()
    while not done():
        if time.perf_counter() - began_s > PATIENCE_S:
            raise RuntimeError("the trader does not get there")
        time.sleep(LOOK_EVERY_S)
    return time.perf_counter() - began_s


def _has_decided(bot: Trader) -> bool:
    view = bot.view()
    return view is not None and bool(view.decisions)


def _agrees(bot: Trader) -> bool:
    view = bot.view()
    return view is not None and view.books == "agree" and len(view.links) == 2


def _lengthen(bot: Trader) -> None:
    """Its own candles and decisions, which move no money, again and again until there are as many records as wanted."""
    idle = [message for message in bot.record() if isinstance(message, CandleClosed | RecordDecision)]
    with Journal.open(bot.journal) as journal:
        journal.append(RunStarted(idle[-1].at_ms, "longer", "paper", SYMBOLS, "", __version__))
        for message in itertools.islice(itertools.cycle(idle), RECORDS - journal.last_seq):
            journal.append(message)
