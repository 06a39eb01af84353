"""The rules of SEMANTICS.md as plain slow Python, to prove that the page says enough: its fills must equal the peer's.

It shares nothing with the peer but the input rows, and nothing with twinloop. Integers only; one obvious loop; no speed.

usage: replica.py RECORDING.gz|REFERENCE.parquet MARKET maker|taker LATENCY_MS   (compares with the peer, run in this process)
"""
# ruff: noqa: D102 - the methods are the sections of SEMANTICS.md

import sys
from collections import deque
from dataclasses import dataclass
from typing import Any

import spec

BID, ASK = 1, -1
DEPTH, TRADE, CLEAR, SNAPSHOT = 1, 2, 3, 4
NEVER = 1 << 62


class Book:
    """One side each: quantity by tick, and a best that follows updates only (SEMANTICS.md, The book)."""

    def __init__(self) -> None:
        self.lots: dict[int, dict[int, int]] = {BID: {}, ASK: {}}
        self.best: dict[int, int | None] = {BID: None, ASK: None}
        self.far: dict[int, int | None] = {BID: None, ASK: None}

    def search(self, side: int, after: int) -> int | None:
        """The first price beyond `after`, away from the market, that holds a quantity; none past the farthest price set."""
        far, held = self.far[side], self.lots[side]
        if far is None:
            return None
        found = [t for t in held if (far <= t < after if side == BID else after < t <= far)]
        return (max(found) if side == BID else min(found)) if found else None

    def better(self, side: int, tick: int, than: int | None) -> bool:
        return than is None or (tick > than if side == BID else tick < than)

    def update(self, side: int, tick: int, lots: int) -> None:
        if lots == 0:
            self.lots[side].pop(tick, None)
            if tick == self.best[side]:
                self.best[side] = self.search(side, tick)
                if self.best[side] is None:
                    self.far[side] = None
            return
        self.lots[side][tick] = lots
        if self.better(side, tick, self.best[side]):
            self.best[side] = tick
            other = self.best[-side]
            if other is not None and not self.better(side, other, tick):
                # Crossed or locked: the newer side wins, the other best moves beyond it. Its levels stay stored.
                self.best[-side] = self.search(-side, tick)
        far = self.far[side]
        self.far[side] = tick if far is None else (min(far, tick) if side == BID else max(far, tick))

    def clear(self, side: int, upto: int) -> None:
        best = self.best[side]
        if best is not None:
            for tick in [t for t in self.lots[side] if (upto <= t <= best if side == BID else best <= t <= upto)]:
                del self.lots[side][tick]
        # The bid search may find upto - 2 first, the ask search upto + 2: one tick is skipped on either side.
        self.best[side] = self.search(side, upto - 1 if side == BID else upto + 1)
        if self.best[side] is None:
            self.far[side] = None


@dataclass(slots=True)
class Order:
    """What both sides know of an order."""

    order_id: int
    side: int
    tick: int
    lots: int
    immediate: bool  # IOC; else post-only
    decided_ns: int
    status: str = "pending"
    cancelling: bool = False
    ahead: int = 0  # venue side: lots in front of it
    fill_tick: int = 0
    venue_ns: int = 0


