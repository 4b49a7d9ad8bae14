"""What the session has to be told of a market: its paths, its words and its habits. There is one dialect for each.

A dialect turns commands into asks and answers into events. It sends nothing, and it decides nothing about when: the
session does, in the same way for every market.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from surefoot.binance.budget import Lane
from surefoot.binance.codec import MarkPriceFrame, Outcome, RateLimit, VenueError, WsReply
from surefoot.binance.dialogue import Keys
from surefoot.binance.signing import Params
from surefoot.core.messages import (
    CancelOrder,
    Event,
    QueryOrder,
    ReadAccount,
    ReadFills,
    ReplaceOrder,
    SubmitList,
    SubmitOrder,
)
from surefoot.core.model import FeeRates, Instrument

COMMON_FATAL = {
    -1002: "this key may not do that: check the key's permissions at the venue",
    -1022: "the signature was refused: check that the API secret belongs to the API key",
    -2014: "the API key has a wrong format: check SUREFOOT_API_KEY",
    -2015: "the venue does not know this API key, its permissions or this IP address: check the key at the venue",
    -1121: "the venue does not know one of the symbols: check market.symbols",
}

# A filter, too many digits, and a symbol that does not take orders.
COMMON_RULE_CODES = frozenset({-1013, -1111, -1122})

Write = SubmitOrder | SubmitList | CancelOrder | ReplaceOrder
Question = QueryOrder | ReadFills


@dataclass(frozen=True, slots=True)
class Ask:
    """A request before it is sent. One that is `keyed` bears the key but no signature; `orders` is how many it adds to
    the venue's count of orders; `socket` is its method by the WebSocket API, where orders may go by it."""

    method: str
    path: str
    params: Params
    weight: int = 1
    lane: Lane = Lane.DATA
    signed: bool = True
    keyed: bool = False
    orders: int = 0
    socket: str = ""


@dataclass(frozen=True, slots=True)
class Rules:
    """What is known of the market before the first entry."""

    instruments: tuple[Instrument, ...]
    fees: Mapping[str, FeeRates]
    limits: tuple[RateLimit, ...]


@dataclass(frozen=True, slots=True)
class Heard:
    """What a frame of the account said: `moved` when orders or balances may have changed by it, `income` when only the
    list of income tells all of it, `uncounted` when it takes an order off the venue's count, `rearranged` when
    positions are held otherwise, so that the account is to be read."""

    events: tuple[Event, ...] = ()
    venue_ms: int | None = None
    moved: bool = True
    income: bool = False
    uncounted: bool = False
    rearranged: bool = False


@dataclass(frozen=True, slots=True)
class Ending:
    """The venue will end this connection soon."""


@dataclass(frozen=True, slots=True)
class Ended:
    """Nothing more will come on this connection."""

    text: str


class Preparation(Protocol):
    """What is asked, and set, before anything else. Raises SessionFailed where a person has to act."""

    def begin(self) -> Sequence[Ask]: ...

    def take(self, ask: Ask, body: bytes) -> Sequence[Ask]:
        """What an answer leads to."""
        ...

    def is_fine(self, ask: Ask, error: VenueError) -> bool:
        """Whether a refusal only says that things are already as they should be."""
        ...

    def rules(self) -> Rules | None:
        """All there is to know, once it is known and set."""
        ...


class Reading(Protocol):
    """The whole account, read in steps. An answer may lead to further ones."""

    @property
    def asks(self) -> Sequence[Ask]: ...

    def take(self, ask: Ask, body: bytes, now_ms: int) -> None: ...

    def events(self, now_ms: int) -> list[Event]: ...


class Dialect(Protocol):
    """One market's. Everything but `read_account_frame` and `understand` is without memory."""

    @property
    def market_links(self) -> Mapping[str, str]:
        """The connections for market data: name and target."""
        ...

    @property
    def book_link(self) -> str:
        """The connection that best prices come on."""
        ...

    @property
    def mark_link(self) -> str | None:
        """The connection that mark prices come on; None where there are none."""
        ...

    @property
    def order_target(self) -> str | None:
        """The connection that takes orders; None where the account's own does."""
        ...

    @property
    def rules_every_ms(self) -> int:
        """How often the rules of what is held are read again."""
        ...

    @property
    def rule_codes(self) -> frozenset[int]:
        """Refusals after which a symbol may not be what it was."""
        ...

    @property
    def fatal(self) -> Mapping[int, str]:
        """Refusals that only a person can do something about, and what."""
        ...

    def time(self) -> Ask: ...

    def candles(self, symbol: str, interval: str, from_ms: int | None) -> Ask: ...

    def best_prices(self, symbol: str) -> Ask:
        """Best bid and ask by a read: the second source."""
        ...

    def mark_price(self, symbol: str) -> Ask:
        """The mark price by a read: the second source, where there is such a price."""
        ...

    def read_mark_price(self, body: bytes) -> MarkPriceFrame: ...

    def preparation(self, symbols: Sequence[str], held: Sequence[str], *, holds: bool = False) -> Preparation:
        """`held` are symbols that are not traded any more; with `holds`, what cannot be set is no reason to raise."""
        ...

    def rules(self, symbols: Sequence[str]) -> Sequence[Ask]:
        """How to read the rules of symbols again."""
        ...

    def read_rules(self, ask: Ask, body: bytes, known: Sequence[Instrument]) -> tuple[Instrument, ...]:
        """What those of the known symbols are now of which the answer tells."""
        ...

    def reading(self, command: ReadAccount, income_since_ms: int | None, venue_ms: int) -> Reading: ...

    def income(self, since_ms: int | None, venue_ms: int) -> Ask | None: ...

    def read_income(self, body: bytes, now_ms: int) -> Sequence[Event]: ...

    def write(self, command: Write) -> Ask: ...

    def question(self, command: Question) -> Ask: ...

    def understand(
        self, ask: Ask, command: Write | Question, body: bytes, now_ms: int
    ) -> tuple[list[Event], Ask | None]:
        """The answer to a command's request, and what has to be asked besides."""
        ...

    def half_done(self, command: Write, error: VenueError, body: bytes, now_ms: int) -> list[Event] | None:
        """What became of each half, where a request that is two was refused in part; None for any other refusal."""
        ...

    def outcome(self, status: int, error: VenueError) -> Outcome: ...

    def account_key(self) -> Ask | None:
        """Where the account's stream needs a key: how to get it."""
        ...

    def keep_key(self) -> Ask | None:
        """How to keep that key alive."""
        ...

    def account_target(self, key_answer: bytes) -> str:
        """Where the account's stream is, after its key was told."""
        ...

    def account_hello(self, request_id: int, keys: Keys, recv_window_ms: int, at_ms: int) -> str | None:
        """What to say on the account's connection; None when it speaks by itself. `at_ms` is the venue's time."""
        ...

    def read_account_frame(self, frame: bytes | str, now_ms: int) -> Heard | WsReply | Ending | Ended:
        """Raises BadFrame for what cannot be read."""
        ...
