"""Words that one process writes and others read, in a small memory-mapped file: a session's counters, its sidecar's, and the fence.

    block = SharedWords(path, SESSION)              # the one writer
    block.publish({"facts": 12, ...})
    seen = SharedReader(path, SESSION).read()       # {"facts": 12, ...}, or None where nobody wrote one yet

Every word is an int64. A reader takes all of them at one moment: the writer counts up before and after, and a reader that saw a change
looks again. The file's head carries the digest of the layout, so that a process of another version is refused and not misread. This module
must not know what the words mean.
"""

import hashlib
import mmap
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from twinloop.data.errors import DataError

MAGIC: Final = b"TWINWORD"
_HEAD: Final = 64  # Magic, digest of the layout, and the two counters of a publication.
_BEGUN, _DONE = 6, 7  # Words of the head.
LOOKS_MAX: Final = 100  # A writer publishes for microseconds: one that stops in between is dead.

# What a session says of itself.
SESSION: Final = (
    "instance", "pid", "pid_start", "epoch", "phase", "heartbeat", "mono_ns", "wall_ns", "turns", "facts", "requests", "refused", "fills", "commands",
    "decisions", "commits", "safe_commits", "trading_state", "halt_code", "open_orders", "unproven", "sent", "alerts", "equity", "cash",
    "feed_connected", "feed_stale", "feed_connects", "feed_source", "feed_switches", "feed_age_ns", "stream_up", "journal_failed", "failed", "free_bytes",
    "waiting_bytes",
)  # fmt: skip
STARTING: Final = 1
RUNNING: Final = 2
ENDED: Final = 3
PHASE_NAME: Final = {0: "absent", STARTING: "starting", RUNNING: "running", ENDED: "ended"}

# What its sidecar says.
SIDECAR: Final = (
    "instance", "pid", "mono_ns", "watch", "watched_instance", "commit", "facts", "behind_bytes", "snapshots", "snapshot_commit",
    "alarms", "delivered", "failed", "late", "fenced_instance", "cancel_outcome", "shadow_on", "fills_live", "fills_shadow", "gap_qty",
    "gap_slippage", "gap_profit", "disk_full_s", "archived", "copied", "retired", "retention_failed",
)  # fmt: skip

# Written by the sidecar: the instance that must not send any more.
FENCE: Final = ("instance",)


def layout_digest(words: Sequence[str]) -> bytes:
    """What a layout is told by: 32 bytes."""
    return hashlib.sha256("\n".join(words).encode()).digest()


def _make_room(handle: int, size: int, path: Path) -> None:
    """Have the disk hold every byte: writing to a page that it has no room for would end the process by a signal."""
    if hasattr(os, "posix_fallocate"):
        try:
            os.posix_fallocate(handle, 0, size)
        except OSError as error:
            raise OSError(error.errno, os.strerror(error.errno or 0), str(path)) from None


class SharedWords:
    """The writer's side. The file keeps its place in the file system while its size is the same, so that readers see a new writer."""

    def __init__(self, path: Path, words: Sequence[str]) -> None:
        self.path = path
        self._names = tuple(words)
        size = _HEAD + 8 * len(words)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
        try:
            if os.fstat(handle).st_size != size:
                os.ftruncate(handle, size)  # At once: a page that readers have mapped never goes.
            _make_room(handle, size, path)
            self._map = mmap.mmap(handle, size)
        finally:
            os.close(handle)
        self._all: npt.NDArray[np.int64] = np.frombuffer(self._map, np.int64)
        self._words = self._all[_HEAD // 8 :]
        self._all[_BEGUN] += 1  # Whatever a writer that died left: nobody takes it for whole.
        self._all[_DONE] = self._all[_BEGUN] - 1
        self._map[: len(MAGIC)] = MAGIC
        self._map[len(MAGIC) : len(MAGIC) + 32] = layout_digest(words)
        self._values = np.zeros(len(words), np.int64)
        self.publish({})

    def publish(self, values: Mapping[str, int]) -> None:
        """Set every word at once; those not named are 0."""
        self._values[:] = [values.get(name, 0) for name in self._names]
        self._all[_BEGUN] += 1
        self._words[:] = self._values
        self._all[_DONE] = self._all[_BEGUN]

    def peek(self, at: int) -> int:
        """One word as it is now, by whomever written: a single load."""
        return int(self._words[at])

    def close(self) -> None:
        """Let the memory go; what was published stays in the file."""
        del self._words, self._all
        self._map.close()


class SharedReader:
    """A reader's side, read-only. It finds the file again when another one takes its place."""

    def __init__(self, path: Path, words: Sequence[str]) -> None:
        self.path = path
        self._names = tuple(words)
        self._size = _HEAD + 8 * len(words)
        self._map: mmap.mmap | None = None
        self._file = (-1, -1)

    def read(self) -> dict[str, int] | None:
        """All words as they were at one moment; None where there is no whole block. DataError for one of another layout."""
        mapped = self._mapped()
        if mapped is None:
            return None
        head = mapped[:_HEAD]
        if not head.startswith(MAGIC):
            return None
        if head[len(MAGIC) : len(MAGIC) + 32] != layout_digest(self._names):
            raise DataError(
                "shared counters of another version", file=self.path, expected="the layout of this version", got="another",
                remedy="run the session and what reads it from one version of twinloop",
            )  # fmt: skip
        for _ in range(LOOKS_MAX):
            done = self._counter(mapped, _DONE)
            content = mapped[_HEAD : self._size]
            if self._counter(mapped, _BEGUN) == done:
                return dict(zip(self._names, np.frombuffer(content, np.int64).tolist(), strict=True))
        return None

    def close(self) -> None:
        """Let the memory go."""
        if self._map is not None:
            self._map.close()
            self._map = None

    @staticmethod
    def _counter(mapped: mmap.mmap, at: int) -> int:
        return int.from_bytes(mapped[8 * at : 8 * at + 8], "little")

    def _mapped(self) -> mmap.mmap | None:
        try:
            found = self.path.stat()
        except OSError:
            self.close()
            return None
        if found.st_size < self._size:
            return None
        if self._map is None or self._file != (found.st_dev, found.st_ino):
            self.close()
            handle = os.open(self.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            try:
                self._map = mmap.mmap(handle, self._size, prot=mmap.PROT_READ)
                self._file = (found.st_dev, found.st_ino)
            finally:
                os.close(handle)
        return self._map
