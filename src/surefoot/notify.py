"""How an alert reaches people: grouped, held in quiet hours, sent to each address by itself, tried again, remembered.

Rules. `Desk` decides when something is sent and is a machine: the time is an argument. The first alert of a kind goes
at once; more of its kind within a window become one with their count. In quiet hours only what is critical goes.
Addresses are secrets: they are never shown, an address is called by its service, and what a service answers is cleaned
of them. One address that does not answer keeps no other waiting, and one alert that is refused no other alert. Every
queue has a bound.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol
from zoneinfo import ZoneInfo

import msgspec
from pydantic import SecretStr

from surefoot.alerts import Alert, Level
from surefoot.config import AlertSettings, Settings

TEXTS_SHOWN = 3
TEXT_MAX, TEXT_MIN = 1_500, 40  # the most that all large services take; the least that says something
TITLE_EDGE = 2  # between title and text, where a service has one for both
OUTBOX_MAX = 200
PAUSES_S = (2.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1_800.0, 3_600.0)  # after as many failures an alert is given up
SEND_MAX_S = 30.0
LOG_BYTES_MAX = 256_000
RECENT_MAX = 200
SECRET_PART = re.compile(r"[^/:@?&=,;#\s]{6,}")
ASKED_LEVEL = re.compile(rf"({'|'.join(Level)})=(.*)")


class Service(Protocol):
    """An address that takes alerts."""

    name: str
    level_min: Level

    def send(self, alert: Alert) -> str | None:
        """Blocks until it is there; what went wrong, None when nothing did."""
        ...


class AddressError(ValueError):
    """An address that no alert can be sent to; the text does not repeat it."""


# ---------------------------------------------------------------------------------------------------------------
# When


@dataclass(slots=True)
class _Group:
    """Alerts of one kind that wait until `until_ms`: the newest, how many, and what the last of them said."""

    until_ms: int
    newest: Alert | None = None
    count: int = 0
    texts: deque[str] = field(default_factory=lambda: deque(maxlen=TEXTS_SHOWN))

    def add(self, alert: Alert) -> None:
        self.newest, self.count = alert, self.count + alert.count
        if alert.text not in self.texts:
            self.texts.append(alert.text)

    def closed(self) -> Alert | None:
        if self.newest is None:
            return None
        text = " | ".join(self.texts)
        return replace(
            self.newest, text=f"{self.count} times, last: {text}" if self.count > 1 else text, count=self.count
        )


class Desk:
    """See the module's rules. Times are UTC ms of this machine, not the trader's."""

    def __init__(self, settings: AlertSettings) -> None:
        self._level_min = Level(settings.level_min)
        self._window_ms = settings.grouping_s * 1_000
        self._quiet = QuietHours(settings.quiet_hours, settings.time_zone)
        self._groups: dict[tuple[str, Level], _Group] = {}  # bounded by how many kinds there are

    def take(self, alert: Alert, now_ms: int) -> Alert | None:
        """The alert, when it is to be sent now; None when it waits, or is of too low a level."""
        if not alert.level.reaches(self._level_min):
            return None
        quiet_until_ms = None if alert.level is Level.CRITICAL else self._quiet.until_ms(now_ms)
        key = alert.kind, alert.level
        group = self._groups.get(key)
        if group is not None and (now_ms < group.until_ms or group.newest is not None):
            group.add(alert)
            return None
        if quiet_until_ms is not None:
            self._groups[key] = _Group(quiet_until_ms)
            self._groups[key].add(alert)
            return None
        if self._window_ms:
            self._groups[key] = _Group(now_ms + self._window_ms)
        return alert

    def due(self, now_ms: int) -> list[Alert]:
        """What waited and is to be sent now."""
        ripe: list[Alert] = []
        for key, group in list(self._groups.items()):
            if now_ms < group.until_ms:
                continue
            quiet_until_ms = None if key[1] is Level.CRITICAL else self._quiet.until_ms(now_ms)
            if quiet_until_ms is not None and group.newest is not None:
                group.until_ms = quiet_until_ms
                continue
            del self._groups[key]
            closed = group.closed()
            if closed is not None:
                ripe.append(closed)
                if self._window_ms:  # a kind that does not stop goes on as one a window
                    self._groups[key] = _Group(now_ms + self._window_ms)
        return ripe

    def deadline_ms(self) -> int | None:
        """When `due` has something to say; None when nothing waits."""
        return min((group.until_ms for group in self._groups.values() if group.newest is not None), default=None)

    def is_quiet(self, now_ms: int) -> bool:
        return self._quiet.until_ms(now_ms) is not None

    def empty(self) -> list[Alert]:
        """All that waits, at the end of a run: nothing is kept for later."""
        closed = [group.closed() for group in self._groups.values()]
        self._groups.clear()
        return [alert for alert in closed if alert is not None]


class QuietHours:
    """Hours of every day in a time zone, such as 22:00-07:00; an empty text is none."""

    def __init__(self, hours: str, zone: str) -> None:
        self._zone = ZoneInfo(zone)
        self._hours = tuple(_minutes(word) for word in hours.split("-")) if hours else None

    def until_ms(self, now_ms: int) -> int | None:
        """When the quiet hours that now run end; None when none run."""
        if self._hours is None:
            return None
        begin, end = self._hours
        now = datetime.fromtimestamp(now_ms / 1_000, UTC).astimezone(self._zone)
        minute = now.hour * 60 + now.minute
        if not (begin <= minute < end if begin <= end else minute >= begin or minute < end):
            return None
        days = 1 if begin > end and minute >= begin else 0
        day = (now + timedelta(days=days)).date()
        over = datetime(day.year, day.month, day.day, end // 60, end % 60, tzinfo=self._zone)
        return int(over.timestamp() * 1_000)


def _minutes(word: str) -> int:
    hours, _, minutes = word.partition(":")
    return int(hours) * 60 + int(minutes)


# ---------------------------------------------------------------------------------------------------------------
# Where to


class Address:
    """A service as its secret address names it: Slack, e-mail, Telegram, Discord, a web hook, or what Apprise knows."""

    def __init__(self, line: str, number: int) -> None:
        """`line` is ADDRESS or LEVEL=ADDRESS. Raises AddressError."""
        import apprise

        # It would show addresses where somebody listens.
        if not logging.getLogger("apprise").handlers:
            logging.getLogger("apprise").addHandler(logging.NullHandler())
        logging.getLogger("apprise").propagate = False
        asked = ASKED_LEVEL.fullmatch(line)
        self.level_min = Level(asked[1]) if asked else Level.INFO
        address = asked[2] if asked else line
        plugin = apprise.Apprise.instantiate(address, suppress_exceptions=True)
        if plugin is None:
            raise AddressError(
                f"address {number}: nothing that alerts can be sent to; it begins like slack://, json://"
            )
        self.name = f"{plugin.service_name} ({number})"
        # Parts of it, so that none shows in what the service answers; its host is no secret.
        host = getattr(plugin, "host", "")
        self._secret_parts = sorted(
            {part for part in SECRET_PART.findall(address) if part != host}, key=len, reverse=True
        )
        self._room = int(plugin.body_maxlen)
        self._apprise = apprise.Apprise()
        self._apprise.add(plugin)
        self._plain = apprise.NotifyFormat.TEXT
        self._types = {
            Level.INFO: apprise.NotifyType.INFO,
            Level.WARNING: apprise.NotifyType.WARNING,
            Level.CRITICAL: apprise.NotifyType.FAILURE,
        }

    def send(self, alert: Alert) -> str | None:
        """See `Service`."""
        title = f"Surefoot, {alert.level}: {alert.title}"
        # What people and exceptions say is text: where a service reads HTML, it is escaped.
        result = self._apprise.notify(
            body=_fitting(alert.text, min(TEXT_MAX, self._room - len(title) - TITLE_EDGE)),
            title=title,
            body_format=self._plain,
            notify_type=self._types[alert.level],
            timeout=SEND_MAX_S,
        )
        if result:
            return None
        said = "; ".join(dict.fromkeys(entry.message for entry in result.logs()))
        for part in self._secret_parts:
            said = said.replace(part, "…")
        return " ".join(said.split())[:300] or "refused without a reason"


def _fitting(text: str, room: int) -> str:
    """Of a text what can be sent and read: no control characters, not longer than there is room, not nothing."""
    plain = "".join(letter if letter.isprintable() or letter == "\n" else " " for letter in text).strip()
    room = max(room, TEXT_MIN)
    return (plain if len(plain) <= room else f"{plain[: room - 1]}…") or "–"


def addresses_of(settings: Settings) -> tuple[list[Service], list[str]]:
    """The addresses that SUREFOOT_ALERT_URLS names, and what is wrong with those that are none."""
    return services_at(settings.alert_urls)


def services_at(urls: SecretStr | None) -> tuple[list[Service], list[str]]:
    """The same of addresses that are named otherwise, one a line."""
    if urls is None:
        return [], []
    services: list[Service] = []
    problems: list[str] = []
    for number, line in enumerate(urls.get_secret_value().split(), start=1):
        try:
            services.append(Address(line, number))
        except AddressError as problem:
            problems.append(str(problem))
    return services, problems


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of an alert at one address; `problem` is None when it is there."""

    service: str
    problem: str | None
    tries: int = 1


