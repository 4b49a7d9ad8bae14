"""The guardian of a run: started once the trader is up, kept alive, told to end before the trader is.

Nothing here ends a run. A run that was to have a guardian and has none says so, and tells.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from surefoot.children import Child, Kept, ended

GRACE_S = 15.0  # its last words take up to ten
EXIT_OK, EXIT_USAGE, EXIT_IN_USE = 0, 2, 3
LASTING = frozenset({EXIT_OK, EXIT_USAGE, EXIT_IN_USE})
NAME = "the guardian"


class GuardProcess:
    """`surefoot guard`, for as long as a run lasts."""

    def __init__(
        self,
        command: Callable[[], Sequence[str]],
        env: Callable[[], Mapping[str, str]],
        note: Callable[[str], None],
        tell: Callable[[str], None],
    ) -> None:
        """`command` and `env` are asked at each start; `tell` is told that there is none, or that it crashed."""
        self._command, self._env = command, env
        self._note, self._tell = note, tell
        self._kept = Kept(self._make, LASTING.__contains__, self._crashed)
        self._stopping = False

    async def run(self, trader_up: asyncio.Event) -> None:
        """Until it is stopped, or its end is lasting."""
        await trader_up.wait()
        try:
            code = await self._kept.run()
        except OSError as problem:
            self._crashed(f"no guardian: {problem}")
            return
        if not self._stopping and self._kept.child is not None:
            told = self._kept.child.complaint.removeprefix("surefoot: ") or ended(self._kept.child, code)
            self._crashed(f"no guardian any more: {told}")

    async def stop(self) -> None:
        """End it for good."""
        self._stopping = True
        await self._kept.stop(GRACE_S)

    def _make(self) -> Child:
        return Child(NAME, self._command(), self._env(), self._note)

    def _crashed(self, text: str) -> None:
        self._note(text)
        self._tell(text)
