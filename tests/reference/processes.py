"""Commands of twinloop as processes of their own, beside a practice exchange in the test's event loop."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET
from twinloop.engine.live.measured import COUNTERS
from twinloop.engine.live.shared import RUNNING, SESSION, SharedReader

WAIT_S = 120.0
KEYS = {
    "TWINLOOP_API_KEY": PRACTICE_KEY, "TWINLOOP_API_SECRET": PRACTICE_SECRET, "TWINLOOP_CANCEL_KEY": PRACTICE_KEY,
    "TWINLOOP_CANCEL_SECRET": PRACTICE_SECRET,
}  # fmt: skip
_COMMAND = "from twinloop.engine.cli import main; main()"


class Child:
    """One process. said: what it printed, after it ended."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.said = ""

    @property
    def ended(self) -> bool:
        return self.process.returncode is not None

    async def end(self, number: int | None = None) -> int:
        """Send a signal, unless it is over, and wait."""
        if number is not None and not self.ended:
            self.process.send_signal(number)
        out, err = await asyncio.wait_for(self.process.communicate(), WAIT_S)
        self.said += (out + err).decode(errors="replace")
        assert self.process.returncode is not None
        return self.process.returncode


@asynccontextmanager
async def started(
    *arguments: str, env: Mapping[str, str] | None = None, command: str = _COMMAND
) -> AsyncIterator[Child]:
    """A command, killed at the end if it still runs. command: Python that runs it."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", command, *arguments, env={**os.environ, **KEYS, **(env or {})},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    child = Child(process)
    try:
        yield child
    finally:
        if not child.ended:
            process.kill()
            await process.communicate()


async def until(reached: Callable[[], bool], *children: Child) -> None:
    """Wait for something; a child that ends instead is told with what it said."""
    for _ in range(int(WAIT_S / 0.02)):
        if reached():
            return
        for child in children:
            if child.ended:
                await child.end()
                raise AssertionError(f"ended with {child.process.returncode}: {child.said}")
        await asyncio.sleep(0.02)
    said = []
    for child in children:
        await child.end(signal.SIGTERM)
        said.append(child.said)
    raise AssertionError("\n".join(["it did not happen", *said]))


def words_of(place: Path) -> dict[str, int]:
    """The counters of a session's folder; zeros where there are none yet."""
    reader = SharedReader(place / COUNTERS, SESSION)
    try:
        return reader.read() or dict.fromkeys(SESSION, 0)
    finally:
        reader.close()


def runs(place: Path, instance: int = 0) -> bool:
    """Whether a session trades, another than that instance."""
    words = words_of(place)
    return words["phase"] == RUNNING and words["instance"] != instance
