"""Whether two engines tell the same: round trip by round trip, and the equity at the end of it all (BT-2)."""

from __future__ import annotations

from surefoot.research.data import utc_text
from surefoot.research.evaluation import Ledger, Outcome

# Floats of the one against exact decimals of the other.
PRICE_SHARE_MAX = 1e-9
QUANTITY_SHARE_MAX = 1e-4
EQUITY_SHARE_MAX = 1e-6


def disagreement(one: Outcome, exact: Outcome) -> str | None:
    """The first difference, in words; None where there is none."""
    for at, (mine, theirs) in enumerate(zip(_keys(one.trips), _keys(exact.trips), strict=False)):
        if mine != theirs:
            return f"round trip {at + 1} is {_words(mine)}, exactly {_words(theirs)}"
    if len(one.trips) != len(exact.trips):
        return f"{len(one.trips)} round trips, exactly {len(exact.trips)}"
    columns = (("entry_price", PRICE_SHARE_MAX), ("exit_price", PRICE_SHARE_MAX), ("quantity", QUANTITY_SHARE_MAX))
    for name, share in columns:
        ours, its = getattr(one.trips, name), getattr(exact.trips, name)
        for at, (mine, theirs) in enumerate(zip(ours.tolist(), its.tolist(), strict=True)):
            if abs(mine - theirs) > share * abs(theirs):
                return f"round trip {at + 1}: {name} {mine:.12g}, exactly {theirs:.12g}"
    last, exactly = float(one.curve.equity[-1]), float(exact.curve.equity[-1])
    if abs(last - exactly) > EQUITY_SHARE_MAX * abs(exactly):
        return f"final equity {last:.6f}, exactly {exactly:.6f}"
    return None


_Key = tuple[int, str, int, str]


def _keys(trips: Ledger) -> list[_Key]:
    """In one order, whichever of two that ended at the same moment was told first."""
    return sorted(zip(trips.exit_ms.tolist(), trips.symbol, trips.entry_ms.tolist(), trips.reason, strict=True))


def _words(key: _Key) -> str:
    exit_ms, symbol, entry_ms, reason = key
    return f"{symbol} {utc_text(entry_ms)} to {utc_text(exit_ms)} by {reason}"
