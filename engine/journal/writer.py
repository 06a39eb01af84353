"""Writing a journal: rows and seals into a bounded buffer, and from there into segments that last as the durability says.

    with JournalWriter(folder, session=..., code=..., config=..., durability="group") as journal:
        journal.append(rows)
        mark = journal.commit(monotonic_ns, wall_ns)
        journal.is_safe(mark)      # may what depends on it leave?

`async`: commit puts its bytes into the page cache, through memory (data/segment_room.py) where the file system is fit for that, so its mark is
reached at once; it survives the end of the process, however that comes, but not
the loss of power. `group`: a thread writes and syncs what came within `group_us` or `group_rows`, whichever is first. `strict`: it does so
at once; commits that come during one sync share the next. What waits for a mark asks `is_safe`, or waits in `wait`, or in MarkNotices of an
event loop; cancels wait for none.

A full buffer raises JournalFullError and takes nothing. After one error of a file nothing is written or synced again (the system may have
dropped the pages and would report success): the journal has failed, every later call says so, and whoever trades has to stop. Segments are
given their room before they are used, and what is left is given back at their end. This module must not read journals.
"""

import errno
import os
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Literal, Self

import msgspec
import numpy as np
import numpy.typing as npt

from twinloop.data import journal_write
from twinloop.data.atomic import sync_folder
from twinloop.data.instruments import Instrument
from twinloop.data.segment_room import SegmentRoom, segment_room
from twinloop.engine import crash_points
from twinloop.engine.journal.errors import JournalError, JournalFailedError, JournalFullError
from twinloop.engine.journal.folder import PART, FolderLock, last_number, next_epoch
from twinloop.engine.journal.format import SEGMENT_NAME, Header, header_bytes
from twinloop.engine.seam import WORLD
from twinloop.kernels.rows import ROW_SIZE

Durability = Literal["async", "group", "strict"]
SEGMENT_ROWS: Final = 1 << 20  # 64 MiB.
# While a disk says nothing: 64 MiB is over ten minutes of a busy market, and three seconds of twenty times the peak of a recorded one with its
# book. With `async` nothing waits in it.
BUFFER_ROWS: Final[dict[str, int]] = {"async": 1 << 16, "group": 1 << 20, "strict": 1 << 20}
GROUP_US: Final = 200
GROUP_ROWS: Final = 64
_LEVELS: Final = {
    "async": journal_write.ASYNC,
    "group": journal_write.GROUP,
    "strict": journal_write.STRICT,
}
_HEADER_ROOM: Final = 1 << 16
_READY_BYTES: Final = 1 << 20  # Of a segment before it is used: its thread may be busy with syncing the one before.


_File = tuple[int, SegmentRoom | None]  # A descriptor, and the same file as memory.


class FileLayer:
    """What the writer asks of the file system, and the failures of writes and syncs that tests put there.

    faults: (n, 4) int64 or None: operation (data/journal_write.py), first call, call behind the last, and -errno or the bytes a write takes.
    """

    faults: npt.NDArray[np.int64] | None = None

    def create(self, path: Path, size: int) -> int:
        """A new file with room for all of `size`: its descriptor."""
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(handle, 0, size)
            else:
                os.ftruncate(handle, size)
        except OSError:
            os.close(handle)
            path.unlink(missing_ok=True)
            raise
        return handle

    def room(self, handle: int, size: int) -> SegmentRoom | None:
        """The same file as memory, where that can be had: commits are copied there instead of written."""
        return segment_room(handle, size)

    def write_header(self, handle: int, content: bytes) -> None:
        """Put a header at the start of a file."""
        if os.pwrite(handle, content, 0) != len(content):
            raise OSError(errno.EIO, "a header was written in part")

    def rename(self, path: Path, target: Path) -> None:
        """Give a file its name."""
        path.rename(target)

    def sync_folder(self, folder: Path) -> None:
        """Make names last."""
        sync_folder(folder)

    def trim(self, handle: int, size: int) -> None:
        """Give room back that was not used."""
        os.ftruncate(handle, size)


