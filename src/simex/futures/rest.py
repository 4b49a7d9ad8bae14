"""The REST API of the futures market: a raw request in, a response with its limit headers out."""

from __future__ import annotations

from typing import Final

from simex import signing
from simex.frames import encode
from simex.futures import account_calls, market_calls, query_calls, trading_calls
from simex.futures.accounts import Account
from simex.futures.calls import Call, Gate
from simex.gate import Credentials
from simex.params import Params
from simex.refusal import Refusal
from simex.rest import JSON
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
        path, _, query = request.target.partition("?")
        call = CALLS.get((request.method, path))
        try:
            if call is None:
                raise Refusal(-5000, f"Path {path}, Method {request.method} is invalid", status=404)
            body = request.body if request.method != "GET" else b""
            params = Params.from_wire(query, body)
            credentials = Credentials(request.headers.get("x-mbx-apikey"), signing.rest_payload(query, body))
            answer, account = self._gate.serve(call, params, credentials, now_ms)
        except Refusal as refused:
            return self._refusal(refused, now_ms)
        headers = self._headers(now_ms)
        if call.shows_counts and account is not None:
            headers |= _order_headers(account, now_ms)
        return HttpResponse(200, headers, encode(answer).encode())

    def _refusal(self, refused: Refusal, now_ms: int) -> HttpResponse:
        headers = self._headers(now_ms)
        if refused.retry_at_ms is not None:
            headers["Retry-After"] = str(max(1, -(-(refused.retry_at_ms - now_ms) // 1000)))
        return HttpResponse(refused.status, headers, encode({"code": refused.code, "msg": refused.text}).encode())

    def _headers(self, now_ms: int) -> dict[str, str]:
        used = str(self._gate.weights.used(now_ms))
        return {"Content-Type": JSON, "X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}


def _order_headers(account: Account, now_ms: int) -> dict[str, str]:
    short, minute = account.order_count.counts(now_ms)
    return {"X-MBX-ORDER-COUNT-10S": str(short), "X-MBX-ORDER-COUNT-1M": str(minute)}
