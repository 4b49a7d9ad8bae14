"""Reports in a real browser: no errors, charts drawn, nothing wider than a phone, nothing asked of a network.

Chromium runs headless, opens a frame of a phone's width around the page, and a probe inside the page answers what it
found. Where no Chromium is installed, these tests are skipped.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from surefoot.research.report import report_html
from surefoot.research.report_optimization import optimization_html
from tests.research.test_report import OUTCOMES, START_MS, result
from tests.research.test_report_candles import MINUTE_MS, trip, walk
from tests.research.test_report_optimization import study

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
PHONE_PX, DESK_PX = 400, 1_200
LIGHT, DARK = 1, 0  # as Chromium numbers its colour schemes
SECONDS_MAX = 60

EARS = """<script>
window.faults = [];
addEventListener('error', (event) => faults.push(event.message || 'failed: ' + event.target.tagName), true);
addEventListener('securitypolicyviolation', (event) => faults.push('refused: ' + event.blockedURI));
const complain = console.error;
console.error = (...words) => { faults.push(words.join(' ')); complain(...words); };
</script>"""

PROBE = """<script>
addEventListener('load', async () => {
  const pause = () => new Promise((done) => setTimeout(done, 50));
  const canvas = document.querySelector('canvas'), seen = {};
  const drawn = () => {
    const bytes = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data, colours = new Set();
    for (let at = 0; at < bytes.length; at += 4) if (bytes[at + 3]) colours.add(bytes.slice(at, at + 3).join());
    const told = document.querySelector('.candles output').textContent;
    return { colours: colours.size, what: canvas.dataset.drawn, told };
  };
  const point = (target, x, y) => {
    const box = target.getBoundingClientRect();
    const at = { bubbles: true, clientX: box.left + x, clientY: box.top + y };
    target.dispatchEvent(new PointerEvent('pointermove', at));
  };
  await pause();
  if (canvas) {
    seen.whole = drawn();
    document.querySelector('[data-trip="2"]').click();
    await pause();
    seen.trip = drawn();
    point(canvas, canvas.clientWidth / 3, 100);
    seen.pointed = drawn();
    canvas.dispatchEvent(new WheelEvent('wheel', { deltaY: -300, ctrlKey: true, bubbles: true, cancelable: true }));
    canvas.dispatchEvent(new KeyboardEvent('keydown', { key: 'ArrowLeft', bubbles: true, cancelable: true }));
    await pause();
    seen.near = drawn();
    for (const button of document.querySelectorAll('.buttons button')) button.click();
    seen.again = drawn();
  }
  const chart = document.querySelector('.chart svg');
  if (chart) {
    point(chart, 100, 50);
    seen.hover = chart.closest('.chart').querySelector('output').textContent;
  }
  for (const details of document.querySelectorAll('details')) details.open = true;
  const boxes = [...document.querySelectorAll('polyline')].map((line) => line.getBoundingClientRect());
  seen.lines = boxes.map((box) => [box.width, box.height]);
  seen.wider = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  seen.width = innerWidth;
  seen.paper = getComputedStyle(document.body).backgroundColor;
  seen.loaded = performance.getEntriesByType('resource').map((entry) => entry.name);
  await pause();
  parent.postMessage(JSON.stringify({ ...seen, faults }), '*');
});
</script>"""

FRAME = """<!doctype html><meta charset="utf-8"><body style="margin:0"><pre></pre>
<iframe src="page.html" style="border:0;width:{width}px;height:900px"></iframe>
<script>
addEventListener('message', (event) => {{ document.querySelector('pre').textContent = event.data; }});
</script>"""


@pytest.fixture(scope="session")
def chromium() -> str:
    found = next((place for name in NAMES if (place := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"needs a browser: none of {', '.join(NAMES)} is installed")
    return found


def seen_by(chromium: str, folder: Path, page: str, width: int, scheme: int) -> dict[str, Any]:
    """What the probe tells of a page."""
    probed = page.replace("<title>", f"{EARS}<title>", 1).replace("</body>", f"{PROBE}</body>", 1)
    (folder / "page.html").write_text(probed, encoding="utf-8")
    (folder / "frame.html").write_text(FRAME.format(width=width), encoding="utf-8")
    options = (
        "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
        f" --disable-component-update --disable-sync --user-data-dir={folder / 'profile'} --virtual-time-budget=4000"
        f" --window-size=1300,1000 --blink-settings=preferredColorScheme={scheme} --hide-scrollbars --dump-dom"
    )
    command = [chromium, *options.split(), (folder / "frame.html").as_uri()]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_MAX, check=True)
    answer = re.search(r"<pre>(.+?)</pre>", ran.stdout, re.DOTALL)
    assert answer, f"the page did not answer; the browser said: {ran.stderr[-2_000:]}"
    seen: dict[str, Any] = json.loads(unescape(answer[1]))
    return seen


def whole_page() -> str:
    """A report with every section, of two symbols with 20 000 minutes each."""
    trips = []
    for at in range(40):
        entry_ms = START_MS + (200 + at * 450) * MINUTE_MS
        stops = [[entry_ms + step * 20 * MINUTE_MS, str(98 + step / 4)] for step in range(5)]
        more = {"quantity": "1", "stops": stops, "target": "103", "path_dependent": at % 9 == 0, "pnl": str(at % 3 - 1)}
        trips.append(trip(("BTCUSDT", "ETHUSDT")[at % 2], entry_ms, entry_ms + 200 * MINUTE_MS, **more))
    curve = result()["equity_curve"]
    side = {
        "final_equity": "1081.50",
        "return_pct": 8.15,
        "max_drawdown_pct": 3.2,
        "round_trips": 40,
        "equity_curve": curve,
    }
    return report_html(
        result(
            round_trips=trips,
            band={"worst": side, "best": side, "dependent": [0, 9, 18, 27, 36]},
            costs={"fees": "12.5", "spread": "3", "slippage": "6", "funding": None},
            trips=[{"at_ms": START_MS, "rule": "drawdown", "tier": "flatten", "value": "15.2", "limit": "15"}],
            monte_carlo={"order": OUTCOMES, "missed_fills": OUTCOMES | {"missed_pct": 5.0}},
            notes=[
                "The fast loop takes everything at once: 3 round trips took more than a tenth of a candle's volume."
            ],
        ),
        {"BTCUSDT": walk(20_000), "ETHUSDT": walk(20_000, seed=6)},
    )


@pytest.mark.spec("BT-5")
@pytest.mark.parametrize(("width", "scheme"), [(PHONE_PX, DARK), (DESK_PX, LIGHT)])
def test_a_report_is_drawn_and_answers_on_a_phone_and_on_a_desk(
    chromium: str, tmp_path: Path, width: int, scheme: int
) -> None:
    seen = seen_by(chromium, tmp_path, whole_page(), width, scheme)
    assert seen["faults"] == []
    assert seen["loaded"] == []
    assert (seen["width"], seen["wider"]) == (width, 0)
    assert len(seen["lines"]) == 3
    assert all(wide > width / 2 and high > 20 for wide, high in seen["lines"])
    for moment in ("whole", "trip", "pointed", "near", "again"):
        assert seen[moment]["colours"] > 10, moment
        assert not seen[moment]["what"].startswith("0 candles"), moment
    assert seen["whole"]["what"].endswith(" 20 round trips")
    assert seen["trip"]["told"].startswith("#2 long 2024-01-01 10:50 at")
    assert "stop 98.00 → 99.00" in seen["trip"]["told"]
    assert "UTC · O " in seen["pointed"]["told"]
    assert seen["near"]["what"] != seen["trip"]["what"]
    assert re.fullmatch(r"2024-0\d-\d\d 00:00 UTC: [\d,.]+", seen["hover"])
    bright = sum(map(int, re.findall(r"\d+", seen["paper"])[:3]))
    assert bright < 150 if scheme == DARK else bright > 600


@pytest.mark.spec("BT-5")
def test_the_page_of_an_optimisation_fits_a_phone(chromium: str, tmp_path: Path) -> None:
    seen = seen_by(chromium, tmp_path, optimization_html(study()), PHONE_PX, LIGHT)
    assert (seen["faults"], seen["loaded"], seen["wider"]) == ([], [], 0)
    assert seen["lines"][0][0] > PHONE_PX / 2
    assert "UTC: 1,00" in seen["hover"]


def test_the_probe_notices_what_it_is_for(chromium: str, tmp_path: Path) -> None:
    bad = (
        '<!doctype html><html><head><meta name="viewport" content="width=device-width"><title>bad</title></head><body>'
        '<div style="width:900px">wide</div><img src="http://127.0.0.1:9/x.png"><script>undefined.fault</script>'
        "</body></html>"
    )
    seen = seen_by(chromium, tmp_path, bad, PHONE_PX, LIGHT)
    assert seen["wider"] >= 500
    assert seen["loaded"] == ["http://127.0.0.1:9/x.png"]
    assert any("undefined" in fault for fault in seen["faults"])
    assert any("IMG" in fault for fault in seen["faults"])
