"""Alarms arrive at every sink that works, in time, once, and hold nobody up."""

import asyncio
import json
import resource
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import numpy as np
import pytest
from aiohttp import web

from twinloop.engine.gateway.alerts import ALERT_CODE
from twinloop.engine.live.loop import OF_PERSON, SESSION_END, SESSION_START, WARM_UP
from twinloop.engine.sidecar.alarms import (
    CRITICAL,
    NOTE,
    QUEUE_MAX,
    WARNING,
    Alarm,
    AlarmChannel,
    FileSink,
    WebhookSink,
)
from twinloop.engine.sidecar.journal_alarms import row_alarms, state_alarm
from twinloop.kernels import codes
from twinloop.kernels import rows as table


def alarm(key: str = "k", what: str = "it is mute") -> Alarm:
    return Alarm(key, CRITICAL, what, "sessions/live", "look at its host")


class Hook:
    """A webhook's other side: fails so often first, then takes."""

    def __init__(self, failures: int = 0, hang: bool = False) -> None:
        self.failures = failures
        self.hang = hang
        self.taken: list[dict[str, object]] = []
        self.asked = 0
        self.url = ""

    async def take(self, request: web.Request) -> web.Response:
        self.asked += 1
        if self.hang:
            await asyncio.sleep(60)
        if self.failures > 0:
            self.failures -= 1
            return web.Response(status=500)
        self.taken.append(await request.json())
        return web.Response(status=204)


@asynccontextmanager
async def served(hook: Hook) -> AsyncIterator[Hook]:
    app = web.Application()
    app.router.add_post("/secret-path", hook.take)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    hook.url = f"http://127.0.0.1:{runner.addresses[0][1]}/secret-path"
    try:
        yield hook
    finally:
        await runner.cleanup()


@asynccontextmanager
async def running(channel: AlarmChannel) -> AsyncIterator[AlarmChannel]:
    task = asyncio.create_task(channel.run())
    try:
        yield channel
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_webhook_that_fails_is_tried_again_and_the_file_does_not_wait(tmp_path: Path) -> None:
    async def play() -> None:
        async with served(Hook(failures=3)) as hook:
            channel = AlarmChannel([FileSink(tmp_path / "alarms"), WebhookSink(hook.url)])
            async with running(channel):
                assert channel.tell(alarm())
                assert await channel.drain(20.0)
            assert [each["what"] for each in hook.taken] == ["it is mute"]
            assert hook.asked == 4
            assert channel.counts.delivered == {"file": 1, "webhook": 1}
            assert channel.counts.attempts == {"file": 1, "webhook": 4}
            assert channel.counts.late == 0

    asyncio.run(play())
    (line,) = lines(tmp_path / "alarms")
    assert (line["severity"], line["where"], line["remedy"]) == ("critical", "sessions/live", "look at its host")
    assert isinstance(line["wall_ns"], int)


def test_a_sink_that_never_answers_is_given_up_and_counted(tmp_path: Path) -> None:
    async def play() -> None:
        async with served(Hook(hang=True)) as hook:
            channel = AlarmChannel([WebhookSink(hook.url), FileSink(tmp_path / "alarms")], give_up_ns=1)
            async with running(channel):
                for number in range(3):
                    channel.tell(alarm(str(number)))
                assert await channel.drain(30.0)
            assert channel.counts.failed == {"webhook": 3}
            assert channel.counts.late == 3

    asyncio.run(play())
    assert len(lines(tmp_path / "alarms")) == 3


def test_the_same_again_is_counted_and_not_sent(tmp_path: Path) -> None:
    async def play() -> None:
        channel = AlarmChannel([FileSink(tmp_path / "alarms")])
        async with running(channel):
            assert [channel.tell(alarm()) for _ in range(5)] == [True, False, False, False, False]
            assert channel.tell(alarm("other"))
            assert await channel.drain(20.0)
        assert channel.counts.repeated == 4

    asyncio.run(play())
    assert len(lines(tmp_path / "alarms")) == 2


def test_a_full_queue_drops_the_newest_and_counts_it(tmp_path: Path) -> None:
    async def play() -> None:
        channel = AlarmChannel([FileSink(tmp_path / "alarms")])
        for number in range(QUEUE_MAX + 7):  # Nobody delivers yet.
            channel.tell(alarm(str(number)))
        assert channel.counts.dropped == {"file": 7}
        async with running(channel):
            assert await channel.drain(60.0)

    asyncio.run(play())
    assert len(lines(tmp_path / "alarms")) == QUEUE_MAX


