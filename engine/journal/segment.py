"""One segment of a journal, read in pieces: every commit checked before a row of it is given out.

Files are read and not mapped: a writer gives unused room back at a segment's end, and a mapping of that room would be a bus error for
whoever looks at it then. Memory stays flat: a piece, or the largest commit. A segment may be read while it is written. This module must
not know other segments, nor write.
"""

import os
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from twinloop.data import journal_scan
from twinloop.data.errors import CorruptError
from twinloop.data.rowfile import Rows, pick
from twinloop.engine.journal.format import Header, claimed_size, read_header
from twinloop.kernels.rows import ANNOTATION, ORIGIN, REQUEST, ROW, ROW_SIZE

PROBLEMS_MAX: Final = 100
_PIECE_ROWS: Final = 1 << 16  # 4 MiB.
_ANY_SEQUENCE: Final = -1
_UNCHECKED: Final = -2
_IS_NOTE: Final = np.array([ORIGIN.get(kind) == ANNOTATION for kind in range(256)])
_IS_REQUEST: Final = np.array([ORIGIN.get(kind) == REQUEST for kind in range(256)])
_IS_FACT: Final = ~(_IS_NOTE | _IS_REQUEST)
_STOPS: Final = {
    journal_scan.END: "part of a row",
    journal_scan.ZERO: "a row of kind 0",
    journal_scan.BREAKS_OFF: "no seal up to the end",
    journal_scan.COUNT: "a seal of another number of rows",
    journal_scan.CHECKSUM: "a seal whose checksum does not hold",
}


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit as it was written. rows: without the seal; read-only. number: over the whole journal. byte: of its first row."""

    number: int
    rows: Rows
    seal: Any
    segment: int
    byte: int = 0

    @property
    def facts(self) -> Rows:
        """What the kernel was given, in order."""
        return pick(self.rows, _IS_FACT[self.rows["kind"]])

    @property
    def requests(self) -> Rows:
        """What it asked for."""
        return pick(self.rows, _IS_REQUEST[self.rows["kind"]])

    @property
    def notes(self) -> Rows:
        """What was written beside them."""
        return pick(self.rows, _IS_NOTE[self.rows["kind"]])


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that checks and yet should not stand there. row: counted behind the segment's header; byte: in its file."""

    path: Path
    row: int
    byte: int
    what: str
    expected: int
    got: int

    def __str__(self) -> str:
        return (
            f"{self.path}: {self.what} at row {self.row} (byte {self.byte}), expected {self.expected}, got {self.got}"
        )


@dataclass
class Segment:
    """One checked segment. checksum, next_sequence: behind its last commit (-1: no fact yet in this epoch).

    torn_bytes: behind its last whole commit, up to the last one that is not zero, and in no commit. tail: why the reading stopped there.
    """

    path: Path
    header: Header
    header_bytes: int
    size: int
    commits: int = 0
    rows: int = 0  # With the seals.
    checksum: int = 0
    next_sequence: int = _ANY_SEQUENCE
    first_wall_ns: int = 0
    last_wall_ns: int = 0
    torn_bytes: int = 0
    tail: str = ""

    @property
    def end(self) -> int:
        """Byte behind the last whole commit."""
        return self.header_bytes + self.rows * ROW_SIZE

    def each(self) -> Iterator[Commit]:
        """Its commits in order; CorruptError where one is no longer as it was when the journal was opened."""
        header = self.header
        first, number, checksum, piece = 0, header.first_commit, header.checksum, _PIECE_ROWS
        with _Opened(self.path) as handle:
            while first < self.rows:
                rows = _rows_at(handle, self.header_bytes + first * ROW_SIZE, min(piece, self.rows - first))
                at = self.header_bytes + first * ROW_SIZE
                taken, number, checksum = yield from each_commit(rows, header.segment, number, checksum, at)
                if taken == 0 and len(rows) < min(piece, self.rows - first):
                    raise changed(self.path, self.header_bytes, first, "the end of the file")
                if taken == 0 and len(rows) == self.rows - first:
                    raise changed(self.path, self.header_bytes, first, "no commit that checks any more")
                first += taken
                piece = _PIECE_ROWS if taken else 2 * piece  # A commit larger than a piece.


def each_commit(
    rows: Rows, segment: int, number: int, checksum: int, byte: int
) -> Generator[Commit, None, tuple[int, int, int]]:
    """The commits at the start of rows, each checked before it is given, up to the first that is not whole.

    number, checksum: of the first commit, and what it continues. byte: of the first row. Returns (rows taken, number, checksum) of what follows.
    """
    seals = np.empty(len(rows) + 1, np.int64)
    first = 0
    while True:
        start = first
        found, first, checksum, _, stop, _ = journal_scan.scan(rows, first, checksum, number, _UNCHECKED, seals)
        for seal in seals[:found].tolist():
            yield Commit(number, rows[start:seal], rows[seal], segment, byte + start * ROW_SIZE)
            number += 1
            start = seal + 1
        if stop != journal_scan.SEQUENCE:
            return first, number, checksum


