"""The processes of `surefoot run`: started in order, watched, started again when they fail, stopped in order.

Rules. The trader is started again after a crash, later each time; the simulated exchange is not, because its account
would begin anew and the journal is about the old one: its end is the end of the run. To stop means the trader first,
which leaves protection resting at the venue, and then the exchange. Each crash is told to people, and the end of a run.
Real keys are given to nobody in paper, and never to the web process: whatever becomes of that, the run goes on. The
guardian has a key of its own, which nobody else is given, and is not given the trader's. A run has a key of its own,
with which the web process signs what its users ask of the trader; no other process has it.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from surefoot.alerts import Level
from surefoot.children import Child, Kept, ended
from surefoot.config import VENUES, Mode, Settings
from surefoot.control import CONTROL_KEY, ControlError, new_control_key, read_view, socket_path, watch_views
from surefoot.core.model import INTERVAL_MS, MS_PER_DAY, Market
from surefoot.core.view import View
from surefoot.guardprocess import GuardProcess
from surefoot.herald import Herald
from surefoot.notify import addresses_of
from surefoot.webprocess import WebProcess

TRADER_GRACE_S = 10.0
EXCHANGE_GRACE_S = 5.0
EXCHANGE_START_S = 60.0
LOOK_AGAIN_S = 0.05
LAST_VIEW_WAIT_S = 5.0
HISTORY_DAYS_MAX = 60

EXIT_OK, EXIT_FAILED, EXIT_USAGE, EXIT_IN_USE, EXIT_VENUE, EXIT_DATA, EXIT_INTERRUPTED = 0, 1, 2, 3, 4, 5, 130

# Ends that starting again cannot mend: as asked, wrong settings, a journal that is in use.
LASTING = frozenset({EXIT_OK, EXIT_USAGE, EXIT_IN_USE})

REAL_KEYS = tuple(
    f"SUREFOOT_{name}{end}" for name in ("API_KEY", "API_SECRET", "KEYS_PASSPHRASE") for end in ("", "_FILE")
)
# Those of the guardian are given to nobody else, in no mode. In paper it has the paper account's key and its addresses.
GUARD_ADDRESSES = tuple(f"SUREFOOT_GUARD_ALERT_URLS{end}" for end in ("", "_FILE"))
GUARD_SECRETS = (
    *(f"SUREFOOT_GUARD_{name}{end}" for name in ("API_KEY", "API_SECRET") for end in ("", "_FILE")),
    *GUARD_ADDRESSES,
)
# Secrets of the supervising and of the web process, which sends a test when asked for one.
OWN_SECRETS = tuple(f"SUREFOOT_{name}{end}" for name in ("ALERT_URLS", "METRICS_TOKEN") for end in ("", "_FILE"))
PAPER_KEY, PAPER_SECRET = "SIMEX_API_KEY", "SIMEX_API_SECRET"


class StartError(Exception):
    """The run cannot go on; the text is one line for a person."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


class Screen(Protocol):
    """Where the run is shown."""

    def note(self, text: str) -> None: ...

    def show(self, view: View) -> None: ...


class LoggedScreen:
    """A screen whose notes are logged too."""

    def __init__(self, screen: Screen) -> None:
        from surefoot.logs import write

        self._screen = screen
        self._write = write

    def note(self, text: str) -> None:
        self._screen.note(text)
        self._write(logging.INFO, "note", text=text)

    def show(self, view: View) -> None:
        self._screen.show(view)


@dataclass(frozen=True, slots=True)
class Job:
    """What to run. `options` is how the trader is told its settings; the journal's place is among `settings`.

    `symbols_are_default`: then a replay trades the symbols of its files. `for_s` is None for a run without end. A port
    of the web process that is a default may be another one where it is taken.
    """

    settings: Settings
    options: tuple[str, ...]
    symbols_are_default: bool
    env: Mapping[str, str]
    replay: tuple[str, ...] = ()
    gaps: str = "refuse"
    for_s: float | None = None
    web: bool = True
    web_port_is_default: bool = False

    @property
    def is_paced(self) -> bool:
        """Whether market time is not this machine's time."""
        paper = self.settings.paper
        speed = "1" if paper.market == "relay" and not self.replay else paper.speed
        return self.settings.mode is Mode.PAPER and (speed == "max" or float(speed) != 1)


