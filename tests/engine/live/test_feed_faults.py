"""The catalogue's faults of networks and feeds, by name, against a real session on real sockets; every journal replays bit for bit."""

import asyncio
import gzip
import json
import os
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from reference import sessions
from reference.live_config import LIMITS
from reference.sessions import until
from reference.stream_relay import StreamRelay

from twinloop.data import feed_codes as codes
from twinloop.data.binance_codes import GAP_UPDATE_IDS
from twinloop.engine.exchange.model import OPEN
from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess
from twinloop.kernels import rows as table

Task = asyncio.Task[None]
Play = Callable[["Stage", LiveProcess, Task], Awaitable[None]]
TURNS_PER_S = 60
# What a busy machine brings about by itself: messages that come late, and gaps between them. Tests of either say otherwise.
PATIENT = {"lag_max": "0s", "late_after": "1h", "stale_after": "60s"}
LEARNED = 'stale_after = "0s"'


class Stage:
    """An exchange, a relay for each feed, and what the session wrote in its journal."""

    def __init__(self, folder: Path, server: Server, primary: StreamRelay, backup: StreamRelay) -> None:
        self.folder = folder
        self.server = server
        self.primary = primary
        self.backup = backup

    def facts(self) -> list[Any]:
        journal = next((self.folder / "sessions").iterdir()) / "journal"
        return [row for commit in open_journal(journal).each() for row in commit.facts]

    def told(self) -> list[tuple[str, int, int]]:
        """Kind, code and source of every row of the feed's state, in order."""
        return [
            (table.KIND_NAME[int(row["kind"])], int(row["code"]), int(row["source"]))
            for row in self.facts()
            if table.FEED_GAP <= int(row["kind"]) <= table.FEED_RECOVERED
        ]

    def roles(self, process: LiveProcess) -> tuple[StreamRelay, StreamRelay, int]:
        """The relay of the feed that is active, that of the standby, and the standby's source."""
        if process.feed.arbiter.source == codes.PRIMARY:
            return self.primary, self.backup, codes.BACKUP
        return self.backup, self.primary, codes.PRIMARY

    def assert_prints_come_once(self) -> None:
        numbers = [int(row["trade_id"]) for row in self.facts() if int(row["kind"]) == table.TRADE]
        assert len(numbers) > 5
        assert [number for number, count in Counter(numbers).items() if count > 1] == []

    def assert_no_print_is_missing(self, *, late: int) -> None:
        """By the venue's ids; at least so many came late, and nothing was asked for by one of those."""
        facts = [row for row in self.facts() if int(row["kind"]) == table.TRADE]
        numbers = [int(row["trade_id"]) for row in facts]
        assert numbers == list(range(numbers[0], numbers[-1] + 1))
        came_late = {int(row["sequence"]) for row in facts if int(row["flags"]) & table.FLAG_LATE}
        assert len(came_late) >= late
        journal = next((self.folder / "sessions").iterdir()) / "journal"
        asked = {
            int(row["sequence"])
            for commit in open_journal(journal).each()
            for row in commit.requests
            if int(row["kind"]) == table.NEW
        }
        assert asked
        assert not asked & came_late


def configuration(
    folder: Path, strategy_folder: Path, server: Server, primary: str, backup: str, *, mode: str, feed: str
) -> Path:
    path = folder / f"{mode}.toml"
    second = f'backup_stream = "{backup}"' if backup else ""
    limits = 'limits = "research"' if mode == "paper" else ""
    orders = "" if mode == "paper" else f"{LIMITS}\n[orders]\n"
    path.write_text(
        f"""
{limits}

[session]
mode = "{mode}"
out = "{folder / "sessions"}"
durability = "{"async" if mode == "paper" else "group"}"

[feed]
venue = "binance-usdm"
symbols = ["BTCUSDT"]
stream = "{primary}"
rest = "http://127.0.0.1:{server.port}"
{second}
{feed}

{orders}
[[strategy]]
path = "{strategy_folder / "busy.py"}:Busy"
"""
    )
    return path


