"""Row files: pure 64-byte rows (`NAME.rows`) beside a manifest (`NAME.json`), the form a replay maps into memory.

A row file is sorted by local_ns. It is written once and never changed: the manifest is renamed into place last, so a row
file without one was not finished and does not count. This module must not decode vendors' formats nor merge files.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Final, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from twinloop.data.atomic import make_folder, sync_folder, temporary_name, write_atomic
from twinloop.data.errors import CatalogError, CorruptError, DataError
from twinloop.data.instruments import Instrument
from twinloop.kernels.rows import BAR, FLAG_CONTINUES, FLAG_TAIL, KIND_NAME, ROW, ROW_SIZE

Rows = NDArray[np.void]
FORMAT: Final = 1
VENUE_KEY: Final = (
    3  # Version of what venue_ordered states, part of every cache name that rests on it: raise it when that changes.
)
CHUNK_ROWS: Final = 1 << 18  # Rows handled at a time wherever memory has to stay flat: 16 MB.
_DIGEST_BLOCK_SIZE: Final = 1 << 24


class RowManifest(msgspec.Struct, kw_only=True, frozen=True):
    """What a reader may know about a row file without reading it.

    rows: count. digest: SHA-256 of the row bytes. kinds: rows by kind name. first/last: of the header times, ns, 0 when
    empty. venue_ordered: whether the venue order key never goes back and never lies after the local time, as version venue_key states it.
    instruments: by slot, the header's instrument number. source: where the rows came from, free text. details: anything
    the writer states about them (clock correction, settings).
    """

    format: int
    rows: int
    digest: str
    kinds: dict[str, int]
    first_local_ns: int
    last_local_ns: int
    first_venue_ns: int
    last_venue_ns: int
    venue_ordered: bool
    instruments: tuple[Instrument, ...]
    source: str
    details: dict[str, Any] = {}
    venue_key: int = 1  # Of files written before it was stated.

    @property
    def in_venue_order(self) -> bool:
        """Whether the rows are known to be in venue order, and none to reach the node before it was: what older versions stated is less."""
        return self.venue_ordered and self.venue_key == VENUE_KEY


def manifest_path(path: Path) -> Path:
    """Path of the manifest beside a row file."""
    return path.with_suffix(".json")


def rows_from_bytes(content: bytes | bytearray | memoryview) -> Rows:
    """Rows in a buffer, no copy; DataError if it does not hold whole rows."""
    if len(content) % ROW_SIZE:
        raise DataError("not whole rows", expected=f"a multiple of {ROW_SIZE} bytes", got=len(content))
    return np.frombuffer(content, dtype=ROW)


def words_of(rows: Rows) -> NDArray[np.int64]:
    """The same memory as (n, 8) int64 words: 0 venue_ns, 1 local_ns, 2 sequence, 3 header bytes, 4-7 payload."""
    return np.asarray(rows).view(np.int64).reshape(-1, ROW_SIZE // 8)


def rows_of(words: NDArray[np.int64]) -> Rows:
    """Contiguous words as rows, the same memory. Not by a view: that checks the row's overlapping fields, 3 us each time."""
    return np.frombuffer(words, ROW)


def join_rows(parts: Sequence[Rows]) -> Rows:
    """Rows of several arrays in one; np.concatenate would repack the row's overlapping fields into another layout."""
    if not parts:
        return np.empty(0, ROW)
    return rows_of(np.concatenate([words_of(part) for part in parts]))


