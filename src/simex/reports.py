"""Orders, lists, trades and accounts as the REST and WebSocket API answers show them.

Amounts are text with eight decimals, as on the wire; ids and times are integers.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from simex import filters
from simex.accounts import NO_GROUP, Account
from simex.book import Book
from simex.depth import snapshot
from simex.orders import Amendment, Fill, Order, OrderList, Peg, PreventedMatch

Json = dict[str, object]


def amount(value: Decimal) -> str:
    """Eight decimals, never an exponent."""
    return f"{value:.8f}"


def ack(order: Order, now_ms: int) -> Json:
    return {
        "symbol": order.ticket.symbol,
        "orderId": order.order_id,
        "orderListId": _list_id(order),
        "clientOrderId": order.client_id,
        "transactTime": now_ms,
    }


def result(order: Order, now_ms: int, as_pending: bool = False) -> Json:
    """An order right after its placement; legs of a list are shown pending even if they went live at once."""
    report = ack(order, now_ms) | _amounts(order, as_pending)
    report["status"] = "PENDING_NEW" if as_pending else order.status
    report |= _kind(order)
    report["workingTime"] = -1 if as_pending else order.working_ms
    return report | _conditional(order) | {"selfTradePreventionMode": order.ticket.prevention}


def full(order: Order, now_ms: int) -> Json:
    return result(order, now_ms) | {"fills": [_fill(fill) for fill in order.fills]}


def canceled(order: Order, cancel_id: str, now_ms: int) -> Json:
    report = {"symbol": order.ticket.symbol, "origClientOrderId": order.client_id} | ack(order, now_ms)
    report["clientOrderId"] = cancel_id
    report |= _amounts(order, as_pending=False)
    report["status"] = order.status
    return report | _kind(order) | _conditional(order) | {"selfTradePreventionMode": order.ticket.prevention}


def query(order: Order) -> Json:
    """An order as queries and lists of orders show it."""
    ticket = order.ticket
    report: Json = {
        "symbol": ticket.symbol,
        "orderId": order.order_id,
        "orderListId": _list_id(order),
        "clientOrderId": order.client_id,
        "price": amount(ticket.shown_price),
        "origQty": amount(order.quantity),
        "executedQty": amount(order.executed),
        "cummulativeQuoteQty": amount(order.cost),
        "status": order.status,
        "timeInForce": ticket.time_in_force,
        "type": ticket.type,
        "side": ticket.side,
        "stopPrice": amount(ticket.stop_price),
        "icebergQty": amount(ticket.iceberg_quantity),
        "time": order.created_ms,
        "updateTime": order.updated_ms,
        "isWorking": order.working_ms >= 0,
        "workingTime": order.working_ms,
        "origQuoteOrderQty": amount(ticket.quote_quantity),
        "selfTradePreventionMode": ticket.prevention,
    }
    return report | _conditional(order)


def order_list(entry: OrderList, reports: Sequence[Json] | None = None) -> Json:
    """A list; with reports where it was just placed or cancelled."""
    state = "ALL_DONE" if entry.is_done else "EXECUTING"
    symbol = entry.ticket.symbol
    report: Json = {
        "orderListId": entry.list_id,
        "contingencyType": entry.contingency,
        "listStatusType": "ALL_DONE" if entry.is_done else "EXEC_STARTED",
        "listOrderStatus": state,
        "listClientOrderId": entry.client_id,
        "transactionTime": entry.at_ms,
        "symbol": symbol,
        "orders": [
            {"symbol": symbol, "orderId": order.order_id, "clientOrderId": order.client_id} for order in entry.orders
        ],
    }
    return report if reports is None else report | {"orderReports": list(reports)}


def placed_list(entry: OrderList, kind: str, now_ms: int) -> Json:
    """A list as its placement answers: begun and executing, whatever has happened since."""
    reports = [_member(entry, order, kind, now_ms) for order in entry.orders]
    begun = {"listStatusType": "EXEC_STARTED", "listOrderStatus": "EXECUTING", "transactionTime": now_ms}
    return order_list(entry) | begun | {"orderReports": reports}


def amended(order: Order, amendment: Amendment) -> Json:
    """An order right after it was reduced; its list too where it is in one."""
    ticket = order.ticket
    shown: Json = {
        "symbol": ticket.symbol,
        "orderId": order.order_id,
        "orderListId": _list_id(order),
        "origClientOrderId": amendment.old_client_id,
        "clientOrderId": amendment.new_client_id,
        "price": amount(ticket.shown_price),
        "qty": amount(order.quantity),
        "executedQty": amount(order.executed),
        "preventedQty": amount(order.prevented),
        "quoteOrderQty": amount(ticket.quote_quantity),
        "cumulativeQuoteQty": amount(order.cost),
        "status": order.status,
    }
    shown |= _kind(order)
    if order.working_ms >= 0:
        shown["workingTime"] = order.working_ms
    shown |= _conditional(order) | {"selfTradePreventionMode": ticket.prevention}
    answer: Json = {
        "transactTime": amendment.at_ms,
        "executionId": amendment.execution_id,
        "amendedOrder": shown,
    }
    if order.list is not None:
        entry = order_list(order.list)
        untold = ("listStatusType", "transactionTime")
        answer["listStatus"] = {name: value for name, value in entry.items() if name not in untold}
    return answer


def amendment(order: Order, entry: Amendment) -> Json:
    """One line of an order's history."""
    return {
        "symbol": order.ticket.symbol,
        "orderId": order.order_id,
        "executionId": entry.execution_id,
        "origClientOrderId": entry.old_client_id,
        "newClientOrderId": entry.new_client_id,
        "origQty": amount(entry.old_quantity),
        "newQty": amount(entry.new_quantity),
        "time": entry.at_ms,
    }


