"""Where tests find example payloads: our own in this folder, the venue's documentation and recordings in shared data.

The shared data is not part of the project. SUREFOOT_DATA names its folder; tests that need it skip without it.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent
DATA = Path(os.environ.get("SUREFOOT_DATA", FOLDER.parents[2] / "shared" / "data"))


def payload(name: str) -> Any:
    """The payload of one example file; its first field tells the section of the protocol it was composed from."""
    return json.loads((FOLDER / f"{name}.json").read_text())["payload"]


def payload_bytes(name: str) -> bytes:
    return json.dumps(payload(name)).encode()


def shared_file(path: str) -> Path:
    """A file of the shared data, or the test is skipped."""
    file = DATA / path
    if not file.exists():
        pytest.skip(f"no shared data at {file}: set SUREFOOT_DATA")
    return file


def documented(file: str, section: str) -> list[Any]:
    """The documentation's own examples in a section of one of its files, in their order."""
    lines = shared_file("measure/fixtures/binance_docs_examples.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    found = [row["json"] for row in rows if row["file"] == file and section in row["section"] and "json" in row]
    assert found, f"the documentation has no example under {section}"
    return found
