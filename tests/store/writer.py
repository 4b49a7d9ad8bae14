"""A process that opens a journal and appends to it until it is killed: `python writer.py PATH RUN SEED [hold]`.

After each flush it says on standard output how many batches are durable. A batch is one to nine records, each saying
which of how many it is, so that a torn batch can be told from a missing one.
"""

from __future__ import annotations

import os
import random
import sys
import time
from pathlib import Path

from surefoot.core.messages import RecordAlarm, RunStarted
from surefoot.store.journal import Journal


def append_batches(journal: Journal, seed: int) -> None:
    sizes = random.Random(seed)
    batch = 0
    while True:
        batch += 1
        size = sizes.randint(1, 9)
        # Some are longer than a page of the file, so that one transaction spans many writes.
        filler = "x" * sizes.choice((0, 100, 20_000))
        for part in range(1, size + 1):
            journal.append(RecordAlarm(batch, "batch", f"{batch} {part} {size} {filler}"))
        journal.flush()
        os.write(1, b"%d\n" % batch)


def main() -> None:
    path, run, seed = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    with Journal.open(path) as journal:
        journal.append(RunStarted(0, run, "paper", (), "", ""))
        journal.flush()
        os.write(1, b"0\n")
        if sys.argv[4:] == ["hold"]:
            time.sleep(60)
        else:
            append_batches(journal, seed)


main()
