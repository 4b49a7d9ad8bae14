"""The trader as a process of its own for tests: `python -m tests.e2e.trader`, with a death that can be arranged.

It starts what `surefoot trade` starts. `--die MOMENT=N` ends the process with signal 9 around its Nth request that
places orders: `before` it leaves, though the journal is on disk; `sent`, when its bytes have left; `answered`,
when the answer has come and nobody has been told.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from typing import NoReturn

import surefoot.live
from surefoot.binance.dialogue import (
    HttpAnswer,
    HttpFailed,
    HttpRequest,
    Keys,
    Request,
)
from surefoot.binance.gateway import Addresses, Deliver, Gateway
from surefoot.config import load, venue_for

MOMENTS = ("before", "sent", "answered")
BYTES_LEAVE_S = 0.002


class DyingGateway(Gateway):
    """Moves bytes as the real one does, until the process dies in the middle of it."""

    def __init__(self, addresses: Addresses, deliver: Deliver, *, paced: bool) -> None:
        super().__init__(addresses, deliver, paced=paced)
        self._placed = 0

    def send(self, request: Request) -> None:
        if isinstance(request, HttpRequest) and request.method == "POST":
            self._placed += 1
            if ("before", self._placed) == (MOMENT, LAST):
                _die()
        super().send(request)

    async def _exchange(self, request: HttpRequest) -> HttpAnswer | HttpFailed:
        fatal = request.method == "POST" and self._placed >= LAST
        if fatal and MOMENT == "sent":
            asyncio.get_running_loop().call_later(BYTES_LEAVE_S, _die)
        answer = await super()._exchange(request)
        if fatal and MOMENT == "answered":
            _die()
        return answer


MOMENT, LAST = "", 0


def _die() -> NoReturn:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("signal 9 cannot be survived")


def _moment(text: str) -> tuple[str, int]:
    moment, _, number = text.partition("=")
    if moment not in MOMENTS:
        raise argparse.ArgumentTypeError(f"{moment} is none of {', '.join(MOMENTS)}")
    return moment, int(number)


def main() -> int:
    """Trade on the exchange whose address is given; keys come from the environment."""
    global MOMENT, LAST
    parser = argparse.ArgumentParser()
    parser.add_argument("--rest", required=True)
    parser.add_argument("--set", nargs="*", default=[], metavar="KEY=VALUE")
    parser.add_argument("--die", type=_moment)
    parser.add_argument("--by-the-wall-clock", action="store_true")
    options = parser.parse_args()
    if options.die:
        MOMENT, LAST = options.die
        surefoot.live.Gateway = DyingGateway  # type: ignore[attr-defined, assignment]
    settings = load(None, dict(pair.split("=", 1) for pair in options.set), {}).settings
    keys = Keys(os.environ["TRADER_KEY"], os.environ["TRADER_SECRET"])
    venue, paced = venue_for(settings.mode, options.rest), not options.by_the_wall_clock
    return surefoot.live.run_trader(settings, venue, keys, paced=paced, say=lambda text: print(text, flush=True))


if __name__ == "__main__":
    sys.exit(main())
