"""Cancels until proven, and amends as each market has them, two legs told apart."""

import json

import pytest
from reference.gateway_world import LOT, MS, World, refusal, request_row

from twinloop.engine.gateway import outcome as kinds
from twinloop.kernels import codes, rows

MARKETS = pytest.mark.parametrize("market", ["spot", "usdm"])


@MARKETS
def test_a_cancel_refused_as_unknown_is_filled_only_on_proof(market: str) -> None:
    world = World(market)
    world.new(17)
    world.settle()
    world.venue.fill(world.of(17), LOT)
    world.venue.frames.clear()
    world.cancel(17)
    world.arrive(world.take(kinds.CANCEL))
    world.deliver()
    assert world.kinds() == ["ACK"], "nothing is told of a -2011 until the venue says why"
    assert world.take(kinds.QUERY)
    world.gateway.tracker.open[17].legs[0].query_sent_mono_ns = 0
    world.run(3)
    assert world.kinds() == ["ACK", "FILL", "CANCEL_REJECT"]
    assert world.orders[17].state == "FILLED"


def test_a_cancel_without_an_answer_is_sent_until_proven() -> None:
    world = World("spot")
    world.new(17)
    world.settle()
    world.cancel(17)
    for _ in range(3):
        cancel = world.take(kinds.CANCEL)
        assert cancel.is_cancel
        world.lose(cancel)
        world.tick(6000)
    assert "CANCEL_UNPROVEN" in world.names()
    world.run(10)
    assert world.orders[17].state == "CANCELLED"
    assert world.orders[17].code == codes.REASON_REQUESTED


def test_a_cancel_that_overtakes_its_order_is_sent_again() -> None:
    world = World("spot")
    world.new(17)
    place = world.take(kinds.PLACE)
    world.cancel(17)
    world.arrive(world.take(kinds.CANCEL))  # -2011: not there yet.
    world.deliver()
    world.arrive(place)
    world.run(10)
    assert world.of(17).status == "CANCELED"
    assert world.orders[17].state == "CANCELLED"


def test_a_cancel_of_what_has_ended_is_refused() -> None:
    world = World("spot")
    world.new(17)
    world.settle()
    world.cancel(17)
    world.settle()
    world.cancel(17)
    world.request(request_row(rows.CANCEL, 99))
    assert world.kinds() == ["ACK", "CANCELLED", "CANCEL_REJECT", "CANCEL_REJECT"]
    assert world.held == []


@MARKETS
def test_an_unsolicited_end_is_told_with_its_reason(market: str) -> None:
    world = World(market)
    for number in (17, 18, 19):
        world.new(number, flags=codes.IOC if number == 19 else codes.GTC)
    world.settle()
    world.venue.end(world.of(17), "CANCELED")
    world.venue.end(world.of(18), "EXPIRED_IN_MATCH")
    world.venue.end(world.of(19), "EXPIRED")
    world.settle()
    ends = {number: (order.state, order.code) for number, order in world.orders.items()}
    assert ends == {
        17: ("CANCELLED", codes.REASON_UNSOLICITED),
        18: ("EXPIRED", codes.REASON_SELF_MATCH),
        19: ("EXPIRED", codes.REASON_IOC),
    }
    assert world.names().count("UNSOLICITED_CANCEL") == 1
    assert world.count(kinds.PLACE) == 0


@MARKETS
def test_cancel_all_goes_in_bulk_and_one_by_one_until_proven(market: str) -> None:
    world = World(market)
    for number in (17, 18):
        world.new(number)
    world.settle()
    world.keep(world.gateway.cancel_all(*world.times))
    assert world.count(kinds.CANCEL_ALL) >= 2
    assert world.count(kinds.CANCEL) == 2
    assert all(outgoing.is_cancel for outgoing in world.held)
    world.settle()
    world.run(2)
    assert {order.state for order in world.orders.values()} == {"CANCELLED"}


