"""Tax lots: what each purchase cost, which purchases a sale used up, and what was gained by it.

Rules. A purchase by a fill opens a lot: what arrived, and everything that was paid for it, fees included. A sale uses
up lots in the order of the method and brings its notional less the fee. A fee in a third asset (BNB) belongs to the
cost of a purchase or lowers what a sale brought, at its value in the quote; where no price of it was known, it is left
out and the row says so. Such a fee also disposes of that asset: first of what the account held before or got by
transfer, whose cost nobody told us, then of lots. What is sold beyond all lots has no known cost, and so no gain: None,
never 0.

All is exact: where a lot or a sale is divided, a part is rounded to the eighth decimal and the rest keeps what remains,
so sums are those of the ledger. This is an account of what happened; which method a tax office takes is not our say.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal, localcontext
from enum import StrEnum

from surefoot.core.model import ZERO, Fill, Instrument, Side

PART_STEP = Decimal("0.00000001")
DIGITS = 60  # for sums: the longest amounts of a journal have some thirty


class Method(StrEnum):
    """Which lots go first: the oldest, the newest, or those that cost most for one of the base."""

    FIFO = "fifo"
    LIFO = "lifo"
    HIFO = "hifo"


@dataclass(frozen=True, slots=True)
class Traded:
    """A booked fill; `fee_in_quote` is what its fee was worth, None where no price of the fee's asset was known."""

    fill: Fill
    instrument: Instrument
    fee_in_quote: Decimal | None


@dataclass(frozen=True, slots=True)
class Moved:
    """What the account held when the books opened, or what came or went without a trade."""

    at_ms: int
    asset: str
    amount: Decimal


@dataclass(slots=True)
class Lot:
    """What is left of a purchase, and what that cost in the quote."""

    asset: str
    bought_ms: int
    symbol: str
    trade_id: int | None
    quantity: Decimal
    quote: str
    cost: Decimal
    fee_left_out: bool


@dataclass(frozen=True, slots=True)
class Disposal:
    """A part of a sale or of a fee, and the purchase that it used up; None where that, or a value, is not known."""

    asset: str
    sold_ms: int
    kind: str  # sale, fee
    symbol: str
    trade_id: int | None  # None where the venue told none
    quantity: Decimal
    quote: str
    proceeds: Decimal | None
    bought_ms: int | None
    bought_trade_id: int | None
    cost: Decimal | None
    gain: Decimal | None
    fee_left_out: bool


@dataclass(frozen=True, slots=True)
class TaxLots:
    """The report: disposals in the order of time, lots that remain, and fees that could not be valued, by asset."""

    method: Method
    disposals: tuple[Disposal, ...]
    lots: tuple[Lot, ...]
    fees_left_out: dict[str, Decimal]

    def as_dict(self) -> dict[str, object]:
        """Sums in the quote; money is text. `cost_unknown` counts the disposals without a gain."""
        known = [disposal for disposal in self.disposals if disposal.gain is not None]
        return {
            "method": str(self.method),
            "realised_gain": plain_text(total(disposal.gain for disposal in known)),
            "disposals": len(self.disposals),
            "cost_unknown": len(self.disposals) - len(known),
            "lots": len(self.lots),
            "remaining_cost": plain_text(total(lot.cost for lot in self.lots)),
            "fees_left_out": {asset: plain_text(fee) for asset, fee in sorted(self.fees_left_out.items())},
        }


def total(amounts: Iterable[Decimal | None]) -> Decimal:
    """The exact sum of what is known."""
    with localcontext(prec=DIGITS):
        return sum((amount for amount in amounts if amount is not None), ZERO)


def plain_text(amount: Decimal) -> str:
    """All digits, without an exponent and without zeros at the end; `normalize` would round what is very long."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def tax_lots(trades: Iterable[Traded], moves: Iterable[Moved], method: Method) -> TaxLots:
    """Match disposals with purchases, in the order of the venue's times."""
    events: list[tuple[tuple[int, int, str, int], Traded | Moved]] = [((m.at_ms, 0, m.asset, 0), m) for m in moves]
    events += [((t.fill.at_ms, 1, t.fill.symbol, t.fill.trade_id), t) for t in trades]
    desk = _Desk(method)
    with localcontext(prec=DIGITS):
        for _, event in sorted(events, key=lambda entry: entry[0]):
            desk.take(event)
    lots = sorted((lot for waiting in desk.lots.values() for *_, lot in waiting), key=lambda lot: lot.bought_ms)
    return TaxLots(method, tuple(desk.disposals), tuple(lots), desk.fees_left_out)


_KEYS: dict[Method, Callable[[Lot, int], Decimal | int]] = {
    Method.FIFO: lambda lot, number: number,
    Method.LIFO: lambda lot, number: -number,
    Method.HIFO: lambda lot, number: -lot.cost / lot.quantity,
}


