"""A plan of misbehaviour: which faults there are, what each may be told, and when it strikes.

Rules. A plan has no clock: it is told the market's. Its chance comes from a seed, one stream for each fault, so that
the same requests and frames meet the same faults. Durations and windows are of market time, which may stand still or
run fast; delays of single messages are real milliseconds.

What cannot happen is not in the plan. Within one TCP connection bytes are neither lost, nor repeated, nor reordered.
Market events may still be lost, repeated or out of order, because the venue's publishers do that before they reach the
connection. What accounts are told is numbered and kept by the venue until it is on the connection: it comes late, and
everything behind it on that connection with it; it may be published twice; it is lost only together with the
connection. Between connections, and between a connection and the answer to an HTTP request, any order is possible.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

FaultKind = Literal[
    "request-late",
    "answer-late",
    "timeout-before",
    "timeout-after",
    "reset-before",
    "reset-after",
    "error-before",
    "error-after",
    "limited",
    "banned",
    "frame-late",
    "frame-lost",
    "frame-repeated",
    "frame-reordered",
    "silent",
    "disconnect",
    "close",
    "shutdown-notice",
    "clock-skew",
    "maintenance",
    "cancel-only",
    "halt",
    "delist",
]
Scene = Literal["request", "answer", "frame", "link", "venue"]
Target = Literal["orders", "cancels", "reads", "market", "account", "all"]

P99_DEVIATIONS: Final = 2.326348
FOREVER_MS: Final = 2**62


@dataclass(frozen=True, slots=True)
class Kind:
    """Where a fault acts, on what it may (the first target is its default), and the settings that are its own."""

    scene: Scene
    targets: tuple[Target, ...]
    settings: tuple[str, ...]
    meaning: str


_REQUESTS: Final[tuple[Target, ...]] = ("orders", "cancels", "reads", "all")
_ALL_REQUESTS: Final[tuple[Target, ...]] = ("all", "orders", "cancels", "reads")
_FRAMES: Final[tuple[Target, ...]] = ("all", "market", "account")

KINDS: Final[dict[FaultKind, Kind]] = {
    "request-late": Kind("request", _ALL_REQUESTS, ("delay_ms",), "the exchange gets a request late"),
    "answer-late": Kind("answer", _ALL_REQUESTS, ("delay_ms",), "its answer comes late"),
    "timeout-before": Kind("request", _REQUESTS, ("after_ms", "then"), "not executed, and nobody answers"),
    "timeout-after": Kind("answer", _REQUESTS, ("after_ms", "then"), "executed, and nobody answers"),
    "reset-before": Kind("request", _REQUESTS, (), "not executed, the connection breaks"),
    "reset-after": Kind("answer", _REQUESTS, (), "executed, the connection breaks instead of an answer"),
    "error-before": Kind("request", _REQUESTS, ("status", "says"), "not executed, a 5xx"),
    "error-after": Kind("answer", _REQUESTS, ("status",), "executed, a 5xx"),
    "limited": Kind("request", _ALL_REQUESTS, ("retry_after_s",), "refused with 429"),
    "banned": Kind(
        "request", _ALL_REQUESTS, ("retry_after_s",), "refused with 418; connections to the WebSocket API close"
    ),
    "frame-late": Kind("frame", _FRAMES, ("delay_ms",), "an event, and all behind it on its connection, comes late"),
    "frame-lost": Kind("frame", ("market",), (), "an event is not published"),
    "frame-repeated": Kind("frame", _FRAMES, (), "an event is published twice"),
    "frame-reordered": Kind("frame", ("market",), (), "an event is published behind the next one"),
    "silent": Kind("link", _FRAMES, ("for_s", "then"), "a connection stays open, and nothing comes"),
    "disconnect": Kind("link", _FRAMES, (), "a connection breaks without a close frame"),
    "close": Kind("link", _FRAMES, ("code",), "a connection is closed with a close frame"),
    "shutdown-notice": Kind("venue", ("all",), ("for_s",), "serverShutdown; the connections are closed for_s later"),
    "clock-skew": Kind(
        "venue",
        ("all",),
        ("skew_ms", "for_s"),
        "the exchange's clock is off by skew_ms: what it tells and what it judges by",
    ),
    "maintenance": Kind("venue", ("all",), ("for_s",), "503 to everything, connections are closed"),
    "cancel-only": Kind("venue", ("all",), ("symbol", "for_s"), "a symbol takes cancels only"),
    "halt": Kind("venue", ("all",), ("symbol", "for_s"), "a symbol does not trade"),
    "delist": Kind(
        "venue", ("all",), ("symbol",), "a symbol's orders expire, futures positions are closed, and it ends"
    ),
}
# What one line each would drown everything else in.
COUNTED_ONLY: Final[frozenset[FaultKind]] = frozenset(("request-late", "answer-late", "frame-late"))
# Faults of an order that the exchange has taken strike those that it accepted; what it refused is answered.
NEEDS_ACCEPTANCE: Final[frozenset[FaultKind]] = frozenset(("timeout-after", "reset-after", "error-after"))


@dataclass(frozen=True, slots=True)
class Delay:
    """Milliseconds: between two bounds, or a median and a 99th percentile of a lognormal distribution."""

    low: float = 0.0
    high: float = 0.0
    median: float | None = None
    p99: float = 0.0

    def draw(self, rng: random.Random) -> float:
        if self.median is None:
            return rng.uniform(self.low, self.high)
        spread = math.log(self.p99 / self.median) / P99_DEVIATIONS
        return math.exp(rng.gauss(math.log(self.median), spread))


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: what it is, when it strikes, and its settings; what a kind does not use is at its default.

    `every`, `probability`: of the occasions there are. `windows_ms`: of market time since the fault was armed, the only
    times at which it strikes. `times`: the most often that it strikes.
    """

    kind: FaultKind
    target: Target = "all"
    every: int | None = None
    probability: float | None = None
    times: int | None = None
    windows_ms: tuple[tuple[int, int], ...] = ()
    delay_ms: Delay = Delay()
    after_ms: int = 10_000
    then: str = ""
    status: int = 503
    says: str = "unknown"
    retry_after_s: int = 1
    for_ms: int | None = None
    code: int = 1_001
    skew_ms: int = 0
    symbol: str = ""

    @property
    def is_by_moment(self) -> bool:
        """It strikes at a time, not at an occasion."""
        return KINDS[self.kind].scene in ("link", "venue") and self.every is None and self.probability is None