def perform(
    folder: Path, strategy_folder: Path, play: Play, *, two: bool = False, mode: str = "paper", feed: str = "",
    other_venue: bool = False,
) -> Stage:  # fmt: skip
    """Run a session while `play` goes on, stop it in order, and hold that its journal replays."""

    async def all_of_it() -> Stage:
        async with (
            Server(seed=4, turns_per_s=TURNS_PER_S) as server,
            AsyncExitStack() as more_venues,
        ):
            more, port = feed, server.port
            if other_venue:
                other = await more_venues.enter_async_context(Server(seed=5, turns_per_s=TURNS_PER_S))
                other.faults.arm("offset_prices", -1)
                more, port = f'{feed}\nbackup_rest = "http://127.0.0.1:{other.port}"', other.port
            primary = await more_venues.enter_async_context(StreamRelay(f"ws://127.0.0.1:{server.port}"))
            backup = await more_venues.enter_async_context(StreamRelay(f"ws://127.0.0.1:{port}"))
            stage = Stage(folder, server, primary, backup)
            more += "".join(f'\n{key} = "{value}"' for key, value in PATIENT.items() if f"{key} =" not in feed)
            path = configuration(
                folder, strategy_folder, server, primary.address, backup.address if two else "", mode=mode, feed=more
            )
            await sessions.in_session(path, [], lambda process, task: play(stage, process, task))
            return stage

    stage = asyncio.run(all_of_it())
    found = replay_journal(next((folder / "sessions").iterdir()) / "journal")
    assert found.difference is None, str(found.difference)
    assert found.requests >= 1
    return stage


def of_kind(process: LiveProcess, kind: int) -> int:
    return process.loop.counts.by_kind.get(kind, 0)


def told_so_far(process: LiveProcess) -> int:
    """Rows of the feed's state that the node has been told."""
    return sum(of_kind(process, kind) for kind in range(table.FEED_GAP, table.FEED_RECOVERED + 1))


async def well(process: LiveProcess, task: Task, *, prints: int = 20) -> None:
    """Until the market is fresh and some more prints came."""
    await until(lambda: not process.feed.stale, task)
    before = of_kind(process, table.TRADE)
    await until(lambda: of_kind(process, table.TRADE) >= before + prints, task)


async def both_fit(process: LiveProcess, task: Task) -> None:
    """Until the standby has a book, has been well for a while, and both cadences are learned."""
    await until(lambda: len(process.feed.arbiter.legs) == 2, task)
    legs = process.feed.arbiter.legs
    await until(
        lambda: (
            all(leg.fit_since_ns and leg.books[0].expected_ns for leg in legs)
            and process.clock.local_ns() - max(leg.fit_since_ns for leg in legs) > process.feed.arbiter.settings.fit_ns
        ),
        task,
    )


def test_n1_a_feed_that_is_reset_is_stale_connects_again_and_goes_on(tmp_path: Path, strategy_folder: Path) -> None:
    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        await well(process, task)
        stale = of_kind(process, table.FEED_STALE)
        stage.primary.reset()
        await until(lambda: of_kind(process, table.FEED_STALE) > stale, task)
        await well(process, task)
        assert stage.primary.connects == 2

    stage = perform(tmp_path, strategy_folder, play)
    assert stage.told() == [
        ("FEED_STALE", codes.STALE_START, 0), ("FEED_GAP", codes.GAP_START, 0), ("FEED_RECOVERED", 0, 0),
        ("FEED_STALE", codes.STALE_LOST, 0), ("FEED_GAP", codes.GAP_LOST, 0), ("FEED_RECOVERED", 0, 0),
    ]  # fmt: skip
    stage.assert_prints_come_once()


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_what_traded_without_a_connection_comes_late_and_no_order_is_decided_by_it(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)

    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        await well(process, task)
        stage.primary.refuse = True
        stage.primary.reset()
        trades = stage.server.exchanges["usdm"].markets["BTCUSDT"].trades
        before = len(trades)
        await until(lambda: len(trades) >= before + 20, task)
        stage.primary.refuse = False
        await until(lambda: process.feed.arbiter.late_prints >= 15, task)
        await well(process, task)

    stage = perform(tmp_path, strategy_folder, play, mode=mode, feed='poll_after = "0s"')
    stage.assert_no_print_is_missing(late=15)


def test_what_traded_while_a_session_was_away_comes_at_its_own_time(tmp_path: Path, strategy_folder: Path) -> None:
    said: list[str] = []

    async def play(process: LiveProcess, task: Task) -> None:
        await well(process, task)

    async def all_of_it() -> Stage:
        async with Server(seed=4, turns_per_s=TURNS_PER_S) as server:
            address = f"ws://127.0.0.1:{server.port}"
            path = configuration(tmp_path, strategy_folder, server, address, "", mode="paper", feed="")
            await sessions.in_session(path, said, play)
            trades = server.exchanges["usdm"].markets["BTCUSDT"].trades
            before = len(trades)
            away = asyncio.create_task(asyncio.sleep(60))
            await until(lambda: len(trades) >= before + 30, away)
            away.cancel()
            await sessions.in_session(path, said, play)
            return Stage(tmp_path, server, None, None)  # type: ignore[arg-type]

    stage = asyncio.run(all_of_it())
    stage.assert_no_print_is_missing(late=20)
    assert any("trades that were missed meanwhile" in line for line in said)
    assert not any("have a hole" in line for line in said)
    late = [row for row in stage.facts() if int(row["kind"]) == table.TRADE and int(row["flags"]) & table.FLAG_LATE]
    assert int(late[-1]["local_ns"]) - int(late[0]["local_ns"]) > 100_000_000, "as far apart as they traded"
    found = replay_journal(next((tmp_path / "sessions").iterdir()) / "journal")
    assert found.difference is None, str(found.difference)


