"""The dialect of USDⓈ-M futures: conditional orders protect, income is listed, the account's stream needs a key."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from surefoot.binance import signing
from surefoot.binance.budget import Lane
from surefoot.binance.codec import MarkPriceFrame, Outcome, VenueError
from surefoot.binance.dialect import COMMON_FATAL, COMMON_RULE_CODES, Ask, Ended, Heard, Question, Write
from surefoot.binance.dialogue import BOOK, MARKET, Keys
from surefoot.binance.futures import codec
from surefoot.binance.futures.preparation import BRACKETS, CONFIG, EXCHANGE_INFO, FuturesPreparation, MarginWishes
from surefoot.binance.signing import decimal_text
from surefoot.core.messages import (
    AccountSnapshot,
    CancelOrder,
    Event,
    IncomePaid,
    MarginCalled,
    QueryOrder,
    ReadAccount,
    ReadFills,
    SubmitOrder,
    VenueTraded,
)
from surefoot.core.model import (
    CONDITIONAL,
    Balance,
    Income,
    Instrument,
    MarginTerms,
    OrderRequest,
    OrderType,
    Purpose,
    VenueOrder,
    VenuePosition,
)

INCOME_OVERLAP_MS = 600_000  # rows may be listed late, and are recognised when they come again
TRIGGERED_REMEMBERED = INCOME_REMEMBERED = 1_000
OWN_PREFIX = "sf-"
ORDER_PATH, ALGO_PATH, INCOME_PATH = "/fapi/v1/order", "/fapi/v1/algoOrder", "/fapi/v1/income"
News = Callable[[Sequence[IncomePaid]], list[IncomePaid]]
LISTEN_KEY_PATH, FORCED_PATH, ALL_PATH = "/fapi/v1/listenKey", "/fapi/v1/forceOrders", "/fapi/v1/allOrders"


def order_params(order: OrderRequest) -> signing.Params:
    """The parameters of a plain order. Every order but an entry may only reduce. ValueError when it is incomplete."""
    terms = [("type", str(order.type))]
    if order.type is OrderType.LIMIT:
        terms += [("timeInForce", "GTC"), ("price", _needed(order, "price"))]
    elif order.type is OrderType.LIMIT_MAKER:
        terms = [("type", "LIMIT"), ("timeInForce", "GTX"), ("price", _needed(order, "price"))]
    elif order.type is not OrderType.MARKET:
        raise ValueError(f"{order.client_order_id}: futures take no {order.type} as a plain order")
    return [
        ("symbol", order.symbol),
        ("side", order.side),
        *terms,
        ("quantity", _needed(order, "quantity")),
        ("reduceOnly", _only_reduces(order)),
        ("newClientOrderId", order.client_order_id),
        ("newOrderRespType", "RESULT"),
    ]


def algo_params(order: OrderRequest) -> signing.Params:
    """The parameters of a conditional order, triggered by the last price. ValueError when it is incomplete."""
    return [
        ("algoType", "CONDITIONAL"),
        ("symbol", order.symbol),
        ("side", order.side),
        ("type", str(order.type)),
        ("quantity", _needed(order, "quantity")),
        ("triggerPrice", _needed(order, "stop_price")),
        ("workingType", "CONTRACT_PRICE"),
        ("reduceOnly", _only_reduces(order)),
        ("clientAlgoId", order.client_order_id),
    ]


def countdown(symbol: str, span_ms: int) -> Ask:
    """All plain orders of a symbol, anybody's, are cancelled after this time unless told again; 0 stops it."""
    return Ask("POST", "/fapi/v1/countdownCancelAll", [("symbol", symbol), ("countdownTime", str(span_ms))], 10)


def _only_reduces(order: OrderRequest) -> str:
    return "false" if order.purpose is Purpose.ENTRY else "true"


def _needed(order: OrderRequest, what: str) -> str:
    value = getattr(order, what)
    if value is None:
        raise ValueError(f"{order.type} order {order.client_order_id} has no {what.replace('_', ' ')}")
    return decimal_text(value)


class Terms:
    """How the venue holds positions of the `symbols` that are traded: `unlike` is what is not as it was wished, as far
    as it was read. `doubts` counts why it may be otherwise by now; with a reading that was begun after the last of them
    it is known."""

    def __init__(self, wishes: MarginWishes) -> None:
        self.symbols: set[str] = set()
        self.unlike: tuple[MarginTerms, ...] = ()
        self.doubts = self._settled = 0
        self._wished = wishes.margin_type, wishes.leverage

    @property
    def in_doubt(self) -> bool:
        return self.doubts > self._settled

    def take(self, configs: Mapping[str, tuple[str, int]], doubts: int) -> None:
        """What was read: margin type and leverage by symbol. `doubts` there were when the reading began."""
        told = ((symbol, configs[symbol]) for symbol in sorted(self.symbols & configs.keys()))
        self.unlike = tuple(
            MarginTerms(symbol, terms[1], terms[0] == "ISOLATED") for symbol, terms in told if terms != self._wished
        )
        self._settled = doubts


