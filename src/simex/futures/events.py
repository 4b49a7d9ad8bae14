"""Account events of the futures market, written for every private link that hears the account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Protocol

from simex.frames import Outbox, encode
from simex.futures.accounts import Account, Position
from simex.futures.lifecycle import OrderEvent
from simex.futures.orders import Algo, Fill, Order
from simex.orders import ZERO
from simex.reports import Json, amount


@dataclass(frozen=True, slots=True)
class Listener:
    """One link that hears an account: how it named the stream, and which events it asked for (None: all)."""

    link: int
    listen_key: str
    kinds: frozenset[str] | None


class Marks(Protocol):
    """Who knows mark prices and margins."""

    def mark(self, symbol: str) -> Decimal: ...

    def maintenance(self, position: Position) -> Decimal: ...

    def cross_wallet_of(self, account: Account) -> Decimal: ...

    def bid_ask_notional(self, account: Account, symbol: str, side: str) -> tuple[Decimal, Decimal]: ...


class UserEvents:
    """The engine's outlet: turns what happens to orders, positions and wallets into frames."""

    def __init__(self, outbox: Outbox, is_combined: Mapping[int, bool]) -> None:
        self.listeners: dict[Account, list[Listener]] = {}
        self.marks: Marks | None = None
        self._outbox = outbox
        self._is_combined = is_combined

    def order(self, order: Order, kind: OrderEvent, now_ms: int, fill: Fill | None = None) -> None:
        """TRADE_LITE before each fill, and ORDER_TRADE_UPDATE."""
        if order.account not in self.listeners:
            return
        if fill is not None and kind == "TRADE":
            self.send(order.account, _trade_lite(order, fill, now_ms))
        self.send(order.account, {"e": "ORDER_TRADE_UPDATE", "E": now_ms, "T": now_ms,
                                  "o": self._order(order, kind, now_ms, fill)})  # fmt: skip

    def algo(self, algo: Algo, now_ms: int) -> None:
        """ALGO_UPDATE."""
        if algo.account in self.listeners:
            self.send(algo.account, {"e": "ALGO_UPDATE", "T": now_ms, "E": now_ms, "o": _algo(algo)})

    def account(
        self, account: Account, reason: str, changes: Mapping[str, Decimal], positions: list[Position], now_ms: int,
        symbol: str = "",
    ) -> None:  # fmt: skip
        """ACCOUNT_UPDATE; `changes` are those of wallets, without profits and fees."""
        if account not in self.listeners:
            return
        wallets = [
            {"a": asset, "wb": amount(account.wallets.get(asset, ZERO)), "cw": amount(account.cross_wallet(asset)),
             "bc": amount(change) if change else "0"}
            for asset, change in changes.items()
        ]  # fmt: skip
        shown = [self._position(account, position) for position in positions]
        body: Json = {"m": reason, "B": wallets, "P": shown}
        if symbol:
            body["S"] = symbol
        self.send(account, {"e": "ACCOUNT_UPDATE", "E": now_ms, "T": now_ms, "a": body})

    def margin_call(self, account: Account, positions: list[Position], now_ms: int) -> None:
        """MARGIN_CALL; the cross wallet is told when a cross position is among them."""
        assert self.marks is not None, "the exchange sets it"
        rows = []
        for position in positions:
            mark = self.marks.mark(position.symbol)
            rows.append({
                "s": position.symbol, "ps": position.side, "pa": plain(position.amount),
                "mt": "ISOLATED" if account.is_isolated(position) else "CROSSED", "iw": plain(position.isolated),
                "mp": plain(mark), "up": plain(position.profit(mark)), "mm": plain(self.marks.maintenance(position)),
            })  # fmt: skip
        event: Json = {"e": "MARGIN_CALL", "E": now_ms}
        if not all(account.is_isolated(position) for position in positions):
            event["cw"] = plain(self.marks.cross_wallet_of(account))
        self.send(account, event | {"p": rows})

    def leverage(self, account: Account, symbol: str, leverage: int, now_ms: int) -> None:
        """ACCOUNT_CONFIG_UPDATE for one symbol."""
        event: Json = {"e": "ACCOUNT_CONFIG_UPDATE", "E": now_ms, "T": now_ms, "ac": {"s": symbol, "l": leverage}}
        self.send(account, event)

    def multi_asset(self, account: Account, now_ms: int) -> None:
        """ACCOUNT_CONFIG_UPDATE for the account."""
        self.send(
            account, {"e": "ACCOUNT_CONFIG_UPDATE", "E": now_ms, "T": now_ms, "ai": {"j": account.is_multi_asset}}
        )

    def send(self, account: Account, event: Json) -> None:
        listeners = self.listeners.get(account)
        if not listeners:
            return
        text = encode(event)
        for listener in listeners:
            if listener.kinds is not None and event["e"] not in listener.kinds:
                continue
            if self._is_combined[listener.link]:
                self._outbox.account.append((listener.link, f'{{"stream":"{listener.listen_key}","data":{text}}}'))
            else:
                self._outbox.account.append((listener.link, text))

    def _position(self, account: Account, position: Position) -> Json:
        assert self.marks is not None, "the exchange sets it"
        return {
            "s": position.symbol,
            "pa": plain(position.amount),
            "ep": plain(position.entry),
            "bep": plain(position.break_even),
            "cr": plain(position.realised),
            "up": amount(position.profit(self.marks.mark(position.symbol))),
            "mt": "isolated" if account.is_isolated(position) else "cross",
            "iw": plain(position.isolated),
            "ps": position.side,
        }

    def _order(self, order: Order, kind: OrderEvent, now_ms: int, fill: Fill | None) -> Json:
        ticket = order.ticket
        assert self.marks is not None, "the exchange sets it"
        bid, ask = self.marks.bid_ask_notional(order.account, ticket.symbol, ticket.position_side)
        is_liquidation = order.purse is not None
        event: Json = {
            "s": ticket.symbol,
            "c": order.client_id,
            "S": ticket.side,
            "o": "LIQUIDATION" if is_liquidation else ticket.type,
            "f": ticket.time_in_force,
            "q": plain(order.quantity),
            "p": plain(ticket.price),
            "ap": plain(order.average),
            "sp": plain(ticket.stop_price),
            "x": kind,
            "X": order.status,
            "i": order.order_id,
            "l": "0" if fill is None else plain(fill.quantity),
            "z": plain(order.executed),
            "L": "0" if fill is None else plain(fill.price),
            "T": now_ms,
            "t": 0 if fill is None else fill.trade_id,
            "b": plain(bid),
            "a": plain(ask),
            "m": fill is not None and fill.is_maker,
            "R": ticket.reduce_only,
            "wt": ticket.working_type,
            "ot": "LIQUIDATION" if is_liquidation else ticket.orig_type,
            "ps": ticket.position_side,
            "cp": ticket.close_position,
            "rp": "0" if fill is None else plain(fill.realised),
            "pP": ticket.price_protect,
            "si": 0,
            "ss": 0,
            "V": ticket.prevention,
            "pm": ticket.price_match,
            "gtd": ticket.good_till_ms,
            "er": order.expiry_reason,
        }
        if fill is not None:
            event |= {"n": amount(fill.fee), "N": fill.fee_asset}
        if ticket.orig_type == "TRAILING_STOP_MARKET":
            event |= {"AP": plain(ticket.activate_price), "cr": plain(ticket.callback_rate)}
        if kind == "AMENDMENT" and order.amendments[-1].modify_id is not None:
            event["M"] = order.amendments[-1].modify_id
        return event