class JournalWriter:
    """The one writer of a journal; one thread appends and commits. Raises SessionError where another process holds the folder.

    start: (commits so far, checksum, next sequence) of what the folder holds already: Journal.start of reader.py, or recovery.resume.
    instruments: by slot; taken from the session when it tells them. epoch_above: the highest epoch its segments know of. buffer_rows: None for
    what the durability needs.
    """

    append: Callable[
        [Any], None
    ]  # (rows), a contiguous ROW array or its bytes: copied. They count once their commit is sealed.
    append_at: Callable[[int, int], None]  # (address, count): rows in memory.
    commit: Callable[..., int]  # (monotonic_ns, wall_ns, local_ns=0, sequence=-1): the mark of all appended so far.

    def __init__(
        self,
        folder: Path,
        *,
        session: dict[str, Any],
        code: str,
        config: str,
        instruments: Sequence[Instrument] | None = None,
        durability: Durability = "group",
        segment_rows: int = SEGMENT_ROWS,
        buffer_rows: int | None = None,
        group_us: int = GROUP_US,
        group_rows: int = GROUP_ROWS,
        start: tuple[int, int, int] = (0, 0, 0),
        epoch_above: int = 0,
        layer: FileLayer | None = None,
        lock: FolderLock | None = None,
    ) -> None:
        self.folder = folder
        self.durability: Durability = durability
        self._lock = lock or FolderLock(folder)
        self._layer = layer or FileLayer()
        self._reason = ""
        self._closed = self._closed_well = False
        self._session, self._code, self._config = session, code, config
        self._instruments = tuple(_of_session(session) if instruments is None else instruments)
        self._segment_bytes = segment_rows * ROW_SIZE
        self.commit_rows_max = min(segment_rows, buffer_rows or BUFFER_ROWS[durability]) - 1  # Its seal is a row too.
        self._core = core = journal_write.CommitBuffer(
            level=_LEVELS[durability], buffer_rows=buffer_rows or BUFFER_ROWS[durability], segment_rows=segment_rows, group_rows=group_rows,
            group_ns=group_us * 1000, start=start, refuse=self._refuse, roll=self._roll_now, faults=self._layer.faults,
        )  # fmt: skip
        self.append, self.append_at, self.commit = core.append, core.append_at, core.commit
        try:
            self.epoch = next_epoch(folder, epoch_above)
            if crash_points.armed:
                crash_points.reach("start-epoch")
            self._number = last_number(folder) + 1
            self._handle, self._room = self._part(self._number)
            self._begin((self._handle, self._room), (*start, 0), durable=True)
        except OSError as error:
            core.close_pipes()
            if lock is None:
                self._lock.close()
            raise JournalFailedError(
                f"a journal cannot be begun: {error.strerror or error}", file=folder, remedy="no order may be sent without it"
            ) from None  # fmt: skip
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._prepared: queue.SimpleQueue[_File | OSError] = queue.SimpleQueue()
        # One thread: with `async` it makes room ahead and puts finished segments away, else it writes.
        work = self._keep_house if durability == "async" else self._write_on
        self._thread = threading.Thread(target=work, name="journal", daemon=True)
        self._thread.start()
        if durability == "async":
            self._give_job(self._prepare)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ---- Marks.

    @property
    def commits(self) -> int:
        """Commits sealed so far, those of earlier processes counted: the last mark."""
        return self._core.commits()

    def reached(self) -> int:
        """The highest mark that is as safe as the durability says."""
        return self._core.reached()

    def is_safe(self, mark: int) -> bool:
        """Whether a commit is as safe as the durability says, and the journal has not failed."""
        return mark <= self._core.reached() and (self._core.failure() == 0 or self._closed_well)

    def wait(self, mark: int, timeout_s: float) -> bool:
        """Wait until a commit is safe; False when it did not become so in time or the journal failed."""
        limit_ns = WORLD.monotonic_ns() + int(timeout_s * 1e9)
        while self._core.reached() < mark and self._core.failure() == 0:
            left_ns = limit_ns - WORLD.monotonic_ns()
            if left_ns <= 0:
                return False
            self._core.wait(mark, left_ns)
        return self.is_safe(mark)

    @property
    def notice_fd(self) -> int:
        """A descriptor that turns readable when marks are reached or the journal fails (`group`, `strict`); see MarkNotices."""
        return self._core.notice_fd()

    def clear_notice(self) -> None:
        """Call it before looking at `reached`: later news turns the descriptor readable again."""
        self._core.clear_notice()

    # ---- Its state.

    @property
    def core(self) -> journal_write.CommitBuffer:
        """The buffer itself, for compiled code of the thread that appends."""
        return self._core

    @property
    def failure(self) -> str:
        """Why the journal failed; empty while it has not."""
        number = self._core.failure()
        if number == 0 or self._closed_well:
            return ""
        if self._reason:
            return self._reason
        what = "writing" if self._core.failed_at() == journal_write.WRITE else "syncing"
        return f"{what} {self.path.name}: {os.strerror(number) if number > 0 else 'nothing was taken'}"

    @property
    def path(self) -> Path:
        """The segment being written."""
        return self.folder / SEGMENT_NAME.format(self._number)

    def disk(self) -> dict[str, int]:
        """Bytes of rows sealed by this process, those waiting for the disk, and free bytes of the disk."""
        room = os.statvfs(self.folder)
        return {
            "sealed_bytes": self._core.bytes_sealed(),
            "waiting_bytes": self._core.bytes_waiting(),
            "free_bytes": room.f_bavail * room.f_frsize,
        }

    def fail(self, reason: str) -> None:
        """Stop the journal for good: nothing of what it is given from now on would be safe."""
        self._reason = self._reason or reason
        self._core.fail(errno.ECANCELED)

    def operations(self) -> tuple[int, int]:
        """How often files were written and synced."""
        return self._core.operations()

    def close(self) -> None:
        """Sync what is sealed, give unused room back, and let the folder go. Rows without a seal are dropped."""
        if self._closed:
            return
        self._closed = True
        core = self._core
        core.close()
        self._give_job(None)
        self._thread.join()
        if core.failure() == 0 and self.durability == "async":
            core.sync(self._handle)
        try:
            if core.failure() == 0:
                self._layer.trim(self._handle, self._header_bytes + core.bytes_sealed() - self._start)
        except OSError as error:
            self._fail("closing", error)
        _let_go((self._handle, self._room))
        if core.failure() == 0:
            self._closed_well = True
            core.fail(errno.EBADF)  # Nothing is written to a descriptor that may be another file's by now.
        self._drop_prepared()
        core.close_pipes()
        self._lock.close()

    # ---- Why something was not taken.

    def _refuse(self, code: int) -> None:
        if code == journal_write.FAILED:
            what = "was closed" if self._closed_well else f"has failed: {self.failure}"
            raise JournalFailedError(f"the journal {what}", file=self.folder, remedy="no order may be sent without it")
        if code == journal_write.NO_ROOM:
            raise JournalFullError(
                f"the journal's buffer is full, {self._core.bytes_waiting()} bytes wait for the disk", file=self.path, expected="a disk that keeps up",
                remedy="send no order before it has room again",
            )  # fmt: skip
        what, expected = {
            journal_write.BROKEN_ROWS: ("what the journal was given is no rows", f"whole rows of {ROW_SIZE} bytes with a kind"),
            journal_write.HOLDS_SEAL: ("only the journal seals", "rows without a SEAL"),
            journal_write.TOO_LARGE: ("a commit larger than a segment or the buffer", "fewer rows in one commit"),
        }[code]  # fmt: skip
        raise JournalError(what, file=self.path, expected=expected)

    def _fail(self, what: str, error: OSError) -> None:
        self._reason = self._reason or f"{what}: {error.strerror or error}"
        self._core.fail(error.errno or errno.EIO)

    # ---- Segments.

    def _part(self, number: int) -> _File:
        """Room for a segment under a name that no reader looks at."""
        path = self.folder / (SEGMENT_NAME.format(number) + PART)
        size = self._segment_bytes + _HEADER_ROOM
        handle = self._layer.create(path, size)
        if crash_points.armed:
            crash_points.reach("segment-room")
        room = self._layer.room(handle, size) if self.durability == "async" else None
        return handle, room if room is not None and room.make_ready(_READY_BYTES) else None

    def _begin(self, file: _File, roll: tuple[int, int, int, int], *, durable: bool) -> None:
        """Make a file with room the segment `self._number`, and go on in it."""
        handle, room = file
        commit, checksum, sequence, position = roll
        head = header_bytes(
            Header(
                epoch=self.epoch,
                segment=self._number,
                first_sequence=sequence,
                first_commit=commit,
                checksum=checksum,
                code=self._code,
                config=self._config,
                session=self._session,
                instruments=self._instruments,
                created_ns=WORLD.wall_ns(),
            )
        )
        self._layer.write_header(handle, head)
        if durable and self._core.sync(handle) != journal_write.FINE:
            raise OSError(self._core.failure(), "its header cannot be synced")
        if crash_points.armed:
            crash_points.reach("segment-header")
        self._layer.rename(self.folder / (SEGMENT_NAME.format(self._number) + PART), self.path)
        if durable:
            self._layer.sync_folder(self.folder)
        if crash_points.armed:
            crash_points.reach("segment-named")
        self._handle, self._room, self._header_bytes, self._start = handle, room, len(head), position
        self._core.begin_segment(handle, len(head), room)

    # ---- `group`, `strict`: the thread that writes.

    def _write_on(self) -> None:
        core, layer = self._core, self._layer
        while core.run() == journal_write.ROLL:
            roll = core.next_roll()
            old, size = self._handle, self._header_bytes + roll[3] - self._start
            try:
                # The old one's bytes are synced; the new one has its name and header before its first row.
                if crash_points.armed:
                    crash_points.reach("segment-trim")
                layer.trim(old, size)
                self._number += 1
                file = self._part(self._number)
                self._handle = file[0]
                os.close(old)
                self._begin(file, roll, durable=True)
            except OSError as error:
                self._fail("a new segment cannot be made", error)
                return

    # ---- `async`: the thread that makes room and puts away.

    def _give_job(self, job: Callable[[], None] | None) -> None:
        self._jobs.put(job)
        self._core.call()

    def _keep_house(self) -> None:
        while True:
            self._core.tend()
            while not self._jobs.empty():
                if (job := self._jobs.get()) is None:
                    return
                job()

    def _prepare(self) -> None:
        try:
            self._prepared.put(self._part(self._number + 1))
        except OSError as error:
            self._prepared.put(error)

    def _roll_now(self) -> None:
        """Called by commit, on its thread, when the commit it seals begins a new segment."""
        old, size = (self._handle, self._room), self._header_bytes - self._start
        try:
            ready = self._prepared.get()
            if isinstance(ready, OSError):
                raise ready
            roll = self._core.next_roll()
            self._number += 1
            self._begin(ready, roll, durable=False)
        except OSError as error:
            self._fail("a new segment cannot be made", error)
            return
        size += roll[3]

        def put_away() -> None:
            try:
                if self._core.sync(old[0]) == journal_write.FINE:
                    self._layer.sync_folder(self.folder)
                    self._layer.trim(old[0], size)
            except OSError as error:
                self._fail("putting a segment away", error)
            finally:
                _let_go(old)
            self._prepare()

        self._give_job(put_away)

    def _drop_prepared(self) -> None:
        while not self._prepared.empty():
            ready = self._prepared.get()
            if not isinstance(ready, OSError):
                _let_go(ready)
        for path in self.folder.glob(f"*{PART}"):
            path.unlink(missing_ok=True)


def _let_go(file: _File) -> None:
    """Of a file that is written no more."""
    handle, room = file
    if room is not None:
        room.close()
    os.close(handle)


def _of_session(session: dict[str, Any]) -> Sequence[Instrument]:
    """The instruments a session tells, where it does so in the usual way."""
    try:
        return msgspec.convert(session.get("instruments", []), list[Instrument])
    except msgspec.ValidationError:
        return []
