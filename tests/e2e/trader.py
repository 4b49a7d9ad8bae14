"""The trader as a process of its own for tests: `python -m tests.e2e.trader`, with a death that can be arranged.

It starts what `surefoot trade` starts. `--die MOMENT=N` ends the process with signal 9 around its Nth request that
places orders in the way that the settings say: `before` it leaves, though the journal is on disk; `sent`, when its
bytes have left; `answered`, when the answer has come and nobody has been told.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from functools import partial
from typing import NoReturn

from picows import WSTransport

import surefoot.live
from surefoot.binance.dialogue import (
    Frame,
    HttpAnswer,
    HttpFailed,
    HttpRequest,
    Keys,
    Request,
    SocketRequest,
)
from surefoot.binance.gateway import Addresses, ClockTold, Deliver, Gateway, Pinged
from surefoot.binance.keys import Rights, Verdict, verdict_on
from surefoot.config import Mode, Settings, load, venue_for
from surefoot.control import control_key
from surefoot.selfcheck import CheckFailed, key_verdict

MOMENTS = ("before", "sent", "answered")
BYTES_LEAVE_S = 0.002


class DyingGateway(Gateway):
    """Moves bytes as the real one does, until the process dies in the middle of it."""

    def __init__(self, addresses: Addresses, deliver: Deliver, *, paced: bool) -> None:
        super().__init__(addresses, deliver, paced=paced)
        self._placed = 0
        self._fatal_id = 0

    def send(self, request: Request) -> None:
        if _places(request):
            self._placed += 1
            if ("before", self._placed) == (MOMENT, LAST):
                _die()
        super().send(request)
        if isinstance(request, SocketRequest) and _places(request) and self._placed >= LAST:
            self._fatal_id = request.request_id
            if MOMENT == "sent":
                asyncio.get_running_loop().call_later(BYTES_LEAVE_S, _die)

    def received(self, link: str, transport: WSTransport, arrival: Frame | Pinged | ClockTold) -> None:
        if MOMENT == "answered" and self._fatal_id and isinstance(arrival, Frame) and _answers(arrival, self._fatal_id):
            _die()
        super().received(link, transport, arrival)

    async def _exchange(self, request: HttpRequest) -> HttpAnswer | HttpFailed:
        fatal = _places(request) and self._placed >= LAST
        if fatal and MOMENT == "sent":
            asyncio.get_running_loop().call_later(BYTES_LEAVE_S, _die)
        answer = await super()._exchange(request)
        if fatal and MOMENT == "answered":
            _die()
        return answer


MOMENT, LAST, BY_SOCKET = "", 0, False


def _answers(frame: Frame, request_id: int) -> bool:
    return isinstance(frame.data, bytes) and frame.data.startswith(b'{"id":%d,' % request_id)


def _places(request: Request) -> bool:
    """Whether it places orders, in the way that the settings say."""
    if isinstance(request, SocketRequest):
        return BY_SOCKET and 'rder.cancel"' not in request.text
    path = request.target.partition("?")[0] if isinstance(request, HttpRequest) and request.method == "POST" else ""
    return not BY_SOCKET and "rder" in path


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("signal 9 cannot be survived")


def _moment(text: str) -> tuple[str, int]:
    moment, _, number = text.partition("=")
    if moment not in MOMENTS:
        raise argparse.ArgumentTypeError(f"{moment} is none of {', '.join(MOMENTS)}")
    return moment, int(number)


UNKNOWN_TIMES, AGAIN_S, WITHDRAWS = 0, 1.0, False


async def key_verdict_at(rest: str, settings: Settings, keys: Keys, _: str | None) -> tuple[Verdict, int]:
    """The real question, asked of the exchange whose address is given. The first few may be in vain."""
    global UNKNOWN_TIMES
    if UNKNOWN_TIMES:
        UNKNOWN_TIMES -= 1
        raise CheckFailed("the venue refuses (None HTTP 503: busy)")
    verdict, ahead_ms = await key_verdict(settings.model_copy(update={"mode": Mode.PAPER}), keys, rest)
    return (verdict_on(Rights(enable_withdrawals=True), 0, futures=False) if WITHDRAWS else verdict), ahead_ms


def main() -> int:
    """Trade on the exchange whose address is given; keys come from the environment."""
    global MOMENT, LAST, BY_SOCKET, UNKNOWN_TIMES, WITHDRAWS
    parser = argparse.ArgumentParser()
    parser.add_argument("--rest", required=True)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--die", type=_moment)
    parser.add_argument("--by-the-wall-clock", action="store_true")
    parser.add_argument("--rights-unknown", type=int, default=0, metavar="TIMES")
    parser.add_argument("--rights-withdraw", action="store_true")
    options = parser.parse_args()
    WITHDRAWS = options.rights_withdraw
    UNKNOWN_TIMES, surefoot.live.KEY_AGAIN_S = options.rights_unknown, AGAIN_S
    if options.die:
        MOMENT, LAST = options.die
        surefoot.live.Gateway = DyingGateway  # type: ignore[attr-defined, assignment]
    settings = load(None, dict(pair.split("=", 1) for pair in options.set), {}, keyless=True).settings
    BY_SOCKET = settings.orders.transport == "socket"
    keys = Keys(os.environ["TRADER_KEY"], os.environ["TRADER_SECRET"])
    # In mode live, too, it is the simulated exchange that is traded at, and asked about the key.
    venue = venue_for(Mode.PAPER, options.rest, settings.market.venue)
    surefoot.live.key_verdict = partial(key_verdict_at, options.rest)  # type: ignore[attr-defined]
    paced = not options.by_the_wall_clock
    return surefoot.live.run_trader(
        settings,
        venue,
        keys,
        paced=paced,
        say=lambda text: print(text, flush=True),
        control_key=control_key(os.environ),
    )


if __name__ == "__main__":
    sys.exit(main())