class Run:
    """Four queues, one clock."""

    def __init__(self, venue: list, local: list, market: spec.Market, strategy: str, latency_ns: int) -> None:
        self.venue_rows, self.local_rows = venue, local
        self.market, self.strategy, self.latency_ns = market, strategy, latency_ns
        self.venue_book, self.local_book = Book(), Book()
        self.resting: dict[int, Order] = {}
        self.requests: deque = deque()
        self.responses: deque = deque()
        self.known: dict[int, Order] = {}  # the local view of live orders
        self.slots = [0] * (2 * spec.MAKER.levels)
        self.next_id = 0
        self.position_lots = 0
        self.fills: list[tuple] = []
        self.positions: list[tuple] = []

    def respond(self, order: Order, what: str, at_ns: int) -> None:
        self.responses.append((at_ns + self.latency_ns, order.order_id, what, order.fill_tick, at_ns))

    def fill(self, order: Order, tick: int, at_ns: int) -> None:
        order.fill_tick = tick
        self.resting.pop(order.order_id, None)
        self.respond(order, "filled", at_ns)

    def venue_row(self, row: tuple) -> None:
        at_ns, kind, side, tick, lots = row
        if kind == CLEAR:
            self.venue_book.clear(side, tick)
        elif kind == TRADE:
            # side is the aggressor's: a sell trade meets bids.
            for order in [o for o in self.resting.values() if o.side == -side]:
                if order.tick == tick:
                    order.ahead -= lots
                    if order.ahead < 0:
                        self.fill(order, order.tick, at_ns)
                elif self.venue_book.better(order.side, order.tick, tick):
                    self.fill(order, order.tick, at_ns)
        else:
            before = self.venue_book.best[side]
            self.venue_book.update(side, tick, lots)
            for order in self.resting.values():
                if order.side == side and order.tick == tick:
                    order.ahead = min(order.ahead, lots)
            best = self.venue_book.best[side]
            if best is not None and self.venue_book.better(side, best, before):
                for order in [o for o in self.resting.values() if o.side == -side]:
                    if not self.venue_book.better(side, order.tick, best):
                        self.fill(order, order.tick, at_ns)

    def local_row(self, row: tuple) -> None:
        _, kind, side, tick, lots = row
        if kind == CLEAR:
            self.local_book.clear(side, tick)
        elif kind != TRADE:
            self.local_book.update(side, tick, lots)

    def arrive(self, request: tuple) -> None:
        at_ns, what, order = request
        if what == "cancel":
            live = self.resting.pop(order.order_id, None)
            self.respond(order, "cancelled" if live else "cancel refused", at_ns)
            return
        opposite = self.venue_book.best[-order.side]
        crosses = opposite is not None and (order.tick >= opposite if order.side == BID else order.tick <= opposite)
        if crosses and order.immediate:
            self.fill(order, opposite, at_ns)
        elif crosses or order.immediate:
            self.respond(order, "expired", at_ns)
        else:
            order.ahead = self.venue_book.lots[order.side].get(order.tick, 0)
            self.resting[order.order_id] = order
            self.respond(order, "resting", at_ns)

    def answered(self, response: tuple) -> None:
        local_ns, order_id, what, tick, venue_ns = response
        order = self.known.get(order_id)
        if what == "filled":
            assert order is not None
            self.position_lots += order.side * order.lots
            self.fills.append((order_id, order.side, tick, order.lots, venue_ns, local_ns))
        if order is not None and what != "cancel refused":
            order.status = what
            if what != "resting":
                del self.known[order_id]
        if not self.positions or self.positions[-1][0] != local_ns:
            self.positions.append((local_ns, self.position_lots))
        else:
            self.positions[-1] = (local_ns, self.position_lots)

    def submit(self, side: int, tick: int, now_ns: int, *, immediate: bool) -> int:
        self.next_id += 1
        order = Order(self.next_id, side, tick, self.market.order_lots, immediate, now_ns)
        self.known[order.order_id] = order
        self.requests.append((now_ns + self.latency_ns, "new", order))
        return order.order_id

    def decide(self, now_ns: int) -> None:
        bid, ask = self.local_book.best[BID], self.local_book.best[ASK]
        if bid is None or ask is None:
            return
        held = self.position_lots // self.market.order_lots
        if self.strategy == "taker":
            if self.slots[0] in self.known:
                return
            bids, asks = self.local_book.lots[BID].get(bid, 0), self.local_book.lots[ASK].get(ask, 0)
            if 100 * bids > spec.TAKER.percent * (bids + asks) and held < spec.TAKER.orders_max:
                self.slots[0] = self.submit(BID, ask, now_ns, immediate=True)
            elif 100 * asks > spec.TAKER.percent * (bids + asks) and -held < spec.TAKER.orders_max:
                self.slots[0] = self.submit(ASK, bid, now_ns, immediate=True)
            return
        levels, skew = spec.MAKER.levels, held * self.market.skew_ticks
        for slot in range(2 * levels):
            side = BID if slot < levels else ASK
            behind = slot % levels * self.market.spacing_ticks
            target = min(bid - skew, ask - 1) - behind if side == BID else max(ask - skew, bid + 1) + behind
            allowed = side * held < spec.MAKER.orders_max
            order = self.known.get(self.slots[slot])
            if order is not None:
                if order.status == "pending" or (allowed and order.tick == target):
                    continue
                self.requests.append((now_ns + self.latency_ns, "cancel", order))
                self.slots[slot] = 0
            if allowed:
                self.slots[slot] = self.submit(side, target, now_ns, immediate=False)

    def go(self) -> None:
        venue_at = local_at = 0
        start_ns = min(self.venue_rows[0][0], self.local_rows[0][0])
        last_ns = self.local_rows[-1][0] - spec.TAIL_NS
        decisions = 0
        while True:
            due = (
                self.local_rows[local_at][0] if local_at < len(self.local_rows) else NEVER,
                self.responses[0][0] if self.responses else NEVER,
                self.venue_rows[venue_at][0] if venue_at < len(self.venue_rows) else NEVER,
                self.requests[0][0] if self.requests else NEVER,
            )
            first_ns = min(due)
            decision_ns = start_ns + (decisions + 1) * spec.GRID_NS
            if decision_ns < first_ns:
                if first_ns == NEVER:
                    return
                decisions += 1
                if decisions > spec.WARMUP_DECISIONS and decision_ns <= last_ns:
                    self.decide(decision_ns)
                continue
            which = due.index(first_ns)  # at equal times: local row, response, venue row, request
            if which == 0:
                self.local_row(self.local_rows[local_at])
                local_at += 1
            elif which == 1:
                self.answered(self.responses.popleft())
            elif which == 2:
                self.venue_row(self.venue_rows[venue_at])
                venue_at += 1
            else:
                self.arrive(self.requests.popleft())


