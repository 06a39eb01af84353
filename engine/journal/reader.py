"""Reading a journal: every commit checked before a row of it is given out, and damage told apart from an end that was cut short.

    journal = open_journal(folder)     # one pass over all of it, mapped: memory stays flat
    for commit in journal.each(): ...  # the same pass again, giving the rows

A process that dies leaves a tail without a seal: `torn`, cut and never replayed. A commit that does not check although a later one does
was changed afterwards: CorruptError, which names the file, the byte and the row; nothing behind it may be traded on. What checks but should
not stand there (facts missing in the sequence, an epoch used again) is in `problems`: a replay can say where it leads, `require_sound`
refuses it. This module must not write.
"""

import mmap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from twinloop.data import journal_scan
from twinloop.data.errors import CorruptError
from twinloop.engine.journal.archive_index import Archived, read_index
from twinloop.engine.journal.folder import segment_number, segments_of
from twinloop.engine.journal.format import Header, read_header
from twinloop.kernels.rows import ANNOTATION, ORIGIN, REQUEST, ROW, ROW_SIZE

Rows = npt.NDArray[np.void]
PROBLEMS_MAX: Final = 100
_COMMITS_AT_ONCE: Final = 1 << 14
_ANY_SEQUENCE: Final = -1
_UNCHECKED: Final = -2
_ANNOTATIONS: Final = np.array([kind for kind, origin in ORIGIN.items() if origin == ANNOTATION], np.uint8)
_REQUESTS: Final = np.array([kind for kind, origin in ORIGIN.items() if origin == REQUEST], np.uint8)


@dataclass(frozen=True, slots=True)
class Commit:
    """One commit as it was written. rows: without the seal; views of the file. number: over the whole journal. byte: of its first row."""

    number: int
    rows: Rows
    seal: Any
    segment: int
    byte: int = 0

    @property
    def facts(self) -> Rows:
        """What the kernel was given, in order."""
        return self.rows[~np.isin(self.rows["kind"], _ANNOTATIONS) & ~np.isin(self.rows["kind"], _REQUESTS)]

    @property
    def requests(self) -> Rows:
        """What it asked for."""
        return self.rows[np.isin(self.rows["kind"], _REQUESTS)]

    @property
    def notes(self) -> Rows:
        """What was written beside them."""
        return self.rows[np.isin(self.rows["kind"], _ANNOTATIONS)]


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
        return f"{self.path}: {self.what} at row {self.row} (byte {self.byte}), expected {self.expected}, got {self.got}"


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
        with _Mapped(self.path) as content:
            # A copy-free view: it keeps the mapping alive as long as someone holds rows of it.
            rows = np.frombuffer(content, np.uint8, self.rows * ROW_SIZE, self.header_bytes).view(ROW)
            number = self.header.first_commit
            first, checksum = 0, self.header.checksum
            seals = np.empty(_COMMITS_AT_ONCE, np.int64)
            while first < self.rows:
                start = first
                found, first, checksum, _, stop, about = journal_scan.scan(
                    rows, first, checksum, number, _UNCHECKED, seals
                )
                if stop not in {journal_scan.FULL, journal_scan.END, journal_scan.SEQUENCE}:
                    raise _changed(self.path, self.header_bytes, about, "no commit that checks any more")
                if stop == journal_scan.SEQUENCE and found == 0:
                    raise AssertionError("an unchecked commit is taken")
                for seal in seals[:found].tolist():
                    yield Commit(
                        number, rows[start:seal], rows[seal], self.header.segment, self.header_bytes + start * ROW_SIZE
                    )
                    number += 1
                    start = seal + 1


