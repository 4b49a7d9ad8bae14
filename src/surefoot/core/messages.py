"""Everything that can reach the engine and everything it can answer: two closed unions.

Events are in the past tense: they happened, and the engine cannot refuse them. Commands are imperative. A command is
either a request to the venue, or a record that the journal keeps so that a restart knows what the engine knew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from surefoot.core.model import (
    ZERO,
    Adoption,
    Balance,
    Candle,
    FeeRates,
    Fill,
    Income,
    Instrument,
    ListType,
    MarginTerms,
    OrderLimit,
    OrderRequest,
    Signal,
    Tier,
    VenueOrder,
    VenuePosition,
)

# ---------------------------------------------------------------------------------------------------------------
# Events


@dataclass(frozen=True, slots=True)
class RunStarted:
    """A process life began. Whatever the journal left unanswered is now in doubt."""

    at_ms: int
    run: str
    mode: str
    symbols: tuple[str, ...]
    settings_digest: str
    version: str


@dataclass(frozen=True, slots=True)
class InstrumentsLoaded:
    at_ms: int
    instruments: tuple[Instrument, ...]
    fee_rates: tuple[tuple[str, FeeRates], ...]
    order_limits: tuple[OrderLimit, ...] = ()


@dataclass(frozen=True, slots=True)
class HistoryLoaded:
    """Closed candles of one symbol from before now, oldest first: they warm signals up and are not traded on."""

    at_ms: int
    candles: tuple[Candle, ...]


@dataclass(frozen=True, slots=True)
class CandleClosed:
    at_ms: int
    candle: Candle


@dataclass(frozen=True, slots=True)
class PriceMarked:
    """Best bid and ask of a symbol; `source_ms` is when the venue said so, by our clock. Where it tells no time with a
    price, that is when it came or, of an answer, when it was asked."""

    at_ms: int
    symbol: str
    bid: Decimal
    ask: Decimal
    source_ms: int


@dataclass(frozen=True, slots=True)
class MarkPriceTold:
    """The mark price of a contract, by which the venue liquidates; `source_ms` as of `PriceMarked`."""

    at_ms: int
    symbol: str
    price: Decimal
    source_ms: int


@dataclass(frozen=True, slots=True)
class PriceDropped:
    """A price that cannot be: malformed, not finite, not above zero, off its symbol's tick. It was not used."""

    at_ms: int
    text: str


@dataclass(frozen=True, slots=True)
class StreamSilent:
    """A stream said nothing for so long, while others did: it is subscribed anew, and what it missed is read."""

    at_ms: int
    stream: str
    silent_ms: int


@dataclass(frozen=True, slots=True)
class VenueLimited:
    """The venue wants less of us until then (429), or bans us until then (418). Nothing was done of what was asked."""

    at_ms: int
    until_ms: int
    banned: bool
    text: str


@dataclass(frozen=True, slots=True)
class OrderAccepted:
    """The venue knows the order. `resting` is False for a leg that waits for its entry. `executed` is what it says has
    filled, which may be more than we have heard; None when it did not say."""

    at_ms: int
    client_order_id: str
    order_id: int
    resting: bool
    quantity: Decimal | None
    executed: Decimal | None


@dataclass(frozen=True, slots=True)
class OrderFilled:
    """An execution. `order_quantity` is the whole order's quantity, where the report carries it."""

    at_ms: int
    fill: Fill
    order_id: int
    order_quantity: Decimal | None


@dataclass(frozen=True, slots=True)
class OrderRejected:
    """It does not live. `again_ms` says that the venue has not judged it (it never left, or was one too many just
    then), and from when on its like may go; None where it was refused."""

    at_ms: int
    client_order_id: str
    code: int | None
    text: str
    again_ms: int | None = None


@dataclass(frozen=True, slots=True)
class OrderCanceled:
    at_ms: int
    client_order_id: str
    executed: Decimal | None


@dataclass(frozen=True, slots=True)
class OrderExpired:
    at_ms: int
    client_order_id: str
    executed: Decimal | None
    reason: str


