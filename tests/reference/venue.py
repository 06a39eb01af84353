"""The simulated venue and the node's accounting from their definitions: one global clock, lists and dicts, no laziness.

Everything that happens has a time; what is due next is found by looking at all of it. At one instant: rows of the venue's tape, then the
path through bars and expiries, then requests that arrive; then, at the node, a market row, own-order facts, timers.
Only the gate's verdicts and the latency draws are taken from the engine.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from math import ceil, floor, log1p
from typing import Any

from reference.book import Book
from reference.money import Contract, fee
from reference.portfolio import Fill as Booked
from reference.portfolio import Holding, funding
from reference.run_small import Setup, carry_out, venue_key

from twinloop.kernels import codes, rows
from twinloop.kernels import venue as venue_kernel

NEVER = 2**63 - 1
UNKNOWN_LINE = float("inf")
INFINITE = 2**62
OPEN = {"NEW", "ACKED", "PARTIAL", "UNKNOWN"}


@dataclass
class Order:
    """An order, as the node knows it (node_*) and as the venue has it."""

    number: int
    id: int
    instrument: int
    side: int
    type: int
    flags: int
    price: int
    qty: int
    trigger: int
    expire: int
    decided: int
    # The node's view.
    state: str = "NEW"
    filled: int = 0
    node_price: int = 0
    node_qty: int = 0
    code: int = 0
    cancelling: bool = False
    amends: list[int] = field(default_factory=list)
    asked_amends: int = 0
    answered_amends: int = 0
    requests: int = 0
    # The venue's.
    working: str = ""
    leaves: int = 0
    arrived: int = 0
    ahead: float = 0.0
    traded: float = 0.0
    answers: int = 0
    path: tuple[int, int] | None = None

    @property
    def in_force(self) -> int:
        return self.flags & codes.TIME_IN_FORCE_MASK

    @property
    def limited(self) -> bool:
        return self.type in {codes.LIMIT, codes.STOP_LIMIT}

    @property
    def immediate(self) -> bool:
        return self.in_force in {codes.IOC, codes.FOK}

    def within(self, other: int) -> bool:
        """Whether the order's limit reaches a price of the other side."""
        return not self.limited or (self.price >= other if self.side > 0 else self.price <= other)


@dataclass
class Market:
    """One instrument at the venue."""

    mode: int
    book: Book
    quote: dict[int, tuple[int, int]] = field(
        default_factory=lambda: {1: (0, 0), -1: (0, 0)}
    )  # By side: +1 bid, -1 ask.
    last: int = 0
    status: int = rows.TRADING
    bar: Any = None
    bar_row: int = -1
    orders: list[Order] = field(default_factory=list)  # Working, oldest first.
    position: int = 0


