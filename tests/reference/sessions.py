"""Running a live session inside a test: start it, wait for what it brings about, stop it in order."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from twinloop.engine.live.config import load_session
from twinloop.engine.live.process import LiveProcess

WAIT_S = 60.0


async def until(reached: Callable[[], bool], process: asyncio.Task[Any]) -> None:
    """Wait for something the session brings about; whatever ends the session instead is raised."""
    for _ in range(int(WAIT_S / 0.01)):
        if process.done():
            process.result()
            raise AssertionError("the session ended")
        if reached():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen")


async def in_session(
    path: Path, said: list[str], play: Callable[[LiveProcess, asyncio.Task[None]], Awaitable[None]]
) -> LiveProcess:
    """Run the session of a file while `play` goes on, then stop it in order."""
    process = LiveProcess(load_session(path), said.append)
    task = asyncio.create_task(process.run())
    await until(lambda: hasattr(process, "feed"), task)
    try:
        await play(process, task)
    finally:
        process.stopping.set()
        await task
    return process


async def traded(process: LiveProcess, task: asyncio.Task[Any], fills: int) -> None:
    """Wait for so many more fills."""
    already = process.loop.counts.fills
    await until(lambda: process.loop.counts.fills >= already + fills, task)


async def looked(process: LiveProcess, task: asyncio.Task[Any]) -> None:
    """Wait for the end of a look at the account that begins from here on."""
    now_ns = process.clock.local_ns()
    await until(lambda: process.reconciler.looked_ns > now_ns, task)
