"""The one door to the outside: clocks, randomness, unique names, sleep and sockets of the live side.

Everything in `engine/live/`, `engine/gateway/` and `engine/journal/` that needs one of them asks here, so that a test or a simulator
can own them all by replacing this module's `WORLD`; tests/test_seam.py walks the sources and holds it. This module must not decide
anything.
"""

import asyncio
import os
import random
import time
import uuid
from pathlib import Path
from typing import Any, Protocol


class World(Protocol):
    """What the live side may ask of the outside."""

    def wall_ns(self) -> int:
        """Nanoseconds since the epoch."""

    def monotonic_ns(self) -> int:
        """Nanoseconds of a clock that never goes back."""

    async def sleep(self, seconds: float) -> None:
        """Let others run for a while."""

    def random(self) -> float:
        """A number in [0, 1), for jitter only: never for anything a decision depends on."""

    def unique(self) -> str:
        """A name that nobody else has, 32 hexadecimal digits."""

    async def connect(self, url: str, **options: Any) -> Any:
        """A WebSocket connection, as websockets.asyncio.client.connect gives it."""


class RealWorld:
    """The clocks, the generator and the network of this machine."""

    def __init__(self) -> None:
        self._random = random.SystemRandom()

    # Themselves, not functions that call them: a live session asks them several times for every message.
    wall_ns = staticmethod(time.time_ns)
    monotonic_ns = staticmethod(time.monotonic_ns)

    async def sleep(self, seconds: float) -> None:
        """Let others run for a while."""
        await asyncio.sleep(seconds)

    def random(self) -> float:
        """A number in [0, 1) from the system's generator."""
        return self._random.random()

    def unique(self) -> str:
        """A random UUID."""
        return uuid.uuid4().hex

    async def connect(self, url: str, **options: Any) -> Any:
        """Open a WebSocket connection."""
        from websockets.asyncio.client import connect  # noqa: PLC0415 - only who connects needs it

        return await connect(url, **options)


WORLD: World = RealWorld()


def process_id() -> int:
    """The number of this process."""
    return os.getpid()


def process_start(number: int) -> int:
    """When a process began, in the system's ticks: with its number it names one process for good. 0 where the system does not tell."""
    try:
        told = Path(f"/proc/{number}/stat").read_text(encoding="ascii", errors="replace")
        return int(told.rpartition(")")[2].split()[19])
    except (OSError, ValueError, IndexError):
        return 0


class ReceiveClock:
    """Local receive times: wall time at the start, moved on by the monotonic clock, so that they never fall or jump.

    `drift_ns` is how far the wall clock has moved away since, for the clock map and its alert.
    """

    def __init__(self, world: World | None = None) -> None:
        self._world = world or WORLD
        self.monotonic_ns = self._world.monotonic_ns
        self.ahead_ns = self._world.wall_ns() - self.monotonic_ns()  # Of the monotonic clock.

    def local_ns(self) -> int:
        """Nanoseconds since the epoch, never falling."""
        return self.ahead_ns + self.monotonic_ns()

    def both(self) -> tuple[int, int]:
        """`local_ns`, and the monotonic time that it was moved on by."""
        monotonic_ns = self.monotonic_ns()
        return self.ahead_ns + monotonic_ns, monotonic_ns

    def drift_ns(self) -> int:
        """The wall clock now less the time of this one."""
        return self._world.wall_ns() - self.local_ns()
