"""What a person sees: at any size, without colour, with what matters for safety always on it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from io import StringIO

import pytest
from rich.console import Console

from surefoot.core.view import BreakerView, PriceView, VenueLimitView, View
from surefoot.terminal import Changes, LiveScreen, PlainScreen, Surroundings, picture, plain
from tests.views import NOON_MS, alarm, decision, empty_view, order, position, rich_view, round_trip

SIZES = [(80, 24), (200, 60), (40, 12)]


def seen(view: View | None, width: int = 80, height: int = 24, around: Surroundings | None = None) -> list[str]:
    """The lines of a picture on a terminal of that size, without colour."""
    console = Console(record=True, width=width, height=height, color_system=None, file=StringIO())
    console.print(picture(view, around or Surroundings("paper", Decimal(10_000)), width, height))
    return console.export_text().splitlines()


def crowded() -> View:
    """More of everything than a small terminal can show, and one position unprotected."""
    symbols = [f"COIN{number}USDT" for number in range(12)]
    return replace(
        rich_view(),
        prices=tuple(PriceView(symbol, Decimal("1.5"), NOON_MS) for symbol in symbols),
        positions=(*(position(symbol) for symbol in symbols), position("ETHUSDT", unprotected_ms=4_200)),
        orders=tuple(order(number, "stop") for number in range(24)),
        round_trips=tuple(round_trip(number) for number in range(20)),
        decisions=tuple(decision(number, "none", "x" * 300) for number in range(50)),
        alarms=tuple(alarm(number) for number in range(50)),
    )


@pytest.mark.parametrize(("width", "height"), SIZES)
@pytest.mark.parametrize("view", [rich_view(), empty_view(), crowded(), None], ids=["rich", "empty", "crowded", "none"])
def test_a_picture_never_leaves_its_terminal(view: View | None, width: int, height: int) -> None:
    lines = seen(view, width, height)
    assert len(lines) <= height
    assert max(map(len, lines)) <= width


@pytest.mark.parametrize(("width", "height"), SIZES[:2])
def test_an_unprotected_position_is_said_in_words_at_every_size(width: int, height: int) -> None:
    (line,) = [line for line in seen(crowded(), width, height) if "UNPROTECTED" in line]
    assert line.startswith("ETHUSDT")
    assert "UNPROTECTED for 4 s" in line


def test_a_position_shows_quantity_entry_mark_profit_and_what_rests_for_it() -> None:
    (line,) = [line for line in seen(rich_view()) if line.startswith("BTCUSDT  ") and "+13.22" in line]
    assert line.split() == ["BTCUSDT", "0.02979", "67,000.10", "67,511.00", "+13.22", "65,660.09", "69,680.11"]


def test_head_tells_mode_run_market_time_equity_change_and_state() -> None:
    text = "\n".join(seen(rich_view()))
    assert "SUREFOOT paper · run a1b2 · 2025-06-01 12:00:05 UTC" in text
    assert "Equity 10,012.34 USDT  +12.34 (+0.12 %) since start · round trips 2" in text
    assert "Books agree · links up · entries on" in text
    assert "Not ours at the venue: order 77 on BTCUSDT is not ours" in text


@pytest.mark.spec("NET-2")
def test_head_tells_how_much_of_the_venues_limits_is_used_and_a_ban() -> None:
    limits = (
        VenueLimitView("weight", 60_000, 6_000, 42),
        VenueLimitView("orders", 10_000, 100, 3),
        VenueLimitView("orders", 86_400_000, 200_000, 60_000),
    )
    text = "\n".join(seen(replace(rich_view(), venue_limits=limits, banned_until_ms=NOON_MS + 120_000), 140, 40))
    assert "entries on · weight 42/6000 in 1 min, orders 60000/200000 in 1 d" in text
    assert "Banned by the venue until 2025-06-01 12:02:05 UTC" in text


@pytest.mark.spec("RISK-2")
def test_reasons_against_entries_are_told_in_words() -> None:
    breaker = "the loss of the day reached 5 %: no entries until 00:00 UTC"
    text = "\n".join(seen(replace(rich_view(), breaker=BreakerView(breaker, (), ()))))
    assert "entries OFF" in text
    assert f"Breaker: {breaker}" in text
    text = "\n".join(seen(empty_view()))
    assert "links DOWN: account, market · entries OFF" in text
    assert "No entries: no link to account and market" in text


@pytest.mark.spec("SIG-8")
def test_decisions_say_why_and_why_not() -> None:
    text = "\n".join(seen(rich_view()))
    assert "SOLUSDT   approved · oversold: 0.59 SOL at up to 152.48 (rsi 27.31)" in text
    assert "SOLUSDT   already-holding · oversold: already holding 0.02979" in text
    quiet = replace(rich_view(), decisions=(decision(1, "none", "rsi is low"), decision(2, "none", "rsi is neutral")))
    assert [line for line in seen(quiet) if "no signal" in line] == [
        "11:45:05 SOLUSDT   no signal · rsi is neutral (rsi 27.31)"
    ]


def test_round_trips_orders_and_alarms_are_there() -> None:
    text = "\n".join(seen(rich_view(), 110, 40))
    assert "ETHUSDT   long 0.5871 from 3,400.00 to 3,536.00  +75.77 by target" in text
    assert "BTCUSDT   stop   SELL STOP_LOSS 0.02979 at 65,660.09 · NEW · rests" in text
    assert "12:00:05 order-alarm: stop of BTCUSDT was refused" in text


def test_an_order_that_waits_for_its_entry_is_not_said_to_rest() -> None:
    view = replace(rich_view(), orders=(order(3, "stop", resting=False),))
    assert any("NEW · does not rest yet" in line for line in seen(view))


def test_the_newest_lines_survive_when_there_is_no_room() -> None:
    view = replace(rich_view(), alarms=tuple(alarm(number, f"alarm {number}") for number in range(50)))
    text = "\n".join(seen(view))
    assert "alarm 49" in text
    assert "alarm 0" not in text.split()


def test_positions_that_do_not_fit_are_counted() -> None:
    lines = seen(crowded())
    shown = [line for line in lines if "65,660.09" in line and line.startswith("COIN")]
    (more,) = [line for line in lines if line.startswith("and ")]
    assert len(shown) + int(more.split()[1]) == 12


def test_an_old_price_says_how_old_it_is() -> None:
    view = replace(rich_view(), prices=(PriceView("SOLUSDT", Decimal("152.33"), NOON_MS - 200_000),))
    assert any("SOLUSDT 152.3300 (200 s old)" in line for line in seen(view))


@pytest.mark.spec("SAFE-5")
def test_text_from_the_venue_cannot_drive_the_terminal() -> None:
    evil = "\x1b[2J\x1b]0;mine\x07 stop\nrefused [red]x[/red]"
    view = replace(rich_view(), alarms=(alarm(1, evil),), foreign=(evil,), entries_off=evil)
    console = Console(width=200, height=60, color_system=None, file=StringIO(), record=True)
    console.print(picture(view, Surroundings("paper"), 200, 60))
    text = console.export_text()
    assert "\x1b" not in text
    assert "\x07" not in text
    assert "[red]x[/red]" in text
    assert plain("a\x1b[31m\nb") == "a [31m b"


def told(*views: View) -> list[str]:
    changes = Changes()
    return [line.partition(" UTC ")[2] or line[20:] for view in views for line in changes.lines(view)][1:]


def test_plain_lines_tell_changes_only() -> None:
    calm = replace(rich_view(), positions=(position(),))
    assert told(calm, calm, replace(calm, at_ms=NOON_MS + 1_000)) == [told(calm)[0]]


def test_plain_lines_tell_positions_round_trips_and_alarms() -> None:
    flat = replace(rich_view(), positions=(), alarms=(), round_trips=(), round_trip_count=0)
    held = replace(flat, positions=(position(),))
    bare = replace(flat, positions=(position(unprotected_ms=2_000),))
    barer = replace(flat, positions=(position(unprotected_ms=2_250),))
    closed = replace(flat, round_trips=(round_trip(1),), round_trip_count=1, alarms=(alarm(1),))
    assert told(flat, held, bare, barer, closed) == [
        "position BTCUSDT 0.02979 from 67,000.10, stop 65,660.09, target 69,680.11",
        "position BTCUSDT 0.02979 from 67,000.10 UNPROTECTED for 2 s",
        "position BTCUSDT closed",
        "round trip ETHUSDT long 3,400.00 to 3,536.00 by target: +75.77 USDT",
        "ALARM order-alarm: stop of BTCUSDT was refused",
    ]


def test_plain_lines_tell_each_alarm_once_though_the_view_forgets_old_ones() -> None:
    before = replace(rich_view(), alarms=tuple(alarm(number, f"{number}") for number in range(50)))
    after = replace(rich_view(), alarms=tuple(alarm(number, f"{number}") for number in range(2, 52)))
    assert [line for line in told(before, after, after) if "ALARM" in line] == [
        "ALARM order-alarm: 50",
        "ALARM order-alarm: 51",
    ]


def test_plain_lines_tell_when_entries_go_off_and_when_another_run_takes_over() -> None:
    off = replace(rich_view(), positions=(), entries_off="ledger and venue differ: BTC 1 against 2")
    again = replace(off, run="c3d4", entries_off=None)
    assert told(replace(rich_view(), positions=()), off, again) == [
        "entries off: ledger and venue differ: BTC 1 against 2",
        "run c3d4 has taken over from a1b2",
        "entries on, books agree",
    ]


def test_the_plain_screen_writes_a_line_for_a_note_and_for_a_change() -> None:
    lines: list[str] = []
    with PlainScreen(lines.append) as screen:
        screen.note("exchange up")
        screen.show(replace(rich_view(), positions=()))
        screen.show(replace(rich_view(), positions=()))
    assert lines == ["exchange up", "2025-06-01 12:00:05 run a1b2, entries on, books agree"]


def test_the_live_screen_gives_the_terminal_back_and_leaves_the_notes() -> None:
    out = StringIO()
    console = Console(file=out, force_terminal=True, width=80, height=24, color_system=None)
    with LiveScreen("paper", console) as screen:
        screen.note("exchange up")
        screen.show(rich_view())
    text = out.getvalue()
    enter, leave = "\x1b[?1049h", "\x1b[?1049l"
    assert text.index(enter) < text.index("SUREFOOT paper") < text.index(leave)
    assert "UNPROTECTED for 4 s" in text
    assert text.rpartition(leave)[2].strip().endswith("exchange up")
