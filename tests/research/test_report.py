"""The report: one page that stands alone and shows what the result has."""

from __future__ import annotations

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from surefoot.core.model import MS_PER_DAY
from surefoot.research.report import report_html, write_report
from surefoot.research.report_charts import monthly_returns, round_values, thinned

START_MS = 1_704_067_200_000  # 2024-01-01 00:00 UTC
OUTCOMES = {
    "draws": 500, "final_equity": {"p5": 950.0, "p95": 1_200.5}, "max_drawdown_pct": {"p5": 2.5, "p95": 4.0},
    "loss_pct": 12.5,
}  # fmt: skip
VOID = {"meta", "link", "br", "img", "input", "hr", "line", "polyline"}


class Page(HTMLParser):
    """Collects text and attributes, and complains about a tag that is closed in the wrong place or not at all."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.words: list[str] = []
        self.scripts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if self.open and self.open[-1] in {"script", "style"} else self.words).append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())


def trip(number: int, pnl: str) -> dict[str, Any]:
    return {
        "symbol": "BTCUSDT",
        "side": "long",
        "entry_ms": START_MS + number * MS_PER_DAY,
        "exit_ms": START_MS + (number + 1) * MS_PER_DAY,
        "entry_price": "42000.10",
        "exit_price": "42111.20",
        "quantity": "0.01666",
        "reason": "target",
        "pnl": pnl,
        "dust_loss": "0",
    }


def result(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "candles": 69_883,
        "seconds": 1.234,
        "symbols": ["BTCUSDT", "ETHUSDT"],
        "interval": "15m",
        "engine": "exact",
        "period": [START_MS, START_MS + 90 * MS_PER_DAY],
        "initial_equity": "1000.00",
        "final_equity": "1081.50",
        "equity_curve": [[START_MS + day * MS_PER_DAY, 1000 + day + 20 * math.sin(day)] for day in range(90)],
        "round_trips": [trip(3, "12.34"), trip(9, "-7.77")],
        "refusals": {"exposure": 41, "minimum score": 1234},
        "exits": {"stop": 5, "target": 7},
        "metrics": {"return_pct": 8.15, "max_drawdown_pct": 3.21, "max_drawdown_ms": 93_600_000, "sharpe": 1.87,
                    "win_rate_pct": 58.33, "cagr_pct": 12.5,
                    "profit_factor": None, "sharpe_basis": "daily returns"},
        "settings": {"risk": {"max_positions": 3}, "strategy": "rsi", "symbols": ["BTCUSDT", "ETHUSDT"]},
        "data": [{"file": "BTCUSDT.parquet", "sha256": "ab" * 32, "rows": 69_883, "gaps": [1]}],
        "digest": "cd" * 32,
        "fill_model": ["A candle is four ticks.", "Entries fill on the next candle's open."],
    }  # fmt: skip
    return whole | changes


@pytest.mark.spec("BT-5")
def test_the_report_is_one_well_formed_page_with_every_figure(tmp_path: Path) -> None:
    place = write_report(tmp_path / "report.html", result())
    text = Page(place.read_text(encoding="utf-8")).text
    wanted = [
        "BTCUSDT, ETHUSDT 15m", "69,883 candles in 1.23 s", "1,000.00 → 1,081.50",
        "2024-01-01 00:00 to 2024-03-31 00:00",
        "Return 8.15 %", "Largest drawdown 3.21 %", "Drawdown lasted 1 d 2 h", "Sharpe ratio 1.87", "Won 58.33 %",
        "Sharpe 1.87 daily returns", "Max drawdown, duration 1 d 2 h", "Engine: exact.", "CAGR 12.50 % growth a year",
        "minimum score 1,234 97 % of all exposure 41",
        "target 7 58 % of all stop 5", "12.34", "-7.77",
        "42111.20",
        "2024-01-04 00:00", "risk.max_positions 3", "strategy rsi", "ab" * 32, "cd" * 32, "A candle is four ticks.",
        "Entries fill on the next candle's open.", "Jan", "Year as a whole",
    ]  # fmt: skip
    assert [figure for figure in wanted if figure not in text] == []


@pytest.mark.spec("BT-5")
def test_the_page_stands_alone() -> None:
    text = report_html(result())
    page = Page(text)
    assert not re.search(r"https?:|[\"'(]//", text)
    assert ("content", "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'") in page.attributes
    assert not re.search(r"url\(|@import|\bfetch\(|XMLHttpRequest|WebSocket|import\(", text)
    assert {"src", "href", "srcset", "action"}.isdisjoint(name for name, _ in page.attributes)
    assert {"link", "img", "iframe", "base"}.isdisjoint(page.tags)


@pytest.mark.spec("BT-5")
def test_the_page_suits_a_phone_and_both_colour_schemes() -> None:
    text = report_html(result())
    assert ("content", "width=device-width, initial-scale=1") in Page(text).attributes
    assert "prefers-color-scheme: dark" in text
    assert text.count("overflow-x: auto") == 1


@pytest.mark.spec("BT-5")
def test_both_curves_are_drawn_inside_their_frame_and_readable_by_the_script() -> None:
    page = Page(report_html(result()))
    lines = [value for name, value in page.attributes if name == "points"]
    assert len(lines) == 2
    for line in lines:
        points = [tuple(map(float, pair.split(","))) for pair in line.split()]
        assert len(points) == 90
        assert (min(y for _, y in points), max(y for _, y in points)) == (0, 240)
        assert (points[0][0], points[-1][0]) == (0, 1000)
    curves = [json.loads(script) for script in page.scripts if script.startswith("[[")]
    assert curves[0] == result()["equity_curve"]
    assert max(value for _, value in curves[1]) == 0
    assert [value for name, value in page.attributes if name == "class" and value in {"won", "lost"}] == ["won", "lost"]


@pytest.mark.spec("BT-5")
def test_text_from_the_result_cannot_become_markup() -> None:
    evil = "<script>alert(1)</script>&\"'"
    text = report_html(
        result(
            symbols=[evil], interval=evil, period=evil, digest=evil, fill_model=[evil], settings={evil: evil},
            refusals={evil: 1}, exits={evil: 1}, metrics={"sharpe_basis": evil},
            data=[{"file": evil, "sha256": evil, "rows": 1, "gaps": evil}],
            round_trips=[trip(1, "1") | {"symbol": evil, "reason": evil, "side": evil, "quantity": evil}],
        )
    )  # fmt: skip
    assert "<script>alert" not in text
    assert Page(text).text.count("<script>alert(1)</script>") >= 12


@pytest.mark.spec("BT-5")
def test_what_the_result_does_not_have_is_a_dash_and_never_zero() -> None:
    text = Page(report_html({})).text
    assert "Return –" in text
    assert "Sharpe ratio –" in text
    assert "– candles in – s" in text
    assert "Profit factor –" in Page(report_html(result())).text
    assert "0.00" not in text
    unmeasured = [
        "Equity", "Drawdown in %", "Months", "Candles", "Band: the path inside the candles", "Exits by kind",
        "Refusals by rule", "Costs", "Trips of the breaker",
        "Monte Carlo: the same round trips, otherwise", "All figures", "Round trips", "Fill model",
        "Settings",
    ]  # fmt: skip
    assert [title for title in unmeasured if f"{title} not measured" not in text] == []


@pytest.mark.spec("BT-5")
def test_none_is_told_apart_from_not_measured() -> None:
    text = Page(report_html({"exits": {}, "refusals": {}, "trips": [], "round_trips": []})).text
    for title in ("Exits by kind", "Refusals by rule", "Trips of the breaker", "Round trips"):
        assert f"{title} none" in text


@pytest.mark.spec("BT-5")
def test_costs_that_are_not_known_are_left_out_of_the_sum() -> None:
    costs = {"fees": "12.5", "spread": "3", "slippage": None, "funding": None}
    text = Page(report_html(result(costs=costs))).text
    assert "Fees 12.50 1.250 %" in text
    assert "Slippage not measured –" in text
    assert "Funding not measured –" in text
    assert "Together 15.50 1.550 % of what was measured" in text


@pytest.mark.spec("BT-3")
def test_the_band_shows_both_paths_and_the_round_trips_that_depend_on_them() -> None:
    side = {"return_pct": 8.15, "max_drawdown_pct": 3.2, "round_trips": 2}
    band = {
        "worst": side | {"final_equity": "1081.50"},
        "best": side
        | {"final_equity": "1100.00", "return_pct": 10.0, "equity_curve": [[START_MS, 1], [START_MS + 1, 2]]},
        "dependent": [1],
    }
    trips = [trip(3, "12.34") | {"path_dependent": False}, trip(9, "-7.77") | {"path_dependent": True}]
    page = Page(report_html(result(band=band, round_trips=trips)))
    assert "Final equity 1,081.50 1,100.00 +18.50" in page.text
    assert "1 of 2 round trips depend on the path" in page.text
    rows = re.findall(r"(\d) BTCUSDT long [^B]*? (depends|either)", page.text)
    assert rows == [("2", "depends"), ("1", "either"), ("2", "depends")]  # first those of the band, then all
    assert ("class", "best-path") in page.attributes


@pytest.mark.spec("BT-5")
def test_trips_monte_carlo_and_notes_are_told_when_the_result_has_them() -> None:
    text = Page(
        report_html(
            result(
                trips=[{"at_ms": START_MS, "rule": "drawdown", "tier": "flatten", "value": "15.2", "limit": "15"}],
                notes=["The fast loop fills at once."],
                monte_carlo={
                    "seed": 7,
                    "order": OUTCOMES,
                    "missed_fills": OUTCOMES | {"missed_pct": 5.0, "loss_pct": 25},
                },
                detail={"candles_replaced": 1_200, "share_pct": 12.5, "candles_disagreeing": 3},
            )
        )
    ).text
    assert "2024-01-01 00:00 drawdown flatten 15.2 15" in text
    assert "To know when reading this The fast loop fills at once." in text
    figures = "5 % are below 95 % are below Final equity 950.00 1,200.50 Largest drawdown 2.50 % 4.00 %"
    assert f"In another order {figures} 12.50 % of 500 draws end with a loss." in text
    assert f"Without some, 5 % {figures} 25.00 % of 500 draws end with a loss." in text
    assert "inside 1,200 candles (12.50 %); 3 others disagreed" in text


def test_a_long_list_of_round_trips_is_cut_and_says_so() -> None:
    text = Page(report_html(result(round_trips=[trip(number % 80, "1.00") for number in range(2_500)]))).text
    assert "The first 2000 of 2500; the JSON output has all." in text
    assert text.count("0.01666") == 2_000


@pytest.mark.spec("BT-5")
def test_monthly_returns_worked_by_hand() -> None:
    curve = [(START_MS, 1000.0), (START_MS + 30 * MS_PER_DAY, 1100.0), (START_MS + 31 * MS_PER_DAY, 990.0)]
    months = monthly_returns(curve)
    assert months == {(2024, 1): pytest.approx(10), (2024, 2): pytest.approx(-10)}
    assert monthly_returns([]) == {}
    text = Page(report_html(result(equity_curve=curve))).text
    assert "2024 10.00 % -10.00 % – – – – – – – – – – -1.00 %" in text


def test_a_thinned_curve_keeps_its_ends_and_its_extremes() -> None:
    curve = [
        (number, math.sin(number / 50) + (number == 7_777) * 5 - (number == 3_333) * 5) for number in range(20_000)
    ]
    points = thinned(curve, 500)
    assert len(points) <= 500
    assert (points[0], points[-1]) == (curve[0], curve[-1])
    assert {curve[7_777], curve[3_333]} <= set(points)
    assert points == sorted(points)
    assert thinned(curve[:500], 500) == curve[:500]


def test_levels_of_a_chart_are_round_and_inside() -> None:
    assert round_values(9_840, 11_310, 4) == [10_000, 10_500, 11_000]
    assert round_values(-8.2, 0, 4) == pytest.approx([-5, 0])
    assert round_values(7, 7, 4) == [7]


def test_a_flat_curve_and_a_single_point_are_drawn_without_a_fault() -> None:
    flat = Page(report_html(result(equity_curve=[[START_MS, 1000.0], [START_MS + 1, 1000.0]])))
    assert "1,000.00" in flat.text
    assert "too few points to draw" in Page(report_html(result(equity_curve=[[START_MS, 1000.0]]))).text