def read_segment(path: Path) -> tuple[Segment, list[Problem]]:
    """Read and check one segment: what it continues is taken from its header. DataError, CorruptError where it does not stand."""
    with _Opened(path) as handle:
        claimed = claimed_size(os.pread(handle, ROW_SIZE, 0))
        header, size = read_header(os.pread(handle, claimed, 0), path)
        segment = Segment(path, header, size, 0, checksum=header.checksum, next_sequence=header.first_sequence)
        walk = _Walk(segment, handle)
        while walk.go_on():
            pass
        segment.size = os.fstat(handle).st_size
        return segment, walk.problems


class _Walk:
    """The check of a segment's commits, up to the first that does not stand."""

    def __init__(self, segment: Segment, handle: int) -> None:
        self.segment = segment
        self.problems: list[Problem] = []
        self._handle = handle
        self._sequence = segment.header.first_sequence
        self._seals = np.empty(_PIECE_ROWS, np.int64)
        self._damage = -1

    def go_on(self) -> bool:
        """Take what commits there are, then judge what follows; True when more have to be taken first."""
        segment = self.segment
        before, stop = segment.rows, self._take()
        torn_bytes = _used(self._handle, segment.end)
        if torn_bytes == 0:
            return False
        # It may have been written since: what stands there now is looked at once more before it is called torn or damaged.
        if segment.rows != before or self._damage != segment.rows:
            self._damage = segment.rows
            return True
        rest = _rows_at(self._handle, segment.end, torn_bytes // ROW_SIZE + 1)
        later = journal_scan.find_later(rest, 0, segment.checksum)
        if later >= 0:
            raise changed(
                segment.path, segment.header_bytes, segment.rows,
                f"{_STOPS[stop]}, though the commit at row {segment.rows + later} checks",
            )  # fmt: skip
        segment.torn_bytes, segment.tail = torn_bytes, _STOPS[stop]
        return False

    def _take(self) -> int:
        """Take whole commits: why it stopped."""
        segment, piece = self.segment, _PIECE_ROWS
        while True:
            rows = _rows_at(self._handle, segment.end, piece)
            found, taken, checksum, sequence, stop, about = journal_scan.scan(
                rows, 0, segment.checksum, segment.header.first_commit + segment.commits, self._sequence, self._seals
            )
            if found:
                if segment.commits == 0:
                    segment.first_wall_ns = int(rows[self._seals[0]]["wall_ns"])
                segment.last_wall_ns = int(rows[self._seals[found - 1]]["wall_ns"])
                segment.commits += found
                segment.next_sequence = self._sequence = sequence
            if stop == journal_scan.NUMBER:
                raise changed(
                    segment.path, segment.header_bytes, segment.rows + about,
                    f"commit {int(rows[about]['sequence'])} instead of {segment.header.first_commit + segment.commits}",
                )  # fmt: skip
            if stop == journal_scan.SEQUENCE:
                self._add(segment.rows + about, expected_at(rows, taken, about, sequence), int(rows[about]["sequence"]))
                self._sequence = _UNCHECKED
            segment.rows += taken
            segment.checksum = checksum
            if stop in {journal_scan.END, journal_scan.BREAKS_OFF} and len(rows) == piece:
                piece = _PIECE_ROWS if found else 2 * piece  # More may follow, or a commit is larger than a piece.
            elif stop not in {journal_scan.SEQUENCE, journal_scan.FULL}:
                return stop

    def _add(self, row: int, expected: int, got: int) -> None:
        if len(self.problems) < PROBLEMS_MAX:
            byte = self.segment.header_bytes + row * ROW_SIZE
            self.problems.append(Problem(self.segment.path, row, byte, "facts are missing or repeated", expected, got))


class _Opened:
    """A file's descriptor, closed at the end."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> int:
        self._handle = os.open(self._path, os.O_RDONLY)
        return self._handle

    def __exit__(self, *_: object) -> None:
        os.close(self._handle)


def _rows_at(handle: int, byte: int, count: int) -> Rows:
    """Up to `count` whole rows from a byte on: fewer only where the file ends."""
    content = os.pread(handle, count * ROW_SIZE, byte)
    while len(content) % ROW_SIZE or len(content) < count * ROW_SIZE:
        more = os.pread(handle, count * ROW_SIZE - len(content), byte + len(content))
        if not more:
            break
        content += more
    return np.frombuffer(content, np.uint8, len(content) // ROW_SIZE * ROW_SIZE).view(ROW)


def _used(handle: int, start: int) -> int:
    """Bytes from `start` up to the last that is not zero, read from the end back."""
    end = os.fstat(handle).st_size
    while end > start:
        begin = max(start, end - (1 << 20))
        content = os.pread(handle, end - begin, begin).rstrip(b"\0")
        if content:
            return begin + len(content) - start
        end = begin
    return 0


def expected_at(rows: Rows, first: int, about: int, sequence: int) -> int:
    """Sequence that the fact at row `about` should have, in a commit from row `first` on."""
    for row in rows[first:about][::-1]:
        if _IS_FACT[row["kind"]]:
            return int(row["sequence"]) + 1
    return sequence


def changed(path: Path, header_bytes: int, row: int, got: str) -> CorruptError:
    """The error of a commit that does not stand although the journal goes on behind it."""
    return CorruptError(
        f"a journal was changed after it was written, at byte {header_bytes + row * ROW_SIZE}", file=path,
        expected=f"a whole commit at row {row}", got=got, remedy="do not trade on it: keep the file, and restore it from a copy",
    )  # fmt: skip
