"""How long every wanted stream has been silent: a connection may live while the data on it has stopped, or lags."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

LOOK_EVERY_MS = 1_000


class Watchdog:
    """Ages of streams by name. `silence_max_ms` of 0 watches nothing."""

    def __init__(self, silence_max_ms: int) -> None:
        self.silence_max_ms = silence_max_ms
        self.look_at_ms: int | None = None
        self._heard_ms: dict[str, int] = {}

    def want(self, streams: Iterable[str], now_ms: int) -> None:
        """These are watched from now on, as if just heard, and no others."""
        self._heard_ms = dict.fromkeys(streams, now_ms)
        self._look_later(now_ms)

    def want_too(self, stream: str, now_ms: int) -> None:
        self._heard_ms[stream] = now_ms
        self._look_later(now_ms)

    def unwant(self, stream: str) -> None:
        self._heard_ms.pop(stream, None)

    def rest(self) -> None:
        """There is no connection: nothing can be heard."""
        self._heard_ms.clear()
        self.look_at_ms = None

    def heard(self, stream: str, said_ms: int) -> None:
        """A frame of a stream has come that the venue sent at `said_ms` of our clock: what lags is old, too."""
        heard_ms = self._heard_ms.get(stream)
        if heard_ms is not None and said_ms > heard_ms:
            self._heard_ms[stream] = said_ms

    def age_ms(self, stream: str, now_ms: int) -> int | None:
        """How long a watched stream has been silent; None for another."""
        heard_ms = self._heard_ms.get(stream)
        return None if heard_ms is None else now_ms - heard_ms

    def ages_ms(self, now_ms: int) -> Iterator[tuple[str, int]]:
        """Every stream that is watched, and how long it has been silent; none where silence is no matter."""
        if self.silence_max_ms:
            yield from ((stream, now_ms - heard_ms) for stream, heard_ms in self._heard_ms.items())

    def look(self, now_ms: int) -> tuple[list[str], bool]:
        """The streams that have been silent for too long, and whether that is all of them; they count anew."""
        self._look_later(now_ms)
        silent = [name for name, heard_ms in self._heard_ms.items() if now_ms - heard_ms >= self.silence_max_ms]
        whole = len(silent) == len(self._heard_ms) > 0
        self._heard_ms.update(dict.fromkeys(silent, now_ms))
        return silent, whole

    def _look_later(self, now_ms: int) -> None:
        self.look_at_ms = now_ms + LOOK_EVERY_MS if self.silence_max_ms and self._heard_ms else None