def plain(value: Decimal) -> str:
    """Without an exponent and without zeros at the end, at most eight decimals."""
    text = f"{value:.8f}".rstrip("0").rstrip(".")
    return "0" if text in ("", "-0") else text


def _trade_lite(order: Order, fill: Fill, now_ms: int) -> Json:
    return {
        "e": "TRADE_LITE",
        "E": now_ms,
        "T": now_ms,
        "s": order.ticket.symbol,
        "q": plain(order.quantity),
        "p": plain(order.ticket.price),
        "m": fill.is_maker,
        "c": order.client_id,
        "S": order.ticket.side,
        "L": plain(fill.price),
        "l": plain(fill.quantity),
        "t": fill.trade_id,
        "i": order.order_id,
    }


def _algo(algo: Algo) -> Json:
    ticket, order = algo.ticket, algo.order
    return {
        "caid": algo.client_id,
        "aid": algo.algo_id,
        "at": "CONDITIONAL",
        "o": ticket.orig_type,
        "s": ticket.symbol,
        "S": ticket.side,
        "ps": ticket.position_side,
        "f": ticket.time_in_force,
        "q": plain(ticket.quantity),
        "X": algo.status,
        "ai": "" if order is None else str(order.order_id),
        "ap": f"{ZERO if order is None else order.average:.5f}",
        "aq": f"{ZERO if order is None else order.executed:.5f}",
        "act": "0" if order is None else order.ticket.type,
        "tp": plain(ticket.stop_price),
        "p": plain(ticket.price),
        "V": ticket.prevention,
        "wt": ticket.working_type,
        "pm": ticket.price_match,
        "cp": ticket.close_position,
        "pP": ticket.price_protect,
        "R": ticket.reduce_only,
        "tt": algo.triggered_ms,
        "gtd": ticket.good_till_ms,
        "rm": algo.reason,
        "ia": algo.is_active,
    }
