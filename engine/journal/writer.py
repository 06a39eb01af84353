"""Writing a journal: rows and seals into a mapped file that was given its room beforehand, made to last by a thread.

    journal.append(rows); mark = journal.commit(monotonic_ns, wall_ns)
    journal.is_safe(mark)      # at the chosen durability: may what depends on it leave?

A commit is a copy into the page cache: it survives the end of the process, however that comes, and costs no system call. What survives
the loss of power is what fdatasync returned for. Durability: `async` counts a commit as safe at once, `group` after the next sync of the
thread, `strict` asks for a sync at every commit. After one error nothing is synced again on that file (the system may have dropped the
pages and would report success): the journal has failed, every later append says so, and whoever trades has to stop.
"""

import mmap
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np

from twinloop.engine.journal.folder import FolderLock, next_epoch, segments_of, sync_folder
from twinloop.engine.journal.format import (
    CHECKSUM_AT,
    SEGMENT_NAME,
    Header,
    commit_checksum,
    header_bytes,
    pack_seal,
)
from twinloop.engine.live.session_errors import SessionError
from twinloop.engine.seam import WORLD
from twinloop.kernels.rows import ROW_SIZE

Durability = Literal["async", "group", "strict"]
SEGMENT_ROWS: Final = 1 << 20  # 64 MiB.
GROUP_S: Final = 0.001


class JournalFailedError(SessionError):
    """The journal cannot be written any more."""


