"""The catalogue's faults of orders, processes and disks, by name, against `twinloop live` as a process of its own on real sockets.

After each the exchange's books and the journal are compared to the unit (tests/reference/kills.py) and the journal is replayed. The whole of
it takes minutes: it runs with TWINLOOP_FAULTS=1, as the bar `faults` of benchmarks/bars has it.
"""

import asyncio
import os
import resource
import signal
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from reference.bad_disk import BadDisk
from reference.kills import Killed
from reference.live_sessions import live_file, strategies
from reference.order_relay import OrderRelay
from reference.processes import Child, started, until, words_of

from twinloop.engine.exchange.model import OPEN
from twinloop.engine.exchange.server import PRACTICE_KEY, Server
from twinloop.engine.gateway.alerts import ALERTS
from twinloop.engine.gateway.client_ids import ClientIds
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.live.parity import every_commit, replay_journal
from twinloop.engine.live.shared import RUNNING
from twinloop.kernels import codes
from twinloop.kernels import rows as table

WHOLE = bool(os.environ.get("TWINLOOP_FAULTS"))
whole = pytest.mark.skipif(not WHOLE, reason="takes long: TWINLOOP_FAULTS=1 runs it, as the bar `faults` does")


class Stage:
    """An exchange, the file of a session on it, and what the session's process says."""

    def __init__(self, server: Server, path: Path, place: Path, live: Child) -> None:
        self.server = server
        self.path = path
        self.place = place
        self.live = live

    @property
    def account(self) -> Any:
        return self.server.exchanges["usdm"].accounts[PRACTICE_KEY]

    def words(self) -> dict[str, int]:
        return words_of(self.place)

    def working(self) -> list[Any]:
        return [order for order in self.account.orders.values() if order.status in OPEN]

    async def until(self, reached: Callable[[], bool]) -> None:
        await until(reached, self.live)

    async def trades(self, more: int = 2) -> None:
        """Until the exchange booked some more fills."""
        wanted = len(self.account.fills) + more
        await self.until(lambda: len(self.account.fills) >= wanted)

    async def settles(self, *, restarted: bool = False) -> None:
        """Until nothing is in doubt, it trades, and every fill of the exchange is booked."""

        def well() -> bool:
            words = self.words()
            return (words["unproven"], words["trading_state"]) == (0, codes.ACTIVE) and words["stream_up"] == 1

        await self.until(well)
        if not restarted:  # An instance counts its own.
            await self.until(lambda: self.words()["fills"] == len(self.account.fills))

    async def meets(self, *faults: str, count: int = 1) -> None:
        """Have faults met, one after the other, and the session get over each."""
        for fault in faults:
            met = self.server.faults.met.get(fault, 0)
            self.server.faults.arm(fault, count)
            await self.until(lambda fault=fault, met=met: self.server.faults.met.get(fault, 0) >= met + count)  # type: ignore[misc]
            await self.settles()

    async def meets_until(self, fault: str, alert: str, count: int = 1) -> None:
        """Have a fault met until it has led to one more alert: cancels meet it as well as orders."""
        before = self.alerts()[alert]
        for _ in range(20):
            await self.meets(fault, count=count)
            if self.alerts()[alert] > before:
                return
        for _ in range(60):  # What is proven by the venue's horizon takes its time, however fast requests come.
            await asyncio.sleep(0.5)
            if self.alerts()[alert] > before:
                return
        raise AssertionError(f"{fault} was met {20 * count} times and led to no {alert}")

    def alerts(self) -> Counter[str]:
        """How often each alert stands in the journal. STREAM_DOWN stands there once for the start."""
        return Counter(
            ALERTS[int(row["alert"])].name
            for commit in open_journal(self.place / "journal").each()
            for row in commit.notes
            if int(row["kind"]) == table.ALERT
        )


Play = Callable[[Stage], Awaitable[None]]


def perform(
    folder: Path, play: Play, *, ends: int | None = 0, foreign: int = 0, orders: str = "", relayed: bool = False,
    env: Mapping[str, str] | None = None,
) -> Stage:  # fmt: skip
    """Run a session that trades while `play` goes on, end it in order where it still runs, and compare all books.

    ends: the process's exit code; None: `play` has ended it. orders: more lines of [orders]. relayed: REST goes through an OrderRelay.
    env: more of the process's environment.
    """

    async def all_of_it() -> Stage:
        async with Server(seed=4, turns_per_s=100) as server, OrderRelay(server.port, b"POST /fapi/v1/order") as relay:
            path = live_file(folder, server.port, strategies(folder), busy=True, orders=orders)
            text = path.read_text()
            if relayed:
                text = text.replace(f'rest = "http://127.0.0.1:{server.port}"', f'rest = "{relay.address}"')
            path.write_text(text)
            async with started("live", str(path), env=env) as live:
                stage = Stage(server, path, folder / "sessions" / "live", live)
                stage.relay = relay  # type: ignore[attr-defined]
                await stage.until(lambda: stage.words()["fills"] >= 2)
                await play(stage)
                if ends is not None:
                    assert await live.end(signal.SIGTERM) == ends, live.said
            assert stage.working() == [], "nothing works on"
            Killed(server, path, stage.place).books(foreign=foreign)
            return stage

    return asyncio.run(all_of_it())