def tapes(events: Any, market: spec.Market) -> tuple[list, list]:
    """The venue's rows in venue order and the local rows in receipt order: (time, kind, side, ticks, lots)."""
    import numpy as np

    ev = events["ev"].astype(np.int64)
    kind, side = ev & 0xFF, np.where(ev & (1 << 29), BID, ASK)
    ticks = np.rint(events["px"] / float(market.tick)).astype(np.int64)
    lots = np.rint(events["qty"] / float(market.lot)).astype(np.int64)
    out = []
    for bit, time in ((31, "exch_ts"), (30, "local_ts")):
        keep = (ev >> bit & 1) == 1
        columns = (events[time], kind, side, ticks, lots)
        out.append(list(zip(*(c[keep].tolist() for c in columns), strict=True)))
    return out[0], out[1]


def main() -> None:
    """Run both and compare."""
    import peer_hftbacktest as peer

    source, name, strategy, latency = sys.argv[1:]
    events = peer.events(source)
    theirs = peer.replay(events, name, strategy, int(latency))
    run = Run(*tapes(events, spec.MARKETS[name]), spec.MARKETS[name], strategy, int(latency) * 1_000_000)
    run.go()
    mine = sorted(run.fills, key=lambda f: (f[5], f[4], f[0]))
    fills = [tuple(map(int, f)) for f in theirs["fills"].tolist()]
    positions = [(int(p[0]), int(p[1])) for p in theirs["positions"].tolist()]
    print(
        f"{name} {strategy} {latency} ms: fills {len(fills)}, equal {mine == fills}; positions {len(positions)}, equal {run.positions == positions}"
    )
    if mine != fills or run.positions != positions:
        for a, b in zip(mine, fills, strict=False):
            if a != b:
                print("first difference: replica", a, "peer", b)
                break
        for a, b in zip(run.positions, positions, strict=False):
            if a != b:
                print("first position difference: replica", a, "peer", b)
                break
        raise SystemExit(1)


if __name__ == "__main__":
    main()
