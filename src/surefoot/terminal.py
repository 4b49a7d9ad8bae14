"""The live view of a run on a terminal, and the same in plain lines where there is no terminal.

Rules. What counts for safety is said in words, never by colour alone, and is never the part that a small window cuts
off: the state of books, links and entries stands at the top, and positions come before everything else. Texts from the
venue are shown without what a terminal would obey. A picture is made from a `View` and nothing else.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text

from surefoot.core.messages import RecordAlarm, RecordDecision
from surefoot.core.model import RoundTrip
from surefoot.core.view import OrderView, PositionView, PriceView, VenueLimitView, View

NOTES_KEPT = 50
TRIPS_SHOWN = 10
NO_VALUE = "–"
PRICE_WIDTH = 18
PRICE_OLD_MS = 120_000  # longer than the quiet that is usual between two prints of a lively symbol
ALARMED, GOOD, BAD, QUIET, TITLE = "bold red", "green", "red", "dim", "bold"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What the run knows and the engine does not."""

    mode: str
    equity_at_start: Decimal | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class _Section:
    """A titled list; `whole` ones are cut last and from their end, the others lose their oldest lines."""

    title: str
    lines: tuple[Text, ...]
    whole: bool = False


def picture(view: View | None, around: Surroundings, width: int, height: int) -> RenderableType:
    """Everything of note in `height` lines of `width` columns; None is a trader that was not heard yet."""
    head = [Text(f"SUREFOOT {around.mode} · starting", style=TITLE)] if view is None else _head(view, around, width)
    sections = [] if view is None else _sections(view)
    sections.append(_Section("Run", tuple(Text(plain(note)) for note in around.notes)))
    lines = [*head, *_fitted([section for section in sections if section.lines], height - len(head), width)]
    for line in lines:
        line.no_wrap, line.overflow = True, "ellipsis"
        line.truncate(width, overflow="ellipsis")
    return Group(*lines[:height])


# -- the head ---------------------------------------------------------------------------------------------------------


def _head(view: View, around: Surroundings, width: int) -> list[Text]:
    return [
        Text(f"SUREFOOT {around.mode} · run {view.run} · {moment_text(view.at_ms)} UTC", style=TITLE),
        _equity(view, around.equity_at_start),
        _state(view),
        *_troubles(view),
        *_prices(view.prices, view.at_ms, width),
    ]


def _equity(view: View, at_start: Decimal | None) -> Text:
    if view.equity is None:
        return Text(f"Equity {NO_VALUE}: not known until account and prices are read")
    text = Text(f"Equity {view.equity:,.2f} {view.quote}")
    if at_start:
        change = view.equity - at_start
        text.append(f"  {change:+,.2f} ({change / at_start * 100:+.2f} %) since start", style=_sign_style(change))
    text.append(f" · round trips {view.round_trip_count}")
    return text


def _state(view: View) -> Text:
    missing = [link for link in ("account", "market") if link not in view.links]
    text = Text("Books ").append(plain(view.books), style=GOOD if view.books == "agree" else ALARMED)
    text.append(" · links ")
    text.append(f"DOWN: {', '.join(missing)}" if missing else "up", style=ALARMED if missing else GOOD)
    text.append(" · entries ")
    off = view.entries_off or view.breaker.off
    text.append("OFF" if off else "on", style=ALARMED if off else GOOD)
    limits = [f"{each.kind} {each.used}/{each.limit} in {_length(each.interval_ms)}" for each in _tightest(view)]
    return text.append(f" · {', '.join(limits)}") if limits else text


def _tightest(view: View) -> list[VenueLimitView]:
    """Of each kind of limit the one that is used most."""
    by_use = sorted(view.venue_limits, key=lambda each: each.used / each.limit)
    return list({each.kind: each for each in by_use}.values())


def _length(interval_ms: int) -> str:
    for unit_ms, unit in ((86_400_000, "d"), (60_000, "min")):
        if interval_ms % unit_ms == 0:
            return f"{interval_ms // unit_ms} {unit}"
    return f"{interval_ms // 1_000} s"


def _troubles(view: View) -> list[Text]:
    banned_until_ms = view.banned_until_ms
    troubles = [
        ("Banned by the venue until ", "" if banned_until_ms is None else f"{moment_text(banned_until_ms)} UTC"),
        ("No entries: ", view.entries_off),
        ("Breaker: ", view.breaker.off),
        ("Not ours at the venue: ", "; ".join(view.foreign)),
    ]
    return [Text(what + plain(why), style=ALARMED) for what, why in troubles if why]


def _prices(prices: Sequence[PriceView], now_ms: int, width: int) -> list[Text]:
    lines = [Text()]
    for price in prices:
        cell = _price_cell(price, now_ms)
        if lines[-1] and len(lines[-1]) + len(cell) > width:
            lines.append(Text())
        lines[-1].append_text(cell)
    return lines


