"""A spot strategy sells all that it bought, less what fees took, on the practice exchange: never refused by the venue."""

import asyncio
from pathlib import Path

import pytest
from reference import sessions
from reference.live_config import configuration

from twinloop.engine.exchange.server import PRACTICE_KEY, PRACTICE_SECRET, Server
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess
from twinloop.kernels import codes, rows

SELLER = '''
import twinloop as tl


class Busy(tl.Strategy):
    """Buys once, then sells: first all of its position, which is more than is left of it, then what is available."""

    instrument: tl.Symbol = "BTCUSDT"
    qty: int = 20_000
    stage: tl.State[int] = 0

    def on_start(self, ctx):
        ctx.set_timer(1, 0, 100_000_000)

    def on_timer(self, ctx, timer):
        i = self.instrument
        if ctx.bid_scaled(i) <= 0 or ctx.ask_scaled(i) <= 0 or ctx.open_orders() > 0:
            return
        if self.stage == 0 and ctx.market_scaled(i, 1, self.qty) > 0:
            self.stage = 1
        elif self.stage == 1 and ctx.position_scaled(i) == self.qty:
            if ctx.market_scaled(i, -1, ctx.position_scaled(i)) < 0:
                self.stage = 2
        elif self.stage == 2 and ctx.market_scaled(i, -1, ctx.available_scaled(i)) > 0:
            self.stage = 3
        elif self.stage == 3 and ctx.position_scaled(i) < self.qty and ctx.available_scaled(i) == 0:
            self.stage = 4
'''


@pytest.fixture(autouse=True)
def keys(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TWINLOOP_API_KEY", PRACTICE_KEY)
    monkeypatch.setenv("TWINLOOP_API_SECRET", PRACTICE_SECRET)


def test_a_sale_of_the_whole_position_is_refused_before_it_leaves_and_what_is_available_is_sold(tmp_path: Path) -> None:
    """The account holds nothing of the base asset but what it buys. The gate's verdict names what there is and what was wanted."""
    (tmp_path / "busy.py").write_text(SELLER)
    kept: list[LiveProcess] = []
    said: list[str] = []

    async def what(process: LiveProcess, task: asyncio.Task[None]) -> None:
        kept.append(process)
        await sessions.until(lambda: process.loop.counts.fills >= 2 and process.loop.counts.refused >= 1, task)
        held = process.loop.node.decision["strategy_holdings"][0][0]["position"]
        edge = process.orders
        assert edge is not None
        await sessions.until(lambda: int(held["qty"]) < 100 and not edge.gateway.open_orders, task)

    async def all_of_it() -> Server:
        async with Server(seed=4, turns_per_s=100) as server:
            account = server.exchanges["spot"].accounts[PRACTICE_KEY]
            server.exchanges["spot"].ledger.deposit(account, "BTC", -account.free("BTC"))
            path = configuration(tmp_path, server.port, tmp_path, "spot")
            await sessions.in_session(path, said, what)
            return server

    server = asyncio.run(all_of_it())
    account = server.exchanges["spot"].accounts[PRACTICE_KEY]
    bought = [fill for fill in account.fills if fill.order.side > 0]
    sold = [fill for fill in account.fills if fill.order.side < 0]
    fees = sum(fill.fee for fill in bought)
    assert {fill.fee_asset for fill in bought} == {"BTC"}
    lot = kept[0].loop.node.session.instruments[0].lot_size
    unit = 10 ** (8 - kept[0].loop.node.session.instruments[0].qty_scale)
    held = sum(fill.qty for fill in bought) * unit - fees
    assert sum(fill.qty for fill in sold) == held // unit // lot * lot, "all whole lots of what fees left"
    assert kept[0].loop.counts.by_kind.get(rows.REJECT, 0) == 0, "the venue had nothing to refuse"
    journal = open_journal(tmp_path / "sessions" / "live" / "journal")
    verdicts = [row for commit in journal.each() for row in commit.notes if row["kind"] == rows.VERDICT]
    (refused,) = [row for row in verdicts if row["code"] == codes.REJECT_BALANCE]
    assert (int(refused["limit"]), int(refused["value"])) == (held // unit, sum(fill.qty for fill in bought))
    found = replay_journal(tmp_path / "sessions" / "live" / "journal")
    assert found.difference is None, str(found.difference)
