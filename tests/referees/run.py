"""One client against one exchange: two processes, and the rows that the client tells."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass

from tests.conftest import ROOT
from tests.e2e.processes import environment, exchange

PYTHON = ROOT / ".clients" / "bin" / "python"
CLIENTS = {"ccxt": "with_ccxt", "python-binance": "with_python_binance", "binance-sdk": "with_binance_sdk"}
# Enough to sell something, and to be refused for want of it.
BALANCES = ("--balance", "USDT=100000", "BTC=1")
PATIENCE_S = 280


class NoClients(Exception):
    """The clients' environment is not there; the text says how to make it."""


@dataclass(frozen=True)
class Row:
    """What one client said of one capability; `result` is passed, failed or cannot."""

    client: str
    market: str
    capability: str
    result: str
    detail: str


def rows_of(client: str) -> list[Row]:
    """What a client could do, in the order in which it was asked. Raises NoClients."""
    if not PYTHON.is_file():
        raise NoClients("needs third-party clients in an environment of their own: make referees")
    with exchange(*BALANCES) as venue:
        where = {"rest": venue.rest, "key": venue.hello["api_key"], "secret": venue.hello["secret"]}
        done = subprocess.run(
            [str(PYTHON), "-W", "ignore", "-m", f"tests.referees.{CLIENTS[client]}", json.dumps(where)],
            cwd=ROOT,
            env=environment(PYTHONPATH=""),  # nothing of the project but what lies here
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )
    assert done.returncode == 0, f"{client} ended with code {done.returncode}: {done.stderr[-2_000:]}"
    return [Row(**json.loads(line)) for line in done.stdout.splitlines() if line.startswith('{"client"')]