def _price_cell(price: PriceView, now_ms: int) -> Text:
    shown = f"{price.symbol} {_price(price.price)}"
    age_ms = 0 if price.at_ms is None else now_ms - price.at_ms
    if age_ms > PRICE_OLD_MS:
        return Text(f"{shown} ({age_ms // 1_000} s old)  ", style=QUIET)
    return Text(f"{shown:<{PRICE_WIDTH}} ")


# -- the sections -----------------------------------------------------------------------------------------------------


def _sections(view: View) -> list[_Section]:
    unprotected_first = sorted(view.positions, key=lambda position: position.unprotected_ms is None)
    positions = tuple(_position(position) for position in unprotected_first)
    return [
        _Section(_POSITION_TITLE, positions, whole=True)
        if positions
        else _Section("Positions", (Text("none", style=QUIET),), whole=True),
        _Section("Alarms", tuple(_alarm(alarm) for alarm in view.alarms)),
        _Section("Open orders", tuple(_order(order) for order in view.orders)),
        _Section("Round trips", tuple(_round_trip(trip) for trip in view.round_trips)),
        _Section("Decisions", tuple(_decision(decision) for decision in _worth_showing(view.decisions))),
    ]


_POSITION_TITLE = f"{'Positions':<10}{'quantity':>11}{'entry':>12}{'mark':>12}{'profit':>11}{'stop':>12}{'target':>12}"


def _position(position: PositionView) -> Text:
    text = Text(f"{position.symbol:<10}{_quantity(position.quantity):>11}{_price(position.entry_price):>12}")
    text.append(f"{_price(position.mark):>12}")
    profit = position.profit
    text.append(f"{NO_VALUE if profit is None else f'{profit:+,.2f}':>11}", style=_sign_style(profit or Decimal(0)))
    if position.unprotected_ms is not None:
        return text.append(f"  UNPROTECTED for {position.unprotected_ms / 1_000:.0f} s", style=ALARMED)
    return text.append(f"{_price(position.stop_price):>12}{_price(position.target_price):>12}")


def _order(order: OrderView) -> Text:
    at = " or ".join(_price(price) for price in (order.stop_price, order.price) if price is not None) or "market"
    quantity = NO_VALUE if order.quantity is None else _quantity(order.quantity)
    filled = f" ({_quantity(order.filled)} filled)" if order.filled else ""
    rests = "rests" if order.resting else "does not rest yet"
    what = f"{order.symbol:<9} {order.purpose:<6} {order.side} {order.type} {quantity}{filled} at {at}"
    return Text(plain(f"{what} · {order.state} · {rests}"))


def _round_trip(trip: RoundTrip) -> Text:
    prices = f"{_price(trip.entry_price)} to {_price(trip.exit_price)}"
    text = Text(f"{_time(trip.exit_ms)} {trip.symbol:<9} {trip.side} {_quantity(trip.quantity)} from {prices}  ")
    return text.append(f"{trip.pnl:+,.2f}", style=_sign_style(trip.pnl)).append(f" by {plain(trip.reason)}")


def _worth_showing(decisions: Sequence[RecordDecision]) -> list[RecordDecision]:
    """All with an opinion; of those without, only what is a symbol's newest."""
    newest = {decision.signal.symbol: decision for decision in decisions}
    return [
        decision for decision in decisions if decision.outcome != "none" or decision is newest[decision.signal.symbol]
    ]


def _decision(decision: RecordDecision) -> Text:
    signal = decision.signal
    saw = " ".join(f"{name} {value:.4g}" for name, value in signal.values)
    text = Text(f"{_time(decision.at_ms)} {signal.symbol:<9} ")
    text.append(
        "no signal" if decision.outcome == "none" else decision.outcome, style=_OUTCOMES.get(decision.outcome, "")
    )
    why = plain(decision.detail if decision.outcome == "none" else f"{signal.rule}: {decision.detail}")
    return text.append(f" · {why}" + (f" ({saw})" if saw else ""))


_OUTCOMES = {"approved": GOOD, "none": QUIET}


def _alarm(alarm: RecordAlarm) -> Text:
    return Text(f"{_time(alarm.at_ms)} {plain(alarm.code)}: {plain(alarm.text)}", style=ALARMED)


def _fitted(sections: Sequence[_Section], rows: int, width: int) -> list[Text]:
    """Titles and as many lines as there is room for, shared in turn; what is `whole` is served first."""
    rows -= len(sections)
    given = [0] * len(sections)
    for number, section in enumerate(sections):
        if section.whole:
            given[number] = min(len(section.lines), max(rows - len(sections), 1))
            rows -= given[number]
    while rows > 0 and any(got < len(section.lines) for got, section in zip(given, sections, strict=True)):
        for number, section in enumerate(sections):
            if rows > 0 and given[number] < len(section.lines):
                given[number] += 1
                rows -= 1
    return [
        line for section, got in zip(sections, given, strict=True) if got for line in _lines_of(section, got, width)
    ]


