"""A journal's rows in a file for other programs: .csv for people, .parquet for machines.

CSV: one line a row, names and exact decimals. Parquet: every field of the row as it is, with the commit and the names of kind and
instrument; from those columns the rows come back bit for bit. Memory stays flat. This module must not check: the reader did.
"""

import csv
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from twinloop.data.atomic import atomic_file
from twinloop.data.errors import ConfigError
from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import Rows, join_rows, pick
from twinloop.engine.journal.listing import Choice, Listing, chosen_rows, sentence
from twinloop.engine.journal.reader import Commit
from twinloop.kernels.rows import KIND_NAME, ROW, SEAL

ENDINGS: Final = (".csv", ".parquet")
_COLUMNS: Final = (
    "commit", "sequence", "time", "kind", "instrument", "side", "strategy", "account", "source", "flags", "venue_time", "what",
)  # fmt: skip
_BATCH_ROWS: Final = 1 << 18


def export_rows(path: Path, commits: Iterable[Commit], choice: Choice, instruments: Sequence[Instrument]) -> int:
    """Write the chosen rows, the whole file or none: how many. ConfigError for another ending."""
    write = {".csv": _csv, ".parquet": _parquet}.get(path.suffix)
    if write is None:
        raise ConfigError(
            "cannot export to this kind of file", file=path, expected="a name ending in " + " or ".join(ENDINGS), got=path.suffix,
        )  # fmt: skip
    with atomic_file(path) as temporary:
        return write(temporary, commits, choice, instruments)


def _csv(path: Path, commits: Iterable[Commit], choice: Choice, instruments: Sequence[Instrument]) -> int:
    listing, count = Listing(instruments), 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for chosen in chosen_rows(commits, choice):
            record = listing.record(chosen) | {"what": sentence(listing.payload(chosen.row))}
            writer.writerow([record.get(name, "") for name in _COLUMNS])
            count += 1
    return count


def _parquet(path: Path, commits: Iterable[Commit], choice: Choice, instruments: Sequence[Instrument]) -> int:
    import polars as pl  # noqa: PLC0415 - loaded when it is needed

    from twinloop.data.parquet import GROUP, rows_to_frame  # noqa: PLC0415

    listing, count = Listing(instruments), 0
    slots = list(range(len(instruments)))
    kinds = pl.LazyFrame(
        {"kind": list(KIND_NAME), "kind_name": list(KIND_NAME.values())}, {"kind": pl.UInt8, "kind_name": pl.String}
    )
    names = pl.LazyFrame(
        {"instrument": slots, "instrument_name": [listing.instrument_name(slot) for slot in slots]},
        {"instrument": pl.UInt16, "instrument_name": pl.String},
    )
    # In parts first: nobody knows how many rows there will be, and they need not fit into memory.
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        parts: list[Path] = []
        for numbers, rows in _batches(commits, choice):
            part = Path(folder) / f"{len(parts):06d}.parquet"
            frame = rows_to_frame(GROUP["events"], rows, np.arange(count, count + len(rows)))
            frame.with_columns(pl.Series("commit", numbers, pl.Int64)).write_parquet(part, compression="lz4")
            parts.append(part)
            count += len(rows)
        if not parts:
            parts = [Path(folder) / "empty.parquet"]
            empty = rows_to_frame(GROUP["events"], np.empty(0, ROW), np.empty(0, np.int64))
            empty.with_columns(pl.Series("commit", [], pl.Int64)).write_parquet(parts[0])
        joined = pl.scan_parquet(parts).join(kinds, "kind", "left", maintain_order="left")
        joined.join(names, "instrument", "left", maintain_order="left").sink_parquet(path, compression="zstd")
    return count


def _batches(commits: Iterable[Commit], choice: Choice) -> Iterable[tuple[Any, Rows]]:
    numbers: list[Any] = []
    parts: list[Rows] = []
    held = 0
    for commit in commits:
        part = pick(commit.rows, choice.mask(commit.rows))
        if SEAL in choice.kinds:
            part = join_rows([part, np.frombuffer(commit.seal.tobytes(), ROW)])
        if len(part):
            numbers.append(np.full(len(part), commit.number))
            parts.append(part)
            held += len(part)
        if held >= _BATCH_ROWS:
            yield np.concatenate(numbers), join_rows(parts)
            numbers, parts, held = [], [], 0
    if parts:
        yield np.concatenate(numbers), join_rows(parts)