class FileLayer:
    """What the writer asks of the file system; tests put failures here."""

    def create(self, path: Path, size: int) -> int:
        """A new file of a size with room for all of it: its descriptor."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError:
            os.close(handle)
            path.unlink(missing_ok=True)
            raise
        return handle

    def sync(self, handle: int) -> None:
        """Make what was written so far last."""
        os.fdatasync(handle)

    def trim(self, handle: int, size: int) -> None:
        """Give room back that was not used."""
        os.ftruncate(handle, size)


class _Segment:
    """One file being written. `at`: the byte where the next row goes."""

    def __init__(self, layer: FileLayer, path: Path, header: Header, rows: int) -> None:
        head = header_bytes(header)
        self.path = path
        self.size = len(head) + rows * ROW_SIZE
        self.handle = layer.create(path, self.size)
        self.memory = mmap.mmap(self.handle, self.size)
        self.memory[: len(head)] = head
        self.at = len(head)
        self.start = len(head)

    def close(self, layer: FileLayer, *, trim: bool) -> None:
        """Unmap; trim: give back the room that was not used."""
        self.memory.close()
        if trim:
            layer.trim(self.handle, self.at)
        os.close(self.handle)


class JournalWriter:
    """The one writer of a journal. Its methods are called by one thread; `when_safe` may be called from the syncing one.

    start: (commits so far, checksum, next sequence) of what the folder holds already, from reader.verify.
    """

    def __init__(
        self,
        folder: Path,
        *,
        session: dict[str, Any],
        code: str,
        config: str,
        durability: Durability = "group",
        segment_rows: int = SEGMENT_ROWS,
        start: tuple[int, int, int] = (0, 0, 0),
        layer: FileLayer | None = None,
        when_safe: Callable[[], None] | None = None,
        lock: FolderLock | None = None,
    ) -> None:
        self.folder = folder
        self._lock = lock or FolderLock(folder)
        self.epoch = next_epoch(folder)
        self._layer = layer or FileLayer()
        self._session, self._code, self._config = session, code, config
        self.durability: Durability = durability
        self._segment_rows = segment_rows
        self.commits, self._checksum, self._sequence = start
        self._safe = self.commits
        self.failure = ""
        self.when_safe = when_safe
        self._segment_number = len(segments_of(folder)) if any(folder.glob("segment-*.journal")) else 0
        self._pending = 0  # Bytes appended since the last seal.
        self._segment = self._new_segment()
        self._done: list[_Segment] = []
        self._wake = threading.Condition()
        self._wanted = self.commits
        self._closing = False
        self._thread = threading.Thread(target=self._sync_on, name="journal-sync", daemon=True)
        self._thread.start()

    def _new_segment(self) -> _Segment:
        self._segment_number += 1
        header = Header(
            epoch=self.epoch, segment=self._segment_number, first_sequence=self._sequence, first_commit=self.commits,
            checksum=self._checksum, code=self._code, config=self._config, session=self._session, created_ns=WORLD.wall_ns(),
        )  # fmt: skip
        path = self.folder / SEGMENT_NAME.format(self._segment_number)
        try:
            segment = _Segment(self._layer, path, header, self._segment_rows)
            sync_folder(self.folder)
        except OSError as error:
            self._fail(f"a new segment cannot be made: {error.strerror or error}")
            raise self._failed() from None
        return segment

    def _fail(self, reason: str) -> None:
        self.failure = self.failure or reason

    def _failed(self) -> JournalFailedError:
        return JournalFailedError(
            f"the journal has failed: {self.failure}", file=self.folder, remedy="no order may be sent without it"
        )

    def append(self, rows: Any) -> None:
        """Copy rows (a contiguous ROW array) behind what is there. They count once their commit is sealed."""
        if self.failure:
            raise self._failed()
        size = rows.nbytes
        if size == 0:
            return
        segment = self._segment
        # A commit lies in one segment: room for these and the seal, or the commit begins the next one.
        if segment.at + size + ROW_SIZE > segment.size:
            segment = self._roll(size)
        segment.memory[segment.at : segment.at + size] = rows.view(np.uint8).data
        segment.at += size
        self._pending += size

    def _roll(self, size: int) -> _Segment:
        old = self._segment
        begun = bytes(old.memory[old.at - self._pending : old.at])
        if len(begun) + size + ROW_SIZE > self._segment_rows * ROW_SIZE:
            self._fail(f"one commit of more than {self._segment_rows} rows")
            raise self._failed()
        old.memory[old.at - self._pending : old.at] = bytes(self._pending)
        old.at -= self._pending
        new = self._new_segment()
        new.memory[new.at : new.at + len(begun)] = begun
        new.at += len(begun)
        with self._wake:
            self._segment = new
            self._done.append(old)
            self._wake.notify()
        return new

    def commit(self, monotonic_ns: int, wall_ns: int, *, local_ns: int = 0, sequence: int = 0) -> int:
        """Seal what was appended since the last commit: its mark. Without rows, the last mark. sequence: of the next fact."""
        if self.failure:
            raise self._failed()
        if self._pending == 0:
            return self.commits
        segment = self._segment
        pack_seal(segment.memory, segment.at, self.commits, self._pending // ROW_SIZE, monotonic_ns, wall_ns, local_ns)
        start, end = segment.at - self._pending, segment.at + ROW_SIZE
        self._checksum = commit_checksum(segment.memory[start:end], self._checksum)
        place = segment.at + CHECKSUM_AT
        segment.memory[place : place + 8] = self._checksum.to_bytes(8, "little")
        segment.at = end
        self._pending = 0
        self._sequence = sequence or self._sequence
        self.commits += 1
        if self.durability == "async":
            self._safe = self.commits
        else:
            with self._wake:
                self._wanted = self.commits
                self._wake.notify()
        return self.commits

    def is_safe(self, mark: int) -> bool:
        """Whether a commit is as safe as the durability asks, and the journal has not failed."""
        return mark <= self._safe and not self.failure

    def wait(self, mark: int, timeout_s: float) -> bool:
        """Wait until a commit is safe; False when it did not become so in time or the journal failed."""
        with self._wake:
            self._wake.wait_for(lambda: mark <= self._safe or bool(self.failure), timeout_s)
        return self.is_safe(mark)

    def _sync_on(self) -> None:
        """The thread: one sync for all commits since the last one, then the next."""
        while True:
            with self._wake:
                self._wake.wait_for(lambda: self._wanted > self._safe or self._closing or bool(self._done))
                if self._closing and self._wanted <= self._safe and not self._done:
                    return
            if self.durability == "group" and not self._closing:
                # Let commits of the next moment share this sync.
                threading.Event().wait(GROUP_S)
            with self._wake:
                wanted, done, segment = self._wanted, self._done, self._segment
                self._done = []
            try:
                for old in done:
                    self._layer.sync(old.handle)
                    old.close(self._layer, trim=True)
                if self.durability != "async" or self._closing:
                    self._layer.sync(segment.handle)
            except OSError as error:
                with self._wake:
                    self._fail(f"what was written may not last: {error.strerror or error}")
                    self._wake.notify_all()
                if self.when_safe is not None:
                    self.when_safe()
                return
            with self._wake:
                self._safe = max(self._safe, wanted)
                self._wake.notify_all()
            if self.when_safe is not None:
                self.when_safe()

    def close(self) -> None:
        """Sync what is sealed, give unused room back, and let the folder go. Rows without a seal are dropped."""
        with self._wake:
            self._closing = True
            self._wake.notify_all()
        self._thread.join()
        segment = self._segment
        try:
            if not self.failure:
                if self._pending:
                    segment.memory[segment.at - self._pending : segment.at] = bytes(self._pending)
                    segment.at -= self._pending
                    self._pending = 0
                self._layer.sync(segment.handle)
            segment.close(self._layer, trim=not self.failure)
        except OSError as error:
            self._fail(f"closing: {error.strerror or error}")
        self._lock.close()

    def disk(self) -> dict[str, int]:
        """Bytes written in this segment, and free bytes of the disk it is on."""
        free = os.statvfs(self.folder)
        return {"segment_bytes": self._segment.at, "free_bytes": free.f_bavail * free.f_frsize}


def as_rows(rows: Any) -> Any:
    """A contiguous copy of rows where they are not contiguous already."""
    return np.ascontiguousarray(rows)
