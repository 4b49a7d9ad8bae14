"""The schema: the API does as it says, whatever is sent to it."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from surefoot.api.app import create_app
from surefoot.api.guard import PREFIX
from surefoot.api.roles import Role
from surefoot.api.schema import document
from surefoot.config import load
from surefoot.control import Answer, Wish
from tests.api.desks import FIRST_RUN, trading, until
from tests.api.served import place
from tests.api.throwaways import JOURNAL
from tests.journals import OFTEN, two_days

FULL = bool(os.environ.get("SUREFOOT_FULL"))
EXAMPLES, PHASES = (200, "examples,coverage,fuzzing") if FULL else (5, "fuzzing")
KEY = bytes(range(32))
ROOT = Path(__file__).parents[2]
SEED = os.environ.get("SUREFOOT_SEED", "1")


async def taken(wish: Wish, who: str) -> Answer:
    return Answer(True, f"{wish.kind} taken from {who}")


# About signing in: tried with a user and a session of its own for every request.
ABOUT_SIGNING_IN = f"^{PREFIX}/(auth|sessions|users)(/|$)"
# What is not tried at all: the drill takes seconds and starts a program, for every case.
LEFT_OUT = f"^{PREFIX}/breaker/drill$"


def operations(made: dict[str, Any], fitting: str) -> int:
    """How many a description has at paths that fit."""
    return sum(len(each) for path, each in made["paths"].items() if re.search(fitting, path))


async def judged(url: str, made: dict[str, Any], folder: Path, *words: str, **env: str) -> int:
    """Let a program try what the schema allows, and what it does not; it must find nothing. How many operations it
    tried."""
    schema = folder / "openapi.json"
    schema.write_text(json.dumps(made))
    given = [
        *(sys.executable, "-m", "schemathesis.cli", "run", str(schema), "--url", url, *words),
        *("--max-examples", str(EXAMPLES), "--seed", SEED, "--phases", PHASES),
        *("--request-timeout", "60"),
        *("--no-color", "--workers", "1", "--suppress-health-check", "all"),
    ]
    out = folder / "schemathesis.txt"
    with out.open("wb") as file:
        process = await asyncio.create_subprocess_exec(
            *given, stdout=file, stderr=file, cwd=folder, env={**os.environ, **env}
        )
        code = await process.wait()
    told = out.read_text()
    assert code == 0, told[-6_000:]
    assert "Authentication failed" not in told, told[-3_000:]
    print(told[-800:])
    return int(re.findall(r"Tested: (\d+)", told)[0])


@pytest.mark.spec("API-1")
@pytest.mark.timeout(7_200 if FULL else 300)
async def test_the_api_does_as_its_schema_says(tmp_path: Path) -> None:
    journal, _ = two_days(tmp_path, load(None, OFTEN, {}).settings, FIRST_RUN)
    async with (
        place(tmp_path, web__requests_max_per_s="100000") as here,
        trading(journal, ask=taken, charts=lambda *_: None, key=KEY),
    ):
        here.parts.desk.control_key = KEY
        await until(lambda: here.parts.desk.is_ready and here.parts.desk.running)
        admin = await here.signed_in(Role.ADMIN)
        here.parts.sessions.confirm(here.parts.sessions.of("admin")[0].id, 3_600_000)
        token = ("--header", f"Authorization: {admin.headers['authorization']}")
        left_out = ("--exclude-path-regex", f"{ABOUT_SIGNING_IN}|{LEFT_OUT}")
        made = document(create_app(here.parts))
        tried = await judged(here.url, made, tmp_path, *token, *left_out)
        assert tried == operations(made, "") - operations(made, ABOUT_SIGNING_IN) - 1


@pytest.mark.spec("API-1", "AUTH-1")
@pytest.mark.timeout(7_200 if FULL else 300)
async def test_what_is_about_signing_in_does_as_its_schema_says(tmp_path: Path) -> None:
    async with place(tmp_path, web__requests_max_per_s="100000", web__behind_proxy="true") as here:
        made = document(create_app(here.parts))
        env = {
            "SCHEMATHESIS_HOOKS": "tests.api.throwaways",
            "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]),
            JOURNAL: str(here.parts.settings.store.journal_path),
        }
        tried = await judged(here.url, made, tmp_path, "--include-path-regex", ABOUT_SIGNING_IN, **env)
        assert tried == operations(made, ABOUT_SIGNING_IN) > 10
        seen = {row.action for row in here.parts.trail.rows(None, 1_000_000)}
        assert seen >= {"signed in", "sign-in failed", "confirmed", "user removed", "session ended"}, seen


@pytest.mark.spec("API-1")
async def test_every_operation_has_a_name_of_its_own_and_says_what_it_is(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        made = document(create_app(here.parts))
    operations = [operation for each in made["paths"].values() for operation in each.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names))
    assert all(operation.get("description") or operation.get("summary") for operation in operations)
    text = json.dumps(made)
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert referred <= set(made["components"]["schemas"])


# Fields that are numbers with a part after the point, and why they may be: none of them is money.
NO_MONEY = {
    "Job": {"progress_pct": "a share of the work"},
    "Line": {"values": "an indicator, as it is drawn"},
    "Parameter": dict.fromkeys(("default", "low", "high"), "of a rule that computes in floats"),
    "Rule": dict.fromkeys(("score", "target"), "a strength and a share, of a rule that computes in floats"),
    "Vote": dict.fromkeys(("score", "target", "values"), "what a rule that computes in floats saw and wants"),
    "Signal": dict.fromkeys(("score", "target", "values", "atr"), "what a rule that computes in floats saw and wants"),
    "Metrics": {
        **dict.fromkeys(("return_pct", "cagr_pct", "volatility_pct", "max_drawdown_pct", "exposure_pct"), "a share"),
        **dict.fromkeys(("win_rate_pct", "mfe_pct", "mae_pct"), "a share"),
        **dict.fromkeys(("sharpe", "sortino", "calmar", "profit_factor", "payoff_ratio", "sqn"), "a ratio"),
        **dict.fromkeys(("duration_mean_ms", "duration_median_ms"), "a length of time"),
    },
}


def numbers_of(schema: Any) -> bool:
    """Whether a number with a part after the point is in a schema itself, or in what is written inside it."""
    if isinstance(schema, dict):
        return schema.get("type") == "number" or any(map(numbers_of, schema.values()))
    return isinstance(schema, list) and any(map(numbers_of, schema))


@pytest.mark.spec("API-1")
async def test_no_field_that_is_a_number_is_money(tmp_path: Path) -> None:
    async with place(tmp_path) as here:
        made = document(create_app(here.parts))
    schemas = made["components"]["schemas"]
    found = {
        name: {field for field, of in schema.get("properties", {}).items() if numbers_of(of)}
        for name, schema in schemas.items()
    }
    assert {name: fields for name, fields in found.items() if fields} == {
        name: set(fields) for name, fields in NO_MONEY.items()
    }
    assert not numbers_of(made["paths"])
    assert not [name for name, schema in schemas.items() if numbers_of(schema) and name not in NO_MONEY]
