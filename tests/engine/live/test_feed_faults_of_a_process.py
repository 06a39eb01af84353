"""The catalogue's faults of networks and feeds against `twinloop live` as a process of its own, with real orders and two feeds behind relays.

tests/engine/live/test_feed_faults.py looks into each more closely, with the session inside the test's process. The whole of it takes a
minute: it runs with TWINLOOP_FAULTS=1, as the bar `faults` of benchmarks/bars has it.
"""

import asyncio
import os
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from reference.faulty_sessions import Scene
from reference.kills import Killed
from reference.processes import runs, started
from reference.stream_relay import StreamRelay

from twinloop.data import feed_codes as codes
from twinloop.data.binance_codes import GAP_UPDATE_IDS
from twinloop.engine.exchange.server import Server
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.live.parity import replay_journal
from twinloop.kernels import rows as table

pytestmark = pytest.mark.skipif(
    not os.environ.get("TWINLOOP_FAULTS"), reason="takes long: TWINLOOP_FAULTS=1 runs it, as the bar `faults` does"
)
Told = list[tuple[str, int]]


def perform(folder: Path, play: Callable[[Scene], Awaitable[None]]) -> Told:
    """Run a session that trades while `play` goes on; end it; compare all books and replay: what the node was told of its feeds, in order."""

    async def all_of_it() -> Scene:
        async with (
            Server(seed=4, turns_per_s=100) as server,
            StreamRelay(server.stream) as primary,
            StreamRelay(server.stream) as backup,
        ):
            scene = Scene(server, primary, backup, folder)
            async with started("live", str(scene.path)) as scene.live:
                await scene.until(lambda: runs(scene.place))
                await scene.well(2)
                await play(scene)
                await scene.well(2)
                assert await scene.live.end(signal.SIGTERM) == 0, scene.live.said
            Killed(server, scene.path, scene.place).assert_books_agree()
            return scene

    journal = asyncio.run(all_of_it()).place / "journal"
    found = replay_journal(journal)
    assert found.difference is None, str(found.difference)
    facts = [row for commit in open_journal(journal).each() for row in commit.facts]
    prints = [int(row["trade_id"]) for row in facts if int(row["kind"]) == table.TRADE]
    assert len(prints) == len(set(prints)) > 0, "every print comes once"
    levels = [
        tuple(int(row[name]) for name in ("update_id", "side", "price"))
        for row in facts
        if int(row["kind"]) == table.LEVEL
    ]
    assert len(levels) == len(set(levels)) > 0, "every update is applied once"
    return [
        (table.KIND_NAME[int(row["kind"])], int(row["code"]))
        for row in facts
        if table.FEED_GAP <= int(row["kind"]) <= table.FEED_RECOVERED
    ]  # fmt: skip


def switches(told: Told) -> list[int]:
    return [code for kind, code in told if kind == "FEED_SWITCHED"]


def test_n1_feeds_that_are_reset_are_stale_connect_again_and_go_on(tmp_path: Path) -> None:
    told = perform(tmp_path, Scene.lose_market)
    lost = told.index(("FEED_STALE", codes.STALE_LOST))
    assert ("FEED_GAP", codes.GAP_LOST) in told[lost:]
    assert told[-1][0] in {"FEED_RECOVERED", "FEED_SWITCHED"}
    assert ("FEED_RECOVERED", 0) in told[lost:]


def test_n2_feeds_whose_pings_are_answered_and_that_say_nothing_are_stale(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        for relay in scene.relays:
            relay.silent = True
        await scene.until(lambda: bool(scene.words()["feed_stale"]))
        assert scene.words()["feed_connected"]
        refused = scene.words()["refused"]
        await scene.until(lambda: scene.words()["refused"] > refused)
        for relay in scene.relays:
            relay.silent = False

    assert ("FEED_STALE", codes.STALE_SILENT) in perform(tmp_path, play)


def test_n2_n3_a_silent_feed_and_one_that_is_half_open_are_left_for_the_other(tmp_path: Path) -> None:
    """N2: its pings are answered. N3: nothing comes and nothing ends."""

    async def play(scene: Scene) -> None:
        for _ in range(2):  # The first time silent, then frozen.
            await scene.fail_over()
            await scene.well()

    told = perform(tmp_path, play)
    assert switches(told).count(codes.SWITCH_SILENT) == 2
    assert [kind for kind, _ in told].count("FEED_STALE") == 1, "only at the start"


def test_d1_an_update_that_both_feeds_lose_is_a_gap_and_the_book_is_taken_anew(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        for relay in scene.relays:
            relay.lose = 1
        await scene.until(lambda: all(relay.lose == 0 for relay in scene.relays))

    told = perform(tmp_path, play)
    assert ("FEED_GAP", GAP_UPDATE_IDS) in told or codes.SWITCH_BOOK in switches(told)


def test_d2_doubled_and_swapped_updates_are_applied_once(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        for relay in scene.relays:
            relay.double, relay.swap = 30, 1
        await scene.until(lambda: all(relay.double + relay.swap == 0 for relay in scene.relays))

    perform(tmp_path, play)


def test_d11_the_primary_dies_and_strategies_see_one_switch(tmp_path: Path) -> None:
    async def play(scene: Scene) -> None:
        await asyncio.sleep(1.5)  # Until the other has been fit for as long as it must.
        relay = scene.relays[scene.words()["feed_source"] == codes.BACKUP]
        before = scene.words()["feed_switches"]
        relay.refuse = True
        relay.reset()
        await scene.until(lambda: scene.words()["feed_switches"] > before)
        relay.refuse = False  # The user stream passes here too.
        await scene.well(4)

    told = perform(tmp_path, play)
    assert switches(told) == [codes.SWITCH_LOST]
    assert [kind for kind, _ in told].count("FEED_STALE") == 1, "only at the start"
