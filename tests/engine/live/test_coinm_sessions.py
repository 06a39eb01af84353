"""Sessions on COIN-M: warm-up, back-fill, restart, and the money of inverse contracts against exact fractions."""

import asyncio
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import sessions

from twinloop.data.errors import ConfigError
from twinloop.data.rowfile import join_rows
from twinloop.engine.exchange.server import Server
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.live.config import load_session
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.process import LiveProcess
from twinloop.engine.live.status import status_of
from twinloop.kernels import rows
from twinloop.kernels.rows import FLAG_LATE, FLAG_MAKER, FLAG_WARMUP

STRATEGY = """
import twinloop as tl


class Busy(tl.Strategy):
    instrument: tl.Symbol = "BTCUSD_PERP"
    turn: tl.State[int] = 0
    bars_seen: tl.State[int] = 0

    def on_start(self, ctx):
        ctx.set_timer(1, interval_ns=150_000_000)

    def on_bar(self, ctx, bar):
        self.bars_seen += 1

    def on_timer(self, ctx, timer):
        i = self.instrument
        bid, ask = ctx.bid_scaled(i), ctx.ask_scaled(i)
        if bid <= 0 or ask <= 0:
            return
        self.turn += 1
        ctx.cancel_all(i)
        side = -1 if ctx.position_scaled(i) > 0 else 1
        qty = 10 + self.turn % 8
        if self.turn % 2 == 0:
            ctx.limit_scaled(i, side, ask if side > 0 else bid, qty)
        else:
            ctx.limit_scaled(i, side, bid if side > 0 else ask, qty)
"""
CASH = 10**8  # One coin.
SIZE = 100  # Of a contract, USD.
MAKER, TAKER = Fraction(1, 10**4), Fraction(5, 10**4)


def configuration(folder: Path, port: int, account: str = 'currency = "BTC"\ncash = "1"') -> Path:
    (folder / "busy.py").write_text(STRATEGY)
    path = folder / "coin.toml"
    path.write_text(f"""
limits = "conservative"
[session]
out = "{folder / "sessions"}"
[feed]
venue = "binance-coinm"
symbols = ["BTCUSD_PERP"]
stream = "ws://127.0.0.1:{port}"
rest = "http://127.0.0.1:{port}"
maker_fee_bps = 1
taker_fee_bps = 5
[warmup]
bars = 3
trades = "1s"
[account]
{account}
[[strategy]]
path = "busy.py:Busy"
bars = ["1m"]
""")
    return path


def exact_equity(fills: Any, mark: Fraction) -> tuple[Fraction, int]:
    """(Equity in coins, contracts held) after the fills: contracts * size * (1 / price paid - 1 / price now), less the fees."""
    equity, held = Fraction(1), 0
    for fill in fills:
        price, qty, side = Fraction(int(fill["price"]), 10), int(fill["qty"]), int(fill["side"])
        coins = qty * SIZE / price
        equity -= coins * (MAKER if fill["flags"] & FLAG_MAKER else TAKER)
        equity += side * (coins - qty * SIZE / mark)
        held += side * qty
    return equity, held


def test_a_paper_session_on_inverse_contracts_is_exact_through_lost_connections_and_a_restart(tmp_path: Path) -> None:
    said: list[str] = []
    ended: list[LiveProcess] = []
    server: Any = None

    async def play(process: LiveProcess, task: asyncio.Task[None]) -> None:
        counts = process.loop.counts
        refused = counts.refused
        await sessions.until(lambda: counts.fills >= 3 and counts.refused > refused, task)
        server.faults.arm("drop_market", 1)
        late = process.feed.arbiter
        await sessions.until(lambda: late.late_prints > 0, task)
        fills = counts.fills
        await sessions.until(lambda: counts.fills >= fills + 4, task)
        account = process.loop.node.decision["accounts"][0]
        told = status_of(process.loop, name="coin", mode="paper", started_ns=process.started_ns, feeds=[])
        assert Fraction(told["equity"]) == Fraction(int(account["equity"]), 10**8), (
            "a coin's account is told to the last unit"
        )

    async def all_of_it() -> None:
        nonlocal server
        async with Server(symbols=("BTCUSD_PERP",), seed=2, turns_per_s=200) as server:
            state = server.exchanges["coinm"].markets["BTCUSD_PERP"]
            waiting = asyncio.create_task(asyncio.sleep(sessions.WAIT_S))
            await sessions.until(lambda: len(state.trades) >= 20, waiting)
            waiting.cancel()
            path = configuration(tmp_path, server.port)
            ended.append(await sessions.in_session(path, said, play))
            missed = state.trade_id + 5
            waiting = asyncio.create_task(asyncio.sleep(sessions.WAIT_S))
            await sessions.until(lambda: state.trade_id >= missed, waiting)
            waiting.cancel()
            ended.append(await sessions.in_session(path, said, play))

    asyncio.run(all_of_it())
    journal = open_journal(tmp_path / "sessions" / "coin" / "journal")
    facts = join_rows([commit.facts for commit in journal.each()])
    requests = join_rows([commit.requests for commit in journal.each()])
    node = ended[-1].loop.node
    heads = facts["flags"] & rows.FLAG_TAIL == 0
    fills = facts[(facts["kind"] == rows.FILL) & heads]
    assert len(fills) >= 14
    market, account = node.decision["instruments"][0], node.decision["accounts"][0]
    held = sum(int(each["side"]) * int(each["qty"]) for each in fills)
    mark = Fraction(int(market["bid"] if held > 0 else market["ask"]), 10)
    equity, contracts = exact_equity(fills, mark)
    assert contracts == held == int(node.decision["account_holdings"][0][0]["position"]["qty"])
    assert abs(equity * 10**8 - int(account["equity"])) <= 2 * len(fills) + 1, "each fill and fee is rounded once"
    largest = Fraction(25, 1000)  # max_order_pct of the account's one coin.
    sent = requests[requests["kind"] == rows.NEW]
    worth = [Fraction(int(each["qty"]) * SIZE * 10, int(each["price"])) for each in sent]
    assert max(worth) <= largest
    assert max(int(each["qty"]) for each in sent) == int(largest * Fraction(int(sent["price"].max()), 10) / SIZE), (
        "and one more was refused"
    )
    warm = facts[(facts["flags"] & FLAG_WARMUP) != 0]
    assert len(warm)
    assert ((facts["kind"] == rows.TRADE) & ((facts["flags"] & FLAG_LATE) != 0)).any()
    shown = facts[facts["kind"] == rows.TRADE]
    assert (np.diff(shown["trade_id"]) == 1).all(), "each print once, through it all"
    assert any("trades that were missed meanwhile" in line for line in said)
    found = replay_journal(journal.folder)
    assert found.difference is None, str(found.difference)


def test_an_account_without_a_rate_for_what_it_trades_in_is_refused(tmp_path: Path) -> None:
    async def start(account: str) -> None:
        async with Server(symbols=("BTCUSD_PERP",), seed=2) as server:
            await LiveProcess(load_session(configuration(tmp_path, server.port, account)), print).run()

    with pytest.raises(ConfigError, match=r"no rate for a settlement currency.*BTC"):
        asyncio.run(start('currency = "USDT"'))
