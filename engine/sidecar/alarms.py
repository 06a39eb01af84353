"""Telling people: every alarm to a file and a webhook, at once, each by itself, and nobody waits for it.

    channel = AlarmChannel([FileSink(path), WebhookSink(url)])
    channel.tell(Alarm("watchdog", CRITICAL, "the session is mute", where="sessions/live", remedy="look at its host"))

`tell` only puts into bounded queues. The same alarm within a while is counted and not sent again; a queue that is full drops the newest and
counts it; a sink that fails is tried again for a while, and what it never took is counted too. Text is cut to printable ASCII: some of
it came from outside. This module must not decide what is an alarm.
"""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

import aiohttp
import msgspec

from twinloop.engine.seam import WORLD

NOTE: Final = "note"
WARNING: Final = "warning"
CRITICAL: Final = "critical"
QUEUE_MAX: Final = 256
SAME_AGAIN_NS: Final = 60_000_000_000
LATE_NS: Final = 5_000_000_000  # An alarm has to be handed over within this.
ATTEMPT_S: Final = 1.5
GIVE_UP_NS: Final = 120_000_000_000
WAITS_S: Final = (0.2, 5.0)
TEXT_MAX: Final = 400
KEYS_MAX: Final = 1024


class Alarm(msgspec.Struct, frozen=True):
    """key: what is the same alarm again. what, where, remedy: for a person. wall_ns, mono_ns: when it was noticed."""

    key: str
    severity: str
    what: str
    where: str = ""
    remedy: str = ""
    wall_ns: int = 0
    mono_ns: int = 0


class Sink(Protocol):
    """Somewhere alarms go. Raises OSError, aiohttp.ClientError or TimeoutError where it did not take one."""

    name: str

    async def take(self, line: bytes) -> None:
        """Take one JSON document."""

    async def close(self) -> None:
        """No more will come."""


class FileSink:
    """A file of one JSON document a line, synced after each."""

    def __init__(self, path: Path) -> None:
        self.name = "file"
        self._path = path

    async def take(self, line: bytes) -> None:
        """Append a line; a disk that says nothing holds up no other sink."""
        await asyncio.to_thread(self._append, line + b"\n")

    def _append(self, line: bytes) -> None:
        handle = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            before = os.fstat(handle).st_size
            if os.write(handle, line) != len(line):
                os.ftruncate(handle, before)  # Half a line would spoil the next one too.
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            os.fsync(handle)
        finally:
            os.close(handle)

    async def close(self) -> None:
        """Nothing is held open."""


class WebhookSink:
    """POSTs of one JSON document. The address is a secret: it is in no message of this module."""

    def __init__(self, url: str) -> None:
        self.name = "webhook"
        self._url = url
        self._client: aiohttp.ClientSession | None = None

    async def take(self, line: bytes) -> None:
        """Post a line; any status but 2xx is a failure. Redirects are not followed."""
        if self._client is None:
            self._client = aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar())
        async with self._client.post(
            self._url, data=line, headers={"Content-Type": "application/json"}, allow_redirects=False
        ) as answer:
            if not 200 <= answer.status < 300:
                raise aiohttp.ClientError(f"status {answer.status}")

    async def close(self) -> None:
        """Close its connections."""
        if self._client is not None:
            await self._client.close()


@dataclass
class Counts:
    """told: alarms of all, repeated: of them those that were the same again. Per sink: delivered, failed for good, dropped, late."""

    told: int = 0
    repeated: int = 0
    delivered: dict[str, int] = field(default_factory=dict)
    failed: dict[str, int] = field(default_factory=dict)
    dropped: dict[str, int] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    late: int = 0
    slowest_ns: int = 0

    def of(self, what: dict[str, int]) -> int:
        """Over all sinks."""
        return sum(what.values())


