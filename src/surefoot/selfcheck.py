"""What is looked at before anything is traded: the key's rights, the clock, and what is switched on."""

from __future__ import annotations

import time

from surefoot.binance.codec import read_error
from surefoot.binance.dialect import COMMON_FATAL
from surefoot.binance.dialogue import Keys
from surefoot.binance.gateway import Addresses, Gateway
from surefoot.binance.keys import Verdict, kind_of_key, read_rights, rights_request, verdict_on
from surefoot.binance.wire import BadFrame
from surefoot.config import Mode, Settings, Venue, venue_for
from surefoot.core.model import Market

TIME_PATH = "/api/v3/time"


class CheckFailed(Exception):
    """The rights of the key cannot be told; the text says why, and what to do."""


async def key_verdict(settings: Settings, keys: Keys, paper_base: str | None) -> tuple[Verdict, int]:
    """What to think of the key, and how many ms the venue's clock is ahead. Raises CheckFailed.

    The spot host tells the rights of a key, for both markets.
    """
    gateway = Gateway(_addresses(venue_for(settings.mode, paper_base)), lambda arrival: None)
    await gateway.start()
    try:
        before_ms = time.time_ns() // 1_000_000
        venue_ms = await gateway.server_time_ms(TIME_PATH)
        if venue_ms is None:
            raise CheckFailed("the venue does not answer: check the network and the address")
        ahead_ms = venue_ms - (before_ms + time.time_ns() // 1_000_000) // 2
        answer = await gateway.read_once(*rights_request(keys, settings.orders.recv_window_ms, venue_ms))
    finally:
        await gateway.close()
    if answer is None:
        raise CheckFailed("the venue does not answer: check the network and the address")
    status, body = answer
    if status == 404:
        raise CheckFailed(f"mode = {settings.mode}: this venue does not tell the rights of a key")
    if status != 200:
        error = read_error(status, body)
        raise CheckFailed(f"{COMMON_FATAL.get(error.code or 0, 'the venue refuses')} ({error.code} {error.text})")
    try:
        rights = read_rights(body)
    except BadFrame as problem:
        raise CheckFailed(f"the venue's answer cannot be read: {problem}") from problem
    return verdict_on(rights, venue_ms, futures=settings.market.venue is not Market.SPOT), ahead_ms


def key_lines(verdict: Verdict, secret: str, ahead_ms: int) -> list[str]:
    """The verdict for a person, what is worst first."""
    return [
        *(f"REFUSED: {text}" for text in verdict.refused),
        *(f"warning: {text}" for text in verdict.warnings),
        *(f"fine: {text}" for text in verdict.fine),
        f"{kind_of_key(secret)} key; the venue's clock is {ahead_ms:+d} ms from ours",
    ]


def active_lines(settings: Settings, venue: Venue) -> list[str]:
    """What is switched on, for a person."""
    market, exits, breaker = settings.market, settings.exits, settings.breaker
    real = "REAL MONEY" if settings.mode is Mode.LIVE else "no real money"
    silence = f"after {market.stream_silence_max_s} s" if market.stream_silence_max_s else "off"
    return [
        f"mode {settings.mode} ({real}), market {market.venue}, {venue.rest}",
        f"symbols {', '.join(market.symbols)} on {market.interval}, confirmed on {market.confirm_interval}",
        f"stop {exits.mode} {exits.stop_pct_of_price} %, target {exits.target_pct_of_price} %, exits {exits.preset}",
        f"breaker {breaker.preset}: day {breaker.day_loss_max_pct} % {breaker.day_loss_tier}, "
        f"drawdown {breaker.drawdown_max_pct} % {breaker.drawdown_tier}; silent streams {silence}",
    ]


def _addresses(venue: Venue) -> Addresses:
    return Addresses(venue.rest, venue.ws_api, venue.streams)