def test_n2_a_silent_feed_whose_pings_are_answered_is_stale_and_is_replaced(
    tmp_path: Path, strategy_folder: Path
) -> None:
    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        await well(process, task)
        stage.primary.silent = True
        await until(lambda: process.feed.stale, task)
        assert process.feed.connected
        assert stage.primary.connects == 1
        refused = process.loop.counts.refused
        await until(lambda: process.loop.counts.refused > refused, task)
        await until(lambda: stage.primary.connects >= 2, task)  # The socket was fine; the data was not.
        stage.primary.silent = False
        await well(process, task)

    stage = perform(tmp_path, strategy_folder, play, feed=f'poll_after = "0s"\n{LEARNED}')
    told = stage.told()
    assert ("FEED_RECOVERED", 0, 0) in told[told.index(("FEED_STALE", codes.STALE_SILENT, 0)) :]
    stage.assert_prints_come_once()


def test_n2_a_silent_feed_is_left_for_the_other_without_being_stale(tmp_path: Path, strategy_folder: Path) -> None:
    seen: list[int] = []

    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        await both_fit(process, task)
        active, _, other = stage.roles(process)
        seen.extend([told_so_far(process), other])
        active.silent = True
        await until(lambda: process.feed.arbiter.source == other, task)
        await well(process, task)

    stage = perform(tmp_path, strategy_folder, play, two=True, feed=LEARNED)
    so_far, other = seen
    assert stage.told()[so_far] == ("FEED_SWITCHED", codes.SWITCH_SILENT, other), "nothing else came before"
    stage.assert_prints_come_once()


def test_n3_a_half_open_feed_is_left_and_replaced(tmp_path: Path, strategy_folder: Path) -> None:
    """Nothing comes and nothing ends: no data, no pong, no FIN."""

    seen: list[int] = []

    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        await both_fit(process, task)
        active, _, other = stage.roles(process)
        seen.extend([told_so_far(process), other])
        connects = active.connects
        active.frozen = True
        await until(lambda: process.feed.arbiter.source == other, task)
        await well(process, task)
        await until(lambda: active.connects > connects, task)
        active.frozen = False
        await both_fit(process, task)

    stage = perform(tmp_path, strategy_folder, play, two=True, feed=LEARNED)
    so_far, other = seen
    assert stage.told()[so_far] == ("FEED_SWITCHED", codes.SWITCH_SILENT, other), "it was left before it was stale"
    stage.assert_prints_come_once()


def test_d1_a_lost_update_is_a_gap_and_the_book_is_taken_anew(tmp_path: Path, strategy_folder: Path) -> None:
    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        await well(process, task)
        for fault in ("lose", "corrupt"):
            books = of_kind(process, table.SNAPSHOT_END)
            setattr(stage.primary, fault, 1)
            await until(lambda books=books: of_kind(process, table.SNAPSHOT_END) > books, task)  # type: ignore[misc]
            await well(process, task)
        node_book = process.loop.node.decision["instruments"][0]
        assert 0 < int(node_book["bid"]) < int(node_book["ask"])

    stage = perform(tmp_path, strategy_folder, play)
    gaps = [code for kind, code, _ in stage.told() if kind == "FEED_GAP"]
    assert gaps == [codes.GAP_START, GAP_UPDATE_IDS, GAP_UPDATE_IDS]
    stage.assert_prints_come_once()


def test_d2_doubled_and_old_updates_are_applied_once(tmp_path: Path, strategy_folder: Path) -> None:
    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        await well(process, task)
        stage.primary.double = 30
        await until(lambda: stage.primary.double == 0, task)
        await well(process, task)
        gaps = of_kind(process, table.FEED_GAP)
        stage.primary.swap = 1  # One comes after its successor: a gap, and then an old one.
        await until(lambda: of_kind(process, table.FEED_GAP) > gaps, task)
        await well(process, task)

    stage = perform(tmp_path, strategy_folder, play)
    updates = [
        (int(row["update_id"]), int(row["side"]), int(row["price"]))
        for row in stage.facts()
        if int(row["kind"]) == table.LEVEL
    ]
    assert len(updates) == len(set(updates))
    assert [code for kind, code, _ in stage.told() if kind == "FEED_GAP"][:2] == [
        codes.GAP_START, GAP_UPDATE_IDS
    ]  # fmt: skip


