"""How a third-party client says what it could do at the simulated exchange: one line of JSON a capability.

This runs in the referees' own environment, beside the client. A capability ends as `passed`, as `failed` with what the
client raised, or as `cannot`, where the client itself has no way to do it. A client is given the address of the
exchange and is not changed in any other way.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

PATIENCE_S = 25.0
Found = TypeVar("Found")


@dataclass(frozen=True)
class Venue:
    """Where the simulated exchange listens, and the key of an account there."""

    rest: str
    key: str
    secret: str

    @property
    def socket(self) -> str:
        return self.rest.replace("http://", "ws://", 1)


def venue() -> Venue:
    """The venue as the command line names it: one JSON object."""
    return Venue(**json.loads(sys.argv[1]))


class Referee:
    """One client on one market: asks, does not wait for ever, and tells."""

    def __init__(self, client: str, market: str) -> None:
        self.client = client
        self.market = market

    async def sees(self, capability: str, ask: Callable[[], Awaitable[Found]]) -> Found | None:
        """What the client answered; None after telling that it failed."""
        try:
            found = await asyncio.wait_for(ask(), PATIENCE_S)
        except AssertionError as problem:
            self._tell(capability, "failed", f"expected {problem}")
        except Exception as problem:  # whatever a stranger's library raises
            self._tell(capability, "failed", f"{type(problem).__name__}: {problem}"[:500])
        else:
            self._tell(capability, "passed", "")
            return found
        return None

    async def sees_all(self, asks: Mapping[str, Callable[[], Awaitable[Any]]]) -> None:
        """One after the other, by the names of the capabilities."""
        for capability, ask in asks.items():
            await self.sees(capability, ask)

    def cannot(self, capability: str, reason: str) -> None:
        self._tell(capability, "cannot", reason)

    def _tell(self, capability: str, result: str, detail: str) -> None:
        row = {"client": self.client, "market": self.market, "capability": capability}
        print(json.dumps({**row, "result": result, "detail": detail}), flush=True)


def expect(is_so: Any, what: str) -> None:
    """AssertionError with what was expected."""
    if not is_so:
        raise AssertionError(what)
