"""Reading a journal: its segments checked one by one, and that each continues the one before.

    journal = open_journal(folder)     # one pass over all of it, in pieces: memory stays flat
    for commit in journal.each(): ...  # the same pass again, giving the rows

A process that dies leaves a tail without a seal: `torn`, cut and never replayed. A commit that does not check although a later one does
was changed afterwards: CorruptError, which names the file, the byte and the row; nothing behind it may be traded on. What checks but should
not stand there (facts missing in the sequence, an epoch used again) is in `problems`: a replay can say where it leads, `require_sound`
refuses it. A journal may be read while it is written. This module must not write.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from twinloop.data.errors import CorruptError
from twinloop.engine.journal.archive_index import Archived, read_index
from twinloop.engine.journal.folder import segment_number, segments_of
from twinloop.engine.journal.format import Header
from twinloop.engine.journal.segment import PROBLEMS_MAX, Commit, Problem, Segment, read_segment

MOVED_MAX = 10
__all__ = ["Commit", "Journal", "Problem", "Segment", "open_journal"]


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
            try:
                yield from segment.each()
            except FileNotFoundError:  # Archived since it was checked, as a session that runs goes on.
                from twinloop.engine.journal.archive import archived_segment  # noqa: PLC0415 - loads Polars

                yield from archived_segment(self.folder, segment.header.segment)

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
    for _ in range(MOVED_MAX):
        try:
            return _open(folder)
        except FileNotFoundError:  # Archived by another process while it was read: the index stands for it now.
            continue
    return _open(folder)


def _open(folder: Path) -> Journal:
    there = segments_of(folder)
    put_away = read_index(folder)  # After the list: what was archived between is in both, and nothing is in neither.
    first = put_away[-1].segment if put_away else 0
    # One that is archived already is still there where the process ended before it was removed.
    paths = [path for path in there if segment_number(path) > first]
    if not paths:
        raise CorruptError("the newest segments of a journal are missing", file=folder, expected=f"segment {first + 1}")
    journal = Journal(folder, [])
    for at, path in enumerate(paths):
        last = at == len(paths) - 1
        if last and at > 0 and _is_empty(path):
            journal.torn_segment = path
            break
        segment, problems = read_segment(path)
        before = journal.segments[-1] if journal.segments else None
        _check_chain(segment, before, put_away, journal)
        journal.problems += problems[: PROBLEMS_MAX - len(journal.problems)]
        if not last and segment.torn_bytes:
            raise CorruptError(
                f"a journal segment that breaks off at byte {segment.end}, with another behind it", file=path,
                expected="every segment but the last whole", got=f"{segment.torn_bytes} bytes in no commit",
            )  # fmt: skip
        journal.segments.append(segment)
    return journal


def _is_empty(path: Path) -> bool:
    """Whether a file holds nothing but zeros: given room and a name, then lost with the power."""
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            if block.strip(b"\0"):
                return False
    return True


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
    require_continues(header, segment.path, number, commit, checksum)
    if before is not None:
        if header.epoch < before.header.epoch:
            _add(journal, segment, "an epoch that falls", before.header.epoch, header.epoch)
        elif header.epoch == before.header.epoch and header.first_sequence != before.next_sequence:
            _add(journal, segment, "facts are missing or repeated", before.next_sequence, header.first_sequence)


def require_continues(header: Header, path: Path, number: int, commit: int, checksum: int) -> None:
    """CorruptError where a segment is not number `number`, or does not begin with commit `commit` behind that checksum."""
    if header.segment != number or segment_number(path) != number:
        raise CorruptError(
            "a journal segment is missing or renamed", file=path, expected=f"segment {number}",
            got=f"segment {header.segment}", remedy="put every segment back as it was written",
        )  # fmt: skip
    if (header.first_commit, header.checksum) != (commit, checksum):
        raise CorruptError(
            "a journal segment that does not continue the one before", file=path,
            expected=f"commit {commit} behind checksum {checksum:08x}",
            got=f"commit {header.first_commit} behind checksum {header.checksum:08x}",
            remedy="put every segment back as it was written",
        )  # fmt: skip


def _add(journal: Journal, segment: Segment, what: str, expected: int, got: int) -> None:
    if len(journal.problems) < PROBLEMS_MAX:
        journal.problems.append(Problem(segment.path, 0, segment.header_bytes, what, expected, got))
