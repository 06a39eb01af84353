"""`twinloop synth`: a seeded synthetic market as a row file."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from twinloop.data.errors import CatalogError, ConfigError
from twinloop.engine.cli import OK
from twinloop.engine.cli.backtest import Texts
from twinloop.engine.cli.screen import Activity, compiling, rate, say, say_json
from twinloop.engine.config import SynthTable, mistakes_of


def synth(
    path: Path,
    *,
    symbol: Texts = None,
    duration: str | None = None,
    rows: int | None = None,
    seed: int = 1,
    correlation: float = 0.0,
    reversion: str = "0s",
    overwrite: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Make a seeded synthetic market: an order book with trades, driven by order flow.

    For example:

        twinloop synth market.rows --duration 10m
        twinloop synth pair.rows --symbol A --symbol B --rows 1000000

    The same arguments give the same bytes on every machine. A run takes it so:

        twinloop backtest --strategy examples/ema_cross.py --data market.rows

    Parameters
    ----------
    path
        Where to write; ends in .rows.
    symbol
        One or more names; BTCUSDT by default.
    duration
        Of the market, such as 10m; or give --rows.
    rows
        How many rows; or give --duration.
    seed
        Of everything drawn.
    correlation
        Of the symbols' prices, 0 to 1.
    reversion
        Time in which a symbol's own part of the price returns, such as 30s; 0s for never.
    overwrite
        Replace the file if it is there.
    json
        Print one JSON document.
    """
    import time  # noqa: PLC0415

    from twinloop.engine.sources import synth_symbols, watched  # noqa: PLC0415

    if duration is None and rows is None:
        duration = "10m"
    table = mistakes_of(
        SynthTable,
        {
            "symbols": symbol or ["BTCUSDT"], "duration": duration, "rows": rows, "seed": seed, "correlation": correlation,
            "reversion": reversion,
        } if duration is not None else {
            "symbols": symbol or ["BTCUSDT"], "rows": rows, "seed": seed, "correlation": correlation, "reversion": reversion,
        },
    )  # fmt: skip
    if path.suffix != ".rows":
        raise ConfigError("not a row file's name", field="path", expected="a name ending in .rows", got=str(path))
    with compiling(quiet=json):
        from twinloop.data import synth as market  # noqa: PLC0415 - loads the compiler
        from twinloop.data.rowfile import RowWriter, manifest_path  # noqa: PLC0415

        if manifest_path(path).exists() and not overwrite:
            raise CatalogError(
                "row file is already there", file=path, remedy="pass --overwrite, or choose another name"
            )
        symbols = synth_symbols(table, {}, None)
        duration_s = None if table.duration is None else table.duration / 1e9
        market.need_room(path, symbols, rows=table.rows, duration_s=duration_s)
        instruments, chunks = market.synthesise(
            symbols,
            rows=table.rows,
            duration_s=duration_s,
            seed=table.seed,
            correlation=table.correlation,
            reversion_s=table.reversion / 1e9,
        )
        with Activity("making a market", quiet=json) as activity:
            began = time.perf_counter()
            with RowWriter(
                path, instruments, source="synthetic", details={"settings": table.model_dump()}, overwrite=overwrite
            ) as writer:
                for chunk in watched(
                    chunks, "", lambda _, count: activity.update(count, table.rows, f"{count:,} rows")
                ):
                    writer.write(chunk)
                manifest = writer.close()
            seconds = time.perf_counter() - began
    if json:
        say_json({"path": str(path), "rows": manifest.rows, "kinds": manifest.kinds, "digest": manifest.digest})
    else:
        kinds = ", ".join(f"{count:,} {name}" for name, count in manifest.kinds.items())
        say(f"{path}  {manifest.rows:,} rows ({kinds})  {rate(manifest.rows, seconds)}")
    return OK
