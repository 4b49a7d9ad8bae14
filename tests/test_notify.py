"""How alerts reach people: when, where to, what happens when nobody answers, and that addresses stay secret."""

from __future__ import annotations

import asyncio
import email.policy
import html
import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from pydantic import SecretStr

from surefoot import notify
from surefoot.alerts import Alert, Level
from surefoot.cli import main
from surefoot.config import AlertSettings, Settings, load, to_toml
from surefoot.notify import (
    Address,
    AddressError,
    AlertLog,
    Delivery,
    Desk,
    Notifier,
    Outbox,
    QuietHours,
    addresses_of,
    alerts_path,
    all_alerts,
    guard_alerts_path,
    recent_alerts,
    send_test,
    services_at,
)
from tests.receivers import Heard, mail_server, web_hooks

TOKENS = (
    "T1JJ3T3L2",
    "A1BRTD4JD",
    "TIiajkdnlazkcOXrIdevi7FQ",
    "abcdefg_hijklmnop",
    "JHMHI8qBe7bk2ZwO5U711o3dV_js",
    "hookSECRETpath",
)


TOLD_MS = 1_748_833_509_000
LATE = "(told 03:05:09 UTC) "


def alert(text: str = "x", level: Level = Level.WARNING, kind: str = "link-lost") -> Alert:
    return Alert(1, level, kind, "A link is lost", text)


def desk(**settings: Any) -> Desk:
    return Desk(AlertSettings(**{"grouping_s": 60, **settings}))


# -- when -------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("NOTE-1")
def test_the_first_of_a_kind_goes_at_once_and_the_rest_of_the_window_becomes_one_with_a_count() -> None:
    one = desk()
    assert one.take(alert("a"), 0) == alert("a")
    assert [one.take(alert(text), 1_000) for text in ("b", "c", "d", "e")] == [None] * 4
    assert one.deadline_ms() == 60_000
    assert one.due(59_999) == []
    (grouped,) = one.due(60_000)
    assert (grouped.count, grouped.text) == (4, "4 times, last: c | d | e")
    assert one.take(alert("f"), 70_000) is None  # a kind that does not stop goes on as one a window
    assert [each.text for each in one.due(120_000)] == ["f"]
    assert one.due(180_000) == []
    assert one.take(alert("g"), 180_001) == alert("g")


@pytest.mark.spec("NOTE-1")
def test_kinds_and_levels_do_not_wait_for_each_other() -> None:
    one = desk()
    different = [alert(), alert(kind="trip"), alert(level=Level.CRITICAL)]
    assert [one.take(each, 0) for each in different] == different


@pytest.mark.spec("NOTE-1")
def test_without_grouping_each_is_sent() -> None:
    one = desk(grouping_s=0)
    assert [one.take(alert(text), 0) for text in "ab"] == [alert("a"), alert("b")]
    assert one.deadline_ms() is None


@pytest.mark.spec("NOTE-1")
def test_what_is_below_the_least_level_is_not_sent() -> None:
    one = desk(level_min="warning")
    assert one.take(alert(level=Level.INFO), 0) is None
    assert one.empty() == []
    assert one.take(alert(), 0) is not None


def vienna(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo("Europe/Vienna")).timestamp() * 1_000)


@pytest.mark.spec("NOTE-1")
@pytest.mark.parametrize(
    ("hours", "now", "until"),
    [
        ("22:00-07:00", "2025-06-01T21:59", None),
        ("22:00-07:00", "2025-06-01T22:00", "2025-06-02T07:00"),
        ("22:00-07:00", "2025-06-02T06:59", "2025-06-02T07:00"),
        ("22:00-07:00", "2025-06-02T07:00", None),
        ("22:00-07:00", "2025-03-29T23:00", "2025-03-30T07:00"),  # the night in which a clock hour is missing
        ("12:30-13:00", "2025-06-01T12:45", "2025-06-01T13:00"),
        ("12:30-13:00", "2025-06-01T13:00", None),
        ("", "2025-06-01T03:00", None),
    ],
)
def test_quiet_hours_are_those_of_a_time_zone(hours: str, now: str, until: str | None) -> None:
    quiet = QuietHours(hours, "Europe/Vienna")
    assert quiet.until_ms(vienna(now)) == (None if until is None else vienna(until))


