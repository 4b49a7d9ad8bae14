"""Orders, positions and accounts of the futures market as its answers show them.

Prices and quantities have the decimals of their contract, amounts of money eight; ids and times are integers.
"""

from __future__ import annotations

from decimal import Decimal

from simex.futures import filters
from simex.futures.accounts import Account, Income, Position
from simex.futures.book import ContractBook
from simex.futures.contracts import ORDER_TYPES, TIMES_IN_FORCE, ContractSpec
from simex.futures.engine import Engine
from simex.futures.margin import Margins
from simex.futures.orders import Algo, Amendment, Fill, Order, PositionSide
from simex.orders import ZERO
from simex.reports import Json, amount


def price_text(spec: ContractSpec, price: Decimal) -> str:
    return f"{price:.{spec.price_precision}f}"


def quantity_text(spec: ContractSpec, quantity: Decimal) -> str:
    return f"{quantity:.{spec.quantity_precision}f}"


# -- orders -------------------------------------------------------------------------------------------------------


def placed(spec: ContractSpec, order: Order) -> Json:
    """An order as placing, modifying and cancelling answer it: without average price and turnover."""
    ticket = order.ticket
    return {
        "orderId": order.order_id,
        "symbol": ticket.symbol,
        "status": order.status,
        "clientOrderId": order.client_id,
        "price": price_text(spec, ticket.price),
        "origQty": quantity_text(spec, order.quantity),
        "executedQty": quantity_text(spec, order.executed),
        "cumQty": quantity_text(spec, order.executed),
        "timeInForce": ticket.time_in_force,
        "type": ticket.type,
        "reduceOnly": ticket.reduce_only,
        "closePosition": ticket.close_position,
        "side": ticket.side,
        "positionSide": ticket.position_side,
        "stopPrice": price_text(spec, ticket.stop_price),
        "workingType": ticket.working_type,
        "priceProtect": ticket.price_protect,
        "origType": ticket.orig_type,
        "priceMatch": ticket.price_match,
        "selfTradePreventionMode": ticket.prevention,
        "goodTillDate": ticket.good_till_ms,
        "updateTime": order.updated_ms,
    }


def acknowledged(spec: ContractSpec, order: Order) -> Json:
    """The same right after placement, whatever has happened since."""
    nothing = quantity_text(spec, ZERO)
    return placed(spec, order) | {
        "status": "NEW", "executedQty": nothing, "cumQty": nothing, "updateTime": order.created_ms,
    }  # fmt: skip


def query(spec: ContractSpec, order: Order) -> Json:
    """An order as queries and lists of orders show it."""
    ticket = order.ticket
    report: Json = {
        "avgPrice": f"{order.average:.5f}",
        "clientOrderId": order.client_id,
        "cumQuote": f"{order.cost:.5f}",
        "executedQty": quantity_text(spec, order.executed),
        "orderId": order.order_id,
        "origQty": quantity_text(spec, order.quantity),
        "origType": ticket.orig_type,
        "price": price_text(spec, ticket.price),
        "reduceOnly": ticket.reduce_only,
        "side": ticket.side,
        "positionSide": ticket.position_side,
        "status": order.status,
        "stopPrice": price_text(spec, ticket.stop_price),
        "closePosition": ticket.close_position,
        "symbol": ticket.symbol,
        "pair": ticket.symbol,
        "time": order.created_ms,
        "timeInForce": ticket.time_in_force,
        "type": ticket.type,
        "updateTime": order.updated_ms,
        "workingType": ticket.working_type,
        "priceProtect": ticket.price_protect,
        "priceMatch": ticket.price_match,
        "selfTradePreventionMode": ticket.prevention,
        "goodTillDate": ticket.good_till_ms,
    }
    if ticket.orig_type == "TRAILING_STOP_MARKET":
        report |= {
            "activatePrice": price_text(spec, ticket.activate_price), "priceRate": f"{ticket.callback_rate:f}",
        }  # fmt: skip
    return report


def algo_placed(spec: ContractSpec, algo: Algo) -> Json:
    ticket = algo.ticket
    trails = algo.is_trailing
    return {
        "algoId": algo.algo_id,
        "clientAlgoId": algo.client_id,
        "algoType": "CONDITIONAL",
        "orderType": ticket.orig_type,
        "symbol": ticket.symbol,
        "side": ticket.side,
        "positionSide": ticket.position_side,
        "timeInForce": ticket.time_in_force,
        "quantity": quantity_text(spec, ticket.quantity),
        "algoStatus": algo.status,
        "triggerPrice": price_text(spec, ticket.stop_price),
        "price": price_text(spec, ticket.price),
        "icebergQuantity": None,
        "selfTradePreventionMode": ticket.prevention,
        "workingType": ticket.working_type,
        "priceMatch": ticket.price_match,
        "closePosition": ticket.close_position,
        "priceProtect": ticket.price_protect,
        "reduceOnly": ticket.reduce_only,
        "activatePrice": price_text(spec, ticket.activate_price) if trails else "",
        "callbackRate": f"{ticket.callback_rate:f}" if trails else "",
        "createTime": algo.created_ms,
        "updateTime": algo.updated_ms,
        "triggerTime": algo.triggered_ms,
        "goodTillDate": ticket.good_till_ms,
    }


