"""Bytes to messages for Binance USDⓈ-M futures: the venue's words end here.

Rules as in `binance.codec`, which also reads what both markets say alike: candles, best prices, open orders, limits,
the clock. Two things are the futures' own. A conditional order lives apart from plain ones under an id of its own until
it triggers, and then becomes a plain order with another. And an order that only reduces is cut to what is held, so that
it may be over although less has filled than was asked for: its end is told besides its last fill.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from msgspec.structs import astuple

from surefoot.binance.codec import Outcome, ending, sound_fill, step_of
from surefoot.binance.codec import outcome as spot_outcome
from surefoot.binance.codec import read_open_orders as read_open_orders
from surefoot.binance.futures import wire
from surefoot.binance.futures.wire import AccountUpdate as AccountUpdate
from surefoot.binance.futures.wire import AlgoUpdate as AlgoUpdate
from surefoot.binance.futures.wire import ConfigUpdate as ConfigUpdate
from surefoot.binance.futures.wire import ForcedOrder as ForcedOrder
from surefoot.binance.futures.wire import KeyExpired as KeyExpired
from surefoot.binance.futures.wire import MarginCall as MarginCall
from surefoot.binance.futures.wire import OrderTradeUpdate as OrderTradeUpdate
from surefoot.binance.futures.wire import OrderUpdate as OrderUpdate
from surefoot.binance.numbers import check_amounts, decode, price_of
from surefoot.binance.wire import BadFrame, Ignored, MarkPriceFrame, VenueError
from surefoot.core.messages import (
    IncomePaid,
    OrderAccepted,
    OrderCanceled,
    OrderEvent,
    OrderExpired,
    OrderFilled,
    VenueTraded,
)
from surefoot.core.model import (
    ZERO,
    Balance,
    Bracket,
    FeeRates,
    Fill,
    Income,
    Instrument,
    Market,
    VenueOrder,
    VenuePosition,
)

AccountEvent = OrderTradeUpdate | AlgoUpdate | AccountUpdate | ConfigUpdate | MarginCall | KeyExpired | Ignored

DELIVERING = "PERPETUAL_DELIVERING"
FINISHED = "finished"  # why an order ended that was cut to what was held

# Orders of the venue itself bear these names.
_VENUES_OWN = {
    "autoclose-": "liquidation",
    "adl_autoclose": "auto-deleveraging",
    "settlement_autoclose-": "settlement",
}

# ---------------------------------------------------------------------------------------------------------------
# Events of the account


def read_account_frame(frame: bytes | str) -> AccountEvent:
    """One frame of an account stream, raw or wrapped. An amount that cannot be is a BadFrame."""
    wrapped = decode(wire.WRAPPED, frame, "account frame")
    event = bytes(wrapped.data) if wrapped.stream else frame
    kind = decode(wire.KIND, event, "account event").e
    read = _event_readers.get(kind)
    return Ignored(kind) if read is None else read(event)


def _read_order_update(event: bytes | str) -> OrderTradeUpdate:
    update = decode(wire.ORDER_TRADE_UPDATE, event, "ORDER_TRADE_UPDATE")
    order = update.order
    check_amounts(order.quantity, order.executed, order.last_quantity, order.last_price, order.fee, order.realised)
    if order.execution == "TRADE":
        sound_fill(_reported_fill(order, order.client_order_id))
    return update


def _read_algo_update(event: bytes | str) -> AlgoUpdate:
    update = decode(wire.ALGO_UPDATE, event, "ALGO_UPDATE")
    check_amounts(update.order.quantity, update.order.executed)
    return update


_event_readers: dict[str, Callable[[bytes | str], AccountEvent]] = {
    "ORDER_TRADE_UPDATE": _read_order_update,
    "ALGO_UPDATE": _read_algo_update,
    "ACCOUNT_UPDATE": lambda event: decode(wire.ACCOUNT_UPDATE, event, "ACCOUNT_UPDATE"),
    "MARGIN_CALL": lambda event: decode(wire.MARGIN_CALL, event, "MARGIN_CALL"),
    "ACCOUNT_CONFIG_UPDATE": lambda event: decode(wire.CONFIG_UPDATE, event, "ACCOUNT_CONFIG_UPDATE"),
    "listenKeyExpired": lambda event: decode(wire.KEY_EXPIRED, event, "listenKeyExpired"),
}


def order_events(order: wire.OrderUpdate, client_order_id: str, at_ms: int) -> tuple[OrderEvent | VenueTraded, ...]:
    """What an update means to the core under our name for the order; raises nothing, see `read_account_frame`."""
    match order.execution:
        case "TRADE" | "CALCULATED" if why := _why_the_venue_trades(client_order_id):
            fill = _reported_fill(order, client_order_id)
            return (VenueTraded(at_ms, fill, why, order.order_id, order.executed),)
        case "NEW":
            return (OrderAccepted(at_ms, client_order_id, order.order_id, True, order.quantity, order.executed),)
        case "TRADE":
            fill = _reported_fill(order, client_order_id)
            filled = OrderFilled(at_ms, fill, order.order_id, order.quantity)
            if order.status == "FILLED" and order.reduces_only:
                return (filled, OrderExpired(at_ms, client_order_id, order.executed, FINISHED))
            return (filled,)
        case _:
            reason = "" if order.expiry_reason == "0" else f"{order.status}, reason {order.expiry_reason}"
            return ending(at_ms, client_order_id, order.status, order.executed, reason)


def _why_the_venue_trades(client_order_id: str) -> str | None:
    return next((why for prefix, why in _VENUES_OWN.items() if client_order_id.startswith(prefix)), None)


def _reported_fill(order: wire.OrderUpdate, client_order_id: str) -> Fill:
    return Fill(
        client_order_id=client_order_id,
        symbol=order.symbol,
        trade_id=order.trade_id,
        side=order.side,
        price=order.last_price,
        quantity=order.last_quantity,
        fee=order.fee,
        fee_asset=order.fee_asset,
        maker=order.maker,
        at_ms=order.trade_ms,
        realised=order.realised,
    )


def algo_events(order: wire.AlgoUpdateOrder, at_ms: int) -> tuple[OrderEvent, ...]:
    """What an update of a conditional order means; nothing while it triggers: the plain order speaks for itself."""
    return _algo_events(at_ms, order.client_order_id, order.status, order.algo_id, order.quantity, order)


def _algo_events(
    at_ms: int,
    client_order_id: str,
    status: str,
    algo_id: int,
    quantity: Decimal,
    told: wire.AlgoUpdateOrder | None = None,
) -> tuple[OrderEvent, ...]:
    executed = told.executed if told is not None else None
    reason = told.reason if told is not None else ""
    match status:
        case "NEW":
            return (OrderAccepted(at_ms, client_order_id, algo_id, True, quantity or None, executed),)
        case "CANCELED":
            return (OrderCanceled(at_ms, client_order_id, executed),)
        case "FINISHED":
            return (OrderExpired(at_ms, client_order_id, executed, FINISHED),)
        case "EXPIRED" | "REJECTED":  # refused when it triggered: until then it had been accepted
            return (OrderExpired(at_ms, client_order_id, executed, reason or status),)
        case _:
            return ()


# ---------------------------------------------------------------------------------------------------------------
# Rules of the market

_OFF = wire.ContractFilter("")


def outcome(status: int, error: VenueError) -> Outcome:
    """What a failed order call means. Of the texts of a 503 only one leaves it open, the others did nothing, see the
    protocol's 3.2."""
    if status == 503 and (
        error.code == -1008 or error.text.startswith(("Service Unavailable", "Internal error; unable to process"))
    ):
        return "busy"
    if error.code == -4116:  # a duplicate is our own earlier sending: it arrived, and a query tells what became of it
        return "unknown"
    return spot_outcome(status, error)


