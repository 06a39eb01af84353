"""Sealed segments as zstd Parquet that gives back their exact bytes, and how long they are kept.

    archive(folder)                       # every sealed segment but the newest `keep` becomes Parquet
    restore_segment(parquet, target)      # the segment again, byte for byte
    each_archived(folder)                 # the commits before those of Journal.each
    copy_archive(folder, copies)          # the Parquet files in another folder, each read back
    retire(folder, now_ns=..., age_ns=..., size=..., copies=...)

A segment is removed only after its Parquet file was read back and gave the same digest, and only when the index on disk stands for it.
One that was retired is there again as soon as its Parquet file is: in the journal's archive, or in the folder that a reader names.
The segment being written is never touched. This module must not decide when.
"""

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import polars as pl

from twinloop.data.atomic import atomic_file, sync_folder
from twinloop.data.errors import CorruptError
from twinloop.data.parquet import GROUP, read_records, rows_to_frame, write_records
from twinloop.engine.journal.archive_index import Archived, parquet_path, place_of, read_index, write_index
from twinloop.engine.journal.folder import ARCHIVE, segment_number, segments_of
from twinloop.engine.journal.format import read_header
from twinloop.engine.journal.segment import Commit, Segment, each_commit, read_segment
from twinloop.kernels.rows import ROW

HEADER_KEY: Final = "twinloop.journal_header"
_ANY: Final = GROUP["events"]  # Every field and word of any row has a column there.


def archive(folder: Path, *, keep: int = 1) -> list[Archived]:
    """Turn sealed segments into Parquet, oldest first, all but the newest `keep` (at least 1): those that were put away now."""
    assert keep >= 1, "the segment being written stays"
    entries = read_index(folder)
    done: list[Archived] = []
    for path in segments_of(folder)[:-keep]:
        if not entries or segment_number(path) > entries[-1].segment:
            entry = _put_away(folder, path)
            entries.append(entry)
            done.append(entry)
            write_index(folder, entries)
        path.unlink()
        sync_folder(folder)
    return done


def _put_away(folder: Path, path: Path) -> Archived:
    segment, _ = read_segment(path)
    if segment.torn_bytes:
        raise CorruptError(
            f"a journal segment that breaks off at byte {segment.end}", file=path, expected="a sealed segment",
            got=f"{segment.torn_bytes} bytes in no commit", remedy="recover the journal first",
        )  # fmt: skip
    content = path.read_bytes()[: segment.end]
    rows = np.frombuffer(content, np.uint8, offset=segment.header_bytes).view(ROW)
    frame = rows_to_frame(_ANY, rows, np.arange(len(rows)))
    header = base64.b64encode(content[: segment.header_bytes]).decode("ascii")
    target = parquet_path(folder, segment.header.segment)
    with atomic_file(target) as temporary:
        write_records(temporary, frame, {HEADER_KEY: header})
        if segment_bytes(temporary) != content:
            raise CorruptError("a segment's Parquet file does not give it back", file=target, expected=str(path))
    return _entry(segment, content, target)


def _entry(segment: Segment, content: bytes, target: Path) -> Archived:
    header = segment.header
    return Archived(
        segment=header.segment, epoch=header.epoch, first_commit=header.first_commit,
        next_commit=header.first_commit + segment.commits, checksum=segment.checksum, rows=segment.rows,
        first_wall_ns=segment.first_wall_ns, last_wall_ns=segment.last_wall_ns, size=len(content),
        digest=hashlib.sha256(content).hexdigest(), parquet_size=target.stat().st_size,
    )  # fmt: skip


def segment_bytes(parquet: Path) -> bytes:
    """The bytes of the segment that a Parquet file was made of. CorruptError where it was not made of one."""
    try:
        header = pl.read_parquet_metadata(parquet).get(HEADER_KEY)
        parts = [rows.tobytes() for rows, _ in read_records(_ANY, parquet)]
    except pl.exceptions.PolarsError as error:
        raise CorruptError(f"a segment's Parquet file cannot be read: {error}", file=parquet) from None
    if header is None:
        raise CorruptError("a Parquet file that was not made of a journal's segment", file=parquet, expected=HEADER_KEY)
    return b"".join((base64.b64decode(header), *parts))


def each_archived(folder: Path, copies: Path | None = None, *, before: int | None = None) -> Iterator[Commit]:
    """The commits that are Parquet now, in order. CorruptError where one is retired or not as it was.

    copies: a folder that holds the Parquet files of retired segments. before: up to this commit, the first of Journal.each; None: all of them.
    """
    for entry in read_index(folder):
        if before is None or entry.first_commit < before:
            yield from _commits_of(folder, entry, copies)


