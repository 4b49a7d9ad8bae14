"""What is missing before real money, as far as the web process may know.

Rules. No venue is asked and no key is looked at; what cannot be known from here is said to be just that, and counts as
missing. Nothing here turns anything on: `mode` and `live_confirmed` are settings of a start, and a run that was started
so buys nothing before somebody switches it on (decision 0033).
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from surefoot.api.accounts import User
from surefoot.api.desk import Desk
from surefoot.api.roles import Role
from surefoot.api.running import ran
from surefoot.config import Mode, Settings, to_toml

GATE = "testnet"  # whose gate stands before the first profile with real money
GATE_MAX_S = 120.0
GATE_KEPT_S = 60.0
LOSSES = ("day_loss", "rolling_loss", "week_loss", "drawdown")


@dataclass(frozen=True, slots=True)
class Need:
    """Something that real money needs, and what was found; `advice` says what to do, empty where it is met."""

    name: str
    standing: Literal["met", "missing", "not known"]
    found: str
    advice: str = ""


@dataclass(frozen=True, slots=True)
class RealMoney:
    """`in_use`: this run trades with it already. `ready`: every need is met."""

    mode: str
    in_use: bool
    ready: bool
    needs: tuple[Need, ...]


class TrackRecord:
    """What the journal shows for the gate before real money: asked of `surefoot promote` and remembered for a while."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._one_at_a_time = asyncio.Lock()
        self._known: tuple[float, Path, Need] | None = None

    async def need(self) -> Need:
        """The record of running without errors."""
        # Of the start: a run is known by their digest, whatever was changed in it.
        settings, journal = self._desk.settings, self._desk.journal()
        advice = 'run with mode = "testnet", or with paper.market = "relay", which trades at the real market\'s prices'
        if settings.mode is Mode.PAPER and settings.paper.market != "relay":
            return Need("record", "missing", "this run trades a market that is not the real one of today", advice)
        if journal is None:
            return Need("record", "missing", "there is no journal yet", advice)
        async with self._one_at_a_time:
            if self._known is None or self._known[1] != journal or time.monotonic() - self._known[0] > GATE_KEPT_S:
                self._known = (time.monotonic(), journal, await _record(settings, journal))
            return self._known[2]


async def _record(settings: Settings, journal: Path) -> Need:
    words = ["promote", "--gate", GATE, "--json", "--journal", str(journal), "--config"]
    try:
        done = await ran(words, to_toml(settings), GATE_MAX_S)
    except TimeoutError:
        return Need("record", "not known", f"reading the journal took more than {GATE_MAX_S:g} s", "surefoot promote")
    if not done.out:
        return Need("record", "not known", done.complaint or f"code {done.code}", "surefoot promote --gate testnet")
    answer: dict[str, Any] = json.loads(done.out)
    short = [each for each in answer["conditions"] if not each["met"]]
    if short:
        found = "; ".join(f"{each['name']}: {each['value']}, wanted {each['wanted']}" for each in short)
        return Need("record", "missing", found, "let it run on with these settings")
    return Need("record", "met", "; ".join(f"{each['name']}: {each['value']}" for each in answer["conditions"]))


def needs_of(desk: Desk, users: Iterable[User], record: Need) -> RealMoney:
    """Everything that real money needs, in the order in which a person would ask."""
    settings = desk.in_force.settings
    needs = (
        # Said in the README, too; it ends when both modes have traded at Binance itself.
        Need(
            "this version",
            "missing",
            "modes testnet and live have not been proven against Binance itself",
            "do not give this version real money",
        ),
        *_limits(settings),
        *_state(desk),
        record,
        _key(desk),
        _second_factor(users),
        _alerts(settings),
    )
    ready = all(need.standing == "met" for need in needs)
    return RealMoney(str(settings.mode), settings.mode is Mode.LIVE, ready, needs)


def _limits(settings: Settings) -> Iterator[Need]:
    capital, breaker = settings.risk.capital_max_quote, settings.breaker
    if capital:
        yield Need("capital", "met", f"at most {capital:f} in quote currency count")
    else:
        advice = 'set risk.capital_max_quote, or begin with profile = "conservative"'
        yield Need("capital", "missing", "all that the account holds counts", advice)
    only_warn = [name for name in LOSSES if getattr(breaker, f"{name}_tier") == "warn"]
    if only_warn:
        keys = ", ".join(f"breaker.{name}_tier" for name in only_warn)
        yield Need("losses", "missing", f"only a warning: {keys}", "choose a tier that stops entries")
    else:
        limits = ((name.replace("_", " "), getattr(breaker, f"{name}_max_pct")) for name in LOSSES)
        yield Need("losses", "met", ", ".join(f"{name} {limit:f} %" for name, limit in limits))


def _state(desk: Desk) -> Iterator[Need]:
    view = desk.view
    if view is None or not desk.running:
        for name in ("breaker", "books", "protection"):
            yield Need(name, "not known", "the trader is not running", "start it")
        return
    off, books = view.breaker.off, "; ".join(view.differences) or f"books {view.books}"
    bare = [position.symbol for position in view.positions if position.unprotected_ms is not None]
    if off is None:
        yield Need("breaker", "met", "armed, and nothing holds entries back")
    else:
        yield Need("breaker", "missing", off, "find out why; then reset it, or resume")
    if view.books == "agree" and not view.differences:
        yield Need("books", "met", "ledger and account agree")
    else:
        yield Need("books", "missing", books, "see Connection: what differs, and since when")
    if bare:
        yield Need("protection", "missing", f"no stop rests for {', '.join(bare)}", "see Positions")
    else:
        yield Need("protection", "met", "every position has its stop at the exchange")


def _key(desk: Desk) -> Need:
    if desk.settings.mode is Mode.LIVE and desk.running:
        return Need("key", "met", "the trader asked at its start; it refuses a key that may withdraw")
    advice = "surefoot keys add live; surefoot keys check with the settings of the live run"
    return Need("key", "not known", "no key of the real account is ever seen from here", advice)


def _second_factor(users: Iterable[User]) -> Need:
    able = [user for user in users if user.second_factor and user.off_ms is None and user.role.covers(Role.TRADER)]
    if able:
        return Need("second factor", "met", "somebody who may act has one")
    found = "nobody who may act has one, and with real money the page asks for it before every sale and reset"
    return Need("second factor", "missing", found, "set it up under Users")


def _alerts(settings: Settings) -> Need:
    if settings.alert_urls is not None and settings.alert_urls.get_secret_value().strip():
        return Need("alerts", "met", "there is an address; the Alerts page sends a test")
    return Need("alerts", "missing", "nobody is told when something goes wrong", "give SUREFOOT_ALERT_URLS an address")
