"""Reading a journal while another process writes it: every sealed commit once, in order, as soon as it stands.

    follower = JournalFollower(folder)
    for commit in follower.read(): ...   # what came since the last call; empty: nothing yet

What is not sealed yet is not there yet, however long that takes: a torn tail is cut by the recovery of the process that died, and the
follower goes on in the segment behind it. A commit that does not check although a later one does, facts missing in the sequence, or a
segment that does not continue the one before is damage: CorruptError, and nothing behind it is given. The journal may be archived under
the reader, and may not exist yet. This module must not write, nor wait.
"""

import io
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final, Protocol

import numpy as np

from twinloop.data import journal_scan
from twinloop.data.errors import CorruptError
from twinloop.data.rowfile import Rows
from twinloop.engine.journal.archive_index import read_index
from twinloop.engine.journal.folder import last_number, segment_number
from twinloop.engine.journal.format import SEGMENT_NAME, SEGMENT_PATTERN, Header, claimed_size, read_header
from twinloop.engine.journal.reader import require_continues
from twinloop.engine.journal.segment import Commit, changed, expected_at
from twinloop.kernels.rows import ROW, ROW_SIZE

ROWS_MAX: Final = 1 << 14  # 1 MiB looked at by one call, or one commit where that is larger.
_ANY_SEQUENCE: Final = -1


class _Bytes(Protocol):
    """A segment's bytes, wherever they are."""

    def read_at(self, byte: int, count: int) -> bytes: ...

    def close(self) -> None: ...


class _File:
    """A segment in the journal's folder: held open, so that it may be archived meanwhile."""

    def __init__(self, path: Path) -> None:
        self._handle = os.open(path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))

    def read_at(self, byte: int, count: int) -> bytes:
        content = os.pread(self._handle, count, byte)
        while len(content) < count and (more := os.pread(self._handle, count - len(content), byte + len(content))):
            content += more
        return content

    def close(self) -> None:
        os.close(self._handle)


class _Memory:
    """A segment that was restored from its archive."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read_at(self, byte: int, count: int) -> bytes:
        self._content.seek(byte)
        return self._content.read(count)

    def close(self) -> None:
        self._content.close()


def headers_of(folder: Path) -> Iterator[Header]:
    """Headers of the segments in a journal's folder, newest first; of those in its archive none."""
    for path in sorted(folder.glob(SEGMENT_PATTERN), key=segment_number, reverse=True):
        with suppress(FileNotFoundError):  # Archived since it was listed.
            with path.open("rb") as file:
                claimed = claimed_size(file.read(ROW_SIZE))
                file.seek(0)
                start = file.read(claimed)
            if start.strip(b"\0"):  # Else it has a name and no header: lost with the power before it was used.
                yield read_header(start, path)[0]


