"""Lines for somebody who reads late, slowly, or not at all."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest

from surefoot.outlet import Outlet

PIPE_LINES_MAX = 80_000  # more than a pipe can hold


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reading, writing = os.pipe()
    yield reading, writing
    for end in (reading, writing):
        with suppress(OSError):
            os.close(end)


def read_all(reading: int) -> list[str]:
    with os.fdopen(reading) as stream:
        return stream.read().splitlines()


@pytest.mark.spec("OPS-3")
def test_what_finds_no_reader_is_lost_and_counted_in_its_place(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    outlet = Outlet(writing, lines_max=100)
    for number in range(PIPE_LINES_MAX):
        print(number, file=outlet, flush=True)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.extend(read_all(reading)))
    reader.start()
    outlet.drain()
    print("later", file=outlet)
    outlet.drain()
    os.close(writing)
    reader.join(20)
    told = [int(found[1]) for line in heard if (found := re.fullmatch(r"\((\d+) lines found no reader .*\)", line))]
    numbers = [int(line) for line in heard if line.isdecimal()]
    assert heard[-1] == "later"
    assert len(told) >= 1
    assert len(numbers) + sum(told) == PIPE_LINES_MAX, "every line is there or counted"
    assert numbers == sorted(numbers)
    first_gap = next(place for place, line in enumerate(heard) if not line.isdecimal())
    assert heard[:first_gap] == [str(number) for number in range(first_gap)], "what is lost is said where it is missing"


def test_who_reads_slowly_gets_everything_at_the_end(pipe: tuple[int, int]) -> None:
    reading, writing = pipe
    outlet = Outlet(writing)
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.extend(read_all(reading)))
    outlet.write("".join(f"{number} {'x' * 100}\n" for number in range(5_000)) + "the end of it")
    threading.Timer(0.3, reader.start).start()
    outlet.write("\n")
    outlet.drain()
    os.close(writing)
    reader.join(20)
    assert (len(heard), heard[-1]) == (5_001, "the end of it")


def test_a_reader_who_takes_nothing_is_not_waited_for_without_end_and_one_who_is_gone_not_at_all(
    pipe: tuple[int, int],
) -> None:
    reading, writing = pipe
    outlet = Outlet(writing)
    outlet.write("x" * 100_000 + "\n")
    outlet.drain(standstill_s=0.05)
    os.close(reading)
    outlet.write("nobody\n")
    outlet.drain(standstill_s=1_000)
    outlet.write("nobody\n")
    outlet.drain(standstill_s=1_000)
