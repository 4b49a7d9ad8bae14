"""The fast loop: against other programs on their ground, as a command, and as the whole bot."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

from bench.comparison import Contest, singles, sweeps
from bench.environments import PEERS, ROOT
from bench.figures import Figure
from bench.ground import RULES_IN_WORDS, market_data, month_of_minutes, year_of_hours, year_of_minutes

CORES = os.cpu_count() or 1
COMMAND_ROUNDS = 5
BOT_ROUNDS = 7
BOT_SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT")
# Four strategies on 15m with 1h confirmation; sizing, breaker and the rest as they are by default.
BOT = {
    "mode": "backtest",
    "market.symbols": ",".join(BOT_SYMBOLS),
    "strategy.name": "ensemble",
    "ensemble.members": "rsi,macd,bollinger,stochastic",
    "exits.preset": "balanced",
}


def makers() -> list[Callable[[], list[Figure]]]:
    """What can be measured, each on its own."""
    return [compiled, one_by_one, plain_python, exact_engine, one_core, all_cores, command, whole_bot]


def compiled() -> list[Figure]:
    """Programs with a compiled core, on a year of minutes."""
    contests = [Contest("vectorbt", rounds=9), Contest("raptorbt", rounds=9)]
    return singles(RULES_IN_WORDS, year_of_minutes(), contests)


def one_by_one() -> list[Figure]:
    """Programs that go from event to event, on a month of minutes."""
    contests = [Contest("backtesting", rounds=5), Contest("nautilus_trader", rounds=3), Contest("freqtrade", rounds=3)]
    return singles(RULES_IN_WORDS, month_of_minutes(), contests)


def plain_python() -> list[Figure]:
    """A user's strategy, called at each candle, not compiled."""
    contests = [Contest("raptorbt", rounds=5, work="strategy"), Contest("backtesting", rounds=3, work="strategy")]
    return singles("the same as a strategy in plain Python", month_of_minutes(), contests)


def exact_engine() -> list[Figure]:
    """Engines that live through every message of a venue, ours with a decision at each minute."""
    group = "exact engine on the same rules, signals of 1m"
    return singles(group, month_of_minutes(), [Contest("nautilus_trader", rounds=3, our_work="exact")])


def one_core() -> list[Figure]:
    contests = [
        Contest("raptorbt", rounds=3, work="sweep"),
        Contest("vectorbt", rounds=3, work="sweep"),
        Contest("backtesting", rounds=1, work="sweep", combinations=20),
    ]
    return sweeps("sweep on one core", year_of_hours(), contests)


def all_cores() -> list[Figure]:
    return sweeps(
        f"sweep on {CORES} cores", year_of_hours(), [Contest("raptorbt", rounds=3, work="sweep", threads=CORES)]
    )


# -- ours as a command -------------------------------------------------------------------------------------------------


def command() -> list[Figure]:
    """`surefoot backtest` on a year of minutes from a Parquet file to its answer in words: a process each time."""
    ground = year_of_minutes()
    group = f"the whole command on the same rules · {ground}"
    words = [sys.executable, "-m", "surefoot", "backtest", "--engine", "fast"]
    words += ["--config", str(PEERS / "surefoot.toml"), "--candles", str(ground.parquet)]
    with tempfile.TemporaryDirectory() as empty:
        cold = _process(words, {"NUMBA_CACHE_DIR": empty})
    runs = [_process(words, {}) for _ in range(COMMAND_ROUNDS + 1)][1:]
    if failed := next((run.complaint for run in (cold, *runs) if run.complaint), None):
        return [Figure(group, "surefoot backtest", "not measured", remark=failed)]
    peak_mib = max(run.peak_mib for run in runs)
    seconds = [run.seconds for run in runs]
    remark = "cold start: nothing compiled yet; otherwise the compiled loop is read from the disk"
    figure = f"{min(seconds):.2f} s, {peak_mib:.0f} MiB at most"
    return [Figure(group, "surefoot backtest", figure, seconds, cold.seconds, (), remark, {"peak_mib": peak_mib})]


class _process:
    """A command from start to end: seconds, the most memory it held, and its last line of complaint if it failed."""

    def __init__(self, words: list[str], environment: dict[str, str]) -> None:
        with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as complained:
            began = time.perf_counter()
            child = subprocess.Popen(
                words, stdout=told, stderr=complained, cwd=ROOT, env=os.environ | environment, stdin=subprocess.DEVNULL
            )
            _, status, usage = os.wait4(child.pid, 0)
            self.seconds = time.perf_counter() - began
            child.returncode = os.waitstatus_to_exitcode(status)
            self.peak_mib = usage.ru_maxrss / 1024
            complained.seek(0)
            lines = complained.read().decode(errors="replace").split("\n")
        self.complaint = " ".join(lines)[-300:].strip() if child.returncode else None


# -- the whole bot -----------------------------------------------------------------------------------------------------


def whole_bot() -> list[Figure]:
    """Everything the bot decides and minds, on four symbols of real minutes sharing one account."""
    from surefoot.config import load
    from surefoot.research.fastdata import market_of
    from surefoot.research.fastrun import Prepared
    from surefoot.research.inputs import load_files
    from surefoot.research.tape import tape_of

    files = market_data(*(f"open/klines/um_1m/{symbol}.parquet" for symbol in BOT_SYMBOLS))
    settings = load(None, BOT, {}).settings
    tapes = [tape_of(file) for file in load_files([str(file) for file in files], "refuse")]
    market = market_of(tapes, settings.market.interval)
    began = time.perf_counter()
    Prepared(market).run(settings)
    cold_s = time.perf_counter() - began
    loops, wholes = [], []
    for _ in range(BOT_ROUNDS):
        prepared = Prepared(market)
        began = time.process_time()
        prepared.opinions_for(settings)
        prepared.alike_for(settings)
        between = time.process_time()
        outcome = prepared.run(settings)
        ended = time.process_time()
        loops.append(ended - between)
        wholes.append(ended - began)
    candles = market.candles
    bot = "the whole bot: four strategies on 15m with 1h confirmation, exits, sizing, breaker"
    group = f"{bot} · {candles:,} candles of 1m, 4 symbols"
    came = (
        f"{len(outcome.trips):,} round trips, {len(outcome.alarms)} alarms of the breaker, {outcome.final_equity:,.2f}"
    )
    return [
        Figure(group, who, f"{min(seconds) / candles * 1e9:,.3g} ns a 1m candle and symbol", seconds, cold, (), remark)
        for who, seconds, cold, remark in (
            ("surefoot, loop", loops, cold_s, came),
            ("surefoot, signals and loop", wholes, None, "signals of all four computed anew"),
        )
    ]