@dataclass(slots=True)
class Ended:
    """How a run ended; `seconds` are since its start, `milestones_s` by name."""

    code: int
    why: str
    seconds: float = 0.0
    restarts: int = 0
    milestones_s: dict[str, float] = field(default_factory=dict)
    last_view: View | None = None


class Run:
    """One `surefoot run`, from the start of the first process to the end of the last."""

    def __init__(self, job: Job, screen: Screen) -> None:
        self._job = job
        self._screen = screen
        self._socket = socket_path(job.settings.store.journal_path)
        self._control_key = {CONTROL_KEY: new_control_key()}
        self._milestones_s: dict[str, float] = {}
        self._last_view: View | None = None
        self._listening: asyncio.Future[dict[str, Any]]
        self._tape_end = asyncio.Event()
        self._signals: list[signal.Signals] = []
        self._told_to_stop = asyncio.Event()
        self._trader_up = asyncio.Event()
        self._exchange: Child | None = None
        self._trader: Kept | None = None
        self._web = self._make_web() if job.web else None
        self._guard = self._make_guard() if job.settings.guard.enabled else None
        self._started_s = time.monotonic()
        services, problems = addresses_of(job.settings)
        for problem in problems:
            screen.note(f"alerts: {problem}")
        self._herald = Herald(job.settings, job.settings.store.journal_path, services)

    async def go(self) -> Ended:
        """Run until there is a reason to stop, then stop everything. Raises StartError when it cannot begin."""
        self._listen_for_signals()
        telling = asyncio.create_task(self._herald.run())
        telling.add_done_callback(partial(self._side_work_ended, "alerts"))
        tracing = asyncio.create_task(self._trace())
        tracing.add_done_callback(partial(self._side_work_ended, "traces"))
        try:
            ended_run = await self._begin_and_watch()
            level = Level.INFO if ended_run.code in (EXIT_OK, EXIT_INTERRUPTED) else Level.CRITICAL
            self._herald.say(level, "stop", "The run has ended", ended_run.why)
        except StartError as problem:
            self._herald.say(Level.CRITICAL, "stop", "The run has ended", str(problem))
            raise
        finally:
            await self._stop_exchange()
            await self._herald.close()
            telling.cancel()
            tracing.cancel()
            await asyncio.wait([tracing])
        ended_run.seconds = time.monotonic() - self._started_s
        ended_run.milestones_s, ended_run.last_view = self._milestones_s, self._last_view
        ended_run.restarts = self._trader.restarts if self._trader else 0
        return ended_run

    # -- begin ------------------------------------------------------------------------------------------------

    async def _begin_and_watch(self) -> Ended:
        stops: dict[asyncio.Task[Any], Callable[[], Ended]] = {
            asyncio.create_task(self._told_to_stop.wait()): self._why_told
        }
        if self._job.for_s is not None:
            stops[asyncio.create_task(asyncio.sleep(self._job.for_s))] = self._why_time
        try:
            if self._job.settings.mode is Mode.PAPER:
                begin: asyncio.Task[Any] = asyncio.create_task(self._start_exchange())
                done, _ = await asyncio.wait({begin, *stops}, return_when=asyncio.FIRST_COMPLETED)
                if begin not in done:
                    begin.cancel()
                    return stops[done.pop()]()
                begin.result()
            return await self._trade_until(stops)
        finally:
            for task in stops:
                task.cancel()

    async def _start_exchange(self) -> None:
        self._listening = asyncio.get_running_loop().create_future()
        child = self._exchange = Child(
            "the simulated exchange", self._exchange_command(), _without_keys(self._job.env), self._exchange_said
        )
        await child.start()
        end = asyncio.create_task(child.wait())
        waited: set[asyncio.Future[Any]] = {end, self._listening}
        await asyncio.wait(waited, timeout=EXCHANGE_START_S, return_when=asyncio.FIRST_COMPLETED)
        if not self._listening.done():
            raise _exchange_failed(child, end.result() if end.done() else None, bool(self._job.replay))
        self._milestone("exchange up", f"{self._listening.result()['rest']}")

    def _exchange_command(self) -> list[str]:
        settings, replay = self._job.settings, self._job.replay
        paper = settings.paper
        speed = "1" if paper.market == "relay" and not replay else paper.speed
        command = [sys.executable, "-m", "simex", "--parent-pid", str(os.getpid()), "--speed", speed]
        command += ["--seed", str(paper.seed), *_market_of(settings), *_fill_model(settings)]
        if self._job.is_paced:  # before the trader has its links, a fast market would leave every request behind
            command += ["--wait-for-account"]
        if replay:
            # Candles that are not closed are for watchers; without them a replay is several times as fast.
            forming = "no" if paper.speed == "max" else "yes"
            command += ["--gaps", self._job.gaps, "--forming-klines", forming]
            return [*command, "--replay", *replay]
        if paper.market == "relay":
            source = VENUES[Mode.LIVE][settings.market.venue]
            command += ["--relay", source.streams, "--relay-rest", source.rest]
        symbols = ",".join(settings.market.symbols)
        return [*command, "--symbols", symbols, "--history-days", str(_history_days(settings))]

    def _exchange_said(self, line: str) -> None:
        with suppress(ValueError):
            said = json.loads(line)
            if said.get("event") == "listening" and not self._listening.done():
                self._listening.set_result(said)
            elif said.get("event") == "tape_end":
                self._tape_end.set()

    def _make_trader(self) -> Child:
        command = [sys.executable, "-m", "surefoot", "trade", "--parent-pid", str(os.getpid()), *self._job.options]
        command += ["--set", f"store.journal_path={self._job.settings.store.journal_path}"]
        if self._job.settings.mode is not Mode.PAPER:
            env = {**_without((*OWN_SECRETS, *GUARD_SECRETS), self._job.env), **self._control_key}
            return Child("the trader", command, env, self._screen.note)
        command += [*self._at_paper(), *(["--paced"] if self._job.is_paced else [])]
        env = {**_without_keys(self._job.env), **self._paper_keys(), **self._control_key}
        return Child("the trader", command, env, self._screen.note)

    def _at_paper(self) -> list[str]:
        """Where the simulated exchange is, and what is traded there."""
        market = self._listening.result()
        return ["--rest", market["rest"], *self._replayed_symbols(market["symbols"])]

    def _paper_keys(self) -> dict[str, str]:
        market = self._listening.result()
        return {PAPER_KEY: market["api_key"], PAPER_SECRET: market["secret"]}

    def _make_web(self) -> WebProcess:
        def tell(text: str) -> None:
            self._herald.say(Level.WARNING, "web", "The dashboard is away", text)

        return WebProcess(self._web_command(), self._web_env(), self._screen.note, tell)

    def _make_guard(self) -> GuardProcess:
        def tell(text: str) -> None:
            self._herald.say(Level.CRITICAL, "guardian", "The guardian does not watch", text)

        return GuardProcess(self._guard_command, self._guard_env, self._screen.note, tell)

    def _guard_command(self) -> list[str]:
        journal = str(self._job.settings.store.journal_path)
        command = [sys.executable, "-m", "surefoot", "guard", "--parent-pid", str(os.getpid()), *self._job.options]
        command += ["--set", f"store.journal_path={journal}", "--journal", journal]
        return command if self._job.settings.mode is not Mode.PAPER else [*command, *self._at_paper()]

    def _guard_env(self) -> dict[str, str]:
        if self._job.settings.mode is not Mode.PAPER:
            return _without((*REAL_KEYS, *OWN_SECRETS, CONTROL_KEY), self._job.env)
        addresses = {name: self._job.env[name] for name in GUARD_ADDRESSES if name in self._job.env}
        return {**_without_keys(self._job.env), **addresses, **self._paper_keys()}

    def _web_command(self) -> list[str]:
        command = [sys.executable, "-m", "surefoot", "web", "--json", "--parent-pid", str(os.getpid())]
        command += [*self._job.options, "--set", f"store.journal_path={self._job.settings.store.journal_path}"]
        return [*command, "--any-port"] if self._job.web_port_is_default else command

    def _web_env(self) -> dict[str, str]:
        return {**_without((*REAL_KEYS, *GUARD_SECRETS), self._job.env), **self._control_key}

    def _replayed_symbols(self, on_tape: list[str]) -> list[str]:
        """The symbols of the files, in the order of the settings as far as they are in both."""
        known = self._job.settings.market.symbols
        if not self._job.replay:
            return []
        if self._job.symbols_are_default:
            symbols = [*(s for s in known if s in on_tape), *(s for s in on_tape if s not in known)]
            return ["--set", f"market.symbols={','.join(symbols)}"]
        absent = [symbol for symbol in known if symbol not in on_tape]
        if absent:
            text = f"market.symbols: {', '.join(absent)} not in the replayed files; they hold {', '.join(on_tape)}"
            raise StartError(text, EXIT_USAGE)
        return []

    # -- watch ------------------------------------------------------------------------------------------------

    async def _trade_until(self, stops: Mapping[asyncio.Task[Any], Callable[[], Ended]]) -> Ended:
        self._trader = Kept(self._make_trader, self._is_lasting, self._trader_crashed)
        trader = asyncio.create_task(self._trader.run())
        watch = asyncio.create_task(self._watch())
        reasons: dict[asyncio.Task[Any], Callable[[], Ended]] = {**stops, trader: lambda: self._why_trader(trader)}
        own: list[asyncio.Task[Any]] = [trader, watch]
        if self._exchange is not None:
            exchange, tape = asyncio.create_task(self._exchange.wait()), asyncio.create_task(self._tape_end.wait())
            reasons |= {
                exchange: lambda: self._why_exchange(exchange),
                tape: lambda: Ended(EXIT_OK, "the replay has ended"),
            }
            own += [exchange, tape]
        if self._web is not None:
            own.append(asyncio.create_task(self._web.run(self._trader_up)))
        if self._guard is not None:
            own.append(asyncio.create_task(self._guard.run(self._trader_up)))
        try:
            done, _ = await asyncio.wait([*reasons, watch], return_when=asyncio.FIRST_COMPLETED)
            if watch in done:
                watch.result()
            # By the order in which they are listed, when several came at once.
            ended_run = next(why for task, why in reasons.items() if task in done)()
            await self._take_last_view()
            return ended_run
        finally:
            # The guardian hears of it before the trader, whose end it would take for an emergency.
            await asyncio.gather(self._stop_guard(), self._stop_trader(), self._stop_web())
            for task in own:
                task.cancel()

    async def _watch(self) -> None:
        while True:
            try:
                async for view in watch_views(self._socket):
                    self._see(view)
            except ControlError as problem:
                raise StartError(str(problem), EXIT_FAILED) from None
            await asyncio.sleep(LOOK_AGAIN_S)

    def _see(self, view: View) -> None:
        self._last_view = view
        self._trader_up.set()
        self._herald.see(view)
        for name, happened in milestones(view):
            if happened:
                self._milestone(name)
        self._screen.show(view)

    async def _take_last_view(self) -> None:
        """The picture after the last event, for the summary."""
        with suppress(ControlError):
            view = await asyncio.to_thread(read_view, self._socket, LAST_VIEW_WAIT_S)
            if view is not None:
                self._see(view)

    def _milestone(self, name: str, detail: str = "") -> None:
        if name in self._milestones_s:
            return
        seconds = self._milestones_s[name] = time.monotonic() - self._started_s
        self._screen.note(f"{seconds:6.2f} s  {name}" + (f" ({detail})" if detail else ""))

    def _is_lasting(self, code: int) -> bool:
        # A venue that cannot be reached at the start is a mistake to be told; later it is a night to be survived.
        return code in LASTING or (code == EXIT_VENUE and "trader up" not in self._milestones_s)

    def _trader_crashed(self, text: str) -> None:
        self._screen.note(text)
        self._herald.gone()
        self._herald.say(Level.CRITICAL, "crash", "The trader has crashed", text)

    def _side_work_ended(self, name: str, work: asyncio.Task[None]) -> None:
        # Alerts and traces are worth much, but not the end of a run.
        if not work.cancelled() and work.exception() is not None:
            self._screen.note(f"{name} have stopped: {work.exception()!r}")

    async def _trace(self) -> None:
        if not self._job.settings.traces.otlp_url:
            return
        from surefoot.spans import SpanSender  # it loads an HTTP client, which nobody else here needs

        settings = self._job.settings
        journal, address = settings.store.journal_path, settings.traces.otlp_url
        await SpanSender(address, str(settings.mode), journal, self._screen.note).run()

    # -- end --------------------------------------------------------------------------------------------------

    def _listen_for_signals(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self._signalled, number)

    def _signalled(self, number: signal.Signals) -> None:
        self._signals.append(number)
        self._told_to_stop.set()

    def _why_told(self) -> Ended:
        if self._signals[0] is signal.SIGINT:
            return Ended(EXIT_INTERRUPTED, "stopped by Ctrl-C")
        return Ended(EXIT_OK, "stopped by SIGTERM")

    def _why_time(self) -> Ended:
        return Ended(EXIT_OK, f"the {self._job.for_s:g} s are over")

    def _why_trader(self, trader: asyncio.Task[int]) -> Ended:
        assert self._trader is not None
        child, code = self._trader.child, trader.result()
        assert child is not None
        if code == EXIT_OK:
            return Ended(EXIT_OK, "the trader was stopped from outside")
        return Ended(code, child.complaint.removeprefix("surefoot: ") or ended(child, code))

    def _why_exchange(self, exchange: asyncio.Task[int]) -> Ended:
        assert self._exchange is not None
        return Ended(EXIT_FAILED, f"{ended(self._exchange, exchange.result())}; its account is gone, start a new run")

    async def _stop_trader(self) -> None:
        assert self._trader is not None
        if not await self._trader.stop(TRADER_GRACE_S):
            self._screen.note(f"the trader did not end within {TRADER_GRACE_S:g} s and was killed")

    async def _stop_guard(self) -> None:
        if self._guard is not None:
            await self._guard.stop()

    async def _stop_web(self) -> None:
        if self._web is not None:
            await self._web.stop()

    async def _stop_exchange(self) -> None:
        if self._exchange is not None:
            await self._exchange.stop(EXCHANGE_GRACE_S)