def read_instruments(body: bytes) -> tuple[Instrument, ...]:
    """Every perpetual contract in exchangeInfo that is settled in its quote, without its brackets; one that is about to
    be delivered is not traded any more."""
    contracts = decode(wire.CONTRACTS, body, "exchangeInfo").symbols
    return tuple(
        _instrument(each)
        for each in contracts
        if each.contract_type in ("PERPETUAL", DELIVERING) and each.margin_asset == each.quote_asset
    )


def _instrument(contract: wire.Contract) -> Instrument:
    filters = {each.filter_type: each for each in contract.filters}
    for each in contract.filters:
        check_amounts(*(value for value in astuple(each) if isinstance(value, Decimal)))
    price, lot = filters.get("PRICE_FILTER", _OFF), filters.get("LOT_SIZE", _OFF)
    band = filters.get("PERCENT_PRICE", _OFF)
    return Instrument(
        symbol=contract.symbol,
        base=contract.base_asset,
        quote=contract.quote_asset,
        trading=contract.status == "TRADING" and contract.contract_type != DELIVERING,
        tick_size=step_of(price.tick_size, contract.price_precision),
        price_min=price.min_price,
        price_max=price.max_price,
        lot_size=step_of(lot.step_size, contract.quantity_precision),
        quantity_min=lot.min_qty,
        quantity_max=lot.max_qty,
        market_quantity_max=filters.get("MARKET_LOT_SIZE", _OFF).max_qty,
        notional_min=filters.get("MIN_NOTIONAL", _OFF).notional,
        notional_max=ZERO,
        bid_multiplier_down=ZERO,  # the band has one side: a buy is bounded above, a sale below
        bid_multiplier_up=band.multiplier_up,
        ask_multiplier_down=band.multiplier_down,
        ask_multiplier_up=ZERO,
        orders_max=filters.get("MAX_NUM_ORDERS", _OFF).limit,
        order_types=contract.order_types,
        oco_allowed=False,
        oto_allowed=False,
        opo_allowed=False,
        market=Market.FUTURES,
    )