def prevented_match(match: PreventedMatch) -> Json:
    report: Json = {
        "symbol": match.symbol,
        "preventedMatchId": match.match_id,
        "takerOrderId": match.taker_id,
        "makerSymbol": match.symbol,
        "makerOrderId": match.maker_id,
        "tradeGroupId": match.trade_group,
        "selfTradePreventionMode": match.mode,
        "price": amount(match.price),
    }
    if match.taker_quantity is not None:
        report["takerPreventedQuantity"] = amount(match.taker_quantity)
    if match.maker_quantity is not None:
        report["makerPreventedQuantity"] = amount(match.maker_quantity)
    return report | {"transactTime": match.at_ms}


def trade(order: Order, fill: Fill) -> Json:
    return {
        "symbol": order.ticket.symbol,
        "id": fill.trade_id,
        "orderId": order.order_id,
        "orderListId": _list_id(order),
        "price": amount(fill.price),
        "qty": amount(fill.quantity),
        "quoteQty": amount(fill.cost),
        "commission": amount(fill.fee),
        "commissionAsset": fill.fee_asset,
        "time": fill.at_ms,
        "isBuyer": order.ticket.side == "BUY",
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def account(owner: Account, omit_zero: bool) -> Json:
    balances = [
        {"asset": asset, "free": amount(held.free), "locked": amount(held.locked)}
        for asset, held in sorted(owner.balances.items())
        if not omit_zero or held.free or held.locked
    ]
    return {
        "makerCommission": int(owner.spec.maker_bps),
        "takerCommission": int(owner.spec.taker_bps),
        "buyerCommission": 0,
        "sellerCommission": 0,
        "commissionRates": _rates(owner.maker_rate, owner.taker_rate),
        "canTrade": owner.may_trade,
        "canWithdraw": True,
        "canDeposit": True,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": owner.updated_ms,
        "accountType": "SPOT",
        "balances": balances,
        "permissions": list(owner.spec.permissions),
        "uid": owner.uid,
    } | ({"tradeGroupId": owner.spec.trade_group} if owner.spec.trade_group != NO_GROUP else {})


def commission(owner: Account, symbol: str) -> Json:
    none = _rates(Decimal(0), Decimal(0))
    return {
        "symbol": symbol,
        "standardCommission": _rates(owner.maker_rate, owner.taker_rate),
        "specialCommission": none,
        "taxCommission": none,
        "discount": {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "BNB",
            "discount": "0.75000000",
        },
    }


def test_commission(owner: Account) -> Json:
    """The rates an order would pay, as order/test shows them on request."""
    standard = {"maker": amount(owner.maker_rate), "taker": amount(owner.taker_rate)}
    none = {"maker": amount(Decimal(0)), "taker": amount(Decimal(0))}
    return {
        "standardCommissionForOrder": standard,
        "specialCommissionForOrder": none,
        "taxCommissionForOrder": none,
        "discount": {
            "enabledForAccount": False,
            "enabledForSymbol": False,
            "discountAsset": "BNB",
            "discount": "0.75000000",
        },
    }


def instrument(book: Book, shows_permissions: bool = True) -> Json:
    """One symbol of exchangeInfo; what this exchange does not offer is announced as not allowed."""
    spec = book.spec
    return {
        "symbol": spec.symbol,
        "status": book.status,
        "baseAsset": spec.base,
        "baseAssetPrecision": spec.base_precision,
        "quoteAsset": spec.quote,
        "quotePrecision": spec.quote_precision,
        "quoteAssetPrecision": spec.quote_precision,
        "baseCommissionPrecision": 8,
        "quoteCommissionPrecision": 8,
        "orderTypes": list(spec.order_types),
        "icebergAllowed": spec.iceberg_allowed,
        "ocoAllowed": spec.oco_allowed,
        "otoAllowed": spec.oto_allowed,
        "opoAllowed": spec.opo_allowed,
        "quoteOrderQtyMarketAllowed": spec.quote_quantity_allowed,
        "allowTrailingStop": spec.trailing_allowed,
        "cancelReplaceAllowed": spec.cancel_replace_allowed,
        "amendAllowed": spec.amend_allowed,
        "pegInstructionsAllowed": spec.peg_allowed,
        "isSpotTradingAllowed": True,
        "isMarginTradingAllowed": False,
        "filters": filters.announced(spec),
        "permissions": [],
        "permissionSets": [list(names) for names in spec.permission_sets] if shows_permissions else [],
        "defaultSelfTradePreventionMode": spec.default_prevention,
        "allowedSelfTradePreventionModes": list(spec.preventions),
    }


def depth(book: Book, limit: int) -> Json:
    update_id, bids, asks = snapshot(book, limit)
    return {
        "lastUpdateId": update_id,
        "bids": [[amount(price), amount(quantity)] for price, quantity in bids],
        "asks": [[amount(price), amount(quantity)] for price, quantity in asks],
    }


def _member(entry: OrderList, order: Order, kind: str, now_ms: int) -> Json:
    if kind == "ACK":
        return ack(order, now_ms)
    is_leg_in_wait = entry.working is not None and order is not entry.working
    if is_leg_in_wait or kind == "RESULT":
        return result(order, now_ms, as_pending=is_leg_in_wait)
    return full(order, now_ms)


def _list_id(order: Order) -> int:
    return -1 if order.list is None else order.list.list_id


def _amounts(order: Order, as_pending: bool) -> Json:
    """Prices and quantities; a leg that will sell what another order receives has no quantity yet."""
    amounts: Json = {"price": amount(order.ticket.shown_price)}
    waits_for_quantity = order.list is not None and order.list.ticket.sells_received and order is not order.list.working
    if not (waits_for_quantity and (as_pending or not order.quantity)):
        amounts["origQty"] = amount(order.quantity)
    executed, cost = (Decimal(0), Decimal(0)) if as_pending else (order.executed, order.cost)
    amounts["executedQty"] = amount(executed)
    amounts["origQuoteOrderQty"] = amount(order.ticket.quote_quantity)
    amounts["cummulativeQuoteQty"] = amount(cost)
    return amounts


def _kind(order: Order) -> Json:
    return {"timeInForce": order.ticket.time_in_force, "type": order.ticket.type, "side": order.ticket.side}


def _conditional(order: Order) -> Json:
    ticket = order.ticket
    extra: Json = {}
    if ticket.stop_price:
        extra["stopPrice"] = amount(ticket.stop_price)
    if ticket.iceberg_quantity:
        extra["icebergQty"] = amount(ticket.iceberg_quantity)
    if ticket.trailing_bips:
        extra["trailingDelta"] = ticket.trailing_bips
        extra["trailingTime"] = order.trailing_ms
    if ticket.peg is not None:
        extra |= _pegged(ticket.peg)
    if ticket.strategy_id is not None:
        extra["strategyId"] = ticket.strategy_id
    if ticket.strategy_type is not None:
        extra["strategyType"] = ticket.strategy_type
    if order.prevented_match_id is not None:
        extra |= {"preventedMatchId": order.prevented_match_id, "preventedQuantity": amount(order.prevented)}
    if order.expiry_reason != "NONE":
        extra["expiryReason"] = order.expiry_reason
    return extra


def _pegged(peg: Peg) -> Json:
    extra: Json = {"pegPriceType": peg.price_type}
    if peg.offset is not None:
        extra |= {"pegOffsetType": "PRICE_LEVEL", "pegOffsetValue": peg.offset}
    if peg.found:
        extra["peggedPrice"] = amount(peg.found)
    return extra


def _fill(fill: Fill) -> Json:
    return {
        "price": amount(fill.price),
        "qty": amount(fill.quantity),
        "commission": amount(fill.fee),
        "commissionAsset": fill.fee_asset,
        "tradeId": fill.trade_id,
    }


def _rates(maker: Decimal, taker: Decimal) -> dict[str, str]:
    return {"maker": amount(maker), "taker": amount(taker), "buyer": "0.00000000", "seller": "0.00000000"}
