"""The page of an optimisation: what was tried, what held, and the plain sentence."""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from surefoot.core.model import MS_PER_DAY
from surefoot.research.report_charts import heat_map
from surefoot.research.report_optimization import optimization_html, write_optimization_report

START_MS = 1_704_067_200_000


def study(**changes: Any) -> dict[str, Any]:
    whole: dict[str, Any] = {
        "strategy": "rsi",
        "symbols": ["BTCUSDT"],
        "interval": "15m",
        "period": [START_MS, START_MS + 400 * MS_PER_DAY],
        "method": "tpe",
        "seed": 7,
        "seconds": 81.2,
        "objective": "Sharpe ratio",
        "trials_count": 400,
        "trials": [
            {"number": at, "params": {"rsi.period": 7 + at}, "score": 2 - at / 20, "return_pct": 20 - at,
             "max_drawdown_pct": 9, "sharpe": 1.5, "round_trips": 120,
             "exact": {"return_pct": 20 - at, "round_trips": 120, "agrees": at != 1} if at < 5 else None}
            for at in range(30)
        ],
        "plateau": {"x": "rsi.period", "y": "rsi.oversold", "x_values": [7, 14], "y_values": [20, 30],
                    "scores": [[0.5, -0.25], [None, 1.5]]},
        "walk_forward": {
            "folds": [{"train": [START_MS, START_MS + 100 * MS_PER_DAY],
                       "test": [START_MS + 100 * MS_PER_DAY, START_MS + 150 * MS_PER_DAY], "params": {"rsi.period": 9},
                       "in_sample": 1.8, "out_of_sample": -0.3, "return_pct": -1.25, "round_trips": 31}],
            "return_pct": 4.2,
            "equity_curve": [[START_MS + day * MS_PER_DAY, 1_000 + day % 7] for day in range(50)],
        },
        "deflated_sharpe": {"probability": 0.97, "sharpe": 1.9, "expected_max_sharpe": 1.1, "trials": 400},
        "pbo": {"probability": 0.12, "splits": 12_870, "basis": "CSCV of 16 blocks"},
        "looks": 3,
        "digest": "cd" * 32,
    }  # fmt: skip
    return whole | changes


def text_of(page: str) -> str:
    body = re.sub(r"<(script|style)>.*?</\1>|<script type.*?</script>", " ", page, flags=re.DOTALL)
    return unescape(" ".join(re.sub(r"<[^>]*>", " ", body).split()))


@pytest.mark.spec("BT-4", "BT-5")
def test_the_page_has_trials_folds_luck_and_looks(tmp_path: Path) -> None:
    page = write_optimization_report(tmp_path / "study.html", study()).read_text(encoding="utf-8")
    text = text_of(page)
    wanted = [
        "optimisation of rsi BTCUSDT 15m", "Trials 400", "Looks at this period 3", "Out of sample, after costs 4.20 %",
        "0 2.000 20.00 % 9.00 % 1.50 120 agrees, 20.00 % 7", "1 1.950 19.00 % 9.00 % 1.50 120 DISAGREES, 19.00 % 8",
        "The best 20 of 400",
        "1 2024-01-01 to 2024-04-10 2024-04-10 to 2024-05-30 1.800 -0.300 -1.25 % 31 rsi.period 9",
        "(deflated) 0.970", "best of 400 trials 1.100", "(PBO) 0.120", "CSCV of 16 blocks", "cd" * 32,
    ]  # fmt: skip
    assert [figure for figure in wanted if figure not in text] == []
    assert "26.0" not in text, "only the best 20 are shown"
    assert not re.search(r"https?:|[\"'(]//", page)


@pytest.mark.spec("BT-4")
def test_the_plain_sentence_about_an_edge_stands_first_and_is_never_made_up() -> None:
    told = text_of(optimization_html(study(verdict="No edge: it <lost>.")))
    assert 0 < told.index("No edge: it <lost>.") < told.index("Trials 400")
    assert "Whether there is an edge was not measured." in text_of(optimization_html(study()))


@pytest.mark.spec("BT-4")
def test_the_plateau_frames_the_best_and_leaves_holes_where_nothing_was_tried() -> None:
    page = heat_map("Plateau", study()["plateau"])
    assert text_of(page).startswith("Plateau rsi.oversold ↓ rsi.period → 7 14 20 0.50 -0.25 30 – 1.50")
    assert re.findall(r'class="tint top"[^>]*>([^<]*)', page) == ["1.50"]
    assert re.findall(r"--c:var\(--(\w+)\);--s:(\d+)%", page) == [("won", "35"), ("lost", "24"), ("won", "60")]


@pytest.mark.spec("BT-5")
def test_what_a_study_does_not_have_is_not_measured() -> None:
    text = text_of(optimization_html({}))
    for title in ("Walk-forward", "Equity of all tests in a row", "Plateau", "Trials", "Luck and overfitting"):
        assert f"{title} not measured" in text
    assert "0.00" not in text
    assert "no combination has a score" in heat_map("Plateau", study()["plateau"] | {"scores": [[None]]})