def send_test(settings: Settings, now_ms: int, who: str) -> list[Delivery]:
    """Really send a test alert to every address, whatever levels and quiet hours say; blocks. What happened at each.

    An empty list means that no address is set.
    """
    services, problems = addresses_of(settings)
    alert = Alert(now_ms, Level.INFO, "test", "A test", f"asked for by {who}: alerts reach this address")
    return [
        *(Delivery(service.name, service.send(alert)) for service in services),
        *(Delivery(problem.partition(":")[0], problem.partition(": ")[2]) for problem in problems),
    ]


@dataclass(slots=True)
class _Letter:
    """An alert on its way to an address: due at a time of the loop, or sooner where there is a reason to try."""

    number: int
    alert: Alert
    told_ms: int
    tries: int = 0
    due_s: float = 0.0
    pauses: int = 0  # how many of the pauses it has waited out
    is_called: bool = False

    @property
    def urgency(self) -> tuple[bool, int]:
        return self.alert.level is not Level.CRITICAL, self.number


class Outbox:
    """Sends to one address what is critical first, and else in order.

    What fails is tried again, later each time, and keeps nothing else from being tried: a new alert goes at once, with
    the first of those that wait before it, and the others follow as soon as one has arrived. What comes after its turn
    says of when it is.
    """

    def __init__(
        self,
        service: Service,
        told: Callable[[int, Delivery], None],
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        """`told` gets the number of an alert and what became of it, at its first failure and in the end."""
        self.dropped = 0
        self._service = service
        self._told = told
        self._pauses_s = pauses_s
        self._waiting: list[_Letter] = []
        self._newest_sent = -1
        self._changed = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()

    def put(self, number: int, alert: Alert, told_ms: int) -> None:
        """Keep it for sending; when too many wait, the oldest of the lowest level goes. Numbers grow."""
        if not alert.level.reaches(self._service.level_min):
            return
        self._waiting.append(_Letter(number, alert, told_ms))
        self._call(min(self._waiting, key=lambda letter: letter.urgency))
        self._idle.clear()
        if len(self._waiting) > OUTBOX_MAX:
            least = min(self._waiting, key=lambda letter: (list(Level).index(letter.alert.level), letter.number))
            self._waiting.remove(least)
            self.dropped += 1
            self._told(least.number, Delivery(self._service.name, "too many alerts wait for this address", least.tries))

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            now_s = asyncio.get_running_loop().time()
            ready = [letter for letter in self._waiting if letter.is_called or letter.due_s <= now_s]
            if ready:
                await self._try(min(ready, key=lambda letter: letter.urgency))
                continue
            if not self._waiting:
                self._idle.set()
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(min((letter.due_s for letter in self._waiting), default=None)):
                    await self._changed.wait()

    async def drained(self) -> None:
        """Try all that waits once more, without a pause; back when nothing waits."""
        self._call(*self._waiting)
        await self._idle.wait()

    def _call(self, *letters: _Letter) -> None:
        for letter in letters:
            letter.is_called = True
        self._changed.set()

    async def _try(self, letter: _Letter) -> None:
        loop = asyncio.get_running_loop()
        self._waiting.remove(letter)
        was_due = letter.due_s <= loop.time()
        is_late = letter.tries > 0 or letter.number < self._newest_sent
        letter.tries, letter.is_called = letter.tries + 1, False
        try:
            problem = await asyncio.to_thread(self._service.send, _of_when(letter) if is_late else letter.alert)
        except Exception as error:  # of a library that speaks to strangers
            problem = f"{type(error).__name__} while sending"
        if problem is None:
            self._newest_sent = max(self._newest_sent, letter.number)
            self._call(*self._waiting)
        elif not was_due or letter.pauses < len(self._pauses_s):
            if was_due:
                letter.due_s = loop.time() + self._pauses_s[letter.pauses]
                letter.pauses += 1
            self._waiting.append(letter)
            if letter.tries > 1:
                return
        self._told(letter.number, Delivery(self._service.name, problem, letter.tries))


def _of_when(letter: _Letter) -> Alert:
    told = datetime.fromtimestamp(letter.told_ms / 1_000, UTC)
    return replace(letter.alert, text=f"(told {told:%H:%M:%S} UTC) {letter.alert.text}")


# ---------------------------------------------------------------------------------------------------------------
# What was told


def alerts_path(journal_path: Path) -> Path:
    """Where the alerts about a journal are kept."""
    return Path(f"{journal_path}.alerts.jsonl")


def guard_alerts_path(journal_path: Path) -> Path:
    """Where those of the guardian are kept: a file has one writer."""
    return Path(f"{journal_path}.guard-alerts.jsonl")


class AlertLog:
    """Alerts and what became of them, one line of JSON each; its owner's alone, and bounded."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._last_number = max((each["number"] for each in recent_alerts(path)), default=0)

    def add(self, alert: Alert, now_ms: int) -> int:
        """Keep it; its number."""
        self._last_number += 1
        self._write({"number": self._last_number, "told_ms": now_ms, **asdict(alert)})
        return self._last_number

    def delivered(self, number: int, delivery: Delivery) -> None:
        self._write({"of": number, **asdict(delivery)})

    def _write(self, line: dict[str, Any]) -> None:
        with suppress(OSError):  # a full disk is told by the trader; it must not end the telling
            handle = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            with os.fdopen(handle, "ab") as file:
                file.write(json.dumps(line).encode() + b"\n")
                size = file.tell()
            if size > LOG_BYTES_MAX:
                self._shorten()

    def _shorten(self) -> None:
        kept = self._path.read_bytes()[-LOG_BYTES_MAX // 2 :].partition(b"\n")[2]
        fresh = self._path.with_name(f"{self._path.name}.new")
        fresh.touch(0o600)
        fresh.write_bytes(kept)
        fresh.replace(self._path)


def recent_alerts(path: Path, limit: int = RECENT_MAX) -> list[dict[str, Any]]:
    """The newest alerts, newest first: number, told_ms (this machine's clock), at_ms (the trader's), level, kind,
    title, text, count, and of each address what became of it last: deliveries {service, problem, tries}. Empty when
    there are none."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError:
        return []
    alerts: dict[int, dict[str, Any]] = {}
    for line in lines:
        try:
            said = msgspec.json.decode(line)
        except msgspec.DecodeError:  # cut short by a crash
            continue
        if "of" in said:
            if said["of"] in alerts:
                alert = alerts[said.pop("of")]
                before = [each for each in alert["deliveries"] if each["service"] != said["service"]]
                alert["deliveries"] = [*before, said]
        else:
            alerts[said["number"]] = {**said, "deliveries": []}
    return list(reversed(alerts.values()))[:limit]


def all_alerts(journal_path: Path, limit: int = RECENT_MAX) -> list[dict[str, Any]]:
    """The newest alerts about a journal, newest first, the guardian's among them; see `recent_alerts`. Numbers are one
    file's own: `by` says whose."""
    told = [{**alert, "by": "run"} for alert in recent_alerts(alerts_path(journal_path), limit)]
    told += [{**alert, "by": "guardian"} for alert in recent_alerts(guard_alerts_path(journal_path), limit)]
    return sorted(told, key=lambda alert: int(alert["told_ms"]), reverse=True)[:limit]


# ---------------------------------------------------------------------------------------------------------------
# All of it together


class Notifier:
    """Takes alerts, keeps them, and sends them by way of the desk. Runs in one task."""

    def __init__(
        self,
        settings: AlertSettings,
        services: Sequence[Service],
        log: AlertLog,
        clock: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        pauses_s: Sequence[float] = PAUSES_S,
    ) -> None:
        self._desk = Desk(settings)
        self._log = log
        self._clock = clock
        self._outboxes = [Outbox(service, log.delivered, pauses_s) for service in services]
        self._changed = asyncio.Event()

    def put(self, alert: Alert) -> None:
        now_ms = self._clock()
        ready = self._desk.take(alert, now_ms)
        if ready is not None:
            self._post(ready, now_ms)
        self._changed.set()

    async def run(self) -> None:
        """Until it is cancelled."""
        async with asyncio.TaskGroup() as group:
            for outbox in self._outboxes:
                group.create_task(outbox.run())
            while True:
                self._changed.clear()
                deadline_ms = self._desk.deadline_ms()
                wait_s = None if deadline_ms is None else max(0.0, (deadline_ms - self._clock()) / 1_000)
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._changed.wait()
                self._post_due()

    async def close(self, grace_s: float) -> None:
        """Send what waits, while `run` goes on; back when it is gone or the time is over. In quiet hours what is not
        critical is only kept in the log."""
        now_ms = self._clock()
        for alert in self._desk.empty():
            if alert.level is Level.CRITICAL or not self._desk.is_quiet(now_ms):
                self._post(alert, now_ms)
            else:
                self._log.add(alert, now_ms)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace_s):
                await asyncio.gather(*(outbox.drained() for outbox in self._outboxes))

    def _post_due(self) -> None:
        now_ms = self._clock()
        for alert in self._desk.due(now_ms):
            self._post(alert, now_ms)

    def _post(self, alert: Alert, now_ms: int) -> None:
        number = self._log.add(alert, now_ms)
        for outbox in self._outboxes:
            outbox.put(number, alert, now_ms)


def lines_of(deliveries: Sequence[Delivery]) -> Iterator[str]:
    """What became of a test, for a person."""
    for delivery in deliveries:
        yield f"{delivery.service}: {'sent' if delivery.problem is None else f'FAILED: {delivery.problem}'}"
