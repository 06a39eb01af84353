"""A journal's folder: its lock against a second instance, its epoch, and its segments in order."""

import os
from pathlib import Path
from typing import Any, Final

from twinloop.data.errors import CorruptError, DataError
from twinloop.engine.live.session_errors import SessionError

try:
    import fcntl
except ImportError:  # Not on this system.
    fcntl = None  # type: ignore[assignment]

LOCK: Final = "lock"
EPOCH: Final = "epoch"


def sync_folder(path: Path) -> None:
    """Make what was created or renamed in a folder last."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def segments_of(folder: Path) -> list[Path]:
    """The segments of a journal, oldest first. DataError where there is no journal."""
    if not folder.is_dir():
        raise DataError("no such journal", file=folder, expected="a folder with segments", remedy="check the path")
    found = sorted(folder.glob("segment-*.journal"))
    if not found:
        raise DataError(
            "a folder without journal segments", file=folder, expected="segment-000001.journal", remedy="check the path"
        )
    return found


class FolderLock:
    """The exclusive right to write a journal. Held until close(), or until the process ends, however it ends."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file: Any = (folder / LOCK).open("a+", encoding="ascii")
        if fcntl is None:
            return
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            self._file.seek(0)
            holder = self._file.read().strip() or "unknown"
            self._file.close()
            raise SessionError(
                "this journal is in use by another process", file=folder, expected="one instance an account",
                got=f"process {holder}", remedy="stop it first, or give this session a journal of its own",
            ) from None  # fmt: skip
        self._file.seek(0)
        self._file.truncate()
        self._file.write(str(os.getpid()))
        self._file.flush()

    def close(self) -> None:
        """Give the right up."""
        self._file.close()


def next_epoch(folder: Path) -> int:
    """Take the next epoch: written and synced before it is used, so that none is ever used twice. The caller holds the lock."""
    path = folder / EPOCH
    last = 0
    if path.exists():
        text = path.read_text(encoding="ascii", errors="replace").strip()
        if not text.isdigit():
            raise CorruptError(
                "the epoch of this journal is damaged", file=path, expected="a whole number", got=text,
                remedy="write the highest epoch of its segments there (twinloop journal show)",
            )  # fmt: skip
        last = int(text)
    half_made = folder / f"{EPOCH}.part"
    with half_made.open("w", encoding="ascii") as file:
        file.write(str(last + 1))
        file.flush()
        os.fsync(file.fileno())
    half_made.replace(path)
    sync_folder(folder)
    return last + 1
