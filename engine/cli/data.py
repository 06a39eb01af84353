"""`twinloop data`: list, show, check and export what a catalog holds."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter

from twinloop.data.errors import CatalogError, ConfigError
from twinloop.engine.cli import CHECK_FAILED, OK
from twinloop.engine.cli.screen import out, say, say_json

if TYPE_CHECKING:
    from twinloop.data.catalog import Catalog

Flag = Annotated[bool, Parameter(negative="")]
# Columns of a record that a person does not look for; --json shows them.
BEHIND: Final = frozenset(
    {
        "venue",
        "symbol",
        "local_ns",
        "venue_ns",
        "row",
        "kind",
        "strategy",
        "account",
        "source",
        "flags",
        "instrument",
        "word_56",
    }
)
HELP = """List, show, check and export what a catalog holds.

For example:

    twinloop data list
    twinloop data show BTCUSDT trades --limit 5
    twinloop data quality BTCUSDT --start 2024-08-08
    twinloop data export BTCUSDT trades trades.csv
"""
app = App(name="data", help=HELP, help_format="plaintext")


def _open(root: Path) -> "Catalog":
    from twinloop.data.catalog import Catalog  # noqa: PLC0415 - Polars is loaded when it is needed

    if not root.is_dir():
        raise CatalogError(
            "no such catalog", file=root, remedy="make it with `twinloop ingest`, or name it with --catalog"
        )
    return Catalog(root)


@app.command(name="list")
def list_(catalog: Path = Path("catalog"), *, verify: Flag = False, json: Flag = False) -> int:
    """List what a catalog holds.

    For example:

        twinloop data list
        twinloop data list catalog --verify

    Parameters
    ----------
    catalog
        The catalog's folder.
    verify
        Read every part and compare its digest; exit code 6 when one differs.
    json
        Print one JSON document.
    """
    store = _open(catalog)
    held = store.list()
    problems = [str(problem) for problem in store.verify()] if verify else []
    if json:
        say_json({"catalog": str(store.root), "kinds": held.to_dicts(), "problems": problems})
        return CHECK_FAILED if problems else OK
    _table(held.select("venue", "symbol", "kind", "first_date", "last_date", "rows", "size", "parts").to_dicts())
    for problem in problems:
        say(problem)
    if verify and not problems:
        say("every part is the one that was ingested")
    return CHECK_FAILED if problems else OK


@app.command
def show(
    symbol: str,
    kind: str,
    *,
    catalog: Path = Path("catalog"),
    venue: str | None = None,
    start: str | None = None,
    end: str | None = None,
    limit: int = 10,
    json: Flag = False,
) -> int:
    """Show records of one kind.

    For example:

        twinloop data show BTCUSDT quotes --limit 3
        twinloop data show BTCUSDT trades --start 2024-08-08T23:55:00

    Parameters
    ----------
    symbol
        As `twinloop data list` shows it.
    kind
        As `twinloop data list` shows it.
    catalog
        The catalog's folder.
    venue
        Where several venues have the symbol.
    start
        From this date or time on, UTC unless it says otherwise.
    end
        Up to this date or time, without it.
    limit
        Records at most.
    json
        Print one JSON document.
    """
    if limit < 0:
        raise ConfigError("not a count", field="--limit", expected="0 or more", got=limit)
    frame = _open(catalog).scan(symbol, kind, venue=venue, start=start, end=end).head(limit).collect()
    names = [name for name in frame.columns if not name.endswith("_int") and name not in BEHIND]
    if json:
        say_json({"symbol": symbol, "kind": kind, "records": frame.to_dicts()})
    else:
        _table(frame.select(names).to_dicts())
    return OK


@app.command
def quality(
    symbol: str,
    *,
    catalog: Path = Path("catalog"),
    venue: str | None = None,
    start: str | None = None,
    end: str | None = None,
    json: Flag = False,
) -> int:
    """Count gaps, disorder, crossed quotes, duplicates and latency.

    For example:

        twinloop data quality BTCUSDT
        twinloop data quality BTCUSDT --start 2024-08-08 --json

    Parameters
    ----------
    symbol
        As `twinloop data list` shows it.
    catalog
        The catalog's folder.
    venue
        Where several venues have the symbol.
    start
        From this date or time on.
    end
        Up to this date or time, without it.
    json
        Print one JSON document.
    """
    report = _open(catalog).quality(symbol, venue=venue, start=start, end=end)
    if json:
        say_json({"symbol": symbol, "quality": report.to_dict()})
    else:
        for line in report.lines():
            say(line)
    return OK


@app.command
def export(
    symbol: str,
    kind: str,
    path: Path,
    *,
    catalog: Path = Path("catalog"),
    venue: str | None = None,
    start: str | None = None,
    end: str | None = None,
    json: Flag = False,
) -> int:
    """Write records to a .csv file (exact decimals) or a .parquet file.

    For example:

        twinloop data export BTCUSDT trades trades.csv
        twinloop data export BTCUSDT quotes quotes.parquet --end 2024-08-09

    Parameters
    ----------
    symbol
        As `twinloop data list` shows it.
    kind
        As `twinloop data list` shows it.
    path
        Where to write; its ending chooses the form.
    catalog
        The catalog's folder.
    venue
        Where several venues have the symbol.
    start
        From this date or time on.
    end
        Up to this date or time, without it.
    json
        Print one JSON document.
    """
    written = _open(catalog).export(path, symbol, kind, venue=venue, start=start, end=end)
    if json:
        say_json({"path": str(written), "size": written.stat().st_size})
    else:
        say(str(written))
    return OK


def _table(records: list[dict[str, Any]]) -> None:
    from rich.table import Table  # noqa: PLC0415

    if not records:
        say("nothing there")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, value in records[0].items():
        table.add_column(name, justify="right" if isinstance(value, int | float) else "left", no_wrap=True)
    for record in records:
        table.add_row(*(f"{value:,}" if isinstance(value, int) else str(value) for value in record.values()))
    console = out()
    if not console.is_terminal:
        console.width = 240
    console.print(table)
