"""What `make bench` runs: how fast Surefoot is on this machine, and against other programs on the same work.

Figures are for reading, never asserted: machines differ and are shared. bench/README.md says what is compared with what
and where the programs' rules differ.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from rich.console import Console
from rich.progress import Progress

from bench import api, fast, live, parts
from bench.figures import Figure, show
from bench.ground import NoData

GROUPS: dict[str, Callable[[], list[Callable[[], list[Figure]]]]] = {
    "parts": parts.makers,
    "fast": fast.makers,
    "live": live.makers,
    "api": api.makers,
}


def main() -> int:
    asked = _arguments()
    makers = [maker for group in asked.only or GROUPS for maker in GROUPS[group]()]
    figures: list[Figure] = []
    # No thread that draws while something is timed.
    with Progress(console=Console(stderr=True), auto_refresh=False) as progress:
        task = progress.add_task("measuring", total=len(makers))
        for maker in makers:
            try:
                figures += maker()
            except NoData as error:
                figures.append(
                    Figure("not measured", getattr(maker, "__name__", "?"), "not measured", remark=str(error))
                )
            progress.update(task, advance=1, refresh=True)
    show(figures, as_json=asked.json)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__, epilog='make bench ARGS="--only fast"')
    parser.add_argument("--only", action="append", choices=list(GROUPS), help="one group; may be given again")
    parser.add_argument("--json", action="store_true", help="JSON instead of a table")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