def read_brackets(body: bytes) -> dict[str, tuple[Bracket, ...]]:
    """Leverage brackets by symbol, the smallest notional first; the answer may be of one symbol or of many."""
    answer = decode(wire.BRACKETS, body, "leverageBracket")
    rows = (answer,) if isinstance(answer, wire.SymbolBrackets) else answer
    return {row.symbol: tuple(sorted(map(_bracket, row.brackets), key=lambda one: one.floor)) for row in rows}


def _bracket(row: wire.BracketRow) -> Bracket:
    check_amounts(row.notional_floor, row.notional_cap, row.maint_margin_ratio, row.cum)
    if not (0 <= row.maint_margin_ratio < 1 and 0 <= row.notional_floor < row.notional_cap):
        raise BadFrame(f"leverageBracket: from {row.notional_floor} to {row.notional_cap}, {row.maint_margin_ratio}")
    return Bracket(row.notional_floor, row.notional_cap, row.initial_leverage, row.maint_margin_ratio, row.cum)


def read_fee_rates(body: bytes) -> tuple[str, FeeRates]:
    """A symbol and what a fill on it costs; a discount for paying in another asset is left out."""
    row = decode(wire.COMMISSION_RATE, body, "commissionRate")
    for rate in (row.maker_commission_rate, row.taker_commission_rate):
        if not (rate.is_finite() and abs(rate) < 1):
            raise BadFrame(f"commissionRate: {rate} is not a share")
    return row.symbol, FeeRates(row.maker_commission_rate, row.taker_commission_rate)


def read_is_hedged(body: bytes) -> bool:
    """Whether long and short positions of a symbol are kept side by side."""
    return decode(wire.POSITION_MODE, body, "positionSide/dual").dual_side_position


def read_symbol_configs(body: bytes) -> dict[str, tuple[str, int]]:
    """Margin type and leverage by symbol."""
    return {row.symbol: (row.margin_type, row.leverage) for row in decode(wire.SYMBOL_CONFIGS, body, "symbolConfig")}


def read_mark_price(body: bytes) -> MarkPriceFrame:
    """The mark price of one contract. BadPrice when it cannot be."""
    row = decode(wire.PREMIUM_INDEX, body, "premiumIndex")
    return MarkPriceFrame(row.symbol, price_of(row.mark_price, row.symbol, "mark price"), row.time)