class FuturesReading:
    """Income first, so that the balances after it are explained; then balances, positions, and both kinds of orders.

    Of positions in question, then, what the venue itself ordered, and the trades of each such order. How positions are
    held is asked for where it may have changed.
    """

    def __init__(self, income: Ask, in_question: Sequence[tuple[str, int]], news: News, terms: Terms) -> None:
        self._news = news
        self._terms, self._doubts = terms, terms.doubts
        self._held_since_ms = dict(in_question)
        self._venues_orders: dict[str, str] = {}  # client order id by order id
        self._venue_trades: list[VenueTraded] = []
        self.asks = [
            income,
            Ask("GET", "/fapi/v3/account", [], 5),
            Ask("GET", "/fapi/v3/positionRisk", [], 5),
            Ask("GET", "/fapi/v1/openOrders", [], 40),
            Ask("GET", "/fapi/v1/openAlgoOrders", [], 40),
            *(Ask("GET", FORCED_PATH, [("symbol", each), ("limit", "100")], 20) for each in self._held_since_ms),
            *(Ask("GET", ALL_PATH, [("symbol", each), ("limit", "1000")], 5) for each in self._held_since_ms),
            *([Ask("GET", CONFIG, [], 5)] if terms.in_doubt else []),
        ]
        self._income: tuple[IncomePaid, ...] = ()
        self._balances: tuple[Balance, ...] = ()
        self._positions: tuple[VenuePosition, ...] = ()
        self._orders: tuple[VenueOrder, ...] = ()
        self._algo_orders: tuple[VenueOrder, ...] = ()

    def take(self, ask: Ask, body: bytes, now_ms: int) -> None:
        match ask.path:
            case "/fapi/v1/income":
                self._income = codec.read_income(body, now_ms)
            case "/fapi/v3/account":
                self._balances = codec.read_balances(body)
            case "/fapi/v3/positionRisk":
                self._positions = codec.read_positions(body)
            case "/fapi/v1/symbolConfig":
                self._terms.take(codec.read_symbol_configs(body), self._doubts)
            case "/fapi/v1/openOrders":
                self._orders = codec.read_open_orders(body)
            case "/fapi/v1/forceOrders":
                self.asks += self._asks_for_trades(codec.read_forced_orders(body))
            case "/fapi/v1/allOrders":
                self.asks += self._asks_for_trades(codec.read_venues_orders(body))
            case "/fapi/v1/userTrades":
                name = self._venues_orders[dict(ask.params)["orderId"]]
                self._venue_trades += codec.read_venue_trades(body, name, now_ms)
            case _:
                self._algo_orders = codec.read_open_algo_orders(body)

    def events(self, now_ms: int) -> list[Event]:
        orders = (*self._orders, *self._algo_orders)
        ours = self._terms.symbols
        positions = (replace(each, mark_price=None) if each.symbol in ours else each for each in self._positions)
        snapshot = AccountSnapshot(now_ms, self._balances, orders, tuple(positions), self._terms.unlike)
        return [*self._news(self._income), *self._venue_trades, snapshot]

    def _asks_for_trades(self, orders: Sequence[codec.ForcedOrder]) -> Iterator[Ask]:
        """What an order did before the position was held, it did to another one."""
        for order in orders:
            since_ms = self._held_since_ms.get(order.symbol)
            is_told = str(order.order_id) in self._venues_orders
            if order.executed_qty and since_ms is not None and order.update_time >= since_ms and not is_told:
                self._venues_orders[str(order.order_id)] = order.client_order_id
                yield _trades_of(order.symbol, order.order_id)


