"""The shapes of what Binance USDⓈ-M futures send, letter for letter; read only by the codec beside it.

Rules as in `binance.wire`: a field that the venue may leave out has a default that means "not told", unknown fields are
skipped. What is shared with spot (candles, best prices, limits, refusals, the clock) is read with spot's shapes.
"""

from __future__ import annotations

from decimal import Decimal

from msgspec import Raw, Struct, field
from msgspec.json import Decoder

from surefoot.binance.wire import Filter
from surefoot.core.model import ZERO, Side

# ---------------------------------------------------------------------------------------------------------------
# Events of the account


class OrderUpdate(Struct, frozen=True, gc=False):
    """What happened to an order, in the venue's words: read it by `order_events`."""

    symbol: str = field(name="s")
    client_order_id: str = field(name="c")
    order_id: int = field(name="i")
    side: Side = field(name="S")
    type: str = field(name="o")
    execution: str = field(name="x")
    status: str = field(name="X")
    quantity: Decimal = field(name="q")
    executed: Decimal = field(name="z")
    last_quantity: Decimal = field(name="l")
    last_price: Decimal = field(name="L")
    trade_id: int = field(name="t")
    trade_ms: int = field(name="T")
    maker: bool = field(name="m")
    reduces_only: bool = field(name="R", default=False)
    fee: Decimal = field(name="n", default=ZERO)
    fee_asset: str = field(name="N", default="")
    realised: Decimal | None = field(name="rp", default=None)
    expiry_reason: str = field(name="er", default="0")


class OrderTradeUpdate(Struct, frozen=True, gc=False):
    order: OrderUpdate = field(name="o")
    event_ms: int = field(name="E")


class AlgoUpdateOrder(Struct, frozen=True, gc=False):
    """A conditional order; `order_id` is that of the plain order it became, empty before."""

    client_order_id: str = field(name="caid")
    algo_id: int = field(name="aid")
    symbol: str = field(name="s")
    status: str = field(name="X")
    quantity: Decimal = field(name="q", default=ZERO)
    order_id: str = field(name="ai", default="")
    executed: Decimal = field(name="aq", default=ZERO)
    reason: str = field(name="rm", default="")


class AlgoUpdate(Struct, frozen=True, gc=False):
    order: AlgoUpdateOrder = field(name="o")
    event_ms: int = field(name="E")


class AccountChange(Struct, frozen=True, gc=False):
    reason: str = field(name="m")


class AccountUpdate(Struct, frozen=True, gc=False):
    """Wallet or positions changed, for a reason; what exactly is read anew where it matters."""

    change: AccountChange = field(name="a")
    event_ms: int = field(name="E")


class MarginCalled(Struct, frozen=True, gc=False):
    symbol: str = field(name="s")
    quantity: Decimal = field(name="pa")


class MarginCall(Struct, frozen=True, gc=False):
    """Positions that are near their liquidation."""

    positions: tuple[MarginCalled, ...] = field(name="p")
    event_ms: int = field(name="E")


class ConfigUpdate(Struct, frozen=True, gc=False):
    """How positions are held has changed; how, is read anew."""

    event_ms: int = field(name="E")


class KeyExpired(Struct, frozen=True, gc=False):
    """The key of this account stream has expired: nothing comes on it any more."""

    event_ms: int = field(name="E")


# ---------------------------------------------------------------------------------------------------------------
# REST answers


class ContractFilter(Filter, frozen=True, gc=False, rename="camel"):
    notional: Decimal = ZERO
    limit: int = 0


class Contract(Struct, frozen=True, gc=False, rename="camel"):
    symbol: str
    status: str
    base_asset: str
    quote_asset: str
    margin_asset: str
    order_types: tuple[str, ...]
    filters: tuple[ContractFilter, ...]
    contract_type: str = ""
    price_precision: int = 0
    quantity_precision: int = 0


class Contracts(Struct, frozen=True, gc=False):
    symbols: tuple[Contract, ...]


class BracketRow(Struct, frozen=True, gc=False, rename="camel"):
    initial_leverage: int
    notional_cap: Decimal
    notional_floor: Decimal
    maint_margin_ratio: Decimal
    cum: Decimal


class SymbolBrackets(Struct, frozen=True, gc=False):
    symbol: str
    brackets: tuple[BracketRow, ...]


class CommissionRate(Struct, frozen=True, gc=False, rename="camel"):
    symbol: str
    maker_commission_rate: Decimal
    taker_commission_rate: Decimal