# ---------------------------------------------------------------------------------------------------------------
# The account


def read_listen_key(body: bytes) -> str:
    return decode(wire.LISTEN_KEY, body, "listenKey").listen_key


def read_balances(body: bytes) -> tuple[Balance, ...]:
    """What the wallet holds of each asset, without open profit; margin binds some of it but takes nothing away."""
    rows = decode(wire.ACCOUNT, body, "account").assets
    check_amounts(*(row.wallet_balance for row in rows))
    return tuple(Balance(row.asset, row.wallet_balance, ZERO) for row in rows if row.wallet_balance)


def read_positions(body: bytes) -> tuple[VenuePosition, ...]:
    """Positions that are not flat. BadFrame when they are hedged: then the quantities do not say what is held."""
    return tuple(_position(row) for row in decode(wire.POSITIONS, body, "positionRisk") if row.position_amt)


def _position(row: wire.PositionRow) -> VenuePosition:
    if row.position_side != "BOTH":
        raise BadFrame(f"positionRisk: {row.symbol} is held {row.position_side} in hedge mode")
    check_amounts(row.position_amt, row.entry_price, row.liquidation_price, row.isolated_wallet, row.mark_price)
    return VenuePosition(
        symbol=row.symbol,
        quantity=row.position_amt,
        entry_price=row.entry_price,
        liquidation_price=row.liquidation_price if row.liquidation_price > 0 else None,
        isolated=row.isolated_wallet or None,
        mark_price=row.mark_price if row.mark_price > 0 else None,
    )


def read_open_algo_orders(body: bytes) -> tuple[VenueOrder, ...]:
    """Conditional orders; plain ones are listed elsewhere."""
    return tuple(_venue_algo_order(row) for row in decode(wire.ALGO_ROWS, body, "openAlgoOrders"))


def _venue_algo_order(row: wire.AlgoRow) -> VenueOrder:
    check_amounts(row.quantity, row.price, row.trigger_price)
    return VenueOrder(
        client_order_id=row.client_algo_id,
        order_id=row.algo_id,
        symbol=row.symbol,
        side=row.side,
        type=row.order_type,
        quantity=row.quantity,
        executed=ZERO,
        price=row.price,
        stop_price=row.trigger_price,
        resting=True,
    )


# ---------------------------------------------------------------------------------------------------------------
# Orders as answers tell them


def read_order(body: bytes, at_ms: int, client_order_id: str | None = None) -> tuple[OrderEvent, ...]:
    """A plain order as placed or queried, under its own name or the one that is given; its fills are told elsewhere."""
    row = decode(wire.ORDER_ROW, body, "order")
    check_amounts(row.orig_qty, row.executed_qty)
    name = client_order_id or row.client_order_id
    accepted = OrderAccepted(at_ms, name, row.order_id, True, row.orig_qty or None, row.executed_qty)
    if row.status == "FILLED" and row.reduce_only:
        return (accepted, OrderExpired(at_ms, name, row.executed_qty, FINISHED))
    return (accepted, *ending(at_ms, name, row.status, row.executed_qty, None))


def read_cancel(body: bytes, at_ms: int) -> tuple[OrderEvent, ...]:
    """How a cancelled plain order ended, or how much of it has filled."""
    row = decode(wire.ORDER_ROW, body, "cancel")
    check_amounts(row.executed_qty)
    ended = ending(at_ms, row.client_order_id, row.status, row.executed_qty, None)
    return ended or read_order(body, at_ms)


def read_algo_order(body: bytes, at_ms: int) -> tuple[tuple[OrderEvent, ...], int | None]:
    """A conditional order as placed or queried, and the id of the plain order that it became.

    Once there is such an order, it alone tells what has filled, so the conditional one says nothing itself.
    """
    row = decode(wire.ALGO_ROW, body, "algoOrder")
    check_amounts(row.quantity)
    actual = str(row.actual_order_id or "")
    if actual and actual != "0":
        return (), _order_number(actual)
    return _algo_events(at_ms, row.client_algo_id, row.algo_status, row.algo_id, row.quantity), None