class JournalFollower:
    """Follows the journal of a folder from commit `commit` on; checksum: of the commit before, where it is known; copies: of retired segments.

    header: of the segment being read, None before the first. commit, checksum, sequence: of the next commit, what it continues, and its
    next fact; -1 where any may come.
    """

    def __init__(
        self, folder: Path, *, commit: int = 0, checksum: int | None = None, copies: Path | None = None
    ) -> None:
        self.folder = folder
        self._copies = copies
        self.header: Header | None = None
        self.commit, self.checksum, self.sequence = 0, 0, _ANY_SEQUENCE
        self._from, self._expected = commit, checksum
        self._bytes: _Bytes | None = None
        self._path = folder
        self._header_bytes = self._byte = 0
        self._seals = np.empty(ROWS_MAX, np.int64)

    def close(self) -> None:
        """Let the segment go."""
        if self._bytes is not None:
            self._bytes.close()
            self._bytes = None

    def read(self) -> list[Commit]:
        """The commits sealed since, up to ROWS_MAX rows of them; empty where nothing new is sealed. CorruptError where it was damaged."""
        if self._bytes is None and not self._begin():
            return []
        while True:
            last = not self._next_is_there()  # Asked first: what is read after the next began is all there will be.
            found = self._take()
            if found and (wanted := found[max(self._from - found[0].number, 0) :]):
                return wanted
            if not found and (last or not self._roll()):
                return []

    @property
    def epoch(self) -> int:
        """Of what was read last: one call of read() gives commits of one segment."""
        return self._current.epoch if self.header is not None else 0

    @property
    def behind_bytes(self) -> int:
        """Bytes of later segments in the folder: how far behind the reader is, as far as names tell it."""
        number, found = self.header.segment if self.header is not None else 0, 0
        for path in self.folder.glob(SEGMENT_PATTERN):
            if segment_number(path) > number:
                with suppress(FileNotFoundError):  # Archived since it was listed.
                    found += path.stat().st_size
        return found

    # ---- Segments.

    def _begin(self) -> bool:
        """Open the segment that holds the first commit asked for; False while there is none."""
        firsts = {header.segment: header.first_commit for header in headers_of(self.folder)}
        # Read last: what was archived since the folder was listed is in it.
        firsts |= {entry.segment: entry.first_commit for entry in read_index(self.folder)}
        chosen = [number for number, first in firsts.items() if first <= self._from]
        if not firsts:
            return False
        if not chosen:
            raise CorruptError(
                "the beginning of a journal is missing", file=self.folder, expected=f"a segment with commit {self._from}",
                got=f"none before commit {min(firsts.values())}", remedy="put every segment back as it was written",
            )  # fmt: skip
        if not self._open(max(chosen)):
            return False
        header = self._current
        self.commit, self.checksum, self.sequence = header.first_commit, header.checksum, _ANY_SEQUENCE
        if self._from == self.commit:
            self._check_seal(self.checksum)
        return True

    def _open(self, number: int) -> bool:
        """Open a segment, archived or not; False for one that has a name and no header: lost with the power before it was used."""
        path = self.folder / SEGMENT_NAME.format(number)
        try:
            opened: _Bytes = _File(path)
        except FileNotFoundError:
            from twinloop.engine.journal.archive import archived_bytes  # noqa: PLC0415 - Polars is loaded when it is needed

            # A segment is in the index before its file goes.
            entry = next((each for each in read_index(self.folder) if each.segment == number), None)
            if entry is None:
                raise CorruptError(
                    "a journal segment is missing", file=path, remedy="put every segment back as it was written"
                ) from None
            opened = _Memory(archived_bytes(self.folder, entry, self._copies))
        start = opened.read_at(0, claimed_size(opened.read_at(0, ROW_SIZE)))
        if not start.strip(b"\0"):
            opened.close()
            return False
        header, size = read_header(start, path)
        self.close()
        self._bytes, self._path, self.header = opened, path, header
        self._header_bytes = self._byte = size
        return True

    def _next_is_there(self) -> bool:
        return last_number(self.folder) > self._current.segment

    @property
    def _current(self) -> Header:
        assert self.header is not None
        return self.header

    def _roll(self) -> bool:
        """Go on in the next segment; CorruptError where it does not continue what was read."""
        before = self._current
        if not self._open(before.segment + 1):
            return False
        header = self._current
        require_continues(header, self._path, before.segment + 1, self.commit, self.checksum)
        if header.epoch < before.epoch:
            raise CorruptError(
                "an epoch that falls", file=self._path, expected=f"at least {before.epoch}", got=header.epoch
            )
        if header.epoch == before.epoch and self.sequence not in {_ANY_SEQUENCE, header.first_sequence}:
            raise self._missing_facts(0, self.sequence, header.first_sequence)
        self.sequence = header.first_sequence
        return True

    # ---- Commits.

    def _take(self) -> list[Commit]:
        piece = ROWS_MAX
        looked = False
        while True:
            rows = self._rows(piece)
            found, taken, checksum, sequence, stop, about = journal_scan.scan(
                rows, 0, self.checksum, self.commit, self.sequence, self._seals
            )
            if found:
                return self._given(rows, self._seals[:found].tolist(), taken, checksum, sequence)
            if stop == journal_scan.NUMBER:
                raise changed(
                    self._path, self._header_bytes, self._row + about, f"commit {int(rows[about]['sequence'])} instead of {self.commit}"
                )  # fmt: skip
            if stop == journal_scan.SEQUENCE:
                raise self._missing_facts(about, expected_at(rows, 0, about, sequence), int(rows[about]["sequence"]))
            if stop == journal_scan.BREAKS_OFF and len(rows) == piece:
                piece *= 2  # A commit larger than a piece.
                continue
            later = journal_scan.find_later(rows, 0, self.checksum)
            if later < 0:
                return []
            # A later commit stands and this one does not: written between two of our reads, or damaged. A second look tells.
            if looked:
                raise changed(
                    self._path, self._header_bytes, self._row, f"no commit, though the one at row {self._row + later} checks"
                )  # fmt: skip
            looked = True

    def _given(self, rows: Rows, seals: list[int], taken: int, checksum: int, sequence: int) -> list[Commit]:
        commits, start, segment = [], 0, self._current.segment
        for seal in seals:
            commits.append(Commit(self.commit, rows[start:seal], rows[seal], segment, self._byte + start * ROW_SIZE))
            self.commit += 1
            start = seal + 1
        self._byte += taken * ROW_SIZE
        self.checksum, self.sequence = checksum, sequence
        if commits[0].number < self._from <= self.commit:
            self._check_seal(int(commits[self._from - commits[0].number - 1].seal["checksum"]))
        return commits

    def _check_seal(self, checksum: int) -> None:
        if self._expected is not None and checksum != self._expected:
            raise CorruptError(
                f"not the journal that was read before: it differs before commit {self._from}", file=self.folder,
                expected=f"checksum {self._expected:08x}", got=f"{checksum:08x}",
            )  # fmt: skip

    @property
    def _row(self) -> int:
        return (self._byte - self._header_bytes) // ROW_SIZE

    def _rows(self, count: int) -> Rows:
        assert self._bytes is not None
        content = self._bytes.read_at(self._byte, count * ROW_SIZE)
        return np.frombuffer(content, ROW, len(content) // ROW_SIZE)

    def _missing_facts(self, row: int, expected: int, got: int) -> CorruptError:
        byte = self._byte + row * ROW_SIZE
        return CorruptError(
            f"facts are missing or repeated at row {self._row + row} (byte {byte})", file=self._path, expected=expected, got=got,
            remedy="do not trade on it: keep the files, and look at them with `twinloop journal show`",
        )  # fmt: skip
