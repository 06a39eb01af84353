"""Reading a journal: every commit checked before a row of it is given out, and damage told apart from an end that was cut short.

A process that dies leaves a tail without a seal: `torn`, cut and never replayed. A commit that does not check although a later one does
was changed afterwards: CorruptError, and nothing that stands behind it may be traded on. This module must not write, but for
`cut_torn_tail`, which keeps what it cuts.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from twinloop.data.errors import CorruptError
from twinloop.engine.journal.folder import segments_of, sync_folder
from twinloop.engine.journal.format import CHECKSUM_AT, Header, commit_checksum, read_header
from twinloop.kernels.rows import ANNOTATION, KIND_NAME, ORIGIN, REQUEST, ROW, ROW_SIZE, SEAL

Rows = npt.NDArray[np.void]
_ANNOTATIONS: Final = np.array([kind for kind, origin in ORIGIN.items() if origin == ANNOTATION], np.uint8)
_REQUESTS: Final = np.array([kind for kind, origin in ORIGIN.items() if origin == REQUEST], np.uint8)


@dataclass(frozen=True)
class Commit:
    """One commit as it was written. rows: without the seal. number: over the whole journal."""

    number: int
    rows: Rows
    seal: Any
    segment: int

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


@dataclass
class Segment:
    """One checked segment. torn_bytes: behind its last whole commit, not zero, and in no commit."""

    path: Path
    header: Header
    header_bytes: int
    commits: list[tuple[int, int]] = field(
        default_factory=list
    )  # (first row, row of the seal), counted behind the header.
    rows: Rows = field(default_factory=lambda: np.zeros(0, ROW))
    checksum: int = 0
    torn_bytes: int = 0

    @property
    def end(self) -> int:
        """Byte behind the last whole commit."""
        return self.header_bytes + (self.commits[-1][1] + 1 if self.commits else 0) * ROW_SIZE

    def each(self) -> Iterator[Commit]:
        """Its commits in order."""
        for at, (first, seal) in enumerate(self.commits):
            yield Commit(self.header.first_commit + at, self.rows[first:seal], self.rows[seal], self.header.segment)


@dataclass
class Journal:
    """A whole journal, checked. torn: of the last segment, what is cut when the next process goes on."""

    folder: Path
    segments: list[Segment]

    @property
    def commits(self) -> int:
        """How many commits there are."""
        return sum(len(segment.commits) for segment in self.segments)

    @property
    def torn_bytes(self) -> int:
        """Bytes behind the last whole commit that are in none."""
        return self.segments[-1].torn_bytes

    @property
    def header(self) -> Header:
        """Of the newest segment."""
        return self.segments[-1].header

    @property
    def start(self) -> tuple[int, int, int]:
        """Where the next writer goes on: commits, checksum, sequence of the next fact."""
        return self.commits, self.segments[-1].checksum, self.next_sequence()

    def next_sequence(self) -> int:
        """Sequence of the fact that would come next."""
        for segment in reversed(self.segments):
            for first, seal in reversed(segment.commits):
                rows = segment.rows[first:seal]
                facts = rows[~np.isin(rows["kind"], _ANNOTATIONS) & ~np.isin(rows["kind"], _REQUESTS)]
                if len(facts):
                    return int(facts[-1]["sequence"]) + 1
        return self.segments[0].header.first_sequence

    def each(self) -> Iterator[Commit]:
        """Every commit in order."""
        for segment in self.segments:
            yield from segment.each()


def open_journal(folder: Path) -> Journal:
    """Read and check a whole journal. DataError where there is none, CorruptError where it was damaged."""
    paths = segments_of(folder)
    segments: list[Segment] = []
    for number, path in enumerate(paths, 1):
        segment = read_segment(path)
        before = segments[-1] if segments else None
        _check_chain(segment, before, number)
        if before is not None and before.torn_bytes:
            raise CorruptError(
                "a journal segment that breaks off, with another behind it", file=before.path,
                expected="every segment but the last whole", got=f"{before.torn_bytes} bytes behind the last seal",
            )  # fmt: skip
        segments.append(segment)
    return Journal(folder, segments)


def _check_chain(segment: Segment, before: Segment | None, number: int) -> None:
    header = segment.header
    if header.segment != number:
        raise CorruptError(
            "a journal segment is missing or renamed",
            file=segment.path,
            expected=f"segment {number}",
            got=header.segment,
        )
    expected = (0, 0) if before is None else (before.header.first_commit + len(before.commits), before.checksum)
    if (header.first_commit, header.checksum) != expected:
        raise CorruptError(
            "a journal segment that does not continue the one before", file=segment.path, expected=f"commit {expected[0]}",
            got=f"commit {header.first_commit}", remedy="put every segment back as it was written",
        )  # fmt: skip


def read_segment(path: Path) -> Segment:
    """Read and check one segment. Its first checksum is taken from its own header."""
    data = np.fromfile(path, np.uint8)
    header, size = read_header(data[: 1 << 24].tobytes(), path)
    count = (len(data) - size) // ROW_SIZE
    rows = data[size : size + count * ROW_SIZE].view(ROW)
    raw = data.data[size : size + count * ROW_SIZE]
    segment = Segment(path, header, size, rows=rows, checksum=header.checksum)
    end = 0
    seals = np.flatnonzero(rows["kind"] == SEAL)
    for place, seal in enumerate(seals.tolist()):
        first = seal - int(rows[seal]["rows"])
        if first != end or not _checks(raw, first, seal, segment.checksum):
            _judge(segment, raw, seals[place:].tolist(), end)
            break
        segment.commits.append((first, seal))
        segment.checksum = int(rows[seal]["checksum"])
        end = seal + 1
    rest = data[size + end * ROW_SIZE :]
    used = np.flatnonzero(rest)
    segment.torn_bytes = int(used[-1]) + 1 if len(used) else 0
    return segment


def _computed(raw: memoryview, first: int, seal: int, previous: int) -> int:
    """Checksum that a commit of rows first..seal should have behind one with this checksum; -1 where there can be none."""
    if not 0 <= first <= seal:
        return -1
    body = bytearray(raw[first * ROW_SIZE : (seal + 1) * ROW_SIZE])
    place = len(body) - ROW_SIZE + CHECKSUM_AT
    body[place : place + 8] = bytes(8)
    return commit_checksum(bytes(body), previous)


def _checks(raw: memoryview, first: int, seal: int, previous: int) -> bool:
    """Whether rows first..seal are a commit behind one with this checksum."""
    place = seal * ROW_SIZE + CHECKSUM_AT
    return _computed(raw, first, seal, previous) == int.from_bytes(raw[place : place + 8], "little")


def _judge(segment: Segment, raw: memoryview, seals: list[int], end: int) -> None:
    """A commit does not check. If a later one does, on what the file says of the one before it, this was no torn end."""
    rows = segment.rows
    for seal in seals:
        first = seal - int(rows[seal]["rows"])
        if not end < first <= seal:
            continue
        # What the commit before it says its checksum is, and what it should be: either may be the damaged one.
        stored = int(rows[first - 1]["checksum"])
        behind = _computed(raw, end, first - 1, segment.checksum)
        if any(0 <= each < 2**32 and _checks(raw, first, seal, each) for each in (stored, behind)):
            raise CorruptError(
                "a journal was changed after it was written", file=segment.path, line=None,
                expected=f"a whole commit at row {end}", got=f"one that does not check, though the one at row {first} does",
                remedy="do not trade on it: keep the file, and restore it from a copy",
            )  # fmt: skip


def cut_torn_tail(journal: Journal) -> int:
    """Cut what stands behind the last whole commit, keeping it beside the segment: how many bytes."""
    segment = journal.segments[-1]
    if segment.torn_bytes == 0:
        _trim(segment)
        return 0
    with segment.path.open("rb") as file:
        file.seek(segment.end)
        tail = file.read(segment.torn_bytes)
    number = 1
    while (kept := segment.path.with_suffix(f".torn-{number}")).exists():
        number += 1
    with kept.open("xb") as out:
        out.write(tail)
        out.flush()
        os.fsync(out.fileno())
    _trim(segment)
    sync_folder(journal.folder)
    segment.torn_bytes = 0
    return len(tail)


def _trim(segment: Segment) -> None:
    """Give back the room that a process which died had not used."""
    with segment.path.open("r+b") as file:
        file.truncate(segment.end)
        file.flush()
        os.fsync(file.fileno())


def name_of(kind: int) -> str:
    """A kind's name, for a person."""
    return KIND_NAME.get(kind, f"kind {kind}")
