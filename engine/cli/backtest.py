"""`twinloop backtest`: a configuration, or flags, to a run's folder and its printed result."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, redirect_stdout
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from twinloop.data.errors import ConfigError
from twinloop.engine.cli import INCOMPLETE, OK
from twinloop.engine.cli.screen import Activity, compiling, note, rate, say_json
from twinloop.engine.config import Loaded, load_config, parse_override

if TYPE_CHECKING:
    from twinloop.engine.backtest import Progress
    from twinloop.engine.results import Run

Texts = Annotated[list[str] | None, Parameter(consume_multiple=False, negative="")]


def backtest(
    config: Path | None = None,
    *,
    strategy: str | None = None,
    data: Texts = None,
    symbol: Texts = None,
    instrument: str | None = None,
    bars: Texts = None,
    param: Texts = None,
    cash: str | None = None,
    latency: str | None = None,
    limits: str | None = None,
    seed: int | None = None,
    out: str | None = None,
    name: str | None = None,
    set: Texts = None,  # noqa: A002 - the flag's name
    json: Annotated[bool, Parameter(negative="")] = False,
    debug: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run strategies over a recorded or synthetic market and write a report.

    For example:

        twinloop backtest examples/market_maker.toml

        twinloop backtest examples/ema_cross.toml --latency 5ms --seed 7

        twinloop backtest --strategy examples/ema_cross.py --data synth:10m

        twinloop backtest examples/market_maker.toml --set run.name=other

    Flags override the file. Ctrl-C stops after the Python callback in hand, or
    within a million rows of compiled code, writes the partial result and exits
    with 5.

    Parameters
    ----------
    config
        A run's TOML file; see docs/getting-started.md.
    strategy
        file.py:Class or package.module:Class, instead of the file's strategies.
    data
        A file, a catalog's folder, or synth:DURATION, instead of the file's data. May be given several times.
    symbol
        What to take from a catalog, or to name a table's or synthetic market's instrument.
    instrument
        Preset such as binance-usdm:BTCUSDT, of the files given by --data.
    bars
        Bars for the strategy: 1m, "100 ticks", "10 volume", "1e6 notional".
    param
        KEY=VALUE of the strategy's parameters.
    cash
        Start balance in the account currency.
    latency
        Of requests and of answers, such as 1ms or 250us.
    limits
        Preset of the risk gate, such as research or conservative.
    seed
        Of everything that is drawn.
    out
        Folder of runs.
    name
        Of the run: its folder under --out.
    set
        KEY=VALUE of any setting, such as venue.entry_latency=2ms.
    json
        Print one JSON document instead of tables.
    debug
        Run with the JIT off, so that print and pdb work in a strategy.
    """
    base, overrides = _from_flags(config, strategy, data, symbol, instrument)
    for key, value in (
        ("account.cash", cash),
        ("limits", limits),
        ("run.seed", seed),
        ("run.out", out),
        ("run.name", name),
    ):
        if value is not None:
            overrides[key] = value
    if latency is not None:
        overrides |= {"venue.entry_latency": latency, "venue.response_latency": latency}
    if bars:
        overrides["strategy.bars"] = bars
    for text in param or ():
        key, value = parse_override(text)
        overrides[f"strategy.parameters.{key}"] = value
    overrides |= dict(parse_override(text) for text in set or ())
    loaded = load_config(config, overrides, base)
    if debug or loaded.config.run.debug:
        os.environ["NUMBA_DISABLE_JIT"] = "1"  # Before the compiler is imported.
        note("running with the JIT off: slow, but print and pdb work")
    return _run(loaded, json=json)


