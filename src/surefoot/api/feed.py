"""The web process' ear at the trader's socket: pictures as they come, and the silence when nobody is there.

Rules. Nobody here waits for the trader, and its end is no error: it is looked for again and again, for as long as the
web process lives. A trader that says nothing for some seconds counts as away, whatever its socket does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

from surefoot.control import ControlError, socket_path, watch_views
from surefoot.core.view import View

LOOK_AGAIN_S = 0.5
SILENCE_MAX_S = 5.0
WRONG_VERSION_WAIT_S = 5.0


class Feed:
    """Watches whichever trader writes the journal that `journal` names, until it is cancelled."""

    def __init__(
        self, journal: Callable[[], Path | None], see: Callable[[View], None], miss: Callable[[str | None], None]
    ) -> None:
        """`see` gets each picture; `miss` is told once that nobody answers (any more), with what is odd about it."""
        self._journal = journal
        self._see = see
        self._miss = miss
        self._missed: str | None = ""  # what was last said about it; "" is nothing

    async def run(self) -> None:
        """Look, and look again."""
        while True:
            wait_s, oddity = LOOK_AGAIN_S, None
            path = self._journal()
            if path is not None:
                try:
                    await self._watch(socket_path(path))
                except TimeoutError:
                    oddity = f"the trader said nothing for {SILENCE_MAX_S:g} s"
                except ControlError as problem:
                    wait_s, oddity = WRONG_VERSION_WAIT_S, str(problem)
            if self._missed != oddity:
                self._missed = oddity
                self._miss(oddity)
            await asyncio.sleep(wait_s)

    async def _watch(self, socket: Path) -> None:
        async with aclosing(watch_views(socket)) as views:
            while True:
                async with asyncio.timeout(SILENCE_MAX_S):
                    view = await anext(views, None)
                if view is None:
                    return
                self._missed = ""
                self._see(view)