def archived_segment(folder: Path, number: int) -> Iterator[Commit]:
    """The commits of one segment that is Parquet now. CorruptError where it is not, or not as it was."""
    entry = next((each for each in read_index(folder) if each.segment == number), None)
    if entry is None:
        raise CorruptError(
            "a journal segment is missing", file=folder, expected=f"segment {number}", remedy="put every segment back as it was written"
        )  # fmt: skip
    yield from _commits_of(folder, entry, None)


def _commits_of(folder: Path, entry: Archived, copies: Path | None) -> Iterator[Commit]:
    content = archived_bytes(folder, entry, copies)
    header, size = read_header(content, parquet_path(folder, entry.segment))
    rows = np.frombuffer(content, np.uint8, offset=size).view(ROW)
    yield from each_commit(rows, header.segment, header.first_commit, header.checksum, size)


def archived_bytes(folder: Path, entry: Archived, copies: Path | None = None) -> bytes:
    """The bytes of a segment that was put away. CorruptError where it is retired and nowhere to be found, or not as it was."""
    path = place_of(folder, entry, copies)
    if path is None:
        raise CorruptError(
            "the beginning of this journal was retired", file=parquet_path(folder, entry.segment),
            expected="every commit from the first on", got=f"none before commit {entry.next_commit}",
            remedy="copy the Parquet files back into the journal's archive, or name the folder that holds them with `twinloop replay --archive`",
        )  # fmt: skip
    return _checked(path, entry)


def copy_archive(folder: Path, copies: Path) -> list[Archived]:
    """Copy every Parquet file to another folder that is not there yet, and read each back: those copied now.

    CorruptError where a file of that name holds something else, as of another journal: nothing is ever overwritten.
    """
    done: list[Archived] = []
    for entry in read_index(folder):
        path = parquet_path(folder, entry.segment)
        copy = copies / path.name
        if not path.exists():
            continue
        if copy.exists():  # Read again before anything is retired for it.
            if copy.stat().st_size != entry.parquet_size:
                raise CorruptError(
                    "a copy of a segment is not of this journal", file=copy, expected=f"{entry.parquet_size} bytes",
                    got=f"{copy.stat().st_size} bytes", remedy="give this session's copies a folder of their own, or remove the broken file",
                )  # fmt: skip
            continue
        with atomic_file(copy) as temporary:
            temporary.write_bytes(path.read_bytes())
            _checked(temporary, entry)
        done.append(entry)
    return done


def _checked(parquet: Path, entry: Archived | None) -> bytes:
    """The bytes of a segment, compared with the index."""
    content = segment_bytes(parquet)
    digest = hashlib.sha256(content).hexdigest()
    if entry is not None and entry.digest != digest:
        raise CorruptError(
            "a segment's Parquet file does not give back what was put away",
            file=parquet,
            expected=entry.digest,
            got=digest,
        )
    return content


def restore_segment(parquet: Path, target: Path) -> None:
    """Write a segment again as it was, whole or not at all, checked against the index beside the Parquet file where there is one."""
    entries = {entry.segment: entry for entry in read_index(parquet.parent.parent)}
    content = _checked(parquet, entries.get(segment_number(parquet)))
    with atomic_file(target) as temporary:
        temporary.write_bytes(content)


def retire(
    folder: Path, *, now_ns: int, age_ns: int | None = None, size: int | None = None, up_to_commit: int | None = None,
    copies: Path | None = None,
) -> list[Archived]:  # fmt: skip
    """Remove Parquet files whose newest commit is older than age_ns, and the oldest beyond `size` bytes in all: those removed now.

    up_to_commit: nothing of this commit or one behind it: what a snapshot stands for may go, the rest is needed by the next start.
    copies: nothing but what a copy in this folder was just read to give back; CorruptError where one does not.
    Only what was archived, oldest first, without a gap; the index keeps a line for each, so that the chain still has its beginning.
    """
    entries = read_index(folder)
    left = sum(entry.parquet_size for entry in entries if not entry.retired_ns)
    removed: list[Archived] = []
    for at, entry in enumerate(entries):
        if entry.retired_ns:
            continue
        too_old = age_ns is not None and now_ns - entry.last_wall_ns > age_ns
        too_much = size is not None and left > size
        needed = up_to_commit is not None and entry.next_commit > up_to_commit
        if needed or (not too_old and not too_much):
            break
        if copies is not None:
            _require_copy(copies / parquet_path(folder, entry.segment).name, entry)
        entries[at] = msgspec.structs.replace(entry, retired_ns=now_ns)
        write_index(folder, entries)
        parquet_path(folder, entry.segment).unlink(missing_ok=True)
        left -= entry.parquet_size
        removed.append(entries[at])
    if removed:
        sync_folder(folder / ARCHIVE)
    return removed


def _require_copy(copy: Path, entry: Archived) -> None:
    if not copy.exists():
        raise CorruptError(
            "a segment is not retired: nobody else holds it", file=copy, expected="a copy of its Parquet file", got="none",
            remedy="copy the journal's archive there first",
        )  # fmt: skip
    _checked(copy, entry)