def algo_query(spec: ContractSpec, algo: Algo) -> Json:
    order = algo.order
    report = algo_placed(spec, algo) | {
        "actualOrderId": "" if order is None else str(order.order_id),
        "actualPrice": "0.00000" if order is None else f"{order.average:.5f}",
        "tpTriggerPrice": "0.000",
        "tpPrice": "0.000",
        "slTriggerPrice": "0.000",
        "slPrice": "0.000",
        "tpOrderType": "",
    }
    if order is not None:
        report |= {"actualType": order.ticket.type, "actualQty": quantity_text(spec, order.executed)}
    return report


def trade(spec: ContractSpec, order: Order, fill: Fill) -> Json:
    ticket = order.ticket
    return {
        "buyer": ticket.side == "BUY",
        "commission": amount(fill.fee),
        "commissionAsset": fill.fee_asset,
        "id": fill.trade_id,
        "maker": fill.is_maker,
        "orderId": order.order_id,
        "price": price_text(spec, fill.price),
        "qty": quantity_text(spec, fill.quantity),
        "quoteQty": amount(fill.cost),
        "realizedPnl": amount(fill.realised),
        "side": ticket.side,
        "positionSide": ticket.position_side,
        "symbol": ticket.symbol,
        "time": fill.at_ms,
        "marginAsset": spec.margin_asset,
        "pair": ticket.symbol,
        "baseQty": quantity_text(spec, fill.quantity),
    }


def amendment(spec: ContractSpec, order: Order, entry: Amendment) -> Json:
    def change(before: str, after: str) -> Json:
        return {"before": before, "after": after}

    report: Json = {
        "amendmentId": entry.amendment_id,
        "symbol": order.ticket.symbol,
        "pair": order.ticket.symbol,
        "orderId": order.order_id,
        "clientOrderId": order.client_id,
        "time": entry.at_ms,
        "amendment": {
            "price": change(price_text(spec, entry.before[0]), price_text(spec, entry.after[0])),
            "origQty": change(quantity_text(spec, entry.before[1]), quantity_text(spec, entry.after[1])),
            "count": entry.amendment_id,
        },
    }
    return report if entry.modify_id is None else report | {"modifyId": entry.modify_id}


def income(row: Income) -> Json:
    return {
        "symbol": row.symbol,
        "incomeType": row.kind,
        "income": amount(row.amount),
        "asset": row.asset,
        "info": row.info,
        "time": row.at_ms,
        "tranId": row.transaction_id,
        "tradeId": "" if row.trade_id is None else str(row.trade_id),
    }


# -- positions and accounts ---------------------------------------------------------------------------------------


def position_sides(account: Account) -> tuple[PositionSide, ...]:
    return ("LONG", "SHORT") if account.is_dual else ("BOTH",)


def shown_positions(engine: Engine, account: Account, only_live: bool) -> list[Position]:
    """One row a symbol, or two in hedge mode; only those with a position or open orders if asked so."""
    shown = []
    for symbol in engine.books:
        rows = [account.positions.get((symbol, side)) or Position(symbol, side) for side in position_sides(account)]
        if only_live:
            rows = [row for row in rows if row.amount or account.open_on(symbol, row.side)]
        shown += rows
    return shown


def risk_v3(margins: Margins, account: Account, position: Position) -> Json:
    symbol = position.symbol
    spec = margins.spec(symbol)
    bid, ask = margins.bid_ask_notional(account, symbol, position.side)
    initial, ordered = margins.initial(account, position), margins.order_margin(account, symbol)
    isolated = account.is_isolated(position)
    return {
        "symbol": symbol,
        "positionSide": position.side,
        "positionAmt": quantity_text(spec, position.amount),
        "entryPrice": amount(position.entry),
        "breakEvenPrice": amount(position.break_even),
        "markPrice": amount(margins.mark(symbol)),
        "unRealizedProfit": amount(margins.profit(position)),
        "liquidationPrice": _liquidation(margins, account, position),
        "isolatedMargin": amount(margins.isolated_balance(position) if isolated and position.amount else ZERO),
        "notional": amount(margins.notional(position)),
        "marginAsset": spec.margin_asset,
        "isolatedWallet": amount(position.isolated),
        "initialMargin": amount(initial + ordered),
        "maintMargin": amount(margins.maintenance(position)),
        "positionInitialMargin": amount(initial),
        "openOrderInitialMargin": amount(ordered),
        "adl": adl_quantile(margins, account, position),
        "bidNotional": amount(bid),
        "askNotional": amount(ask),
        "updateTime": position.updated_ms,
    }


