"""The shapes of what Binance spot sends, letter for letter; read only by the codec, which checks the values.

Rules: a field that the venue may leave out has a default that means "not told", unknown fields are skipped. Only the
messages of the first two sections leave the codec.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import Literal

from msgspec import UNSET, Raw, Struct, UnsetType, field
from msgspec.json import Decoder

from surefoot.core.model import ZERO, Balance, Candle, Side

# ---------------------------------------------------------------------------------------------------------------
# What the codec raises and hands on


class BadFrame(ValueError):
    """What came from the venue is no JSON, has not the documented shape, or has amounts that cannot be."""


class BadPrice(BadFrame):
    """A market price or candle that cannot be: drop it, count it, alarm."""


class VenueError(Struct, frozen=True, gc=False):
    """A refusal in the venue's own numbers; no `code` when the answer was not its JSON (a firewall, a proxy)."""

    code: int | None
    text: str


class KlineFrame(Struct, frozen=True, gc=False):
    """A candle as it stands; only when `closed` will it not change any more."""

    event_ms: int
    closed: bool
    candle: Candle


class BookFrame(Struct, frozen=True, gc=False):
    """Best bid and ask. Only futures tell when; on spot it is known no better than by its arrival."""

    symbol: str
    bid: Decimal
    ask: Decimal
    event_ms: int | None = None


class MarkPriceFrame(Struct, frozen=True, gc=False):
    """The price that a contract's margins go by."""

    symbol: str
    price: Decimal
    event_ms: int | None


class StreamReply(Struct, frozen=True, gc=False):
    """The answer to a command on a stream connection; `error` is None when it was done."""

    id: int | str | None
    error: str | None


class Shutdown(Struct, frozen=True, gc=False):
    """The venue will close this connection soon: open the next one, then close this one."""

    event_ms: int = field(name="E")


class Ignored(Struct, frozen=True, gc=False):
    """A well-formed frame that nobody here needs; `kind` is the venue's name for it."""

    kind: str


class RateLimit(Struct, frozen=True, gc=False):
    """A limit the venue announces: `kind` is weight, orders, requests or connections; at most `limit` an interval."""

    kind: str
    interval_ms: int
    limit: int


# ---------------------------------------------------------------------------------------------------------------
# Events of the account


class WsReply(Struct, frozen=True, gc=False):
    """The answer to a WebSocket API request; `error` is None when it was done. `body` is the JSON of the result, or of
    the error, as it would be over HTTP, and `headers` tell there what the venue has counted and how long to wait."""

    id: int | str | None
    status: int
    error: VenueError | None
    body: bytes
    headers: Mapping[str, str]


class ExecutionReport(Struct, frozen=True, gc=False):
    """What happened to an order, in the venue's words: read it by `order_events`."""

    symbol: str = field(name="s")
    client_order_id: str = field(name="c")
    original_client_order_id: str = field(name="C")
    order_id: int = field(name="i")
    side: Side = field(name="S")
    execution: Literal["NEW", "CANCELED", "REPLACED", "REJECTED", "TRADE", "EXPIRED", "TRADE_PREVENTION"] = field(
        name="x"
    )
    status: str = field(name="X")
    reject_reason: str = field(name="r")
    quantity: Decimal = field(name="q")
    executed: Decimal = field(name="z")
    last_quantity: Decimal = field(name="l")
    last_price: Decimal = field(name="L")
    fee: Decimal = field(name="n")
    fee_asset: str | None = field(name="N")
    trade_id: int = field(name="t")
    maker: bool = field(name="m")
    trade_ms: int = field(name="T")
    event_ms: int = field(name="E")
    expiry_reason: str | None = field(name="eR", default=None)


class AccountPosition(Struct, frozen=True, gc=False):
    """The balances that may have changed, as they are now."""

    balances: tuple[Balance, ...]
    update_ms: int


class BalanceUpdate(Struct, frozen=True, gc=False):
    """A deposit, withdrawal or transfer."""

    asset: str = field(name="a")
    delta: Decimal = field(name="d")
    at_ms: int = field(name="T")


