"""What clients call beside the spot API when they start: the wallet's key rights and fees, and markets that are empty.

These calls have limits of their own on the real exchange; here they weigh nothing.
"""

from __future__ import annotations

from typing import Final

from simex import reports
from simex.accounts import Account
from simex.calls import Ask, Call

SAPI: Final = "/sapi/v1"


def key_rights(ask: Ask) -> object:
    return _restrictions(ask.account)


def trade_fees(ask: Ask) -> object:
    books = [ask.book] if ask.params.has("symbol") else ask.engine.books.values()
    maker, taker = reports.amount(ask.account.maker_rate), reports.amount(ask.account.taker_rate)
    return [{"symbol": book.spec.symbol, "makerCommission": maker, "takerCommission": taker} for book in books]


def nothing(ask: Ask) -> object:
    """This exchange has no margin and no chains to deposit from."""
    return []


def delistings(ask: Ask) -> object:
    """Announced ones by their times."""
    by_time: dict[int, list[str]] = {}
    for symbol, at_ms in ask.engine.delistings.items():
        by_time.setdefault(at_ms, []).append(symbol)
    return [{"delistTime": at_ms, "symbols": symbols} for at_ms, symbols in sorted(by_time.items())]


def no_coin_futures(ask: Ask) -> object:
    return {"symbols": []}


def _restrictions(account: Account) -> reports.Json:
    rights = account.rights
    assert rights is not None, "a key that was deleted is admitted nowhere"
    answer: reports.Json = {
        "ipRestrict": bool(rights.addresses),
        "createTime": rights.created_ms,
        "enableReading": rights.may_read,
        "enableWithdrawals": rights.may_withdraw,
        "enableInternalTransfer": rights.may_transfer,
        "enableMargin": False,
        "enableFutures": rights.may_trade_futures,
        "permitsUniversalTransfer": rights.may_transfer,
        "enableVanillaOptions": False,
        "enableFixApiTrade": False,
        "enableFixReadOnly": False,
        "enableSpotAndMarginTrading": rights.may_trade_spot,
        "enablePortfolioMarginTrading": False,
    }
    if rights.expires_ms is not None:
        answer["tradingAuthorityExpirationTime"] = rights.expires_ms
    return answer


REST: Final[dict[tuple[str, str], Call]] = {
    ("GET", f"{SAPI}/account/apiRestrictions"): Call(key_rights, 0, is_signed=True),
    ("GET", f"{SAPI}/asset/tradeFee"): Call(trade_fees, 0, is_signed=True),
    ("GET", f"{SAPI}/capital/config/getall"): Call(nothing, 0, is_signed=True),
    ("GET", f"{SAPI}/margin/allPairs"): Call(nothing, 0),
    ("GET", f"{SAPI}/margin/isolated/allPairs"): Call(nothing, 0),
    ("GET", f"{SAPI}/spot/delist-schedule"): Call(delistings, 0),
    ("GET", "/dapi/v1/exchangeInfo"): Call(no_coin_futures, 0),
}
