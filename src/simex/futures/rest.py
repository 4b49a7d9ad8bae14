"""The REST API of the futures market: a raw request in, a response with its limit headers out."""

from __future__ import annotations

from typing import Final

from simex.frames import encode
from simex.futures import account_calls, market_calls, query_calls, trading_calls
from simex.futures.accounts import Account
from simex.futures.calls import Call, Gate
from simex.refusal import Refusal
from simex.rest import asked, limit_headers, refuse
from simex.venue import HttpRequest, HttpResponse

CALLS: Final[dict[tuple[str, str], Call]] = (
    market_calls.REST | account_calls.REST | query_calls.REST | trading_calls.REST
)


class Rest:
    """Serves /fapi."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def serve(self, request: HttpRequest, now_ms: int) -> HttpResponse:
        """Answer one request; refusals are answers too."""
        path = request.target.partition("?")[0]
        call = CALLS.get((request.method, path))
        try:
            if call is None:
                raise Refusal(-5000, f"Path {path}, Method {request.method} is invalid", status=404)
            answer, account = self._gate.serve(call, *asked(request), now_ms)
        except Refusal as refused:
            return refuse(refused, self._gate.weights, now_ms)
        headers = limit_headers(self._gate.weights, now_ms)
        if call.shows_counts and account is not None:
            headers |= _order_headers(account, now_ms)
        return HttpResponse(200, headers, encode(answer).encode())


def _order_headers(account: Account, now_ms: int) -> dict[str, str]:
    short, minute = account.order_count.counts(now_ms)
    return {"X-MBX-ORDER-COUNT-10S": str(short), "X-MBX-ORDER-COUNT-1M": str(minute)}
