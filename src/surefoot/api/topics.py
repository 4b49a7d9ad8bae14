"""What the trader knows now, cut into topics: the values that REST and stream hand out, each made once a picture."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from surefoot.core.view import VenueLimitView, View

NOT_RUNNING = "the trader is not running"


@dataclass(frozen=True, slots=True)
class Holding:
    """What the account holds of an asset."""

    asset: str
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Status:
    """The trader in one look. `running` is false when what is told is what its journal left; `at_ms` is when that was.

    Without a trader and a journal that can be read all is null, and `problem` says why: in one line what is odd now.
    `quote` is the asset that equity is counted in. `open_profit` is that of all positions after what was paid; null
    when one of them has no price. `live_off` says why no position is opened with real money; null also where none
    trades.
    """

    at_ms: int | None
    running: bool
    problem: str | None
    mode: str
    run: str | None
    journal: str | None
    equity: Decimal | None
    quote: str | None
    open_profit: Decimal | None
    balances: tuple[Holding, ...] | None
    entries_off: str | None
    live_off: str | None
    books: str | None
    differences: tuple[str, ...] | None
    foreign: tuple[str, ...] | None
    round_trip_count: int | None


@dataclass(frozen=True, slots=True)
class Clock:
    """How far the venue's clock was ahead of ours when it was last asked, and how wrong that may be."""

    at_ms: int
    offset_ms: int
    error_ms: int


@dataclass(frozen=True, slots=True)
class PriceAge:
    """How old the newest price of a symbol is; null when none was heard."""

    symbol: str
    age_ms: int | None


@dataclass(frozen=True, slots=True)
class StreamAge:
    """How long ago something was last heard of a stream of the venue."""

    stream: str
    age_ms: int


@dataclass(frozen=True, slots=True)
class Connection:
    """The trader's connection to the venue. `limits` are the venue's, with what is used in the running window;
    `wanted` are the links that trading needs, `links` those that are up; `streams` are those that are watched for
    silence, none of them in a replay. With a price older than `price_age_max_ms` no position is opened."""

    running: bool
    at_ms: int | None
    wanted: tuple[str, ...]
    links: tuple[str, ...]
    prices: tuple[PriceAge, ...]
    price_age_max_ms: int
    streams: tuple[StreamAge, ...]
    limits: tuple[VenueLimitView, ...]
    banned_until_ms: int | None
    clock: Clock | None


# The dialogue with the venue has these two (see binance.dialogue).
LINKS = ("account", "market")

TOPICS = (
    "status",
    "prices",
    "positions",
    "orders",
    "decisions",
    "alarms",
    "breaker",
    "connection",
    "round_trips",
)


def status_of(view: View | None, mode: str, journal: str | None, problem: str | None, *, running: bool) -> Status:
    """The status; without a picture there is nothing to tell."""
    if view is None:
        return Status(
            at_ms=None,
            running=running,
            problem=problem,
            mode=mode,
            run=None,
            journal=journal,
            equity=None,
            quote=None,
            open_profit=None,
            balances=None,
            entries_off=NOT_RUNNING,
            live_off=None,
            books=None,
            differences=None,
            foreign=None,
            round_trip_count=None,
        )
    profits = [position.profit for position in view.positions]
    known = [profit for profit in profits if profit is not None]
    return Status(
        at_ms=view.at_ms,
        running=running,
        problem=problem,
        mode=mode,
        run=view.run or None,
        journal=journal,
        equity=view.equity,
        quote=view.quote,
        open_profit=sum(known, Decimal(0)) if len(known) == len(profits) else None,
        balances=tuple(Holding(asset, amount) for asset, amount in view.balances),
        entries_off=view.entries_off if running else NOT_RUNNING,
        live_off=view.live_off,
        books=view.books,
        differences=view.differences,
        foreign=view.foreign,
        round_trip_count=view.round_trip_count,
    )


def connection_of(view: View | None, clock: Clock | None, price_age_max_ms: int, *, running: bool) -> Connection:
    """The connection; none is told of while the trader is not running."""
    if view is None or not running:
        at_ms = None if view is None else view.at_ms
        return Connection(running, at_ms, LINKS, (), (), price_age_max_ms, (), (), None, clock)
    ages = tuple(
        PriceAge(price.symbol, None if price.at_ms is None else max(view.at_ms - price.at_ms, 0))
        for price in view.prices
    )
    streams = (
        () if view.traffic is None else tuple(StreamAge(stream, age_ms) for stream, age_ms in view.traffic.streams)
    )
    return Connection(
        running=True,
        at_ms=view.at_ms,
        wanted=LINKS,
        links=view.links,
        prices=ages,
        price_age_max_ms=price_age_max_ms,
        streams=streams,
        limits=view.venue_limits,
        banned_until_ms=view.banned_until_ms,
        clock=clock,
    )
