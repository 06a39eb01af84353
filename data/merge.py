"""From row files to one tape: merged by local time for the node, sorted by venue time for the simulated venue.

Tie rule of the merge: equal local_ns goes by source order, then row order. Tie rule of the venue order: equal venue time
goes by place in the merged tape. The two rows of a fact are never split. Everything large lies in mapped files of the cache
folder, named by digest, so anonymous memory stays flat and a second opening finds them there. This module must not know
the catalog's folders nor decode anything.
"""

import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from twinloop.data.atomic import atomic_file
from twinloop.data.errors import CatalogError, CorruptError
from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import (
    CHUNK_ROWS,
    VENUE_KEY,
    RowManifest,
    Rows,
    RowWriter,
    manifest_path,
    map_rows,
    pick,
    read_manifest,
    venue_keys,
    whole_facts,
    words_of,
)
from twinloop.kernels.merge import EXHAUSTED, OUT_FULL, merge_windows, sift_down
from twinloop.kernels.rows import ROW

MERGE_FORMAT: Final = 1  # Part of every cache name: raise it when a rule of this module changes.
WINDOW_BYTES: Final = 256 << 20  # Memory all windows of a merge may take together.
CARRY_ROWS_MAX: Final = 1 << 22  # Disorder the windowed venue sort holds in memory before it sorts all keys at once.


class RowSource(NamedTuple):
    """Rows [start, stop) of a row file; stop None is its end."""

    path: Path
    start: int = 0
    stop: int | None = None


class Tape(NamedTuple):
    """History ready to replay.

    local: (n,) ROW by local_ns, what the node sees. venue: the same rows in venue order, what the simulated venue holds;
    the same object when venue time never goes back and never lies after local time. instruments: by slot, the header's instrument number. digest: names
    the tape's contents and order. paths: the files behind the two arrays.
    """

    local: Rows
    venue: Rows
    instruments: tuple[Instrument, ...]
    digest: str
    paths: tuple[Path, Path]


class _Opened(NamedTuple):
    rows: Rows
    manifest: RowManifest
    slots: NDArray[np.int64]  # (own instrument number) -> slot on the tape


def open_tape(sources: Sequence[Path | RowSource], cache_dir: Path) -> Tape:
    """Tape of one or more row files, or parts of them, merged into cache_dir where needed.

    sources: in tie order. Slots are given to instruments in order of first appearance; the same symbol of several files is
    one instrument. One file whose instrument numbers already are the slots is mapped as it is. Raises CatalogError when
    two files define one instrument differently, CorruptError when a file does not fit its manifest.
    """
    if not sources:
        raise CatalogError("nothing to open", expected="one or more row files", remedy="check symbols and dates")
    wanted = [source if isinstance(source, RowSource) else RowSource(Path(source)) for source in sources]
    manifests = [read_manifest(source.path) for source in wanted]
    instruments, slots = _assign_slots(wanted, manifests)
    opened = [
        _Opened(_bounded(source, manifest), manifest, slots_of)
        for source, manifest, slots_of in zip(wanted, manifests, slots, strict=True)
    ]
    digest = _digest(wanted, manifests, instruments)
    identical = len(opened) == 1 and bool((opened[0].slots == np.arange(opened[0].slots.size)).all())
    if identical:
        local, path, ordered = opened[0].rows, wanted[0].path, manifests[0].in_venue_order
    else:
        path = cache_dir / f"tape-{digest[:32]}.rows"
        if not manifest_path(path).exists():
            note = ", ".join(source.path.name for source in wanted)
            _write(path, merge_rows([(part.rows, part.slots) for part in opened]), instruments, f"merged: {note}")
        ordered = read_manifest(path).in_venue_order
        local = map_rows(path)
    if ordered:
        return Tape(local, local, instruments, digest, (path, path))
    venue_path = cache_dir / f"venue-{digest[:32]}.rows"
    if not venue_path.exists():
        _write_venue(venue_path, local)
    return Tape(local, map_rows(venue_path), instruments, digest, (path, venue_path))


