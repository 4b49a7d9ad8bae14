"""How far a long command is: a log hears that it is alive also while nothing gets done."""

from __future__ import annotations

import time

import pytest

from surefoot.commands.progress import Progress


@pytest.mark.spec("BT-4")
def test_without_a_terminal_a_line_comes_for_each_part_and_now_and_then(capsys: pytest.CaptureFixture[str]) -> None:
    told = ""
    with Progress("looks", line_every_s=0.01) as progress:
        progress.show(1, 7, "searching")
        progress.show(2, 7, "searching")
        progress.show(2, 7, "confirming")
        deadline_s = time.monotonic() + 30
        while told.count("confirming: 2 of 7 looks, 0:") < 3:  # of which nothing more was heard than once
            assert time.monotonic() < deadline_s, told
            time.sleep(0.01)
            told += capsys.readouterr().err
    assert told.startswith("surefoot: searching: 1 of 7 looks, 0:00\n")
    assert capsys.readouterr().out == ""


@pytest.mark.spec("BT-4")
def test_a_short_run_without_parts_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("candles") as progress:
        progress.show(5, 5)
    assert capsys.readouterr().err == ""
