"""The catalog's ledger: which Parquet parts count, one immutable manifest per ingest.

A part counts once a manifest names it, and a manifest is renamed into place whole, so a crash leaves an ingest done or
not begun; parts no manifest names are leftovers. A later manifest may supersede parts of an earlier one. Writers hold the
catalog's lock; readers need none. This module must not read or write Parquet.
"""

import contextlib
import fcntl
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from twinloop.data.atomic import make_folder, write_atomic
from twinloop.data.errors import CatalogError, CorruptError, OverlapError
from twinloop.data.instruments import Instrument
from twinloop.data.times import to_text

LEDGER_FORMAT: Final = 1
LEDGER_FOLDER: Final = "_ingests"
LOCK_NAME: Final = "_lock"


class Part(msgspec.Struct, kw_only=True, frozen=True):
    """One Parquet file: a stretch of one kind, symbol and date.

    path: relative to the catalog. date: a day, month or year of local_ns (UTC), "2024-08-08", "2024-08" or "2024".
    rows, records: counts (a two-row fact is one record). size: bytes. file_digest: SHA-256 of the file; rows_digest: of
    the 64-byte rows in it. first_row, last_row: places in the ingested stream.
    """

    path: str
    venue: str
    symbol: str
    kind: str
    date: str
    rows: int
    records: int
    size: int
    file_digest: str
    rows_digest: str
    first_local_ns: int
    last_local_ns: int
    first_row: int
    last_row: int

    @property
    def partition(self) -> tuple[str, str, str, str]:
        """What parts may overlap within: venue, kind, symbol, date."""
        return self.venue, self.kind, self.symbol, self.date


class Ingest(msgspec.Struct, kw_only=True, frozen=True):
    """One ingest: its number, the instrument, the parts it added, the paths it supersedes, and what it stated."""

    format: int
    number: int
    source: str
    instrument: Instrument
    parts: tuple[Part, ...]
    supersedes: tuple[str, ...] = ()
    quality: dict[str, Any] = {}
    details: dict[str, Any] = {}


def partition_folder(venue: str, kind: str, symbol: str, date: str) -> str:
    """Relative folder of a partition, names escaped so that any symbol is one folder name."""
    names = {"venue": venue, "kind": kind, "symbol": symbol, "date": date}
    return "/".join(f"{name}={quote(value, safe='')}" for name, value in names.items())


def read_ledger(root: Path) -> list[Ingest]:
    """All ingests by number; CorruptError for a manifest that cannot be read."""
    found = []
    for path in sorted((root / LEDGER_FOLDER).glob("*.json")):
        try:
            ingest = msgspec.json.decode(path.read_bytes(), type=Ingest)
        except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
            raise CorruptError(
                f"catalog manifest cannot be read: {error}", file=path, remedy="restore it from a copy, or remove it"
            ) from None
        if ingest.format != LEDGER_FORMAT:
            raise CorruptError(
                "catalog manifest of another format",
                file=path,
                field="format",
                expected=LEDGER_FORMAT,
                got=ingest.format,
            )
        found.append(ingest)
    return found


def live_parts(ingests: Sequence[Ingest]) -> list[tuple[Ingest, Part]]:
    """Parts that count, with their ingest, in ingest order."""
    gone = {path for ingest in ingests for path in ingest.supersedes}
    return [(ingest, part) for ingest in ingests for part in ingest.parts if part.path not in gone]


def commit(root: Path, ingest: Ingest) -> Path:
    """Make an ingest count; the last step of it."""
    path = root / LEDGER_FOLDER / f"{ingest.number:08d}.json"
    if path.exists():
        raise CatalogError("catalog changed while it was locked", file=path, remedy="let one process write at a time")
    write_atomic(path, msgspec.json.format(msgspec.json.encode(ingest)))
    return path


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the catalog for writing; CatalogError at once when another process does."""
    make_folder(root)
    with (root / LOCK_NAME).open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise CatalogError(
                "catalog is being written by another process", file=root, remedy="wait until it has finished"
            ) from None
        yield


def admit(
    new: Sequence[Part], live: Sequence[tuple[Ingest, Part]], *, replace: bool
) -> tuple[list[Part], list[Part], list[str]]:
    """Judge new parts against those that count: (parts to add, parts already there, paths superseded).

    Parts of one partition are judged together. The same rows again are already there. Rows at local times that the
    partition already covers are an OverlapError, or supersede what they overlap when `replace`.
    """
    added: list[Part] = []
    already: list[Part] = []
    superseded: list[str] = []
    held: dict[tuple[str, str, str, str], dict[int, list[Part]]] = {}
    for ingest, part in live:
        held.setdefault(part.partition, {}).setdefault(ingest.number, []).append(part)
    arriving: dict[tuple[str, str, str, str], list[Part]] = {}
    for part in new:
        arriving.setdefault(part.partition, []).append(part)
    for partition, parts in arriving.items():
        digests = [part.rows_digest for part in parts]
        groups = held.get(partition, {}).values()
        if any([part.rows_digest for part in group] == digests for group in groups):
            already += parts
            continue
        first, last = parts[0].first_local_ns, parts[-1].last_local_ns
        for group in groups:
            if first > group[-1].last_local_ns or group[0].first_local_ns > last:
                continue
            if not replace:
                venue, kind, symbol, date = partition
                there = f"{to_text(group[0].first_local_ns)} to {to_text(group[-1].last_local_ns)}"
                raise OverlapError(
                    f"catalog already holds {kind} of {venue}:{symbol} on {date}",
                    expected=f"times outside {there}",
                    got=f"{to_text(first)} to {to_text(last)}",
                    remedy="leave them out, or pass replace=True to supersede what is there",
                )
            superseded += [part.path for part in group]
        added += parts
    return added, already, superseded
