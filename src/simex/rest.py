"""The REST API: a raw request in, a response with its limit headers out."""

from __future__ import annotations

from typing import Final

from simex import account_calls, market_calls, signing, socket_api, ticker_calls, timeunit, trading_calls, wallet_calls
from simex.accounts import Account
from simex.calls import API, Call
from simex.frames import encode
from simex.gate import Credentials, Gate
from simex.limits import WeightBudget
from simex.params import Params
from simex.refusal import Refusal
from simex.venue import HttpRequest, HttpResponse

CALLS: Final[dict[tuple[str, str], Call]] = (
    market_calls.REST | ticker_calls.REST | account_calls.REST | trading_calls.REST | wallet_calls.REST
)
JSON: Final = "application/json;charset=UTF-8"


class Rest:
    """Serves /api/v3, and what clients ask of /sapi and /dapi when they start."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    def serve(self, request: HttpRequest, now_ms: int) -> HttpResponse:
        """Answer one request; refusals are answers too."""
        path, _, query = request.target.partition("?")
        call = CALLS.get((request.method, path))
        units = 1
        try:
            units = timeunit.of_headers(request.headers)
            if call is None:
                self._refuse_link(path, query, now_ms)
                raise Refusal(-5000, f"Path {path}, Method {request.method} is invalid", status=404)
            answer, account = self._gate.serve(call, *asked(request), now_ms)
        except Refusal as refused:
            return refuse(refused, self._gate.weights, now_ms, units)
        if units != 1 and path.startswith(API):
            answer = timeunit.answer_in(units, answer)
        headers = limit_headers(self._gate.weights, now_ms)
        if call.is_trading and account is not None:
            headers |= _order_headers(account, now_ms)
        return HttpResponse(200, headers, encode(answer).encode())

    def _refuse_link(self, path: str, query: str, now_ms: int) -> None:
        """Why a WebSocket connection was refused that would have been at its place here."""
        timeunit.of_query(query)
        if path == socket_api.PATH:
            self._gate.weights.charge(socket_api.CONNECT_WEIGHT, now_ms)


def asked(request: HttpRequest) -> tuple[Params, Credentials]:
    """What a request says, and of its sender; Refusal for what cannot be read."""
    query = request.target.partition("?")[2]
    # Only the other methods have a body that counts.
    body = request.body if request.method != "GET" else b""
    return Params.from_wire(query, body), Credentials(
        request.headers.get("x-mbx-apikey"), signing.rest_payload(query, body)
    )


def refuse(refused: Refusal, weights: WeightBudget, now_ms: int, units: int = 1) -> HttpResponse:
    """A refusal as an answer."""
    headers = limit_headers(weights, now_ms)
    if refused.retry_at_ms is not None:
        headers["Retry-After"] = str(max(1, -(-(refused.retry_at_ms - now_ms) // 1000)))
    body: dict[str, object] = {"code": refused.code, "msg": refused.text}
    if refused.data is not None:
        body["data"] = timeunit.answer_in(units, refused.data)
    return HttpResponse(refused.status, headers, encode(body).encode())


def limit_headers(weights: WeightBudget, now_ms: int) -> dict[str, str]:
    """The headers that every answer has."""
    used = str(weights.used(now_ms))
    return {"Content-Type": JSON, "X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}


def _order_headers(account: Account, now_ms: int) -> dict[str, str]:
    short, day = account.order_count.counts(now_ms)
    return {"X-MBX-ORDER-COUNT-10S": str(short), "X-MBX-ORDER-COUNT-1D": str(day)}
