"""The command line: `twinloop COMMAND`. Commands are loaded when they are used, so that help and mistakes answer at once.

Exit codes, the same for every command:
    0    done
    1    a bug of twinloop: the message says how to report it
    2    a mistake in the command or the configuration
    3    data that is missing or is not what it has to be
    4    a strategy that cannot be compiled, or raised
    5    a run stopped before its end, or a file that breaks off; what came before is written
    6    a check does not hold (doctor, bench)
    130  interrupted before there was anything to write

A user's mistake never shows a traceback; `--traceback` shows it for any error. This module must not do a command's work.
"""

import gc
import os
import sys
from typing import Final

from cyclopts import App, CycloptsError

import twinloop
from twinloop._interruption import heed_interrupts

OK: Final = 0
BUG: Final = 1
USAGE: Final = 2
DATA: Final = 3
STRATEGY: Final = 4
INCOMPLETE: Final = 5
CHECK_FAILED: Final = 6
INTERRUPTED: Final = 130

COLLECT_AFTER: Final = 100_000  # Objects: loading the compiler makes many times as many, and hardly any garbage.

COMMANDS: Final = (
    ("backtest", "Run strategies over a recorded or synthetic market and write a report."),
    ("ingest", "Read recorded files into a catalog, with a quality report."),
    ("data", "List, show, check and export what a catalog holds."),
    ("synth", "Make a seeded synthetic market."),
    ("report", "Build a finished run's report again, or open it."),
    ("bench", "Measure this machine, or run one of the project's named bars."),
    ("practice", "Trade on paper on a practice exchange of this machine, and watch."),
    ("exchange", "Run a practice exchange on this machine."),
    ("record", "Record a venue's market, as it came and as rows."),
    ("live", "Run a session on a live feed, with its journal and limits."),
    ("sidecar", "Watch over a live session from beside it: fence, cancel, snapshots, alarms."),
    ("ctl", "Watch a running session, or command it: halt, reduce, resume, flatten."),
    ("reconcile", "Compare a session's positions with its venue's; accept a difference."),
    ("handover", "Hand a stopped session over to another version or configuration."),
    ("replay", "Replay a live session's journal and compare every decision."),
    ("journal", "Check, show, export, archive and retire a session's journal."),
    ("doctor", "Check the installation: versions, caches, disk, links."),
    ("warmup", "Compile everything now, so that the first run starts at once."),
)
APPS: Final = ("data", "journal")  # Commands of several.
HELP: Final = """One compiled event loop for backtests and live trading.

For example, make a market, trade it, and write a report:

    twinloop backtest examples/market_maker.toml

Every command has its own help with examples: twinloop backtest --help

Exit codes: 0 done, 1 a bug, 2 a mistake in the command or configuration,
3 data, 4 strategy, 5 stopped early with a partial result, 6 a failed check.
"""


def build_app(chosen: str = "") -> App:
    """The commands, none of them loaded yet; the chosen one's help will be its own, the others' a line."""
    app = App(
        name="twinloop",
        help=HELP,
        help_format="plaintext",
        version=f"twinloop {twinloop.__version__}",
        suppress_keyboard_interrupt=False,  # Else an interrupted command would end without a word.
    )
    for name, text in COMMANDS:
        place = f"twinloop.engine.cli.{name}:{'app' if name in APPS else name}"
        app.command(place, name=name, help=None if name == chosen else text)
    return app


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its code."""
    gc.set_threshold(COLLECT_AFTER)
    heed_interrupts()
    try:
        code = run(list(sys.argv[1:] if arguments is None else arguments))
    except KeyboardInterrupt:  # Once more, while the first was being told.
        code = INTERRUPTED
    gc.freeze()  # What is left goes with the process: no need to look through it all for cycles.
    sys.exit(code)


def run(arguments: list[str]) -> int:
    """Run the command line; its exit code."""
    before = arguments[: arguments.index("--")] if "--" in arguments else arguments
    trace = "--traceback" in before
    if trace:
        arguments.remove("--traceback")
    if "--debug" in before:
        os.environ["NUMBA_DISABLE_JIT"] = "1"  # Read by Numba once, when it is imported.
    try:
        code = build_app(before[0] if before else "")(
            arguments, exit_on_error=False, print_error=False, result_action="return_value"
        )
    except CycloptsError as error:
        return _failed(error, USAGE, before, trace)
    except KeyboardInterrupt:
        return _failed(KeyboardInterrupt("interrupted, nothing was written"), INTERRUPTED, before, trace=False)
    except BrokenPipeError:  # `twinloop data show ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except Exception as error:  # noqa: BLE001 - the top: everything ends as a message and a code
        return _failed(error, None, before, trace)
    return code if isinstance(code, int) else OK


def _failed(error: BaseException, code: int | None, arguments: list[str], trace: bool) -> int:
    from twinloop.engine.cli.failure import code_of, show_failure  # noqa: PLC0415

    code = code_of(error) if code is None else code
    show_failure(error, code, json="--json" in arguments, trace=trace)
    return code