class Futures:
    """See `binance.dialect`. It remembers what plain order a conditional one became, which income it told, and how the
    venue holds positions."""

    market_links: Mapping[str, str] = {MARKET: "/market/stream", BOOK: "/public/stream"}
    book_link = BOOK
    mark_link: str | None = MARKET
    order_target: str | None = "/ws-fapi/v1"
    fatal: Mapping[int, str] = COMMON_FATAL
    rules_every_ms = 3_600_000
    # The filters' own codes, an order type and a symbol's status, and the least notional.
    rule_codes = COMMON_RULE_CODES | {*range(-4007, -4000), -4013, -4014, -4023, -4139, -4140, -4141, -4164}

    def __init__(self, wishes: MarginWishes) -> None:
        self._wishes = wishes
        self._terms = Terms(wishes)
        self._had_stream = False
        self._triggered: dict[int, str] = {}
        self._told: deque[tuple[Income, int]] = deque(maxlen=INCOME_REMEMBERED)

    def time(self) -> Ask:
        return Ask("GET", "/fapi/v1/time", [], 1, signed=False)

    def candles(self, symbol: str, interval: str, from_ms: int | None) -> Ask:
        since = [] if from_ms is None else [("startTime", str(from_ms))]
        params = [("symbol", symbol), ("interval", interval), *since, ("limit", "1000")]
        return Ask("GET", "/fapi/v1/klines", params, 5, signed=False)

    def best_prices(self, symbol: str) -> Ask:
        return Ask("GET", "/fapi/v1/ticker/bookTicker", [("symbol", symbol)], 2, signed=False)

    def mark_price(self, symbol: str) -> Ask:
        return Ask("GET", "/fapi/v1/premiumIndex", [("symbol", symbol)], 1, signed=False)

    def read_mark_price(self, body: bytes) -> MarkPriceFrame:
        return codec.read_mark_price(body)

    def preparation(self, symbols: Sequence[str], held: Sequence[str], *, holds: bool = False) -> FuturesPreparation:
        self._terms.symbols |= set(symbols)
        self._terms.doubts += holds
        return FuturesPreparation(symbols, held, self._wishes, holds=holds)

    def rules(self, symbols: Sequence[str]) -> list[Ask]:
        return [Ask("GET", EXCHANGE_INFO, [], 1, signed=False), Ask("GET", BRACKETS, [])]

    def read_rules(self, ask: Ask, body: bytes, known: Sequence[Instrument]) -> tuple[Instrument, ...]:
        """What is no longer listed is not traded any more."""
        if ask.path == BRACKETS:
            brackets = codec.read_brackets(body)
            return tuple(replace(each, brackets=brackets.get(each.symbol, each.brackets)) for each in known)
        listed = {each.symbol: each for each in codec.read_instruments(body)}
        return tuple(
            replace(listed.get(each.symbol, replace(each, trading=False)), brackets=each.brackets) for each in known
        )

    def reading(self, command: ReadAccount, income_since_ms: int | None, venue_ms: int) -> FuturesReading:
        return FuturesReading(self.income(income_since_ms, venue_ms), command.in_question, self._news, self._terms)

    def income(self, since_ms: int | None, venue_ms: int) -> Ask:
        from_ms = (venue_ms if since_ms is None else since_ms) - INCOME_OVERLAP_MS
        return Ask("GET", INCOME_PATH, [("startTime", str(from_ms)), ("limit", "1000")], 30)

    def read_income(self, body: bytes, now_ms: int) -> Sequence[Event]:
        return self._news(codec.read_income(body, now_ms))

    def _news(self, income: Sequence[IncomePaid]) -> list[IncomePaid]:
        """Those that were not told before: the list is read with an overlap."""
        fresh = [paid for paid in income if (paid.kind, paid.income_id) not in self._told]
        self._told.extend((paid.kind, paid.income_id) for paid in fresh)
        return fresh

    # -- orders -----------------------------------------------------------------------------------------------

    def write(self, command: Write) -> Ask:
        match command:
            case SubmitOrder(order=order) if order.type in CONDITIONAL:
                return Ask(
                    "POST", ALGO_PATH, algo_params(order), 0, Lane.PROTECTION, orders=1, socket="algoOrder.place"
                )
            case SubmitOrder(order=order):
                lane = Lane.ENTRY if order.purpose is Purpose.ENTRY else Lane.EXIT
                return Ask("POST", ORDER_PATH, order_params(order), 0, lane, orders=1, socket="order.place")
            case CancelOrder(conditional=True):
                params = [("clientAlgoId", command.client_order_id)]
                return Ask("DELETE", ALGO_PATH, params, 1, Lane.EXIT, socket="algoOrder.cancel")
            case CancelOrder():
                params = _named(command.symbol, command.client_order_id)
                return Ask("DELETE", ORDER_PATH, params, 1, Lane.EXIT, socket="order.cancel")
            case _:
                raise AssertionError(f"futures have no {type(command).__name__}")

    def question(self, command: Question) -> Ask:
        match command:
            case QueryOrder(conditional=True):
                return Ask("GET", ALGO_PATH, [("clientAlgoId", command.client_order_id)], 1, Lane.EXIT)
            case QueryOrder():
                return Ask("GET", ORDER_PATH, _named(command.symbol, command.client_order_id), 1, Lane.EXIT)
            case ReadFills(conditional=True):
                return Ask("GET", ALGO_PATH, [("clientAlgoId", command.client_order_id)], 1, Lane.EXIT)
            case ReadFills():
                return _trades_of(command.symbol, command.order_id)

    def understand(
        self, ask: Ask, command: Write | Question, body: bytes, now_ms: int
    ) -> tuple[list[Event], Ask | None]:
        if isinstance(command, ReadFills) and ask.path == ALGO_PATH:
            _, became = codec.read_algo_order(body, now_ms)
            return [], None if became is None else _trades_of(command.symbol, became)
        if isinstance(command, ReadFills):
            return list(codec.read_trades(body, command.client_order_id, now_ms)), None
        if ask.path == ALGO_PATH and ask.method == "DELETE":
            return list(codec.read_algo_cancel(body, now_ms)), None
        if ask.path == ALGO_PATH:
            events, order_id = codec.read_algo_order(body, now_ms)
            if order_id is None or not isinstance(command, QueryOrder):
                return list(events), None
            self._remember(order_id, command.client_order_id)
            besides = [("symbol", command.symbol), ("orderId", str(order_id))]
            return list(events), Ask("GET", ORDER_PATH, besides, 1, Lane.EXIT)
        if ask.method == "DELETE":
            return list(codec.read_cancel(body, now_ms)), None
        name = command.client_order_id if isinstance(command, QueryOrder) else None
        return list(codec.read_order(body, now_ms, name)), None

    def half_done(self, command: Write, error: VenueError, body: bytes, now_ms: int) -> list[Event] | None:
        return None

    def outcome(self, status: int, error: VenueError) -> Outcome:
        return codec.outcome(status, error)

    # -- the account's connection --------------------------------------------------------------------------------

    def account_key(self) -> Ask:
        return Ask("POST", LISTEN_KEY_PATH, [], 1, Lane.PROTECTION, signed=False, keyed=True)

    def keep_key(self) -> Ask:
        return Ask("PUT", LISTEN_KEY_PATH, [], 1, Lane.PROTECTION, signed=False, keyed=True)

    def account_target(self, key_answer: bytes) -> str:
        self._terms.doubts += self._had_stream  # what was changed meanwhile is not told
        self._had_stream = True
        return f"/private/ws/{codec.read_listen_key(key_answer)}"

    def account_hello(self, request_id: int, keys: Keys, recv_window_ms: int, at_ms: int) -> str | None:
        return None

    def read_account_frame(self, frame: bytes | str, now_ms: int) -> Heard | Ended:
        message = codec.read_account_frame(frame)
        match message:
            case codec.OrderTradeUpdate(order=order, event_ms=event_ms):
                return Heard(codec.order_events(order, self._name_of(order), now_ms), event_ms)
            case codec.AlgoUpdate(order=order, event_ms=event_ms):
                if order.order_id.isdecimal():
                    self._remember(int(order.order_id), order.client_order_id)
                return Heard(codec.algo_events(order, now_ms), event_ms)
            case codec.AccountUpdate(event_ms=event_ms):
                rearranged = codec.rearranges(message)
                self._terms.doubts += rearranged
                return Heard((), event_ms, income=codec.wants_income(message), rearranged=rearranged)
            case codec.ConfigUpdate(event_ms=event_ms):
                self._terms.doubts += 1
                return Heard((), event_ms, rearranged=True)
            case codec.MarginCall(positions=positions, event_ms=event_ms):
                called = MarginCalled(now_ms, tuple(each.symbol for each in positions))
                return Heard((called,), event_ms, moved=False)
            case codec.KeyExpired():
                return Ended("the key of the account stream has expired")
            case _:
                return Heard(moved=False)

    def _name_of(self, order: codec.OrderUpdate) -> str:
        """Our name of an order; the plain order that a conditional one became may bear another at the venue."""
        if order.client_order_id.startswith(OWN_PREFIX):
            return order.client_order_id
        return self._triggered.get(order.order_id, order.client_order_id)

    def _remember(self, order_id: int, client_order_id: str) -> None:
        self._triggered[order_id] = client_order_id
        if len(self._triggered) > TRIGGERED_REMEMBERED:
            del self._triggered[next(iter(self._triggered))]


def _trades_of(symbol: str, order_id: int) -> Ask:
    return Ask("GET", "/fapi/v1/userTrades", [("symbol", symbol), ("orderId", str(order_id))], 5, Lane.EXIT)


def _named(symbol: str, client_order_id: str) -> signing.Params:
    return [("symbol", symbol), ("origClientOrderId", client_order_id)]