def milestones(view: View) -> list[tuple[str, bool]]:
    """What a picture shows to have happened, in the order in which it does."""
    filled = bool(view.positions or view.round_trip_count or any(order.filled for order in view.orders))
    return [
        ("trader up", True),
        ("first price", any(price.price is not None for price in view.prices)),
        ("first order", filled or bool(view.orders)),
        ("first fill", filled),
    ]


def _exchange_failed(child: Child, code: int | None, is_replay: bool) -> StartError:
    if code is None:
        return StartError(f"the simulated exchange said nothing for {EXCHANGE_START_S:g} s", EXIT_FAILED)
    text = child.complaint.removeprefix("simex: ") or ended(child, code)
    if code == EXIT_USAGE:
        return StartError(text, EXIT_DATA if is_replay else EXIT_USAGE)
    return StartError(text, code if code in (EXIT_IN_USE, EXIT_VENUE) else EXIT_FAILED)


def _market_of(settings: Settings) -> list[str]:
    """What is traded, with how much, at which costs."""
    futures, held = settings.futures, f"USDT={settings.paper.balance_usdt:f}"
    if settings.market.venue is Market.SPOT:
        return ["--market", "spot", "--balance", held, "--fee-bps", f"{settings.paper.fee_bps:f}"]
    fees = ["--futures-fee-bps", f"{futures.fee_bps:f}", f"--funding-bps={futures.funding_bps:f}"]
    return ["--market", "futures", "--wallet", held, *fees]


def _fill_model(settings: Settings) -> list[str]:
    """The same costs as a backtest's, as options of the exchange."""
    costs = settings.costs
    return [
        *("--path", costs.path),
        *("--half-spread-bps", f"{costs.half_spread_bps:f}"),
        *("--slippage-bps", f"{costs.slippage_bps:f}"),
        *("--volume-share-pct", f"{costs.volume_share_pct:f}"),
    ]


def _history_days(settings: Settings) -> int:
    """Days that hold the candles wanted before the first signal, and one more for the incomplete one."""
    wanted_ms = settings.market.warmup_candles * INTERVAL_MS[settings.market.interval]
    return min(math.ceil(wanted_ms / MS_PER_DAY) + 1, HISTORY_DAYS_MAX)


def _without_keys(env: Mapping[str, str]) -> dict[str, str]:
    return _without((*REAL_KEYS, *OWN_SECRETS, *GUARD_SECRETS, CONTROL_KEY), env)


def _without(names: Sequence[str], env: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in env.items() if name not in names}
