"""Streams that break, the dead-man timer, and orders that are not ours, or not any more."""

from typing import Any

import pytest
from reference.gateway_world import LOT, MS, World, request_row

from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway.alerts import REDUCE
from twinloop.engine.gateway.strangers import Stranger, Strangers
from twinloop.engine.gateway.tracker import ENDED_MAX
from twinloop.kernels import rows

MARKETS = pytest.mark.parametrize("market", ["spot", "usdm"])


def test_without_the_stream_fills_come_by_sweeps_at_a_shorter_interval() -> None:
    world = World("spot")
    world.new(17, 2 * LOT)
    world.settle()
    world.keep(world.gateway.on_stream(up=False, now_ns=world.now_ns, mono_ns=world.mono_ns))
    down = next(alert for alert in world.alerts if alert.name == "STREAM_DOWN")
    assert down.demand == REDUCE
    world.run(4, frames=False)
    world.venue.fill(world.of(17), LOT)
    world.venue.frames.clear()
    world.run(2.5, frames=False)
    assert len(world.fills) == 1


def test_a_frame_that_ends_the_stream_is_a_stream_down() -> None:
    world = World("usdm")
    world.frame(b'{"e":"listenKeyExpired","E":1}')
    assert "STREAM_DOWN" in world.names()
    assert not world.gateway.stream_up


def test_the_dead_man_timer_is_armed_refreshed_and_disarmed() -> None:
    world = World("usdm")
    world.run(1)
    assert world.venue.countdowns == {}
    world.new(17)
    world.run(1)
    assert world.venue.countdowns == {"BTCUSDT": 60_000}
    world.run(31)
    assert countdowns(world) == 3
    world.cancel(17)
    world.run(1)
    assert world.venue.countdowns == {"BTCUSDT": 60_000}, "orders come and go: it is not worth a word each time"
    world.run(15)
    assert world.venue.countdowns == {"BTCUSDT": 0}, "renewing it would be for nothing"
    assert countdowns(world) == 4


def countdowns(world: World) -> int:
    return sum(path.endswith("countdownCancelAll") for _, path, _ in world.venue.requests)


def test_orders_that_come_and_go_are_one_timer_and_its_renewals() -> None:
    world = World("usdm")
    for number in range(17, 47):
        world.new(number)
        world.run(0.5)
        world.cancel(number)
        world.run(0.5)
    assert countdowns(world) == 2
    assert world.venue.countdowns == {"BTCUSDT": 60_000}


def test_when_everything_is_cancelled_the_timer_ends_with_the_last_order_and_begins_with_the_next() -> None:
    world = World("usdm")
    world.new(17)
    world.run(1)
    world.keep(world.gateway.cancel_all(*world.times))
    world.run(1)
    assert world.venue.countdowns == {"BTCUSDT": 0}
    assert not world.gateway.dead_man.runs
    world.new(18)
    world.run(1)
    world.cancel(18)
    world.run(1)
    assert world.venue.countdowns == {"BTCUSDT": 60_000}


def test_a_timer_that_may_have_fired_puts_the_orders_in_doubt() -> None:
    world = World("usdm")
    world.new(17)
    world.run(1)
    for _ in range(70):
        world.tick(1000)
        world.held.clear()
    world.venue.end(world.of(17))
    world.venue.frames.clear()
    assert "DEAD_MAN_LATE" in world.names()
    assert world.orders[17].state == "UNKNOWN"
    world.run(60)
    assert world.orders[17].state == "CANCELLED"


def foreign(world: World, client_id: str) -> Any:
    terms = {"symbol": "BTCUSDT", "side": "SELL", "type": "LIMIT", "quantity": "3.000", "price": "100.00"}
    return world.venue.place(terms, client_id)


@pytest.mark.parametrize("told", [True, False])
@MARKETS
def test_a_fill_of_a_foreign_order_is_booked_for_nobody(market: str, told: bool) -> None:
    world = World(market)
    order = foreign(world, "web_abc")
    world.venue.fill(order, LOT)
    if not told:
        world.venue.frames.clear()
    world.run(62)
    head = next(facts[0] for facts in world.facts if facts[0]["kind"] == rows.FILL)
    assert [int(head[name]) for name in ("order_id", "strategy", "side", "qty")] == [0, 255, -1, LOT]
    assert len(world.fills) == 1
    assert world.names().count("EXTERNAL_ORDER") == 1
    assert "EXTERNAL_FILL" in world.names()
    world.venue.fill(order, LOT)
    world.run(62)
    assert len(world.fills) == 2
    assert order.status == "PARTIALLY_FILLED", "another's order is not ours to cancel"


@pytest.mark.parametrize("told", [True, False])
@MARKETS
def test_what_a_foreign_order_may_still_do_counts_until_it_is_proven_gone(market: str, told: bool) -> None:
    world = World(market)
    order = foreign(world, "web_abc")
    if not told:
        world.venue.frames.clear()
    world.run(62)
    assert world.gateway.strangers.working(3) == (0, 3 * LOT)
    world.venue.fill(order, LOT)
    if not told:
        world.venue.frames.clear()
    world.run(62)
    assert world.gateway.strangers.working(3) == (0, 2 * LOT)
    assert world.gateway.strangers.working(5) == (0, 0)
    world.venue.end(order)
    if not told:
        world.venue.frames.clear()  # The list of open orders does not name it any more.
    world.run(62)
    assert not world.gateway.strangers
    seen = [
        (int(row["kind"]), int(row["qty" if row["kind"] == rows.FILL else "external_sell"]))
        for facts in world.facts
        for row in facts
        if row["kind"] == rows.EXTERNAL_WORKING or (row["kind"] == rows.FILL and row["flags"] & rows.FLAG_CONTINUES)
    ]
    working = rows.EXTERNAL_WORKING
    assert seen == [(working, 3 * LOT), (rows.FILL, LOT), (working, 2 * LOT), (working, 0)], (
        "a fill counts before it is taken off"
    )


