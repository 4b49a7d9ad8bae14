"""Traces: from a candle to fills in one tree, taken by a collector that speaks OTLP, also when it is late."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from surefoot import spans
from surefoot.config import ConfigError, load
from surefoot.core.messages import Command, Event, OutcomeUnknown, RunStarted
from surefoot.core.model import Purpose
from surefoot.logs import Correlator
from surefoot.research.exact import Fate
from surefoot.spans import SpanMaker, SpanSender
from surefoot.store.journal import Journal, JournalReader
from surefoot.store.records import decode
from tests.journals import OFTEN, START_MS, two_days
from tests.stage import Planned, Stage, stage_settings

Span = dict[str, Any]


def about(span: Span) -> dict[str, Any]:
    values = {each["key"]: next(iter(each["value"].values())) for each in span["attributes"]}
    return {key.removeprefix("surefoot."): value for key, value in values.items()}


@pytest.fixture
def story(tmp_path: Path) -> list[Event | Command]:
    path, _ = two_days(tmp_path, load(None, OFTEN, {}).settings)
    with JournalReader(path) as reader:
        return [entry.message for entry in reader.read()]


def made_of(story: list[Event | Command]) -> list[Span]:
    maker = SpanMaker()
    return [span for record in story if isinstance(record, spans.RECORDS) for span in maker.take(record)]


@pytest.mark.spec("OBS-2")
def test_a_trace_leads_from_the_candle_by_the_decision_to_orders_and_fills(story: list[Event | Command]) -> None:
    made = made_of(story)
    by_id = {(span["traceId"], span["spanId"]): span for span in made}
    assert len(by_id) == len(made), "an id stands for one span"
    fills = [span for span in made if span["name"].startswith("fill")]
    assert fills
    for fill in fills:
        order = by_id[fill["traceId"], fill["parentSpanId"]]
        decision = by_id[order["traceId"], order["parentSpanId"]]
        assert about(order)["order"] == about(fill)["order"]
        assert "parentSpanId" not in decision
        assert about(decision)["outcome"] == "approved"
        assert int(decision["startTimeUnixNano"]) <= int(order["startTimeUnixNano"])
    assert {about(span)["purpose"] for span in made if span["name"].startswith("order")} >= {"entry", "stop", "target"}
    assert all(int(span["startTimeUnixNano"]) <= int(span["endTimeUnixNano"]) for span in made)
    decisions = [span for span in made if span["name"].startswith("decide")]
    starts_ns = {int(span["startTimeUnixNano"]) % (60_000 * 1_000_000) for span in decisions}
    assert starts_ns == {0}, "a decision begins with the end of its candle"


@pytest.mark.spec("OBS-2")
def test_traces_bear_the_id_of_log_lines(story: list[Event | Command]) -> None:
    correlator = Correlator()
    named = {trace for record in story if (trace := correlator.of(record)) is not None}
    assert {about(span)["trace"] for span in made_of(story)} <= named


@pytest.mark.spec("OBS-2")
def test_an_order_whose_answer_was_lost_is_an_error_that_says_so() -> None:
    planned = Planned([("POST", "/api/v3/orderList/o", Fate(instead=0))])
    stage = Stage(stage_settings(["BTCUSDT"]), fates=planned)
    stage.price("BTCUSDT", Decimal(30_000))
    stage.start()
    stage.wait(5_000)
    stage.script.say("BTCUSDT", 1.0)
    stage.next_candle("BTCUSDT")
    stage.wait(20_000)
    records = [decode(kind, body) for kind, body in stage.journal]
    assert any(isinstance(record, OutcomeUnknown) for record in records)
    (entry,) = [span for span in made_of(records) if about(span).get("purpose") == Purpose.ENTRY]
    assert entry["status"] == {"code": spans.ERROR, "message": "the answer was lost"}


@asynccontextmanager
async def collector(took: list[Any], port: int = 0, answers_after_s: float = 0.0) -> AsyncIterator[str]:
    """One that checks what the protocol wants of a request."""

    async def take(request: web.Request) -> web.Response:
        assert request.content_type == "application/json"
        took.append(json.loads(await request.text()))
        await asyncio.sleep(answers_after_s)
        return web.json_response({})

    app = web.Application(client_max_size=1 << 24)
    app.router.add_post("/v1/traces", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1/traces"
    finally:
        await runner.cleanup()


def spans_in(took: list[Any]) -> list[Span]:
    found = []
    for body in took:
        (resource,) = body["resourceSpans"]
        named = {each["key"]: each["value"]["stringValue"] for each in resource["resource"]["attributes"]}
        assert named["service.name"] == "surefoot"
        assert named["deployment.environment.name"] == "paper"
        (scope,) = resource["scopeSpans"]
        found += scope["spans"]
    return found


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not holds():
            await asyncio.sleep(0.02)


@pytest.mark.spec("OBS-2")
async def test_spans_of_what_is_new_in_a_journal_reach_a_collector_also_one_that_comes_late(
    tmp_path: Path, story: list[Event | Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "READ_EVERY_S", 0.05)
    monkeypatch.setattr(spans, "PAUSE_MAX_S", 0.1)
    monkeypatch.setattr(spans, "BATCH", 50)
    took: list[Any] = []
    notes: list[str] = []
    async with collector(took) as url:
        pass  # a port that nobody listens on any more
    journal = tmp_path / "fresh.sqlite"
    sender = asyncio.create_task(SpanSender(url, "paper", journal, notes.append).run())
    await asyncio.sleep(0.1)
    with Journal.open(journal) as written:
        written.append(*story)
    await until(lambda: bool(notes))
    assert len(notes) == 1, "it is said once"
    async with collector(took, int(url.split(":")[2].split("/")[0])):
        expected = made_of(story)
        assert len(expected) > spans.BATCH, "it takes more than one request"
        await until(lambda: len(spans_in(took)) >= len(expected))
        assert spans_in(took) == expected
        with Journal.open(journal) as written:
            written.append(RunStarted(START_MS, "r9", "paper", ("BTCUSDT",), "x", "0"))
        sender.cancel()
        await asyncio.wait([sender])
    assert spans_in(took) == expected, "nothing twice"


@pytest.mark.spec("OBS-2")
async def test_spans_that_are_on_their_way_at_the_end_are_not_sent_again(
    tmp_path: Path, story: list[Event | Command], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spans, "READ_EVERY_S", 0.05)
    took: list[Any] = []
    async with collector(took, answers_after_s=0.5) as url:
        sender = asyncio.create_task(SpanSender(url, "paper", tmp_path / "fresh.sqlite", print).run())
        with Journal.open(tmp_path / "fresh.sqlite") as written:
            written.append(*story)
        await until(lambda: bool(took))
        sender.cancel()
        await asyncio.wait([sender])
    assert spans_in(took) == made_of(story)


@pytest.mark.spec("OBS-2", "CFG-1")
def test_traces_are_off_by_default_and_an_address_is_one() -> None:
    assert load(None, {}, {}).settings.traces.otlp_url == ""
    with pytest.raises(ConfigError, match=r"traces\.otlp_url"):
        load(None, {"traces.otlp_url": "collector:4318"}, {})
