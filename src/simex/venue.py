"""Plain data shared by the exchange, the market tape and the server.

Rules: nothing here acts; prices and quantities are Decimals made from text; times are UTC milliseconds.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Final, Literal, get_args, get_type_hints

ORDER_TYPES: Final = (
    "LIMIT",
    "LIMIT_MAKER",
    "MARKET",
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
)
PREVENTIONS: Final = ("NONE", "EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER")
SymbolStatus = Literal["TRADING", "HALT", "BREAK", "END_OF_DAY", "CANCEL_ONLY"]
QUOTE_ASSETS: Final = ("USDT", "USDC", "FDUSD", "TUSD", "BUSD", "BTC", "ETH", "BNB", "EUR", "TRY")
AMOUNT_DECIMALS: Final = 8


@dataclass(frozen=True, slots=True)
class Candle:
    """One base candle of the tape; volume is in base, prices lie on the symbol's tick grid."""

    open_ms: int
    interval_ms: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal

    @property
    def end_ms(self) -> int:
        """The open of the candle that follows."""
        return self.open_ms + self.interval_ms


@dataclass(frozen=True, slots=True)
class InstrumentSpec:
    """What exchangeInfo says about one symbol; a maximum or minimum of zero is switched off."""

    symbol: str
    base: str
    quote: str
    tick_size: Decimal
    lot_size: Decimal
    min_qty: Decimal
    max_qty: Decimal
    market_max_qty: Decimal
    min_notional: Decimal = Decimal(5)
    max_notional: Decimal = Decimal(9_000_000)
    min_price: Decimal = Decimal("0.01")
    max_price: Decimal = Decimal(1_000_000)
    bid_multiplier_up: Decimal = Decimal(5)
    bid_multiplier_down: Decimal = Decimal("0.2")
    ask_multiplier_up: Decimal = Decimal(5)
    ask_multiplier_down: Decimal = Decimal("0.2")
    avg_price_mins: int = 5
    max_num_orders: int = 200
    max_num_algo_orders: int = 5
    max_num_iceberg_orders: int = 0
    max_num_order_lists: int = 20
    max_num_order_amends: int = 10
    max_position: Decimal = Decimal(0)
    multiplier_up: Decimal = Decimal(0)
    multiplier_down: Decimal = Decimal(0)
    market_min_qty: Decimal = Decimal(0)
    market_lot_size: Decimal = Decimal(0)
    min_applies_to_market: bool = True
    max_applies_to_market: bool = False
    iceberg_parts: int = 100
    trailing_above_bips: tuple[int, int] = (10, 2000)  # least and most
    trailing_below_bips: tuple[int, int] = (10, 2000)
    oco_allowed: bool = True
    oto_allowed: bool = True
    opo_allowed: bool = True
    iceberg_allowed: bool = True
    trailing_allowed: bool = True
    peg_allowed: bool = True
    quote_quantity_allowed: bool = True
    cancel_replace_allowed: bool = True
    amend_allowed: bool = True
    default_prevention: str = "EXPIRE_MAKER"
    preventions: tuple[str, ...] = PREVENTIONS
    price_range: tuple[tuple[Decimal, Decimal], tuple[Decimal, Decimal]] | None = None  # up, down of bids; of asks
    permission_sets: tuple[tuple[str, ...], ...] = (("SPOT",),)
    base_precision: int = AMOUNT_DECIMALS
    quote_precision: int = AMOUNT_DECIMALS
    order_types: tuple[str, ...] = ORDER_TYPES


@dataclass(frozen=True, slots=True)
class ExchangeFilters:
    """What an account may have open over all symbols; zero is switched off."""

    max_num_orders: int = 0
    max_num_algo_orders: int = 0
    max_num_iceberg_orders: int = 0
    max_num_order_lists: int = 0


@dataclass(frozen=True, slots=True)
class KeyRights:
    """What a key may do; `addresses` none means from anywhere, `expires_ms` is when its right to trade ends."""

    may_read: bool = True
    may_trade_spot: bool = True
    may_trade_futures: bool = True
    may_withdraw: bool = False
    may_transfer: bool = False
    addresses: tuple[str, ...] = ()
    created_ms: int = 0
    expires_ms: int | None = None


