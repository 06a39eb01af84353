"""What a person sees while a command works: progress on standard error, results on standard output, or one JSON document.

Progress appears only on a terminal and only for work of more than a moment; a log gets one line where compiling starts. This
module must not know what the work is.
"""

import json as json_format
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from twinloop.engine.wording import speed

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress, TaskID

WAIT_S: Final = 1.0  # Work shorter than this shows nothing.
COMPILED_FUNCTIONS: Final = (
    300  # Of one size class with a strategy, by the process that waits: measured; only the bar's length depends on it.
)


def out() -> "Console":
    """Standard output, without colouring numbers."""
    from rich.console import Console  # noqa: PLC0415 - not before something is drawn

    return Console(highlight=False, emoji=False)


def err() -> "Console":
    """Standard error."""
    from rich.console import Console  # noqa: PLC0415 - not before something is drawn

    return Console(stderr=True, highlight=False, emoji=False)


def say(text: str) -> None:
    """A line of result on standard output, as it is."""
    sys.stdout.write(text + "\n")


def note(text: str) -> None:
    """A line for a person on standard error, as it is."""
    sys.stderr.write(text + "\n")


def say_json(document: Mapping[str, Any]) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json_format.dumps(document, default=str) + "\n")


class Activity:
    """A line of progress that shows itself after WAIT_S, on a terminal; `update` is cheap to call often."""

    def __init__(self, title: str, *, quiet: bool = False) -> None:
        self._title = title
        self._quiet = quiet or not sys.stderr.isatty()
        self._began = time.monotonic()
        self._progress: Progress | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def update(self, done: float, total: float | None, detail: str = "", title: str | None = None) -> None:
        """How far the work is. total None: not known."""
        if self._quiet or (self._progress is None and time.monotonic() - self._began < WAIT_S):
            return
        if self._progress is None:
            from rich.progress import (  # noqa: PLC0415 - not before there is something to wait for
                BarColumn,
                Progress,
                SpinnerColumn,
                TextColumn,
                TimeElapsedColumn,
                TimeRemainingColumn,
            )

            self._progress = Progress(
                SpinnerColumn(),
                TextColumn("{task.description}"),
                BarColumn(bar_width=30),
                TextColumn("{task.fields[detail]}"),
                TimeElapsedColumn(),
                *([] if total is None else [TextColumn("ETA"), TimeRemainingColumn()]),
                console=err(),
                transient=True,
            )
            self._task = self._progress.add_task(self._title, total=total, detail=detail)
            self._progress.start()
        assert self._task is not None
        self._progress.update(self._task, completed=done, total=total, detail=detail, description=title or self._title)

    @property
    def seconds(self) -> float:
        """Since the work began."""
        return time.monotonic() - self._began

    def close(self) -> None:
        """Take the line away."""
        if self._progress is not None:
            self._progress.stop()
            self._progress = None


@contextmanager
def compiling(*, quiet: bool = False, expected: int = COMPILED_FUNCTIONS) -> Iterator[Callable[[], int]]:
    """Show that kernels are compiled, once, if any is; gives a function that counts them."""
    from numba.core.event import Listener, install_listener  # noqa: PLC0415 - loads the compiler

    activity = Activity("compiling once", quiet=quiet)
    count = 0
    told = quiet

    class Count(Listener):  # type: ignore[misc, unused-ignore]
        def on_start(self, event: Any) -> None:
            nonlocal told
            del event
            if not told:
                told = True
                if not sys.stderr.isatty():
                    note("compiling, once for this version of twinloop and this machine")
            activity.update(count, max(expected, count + 1), f"{count} functions")

        def on_end(self, event: Any) -> None:
            nonlocal count
            del event
            count += 1
            activity.update(count, max(expected, count + 1), f"{count} functions")

    with activity, install_listener("numba:compile", Count()):
        yield lambda: count


def rate(rows: float, seconds: float) -> str:
    """Rows a second, short."""
    return speed(rows / max(seconds, 1e-9))
