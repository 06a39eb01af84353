"""A paper session on real sockets: it trades, survives what happens to its feed, obeys, and replays bit for bit."""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from reference import sessions
from reference.paper_config import paper_file
from reference.sessions import until
from reference.small_venue import SmallVenue

from twinloop.data.errors import ConfigError
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.live import process as process_module
from twinloop.engine.live.config import load_session
from twinloop.engine.live.control import SOCKET, ask
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess, run_session
from twinloop.engine.live.session_errors import SessionError
from twinloop.kernels import rows


def configuration(folder: Path, port: int, strategy_folder: Path, **more: str) -> Path:
    address = f"127.0.0.1:{port}"
    return paper_file(folder, f"{strategy_folder / 'busy.py'}:Busy", f"ws://{address}", f"http://{address}", **more)


async def in_session(
    path: Path, play: Callable[[LiveProcess, asyncio.Task[None]], Awaitable[None]]
) -> tuple[LiveProcess, list[str]]:
    said: list[str] = []
    return await sessions.in_session(path, said, play), said


def of_kind(process: LiveProcess, kind: int) -> int:
    return process.loop.counts.by_kind.get(kind, 0)


@pytest.mark.parametrize("durability", ["async", "group"])
def test_a_session_trades_survives_its_feed_and_replays(tmp_path: Path, strategy_folder: Path, durability: str) -> None:
    async def play() -> None:
        async with SmallVenue(5) as venue:
            path = configuration(tmp_path, venue.port, strategy_folder, durability=durability)

            async def lived(process: LiveProcess, task: asyncio.Task[None]) -> None:
                await until(lambda: process.loop.counts.fills >= 5, task)
                venue.skip = 1  # A lost update.
                await until(lambda: of_kind(process, rows.SNAPSHOT_END) >= 2, task)
                await venue.drop()
                await until(lambda: process.feed.connects >= 2 and not process.feed.stale, task)
                fills = process.loop.counts.fills
                await until(lambda: process.loop.counts.fills > fills, task)

            process, said = await in_session(path, lived)
            assert of_kind(process, rows.FEED_GAP) >= 2
            assert of_kind(process, rows.FEED_STALE) >= 1
            assert of_kind(process, rows.FEED_RECOVERED) >= 2
            assert any("epoch 1" in line for line in said)

            # And once more, from the journal on.
            async def again(process: LiveProcess, task: asyncio.Task[None]) -> None:
                fills = process.loop.counts.fills
                await until(lambda: process.loop.counts.fills > fills + 2, task)

            process, said = await in_session(path, again)
            assert any(line.startswith("recovered") for line in said)
            assert process.loop.recorded.journal.epoch == 2

    asyncio.run(play())
    journal = tmp_path / "sessions" / "paper" / "journal"
    found = replay_journal(journal)
    assert found.difference is None, str(found.difference)
    assert found.changed == []
    assert found.requests > 5
    assert [segment.header.epoch for segment in open_journal(journal).segments] == [1, 2]


def test_an_operator_halts_and_resumes_through_the_socket(tmp_path: Path, strategy_folder: Path) -> None:
    async def play() -> None:
        async with SmallVenue(6) as venue:
            path = configuration(tmp_path, venue.port, strategy_folder)

            async def lived(process: LiveProcess, task: asyncio.Task[None]) -> None:
                place = process.loaded.place / SOCKET

                async def ctl(**document: Any) -> dict[str, Any]:
                    return await asyncio.to_thread(ask, place, document)

                await until(lambda: process.loop.counts.requests >= 3, task)
                assert place.stat().st_mode & 0o777 == 0o600
                assert (await ctl(command="status"))["state"] == "ACTIVE"
                halted = await ctl(command="halt")
                assert halted["state"] == "HALTED"
                refused = process.loop.counts.refused
                await until(lambda: process.loop.counts.refused > refused + 3, task)
                assert int(process.loop.node.decision["open_count"]) == 0
                status = await ctl(command="status")
                assert status["state"] == "HALTED"
                assert status["symbols"][0]["working_buy"] == "0.000"
                assert (await ctl(command="resume"))["state"] == "ACTIVE"
                requests = process.loop.counts.requests
                await until(lambda: process.loop.counts.requests > requests, task)
                with pytest.raises(ConfigError, match="unknown command 'sell everything'"):
                    await ctl(command="sell everything")
                assert (await ctl(command="limits"))["lines"]
                assert (await ctl(command="ack", alert="OVERFILL"))["state"] == "ACTIVE"
                assert (await ctl(command="ack", alert=2))["state"] == "ACTIVE"
                strange: list[Any] = ["nonsense", 999, None, True, [], {}, 6.0, float("nan")]
                for wrong in strange:
                    with pytest.raises(ConfigError, match="no such alert"):
                        await ctl(command="ack", alert=wrong)
                for _ in range(3):  # As a view does that looks again and again.
                    await ctl(command="status", again=True)

            await in_session(path, lived)
            with pytest.raises(SessionError, match="no session runs here"):
                ask(tmp_path / "sessions" / "paper" / SOCKET, {"command": "status"})

    asyncio.run(play())
    facts = [
        row
        for commit in open_journal(tmp_path / "sessions/paper/journal").each()
        for row in commit.facts
        if row["kind"] == rows.HALT
    ]
    who = 1000 + os.getuid()
    said = [
        (int(row["kind"]), int(row["value"]), int(row["code"]))
        for commit in open_journal(tmp_path / "sessions/paper/journal").each()
        for row in commit.facts
        if row["kind"] in {rows.HALT, rows.RESUME, rows.NOTE} and row["code"] >= 999
    ]
    assert said == [
        (rows.NOTE, 1, who), (rows.HALT, 0, who), (rows.NOTE, 1, who), (rows.RESUME, 0, who), (rows.NOTE, 2, who),
    ]  # fmt: skip
    seen = [
        (int(row["alert"]), int(row["code"]))
        for commit in open_journal(tmp_path / "sessions/paper/journal").each()
        for row in commit.notes
        if row["kind"] == rows.ALERT_ACKNOWLEDGED
    ]
    assert seen == [(6, who), (2, who)]
    assert len(facts) == 2  # The operator's, and the one that ends a session.
    assert int(facts[0]["code"]) >= 0