@dataclass
class Journal:
    """A whole journal, checked. Its first segment may continue archived or retired ones."""

    folder: Path
    segments: list[Segment]
    problems: list[Problem] = field(default_factory=list)
    torn_segment: Path | None = None  # A last file that was given room and a name, but no whole header.

    @property
    def first_commit(self) -> int:
        """Number of the first commit that is still here."""
        return self.segments[0].header.first_commit if self.segments else 0

    @property
    def commits(self) -> int:
        """How many commits are here."""
        return sum(segment.commits for segment in self.segments)

    @property
    def rows(self) -> int:
        """How many rows are here, seals not counted."""
        return sum(segment.rows - segment.commits for segment in self.segments)

    @property
    def torn_bytes(self) -> int:
        """Bytes behind the last whole commit that are in none."""
        return self.segments[-1].torn_bytes if self.segments else 0

    @property
    def header(self) -> Header:
        """Of the newest segment."""
        return self.segments[-1].header

    @property
    def start(self) -> tuple[int, int, int]:
        """Where the next writer goes on: commits, checksum, sequence of the next fact."""
        return self.first_commit + self.commits, self.segments[-1].checksum, self.next_sequence()

    @property
    def epoch(self) -> int:
        """The highest epoch of its segments."""
        return max((segment.header.epoch for segment in self.segments), default=0)

    def next_sequence(self) -> int:
        """Sequence of the fact that would come next."""
        return self.segments[-1].next_sequence

    def each(self) -> Iterator[Commit]:
        """Every commit in order."""
        for segment in self.segments:
            yield from segment.each()

    def require_sound(self) -> None:
        """Raise CorruptError for the first problem."""
        if self.problems:
            first = self.problems[0]
            raise CorruptError(
                f"{first.what} at row {first.row} (byte {first.byte})", file=first.path, expected=first.expected, got=first.got,
                remedy="do not trade on it: keep the files, and look at them with `twinloop journal show`",
            )  # fmt: skip


def open_journal(folder: Path) -> Journal:
    """Read and check a whole journal. DataError where there is none, CorruptError where it was damaged."""
    put_away = read_index(folder)
    first = put_away[-1].segment if put_away else 0
    # One that is archived already is still there where the process ended before it was removed.
    paths = [path for path in segments_of(folder) if segment_number(path) > first]
    if not paths:
        raise CorruptError("the newest segments of a journal are missing", file=folder, expected=f"segment {first + 1}")
    journal = Journal(folder, [])
    for at, path in enumerate(paths):
        last = at == len(paths) - 1
        if last and at > 0 and _is_empty(path):
            journal.torn_segment = path
            break
        segment = _read_header(path)
        before = journal.segments[-1] if journal.segments else None
        _check_chain(segment, before, put_away, journal)
        _check_commits(segment, journal)
        if not last and segment.torn_bytes:
            raise CorruptError(
                f"a journal segment that breaks off at byte {segment.end}, with another behind it", file=path,
                expected="every segment but the last whole", got=f"{segment.torn_bytes} bytes in no commit",
            )  # fmt: skip
        journal.segments.append(segment)
    return journal


def read_segment(path: Path) -> Segment:
    """Read and check one segment on its own: what it continues is taken from its header."""
    segment = _read_header(path)
    _check_commits(segment, Journal(path.parent, []))
    return segment


class _Mapped:
    """A file mapped to read, whatever its size. Left open while someone holds a view of it."""

    def __init__(self, path: Path) -> None:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            self.content: Any = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) if size else b""

    def __enter__(self) -> Any:
        return self.content

    def __exit__(self, *_: object) -> None:
        self.content = None


def _is_empty(path: Path) -> bool:
    """Whether a file holds nothing but zeros: given room and a name, then lost with the power."""
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            if block.strip(b"\0"):
                return False
    return True


def _read_header(path: Path) -> Segment:
    with _Mapped(path) as content:
        header, size = read_header(content, path)
        return Segment(
            path, header, size, len(content), checksum=header.checksum, next_sequence=header.first_sequence
        )


def _check_chain(segment: Segment, before: Segment | None, put_away: Sequence[Archived], journal: Journal) -> None:
    header = segment.header
    if before is None:
        number, commit, checksum = (
            (put_away[-1].segment + 1, put_away[-1].next_commit, put_away[-1].checksum) if put_away else (1, 0, 0)
        )
    else:
        number, commit, checksum = (
            before.header.segment + 1, before.header.first_commit + before.commits, before.checksum,
        )  # fmt: skip
    if header.segment != number or segment_number(segment.path) != number:
        raise CorruptError(
            "a journal segment is missing or renamed", file=segment.path, expected=f"segment {number}",
            got=f"segment {header.segment}", remedy="put every segment back as it was written",
        )  # fmt: skip
    if (header.first_commit, header.checksum) != (commit, checksum):
        raise CorruptError(
            "a journal segment that does not continue the one before", file=segment.path,
            expected=f"commit {commit} behind checksum {checksum:08x}",
            got=f"commit {header.first_commit} behind checksum {header.checksum:08x}",
            remedy="put every segment back as it was written",
        )  # fmt: skip
    if before is not None:
        if header.epoch < before.header.epoch:
            _add(journal, segment, 0, "an epoch that falls", before.header.epoch, header.epoch)
        elif header.epoch == before.header.epoch and header.first_sequence != before.next_sequence:
            _add(journal, segment, 0, "facts are missing or repeated", before.next_sequence, header.first_sequence)