class ListStatus(Struct, frozen=True, gc=False):
    """An order list began, changed or ended; its orders report for themselves."""

    symbol: str = field(name="s")
    list_id: str = field(name="C")
    status: str = field(name="L")
    reject_reason: str = field(name="r")
    at_ms: int = field(name="T")


class StreamTerminated(Struct, frozen=True, gc=False):
    """The subscription to account events has ended; the connection has not."""

    event_ms: int = field(name="E")


AccountEvent = ExecutionReport | AccountPosition | BalanceUpdate | ListStatus | StreamTerminated | Shutdown | Ignored

# ---------------------------------------------------------------------------------------------------------------
# Shapes


class Refusal(Struct, frozen=True, gc=False):
    code: int | None = None
    msg: str = ""
    data: Raw = Raw()


class StreamEnvelope(Struct, frozen=True, gc=False):
    stream: str | None = None
    data: Raw = Raw()
    id: int | str | UnsetType | None = UNSET
    error: Refusal | None = None
    code: int | None = None
    msg: str = ""
    e: str = ""
    E: int = 0


class Book(Struct, frozen=True, gc=False):
    s: str
    b: str
    a: str
    E: int | None = None


class MarkPrice(Struct, frozen=True, gc=False):
    s: str
    p: str
    E: int | None = None


class Kline(Struct, frozen=True, gc=False):
    t: int
    T: int
    s: str
    i: str
    o: str
    h: str
    l: str  # noqa: E741 - the venue's letter
    c: str
    v: str
    x: bool


class KlineEvent(Struct, frozen=True, gc=False):
    E: int
    k: Kline


class RateCount(Struct, frozen=True, gc=False, rename="camel"):
    rate_limit_type: str
    interval: str
    interval_num: int
    count: int


class AccountEnvelope(Struct, frozen=True, gc=False, rename="camel"):
    id: int | str | None = None
    status: int | None = None
    error: Raw = Raw()
    result: Raw = Raw()
    rate_limits: tuple[RateCount, ...] = ()
    event: Raw = Raw()


class Retry(Struct, frozen=True, gc=False, rename="camel"):
    retry_after: int
    server_time: int


class Kind(Struct, frozen=True, gc=False):
    e: str


class HeldAsset(Struct, frozen=True, gc=False):
    a: str
    f: Decimal
    l: Decimal  # noqa: E741 - the venue's letter


class Position(Struct, frozen=True, gc=False):
    u: int
    B: tuple[HeldAsset, ...]


class Time(Struct, frozen=True, gc=False, rename="camel"):
    server_time: int


class RateLimitRow(Struct, frozen=True, gc=False, rename="camel"):
    rate_limit_type: str
    interval: Literal["SECOND", "MINUTE", "HOUR", "DAY"]
    interval_num: int
    limit: int


class Limits(Struct, frozen=True, gc=False, rename="camel"):
    rate_limits: tuple[RateLimitRow, ...]


class Filter(Struct, frozen=True, gc=False, rename="camel"):
    """Any filter: what one of another type, or an older venue, does not have is off."""

    filter_type: str
    min_price: Decimal = ZERO
    max_price: Decimal = ZERO
    tick_size: Decimal = ZERO
    min_qty: Decimal = ZERO
    max_qty: Decimal = ZERO
    step_size: Decimal = ZERO
    min_notional: Decimal = ZERO
    max_notional: Decimal = ZERO
    multiplier_up: Decimal = ZERO
    multiplier_down: Decimal = ZERO
    bid_multiplier_up: Decimal = ZERO
    bid_multiplier_down: Decimal = ZERO
    ask_multiplier_up: Decimal = ZERO
    ask_multiplier_down: Decimal = ZERO
    max_num_orders: int = 0


