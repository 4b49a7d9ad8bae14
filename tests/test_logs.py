"""Logs: one id from a candle to its fills, nothing secret in any line, and a trader that waits for nobody."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import threading
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, get_args

import pytest
import structlog

from surefoot import logs
from surefoot.children import LOG_LINE
from surefoot.config import MASK, LogSettings
from surefoot.core.messages import (
    CandleClosed,
    Command,
    Event,
    OrderAccepted,
    OrderFilled,
    PauseRequested,
    PriceMarked,
    RecordDecision,
    RecordPlan,
    ReplaceOrder,
    RunStarted,
    SubmitList,
    SubmitOrder,
)
from surefoot.core.model import Candle, Fill, ListType, OrderRequest, OrderType, Purpose, Side, Signal
from surefoot.logs import LEVELS, Correlator, Masker, TraderLog, begin, secrets_of, write
from tests.e2e.test_commands import EAGER, candles, command, environment

__all__ = ["candles"]  # a fixture

STARTED = RunStarted(1, "r1", "paper", ("BTCUSDT",), "d", "0.1")
PRICE = Decimal(100)


@pytest.fixture(autouse=True)
def _leave_logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    structlog.reset_defaults()
    root.handlers[:] = handlers
    root.setLevel(level)


def candle(number: int, symbol: str = "BTCUSDT") -> CandleClosed:
    open_ms = number * 900_000
    return CandleClosed(open_ms, Candle(symbol, "15m", open_ms, open_ms + 899_999, PRICE, PRICE, PRICE, PRICE, PRICE))


def decision(number: int, symbol: str = "BTCUSDT") -> RecordDecision:
    return RecordDecision(number, Signal(symbol, number, 0.5, 0.7, "oversold", ()), "approved", "x")


def order(name: str, purpose: Purpose, symbol: str = "BTCUSDT") -> OrderRequest:
    return OrderRequest(name, symbol, Side.BUY, OrderType.MARKET, purpose, Decimal(1))


def filled(name: str) -> OrderFilled:
    return OrderFilled(9, Fill(name, "BTCUSDT", 1, Side.BUY, PRICE, PRICE, PRICE, "BNB", False, 9), 5, None)


# -- one id ------------------------------------------------------------------------------------------------------------


@pytest.mark.spec("OBS-2")
def test_one_id_leads_from_a_candle_to_all_fills_of_what_it_began() -> None:
    follow = Correlator().of
    follow(STARTED)
    first, second = "r1.BTCUSDT.900000", "r1.BTCUSDT.1800000"
    entry = (order("e", Purpose.ENTRY), order("t", Purpose.TARGET), order("s", Purpose.STOP))
    story: list[tuple[Event | Command, str | None]] = [
        (candle(1), first),
        (candle(1, "ETHUSDT"), "r1.ETHUSDT.900000"),
        (decision(1), first),
        (RecordPlan(1, "BTCUSDT", PRICE, PRICE), first),
        (SubmitList(1, ListType.OTOCO, "l", entry), first),
        (OrderAccepted(2, "e", 5, True, None, None), first),
        (filled("e"), first),
        (candle(2), second),
        (decision(2), second),
        (ReplaceOrder(3, "s", order("s2", Purpose.STOP)), first),  # what protects an entry belongs to it
        (filled("s2"), first),
        (SubmitOrder(4, order("x", Purpose.EXIT)), first),
        (filled("x"), first),
        (SubmitOrder(5, order("e2", Purpose.ENTRY)), second),
        (filled("e2"), second),
        (filled("not ours"), None),
        (PauseRequested(6, "ann", "news"), None),
    ]
    assert [(type(record).__name__, follow(record)) for record, _ in story] == [
        (type(record).__name__, trace) for record, trace in story
    ]


@pytest.mark.spec("OBS-2")
def test_what_is_remembered_of_orders_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "ORDERS_MAX", 3)
    follow = Correlator().of
    follow(STARTED)
    follow(candle(1))
    for n in range(5):
        follow(SubmitOrder(1, order(f"e{n}", Purpose.ENTRY)))
    assert [follow(filled(f"e{n}")) is not None for n in range(5)] == [False, False, True, True, True]


def test_levels_are_of_messages_and_prices_are_never_logged() -> None:
    assert set(LEVELS) <= {*get_args(Event), *get_args(Command)}
    assert PriceMarked not in LEVELS


# -- secrets -----------------------------------------------------------------------------------------------------------

MARKED = "mArKeD-secret/+=1"


@pytest.mark.spec("OBS-2", "SAFE-3")
def test_a_secret_is_struck_out_whatever_shape_it_has() -> None:
    mask = Masker([MARKED, '-----BEGIN KEY-----\nabc"defgh\n-----END KEY-----\n', "short", ""])
    for text in (MARKED, "mArKeD-secret%2F%2B%3D1", 'abc"defgh', r"abc\"defgh", "https://x/?signature=f00ba4&a=1"):
        struck = mask(f"before {text} after")
        assert struck.startswith("before ")
        assert struck.endswith(" after")
        assert MASK in struck
        assert not any(part in struck for part in ("mArKeD", "defgh", "f00ba4"))
    assert mask("dashboard http://127.0.0.1:1/#link=AbCd_1-2") == f"dashboard http://127.0.0.1:1/#link={MASK}"
    assert mask("short and Bearer eyJ.x.y") == f"short and Bearer {MASK}"


@pytest.mark.spec("OBS-2", "SAFE-3")
def test_secrets_of_an_environment_are_found_by_name_and_in_files(tmp_path: Path) -> None:
    file = tmp_path / "addresses"
    file.write_text("slack://MARKED1/x\njson://MARKED2\n")
    env = {
        "SUREFOOT_API_SECRET": "MARKED3",
        "SIMEX_API_KEY": "MARKED4",
        "SUREFOOT_CONTROL_KEY": "MARKED5",
        "SUREFOOT_ALERT_URLS_FILE": str(file),
        "SUREFOOT_METRICS_TOKEN_FILE": str(tmp_path / "nowhere"),
        "HOME": "/somewhere",
    }
    found = " ".join(secrets_of(env))
    assert [f"MARKED{number}" in found for number in range(1, 6)] == [True] * 5
    assert "/somewhere" not in found


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


@pytest.mark.spec("OBS-2", "SAFE-3")
@pytest.mark.parametrize("form", ["json", "text"])
def test_nothing_secret_leaves_in_a_line_of_ours_or_of_others(form: str) -> None:
    stream = io.StringIO()
    settings = LogSettings.model_validate({"level": "debug", "format": form})
    assert begin(settings, "trader", {"SUREFOOT_API_SECRET": MARKED}, stream)
    write(logging.INFO, MARKED, text=f"see {MARKED}", password="hunter2hunter2", deep={"x": [{"api_key": "abcabc"}]})
    logging.getLogger("aiohttp").warning("request to /x?secret=%s", MARKED)
    try:
        raise ValueError(f"bad {MARKED}")
    except ValueError:
        logging.getLogger("other").exception("it failed: %r", {"token": MARKED})
    logging.getLogger("urllib3").debug("POST /bot%s/sendMessage", MARKED)
    written = stream.getvalue()
    assert len(written.splitlines()) >= 3
    assert "ValueError" in written
    assert not [secret for secret in (MARKED, "hunter2", "abcabc", "sendMessage") if secret in written]
    assert written.count(MASK) >= 7
    assert all(LOG_LINE.match(line) for line in written.splitlines()) or form == "text"


@pytest.mark.spec("OBS-2")
def test_level_and_format_are_settings() -> None:
    stream = io.StringIO()
    assert not begin(LogSettings(), "trader", {}, stream)
    assert begin(LogSettings(level="warning", format="text"), "trader", {}, stream)
    write(logging.INFO, "unheard")
    write(logging.WARNING, "heard", symbol="BTCUSDT", text="two words", numbers=[1, 2])
    (line,) = stream.getvalue().splitlines()
    assert line.endswith('Z [warning] trader: heard symbol=BTCUSDT text="two words" numbers=[1,2]')
    assert LOG_LINE.match(line)


# -- the trader's ------------------------------------------------------------------------------------------------------


@pytest.mark.spec("OBS-2")
def test_records_become_lines_when_nothing_waits_and_in_their_order() -> None:
    stream = io.StringIO()
    begin(LogSettings(level="debug"), "trader", {}, stream)
    log = TraderLog()
    log.learn(STARTED)
    log.start()
    log.note(candle(1), decision(1), PriceMarked(1, "BTCUSDT", PRICE, PRICE, 1))
    log.note(SubmitOrder(2, order("e", Purpose.ENTRY)), filled("e"))
    assert not stream.getvalue()
    log.wake()
    log.close()
    told = lines(stream)
    assert [line["event"] for line in told] == ["CandleClosed", "RecordDecision", "SubmitOrder", "OrderFilled"]
    assert {line["trace"] for line in told} == {"r1.BTCUSDT.900000"}
    assert told[-1]["fill"]["price"] == "100"
    assert {line["process"] for line in told} == {"trader"}
    assert [line["level"] for line in told] == ["debug", "info", "info", "info"]


@pytest.mark.spec("OBS-2")
def test_a_reader_that_stands_still_costs_lines_and_not_the_trader(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "WAITING_MAX", 4)
    stuck, begun = threading.Event(), threading.Event()

    class Slow(io.StringIO):
        def write(self, text: str) -> int:
            begun.set()
            stuck.wait(20)
            return super().write(text)

    stream = Slow()
    begin(LogSettings(level="debug"), "trader", {}, stream)
    log = TraderLog()
    log.start()
    log.note(STARTED)
    log.wake()
    assert begun.wait(20)
    for number in range(50):  # nobody reads, and this goes on
        log.note(candle(number))
    log.wake()
    stuck.set()
    log.close()
    told = lines(stream)
    assert sum(line.get("count", 0) for line in told) == 46
    assert [line["event"] for line in told].count("CandleClosed") == 4


# -- whole processes ---------------------------------------------------------------------------------------------------


@pytest.mark.spec("OBS-2", "SAFE-3")
def test_a_run_logs_as_json_from_candle_to_fill_and_no_secret(tmp_path: Path, candles: Path) -> None:
    secrets = {
        "SUREFOOT_ALERT_URLS": "critical=json://127.0.0.1:9/MARKEDhookpath",
        "SUREFOOT_METRICS_TOKEN": "MARKEDmetricstoken",
        "SUREFOOT_API_KEY": "MARKEDapikeyvalue",
        "SUREFOOT_API_SECRET": "MARKEDapisecretvalue",
    }
    words = ("run", "--replay", str(candles), "--no-terminal", "--for", "70s", *EAGER, "log.level=debug")
    done = subprocess.run(
        command(*words), capture_output=True, text=True, cwd=tmp_path, env=environment(**secrets), timeout=110
    )
    assert done.returncode == 0, done.stderr[-2_000:]
    told = [json.loads(line) for line in done.stderr.splitlines()]
    assert {line["process"] for line in told} >= {"trader", "supervisor"}
    fills = [line for line in told if line["event"] == "OrderFilled"]
    assert fills
    for fill in fills:
        way = [line["event"] for line in told if line.get("trace") == fill["trace"]]
        assert way.index("CandleClosed") < way.index("RecordDecision") < way.index("OrderFilled")
        assert {"SubmitOrder", "SubmitList"} & set(way)
    assert "#link=" not in done.stderr.replace(f"#link={MASK}", "")
    assert "MARKED" not in done.stderr


@pytest.mark.spec("OBS-2")
def test_a_complaint_of_a_child_is_told_apart_from_its_log() -> None:
    assert LOG_LINE.match('{"process":"trader"}')
    assert not LOG_LINE.match("surefoot: mode = paper: give the exchange's address")
    assert not LOG_LINE.match("Traceback (most recent call last):")
