"""The rules of symbols as the venue last told them, and when to read them again: it changes them without a word."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from surefoot.core.model import Instrument

READ_EVERY_MS = 3_600_000
DOUBT_AGAIN_MS = 10_000  # refusals cannot make us ask without end


class RuleBook:
    """`watched_every_ms` is how often the rules of what is held are read; 0 reads nothing but after refusals."""

    def __init__(self, watched_every_ms: int) -> None:
        self.look_at_ms: int | None = None
        self._watched_every_ms = watched_every_ms
        self._known: dict[str, Instrument] = {}
        self._asked_ms: dict[str, int] = {}
        self._doubted_ms: dict[str, int] = {}

    def learn(self, instruments: Iterable[Instrument], now_ms: int) -> None:
        """What symbols to come, or all of them at the start, are like."""
        for each in instruments:
            self._known[each.symbol] = each
            self._asked_ms[each.symbol] = now_ms
        if self._watched_every_ms and self.look_at_ms is None:
            self.look_at_ms = now_ms + self._watched_every_ms

    def known(self, symbols: Iterable[str]) -> tuple[Instrument, ...]:
        return tuple(self._known[symbol] for symbol in symbols if symbol in self._known)

    def due(self, followed: Iterable[str], watched: Iterable[str], now_ms: int) -> list[str]:
        """What is to be read at this look; the next one is planned."""
        self.look_at_ms = now_ms + self._watched_every_ms
        every_ms = dict.fromkeys(followed, READ_EVERY_MS) | dict.fromkeys(watched, self._watched_every_ms)
        due = [each for each, ms in every_ms.items() if now_ms >= self._asked_ms.get(each, now_ms) + ms]
        self._asked_ms |= dict.fromkeys(due, now_ms)
        return due

    def doubted(self, symbols: Iterable[str], now_ms: int) -> list[str]:
        """What is to be read because the venue refused something for its rules."""
        again_ms = now_ms - DOUBT_AGAIN_MS
        doubted = [each for each in symbols if each in self._known and self._doubted_ms.get(each, 0) <= again_ms]
        self._doubted_ms |= dict.fromkeys(doubted, now_ms)
        return doubted

    def news(self, instruments: Sequence[Instrument]) -> tuple[Instrument, ...]:
        """Those that are no longer what they were; they are known as they are now."""
        changed = tuple(each for each in instruments if self._known.get(each.symbol, each) != each)
        self._known |= {each.symbol: each for each in changed}
        return changed
