"""Killing a live session on the practice exchange, again and again, and what the exchange's own books say afterwards.

The oracle is the exchange's ledger: it shares no code with the engine. Every fill it booked must stand in the session's journal exactly
once, every order it has must be one that the journal knows, and position, fees and money must be equal to the unit.
"""

import asyncio
import signal
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from reference.processes import Child, runs, started, until, words_of

from twinloop.engine.crash_points import POINTS, SWITCH, VARIABLE
from twinloop.engine.exchange.model import OPEN
from twinloop.engine.exchange.server import PRACTICE_KEY, Server
from twinloop.engine.gateway.client_ids import ClientIds
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.live.parity import every_commit, replay_journal
from twinloop.engine.live.recovery import recover
from twinloop.engine.live.session import session_from_plain
from twinloop.kernels.rows import FILL, FLAG_TAIL, NEW

OF_SIDECAR = ("snapshot", "snapshot-named")
FIRST_ALONE = tuple(point for point in POINTS if point.startswith("start-"))  # Reached once a start.
FILLS = 2


@dataclass
class Survived:
    """deaths: how often it died. started_s: from each start after a death to a session that may reduce or trade."""

    deaths: int = 0
    started_s: list[float] = field(default_factory=list)
    fills: int = 0
    orders: int = 0


