"""The sidecar beside a real session on real sockets: a mute session sends nothing more, and nothing of it works on."""

import asyncio
import json
import resource
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from reference.live_sessions import live_file
from reference.processes import Child, runs, started, until, words_of

from twinloop.data.atomic import make_folder
from twinloop.engine.exchange.model import OPEN
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.gateway.client_ids import ClientIds
from twinloop.engine.journal.archive_index import parquet_path, read_index
from twinloop.engine.journal.snapshot import snapshots_of
from twinloop.engine.live.config import load_session
from twinloop.engine.live.measured import COUNTERS, SIDECAR_WORDS, sidecar_status
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.shared import ENDED, RUNNING, SESSION, SIDECAR, SharedReader, SharedWords
from twinloop.engine.seam import WORLD
from twinloop.engine.sidecar.process import CANCELLING, PROVEN, Sidecar
from twinloop.engine.sidecar.watchdog import MUTE

Beside = Callable[[Server, Child, Child, Path], Awaitable[None]]


def working(server: Server) -> list[Any]:
    account = server.exchanges["usdm"].accounts[PRACTICE_KEY]
    return [order for order in account.orders.values() if order.status in OPEN]


def alarms(place: Path) -> list[dict[str, Any]]:
    path = place / "sidecar" / "alarms.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def told(place: Path, words: str) -> bool:
    return any(words in alarm["what"] for alarm in alarms(place))


def sidecar_words(place: Path) -> dict[str, int]:
    reader = SharedReader(place / SIDECAR_WORDS, SIDECAR)
    try:
        return reader.read() or dict.fromkeys(SIDECAR, 0)
    finally:
        reader.close()


@asynccontextmanager
async def webhook() -> AsyncIterator[tuple[str, list[dict[str, Any]]]]:
    taken: list[dict[str, Any]] = []

    async def take(request: web.Request) -> web.Response:
        taken.append(await request.json())
        return web.Response()

    app = web.Application()
    app.router.add_post("/hook", take)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}/hook", taken
    await runner.cleanup()


def beside(folder: Path, quoter: Path, play: Beside, **options: Any) -> None:
    """Run a session with a sidecar until it quotes on both sides, then play."""

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=50) as server:
            path = str(live_file(folder, server.port, quoter, **options))
            place = folder / "sessions" / "live"
            async with started("sidecar", path) as sidecar, started("live", path) as live:
                await until(lambda: len(working(server)) >= 2 and runs(place), live, sidecar)
                await until(
                    lambda: sidecar_words(place)["watched_instance"] == words_of(place)["instance"], live, sidecar
                )
                await play(server, live, sidecar, place)

    asyncio.run(all_of_it())


def test_a_stopped_session_is_fenced_ended_and_its_orders_cancelled(tmp_path: Path, quoter: Path) -> None:
    async def play(server: Server, live: Child, sidecar: Child, place: Path) -> None:
        instance = words_of(place)["instance"]
        live.process.send_signal(signal.SIGSTOP)
        await until(lambda: told(place, "every order of the session is cancelled"), sidecar)
        assert working(server) == []
        assert await live.end() == -signal.SIGKILL  # It never runs again, so it can never send again.
        orders = len(server.exchanges["usdm"].accounts[PRACTICE_KEY].orders)
        assert sidecar_words(place)["fenced_instance"] == instance
        mute = next(alarm for alarm in alarms(place) if "is mute" in alarm["what"])
        assert mute["severity"] == "critical"
        assert mute["where"] == str(place)
        assert len(server.exchanges["usdm"].accounts[PRACTICE_KEY].orders) == orders
        assert await sidecar.end(signal.SIGTERM) == 0
        assert PRACTICE_SECRET not in sidecar.said + json.dumps(alarms(place))

    beside(tmp_path, quoter, play, mute_after="3s")
    assert replay_journal(tmp_path / "sessions" / "live" / "journal").difference is None


