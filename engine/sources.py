"""Any input a user may name, as row files: recorded streams, archives, tables, row files, catalogs, synthetic markets.

A file is read once: its rows are kept in the cache folder under a digest of the file's identity (path, size, time of change)
and of every setting that decides how it is read. This module must not know strategies or the loop.
"""

import gzip
import hashlib
import inspect
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from twinloop.data.errors import CatalogError, ConfigError, DataError
from twinloop.data.instruments import PRESETS, Instrument, instrument_from_table
from twinloop.data.merge import RowSource
from twinloop.data.quality import Conservation
from twinloop.data.rowfile import RowManifest, Rows, RowWriter, manifest_path, map_rows, pick, read_manifest
from twinloop.data.times import span_text, to_text

if TYPE_CHECKING:
    from twinloop.engine.config import DataTable, SynthTable

READ_FORMAT: Final = 1  # Part of every cache name: raise it when readers give other rows for the same file.
_NOT_THERE: Final = (
    "not in the table",
    "no numbers",
)  # How a reader begins what it says of a column that it did without.
Watch = Callable[[str, int], None]  # (what is being read, rows so far)


@dataclass(frozen=True)
class Offer:
    """A reader's rows on their way to a catalog or a row file. The functions are asked after the last chunk."""

    chunks: Iterable[Rows]
    instrument: Instrument
    source: str
    format: str
    conservation: Callable[[], Conservation | None]
    clock_offset_ns: Callable[[], int] = lambda: 0
    details: Callable[[], dict[str, Any]] = dict
    broken: Callable[[], Mapping[str, str]] = dict  # Files that break off or are damaged, by reason.
    stated: Mapping[str, Any] = field(default_factory=dict)  # What a reader inferred.


@dataclass(frozen=True)
class Source:
    """Row files of one [[data]] table. notes: what a user should know of them; cached: nothing had to be read.

    broken: which of the files that were read break off, and how. read_as: how a table was understood.
    """

    files: list[RowSource]
    notes: list[str]
    cached: bool
    broken: list[str] = field(default_factory=list)
    read_as: list[str] = field(default_factory=list)


def instrument_named(name: str, tables: Mapping[str, Mapping[str, Any]], file: Path | None) -> Instrument:
    """An instrument by the name of its [instruments.NAME] table, or a preset "venue:SYMBOL". Raises ConfigError."""
    if name in tables:
        above = {key: instrument_named(key, tables, file) for key in list(tables)[: list(tables).index(name)]}
        fields = {key: str(value) if type(value) is not int else value for key, value in tables[name].items()}
        return instrument_from_table(file or Path("[instruments]"), list(tables).index(name) + 1, fields, above)
    if name in PRESETS:
        return PRESETS[name]
    raise ConfigError(
        "no such instrument", file=file, field="instrument", expected="one of " + ", ".join((*tables, *PRESETS)), got=name,
        remedy=f"or define it in an [instruments.{name.rpartition(':')[2]}] table",
    )  # fmt: skip


def format_of(path: Path) -> str:
    """Which reader a file is for, by its name and first bytes. Raises DataError for a missing file, ConfigError for a puzzle."""
    from twinloop.data.binance_archive import kind_of  # noqa: PLC0415 - Polars is only loaded when a file is read

    if not path.is_file():
        near = [each.name for each in path.parent.glob(f"*{path.suffix}")][:5] if path.parent.is_dir() else []
        raise DataError(
            "no such file", file=path, remedy=f"the folder has {', '.join(sorted(near))}" if near else "check the path"
        )
    if path.suffix == ".rows":
        return "rows"
    if path.suffix == ".parquet":
        return "parquet"
    if kind_of(path) is not None:
        return "binance-archive"
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            first = stream.readline(4096)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError("file cannot be read", file=path, got=str(error), remedy="fetch it again") from None
    if not first:
        raise DataError("file is empty", file=path, expected="at least one record", remedy="fetch it again")
    stamp, _, rest = first.partition(b" ")
    if stamp.isdigit() and len(stamp) >= 16 and rest.lstrip().startswith(b"{"):
        return "binance-raw"
    names = path.name.lower()
    if any(mark in names for mark in (".csv", ".txt", ".tsv")):
        return "csv"
    raise ConfigError(
        "cannot tell the format of a file", file=path, field="format",
        expected="one of binance-raw, binance-archive, csv, parquet, rows", remedy="name it",
    )  # fmt: skip


