"""What a request is about, as far as faults must know: whether it places orders, cancels some, or reads."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from simex.faults import Target

_PLACING_PATHS: Final = frozenset(
    {
        *(f"/api/v3/{name}" for name in ("order", "order/oco", "order/cancelReplace", "sor/order")),
        *(f"/fapi/v1/{name}" for name in ("order", "batchOrders", "algoOrder")),
    }
)
_LISTS: Final = "/api/v3/orderList/"
_AMEND: Final = "/api/v3/order/amend/keepPriority"
_CANCELLING: Final = frozenset(
    {
        *(f"/api/v3/{name}" for name in ("order", "openOrders", "orderList")),
        *(f"/fapi/v1/{name}" for name in ("order", "batchOrders", "allOpenOrders", "algoOrder", "algoOpenOrders")),
    }
)
_PLACING_METHODS: Final = frozenset(
    {
        "order.place",
        "order.cancelReplace",
        "order.modify",
        "order.amend.keepPriority",
        "sor.order.place",
        "algoOrder.place",
    }
)


_CLOSING_SIDES: Final = (("LONG", "SELL"), ("SHORT", "BUY"))


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its name for people, what it is about, and over a WebSocket its id, in a tuple: null is one too."""

    name: str
    target: Target
    is_futures: bool
    id: tuple[object] | None = None
    is_spared: bool = False  # what only reduces futures positions is never told that the venue is too busy

    @property
    def targets(self) -> tuple[Target, Target]:
        return self.target, "all"


def of_http(method: str, target: str, body: bytes = b"") -> Asked:
    """A REST request by its method, raw target and body."""
    path, _, query = target.partition("?")
    places = path in _PLACING_PATHS or path.startswith(_LISTS) or path == _AMEND
    kind: Target = "reads"
    if method in ("POST", "PUT") and places:
        kind = "orders"
    elif method == "DELETE" and path in _CANCELLING:
        kind = "cancels"
    is_futures = path.startswith("/fapi/")
    reduces = is_futures and kind == "orders" and _reduces(dict(parse_qsl(f"{body.decode(errors='replace')}&{query}")))
    return Asked(f"{method} {path}", kind, is_futures, is_spared=reduces)


def of_text(text: str, is_futures: bool) -> Asked | None:
    """A request over the WebSocket API; None for a text that is none."""
    try:
        request = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(request, dict):
        return None
    method = str(request.get("method")).rpartition("/")[2]
    kind: Target = "reads"
    if method in _PLACING_METHODS or method.startswith("orderList.place"):
        kind = "orders"
    elif method.endswith((".cancel", ".cancelAll")):
        kind = "cancels"
    params = request.get("params")
    reduces = is_futures and kind == "orders" and isinstance(params, dict) and _reduces(params)
    return Asked(method, kind, is_futures, (request.get("id"),), reduces)


def _reduces(params: Mapping[str, object]) -> bool:
    """Whether an order on futures only closes; texts and, over a WebSocket, JSON's own truth values alike."""
    side = params.get("positionSide", "BOTH")
    if str(params.get("closePosition")).lower() == "true" or (side, params.get("side")) in _CLOSING_SIDES:
        return True
    return side == "BOTH" and str(params.get("reduceOnly")).lower() == "true"


def answer_among(frames: list[tuple[int, str]], link: int, asked: Asked) -> int | None:
    """Which of the frames is the answer to a request on a link; None when none is."""
    for at, (number, text) in enumerate(frames):
        if number == link and text.startswith('{"id":') and asked.id is not None:
            answer = json.loads(text)
            if answer["id"] == asked.id[0]:
                return at
    return None


def is_accepted(text: str) -> bool:
    """Whether a WebSocket API answer says that the request was carried out."""
    return bool(json.loads(text).get("status") == 200)
