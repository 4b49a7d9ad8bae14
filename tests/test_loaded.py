"""What each process of a run brings into memory: only what it works with."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.api.desks import begun

HEAVY = frozenset(
    {
        "aiohttp",
        "apprise",
        "cryptography",
        "fastapi",
        "llvmlite",
        "matplotlib",
        "numba",
        "numpy",
        "optuna",
        "pandas",
        "picows",
        "polars",
        "rich.console",
        "scipy",
        "simex",
        "surefoot.research.exact",
        "talib",
        "uvicorn",
    }
)

SUPERVISOR = """
import surefoot.cli, surefoot.herald, surefoot.supervise, surefoot.webprocess
"""
TRADER = """
from surefoot.config import load
from surefoot.assembly import InForce, build_session
from surefoot.binance.dialogue import Keys
import surefoot.cli, surefoot.live
settings = load(None, {"strategy.name": "ensemble", "store.journal_path": sys.argv[1]}, {}).settings
InForce(settings)
build_session(settings, Keys("key", "secret"), lambda: 0.5, watch_always=True, supervised=True)
"""
WEB = """
import asyncio
import surefoot.cli, surefoot.commands.web
from surefoot.api.parts import Parts
from surefoot.api.serving import server_config
from surefoot.config import load
parts = Parts.made(load(None, {"store.journal_path": sys.argv[1]}, {}, keyless=True).settings)
server_config(parts).load()
async def begin():
    async with parts.desk, asyncio.timeout(30):
        while parts.desk.view is None or not parts.desk.is_ready:
            await asyncio.sleep(0.01)
asyncio.run(begin())
parts.close()
"""


@pytest.mark.spec("PERF-6")
@pytest.mark.parametrize(
    ("code", "needed"),
    [
        pytest.param(SUPERVISOR, set[str](), id="supervisor"),
        pytest.param(TRADER, {"aiohttp", "cryptography", "numpy", "picows", "talib"}, id="trader"),
        # Lines of a chart and figures of a run need arrays: they come with the first who asks for them.
        pytest.param(WEB, {"cryptography", "fastapi", "uvicorn"}, id="web process"),
    ],
)
def test_a_process_loads_nothing_heavy_that_it_does_not_need(tmp_path: Path, code: str, needed: set[str]) -> None:
    begun(tmp_path)
    tell = f"\nprint(*sorted({set(HEAVY)!r} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", f"import sys\n{code}{tell}", str(tmp_path / "surefoot.sqlite")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == needed