class Armed:
    """A fault in force, and what has become of it."""

    __slots__ = ("_moments", "_seen", "fault", "rng", "struck", "windows_ms")

    def __init__(self, fault: Fault, rng: random.Random, now_ms: int) -> None:
        self.fault = fault
        self.rng = rng
        self.struck = 0
        self.windows_ms = tuple((now_ms + start, now_ms + end) for start, end in fault.windows_ms)
        self._seen = 0
        moments = [start for start, _ in self.windows_ms] or [now_ms]
        self._moments = moments[: fault.times] if fault.is_by_moment else []

    @property
    def is_spent(self) -> bool:
        fault = self.fault
        if fault.is_by_moment:
            return not self._moments
        return fault.times is not None and self.struck >= fault.times

    def strikes(self, now_ms: int) -> bool:
        """Count an occasion; whether it strikes."""
        fault = self.fault
        if fault.is_by_moment or self.is_spent:
            return False
        if self.windows_ms and not any(start <= now_ms < end for start, end in self.windows_ms):
            return False
        self._seen += 1
        if fault.every is not None and self._seen % fault.every:
            return False
        if fault.probability is not None and self.rng.random() >= fault.probability:
            return False
        self.struck += 1
        return True

    def next_moment_ms(self) -> int | None:
        return self._moments[0] if self._moments else None

    def take_moment(self, now_ms: int) -> int | None:
        """A moment that has come: when what begins there is over. None while there is none."""
        if not self._moments or self._moments[0] > now_ms:
            return None
        start_ms = self._moments.pop(0)
        self.struck += 1
        if self.fault.for_ms is not None:
            return start_ms + self.fault.for_ms
        return next((end for start, end in self.windows_ms if start == start_ms), FOREVER_MS)


class FaultPlan:
    """The faults in force, and how often each kind has struck."""

    def __init__(self, faults: Iterable[Fault] = (), seed: int = 7) -> None:
        self.armed: list[Armed] = []
        self.done: dict[FaultKind, int] = {}
        self._waiting = list(faults)
        self._seed = seed
        self._numbered = 0

    def add(self, faults: Iterable[Fault]) -> None:
        """Plan more, before market time begins."""
        self._waiting += faults

    @property
    def planned(self) -> list[Fault]:
        """What waits for market time to begin."""
        return list(self._waiting)

    def begin(self, now_ms: int) -> None:
        """Market time begins; the windows of what was planned before are counted from here."""
        waiting, self._waiting = self._waiting, []
        for fault in waiting:
            self.arm(fault, now_ms)

    def arm(self, fault: Fault, now_ms: int) -> Armed:
        """Add a fault; it counts from now on."""
        self._numbered += 1
        rng = random.Random(f"{self._seed} {self._numbered} {fault.kind}")
        armed = Armed(fault, rng, now_ms)
        self.armed.append(armed)
        return armed

    def clear(self) -> None:
        """No faults from now on, but those that last until their time is over."""
        self.armed = []
        self._waiting = []

    def of(self, scene: Scene) -> Sequence[Armed]:
        return [armed for armed in self.armed if KINDS[armed.fault.kind].scene == scene]

    def strike(
        self, scene: Scene, targets: Sequence[Target], is_accepted: bool, now_ms: int, spared: str = ""
    ) -> list[Armed]:
        """Count one occasion; the faults that strike it. Of those that take the answer away only the first does.

        It is no occasion for faults that say what it is spared of.
        """
        found: list[Armed] = []
        for armed in self.of(scene):
            fault = armed.fault
            is_spared = bool(spared) and fault.kind == "error-before" and fault.says == spared
            if is_spared or fault.target not in targets or (fault.kind in NEEDS_ACCEPTANCE and not is_accepted):
                continue
            if armed.strikes(now_ms):
                found.append(armed)
        return found

    def note(self, kind: FaultKind) -> None:
        """It has struck."""
        self.done[kind] = self.done.get(kind, 0) + 1