def test_a_strategy_that_never_returns_is_ended_and_told_within_five_seconds(tmp_path: Path, quoter: Path) -> None:
    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=50) as server, webhook() as (url, taken):
            path = str(live_file(tmp_path, server.port, quoter, hangs_after=15, mute_after="1s"))
            place = tmp_path / "sessions" / "live"
            async with (
                started("sidecar", path, env={"TWINLOOP_WEBHOOK": url}) as sidecar,
                started("live", path) as live,
            ):
                await until(lambda: len(working(server)) >= 2, live, sidecar)
                await until(lambda: any("cancelled, proven" in alarm["what"] for alarm in taken), sidecar)
                assert working(server) == []
                assert await live.end() == -signal.SIGKILL
                mute = next(alarm for alarm in taken if "is mute" in alarm["what"])
                last_ns = words_of(place)["mono_ns"]
                assert mute["mono_ns"] - last_ns < 5_000_000_000
                assert sidecar_words(place)["late"] == 0
                assert await sidecar.end(signal.SIGTERM) == 0
                assert url not in sidecar.said

    asyncio.run(all_of_it())


def test_p5_a_strategy_that_raises_is_halted_alone_and_told(tmp_path: Path, quoter: Path) -> None:
    """Over a restart too, until a person resumes; then it is called again, and raises again."""
    place = tmp_path / "sessions" / "live"
    path = live_file(tmp_path, 0, quoter, hangs_after=-12)

    def of_quoter(server: Server) -> list[Any]:
        ids = ClientIds("tl")
        orders = server.exchanges["usdm"].accounts[PRACTICE_KEY].orders.values()
        return [order for order in orders if (parsed := ids.parse(order.client_id)) and parsed.strategy == 0]

    def errors() -> list[dict[str, Any]]:
        file = place / "strategy-errors.jsonl"
        return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []

    async def goes_on_alone(server: Server, *children: Child) -> None:
        await until(lambda: not [order for order in of_quoter(server) if order.status in OPEN], *children)
        count, wanted = len(of_quoter(server)), words_of(place)["fills"] + 3
        await until(lambda: words_of(place)["fills"] >= wanted and words_of(place)["trading_state"] == 0, *children)
        assert len(of_quoter(server)) == count, "nothing of the halted strategy is sent"

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=50) as server:
            text = live_file(tmp_path, server.port, quoter, hangs_after=-12).read_text()
            path.write_text(
                f'{text}\n[[strategy]]\npath = "{quoter.with_name("busy.py")}:Busy"\nparameters = {{ qty = 5 }}\n'
            )
            async with started("sidecar", str(path)) as sidecar:
                async with started("live", str(path)) as live:
                    await until(lambda: told(place, "STRATEGY_FAILED"), live, sidecar)
                    await goes_on_alone(server, live, sidecar)
                    assert await live.end(signal.SIGTERM) == 0
                    assert "strategy Quoter is halted by its own error" in live.said
                assert (
                    next(alarm for alarm in alarms(place) if "STRATEGY_FAILED" in alarm["what"])["severity"]
                    == "critical"
                )
                (error,) = errors()
                assert "planted" in error["error"]
                async with started("live", str(path)) as live:
                    await until(lambda: runs(place) and words_of(place)["fills"] > 0, live, sidecar)
                    await goes_on_alone(server, live, sidecar)
                    async with started("ctl", "status", str(place), "--json") as ctl:
                        assert await ctl.end() == 0
                    states = [(each["name"], each["state"]) for each in json.loads(ctl.said)["strategies"]]
                    assert states == [("Quoter", "HALTED"), ("Busy", "ACTIVE")]
                    async with started("ctl", "resume", str(place)) as ctl:
                        assert await ctl.end() == 0
                    await until(lambda: len(errors()) == 2, live, sidecar)
                    await goes_on_alone(server, live, sidecar)
                    assert await live.end(signal.SIGTERM) == 0
                assert await sidecar.end(signal.SIGTERM) == 0
            assert working(server) == []

    asyncio.run(all_of_it())
    found = replay_journal(place / "journal")
    assert found.difference is None, str(found.difference)


def test_a_session_that_ends_by_an_error_leaves_no_order_working(tmp_path: Path, quoter: Path) -> None:
    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=50) as server:
            path = str(live_file(tmp_path, server.port, quoter))
            place = tmp_path / "sessions" / "live"
            async with started("sidecar", path) as sidecar, started("live", path) as live:
                await until(lambda: len(working(server)) >= 2, live, sidecar)
                limit = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
                resource.prlimit(live.process.pid, resource.RLIMIT_FSIZE, (1, limit))  # No file takes a byte more.
                assert await live.end() != 0
                assert "File too large" in live.said
                await until(lambda: told(place, "every order of the session is cancelled"), sidecar)
                assert told(place, "ended by an error")
                assert working(server) == []
                assert server.exchanges["usdm"].accounts[PRACTICE_KEY].orders
                assert await sidecar.end(signal.SIGTERM) == 0

    asyncio.run(all_of_it())


