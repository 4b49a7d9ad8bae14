"""`surefoot book`: one symbol's order book as it stands, and what an order would meet in it."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation
from typing import Annotated

import typer

from surefoot.commands.options import (
    EXIT_FAILED,
    EXIT_OK,
    EXIT_VENUE,
    CommandError,
    ConfigFile,
    Sets,
    loaded,
    overrides_of,
)


def book(
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="Like BTCUSDT.")],
    config: ConfigFile = None,
    sets: Sets = None,
    rest: Annotated[str | None, typer.Option(metavar="URL", help="REST address (paper only).")] = None,
    notional: Annotated[str, typer.Option(metavar="QUOTE", help="What an order would be worth.")] = "1000",
    for_s: Annotated[float, typer.Option("--for", metavar="SECONDS", min=0.5, max=60, help="How long to watch.")] = 3,
) -> int:
    """A symbol's order book, kept from its changes for some seconds.

    What could be sold and bought within 0.1 and 0.5 % of the best price, and what
    an order would pay. Kept by the venue's own algorithm and held against the best
    prices that it tells: the exit code is 1 when one differs. Spot only.

    \b
    examples:
      surefoot book BTCUSDT --set mode=testnet
      surefoot book BTCUSDT --rest http://127.0.0.1:9443 --notional 25000
    """
    import asyncio

    from surefoot.binance.wire import BadFrame
    from surefoot.config import Mode, venue_for
    from surefoot.watching import WatchFailed, book_lines, watch_book

    try:
        wanted = Decimal(notional)
    except InvalidOperation:
        wanted = Decimal(0)
    if not (wanted.is_finite() and wanted > 0):
        raise CommandError(f"--notional {notional}: give an amount above 0")
    mode = loaded(config, overrides_of(sets)).settings.mode
    if mode is Mode.PAPER and rest is None:
        raise CommandError("mode = paper: give the exchange's address with --rest")
    try:
        seen = asyncio.run(watch_book(symbol.upper(), venue_for(mode, rest), "/api/v3/depth", for_s))
    except (WatchFailed, BadFrame) as problem:
        raise CommandError(str(problem), EXIT_VENUE) from problem
    print("\n".join(book_lines(seen, wanted)))
    return EXIT_OK if seen.book.last_id is not None and seen.agreed == seen.compared else EXIT_FAILED
