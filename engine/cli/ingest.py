"""`twinloop ingest`: recorded files into a catalog, with a quality report for each."""

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from twinloop.data.errors import ConfigError
from twinloop.engine.cli import INCOMPLETE, OK
from twinloop.engine.cli.backtest import Texts
from twinloop.engine.cli.screen import Activity, compiling, note, rate, say, say_json
from twinloop.engine.config import DataTable, mistakes_of, parse_override


def ingest(
    files: Annotated[list[Path], Parameter(negative="")],
    *,
    catalog: Path = Path("catalog"),
    instrument: str | None = None,
    instruments: Path | None = None,
    symbol: str | None = None,
    venue: str | None = None,
    format: str = "auto",  # noqa: A002 - the flag's name
    kind: str | None = None,
    set: Texts = None,  # noqa: A002 - the flag's name
    replace: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Read recorded files into a catalog, with a quality report.

    For example, an hour that the catalog then holds as synthetic:BTCUSDT:

        twinloop synth market.rows --duration 1h
        twinloop ingest market.rows --catalog catalog

    A recorded stream, and a table of bars:

        twinloop ingest usdm_btcusdt_*.gz --instrument binance-usdm:BTCUSDT
        twinloop ingest GOOG.csv --symbol GOOG --set interval=1d

    Every record is kept, set aside with a reason, or carries no fact; the three
    are counted and add up. Exit code 3 when nothing could be kept, 5 when a
    file breaks off: what stands before the break is kept.

    Parameters
    ----------
    files
        Files of one instrument and format, in order of time; tables are read one by one.
    catalog
        The catalog's folder, made if need be.
    instrument
        A preset such as binance-usdm:BTCUSDT, or a key of --instruments.
    instruments
        A file of [[instrument]] tables; see docs/data.md.
    symbol
        Of a table: the name of the instrument made for it.
    venue
        Of a table: the venue of that instrument.
    format
        auto, binance-raw, binance-archive, csv, parquet or rows.
    kind
        Of a table or an archive: bars, trades, quotes; trades, aggTrades, bookTicker, klines.
    set
        KEY=VALUE of a reader's setting, such as time_unit=ms, columns.price=px or latency=2ms.
    replace
        Supersede what the catalog holds at the same times.
    json
        Print one JSON document.
    """
    from twinloop.data.catalog import Catalog  # noqa: PLC0415
    from twinloop.data.instruments import preset, read_instruments  # noqa: PLC0415
    from twinloop.engine.sources import format_of  # noqa: PLC0415

    found = None
    if instrument is not None:
        known = read_instruments(instruments) if instruments is not None else {}
        found = known.get(instrument) or preset(*(instrument.split(":", 1) if ":" in instrument else ("", instrument)))
    chosen = _settings(files, {"format": format, "kind": kind, "venue": venue, "symbol": symbol}, set)
    chosen_format = chosen.format if chosen.format != "auto" else format_of(files[0])
    store = Catalog(catalog)
    together = [files] if chosen_format in {"binance-raw", "binance-archive"} else [[each] for each in files]
    reports = []
    with compiling(quiet=json), Activity("reading", quiet=json) as activity:
        for paths in together:
            reports += _one(store, paths, chosen, found, chosen_format, activity, replace=replace)
    documents = []
    broken: dict[str, str] = {}
    for names, report, ends_early in reports:
        broken |= ends_early
        counted = report.quality.conservation
        warning = counted.misfit() if counted is not None else ""
        documents.append(
            {
                "files": names, "instrument": report.instrument.key, "rows": report.rows, "number": report.number,
                "parts_added": len(report.parts), "parts_already": len(report.already), "quality": report.quality.to_dict(),
                "broken_files": dict(ends_early), "warnings": [warning] if warning else [],
            }
        )  # fmt: skip
        if not json:
            say(f"{names} -> {store.root}/ as {report.instrument.key}")
            for line in report.quality.lines():
                say(f"  {line}")
            if warning:
                note(f"WARNING {names}: {warning}; what is kept is in the catalog")
            say(f"  {len(report.parts)} parts added, {len(report.already)} already there")
            for name, reason in ends_early.items():
                say(f"  {name} ends early: {reason}; fetch it again, then ingest it with --replace")
    if json:
        say_json({"catalog": str(store.root), "ingested": documents})
    return INCOMPLETE if broken else OK


def _settings(files: list[Path], flags: dict[str, str | None], given: list[str] | None) -> DataTable:
    if not files:
        raise ConfigError(
            "no files", field="files", expected="one or more paths", remedy="try `twinloop ingest --help`"
        )
    table: dict[str, Any] = {name: value for name, value in flags.items() if value is not None}
    table["file"] = [str(each) for each in files]
    for text in given or ():
        key, value = parse_override(text)
        head, _, rest = key.partition(".")
        if rest:
            table.setdefault(head, {})[rest] = value
        else:
            table[key] = value
    return mistakes_of(DataTable, table)


def _one(
    store: Any,
    paths: list[Path],
    chosen: DataTable,
    instrument: Any,
    chosen_format: str,
    activity: Activity,
    *,
    replace: bool,
) -> Any:
    from twinloop.data.rowfile import open_rows, whole_facts  # noqa: PLC0415
    from twinloop.engine.sources import by_instrument, offer, require_rows, watched  # noqa: PLC0415

    def watch(what: str, rows: int) -> None:
        activity.update(rows, None, f"{rows:,} rows  {rate(rows, activity.seconds)}", f"reading {what}")

    if chosen_format == "rows":
        rows, manifest = open_rows(paths[0], verify=True)
        return [
            (
                str(paths[0]),
                store.ingest(
                    watched(by_instrument(whole_facts(rows), slot), str(paths[0]), watch),
                    each,
                    source=manifest.source,
                    details=manifest.details,
                    replace=replace,
                ),
                {},
            )
            for slot, each in enumerate(manifest.instruments)
        ]
    given = offer(paths, chosen, instrument, chosen_format)
    report = store.ingest(
        watched(given.chunks, given.source, watch),
        given.instrument,
        source=given.source,
        details=lambda: {
            "format": given.format,
            "stated": dict(given.stated),
            "broken_files": {Path(name).name: reason for name, reason in given.broken().items()},
        },
        conservation=given.conservation if chosen_format.startswith("binance") else given.conservation(),
        clock_offset_ns=given.clock_offset_ns(),
        replace=replace,
    )
    require_rows(given, report.rows)
    return [(", ".join(str(path) for path in paths), report, given.broken())]
