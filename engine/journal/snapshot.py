"""A snapshot file: the memory of a node as it was after one commit of a journal, whole or refused.

    write_snapshot(folder, head, {"decision": memory})
    for path in snapshots_of(folder): head, parts = read_snapshot(path)    # newest first

    8 magic bytes, u4 version, u4 length of the JSON, 32 bytes BLAKE2b of all that follows, the JSON, then of each part the pages that are
    not zero: their numbers (u4 each) and their bytes

Written under another name, synced and renamed, so that a process that dies leaves the old ones. A node's memory is mostly zeros, so a
snapshot is a few hundred kB of 30 MB. What the parts mean is engine/live/node_state.py's. This module must not judge whether a snapshot
belongs to a journal.
"""

import hashlib
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import numpy.typing as npt

from twinloop.data.atomic import TEMPORARY_MARK, atomic_file
from twinloop.data.errors import CorruptError, DataError
from twinloop.engine.journal.format import Checksum, Count

FOLDER: Final = "snapshots"
PAGE: Final = 4096
PART_BYTES_MAX: Final = 1 << 30  # A part that claims more is none: nothing is allocated for it.
HEAD_MAX: Final = 1 << 24
_MAGIC: Final = b"TWINSNAP"
_VERSION: Final = 1
_FIXED: Final = struct.Struct("<8sII32s")
_NAME: Final = "snapshot-{:012d}.state"
_PATTERN: Final = re.compile(r"snapshot-(\d{12,})\.state")

Memory = npt.NDArray[np.uint8]


class Part(msgspec.Struct, frozen=True):
    """One part: its size in memory, and how many of its pages are kept."""

    name: str
    size: Count
    pages: Count


class Head(msgspec.Struct, frozen=True, kw_only=True):
    """What a snapshot says of itself.

    commit: how many commits it has behind it; checksum: of the last of them. sequence: of the next fact. code, config: digests of the kernels
    and of the session. layout: of the records whose memory it is. state_hash, decision_hash, decisions: of the node. words: what is not in
    the memory. created_ns: wall time.
    """

    epoch: Count
    commit: Count
    checksum: Checksum
    sequence: Count
    code: str
    config: str
    layout: str
    state_hash: int
    decision_hash: int
    decisions: Count
    words: dict[str, Any] = {}
    created_ns: int = 0
    parts: tuple[Part, ...] = ()


def snapshots_of(folder: Path) -> list[Path]:
    """The snapshots of a journal's folder, newest first."""
    found = [path for path in (folder / FOLDER).glob("snapshot-*.state") if _PATTERN.fullmatch(path.name)]
    return sorted(found, key=lambda path: int(path.name[9:-6]), reverse=True)


def oldest_whole(folder: Path) -> int | None:
    """How many commits the oldest whole snapshot stands for; None where there is none. A later one may yet prove damaged."""
    for path in reversed(snapshots_of(folder)):
        try:
            return read_snapshot(path)[0].commit
        except DataError:
            continue
    return None


def write_snapshot(folder: Path, head: Head, parts: Mapping[str, Memory]) -> Path:
    """Write a snapshot of a journal's folder, durably, whole or not at all. Raises OSError as the system gives it."""
    body: list[bytes] = []
    told: list[Part] = []
    for name, memory in parts.items():
        pages = _pages(memory)
        held = np.flatnonzero(pages.any(axis=1)).astype("<u4")
        told.append(Part(name, len(memory), len(held)))
        body += [held.tobytes(), pages[held].tobytes()]
    text = msgspec.json.encode(msgspec.structs.replace(head, parts=tuple(told)))
    digest = _digest([text, *body])
    path = folder / FOLDER / _NAME.format(head.commit)
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        file.write(_FIXED.pack(_MAGIC, _VERSION, len(text), digest))
        file.write(text)
        for each in body:
            file.write(each)
    return path


def read_snapshot(path: Path) -> tuple[Head, dict[str, Memory]]:
    """A snapshot's head and its parts. DataError for a file of another kind, CorruptError for one that is not as it was written."""
    content = path.read_bytes()
    if len(content) < _FIXED.size:
        raise CorruptError("a snapshot that breaks off", file=path, expected=f"{_FIXED.size} bytes", got=len(content))
    magic, version, length, digest = _FIXED.unpack_from(content)
    if magic != _MAGIC or version != _VERSION:
        raise DataError(
            "not a snapshot of this version", file=path, expected=f"{_MAGIC!r} {_VERSION}", got=f"{magic!r} {version}"
        )
    if length > HEAD_MAX or _digest([content[_FIXED.size :]]) != digest:
        raise CorruptError("a damaged snapshot", file=path, expected="the bytes that were written", got="others")
    try:
        head = msgspec.json.decode(content[_FIXED.size : _FIXED.size + length], type=Head)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError("a snapshot whose head cannot be read", file=path, got=str(error)) from None
    return head, _parts(memoryview(content)[_FIXED.size + length :], head, path)


def keep_newest(folder: Path, count: int) -> list[Path]:
    """Remove all but the newest `count` snapshots, and what a writer that died left: those removed."""
    assert count >= 1
    old = snapshots_of(folder)[count:]
    for path in (*old, *(folder / FOLDER).glob(f"*{TEMPORARY_MARK}*")):
        path.unlink(missing_ok=True)
    return old


def _pages(memory: Memory) -> npt.NDArray[np.uint8]:
    """Memory as whole pages, zeros behind its end."""
    count = -(-len(memory) // PAGE)
    if len(memory) == count * PAGE:
        return memory.reshape(count, PAGE)
    padded = np.zeros(count * PAGE, np.uint8)
    padded[: len(memory)] = memory
    return padded.reshape(count, PAGE)


def _parts(body: memoryview, head: Head, path: Path) -> dict[str, Memory]:
    """The memory of each part. Every size is compared before it is used."""
    found: dict[str, Memory] = {}
    at = 0
    for part in head.parts:
        count = -(-part.size // PAGE)
        end = at + part.pages * (4 + PAGE)
        if part.size > PART_BYTES_MAX or part.pages > count or end > len(body):
            raise CorruptError(
                "a snapshot whose parts do not fit", file=path, expected=f"{part.name} whole", got=len(body)
            )
        numbers = np.frombuffer(body, "<u4", part.pages, at)
        if part.pages and int(numbers.max()) >= count:
            raise CorruptError(
                "a snapshot with a page outside its part", file=path, expected=f"below {count}", got=int(numbers.max())
            )
        memory = np.zeros(count * PAGE, np.uint8)
        memory.reshape(count, PAGE)[numbers] = np.frombuffer(
            body, np.uint8, part.pages * PAGE, at + 4 * part.pages
        ).reshape(-1, PAGE)
        found[part.name] = memory[: part.size]
        at = end
    if at != len(body):
        raise CorruptError("a snapshot with something behind its end", file=path, expected=f"{at} bytes", got=len(body))
    return found


def _digest(parts: list[bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=32)
    for part in parts:
        digest.update(part)
    return digest.digest()