def pick(rows: Rows, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Rows:
    """Rows chosen by a mask or by indices; NumPy would copy a record with overlapping fields name by name, 20 times slower."""
    return rows_of(words_of(rows)[chosen])


def venue_keys(rows: Rows) -> NDArray[np.int64]:
    """Venue order key of each row, (n,) ns: venue_ns, or local_ns where the venue states none; a tail takes its head's.

    A bar's venue_ns is its close, but the venue trades along it from its start: that is its key.
    """
    keys = rows["venue_ns"].copy()
    silent = keys == 0
    if silent.any():
        keys[silent] = rows["local_ns"][silent]
    bars = np.flatnonzero((rows["kind"] == BAR) & (rows["flags"] & FLAG_CONTINUES != 0))
    if bars.size:
        bars = bars[bars + 1 < rows.size]
        keys[bars] -= rows["interval_ns"][bars + 1]
    tails = np.flatnonzero(rows["flags"] & FLAG_TAIL)
    if tails.size:
        tails = tails[tails > 0]
        keys[tails] = keys[tails - 1]
    return keys


class RowChecker:
    """Holds a stream of rows to what every reader relies on; raises DataError with the number of the row.

    local_ns never goes back, kinds are known, instrument numbers are below instrument_count, and the two rows of a fact
    stand together at one local time. path: named in messages.
    """

    def __init__(self, path: Path | None = None, instrument_count: int = 1) -> None:
        self._path = path
        self._instrument_count = instrument_count
        self._rows = 0
        self._last_local_ns = np.iinfo(np.int64).min
        self._open_fact = False

    def check(self, rows: Rows) -> None:
        """Check the next rows of the stream, (n,) ROW."""
        if rows.size == 0:
            return
        local_ns, flags = rows["local_ns"], rows["flags"]
        before = np.concatenate(([self._last_local_ns], local_ns[:-1]))
        tails = (flags & FLAG_TAIL) != 0
        expected = np.concatenate(([self._open_fact], (flags[:-1] & FLAG_CONTINUES) != 0))
        rules = (
            ("local_ns", local_ns < before, "time that never goes back", local_ns),
            ("kind", ~_KNOWN_KINDS[rows["kind"]], "a code of kernels/rows.py", rows["kind"]),
            (
                "instrument",
                rows["instrument"] >= self._instrument_count,
                "an instrument of the file",
                rows["instrument"],
            ),
            ("flags", tails != expected, "the tail of a two-row fact right after its head, and no other", flags),
            ("local_ns", tails & (local_ns != before), "a tail at its head's local time", local_ns),
        )
        for field, broken, wanted, values in rules:
            if broken.any():
                index = int(np.argmax(broken))
                raise DataError(
                    f"row {self._rows + index} cannot stand in a file of rows",
                    file=self._path,
                    field=field,
                    expected=wanted,
                    got=int(values[index]),
                    remedy="repair the reader that made it",
                )
        self._rows += rows.size
        self._last_local_ns = int(local_ns[-1])
        self._open_fact = bool(flags[-1] & FLAG_CONTINUES)

    def finish(self) -> None:
        """Check that the stream ends with a whole fact."""
        if self._open_fact:
            raise DataError("rows end inside a two-row fact", file=self._path, remedy="write the tail row too")


class RowWriter:
    """Writes one row file in any number of chunks, in flat memory; `close()` makes it count, leaving early removes it.

    Raises DataError when the rows break a rule of RowChecker, CatalogError when the file is already there.
    """

    def __init__(
        self,
        path: Path,
        instruments: Sequence[Instrument],
        *,
        source: str = "",
        details: Mapping[str, Any] | None = None,
        overwrite: bool = False,
    ) -> None:
        if path.suffix != ".rows":
            raise CatalogError("not a row file's name", file=path, expected="a name ending in .rows", got=path.suffix)
        if manifest_path(path).exists():
            if not overwrite:
                raise CatalogError("row file is already there", file=path, remedy="remove it or pass overwrite=True")
            manifest_path(path).unlink()
        make_folder(path.parent)
        self.path = path
        self._instruments = tuple(instruments)
        self._source = source
        self._details = dict(details or {})
        self._temporary = temporary_name(path)
        self._stream: BinaryIO | None = self._temporary.open("wb")
        self._digest = hashlib.sha256()
        self._counts = np.zeros(256, np.int64)
        self._rows = 0
        self._first = (0, 0)
        self._last = (0, 0)
        self._last_key = np.iinfo(np.int64).min
        self._venue_ordered = True
        self._checker = RowChecker(path, max(len(self._instruments), 1))

    def write(self, rows: Rows) -> None:
        """Append rows, (n,) ROW."""
        if rows.size == 0:
            return
        assert self._stream is not None, "the writer is closed"
        self._checker.check(rows)
        content = np.ascontiguousarray(rows).view(np.uint8).data
        try:
            self._stream.write(content)
        except OSError as error:  # The system names no file here; which disk is full is what a user has to know.
            raise OSError(error.errno, error.strerror, str(self.path)) from error
        self._digest.update(content)
        self._counts += np.bincount(rows["kind"], minlength=256)
        if self._rows == 0:
            self._first = (int(rows["local_ns"][0]), int(rows["venue_ns"][0]))
        self._last = (int(rows["local_ns"][-1]), int(rows["venue_ns"][-1]))
        keys = venue_keys(rows)
        if rows["flags"][0] & FLAG_TAIL:
            keys[0] = self._last_key
        if self._venue_ordered:
            in_order = keys[0] >= self._last_key and (keys[1:] >= keys[:-1]).all()
            self._venue_ordered = bool(in_order and (keys <= rows["local_ns"]).all())
        self._last_key = int(keys[-1])
        self._rows += rows.size

    def close(self) -> RowManifest:
        """Make the file durable and visible; returns its manifest."""
        assert self._stream is not None, "the writer is closed"
        try:
            self._checker.finish()
        except DataError:
            self.abandon()
            raise
        try:
            self._stream.flush()
            os.fsync(self._stream.fileno())
            self._stream.close()
            self._stream = None
            manifest = RowManifest(
                format=FORMAT,
                rows=self._rows,
                digest=self._digest.hexdigest(),
                kinds={KIND_NAME[int(kind)]: int(self._counts[kind]) for kind in np.flatnonzero(self._counts)},
                first_local_ns=self._first[0],
                last_local_ns=self._last[0],
                first_venue_ns=self._first[1],
                last_venue_ns=self._last[1],
                venue_ordered=self._venue_ordered,
                venue_key=VENUE_KEY,
                instruments=self._instruments,
                source=self._source,
                details=self._details,
            )
            os.replace(self._temporary, self.path)  # noqa: PTH105 - one seam for the fault tests
            sync_folder(self.path.parent)
            write_atomic(manifest_path(self.path), msgspec.json.format(msgspec.json.encode(manifest)))
        except BaseException:
            self.abandon()
            raise
        return manifest

    def abandon(self) -> None:
        """Remove what was written."""
        with contextlib.suppress(OSError):
            if self._stream is not None:
                self._stream.close()
            self._temporary.unlink(missing_ok=True)
        self._stream = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abandon()
        elif self._stream is not None:
            self.close()


_KNOWN_KINDS: Final = np.isin(np.arange(256), list(KIND_NAME))


def write_rows(
    path: Path,
    chunks: Iterable[Rows],
    instruments: Sequence[Instrument],
    *,
    source: str = "",
    details: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> RowManifest:
    """Write a row file from chunks of rows; all of it or nothing."""
    with RowWriter(path, instruments, source=source, details=details, overwrite=overwrite) as writer:
        for chunk in chunks:
            writer.write(chunk)
        return writer.close()


def read_manifest(path: Path) -> RowManifest:
    """Manifest of a row file; CatalogError when there is none, CorruptError when it does not fit the file."""
    beside = manifest_path(path)
    try:
        manifest = msgspec.json.decode(beside.read_bytes(), type=RowManifest)
        size = path.stat().st_size
    except FileNotFoundError as error:
        raise CatalogError("no finished row file", file=error.filename, remedy="build it again") from None
    except (msgspec.DecodeError, UnicodeDecodeError, TypeError) as error:
        raise CorruptError(
            f"manifest cannot be read: {error}", file=beside, remedy="build the row file again"
        ) from None
    if manifest.format != FORMAT:
        raise CorruptError(
            "row file of another format", file=beside, field="format", expected=FORMAT, got=manifest.format
        )
    if size != manifest.rows * ROW_SIZE:
        raise CorruptError(
            "row file has another size than its manifest says",
            file=path,
            expected=f"{manifest.rows * ROW_SIZE} bytes",
            got=size,
            remedy="build it again",
        )
    return manifest


def map_rows(path: Path) -> Rows:
    """Rows of a row file mapped read-only, (n,) ROW; nothing is read until it is touched."""
    if path.stat().st_size == 0:
        return np.empty(0, ROW)  # An empty file cannot be mapped.
    return np.memmap(path, dtype=ROW, mode="r")


def open_rows(path: Path, *, verify: bool = False) -> tuple[Rows, RowManifest]:
    """Mapped rows and manifest; `verify` reads everything and compares the digest (CorruptError when it differs)."""
    manifest = read_manifest(path)
    rows = map_rows(path)
    if verify and rows_digest(rows) != manifest.digest:
        raise CorruptError(
            "row file differs from its manifest's digest", file=path, expected=manifest.digest, remedy="build it again"
        )
    return rows, manifest


def rows_digest(rows: Rows) -> str:
    """SHA-256 of rows' bytes, in hexadecimal."""
    digest = hashlib.sha256()
    content = np.ascontiguousarray(rows).view(np.uint8)
    for start in range(0, content.size, _DIGEST_BLOCK_SIZE):
        digest.update(content[start : start + _DIGEST_BLOCK_SIZE].data)
    return digest.hexdigest()


def whole_facts(rows: Rows, chunk_rows: int = CHUNK_ROWS) -> Iterator[Rows]:
    """Consecutive views of at most chunk_rows + 1 rows that never split a two-row fact."""
    start = 0
    while start < rows.size:
        stop = min(start + chunk_rows, rows.size)
        if stop < rows.size and rows["flags"][stop] & FLAG_TAIL:
            stop += 1
        yield rows[start:stop]
        start = stop