def offer(paths: Sequence[Path], chosen: "DataTable", instrument: Instrument | None, chosen_format: str) -> Offer:
    """A reader over files that continue each other (recorded streams, archives) or over one table."""
    if chosen_format in {"binance-raw", "binance-archive"}:
        if instrument is None:
            raise ConfigError(
                f"a {chosen_format} file needs its instrument", file=paths[0], field="instrument",
                expected="one of " + ", ".join(PRESETS), remedy="name a preset, or define it in an [instruments.NAME] table",
            )  # fmt: skip
        return _binance_offer(paths, chosen, instrument, chosen_format)
    if len(paths) > 1:
        raise ConfigError(
            "one table at a time", field="file", expected="one file", got=len(paths), remedy="write one [[data]] each"
        )
    from twinloop.data.tables import TableSettings, read_table  # noqa: PLC0415

    settings = TableSettings(
        kind=chosen.kind, columns=dict(chosen.columns), delimiter=chosen.delimiter, decimal=chosen.decimal,
        time_unit=chosen.time_unit, time_format=chosen.time_format, timezone=chosen.timezone, interval=chosen.interval,
        stamp=chosen.stamp, price_scale=chosen.price_scale, qty_scale=chosen.qty_scale, round=chosen.round,
        latency_ns=chosen.latency, sort=chosen.sort,
    )  # fmt: skip
    symbol = (chosen.symbol or [paths[0].name.split(".")[0]])[0]
    read = read_table(paths[0], symbol=symbol, venue=chosen.venue or "table", settings=settings, instrument=instrument)
    return Offer(
        read.chunks(),
        read.instrument,
        read.source,
        chosen_format,
        lambda: read.conservation,
        lambda: read.clock_offset_ns,
        stated=read.stated,
    )


def _binance_offer(paths: Sequence[Path], chosen: "DataTable", instrument: Instrument, chosen_format: str) -> Offer:
    names = ", ".join(path.name for path in paths)
    if chosen_format == "binance-raw":
        from twinloop.data.binance_raw import read_raw  # noqa: PLC0415

        raw = read_raw(list(paths), instrument)
        return Offer(
            raw,
            instrument,
            names,
            chosen_format,
            lambda: raw.report.conservation,
            lambda: raw.report.clock.offset_ns,
            raw.report.as_dict,
            lambda: raw.report.broken_files,
        )
    from twinloop.data.binance_archive import read_archive  # noqa: PLC0415

    archive = read_archive(list(paths), instrument, kind=chosen.kind, latency_ns=chosen.latency)
    return Offer(
        archive,
        instrument,
        names,
        chosen_format,
        lambda: archive.report.conservation,
        broken=lambda: archive.report.broken_files,
    )


def prepare(
    chosen: "DataTable",
    folder: Path,
    cache: Path,
    instruments: Mapping[str, Mapping[str, Any]],
    file: Path | None = None,
    watch: Watch | None = None,
) -> Source:
    """Row files of one [[data]] table, cut to its times; read or made where the cache has none.

    folder: where relative paths start. Raises the project's errors.
    """
    if chosen.synth is not None:
        source = _prepare_synth(chosen.synth, cache, instruments, file, watch)
    elif chosen.catalog is not None:
        from twinloop.data.catalog import Catalog  # noqa: PLC0415 - Polars is only loaded when a catalog is read

        catalog = Catalog(folder / Path(chosen.catalog).expanduser())
        if not catalog.root.is_dir():
            raise CatalogError("no such catalog", file=catalog.root, remedy="make it with `twinloop ingest --catalog`")
        symbols, venue, kinds = chosen.symbol or [], chosen.venue, chosen.kinds
        rows = catalog.rows(symbols, venue=venue, kinds=kinds, start=chosen.start, end=chosen.end)
        breaks = catalog.breaks(symbols, venue=venue, kinds=kinds, start=chosen.start, end=chosen.end)
        return Source(list(rows), [], cached=True, broken=_breaks_off(breaks))
    else:
        source = _prepare_files(chosen, folder, cache, instruments, file, watch)
    return replace(source, files=_cut(source.files, chosen.start, chosen.end))


def _cut(files: Sequence[RowSource], start: int | None, end: int | None) -> list[RowSource]:
    if start is None and end is None:
        return list(files)
    from twinloop.data.rowcache import first_at  # noqa: PLC0415 - loads Polars

    found = []
    for each in files:
        rows = map_rows(each.path)
        first = 0 if start is None else first_at(rows, start)
        stop = rows.size if end is None else first_at(rows, end)
        if first < stop:
            found.append(RowSource(each.path, first, stop))
    if not found:
        manifests = [read_manifest(each.path) for each in files]
        raise DataError(
            "no rows between data.start and data.end",
            expected=f"times within {to_text(manifests[0].first_local_ns)} to {to_text(manifests[-1].last_local_ns)}",
            got=span_text(start, end),
        )
    return found