def test_a_session_that_cannot_be_commanded_ends_in_order(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its socket is made last, when the journal is there: what it holds is whole, and says that it ended."""

    async def fails(*_: Any) -> asyncio.Server:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(process_module, "serve", fails)

    async def play() -> None:
        async with SmallVenue(6) as venue:
            path = configuration(tmp_path, venue.port, strategy_folder)
            with pytest.raises(OSError, match="No space left"):
                await run_session(load_session(path), lambda _: None)

    asyncio.run(play())
    found = replay_journal(tmp_path / "sessions" / "paper" / "journal")
    assert found.difference is None
    assert found.ended


def test_a_folder_whose_socket_would_have_too_long_a_path_is_refused_before_anything_is_made(
    tmp_path: Path, strategy_folder: Path
) -> None:
    path = configuration(tmp_path, 1, strategy_folder)
    loaded = load_session(path, {"session.name": "n" * 120})
    with pytest.raises(ConfigError, match=r"too long, field session\.out, session\.name"):
        asyncio.run(run_session(loaded, lambda _: None))
    assert not loaded.place.exists()


def test_a_silent_feed_is_stale_although_the_socket_is_up(tmp_path: Path, strategy_folder: Path) -> None:
    async def play() -> None:
        async with SmallVenue(7) as venue:
            path = configuration(tmp_path, venue.port, strategy_folder, feed='stale_after = "200ms"')

            async def lived(process: LiveProcess, task: asyncio.Task[None]) -> None:
                await until(lambda: of_kind(process, rows.SNAPSHOT_END) >= 1 and not process.feed.stale, task)
                stale = of_kind(process, rows.FEED_STALE)
                venue.silent = True
                await until(lambda: of_kind(process, rows.FEED_STALE) > stale, task)
                assert process.feed.connected
                assert int(process.loop.node.decision["instruments"][0]["stale"]) == 1
                venue.silent = False
                await until(lambda: not process.feed.stale, task)
                assert int(process.loop.node.decision["instruments"][0]["stale"]) == 0

            await in_session(path, lived)

    asyncio.run(play())


def test_two_instances_of_one_session_cannot_run(tmp_path: Path, strategy_folder: Path) -> None:
    async def play() -> None:
        async with SmallVenue(8) as venue:
            path = configuration(tmp_path, venue.port, strategy_folder)

            async def lived(process: LiveProcess, task: asyncio.Task[None]) -> None:
                with pytest.raises(SessionError, match="in use by another process"):
                    await LiveProcess(load_session(path), lambda _: None).run()
                await until(lambda: process.loop.counts.facts > 50, task)

            await in_session(path, lived)

    asyncio.run(play())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("ws://127.0.0.1", "ws://example.org"), "wss://"),
        (("http://127.0.0.1", "http://example.org"), "https://"),
        (("rest =", 'backup_stream = "ws://example.org"\nrest ='), "wss://"),
        (("rest =", 'backup_rest = "http://127.0.0.1:1"\nrest ='), "backup_rest belongs to a backup_stream"),
        (("rest =", 'poll_every = "1ms"\nrest ='), "poll_every"),
        (('limits = "research"', ""), "no default limits"),
        (("[feed]", "[fed]"), "unknown key"),
        (("[feed]", "[orders]\n[feed]"), "a session on paper sends no orders"),
        (("[feed]", '[account]\ncash = "0"\n[feed]'), "without money every order is refused"),
        (("[session]", '[session]\nname = "../elsewhere"'), "the name of one folder"),
        (("[feed]", '[orders]\nprefix = "m-e"\n[feed]'), "one to four letters and digits"),
        (("[feed]", "[orders]\nleverage = 500\n[feed]"), "orders.leverage, expected at most 125"),
        (("stream = ", 'stream = "ftp://x" #'), "stream as wss://"),
        (("out =", 'mode = "live"\nout ='), "research limits are for backtests only"),
    ],
)
def test_a_dangerous_or_mistaken_configuration_is_refused(
    tmp_path: Path, strategy_folder: Path, change: tuple[str, str], message: str
) -> None:
    path = configuration(tmp_path, 1, strategy_folder)
    path.write_text(path.read_text().replace(*change))
    with pytest.raises(ConfigError, match=message):
        load_session(path)
