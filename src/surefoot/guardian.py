"""The guardian: a process of its own that watches a trader, tells people by a way of its own, and can act alone.

Rules. It looks at the trader's pictures and, where none come, at its journal; it asks nothing of the trader. What is a
trouble is decided by `plight`, what is done at the venue by `rescue`, with a key of its own. What was changed while the
trader runs counts here, too, as its journal tells. It acts once in an emergency, after that has lasted, and stops at
once when the trader works again. All that it does is told, printed, and
kept in a file of its own beside the journal; what it sold is kept in another, for the trader to book.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from surefoot.alerts import Alert, Level
from surefoot.binance.futures.dialect import countdown
from surefoot.changes import Changed
from surefoot.chronicle import folded
from surefoot.config import Settings
from surefoot.control import ControlError, read_view, socket_path
from surefoot.core.engine import Engine
from surefoot.core.messages import SettingsChanged, VenueTraded
from surefoot.core.model import Market
from surefoot.core.view import view_of
from surefoot.deeds import Pledges, add_deed, deeds_path, pledges_path
from surefoot.notify import PAUSES_S, AlertLog, Notifier, Service, guard_alerts_path
from surefoot.plight import Bounds, Judge, Kind, Trouble, at_stake
from surefoot.rescue import Over, Rescue
from surefoot.store.journal import JournalReader, StoreError
from surefoot.venuedesk import Fate, VenueDesk

LOOK_EVERY_S = 0.5
PICTURE_WAIT_S = 2.0
TICK_S = 0.2
HELD_UP_MS = 2_000  # a tick that comes so late says that we were stopped, not the trader
BARE_MARGIN_MS = 20_000  # beyond the trader's own bound, in which it sells by itself
COUNTDOWN_SHARE = 3  # it is renewed in a third of its time
LAST_WORDS_S = 10.0
LEARN_EVERY_S = 5.0
REACH_EVERY_S = 2.0
REACHED_FOR_MS = 60_000  # twice what a trader takes at most to find a venue again that was down

TITLES = {
    Kind.SILENT: "The trader does not answer",
    Kind.STILL: "The trader stands still",
    Kind.PRICES: "The trader hears no prices",
    Kind.LINK: "The trader has no link to the venue",
    Kind.BARE: "A position is without a stop, and the trader does not sell it",
}

Say = Callable[[str], None]


class GuardianInUse(Exception):
    """Another guardian watches this journal."""


@dataclass(slots=True)
class _Emergency:
    """Since when (ms of the watch), what was told of it, and what is done about it."""

    since_ms: int
    told: set[Kind] = field(default_factory=set)
    acting: asyncio.Task[None] | None = None
    answering_ms: int | None = None  # since when the venue has answered us, without a break


class Guardian:
    """One journal's. `desk` is None where there is no key: then it can only tell."""

    def __init__(
        self,
        settings: Settings,
        journal: Path,
        services: Sequence[Service],
        desk: VenueDesk | None,
        say: Say,
        *,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        self._settings, self._journal, self._desk, self._say = settings, journal, desk, say
        self._socket = socket_path(journal)
        self._changed, self._learned_seq = Changed(settings), 0
        self._judge = Judge(_bounds_of(settings), _now_ms())
        self._notifier = Notifier(settings.alerts, services, AlertLog(guard_alerts_path(journal)), pauses_s=pauses_s)
        self._folded = False  # whether the journal of a silent trader was read
        self._emergency: _Emergency | None = None
        self._harmless: Level | None = None  # how a trouble was told in which nothing is at stake
        self._armed_ms: int | None = None  # when the countdown was renewed
        self._armed: set[str] = set()  # of which symbols
        self._armed_fails: set[str] = set()
        self._unreadable = ""

    async def run(self, stopping: asyncio.Event) -> None:
        """Watch until told to stop. Raises GuardianInUse."""
        with _lock_of(self._journal):
            await self._run(stopping)

    async def _run(self, stopping: asyncio.Event) -> None:
        if self._desk is not None:
            await self._desk.start()
        telling = asyncio.create_task(self._notifier.run())
        works = [
            asyncio.create_task(work)
            for work in (self._look_on(), self._learn_on(), self._count_down_on(), self._reach_on())
        ]
        try:
            await self._decide_on(stopping, [telling, *works])
        finally:
            acting = [] if self._emergency is None or self._emergency.acting is None else [self._emergency.acting]
            for task in (*works, *acting):
                task.cancel()
            await asyncio.wait([*works, *acting])
            await self._disarm()
            if self._desk is not None:
                await self._desk.close()
            await self._notifier.close(LAST_WORDS_S)
            telling.cancel()

    # -- looking ----------------------------------------------------------------------------------------------

    async def _look_on(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(LOOK_EVERY_S)

    async def _look(self) -> None:
        try:
            view = await asyncio.to_thread(read_view, self._socket, PICTURE_WAIT_S)
        except ControlError as problem:  # it answers, in words of another version: that is life, and no more is known
            self._judge.excuse(int(LOOK_EVERY_S * 1_000))
            if not self._unreadable:
                self._unreadable = str(problem)
                self._tell(Level.CRITICAL, "The guardian cannot read the trader's pictures", str(problem))
            return
        self._unreadable = ""
        now_ms = _now_ms()
        if view is not None:
            self._judge.see(view, now_ms)
            self._folded = False
        elif self._judge.is_silent(now_ms) and not self._folded:
            await self._learn_from_journal()

    async def _learn_from_journal(self) -> None:
        """What is at stake, by what the silent trader wrote last; where it cannot be read, by its last picture."""
        try:
            left = await asyncio.to_thread(folded, self._journal, self._settings)
            self._judge.learn(at_stake(view_of(left.engine, left.at_ms)))
        except StoreError as problem:
            if self._journal.is_file():
                self._tell(Level.CRITICAL, "The guardian cannot read the journal", str(problem))
        self._folded = True

    async def _learn_on(self) -> None:
        while True:
            await self._learn_changes()
            await asyncio.sleep(LEARN_EVERY_S)

    async def _learn_changes(self) -> None:
        """What was changed of the settings since; a journal that cannot be read changes nothing."""
        try:
            changes, seq = await asyncio.to_thread(_changes_since, self._journal, self._learned_seq)
        except (StoreError, OSError):
            return
        for change in changes:
            self._settings = self._changed.take(change)
        self._judge.bound(_bounds_of(self._settings))
        self._learned_seq = seq

    # -- deciding ---------------------------------------------------------------------------------------------

    async def _decide_on(self, stopping: asyncio.Event, works: Sequence[asyncio.Task[None]]) -> None:
        before_ms = _now_ms()
        while not stopping.is_set():
            for work in works:
                if work.done():
                    work.result()
            now_ms = _now_ms()
            if now_ms - before_ms > HELD_UP_MS:
                self._judge.excuse(now_ms - before_ms)
            before_ms = now_ms
            self._decide(now_ms)
            with suppress(TimeoutError):
                async with asyncio.timeout(TICK_S):
                    await stopping.wait()

    def _decide(self, now_ms: int) -> None:
        troubles = self._judge.troubles(now_ms)
        if troubles and not self._judge.stake:
            if self._folded or not self._judge.is_silent(now_ms):
                self._tell_harmless(troubles)
        elif troubles:
            self._meet(troubles, now_ms)
        else:
            self._end_of_trouble()

    def _tell_harmless(self, troubles: Sequence[Trouble]) -> None:
        """Nothing is at stake: it is told once. A trader that was stopped in order took its socket away."""
        if self._emergency is not None:
            self._emergency = None
            self._tell(Level.INFO, "Nothing is at stake any more", troubles[0].text)
        in_order = troubles[0].kind is Kind.SILENT and not self._socket.exists()
        level = Level.INFO if in_order else Level.WARNING
        if self._harmless is None:
            self._harmless = level
            title = "There is no trader" if in_order else TITLES[troubles[0].kind]
            self._tell(level, title, f"{troubles[0].text}; nothing is held, and no order is on its way")

    def _meet(self, troubles: Sequence[Trouble], now_ms: int) -> None:
        guard = self._settings.guard
        emergency = self._emergency
        if emergency is None:
            emergency = self._emergency = _Emergency(now_ms)
        for trouble in troubles:
            if trouble.kind not in emergency.told:
                emergency.told.add(trouble.kind)
                text = f"{trouble.text}; at stake: {self._judge.stake}; {self._what_follows()}"
                self._tell(Level.CRITICAL, TITLES[trouble.kind], text)
        if (
            guard.act != "tell"
            and self._desk is not None
            and emergency.acting is None
            and now_ms - emergency.since_ms >= guard.act_after_s * 1_000
            and self._is_reached(emergency, now_ms)
        ):
            emergency.acting = asyncio.create_task(self._act(self._desk, emergency))

    def _is_reached(self, emergency: _Emergency, now_ms: int) -> bool:
        """Whether the venue has answered us for a while: where it was down for all, the trader has time to go on."""
        wanted_ms = min(REACHED_FOR_MS, self._settings.guard.act_after_s * 1_000) - REACH_EVERY_S * 1_000
        return emergency.answering_ms is not None and now_ms - emergency.answering_ms >= wanted_ms

    async def _reach_on(self) -> None:
        """While there is an emergency, see whether the venue is there."""
        while self._desk is not None:
            emergency = self._emergency
            if emergency is not None:
                answers = await self._desk.answers()
                emergency.answering_ms = (emergency.answering_ms or _now_ms()) if answers else None
            await asyncio.sleep(REACH_EVERY_S)

    def _what_follows(self) -> str:
        guard = self._settings.guard
        if guard.act == "tell" or self._desk is None:
            return "nobody acts but you"
        doing = "its entries are cancelled" if guard.act == "cancel" else "all of it is cancelled and sold"
        return f"in {guard.act_after_s} s {doing}"

    def _end_of_trouble(self) -> None:
        self._harmless = None
        if self._emergency is not None:
            self._emergency = None
            self._tell(Level.INFO, "The trader works again", f"at stake: {self._judge.stake or 'nothing'}")

    # -- acting -----------------------------------------------------------------------------------------------

    async def _act(self, desk: VenueDesk, emergency: _Emergency) -> None:
        """Once. What fails is told and tried again for as long as the emergency lasts."""
        what = self._settings.guard.act
        self._tell(Level.CRITICAL, "The guardian acts", f"guard.act = {what}; at stake: {self._judge.stake}")

        async def read_books() -> Engine:
            return (await asyncio.to_thread(folded, self._journal, self._settings)).engine

        def is_still() -> bool:
            return self._emergency is emergency and bool(self._judge.troubles(_now_ms()))

        pledges = Pledges(pledges_path(self._journal))
        rescue = Rescue(desk, read_books, is_still, self._tell, self._keep, pledges)
        try:
            await (rescue.cancel_entries() if what == "cancel" else rescue.flatten())
            self._tell(Level.CRITICAL, "The guardian has done what it could", f"guard.act = {what}")
        except Over:
            self._tell(Level.CRITICAL, "The guardian has stopped acting", "the trader works again")
        except asyncio.CancelledError:
            raise
        except Exception as problem:  # whatever it is, people must hear of it, and the watch goes on
            text = f"{type(problem).__name__}: {problem}"
            self._tell(Level.CRITICAL, "THE GUARDIAN COULD NOT ACT", text)

    def _keep(self, deed: VenueTraded) -> None:
        try:
            add_deed(deeds_path(self._journal), deed)
        except OSError as problem:  # the sale is worth more than that the trader hears of it
            text = f"{deed.fill.side} {deed.fill.quantity:f} {deed.fill.symbol} cannot be kept: {problem.strerror}"
            self._tell(Level.CRITICAL, "The trader will not know of a sale", text)

    # -- the venue's own countdown ----------------------------------------------------------------------------

    async def _count_down_on(self) -> None:
        while self._settings.guard.countdown_s and self._settings.market.venue is Market.FUTURES:
            await self._tend_countdown(_now_ms())
            await asyncio.sleep(TICK_S)

    async def _tend_countdown(self, now_ms: int) -> None:
        """Renew it while the trader works; of one that was stopped in order and left nothing, take it back."""
        span_ms = self._settings.guard.countdown_s * 1_000
        if self._harmless is Level.INFO:
            await self._disarm()
            return
        is_due = self._armed_ms is None or now_ms - self._armed_ms >= span_ms / COUNTDOWN_SHARE
        if is_due and self._judge.has_seen() and not self._judge.troubles(now_ms):
            self._armed_ms = now_ms
            await self._count_down({*self._settings.market.symbols, *self._judge.symbols}, span_ms)

    async def _disarm(self) -> None:
        if self._armed_ms is not None:
            self._armed_ms = None
            await self._count_down(set(), 0)

    async def _count_down(self, symbols: set[str], span_ms: int) -> None:
        """Set it for these symbols, and take back that of all others."""
        if self._desk is None:
            return
        failed: dict[str, str] = {}
        concerned, self._armed = sorted(self._armed | symbols), symbols
        for symbol in concerned:
            reply = await self._desk.ask(countdown(symbol, span_ms if symbol in symbols else 0))
            if reply.fate is not Fate.DONE:
                failed[symbol] = f"{symbol}: {reply.text}"
        if failed.keys() - self._armed_fails:
            self._tell(Level.WARNING, "The venue's countdown could not be set", "; ".join(failed.values()))
        self._armed_fails = set(failed)
        if not failed:
            self._say(json.dumps({"event": "armed", "text": f"the venue's countdown is at {span_ms // 1_000} s"}))

    # -- telling ----------------------------------------------------------------------------------------------

    def _tell(self, level: Level, title: str, text: str) -> None:
        self._say(json.dumps({"event": "told", "level": level, "title": title, "text": text}))
        kind = "guard-" + re.sub(r"[^a-z]+", "-", title.lower())
        self._notifier.put(Alert(time.time_ns() // 1_000_000, level, kind, title, text))


def _bounds_of(settings: Settings) -> Bounds:
    guard = settings.guard
    return Bounds(
        silent_ms=guard.silent_max_s * 1_000,
        idle_ms=guard.idle_max_s * 1_000,
        bare_ms=settings.orders.unprotected_max_s * 1_000 + BARE_MARGIN_MS,
    )


def _changes_since(journal: Path, seq: int) -> tuple[list[SettingsChanged], int]:
    """The changes after a record, and the number of the newest record. Raises StoreError."""
    with JournalReader(journal) as reader:
        newest = reader.last_seq
        found = [entry.message for entry in reader.read(kinds=[SettingsChanged], since_seq=seq, before_seq=newest + 1)]
    return [message for message in found if isinstance(message, SettingsChanged)], newest


def _now_ms() -> int:
    return time.monotonic_ns() // 1_000_000


@contextmanager
def _lock_of(journal: Path) -> Iterator[None]:
    """The only guardian of a journal, which may not be there yet. Raises GuardianInUse, OSError."""
    with Path(f"{journal}.guard.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise GuardianInUse(f"another guardian watches {journal}; stop that one first") from None
        yield
