"""Whatever order facts come in, however often, and whatever is lost: the end is the venue's truth, and each fill is booked once.

The oracle is the venue of tests/reference: what it holds at the end is what the kernel must have been told. Requests and answers are lost,
delayed or turned into errors, frames are shuffled, doubled and dropped; then the way heals and the sweeps do their work.
"""

from collections import Counter
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.chaos import Chaos, WiderChaos
from reference.gateway_world import LOT, World
from reference.order_venue import OPEN
from reference.worst_case import kernel_holds, may_fill

from twinloop.engine.gateway import outcome as kinds
from twinloop.kernels import codes

ENDS = {"FILLED": "FILLED", "CANCELED": "CANCELLED", "EXPIRED": "EXPIRED", "EXPIRED_IN_MATCH": "EXPIRED"}
# Why an order never was at the venue: refused here, or there; or proven absent.
NEVER_THERE = {
    codes.REASON_ABSENT, codes.REASON_CLOCK, codes.REASON_RATE, codes.REASON_NOT_SENT,
}  # fmt: skip


def check(world: World) -> None:
    venue, gateway = world.venue, world.gateway
    assert gateway.unproven == 0
    booked = Counter(trade_id for _, trade_id, _, _ in world.fills)
    assert booked == Counter(trade.trade_id for trade in venue.trades), "each fill once, none invented"
    assert not gateway.book.orphans
    for number, order in world.orders.items():
        legs = [each for each in venue.orders if f"-6-{base36(number)}-" in each.client_id]
        filled = sum(leg.executed for leg in legs)
        assert order.filled == filled
        working = [leg for leg in legs if leg.status in OPEN]
        where = f"order {number}: {order} at the venue {legs}"
        if working:
            assert len(working) == 1, where
            assert order.state == ("PARTIAL" if filled else "ACKED"), where
            assert order.price == working[0].price, where
            assert order.qty - order.filled == working[0].qty - working[0].executed, where
            assert order.amends == 0, where
        elif not legs:
            assert order.state == "REJECTED", where
            assert order.code in NEVER_THERE, where
        else:
            assert not order.open, where
            if order.filled >= order.qty:
                continue
            if (order.state, order.code) == ("REJECTED", 81):
                # Longer on its way than the venue's horizon: proven absent, then there. If it is seen it is cancelled; a fill is booked.
                assert not filled or "LATE_APPEARANCE" in world.names(), where
                continue
            assert order.state in {ENDS[leg.status] for leg in legs} | {"CANCELLED"}, where
    # An id is never used for two orders.
    assert max(Counter(order.client_id for order in venue.orders).values(), default=1) == 1
    held = {order.order_id for order in gateway.open_orders}
    assert held == {number for number, order in world.orders.items() if order.open}


def base36(number: int) -> str:
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while number:
        number, rest = divmod(number, 36)
        text = digits[rest] + text
    return text


@pytest.mark.parametrize("market", ["spot", "usdm"])
@given(seed=st.integers(0, 2**32), moves=st.integers(5, 120))
def test_any_order_of_facts_ends_in_the_venues_truth(market: str, seed: int, moves: int) -> None:
    chaos = Chaos(market, seed)
    for _ in range(moves):
        chaos.act()
    chaos.heal()
    check(chaos.world)


@pytest.mark.parametrize("market", ["spot", "usdm"])
@given(seed=st.integers(0, 2**32), moves=st.integers(5, 200))
def test_any_order_of_facts_with_restarts_ends_in_the_venues_truth(market: str, seed: int, moves: int) -> None:
    chaos = Chaos(market, seed, restarts=True)
    for _ in range(moves):
        chaos.act()
    chaos.heal()
    check(chaos.world)


@pytest.mark.parametrize("restarts", [False, True])
@pytest.mark.parametrize("market", ["spot", "usdm"])
@given(seed=st.integers(0, 2**32), moves=st.integers(5, 150))
def test_the_kernel_never_reserves_less_than_may_still_fill(market: str, restarts: bool, seed: int, moves: int) -> None:
    """After every single fact, whatever is on its way: a limit holds for what may come, not for what is known."""
    chaos = WiderChaos(market, seed, restarts=restarts)
    world = chaos.world
    for _ in range(moves):
        chaos.act()
        for number, order in world.orders.items():
            assert may_fill(world, number) <= kernel_holds(order), f"order {number}: {order}"
    chaos.heal()
    check(world)


@given(order=st.permutations(range(7)), doubled=st.sets(st.integers(0, 6)), lost=st.sets(st.integers(0, 6)))
def test_every_permutation_of_one_orders_facts_ends_the_same(
    order: list[int], doubled: set[int], lost: set[int]
) -> None:
    world = World("spot")
    world.new(17, 3 * LOT)
    place = world.take(kinds.PLACE)
    world.arrive(place)
    at_venue = world.of(17)
    for _ in range(2):
        world.venue.fill(at_venue, LOT)
    world.venue.end(at_venue)
    frames, world.venue.frames = world.venue.frames, []
    answer = world.answered.pop()
    assert len(frames) == 4
    facts = [
        *[partial(world.frame, frame) for frame in frames],
        partial(world.respond, *answer),
        partial(world.lose, place),
        partial(world.tick, 300),
    ]
    for at in order:
        if at not in lost:
            facts[at]()
            if at in doubled:
                facts[at]()
    if lost:
        world.run(40)
    else:
        world.settle()
        world.run(1)
    assert sorted(world.fills) == [(17, 1001, 10_000, LOT), (17, 1002, 10_000, LOT)]
    kernel = world.orders[17]
    assert (kernel.state, kernel.filled, kernel.code) == ("CANCELLED", 2 * LOT, codes.REASON_UNSOLICITED)
    assert world.gateway.open_orders == []
