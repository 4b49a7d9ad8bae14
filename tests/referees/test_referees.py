"""Third-party clients trade on the simulated exchange, unmodified: `make referees` prints the table.

CI makes their environment; where it is not, the tests are skipped.
"""

from __future__ import annotations

import pytest

from tests.referees.run import CLIENTS, NoClients, rows_of

# So many capabilities at least: a client that stops early has not passed.
ASKED_MIN = {"ccxt": 60, "python-binance": 70, "binance-sdk": 80}


@pytest.mark.spec("SIM-1")
@pytest.mark.timeout(300)
@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_that_is_only_pointed_here_does_all_it_can(client: str) -> None:
    try:
        rows = rows_of(client)
    except NoClients as reason:
        pytest.skip(str(reason))
    failed = [f"{row.market}: {row.capability}: {row.detail}" for row in rows if row.result == "failed"]
    assert not failed, "\n".join(failed)
    assert len(rows) >= ASKED_MIN[client]
    assert {row.market for row in rows} == {"spot", "um"}
