"""The swarm: thousands of short lives of the bot in virtual time, each with its own market, venue and misfortune.

SUREFOOT_SEED repeats one seed; SUREFOOT_SWARM_SEEDS says how many are tried. The seeds are the numbers from 0 on, so
that a failure anywhere is a failure everywhere.
"""

from __future__ import annotations

import os

import pytest

from tests.swarm.run import Swarm

SEEDS_BY_DEFAULT = 80
CHUNK = 5  # seeds a test: enough to keep the overhead small, few enough for the cores to share
REPEATED_EVERY = 10


def _chunks() -> list[range]:
    alone = os.environ.get("SUREFOOT_SEED")
    if alone is not None:
        return [range(int(alone), int(alone) + 1)]
    count = int(os.environ.get("SUREFOOT_SWARM_SEEDS", SEEDS_BY_DEFAULT))
    return [range(first, min(first + CHUNK, count)) for first in range(0, count, CHUNK)]


def _name(seeds: range) -> str:
    return f"seeds-{seeds[0]}-to-{seeds[-1]}"


@pytest.mark.spec("SAFE-1", "SAFE-2", "SAFE-4", "ORD-4", "ORD-5", "ORD-9", "RISK-2", "RISK-3")
@pytest.mark.parametrize("seeds", _chunks(), ids=_name)
def test_bot_keeps_its_promises_whatever_befalls_it(seeds: range) -> None:
    for seed in seeds:
        Swarm(seed).play()


@pytest.mark.parametrize("seeds", [chunk[:1] for chunk in _chunks()[:: REPEATED_EVERY // CHUNK]], ids=_name)
def test_same_seed_is_the_same_life(seeds: range) -> None:
    first, second = Swarm(seeds[0]), Swarm(seeds[0])
    first.play()
    second.play()
    assert first.digest() == second.digest(), f"seed {seeds[0]} is two different runs: make swarm SEED={seeds[0]}"


def test_swarm_sees_what_it_is_for() -> None:
    """A swarm in which nothing happens would find nothing: the first seeds have trades, partial fills and faults."""
    tallies = [Swarm(seed).play() for seed in range(24)]
    leasts = {
        "round_trips": 80,
        "fills": 200,
        "partial": 8,
        "by_socket": 200,
        "kills": 16,
        "cuts": 16,
        "doubts": 40,
        "held_up": 10,
    }
    for name, least in leasts.items():
        assert sum(getattr(tally, name) for tally in tallies) >= least, name
