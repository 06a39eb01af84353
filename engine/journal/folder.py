"""A journal's folder: its lock against a second instance, its epoch, and its segments in order.

lock                       the number of the process that writes it, held by the system's file lock
epoch                      the last epoch that was taken
segment-000001.journal     segments; the highest is the one being written
segment-000001.torn-1      what a process that died had not sealed, cut and kept
archive/                   sealed segments as Parquet, with what stands for those that were retired (archive.py)
"""

import re
from pathlib import Path
from typing import Any, Final

from twinloop.data.atomic import make_folder, write_atomic
from twinloop.data.errors import CorruptError, DataError
from twinloop.engine.journal.format import SEGMENT_NAME, SEGMENT_PATTERN
from twinloop.engine.live.session_errors import SessionError
from twinloop.engine.seam import process_id

try:
    import fcntl
except ImportError:  # Not on this system.
    fcntl = None  # type: ignore[assignment]

LOCK: Final = "lock"
EPOCH: Final = "epoch"
ARCHIVE: Final = "archive"
PRIVATE: Final = 0o700  # Segments, snapshots and archive tell all that an account did: it is nobody else's business.
PART: Final = ".part"  # Of a segment that was never begun: it holds nothing.
_NUMBER: Final = re.compile(r"segment-(\d{6,})\.")


def segment_number(path: Path) -> int:
    """The number in a segment's name."""
    found = _NUMBER.match(path.name)
    if found is None:
        raise DataError("not a segment's name", file=path, expected=SEGMENT_NAME.format(1), got=path.name)
    return int(found[1])


def segments_of(folder: Path) -> list[Path]:
    """The segments of a journal, oldest first. DataError where there is no journal."""
    if (folder / "journal").is_dir() and not list(folder.glob(SEGMENT_PATTERN)):
        raise DataError(
            "this is a session's folder", file=folder, expected="its journal", remedy=f"name {folder / 'journal'}"
        )
    if folder.is_file():
        raise DataError("this is a file", file=folder, expected="a journal's folder", remedy=f"name {folder.parent}")
    if not folder.is_dir():
        raise DataError("no such journal", file=folder, expected="a folder with segments", remedy="check the path")
    found = sorted(folder.glob(SEGMENT_PATTERN), key=segment_number)
    if not found:
        raise DataError(
            "a folder without journal segments", file=folder, expected=SEGMENT_NAME.format(1), remedy="check the path"
        )
    return found


def last_number(folder: Path) -> int:
    """The highest number a segment had, those put away counted; 0 in a new folder."""
    held = [*folder.glob(SEGMENT_PATTERN), *(folder / ARCHIVE).glob("segment-*.parquet")]
    return max((segment_number(path) for path in held), default=0)


class FolderLock:
    """The exclusive right to write a journal. Held until close(), or until the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        make_folder(folder, PRIVATE)
        self._file: Any = (folder / LOCK).open("a+", encoding="ascii", errors="replace")
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read(20).strip() or "unknown"
            self._file.close()
            raise SessionError(
                f"this journal is in use by another process, number {holder}", file=folder, expected="one instance an account",
                remedy="stop it first, or give this session a journal of its own",
            ) from None  # fmt: skip
        self._file.seek(0)
        self._file.truncate()
        self._file.write(str(process_id()))
        self._file.flush()

    def close(self) -> None:
        """Give the right up."""
        self._file.close()


def next_epoch(folder: Path, above: int = 0) -> int:
    """Take the next epoch: written and synced before it is used, so that none is ever used twice. The caller holds the lock.

    above: the highest epoch its segments know of, for a folder whose counter was lost or put back.
    """
    path = folder / EPOCH
    last = above
    if path.exists():
        text = path.read_text(encoding="ascii", errors="replace").strip()
        if not (text.isascii() and text.isdigit() and len(text) <= 18):
            raise CorruptError(
                "the epoch of this journal is damaged", file=path, expected="a whole number", got=text[:40],
                remedy="write the highest epoch of its segments there (twinloop journal verify shows it)",
            )  # fmt: skip
        last = max(last, int(text))
    write_atomic(path, str(last + 1).encode("ascii"))
    return last + 1