class Twin:
    """The whole run. verdicts: what the engine's gate said to the n-th order or amend call."""

    def __init__(
        self,
        setup: Setup,
        results: list[tuple[str, int]],
        entry: Callable[[int, int, int], int],
        response: Callable[[int, int, int], int],
    ) -> None:
        self.setup, self.entry, self.response = setup, entry, response
        self.verdicts = [result for name, result in results if name in {"submit", "amend"}]
        self.results: list[tuple[str, int]] = []
        self.markets = [
            Market(mode, Book(each.tick_size)) for each, mode in zip(setup.instruments, setup.modes, strict=True)
        ]
        self.local = list(setup.facts)
        ordered = sorted(setup.facts, key=venue_key)
        index = 0
        self.tape = []
        for fact in ordered:
            self.tape.append((index, fact))
            index += 2 if "tail" in fact else 1
        self.requests: list[tuple[int, str, Order, dict[str, int]]] = []
        self.answers: list[dict[str, Any]] = []
        self.timers: list[tuple[int, int, int] | None] = [None] * 8  # id, due, interval
        self.open: list[Order] = []
        self.foreign = 0
        self.orders: list[Order] = []
        self.log: list[tuple[Any, ...]] = []
        self.fills: list[dict[str, int]] = []
        self.now = 0
        self.last_arrival = self.last_answer = 0
        self.session_end = setup.settings.session_end_ns or NEVER
        self.contracts = [Contract(i.contract, i.price_scale, i.qty_scale, i.contract_size) for i in setup.instruments]
        self.holdings = [Holding(contract) for contract in self.contracts]
        self.touch_seen = [{1: 0, -1: 0} for _ in setup.instruments]  # Bid and ask the node knows.
        self.last_seen = [0] * len(setup.instruments)
        self.books_seen = [Book(each.tick_size) for each in setup.instruments]
        self.funding = [0] * len(setup.instruments)
        self.bar_slots = {
            bar.instrument: slot for slot, bar in enumerate(sorted(setup.bars, key=lambda each: each.instrument))
        }

    # The clock.

    def run(self) -> None:
        while True:
            due: list[tuple[int, int, Callable[[], None]]] = []
            if self.tape:
                due.append((venue_key(self.tape[0][1]), 0, self.venue_row))
            ahead = [order.path[0] for market in self.markets for order in market.orders if order.path]
            if ahead:
                due.append((min(ahead), 1, self.on_path))
            ends = [order.expire for market in self.markets for order in market.orders]
            if ends and min(ends) < NEVER:
                due.append((min(ends), 2, self.expire))
            if self.requests:
                due.append((self.requests[0][0], 3, self.arrive))
            if self.local:
                due.append((self.local[0]["local_ns"], 4, self.market_row))
            if self.answers:
                due.append((self.answers[0]["local_ns"], 5, self.own_fact))
            if any(self.timers) and self.local:
                due.append((min(timer[1] for timer in self.timers if timer), 6, self.fire))
            if not due:
                return
            self.at = min(due, key=lambda each: each[:2])[0]
            min(due, key=lambda each: each[:2])[2]()

    # What the strategy calls.

    @property
    def now_ns(self) -> int:
        return self.now

    def order(self, **fields: int) -> None:
        if "expire_in_ns" in fields:
            fields["expire_ns"] = self.now + fields.pop("expire_in_ns")
        verdict = self.verdicts.pop(0)
        self.results.append(("submit", verdict))
        if verdict < 0:
            return
        order = Order(
            len(self.orders), verdict, fields.get("instrument", 0), fields["side"], fields["type"], fields.get("flags", 0),
            fields.get("price", 0), fields["qty"], fields.get("trigger_price", 0), fields.get("expire_ns", 0), self.now,
        )  # fmt: skip
        order.node_price, order.node_qty = order.price, order.qty
        self.orders.append(order)
        self.open.append(order)
        self.send("new", order, {})

    def amend(self, number: int, price: int, qty: int) -> None:
        if number >= len(self.orders):
            return
        order = self.orders[number]
        verdict = self.verdicts.pop(0)
        self.results.append(("amend", verdict))
        if verdict < 0:
            return
        assert order.state in OPEN
        order.amends.append(qty)
        order.asked_amends += 1
        self.send("amend", order, {"price": price, "qty": qty})

    def cancel(self, number: int) -> None:
        if number >= len(self.orders):
            return
        order = self.orders[number]
        reused = self.slot_reused(order)
        if order.state in OPEN:
            self.results.append(("cancel", order.id))
            self.send_cancel(order)
        else:
            self.results.append(("cancel", -(codes.REJECT_UNKNOWN_ORDER if reused else codes.REJECT_TERMINAL)))

    capacity = 16

    def slot_reused(self, order: Order, *, at_venue: bool = False) -> bool:
        """Whether a later order has an order's slot: its answers are then nobody's, and the venue gives none any more."""
        later = (
            each for each in self.orders[order.number + 1 :] if each.id % self.capacity == order.id % self.capacity
        )
        return any(each.arrived or not at_venue for each in later)

    def send_cancel(self, order: Order) -> bool:
        if order.cancelling:
            return False
        order.cancelling = True
        self.send("cancel", order, {})
        return True

    def cancel_all(self, instrument: int) -> None:
        sent = 0
        for order in list(reversed(self.open)):
            if instrument in {-1, order.instrument}:
                sent += self.send_cancel(order)
        self.results.append(("cancel_all", sent))

    def timer(self, timer_id: int, in_ns: int | None, interval_ns: int = 0) -> None:
        """A timer keeps its place in the table; a new one takes the first free place."""
        self.results.append(("set_timer", 0))
        places = [place for place, timer in enumerate(self.timers) if timer and timer[0] == timer_id]
        free = [place for place, timer in enumerate(self.timers) if timer is None]
        due = 0 if in_ns is None else self.now + in_ns
        place = (places or free)[0]
        if due or places:
            self.timers[place] = (timer_id, due, interval_ns) if due else None

    def send(self, what: str, order: Order, change: dict[str, int]) -> None:
        arrival = max(self.now + self.entry(self.now, order.id, order.requests), self.last_arrival)
        order.requests += 1
        self.last_arrival = arrival
        self.requests.append((arrival, what, order, change))

    # The node.

    def tell(self, name: str, *seen: Any) -> None:
        number = len(self.log)
        self.log.append((name, *seen))
        carry_out(self, self.setup.script.get(number, ()))

    def market_row(self) -> None:
        fact = self.local.pop(0)
        self.now = fact["local_ns"]
        kind, instrument, flags = fact["kind"], fact["instrument"], fact.get("flags", 0)
        seen = (kind, fact["venue_ns"], fact["local_ns"], instrument)
        told = self.setup.sees is None or instrument in self.setup.sees
        touch = self.touch_seen[instrument]
        if kind == rows.TRADE:
            if not flags & rows.FLAG_OFF_MARKET:
                self.last_seen[instrument] = fact["price"]
            if told:
                self.tell("on_trade", *seen)
        elif kind == rows.QUOTE:
            touch[1], touch[-1] = fact["bid"], fact["ask"]
            if told:
                self.tell("on_quote", *seen)
        elif kind == rows.BAR:
            self.last_seen[instrument] = fact["close"]
            if told and instrument in self.bar_slots:
                start = fact["venue_ns"] - fact["tail"]["interval_ns"]
                prices = (fact[each] for each in ("open", "high", "low", "close"))
                self.tell(
                    "on_bar",
                    *seen[:3],
                    self.bar_slots[instrument],
                    start,
                    fact["venue_ns"],
                    *prices,
                    fact["tail"]["volume"],
                )
        elif kind == rows.FUNDING:
            qty = sum(fill.side * fill.qty for fill in self.holdings[instrument].fills)
            self.funding[instrument] += funding(self.contracts[instrument], qty, fact["price"], fact["rate"])
        elif rows.LEVEL <= kind <= rows.CLEAR and self.setup.modes[instrument] == venue_kernel.DEPTH:
            book = self.books_seen[instrument]
            book.apply(kind, int(fact.get("side", 0) < 0), fact.get("price", 0), fact.get("qty", 0), flags)
            if flags & rows.FLAG_EVENT_END or kind == rows.SNAPSHOT_END:
                touch[1], touch[-1] = book.best(0)[0], book.best(1)[0]
                if told:
                    self.tell("on_book", *seen)

    def fire(self) -> None:
        place = min((timer[1], place) for place, timer in enumerate(self.timers) if timer)[1]
        timer = self.timers[place]
        assert timer
        timer_id, due, interval = timer
        self.now = max(self.now, due)
        self.timers[place] = (
            (timer_id, due + ((self.now - due) // interval + 1) * interval, interval) if interval else None
        )
        self.tell("on_timer", rows.TIMER, self.now, timer_id, due)

    def own_fact(self) -> None:
        fact = self.answers.pop(0)
        assert fact["local_ns"] >= self.now
        self.now = fact["local_ns"]
        order, kind = fact["order"], fact["kind"]
        if self.slot_reused(order):
            self.foreign += 1
            return
        seen = (kind, fact["venue_ns"], self.now, order.number, fact["price"], fact["qty"])
        if kind == rows.FILL:
            self.own_fill(order, fact, seen)
            return
        if order.state in OPEN:
            self.apply(order, fact)
        self.tell("on_order", *seen, fact["code"])

    def own_fill(self, order: Order, fact: dict[str, Any], seen: tuple[Any, ...]) -> None:
        assert order.state in OPEN, "the simulated venue fills no order that it has ended"
        order.filled += fact["qty"]
        self.holdings[order.instrument].fills.append(Booked(order.side, fact["price"], fact["qty"], fact["fee"]))
        done = order.filled >= max(order.node_qty, *order.amends, 0)
        self.fills.append(
            {
                "local_ns": self.now, "venue_ns": fact["venue_ns"], "instrument": order.instrument, "side": order.side, "order": order.number,
                "price_int": fact["price"], "qty_int": fact["qty"], "fee_int": fact["fee"], "maker": int(fact["maker"]),
                "cause_id": fact["cause"], "decided_ns": order.decided,
                "position_after_int": sum(fill.side * fill.qty for fill in self.holdings[order.instrument].fills),
            }
        )  # fmt: skip
        order.state = "PARTIAL"
        if done:
            self.close(order, "FILLED")
        tail = (fact["fee"], fact["maker"], fact["cause"], fact["leaves"])
        self.tell("on_fill", *seen, *tail)
        if done:
            self.tell("on_order", *seen, *tail)

    def apply(self, order: Order, fact: dict[str, Any]) -> None:
        kind = fact["kind"]
        if kind == rows.ACK:
            order.state = "PARTIAL" if order.filled else "ACKED"
        elif kind in {rows.AMENDED, rows.AMEND_REJECT}:
            order.answered_amends += 1
            if kind == rows.AMENDED:
                order.node_price, order.node_qty = fact["price"], fact["qty"]
            else:
                order.code = fact["code"]
            if order.answered_amends == order.asked_amends:
                order.amends.clear()
                if order.filled >= order.node_qty:
                    self.close(order, "FILLED")
        elif kind == rows.CANCEL_REJECT:
            order.cancelling = False
            order.code = fact["code"]
        else:
            order.code = fact["code"]
            self.close(order, {rows.REJECT: "REJECTED", rows.CANCELLED: "CANCELLED", rows.EXPIRED: "EXPIRED"}[kind])

    def close(self, order: Order, state: str) -> None:
        order.state = state
        at = self.open.index(order)
        last = self.open.pop()
        if last is not order:
            self.open[at] = last

    # The venue.

    def answer(self, kind: int, order: Order, at: int, qty: int, code: int = 0, **more: Any) -> None:
        self.last_answer = max(self.last_answer, at + self.response(at, order.id, order.answers))
        order.answers += 1
        fact = {
            "kind": kind,
            "order": order,
            "venue_ns": at,
            "local_ns": self.last_answer,
            "price": order.price,
            "qty": qty,
            "code": code,
        }
        self.answers.append(fact | more)

    def venue_row(self) -> None:
        index, fact = self.tape.pop(0)
        market = self.markets[fact["instrument"]]
        kind, flags = fact["kind"], fact.get("flags", 0)
        at = fact["venue_ns"] or fact["local_ns"]
        if kind == rows.TRADE and not flags & rows.FLAG_OFF_MARKET:
            market.last = fact["price"]
            if market.status == rows.TRADING:
                self.print_meets_orders(market, fact, at, index)
        elif kind == rows.QUOTE and market.mode == venue_kernel.TOUCH:
            before = dict(market.quote)
            market.quote = {1: (fact["bid"], fact["bid_qty"]), -1: (fact["ask"], fact["ask_qty"])}
            if market.status == rows.TRADING:
                self.touch_meets_orders(market, before, at, index)
        elif kind == rows.BAR and market.mode == venue_kernel.BARS:
            market.bar = (
                at - fact["tail"]["interval_ns"],
                at,
                *(fact[each] for each in ("open", "high", "low", "close")),
            )
            market.bar_row = index
            for order in market.orders:
                self.find_path(market, order)
        elif kind == rows.STATUS:
            market.status = fact["status"]
        elif rows.LEVEL <= kind <= rows.CLEAR and market.mode == venue_kernel.DEPTH:
            self.depth_row(market, fact, at, index)

    def depth_row(self, market: Market, fact: Any, at: int, index: int) -> None:
        kind, side = fact["kind"], fact.get("side", 0)
        price, qty, flags = fact.get("price", 0), fact.get("qty", 0), fact.get("flags", 0)
        before = market.book.sides[int(side < 0)].get(price, 0)
        market.book.apply(kind, int(side < 0), price, qty, flags)
        resting = [order for order in market.orders if order.working == "rests"]
        if kind == rows.LEVEL:
            for order in resting:
                if order.side == side and order.price == price:
                    self.displayed(order, before, qty)
            if market.status == rows.TRADING:
                self.reach(market, -side, price, qty - before, at, index)
                if market.last == 0 and flags & rows.FLAG_EVENT_END:
                    self.stops_without_prints(market, at, index)
        elif kind == rows.SNAPSHOT_END:
            for order in resting:
                order.ahead = min(order.ahead, self.line(market, order.side, order.price))
                order.traded = 0.0

    def best(self, market: Market, side: int) -> tuple[int, int]:
        """(price, quantity) that an order of a side would take first."""
        if market.mode == venue_kernel.DEPTH:
            return market.book.best(int(side > 0))
        if market.mode == venue_kernel.PRINTS:
            return market.last, INFINITE if market.last else 0
        return market.quote[-side]

    def offers(self, market: Market, order: Order) -> list[tuple[int, int]]:
        """All (price, quantity) within an order's limit, best first."""
        side = order.side
        ladder = market.book.ladder(int(side > 0)) if market.mode == venue_kernel.DEPTH else [self.best(market, side)]
        return [(price, qty) for price, qty in ladder if qty > 0 and order.within(price)]

    def line(self, market: Market, side: int, price: int) -> float:
        if market.mode == venue_kernel.DEPTH:
            return float(market.book.sides[int(side < 0)].get(price, 0))
        if market.mode == venue_kernel.TOUCH:
            best, qty = market.quote[side]
            if price == best:
                return float(qty)
            if (price - best) * side > 0 and qty:
                return 0.0
        return UNKNOWN_LINE

    def displayed(self, order: Order, before: int, after: int) -> None:
        """Quantity displayed at an order's price changed. Prints since the last change explain a part of what is gone."""
        model = self.setup.settings.queue_model
        shrunk = before - after - order.traded
        if model == "risk_averse" or shrunk <= 0:
            order.traded = order.traded if model == "risk_averse" else 0.0
            order.ahead = min(order.ahead, float(after))
            return

        def weight(qty: float) -> float:
            return log1p(qty) if model == "log" else qty**self.setup.settings.queue_power

        order.traded = 0.0
        behind = max(before - order.ahead, 0.0)
        total = weight(order.ahead) + weight(behind)
        share = weight(order.ahead) / total if total else 1.0
        gone_ahead = share * shrunk + max((1 - share) * shrunk - behind, 0.0)
        order.ahead = min(max(order.ahead - gone_ahead, 0.0), float(after))

    def closable(self, market: Market, order: Order) -> int:
        return max(-market.position * order.side, 0)

    def wanted(self, market: Market, order: Order) -> int:
        return min(order.leaves, self.closable(market, order)) if order.flags & codes.REDUCE_ONLY else order.leaves

    def fill(self, market: Market, order: Order, price: int, qty: int, at: int, maker: bool, cause: int) -> int:
        got = min(qty, self.wanted(market, order))
        if got:
            order.leaves -= got
            market.position += got * order.side
            instrument = self.setup.instruments[order.instrument]
            amount = abs(self.contracts[order.instrument].value(got, price))
            rate = instrument.maker_fee if maker else instrument.taker_fee
            self.answer(rows.FILL, order, at, got, fee=fee(amount, rate), maker=maker, cause=cause, leaves=order.leaves)
            self.answers[-1]["price"] = price
        if order.flags & codes.REDUCE_ONLY and order.leaves and not self.closable(market, order):
            self.answer(rows.EXPIRED, order, at, order.leaves, codes.REASON_REDUCE_ONLY)
            order.leaves = 0
        if order.leaves == 0 and order in market.orders:
            market.orders.remove(order)
            order.working = ""
        return got

    def take(self, market: Market, order: Order, at: int, cause: int) -> None:
        side = order.side
        for price, qty in self.offers(market, order):
            if not order.leaves:
                return
            got = self.fill(market, order, price, min(qty, order.leaves), at, False, cause)
            if self.setup.settings.deplete and market.mode == venue_kernel.DEPTH:
                market.book.set(int(side > 0), price, qty - got)
            elif self.setup.settings.deplete and market.mode == venue_kernel.TOUCH:
                market.quote[-side] = (price, qty - got)

    def end(self, market: Market, order: Order, at: int, code: int) -> None:
        if order in market.orders:
            market.orders.remove(order)
        order.working = ""
        self.answer(rows.EXPIRED, order, at, order.leaves, code)

    def reach(self, market: Market, side: int, price: int, new: int, at: int, index: int) -> None:
        """What is new on the other side at a price goes to our orders it reaches: best price first, oldest first."""
        reached = [
            order for order in market.orders if order.working == "rests" and order.side == side and order.within(price)
        ]
        for order in sorted(reached, key=lambda each: -each.price * side):
            if new > 0:
                new -= self.fill(market, order, order.price, min(new, order.leaves), at, True, index)

    def print_meets_orders(self, market: Market, fact: Any, at: int, index: int) -> None:
        price, shared = fact["price"], 0
        for order in list(market.orders):
            if order.working == "stop":
                if (price - order.trigger) * order.side >= 0:
                    self.trigger(market, order, at, index)
            elif order.side != fact["side"]:
                if (order.price - price) * order.side > 0:
                    self.fill(market, order, order.price, order.leaves, at, True, index)
                elif order.price == price:
                    order.traded += fact["qty"]
                    past = fact["qty"] - order.ahead
                    order.ahead = max(-past, 0.0)
                    offered = min(int(max(past, 0)) - shared, order.leaves)
                    if offered > 0:
                        shared += self.fill(market, order, order.price, offered, at, True, index)

    def touch_meets_orders(self, market: Market, before: dict[int, tuple[int, int]], at: int, index: int) -> None:
        for order in [each for each in market.orders if each.working == "rests"]:
            best, qty = market.quote[order.side]
            other, other_qty = market.quote[-order.side]
            if other_qty and order.within(other):
                continue
            if order.price == best:
                if order.ahead == UNKNOWN_LINE:
                    order.ahead, order.traded = float(qty), 0.0
                else:
                    self.displayed(order, before[order.side][1] if before[order.side][0] == best else qty, qty)
            elif (order.price - best) * order.side > 0:
                order.ahead, order.traded = 0.0, 0.0
        for side in (1, -1):
            price, qty = market.quote[-side]
            new = qty - before[-side][1] if before[-side][0] == price else qty
            if qty:
                self.reach(market, side, price, new, at, index)
        if market.last == 0:
            self.stops_without_prints(market, at, index)

    def stops_without_prints(self, market: Market, at: int, index: int) -> None:
        for order in [each for each in market.orders if each.working == "stop"]:
            price, qty = self.best(market, order.side)
            if qty and (price - order.trigger) * order.side >= 0:
                self.trigger(market, order, at, index)

    def trigger(self, market: Market, order: Order, at: int, index: int) -> None:
        offered = sum(qty for _, qty in self.offers(market, order))
        if order.flags & codes.POST_ONLY and offered:
            self.end(market, order, at, codes.REASON_POST_ONLY)
        elif order.in_force == codes.FOK and offered < self.wanted(market, order):
            self.end(market, order, at, codes.REASON_FILL_OR_KILL)
        else:
            self.take(market, order, at, index)
            if order.leaves and not order.limited:
                self.end(market, order, at, codes.REASON_NO_LIQUIDITY)
            elif order.leaves and order.immediate:
                self.end(market, order, at, codes.REASON_IOC)
            elif order.leaves:
                order.working, order.ahead, order.traded = "rests", self.line(market, order.side, order.price), 0.0

    def expire(self) -> None:
        for market in self.markets:
            for order in [each for each in market.orders if each.expire <= self.at]:
                self.end(market, order, order.expire, codes.REASON_TIME)

    # Requests.

    def arrive(self) -> None:
        at, what, order, change = self.requests.pop(0)
        market = self.markets[order.instrument]
        if what == "new":
            self.arrive_new(market, order, at)
        elif self.slot_reused(order, at_venue=True):
            pass
        elif not order.working:
            self.answer(
                rows.CANCEL_REJECT if what == "cancel" else rows.AMEND_REJECT, order, at, 0, codes.REASON_UNKNOWN_ORDER
            )
        elif what == "cancel":
            market.orders.remove(order)
            order.working = ""
            self.answer(rows.CANCELLED, order, at, order.leaves, codes.REASON_REQUESTED)
        else:
            self.arrive_amend(market, order, at, change)

    def accepts(self, market: Market, order: Order) -> bool:
        post_only = bool(order.flags & codes.POST_ONLY)
        return market.status == rows.TRADING or (market.status == rows.POST_ONLY_STATUS and post_only)

    def arrive_new(self, market: Market, order: Order, at: int) -> None:
        order.leaves, order.arrived = order.qty, at
        interval = self.setup.settings.session_interval_ns
        while interval > 0 and self.session_end <= at:
            self.session_end += interval
        order.expire = {codes.GTD: order.expire, codes.DAY: self.session_end}.get(order.in_force, NEVER)
        if not self.accepts(market, order):
            self.answer(rows.REJECT, order, at, order.leaves, codes.REASON_STATUS)
        elif order.flags & codes.REDUCE_ONLY and not self.closable(market, order):
            self.answer(rows.REJECT, order, at, order.leaves, codes.REASON_REDUCE_ONLY)
        elif order.expire <= at:
            self.answer(rows.EXPIRED, order, at, order.leaves, codes.REASON_TIME)
        else:
            self.place(market, order, at, rows.ACK)

    def arrive_amend(self, market: Market, order: Order, at: int, change: dict[str, int]) -> None:
        price, qty = change["price"], change["qty"]
        if not self.accepts(market, order):
            self.answer(rows.AMEND_REJECT, order, at, order.leaves, codes.REASON_STATUS)
            return
        if order.flags & codes.POST_ONLY and order.working == "rests":
            on_bar = market.mode == venue_kernel.BARS
            other = self.path_price(market, order.side, at) if on_bar else self.best(market, order.side)[0]
            there = other is not None if on_bar else self.best(market, order.side)[1] > 0
            if there and (price - other) * order.side >= 0:
                self.answer(rows.AMEND_REJECT, order, at, order.leaves, codes.REASON_POST_ONLY)
                return
        filled = order.qty - order.leaves
        if qty <= filled:
            market.orders.remove(order)
            order.working = ""
            self.answer(rows.CANCELLED, order, at, order.leaves, codes.REASON_REQUESTED)
            return
        keeps = (price == order.price and qty <= order.qty) or order.working == "stop"
        order.price, order.qty, order.leaves = price, qty, qty - filled
        if keeps:
            self.answer(rows.AMENDED, order, at, qty)
            return
        market.orders.remove(order)
        order.working, order.arrived = "", at
        self.place(market, order, at, rows.AMENDED)

    def rest(self, market: Market, order: Order, at: int, kind: int, working: str) -> None:
        order.working = working
        order.ahead, order.traded, order.path = 0.0, 0.0, None
        if working == "rests" and market.mode != venue_kernel.BARS:
            order.ahead = self.line(market, order.side, order.price)
        market.orders.append(order)
        if kind:
            self.answer(kind, order, at, order.qty)
        if market.mode == venue_kernel.BARS:
            self.find_path(market, order)

    def place(self, market: Market, order: Order, at: int, kind: int) -> None:
        if order.type in {codes.STOP, codes.STOP_LIMIT}:
            reference = market.last or self.best(market, order.side)[0]
            reached = reference > 0 and (reference - order.trigger) * order.side >= 0
            if market.mode == venue_kernel.BARS or not reached:
                self.rest(market, order, at, kind, "stop")
                return
        if market.mode == venue_kernel.BARS:
            self.place_on_bar(market, order, at, kind)
            return
        offered = sum(qty for _, qty in self.offers(market, order))
        wanted = self.wanted(market, order)
        if order.flags & codes.POST_ONLY and offered:
            self.answer(rows.REJECT, order, at, order.leaves, codes.REASON_POST_ONLY)
            return
        if order.in_force == codes.FOK and offered < wanted:
            self.answer(rows.EXPIRED, order, at, order.leaves, codes.REASON_FILL_OR_KILL)
            return
        may_rest = order.limited and not order.immediate
        said = offered and (kind == rows.AMENDED or (may_rest and offered < order.leaves))
        if said:
            self.answer(kind, order, at, order.qty)
        self.take(market, order, at, -1)
        if order.leaves and may_rest:
            self.rest(market, order, at, 0 if offered else kind, "rests")
        elif order.leaves:
            self.answer(
                rows.EXPIRED, order, at, order.leaves, codes.REASON_IOC if order.limited else codes.REASON_NO_LIQUIDITY
            )

    # The path through a bar.

    def place_on_bar(self, market: Market, order: Order, at: int, kind: int) -> None:
        price = self.path_price(market, order.side, at)
        if price is not None and order.within(price):
            if order.flags & codes.POST_ONLY and order.limited:
                self.answer(rows.REJECT, order, at, order.leaves, codes.REASON_POST_ONLY)
                return
            if kind == rows.AMENDED:
                self.answer(kind, order, at, order.qty)
            self.fill(market, order, price, order.leaves, at, False, -1)
        elif price is not None and order.immediate:
            self.answer(rows.EXPIRED, order, at, order.leaves, codes.REASON_IOC)
        else:
            self.rest(market, order, at, kind, "rests")

    def points(self, market: Market, side: int) -> list[tuple[int, int]]:
        start, end, open_, high, low, close = market.bar
        path = self.setup.settings.bar_path
        high_first = {
            "ohlc": True, "olhc": False, "worst": side > 0, "nearest": high - open_ <= open_ - low
        }[path]  # fmt: skip
        prices = [open_, high, low, close] if high_first else [open_, low, high, close]
        return [(start + (end - start) * part // 3, price) for part, price in enumerate(prices)]

    def exact(self, market: Market, side: int, at: int) -> Fraction:
        points = self.points(market, side)
        for (start, low), (end, high) in pairwise(points):
            if at <= end:
                return Fraction(low) if start == end else low + Fraction(at - start, end - start) * (high - low)
        raise AssertionError(at)

    def path_price(self, market: Market, side: int, at: int) -> Any:
        """What a taker pays at a moment of the current bar; None outside one."""
        if market.bar is None or at >= market.bar[1]:
            return None
        exact = market.bar[2] if at <= market.bar[0] else self.exact(market, side, at)
        tick = self.setup.instruments[self.markets.index(market)].tick_size
        if at <= market.bar[0]:
            return exact
        return (ceil(exact / Fraction(tick)) if side > 0 else floor(exact / Fraction(tick))) * tick

    def find_path(self, market: Market, order: Order) -> None:
        """When and at what price the current bar's path meets an order: looked for at every nanosecond."""
        order.path = None
        if market.bar is None:
            return
        start, end = market.bar[:2]
        waits_for_open = order.working == "rests" and (not order.limited or order.immediate or order.type == codes.STOP)
        if waits_for_open:
            if start >= order.arrived:
                order.path = (start, market.bar[2])
            return
        first = max(order.arrived, start)
        if first >= end:
            return
        stop = order.working == "stop"
        level = order.trigger if stop else order.price
        up = 1 if (order.side > 0) == stop else -1
        here = self.path_price(market, order.side, first)
        if (here - level) * up >= 0:
            order.path = (first, here)
            return
        strict = not stop and not self.setup.settings.touch_fills
        points = self.points(market, order.side)
        for (from_ns, _), (to_ns, target) in pairwise(points):
            if to_ns <= first or (target - level) * up < strict:
                continue
            moments = [
                at
                for at in range(max(from_ns, first), to_ns + 1)
                if (self.exact(market, order.side, at) - level) * up >= 0
            ]
            order.path = (moments[0] if from_ns < to_ns else to_ns, level)
            return

    def on_path(self) -> None:
        for market in self.markets:
            for order in list(market.orders):
                if order.path is None or order.path[0] > self.at:
                    continue
                at, price = order.path
                takes = order.working == "stop" or not order.limited or order.immediate
                if takes and order.limited and not order.within(price):
                    if order.immediate:
                        self.end(market, order, at, codes.REASON_IOC)
                        continue
                    order.working, order.arrived = "rests", at
                    self.find_path(market, order)
                elif takes and order.limited and order.flags & codes.POST_ONLY:
                    self.end(market, order, at, codes.REASON_POST_ONLY)
                else:
                    self.fill(market, order, price, order.leaves, at, not takes, market.bar_row)

    # Money.

    def converted(self, instrument: int, amount: int) -> int:
        """Money of an instrument's settlement currency in the account's, at rates that leave nothing to round."""
        settle = self.setup.instruments[instrument].settle
        exact = Fraction(amount * self.setup.rates.get(settle, 10**8), 10**8)
        assert exact.denominator == 1
        return int(exact)

    def cash(self) -> int:
        total = self.setup.cash
        for instrument, holding in enumerate(self.holdings):
            paid = sum(fill.fee for fill in holding.fills)
            total += self.converted(instrument, holding.realised() - paid + self.funding[instrument])
        return total

    def equity(self) -> int:
        total = self.cash()
        for instrument, holding in enumerate(self.holdings):
            qty = holding.fold()[0]
            touch = self.touch_seen[instrument][1 if qty > 0 else -1] or self.last_seen[instrument]
            total += self.converted(instrument, holding.unrealised(touch))
        return total