class PositionMode(Struct, frozen=True, gc=False, rename="camel"):
    dual_side_position: bool


class SymbolConfig(Struct, frozen=True, gc=False, rename="camel"):
    symbol: str
    margin_type: str
    leverage: int


class AssetRow(Struct, frozen=True, gc=False, rename="camel"):
    asset: str
    wallet_balance: Decimal


class Account(Struct, frozen=True, gc=False):
    assets: tuple[AssetRow, ...]


class PremiumIndex(Struct, frozen=True, gc=False, rename="camel"):
    symbol: str
    mark_price: str
    time: int | None = None


class PositionRow(Struct, frozen=True, gc=False, rename="camel"):
    symbol: str
    position_amt: Decimal
    entry_price: Decimal
    liquidation_price: Decimal
    isolated_wallet: Decimal
    position_side: str = "BOTH"
    mark_price: Decimal = ZERO


class OrderRow(Struct, frozen=True, gc=False, rename="camel"):
    """A plain order as answers tell it: placed, queried or cancelled."""

    order_id: int
    client_order_id: str
    status: str
    orig_qty: Decimal
    executed_qty: Decimal
    reduce_only: bool = False


class ForcedOrder(Struct, frozen=True, gc=False, rename="camel"):
    """An order of the venue itself: a liquidation, or auto-deleveraging."""

    symbol: str
    order_id: int
    client_order_id: str
    executed_qty: Decimal
    update_time: int


class AlgoRow(Struct, frozen=True, gc=False, rename="camel"):
    """A conditional order as answers tell it; `actual_order_id` is that of the plain order it became, empty before."""

    symbol: str
    algo_id: int
    client_algo_id: str
    algo_status: str
    side: Side
    order_type: str
    quantity: Decimal
    trigger_price: Decimal = ZERO
    price: Decimal = ZERO
    actual_order_id: str | int | None = ""


class AlgoCanceled(Struct, frozen=True, gc=False, rename="camel"):
    client_algo_id: str
    code: str | int = "200"


class TradeRow(Struct, frozen=True, gc=False, rename="camel"):
    symbol: str
    id: int
    order_id: int
    side: Side
    price: Decimal
    qty: Decimal
    realized_pnl: Decimal
    commission: Decimal
    commission_asset: str
    time: int
    maker: bool


class IncomeRow(Struct, frozen=True, gc=False, rename="camel"):
    symbol: str
    income_type: str
    income: Decimal
    asset: str
    time: int
    tran_id: int


class ListenKey(Struct, frozen=True, gc=False, rename="camel"):
    listen_key: str


# ---------------------------------------------------------------------------------------------------------------
# Decoders, built once


class Kind(Struct, frozen=True, gc=False):
    e: str


class Wrapped(Struct, frozen=True, gc=False):
    stream: str = ""
    data: Raw = Raw()


WRAPPED = Decoder(Wrapped)
KIND = Decoder(Kind)
ORDER_TRADE_UPDATE = Decoder(OrderTradeUpdate)
ALGO_UPDATE = Decoder(AlgoUpdate)
ACCOUNT_UPDATE = Decoder(AccountUpdate)
MARGIN_CALL = Decoder(MarginCall)
CONFIG_UPDATE = Decoder(ConfigUpdate)
KEY_EXPIRED = Decoder(KeyExpired)
CONTRACTS = Decoder(Contracts)
BRACKETS = Decoder(tuple[SymbolBrackets, ...] | SymbolBrackets)
COMMISSION_RATE = Decoder(CommissionRate)
POSITION_MODE = Decoder(PositionMode)
SYMBOL_CONFIGS = Decoder(tuple[SymbolConfig, ...])
PREMIUM_INDEX = Decoder(PremiumIndex)
ACCOUNT = Decoder(Account)
POSITIONS = Decoder(tuple[PositionRow, ...])
ORDER_ROW = Decoder(OrderRow)
FORCED_ORDERS = Decoder(tuple[ForcedOrder, ...])
ALGO_ROW = Decoder(AlgoRow)
ALGO_ROWS = Decoder(tuple[AlgoRow, ...])
ALGO_CANCELED = Decoder(AlgoCanceled)
TRADE_ROWS = Decoder(tuple[TradeRow, ...])
INCOME_ROWS = Decoder(tuple[IncomeRow, ...])
LISTEN_KEY = Decoder(ListenKey)