@dataclass(frozen=True, slots=True)
class AccountSpec:
    """A client's two accounts at the start, spot and futures: the key, what it owns, its fees in basis points.

    `secret` is the secret of an HMAC key, else the body of the public PEM file. Accounts of one trade group (-1: none)
    do not trade with each other.
    """

    api_key: str
    secret: str
    balances: Mapping[str, Decimal]
    maker_bps: Decimal = Decimal(10)
    taker_bps: Decimal = Decimal(10)
    key_type: str = "HMAC"
    wallet: Mapping[str, Decimal] = field(default_factory=dict)  # of the futures account
    futures_maker_bps: Decimal = Decimal(2)
    futures_taker_bps: Decimal = Decimal(5)
    rights: KeyRights = KeyRights()
    trade_group: int = -1
    permissions: tuple[str, ...] = ("SPOT",)
    max_asset: Mapping[str, Decimal] = field(default_factory=dict)  # of one order, by asset


@dataclass(frozen=True, slots=True)
class FillModel:
    """How a print becomes a book and a fill: the same in the backtest and behind sockets."""

    half_spread_bps: Decimal = Decimal(1)
    slippage_bps: Decimal = Decimal(2)
    volume_share: Decimal = Decimal("0.10")
    path: Literal["worst", "best"] = "worst"
    market_rest: Literal["expires", "waits"] = "expires"  # of a market order that ends a position, as documented


@dataclass(frozen=True, slots=True)
class Undocumented:
    """Answers to what the documents leave open, each our best guess."""

    spot_orders_per_10s: int = 100  # announced; the documents' samples say 50
    spot_orders_per_day: int = 200_000  # announced; the documents' samples say 160 000
    spot_maker_credit: int = 5  # orders that a maker's first fill takes off the count
    old_oco_counts: int = 2  # orders that the deprecated OCO adds to the count
    pending_funds: Literal["release", "placement"] = "release"  # when the pending leg of an OTO is locked
    trigger_report: Literal["new", "none"] = "new"  # whether a stop that fires is reported before its trades
    iceberg_refill: Literal["back", "front"] = "back"  # where in its level the next slice of an iceberg stands
    futures_sell_margin: Literal["market", "bid"] = "market"  # the price at which the margin of a sell is reckoned
    triggered_keeps_client_id: bool = True  # the order that a conditional order becomes
    margin_call_share: Decimal = Decimal("0.8")  # of the margin balance that the maintenance margin is, at the call
    trigger_band_times: Decimal = Decimal(10)  # how far a trigger price may be from the current price
    bracket_of_symbol: Literal["list", "object"] = "list"  # the answer of leverageBracket to one symbol
    algo_prevention: Literal["EXPIRE_MAKER", "NONE"] = "EXPIRE_MAKER"  # of conditional orders that do not say
    opponent_depths: Literal["first", "all"] = "first"  # whether priceMatch still takes OPPONENT_10 and _20
    futures_trade_path: Literal["public", "market", "nowhere"] = "public"  # of the stream `trade`
    futures_ticker_ms: int = 2_000  # how often a symbol's tickers are sent
    futures_aggregate_hours: int = 48  # how far back aggTrades reaches


def answered(answers: Iterable[tuple[str, str]]) -> Undocumented:
    """The guesses, some of them replaced from texts; ValueError for an unknown question or an impossible answer."""
    given: dict[str, object] = {}
    kinds = get_type_hints(Undocumented)
    for name, text in answers:
        if name not in kinds:
            raise ValueError(f"{name!r} is none of {', '.join(kinds)}")
        given[name] = _answer(name, kinds[name], text)
    return replace(Undocumented(), **given)  # type: ignore[arg-type]  # each value has the type of its field