def test_an_order_ends_at_its_time_though_the_venue_knows_no_time() -> None:
    world = World("spot")
    world.new(17, flags=codes.GTD, venue_ns=world.now_ns + 3_000 * MS)
    world.run(2.5)
    assert world.orders[17].state == "ACKED"
    world.run(2)
    assert (world.orders[17].state, world.orders[17].code) == ("EXPIRED", codes.REASON_TIME)


@MARKETS
def test_an_amend_changes_price_and_quantity(market: str) -> None:
    world = World(market)
    world.new(17, 2 * LOT)
    world.settle()
    world.amend(17, 3 * LOT, 10_100)
    world.settle()
    order = world.orders[17]
    assert (order.state, order.qty, order.price, order.amends) == ("ACKED", 3 * LOT, 10_100, 0)
    assert [each.status for each in world.venue.orders].count("NEW") == 1


def test_less_of_a_spot_order_keeps_its_place_and_its_id() -> None:
    world = World("spot")
    world.new(17, 3 * LOT)
    world.settle()
    world.venue.fill(world.of(17), LOT)
    world.frames()
    world.amend(17, 2 * LOT)
    assert world.held[0].path.endswith("keepPriority")
    world.settle()
    assert len(world.venue.orders) == 1
    assert (world.orders[17].qty, world.of(17).qty) == (2 * LOT, 2 * LOT)


def test_a_spot_order_filled_in_part_is_cancelled_before_its_successor_is_placed() -> None:
    world = World("spot")
    world.new(17, 3 * LOT)
    world.settle()
    world.venue.fill(world.of(17), LOT)
    world.frames()
    world.amend(17, 3 * LOT, 10_100)
    assert [outgoing.kind for outgoing in world.held] == [kinds.CANCEL]
    world.venue.fill(world.of(17), LOT)  # While the cancel is on its way.
    world.settle()
    assert world.of(17, leg=1).qty == LOT, "what has filled meanwhile is not ordered again"
    assert (world.orders[17].qty, world.orders[17].filled) == (3 * LOT, 2 * LOT)
    world.venue.fill(world.of(17, leg=1), LOT)
    world.frames()
    assert world.orders[17].state == "FILLED"
    assert "OVERFILL" not in world.names()


def test_a_replace_half_done_leaves_a_cancelled_order() -> None:
    world = World("spot")
    world.new(17, 3 * LOT)
    world.settle()
    world.amend(17, 7 * LOT, 10_100)  # The venue refuses sevens after it has cancelled.
    world.settle()
    assert world.kinds() == ["ACK", "AMEND_REJECT", "CANCELLED"]
    assert world.orders[17].code == codes.REASON_AMEND_LOST
    assert "REPLACE_HALF_DONE" in world.names()


def test_a_replace_that_fails_leaves_the_order_as_it_is() -> None:
    world = World("spot")
    world.new(17, 3 * LOT)
    world.settle()
    world.amend(17, 4 * LOT, 10_100)
    world.venue.fill(world.of(17), LOT)  # It is not NEW any more when the request arrives.
    world.settle()
    assert world.kinds() == ["ACK", "AMEND_REJECT", "FILL"]
    assert (world.orders[17].state, world.orders[17].qty) == ("PARTIAL", 3 * LOT)
    assert len(world.venue.orders) == 1


@pytest.mark.parametrize("arrived", [True, False])
@MARKETS
def test_an_amend_without_an_answer_is_unknown_until_proven(market: str, arrived: bool) -> None:
    world = World(market)
    world.new(17, 3 * LOT)
    world.settle()
    world.amend(17, 4 * LOT, 10_100)
    amend = world.take()
    if arrived:
        world.arrive(amend)
        world.answered.clear()
        world.venue.frames.clear()
    world.lose(amend)
    assert world.kinds() == ["ACK", "UNKNOWN"]
    assert world.orders[17].amends == 1, "the larger quantity stays reserved"
    world.run(25)
    order = world.orders[17]
    assert (order.state, order.amends) == ("ACKED", 0)
    assert (order.qty, order.price) == ((4 * LOT, 10_100) if arrived else (3 * LOT, 10_000))