def test_what_a_sidecar_that_died_had_begun_to_cancel_the_next_one_cancels(tmp_path: Path, quoter: Path) -> None:
    """And what was proven is not begun again."""

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=50) as server:
            path = str(live_file(tmp_path, server.port, quoter))
            place = tmp_path / "sessions" / "live"
            async with started("live", path) as live:
                await until(lambda: len(working(server)) >= 2 and runs(place), live)
                assert await live.end(signal.SIGKILL) == -signal.SIGKILL
            died = SharedWords(place / SIDECAR_WORDS, SIDECAR)
            died.publish({"fenced_instance": words_of(place)["instance"], "cancel_outcome": CANCELLING})
            died.close()
            for _ in range(2):
                async with started("sidecar", path) as sidecar:
                    number = sidecar.process.pid

                    def is_mute(number: int = number) -> bool:
                        words = sidecar_words(place)
                        return (words["pid"], words["watch"]) == (number, MUTE)

                    await until(is_mute, sidecar)
                    await until(lambda: sidecar_words(place)["cancel_outcome"] == PROVEN, sidecar)
                    assert working(server) == []
                    assert await sidecar.end(signal.SIGTERM) == 0
            cancelled = [each for each in alarms(place) if "every order of the session is cancelled" in each["what"]]
            assert len(cancelled) == 1

    asyncio.run(all_of_it())