@pytest.mark.spec("NOTE-1")
def test_in_quiet_hours_only_what_is_critical_goes_and_the_rest_in_the_morning() -> None:
    one = desk(quiet_hours="22:00-07:00", time_zone="Europe/Vienna")
    night, morning = vienna("2025-06-02T03:00"), vienna("2025-06-02T07:00")
    assert one.take(alert(level=Level.CRITICAL, kind="trip"), night) is not None
    assert [one.take(alert(text), night + 1) for text in "ab"] == [None, None]
    assert one.take(alert(level=Level.INFO, kind="day"), night) is None
    assert one.due(morning - 1) == []
    assert {(each.kind, each.count) for each in one.due(morning)} == {("link-lost", 2), ("day", 1)}


@pytest.mark.spec("NOTE-1")
def test_a_window_that_ends_in_quiet_hours_waits_for_their_end() -> None:
    one = desk(quiet_hours="22:00-07:00")
    before, after = vienna("2025-06-01T23:59:30"), vienna("2025-06-02T00:00:30")  # 21:59:30 and 22:00:30 UTC
    assert one.take(alert("a"), before) is not None
    assert one.take(alert("b"), before + 1) is None
    assert one.due(after) == []
    assert one.deadline_ms() == vienna("2025-06-02T09:00")


# -- where to ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def hooks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Heard]:
    """Servers of all services; only the host of those is patched whose address cannot name one."""
    from apprise.plugins.discord import NotifyDiscord
    from apprise.plugins.slack import NotifySlack
    from apprise.plugins.telegram import NotifyTelegram

    with web_hooks() as heard:
        here = f"http://127.0.0.1:{heard.port}"
        monkeypatch.setattr(NotifySlack, "webhook_url", f"{here}/services")
        monkeypatch.setattr(NotifyDiscord, "notify_url", f"{here}/api/webhooks")
        monkeypatch.setattr(NotifyTelegram, "notify_url", f"{here}/bot")
        yield heard


def settings(*lines: str, **flags: str) -> Settings:
    return load(None, flags, {"SUREFOOT_ALERT_URLS": "\n".join(lines)} if lines else {}).settings


def lines(port: int) -> list[str]:
    return [
        "slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ/#trading",
        "discord://4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js",
        "critical=tgram://123456789:abcdefg_hijklmnop/12315544/",
        f"json://127.0.0.1:{port}/hookSECRETpath",
    ]


@pytest.mark.spec("NOTE-1")
def test_a_test_really_reaches_each_service_in_its_own_words(hooks: Heard) -> None:
    with mail_server() as mail:
        mailto = f"mailto://ann:mailPASSword1@localhost:{mail.port}?from=bot@here.at&to=ann@here.at&mode=insecure"
        deliveries = send_test(settings(*lines(hooks.port), mailto), 1, "ann")
    assert [(each.service, each.problem) for each in deliveries] == [
        ("Slack (1)", None),
        ("Discord (2)", None),
        ("Telegram (3)", None),
        ("JSON (4)", None),
        ("E-Mail (5)", None),
    ]
    slack, discord, telegram, plain = (hooks.posts[at] for at in range(4))
    assert slack[0] == "/services/T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ"
    assert "alerts reach this address" in slack[1]["attachments"][0]["text"]
    assert discord[0].startswith("/api/webhooks/4174216298/JHMHI8qBe7bk2ZwO5U711o3dV_js")
    assert "alerts reach this address" in json.dumps(discord[1])
    assert telegram[0] == "/bot123456789:abcdefg_hijklmnop/sendMessage"
    assert telegram[1]["chat_id"] == 12315544
    assert "alerts reach this address" in telegram[1]["text"]
    assert plain[0] == "/hookSECRETpath"
    assert plain[1]["title"] == "Surefoot, info: A test"
    assert plain[1]["message"] == "asked for by ann: alerts reach this address"
    (message,) = mail.mails
    assert "Subject: Surefoot, info: A test" in message
    assert "To: ann@here.at" in message


@pytest.mark.spec("NOTE-1", "SAFE-3")
@pytest.mark.parametrize(
    "text",
    [
        "TypeError: '<' not supported between instances of 'str' and 'int'",
        "by ann: loss < 3 % & <b>bold <img src=http://elsewhere.example/p.png> *a*_b_ [x](y) &lt;",
        "<&" * 4_000,
        "broken \udc80 \x00 \x1b[31m",
        "",
    ],
)
def test_what_an_alert_says_is_text_that_every_service_takes(hooks: Heard, text: str) -> None:
    with mail_server() as mail:
        mailto = f"mailto://ann:mailPASSword1@localhost:{mail.port}?from=bot@here.at&to=ann@here.at&mode=insecure"
        services, _ = services_at(SecretStr("\n".join([*lines(hooks.port), mailto])))
        assert [service.send(alert(text, Level.CRITICAL)) for service in services] == [None] * 5
    told = {path.split("/")[1]: body for path, body in hooks.posts}
    says = html.unescape(told["bot123456789:abcdefg_hijklmnop"]["text"])
    assert says.startswith("<b>Surefoot, critical: A link is lost</b>")
    for said in (says, told["api"]["content"], told["hookSECRETpath"]["message"]):
        assert text.isprintable() is False or text[:1_000] in said
    (message,) = (email.message_from_string(mail, policy=email.policy.default) for mail in mail.mails)
    assert message.get_content_type() == "text/plain"
    assert text.isprintable() is False or text[:1_000] in message.get_content()


