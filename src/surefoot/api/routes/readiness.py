"""What is missing before real money, and whether it is used already."""

from __future__ import annotations

from fastapi import APIRouter, Response

from surefoot.api.guard import Shared, Trader
from surefoot.api.readiness import RealMoney, needs_of
from surefoot.api.reading import told

router = APIRouter(tags=["settings"])


@router.get("/readiness", response_model=RealMoney)
async def readiness(person: Trader, parts: Shared) -> Response:
    """What real money needs, and what of it is missing. Nothing is turned on by it."""
    return told(needs_of(parts.desk, parts.accounts.users(), await parts.record.need()))
