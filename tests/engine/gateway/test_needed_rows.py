"""What a snapshot keeps of a journal's order rows: a gateway rebuilt from them is the one rebuilt from the whole journal."""

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference.chaos import Chaos
from reference.gateway_world import LOT, World, credentials

from twinloop.data.rowfile import Rows, join_rows
from twinloop.engine.gateway import sweep, tracker
from twinloop.engine.gateway.gateway import Gateway
from twinloop.engine.gateway.needed_rows import READ, needed_rows
from twinloop.kernels import rows as table

Segments = Sequence[tuple[int, Rows]]


@pytest.fixture(scope="module", autouse=True)
def remembers_two() -> Any:
    """Two ended orders are remembered instead of thousands: forgetting is what is tested."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tracker, "ENDED_MAX", 2)
        yield


def rebuilt(world: World, segments: Segments) -> Any:
    """Everything of a gateway that goes on behind these rows: its state, what it tells, and what it asks."""
    gateway = Gateway(msgspec.structs.replace(world.settings, epoch=world.settings.epoch + 1), credentials())
    outcome = gateway.rebuild(segments, *world.times)
    asked = [(each.kind, each.order_id, each.leg) for each in outcome.outgoing]
    return gateway.snapshot(), outcome.facts, outcome.alerts, asked


def size(segments: Segments) -> int:
    return sum(len(rows) for _, rows in segments)


def by_epoch(segments: Segments) -> Segments:
    """As a snapshot keeps them."""
    return [
        (epoch, join_rows([rows for each, rows in segments if each == epoch]))
        for epoch in sorted({epoch for epoch, _ in segments})
    ]


def cuts_change_nothing(world: World, cuts: list[float]) -> None:
    """Whatever of the journal is cut away at these shares of it, one cut after the other, the rest builds the same gateway."""
    journal = world.journal
    kept: Segments = []
    before = 0
    for cut in [*sorted(int(cut * len(journal)) for cut in cuts), len(journal)]:
        kept = needed_rows(by_epoch([*kept, *journal[before:cut]]))
        before = cut
        assert rebuilt(world, [*kept, *journal[cut:]]) == rebuilt(world, journal)


@pytest.mark.parametrize("market", ["spot", "usdm"])
@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32),
    moves=st.integers(50, 400),
    cuts=st.lists(st.floats(0, 1), min_size=1, max_size=3),
    restarts=st.booleans(),
)
def test_a_gateway_of_the_needed_rows_is_the_gateway_of_all(
    market: str, seed: int, moves: int, cuts: list[float], restarts: bool
) -> None:
    chaos = Chaos(market, seed, restarts=restarts, orders_max=40)
    for _ in range(moves):
        chaos.act()
    cuts_change_nothing(chaos.world, cuts)


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_what_is_kept_does_not_grow_with_orders_that_have_ended(market: str) -> None:
    world = World(market)
    sizes = []
    for number in range(17, 57):
        world.new(number, LOT)
        world.settle()
        if number % 8 == 0:
            world.venue.fill(world.of(number), LOT)
        else:
            world.cancel(number)
        world.settle()
        sizes.append(size(needed_rows(by_epoch(world.journal))))
    fills = 2 * len(world.fills)
    assert fills == 2 * 5
    assert sizes[-1] <= 4 * 6 + fills < size(world.journal) / 4
    kept = needed_rows(by_epoch(world.journal))
    assert rebuilt(world, kept) == rebuilt(world, world.journal)
    assert sizes[-1] - fills <= max(sizes[:8])


@pytest.mark.parametrize("market", ["spot", "usdm"])
@settings(max_examples=15)
@given(seed=st.integers(0, 2**32), moves=st.integers(100, 400), cuts=st.lists(st.floats(0, 1), min_size=1, max_size=3))
def test_fills_that_a_sweep_has_been_past_are_needed_no_more(
    market: str, seed: int, moves: int, cuts: list[float]
) -> None:
    """With sweeps that settle in a second, and no fill kept for its own sake: whatever is cut away, the rest says the same."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sweep, "OVERLAP_MS", 1000)
        patch.setattr("twinloop.engine.gateway.needed_rows.FILLS_KEPT", 0)
        chaos = Chaos(market, seed, restarts=True, orders_max=40)
        for _ in range(moves):
            chaos.act()
        cuts_change_nothing(chaos.world, cuts)


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_what_is_kept_does_not_grow_with_fills(market: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("twinloop.engine.gateway.needed_rows.FILLS_KEPT", 3)
    world = World(market)
    sizes, kept = [], list[tuple[int, Rows]]()
    for number in range(17, 57):
        world.new(number, LOT)
        world.settle()
        world.venue.now_ms = world.now_ns // 1_000_000
        world.venue.fill(world.of(number), LOT)
        world.settle()
        world.run(sweep.OVERLAP_MS // 1000 + 30, step_ms=5000)
        kept = needed_rows(by_epoch(world.journal))
        sizes.append(size(kept))
    assert len(world.fills) == 40
    assert max(sizes[10:]) <= sizes[9] + 2
    assert rebuilt(world, kept) == rebuilt(world, world.journal)
    told, requests = len(world.facts), len(world.venue.requests)
    world.restart("journal")
    world.run(3)
    assert len(world.facts) == told, "nothing is booked again"
    asked = [parameters for _, path, parameters in world.venue.requests[requests:] if path.endswith("rades")]
    traded = [parameters for parameters in asked if parameters["symbol"] == "BTCUSDT"]
    assert traded
    assert all(int(parameters["fromId"]) > 1000 for parameters in traded), "not from the session's start"


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_an_order_that_has_filled_is_not_asked_about_after_a_restart(market: str) -> None:
    world = World(market)
    world.new(17, LOT)
    world.settle()
    world.venue.fill(world.of(17), LOT)
    world.settle()
    told, requests = len(world.facts), len(world.venue.requests)
    world.restart("journal")
    assert world.gateway.unproven == 0
    assert len(world.facts) == told
    world.run(3)
    asked = [path for _, path, _ in world.venue.requests[requests:] if path.endswith("/order")]
    assert asked == []
    assert (world.orders[17].state, world.orders[17].filled) == ("FILLED", LOT)


def test_rows_of_a_kind_that_no_rebuild_reads_are_left_out() -> None:
    world = World("spot")
    world.new(17, LOT)
    stray = np.concatenate([each.view(np.uint8) for _, each in world.journal]).view(world.journal[0][1].dtype)
    stray["kind"] = next(kind for kind in range(1, 256) if kind not in READ)
    assert size(needed_rows([(7, stray)])) == 0
    assert needed_rows([]) == []


@pytest.mark.parametrize("market", ["spot", "usdm"])
@pytest.mark.parametrize("cancelled", [False, True], ids=["works on", "its cancel has no answer"])
def test_an_order_that_may_still_be_spoken_of_is_kept_however_old(market: str, cancelled: bool) -> None:
    world = World(market)
    world.new(17, 2 * LOT)
    world.settle()
    world.venue.fill(world.of(17), LOT)
    world.settle()
    if cancelled:
        world.cancel(17)
        world.lose(world.take())
        world.venue.fill(world.of(17), LOT)
        world.frames()
        unanswered = [(epoch, rows[rows["kind"] != table.CANCEL_REJECT]) for epoch, rows in world.journal]
        world.journal[:] = [(epoch, rows) for epoch, rows in unanswered if len(rows)]
    for number in range(18, 28):
        world.new(number, LOT)
        world.settle()
        world.cancel(number)
        world.settle()
    kept = needed_rows(by_epoch(world.journal))
    assert any((rows["kind"] == table.NEW)[rows["order_id"] == 17].any() for _, rows in kept)
    assert rebuilt(world, kept) == rebuilt(world, world.journal)
