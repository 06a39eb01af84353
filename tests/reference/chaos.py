"""A gateway's session with everything going wrong, by a seed: requests and answers lost, late or errors, frames shuffled, doubled, dropped."""

import random

from reference.gateway_world import LOT, World, refusal
from reference.order_venue import OPEN, VenueOrder
from reference.worst_case import WINDOW_NS, legs_of

from twinloop.engine.gateway import outcome as kinds

ERRORS = (
    (500, b""),
    (502, b"<html>bad gateway</html>"),
    (403, b"<html>forbidden</html>"),
    (503, b'{"code":-1001,"msg":"Unknown error, please check your request or try again later."}'),
    (400, b'{"code":-1006,"msg":"Execution status unknown."}'),
    (400, b'{"code":-1007,"msg":"Timeout; execution status unknown."}'),
    (200, b""),
    (200, b'{"code": 1'),
    (200, b'{"orderId": "seven"}'),
)


class Chaos:
    """One seeded session with everything going wrong, then healing."""

    def __init__(self, market: str, seed: int, *, restarts: bool = False, orders_max: int = 5) -> None:
        self.restarts, self.orders_max = restarts, orders_max
        self.dice = random.Random(seed)
        self.world = World(market)
        self.number = 16
        self.seen_frames: list[bytes] = []

    def act(self) -> None:
        world, dice = self.world, self.dice
        move = dice.randrange(12)
        if self.restarts and dice.random() < 0.03:
            world.restart(dice.choice(["snapshot", "journal", "snapshot and tail"]))
        elif self.restarts and dice.random() < 0.03:
            world.save()
        live = [number for number, order in world.orders.items() if order.open]
        if move == 0 and len(world.orders) < self.orders_max:
            self.number += dice.choice([1, 1, 17])
            world.new(self.number, dice.choice([1, 2, 5]) * LOT, side=dice.choice([1, -1]))
        elif move == 1 and live:
            world.cancel(dice.choice(live))
        elif move == 2 and live:
            number = dice.choice(live)
            world.amend(number, dice.choice([1, 2, 3, 7]) * LOT, dice.choice([10_000, 10_100]))
        elif move == 3:
            self.fill()
        elif move == 4:
            working = [order for order in world.venue.orders if order.status in OPEN]
            if working:
                world.venue.end(dice.choice(working), dice.choice(["CANCELED", "EXPIRED"]))
        elif move in {5, 6} and world.held:
            self.fate(world.held.pop(dice.randrange(len(world.held))))
        elif move == 7 and world.answered:
            world.deliver(dice.randrange(len(world.answered)))
        elif move in {8, 9} and world.venue.frames:
            self.frame()
        elif move == 10 and self.seen_frames:
            world.frame(dice.choice(self.seen_frames))
        else:
            world.tick(dice.choice([10, 100, 1500]))

    def fill(self) -> None:
        working = [order for order in self.world.venue.orders if order.status in OPEN]
        if working:
            order = self.dice.choice(working)
            self.world.venue.now_ms = self.world.now_ns // 1_000_000
            self.world.venue.fill(order, self.dice.choice([LOT // 2, LOT, 5 * LOT]))

    def fate(self, outgoing: kinds.Outgoing) -> None:
        world, fate = self.world, self.dice.randrange(6)
        if fate == 0:
            world.lose(outgoing)  # It never arrived.
        elif fate == 1:
            world.arrive(outgoing)  # The answer is lost.
            world.answered.pop()
            world.lose(outgoing)
        elif fate == 2:
            world.arrive(outgoing)
            world.answered.pop()
            world.respond(outgoing, *self.dice.choice(ERRORS))
        elif fate == 3:
            world.arrive(outgoing)  # Late: the time-out comes first, the answer after it.
            world.lose(outgoing)
        else:
            world.arrive(outgoing)

    def frame(self) -> None:
        frame = self.world.venue.frames.pop(self.dice.randrange(len(self.world.venue.frames)))
        if self.dice.random() < 0.3:
            return  # Lost for ever.
        self.seen_frames.append(frame)
        self.world.frame(frame)
        if self.dice.random() < 0.3:
            self.world.frame(frame)

    def heal(self) -> None:
        world = self.world
        for outgoing in world.held:
            world.lose(outgoing)
        world.held.clear()
        while world.answered:
            world.deliver()
        world.venue.frames.clear()
        world.run(70, frames=self.dice.random() < 0.5)
        for frame in self.seen_frames:
            world.frame(frame)  # A stream that replays everything at its next connection.
        world.run(40)


class WiderChaos(Chaos):
    """What else the outside does: other hands on the account, self-trade prevention, a stream that goes and comes, limits and clocks.

    Nobody but us makes an order larger here: what others add cannot be reserved before it is told.
    """

    def __init__(self, market: str, seed: int, *, restarts: bool = False, orders_max: int = 5) -> None:
        super().__init__(market, seed, restarts=restarts, orders_max=orders_max)
        self.world.venue.meets = self._meets

    def _meets(self, order: VenueOrder) -> None:
        """Some new orders find something to trade with, and some of those want no more than that."""
        if self.dice.random() < 0.25:
            self.world.venue.fill(order, self.dice.choice([LOT // 2, LOT, 5 * LOT]))
            if order.status in OPEN and self.dice.random() < 0.5:
                self.world.venue.end(order, "EXPIRED")

    def act(self) -> None:
        if self.dice.random() < 0.85:
            super().act()
            return
        name = self.dice.choice(
            ["by_hand", "ends", "stays", "too_late", "stream", "busy", "stranger", "cancel_all", "later"]
        )
        self.world.venue.now_ms = self.world.now_ns // 1_000_000
        getattr(self, f"_{name}")()

    def fate(self, outgoing: kinds.Outgoing) -> None:
        if self.world.now_ns - outgoing.sent_ns > WINDOW_NS:
            self.world.lose(outgoing)  # The venue would refuse it, and nobody hears of that.
        else:
            super().fate(outgoing)

    def _working(self) -> VenueOrder | None:
        """One of ours that works."""
        venue = self.world.venue
        ours = [venue.find(each) for number in self.world.orders for each in legs_of(self.world, number)]
        working = [order for order in ours if order is not None and order.status in OPEN]
        return self.dice.choice(working) if working else None

    def _by_hand(self) -> None:
        order = self._working()
        if order is not None:
            usdm = self.world.settings.market == "usdm"
            order.qty = max(order.executed + 1, min(order.qty, self.dice.choice([1, 2, 3]) * LOT))
            order.price = self.dice.choice([10_000, 10_200]) if usdm else order.price
            self.world.venue.frame(order, "AMENDMENT" if usdm else "REPLACED")

    def _ends(self) -> None:
        order = self._working()
        if order is not None:
            self.world.venue.end(order, "EXPIRED_IN_MATCH")

    def _held(self) -> kinds.Outgoing | None:
        held = self.world.held
        return held.pop(self.dice.randrange(len(held))) if held else None

    def _stays(self) -> None:
        outgoing = self._held()
        if outgoing is not None:
            self.world.keep(self.world.gateway.on_not_sent(outgoing, *self.world.times))

    def _too_late(self) -> None:
        outgoing = self._held()
        if outgoing is not None:
            self.world.respond(
                outgoing, 400, refusal(-1021, "Timestamp for this request is outside of the recvWindow.")
            )

    def _busy(self) -> None:
        outgoing = self._held()
        if outgoing is not None:
            retry_after = {"Retry-After": self.dice.choice("13")}
            self.world.respond(outgoing, 429, refusal(-1003, "Too much request weight used."), retry_after)

    def _stream(self) -> None:
        world = self.world
        world.keep(world.gateway.on_stream(up=False, now_ns=world.now_ns, mono_ns=world.mono_ns))
        if self.dice.random() < 0.5:
            world.venue.frames.clear()
        world.keep(world.gateway.on_stream(up=True, now_ns=world.now_ns, mono_ns=world.mono_ns))

    def _stranger(self) -> None:
        venue = self.world.venue
        others = [order for order in venue.orders if order.status in OPEN and order.client_id.startswith("web_")]
        if others and self.dice.random() < 0.5:
            venue.fill(others[0], LOT // 2)
        else:
            terms = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "quantity": "1.000", "price": "99.00"}
            venue.place(terms, f"web_{len(venue.orders)}")

    def _later(self) -> None:
        """Long enough for a sweep to leave trades behind it, seldom."""
        self.world.tick(self.dice.choice([5_000, 12_000, 130_000]))

    def _cancel_all(self) -> None:
        world = self.world
        world.keep(world.gateway.cancel_all(*world.times))
        for order in world.orders.values():
            order.pending_cancel = order.pending_cancel or order.open