def risk_v2(margins: Margins, account: Account, position: Position) -> Json:
    symbol = position.symbol
    spec, setup = margins.spec(symbol), account.setup(symbol)
    isolated = setup.is_isolated
    return {
        "symbol": symbol,
        "positionAmt": quantity_text(spec, position.amount),
        "entryPrice": amount(position.entry),
        "breakEvenPrice": amount(position.break_even),
        "markPrice": amount(margins.mark(symbol)),
        "unRealizedProfit": amount(margins.profit(position)),
        "liquidationPrice": _liquidation(margins, account, position),
        "leverage": str(setup.leverage),
        "maxNotionalValue": str(spec.largest_notional(setup.leverage)),
        "marginType": "isolated" if isolated else "cross",
        "isolatedMargin": amount(margins.isolated_balance(position) if isolated and position.amount else ZERO),
        "isAutoAddMargin": "false",
        "positionSide": position.side,
        "notional": amount(margins.notional(position)),
        "isolatedWallet": amount(position.isolated),
        "updateTime": position.updated_ms,
    }


def _liquidation(margins: Margins, account: Account, position: Position) -> str:
    price = margins.liquidation_price(account, position)
    return amount(price) if price else "0"


def adl_quantile(margins: Margins, account: Account, position: Position) -> int:
    """The rank in the queue of auto-deleveraging: five parts by profit over the margin put in."""
    if not position.amount:
        return 0
    share = margins.profit(position) / margins.initial(account, position)
    return max(0, min(4, int(share * 5)))


def balances(engine: Engine, account: Account) -> list[Json]:
    return [_balance(engine, account, asset) for asset in _assets(engine, account)]


def _balance(engine: Engine, account: Account, asset: str) -> Json:
    margins = engine.margins
    return {
        "accountAlias": account.alias,
        "asset": asset,
        "balance": amount(account.wallets.get(asset, ZERO)),
        "crossWalletBalance": amount(account.cross_wallet(asset)),
        "crossUnPnl": amount(margins.cross_profit(account, asset)),
        "availableBalance": amount(margins.available(account, asset)),
        "maxWithdrawAmount": amount(margins.withdrawable(account, asset)),
        "marginAvailable": True,
        "updateTime": account.updated_ms.get(asset, 0),
    }


def _assets(engine: Engine, account: Account) -> list[str]:
    return sorted({*engine.ledger.assets, *account.wallets})


def account_v3(engine: Engine, account: Account) -> Json:
    assets = [_asset(engine, account, asset) for asset in _assets(engine, account)]
    live = shown_positions(engine, account, only_live=True)
    return _totals(engine, account) | {
        "assets": [{name: _shown(value) for name, value in entry.items()} for entry in assets],
        "positions": [_position_v3(engine.margins, account, position) for position in live],
    }


def account_v2(engine: Engine, account: Account) -> Json:
    everything = shown_positions(engine, account, only_live=False)
    return (
        {
            "feeTier": 0,
            "feeBurn": account.burns_bnb,
            "canTrade": True,
            "canDeposit": True,
            "canWithdraw": True,
            "updateTime": 0,
            "multiAssetsMargin": account.is_multi_asset,
            "tradeGroupId": -1,
        }
        | account_v3(engine, account)
        | {"positions": [_position_v2(engine.margins, account, position) for position in everything]}
    )


_TOTALS = {
    "totalInitialMargin": "initialMargin",
    "totalMaintMargin": "maintMargin",
    "totalWalletBalance": "walletBalance",
    "totalUnrealizedProfit": "unrealizedProfit",
    "totalMarginBalance": "marginBalance",
    "totalPositionInitialMargin": "positionInitialMargin",
    "totalOpenOrderInitialMargin": "openOrderInitialMargin",
    "totalCrossWalletBalance": "crossWalletBalance",
    "totalCrossUnPnl": "crossUnPnl",
    "availableBalance": "availableBalance",
    "maxWithdrawAmount": "maxWithdrawAmount",
}


def _totals(engine: Engine, account: Account) -> Json:
    """In single-asset mode the totals are those of USDT, in multi-assets mode of everything in dollars."""
    if not account.is_multi_asset:
        main = _asset(engine, account, "USDT")
        return {total: _shown(main[name]) for total, name in _TOTALS.items()}
    sums: dict[str, Decimal] = dict.fromkeys(_TOTALS, ZERO)
    for asset in _assets(engine, account):
        values, rate = _asset(engine, account, asset), engine.margins.dollars(asset)
        for total, name in _TOTALS.items():
            value = values[name]
            assert isinstance(value, Decimal), "totals are of amounts"
            sums[total] += value * rate
    sums["availableBalance"] = engine.margins.available(account, "USDT")
    return {total: amount(value) for total, value in sums.items()}