def test_d11_the_primary_dies_and_strategies_see_one_switch(tmp_path: Path, strategy_folder: Path) -> None:
    seen: list[int] = []

    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        await both_fit(process, task)
        active, _, other = stage.roles(process)
        seen.extend([told_so_far(process), other])
        active.refuse = True
        active.reset()
        await until(lambda: process.feed.arbiter.source == other, task)
        fills = process.loop.counts.fills
        await until(lambda: process.loop.counts.fills > fills, task)
        await well(process, task, prints=100)

    stage = perform(tmp_path, strategy_folder, play, two=True)
    so_far, other = seen
    assert stage.told()[so_far:] == [("FEED_SWITCHED", codes.SWITCH_LOST, other)]
    stage.assert_prints_come_once()
    numbers = [int(row["trade_id"]) for row in stage.facts() if int(row["kind"]) == table.TRADE]
    assert numbers == list(range(numbers[0], numbers[-1] + 1)), "no print is lost on the way from one to the other"


def test_d12_a_flapping_feed_is_not_taken(tmp_path: Path, strategy_folder: Path) -> None:
    seen: list[int] = []

    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        await both_fit(process, task)
        seen.append(told_so_far(process))
        _, standby, _ = stage.roles(process)
        for _ in range(4):
            connects = standby.connects
            standby.reset()
            await until(lambda connects=connects: standby.connects > connects, task)  # type: ignore[misc]
        await well(process, task)

    stage = perform(tmp_path, strategy_folder, play, two=True)
    assert stage.told()[seen[0] :] == []


def test_d12_feeds_that_disagree_about_the_price_are_stale(tmp_path: Path, strategy_folder: Path) -> None:
    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        del stage
        await until(lambda: bool(process.feed.arbiter.disagreeing) and process.feed.stale, task)
        refused = process.loop.counts.refused
        await until(lambda: process.loop.counts.refused > refused, task)

    stage = perform(tmp_path, strategy_folder, play, two=True, other_venue=True, feed="disagree_bps = 20")
    assert ("FEED_STALE", codes.STALE_DISAGREE, 0) in stage.told()


def test_n4_a_feed_that_becomes_slow_is_left_for_the_faster_one(tmp_path: Path, strategy_folder: Path) -> None:
    seen: list[int] = []

    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        await both_fit(process, task)
        active, _, other = stage.roles(process)
        seen.extend([told_so_far(process), other])
        active.delay_s = 0.4
        await until(lambda: process.feed.arbiter.source == other, task)
        await well(process, task)

    stage = perform(tmp_path, strategy_folder, play, two=True, feed='late_after = "100ms"\ndwell = "1s"')
    so_far, other = seen
    assert stage.told()[so_far] == ("FEED_SWITCHED", codes.SWITCH_LATE, other), "it was left before it was stale"
    stage.assert_prints_come_once()


def test_n4_a_feed_that_becomes_slow_is_stale_where_there_is_no_other(tmp_path: Path, strategy_folder: Path) -> None:
    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        await well(process, task, prints=60)
        stage.primary.delay_s = 2.0
        await until(lambda: process.feed.stale, task)
        refused = process.loop.counts.refused
        await until(lambda: process.loop.counts.refused > refused, task)
        stage.primary.delay_s = 0.0
        await well(process, task)

    stage = perform(tmp_path, strategy_folder, play, feed='lag_max = "1s"')
    told = stage.told()
    assert ("FEED_RECOVERED", 0, 0) in told[told.index(("FEED_STALE", codes.STALE_LATE, 0)) :]


@pytest.mark.parametrize("how", ["age", "notice"])
def test_a_connection_is_replaced_before_the_venue_cuts_it(tmp_path: Path, strategy_folder: Path, how: str) -> None:
    """V19 of the market's side: a second connection stands before the first one goes, by its age or by the venue's notice."""

    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        await well(process, task)
        if how == "notice":
            await stage.primary.inject(['{"e":"serverShutdown","E":1700000000000}'])
        switches = process.feed.arbiter.switches
        await until(lambda: process.feed.arbiter.switches > switches, task)
        await until(lambda: stage.primary.open_markets == 1, task)
        await well(process, task)

    stage = perform(tmp_path, strategy_folder, play, feed='rotate_after = "6s"' if how == "age" else "")
    told = stage.told()
    rotated = ("FEED_SWITCHED", codes.SWITCH_ROTATED, codes.PRIMARY)
    assert rotated in told
    assert [each for each in told if each != rotated] == [
        ("FEED_STALE", codes.STALE_START, 0), ("FEED_GAP", codes.GAP_START, 0), ("FEED_RECOVERED", 0, 0),
    ]  # fmt: skip
    stage.assert_prints_come_once()