@dataclass(frozen=True, slots=True)
class CancelRefused:
    """The order is not cancelled by this; `again_ms` as for OrderRejected."""

    at_ms: int
    client_order_id: str
    code: int | None
    text: str
    again_ms: int | None = None


@dataclass(frozen=True, slots=True)
class OutcomeUnknown:
    """The answer to a placement or a cancel is lost: the venue may or may not have acted. `sent_ms` is when a write
    left; None when the answer to a question was lost."""

    at_ms: int
    client_order_id: str
    text: str
    sent_ms: int | None = None


@dataclass(frozen=True, slots=True)
class OrderNotFound:
    """The venue answered a query: it knows no such order."""

    at_ms: int
    client_order_id: str


@dataclass(frozen=True, slots=True)
class OrderAmended:
    """Somebody else made the order smaller, which keeps its number and may get another name (spot): `name` is how the
    venue calls it now, `quantity` what it is for in all."""

    at_ms: int
    client_order_id: str
    name: str
    quantity: Decimal


@dataclass(frozen=True, slots=True)
class AccountSnapshot:
    """The whole account as read at one quiet moment: no account event arrived while it was read.

    `unlike` are the symbols of ours whose positions the venue holds otherwise than it was told to.
    """

    at_ms: int
    balances: tuple[Balance, ...]
    open_orders: tuple[VenueOrder, ...]
    positions: tuple[VenuePosition, ...] = ()
    unlike: tuple[MarginTerms, ...] = ()


@dataclass(frozen=True, slots=True)
class BalanceMoved:
    """A deposit, withdrawal or transfer: not a trade."""

    at_ms: int
    asset: str
    delta: Decimal


@dataclass(frozen=True, slots=True)
class IncomePaid:
    """What moved a futures wallet without a trade of ours: funding, a fee for a liquidation, a transfer.

    `income_id` is the venue's and unique within the kind; `paid_ms` is when it was booked there.
    """

    at_ms: int
    income_id: int
    kind: Income
    symbol: str
    asset: str
    amount: Decimal
    paid_ms: int


@dataclass(frozen=True, slots=True)
class VenueTraded:
    """The venue itself closed some of a position of ours: liquidation, auto-deleveraging, settlement.

    `executed` is how much of its order was done when this trade was: so a trade is known that is told without its id.
    """

    at_ms: int
    fill: Fill
    why: str
    order_id: int = 0
    executed: Decimal = ZERO


@dataclass(frozen=True, slots=True)
class MarginCalled:
    """The venue says that these positions come near their liquidation."""

    at_ms: int
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class LinkLost:
    at_ms: int
    link: str
    text: str


@dataclass(frozen=True, slots=True)
class LinkRestored:
    at_ms: int
    link: str


@dataclass(frozen=True, slots=True)
class ClockRead:
    """The venue told its time: how far its clock is ahead of ours, and how wrong that may be for a slow answer."""

    at_ms: int
    offset_ms: int
    error_ms: int


@dataclass(frozen=True, slots=True)
class PauseRequested:
    """The operator wants no entries until `ResumeRequested`. `who` is the user that asked, `reason` in their words."""

    at_ms: int
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class ResumeRequested:
    at_ms: int
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class LiveSwitched:
    """The operator turns entries with real money on or off. A run with real money begins with them off; what was
    switched stays over a restart."""

    at_ms: int
    who: str
    reason: str
    on: bool


@dataclass(frozen=True, slots=True)
class FlattenRequested:
    """The operator wants everything sold that the bot holds. Entries go on afterwards unless paused."""

    at_ms: int
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class CloseRequested:
    """The operator wants one symbol left: what is held of it is sold, an entry on its way is cancelled."""

    at_ms: int
    who: str
    reason: str
    symbol: str


