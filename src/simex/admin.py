"""The operator's door: commands to a running exchange, on a port and with a key of its own.

Rules: JSON over HTTP on the loopback address; every request bears the key in its header X-Admin-Key. What is asked for
is done at once and answered with what became of it; a mistake is answered with one line.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final, get_args

from aiohttp import web

from simex.exchange import Exchange
from simex.faultplan import TIMINGS, PlanError, read_fault, read_plan
from simex.faults import KINDS
from simex.relay import Relay
from simex.server import HOST, Server
from simex.venue import SymbolStatus

KEY_HEADER: Final = "X-Admin-Key"
BODY_BYTES_MAX: Final = 65_536
STATUSES: Final[tuple[SymbolStatus, ...]] = get_args(SymbolStatus)
LEAD_MAX_S: Final = 86_400
SKEW_MAX_MS: Final = 3_600_000


class AdminPortTaken(Exception):
    """Nobody can listen there."""


class Mistake(Exception):
    """A command that cannot be carried out; the text tells why."""


Command = Callable[[Mapping[str, Any]], object]


class Admin:
    """Commands to one server and its exchange."""

    def __init__(self, server: Server, exchange: Exchange, account: str, key: str, relay: Relay | None) -> None:
        """`account` is the API key of whom money is given to when nobody is named."""
        self.key = key
        self._server = server
        self._exchange = exchange
        self._account = account
        self._relay = relay
        self._runner: web.ServerRunner | None = None
        self._commands: dict[tuple[str, str], Command] = {
            ("GET", "/state"): self._state,
            ("POST", "/faults"): self._add_faults,
            ("DELETE", "/faults"): self._clear_faults,
            ("POST", "/deposit"): self._deposit,
            ("POST", "/price"): self._price,
            ("POST", "/basis"): self._basis,
            ("POST", "/deleverage"): self._deleverage,
            ("POST", "/shutdown-notice"): self._shutdown_notice,
            ("POST", "/clock"): self._clock,
        }

    async def start(self, port: int) -> int:
        """Listen; the port that was bound. Raises AdminPortTaken."""
        runner = web.ServerRunner(web.Server(self._serve, access_log=None))
        await runner.setup()
        try:
            await web.TCPSite(runner, HOST, port).start()
        except OSError as error:
            await runner.cleanup()
            raise AdminPortTaken(error.strerror or str(error)) from None
        self._runner = runner
        return int(runner.addresses[0][1])

    async def stop(self) -> None:
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        if not hmac.compare_digest(request.headers.get(KEY_HEADER, "").encode(), self.key.encode()):
            return _told(401, {"error": f"the header {KEY_HEADER} does not bear the key of the first line"})
        command = self._command(request.method, request.path)
        if command is None:
            return _told(404, {"error": f"{request.method} {request.path} is unknown", "known": self._known()})
        if (request.content_length or 0) > BODY_BYTES_MAX:
            return _told(413, {"error": f"the body is longer than {BODY_BYTES_MAX} bytes"})
        try:
            body = await request.content.read(BODY_BYTES_MAX)
            return _told(200, command(_object(body)))
        except (Mistake, PlanError) as mistake:
            return _told(400, {"error": str(mistake)})

    def _command(self, method: str, path: str) -> Command | None:
        parts = path.split("/")
        if method == "POST" and len(parts) == 4 and (parts[1], parts[3]) == ("symbols", "status"):
            return lambda body: self._set_status(parts[2], body)
        return self._commands.get((method, path))

    def _known(self) -> list[str]:
        return [*(f"{method} {path}" for method, path in self._commands), "POST /symbols/SYMBOL/status"]

    # -- commands ----------------------------------------------------------------------------------------------------

    def _state(self, body: Mapping[str, Any]) -> object:
        links = [
            {"number": link.number, "target": link.target, "kind": link.kind, "account": link.has_account}
            for link in self._server.links
        ]
        return {
            "now_ms": self._server.now_ms(),
            "symbols": self._exchange.symbol_states(),
            "links": links,
            "faults": self._server.faults.state(),
            "relay": None if self._relay is None else self._relay.as_state(),
        }

    def _add_faults(self, body: Mapping[str, Any]) -> object:
        """One fault, which strikes once unless it says when; or a plan."""
        if "kind" in body:
            rule = KINDS.get(body["kind"])
            is_timed = any(key in body for key in TIMINGS) or rule is None or rule.scene == "venue"
            faults = [read_fault(body if is_timed else {**body, "times": 1})]
        else:
            faults = read_plan(body).planned
        for fault in faults:
            if fault.symbol and fault.symbol not in self._exchange.tick_sizes:
                raise Mistake(f"symbol = {fault.symbol!r}: allowed are {', '.join(self._exchange.tick_sizes)}")
        for fault in faults:
            self._server.faults.arm(fault)
        self._server.tell()
        return self._server.faults.state()

    def _clear_faults(self, body: Mapping[str, Any]) -> object:
        self._server.faults.clear()
        return self._server.faults.state()

    def _set_status(self, symbol: str, body: Mapping[str, Any]) -> object:
        _only(body, "status")
        status = next((known for known in STATUSES if known == body.get("status")), None)
        if symbol not in self._exchange.tick_sizes:
            raise Mistake(f"symbol {symbol}: allowed are {', '.join(self._exchange.tick_sizes)}")
        if status is None:
            raise Mistake(f"status = {body.get('status')!r}: allowed are {', '.join(STATUSES)}")
        self._exchange.set_symbol_status(symbol, status)
        self._server.tell()
        return {"symbol": symbol, "status": status}

    def _deposit(self, body: Mapping[str, Any]) -> object:
        _only(body, "asset", "amount", "api_key")
        asset, amount = body.get("asset"), _number(body, "amount")
        account = body.get("api_key", self._account)
        if not isinstance(asset, str) or not asset.isalnum():
            raise Mistake(f"asset = {asset!r}: allowed is the name of an asset, such as USDT")
        try:
            self._exchange.deposit(account, asset, amount, self._server.now_ms())
        except KeyError:
            raise Mistake("api_key: no account has this key") from None
        except ValueError as error:
            raise Mistake(f"amount = {amount}: {error}") from None
        self._server.tell()
        return {"asset": asset, "amount": str(amount)}

    def _price(self, body: Mapping[str, Any]) -> object:
        """One print; the market goes on from where it was with its next one."""
        _only(body, "symbol", "price", "volume", "liquidity")
        symbol, price = body.get("symbol"), _number(body, "price")
        ticks = self._exchange.tick_sizes
        if symbol not in ticks:
            raise Mistake(f"symbol = {symbol!r}: allowed are {', '.join(ticks)}")
        if price <= 0 or price % ticks[symbol]:
            raise Mistake(f"price = {price}: allowed are multiples of {ticks[symbol]} above 0")
        volume = _number(body, "volume", "0")
        liquidity = _number(body, "liquidity", "1000")
        if volume < 0 or liquidity < 0:
            raise Mistake("volume and liquidity cannot be negative")
        self._exchange.tick(symbol, price, volume, liquidity, self._server.now_ms())
        self._server.tell()
        return {"symbol": symbol, "price": str(price)}

    def _basis(self, body: Mapping[str, Any]) -> object:
        """What a contract's mark price is above its last price from now on."""
        _only(body, "symbol", "basis")
        futures, symbol, basis = self._exchange.futures, body.get("symbol"), _number(body, "basis")
        book = None if futures is None or not isinstance(symbol, str) else futures.books.get(symbol)
        if futures is None or book is None or not isinstance(symbol, str):
            known = () if futures is None else tuple(futures.books)
            raise Mistake(f"symbol = {symbol!r}: allowed are {', '.join(known) or 'those of a futures market'}")
        if book.told is not None:
            raise Mistake(f"symbol = {symbol!r}: its mark price is told by the market that is relayed")
        if book.last is not None and book.last + basis <= 0:
            raise Mistake(f"basis = {basis}: the mark price would not be above 0")
        futures.set_basis(symbol, basis, self._server.now_ms())
        self._server.tell()
        return {"symbol": symbol, "basis": str(basis)}

    def _deleverage(self, body: Mapping[str, Any]) -> object:
        """Close some of a futures position at a price, as auto-deleveraging does."""
        _only(body, "symbol", "quantity", "price", "api_key")
        futures = self._exchange.futures
        known = () if futures is None else tuple(futures.books)
        symbol, account = body.get("symbol"), body.get("api_key", self._account)
        quantity, price = _number(body, "quantity"), _number(body, "price")
        if futures is None or symbol not in known:
            raise Mistake(f"symbol = {symbol!r}: allowed are {', '.join(known) or 'those of a futures market'}")
        try:
            futures.deleverage(account, symbol, quantity, price, self._server.now_ms())
        except KeyError:
            raise Mistake("api_key: no account has this key") from None
        except ValueError as error:
            raise Mistake(f"quantity = {quantity}, price = {price}: {error}") from None
        self._server.tell()
        return {"symbol": symbol, "quantity": str(quantity), "price": str(price)}

    def _shutdown_notice(self, body: Mapping[str, Any]) -> object:
        """Announce it; with `lead_s`, real seconds, the connections that were told are closed then."""
        _only(body, "lead_s")
        lead_s = body.get("lead_s")
        if lead_s is not None and (isinstance(lead_s, bool) or not isinstance(lead_s, int | float)):
            raise Mistake(f"lead_s = {lead_s!r}: allowed is a number of seconds")
        if lead_s is not None and not 0 <= lead_s <= LEAD_MAX_S:
            raise Mistake(f"lead_s = {lead_s}: allowed is 0 to {LEAD_MAX_S}")
        self._server.announce_shutdown(lead_s)
        return {"lead_s": lead_s}

    def _clock(self, body: Mapping[str, Any]) -> object:
        """How far the server's clock is off."""
        _only(body, "skew_ms")
        skew_ms = body.get("skew_ms")
        if isinstance(skew_ms, bool) or not isinstance(skew_ms, int) or abs(skew_ms) > SKEW_MAX_MS:
            raise Mistake(f"skew_ms = {skew_ms!r}: allowed is a whole number from {-SKEW_MAX_MS} to {SKEW_MAX_MS}")
        self._server.faults.skew(skew_ms)
        return {"skew_ms": skew_ms, "now_ms": self._server.now_ms()}


def _object(body: bytes) -> Mapping[str, Any]:
    if not body:
        return {}
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        raise Mistake("the body is not JSON") from None
    if not isinstance(found, dict):
        raise Mistake("the body is not a JSON object")
    return found


def _only(body: Mapping[str, Any], *known: str) -> None:
    for key in body:
        if key not in known:
            raise Mistake(f"{key}: unknown key; allowed are {', '.join(known)}")


def _number(body: Mapping[str, Any], key: str, default: str | None = None) -> Decimal:
    """An exact number: text, or a whole number."""
    value = body.get(key, default)
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        try:
            number = Decimal(value)
            if number.is_finite():
                return number
        except InvalidOperation:
            pass
    raise Mistake(f'{key} = {value!r}: allowed is a number as text, such as {key!r}: "100.5"')


def _told(status: int, answer: object) -> web.Response:
    return web.json_response(answer, status=status)
