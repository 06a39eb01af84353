"""Going on with a journal after its process ended, however it ended.

    recovered = resume(folder, session=..., code=..., config=...)
    recovered.journal        # what is there, checked
    recovered.writer         # goes on behind it, in a new epoch

In order: the lock, the check of everything, the cut of a torn tail (kept beside its segment, never destroyed), the epoch, a new segment.
Being killed at any of these steps leaves a folder that resumes the same way. A journal that was damaged is not gone on with.
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from twinloop.data.atomic import TEMPORARY_MARK, sync_folder, write_atomic
from twinloop.engine.journal.folder import PART, FolderLock
from twinloop.engine.journal.format import SEGMENT_PATTERN
from twinloop.engine.journal.reader import Journal, Segment, open_journal
from twinloop.engine.journal.writer import JournalWriter


@dataclass(frozen=True)
class Recovered:
    """A journal that goes on. journal: None where the folder was new. torn_bytes: cut from its end, kept in `kept`."""

    writer: JournalWriter
    journal: Journal | None
    torn_bytes: int = 0
    tail: str = ""  # Why the tail was in no commit.


def resume(folder: Path, *, lock: FolderLock | None = None, **options: Any) -> Recovered:
    """Begin a journal, or go on with one. options: of JournalWriter, without start and epoch_above.

    Raises SessionError where another process holds it, CorruptError where it was damaged; the files are then as they were.
    """
    held = lock or FolderLock(folder)
    try:
        ready = make_ready(folder)
        return Recovered(JournalWriter(folder, lock=held, **ready.behind, **options), *ready)
    except BaseException:
        if lock is None:
            held.close()
        raise


class Ready(NamedTuple):
    """A folder whose journal may be gone on with; the fields are those of Recovered."""

    journal: Journal | None
    torn_bytes: int = 0
    tail: str = ""

    @property
    def behind(self) -> dict[str, Any]:
        """The options of a JournalWriter that goes on behind it."""
        return {} if self.journal is None else {"start": self.journal.start, "epoch_above": self.journal.epoch}


def make_ready(folder: Path) -> Ready:
    """Check a journal and take away what a process that died has left: the caller holds the lock, and writes nothing before.

    Raises CorruptError where it was damaged; the files are then as they were.
    """
    if not any(folder.glob(SEGMENT_PATTERN)):
        _clear(folder)
        return Ready(None)
    journal = open_journal(folder)
    journal.require_sound()
    _clear(folder)
    tail = journal.segments[-1].tail
    return Ready(journal, cut_torn_tail(journal), tail)


def cut_torn_tail(journal: Journal) -> int:
    """Cut what stands behind the last whole commit, keeping it beside the segment: how many bytes. The caller holds the lock."""
    if journal.torn_segment is not None:
        # A file of zeros, given a name before the power went: nothing was ever in it.
        journal.torn_segment.unlink()
        sync_folder(journal.folder)
        journal.torn_segment = None
    segment = journal.segments[-1]
    torn_bytes = segment.torn_bytes
    if torn_bytes:
        with segment.path.open("rb") as file:
            file.seek(segment.end)
            _keep(segment, file.read(torn_bytes))
    for each in journal.segments:
        if each.size > each.end:
            _trim(each)
    segment.torn_bytes, segment.tail = 0, ""
    return torn_bytes


def _keep(segment: Segment, content: bytes) -> None:
    number = 1
    while (kept := segment.path.with_suffix(f".torn-{number}")).exists():
        if kept.read_bytes() == content:  # Kept by a recovery that was killed before it cut.
            return
        number += 1
    write_atomic(kept, content)


def _trim(segment: Segment) -> None:
    """Give back the room that a process which died had not used."""
    with segment.path.open("r+b") as file:
        file.truncate(segment.end)
        os.fsync(file.fileno())
    segment.size = segment.end


def _clear(folder: Path) -> None:
    """Remove what was never begun."""
    for pattern in (f"*{PART}", f"*{TEMPORARY_MARK}*"):
        for path in folder.glob(pattern):
            path.unlink(missing_ok=True)