class Killed:
    """One session, its file and its exchange."""

    def __init__(self, server: Server, path: Path, place: Path) -> None:
        self.server = server
        self.path = str(path)
        self.place = place
        self.survived = Survived()

    def fills(self) -> int:
        return len(self.server.exchanges["usdm"].accounts[PRACTICE_KEY].fills)

    async def trades(self, *children: Child) -> None:
        """Wait until the exchange booked some more fills."""
        wanted = self.fills() + FILLS
        await until(lambda: self.fills() >= wanted, *children)

    async def starts(self, live: Child, before: int, began_s: float) -> None:
        """Wait until an instance after `before` runs, which is in REDUCING or better, and take the time of a start after a death."""
        await until(lambda: runs(self.place, before), live)
        if before:
            self.survived.started_s.append(time.monotonic() - began_s)

    async def dies_at(self, value: str) -> None:
        """Start it with a point to crash at, and wait until it did."""
        victim = "sidecar" if value.partition(":")[0] in OF_SIDECAR else "live"
        env = {VARIABLE: value, SWITCH: "1"}
        async with started(victim, self.path, env=env) as child:
            if victim == "sidecar":
                async with started("live", self.path) as live:
                    await asyncio.wait_for(child.process.wait(), 120)
                    await live.end(signal.SIGKILL)
            code = await child.end()
        assert code == -signal.SIGKILL, f"{value} was not reached: {code}, {child.said}"
        self.survived.deaths += 1

    async def dies_after(self, seconds: float) -> None:
        """Start it and kill it whenever that is: while it starts, or trades; a start that was done by then is timed."""
        before, began_s = words_of(self.place)["instance"], time.monotonic()
        timed = False
        async with started("live", self.path) as live:
            while (passed_s := time.monotonic() - began_s) < seconds:
                if not timed and runs(self.place, before):
                    self.survived.started_s.append(passed_s)
                    timed = True
                await asyncio.sleep(min(0.02, seconds - passed_s))
            assert not live.ended, (await live.end(), live.said)
            await live.end(signal.SIGKILL)
        self.survived.deaths += 1

    async def lives(self, *, to_the_end: bool) -> None:
        """Start it, let it prove everything and trade, and end it: in order, or by a kill."""
        before, began_s = words_of(self.place)["instance"], time.monotonic()
        async with started("live", self.path) as live:
            await self.starts(live, before, began_s)
            await until(lambda: words_of(self.place)["trading_state"] == 0, live)
            await self.trades(live)
            if to_the_end:
                assert await live.end(signal.SIGTERM) == 0, live.said
            else:
                await live.end(signal.SIGKILL)
                self.survived.deaths += 1

    def books(self, *, foreign: int = 0) -> Survived:
        """What it survived, once the books agree and the journal replays. foreign: how many orders of nobody's there are to be."""
        self.assert_books_agree(foreign=foreign)
        found = replay_journal(self.place / "journal")
        assert found.difference is None, str(found.difference)
        return self.survived

    def assert_books_agree(self, *, foreign: int = 0) -> None:
        """Compare the journal with the exchange's books. AssertionError says what is lost, twice, or different."""
        account = self.server.exchanges["usdm"].accounts[PRACTICE_KEY]
        journal = open_journal(self.place / "journal")
        epochs = {segment.header.segment: segment.header.epoch for segment in journal.segments}
        booked: Counter[int] = Counter()
        decided: Counter[tuple[int, int]] = Counter()
        for commit in every_commit(journal):
            rows = commit.rows
            tails = rows[(rows["kind"] == FILL) & (rows["flags"] & FLAG_TAIL != 0)]
            booked.update(int(each) for each in tails["trade_id"])
            for row in rows[rows["kind"] == NEW]:
                decided[epochs[commit.segment], int(row["order_id"])] += 1
        theirs = Counter(int(fill.trade_id) for fill in account.fills)
        assert booked == theirs, f"fills lost {theirs - booked}, twice or invented {booked - theirs}"
        assert set(booked.values()) <= {1}
        ids = [ClientIds("tl").parse(order.client_id) for order in account.orders.values()]
        assert ids.count(None) == foreign, "an order of nobody's"
        sent = Counter((each.epoch, each.order_id) for each in ids if each is not None)
        assert set(sent.values()) <= {1}, f"orders twice: {[each for each, count in sent.items() if count > 1]}"
        lost = [each for each in sent if decided[each] != 1]
        assert not lost, f"orders at the exchange that the journal does not know: {lost}"
        assert not [order for order in account.orders.values() if order.status in OPEN], "orders left working"
        self._ledger(account, recover(journal, session_from_plain(journal.header.session)).node)
        self.survived.fills, self.survived.orders = len(account.fills), len(ids)

    @staticmethod
    def _ledger(account: Any, node: Any) -> None:
        held = node.decision["account_holdings"][0][0]["position"]
        theirs = account.positions.get("BTCUSDT")
        cost = theirs.cost if theirs else 0
        money = int(node.decision["accounts"][0]["cash"]) - int(held["cost"])
        ours = (int(held["qty"]), int(held["fees"]), int(held["realised"]) - int(held["cost"]), money)
        realised = sum(fill.realised for fill in account.fills) - cost
        # Funding falls due by the wall clock, every eight hours: what did in a session's last moments it is not told any more.
        funding = [each.amount for each in account.income if each.kind == "FUNDING_FEE"]
        untold = sum(funding) - int(held["funding"])
        assert untold in {0, *funding[-1:]}, f"funding: ours {int(held['funding'])}, the exchange's {funding}"
        exchange = (
            theirs.qty if theirs else 0,
            sum(fill.fee for fill in account.fills),
            realised,
            account.balances["USDT"][0] - cost - untold,
        )
        assert ours == exchange, f"position, fees, realised profit and money: ours {ours}, the exchange's {exchange}"


def number_of(point: str, generator: np.random.Generator) -> int:
    """Which time of a point is meant: a start's come once, a segment's at a start or when one is full, an order's again and again."""
    if point in FIRST_ALONE or point in OF_SIDECAR:
        return 1
    if point == "segment-trim":
        return 1
    if point.startswith("segment-"):
        return int(generator.integers(1, 3))
    return int(generator.integers(1, 25))


async def at_point(server: Server, path: Path, place: Path, point: str, times: int, seed: int) -> Survived:
    """A session that trades and is killed, dies at a point so often, starts again and ends in order; then the books."""
    killed, generator = Killed(server, path, place), np.random.default_rng(seed)
    await killed.lives(to_the_end=False)
    for _ in range(times):
        await killed.dies_at(f"{point}:{number_of(point, generator)}")
    await killed.lives(to_the_end=True)
    return killed.books()


async def at_random(server: Server, path: Path, place: Path, seconds: Sequence[float]) -> Survived:
    """A session that is killed after each of these times, and then ends in order; then the books."""
    killed = Killed(server, path, place)
    await killed.lives(to_the_end=False)
    for each in seconds:
        await killed.dies_after(each)
    await killed.lives(to_the_end=True)
    return killed.books()
