"""What stands for the segments that were put away: one line each in `archive/index.json`, so that the chain still has a beginning."""

import itertools
from pathlib import Path
from typing import Final

import msgspec

from twinloop.data.atomic import write_atomic
from twinloop.data.errors import CorruptError
from twinloop.engine.journal.folder import ARCHIVE
from twinloop.engine.journal.format import Checksum, Count

INDEX: Final = "index.json"


class Archived(msgspec.Struct, frozen=True, kw_only=True):
    """A segment that is Parquet now, or was retired.

    next_commit, checksum: what the segment behind it continues. rows: with seals. size, digest: of the segment's own bytes, SHA-256.
    parquet_size: of its Parquet file. retired_ns: wall time at which that was removed, 0 while it is there.
    """

    segment: Count
    epoch: Count
    first_commit: Count
    next_commit: Count
    checksum: Checksum
    rows: Count
    first_wall_ns: int
    last_wall_ns: int
    size: Count
    digest: str
    parquet_size: Count
    retired_ns: int = 0


def read_index(folder: Path) -> list[Archived]:
    """Segments of a journal that were put away, oldest first; empty where none was."""
    path = folder / ARCHIVE / INDEX
    try:
        found = msgspec.json.decode(path.read_bytes(), type=list[Archived])
    except FileNotFoundError:
        return []
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError("a journal's archive index cannot be read", file=path, got=str(error)) from None
    for before, after in itertools.pairwise(found):
        if (after.segment, after.first_commit) != (before.segment + 1, before.next_commit):
            raise CorruptError(
                "a journal's archive index has a gap", file=path,
                expected=f"segment {before.segment + 1} from commit {before.next_commit}",
                got=f"segment {after.segment} from commit {after.first_commit}",
            )  # fmt: skip
    return found


def write_index(folder: Path, entries: list[Archived]) -> None:
    """Replace the index durably."""
    write_atomic(folder / ARCHIVE / INDEX, msgspec.json.format(msgspec.json.encode(entries)))


def parquet_path(folder: Path, number: int) -> Path:
    """Where a segment's Parquet file is."""
    return folder / ARCHIVE / f"segment-{number:06d}.parquet"


def place_of(folder: Path, entry: Archived, copies: Path | None = None) -> Path | None:
    """The Parquet file of a segment; None where it was retired and is neither back in the archive nor among the copies."""
    path = parquet_path(folder, entry.segment)
    if not entry.retired_ns or path.exists():
        return path
    copy = copies / path.name if copies is not None else path
    return copy if copy.exists() else None


def first_held(folder: Path, copies: Path | None = None) -> int:
    """Number of the first commit from which on nothing is missing."""
    missing = [entry.next_commit for entry in read_index(folder) if place_of(folder, entry, copies) is None]
    return max(missing, default=0)