def _bounded(source: RowSource, manifest: RowManifest) -> Rows:
    stop = manifest.rows if source.stop is None else source.stop
    if not 0 <= source.start <= stop <= manifest.rows:
        raise CatalogError(
            "rows outside the file", file=source.path, expected=f"0 to {manifest.rows}", got=(source.start, source.stop)
        )
    return map_rows(source.path)[source.start : stop]


def _assign_slots(
    wanted: Sequence[RowSource], manifests: Sequence[RowManifest]
) -> tuple[tuple[Instrument, ...], list[NDArray[np.int64]]]:
    slots: dict[str, int] = {}
    instruments: list[Instrument] = []
    tables = []
    for source, manifest in zip(wanted, manifests, strict=True):
        table = np.zeros(max(len(manifest.instruments), 1), np.int64)
        for own, instrument in enumerate(manifest.instruments):
            slot = slots.setdefault(instrument.key, len(instruments))
            if slot == len(instruments):
                instruments.append(instrument)
            elif instruments[slot] != instrument:
                raise CatalogError(
                    f"instrument {instrument.key} is defined in two ways",
                    file=source.path,
                    expected=instruments[slot],
                    got=instrument,
                    remedy="ingest the older data again with today's definition",
                )
            table[own] = slot
        tables.append(table)
    return tuple(instruments), tables


def _digest(wanted: Sequence[RowSource], manifests: Sequence[RowManifest], instruments: Sequence[Instrument]) -> str:
    parts = [
        (manifest.digest, source.start, manifest.rows if source.stop is None else source.stop)
        for source, manifest in zip(wanted, manifests, strict=True)
    ]
    content = msgspec.json.encode((MERGE_FORMAT, VENUE_KEY, parts, list(instruments)))
    return hashlib.sha256(content).hexdigest()


def _write(path: Path, chunks: Iterator[Rows], instruments: Sequence[Instrument], source: str) -> None:
    with RowWriter(path, instruments, source=source) as writer:
        for chunk in chunks:
            writer.write(chunk)


