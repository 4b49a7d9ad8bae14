"""What the trader knows now: the same values as the topics of the stream."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from fastapi import APIRouter, Response

from surefoot.api.guard import Viewer
from surefoot.api.portfolio import Portfolio, notional_of, per_cent, portfolio_of, total
from surefoot.api.reading import Page, TheDesk, told, told_topic, told_topic_page
from surefoot.api.topics import Connection, Status
from surefoot.core.view import BreakerView, PositionView, PriceView

router = APIRouter(tags=["now"])


@dataclass(frozen=True, slots=True)
class PositionRisk:
    """What a position would lose from its entry to its resting stop, in quote and as percent of equity, as the gate
    counts it: a stop ahead of the entry risks nothing. Null without a stop, an entry price or equity."""

    symbol: str
    notional: Decimal | None
    to_stop: Decimal | None
    to_stop_pct: Decimal | None


@dataclass(frozen=True, slots=True)
class Risk:
    """What is at risk, and the limits that an entry meets. `to_stop_pct` is null when one position's is not known, and
    so is `positions` while it is not known what is held."""

    at_ms: int | None
    entries_off: str | None
    positions: tuple[PositionRisk, ...] | None
    to_stop_pct: Decimal | None
    positions_max: int
    portfolio_risk_max_pct: Decimal
    risk_pct_of_equity: Decimal
    notional_max_pct_of_equity: Decimal
    cooldown_until_ms: int | None
    losses_in_row: int | None
    loss_streak_max: int


@router.get("/status", response_model=Status)
async def status(person: Viewer, desk: TheDesk) -> Response:
    """The trader in one look."""
    return told_topic(desk, "status")


@router.get("/market/prices", response_model=Page[PriceView])
async def prices(person: Viewer, desk: TheDesk) -> Response:
    """The newest price of each symbol, the middle of best bid and ask, and when the venue said so."""
    return told_topic_page(desk, "prices")


@router.get("/positions", response_model=Page[PositionView])
async def positions(person: Viewer, desk: TheDesk) -> Response:
    """What is held, and what protects it at the venue."""
    return told_topic_page(desk, "positions")


@router.get("/portfolio", response_model=Portfolio)
async def portfolio(person: Viewer, desk: TheDesk) -> Response:
    """What is held and worth, how much of it is at work, and each position with what protects it and cost."""
    return told(portfolio_of(desk))


@router.get("/breaker", response_model=BreakerView | None)
async def breaker(person: Viewer, desk: TheDesk) -> Response:
    """How near its limits the circuit breaker is; null when neither a trader nor a journal tells."""
    return told_topic(desk, "breaker")


@router.get("/connection", response_model=Connection)
async def connection(person: Viewer, desk: TheDesk) -> Response:
    """The trader's connection to the venue: links, ages of prices, budgets, clock."""
    return told_topic(desk, "connection")


@router.get("/risk", response_model=Risk)
async def risk(person: Viewer, desk: TheDesk) -> Response:
    """What is at risk, against the limits."""
    return told(risk_of(desk))


def risk_of(desk: TheDesk) -> Risk:
    view, own = desk.view, desk.in_force.settings.risk
    positions = None if view is None else tuple(_position_risk(each, view.equity) for each in view.positions)
    return Risk(
        at_ms=None if view is None else view.at_ms,
        entries_off=None if view is None else view.entries_off,
        positions=positions,
        to_stop_pct=None if positions is None else total(each.to_stop_pct for each in positions),
        positions_max=own.positions_max,
        portfolio_risk_max_pct=own.portfolio_risk_max_pct,
        risk_pct_of_equity=own.risk_pct_of_equity,
        notional_max_pct_of_equity=own.notional_max_pct_of_equity,
        cooldown_until_ms=None if view is None else view.breaker.cooldown_until_ms,
        losses_in_row=None if desk.records is None else desk.records.losses_in_row,
        loss_streak_max=own.loss_streak_max,
    )


def _position_risk(position: PositionView, equity: Decimal | None) -> PositionRisk:
    entry, stop = position.entry_price, position.stop_price
    to_stop = None if entry is None or stop is None else max((entry - stop) * position.quantity, Decimal(0))
    return PositionRisk(position.symbol, notional_of(position), to_stop, per_cent(to_stop, equity))
