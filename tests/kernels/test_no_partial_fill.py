"""The venue mode "hftbacktest" through the whole loop, against the plain replica of hftbacktest's rules, on random markets.

The replica (benchmarks/parity/replica.py) is proven against the peer itself by the bar `fills`; here it stands for the peer.
"""
# ruff: noqa: ARG002 - callbacks are compiled; their names and arguments are the strategy API's

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba import config

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "parity"))
import replica
import spec

import twinloop as tl
from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.engine.assembly import Assembly, StrategySlot, VenueSettings
from twinloop.engine.limits import Limits, apply_limits
from twinloop.engine.strategy_compiler import compile_strategy
from twinloop.kernels import codes, rows
from twinloop.kernels import venue as venue_kernel
from twinloop.kernels.node import STANDARD

ACTIONS = 64
MS = 1_000_000
GRID_NS = 7 * MS
START_NS = 1_700_000_000_000_000_000
NOTHING, QUOTE, TAKE, CANCEL = 0, 1, 2, 3
KINDS = {replica.DEPTH: rows.LEVEL, replica.TRADE: rows.TRADE, replica.CLEAR: rows.CLEAR}
INSTRUMENT = Instrument(
    symbol="X", venue="synthetic", contract="linear", base="BTC", quote="USDT", settle="USDT", price_scale=1, qty_scale=3,
    tick_size=5, lot_size=1, min_qty=1, max_qty=10**9, maker_fee=0, taker_fee=0,
)  # fmt: skip


class Scripted(tl.Strategy):
    """At the n-th timer does the n-th action: a post-only quote, an IOC order, or the cancel of an earlier order."""

    first_ns: int = 1
    grid_ns: int = 1
    actions: int = ACTIONS
    done: tl.State[int] = 0
    script: tl.Array[int, ACTIONS, 4]  # What, side, price or which action's order, quantity.
    orders: tl.Array[int, ACTIONS]

    def on_start(self, ctx: tl.Context) -> None:
        ctx.set_timer(1, at_ns=self.first_ns, interval_ns=self.grid_ns)

    def on_timer(self, ctx: tl.Context, timer: tl.Timer) -> None:
        at = self.done
        if at >= self.actions:
            return
        self.done = at + 1
        what = self.script[at, 0]
        if what == QUOTE:
            self.orders[at] = ctx.limit_scaled(
                0, self.script[at, 1], self.script[at, 2], self.script[at, 3], post_only=True
            )
        elif what == TAKE:
            self.orders[at] = ctx.limit_scaled(
                0, self.script[at, 1], self.script[at, 2], self.script[at, 3], tif=tl.IOC
            )
        elif what == CANCEL:
            order = self.orders[self.script[at, 2]]
            if ctx.order_state(order) == tl.codes.STATE_ACKED:
                ctx.cancel(order)


class Peer(replica.Run):
    """The replica with the same script."""

    script: Any
    orders: dict[int, replica.Order]
    done = 0

    def decide(self, now_ns: int) -> None:
        at, self.done = self.done, self.done + 1
        if at >= ACTIONS:
            return
        what, side, price, lots = self.script[at]
        if what in (QUOTE, TAKE):
            self.next_id += 1
            order = replica.Order(self.next_id, side, price, lots, immediate=what == TAKE, decided_ns=now_ns)
            self.known[order.order_id] = self.orders[at] = order
            self.requests.append((now_ns + self.latency_ns, "new", order))
        elif what == CANCEL and price in self.orders and self.orders[price].status == "resting":
            self.requests.append((now_ns + self.latency_ns, "cancel", self.orders[price]))


def market(draw: np.random.Generator, count: int) -> list[tuple[int, int, int, int, int, int]]:
    """(venue_ns, local_ns, kind, side, tick, lots) in order of receipt, venue time out of order here and there."""
    venue = np.cumsum(draw.choice([0, 0, 1, 2], count)) + draw.choice([0, 0, 0, 3], count)
    local = np.maximum.accumulate(venue + draw.choice([0, 1, 2], count))
    kinds = draw.choice([replica.DEPTH, replica.TRADE, replica.CLEAR], count, p=[0.79, 0.2, 0.01])
    kinds[0] = replica.TRADE  # The gate needs a price before the first order, even with every limit off.
    middle = 1000 + np.cumsum(draw.choice([-1, 0, 0, 0, 0, 1], count))
    sides = draw.choice([1, -1], count)
    offsets = np.where(kinds == replica.TRADE, draw.integers(-1, 2, count), draw.integers(-2, 8, count))
    ticks = middle - sides * offsets
    lots = np.where(kinds == replica.TRADE, draw.integers(1, 6, count), np.maximum(draw.integers(-2, 6, count), 0))
    columns = (START_NS + venue * MS, START_NS + local * MS, kinds, sides, ticks, lots)
    return list(zip(*(column.tolist() for column in columns), strict=True))