class AlarmChannel:
    """Delivers alarms to its sinks while `run` runs; `tell` may be called by any code of the same event loop."""

    def __init__(
        self, sinks: Sequence[Sink], *, same_again_ns: int = SAME_AGAIN_NS, give_up_ns: int = GIVE_UP_NS
    ) -> None:
        self.counts = Counts()
        self._sinks = [(sink, asyncio.Queue[Alarm](QUEUE_MAX)) for sink in sinks]
        self._same_again_ns, self._give_up_ns = same_again_ns, give_up_ns
        self._told: dict[str, int] = {}
        self._pending = 0

    def tell(self, alarm: Alarm) -> bool:
        """Hand an alarm over, unless it is the same again: whether it goes out."""
        now_ns = WORLD.monotonic_ns()
        self.counts.told += 1
        last_ns = self._told.get(alarm.key)
        if last_ns is not None and now_ns - last_ns < self._same_again_ns:
            self.counts.repeated += 1
            return False
        if len(self._told) >= KEYS_MAX:
            self._told = {key: ns for key, ns in self._told.items() if now_ns - ns < self._same_again_ns}
        self._told[alarm.key] = now_ns
        alarm = msgspec.structs.replace(
            alarm, what=_plain(alarm.what), where=_plain(alarm.where), remedy=_plain(alarm.remedy),
            wall_ns=alarm.wall_ns or WORLD.wall_ns(), mono_ns=alarm.mono_ns or now_ns,
        )  # fmt: skip
        for sink, queue in self._sinks:
            try:
                queue.put_nowait(alarm)
            except asyncio.QueueFull:
                self.counts.dropped[sink.name] = self.counts.dropped.get(sink.name, 0) + 1
            else:
                self._pending += 1
        return True

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                for sink, queue in self._sinks:
                    tasks.create_task(self._serve(sink, queue), name=f"alarms-{sink.name}")
        finally:
            for sink, _ in self._sinks:
                await sink.close()

    async def drain(self, within_s: float) -> bool:
        """Wait until everything was handed over or given up, at most so long: whether it was."""
        limit_ns = WORLD.monotonic_ns() + int(within_s * 1e9)
        while self._pending and WORLD.monotonic_ns() < limit_ns:
            await WORLD.sleep(0.01)
        return not self._pending

    async def _serve(self, sink: Sink, queue: "asyncio.Queue[Alarm]") -> None:
        while True:
            alarm = await queue.get()
            line = msgspec.json.encode(alarm)
            delivered = await self._deliver(sink, line, alarm.mono_ns)
            kept = self.counts.delivered if delivered else self.counts.failed
            kept[sink.name] = kept.get(sink.name, 0) + 1
            self._pending -= 1

    async def _deliver(self, sink: Sink, line: bytes, since_ns: int) -> bool:
        """Try until it is taken or it is too old to be of use. Each attempt has its own deadline."""
        wait_s = WAITS_S[0]
        while True:
            self.counts.attempts[sink.name] = self.counts.attempts.get(sink.name, 0) + 1
            taken = await _attempt(lambda: sink.take(line))
            age_ns = WORLD.monotonic_ns() - since_ns
            if taken:
                self.counts.slowest_ns = max(self.counts.slowest_ns, age_ns)
                self.counts.late += age_ns > LATE_NS
                return True
            if age_ns >= self._give_up_ns:
                self.counts.late += 1
                return False
            await WORLD.sleep(wait_s * (0.5 + 0.5 * WORLD.random()))
            wait_s = min(2 * wait_s, WAITS_S[1])


async def _attempt(take: Callable[[], Awaitable[None]]) -> bool:
    try:
        async with asyncio.timeout(ATTEMPT_S):
            await take()
    except (OSError, aiohttp.ClientError, TimeoutError, ValueError):
        return False
    return True


def _plain(text: str) -> str:
    """Printable ASCII on one line, cut."""
    return "".join(each if " " <= each <= "~" else "?" for each in text[:TEXT_MAX])
