"""What the routes of the web process share."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field

from surefoot.api.accounts import Accounts
from surefoot.api.anchors import Anchors
from surefoot.api.audit import Trail
from surefoot.api.desk import Desk
from surefoot.api.jobs import Jobs
from surefoot.api.kept import Answers
from surefoot.api.readiness import TrackRecord
from surefoot.api.sessions import Sessions
from surefoot.api.throttle import Throttle
from surefoot.api.tokens import Tokens, rotating
from surefoot.api.webstore import WEB_WAIT_S, WebStore, store_path
from surefoot.config import Settings
from surefoot.telemetry import Visits


def wall_clock_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class Parts:
    """Made once, by `made`. What is in `lasting` is entered when the app starts, and left when it ends."""

    settings: Settings
    store: WebStore
    trail: Trail
    tokens: Tokens
    accounts: Accounts
    sessions: Sessions
    throttle: Throttle
    desk: Desk
    answers: Answers
    jobs: Jobs
    anchors: Anchors
    record: TrackRecord
    now_ms: Callable[[], int]
    lasting: list[AbstractAsyncContextManager[object]] = field(default_factory=list)
    visits: Visits = field(default_factory=Visits)

    @classmethod
    def made(cls, settings: Settings, now_ms: Callable[[], int] = wall_clock_ms) -> Parts:
        """The parts of a web process under these settings. Raises StoreError."""
        store = WebStore(store_path(settings.store.journal_path), WEB_WAIT_S)
        trail = Trail(store, now_ms)
        tokens = Tokens(store, now_ms)
        accounts = Accounts(store, trail, now_ms)
        sessions = Sessions(store, trail, tokens, now_ms)
        throttle, desk = Throttle(settings.web), Desk(settings)
        answers, jobs = Answers(store, now_ms), Jobs(store, desk, now_ms)
        anchors, record = Anchors(trail, settings.store.journal_path), TrackRecord(desk)
        lasting: list[AbstractAsyncContextManager[object]] = [desk, jobs, anchors, rotating(tokens)]
        return cls(
            settings=settings,
            store=store,
            trail=trail,
            tokens=tokens,
            accounts=accounts,
            sessions=sessions,
            throttle=throttle,
            desk=desk,
            answers=answers,
            jobs=jobs,
            anchors=anchors,
            record=record,
            now_ms=now_ms,
            lasting=lasting,
        )

    def close(self) -> None:
        self.store.close()
