"""How long a journal's segments stay on its disk, carried out: sealed ones become Parquet, are copied elsewhere, and the old ones go.

    kept = keep(folder, copies, age_ns=..., now_ns=...)     # what was done now

Nothing is removed that no verified copy holds, or that the next start may need because no snapshot stands for it. Safe to be killed at any
moment, and to be run again. This module must not touch the segments being written.
"""

from dataclasses import dataclass, field
from pathlib import Path

from twinloop.engine.journal.archive import archive, copy_archive, retire
from twinloop.engine.journal.archive_index import Archived
from twinloop.engine.journal.folder import ARCHIVE, FolderLock
from twinloop.engine.journal.snapshot import oldest_whole

STAY = 2  # The segment being written, and the one before it.


@dataclass(frozen=True)
class Kept:
    """What one round did."""

    archived: list[Archived] = field(default_factory=list)
    copied: list[Archived] = field(default_factory=list)
    retired: list[Archived] = field(default_factory=list)

    @property
    def freed_bytes(self) -> int:
        """Of the journal's disk."""
        return sum(each.size - each.parquet_size for each in self.archived) + sum(
            each.parquet_size for each in self.retired
        )


def keep(folder: Path, copies: Path, *, age_ns: int | None, now_ns: int) -> Kept:
    """One round. copies: the folder of this journal's copies. age_ns: older ones go, None: none does. now_ns: wall time.

    Raises CorruptError where a file is not what it must be, SessionError while somebody else archives the journal, OSError as the system
    gives it; what was done before stays done.
    """
    lock = FolderLock(folder / ARCHIVE)
    try:
        archived = archive(folder, keep=STAY)
        copied = copy_archive(folder, copies)
        needed = oldest_whole(folder)
        retired = []
        if age_ns is not None and needed is not None:
            retired = retire(folder, now_ns=now_ns, age_ns=age_ns, up_to_commit=needed, copies=copies)
        return Kept(archived, copied, retired)
    finally:
        lock.close()
