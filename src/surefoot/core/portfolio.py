"""The ledger: every fill, fee and transfer as postings that sum to zero, and what follows from them.

Accounts: `wallet` is what we own at the venue; `market` is everybody we traded with; `fees` took its share;
`opening` and `transfer` are where money came from that we did not trade for. The wallet must equal what the venue says.
A position is what our own fills bought: assets that were there before are owned, but not traded.

Futures are contracts: a fill moves none of the base, only what it realised and its fee, both in the wallet at once.
`contracts` counts what is held of them, `funding` and `insurance` are what was paid for holding, and for being
liquidated.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal

from surefoot.core.model import ZERO, Balance, Fill, Income, Instrument, Market, RoundTrip, Side

ROUND_TRIPS_KEPT = 100_000


@dataclass(frozen=True, slots=True)
class Posting:
    account: str
    asset: str
    amount: Decimal


def fill_postings(fill: Fill, instrument: Instrument) -> tuple[Posting, ...]:
    """The six sides of a fill: base, quote and fee, each with its counter-posting."""
    sign = 1 if fill.side is Side.BUY else -1
    base, quote = sign * fill.quantity, -sign * fill.quantity * fill.price
    return (
        Posting("wallet", instrument.base, base),
        Posting("market", instrument.base, -base),
        Posting("wallet", instrument.quote, quote),
        Posting("market", instrument.quote, -quote),
        Posting("wallet", fill.fee_asset, -fill.fee),
        Posting("fees", fill.fee_asset, fill.fee),
    )


def contract_postings(fill: Fill, instrument: Instrument, realised: Decimal) -> tuple[Posting, ...]:
    """The six sides of a fill of futures: contracts, the profit that it realised, and the fee."""
    contracts = fill.quantity if fill.side is Side.BUY else -fill.quantity
    return (
        Posting("contracts", instrument.symbol, contracts),
        Posting("market", instrument.symbol, -contracts),
        Posting("wallet", instrument.quote, realised),
        Posting("market", instrument.quote, -realised),
        Posting("wallet", fill.fee_asset, -fill.fee),
        Posting("fees", fill.fee_asset, fill.fee),
    )


def is_balanced(postings: Iterable[Posting]) -> bool:
    """Whether the postings sum to zero in every asset."""
    sums: dict[str, Decimal] = {}
    for posting in postings:
        sums[posting.asset] = sums.get(posting.asset, ZERO) + posting.amount
    return not any(sums.values())


@dataclass(slots=True)
class Position:
    """What our fills hold of a symbol: base `quantity` after fees, `cost` in quote of just that quantity.

    `direction` is 1 for long and -1 for short; quantities are never below zero. Of contracts, the cost is without fees,
    which are part of `realised` at once. The rest describes the round trip in progress, without fees: `bought` and
    `paid` is what opened it, `sold` and `received` what closed it, for a short position the other way round.
    """

    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    opened_ms: int = 0
    bought: Decimal = ZERO
    paid: Decimal = ZERO
    sold: Decimal = ZERO
    received: Decimal = ZERO
    realised: Decimal = ZERO
    owed: Decimal = ZERO  # sold before it was bought: after an outage an exit's fills may be heard before its entry's
    last_sale_ms: int = 0
    exit_reason: str = ""
    direction: int = 1
    contract: bool = False
    funding: Decimal = ZERO  # received for holding it; negative when paid

    @property
    def signed_quantity(self) -> Decimal:
        return self.quantity * self.direction

    def profit(self, mark: Decimal) -> Decimal:
        """Open profit in quote at a price."""
        return (self.quantity * mark - self.cost) * self.direction

    @property
    def entry_price(self) -> Decimal | None:
        """Average price of what opened it, before fees; None when nothing did."""
        return self.paid / self.bought if self.bought else None


@dataclass(slots=True)
class Portfolio:
    """Balances, positions and round trips of one account."""

    ledger: dict[tuple[str, str], Decimal] = field(default_factory=dict)
    positions: dict[str, Position] = field(default_factory=dict)
    dust: dict[str, Decimal] = field(default_factory=dict)  # by symbol: bought by us, too little to be sold
    round_trips: deque[RoundTrip] = field(default_factory=lambda: deque(maxlen=ROUND_TRIPS_KEPT))
    fees: dict[str, Decimal] = field(default_factory=dict)
    opened: bool = False
    _wallets: dict[str, Decimal] = field(default_factory=dict)

    def open(self, balances: Iterable[Balance]) -> None:
        """Begin the books with what the account holds."""
        self.opened = True
        for balance in balances:
            self._move("opening", balance.asset, balance.total)

    def transfer(self, asset: str, delta: Decimal) -> None:
        """Money that came or went without a trade."""
        self._move("transfer", asset, delta)

    def book_income(self, kind: Income, symbol: str, asset: str, amount: Decimal) -> None:
        """What the venue paid for a position or took for it, other than by a trade."""
        self._move(kind.value, asset, amount)
        position = self.positions.get(symbol)
        if position is not None:
            position.funding += amount

    def _move(self, source: str, asset: str, amount: Decimal) -> None:
        self._post((Posting("wallet", asset, amount), Posting(source, asset, -amount)))

    def _post(self, postings: Iterable[Posting]) -> None:
        for posting in postings:
            key = posting.account, posting.asset
            self.ledger[key] = self.ledger.get(key, ZERO) + posting.amount
            if posting.account == "wallet":
                self._wallets[posting.asset] = self.ledger[key]

    def apply(self, fill: Fill, instrument: Instrument, reason: str, *, closes: bool = False) -> None:
        """Book a fill that was not booked before. `reason` is what the order was for; of futures, `closes` says whether
        that was to end a position: its side alone does not."""
        if instrument.market is Market.FUTURES:
            realised = self._traded_contracts(fill, instrument, reason, closes)
            postings = contract_postings(fill, instrument, realised)
        else:
            postings = fill_postings(fill, instrument)
        assert is_balanced(postings), f"postings of trade {fill.trade_id} do not sum to zero"
        self._post(postings)
        self.fees[fill.fee_asset] = self.fees.get(fill.fee_asset, ZERO) + fill.fee
        if instrument.market is Market.FUTURES:
            return
        if fill.side is Side.BUY:
            self._bought(fill, instrument)
        else:
            self._sold(fill, instrument, reason)

    def _bought(self, fill: Fill, instrument: Instrument) -> None:
        position = self.positions.setdefault(fill.symbol, Position(opened_ms=fill.at_ms))
        notional = fill.quantity * fill.price
        received = fill.quantity - (fill.fee if fill.fee_asset == instrument.base else ZERO)
        cost = notional + (fill.fee if fill.fee_asset == instrument.quote else ZERO)
        sold_before = min(received, position.owed)
        cost_of_sold = cost * sold_before / received
        position.owed -= sold_before
        position.realised -= cost_of_sold
        position.quantity += received - sold_before
        position.cost += cost - cost_of_sold
        position.bought += fill.quantity
        position.paid += notional

    def _sold(self, fill: Fill, instrument: Instrument, reason: str) -> None:
        position = self.positions.setdefault(fill.symbol, Position(opened_ms=fill.at_ms))
        notional = fill.quantity * fill.price
        proceeds = notional - (fill.fee if fill.fee_asset == instrument.quote else ZERO)
        from_position = min(fill.quantity, position.quantity)
        if from_position < fill.quantity:  # what was dust before has become enough to be sold along
            dust = self.dust.get(fill.symbol, ZERO)
            from_dust = min(fill.quantity - from_position, max(dust, ZERO))
            self.dust[fill.symbol] = dust - from_dust
            position.owed += fill.quantity - from_position - from_dust
        cost = position.cost * from_position / position.quantity if position.quantity else ZERO
        position.quantity -= from_position
        position.cost -= cost
        position.sold += fill.quantity
        position.received += notional
        position.realised += proceeds - cost
        position.last_sale_ms = fill.at_ms
        position.exit_reason = reason

    def _traded_contracts(self, fill: Fill, instrument: Instrument, reason: str, closes: bool) -> Decimal:
        """What the fill realised, before its fee: the venue's own figure where it gives one."""
        side = 1 if fill.side is Side.BUY else -1
        position = self.positions.setdefault(
            fill.symbol, Position(opened_ms=fill.at_ms, direction=-side if closes else side, contract=True)
        )
        fee = fill.fee if fill.fee_asset == instrument.quote else ZERO
        realised = self._closed(position, fill, reason) if side != position.direction else _opened(position, fill)
        position.realised += realised - fee
        return realised

    def _closed(self, position: Position, fill: Fill, reason: str) -> Decimal:
        from_position = min(fill.quantity, position.quantity)
        cost = position.cost * from_position / position.quantity if position.quantity else ZERO
        position.quantity -= from_position
        position.cost -= cost
        position.owed += fill.quantity - from_position
        position.sold += fill.quantity
        position.received += fill.quantity * fill.price
        position.last_sale_ms = fill.at_ms
        position.exit_reason = reason
        return (from_position * fill.price - cost) * position.direction if fill.realised is None else fill.realised

    def close(self, symbol: str, unprotected_ms: int | None = None) -> RoundTrip:
        """End the round trip of a position that can no longer be sold; what is left becomes dust, its cost a loss."""
        position = self.positions.pop(symbol)
        self.dust[symbol] = self.dust.get(symbol, ZERO) + position.quantity - position.owed
        trip = RoundTrip(
            symbol=symbol,
            side="long" if position.direction > 0 else "short",
            entry_ms=position.opened_ms,
            exit_ms=position.last_sale_ms or position.opened_ms,
            entry_price=position.paid / position.bought if position.bought else ZERO,
            exit_price=position.received / position.sold if position.sold else ZERO,
            quantity=position.sold or position.bought,
            reason=position.exit_reason or "dust",
            pnl=position.realised - position.cost + position.funding,
            dust_loss=position.cost,
            funding=position.funding,
            unprotected_ms=unprotected_ms,
        )
        self.round_trips.append(trip)
        return trip

    def sellable(self, symbol: str) -> Decimal:
        """Base quantity that an exit may trade: the position and the dust of earlier ones."""
        position = self.positions.get(symbol)
        held = position.quantity if position else ZERO
        return held + max(self.dust.get(symbol, ZERO), ZERO)  # below zero when more was sold than we had bought

    def wallet(self, asset: str) -> Decimal:
        return self._wallets.get(asset, ZERO)

    def wallets(self) -> dict[str, Decimal]:
        """What we own at the venue, by asset."""
        return dict(self._wallets)

    def equity(
        self, quote: str, marks: Mapping[str, Decimal], contract_marks: Mapping[str, Decimal] | None = None
    ) -> Decimal | None:
        """What the wallet is worth in `quote`, with the open profit of contracts; `marks` is the price of each base
        asset, `contract_marks` that of each symbol of futures.

        Assets without a price are left out when we never traded them; None when a position has none.
        """
        total = self.wallet(quote)
        if contract_marks is not None:
            for symbol, position in self.positions.items():
                mark = contract_marks.get(symbol)
                if mark is None:
                    return None
                total += position.profit(mark)
        for asset, amount in self._wallets.items():
            if asset == quote or not amount:
                continue
            mark = marks.get(asset)
            if mark is not None:
                total += amount * mark
            elif ("market", asset) in self.ledger:
                return None
        return total


def _opened(position: Position, fill: Fill) -> Decimal:
    closed_before = min(fill.quantity, position.owed)
    position.owed -= closed_before
    position.quantity += fill.quantity - closed_before
    position.cost += (fill.quantity - closed_before) * fill.price
    position.bought += fill.quantity
    position.paid += fill.quantity * fill.price
    return ZERO if fill.realised is None else fill.realised