def _asset(engine: Engine, account: Account, asset: str) -> dict[str, Decimal | str | int]:
    margins = engine.margins
    held = [p for p in account.held() if margins.spec(p.symbol).margin_asset == asset]
    wallet = account.wallets.get(asset, ZERO)
    profit = sum((margins.profit(position) for position in held), ZERO)
    initial = sum((margins.initial(account, position) for position in held), ZERO)
    ordered = margins.ordered_margin(account, asset)
    return {
        "asset": asset,
        "walletBalance": wallet,
        "unrealizedProfit": profit,
        "marginBalance": wallet + profit,
        "maintMargin": sum((margins.maintenance(position) for position in held), ZERO),
        "initialMargin": initial + ordered,
        "positionInitialMargin": initial,
        "openOrderInitialMargin": ordered,
        "crossWalletBalance": account.cross_wallet(asset),
        "crossUnPnl": margins.cross_profit(account, asset),
        "availableBalance": margins.available(account, asset),
        "maxWithdrawAmount": margins.withdrawable(account, asset),
        "updateTime": account.updated_ms.get(asset, 0),
    }


def _shown(value: Decimal | str | int) -> str | int:
    return amount(value) if isinstance(value, Decimal) else value


def _position_v3(margins: Margins, account: Account, position: Position) -> Json:
    spec = margins.spec(position.symbol)
    isolated = account.is_isolated(position) and position.amount
    initial, ordered = margins.initial(account, position), margins.order_margin(account, position.symbol)
    return {
        "symbol": position.symbol,
        "positionSide": position.side,
        "positionAmt": quantity_text(spec, position.amount),
        "unrealizedProfit": amount(margins.profit(position)),
        "isolatedMargin": amount(margins.isolated_balance(position) if isolated else ZERO),
        "notional": amount(margins.notional(position)),
        "isolatedWallet": amount(position.isolated),
        "initialMargin": amount(initial + ordered),
        "maintMargin": amount(margins.maintenance(position)),
        "updateTime": position.updated_ms,
    }


def _position_v2(margins: Margins, account: Account, position: Position) -> Json:
    symbol = position.symbol
    setup = account.setup(symbol)
    bid, ask = margins.bid_ask_notional(account, symbol, position.side)
    return _position_v3(margins, account, position) | {
        "leverage": str(setup.leverage),
        "isolated": setup.is_isolated,
        "entryPrice": amount(position.entry),
        "breakEvenPrice": amount(position.break_even),
        "maxNotional": str(margins.spec(symbol).largest_notional(setup.leverage)),
        "positionInitialMargin": amount(margins.initial(account, position)),
        "openOrderInitialMargin": amount(margins.order_margin(account, symbol)),
        "bidNotional": amount(bid),
        "askNotional": amount(ask),
    }


# -- contracts ----------------------------------------------------------------------------------------------------


def contract(book: ContractBook) -> Json:
    """One symbol of exchangeInfo."""
    spec = book.spec
    return {
        "symbol": spec.symbol,
        "pair": spec.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": book.delivery_ms,
        "onboardDate": spec.onboard_ms,
        "status": book.status,
        "maintMarginPercent": "2.5000",
        "requiredMarginPercent": "5.0000",
        "baseAsset": spec.base,
        "quoteAsset": spec.quote,
        "marginAsset": spec.margin_asset,
        "pricePrecision": spec.price_precision,
        "quantityPrecision": spec.quantity_precision,
        "baseAssetPrecision": 8,
        "quotePrecision": 8,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "settlePlan": 0,
        "triggerProtect": f"{spec.trigger_protect:.4f}",
        "liquidationFee": f"{spec.liquidation_fee:.6f}",
        "marketTakeBound": f"{spec.market_take_bound:.2f}",
        "orderTypes": list(ORDER_TYPES),
        "timeInForce": list(TIMES_IN_FORCE),
        "filters": filters.announced(spec),
    }


def leverage_brackets(spec: ContractSpec) -> Json:
    """The only answer whose numbers are JSON numbers."""
    return {
        "symbol": spec.symbol,
        "brackets": [
            {
                "bracket": entry.number,
                "initialLeverage": entry.leverage,
                "notionalCap": int(entry.cap),
                "notionalFloor": int(entry.floor),
                "maintMarginRatio": float(entry.rate),
                "cum": float(entry.cum),
            }
            for entry in spec.brackets
        ],
    }