class Symbol(Struct, frozen=True, gc=False, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    base_asset_precision: int
    quote_asset: str
    quote_asset_precision: int
    order_types: tuple[str, ...]
    filters: tuple[Filter, ...]
    is_spot_trading_allowed: bool = False
    oco_allowed: bool = False
    oto_allowed: bool = False
    opo_allowed: bool = False


class Symbols(Struct, frozen=True, gc=False):
    symbols: tuple[Symbol, ...]


class Commission(Struct, frozen=True, gc=False):
    maker: Decimal
    taker: Decimal
    buyer: Decimal
    seller: Decimal


class Commissions(Struct, frozen=True, gc=False, rename="camel"):
    symbol: str
    standard_commission: Commission
    tax_commission: Commission | None = None
    special_commission: Commission | None = None


class KlineRow(Struct, frozen=True, gc=False, array_like=True):
    open_ms: int
    open: str
    high: str
    low: str
    close: str
    volume: str
    close_ms: int


class BalanceRow(Struct, frozen=True, gc=False):
    asset: str
    free: Decimal
    locked: Decimal


class Account(Struct, frozen=True, gc=False, rename="camel"):
    can_trade: bool
    balances: tuple[BalanceRow, ...]


class OpenOrder(Struct, frozen=True, gc=False, rename="camel"):
    client_order_id: str
    order_id: int
    symbol: str
    side: Side
    type: str
    orig_qty: Decimal
    executed_qty: Decimal
    price: Decimal
    status: str
    stop_price: Decimal = ZERO


class FillPart(Struct, frozen=True, gc=False, rename="camel"):
    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: str
    trade_id: int


class OrderReport(Struct, frozen=True, gc=False, rename="camel"):
    """An order as answers tell it; an ACK has the ids only."""

    symbol: str
    order_id: int
    client_order_id: str
    orig_client_order_id: str = ""
    transact_time: int | None = None
    orig_qty: Decimal | None = None
    executed_qty: Decimal | None = None
    status: str | None = None
    side: Side | None = None
    expiry_reason: str | None = None
    fills: tuple[FillPart, ...] = ()


class ListReport(Struct, frozen=True, gc=False, rename="camel"):
    order_reports: tuple[OrderReport, ...] | None = None


NULL = Raw(b"null")


class Replaced(Struct, frozen=True, gc=False, rename="camel"):
    """Both halves of a cancel-replace; a half that failed is a refusal, one that was not attempted is null."""

    cancel_result: str
    new_order_result: str
    cancel_response: Raw = NULL
    new_order_response: Raw = NULL


class ReplaceFailure(Struct, frozen=True, gc=False):
    data: Replaced


class TradeRow(Struct, frozen=True, gc=False, rename="camel"):
    symbol: str
    id: int
    order_id: int
    price: Decimal
    qty: Decimal
    commission: Decimal
    commission_asset: str
    time: int
    is_buyer: bool
    is_maker: bool


# ---------------------------------------------------------------------------------------------------------------
# Decoders, built once

STREAM_ENVELOPE = Decoder(StreamEnvelope)
BOOK = Decoder(Book)
MARK_PRICE = Decoder(MarkPrice)
KLINE_EVENT = Decoder(KlineEvent)
SHUTDOWN = Decoder(Shutdown)
ACCOUNT_ENVELOPE = Decoder(AccountEnvelope)
RETRY = Decoder(Retry)
KIND = Decoder(Kind)
POSITION = Decoder(Position)
EXECUTION_REPORT = Decoder(ExecutionReport)
BALANCE_UPDATE = Decoder(BalanceUpdate)
LIST_STATUS = Decoder(ListStatus)
STREAM_TERMINATED = Decoder(StreamTerminated)
REFUSAL = Decoder(Refusal)
TIME = Decoder(Time)
LIMITS = Decoder(Limits)
SYMBOLS = Decoder(Symbols)
COMMISSIONS = Decoder(Commissions)
KLINE_ROWS = Decoder(tuple[KlineRow, ...])
ACCOUNT = Decoder(Account)
OPEN_ORDERS = Decoder(tuple[OpenOrder, ...])
ORDER_REPORT = Decoder(OrderReport)
LIST_REPORT = Decoder(ListReport)
REPLACED = Decoder(Replaced)
REPLACE_FAILURE = Decoder(ReplaceFailure)
TRADE_ROWS = Decoder(tuple[TradeRow, ...])
