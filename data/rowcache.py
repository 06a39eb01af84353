"""Row files built from a catalog's Parquet parts: a cache, named by the digests of what it was built from.

One row file holds one instrument and one calendar unit (the day, or the month or year where only coarse bars are asked
for). Rows are put back in the order in which they were ingested. A cached file is never changed; another set of parts is
another name. This module must not decide which parts count.
"""

import bisect
import hashlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from twinloop.data.errors import CorruptError
from twinloop.data.instruments import Instrument
from twinloop.data.ledger import Ingest, Part
from twinloop.data.merge import RowSource, merge_streams
from twinloop.data.parquet import GROUP, read_records
from twinloop.data.rowfile import Rows, RowWriter, manifest_path, map_rows, read_manifest, whole_facts

CACHE_FORMAT: Final = 1  # Raise it when the rows built from the same parts change.
WINDOW_ROWS: Final = 1 << 16
_UNIT_OF_LENGTH: Final = {10: "D", 7: "M", 4: "Y"}
_SLOT: Final = np.zeros(1, np.int64)

Live = Sequence[tuple[Ingest, Part]]


def row_sources(
    root: Path, cache: Path, instrument: Instrument, live: Live, bounds: tuple[int, int]
) -> list[RowSource]:
    """Row files of parts that count, by time, cut to bounds [first, last) of local_ns; built where missing.

    A file is one date of the finest calendar unit among the parts.
    """
    finest = max(len(part.date) for _, part in live)
    dates: dict[str, list[tuple[Ingest, Part]]] = {}
    for ingest, part in live:
        for date in _dates(part, _UNIT_OF_LENGTH[finest]):
            dates.setdefault(date, []).append((ingest, part))
    sources = []
    for date in sorted(dates):
        first_ns, stop_ns = _span(date)
        if stop_ns <= bounds[0] or first_ns >= bounds[1]:
            continue
        path = build(root, cache, instrument, date, dates[date])
        rows = map_rows(path)
        start, stop = (first_at(rows, bound) for bound in bounds)
        if start < stop:
            sources.append(RowSource(path, start, stop))
    return sources


def first_at(rows: Rows, local_ns: int) -> int:
    """Index of the first row at or after a local time, touching only the pages a bisection needs."""
    times = rows["local_ns"]  # np.searchsorted would copy the whole strided column.
    return bisect.bisect_left(range(rows.size), local_ns, key=lambda index: int(times[index]))


def _dates(part: Part, unit: str) -> list[str]:
    """Dates of a calendar unit that a part reaches into."""
    first, last = (
        np.datetime64(at, "ns").astype(f"datetime64[{unit}]") for at in (part.first_local_ns, part.last_local_ns)
    )
    return [str(date) for date in np.arange(first, last + 1)]


def _span(date: str) -> tuple[int, int]:
    """Local times [first, last) of a date."""
    start = np.datetime64(date)
    return int(start.astype("datetime64[ns]").astype(np.int64)), int(
        (start + 1).astype("datetime64[ns]").astype(np.int64)
    )


def build(root: Path, cache: Path, instrument: Instrument, date: str, live: Live) -> Path:
    """Row file of one instrument and date from the parts that reach into it; built unless it is there.

    Raises CorruptError when a part is not the file that was ingested.
    """
    parts = [(ingest.number, part.path, part.file_digest) for ingest, part in live]
    name = hashlib.sha256(msgspec.json.encode((CACHE_FORMAT, date, instrument, parts))).hexdigest()[:24]
    folder = cache / quote(instrument.venue, safe="") / quote(instrument.symbol, safe="")
    path = folder / f"{date}-{name}.rows"
    if manifest_path(path).exists():
        read_manifest(path)
        return path
    source = "; ".join(dict.fromkeys(ingest.source for ingest, _ in live))
    with RowWriter(path, [instrument], source=source, details={"date": date, "parts": parts}) as writer:
        for chunk in restored_rows(root, live, _span(date)):
            writer.write(chunk)
    return path


def restored_rows(root: Path, live: Live, bounds: tuple[int, int]) -> Iterator[Rows]:
    """Chunks of the rows of parts with local_ns in bounds, as they were ingested, in flat memory.

    Rows of one ingest by their place in its stream; ingests by local_ns, then number. A chunk is only valid until the next
    one is asked for.
    """
    streams = []
    for number in sorted({ingest.number for ingest, _ in live}):
        kinds: dict[str, list[Part]] = {}
        for ingest, part in live:
            if ingest.number == number:
                kinds.setdefault(part.kind, []).append(part)
        by_place = [_stored(root, sorted(parts, key=lambda part: part.first_row), bounds) for parts in kinds.values()]
        if len(by_place) == 1:
            streams.append(_keyed_by_time(rows for rows, _ in by_place[0]))
        else:
            streams.append(
                _keyed_by_time(
                    merge_streams(by_place, [_SLOT] * len(by_place), window_rows=WINDOW_ROWS, out_rows=WINDOW_ROWS)
                )
            )
    if len(streams) == 1:
        yield from (rows for rows, _ in streams[0])
    else:
        yield from merge_streams(streams, [_SLOT] * len(streams), window_rows=WINDOW_ROWS)


def _keyed_by_time(chunks: Iterator[Rows]) -> Iterator[tuple[Rows, NDArray[np.int64]]]:
    for rows in chunks:
        yield rows, rows["local_ns"]


def _stored(root: Path, parts: Sequence[Part], bounds: tuple[int, int]) -> Iterator[tuple[Rows, NDArray[np.int64]]]:
    """Rows and places of the parts of one kind and ingest, in bounds, at most WINDOW_ROWS + 1 at a time."""
    for part in parts:
        for rows, places in _checked(root / part.path, part):
            start, stop = (int(np.searchsorted(rows["local_ns"], bound, side="left")) for bound in bounds)
            at = start
            for chunk in whole_facts(rows[start:stop], WINDOW_ROWS):
                yield chunk, places[at : at + chunk.size]
                at += chunk.size


def _checked(path: Path, part: Part) -> Iterator[tuple[Rows, NDArray[np.int64]]]:
    """Batches of a part; the last one only when all of them together have the part's digest."""
    digest = hashlib.sha256()
    left = part.rows
    try:
        for rows, places in read_records(GROUP[part.kind.partition("-")[0]], path):
            digest.update(rows.view(np.uint8).data)
            left -= rows.size
            if left > 0:
                yield rows, places
            elif left == 0 and digest.hexdigest() == part.rows_digest:
                yield rows, places
                return
    except (pl.exceptions.PolarsError, OSError) as error:
        raise CorruptError(f"part cannot be read: {error}", file=path, remedy="ingest it again") from None
    raise CorruptError(
        "part has other rows than were ingested", file=path, expected=part.rows_digest, remedy="ingest it again"
    )
