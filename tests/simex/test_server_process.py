"""`python -m simex` as a user meets it: one JSON line, clear refusals, a clean end."""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import IO, Any

import aiohttp
import pytest

SOURCE = Path(__file__).parents[2] / "src"
T0_MS = 1_717_200_000_000
MINUTE_MS = 60_000
PATIENCE_S = 20.0
QUICK = ("--history-days", "1")


def command(*options: str) -> list[str]:
    return [sys.executable, "-m", "simex", *options]


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE)}


def line_of(pipe: IO[str] | None) -> dict[str, Any]:
    assert pipe is not None
    assert select.select([pipe], [], [], PATIENCE_S)[0], "no line came"
    line: dict[str, Any] = json.loads(pipe.readline())
    return line


@contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    process = subprocess.Popen(
        command(*options), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    )
    try:
        yield process, line_of(process.stdout)
    finally:
        process.kill()
        process.communicate()


def refused(*options: str) -> tuple[int, str]:
    done = subprocess.run(command(*options), capture_output=True, text=True, env=environment(), timeout=PATIENCE_S)
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr
    return done.returncode, done.stderr


def call(venue: dict[str, Any], method: str, path: str, query: str = "", *, sign: bool = False) -> Any:
    if sign:
        query += f"&timestamp={call(venue, 'GET', '/api/v3/time')['serverTime']}"
        query += f"&signature={hmac.new(venue['secret'].encode(), query.encode(), hashlib.sha256).hexdigest()}"
    request = urllib.request.Request(
        f"{venue['rest']}{path}?{query}", method=method, headers={"X-MBX-APIKEY": venue["api_key"]}
    )
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return json.load(answer)


def candle_file(folder: Path, count: int, *, skip: int | None = None) -> str:
    path = folder / "BTCUSDT-1m-2024-06.csv"
    rows = [
        f"{T0_MS + i * MINUTE_MS},{60_000 + i},{60_010 + i},{59_990 + i},{60_001 + i},5"
        for i in range(count)
        if i != skip
    ]
    path.write_text("\n".join(rows) + "\n")
    return str(path)


@pytest.mark.spec("SIM-1")
def test_it_says_where_it_listens_trades_and_ends_on_sigterm() -> None:
    with running("--seed", "7", "--balance", "USDT=5000", "BTC=1", "--fee-bps", "7.5", *QUICK) as (process, venue):
        told = {"event", "host", "port", "rest", "stream", "ws_api", "api_key", "secret"}
        assert set(venue) == told | {"market", "seed", "speed", "start_ms", "symbols"}
        assert (venue["event"], venue["seed"], venue["speed"]) == ("listening", 7, 1)
        assert venue["symbols"] == ["BTCUSDT", "ETHUSDT", "BNBUSDT", "SOLUSDT"]
        assert abs(call(venue, "GET", "/api/v3/time")["serverTime"] - time.time() * 1_000) < 2_000
        klines = call(venue, "GET", "/api/v3/klines", "symbol=ETHUSDT&interval=15m&limit=50")
        assert len(klines) == 50
        order = call(venue, "POST", "/api/v3/order", "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.01", sign=True)
        assert order["status"] == "FILLED"
        account = call(venue, "GET", "/api/v3/account", "omitZeroBalances=true", sign=True)
        free = {balance["asset"]: balance["free"] for balance in account["balances"]}
        assert (free["BTC"], float(free["USDT"]) > 5_000) == ("0.99000000", True)
        started = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_S) == 0
        assert time.monotonic() - started < 2
        assert process.communicate() == ("", "")


@pytest.mark.spec("SIM-1")
def test_both_markets_trade_side_by_side_unless_one_is_asked_for() -> None:
    with running("--wallet", "USDT=3000", *QUICK) as (_, venue):
        assert call(venue, "GET", "/api/v3/ping") == {}
        order = "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.01&newOrderRespType=RESULT"
        assert call(venue, "POST", "/fapi/v1/order", order, sign=True)["status"] == "FILLED"
        (position,) = call(venue, "GET", "/fapi/v3/positionRisk", sign=True)
        assert position["positionAmt"] == "-0.010"
    with running("--market", "futures", *QUICK) as (_, venue):
        assert venue["market"] == "futures"
        assert len(call(venue, "GET", "/fapi/v1/klines", "symbol=ETHUSDT&interval=15m&limit=50")) == 50
    with running("--market", "spot", *QUICK) as (_, venue), pytest.raises(urllib.error.HTTPError, match="404"):
        call(venue, "GET", "/fapi/v1/ping")