def _lines_of(section: _Section, count: int, width: int) -> list[Text]:
    title = Text(
        f"{section.title} ".ljust(width, "─") if len(section.title) < width - 2 else section.title, style=TITLE
    )
    if not section.whole:
        return [title, *section.lines[-count:]]
    hidden = len(section.lines) - count
    if not hidden:
        return [title, *section.lines]
    return [title, *section.lines[: count - 1], Text(f"and {hidden + 1} more", style=ALARMED)]


# -- words ------------------------------------------------------------------------------------------------------------


def plain(text: str) -> str:
    """Text as it may stand on a terminal: one line, and nothing in it that moves a cursor or sets a colour."""
    return "".join(letter if letter.isprintable() else " " for letter in text)


def _price(value: Decimal | None) -> str:
    if value is None:
        return NO_VALUE
    return f"{value:,.{2 if value >= 1_000 else 4 if value >= 1 else 8}f}"


def _quantity(value: Decimal) -> str:
    return f"{round(value, 8).normalize():f}"


def _time(at_ms: int) -> str:
    return _moment(at_ms).strftime("%H:%M:%S")


def moment_text(at_ms: int) -> str:
    """Day and time of day, UTC."""
    return _moment(at_ms).strftime("%Y-%m-%d %H:%M:%S")


def _moment(at_ms: int) -> datetime:
    return datetime.fromtimestamp(at_ms / 1_000, UTC)


def _sign_style(value: Decimal) -> str:
    return GOOD if value > 0 else BAD if value < 0 else ""


# -- answers ----------------------------------------------------------------------------------------------------------


def summary_lines(summary: Mapping[str, Any]) -> list[str]:
    """How a run ended; the summary is what `surefoot run --json` prints."""
    equity = summary["final_equity"]
    held = ", ".join(summary["open_positions"])
    earned = sum((Decimal(trip["pnl"]) for trip in summary["round_trips"]), Decimal(0))
    return [
        f"{summary['ended']} ({summary['seconds']:.1f} s, trader restarted {summary['restarts']} times)",
        f"equity       {'not known' if equity is None else f'{Decimal(equity):,.2f}'}",
        f"round trips  {len(summary['round_trips'])}, {earned:+,.2f} together",
        f"orders       {summary['orders']}",
        *([f"still open   {held}"] if held else []),
        f"journal      {summary['journal']}",
    ]


def backtest_lines(result: Mapping[str, Any], report: Path | None) -> list[str]:
    """What a backtest found; the result is what `surefoot backtest --json` prints."""
    trips = result["round_trips"]
    shown = trips[-TRIPS_SHOWN:]
    won = sum(Decimal(trip["pnl"]) > 0 for trip in trips)
    start_ms, end_ms = result["period"]
    lines = [
        f"{' '.join(result['symbols'])}  {result['interval']}  {moment_text(start_ms)} to {moment_text(end_ms)}",
        f"candles      {result['candles']:,} in {result['seconds']:.1f} s, {result['candles_per_second']} a second",
        *_detail_lines(result["detail"]),
        f"equity       {Decimal(result['initial_equity']):,.2f} to {Decimal(result['final_equity']):,.2f}",
        f"return       {result['return_pct']:.2f} %" if result.get("return_pct") is not None else "return       –",
        f"round trips  {len(trips)}, {won} won",
        f"exits        {_counts(result['exits'])}",
        f"refusals     {_counts(result['refusals'])}",
        f"digest       {result['digest']}",
        *([f"report       {report}"] if report else []),
        *(f"note         {note}" for note in result.get("notes", ())),
    ]
    if shown:
        lines.append(f"\nlast {len(shown)} round trips")
    return lines + [_trip_row(trip) for trip in shown]


def _detail_lines(detail: Mapping[str, Any]) -> list[str]:
    """How much finer candles decided, and where they tell something else."""
    replaced, disagreeing = detail["candles_replaced"], detail["candles_disagreeing"]
    if not replaced and not disagreeing:
        return []
    lines = [f"detail       finer candles decide {replaced:,} candles, {detail['share_pct']:.2f} %"]
    for symbol, first_ms in detail["first_disagreeing_ms"].items():
        lines.append(
            f"             {symbol}: they tell other prices than the candles, first at {moment_text(first_ms)}"
        )
    return [
        *lines,
        *(
            [f"             {disagreeing:,} candle{'s' * (disagreeing != 1)} kept for that reason"]
            if disagreeing
            else []
        ),
    ]