def merge_rows(
    sources: Sequence[tuple[Rows, NDArray[np.int64]]], *, window_rows: int | None = None, out_rows: int = CHUNK_ROWS
) -> Iterator[Rows]:
    """Chunks of the merged rows of several sources, each sorted by local_ns, in flat memory.

    sources: (rows, slots) in tie order; slots[i] is the number a source's instrument i gets. A chunk is only valid until
    the next one is asked for. window_rows: rows held of each source.
    """
    if window_rows is None:
        window_rows = max(64, min(1 << 16, WINDOW_BYTES // (72 * max(len(sources), 1))))
    streams = [((part, part["local_ns"]) for part in whole_facts(rows, window_rows)) for rows, _ in sources]
    return merge_streams(streams, [slots for _, slots in sources], window_rows=window_rows, out_rows=out_rows)


def merge_streams(
    streams: Sequence[Iterator[tuple[Rows, NDArray[np.int64]]]],
    slots: Sequence[NDArray[np.int64]],
    *,
    window_rows: int,
    out_rows: int = CHUNK_ROWS,
) -> Iterator[Rows]:
    """Chunks of rows merged by (key, stream, row); what merge_rows does, for any sort key.

    streams: of (rows, keys), at most window_rows + 1 rows a time, whole facts, keys never falling in a stream. slots: by
    stream. A chunk is only valid until the next one is asked for. Raises CorruptError for an instrument without a slot.
    """
    count = len(streams)
    windows = np.zeros((count, window_rows + 1, 8), np.int64)
    keys = np.zeros((count, window_rows + 1), np.int64)
    heads = np.zeros(count, np.int64)
    counts = np.zeros(count, np.int64)
    slot_table = np.zeros((count, max((table.size for table in slots), default=1)), np.int64)
    heap = np.zeros(count, np.int64)
    heap_keys = np.zeros(count, np.int64)
    heap_size = 0

    def refill(source: int) -> bool:
        rows, row_keys = next(streams[source], (None, None))
        if rows is None or row_keys is None:
            return False
        if rows["instrument"].max() >= slots[source].size:
            raise CorruptError(
                "row of an instrument that its file does not declare",
                field="instrument",
                expected=f"below {slots[source].size}",
                got=int(rows["instrument"].max()),
                remedy="build the row file again",
            )
        windows[source, : rows.size] = words_of(rows)
        keys[source, : rows.size] = row_keys
        heads[source], counts[source] = 0, rows.size
        heap_keys[source] = keys[source, 0]
        return True

    for source, table in enumerate(slots):
        slot_table[source, : table.size] = table
        if refill(source):
            heap[heap_size] = source
            heap_size += 1
    for start in range(heap_size // 2, -1, -1):
        sift_down(heap, heap_keys, heap_size, start)
    out = np.zeros((max(out_rows, 2), 8), np.int64)
    filled = 0
    while True:
        filled, heap_size, dry = merge_windows(
            windows, keys, heads, counts, heap, heap_size, heap_keys, slot_table, out, filled
        )
        if dry == OUT_FULL or (dry == EXHAUSTED and filled):
            yield out[:filled].reshape(-1).view(ROW)
            filled = 0
        if dry == EXHAUSTED:
            return
        if dry >= 0:
            if not refill(dry):
                heap_size -= 1
                heap[0] = heap[heap_size]
            sift_down(heap, heap_keys, heap_size, 0)


def venue_order(rows: Rows, *, chunk_rows: int = CHUNK_ROWS, carry_rows_max: int = CARRY_ROWS_MAX) -> Iterator[Rows]:
    """Chunks of the same rows stably sorted by venue time (key: venue_ns, or local_ns where the venue states none).

    Exact for any disorder. Memory is two chunks plus the rows in disorder; when more than carry_rows_max are, the keys of
    all rows are sorted at once instead (16 bytes a row), the rows staying where they are.
    """
    chunks = list(_bounds(rows, chunk_rows))
    # The smallest key from each chunk to the end: whatever is not above it can go out.
    smallest_after = np.full(len(chunks) + 1, np.iinfo(np.int64).max)
    for i in range(len(chunks) - 1, -1, -1):
        start, stop = chunks[i]
        smallest_after[i] = min(smallest_after[i + 1], int(venue_keys(rows[start:stop]).min()))
    carry = np.empty((0, 8), np.int64)
    carry_keys = np.empty(0, np.int64)
    emitted = 0
    for i, (start, stop) in enumerate(chunks):
        keys = np.concatenate((carry_keys, venue_keys(rows[start:stop])))
        words = np.concatenate((carry, words_of(rows[start:stop])))
        if (keys[1:] < keys[:-1]).any():
            order = np.argsort(keys, kind="stable")
            keys, words = keys[order], words[order]
        ready = int(np.searchsorted(keys, smallest_after[i + 1], side="right"))
        if ready:
            yield words[:ready].reshape(-1).view(ROW)
            emitted += ready
        carry, carry_keys = words[ready:].copy(), keys[ready:].copy()
        if carry_keys.size > carry_rows_max:
            yield from _sorted_at_once(rows, emitted, chunk_rows)
            return
    assert carry_keys.size == 0, "the last chunk leaves nothing behind"


def _bounds(rows: Rows, chunk_rows: int) -> Iterator[tuple[int, int]]:
    start = 0
    for chunk in whole_facts(rows, chunk_rows):
        yield start, start + chunk.size
        start += chunk.size


def _sorted_at_once(rows: Rows, skip: int, chunk_rows: int) -> Iterator[Rows]:
    order = np.argsort(venue_keys(rows), kind="stable")
    for start in range(skip, rows.size, chunk_rows):
        yield pick(rows, order[start : start + chunk_rows])


def _write_venue(path: Path, rows: Rows) -> None:
    """Rows in venue order as pure rows without a manifest (they are not sorted by local_ns), whole or not at all."""
    with atomic_file(path) as temporary, temporary.open("wb") as stream:
        for chunk in venue_order(rows):
            stream.write(np.ascontiguousarray(chunk).view(np.uint8).data)