@pytest.mark.spec("SIM-1")
def test_what_the_documents_leave_open_can_be_answered_otherwise() -> None:
    with running("--undocumented", "bracket_of_symbol=object", *QUICK) as (_, venue):
        assert call(venue, "GET", "/fapi/v1/leverageBracket", "symbol=BTCUSDT", sign=True)["symbol"] == "BTCUSDT"
    for wrong in ("bracket_of_symbol", "bracket_of_symbol=tree", "nobody=asked", "margin_call_share=high"):
        code, complaint = refused("--undocumented", wrong)
        assert (code, wrong.partition("=")[0] in complaint) == (2, True)


async def test_sigint_ends_it_within_two_seconds_with_open_links() -> None:
    with running("--speed", "60", *QUICK) as (process, venue):
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{venue['stream']}/ws/btcusdt@kline_1m") as link:
            assert json.loads((await link.receive(PATIENCE_S)).data)["e"] == "kline"
            started = time.monotonic()
            process.send_signal(signal.SIGINT)
            assert process.wait(PATIENCE_S) == 0
            assert time.monotonic() - started < 2


def test_the_same_seed_gives_the_same_key_and_the_same_market() -> None:
    options = ("--seed", "11", "--speed", "0.001", "--start-ms", str(T0_MS), *QUICK)
    seen = []
    for _ in range(2):
        with running(*options) as (_, venue):
            klines = call(venue, "GET", "/api/v3/klines", "symbol=SOLUSDT&interval=1m&limit=500")
            seen.append((venue["api_key"], venue["secret"], venue["start_ms"], klines))
    assert seen[0] == seen[1]
    assert seen[0][2] == T0_MS


def test_a_key_can_be_given() -> None:
    with running("--api-key", "mine", "--secret", "hush", *QUICK) as (_, venue):
        assert (venue["api_key"], venue["secret"]) == ("mine", "hush")
        assert call(venue, "GET", "/api/v3/account", sign=True)["canTrade"] is True


@pytest.mark.spec("SIM-3")
async def test_a_replay_serves_what_lies_before_its_start_and_ends_by_itself(tmp_path: Path) -> None:
    start_ms = T0_MS + 60 * MINUTE_MS
    options = ("--replay", candle_file(tmp_path, 100), "--start-ms", str(start_ms), "--speed", "max", "--exit-at-end")
    with running(*options) as (process, venue):
        assert (venue["start_ms"], venue["speed"], venue["symbols"]) == (start_ms, "max", ["BTCUSDT"])
        assert len(call(venue, "GET", "/api/v3/klines", "symbol=BTCUSDT&interval=1m&limit=500")) == 60
        closed = []
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{venue['stream']}/ws/btcusdt@kline_1m") as link:
            async for message in link:
                kline = json.loads(message.data)["k"]
                closed += [(kline["t"], float(kline["c"]))] if kline["x"] else []
        assert closed == [(T0_MS + i * MINUTE_MS, 60_001.0 + i) for i in range(60, 100)]
        assert line_of(process.stdout) == {"event": "tape_end", "at_ms": T0_MS + 100 * MINUTE_MS}
        assert process.wait(PATIENCE_S) == 0