def test_a_second_amend_under_way_is_refused_at_once() -> None:
    world = World("usdm")
    world.new(17, 3 * LOT)
    world.settle()
    world.amend(17, 4 * LOT, 10_100)
    world.amend(17, 5 * LOT, 10_100)
    assert world.kinds() == ["ACK", "AMEND_REJECT"]
    world.settle()
    assert world.orders[17].qty == 4 * LOT


def test_an_amend_from_elsewhere_is_told_to_the_kernel() -> None:
    world = World("usdm")
    world.new(17, 3 * LOT)
    world.settle()
    at_venue = world.of(17)
    at_venue.qty, at_venue.price = 5 * LOT, 10_200
    world.venue.frame(at_venue, "AMENDMENT")
    world.settle()
    assert (world.orders[17].qty, world.orders[17].price) == (5 * LOT, 10_200)
    assert "UNSOLICITED_AMEND" in world.names()


@pytest.mark.parametrize("how", ["", "snapshot", "journal"])
def test_an_amend_from_elsewhere_answers_none_of_ours(how: str) -> None:
    """What ours asked for may still be done at the venue: until it is answered its quantity counts."""
    world = World("usdm")
    world.new(17, 3 * LOT)
    world.settle()
    world.amend(17, 8 * LOT)
    ours = world.take(kinds.AMEND)
    at_venue = world.of(17)
    at_venue.qty, at_venue.price = 2 * LOT, 10_200
    world.venue.frame(at_venue, "AMENDMENT")
    world.frames()
    assert (world.orders[17].qty, world.orders[17].amends, world.orders[17].amend_qty) == (2 * LOT, 1, 8 * LOT)
    if how:
        world.restart(how)
    world.arrive(ours)
    if not how:
        world.deliver()
    world.run(30)
    assert (world.orders[17].qty, world.orders[17].price, world.orders[17].amends) == (8 * LOT, 10_000, 0)
    assert world.gateway.unproven == 0


@MARKETS
def test_an_amend_to_less_than_has_filled_cancels_the_rest(market: str) -> None:
    world = World(market)
    world.new(17, 3 * LOT)
    world.settle()
    world.venue.fill(world.of(17), 2 * LOT)
    world.frames()
    world.amend(17, 2 * LOT)
    world.settle()
    assert world.orders[17].state == "CANCELLED"


def test_no_need_to_amend_is_an_amend_that_is_done() -> None:
    world = World("usdm")
    world.new(17, 3 * LOT)
    world.settle()
    world.amend(17, 3 * LOT)
    world.settle()
    assert world.kinds() == ["ACK", "AMENDED"]


def test_an_amend_counts_both_legs_until_the_old_one_is_proven_ended() -> None:
    world = World("spot")
    world.new(17, 3 * LOT)
    world.settle()
    world.amend(17, 4 * LOT, 10_100)
    world.arrive(world.take(kinds.REPLACE))
    cancelled, placed = world.venue.frames
    world.frame(placed)
    assert world.kinds() == ["ACK"]
    assert world.orders[17].amends == 1
    world.frame(cancelled)
    assert world.kinds() == ["ACK", "AMENDED"]


def test_a_second_replace_is_about_the_leg_that_lives() -> None:
    world = World("spot")
    world.new(17, 3 * LOT)
    world.settle()
    world.amend(17, 4 * LOT, 10_100)
    world.respond(world.take(kinds.REPLACE), 400, refusal(-1013, "Filter failure: PRICE_FILTER"))
    world.amend(17, 5 * LOT, 10_200)
    replace = world.take(kinds.REPLACE)
    assert dict(replace.request.parameters)["cancelOrigClientOrderId"] == world.gateway.ids.make(7, 6, 17)
    world.venue.fill(world.of(17), LOT)  # So that the venue refuses to cancel it.
    world.venue.frames.clear()
    world.arrive(replace)
    world.deliver()
    legs = world.gateway.tracker.open[17].legs
    assert [leg.in_doubt for leg in legs] == [True, False, False]


