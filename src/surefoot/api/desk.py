"""What the web process knows of the bot: the trader's picture while it runs, else what its journal left, and records.

Rules. The trader's process and this one share nothing but the journal, which is only read here, and the trader's
socket. In paper mode the newest run's journal is followed, as every command does. When the trader is away the last
state is told as just that; when there is none, there is no value, and never a sample: what is held is then not known,
which is not the same as nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Self

from surefoot.api.board import Board
from surefoot.api.feed import Feed
from surefoot.api.records import Records
from surefoot.api.topics import NOT_RUNNING, Clock, connection_of, status_of
from surefoot.changes import overlaid
from surefoot.chronicle import AskError, journal_path, view_from_journal
from surefoot.config import ConfigError, Loaded, Mode, Settings
from surefoot.control import ControlError
from surefoot.core.view import View
from surefoot.store.journal import StoreError

LOOK_FOR_JOURNAL_S = 1.0
LOOK_AT_LEFT_AGAIN_S = 30.0  # at a journal of which no picture could be made
SETTLE_S = 1.0  # what a trader wrote at its end is on disk by then


class Desk:
    """Kept up to date while it is entered."""

    def __init__(self, settings: Settings) -> None:
        """`settings` are those of the start; `sources` and `control_key` are set where they are known."""
        self.settings = settings
        self.sources: Mapping[str, str] = {}
        self.control_key: bytes | None = None
        self.board = Board()
        self.records: Records | None = None
        self.view: View | None = None
        self.running = False
        self.heard_s: float | None = None  # monotonic, of the newest picture
        self._problem: str | None = None
        self._in_force: tuple[tuple[object, ...], Loaded] | None = None
        self._feed = Feed(self.journal, self._see, self._miss)
        self._tasks: list[asyncio.Task[None]] = []
        self._left: asyncio.Task[None] | None = None
        self._tell()

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._feed.run()), asyncio.create_task(self._follow_journals())]
        return self

    async def __aexit__(self, *_: object) -> None:
        tasks = [*self._tasks, *([] if self._left is None else [self._left])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    @property
    def problem(self) -> str | None:
        """What is odd now, in one line; None when nothing is."""
        return self._problem

    @problem.setter
    def problem(self, text: str | None) -> None:
        if text != self._problem:
            self._problem = text
            self._tell_status()

    @property
    def unknown(self) -> str | None:
        """Why nothing is known of what is held, in one line; None while there is a picture."""
        if self.view is not None:
            return None
        if self.journal() is None:
            return self._problem or "there is no journal yet: the trader has not started"
        return self._problem or "the journal is being read"

    def journal(self) -> Path | None:
        """The journal that is meant now; None when there is none yet."""
        try:
            path = journal_path(None, self.settings)
        except AskError:
            return None
        return path if path.exists() else None

    @property
    def journal_name(self) -> str | None:
        return None if self.records is None else self.records.path.name

    @property
    def clock(self) -> Clock | None:
        return None if self.records is None else self.records.clock

    @property
    def in_force(self) -> Loaded:
        """The settings in force: what was changed while the trader ran lies over those of the start. A paper run that
        is over leaves no changes."""
        given = Loaded(self.settings, self.sources)
        if self.records is None or (self.settings.mode is Mode.PAPER and not self.running):
            return given
        known = self.settings, self.sources, self.records.path, len(self.records.changes)
        if self._in_force is not None and self._in_force[0] == known:
            return self._in_force[1]
        try:
            self._in_force = known, overlaid(given, self.records.changes)
            return self._in_force[1]
        except ConfigError as problem:
            self.problem = str(problem)
            return given

    @property
    def is_ready(self) -> bool:
        """Whether what is told is up to date: the past is read, or there is none."""
        return self.records.caught_up if self.records is not None else self.journal() is None

    # -- journal --------------------------------------------------------------------------------------------------

    async def _follow_journals(self) -> None:
        while True:
            path = self.journal()
            try:
                if path is not None:
                    await self._follow(path)
                    continue
            except StoreError as problem:
                self.problem = str(problem)
            await asyncio.sleep(LOOK_FOR_JOURNAL_S)

    async def _follow(self, path: Path) -> None:
        """One journal, until there is a newer one."""
        records = self.records = Records(path, self.settings, self.board.hear)
        self.board.begin(path.name)
        self._tell()
        if not self.running:
            self._look_at_what_was_left()
        follow = asyncio.create_task(records.follow())
        try:
            while self.journal() == path:
                done, _ = await asyncio.wait({follow}, timeout=LOOK_FOR_JOURNAL_S / 10)
                if done:
                    follow.result()
                if records.caught_up and not self.board.last_seq:
                    self.board.read_up_to(records.seq)
                    self.problem = None
        finally:
            follow.cancel()
            await asyncio.gather(follow, return_exceptions=True)
            records.close()
            if self.journal() != path:
                self.records = None
            self.view = None if not self.running else self.view
            self._tell()

    # -- trader ---------------------------------------------------------------------------------------------------

    def _see(self, view: View) -> None:
        self.view, self.running, self.heard_s, self._problem = view, True, time.monotonic(), None
        if self._left is not None:
            self._left.cancel()
            self._left = None
        self._tell()

    def _miss(self, oddity: str | None) -> None:
        self.running, self._problem = False, oddity
        if self.view is not None:
            self.view = replace(self.view, links=(), entries_off=NOT_RUNNING)
        self._tell()
        self._look_at_what_was_left()

    def _look_at_what_was_left(self) -> None:
        if self._left is not None:
            self._left.cancel()
        self._left = asyncio.create_task(self._take_what_was_left())

    async def _take_what_was_left(self) -> None:
        await asyncio.sleep(SETTLE_S if self.view is not None else 0)
        path = self.journal()
        if path is None:
            return
        while True:
            try:
                view = await asyncio.to_thread(view_from_journal, path, self.settings)
                break
            except (StoreError, ControlError) as problem:
                self.problem = str(problem)
            await asyncio.sleep(LOOK_AT_LEFT_AGAIN_S)
        if not self.running:
            self.view = view
            self._tell()

    def _tell_status(self) -> None:
        problem = self._problem or self.unknown
        status = status_of(self.view, self.settings.mode, self.journal_name, problem, running=self.running)
        self.board.put("status", status)

    def _tell(self) -> None:
        view, board = self.view, self.board
        self._tell_status()
        price_age_max_ms = self.in_force.settings.risk.price_age_max_ms
        board.put("connection", connection_of(view, self.clock, price_age_max_ms, running=self.running))
        if view is None:
            for topic in ("prices", "positions", "orders", "decisions", "alarms", "round_trips"):
                board.put(topic, None)
            board.put("breaker", None)
            return
        board.put("prices", view.prices)
        board.put("positions", view.positions)
        board.put("orders", view.orders)
        board.put("decisions", view.decisions)
        board.put("alarms", view.alarms)
        board.put("breaker", view.breaker)
        board.put("round_trips", view.round_trips)