def _prepare_files(
    chosen: "DataTable",
    folder: Path,
    cache: Path,
    instruments: Mapping[str, Mapping[str, Any]],
    file: Path | None,
    watch: Watch | None,
) -> Source:
    paths = [folder / Path(name).expanduser() for name in chosen.file or []]
    chosen_format = chosen.format if chosen.format != "auto" else format_of(paths[0])
    for path in paths:
        if not path.is_file():
            format_of(path)  # Says what is missing.
    if chosen_format == "rows":
        return Source([RowSource(path) for path in paths], [], cached=True)
    instrument = instrument_named(chosen.instrument, instruments, file) if chosen.instrument else None
    identity = [(str(path.resolve()), path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    settings = chosen.model_dump(exclude={"start", "end", "kinds", "catalog", "synth", "file"})
    name = _digest((READ_FORMAT, identity, settings, None if instrument is None else instrument.to_dict()))
    target = cache / f"{paths[0].name.split('.')[0]}-{name}.rows"
    if manifest_path(target).exists():
        manifest, cached = read_manifest(target), True
    else:
        manifest, cached = write_offer(target, offer(paths, chosen, instrument, chosen_format), watch), False
    name = paths[0].name
    broken, read_as = _broken(manifest, chosen.end), _read_as(name, manifest.details.get("stated") or {})
    return Source([RowSource(target)], _notes(name, manifest), cached, broken, read_as)


def write_offer(target: Path, given: Offer, watch: Watch | None = None) -> RowManifest:
    """Write a reader's rows to a row file, with where every record went in its manifest."""
    details: dict[str, Any] = {"format": given.format, "stated": dict(given.stated)}
    writer = RowWriter(target, [given.instrument], source=given.source, details=details)
    try:
        rows = 0
        for chunk in watched(given.chunks, f"reading {given.source}", watch):
            writer.write(chunk)
            rows += chunk.size
        require_rows(given, rows)
        conservation = given.conservation()
        details |= given.details()
        details["broken_files"] = dict(given.broken())
        details["clock_offset_ns"] = given.clock_offset_ns()
        details["conservation"] = None if conservation is None else msgspec.to_builtins(conservation.check())
        writer._details.update(details)  # noqa: SLF001 - known only after the last chunk
        return writer.close()
    except BaseException:
        writer.abandon()
        raise


def require_rows(given: Offer, rows: int) -> None:
    """Raise DataError where a reader has come to its end without a row."""
    if rows:
        return
    counted = given.conservation() or Conservation(read=0, kept=0)
    found = [f"{count} {code}" for code, count in counted.quarantined.items()]
    found += [f"{count} {reason}" for reason, count in counted.controls.items()]
    found += [f"{counted.control} without a market fact"] if counted.control and not counted.controls else []
    found += [f"{Path(name).name}: {reason}" for name, reason in given.broken().items()]
    raise DataError(
        "nothing can be kept", file=given.source, expected="at least one record", got=f"{counted.read} ({', '.join(found)})",
        remedy="check the instrument, the format and the time unit, or fetch the file again",
    )  # fmt: skip


def watched(chunks: Iterable[Rows], what: str, watch: Watch | None) -> Iterator[Rows]:
    """The same chunks, telling how many rows went by."""
    rows = 0
    for chunk in chunks:
        yield chunk
        rows += len(chunk)
        if watch is not None:
            watch(what, rows)


def _notes(name: str, manifest: RowManifest) -> list[str]:
    notes = []
    conservation = msgspec.convert(manifest.details.get("conservation") or {"read": 0, "kept": 0}, Conservation)
    if misfit := conservation.misfit():
        notes.append(f"{name}: {misfit}")
    elif conservation.quarantined:
        count = sum(conservation.quarantined.values())
        by_code = ", ".join(f"{number} {code}" for code, number in conservation.quarantined.items())
        notes.append(f"{name}: {count} of {conservation.read} records set aside ({by_code})")
    offset_ns = manifest.details.get("clock_offset_ns") or 0
    if offset_ns:
        notes.append(f"{name}: receive times moved by +{offset_ns / 1e6:g} ms, so that none is before its venue time")
    return notes


def _read_as(name: str, stated: Mapping[str, Any]) -> list[str]:
    """How a table was understood, in one line: what was inferred decides a result as much as what was set."""
    if "kind" not in stated:
        return []
    parts = [f"{stated['kind']} of {stated['interval']}" if "interval" in stated else stated["kind"]]
    times = stated.get("time_format") or stated.get("time_unit")
    parts += [f"times as {times}" if times else "times", f"in {stated['timezone']}"] if "timezone" in stated else []
    parts += [str(stated["stamp"])] if "stamp" in stated else []
    parts += [f"{key.replace('_', ' ')} {stated[key]}" for key in ("price_scale", "qty_scale") if key in stated]
    parts += [str(stated["order"])] if "order" in stated else []
    parts += [f"{column} {text}" for column, text in stated.items() if str(text).startswith(_NOT_THERE)]
    return [f"{name} read as {', '.join(parts)}"]


def _broken(manifest: RowManifest, end: int | None) -> list[str]:
    """What to say of files that break off; nothing where the one at the end does, and a run ends before it."""
    found: dict[str, str] = manifest.details.get("broken_files") or {}
    if (
        end is not None
        and end <= manifest.last_local_ns
        and [Path(name).name for name in found] == manifest.source.split(", ")[-1:]
    ):
        return []
    return _breaks_off(found)


def _breaks_off(files: Mapping[str, str]) -> list[str]:
    return [
        f"{Path(name).name} breaks off: {reason}; only what stands before is there" for name, reason in files.items()
    ]


def _prepare_synth(
    chosen: "SynthTable",
    cache: Path,
    instruments: Mapping[str, Mapping[str, Any]],
    file: Path | None,
    watch: Watch | None,
) -> Source:
    from twinloop.data import synth  # noqa: PLC0415 - it loads the compiler
    from twinloop.kernels import flow  # noqa: PLC0415

    code = hashlib.sha256((inspect.getsource(synth) + inspect.getsource(flow)).encode()).hexdigest()
    symbols = synth_symbols(chosen, instruments, file)
    name = _digest((READ_FORMAT, code, chosen.model_dump(), [msgspec.to_builtins(symbol) for symbol in symbols]))
    target = cache / f"synth-{name}.rows"
    if manifest_path(target).exists():
        return Source([RowSource(target)], [], cached=True)
    duration_s = None if chosen.duration is None else chosen.duration / 1e9
    synth.need_room(target, symbols, rows=chosen.rows, duration_s=duration_s)
    instruments_made, chunks = synth.synthesise(
        symbols,
        rows=chosen.rows,
        duration_s=duration_s,
        seed=chosen.seed,
        correlation=chosen.correlation,
        reversion_s=chosen.reversion / 1e9,
    )
    with RowWriter(target, instruments_made, source="synthetic", details={"settings": chosen.model_dump()}) as writer:
        for chunk in watched(chunks, "making a synthetic market", watch):
            writer.write(chunk)
    return Source([RowSource(target)], [], cached=False)


def synth_symbols(chosen: "SynthTable", instruments: Mapping[str, Mapping[str, Any]], file: Path | None) -> list[Any]:
    """Settings of data/synth.py for each symbol of a [data.synth] table."""
    from twinloop.data.synth import SynthSymbol, synthetic_instrument  # noqa: PLC0415

    made = []
    for each in chosen.symbols:
        name = each if isinstance(each, str) else each.symbol
        instrument = instrument_named(name, instruments, file) if name in instruments else synthetic_instrument(name)
        if isinstance(each, str):
            made.append(SynthSymbol(instrument=instrument))
            continue
        made.append(
            SynthSymbol(
                instrument=instrument, price=each.price, best_qty=each.best_qty, trade_qty=each.trade_qty,
                events_per_s=each.events_per_s, levels_per_event=each.levels_per_event, volatility_bps=each.volatility_bps,
                depth_ticks=each.depth_ticks, latency_us=each.latency // 1000, jitter_us=each.jitter // 1000,
            )
        )  # fmt: skip
    return made


def _digest(value: Any) -> str:
    return hashlib.sha256(msgspec.json.encode(value, enc_hook=str)).hexdigest()[:24]


def by_instrument(chunks: Iterable[Rows], slot: int) -> Iterator[Rows]:
    """The rows of one instrument of a row file, as instrument 0."""
    for chunk in chunks:
        rows = pick(chunk, chunk["instrument"] == slot)
        rows["instrument"] = 0
        if rows.size:
            yield rows