@pytest.mark.spec("SIM-3")
async def test_trades_are_replayed_after_candles_and_a_scenario_is_laid_over_them(tmp_path: Path) -> None:
    trades = tmp_path / "BTCUSDT-trades-2024-06.csv"
    start_ms = T0_MS + 100 * MINUTE_MS
    rows = [f"{i},{61_000 + i},0.5,1,{start_ms + 20_000 * i},True,True" for i in range(10)]
    trades.write_text("\n".join(rows) + "\n")
    table = tmp_path / "half.txt"
    table.write_text("wait 1m\nfall 50%\n")
    options = ("--replay", str(trades), "--history", candle_file(tmp_path, 100), "--scenario", str(table))
    with running(*options, "--speed", "max", "--exit-at-end") as (process, venue):
        assert (venue["start_ms"], venue["symbols"]) == (start_ms, ["BTCUSDT"])
        klines = call(venue, "GET", "/api/v3/klines", "symbol=BTCUSDT&interval=1m&limit=500")
        assert [len(klines), klines[-1][0]] == [100, start_ms - MINUTE_MS]
        closed = []
        async with aiohttp.ClientSession() as http, http.ws_connect(f"{venue['stream']}/ws/btcusdt@kline_1m") as link:
            async for message in link:
                kline = json.loads(message.data)["k"]
                closed += [(kline["t"] - start_ms, float(kline["c"]), kline["v"])] if kline["x"] else []
        assert closed[:2] == [(0, 61_002.0, "1.50000000"), (MINUTE_MS, 30_502.5, "1.50000000")]
        assert line_of(process.stdout)["event"] == "tape_end"


@pytest.mark.spec("SIM-2")
def test_faults_are_given_on_the_command_line() -> None:
    with running("--fault", "error-after=1", *QUICK) as (_, venue):
        with pytest.raises(urllib.error.HTTPError) as lost:
            call(venue, "POST", "/api/v3/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001", sign=True)
        assert lost.value.code == 503
        lost.value.close()
        assert len(call(venue, "GET", "/api/v3/myTrades", "symbol=BTCUSDT", sign=True)) == 1


def told_by(venue: dict[str, Any], method: str, path: str, body: object = None, key: str | None = None) -> Any:
    """The answer of the admin port: status and body."""
    request = urllib.request.Request(
        f"{venue['admin']}{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"X-Admin-Key": venue["admin_key"] if key is None else key},
    )
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code, json.load(refused)


@pytest.mark.spec("SIM-2")
def test_commands_on_a_port_and_with_a_key_of_their_own() -> None:
    with running("--admin-port", "0", "--speed", "0.001", "--start-ms", str(T0_MS), *QUICK) as (process, venue):
        assert urllib.request.urlopen(f"{venue['rest']}/api/v3/ping", timeout=PATIENCE_S).status == 200
        for key in ("", venue["api_key"]):
            assert told_by(venue, "GET", "/state", key=key)[0] == 401
        status, state = told_by(venue, "GET", "/state")
        assert (status, state["now_ms"], state["links"], state["faults"]["done"]) == (200, T0_MS, [], {})
        assert state["symbols"]["BTCUSDT"]["status"] == "TRADING"

        assert told_by(venue, "POST", "/deposit", {"asset": "USDT", "amount": "500.5"})[0] == 200
        account = call(venue, "GET", "/api/v3/account", "omitZeroBalances=true", sign=True)
        assert [row["free"] for row in account["balances"] if row["asset"] == "USDT"] == ["10500.50000000"]

        assert told_by(venue, "POST", "/price", {"symbol": "BTCUSDT", "price": "12345.67"})[0] == 200
        assert call(venue, "GET", "/api/v3/ticker/price", "symbol=BTCUSDT")["price"] == "12345.67000000"

        assert told_by(venue, "POST", "/clock", {"skew_ms": 1500})[1]["now_ms"] == T0_MS
        assert call(venue, "GET", "/api/v3/time")["serverTime"] == T0_MS + 1_500
        assert told_by(venue, "POST", "/clock", {"skew_ms": 0})[0] == 200

        order = ("POST", "/api/v3/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001")
        assert told_by(venue, "POST", "/symbols/BTCUSDT/status", {"status": "HALT"})[0] == 200
        with pytest.raises(urllib.error.HTTPError) as closed:
            call(venue, *order, sign=True)
        closed.value.close()
        assert told_by(venue, "POST", "/symbols/BTCUSDT/status", {"status": "TRADING"})[0] == 200
        assert call(venue, *order, sign=True)["status"] == "FILLED"

        assert told_by(venue, "POST", "/faults", {"kind": "limited"})[1]["armed"] == [{"kind": "limited", "struck": 0}]
        with pytest.raises(urllib.error.HTTPError) as limited:
            call(venue, "GET", "/api/v3/time")
        assert limited.value.code == 429
        limited.value.close()
        assert line_of(process.stdout)["kind"] == "limited"
        assert told_by(venue, "GET", "/state")[1]["faults"]["done"] == {"limited": 1}
        plan = {"fault": [{"kind": "maintenance"}]}
        assert told_by(venue, "POST", "/faults", plan)[1]["maintenance"] is True
        assert told_by(venue, "DELETE", "/faults")[1]["maintenance"] is False
        assert told_by(venue, "POST", "/shutdown-notice", {"lead_s": 1})[0] == 200


