"""`python -m surefoot` is the command `surefoot`."""

from __future__ import annotations

import sys

from surefoot.cli import main

if __name__ == "__main__":
    sys.exit(main())