@dataclass(frozen=True, slots=True)
class CancelAllRequested:
    """The operator wants all entries cancelled that are on their way. What protects a position stays."""

    at_ms: int
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class KillRequested:
    """The kill switch: a pause and a flatten in one. Entries stay off until `ResumeRequested`."""

    at_ms: int
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class BreakerResetRequested:
    """The operator lets go of all trips and of a cool-down."""

    at_ms: int
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class AdoptRequested:
    """The operator says what a difference between ledger and account is, or makes something of the account the bot's.

    `subject` is an asset of a transfer, else a symbol. `amount` of a transfer is what came, negative what went; of what
    is gone a quantity; of a position what it is, negative when short. `price` is what it was closed or entered at.
    """

    at_ms: int
    who: str
    reason: str
    what: Adoption
    subject: str
    amount: Decimal
    price: Decimal | None = None


@dataclass(frozen=True, slots=True)
class SettingsChanged:
    """The operator changed settings, by dotted key and as text; None takes back what was changed of a key before.

    They have been validated. From the next decision on they count.
    """

    at_ms: int
    who: str
    reason: str
    changes: Mapping[str, str | None]


@dataclass(frozen=True, slots=True)
class Woke:
    """A deadline of the engine's own has come."""

    at_ms: int


Event = (
    RunStarted
    | InstrumentsLoaded
    | HistoryLoaded
    | CandleClosed
    | PriceMarked
    | MarkPriceTold
    | PriceDropped
    | StreamSilent
    | VenueLimited
    | OrderAccepted
    | OrderFilled
    | OrderRejected
    | OrderCanceled
    | OrderExpired
    | CancelRefused
    | OutcomeUnknown
    | OrderNotFound
    | OrderAmended
    | AccountSnapshot
    | BalanceMoved
    | IncomePaid
    | VenueTraded
    | MarginCalled
    | LinkLost
    | LinkRestored
    | ClockRead
    | PauseRequested
    | ResumeRequested
    | LiveSwitched
    | FlattenRequested
    | CloseRequested
    | CancelAllRequested
    | KillRequested
    | BreakerResetRequested
    | AdoptRequested
    | SettingsChanged
    | Woke
)

OperatorEvent = (
    PauseRequested
    | ResumeRequested
    | LiveSwitched
    | FlattenRequested
    | CloseRequested
    | CancelAllRequested
    | KillRequested
    | BreakerResetRequested
    | AdoptRequested
    | SettingsChanged
)

OrderEvent = (
    OrderAccepted
    | OrderFilled
    | OrderRejected
    | OrderCanceled
    | OrderExpired
    | CancelRefused
    | OutcomeUnknown
    | OrderNotFound
    | OrderAmended
)

# ---------------------------------------------------------------------------------------------------------------
# Commands: requests to the venue


@dataclass(frozen=True, slots=True)
class SubmitOrder:
    """`taken` is how many stages of the partial take profit are behind the position once this part is closed."""

    at_ms: int
    order: OrderRequest
    taken: int = 0


@dataclass(frozen=True, slots=True)
class SubmitList:
    """Orders that stand or fall together. OCO: target, stop. OTOCO and OPOCO: entry, target, stop."""

    at_ms: int
    type: ListType
    list_id: str
    orders: tuple[OrderRequest, ...]


@dataclass(frozen=True, slots=True)
class CancelOrder:
    """Cancel an order; a list member takes its list with it. `conditional` as in `QueryOrder`."""

    at_ms: int
    symbol: str
    client_order_id: str
    conditional: bool = False


@dataclass(frozen=True, slots=True)
class ReplaceOrder:
    """Cancel an order, its list with it, and place another in the same request; only when the cancel succeeds.

    `part` says why what the new stop leaves uncovered is to be sold at once (`part`, `shrink`), `stage` how many stages
    of the partial take profit are behind the position then.
    """

    at_ms: int
    cancel_id: str
    order: OrderRequest
    part: str = ""
    stage: int = 0


@dataclass(frozen=True, slots=True)
class QueryOrder:
    """`conditional`: the venue keeps it apart from plain orders, until it is triggered."""

    at_ms: int
    symbol: str
    client_order_id: str
    conditional: bool = False