def test_mistakes_on_the_admin_port_are_one_line_with_what_is_allowed() -> None:
    with running("--admin-port", "0", *QUICK) as (_, venue):
        for path, body, told in (
            ("/faults", {"kind": "limited", "every": 0}, "every = 0: allowed is a whole number from 1"),
            ("/faults", {"kind": "halt", "symbol": "NOPEUSDT"}, "allowed are BTCUSDT"),
            ("/symbols/BTCUSDT/status", {"status": "OPEN"}, "status = 'OPEN': allowed are TRADING, HALT"),
            ("/symbols/NOPEUSDT/status", {"status": "HALT"}, "allowed are BTCUSDT"),
            ("/deposit", {"asset": "USDT", "amount": 1.5}, "amount = 1.5: allowed is a number as text"),
            ("/deposit", {"asset": "USDT", "amount": "-1000000"}, "amount = -1000000: "),
            ("/price", {"symbol": "BTCUSDT", "price": "0.001"}, "allowed are multiples of 0.01"),
            ("/price", {"symbol": "BTCUSDT", "cost": "1"}, "cost: unknown key; allowed are symbol, price"),
            ("/clock", {"skew_ms": "1"}, "skew_ms = '1': allowed is a whole number"),
            ("/shutdown-notice", {"lead_s": -1}, "lead_s = -1: allowed is 0 to"),
            ("/faults", [], "not a JSON object"),
        ):
            status, answer = told_by(venue, "POST", path, body)
            assert status == 400, path
            assert told in answer["error"], answer
        assert told_by(venue, "POST", "/nope", {})[0] == 404


def test_deleveraging_by_command_needs_a_position() -> None:
    with running("--admin-port", "0", "--market", "futures", *QUICK) as (_, venue):
        for change, told in (
            ({}, "quantity = 0.01, price = 50000: 0 of BTCUSDT are held"),
            ({"symbol": "NOPEUSDT"}, "symbol = 'NOPEUSDT': allowed are BTCUSDT, "),
            ({"api_key": "nobody"}, "api_key: no account has this key"),
            ({"quantity": 0.01}, "quantity = 0.01: allowed is a number as text"),
        ):
            wish = {"symbol": "BTCUSDT", "quantity": "0.01", "price": "50000"} | change
            status, answer = told_by(venue, "POST", "/deleverage", wish)
            assert (status, answer["error"][: len(told)]) == (400, told)


@pytest.mark.spec("SIM-2")
def test_the_mark_price_is_moved_away_from_the_last_price_by_command() -> None:
    with running("--admin-port", "0", "--speed", "0.001", "--market", "futures", *QUICK) as (_, venue):
        assert told_by(venue, "POST", "/price", {"symbol": "BTCUSDT", "price": "50000"})[0] == 200
        assert told_by(venue, "POST", "/basis", {"symbol": "BTCUSDT", "basis": "-120.5"})[0] == 200
        told = call(venue, "GET", "/fapi/v1/premiumIndex", "symbol=BTCUSDT")
        assert (Decimal(told["markPrice"]), Decimal(told["indexPrice"])) == (Decimal("49879.5"), Decimal(50_000))
        for body, error in (
            ({"symbol": "NOPEUSDT", "basis": "1"}, "symbol = 'NOPEUSDT': allowed are BTCUSDT"),
            ({"symbol": "BTCUSDT", "basis": "-50000"}, "basis = -50000: the mark price would not be above 0"),
        ):
            status, answer = told_by(venue, "POST", "/basis", body)
            assert (status, answer["error"][: len(error)]) == (400, error)


