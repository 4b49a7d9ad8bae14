"""Third-party clients judge the simulated exchange: `make referees` prints what each of them could do.

Every client trades on an exchange of its own, a process on the loopback address, from an environment of its own
(`requirements-clients.lock`). Exit code 1 when anything failed; what a client itself cannot do is no failure.
"""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from tests.referees.run import CLIENTS, NoClients, Row, rows_of

MARKS = {"passed": "[green]passed[/]", "failed": "[red]FAILED[/]", "cannot": "[dim]cannot[/]"}


def main() -> int:
    rows: list[Row] = []
    try:
        for client in CLIENTS:
            rows += rows_of(client)
    except NoClients as reason:
        print(reason, file=sys.stderr)
        return 2
    for market in dict.fromkeys(row.market for row in rows):
        Console(width=140).print(table_of([row for row in rows if row.market == market], market))
    for row in rows:
        if row.detail:
            print(f"{row.client}, {row.market}, {row.capability}: {row.detail}")
    results = [row.result for row in rows]
    print(", ".join(f"{results.count(result)} {result}" for result in MARKS))
    return int("failed" in results)


def table_of(rows: list[Row], market: str) -> Table:
    """Capabilities downwards, clients across; an empty cell was not asked of that client."""
    clients = list(dict.fromkeys(row.client for row in rows))
    table = Table("capability", *clients, title={"spot": "spot", "um": "USDⓈ-M futures"}[market])
    results = {(row.capability, row.client): row.result for row in rows}
    for capability in dict.fromkeys(row.capability for row in rows):
        cells = (results.get((capability, client)) for client in clients)
        table.add_row(capability, *(MARKS[cell] if cell else "" for cell in cells))
    return table


if __name__ == "__main__":
    sys.exit(main())