@dataclass(frozen=True, slots=True)
class ReadFills:
    """The venue says more has filled than we heard of: read that order's trades.

    Those of a conditional order are told under the id of the order that it became, which the venue has to be asked for.
    """

    at_ms: int
    symbol: str
    client_order_id: str
    order_id: int
    conditional: bool = False


@dataclass(frozen=True, slots=True)
class ReadAccount:
    """Of futures, with the income since `income_since_ms`; None asks for that of the last minutes.

    `in_question` are symbols whose positions differ, and since when each is held: what the venue itself traded of them
    is read along.
    """

    at_ms: int
    income_since_ms: int | None = None
    in_question: tuple[tuple[str, int], ...] = ()


@dataclass(frozen=True, slots=True)
class WatchPrice:
    """Price marks of a symbol are wanted (a position is open) or no longer needed."""

    at_ms: int
    symbol: str
    wanted: bool


# ---------------------------------------------------------------------------------------------------------------
# Commands: records for the journal


@dataclass(frozen=True, slots=True)
class RecordDecision:
    """Why, or why not: the signal, what became of it, and the numbers behind.

    `outcome` is `approved`, `none` (no opinion) or the name of the rule that refused.
    """

    at_ms: int
    signal: Signal
    outcome: str
    detail: str


@dataclass(frozen=True, slots=True)
class RecordAlarm:
    at_ms: int
    code: str
    text: str


@dataclass(frozen=True, slots=True)
class RecordPlan:
    """The protection plan of an entry that is about to be sent, whatever form its protection takes at the venue."""

    at_ms: int
    symbol: str
    stop_price: Decimal
    target_price: Decimal


@dataclass(frozen=True, slots=True)
class RecordEquity:
    """Equity at the first mark of a UTC hour, counted from 1970, or a new peak: losses are measured from both."""

    at_ms: int
    hour: int
    equity: Decimal
    peak: Decimal


@dataclass(frozen=True, slots=True)
class RecordTrip:
    """A limit of the breaker was reached. `value` and `limit` are in the rule's own unit, see `core.breaker.RULES`.

    `curve` is the equity of the last hour before it, one point a minute.
    """

    at_ms: int
    rule: str
    tier: Tier
    value: Decimal
    limit: Decimal
    equity: Decimal | None
    text: str
    curve: tuple[tuple[int, Decimal], ...] = ()


@dataclass(frozen=True, slots=True)
class RecordTransfer:
    """What came or went without a trade was worth this much in quote: it is neither profit nor loss.

    `equity` is what everything is worth after it; None when a price was missing.
    """

    at_ms: int
    value: Decimal
    equity: Decimal | None = None


@dataclass(frozen=True, slots=True)
class RecordStopPassed:
    """The price went through a stop that sells no lower (`passed`), or came back: meanwhile it protects nothing."""

    at_ms: int
    symbol: str
    passed: bool


@dataclass(frozen=True, slots=True)
class RecordReset:
    """The operator let go: trips are over, and losses are measured from `equity` on (None: no price was known)."""

    at_ms: int
    who: str
    reason: str
    equity: Decimal | None


@dataclass(frozen=True, slots=True)
class RecordBooks:
    """Ledger and venue were compared; `differences` is empty when they agree.

    `off` is by how much what the venue says exceeds the ledger, by asset or symbol of a contract.
    """

    at_ms: int
    differences: tuple[str, ...]
    off: tuple[tuple[str, Decimal], ...] = ()


Request = SubmitOrder | SubmitList | CancelOrder | ReplaceOrder | QueryOrder | ReadFills | ReadAccount | WatchPrice
Record = (
    RecordDecision
    | RecordAlarm
    | RecordPlan
    | RecordEquity
    | RecordTrip
    | RecordTransfer
    | RecordStopPassed
    | RecordReset
    | RecordBooks
)
Command = Request | Record
