"""`twinloop bench`: how fast this machine replays, or one of the project's named bars."""

import subprocess
import sys
import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

import twinloop
from twinloop.data.errors import ConfigError
from twinloop.engine.cli import CHECK_FAILED, OK, USAGE
from twinloop.engine.cli.screen import compiling, rate, say, say_json


def bench(
    bar: str | None = None,
    *,
    list: Annotated[bool, Parameter(negative="")] = False,  # noqa: A002 - the flag's name
    all: Annotated[bool, Parameter(negative="")] = False,  # noqa: A002 - the flag's name
    rows: int = 2_000_000,
    repeats: int = 5,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Measure this machine, or run one of the project's named bars.

    For example:

        twinloop bench
        twinloop bench --rows 5000000 --repeats 7
        twinloop bench --list

    Without a name it replays a synthetic market through a strategy and prints
    rows a second, in the median of the repeats. With a name it runs one of
    benchmarks/bars of a checkout, which measure against other engines; exit
    code 6 when a bar does not hold.

    Parameters
    ----------
    bar
        Name of a bar.
    list
        List the bars.
    all
        Run every bar.
    rows
        Of the synthetic market.
    repeats
        How many runs.
    json
        Print one JSON document.
    """
    if bar is not None or list or all:
        return _bars([*(["--list"] if list else []), *(["--all"] if all else []), *([bar] if bar else [])])
    return _speed(rows, repeats, json=json)


def _bars(arguments: list[str]) -> int:
    folder = Path(twinloop.__file__).resolve().parents[2] / "benchmarks" / "bars"
    if not folder.is_dir():
        raise ConfigError(
            "the bars are part of a checkout, not of an installed package", expected="a clone of the repository",
            remedy="clone it and `pip install -e '.[bars]'`, or run `twinloop bench` without a name",
        )  # fmt: skip
    done = subprocess.run([sys.executable, str(folder), *arguments], check=False)
    return {0: OK, 2: USAGE}.get(done.returncode, CHECK_FAILED)  # 2: there is no such bar, as it has said.


def _speed(rows: int, repeats: int, *, json: bool) -> int:
    import statistics  # noqa: PLC0415
    import tempfile  # noqa: PLC0415

    from twinloop.engine.config import load_config  # noqa: PLC0415

    document = {
        "run": {"name": "bench"},
        "data": [{"synth": {"symbols": ["BTCUSDT"], "rows": rows}}],
        "venue": {"entry_latency": "1ms", "response_latency": "1ms"},
        "strategy": [{"path": "twinloop.engine.cli.bench_strategy:BenchCross"}],
    }
    times, fills, count = [], 0, 0
    with tempfile.TemporaryDirectory() as folder:
        loaded = load_config(None, {"run.out": folder}, base=document)
        with compiling(quiet=json):
            from twinloop.engine.backtest import Backtest  # noqa: PLC0415 - loads the compiler
            from twinloop.engine.planning import make_plan  # noqa: PLC0415

            plan = make_plan(loaded).plan
            Backtest(plan)
        for number in range(repeats):
            began = time.perf_counter()
            run = Backtest(plan).run()
            seconds = float(run.summary["timing"]["run_seconds"])
            times.append(seconds)
            fills, count = run.fills.height, len(plan.local)
            if not json:
                say(
                    f"run {number + 1}: {rate(count, seconds)} replayed, {time.perf_counter() - began:.2f} s with its results"
                )
    middle = statistics.median(times)
    if json:
        say_json({"rows": count, "fills": fills, "seconds": times, "rows_per_second": count / middle})
    else:
        say(
            f"median {rate(count, middle)} over {repeats} runs of {count:,} rows (L2 book, quotes and trades), {fills:,} fills each"
        )
    return OK
