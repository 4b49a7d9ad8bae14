"""Signed calls about the account: what it holds, how it trades, what it earned; and listenKeys, for a key only."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from simex import refusal
from simex.futures import reports, settings, tickets
from simex.futures.accounts import Account, Position
from simex.futures.calls import API, API2, API3, Ask, Call, one_or_all, reading, trading
from simex.futures.margin import Margins
from simex.futures.query_calls import MONTHS_MS, WEEK_MS, page, times
from simex.refusal import Refusal
from simex.reports import Json
from simex.reports import amount as amount_text

DONE: Final = {"code": 200, "msg": "success"}


# -- what it holds ------------------------------------------------------------------------------------------------


def account_v3(ask: Ask) -> object:
    return reports.account_v3(ask.engine, ask.account)


def account_v2(ask: Ask) -> object:
    return reports.account_v2(ask.engine, ask.account)


def balance(ask: Ask) -> object:
    return reports.balances(ask.engine, ask.account)


def risk_v3(ask: Ask) -> object:
    return _risk(ask, reports.risk_v3, only_live=True)


def risk_v2(ask: Ask) -> object:
    return _risk(ask, reports.risk_v2, only_live=False)


def _risk(ask: Ask, row: Callable[[Margins, Account, Position], Json], only_live: bool) -> list[Json]:
    shown = reports.shown_positions(ask.engine, ask.account, only_live)
    symbol = ask.book.spec.symbol if ask.params.has("symbol") else None
    return [row(ask.engine.margins, ask.account, entry) for entry in shown if symbol in (None, entry.symbol)]


def adl_quantile(ask: Ask) -> object:
    shown = reports.shown_positions(ask.engine, ask.account, only_live=False)
    rows: list[Json] = []
    for book in ask.books:
        mine = [entry for entry in shown if entry.symbol == book.spec.symbol]
        ranks = {entry.side: reports.adl_quantile(ask.engine.margins, ask.account, entry) for entry in mine}
        if any(entry.amount for entry in mine):
            rows.append({"symbol": book.spec.symbol, "adlQuantile": ranks})
    return rows


# -- how it trades ------------------------------------------------------------------------------------------------


def symbol_config(ask: Ask) -> object:
    rows: list[Json] = []
    for book in ask.books:
        setup = ask.account.setup(book.spec.symbol)
        rows.append(
            {
                "symbol": book.spec.symbol,
                "marginType": "ISOLATED" if setup.is_isolated else "CROSSED",
                "isAutoAddMargin": False,
                "leverage": setup.leverage,
                "maxNotionalValue": str(book.spec.largest_notional(setup.leverage)),
            }
        )
    return rows


def account_config(ask: Ask) -> object:
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": True,
        "canWithdraw": True,
        "dualSidePosition": ask.account.is_dual,
        "updateTime": 0,
        "multiAssetsMargin": ask.account.is_multi_asset,
        "tradeGroupId": -1,
    }


def leverage(ask: Ask) -> object:
    spec = ask.book.spec
    wanted = ask.params.maybe_integer("leverage")
    if wanted is None:
        raise refusal.missing("leverage")
    settings.set_leverage(ask.engine, ask.account, spec.symbol, wanted, ask.now_ms)
    return {"leverage": wanted, "maxNotionalValue": str(spec.largest_notional(wanted)), "symbol": spec.symbol}


def margin_type(ask: Ask) -> object:
    symbol = ask.book.spec.symbol
    kind = ask.params.choice(
        "marginType", ("ISOLATED", "CROSSED"), -1130, "Data sent for parameter 'marginType' is not valid."
    )
    settings.set_margin_type(ask.engine, ask.account, symbol, kind)
    return DONE


def get_dual(ask: Ask) -> object:
    return {"dualSidePosition": ask.account.is_dual}


def set_dual(ask: Ask) -> object:
    settings.set_dual(ask.account, _flag(ask, "dualSidePosition"))
    return DONE


def get_multi_asset(ask: Ask) -> object:
    return {"multiAssetsMargin": ask.account.is_multi_asset}


def set_multi_asset(ask: Ask) -> object:
    settings.set_multi_asset(ask.engine, ask.account, _flag(ask, "multiAssetsMargin"), ask.now_ms)
    return DONE


def get_fee_burn(ask: Ask) -> object:
    return {"feeBurn": ask.account.burns_bnb}


def set_fee_burn(ask: Ask) -> object:
    ask.account.burns_bnb = _flag(ask, "feeBurn")
    return DONE


def position_margin(ask: Ask) -> object:
    symbol = ask.book.spec.symbol
    side = tickets.position_side_of(ask.params, ask.account)
    amount = tickets.amount(ask.params, "amount")
    kind = ask.params.choice("type", ("1", "2"), -1130, "Data sent for parameter 'type' is not valid.")
    if amount <= 0:
        raise Refusal(-4055, "Amount must be positive.")
    position = ask.account.position(symbol, side)
    settings.move_margin(ask.engine, ask.account, position, amount, int(kind), ask.now_ms)
    return {"amount": float(amount), "type": int(kind), **DONE, "msg": "Successfully modify position margin."}


def position_margin_history(ask: Ask) -> object:
    spec = ask.book.spec
    kind = ask.params.maybe_integer("type")
    start_ms, end_ms = times(ask.params, MONTHS_MS)
    rows: list[Json] = []
    for symbol, side, change, at_ms in ask.account.margin_changes:
        this = 1 if change > 0 else 2
        is_within = (start_ms is None or at_ms >= start_ms) and (end_ms is None or at_ms <= end_ms)
        if symbol == spec.symbol and kind in (None, this) and is_within:
            rows.append(
                {
                    "symbol": symbol,
                    "type": this,
                    "deltaType": "USER_ADJUST",
                    "amount": amount_text(abs(change)),
                    "asset": spec.margin_asset,
                    "time": at_ms,
                    "positionSide": side,
                }
            )
    return page(rows, ask.params.limit(500, 1000), start_ms is not None)


def leverage_bracket(ask: Ask) -> object:
    rows = [reports.leverage_brackets(book.spec) for book in ask.books]
    return rows[0] if ask.params.has("symbol") and ask.engine.rules.bracket_of_symbol == "object" else rows


def commission_rate(ask: Ask) -> object:
    return {
        "symbol": ask.book.spec.symbol,
        "makerCommissionRate": f"{ask.account.maker_rate:f}",
        "takerCommissionRate": f"{ask.account.taker_rate:f}",
        "rpiCommissionRate": f"{ask.account.maker_rate:f}",
    }


def trading_status(ask: Ask) -> object:
    """No quantitative rule has ever been broken here."""
    return {"indicators": {}, "updateTime": ask.now_ms}


# -- what it earned -----------------------------------------------------------------------------------------------


def income(ask: Ask) -> object:
    if ask.params.has("page"):
        raise Refusal(-1104, "Not all sent parameters were read; parameter 'page' is no longer supported.")
    symbol, kind = ask.params.maybe("symbol"), ask.params.maybe("incomeType")
    start_ms, end_ms = ask.params.maybe_integer("startTime"), ask.params.maybe_integer("endTime")
    if start_ms is not None and end_ms is not None and start_ms > end_ms:
        raise Refusal(-1023, "Start time is greater than end time.")
    first_ms = ask.now_ms - WEEK_MS if start_ms is None and end_ms is None else start_ms or 0
    first_ms = max(first_ms, ask.now_ms - MONTHS_MS)
    rows = [
        row
        for row in ask.account.income
        if row.amount
        and (symbol is None or row.symbol == symbol)
        and (kind is None or row.kind == kind)
        and row.at_ms >= first_ms
        and (end_ms is None or row.at_ms <= end_ms)
    ]
    chosen = page(rows, ask.params.limit(100, 1000), start_ms is not None)
    return [reports.income(row) for row in chosen]


# -- listenKeys ---------------------------------------------------------------------------------------------------


def start_stream(ask: Ask) -> object:
    return {"listenKey": ask.desk.keys.create(ask.account, ask.now_ms)}


def renew_stream(ask: Ask) -> object:
    return {"listenKey": ask.desk.keys.renew(ask.account, ask.now_ms)}


def stop_stream(ask: Ask) -> object:
    ask.desk.links.silence(ask.desk.keys.delete(ask.account))
    return {}


def _flag(ask: Ask, name: str) -> bool:
    return ask.params.choice(
        name, ("true", "false", "True", "False"), -1130, f"Data sent for parameter '{name}' is not valid."
    ).lower() == "true"  # fmt: skip


REST: Final[dict[tuple[str, str], Call]] = {
    ("GET", f"{API3}/account"): reading(account_v3, 5),
    ("GET", f"{API2}/account"): reading(account_v2, 5),
    ("GET", f"{API3}/balance"): reading(balance, 5),
    ("GET", f"{API2}/balance"): reading(balance, 5),
    ("GET", f"{API3}/positionRisk"): reading(risk_v3, 5),
    ("GET", f"{API2}/positionRisk"): reading(risk_v2, 5),
    ("GET", f"{API}/adlQuantile"): reading(adl_quantile, 5),
    ("GET", f"{API}/symbolConfig"): reading(symbol_config, 5),
    ("GET", f"{API}/accountConfig"): reading(account_config, 5),
    ("POST", f"{API}/leverage"): trading(leverage, 1),
    ("POST", f"{API}/marginType"): trading(margin_type, 1),
    ("GET", f"{API}/positionSide/dual"): reading(get_dual, 30),
    ("POST", f"{API}/positionSide/dual"): trading(set_dual, 1),
    ("GET", f"{API}/multiAssetsMargin"): reading(get_multi_asset, 30),
    ("POST", f"{API}/multiAssetsMargin"): trading(set_multi_asset, 1),
    ("GET", f"{API}/feeBurn"): reading(get_fee_burn, 30),
    ("POST", f"{API}/feeBurn"): trading(set_fee_burn, 1),
    ("POST", f"{API}/positionMargin"): trading(position_margin, 1),
    ("GET", f"{API}/positionMargin/history"): reading(position_margin_history, 1),
    ("GET", f"{API}/leverageBracket"): reading(leverage_bracket, 1),
    ("GET", f"{API}/commissionRate"): reading(commission_rate, 20),
    ("GET", f"{API}/apiTradingStatus"): reading(trading_status, one_or_all(1, 10)),
    ("GET", f"{API}/income"): reading(income, 30),
    ("POST", f"{API}/listenKey"): Call(start_stream, 1, "key"),
    ("PUT", f"{API}/listenKey"): Call(renew_stream, 1, "key"),
    ("DELETE", f"{API}/listenKey"): Call(stop_stream, 1, "key"),
}
SOCKET: Final[dict[str, Call]] = {
    "account.status": REST["GET", f"{API3}/account"],
    "v2/account.status": REST["GET", f"{API3}/account"],
    "account.balance": REST["GET", f"{API3}/balance"],
    "v2/account.balance": REST["GET", f"{API3}/balance"],
    "account.position": REST["GET", f"{API2}/positionRisk"],
    "v2/account.position": REST["GET", f"{API3}/positionRisk"],
    "userDataStream.start": REST["POST", f"{API}/listenKey"],
    "userDataStream.ping": REST["PUT", f"{API}/listenKey"],
    "userDataStream.stop": REST["DELETE", f"{API}/listenKey"],
}