def _from_flags(
    config: Path | None, strategy: str | None, data: list[str] | None, symbol: list[str] | None, instrument: str | None
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Tables for what --strategy and --data name, as overrides."""
    overrides: dict[str, Any] = {}
    if config is None and strategy is None:
        raise ConfigError(
            "nothing to run",
            expected="a TOML file, or --strategy and --data",
            remedy="try twinloop backtest examples/market_maker.toml",
        )
    if config is None and not data:
        raise ConfigError(
            "no data",
            field="--data",
            expected="a file, a catalog's folder, or synth:10m",
            remedy="add --data synth:10m",
        )
    if strategy is not None:
        path, sign, cls = strategy.partition(":")
        local = Path(path).expanduser()
        overrides["strategy"] = [{"path": f"{local.resolve()}{sign}{cls}" if local.is_file() else strategy}]
    files = [each for each in data or () if not _is_synth(each) and not Path(each).expanduser().is_dir()]
    if instrument is not None and not files:
        raise ConfigError(
            "an instrument of files, and no file",
            field="--instrument",
            expected="a file named by --data",
            got=instrument,
            remedy="a catalog, a synthetic market and a run's file name their own: leave it out, or use --symbol or data.instrument",
        )
    if data:
        overrides["data"] = [_data_table(each, symbol, instrument) for each in data]
    elif symbol is not None:
        overrides["strategy.symbols"] = symbol
    return {}, overrides


def _is_synth(text: str) -> bool:
    return text == "synth" or text.startswith("synth:")


def _data_table(text: str, symbol: list[str] | None, instrument: str | None) -> dict[str, Any]:
    if _is_synth(text):
        return {"synth": {"symbols": symbol or ["BTCUSDT"], "duration": text.partition(":")[2] or "10m"}}
    path = Path(text).expanduser().resolve()
    if path.is_dir():
        if not symbol:
            raise ConfigError(
                "which symbol of the catalog",
                field="--symbol",
                expected="one or more",
                remedy=f"see `twinloop data list {text}`",
            )
        return {"catalog": str(path), "symbol": symbol}
    table: dict[str, Any] = {"file": str(path)}
    if instrument is not None:
        table["instrument"] = instrument
    if symbol:
        table["symbol"] = symbol[0]
    return table


def _run(loaded: Loaded, *, json: bool) -> int:
    with ExitStack() as stack:
        if json:  # Standard output is for the document alone: what a strategy prints goes beside it.
            stack.enter_context(redirect_stdout(sys.stderr))
        result, told = _result(loaded, quiet=json)
    if json:
        from twinloop.engine.console import result_dict  # noqa: PLC0415

        say_json(result_dict(result))
    else:
        from twinloop.engine.console import print_run  # noqa: PLC0415

        print_run(result, told=told)
    return OK if result.complete else INCOMPLETE


def _result(loaded: Loaded, *, quiet: bool) -> "tuple[Run, Sequence[str]]":
    """The run, and what was said of it before it began."""
    with compiling(quiet=quiet):
        from twinloop.engine.backtest import Backtest  # noqa: PLC0415 - the JIT's switch is set by now
        from twinloop.engine.planning import describe, make_plan  # noqa: PLC0415

        with Activity("reading", quiet=quiet) as reading:
            planned = make_plan(
                loaded,
                lambda what, rows: reading.update(rows, None, f"{rows:,} rows  {rate(rows, reading.seconds)}", what),
            )
        if not quiet:
            for text in (*planned.read_as, *describe(planned.plan), *planned.plan.broken, *planned.plan.notes):
                note(text)
        work = Backtest(planned.plan)
    with Activity("replaying", quiet=quiet) as replaying, stopping(work.end_batch) as stopped:

        def show(progress: "Progress") -> None:
            detail = f"{progress.rows:,} rows  {rate(progress.rows, progress.seconds)}  {progress.fills:,} fills"
            replaying.update(progress.rows, progress.rows_total, detail)

        return work.run(show, stopped), planned.plan.notes


@contextmanager
def stopping(soon: Callable[[], None]) -> Iterator[Any]:
    """A function that answers whether Ctrl-C or SIGTERM came; a second one interrupts at once. soon: makes it be asked soon."""
    asked = False

    def ask(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            signal.default_int_handler(number, frame)
        asked = True
        soon()
        note("stopping: the partial result is being written (again to give it up)")

    before = {number: signal.signal(number, ask) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
