"""A countable plan of misbehaviour around order placement: the exchange has acted, the answer is lost.

Rules: the plan counts order-placing requests that the exchange accepted, over REST and WS-API together; it knows no
chance and no clock, so the same requests meet the same faults.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, get_args

FaultKind = Literal["drop-response-after-accept", "http-503-executed"]
FAULT_KINDS: tuple[FaultKind, ...] = get_args(FaultKind)

UNKNOWN_OUTCOME = {
    "code": -1007,
    "msg": "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
}
PLACING_PATHS = ("/api/v3/order", "/api/v3/order/oco", "/api/v3/order/cancelReplace", "/api/v3/sor/order")
PLACING_LISTS = "/api/v3/orderList/"
PLACING_METHODS = ("order.place", "order.cancelReplace", "sor.order.place")
PLACING_LIST_METHODS = "orderList.place"


@dataclass(frozen=True, slots=True)
class Fault:
    """Strike every `every`-th accepted order-placing request, at most `times` times (None: without end)."""

    kind: FaultKind
    every: int
    times: int | None = None


def parse_fault(text: str) -> Fault:
    """Read `KIND=N`; ValueError with one line for the user."""
    name, _, count = text.partition("=")
    kind = next((kind for kind in FAULT_KINDS if kind == name), None)
    if kind is None:
        raise ValueError(f"unknown fault {name!r}; known: {', '.join(FAULT_KINDS)}")
    if not count.isdecimal() or int(count) == 0:
        raise ValueError(f"{name} needs a count of at least 1, as in {name}=3")
    return Fault(kind, int(count))


class FaultPlan:
    """The faults in force and how often each has been due."""

    def __init__(self, faults: Iterable[Fault] = ()) -> None:
        self._armed = [_Armed(fault) for fault in faults]

    def arm(self, fault: Fault) -> None:
        """Add a fault; it counts from now on."""
        self._armed.append(_Armed(fault))

    def clear(self) -> None:
        self._armed.clear()

    @property
    def is_armed(self) -> bool:
        return bool(self._armed)

    def on_accepted_order(self) -> FaultKind | None:
        """Count one accepted order-placing request; the fault that strikes it, if any (the first armed wins)."""
        struck = [armed.fault.kind for armed in self._armed if armed.strikes()]
        self._armed = [armed for armed in self._armed if not armed.is_spent]
        return struck[0] if struck else None


class _Armed:
    __slots__ = ("_seen", "_struck", "fault")

    def __init__(self, fault: Fault) -> None:
        self.fault = fault
        self._seen = 0
        self._struck = 0

    def strikes(self) -> bool:
        self._seen += 1
        if self._seen % self.fault.every:
            return False
        self._struck += 1
        return True

    @property
    def is_spent(self) -> bool:
        return self.fault.times is not None and self._struck >= self.fault.times


def places_order(method: str, target: str) -> bool:
    """Whether a REST request places orders (tests of orders do not)."""
    path = target.partition("?")[0]
    return method == "POST" and (path in PLACING_PATHS or path.startswith(PLACING_LISTS))


def placing_id(text: str) -> tuple[object] | None:
    """The id of a WS-API request that places orders, in a tuple because null is an id too; None for other texts."""
    try:
        request = json.loads(text)
    except ValueError:
        return None
    if not isinstance(request, dict):
        return None
    method = str(request.get("method")).rpartition("/")[2]
    if method in PLACING_METHODS or method.startswith(PLACING_LIST_METHODS):
        return (request.get("id"),)
    return None


def is_accepted_answer(text: str, request_id: object) -> bool:
    """Whether a WS-API frame is the answer that accepts the request of this id."""
    answer = json.loads(text)
    return isinstance(answer, dict) and answer.get("id") == request_id and answer.get("status") == 200


def unknown_outcome_body() -> bytes:
    """The body of a 503 that leaves the outcome unknown."""
    return json.dumps(UNKNOWN_OUTCOME, separators=(",", ":")).encode()


def unknown_outcome_answer(request_id: object) -> str:
    """The same as a WS-API answer."""
    return json.dumps({"id": request_id, "status": 503, "error": UNKNOWN_OUTCOME}, separators=(",", ":"))