@pytest.mark.parametrize("gone", ["mute", "failed"])
def test_what_was_proven_of_one_instance_is_never_said_of_the_next(
    tmp_path: Path, quoter: Path, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    """A sidecar that died in that moment would take the next one's orders for cancelled when it is started again."""
    monkeypatch.setenv("TWINLOOP_CANCEL_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_CANCEL_SECRET", PRACTICE_SECRET)
    loaded = load_session(live_file(tmp_path, 1, quoter))
    make_folder(loaded.place)
    before = SharedWords(loaded.place / SIDECAR_WORDS, SIDECAR)
    before.publish({"fenced_instance": 1, "cancel_outcome": PROVEN})
    before.close()
    session = SharedWords(loaded.place / COUNTERS, SESSION)
    session.publish(
        {"instance": 2, "phase": ENDED, "failed": 1} if gone == "failed" else {"instance": 2, "phase": RUNNING}
    )
    said: list[tuple[int, int]] = []

    async def all_of_it() -> None:
        sidecar = Sidecar(loaded, lambda _: None)
        values, asked = sidecar.values, asyncio.Event()

        def noted() -> dict[str, int]:
            found = values()
            said.append((found["fenced_instance"], found["cancel_outcome"]))
            if said[-1][0] == 2:
                asked.set()
            return found

        monkeypatch.setattr(sidecar, "values", noted)
        monkeypatch.setattr(sidecar.fence, "exited", lambda _: True)
        monkeypatch.setattr(sidecar.fence, "close_to", lambda _: True)
        running = asyncio.create_task(sidecar.run())
        async with asyncio.timeout(30):
            await asked.wait()
        sidecar.stopping.set()
        await running

    asyncio.run(all_of_it())
    session.close()
    assert (2, PROVEN) not in said


def test_a_session_that_ends_in_order_is_no_alarm_and_one_that_is_killed_goes_on(tmp_path: Path, quoter: Path) -> None:
    async def play(server: Server, live: Child, sidecar: Child, place: Path) -> None:
        await until(lambda: bool(snapshots_of(place / "journal")), live, sidecar)
        assert sidecar_status(place, WORLD.monotonic_ns())["sidecar"] == "watches"
        assert await live.end(signal.SIGTERM) == 0
        await until(lambda: told(place, "halted because it ends"), sidecar)
        assert not told(place, "is mute")
        # Killed, and started again at once: the new instance's orders are left to it.
        path = str(tmp_path / "live.toml")
        async with started("live", path) as second:
            await until(lambda: runs(place) and len(working(server)) >= 2, second, sidecar)
            instance = words_of(place)["instance"]
            await until(lambda: sidecar_words(place)["watched_instance"] == instance, second, sidecar)
            await second.end(signal.SIGKILL)
        await until(lambda: told(place, "its process is gone"), sidecar)
        async with started("live", path) as third:
            await until(lambda: runs(place, instance) and words_of(place)["trading_state"] == 0, third, sidecar)
            await until(lambda: len(working(server)) >= 2, third, sidecar)
            assert await third.end(signal.SIGTERM) == 0
            assert "by a snapshot" in third.said
        assert working(server) == []
        assert await sidecar.end(signal.SIGTERM) == 0

    beside(tmp_path, quoter, play)
    found = replay_journal(tmp_path / "sessions" / "live" / "journal")
    assert found.difference is None, str(found.difference)


def test_metrics_are_served_on_this_machine(tmp_path: Path, quoter: Path, unused_port: int) -> None:
    async def play(server: Server, live: Child, sidecar: Child, place: Path) -> None:
        del server
        await until(lambda: sidecar_words(place)["shadow_on"] == 1, live, sidecar)
        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{unused_port}/metrics") as answer:
            text = await answer.text()
        values = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
        assert float(values["twinloop_session_facts"]) > 0
        assert 0 <= float(values["twinloop_session_heartbeat_age_seconds"]) < 60
        assert float(values["twinloop_sidecar_commit"]) >= 0
        assert float(values["twinloop_sidecar_shadow_on"]) == 1
        assert "twinloop_sidecar_gap_profit" in values
        assert "twinloop_session_pid" not in values
        assert await live.end(signal.SIGTERM) == 0
        assert await sidecar.end(signal.SIGTERM) == 0

    beside(tmp_path, quoter, play, more=f"metrics_port = {unused_port}")


def test_a_sidecar_of_real_orders_needs_its_own_key(tmp_path: Path, quoter: Path) -> None:
    async def all_of_it() -> None:
        path = str(live_file(tmp_path, 1, quoter))
        async with started("sidecar", path, env={"TWINLOOP_CANCEL_KEY": ""}) as sidecar:
            assert await sidecar.end() == 2
            assert "$TWINLOOP_CANCEL_KEY" in sidecar.said

    asyncio.run(all_of_it())


# Runs the sidecar's command two days in the future as its retention sees it, with a round every half second.
LATER = """
import twinloop.engine.sidecar.process as process
import twinloop.engine.sidecar.retention as retention
from twinloop.engine.cli import main
from twinloop.engine.seam import WORLD

class Later:
    @staticmethod
    def wall_ns():
        return WORLD.wall_ns() + 2 * 86_400_000_000_000

retention.WORLD = Later
process.RETAIN_S = 0.5
main()
"""


def test_segments_are_archived_copied_and_retired_beside_a_session_that_runs_and_goes_on(
    tmp_path: Path, quoter: Path
) -> None:
    """Also after a kill: the next start needs nothing that went. With the copies all of it replays, without them what is left."""
    place, copies = tmp_path / "sessions" / "live", tmp_path / "copies"

    async def all_of_it() -> None:
        async with Server(seed=4, turns_per_s=200) as server:
            path = live_file(tmp_path, server.port, quoter)
            path.write_text(f'{path.read_text()}\n[journal]\narchive = "{copies}"\nkeep_days = 1\n')
            async with started("sidecar", str(path), command=LATER) as sidecar:
                async with started("live", str(path)) as live:
                    await until(lambda: sidecar_words(place)["retired"] >= 1, live, sidecar)
                    assert words_of(place)["trading_state"] == 0
                    assert await live.end(signal.SIGKILL) == -signal.SIGKILL
                instance = words_of(place)["instance"]
                async with started("live", str(path)) as live:
                    await until(lambda: runs(place, instance), live, sidecar)
                    assert await live.end(signal.SIGTERM) == 0
                assert await sidecar.end(signal.SIGTERM) == 0
            assert sidecar_words(place)["retention_failed"] == 0, [each["what"] for each in alarms(place)]
            assert not told(place, "cannot be archived")

    asyncio.run(all_of_it())
    journal = place / "journal"
    gone = {entry.segment for entry in read_index(journal) if not parquet_path(journal, entry.segment).exists()}
    assert gone
    assert gone <= {int(each.stem.partition("-")[2]) for each in (copies / "live").iterdir()}, "each has a copy"
    whole = replay_journal(journal, copies=copies / "live")
    assert whole.difference is None, str(whole.difference)
    rest = replay_journal(journal)
    assert rest.difference is None, str(rest.difference)
    assert 0 < rest.facts < whole.facts