def draw_script(draw: np.random.Generator) -> list[tuple[int, int, int, int]]:
    found = []
    for at in range(ACTIONS):
        what = int(draw.choice([QUOTE, TAKE, CANCEL], p=[0.6, 0.2, 0.2]))
        which = int(draw.integers(max(at - 6, 0), at + 1))
        price = which if what == CANCEL else int(1000 + draw.integers(-8, 9))
        found.append((what, int(draw.choice([1, -1])), price, int(draw.integers(1, 5))))
    return found


def ours(events: list[Any], script: list[Any], latency_ns: int) -> tuple[list[Any], dict[int, tuple[str, int]]]:
    """Fills as the replica lists them, and the end of each order."""
    table = np.zeros(len(events), rows.ROW)
    for row, (venue_ns, local_ns, kind, side, tick, lots) in zip(table, events, strict=True):
        row["venue_ns"], row["local_ns"], row["kind"], row["side"] = venue_ns, local_ns, KINDS[kind], side
        row["price"], row["qty"], row["flags"] = tick * INSTRUMENT.tick_size, lots, rows.FLAG_EVENT_END
    words = table.view(np.int64).reshape(-1, 8)
    venue_tape = words[np.argsort(table["venue_ns"], kind="stable")].reshape(-1).view(rows.ROW)
    assembly = Assembly(STANDARD)
    assembly.currency("USDT")
    assembly.add_account(10**9 * MONEY_ONE)
    assembly.add_instrument(INSTRUMENT, venue_kernel.DEPTH)
    assembly.set_venue(
        VenueSettings(entry_latency_ns=latency_ns, response_latency_ns=latency_ns, mode="hftbacktest"), 0
    )
    no_limits = Limits(name="off", values={}, self_match_prevention=False)
    apply_limits(assembly.decision, no_limits, [INSTRUMENT], 10**9 * MONEY_ONE)
    compiled = compile_strategy(Scripted, {"first_ns": earliest(events) + GRID_NS, "grid_ns": GRID_NS}, STANDARD)
    number = assembly.add_strategy(StrategySlot("s", compiled.addresses, compiled.initial_area(), [0], keep=compiled))
    area = assembly.decision["areas"][number]
    state = area[: compiled.state_dtype.itemsize].view(compiled.state_dtype)[0]
    scaled = [(w, s, p if w == CANCEL else p * INSTRUMENT.tick_size, q) for w, s, p, q in script]
    state["script"][:] = scaled
    assembly.set_tape(table, venue_tape)
    assembly.callback(number, codes.ON_START)
    assert assembly.replay(10**6) == codes.RUN_DONE
    assert not assembly.node["measured"]["refused"].any()
    node = assembly.node
    fills = node["fills"][: int(node["fill_count"])]
    columns = (fills["order_id"] // STANDARD.orders, fills["side"], fills["price_int"] // INSTRUMENT.tick_size, fills["qty_int"],
               fills["venue_ns"], fills["local_ns"])  # fmt: skip
    ended = node["order_records"][: int(node["order_record_count"])]
    names = {codes.STATE_FILLED: "filled", codes.STATE_CANCELLED: "cancelled", codes.STATE_EXPIRED: "expired"}
    ends = {
        int(order["order_id"]) // STANDARD.orders: (names.get(int(order["state"]), "expired"), int(order["ended_ns"]))
        for order in ended
    }
    return sorted(zip(*(column.tolist() for column in columns), strict=True)), ends


def earliest(events: list[Any]) -> int:
    return int(min(*(event[0] for event in events), events[0][1]))


@pytest.mark.parametrize("latency_ms", [0, 1, 7, 20])
def test_fills_and_ends_equal_the_replica(latency_ms: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spec, "GRID_NS", GRID_NS)
    monkeypatch.setattr(spec, "WARMUP_DECISIONS", 0)
    monkeypatch.setattr(spec, "TAIL_NS", 1)  # No timer falls due once the last row is handled.
    filled = 0
    seeds = 8 if config.DISABLE_JIT else 25  # A market takes a kernel without the JIT a second.
    for seed in range(seeds):
        draw = np.random.Generator(np.random.PCG64([seed, latency_ms]))
        events, script = market(draw, 600), draw_script(draw)
        peer = Peer(
            [(e[0], *e[2:]) for e in sorted(events, key=lambda e: e[0])], [(e[1], *e[2:]) for e in events],
            spec.MARKETS["usdm_btcusdt"], "maker", latency_ms * MS,
        )  # fmt: skip
        peer.script, peer.orders = script, {}
        ends: dict[int, tuple[str, int]] = {}
        answered = peer.answered

        def note(response: Any, ends: dict[int, tuple[str, int]] = ends, answered: Any = answered) -> None:
            if response[2] in ("filled", "cancelled", "expired"):
                ends[response[1]] = (response[2], response[0])
            answered(response)

        peer.answered = note
        peer.go()
        fills, our_ends = ours(events, script, latency_ms * MS)
        assert fills == sorted(peer.fills), f"seed {seed}"
        assert our_ends == ends, f"seed {seed}"
        filled += len(fills)
    assert filled > 10 * seeds, "a test of few fills proves little"