@MARKETS
def test_a_late_answer_to_an_amend_does_not_answer_the_next(market: str) -> None:
    world = World(market)
    world.new(17, 5 * LOT)
    world.settle()
    world.amend(17, 4 * LOT)
    first = world.take(kinds.AMEND)
    world.lose(first)
    world.run(25)
    assert "AMEND_REJECT" in world.kinds()
    world.amend(17, 3 * LOT)
    world.respond(first, 400, refusal(-2013, "Order does not exist."))
    assert world.orders[17].amends == 1
    world.settle()
    assert world.orders[17].qty == 3 * LOT


def test_each_replace_in_a_row_ends_the_leg_before_it() -> None:
    world = World("spot")
    world.new(17, 3 * LOT)
    world.settle()
    for price in (10_100, 10_200, 10_300):
        world.amend(17, 3 * LOT, price)
        world.arrive(world.take(kinds.REPLACE))
        world.venue.frames.clear()
        world.deliver()
        assert (world.orders[17].price, world.orders[17].amends) == (price, 0)
    assert world.gateway.unproven == 0


def test_an_amend_told_again_after_a_later_one_changes_nothing() -> None:
    world = World("usdm")
    world.new(17, 3 * LOT)
    world.settle()
    world.amend(17, 4 * LOT, 10_100)
    world.arrive(world.take(kinds.AMEND))
    first = world.venue.frames.pop()
    world.deliver()
    world.tick(50)
    world.amend(17, 5 * LOT, 10_200)
    second = world.take(kinds.AMEND)
    world.frame(first)
    assert world.orders[17].amends == 1, "the answer to the first is none to the second"
    world.arrive(second)
    world.settle()
    world.frame(first)
    order = world.orders[17]
    assert (order.qty, order.price, order.amends) == (5 * LOT, 10_200, 0)
    assert "UNSOLICITED_AMEND" not in world.names()


def test_an_amend_from_elsewhere_that_no_stream_told_is_seen_in_the_list() -> None:
    world = World("usdm")
    world.new(17, 3 * LOT)
    world.run(1)
    at_venue = world.of(17)
    at_venue.qty, at_venue.price = 5 * LOT, 10_200
    world.run(11)
    assert (world.orders[17].qty, world.orders[17].price) == (5 * LOT, 10_200)
    assert world.names().count("UNSOLICITED_AMEND") == 1


def test_a_new_leg_whose_execution_the_venue_does_not_know_is_not_refused() -> None:
    """It says FAILURE of it as of every leg without a result; the code says what that is worth."""
    world = World("spot")
    world.new(17, 3 * LOT)
    world.settle()
    world.amend(17, 4 * LOT, 10_100)
    replace = world.take(kinds.REPLACE)
    world.arrive(replace)
    world.answered.clear()
    world.venue.frames.clear()
    cancelled = world.venue.order_json(world.of(17), "cancelid")
    unknown = {
        "code": -1007,
        "msg": "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    }
    data = {
        "cancelResult": "SUCCESS",
        "newOrderResult": "FAILURE",
        "cancelResponse": cancelled,
        "newOrderResponse": unknown,
    }
    body = {"code": -2021, "msg": "Order cancel-replace partially failed.", "data": data}
    world.respond(replace, 409, json.dumps(body).encode())
    assert world.kinds() == ["ACK", "UNKNOWN"]
    assert (world.orders[17].amends, world.orders[17].amend_qty) == (1, 4 * LOT)
    world.run(10)
    assert (world.orders[17].state, world.orders[17].qty, world.orders[17].amends) == ("ACKED", 4 * LOT, 0)


def test_a_late_word_on_a_leg_that_was_replaced_changes_no_order() -> None:
    """Told after the leg's end, by a stream that is late: the order is as large as the leg that works."""
    world = World("spot")
    world.new(17, 3 * LOT)
    world.settle()
    at_venue = world.of(17)
    at_venue.qty = LOT
    world.venue.now_ms += 5
    world.venue.frame(at_venue, "REPLACED")  # By hand.
    late = world.venue.frames.pop()
    world.amend(17, 4 * LOT, 10_100)
    world.settle()
    assert (world.orders[17].qty, world.of(17, 1).qty) == (4 * LOT, 4 * LOT)
    world.frame(late)
    assert (world.orders[17].qty, world.orders[17].price) == (4 * LOT, 10_100)