def meeting(*faults: str, count: int = 1) -> Play:
    async def play(stage: Stage) -> None:
        await stage.meets(*faults, count=count)
        await stage.trades()

    return play


# ---- Networks.


@whole
def test_n11_without_the_user_stream_only_what_reduces_leaves_and_fills_come_by_sweeps(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        stage.server.faults.arm("drop_user", -1)
        await stage.until(lambda: not stage.words()["stream_up"])
        await stage.until(lambda: stage.words()["trading_state"] == codes.REDUCING)
        refused = stage.words()["refused"]
        await stage.until(lambda: stage.words()["refused"] > refused)  # What would have raised the position.
        await stage.until(lambda: stage.words()["fills"] == len(stage.account.fills))
        assert stage.words()["trading_state"] == codes.REDUCING
        stage.server.faults.arm("drop_user", 0)
        await stage.settles()
        await stage.trades()

    assert perform(tmp_path, play).alerts()["STREAM_BACK"] >= 2


@whole
def test_n12_an_answer_lost_on_its_way_leaves_one_order(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        relay: OrderRelay = stage.relay  # type: ignore[attr-defined]
        for lost in range(1, 4):
            relay.lose = 1
            await stage.until(lambda lost=lost: relay.lost >= lost)  # type: ignore[misc]
            await stage.settles()
        await stage.trades()

    assert "REQUEST_UNPROVEN" in perform(tmp_path, play, relayed=True).alerts()


# ---- The venue.


@whole
def test_v1_a_time_out_of_an_order_that_works_is_proven_and_there_is_one_order(tmp_path: Path) -> None:
    """The stream tells of it before the time is over; where that is silent too, a query does."""

    async def play(stage: Stage) -> None:
        await stage.meets("drop_response", count=2)
        stage.server.faults.arm("user_silence", -1)
        met = stage.server.faults.met["drop_response"]
        stage.server.faults.arm("drop_response", 8)  # Cancels among them.
        await stage.until(lambda: stage.server.faults.met["drop_response"] == met + 8 and stage.words()["unproven"] > 0)
        await stage.settles()
        stage.server.faults.arm("user_silence", 0)
        await stage.trades()

    assert perform(tmp_path, play).alerts()["REQUEST_UNPROVEN"] >= 1


@whole
def test_v2_an_order_that_never_arrived_is_absent_by_two_sources_only(tmp_path: Path) -> None:
    """Cancels are lost among them; one that arrives late, and one that a query denies, stay what they are."""

    async def play(stage: Stage) -> None:
        await stage.meets_until("lose_request", "PROVEN_ABSENT", count=4)
        # A query is sent where an order is in doubt, which a 503 brings about.
        stage.server.faults.arm("query_unknown", 4)
        for _ in range(20):
            await stage.meets("unknown_503")
            if stage.server.faults.met.get("query_unknown", 0) >= 4:
                break
        assert stage.server.faults.met["query_unknown"] >= 4
        await stage.meets("delay_request", count=4)
        await stage.trades()

    assert perform(tmp_path, play).alerts()["REQUEST_UNPROVEN"] >= 1


@whole
def test_v3_an_unknown_execution_status_is_no_failure(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        await stage.meets_until("unknown_503", "REQUEST_UNPROVEN")
        await stage.meets_until("timeout_408", "REQUEST_UNPROVEN")
        await stage.meets("failed_503", count=4)
        await stage.trades()

    assert perform(tmp_path, play).alerts()["REQUEST_UNPROVEN"] >= 2


@whole
def test_v7_a_fill_before_its_acknowledgement_is_booked(tmp_path: Path) -> None:
    perform(tmp_path, meeting("late_ack", count=3))


@whole
def test_v8_fills_told_twice_and_told_again_are_booked_once(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        await stage.meets("double_user_event", count=10)
        stage.server.faults.arm("replay_fills", 1)
        await stage.meets("drop_user")
        await stage.until(lambda: stage.server.faults.met.get("replay_fills", 0) >= 1)
        await stage.settles()

    perform(tmp_path, play)


@whole
def test_v9_a_fill_with_other_decimals_is_one_booking(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        await stage.meets_until("round_fills", "FILL_DIFFERS")
        await stage.meets("drop_user", "round_fills")
        await stage.trades()

    perform(tmp_path, play)


@whole
def test_v10_a_fill_after_the_cancel_is_booked_and_told(tmp_path: Path) -> None:
    assert "FILL_AFTER_END" in perform(tmp_path, meeting("fill_after_cancel", count=2)).alerts()


@whole
def test_v11_a_refused_cancel_is_filled_only_on_proof(tmp_path: Path) -> None:
    perform(tmp_path, meeting("cancel_too_late", "cancel_unknown", "cancel_too_late", "cancel_unknown"))


@whole
def test_v12_a_partial_fill_and_a_stream_that_breaks_are_reconciled(tmp_path: Path) -> None:
    stage = perform(tmp_path, meeting("partial_then_drop", "partial_then_drop"))
    assert stage.alerts()["STREAM_DOWN"] >= 2


@whole
def test_v13_a_fill_that_a_healthy_stream_never_told_is_found_by_the_sweep(tmp_path: Path) -> None:
    stage = perform(tmp_path, meeting("lose_fill"))
    assert stage.alerts()["STREAM_DOWN"] == 1


@whole
def test_v23_a_query_that_fails_says_nothing_about_what_is_held(tmp_path: Path) -> None:
    """While it trades nothing is taken for flat and nothing is adjusted; a start without an answer is refused, and the next one goes on."""

    async def play(stage: Stage) -> None:
        await stage.meets("fail_query", count=12)
        await stage.trades()
        await stage.live.end(signal.SIGKILL)
        orders, before = len(stage.account.orders), stage.words()["instance"]
        stage.server.faults.arm("fail_query", 1)
        async with started("live", str(stage.path)) as refused:
            assert await refused.end() == 2
            assert "expected 200, got '500: -1000" in refused.said
        assert len(stage.account.orders) == orders
        async with started("live", str(stage.path)) as again:
            stage.live = again
            await stage.until(lambda: stage.words()["instance"] != before and stage.words()["phase"] == RUNNING)
            await stage.settles(restarted=True)
            await stage.trades()
            assert await again.end(signal.SIGTERM) == 0, again.said

    stage = perform(tmp_path, play, ends=None, orders='reconcile_every = "500ms"')
    kinds = {int(row["kind"]) for commit in open_journal(stage.place / "journal").each() for row in commit.facts}
    assert table.ADJUSTMENT not in kinds


@whole
def test_v23_a_query_that_lags_proves_nothing(tmp_path: Path) -> None:
    """Positions too: compared every 500 ms, with answers as old as the first of them."""
    perform(tmp_path, meeting("lag_query", count=40), orders='reconcile_every = "500ms"')


@whole
def test_v24_somebody_elses_trade_is_booked_for_nobody_and_told(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        await stage.meets("foreign_order", count=2)
        await stage.trades()

    assert "EXTERNAL_FILL" in perform(tmp_path, play, foreign=2).alerts()


# ---- Processes.


@whole
def test_p2_an_end_in_order_with_orders_in_flight_leaves_none(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        stage.server.faults.arm("drop_response", 1)
        await stage.until(lambda: stage.server.faults.met.get("drop_response", 0) >= 1)
        assert await stage.live.end(signal.SIGTERM) == 0, stage.live.said
        assert "may still work" not in stage.live.said

    perform(tmp_path, play, ends=None)


@whole
def test_p8_a_second_instance_is_refused_and_a_foreign_epoch_at_the_venue_halts(tmp_path: Path) -> None:
    async def play(stage: Stage) -> None:
        async with started("live", str(stage.path)) as second:
            assert await second.end() == 2
            assert "in use by another process" in second.said
        await stage.trades()
        exchange = stage.server.exchanges["usdm"]
        price = exchange.markets["BTCUSDT"].last_price * 98 // 100
        price -= price % exchange.markets["BTCUSDT"].symbol.tick_size
        foreign, _ = exchange.place(
            stage.account, "BTCUSDT", 1, "LIMIT", 50, price=price, client_id=ClientIds("tl").make(99, 0, 1)
        )
        await stage.until(lambda: stage.words()["trading_state"] == codes.HALTED)
        exchange.cancel(stage.account, "BTCUSDT", foreign.id)
        await stage.until(lambda: stage.working() == [])
        # Of the books: the other process's order is one that this journal does not hold.
        del stage.account.orders[foreign.id]

    assert "FOREIGN_EPOCH" in perform(tmp_path, play).alerts()


# ---- Disks.


@whole
def test_k1_a_file_system_that_takes_no_byte_more_ends_trading_and_nothing_works_on(tmp_path: Path) -> None:
    """By a limit that the kernel itself holds the running process to: every further byte of every file fails."""

    async def play(stage: Stage) -> None:
        await stage.until(lambda: bool(stage.working()))
        resource.prlimit(
            stage.live.process.pid, resource.RLIMIT_FSIZE, (1, resource.getrlimit(resource.RLIMIT_FSIZE)[1])
        )
        assert await stage.live.end() != 0
        assert "File too large" in stage.live.said
        await goes_on(stage)  # Once there is room.

    perform(tmp_path, play, ends=None)


async def goes_on(stage: Stage) -> None:
    """A start behind a journal that failed: everything is proven, and it ends in order."""
    orders = len(stage.account.orders)
    async with started("live", str(stage.path)) as again:
        stage.live = again
        await stage.until(lambda: stage.words()["phase"] == RUNNING and stage.words()["unproven"] == 0)
        assert len(stage.account.orders) >= orders
        assert await again.end(signal.SIGTERM) == 0, again.said


@whole
def test_k2_a_sync_that_fails_ends_trading_and_is_never_tried_again(tmp_path: Path) -> None:
    """Below the process, in its call to the system: the next call would succeed, and nothing would be on the disk."""
    disk = BadDisk(tmp_path)

    async def play(stage: Stage) -> None:
        await stage.until(lambda: bool(stage.working()))
        disk.fail()
        assert await stage.live.end() != 0
        assert "Input/output error" in stage.live.said
        (what, failed), *later = disk.calls()
        assert what == "failed"
        assert ("again", failed) not in later, "a sync that failed was tried again"
        assert stage.working() == []
        await goes_on(stage)

    perform(tmp_path, play, ends=None, env=disk.env)


def damaged(folder: Path, damage: Callable[[Path, int], None], after: Play) -> Stage:
    """A session that is killed, its newest segment damaged while nobody has it open, and what a start makes of that."""

    async def all_of_it() -> Stage:
        async with Server(seed=4, turns_per_s=100) as server:
            path = live_file(folder, server.port, strategies(folder), busy=True)
            place = folder / "sessions" / "live"
            async with started("live", str(path)) as live:
                stage = Stage(server, path, place, live)
                await stage.trades(4)
                await live.end(signal.SIGKILL)
            newest = open_journal(place / "journal").segments[-1]
            damage(newest.path, newest.end)
            async with started("live", str(path)) as again:
                stage.live = again
                await after(stage)
            return stage

    return asyncio.run(all_of_it())


@whole
@pytest.mark.parametrize("cut", [1, 17, 63, 64, 100])
def test_k3_a_torn_end_is_cut_and_what_the_venue_has_comes_back(tmp_path: Path, cut: int) -> None:
    """The last bytes never reached the disk: the orders and fills they told of are found at the venue."""

    def tear(path: Path, end: int) -> None:
        with path.open("r+b") as file:
            file.truncate(end - cut)

    async def after(stage: Stage) -> None:
        await stage.until(lambda: stage.words()["epoch"] == 2 and stage.words()["unproven"] == 0)
        await stage.until(lambda: stage.words()["fills"] > 0 or stage.words()["trading_state"] != codes.HALTED)
        assert await stage.live.end(signal.SIGTERM) == 0, stage.live.said
        assert "of a torn end were cut" in stage.live.said
        assert stage.working() == []

    stage = damaged(tmp_path, tear, after)
    booked = sorted(
        int(row["trade_id"])
        for commit in every_commit(open_journal(stage.place / "journal"))
        for row in commit.rows
        if int(row["kind"]) == table.FILL and int(row["flags"]) & table.FLAG_TAIL
    )
    assert booked == sorted(fill.trade_id for fill in stage.account.fills), "no fill is lost, none is twice"
    assert replay_journal(stage.place / "journal").difference is None


@whole
def test_k4_a_flipped_bit_in_the_middle_is_refused_and_the_file_is_kept(tmp_path: Path) -> None:
    kept: list[bytes] = []

    def flip(path: Path, end: int) -> None:
        content = bytearray(path.read_bytes())
        content[end // 2] ^= 0x10
        path.write_bytes(content)
        kept.append(bytes(content))

    async def after(stage: Stage) -> None:
        orders = len(stage.account.orders)
        assert await stage.live.end() == 3
        assert "do not trade on it" in stage.live.said
        (segment,) = [
            path for path in (stage.place / "journal").iterdir() if path.is_file() and path.read_bytes() == kept[0]
        ]
        assert segment.exists()
        assert len(stage.account.orders) == orders, "nothing was sent"

    damaged(tmp_path, flip, after)
