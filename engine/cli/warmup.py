"""`twinloop warmup`: everything compiled now, so that the first run starts at once."""

import time
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from twinloop.engine.cli import OK
from twinloop.engine.cli.screen import COMPILED_FUNCTIONS, compiling, say, say_json


def warmup(*strategies: str, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Compile everything now, so that the first run starts at once.

    For example:

        twinloop warmup
        twinloop warmup examples/market_maker.py examples/ema_cross.py:EmaCross

    Compiled code is kept for this version of twinloop, Python, Numba and this
    CPU; see `twinloop doctor`.

    Parameters
    ----------
    strategies
        Strategies to compile too: file.py:Class.
    json
        Print one JSON document.
    """
    from twinloop._cache import cache_folder  # noqa: PLC0415

    began = time.perf_counter()
    done: list[dict[str, object]] = []

    def finished(what: str, since: float, functions: int) -> None:
        seconds = time.perf_counter() - since
        done.append({"what": what, "seconds": round(seconds, 2), "functions": functions})
        if not json:
            say(
                f"{what}: {functions} functions compiled, {seconds:.1f} s"
                if functions
                else f"{what}: already compiled, {seconds:.1f} s"
            )

    with compiling(quiet=json, expected=COMPILED_FUNCTIONS) as count:
        from twinloop.kernels.entry import doors  # noqa: PLC0415 - loads the compiler
        from twinloop.kernels.node import STANDARD  # noqa: PLC0415

        since, before = time.perf_counter(), count()
        doors(STANDARD)
        finished("the loop, the gate and the venue", since, count() - before)
        since, before = time.perf_counter(), count()
        _data_kernels()
        finished("reading, merging, synthetic markets", since, count() - before)
        if strategies:
            from twinloop.engine.strategy_compiler import compile_strategy  # noqa: PLC0415
            from twinloop.engine.user_code import load_strategy  # noqa: PLC0415

            for name in strategies:
                cls = load_strategy(name, [Path.cwd()])
                since, before = time.perf_counter(), count()
                compile_strategy(cls, {}, STANDARD, symbols=_any_symbol(cls))
                finished(cls.__name__, since, count() - before)
    seconds = time.perf_counter() - began
    if json:
        say_json({"seconds": round(seconds, 2), "functions": count(), "cache": str(cache_folder()), "steps": done})
    else:
        say(f"ready after {seconds:.1f} s; kept in {cache_folder()}")
    return OK


def _any_symbol(cls: type) -> dict[str, int]:
    """Slots for the default names of a strategy's tl.Symbol parameters, which a run's data will name."""
    from twinloop.engine.strategy import SymbolSpec, fields_of  # noqa: PLC0415

    names = [each.default for each in fields_of(cls).parameters.values() if isinstance(each.kind, SymbolSpec)]
    return {name: slot for slot, name in enumerate(dict.fromkeys(names))}


def _data_kernels() -> None:
    """Run what ingest and merge compile, on a handful of rows."""
    from twinloop.data.synth import synthesise  # noqa: PLC0415

    for symbols in (["A"], ["A", "B"]):
        _, chunks = synthesise(symbols, rows=2000, seed=1)
        for _ in chunks:
            pass