@pytest.mark.spec("NOTE-1")
def test_a_service_with_little_room_is_told_as_much_as_fits(hooks: Heard, monkeypatch: pytest.MonkeyPatch) -> None:
    from apprise.plugins.custom_json import NotifyJSON

    monkeypatch.setattr(NotifyJSON, "body_maxlen", 160)
    assert Address(lines(hooks.port)[3], 1).send(alert("word " * 100)) is None
    told = hooks.posts[0][1]
    assert len(told["title"]) + len(told["message"]) == 158
    assert told["message"].endswith("…")


@pytest.mark.spec("NOTE-1", "SAFE-3")
def test_what_went_wrong_is_said_without_the_address(hooks: Heard) -> None:
    hooks.refusals = [403, 401, 500, 400]
    deliveries = send_test(settings(*lines(hooks.port), "nonsense://hookSECRETpath"), 1, "ann")
    assert all(each.problem for each in deliveries)
    assert [each.service for each in deliveries][-1] == "address 5"
    said = json.dumps([asdict(each) for each in deliveries])
    assert not [token for token in TOKENS if token in said]


@pytest.mark.spec("NOTE-1", "SAFE-3")
def test_an_address_where_nobody_listens_is_said_without_it() -> None:
    with web_hooks() as gone:
        pass
    (delivery,) = send_test(settings(f"json://127.0.0.1:{gone.port}/hookSECRETpath"), 1, "ann")
    assert delivery.problem is not None
    assert "onnection error" in delivery.problem
    assert "SECRET" not in delivery.problem


