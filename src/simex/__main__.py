"""Start the simulated exchange with `python -m simex`."""

from __future__ import annotations

import sys

from simex.cli import main

if __name__ == "__main__":
    sys.exit(main())
