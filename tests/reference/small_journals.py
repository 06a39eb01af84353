"""Small journals that tests write, damage and read."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from twinloop.engine.journal.errors import JournalFullError
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.writer import JournalWriter
from twinloop.kernels import rows as table
from twinloop.kernels.rows import ROW


def facts(first: int, count: int) -> Any:
    """Trades with these sequences."""
    out = np.zeros(count, ROW)
    out["kind"], out["sequence"] = table.TRADE, np.arange(first, first + count)
    out["price"], out["qty"] = 100 + np.arange(count), 1 + np.arange(count) % 7
    out["local_ns"] = 1_700_000_000_000_000_000 + out["sequence"] * 1_000_000
    return out


OPTIONS: dict[str, Any] = {
    "session": {"name": "test"},
    "code": "c",
    "config": "d",
    "segment_rows": 64,
    "buffer_rows": 128,
}


def writer(folder: Path, **more: Any) -> JournalWriter:
    """A writer of small segments, `async` unless it is said otherwise."""
    return JournalWriter(folder, **({"durability": "async"} | OPTIONS | more))


def append(journal: JournalWriter, rows: Any) -> None:
    """Append, where the buffer is full after all before is on disk."""
    try:
        journal.append(rows)
    except JournalFullError:
        assert journal.wait(journal.commits, 10.0)
        journal.append(rows)


def written(folder: Path, sizes: Sequence[int], **more: Any) -> list[bytes]:
    """A closed journal with commits of so many rows: their bytes."""
    found, first = [], 0
    with writer(folder, **more) as journal:
        for number, size in enumerate(sizes):
            rows = facts(first, size)
            append(journal, rows)
            assert journal.commit(number, number + 1) == number + 1
            found.append(rows.tobytes())
            first += size
    return found


def read(folder: Path) -> list[bytes]:
    """The row bytes of every commit."""
    return [commit.rows.tobytes() for commit in open_journal(folder).each()]