def test_a_sink_that_cannot_write_is_given_up(tmp_path: Path) -> None:
    async def play() -> None:
        channel = AlarmChannel([FileSink(tmp_path / "no" / "such" / "folder")], give_up_ns=1)
        async with running(channel):
            channel.tell(alarm())
            assert await channel.drain(20.0)
        assert channel.counts.failed == {"file": 1}

    asyncio.run(play())


def test_a_disk_that_takes_half_a_line_spoils_no_other(tmp_path: Path) -> None:
    """The process may write no longer files for a while: what was not whole is written again when it may."""
    path, line = tmp_path / "alarms", b'{"key": "%d"}' % 10**40
    sink = FileSink(path)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    async def play() -> None:
        await sink.take(line)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(line) + 10, before[1]))
        with pytest.raises(OSError, match="No space left"):
            await sink.take(line)
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        await sink.take(line)

    try:
        asyncio.run(play())
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, ignored)
    assert path.read_bytes() == 2 * (line + b"\n")


def test_text_from_outside_is_cut_to_plain_ascii_on_one_line(tmp_path: Path) -> None:
    async def play() -> None:
        channel = AlarmChannel([FileSink(tmp_path / "alarms")])
        async with running(channel):
            channel.tell(alarm(what="a\nb\r\x1b[31m<b>é" + "x" * 1000))
            assert await channel.drain(20.0)

    asyncio.run(play())
    (line,) = lines(tmp_path / "alarms")
    assert str(line["what"]).startswith("a?b??[31m<b>?xxx")
    assert len(str(line["what"])) == 400


def row(kind: int, **fields: int) -> np.void:
    rows = np.zeros(1, table.ROW)
    rows["kind"] = kind
    for name, value in fields.items():
        rows[name] = value
    return rows  # type: ignore[return-value]


def heard(kind: int, **fields: int) -> list[Alarm]:
    return list(row_alarms(row(kind, **fields), "here", {0: "BTCUSDT"}))  # type: ignore[arg-type]


def test_rows_that_people_have_to_hear_of() -> None:
    (found,) = heard(table.HALT, code=OF_PERSON + 1000, sequence=7)
    assert (found.severity, found.what) == (CRITICAL, "the session was halted by user 1000")
    for kind, code in ((table.HALT, SESSION_END), (table.HALT, WARM_UP), (table.REDUCE, SESSION_START)):
        (found,) = heard(kind, code=code)
        assert found.severity == NOTE
    (found,) = heard(table.HALT, code=SESSION_START)  # Of a reconciliation: no time ends that.
    assert found.severity == CRITICAL
    assert "the venue holds something else" in found.what
    assert "`twinloop reconcile`" in found.remedy
    (found,) = heard(table.ALERT, alert=ALERT_CODE["OVERFILL"], code=12, value=3)
    assert (found.severity, found.what) == (
        CRITICAL,
        "OVERFILL of order 12, value 3: more was filled than was ordered; it is booked",
    )
    (found,) = heard(table.ALERT, alert=999)
    assert found.severity == WARNING
    (found,) = heard(table.ALERT_ACKNOWLEDGED, alert=ALERT_CODE["OVERFILL"], code=2000)
    assert (found.severity, found.what) == (NOTE, "user 1000 has seen OVERFILL")
    (found,) = heard(table.FEED_STALE)
    assert "BTCUSDT" in found.what
    assert heard(table.TRADE) == heard(table.FILL) == heard(table.FEED_RECOVERED) == []


def test_an_account_that_its_limits_halted_is_an_alarm_once() -> None:
    account = {"state": codes.HALTED, "halt_code": 0}
    found = state_alarm(codes.ACTIVE, account, "here")
    assert found is not None
    assert found.severity == CRITICAL
    assert state_alarm(codes.HALTED, account, "here") is None
    of_a_word = {"state": codes.HALTED, "halt_code": codes.REJECT_HALTED}
    assert state_alarm(codes.ACTIVE, of_a_word, "here") is None, (
        "the word has an alarm of its own, an orderly end a note"
    )
    assert state_alarm(codes.HALTED, {"state": codes.REDUCING, "halt_code": 0}, "here") is None
