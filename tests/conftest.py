"""What all tests share: where the market data is, how property tests run, and the coverage table at the end.

Rules: a fixture here is wanted by more than one folder; everything else lives beside its tests.
"""

from __future__ import annotations

import json
import os
from collections import defaultdict
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

ROOT = Path(__file__).resolve().parent.parent
COVERAGE_JSON = ROOT / "coverage.json"

# No deadline: two busy cores make any single example slow now and then, and a time-out says nothing about the rule.
settings.register_profile("desk", deadline=None, print_blob=True)
settings.register_profile("ci", deadline=None, print_blob=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") else "desk")


def pytest_configure(config: pytest.Config) -> None:
    """Forgets the last run's coverage, so that the table below never shows an old one."""
    if config.pluginmanager.hasplugin("_cov") and not hasattr(config, "workerinput"):
        COVERAGE_JSON.unlink(missing_ok=True)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of market data that SUREFOOT_DATA names; the test is skipped where there is none."""
    folder = Path(os.environ.get("SUREFOOT_DATA", ROOT / "../shared/data")).resolve()
    if not folder.is_dir():
        pytest.skip(f"needs market data: SUREFOOT_DATA or its default names no folder ({folder.name})")
    return folder


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Prints coverage by package, ahead of pytest's closing line."""
    if not COVERAGE_JSON.is_file() or not terminalreporter.config.pluginmanager.hasplugin("_cov"):
        return
    terminalreporter.section("coverage by package, lines and branches")
    for package, (covered, total) in sorted(covered_by_package(COVERAGE_JSON).items()):
        terminalreporter.write_line(f"{package:<24}{covered:>7} of{total:>7}{100 * covered / total:>8.1f} %")


def covered_by_package(report: Path) -> dict[str, tuple[int, int]]:
    """Reads a coverage JSON report.

    Returns, for each package and for "total", how many lines and branches ran and how many there are.
    """
    counts: defaultdict[str, tuple[int, int]] = defaultdict(lambda: (0, 0))
    for file, entry in json.loads(report.read_text())["files"].items():
        package = ".".join(Path(file).parent.parts).removeprefix("src.")
        summary = entry["summary"]
        covered = summary["covered_lines"] + summary["covered_branches"]
        total = summary["num_statements"] + summary["num_branches"]
        for name in (package, "total"):
            counts[name] = (counts[name][0] + covered, counts[name][1] + total)
    return {name: (covered, total) for name, (covered, total) in counts.items() if total}