def _order_number(text: str) -> int:
    if not text.isdecimal():
        raise BadFrame(f"algoOrder: {text[:40]!r} is no order id")
    return int(text)


def read_algo_cancel(body: bytes, at_ms: int) -> tuple[OrderEvent, ...]:
    row = decode(wire.ALGO_CANCELED, body, "algoOrder cancel")
    if str(row.code) != "200":
        raise BadFrame(f"algoOrder cancel: code {row.code}")
    return (OrderCanceled(at_ms, row.client_algo_id, None),)


def read_trades(body: bytes, client_order_id: str, at_ms: int) -> tuple[OrderFilled, ...]:
    """The fills of one order, asked for by its `orderId`; the rows do not carry our id, so it is given."""
    return tuple(
        OrderFilled(at_ms, _row_fill(row, client_order_id), row.order_id, None)
        for row in decode(wire.TRADE_ROWS, body, "userTrades")
    )


def read_forced_orders(body: bytes) -> tuple[ForcedOrder, ...]:
    """Orders by which the venue itself closed something."""
    rows = decode(wire.FORCED_ORDERS, body, "forceOrders")
    check_amounts(*(row.executed_qty for row in rows))
    return rows


def read_venues_orders(body: bytes) -> tuple[ForcedOrder, ...]:
    """Of all plain orders those of the venue itself, which the list of forced orders may lack: a settlement."""
    rows = decode(wire.FORCED_ORDERS, body, "allOrders")
    forced = tuple(row for row in rows if _why_the_venue_trades(row.client_order_id) is not None)
    check_amounts(*(row.executed_qty for row in forced))
    return forced


def read_venue_trades(body: bytes, client_order_id: str, at_ms: int) -> tuple[VenueTraded, ...]:
    """All trades of such an order, oldest first."""
    why = _why_the_venue_trades(client_order_id) or "forced close"
    rows = decode(wire.TRADE_ROWS, body, "userTrades")
    trades, executed = [], ZERO
    for row in sorted(rows, key=lambda row: row.id):
        fill = _row_fill(row, client_order_id)
        executed += fill.quantity
        trades.append(VenueTraded(at_ms, fill, why, row.order_id, executed))
    return tuple(trades)


def _row_fill(row: wire.TradeRow, client_order_id: str) -> Fill:
    check_amounts(row.realized_pnl)
    return sound_fill(
        Fill(
            client_order_id=client_order_id,
            symbol=row.symbol,
            trade_id=row.id,
            side=row.side,
            price=row.price,
            quantity=row.qty,
            fee=row.commission,
            fee_asset=row.commission_asset,
            maker=row.maker,
            at_ms=row.time,
            realised=row.realized_pnl,
        )
    )


_INCOMES = {
    "FUNDING_FEE": Income.FUNDING,
    "SPECIAL_FUNDING_FEE": Income.FUNDING,
    "INSURANCE_CLEAR": Income.INSURANCE,
}
_TOLD_BY_FILLS = frozenset({"REALIZED_PNL", "COMMISSION"})


def read_income(body: bytes, at_ms: int) -> tuple[IncomePaid, ...]:
    """What moved the wallet besides trades, oldest first. What is neither funding nor insurance is a transfer."""
    rows = [row for row in decode(wire.INCOME_ROWS, body, "income") if row.income_type not in _TOLD_BY_FILLS]
    check_amounts(*(row.income for row in rows))
    return tuple(
        IncomePaid(
            at_ms,
            row.tran_id,
            _INCOMES.get(row.income_type, Income.TRANSFER),
            row.symbol,
            row.asset,
            row.income,
            row.time,
        )
        for row in sorted(rows, key=lambda row: (row.time, row.tran_id))
    )


def rearranges(change: AccountUpdate) -> bool:
    """Whether it changed how positions are held."""
    return change.change.reason == "MARGIN_TYPE_CHANGE"


def wants_income(change: AccountUpdate) -> bool:
    """Whether a wallet moved by something that only the list of income tells in full."""
    return change.change.reason not in ("ORDER", "MARGIN_TYPE_CHANGE", "MARGIN_TRANSFER")