def test_prices_are_asked_for_while_nothing_streams(tmp_path: Path, strategy_folder: Path) -> None:
    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        await well(process, task)
        stage.primary.refuse = True
        stage.primary.reset()
        books = of_kind(process, table.SNAPSHOT_END)
        await until(lambda: of_kind(process, table.SNAPSHOT_END) >= books + 3, task)
        assert process.feed.stale
        assert int(process.loop.node.decision["instruments"][0]["stale"]) == 1
        stage.primary.refuse = False
        await well(process, task)

    stage = perform(tmp_path, strategy_folder, play, feed='poll_after = "500ms"\npoll_every = "500ms"')
    told = stage.told()[3:]
    assert told == [
        ("FEED_STALE", codes.STALE_LOST, 0), ("FEED_GAP", codes.GAP_LOST, 0),
        ("FEED_SWITCHED", codes.SWITCH_POLLED, codes.POLLED), ("FEED_SWITCHED", codes.SWITCH_BACK, codes.PRIMARY),
        ("FEED_RECOVERED", 0, codes.PRIMARY),
    ]  # fmt: skip
    stage.assert_prints_come_once()


def recorded_peak() -> int:
    """Depth updates and prints in the busiest second of the busiest recording."""
    path = Path(os.environ["TWINLOOP_REAL_DATA"]) / "binance-raw-ws" / "usdm_btcusdt_20240808.gz"
    seconds: Counter[int] = Counter()
    with gzip.open(path) as lines:
        for line in lines:
            if b"@depth" in line[:90] or b"@trade" in line[:90]:
                seconds[int(line[:10])] += 1
    return max(seconds.values())


@pytest.mark.skipif("TWINLOOP_REAL_DATA" not in os.environ, reason="the recorded peak is that of a real recording")
def test_d13_no_own_event_is_lost_in_a_burst_of_twenty_times_the_recorded_peak(
    tmp_path: Path, strategy_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Real orders on the exchange while its market floods the session: every order and fill of its ledger is in the node's."""
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)
    count = 20 * recorded_peak()
    assert count > 30_000
    kept: list[LiveProcess] = []

    async def play(stage: Stage, process: LiveProcess, task: Task) -> None:
        kept.append(process)
        account = stage.server.exchanges["usdm"].accounts[PRACTICE_KEY]
        await well(process, task)
        await until(lambda: process.loop.counts.fills >= 2, task)
        prints, fills, orders = of_kind(process, table.TRADE), len(account.fills), len(account.orders)
        now = int(time.time() * 1000)
        bid = process.loop.node.session.instruments[0].price_text(
            int(process.loop.node.decision["instruments"][0]["bid"])
        )
        frames = [
            json.dumps({"stream": "btcusdt@trade", "data": {
                "e": "trade", "E": now, "T": now, "s": "BTCUSDT", "t": 10**9 + number, "p": bid, "q": "0.001", "X": "MARKET", "m": True,
            }}, separators=(",", ":"))
            for number in range(count)
        ]  # fmt: skip
        await stage.primary.inject(frames)
        await until(lambda: of_kind(process, table.TRADE) >= prints + count, task)
        await until(lambda: len(account.orders) > orders + 3 and len(account.fills) > fills, task)
        process.loop.command("halt")
        await until(
            lambda: not any(order.status in OPEN for order in account.orders.values())
            and process.loop.counts.fills == len(account.fills)
            and process.orders is not None and not process.orders.gateway.open_orders,
            task,
        )  # fmt: skip

    stage = perform(tmp_path, strategy_folder, play, mode="live")
    account = stage.server.exchanges["usdm"].accounts[PRACTICE_KEY]
    facts = stage.facts()
    booked = [
        int(row["trade_id"]) for row in facts if int(row["kind"]) == table.FILL and int(row["flags"]) & table.FLAG_TAIL
    ]
    assert sorted(booked) == sorted(fill.trade_id for fill in account.fills)
    heard_of = {int(row["order_id"]) for row in facts if table.ACK <= int(row["kind"]) <= table.AMENDED}
    assert len(heard_of) >= len(account.orders), "every order of the exchange was heard of"
    assert stage.primary.connects == 1, "the burst was read, not cut"
    assert sum(int(row["kind"]) == table.TRADE for row in facts) >= count
