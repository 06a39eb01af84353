"""The catalog: recorded markets as Parquet, partitioned by venue, kind, symbol and date, with row files built on demand.

    cat = Catalog(Path("data"))
    cat.ingest(chunks_of_rows, instrument, source="usdm_btcusdt_20240808.gz")
    cat.scan("BTCUSDT", "trades", start="2024-08-08")        # a Polars LazyFrame
    tape = cat.tape(["BTCUSDT", "ETHUSDT"], start="2024-08-08", end="2024-08-09")

Adding is atomic and never duplicates: an ingest counts when its manifest is there, the same rows again are noticed and left
out, other rows at times already covered are refused. Rows come back from Parquet bit for bit. This module must not decode
vendors' formats.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec
import polars as pl

from twinloop.data.atomic import TEMPORARY_MARK, atomic_file, file_digest
from twinloop.data.errors import CatalogError, ConfigError, DataError
from twinloop.data.frames import decimal_columns, exact_columns
from twinloop.data.ingest import PartWriter
from twinloop.data.instruments import Instrument
from twinloop.data.ledger import LEDGER_FORMAT, Ingest, Part, admit, commit, live_parts, locked, read_ledger
from twinloop.data.merge import RowSource, Tape, open_tape
from twinloop.data.parquet import GROUP, Group, schema
from twinloop.data.quality import Conservation, QualityMeter, QualityReport
from twinloop.data.rowcache import row_sources
from twinloop.data.rowfile import Rows, map_rows, whole_facts
from twinloop.data.times import Moment, span_text, to_ns

CACHE_FOLDER: Final = "_cache"
INGEST_ROWS: Final = 1 << 14  # Rows judged and dealt out at a time: the temporaries of a batch stay small.
# The method `list` hides the type inside the class.
Sources = list[RowSource]
Problems = list[DataError]
Paths = list[Path]
Ingests = list[Ingest]
Live = list[tuple[Ingest, Part]]
Breaks = dict[str, str]
_TIME_MIN: Final = -(2**63)
_TIME_MAX: Final = 2**63 - 1


class IngestReport(msgspec.Struct, kw_only=True, frozen=True):
    """What an ingest did.

    number: of its manifest, None when nothing new came. parts: added; already: parts whose rows the catalog held;
    superseded: paths that no longer count. quality: of every row that was offered.
    """

    number: int | None
    instrument: Instrument
    rows: int
    parts: tuple[Part, ...]
    already: tuple[Part, ...]
    superseded: tuple[str, ...]
    quality: QualityReport


class Catalog:
    """A folder of recorded markets. root: created on the first ingest. cache: folder of row files, root/_cache if None."""

    def __init__(self, root: Path | str, cache: Path | str | None = None) -> None:
        self.root = Path(root)
        self.cache = self.root / CACHE_FOLDER if cache is None else Path(cache)

    def ingest(
        self,
        chunks: Iterable[Rows],
        instrument: Instrument,
        *,
        source: str = "",
        details: Mapping[str, Any] | Callable[[], Mapping[str, Any]] | None = None,
        conservation: Conservation | Callable[[], Conservation] | None = None,
        clock_offset_ns: int = 0,
        replace: bool = False,
    ) -> IngestReport:
        """Add one instrument's rows, given in chunks sorted by local_ns; all of them or nothing.

        source, details: kept in the manifest; its broken_files, by name and reason, is what `breaks` tells later. conservation,
        clock_offset_ns: what the reader did, for the quality report. A function is called after the last chunk.
        replace: supersede parts at the same times instead of refusing. Raises DataError for rows no reader may make,
        OverlapError for times that other rows already cover, CatalogError when another process writes. The chunks are read
        once; when their source raises, nothing is added.
        """
        with locked(self.root):
            ingests = read_ledger(self.root)
            number = ingests[-1].number + 1 if ingests else 1
            writer = PartWriter(self.root, number, instrument)
            meter = QualityMeter()
            rows = 0
            try:
                for chunk in chunks:
                    for part in whole_facts(chunk, INGEST_ROWS):
                        writer.write(part)
                        meter.add(part)
                        rows += part.size
                parts = writer.finish()
                counted = conservation() if callable(conservation) else conservation
                quality = meter.report(conservation=counted, clock_offset_ns=clock_offset_ns)
                self._one_definition(ingests, instrument)
                added, already, superseded = admit(parts, live_parts(ingests), replace=replace)
                if added:
                    ingest = Ingest(
                        format=LEDGER_FORMAT,
                        number=number,
                        source=source,
                        instrument=instrument,
                        parts=tuple(added),
                        supersedes=tuple(superseded),
                        quality=quality.to_dict(),
                        details=dict((details() if callable(details) else details) or {}),
                    )
                    commit(self.root, ingest)
            except BaseException:
                if not any(ingest.number == number for ingest in read_ledger(self.root)):
                    writer.remove(writer.parts)
                raise
            writer.remove(already)
        return IngestReport(
            number=number if added else None,
            instrument=instrument,
            rows=rows,
            parts=tuple(added),
            already=tuple(already),
            superseded=tuple(superseded),
            quality=quality,
        )

    @staticmethod
    def _one_definition(ingests: Sequence[Ingest], instrument: Instrument) -> None:
        """Scales of an instrument never change, or its old integers would mean something else."""
        for ingest in ingests:
            old = ingest.instrument
            if old.key == instrument.key and (old.price_scale, old.qty_scale, old.contract) != (
                instrument.price_scale,
                instrument.qty_scale,
                instrument.contract,
            ):
                raise CatalogError(
                    f"catalog holds {instrument.key} with other scales",
                    expected=f"price_scale {old.price_scale}, qty_scale {old.qty_scale}, contract {old.contract}",
                    got=f"{instrument.price_scale}, {instrument.qty_scale}, {instrument.contract}",
                    remedy="pass those scales to the reader, or use another catalog",
                )

    def instrument(self, symbol: str, venue: str | None = None) -> Instrument:
        """Definition of an instrument as last ingested; CatalogError when there is none or several venues have it.

        symbol: a name, or "venue:symbol".
        """
        found = {ingest.instrument.key: ingest.instrument for ingest in read_ledger(self.root) if ingest.parts}
        matching = [
            each
            for each in found.values()
            if each.key == symbol or (each.symbol == symbol and venue in {None, each.venue})
        ]
        if len(matching) == 1:
            return matching[0]
        if not matching:
            raise CatalogError(
                f"catalog has no {symbol}" + (f" of {venue}" if venue else ""),
                file=self.root,
                expected="one of " + (", ".join(sorted(found)) or "none: it is empty"),
                remedy="ingest it first",
            )
        raise CatalogError(
            f"several venues have {symbol}",
            file=self.root,
            expected="one of " + ", ".join(sorted(each.venue for each in matching)),
            remedy="name the venue: " + " or ".join(sorted(each.key for each in matching)),
        )

    def list(self) -> pl.DataFrame:
        """One line per venue, symbol and kind: dates, times, rows, records, size in bytes, parts."""
        fields = ("venue", "symbol", "kind", "date", "rows", "records", "size", "first_local_ns", "last_local_ns")
        live = [part for _, part in live_parts(read_ledger(self.root))]
        texts = {"venue", "symbol", "kind", "date"}
        frame = pl.DataFrame(
            {name: [getattr(part, name) for part in live] for name in fields},
            schema={name: pl.String if name in texts else pl.Int64 for name in fields},
        )
        return (
            frame.group_by("venue", "symbol", "kind")
            .agg(
                pl.col("date").min().alias("first_date"),
                pl.col("date").max().alias("last_date"),
                pl.col("first_local_ns").min(),
                pl.col("last_local_ns").max(),
                pl.col("rows", "records", "size").sum(),
                pl.len().cast(pl.Int64).alias("parts"),
            )
            .sort("venue", "symbol", "kind")
        )

    def scan(
        self,
        symbol: str,
        kind: str,
        *,
        venue: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> pl.LazyFrame:
        """Records of one kind with start <= local_ns < end, by local time, as a LazyFrame (nothing is read yet).

        kind: as `list` shows it; "bars" will do when there is one interval. Columns: the Parquet files' integers, plus
        `venue`, `symbol`, `local_time`, `venue_time` and a float64 column for each `_int` one. Raises CatalogError.
        """
        instrument = self.instrument(symbol, venue)
        live = self._select(instrument, [kind], start, end)
        kinds = {part.kind for _, part in live}
        if len(kinds) > 1:
            raise CatalogError(
                f"several kinds of {instrument.key} match {kind}",
                expected="one of " + ", ".join(sorted(kinds)),
                got=kind,
            )
        group = _group(kind)
        if not live:
            return decimal_columns(pl.LazyFrame(schema=schema(group)), group, instrument)
        ordered = sorted(live, key=lambda pair: (pair[1].first_local_ns, pair[0].number, pair[1].first_row))
        frame = pl.scan_parquet([self.root / part.path for _, part in ordered], hive_partitioning=False)
        if _interleaved([part for _, part in ordered]):
            frame = frame.sort("local_ns", maintain_order=True)
        frame = frame.filter(pl.col("local_ns").is_between(*_range(start, end), closed="left"))
        return decimal_columns(frame, group, instrument)

    def _select(
        self, instrument: Instrument, kinds: Sequence[str] | None, start: Moment | None, end: Moment | None
    ) -> Live:
        first, last = _range(start, end)
        wanted = None if kinds is None else set(kinds)
        for kind in wanted or ():
            _group(kind)
        return [
            (ingest, part)
            for ingest, part in live_parts(read_ledger(self.root))
            if (part.venue, part.symbol) == (instrument.venue, instrument.symbol)
            and (wanted is None or part.kind in wanted or part.kind.partition("-")[0] in wanted)
            and part.first_local_ns < last
            and part.last_local_ns >= first
        ]

    def rows(
        self,
        symbols: str | Sequence[str],
        *,
        venue: str | None = None,
        kinds: Sequence[str] | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Sources:
        """Row files with start <= local_ns < end, in tie order: symbols as given, each by time; built where missing.

        symbols: names, or "venue:symbol". kinds: as `list` shows them, all by default. A row file is named by the digests
        of the parts it was built from, so it is never stale. Raises CatalogError when nothing matches.
        """
        sources = []
        for name in [symbols] if isinstance(symbols, str) else symbols:
            instrument = self.instrument(name, venue)
            live = self._select(instrument, kinds, start, end)
            if not live:
                raise CatalogError(
                    f"catalog has no rows of {instrument.key} there",
                    file=self.root,
                    expected="kinds and dates as the catalog's list shows them",
                    got=f"{'all kinds' if kinds is None else ', '.join(kinds)}, {span_text(start, end)}",
                )
            sources += row_sources(self.root, self.cache, instrument, live, _range(start, end))
        return sources

    def breaks(
        self,
        symbols: Sequence[str],
        *,
        venue: str | None = None,
        kinds: Sequence[str] | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Breaks:
        """Files that broke off, by name and reason, where rows of them are in start <= local_ns < end and end lies beyond them."""
        found: dict[str, str] = {}
        for name in symbols:
            live = self._select(self.instrument(name, venue), kinds, start, end)
            for number in {ingest.number for ingest, _ in live}:
                ingest = next(each for each, _ in live if each.number == number)
                last_ns = max(part.last_local_ns for part in ingest.parts)
                if _range(start, end)[1] > last_ns:
                    found |= ingest.details.get("broken_files") or {}
        return found

    def tape(
        self,
        symbols: str | Sequence[str],
        *,
        venue: str | None = None,
        kinds: Sequence[str] | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Tape:
        """The same rows merged into one tape, ready to replay."""
        return open_tape(self.rows(symbols, venue=venue, kinds=kinds, start=start, end=end), self.cache)

    def quality(
        self,
        symbol: str,
        *,
        venue: str | None = None,
        kinds: Sequence[str] | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> QualityReport:
        """Quality of the rows the catalog holds; what was refused at ingest stands in `ingests()`."""
        meter = QualityMeter()
        for source in self.rows(symbol, venue=venue, kinds=kinds, start=start, end=end):
            for chunk in whole_facts(map_rows(source.path)[source.start : source.stop]):
                meter.add(chunk)
        return meter.report()

    def ingests(self) -> Ingests:
        """Manifests of all ingests, with the quality reports made then."""
        return read_ledger(self.root)

    def export(
        self,
        path: Path | str,
        symbol: str,
        kind: str,
        *,
        venue: str | None = None,
        start: Moment | None = None,
        end: Moment | None = None,
    ) -> Path:
        """Write records to one .parquet (integers and floats) or .csv file (exact decimals), whole or not at all."""
        path = Path(path)
        if path.suffix not in {".parquet", ".csv"}:
            raise ConfigError("cannot export to such a file", file=path, expected="a name ending in .parquet or .csv")
        frame = self.scan(symbol, kind, venue=venue, start=start, end=end)
        if path.suffix == ".csv":
            frame = exact_columns(frame, _group(kind), self.instrument(symbol, venue))
        with atomic_file(path) as temporary:
            if path.suffix == ".csv":
                frame.sink_csv(temporary)
            else:
                frame.sink_parquet(temporary, compression="zstd")
        return path

    def verify(self) -> Problems:
        """Read every part that counts; one error for each that is missing or differs from its digest."""
        problems: list[DataError] = []
        for _, part in live_parts(read_ledger(self.root)):
            path = self.root / part.path
            try:
                digest = file_digest(path)
            except OSError as error:
                problems.append(
                    DataError("part cannot be read", file=path, got=error.strerror, remedy="ingest it again")
                )
                continue
            if digest != part.file_digest:
                problems.append(
                    DataError("part differs from its digest", file=path, expected=part.file_digest, got=digest)
                )
        return problems

    def prune(self) -> Paths:
        """Remove what counts for nothing: leftovers of crashed writers, superseded parts, cached row files."""
        with locked(self.root):
            live = {self.root / part.path for _, part in live_parts(read_ledger(self.root))}
            gone = [path for path in self.root.glob("venue=*/**/*.parquet") if path not in live]
            gone += [path for path in self.root.rglob(f"*{TEMPORARY_MARK}*") if path.is_file()]
            gone += [path for path in self.cache.rglob("*") if path.suffix in {".rows", ".json"}]
            gone = sorted(set(gone))
            for path in gone:
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()
        return gone


def _range(start: Moment | None, end: Moment | None) -> tuple[int, int]:
    first = _TIME_MIN if start is None else to_ns(start)
    last = _TIME_MAX if end is None else to_ns(end)
    if first > last:
        raise ConfigError("start is after end", expected="start <= end", got=f"{start} to {end}")
    return first, last


def _group(kind: str) -> Group:
    group = GROUP.get(kind.partition("-")[0])
    if group is None:
        raise CatalogError("no such kind", expected="one of " + ", ".join(GROUP), got=kind)
    return group


def _interleaved(parts: Sequence[Part]) -> bool:
    return any(after.first_local_ns < before.last_local_ns for before, after in pairwise(parts))
