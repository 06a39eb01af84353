"""How a command's failure is shown: one line a mistake, or one JSON document, and the exit code that says its kind."""

import errno
import json as json_format
import platform
import shlex
import sys
import traceback
from typing import Any

from cyclopts import CycloptsError, UnknownCommandError
from rich.console import Console
from rich.markup import escape

import twinloop
from twinloop.data.errors import ConfigError, DataError, TwinloopError
from twinloop.engine import cli
from twinloop.engine.errors import CheckFailedError, ConfigErrors

FIELDS = ("what", "file", "line", "field", "expected", "got", "remedy")


def code_of(error: BaseException) -> int:
    """Exit code of an exception."""
    if isinstance(error, ConfigError):
        return cli.USAGE
    if isinstance(error, CheckFailedError):
        return cli.CHECK_FAILED
    if isinstance(error, DataError):
        return cli.DATA
    if isinstance(error, TwinloopError):
        from twinloop.engine.strategy_errors import StrategyError  # noqa: PLC0415 - it loads the kernels' codes

        return cli.STRATEGY if isinstance(error, StrategyError) else cli.USAGE
    if isinstance(error, OSError):
        return cli.DATA
    return cli.BUG


def show_failure(error: BaseException, code: int, *, json: bool, trace: bool) -> None:
    """Tell a person on standard error, or a machine on standard output."""
    console = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)
    if trace:
        console.print("".join(traceback.format_exception(error)).rstrip(), markup=False)
    if json:
        sys.stdout.write(json_format.dumps({"error": document_of(error), "exit_code": code}) + "\n")
        return
    for text in lines_of(error):
        console.print(f"[red]error[/red] {escape(text)}")
    if code == cli.BUG:
        at = traceback.extract_tb(error.__traceback__)
        if at:
            console.print(f"  at {at[-1].filename}:{at[-1].lineno}", markup=False)
        console.print(
            "this is a bug in twinloop, not in what you did. Please report it with the command "
            f"`twinloop {shlex.join(sys.argv[1:])}` run again with --traceback, "
            f"twinloop {twinloop.__version__}, Python {platform.python_version()}, {platform.platform()}",
            markup=False,
        )


def lines_of(error: BaseException) -> list[str]:
    """The mistakes of an exception, one line each."""
    if isinstance(error, ConfigErrors):
        return [str(each) for each in error.errors]
    if isinstance(error, CycloptsError):
        text = " ".join(str(error).split())
        hint = "See `twinloop --help`." if isinstance(error, UnknownCommandError) else _help_of(error)
        return [f"{text} {hint}"]
    if isinstance(error, OSError) and error.strerror:
        remedy = "; free some, or name a folder on another disk" if error.errno == errno.ENOSPC else ""
        return [f"{error.filename or 'file'}: {error.strerror.lower()}{remedy}"]
    several = getattr(error, "errors", None)
    if isinstance(error, TwinloopError) and isinstance(several, list):
        return [str(each) for each in several]
    text = str(error) or type(error).__name__
    return [text if isinstance(error, TwinloopError | KeyboardInterrupt) else f"{type(error).__name__}: {text}"]


def _help_of(error: CycloptsError) -> str:
    chain = " ".join(error.command_chain or ())
    return f"See `twinloop {chain} --help`.".replace("  ", " ")


def document_of(error: BaseException) -> dict[str, Any]:
    """An exception as plain values."""
    document: dict[str, Any] = {"kind": type(error).__name__, "message": "; ".join(lines_of(error))}
    if isinstance(error, TwinloopError):
        document |= {name: _plain(getattr(error, name)) for name in FIELDS if getattr(error, name) is not None}
        several = getattr(error, "errors", None)
        if isinstance(several, list):
            document["errors"] = [document_of(each) for each in several]
    return document


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else str(value)
