"""The web process of a run: started once the trader is up, kept alive, and its sign-in link.

Rules. Nothing here ends a run or holds it up. The link is good once and for ten minutes; a web process that is started
again listens where the first one did, so that an open page finds it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

from surefoot.api.onetime import LINK_VARIABLE, new_link
from surefoot.children import Child, Kept, ended

# The trader's start is worth more than the page's: the two would share a small machine.
TRADER_WAIT_S = 10.0
GRACE_S = 5.0
EXIT_USAGE, EXIT_IN_USE = 2, 3
LASTING = frozenset({EXIT_USAGE, EXIT_IN_USE})
NAME = "the web process"


class WebProcess:
    """`surefoot web`, for as long as a run lasts."""

    def __init__(
        self,
        command: Sequence[str],
        env: Mapping[str, str],
        note: Callable[[str], None],
        tell: Callable[[str], None],
    ) -> None:
        """`note` is told where the page is, and what goes wrong; `tell` only the latter."""
        self.url = ""
        self._command = list(command)
        self._token, link = new_link(time.time_ns() // 1_000_000)
        self._env = {**env, LINK_VARIABLE: link}
        self._note, self._tell = note, tell
        self._kept = Kept(self._make, LASTING.__contains__, self._went_wrong)

    async def run(self, trader_up: asyncio.Event) -> None:
        """Until it is stopped, or its end is lasting."""
        with suppress(TimeoutError):
            async with asyncio.timeout(TRADER_WAIT_S):
                await trader_up.wait()
        try:
            code = await self._kept.run()
        except OSError as problem:
            self._went_wrong(f"no dashboard: {problem}")
            return
        if code in LASTING and self._kept.child is not None:
            told = self._kept.child.complaint.removeprefix("surefoot: ") or ended(self._kept.child, code)
            self._went_wrong(f"no dashboard: {told}")

    async def stop(self) -> None:
        """End it for good."""
        await self._kept.stop(GRACE_S)

    def _make(self) -> Child:
        # The same port again, whichever it was at first: where the command names a port twice, the last one counts.
        port = ["--set", f"web.port={self.url.rpartition(':')[2]}"] if self.url else []
        return Child(NAME, [*self._command, *port], self._env, self._said)

    def _went_wrong(self, text: str) -> None:
        self._note(text)
        self._tell(text)

    def _said(self, line: str) -> None:
        with suppress(ValueError):
            said = json.loads(line)
            if said.get("event") == "listening" and not self.url:
                self.url = str(said["url"])
                self._note(f"dashboard {self.url}/#link={self._token}")
