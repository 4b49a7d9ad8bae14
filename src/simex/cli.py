"""The command line of the simulated exchange: `python -m simex`.

Rules: stdout carries JSON lines only: when the exchange listens, when a fault strikes, when a replay ends; what goes
wrong is one line on stderr. Exit codes: 0 ended as asked, 2 the command cannot be carried out as given, 3 a port is
taken, 4 the source of a relay cannot be used.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from simex.admin import Admin, AdminPortTaken
from simex.exchange import Exchange
from simex.faults import FaultPlan
from simex.futures.contracts import MarkTold
from simex.options import EXIT_USAGE, parser
from simex.pause import MAX_SPEED
from simex.relay import Relay
from simex.relaysource import RelayError
from simex.scenario import ScenarioError
from simex.scenes import Scene, UsageError, account_of, exchange_of, scene_of, scripted
from simex.server import HOST, Server, wall_clock_ms
from simex.tapefile import TapeError
from simex.venue import AccountSpec

EXIT_OK: Final = 0
EXIT_PORT: Final = 3
EXIT_SOURCE: Final = 4
PARENT_LOOK_S: Final = 0.3


def main(argv: Sequence[str] | None = None) -> int:
    """Run the exchange until it is told to stop; the exit code."""
    options = parser().parse_args(argv)
    try:
        scene = scene_of(options)
        account = account_of(options)
        exchange = exchange_of(options, scene, account)
        if options.scenario is not None:
            scene = scripted(scene, options.scenario, exchange)
    except (UsageError, TapeError, ScenarioError) as error:
        return _complain(str(error), EXIT_USAGE)
    except RelayError as error:
        return _complain(f"--relay: {error}", EXIT_SOURCE)
    return asyncio.run(_run(options, scene, account, exchange))


async def _run(options: argparse.Namespace, scene: Scene, account: AccountSpec, exchange: Exchange) -> int:
    told_to_stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, told_to_stop.set)
    plan: FaultPlan = options.faults or FaultPlan()
    plan.add(options.fault)
    server = Server(
        exchange,
        scene.market,
        speed=options.speed,
        wait_for_klines=bool(options.replay),
        wait_for_account=options.wait_for_account,
        faults=plan,
        wall_ms=_clock(scene),
    )
    server.faults.say = _say
    unknown = [symbol for f in plan.planned if (symbol := f.symbol) and symbol not in exchange.tick_sizes]
    if unknown:
        return _complain(f"--faults: symbol = {unknown[0]!r} is not traded here", EXIT_USAGE)
    try:
        port = await server.start(HOST, options.port)
    except OSError as error:
        reason = error.strerror or str(error)
        return _complain(f"cannot listen on port {options.port} ({reason}); give another --port, or 0", EXIT_PORT)
    relay = _relay(options, scene, exchange, server)
    admin = Admin(server, exchange, account.api_key, secrets.token_hex(16), relay)
    try:
        hello = _listening(options, scene, account, port)
        if options.admin_port is not None:
            admin_port = await admin.start(options.admin_port)
            hello |= {"admin": f"http://{HOST}:{admin_port}", "admin_key": admin.key}
        _say(hello)
        await _until_done(options, server, relay, told_to_stop)
    except AdminPortTaken as taken:
        return _complain(f"cannot listen on port {options.admin_port} ({taken}); give another --admin-port", EXIT_PORT)
    finally:
        await admin.stop()
        await server.stop()
    return EXIT_OK


async def _until_done(
    options: argparse.Namespace, server: Server, relay: Relay | None, told_to_stop: asyncio.Event
) -> None:
    """Play the market; return when told to stop, when the parent is gone, or at the end if that was asked for."""
    stop = asyncio.create_task(told_to_stop.wait())
    playing = asyncio.create_task(_play(server))
    enders: list[asyncio.Task[object]] = [stop]
    relaying = [asyncio.create_task(relay.run())] if relay is not None else []
    if options.parent_pid is not None:
        enders.append(asyncio.create_task(_parent_is_gone(options.parent_pid)))
    try:
        await asyncio.wait([playing, *enders], return_when=asyncio.FIRST_COMPLETED)
        if playing.done():
            # A failure of the market is ours to show, not to swallow.
            playing.result()
            if not options.exit_at_end:
                await asyncio.wait(enders, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (playing, *relaying, *enders):
            task.cancel()
        await asyncio.gather(playing, *relaying, *enders, return_exceptions=True)


def _clock(scene: Scene) -> Callable[[], int]:
    """The wall clock, or that of the source of a relay."""
    ahead_ms = scene.relay.ahead_ms if scene.relay is not None else 0
    return lambda: wall_clock_ms() + ahead_ms


def _relay(options: argparse.Namespace, scene: Scene, exchange: Exchange, server: Server) -> Relay | None:
    if scene.relay is None:
        return None
    market = scene.relay.market
    market.close_until = exchange.roll

    def mark(symbol: str, told: MarkTold) -> None:
        assert exchange.futures is not None, "of a spot market no marks are told"
        exchange.futures.tell_mark(symbol, told, server.now_ms())

    relay = Relay(scene.relay.source, market, server.catch_up, exchange.quote, mark, _say, options.relay_stale_s)
    server.faults.takes_orders = lambda: relay.is_live
    return relay


async def _play(server: Server) -> None:
    at_ms = await server.play()
    _say({"event": "tape_end", "at_ms": at_ms})


async def _parent_is_gone(pid: int) -> None:
    # A child sees its parent change; the process of a stranger is asked for by its id.
    is_child = os.getppid() == pid
    while os.getppid() == pid if is_child else _is_alive(pid):
        await asyncio.sleep(PARENT_LOOK_S)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return not _is_zombie(pid)


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] == "Z"


def _listening(options: argparse.Namespace, scene: Scene, account: AccountSpec, port: int) -> dict[str, object]:
    return {
        "event": "listening",
        "host": HOST,
        "port": port,
        "rest": f"http://{HOST}:{port}",
        "stream": f"ws://{HOST}:{port}",
        "ws_api": f"ws://{HOST}:{port}/ws-api/v3",
        "market": options.market,
        "api_key": account.api_key,
        "secret": account.secret,
        "seed": options.seed,
        "speed": _shown_speed(options.speed),
        "start_ms": scene.start_ms,
        "symbols": [spec.symbol for spec in scene.instruments],
    }


def _shown_speed(speed: float) -> str | float:
    if speed == MAX_SPEED:
        return "max"
    return int(speed) if speed == int(speed) else speed


def _say(line: Mapping[str, object]) -> None:
    print(json.dumps(line), flush=True)


def _complain(text: str, code: int) -> int:
    print(f"simex: {text}", file=sys.stderr, flush=True)
    return code
