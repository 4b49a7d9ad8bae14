"""Metrics: what is rendered, who may read it, and that every one named in rules and dashboards exists and moves."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from math import sin
from pathlib import Path
from typing import Any

import aiohttp
import httpx2
import pytest
from prometheus_client.parser import text_string_to_metric_families

from surefoot.alerts import Alert, Level
from surefoot.api.roles import Role
from surefoot.api.routes.prometheus import rendered
from surefoot.config import load
from surefoot.control import ControlServer, socket_path
from surefoot.core.messages import RecordAlarm, RecordDecision, RecordTrip, RunStarted
from surefoot.core.model import Signal, Tier
from surefoot.core.tally import BOUNDS_MS, Tally
from surefoot.core.view import (
    AnswerView,
    BreakerView,
    LimitView,
    LinkView,
    SeriesView,
    TrafficView,
    TurnView,
    VenueLimitView,
    View,
)
from surefoot.notify import AlertLog, Delivery, alerts_path
from surefoot.store.journal import Journal
from surefoot.supervise import Job, Run
from surefoot.telemetry import Telemetry
from tests.api.served import place
from tests.tidy.tree import ROOT
from tests.views import empty_view, no_charts, no_engine, order, rich_view

DEPLOY = ROOT / "deploy"
RULES = DEPLOY / "prometheus" / "alerts.yml"
DASHBOARDS = sorted((DEPLOY / "grafana").glob("*.json"))
NAME = re.compile(r"\bsurefoot_[a-z_]+")
ENDS = re.compile(r"_(total|bucket|sum|count)$")

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]

needs_promtool = pytest.mark.skipif(
    shutil.which("promtool") is None, reason="promtool is not installed (Debian: apt install prometheus)"
)


def samples(text: bytes) -> Samples:
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def family_names(text: bytes) -> set[str]:
    return {line.split()[2] for line in text.decode().splitlines() if line.startswith("# TYPE ")}


def expressions() -> Iterator[str]:
    """Every expression of rules and dashboards."""
    for line in RULES.read_text().splitlines():
        if line.strip().startswith("expr: "):
            yield line.partition("expr: ")[2]
    for file in DASHBOARDS:
        for panel in json.loads(file.read_text())["panels"]:
            yield from (target["expr"] for target in panel["targets"])


def named() -> set[str]:
    return {ENDS.sub("", name) for text in expressions() for name in NAME.findall(text)}


# -- counting ----------------------------------------------------------------------------------------------------------


def test_a_tally_counts_up_to_each_bound() -> None:
    tally = Tally()
    for value_ms in (0.05, 0.1, 0.11, 9_000, 20_000):
        tally.add(value_ms)
    spread = tally.spread()
    assert spread.counts[:3] == (2, 1, 0)
    assert spread.counts[-2:] == (1, 1)
    assert len(spread.counts) == len(BOUNDS_MS) + 1
    assert spread.sum_ms == pytest.approx(29_000.26)


# -- what is rendered --------------------------------------------------------------------------------------------------


def traffic(scale: int = 0) -> TrafficView:
    """What a trader counts; everything differs for another scale."""
    tally = Tally()
    for _ in range(scale):
        tally.add(3)
    spread = tally.spread()
    return TrafficView(
        links=(LinkView("account", scale == 0, 3 * scale, scale), LinkView("market", True, 0, 0)),
        streams=(("btcusdt@kline_15m", 900 + scale),),
        inbox_waiting=scale,
        inbox_merged=scale,
        calls_queued=scale,
        calls_sent=scale,
        calls_repeated=scale,
        answers=(AnswerView("entry", "refused", scale),),
        answer_ms=(("entry", spread),),
        reaction_ms=spread,
        flush_ms=spread,
        flush_failures=scale,
        journal_pending=scale,
        clock_offset_ms=-250 * scale,
        clock_skew_ms=scale,
    )


def calm_view() -> View:
    limit = LimitView("day loss", Decimal(10_000), Decimal("0.5"), Decimal(5), Tier.NO_ENTRIES)
    return replace(
        rich_view(),
        breaker=BreakerView(None, (limit,), ()),
        venue_limits=(VenueLimitView("weight", 60_000, 6_000, 60),),
        traffic=traffic(),
        series=(SeriesView("BTCUSDT", "15m", 500, 500, 400, 9, 9),),
    )


def troubled_view() -> View:
    """The same trader when nothing is as it should be."""
    calm = calm_view()
    turn = TurnView(1, "day loss: 6 % reached 5 % (flatten)", None, True)
    limit = LimitView("day loss", Decimal(10_000), Decimal(6), Decimal("5.5"), Tier.FLATTEN)
    return replace(
        calm,
        at_ms=calm.at_ms + 70_000,
        equity=Decimal(9_400),
        balances=(("BTC", Decimal(1)), ("USDT", Decimal(2))),
        prices=tuple(replace(price, price=Decimal(7)) for price in calm.prices),
        positions=tuple(
            replace(each, quantity=each.quantity * 2, profit=Decimal(-9), unprotected_ms=6_000)
            for each in calm.positions
        ),
        orders=(replace(order(4, "entry"), state="IN_DOUBT"), *calm.orders[1:]),
        round_trip_count=3,
        unprotected_in_all_ms=14_000,
        differences=("BTC: 1 and 2",),
        foreign=(),
        links=("account",),
        entries_off="the breaker",
        breaker=BreakerView("day loss", (limit,), (turn,)),
        venue_limits=(VenueLimitView("weight", 60_000, 1_200, 1_100),),
        banned_until_ms=calm.at_ms + 90_000,
        traffic=traffic(4),
        series=(SeriesView("BTCUSDT", "15m", 20, 500, 2_000_000, 30, 9),),
    )


STARTED = RunStarted(5, "a1", "paper", ("BTCUSDT",), "d", "0.1")


@pytest.mark.spec("OBS-1")
def test_what_is_not_known_is_left_out_and_never_zero(tmp_path: Path) -> None:
    told = samples(Telemetry().render(empty_view(), None))
    names = {name for name, _ in told}
    assert told["surefoot_up", ()] == 1
    assert names.isdisjoint(
        {"surefoot_equity", "surefoot_price", "surefoot_reaction_seconds_count", "surefoot_records_total"}
    )
    silent = samples(Telemetry().render(None, tmp_path / "nowhere.sqlite"))
    assert silent["surefoot_up", ()] == 0
    assert "surefoot_entries_off" not in {name for name, _ in silent}


@pytest.mark.spec("OBS-1")
def test_values_and_labels_are_those_of_the_picture() -> None:
    told = samples(Telemetry().render(troubled_view(), None))
    assert told["surefoot_equity", (("quote", "USDT"),)] == 9_400
    assert told["surefoot_position_unprotected_seconds", (("symbol", "BTCUSDT"),)] == 6
    assert told["surefoot_breaker_loss_percent", (("rule", "day loss"),)] == 6
    assert told["surefoot_venue_used", (("kind", "weight"), ("window", "60s"))] == 1_100
    assert told["surefoot_reconnects_total", (("link", "account"), ("planned", "no"))] == 8
    assert told["surefoot_call_seconds_bucket", (("lane", "entry"), ("le", "0.0025"))] == 0
    assert told["surefoot_call_seconds_bucket", (("lane", "entry"), ("le", "0.005"))] == 4
    assert told["surefoot_call_seconds_sum", (("lane", "entry"),)] == pytest.approx(0.012)


@pytest.mark.spec("OBS-1")
def test_totals_go_on_from_where_the_journal_was_read_and_begin_anew_with_another(tmp_path: Path) -> None:
    telemetry, path = Telemetry(), tmp_path / "j.sqlite"
    trip = RecordTrip(5, "day loss", Tier.FLATTEN, Decimal(6), Decimal(5), None, "x")
    with Journal.open(path) as journal:
        journal.append(STARTED, RecordAlarm(5, "unprotected", "x"), trip)
        journal.flush()
        telemetry.render(None, path)
        journal.append(RecordAlarm(6, "unprotected", "y"))
        journal.flush()
        told = samples(telemetry.render(None, path))
    assert told["surefoot_records_total", (("kind", "RecordAlarm"),)] == 2
    assert told["surefoot_alarms_total", (("code", "unprotected"),)] == 2
    assert told["surefoot_trips_total", (("rule", "day loss"),)] == 1
    with Journal.open(tmp_path / "k.sqlite") as other:
        other.append(STARTED)
        other.flush()
        told = samples(telemetry.render(None, tmp_path / "k.sqlite"))
    assert told["surefoot_records_total", (("kind", "RunStarted"),)] == 1
    assert ("surefoot_records_total", (("kind", "RecordAlarm"),)) not in told


# -- rules and dashboards ----------------------------------------------------------------------------------------------


class Pictures:
    """Keeps a rendering of each picture of a run."""

    def __init__(self, journal: Path) -> None:
        self.renderings: list[Samples] = []
        self.families: set[str] = set()
        self._journal = journal
        self._telemetry = Telemetry()

    def note(self, text: str) -> None:
        pass

    def show(self, view: View) -> None:
        text = self._telemetry.render(view, self._journal)
        self.families |= family_names(text)
        self.renderings.append(samples(text))


def moved(renderings: list[Samples]) -> set[str]:
    """Families of which a sample changed from one rendering to another, or came, or went."""
    changes = (set(one.items()) ^ set(later.items()) for one, later in pairwise(renderings))
    return {ENDS.sub("", name) for change in changes for (name, _), _ in change}


def waves(folder: Path) -> Path:
    """Candles that go up and down by a tenth, so that there is something to trade."""
    file, start_ms = folder / "BTCUSDT-15m.csv", 1_748_736_000_000
    rows = []
    for number in range(260):
        at, price = start_ms + number * 900_000, 60_000 + 3_000 * sin(number / 9)
        after = 60_000 + 3_000 * sin((number + 1) / 9)
        high, low = max(price, after) + 20, min(price, after) - 20
        rows.append(f"{at},{price:.2f},{high:.2f},{low:.2f},{after:.2f},500,{at + 899_999},1.0,10,0.5,0.5,0")
    file.write_text("\n".join(rows) + "\n")
    return file


def in_trouble(folder: Path) -> tuple[list[Samples], set[str]]:
    """Renderings of a trader whose world goes wrong, and whose alerts reach nobody."""
    path, telemetry = folder / "trouble.sqlite", Telemetry()
    with Journal.open(path) as journal:
        journal.append(STARTED)
        journal.flush()
        silent, calm = telemetry.render(None, path), telemetry.render(calm_view(), path)
        log = AlertLog(alerts_path(path))
        number = log.add(Alert(5, Level.CRITICAL, "trip", "A trip", "x"), 5)
        log.delivered(number, Delivery("Slack (1)", "nobody there", 7))
        trip = RecordTrip(6, "day loss", Tier.FLATTEN, Decimal(6), Decimal(5), None, "x")
        decision = RecordDecision(6, Signal("BTCUSDT", 6, 0.5, 0.75, "oversold", ()), "spread", "x")
        journal.append(RecordAlarm(6, "unprotected", "x"), trip, decision)
        journal.flush()
        busy_with = b"x" * (64 << 20)  # the memory of a process that renders, and its time on a processor, move too
        until_s = time.process_time() + 0.05
        while time.process_time() < until_s:
            busy_with.count(b"y")
        troubled = telemetry.render(troubled_view(), path)
    return [samples(text) for text in (silent, calm, troubled)], family_names(troubled)


@pytest.mark.spec("OBS-1")
async def test_every_metric_of_rules_and_dashboards_exists_and_moves_in_a_paper_run_or_in_trouble(
    tmp_path: Path,
) -> None:
    """A paper run of real processes; what a healthy run never moves must move in trouble."""
    path, candles = tmp_path / "j.sqlite", waves(tmp_path)
    flags = {
        "store.journal_path": str(path),
        "paper.speed": "20000",  # some twelve seconds, with four pictures in each
        "breaker.stale_data_max_s": "0",
        "strategy.score_min_paper": "0",
    }
    given = load(None, flags, {}).settings
    sets = tuple(word for key, value in flags.items() for word in ("--set", f"{key}={value}"))
    pictures = Pictures(path)
    run = Run(Job(given, sets, True, dict(os.environ), replay=(str(candles),), web=False), pictures)
    await run.go()
    in_run = moved(pictures.renderings)
    troubles, families = in_trouble(tmp_path)
    assert named()
    known = {ENDS.sub("", name) for name in pictures.families}
    assert not named() - known, "named but not rendered in a paper run"
    assert known == {ENDS.sub("", name) for name in families}
    assert not named() - in_run - moved(troubles), "nothing moves it"
    assert in_run >= {
        "surefoot_equity",
        "surefoot_price",
        "surefoot_decisions",
        "surefoot_records",
        "surefoot_calls",
        "surefoot_call_seconds",
        "surefoot_reaction_seconds",
        "surefoot_journal_flush_seconds",
        "surefoot_open_orders",
        "surefoot_position",
        "surefoot_round_trips",
    }


@pytest.mark.spec("OBS-1")
def test_every_metric_is_shown_somewhere() -> None:
    shown = named() | {"surefoot_web_process_" + end for end in ("virtual_memory_bytes", "start_time_seconds")}
    shown |= {"surefoot_web_process_" + end for end in ("open_fds", "max_fds")}
    assert {ENDS.sub("", name) for name in family_names(Telemetry().render(calm_view(), None))} <= shown


@pytest.mark.spec("OBS-1")
@pytest.mark.parametrize("file", DASHBOARDS, ids=lambda file: file.stem)
def test_a_dashboard_can_be_imported_anywhere(file: Path) -> None:
    board = json.loads(file.read_text())
    assert board["templating"]["list"][0]["type"] == "datasource"
    panels = board["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    for panel in panels:
        assert panel["title"]
        for part in (panel, *panel["targets"]):
            assert part["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
    taken = [
        (x, y)
        for panel in panels
        for x in range(panel["gridPos"]["x"], panel["gridPos"]["x"] + panel["gridPos"]["w"])
        for y in range(panel["gridPos"]["y"], panel["gridPos"]["y"] + panel["gridPos"]["h"])
    ]
    assert len(taken) == len(set(taken))
    assert max(x for x, _ in taken) == 23


def promtool(*words: str, folder: Path = RULES.parent, text: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(["promtool", *words], cwd=folder, input=text, capture_output=True, timeout=60, check=False)


@needs_promtool
@pytest.mark.spec("OBS-1")
def test_promtool_likes_configuration_rules_and_the_text_itself() -> None:
    assert promtool("check", "config", "prometheus.yml").returncode == 0
    checked = promtool("check", "metrics", text=Telemetry().render(troubled_view(), None))
    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


@needs_promtool
@pytest.mark.spec("OBS-1")
def test_each_rule_fires_when_it_should_and_not_before() -> None:
    tested = promtool("test", "rules", "alerts.test.yml")
    assert tested.returncode == 0, tested.stdout.decode() + tested.stderr.decode()
    rules = re.findall(r"alert: (\w+)", RULES.read_text())
    assert len(rules) == len(set(rules)) >= 20
    assert set(re.findall(r"alertname: (\w+)", RULES.with_name("alerts.test.yml").read_text())) == set(rules)


@needs_promtool
@pytest.mark.spec("OBS-1")
def test_a_rule_that_is_bent_fails_its_test(tmp_path: Path) -> None:
    shutil.copytree(RULES.parent, tmp_path, dirs_exist_ok=True)
    bent = RULES.read_text().replace("unprotected_seconds > 5", "unprotected_seconds > 50")
    (tmp_path / "alerts.yml").write_text(bent)
    assert b"SurefootUnprotected" in promtool("test", "rules", "alerts.test.yml", folder=tmp_path).stderr


@needs_promtool
@pytest.mark.spec("OBS-1")
def test_every_expression_of_a_dashboard_can_be_parsed(tmp_path: Path) -> None:
    rules = [{"record": f"x:{at}", "expr": text} for at, text in enumerate(sorted(set(expressions())))]
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [{"name": "all", "rules": rules}]}))
    checked = promtool("check", "rules", "rules.yml", folder=tmp_path)
    assert checked.returncode == 0, checked.stderr.decode()


# -- who may read ------------------------------------------------------------------------------------------------------


def get(url: str, **headers: str) -> httpx2.Response:
    return httpx2.get(f"{url}/metrics", headers={name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.spec("OBS-1", "AUTH-1")
async def test_without_a_token_this_machine_reads_and_nobody_through_a_proxy(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        answer = await asyncio.to_thread(get, here.url)
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert samples(answer.content)["surefoot_up", ()] == 0
        assert (await asyncio.to_thread(get, here.url, x_forwarded_for="10.1.2.3")).status_code == 403
        assert (await asyncio.to_thread(get, here.url, forwarded="for=10.1.2.3")).status_code == 403
    async with place(tmp_path, web__behind_proxy="true") as here:
        assert (await asyncio.to_thread(get, here.url)).status_code == 403


@pytest.mark.spec("OBS-1", "AUTH-1")
async def test_with_a_token_set_only_the_token_reads(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        token = load(None, {}, {"SUREFOOT_METRICS_TOKEN": "the-metrics-token"}).settings.metrics_token
        here.parts.settings = here.parts.settings.model_copy(update={"metrics_token": token})
        for headers in ({}, {"authorization": "Bearer another"}, {"authorization": "Basic the-metrics-token"}):
            answer = await asyncio.to_thread(get, here.url, **headers)
            assert answer.status_code == 401
            assert "the-metrics-token" not in answer.text
        shown = await asyncio.to_thread(
            get, here.url, authorization="Bearer the-metrics-token", forwarded="for=10.1.2.3"
        )
        assert shown.status_code == 200


@pytest.mark.spec("OBS-1", "PERF-5")
async def test_the_web_process_counts_its_answers_how_long_they_took_and_its_open_streams(tmp_path: Path) -> None:
    async with place(tmp_path, web__requests_max_per_s="1") as here:
        async with aiohttp.ClientSession() as client, client.ws_connect(f"{here.url}/api/v1/stream"):
            told = samples(rendered(here.parts.settings, Telemetry(), here.parts.visits))
            assert told["surefoot_web_streams", ()] == 1
        viewer = await here.signed_in(Role.VIEWER)
        assert (await viewer.get("/nothing")).status_code == 404
        while (await viewer.get("/me")).status_code != 429:
            pass
        told = samples(rendered(here.parts.settings, Telemetry(), here.parts.visits))
    answers = {labels: count for (name, labels), count in told.items() if name == "surefoot_web_answers_total"}
    assert answers[("method", "GET"), ("status", "404")] == 1
    assert answers[("method", "GET"), ("status", "429")] == 1
    assert answers[("method", "POST"), ("status", "200")] == 1
    assert told["surefoot_web_answer_seconds_count", ()] == sum(answers.values())


# -- Prometheus itself -------------------------------------------------------------------------------------------------


def firing(port: int) -> set[tuple[str, str]]:
    try:
        said: Any = httpx2.get(f"http://127.0.0.1:{port}/api/v1/alerts", timeout=5).json()
    except httpx2.TransportError:
        return set()
    alerts = said["data"]["alerts"]
    return {
        (each["labels"]["alertname"], each["labels"].get("symbol", "")) for each in alerts if each["state"] == "firing"
    }


@pytest.mark.skipif(
    shutil.which("prometheus") is None, reason="prometheus is not installed (Debian: apt install prometheus)"
)
@pytest.mark.spec("OBS-1")
async def test_prometheus_scrapes_the_web_process_and_an_alert_fires(tmp_path: Path) -> None:
    """Debian's Prometheus with the files that are shipped; only port and intervals are changed."""
    path = tmp_path / "paper-20250601-000000-000.sqlite"
    with Journal.open(path) as journal:
        journal.append(STARTED)
    trader = ControlServer(socket_path(path), troubled_view, no_engine, no_charts)
    await trader.start()
    shutil.copytree(RULES.parent, tmp_path / "prometheus")
    config = tmp_path / "prometheus" / "prometheus.yml"
    port = _free_port()
    async with place(tmp_path) as here:
        text = config.read_text().replace("127.0.0.1:8650", here.url.removeprefix("http://"))
        config.write_text(text.replace("interval: 5s", "interval: 1s"))
        began_s = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            "prometheus",
            f"--config.file={config}",
            f"--web.listen-address=127.0.0.1:{port}",
            f"--storage.tsdb.path={tmp_path / 'tsdb'}",
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            async with asyncio.timeout(90):
                while ("SurefootUnprotected", "BTCUSDT") not in (fires := await asyncio.to_thread(firing, port)):
                    assert process.returncode is None, "prometheus has ended"
                    await asyncio.sleep(0.2)
        finally:
            process.terminate()
            await process.wait()
            await trader.stop()
    print(f"firing after {time.monotonic() - began_s:.1f} s: {sorted(fires)}")
    assert "SurefootTraderDown" not in {name for name, _ in fires}


def _free_port() -> int:
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