@pytest.mark.spec("SIM-2")
def test_a_plan_is_given_as_a_file_and_what_strikes_is_a_line(tmp_path: Path) -> None:
    plan = tmp_path / "plan.toml"
    plan.write_text('[[fault]]\nkind = "limited"\nof = "orders"\nevery = 2\n')
    with running("--faults", str(plan), *QUICK) as (process, venue):
        order = ("POST", "/api/v3/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001")
        assert call(venue, *order, sign=True)["status"] == "FILLED"
        with pytest.raises(urllib.error.HTTPError) as limited:
            call(venue, *order, sign=True)
        assert limited.value.code == 429
        limited.value.close()
        told = line_of(process.stdout)
        assert (told["event"], told["kind"], told["what"]) == ("fault", "limited", "POST /api/v3/order")
    plan.write_text('[[fault]]\nkind = "limited"\nevery = 0\n')
    assert refused("--faults", str(plan)) == (
        2,
        f"simex: argument --faults: {plan}: fault 1 (limited): every = 0: "
        "allowed is a whole number from 1 to 1000000000; see python -m simex --help\n",
    )
    plan.write_text('[[fault]]\nkind = "halt"\nsymbol = "NOPEUSDT"\n')
    assert "symbol = 'NOPEUSDT' is not traded here" in refused("--faults", str(plan), *QUICK)[1]


def test_it_ends_when_its_parent_is_gone() -> None:
    parent = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with running("--parent-pid", str(parent.pid), *QUICK) as (process, _):
        time.sleep(0.5)
        assert process.poll() is None
        parent.kill()
        parent.communicate()
        assert process.wait(PATIENCE_S) == 0


def test_a_taken_port_is_said_in_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, text = refused("--port", str(port), *QUICK)
    assert code == 3
    assert f"port {port}" in text


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        (["--speed", "fast"], "give 1 for real time, a number such as 60, or max"),
        (["--speed", "-1"], "not a speed"),
        (["--port", "99999"], "not a port"),
        (["--balance", "USDT"], "give one like USDT=10000"),
        (["--balance", "USDT=lots"], "not an amount"),
        (["--fault", "nonsense=1"], "allowed are request-late"),
        (["--fault", "error-after=0"], "a whole number from 1"),
        (["--funding-bps", "201"], "give -200 to 200 basis points"),
        (["--replay", "BTCUSDT-none.parquet"], "no such file"),
        (["--symbols", "NOPEUSDT"], "no instrument for NOPEUSDT"),
        (["--start-ms", "60000"], "--start-ms needs another speed"),
        (["--speed", "60", "--start-ms", "61"], "full minute"),
        (["--exit-at-end"], "need --replay"),
        (["--scenario", "nonsense"], "no scenario of that name (flash-crash, gap, halt)"),
        (["--history", "BTCUSDT.csv"], "--history goes with a --replay of trades"),
        (["--replay", "BTCUSDT-trades.csv", "ETHUSDT.csv"], "candles and trades cannot be mixed"),
        (["--nonsense"], "see python -m simex --help"),
    ],
)
def test_a_command_that_cannot_be_carried_out_is_refused_in_one_line(options: list[str], hint: str) -> None:
    code, text = refused(*options)
    assert code == 2
    assert hint in text


def test_a_replay_with_gaps_needs_a_flag_and_market_time(tmp_path: Path) -> None:
    path = candle_file(tmp_path, 10, skip=5)
    assert "row 6: 1 candles are missing" in refused("--replay", path)[1]
    assert "give --speed N or --speed max" in refused("--replay", path, "--gaps", "keep", "--speed", "1")[1]
    with running("--replay", path, "--gaps", "keep") as (_, venue):
        assert venue["speed"] == "max"


def test_help_shows_examples() -> None:
    done = subprocess.run(command("--help"), capture_output=True, text=True, env=environment(), timeout=PATIENCE_S)
    assert done.returncode == 0
    assert "python -m simex --seed 7" in done.stdout