def _answer(name: str, kind: object, text: str) -> object:
    if kind is int:
        if text.isdecimal() and int(text) > 0:
            return int(text)
        raise ValueError(f"{name} is a positive whole number, not {text!r}")
    if kind is Decimal:
        with contextlib.suppress(InvalidOperation):
            if (number := Decimal(text)).is_finite() and number > 0:
                return number
        raise ValueError(f"{name} is a positive number, not {text!r}")
    choices = {"yes": True, "no": False} if kind is bool else {choice: choice for choice in get_args(kind)}
    if text not in choices:
        raise ValueError(f"{name} is one of {', '.join(choices)}, not {text!r}")
    return choices[text]


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request as received: `target` is the raw path and query, header names are lower case."""

    method: str
    target: str
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class HttpResponse:
    """What the server writes back."""

    status: int
    headers: dict[str, str]
    body: bytes


def _listed(symbol: str, base: str, lot: str, max_qty: str, market_max_qty: str) -> InstrumentSpec:
    return InstrumentSpec(
        symbol=symbol,
        base=base,
        quote="USDT",
        tick_size=Decimal("0.01"),
        lot_size=Decimal(lot),
        min_qty=Decimal(lot),
        max_qty=Decimal(max_qty),
        market_max_qty=Decimal(market_max_qty),
    )


DEFAULT_INSTRUMENTS: Final[tuple[InstrumentSpec, ...]] = (
    _listed("BTCUSDT", "BTC", "0.00001", "9000", "120"),
    _listed("ETHUSDT", "ETH", "0.0001", "9000", "2500"),
    _listed("BNBUSDT", "BNB", "0.001", "900000", "5000"),
    _listed("SOLUSDT", "SOL", "0.001", "900000", "40000"),
)


def instrument_for(symbol: str, prices: Sequence[Decimal]) -> InstrumentSpec:
    """The rules of a replayed symbol.

    Known symbols keep their listed rules, with a finer tick where the prices need one; for others tick and lot follow
    from the prices. ValueError when the symbol is unknown and has no prices, or ends in no known quote asset.
    """
    needed = _finest_step(prices)
    for listed in DEFAULT_INSTRUMENTS:
        if listed.symbol == symbol:
            return listed if needed >= listed.tick_size else _with_tick(listed, needed)
    if not prices:
        raise ValueError(f"{symbol} is not listed and has no prices to derive its tick from")
    base, quote = _split(symbol)
    # About half a dollar a lot; a coin as quote is worth some 10^5 times as much.
    coins = 5 if quote in ("BTC", "ETH", "BNB") else 0
    lot = Decimal(1).scaleb(-(prices[0].adjusted() + 1 + coins))
    lot = max(lot, _finest_exact_lot(needed))
    spec = InstrumentSpec(
        symbol=symbol,
        base=base,
        quote=quote,
        tick_size=needed,
        lot_size=lot,
        min_qty=lot,
        max_qty=lot * 900_000_000,
        market_max_qty=lot * 20_000_000,
        min_price=needed,
        max_price=needed * 100_000_000,
    )
    return replace(spec, min_notional=Decimal("0.0001")) if coins else spec


def _with_tick(spec: InstrumentSpec, tick_size: Decimal) -> InstrumentSpec:
    lot = max(spec.lot_size, _finest_exact_lot(tick_size))
    return replace(spec, tick_size=tick_size, min_price=tick_size, lot_size=lot, min_qty=max(spec.min_qty, lot))


def _finest_exact_lot(tick_size: Decimal) -> Decimal:
    """The finest lot for which price × quantity still fits the eight decimals of a balance."""
    return Decimal(1).scaleb(-(AMOUNT_DECIMALS + min(0, tick_size.adjusted())))


def _finest_step(prices: Sequence[Decimal]) -> Decimal:
    """The largest power of ten of which all prices are multiples, at most one."""
    decimals = 0
    for price in prices:
        if decimals and price == price.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN):
            continue
        exponent = price.normalize().as_tuple().exponent
        if not isinstance(exponent, int):
            raise ValueError(f"{price} is not a price")
        decimals = max(decimals, -exponent)
    return Decimal(1).scaleb(-decimals)


def _split(symbol: str) -> tuple[str, str]:
    for quote in QUOTE_ASSETS:
        if symbol.endswith(quote) and len(symbol) > len(quote):
            return symbol[: -len(quote)], quote
    raise ValueError(f"{symbol} ends in no known quote asset")


def decimals_of(value: Decimal) -> int:
    """How many a number is written with; ValueError for what is none."""
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise ValueError(f"{value} is not a number")
    return max(0, -exponent)
