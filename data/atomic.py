"""Files that are there whole or not at all.

A new file is written under a temporary name in the same folder, synced, renamed over its final name, and the folder is
synced, so that a crash or a full disk at any step leaves the old file or the new one, never a torn one. Leftovers carry
TEMPORARY_MARK in their name and may be removed whenever no writer runs. This module must not know what the files hold.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

TEMPORARY_MARK: Final = ".twinloop-partial-"
_BLOCK_SIZE: Final = 1 << 20


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable (a rename is only durable once its folder is)."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_file(path: Path) -> None:
    """Make the bytes of a file durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(folder: Path, mode: int = 0o777) -> None:
    """Create a folder and its missing parents durably. mode: of the folder itself, less the process's mask."""
    missing, last = [], folder
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(mode if path == last else 0o777, exist_ok=True)
        sync_folder(path.parent)


def temporary_name(path: Path) -> Path:
    """Name a writer of `path` uses until the file is whole; distinct for each process."""
    return path.with_name(f"{path.name}{TEMPORARY_MARK}{os.getpid()}")


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Temporary path to write; on leaving without an exception it becomes `path`, durably, else it is removed.

    Missing parent folders are created. Raises OSError as the system gives it; `path` is then as it was before.
    """
    make_folder(path.parent)
    temporary = temporary_name(path)
    try:
        yield temporary
        sync_file(temporary)
        os.replace(temporary, path)  # noqa: PTH105 - one seam for the fault tests
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def write_atomic(path: Path, content: bytes) -> None:
    """Write a small file whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_bytes(content)


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_SIZE):
            digest.update(block)
    return digest.hexdigest()
