"""Every single call to the file system fails in turn, once or from then on: what was safe is there, and the folder goes on."""

import errno
import itertools
import os
from pathlib import Path

import numpy as np
import pytest
from reference.small_journals import OPTIONS, append, facts, read

from twinloop.data import journal_write
from twinloop.engine.journal.errors import JournalError
from twinloop.engine.journal.recovery import resume
from twinloop.engine.journal.writer import FileLayer

EVER = 1 << 40
SIZES = [5, 9, 3, 12, 1, 14, 7, 2, 11]  # In segments of 20 rows: six of them.


class Sweep(FileLayer):
    """The call number `at` of one kind fails; with `ever` every later one too."""

    def __init__(self, kind: str, at: int, number: int, *, ever: bool) -> None:
        self._plan = (kind, at, number, ever)
        self._calls = 0
        self.failed = False
        operation = {"write": journal_write.WRITE, "sync": journal_write.SYNC}.get(kind)
        if operation is not None:
            self.faults = np.array([[operation, at, EVER if ever else at + 1, -number]], np.int64)

    def _call(self, kind: str) -> None:
        wanted, at, number, ever = self._plan
        if kind != wanted:
            return
        self._calls += 1
        if self._calls - 1 == at or (ever and self._calls - 1 > at):
            self.failed = True
            raise OSError(number, os.strerror(number))

    def create(self, path: Path, size: int) -> int:
        self._call("create")
        return super().create(path, size)

    def write_header(self, handle: int, content: bytes) -> None:
        self._call("header")
        super().write_header(handle, content)

    def rename(self, path: Path, target: Path) -> None:
        self._call("rename")
        super().rename(path, target)

    def sync_folder(self, folder: Path) -> None:
        self._call("folder")
        super().sync_folder(folder)

    def trim(self, handle: int, size: int) -> None:
        self._call("trim")
        super().trim(handle, size)


def play(folder: Path, layer: FileLayer, durability: str) -> tuple[int, bool]:
    """Commit SIZES until the journal refuses: (marks that were safe, whether it failed)."""
    safe, first = 0, 0
    options = OPTIONS | {"segment_rows": 20, "durability": durability, "group_us": 0, "layer": layer}
    try:
        with resume(folder, **options).writer as journal:
            for size in SIZES:
                append(journal, facts(first, size))
                first += size
                mark = journal.commit(1, 1)
                if journal.wait(mark, 10.0):
                    safe = mark
        return safe, bool(journal.failure)
    except JournalError:
        return safe, True


@pytest.mark.parametrize("ever", [False, True], ids=["once", "ever"])
@pytest.mark.parametrize("durability", ["async", "group", "strict"])
@pytest.mark.parametrize("kind", ["create", "header", "rename", "folder", "trim", "write", "sync"])
def test_every_call_that_fails_leaves_a_folder_that_goes_on(
    tmp_path: Path, kind: str, durability: str, ever: bool
) -> None:
    expected = [facts(sum(SIZES[:at]), size).tobytes() for at, size in enumerate(SIZES)]
    failures = 0
    for at in itertools.count():
        folder = tmp_path / str(at)
        number = errno.ENOSPC if at % 2 else errno.EIO
        safe, failed = play(folder, Sweep(kind, at, number, ever=ever), durability)
        failures += failed
        if any(folder.glob("segment-*.journal")):
            found = read(folder)
            assert found == expected[: len(found)], at
            assert len(found) >= safe, at
        else:
            assert safe == 0
        # The next process goes on from there, and ends with everything.
        recovered = resume(folder, **OPTIONS)
        there = recovered.writer.commits
        for number, size in enumerate(SIZES[there:], there):
            append(recovered.writer, facts(sum(SIZES[:number]), size))
            recovered.writer.commit(1, 1)
        recovered.writer.close()
        assert read(folder) == expected
        assert not list(folder.glob("*.part"))
        if not failed:
            break
    assert failures >= 1
    assert safe == len(SIZES)
