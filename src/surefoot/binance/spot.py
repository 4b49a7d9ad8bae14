"""Spot's dialect: order lists protect, a cancel-replace moves, and the account speaks on the WebSocket API."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence

from surefoot.binance import codec, signing
from surefoot.binance.budget import Lane
from surefoot.binance.codec import MarkPriceFrame, VenueError
from surefoot.binance.dialect import COMMON_FATAL, COMMON_RULE_CODES, Ask, Ended, Ending, Heard, Question, Rules, Write
from surefoot.binance.dialogue import MARKET, Keys
from surefoot.core.messages import (
    AccountSnapshot,
    BalanceMoved,
    CancelOrder,
    Event,
    QueryOrder,
    ReadAccount,
    ReadFills,
    ReplaceOrder,
    SubmitList,
    SubmitOrder,
)
from surefoot.core.model import Balance, FeeRates, Instrument, Purpose, VenueOrder

TRANSFERS_REMEMBERED = 100
REPLACE_FAILED = (-2021, -2022)  # the body tells what became of each half
ORDER_PATH = "/api/v3/order"
EXCHANGE_INFO = "/api/v3/exchangeInfo"
NO_SYMBOL = -1121


class SpotPreparation:
    """Rules and fees of every symbol. Where something is held (`holds`), those of the others are enough when the venue
    does not know one any more."""

    def __init__(self, symbols: Sequence[str], *, holds: bool = False) -> None:
        self._symbols, self._holds = symbols, holds
        self._gone: set[str] = set()
        self._instruments: tuple[Instrument, ...] | None = None
        self._fees: dict[str, FeeRates] = {}
        self._limits: tuple[codec.RateLimit, ...] = ()

    def begin(self) -> Sequence[Ask]:
        names = "[" + ",".join(f'"{symbol}"' for symbol in self._symbols) + "]"
        rules = Ask("GET", EXCHANGE_INFO, [("symbols", names)], 20, signed=False)
        fees = [Ask("GET", "/api/v3/account/commission", [("symbol", symbol)], 20) for symbol in self._symbols]
        return rules, *fees

    def take(self, ask: Ask, body: bytes) -> Sequence[Ask]:
        if not body and ask.path == EXCHANGE_INFO:  # one of these is unknown, and no list tells which
            return (Ask("GET", EXCHANGE_INFO, [], 20, signed=False),)
        if not body:
            self._gone.add(dict(ask.params)["symbol"])
        elif ask.path == EXCHANGE_INFO:
            known = codec.read_instruments(body)
            self._instruments = tuple(each for each in known if each.symbol in self._symbols)
            self._limits = codec.read_rate_limits(body)
        else:
            symbol, rates = codec.read_fee_rates(body)
            self._fees[symbol] = rates
        return ()

    def is_fine(self, ask: Ask, error: VenueError) -> bool:
        return self._holds and error.code == NO_SYMBOL

    def rules(self) -> Rules | None:
        if self._instruments is None or len(self._fees) + len(self._gone) < len(self._symbols):
            return None
        return Rules(self._instruments, self._fees, self._limits)


class SpotReading:
    """Balances, then open orders."""

    asks: Sequence[Ask] = (
        Ask("GET", "/api/v3/account", [("omitZeroBalances", "true")], 20),
        Ask("GET", "/api/v3/openOrders", [], 80),
    )

    def __init__(self) -> None:
        self._balances: tuple[Balance, ...] = ()
        self._orders: tuple[VenueOrder, ...] = ()

    def take(self, ask: Ask, body: bytes, now_ms: int) -> None:
        if ask is self.asks[0]:
            self._balances, _ = codec.read_account(body)
        else:
            self._orders = codec.read_open_orders(body)

    def events(self, now_ms: int) -> list[Event]:
        return [AccountSnapshot(now_ms, self._balances, self._orders)]


class Spot:
    """See `binance.dialect`."""

    market_links: Mapping[str, str] = {MARKET: "/stream"}
    book_link = MARKET
    mark_link: str | None = None
    order_target: str | None = None
    fatal: Mapping[int, str] = COMMON_FATAL
    rules_every_ms = 60_000  # a cancel-replace on a symbol that only takes cancels would leave a position bare
    rule_codes = COMMON_RULE_CODES

    def __init__(self) -> None:
        self._transfers: deque[codec.BalanceUpdate] = deque(maxlen=TRANSFERS_REMEMBERED)

    def time(self) -> Ask:
        return Ask("GET", "/api/v3/time", [], 1, signed=False)

    def candles(self, symbol: str, interval: str, from_ms: int | None) -> Ask:
        since = [] if from_ms is None else [("startTime", str(from_ms))]
        params = [("symbol", symbol), ("interval", interval), *since, ("limit", "1000")]
        return Ask("GET", "/api/v3/klines", params, 2, signed=False)

    def best_prices(self, symbol: str) -> Ask:
        return Ask("GET", "/api/v3/ticker/bookTicker", [("symbol", symbol)], 2, signed=False)

    def mark_price(self, symbol: str) -> Ask:
        raise AssertionError("spot has no mark prices")

    def read_mark_price(self, body: bytes) -> MarkPriceFrame:
        raise AssertionError("spot has no mark prices")

    def preparation(self, symbols: Sequence[str], held: Sequence[str], *, holds: bool = False) -> SpotPreparation:
        return SpotPreparation((*symbols, *held), holds=holds)

    def rules(self, symbols: Sequence[str]) -> list[Ask]:
        return [Ask("GET", EXCHANGE_INFO, [("symbol", symbol)], 20, signed=False) for symbol in symbols]

    def read_rules(self, ask: Ask, body: bytes, known: Sequence[Instrument]) -> tuple[Instrument, ...]:
        asked = {each.symbol for each in known}
        return tuple(each for each in codec.read_instruments(body) if each.symbol in asked)

    def reading(self, command: ReadAccount, income_since_ms: int | None, venue_ms: int) -> SpotReading:
        return SpotReading()

    def income(self, since_ms: int | None, venue_ms: int) -> Ask | None:
        return None

    def read_income(self, body: bytes, now_ms: int) -> Sequence[Event]:
        raise AssertionError("spot pays no income")

    # -- orders -----------------------------------------------------------------------------------------------

    def write(self, command: Write) -> Ask:
        match command:
            case SubmitOrder(order=order):
                lane = Lane.ENTRY if order.purpose is Purpose.ENTRY else Lane.EXIT
                return Ask("POST", ORDER_PATH, signing.order_params(order), 1, lane, orders=1, socket="order.place")
            case SubmitList():
                path, params = signing.list_request(command)
                lane = Lane.PROTECTION if command.orders[0].purpose is Purpose.TARGET else Lane.ENTRY
                method = f"orderList.place.{command.type.lower()}"
                return Ask("POST", path, params, 1, lane, orders=len(command.orders), socket=method)
            case CancelOrder():
                params = [("symbol", command.symbol), ("origClientOrderId", command.client_order_id)]
                return Ask("DELETE", ORDER_PATH, params, 1, Lane.EXIT, socket="order.cancel")
            case ReplaceOrder():
                path, params = f"{ORDER_PATH}/cancelReplace", signing.replace_params(command)
                return Ask("POST", path, params, 1, Lane.EXIT, orders=1, socket="order.cancelReplace")

    def question(self, command: Question) -> Ask:
        match command:
            case QueryOrder():
                params = [("symbol", command.symbol), ("origClientOrderId", command.client_order_id)]
                return Ask("GET", ORDER_PATH, params, 4, Lane.EXIT)
            case ReadFills():
                params = [("symbol", command.symbol), ("orderId", str(command.order_id))]
                return Ask("GET", "/api/v3/myTrades", params, 5, Lane.EXIT)

    def understand(
        self, ask: Ask, command: Write | Question, body: bytes, now_ms: int
    ) -> tuple[list[Event], Ask | None]:
        match command:
            case SubmitOrder() | QueryOrder():
                return list(codec.read_order(body, now_ms)), None
            case SubmitList():
                return list(codec.read_list(body, now_ms)), None
            case CancelOrder():
                return list(codec.read_cancel(body, now_ms)), None
            case ReplaceOrder():
                return list(codec.read_replace(body, now_ms)), None
            case ReadFills():
                return list(codec.read_trades(body, command.client_order_id, now_ms)), None

    def half_done(self, command: Write, error: VenueError, body: bytes, now_ms: int) -> list[Event] | None:
        """A cancel-replace of which one half failed, or both did: the answer tells of each."""
        if not isinstance(command, ReplaceOrder) or error.code not in REPLACE_FAILED:
            return None
        return list(codec.read_replace_failure(body, command, now_ms))

    def outcome(self, status: int, error: VenueError) -> codec.Outcome:
        return codec.outcome(status, error)

    # -- the account's connection --------------------------------------------------------------------------------

    def account_key(self) -> Ask | None:
        return None

    def keep_key(self) -> Ask | None:
        return None

    def account_target(self, key_answer: bytes) -> str:
        return "/ws-api/v3"

    def account_hello(self, request_id: int, keys: Keys, recv_window_ms: int, at_ms: int) -> str | None:
        params: dict[str, str | int] = {
            "apiKey": keys.api_key,
            "recvWindow": recv_window_ms,
            "timestamp": at_ms,
        }
        params["signature"] = signing.sign_ws(keys.secret, params)
        return codec.ws_request_text(request_id, "userDataStream.subscribe.signature", params)

    def read_account_frame(self, frame: bytes | str, now_ms: int) -> Heard | codec.WsReply | Ending | Ended:
        message = codec.read_account_frame(frame)
        match message:
            case codec.WsReply():
                return message
            case codec.ExecutionReport():
                first_fill = message.execution == "TRADE" and message.executed == message.last_quantity
                return Heard(codec.order_events(message, now_ms), message.event_ms, uncounted=first_fill)
            case codec.AccountPosition() | codec.ListStatus():
                return Heard()
            case codec.BalanceUpdate():
                return self._on_transfer(message, now_ms)
            case codec.Shutdown():
                return Ending()
            case codec.StreamTerminated():
                return Ended("the venue ended the account stream")
            case _:
                return Heard(moved=False)

    def _on_transfer(self, update: codec.BalanceUpdate, now_ms: int) -> Heard:
        """A transfer has no number; one of the same asset, amount and millisecond is the same one told again."""
        if update in self._transfers:
            return Heard()
        self._transfers.append(update)
        return Heard((BalanceMoved(now_ms, update.asset, update.delta),))