def _add(journal: Journal, segment: Segment, row: int, what: str, expected: int, got: int) -> None:
    if len(journal.problems) < PROBLEMS_MAX:
        byte = segment.header_bytes + row * ROW_SIZE
        journal.problems.append(Problem(segment.path, row, byte, what, expected, got))


def _check_commits(segment: Segment, journal: Journal) -> None:
    """Walk a segment's commits; fills in what is known of them."""
    header = segment.header
    with _Mapped(segment.path) as content:
        count = (len(content) - segment.header_bytes) // ROW_SIZE
        rows = np.frombuffer(content, np.uint8, count * ROW_SIZE, segment.header_bytes).view(ROW)
        seals = np.empty(_COMMITS_AT_ONCE, np.int64)
        sequence = header.first_sequence
        while True:
            found, segment.rows, segment.checksum, sequence, stop, about = journal_scan.scan(
                rows, segment.rows, segment.checksum, header.first_commit + segment.commits, sequence, seals
            )
            if found:
                if segment.commits == 0:
                    segment.first_wall_ns = int(rows[seals[0]]["wall_ns"])
                segment.last_wall_ns = int(rows[seals[found - 1]]["wall_ns"])
                segment.commits += found
                segment.next_sequence = sequence
            if stop == journal_scan.SEQUENCE:
                _add(
                    journal, segment, about, "facts are missing or repeated",
                    _expected_at(rows, segment.rows, about, sequence), int(rows[about]["sequence"]),
                )  # fmt: skip
                sequence = _UNCHECKED
            elif stop != journal_scan.FULL:
                break
        if stop == journal_scan.NUMBER:
            raise _changed(
                segment.path, segment.header_bytes, about,
                f"commit {header.first_commit + segment.commits}, got commit {int(rows[about]['sequence'])}",
            )  # fmt: skip
        if stop != journal_scan.END:
            later = journal_scan.find_later(rows, segment.rows, segment.checksum)
            if later >= 0:
                raise _changed(
                    segment.path, segment.header_bytes, segment.rows,
                    f"{_STOPS[stop]}, though the commit at row {later} checks",
                )  # fmt: skip
        segment.torn_bytes = _used(content, segment.end)
        if segment.torn_bytes:
            segment.tail = _STOPS[stop]


_STOPS: Final = {
    journal_scan.END: "part of a row",
    journal_scan.ZERO: "a row of kind 0",
    journal_scan.BREAKS_OFF: "no seal up to the end",
    journal_scan.COUNT: "a seal of another number of rows",
    journal_scan.CHECKSUM: "a seal whose checksum does not hold",
}


def _expected_at(rows: Rows, first: int, about: int, sequence: int) -> int:
    """Sequence that the fact at row `about` should have, in a commit from row `first` on."""
    for row in rows[first:about][::-1]:
        if int(row["kind"]) not in _ANNOTATIONS and int(row["kind"]) not in _REQUESTS:
            return int(row["sequence"]) + 1
    return sequence


def _changed(path: Path, header_bytes: int, row: int, got: str) -> CorruptError:
    return CorruptError(
        f"a journal was changed after it was written, at byte {header_bytes + row * ROW_SIZE}", file=path,
        expected=f"a whole commit at row {row}", got=got, remedy="do not trade on it: keep the file, and restore it from a copy",
    )  # fmt: skip


def _used(content: Any, start: int) -> int:
    """Bytes from `start` up to the last that is not zero."""
    end = len(content)
    while end > start:
        begin = max(start, end - (1 << 20))
        found = np.flatnonzero(np.frombuffer(content, np.uint8, end - begin, begin))
        if len(found):
            return begin + int(found[-1]) + 1 - start
        end = begin
    return 0