@pytest.mark.spec("NOTE-1")
def test_the_command_says_of_each_address_what_happened(
    hooks: Heard, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "alerts.txt"
    file.write_text("\n".join(lines(hooks.port)))
    monkeypatch.setenv("SUREFOOT_ALERT_URLS_FILE", str(file))
    assert main(["alerts", "test"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"{name}: sent" for name in ("Slack (1)", "Discord (2)", "Telegram (3)", "JSON (4)")
    ]
    hooks.refusals = [0, 0, 0, 500]
    assert main(["alerts", "test", "--json"]) == 1
    assert [bool(each["problem"]) for each in json.loads(capsys.readouterr().out)] == [False, False, False, True]


@pytest.mark.spec("NOTE-1")
def test_without_an_address_the_command_says_how_to_name_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["alerts", "test"]) == 2
    assert "SUREFOOT_ALERT_URLS" in capsys.readouterr().err
    assert addresses_of(settings()) == ([], [])


@pytest.mark.spec("NOTE-1", "SAFE-3")
def test_addresses_are_secrets_of_the_settings() -> None:
    given = load(None, {}, {"SUREFOOT_ALERT_URLS": "\n".join(lines(1))})
    shown = repr(given) + to_toml(given.settings, given.sources) + given.settings.model_dump_json()
    assert not [token for token in TOKENS if token in shown]
    assert "# alert_urls: **********" in shown
    with pytest.raises(AddressError) as refused:
        Address("nonsense://hookSECRETpath", 1)
    assert "SECRET" not in str(refused.value)


# -- again and again ---------------------------------------------------------------------------------------------------


class Flaky:
    """A service that fails as often as it is told to."""

    def __init__(self, *failures: str | Exception, level_min: Level = Level.INFO) -> None:
        self.name, self.level_min = "Flaky (1)", level_min
        self.sent: list[Alert] = []
        self._failures = list(failures)

    def send(self, alert: Alert) -> str | None:
        if self._failures:
            failure = self._failures.pop(0)
            if isinstance(failure, Exception):
                raise failure
            return failure
        self.sent.append(alert)
        return None


async def delivered(
    service: Flaky, *alerts: Alert, pauses_s: tuple[float, ...] = (0.0, 0.0)
) -> list[tuple[int, Delivery]]:
    told: list[tuple[int, Delivery]] = []
    outbox = Outbox(service, lambda number, delivery: told.append((number, delivery)), pauses_s)
    for number, each in enumerate(alerts):
        outbox.put(number, each, TOLD_MS)
    running = asyncio.create_task(outbox.run())
    async with asyncio.timeout(10):
        await outbox.drained()
    running.cancel()
    return told


@pytest.mark.spec("NOTE-1")
async def test_a_failure_is_tried_again_and_keeps_the_order() -> None:
    service = Flaky("no", RuntimeError("strange"))
    told = await delivered(service, alert("a"), alert("b"))
    assert [each.text for each in service.sent] == [f"{LATE}a", "b"]
    assert told == [
        (0, Delivery("Flaky (1)", "no", 1)),
        (0, Delivery("Flaky (1)", None, 3)),
        (1, Delivery("Flaky (1)", None, 1)),
    ]


class Address1:
    """A service that is there or not, and takes none whose text is `bad`."""

    name, level_min = "Address (1)", Level.INFO

    def __init__(self, *, is_up: bool = True) -> None:
        self.is_up = is_up
        self.sent: list[str] = []
        self.refused: list[str] = []

    def send(self, alert: Alert) -> str | None:
        if not self.is_up or alert.text.endswith("bad"):
            self.refused.append(alert.text)
            return "no"
        self.sent.append(alert.text)
        return None


class Sending:
    """An outbox that is at work, and the pauses of which nobody can wait for."""

    def __init__(self, service: Address1) -> None:
        self.service = service
        self.told: list[tuple[int, Delivery]] = []
        self.outbox = Outbox(service, lambda number, delivery: self.told.append((number, delivery)), (3_600.0,))

    async def __aenter__(self) -> Sending:
        self._running = asyncio.create_task(self.outbox.run())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._running.cancel()

    async def until(self, number: int, *, refused: int = 0) -> None:
        async with asyncio.timeout(5):
            while len(self.service.sent) < number or len(self.service.refused) < refused:
                await asyncio.sleep(0.002)


@pytest.mark.spec("NOTE-1", "SAFE-3")
async def test_an_alert_does_not_wait_behind_one_that_the_address_refuses() -> None:
    async with Sending(Address1()) as sending:
        sending.outbox.put(1, alert("bad", Level.INFO), TOLD_MS)
        await sending.until(0, refused=1)
        sending.outbox.put(2, alert("no resting stop", Level.CRITICAL), TOLD_MS)
        sending.outbox.put(3, alert("the run has ended", Level.INFO), TOLD_MS)
        await sending.until(2)
    assert sending.service.sent == ["no resting stop", "the run has ended"]
    assert [number for number, _ in sending.told] == [1, 2, 3]


@pytest.mark.spec("NOTE-1", "SAFE-3")
async def test_an_address_that_answers_again_gets_what_waits_at_the_next_alert_in_the_old_order() -> None:
    async with Sending(Address1(is_up=False)) as sending:
        for number, text in enumerate(("silent", "heard again", "silent too")):
            sending.outbox.put(number, alert(text), TOLD_MS)
        await sending.until(0, refused=3)
        sending.service.is_up = True
        sending.outbox.put(3, alert("heard again too"), TOLD_MS)
        await sending.until(4)
    assert sending.service.sent == [
        f"{LATE}silent", f"{LATE}heard again", f"{LATE}silent too", "heard again too",
    ]  # fmt: skip


@pytest.mark.spec("NOTE-1", "SAFE-3")
async def test_what_is_critical_goes_before_what_waits_and_that_says_of_when_it_is() -> None:
    service = Flaky()
    told = await delivered(service, alert("a"), alert("b", Level.INFO), alert("c", Level.CRITICAL))
    assert [number for number, _ in told] == [2, 0, 1]
    assert [each.text for each in service.sent] == ["c", f"{LATE}a", f"{LATE}b"]


@pytest.mark.spec("NOTE-1", "SAFE-3")
async def test_at_the_end_all_that_waits_is_tried_once_more(tmp_path: Path) -> None:
    service = Address1(is_up=False)
    notifier = Notifier(AlertSettings(), [service], AlertLog(tmp_path / "alerts"), lambda: TOLD_MS, (3_600.0,))
    running = asyncio.create_task(notifier.run())
    for kind in ("start", "trip"):
        notifier.put(alert(kind, kind=kind))
    async with asyncio.timeout(5):
        while len(service.refused) < 2:
            await asyncio.sleep(0.002)
    service.is_up = True
    await notifier.close(5)
    running.cancel()
    assert service.sent == [f"{LATE}start", f"{LATE}trip"]


@pytest.mark.spec("NOTE-1")
async def test_after_all_tries_an_alert_is_given_up_and_that_is_known() -> None:
    service = Flaky("no", "no", "still no")
    told = await delivered(service, alert("a"), alert("b"))
    assert [each for number, each in told if number == 0] == [
        Delivery("Flaky (1)", "no", 1), Delivery("Flaky (1)", "still no", 3),
    ]  # fmt: skip
    assert [each.text for each in service.sent] == ["b"]


def test_pauses_grow_and_outlast_an_hour_without_a_network() -> None:
    assert list(notify.PAUSES_S) == sorted(notify.PAUSES_S)
    assert len(set(notify.PAUSES_S)) == len(notify.PAUSES_S)
    assert sum(notify.PAUSES_S) > 3_600


@pytest.mark.spec("NOTE-1")
async def test_an_address_may_ask_for_a_higher_level() -> None:
    service = Flaky(level_min=Level.CRITICAL)
    await delivered(service, alert("a"), alert("b", level=Level.CRITICAL))
    assert [each.text for each in service.sent] == ["b"]


@pytest.mark.spec("NOTE-1")
async def test_a_full_outbox_lets_go_of_what_matters_least(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "OUTBOX_MAX", 2)
    service = Flaky()
    told = await delivered(service, alert("a", Level.CRITICAL), alert("b", Level.INFO), alert("c"), alert("d"))
    assert [each.text for each in service.sent] == ["a", "d"]
    assert [(number, each.problem is None) for number, each in told] == [(1, False), (2, False), (0, True), (3, True)]


# -- what was told -----------------------------------------------------------------------------------------------------


@pytest.mark.spec("NOTE-1")
async def test_what_was_told_is_kept_with_what_became_of_it(tmp_path: Path) -> None:
    log = AlertLog(alerts_path(tmp_path / "j.sqlite"))
    service = Flaky("no")
    notifier = Notifier(AlertSettings(), [service], log, pauses_s=(0.0,))
    running = asyncio.create_task(notifier.run())
    for text in "abc":
        notifier.put(alert(text))
    await notifier.close(10)
    running.cancel()
    newest, first = recent_alerts(alerts_path(tmp_path / "j.sqlite"))
    assert (newest["count"], newest["text"]) == (2, "2 times, last: b | c")
    assert first["deliveries"] == [{"service": "Flaky (1)", "problem": None, "tries": 2}]
    first_text, second_text = (each.text for each in service.sent)
    assert first_text.startswith("(told ")
    assert first_text.endswith(" UTC) a")
    assert second_text == "2 times, last: b | c"
    assert (tmp_path / "j.sqlite.alerts.jsonl").stat().st_mode & 0o777 == 0o600
    assert AlertLog(alerts_path(tmp_path / "j.sqlite")).add(alert(), 5) == 3


@pytest.mark.spec("NOTE-1", "OBS-1")
async def test_that_an_address_did_not_take_an_alert_is_known_while_it_is_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "alerts.jsonl"
    service = Address1(is_up=False)
    notifier = Notifier(AlertSettings(), [service], AlertLog(path), lambda: TOLD_MS, (3_600.0,))
    running = asyncio.create_task(notifier.run())
    notifier.put(alert("no resting stop", Level.CRITICAL))
    async with asyncio.timeout(5):
        while not recent_alerts(path)[0]["deliveries"]:
            await asyncio.sleep(0.002)
    running.cancel()
    assert recent_alerts(path)[0]["deliveries"] == [{"service": "Address (1)", "problem": "no", "tries": 1}]


def test_the_file_of_alerts_is_bounded_and_half_a_line_does_no_harm(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notify, "LOG_BYTES_MAX", 4_000)
    path = tmp_path / "alerts.jsonl"
    log = AlertLog(path)
    for _ in range(100):
        log.add(alert("y" * 50), 5)
    assert path.stat().st_size <= 4_500
    with path.open("a") as file:
        file.write('{"number": 101, "to')
    numbers = [each["number"] for each in recent_alerts(path)]
    assert numbers == sorted(numbers, reverse=True)
    assert numbers[0] == 100
    assert recent_alerts(tmp_path / "nowhere") == []


def test_alerts_of_the_guardian_stand_among_the_others_by_their_time(tmp_path: Path) -> None:
    journal = tmp_path / "j.sqlite"
    run, guard = AlertLog(alerts_path(journal)), AlertLog(guard_alerts_path(journal))
    for log, told_ms in ((run, 1), (guard, 2), (run, 3)):
        log.add(alert(), told_ms)
    assert [(each["by"], each["number"], each["told_ms"]) for each in all_alerts(journal)] == [
        ("run", 2, 3), ("guardian", 1, 2), ("run", 1, 1),
    ]  # fmt: skip
    assert [each["told_ms"] for each in all_alerts(journal, 2)] == [3, 2]