def test_what_the_kernel_knew_of_strangers_counts_until_the_first_list() -> None:
    strangers = Strangers()
    strangers.kernel_knows(3, (5 * LOT, 0))
    strangers.told(3, 7, Stranger(-1, LOT, told_mono_ns=100))
    assert strangers.news(3) == (5 * LOT, LOT)
    strangers.listed(3, [7], stops=False, sent_mono_ns=101)
    assert strangers.news(3) == (0, LOT)
    assert strangers.news(3) is None


def test_a_list_that_was_asked_for_before_an_order_was_told_of_proves_nothing() -> None:
    strangers = Strangers()
    strangers.told(3, 7, Stranger(1, LOT, told_mono_ns=100))
    strangers.told(3, -8, Stranger(-1, LOT, told_mono_ns=100))
    strangers.listed(3, [], stops=False, sent_mono_ns=100)
    strangers.listed(5, [], stops=False, sent_mono_ns=101)
    assert strangers.working(3) == (LOT, LOT)
    strangers.listed(3, [], stops=False, sent_mono_ns=101)
    assert strangers.working(3) == (0, LOT), "a stop order is in another list"
    strangers.listed(3, [-8], stops=True, sent_mono_ns=101)
    assert strangers.working(3) == (0, LOT)
    strangers.listed(3, [], stops=True, sent_mono_ns=101)
    assert not strangers


@pytest.mark.parametrize(
    ("client_id", "alert", "strategy", "cancelled"),
    [
        ("tl-9-6-h-0", "FOREIGN_EPOCH", 255, False),  # A process after ours: it is the one that runs.
        ("tl-3-6-h-0", "LOST_ORDER", 6, True),  # Of ours, its record lost in a crash.
        ("tl-7-6-h-0", "FOREIGN_EPOCH", 255, False),  # Of our own epoch, and we never made it.
        ("autoclose-1699", "LIQUIDATION", 255, False),
    ],
)
def test_an_order_of_our_prefix_that_nobody_remembers(
    client_id: str, alert: str, strategy: int, cancelled: bool
) -> None:
    world = World("spot")
    order = foreign(world, client_id)
    world.venue.fill(order, LOT)
    world.settle()
    world.run(2)
    assert alert in world.names()
    head = next(facts[0] for facts in world.facts if facts[0]["kind"] == rows.FILL)
    assert (int(head["order_id"]), int(head["strategy"])) == (0, strategy)
    assert (order.status == "CANCELED") == cancelled


def test_memory_of_ended_orders_is_bounded_and_a_late_fill_is_still_ours() -> None:
    world = World("spot")
    tracker = world.gateway.tracker
    for number in range(17, 17 + ENDED_MAX + 10):
        world.gateway.on_requests(request_row(rows.NEW, number, instrument=99), *world.times)
    assert len(tracker.ended) == ENDED_MAX
    assert tracker.open == {}
    assert tracker.find(17) is None
    late = foreign(world, world.gateway.ids.make(7, 6, 17))
    world.venue.fill(late, LOT)
    world.venue.frames.pop(0)
    world.frames()
    head = world.facts[-1][0]
    assert (int(head["kind"]), int(head["order_id"]), int(head["strategy"])) == (rows.FILL, 17, 6)


def test_an_instrument_or_a_message_nobody_knows_is_counted_and_told() -> None:
    world = World("spot")
    order = foreign(world, "web_abc")
    order.symbol = "DOGEUSDT"
    world.venue.fill(order, LOT)
    world.venue.frames.pop(0)
    world.frames()
    assert "UNKNOWN_INSTRUMENT" in world.names()
    world.frame(b'{"e":"brandNew"}')
    assert world.gateway.unknown_frames == 1
    world.frame(b"\xff\x00 not json")
    assert "BAD_MESSAGE" in world.names()
    assert world.fills == []


def test_balances_are_unknown_until_told_and_again_when_asked_for_in_vain() -> None:
    world = World("spot")
    assert world.gateway.account is None
    world.keep(world.gateway.ask_account(*world.times))
    world.settle()
    assert world.gateway.account is not None
    assert world.gateway.account.balances == {"USDT": "11.50"}
    world.frame(b'{"e":"outboundAccountPosition","u":9,"B":[{"a":"BTC","f":"1.0","l":"0.5"}]}')
    assert world.gateway.account.balances == {"USDT": "11.50", "BTC": "1.5"}
    world.keep(world.gateway.ask_account(*world.times))
    world.lose(world.take(kinds.ACCOUNT))
    assert world.gateway.account is None


def test_the_sweep_does_not_pass_a_trade_whose_order_nobody_knows() -> None:
    world = World("spot")
    world.venue.now_ms = world.now_ns // MS
    world.venue.fill(foreign(world, "web_abc"), 3 * LOT)  # All of it: no list of open orders tells whose it is.
    world.venue.frames.clear()
    seen = world.gateway.book.seen[3]
    for _ in range(300):  # Longer than the overlap; the question whose order it is stays without an answer.
        world.tick(1000)
        for outgoing in list(world.held):
            world.held.remove(outgoing)
            if outgoing.kind == kinds.QUERY_BY_VENUE_ID:
                world.lose(outgoing)
            else:
                world.arrive(outgoing)
        while world.answered:
            world.deliver()
    assert world.fills == []
    assert seen.cursor <= 1001
    assert world.gateway.unproven == 1
    world.run(10)
    assert [fill[1] for fill in world.fills] == [1001]
    world.run(150)
    assert seen.cursor == 1002
    assert len(world.fills) == 1
