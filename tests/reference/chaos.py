"""A gateway's session with everything going wrong, by a seed: requests and answers lost, late or errors, frames shuffled, doubled, dropped."""

import random

from reference.gateway_world import LOT, World
from reference.order_venue import OPEN

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