@dataclass(slots=True)
class _Desk:
    """Lots by asset as heaps, the one to go next on top: a lot that is used in part keeps its place."""

    method: Method
    lots: dict[str, list[tuple[Decimal | int, int, Lot]]] = field(default_factory=dict)
    disposals: list[Disposal] = field(default_factory=list)
    fees_left_out: dict[str, Decimal] = field(default_factory=dict)
    _held_before: dict[str, Decimal] = field(default_factory=dict)
    _bought: int = 0

    def take(self, event: Traded | Moved) -> None:
        if isinstance(event, Moved):
            self._held_before[event.asset] = self._held_before.get(event.asset, ZERO) + event.amount
            return
        fill, instrument = event.fill, event.instrument
        in_base = fill.side is Side.BUY and fill.fee_asset == instrument.base
        if fill.fee and event.fee_in_quote is None:
            self.fees_left_out[fill.fee_asset] = self.fees_left_out.get(fill.fee_asset, ZERO) + fill.fee
        # What the fee takes of the base that arrives is paid for by the notional: it is not a cost a second time.
        fee = ZERO if in_base else event.fee_in_quote or ZERO
        notional = fill.price * fill.quantity
        if fill.side is Side.BUY:
            self._buy(event, fill.quantity - (fill.fee if in_base else ZERO), notional + fee)
        else:
            self._dispose(event, "sale", instrument.base, fill.quantity, notional - fee)
        if fill.fee and not in_base and fill.fee_asset != instrument.quote:
            self._pay_fee(event)

    def _buy(self, trade: Traded, quantity: Decimal, cost: Decimal) -> None:
        if quantity <= 0:
            return
        fill, instrument = trade.fill, trade.instrument
        left_out = bool(fill.fee) and trade.fee_in_quote is None
        lot = Lot(instrument.base, fill.at_ms, fill.symbol, fill.told_id, quantity, instrument.quote, cost, left_out)
        self._bought += 1
        key = _KEYS[self.method](lot, self._bought)
        heapq.heappush(self.lots.setdefault(instrument.base, []), (key, self._bought, lot))

    def _pay_fee(self, trade: Traded) -> None:
        fill, value = trade.fill, trade.fee_in_quote
        before = min(fill.fee, max(self._held_before.get(fill.fee_asset, ZERO), ZERO))
        value_of_before = None if value is None else _part(value, before, fill.fee)
        if before:
            self._held_before[fill.fee_asset] -= before
            self._write(trade, "fee", fill.fee_asset, before, value_of_before, None, None)
        if before < fill.fee:
            rest = None if value is None or value_of_before is None else value - value_of_before
            self._dispose(trade, "fee", fill.fee_asset, fill.fee - before, rest)

    def _dispose(self, trade: Traded, kind: str, asset: str, quantity: Decimal, proceeds: Decimal | None) -> None:
        """Use up lots for a quantity; what goes beyond them has no cost that we know."""
        waiting = self.lots.get(asset, [])
        while quantity and waiting:
            lot = waiting[0][2]
            used = min(quantity, lot.quantity)
            cost = _part(lot.cost, used, lot.quantity)
            brought = None if proceeds is None else _part(proceeds, used, quantity)
            self._write(trade, kind, asset, used, brought, lot, cost)
            lot.quantity -= used
            lot.cost -= cost
            if not lot.quantity:
                heapq.heappop(waiting)
            quantity -= used
            proceeds = None if proceeds is None or brought is None else proceeds - brought
        if quantity:
            self._write(trade, kind, asset, quantity, proceeds, None, None)

    def _write(
        self,
        trade: Traded,
        kind: str,
        asset: str,
        quantity: Decimal,
        proceeds: Decimal | None,
        lot: Lot | None,
        cost: Decimal | None,
    ) -> None:
        fill = trade.fill
        self.disposals.append(
            Disposal(
                asset=asset,
                sold_ms=fill.at_ms,
                kind=kind,
                symbol=fill.symbol,
                trade_id=fill.told_id,
                quantity=quantity,
                quote=trade.instrument.quote,
                proceeds=proceeds,
                bought_ms=lot.bought_ms if lot else None,
                bought_trade_id=lot.trade_id if lot else None,
                cost=cost,
                gain=None if proceeds is None or cost is None else proceeds - cost,
                fee_left_out=(bool(fill.fee) and trade.fee_in_quote is None) or (lot is not None and lot.fee_left_out),
            )
        )


def _part(amount: Decimal, share: Decimal, whole: Decimal) -> Decimal:
    """What of an amount belongs to a share of the whole; the last share takes what is left."""
    return amount if share == whole else (amount * share / whole).quantize(PART_STEP, ROUND_FLOOR)