def _trip_row(trip: Mapping[str, Any]) -> str:
    entry, left, pnl = (Decimal(trip[name]) for name in ("entry_price", "exit_price", "pnl"))
    times = f"{moment_text(trip['entry_ms'])} {moment_text(trip['exit_ms'])}"
    what = f"{trip['symbol']:<9} {trip['side']:<5} {entry:>13,.4f} {left:>13,.4f}"
    return f"{times} {what} {trip['reason']:<7} {pnl:>+12,.2f}"


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in counts.items()) or "none"


# -- plain lines ------------------------------------------------------------------------------------------------------


class Changes:
    """What became different from one picture to the next, a line each."""

    def __init__(self) -> None:
        self._before: View | None = None

    def lines(self, view: View) -> list[str]:
        before, self._before = self._before, view
        if before is None:
            return [self._first(view), *(_position_line(position) for position in view.positions)]
        told = [f"run {view.run} has taken over from {before.run}"] if view.run != before.run else []
        told += [_entries_line(view)] if _entries_line(view) != _entries_line(before) else []
        told += _position_changes(before, view)
        told += [_trip_line(trip, view.quote) for trip in _new_trips(before, view)]
        told += [f"ALARM {alarm.code}: {alarm.text}" for alarm in _after(before.alarms, view.alarms)]
        return [f"{moment_text(view.at_ms)} {plain(line)}" for line in told]

    def _first(self, view: View) -> str:
        return plain(f"{moment_text(view.at_ms)} run {view.run}, {_entries_line(view)}")


def _entries_line(view: View) -> str:
    off = view.entries_off or view.breaker.off
    return f"entries off: {off}" if off else "entries on, books agree"


def _position_changes(before: View, now: View) -> list[str]:
    old = {position.symbol: position for position in before.positions}
    new = {position.symbol: position for position in now.positions}
    changed = [p for p in now.positions if p.symbol not in old or _essence(p) != _essence(old[p.symbol])]
    closed = [symbol for symbol in old if symbol not in new]
    return [_position_line(position) for position in changed] + [f"position {symbol} closed" for symbol in closed]


def _essence(position: PositionView) -> tuple[object, ...]:
    return position.quantity, position.stop_price, position.target_price, position.unprotected_ms is None


def _position_line(position: PositionView) -> str:
    held = f"position {position.symbol} {_quantity(position.quantity)} from {_price(position.entry_price)}"
    if position.unprotected_ms is not None:
        return f"{held} UNPROTECTED for {position.unprotected_ms / 1_000:.0f} s"
    return f"{held}, stop {_price(position.stop_price)}, target {_price(position.target_price)}"


def _new_trips(before: View, now: View) -> Sequence[RoundTrip]:
    count = now.round_trip_count - before.round_trip_count
    return now.round_trips[-count:] if count > 0 else ()


def _trip_line(trip: RoundTrip, quote: str) -> str:
    prices = f"{_price(trip.entry_price)} to {_price(trip.exit_price)}"
    return f"round trip {trip.symbol} {trip.side} {prices} by {trip.reason}: {trip.pnl:+,.2f} {quote}"


def _after(before: Sequence[RecordAlarm], now: Sequence[RecordAlarm]) -> Sequence[RecordAlarm]:
    """What is new in a list that loses its oldest when it is full."""
    if not before or before[-1] not in now:
        return now
    return now[len(now) - now[::-1].index(before[-1]) :]


# -- screens ----------------------------------------------------------------------------------------------------------


class PlainScreen:
    """Lines only: for a pipe, a log, or whoever likes them better."""

    def __init__(self, write: Callable[[str], None]) -> None:
        self._write = write
        self._changes = Changes()

    def note(self, text: str) -> None:
        self._write(plain(text))

    def show(self, view: View) -> None:
        for line in self._changes.lines(view):
            self._write(line)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Nothing was taken that has to be given back."""


class LiveScreen:
    """The whole terminal, redrawn with each picture; what was there before comes back at the end, with the notes."""

    def __init__(self, mode: str, console: Console | None = None) -> None:
        self._mode = mode
        self._console = console or Console(file=sys.stdout)
        self._notes: deque[str] = deque(maxlen=NOTES_KEPT)
        self._view: View | None = None
        self._equity_at_start: Decimal | None = None
        self._live = Live(console=self._console, screen=True, auto_refresh=False)

    def note(self, text: str) -> None:
        self._notes.append(text)
        self._draw()

    def show(self, view: View) -> None:
        self._view = view
        if self._equity_at_start is None:
            self._equity_at_start = view.equity
        self._draw()

    def _draw(self) -> None:
        around = Surroundings(self._mode, self._equity_at_start, tuple(self._notes))
        size = self._console.size
        self._live.update(picture(self._view, around, size.width, size.height), refresh=True)

    def __enter__(self) -> Self:
        self._live.start()
        self._draw()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._live.stop()
        for note in self._notes:
            self._console.print(plain(note), markup=False, highlight=False)
