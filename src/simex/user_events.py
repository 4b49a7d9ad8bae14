"""Account events of the user data stream, written for every WebSocket API link that subscribed to the account."""

from __future__ import annotations

from decimal import Decimal

from simex import timeunit
from simex.accounts import Account
from simex.frames import Outbox, encode
from simex.lifecycle import ReportKind
from simex.orders import ZERO, Fill, Order, OrderList, Peg, PreventedMatch
from simex.reports import Json, amount


class UserEvents:
    """The engine's outlet: turns what happens to orders and balances into frames."""

    def __init__(self, outbox: Outbox) -> None:
        self._outbox = outbox
        self._execution_id = 0

    def order(
        self,
        order: Order,
        kind: ReportKind,
        now_ms: int,
        *,
        fill: Fill | None = None,
        cancel_id: str | None = None,
        prevented: PreventedMatch | None = None,
        old_client_id: str | None = None,
    ) -> int:
        """executionReport."""
        self._execution_id += 1
        if not order.account.subscriptions:
            return self._execution_id
        event = _report(order, kind, now_ms, self._execution_id, cancel_id)
        if fill is not None:
            event |= _executed(fill)
        if prevented is not None:
            event |= _prevented(order, prevented)
        if old_client_id is not None:
            event["C"] = old_client_id
        if order.working_ms >= 0:
            event["W"] = order.working_ms
        if order.expiry_reason != "NONE":
            event["eR"] = order.expiry_reason
        self._send(order.account, event)
        return self._execution_id

    def order_list(self, order_list: OrderList, now_ms: int, is_update: bool = False) -> None:
        """listStatus."""
        account = order_list.orders[0].account
        symbol = order_list.ticket.symbol
        event: Json = {
            "e": "listStatus",
            "E": now_ms,
            "s": symbol,
            "g": order_list.list_id,
            "c": order_list.contingency,
            "l": "UPDATED" if is_update else "ALL_DONE" if order_list.is_done else "EXEC_STARTED",
            "L": "ALL_DONE" if order_list.is_done else "EXECUTING",
            "r": "NONE",
            "C": order_list.client_id,
            "T": now_ms,
            "O": [{"s": symbol, "i": order.order_id, "c": order.client_id} for order in order_list.orders],
        }
        self._send(account, event)

    def balances(self, account: Account, assets: list[str], now_ms: int) -> None:
        """outboundAccountPosition."""
        held = [(asset, account.balances[asset]) for asset in sorted(assets)]
        entries = [{"a": asset, "f": amount(balance.free), "l": amount(balance.locked)} for asset, balance in held]
        self._send(account, {"e": "outboundAccountPosition", "E": now_ms, "u": now_ms, "B": entries})

    def deposited(self, account: Account, asset: str, delta: Decimal, now_ms: int) -> None:
        """balanceUpdate."""
        event: Json = {"e": "balanceUpdate", "E": now_ms, "a": asset, "d": amount(delta), "T": now_ms}
        self._send(account, event)

    def locked_externally(self, account: Account, asset: str, delta: Decimal, now_ms: int) -> None:
        """externalLockUpdate."""
        event: Json = {"e": "externalLockUpdate", "E": now_ms, "a": asset, "d": amount(delta), "T": now_ms}
        self._send(account, event)

    def _send(self, account: Account, event: Json) -> None:
        for link, number, units in account.subscriptions:
            told = event if units == 1 else timeunit.event_in(units, event)
            self._outbox.account.append((link, encode({"subscriptionId": number, "event": told})))


def _report(order: Order, kind: ReportKind, now_ms: int, execution_id: int, cancel_id: str | None) -> Json:
    ticket = order.ticket
    event: Json = {
        "e": "executionReport",
        "E": now_ms,
        "s": ticket.symbol,
        "c": order.client_id if cancel_id is None else cancel_id,
        "S": ticket.side,
        "o": ticket.type,
        "f": ticket.time_in_force,
        "q": amount(order.quantity),
        "p": amount(ticket.shown_price),
        "P": amount(ticket.stop_price),
        "F": amount(ticket.iceberg_quantity),
        "g": -1 if order.list is None else order.list.list_id,
        "C": "" if cancel_id is None else order.client_id,
        "x": kind,
        "X": order.status,
        "r": "NONE",
        "i": order.order_id,
        "l": amount(ZERO),
        "z": amount(order.executed),
        "L": amount(ZERO),
        "n": "0",
        "N": None,
        "T": now_ms,
        "t": -1,
        "I": execution_id,
        "w": (kind == "NEW" and order.working_ms >= 0) or order.status == "PARTIALLY_FILLED",
        "m": False,
        "M": kind == "TRADE",
        "O": order.created_ms,
        "Z": amount(order.cost),
        "Y": amount(ZERO),
        "Q": amount(ticket.quote_quantity),
        "V": ticket.prevention,
    }
    if ticket.strategy_id is not None:
        event["j"] = ticket.strategy_id
    if ticket.strategy_type is not None:
        event["J"] = ticket.strategy_type
    if ticket.trailing_bips:
        event |= {"d": ticket.trailing_bips, "D": order.trailing_ms}
    if ticket.peg is not None:
        event |= _pegged(ticket.peg)
    return event


def _pegged(peg: Peg) -> Json:
    keys: Json = {"gP": peg.price_type}
    if peg.offset is not None:
        keys |= {"gOT": "PRICE_LEVEL", "gOV": peg.offset}
    if peg.found:
        keys["gp"] = amount(peg.found)
    return keys


def _prevented(order: Order, match: PreventedMatch) -> Json:
    return {
        "v": match.match_id,
        "A": amount(order.prevented),
        "B": amount(match.loss_of(order.order_id)),
        "u": match.trade_group,
        "U": match.rival_of(order.order_id),
        "Cs": match.symbol,
        "pl": amount(match.quantity),
        "pL": amount(match.price),
        "pY": amount(match.price * match.quantity),
    }


def _executed(fill: Fill) -> Json:
    return {
        "l": amount(fill.quantity),
        "L": amount(fill.price),
        "n": amount(fill.fee),
        "N": fill.fee_asset,
        "t": fill.trade_id,
        "m": fill.is_maker,
        "Y": amount(fill.cost),
    }
