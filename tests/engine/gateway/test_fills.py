"""Fills: exactly once, from three sources, in any state of their order, in the instrument's scales."""

import json
import re

import numpy as np
import pytest
from reference.gateway_world import LOT, World

from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway.alerts import HALT, told_of
from twinloop.kernels import codes, rows

MARKETS = pytest.mark.parametrize("market", ["spot", "usdm"])


@MARKETS
def test_a_fill_before_its_ack_is_passed_on_and_the_late_ack_is_not(market: str) -> None:
    world = World(market)
    world.new(17, 2 * LOT)
    place = world.take(kinds.PLACE)
    world.arrive(place)
    world.venue.fill(world.of(17), LOT)
    new, trade = world.venue.frames
    world.frame(trade)
    assert world.kinds() == ["FILL"]
    assert "FILL_BEFORE_ACK" in world.names()
    world.frame(new)
    world.deliver()
    assert world.kinds() == ["FILL"]
    assert world.orders[17].state == "PARTIAL"


def test_one_fill_from_three_sources_is_booked_once() -> None:
    world = World("spot")
    world.new(17, source=codes.MARKET)
    place = world.take(kinds.PLACE)
    world.arrive(place)
    at_venue = world.of(17)
    world.venue.fill(at_venue, LOT)
    shown = world.venue.order_json(at_venue)
    shown["fills"] = [
        {"price": "100.00", "qty": "1.000", "commission": "0.00010000", "commissionAsset": "USDT", "tradeId": 1001}
    ]
    world.answered.clear()
    world.respond(place, 200, json.dumps(shown).encode())
    frame = world.venue.frames[-1]
    world.frame(frame)
    world.frame(frame)
    world.run(15)
    assert len(world.fills) == 1
    assert world.gateway.book.differences == 0


def test_the_same_fill_with_other_numbers_is_one_booking_and_a_difference() -> None:
    world = World("spot")
    world.new(17, 2 * LOT)
    world.settle()
    world.venue.fill(world.of(17), LOT)
    frame = world.venue.frames.pop()
    world.frame(frame)
    world.frame(frame.replace(b'"L": "100.00"', b'"L": "100.01"'))
    assert len(world.fills) == 1
    assert world.gateway.book.differences == 1
    assert "FILL_DIFFERS" in world.names()
    world.frame(frame.replace(b'"L": "100.00"', b'"L": "100.0000"'))
    assert world.gateway.book.differences == 1, "trailing zeros are no difference"


@pytest.mark.parametrize("market", ["spot", "usdm"])
@pytest.mark.parametrize("order", [(0, 1), (1, 0), (0, 1, 0, 1), (1, 1, 0, 0)])
def test_of_a_fee_that_is_told_rounded_too_the_finer_number_counts_in_any_order(
    market: str, order: tuple[int, ...]
) -> None:
    world = World(market)
    world.new(17, 2 * LOT)
    world.settle()
    world.venue.fill(world.of(17), LOT)
    frame = world.venue.frames.pop()
    told = [re.sub(rb'"n": "[^"]*"', b'"n": "' + fee + b'"', frame) for fee in (b"0.14999075", b"0.149991")]
    for each in order:
        world.frame(told[each])

    def fees() -> int:
        """Of the fill, and what it turned out to be more."""
        own = np.concatenate(world.facts)
        heads = (own["kind"] == rows.FILL) & (own["flags"] & rows.FLAG_CONTINUES != 0)
        return int(own["fee"][heads | (own["kind"] == rows.FEE_CHANGED)].sum())

    assert len(world.fills) == 1
    assert fees() == 14_999_075
    assert "FILL_DIFFERS" in world.names()
    assert world.kinds().count("FEE_CHANGED") == (order[0] == 1)
    for how in ("journal", "snapshot"):
        world.restart(how)
        for again in told:
            world.frame(again)
        assert fees() == 14_999_075, "a restart knows which of them is booked"


def test_a_fee_that_is_another_one_is_told_and_the_first_stands() -> None:
    world = World("usdm")
    world.new(17, 2 * LOT)
    world.settle()
    world.venue.fill(world.of(17), LOT)
    frame = world.venue.frames.pop()
    for fee in (b"0.149991", b"0.14999275", b"0.14", b"1.149991"):
        world.frame(re.sub(rb'"n": "[^"]*"', b'"n": "' + fee + b'"', frame))
    assert world.gateway.book.differences == 3
    assert "FEE_CHANGED" not in world.kinds()


def test_a_price_finer_than_the_scale_is_rounded_and_told_and_a_fee_rounded_up() -> None:
    world = World("spot")
    world.new(17, 2 * LOT)
    world.settle()
    world.venue.fill(world.of(17), LOT)
    frame = world.venue.frames.pop()
    world.frame(frame.replace(b'"L": "100.00"', b'"L": "100.005"').replace(b"0.00010000", b"0.000100001"))
    assert "ROUNDED" in world.names()
    assert (int(world.facts[-1][0]["price"]), int(world.facts[-1][0]["fee"])) == (10_000, 10_001)


def test_a_fee_in_a_currency_without_a_slot_is_told_and_the_fill_booked() -> None:
    world = World("spot")
    world.new(17, 2 * LOT)
    world.settle()
    world.venue.fill(world.of(17), LOT)
    world.frame(world.venue.frames.pop().replace(b'"N": "USDT"', b'"N": "DOGE"'))
    assert "UNKNOWN_FEE_CURRENCY" in world.names()
    assert len(world.fills) == 1
    world.venue.fill(world.of(17), LOT)
    world.frame(world.venue.frames.pop().replace(b'"N": "USDT"', b'"N": "BNB"'))
    assert int(world.facts[-1][1]["fee_currency"]) == 4


def test_a_fee_in_a_currency_without_a_rate_is_booked_and_told_but_for_what_was_bought() -> None:
    base = "BTC"
    for asset, told in (("BNB", True), (base, False), ("USDT", False)):
        currencies = {"USDT": 1, "BNB": 4, base: 5}
        world = World("spot", currencies=currencies, unpriced=frozenset({"BNB", base}))
        world.new(17, 2 * LOT)
        world.settle()
        world.venue.fill(world.of(17), LOT)
        world.frame(world.venue.frames.pop().replace(b'"N": "USDT"', f'"N": "{asset}"'.encode()))
        assert ("UNKNOWN_FEE_CURRENCY" in world.names()) == told
        assert int(world.facts[-1][0]["fee"]) > 0
        assert int(world.facts[-1][1]["fee_currency"]) == currencies[asset]
        if told:
            (alert,) = (each for each in world.alerts if each.name == "UNKNOWN_FEE_CURRENCY")
            assert "BNB: booked, without a worth; stop the session and start it again" in told_of(alert)


def test_a_fill_without_an_id_is_booked_once_under_one_made_of_it() -> None:
    world = World("spot")
    world.new(17, 3 * LOT)
    world.settle()
    for _ in range(2):
        world.venue.fill(world.of(17), LOT)
    nameless = [
        frame.replace(b'"t": 1001', b'"t": -1').replace(b'"t": 1002', b'"t": -1') for frame in world.venue.frames
    ]
    world.venue.frames.clear()
    for frame in (*nameless, *nameless):
        world.frame(frame)
    assert [fill[2:] for fill in world.fills] == [(10_000, LOT)] * 2
    made = [fill[1] for fill in world.fills]
    assert len(set(made)) == 2
    assert all(number < 0 for number in made)
    world.run(15)  # The sweep knows them by their ids.
    assert len(world.fills) == 2
    again = World("spot")
    again.new(17, 3 * LOT)
    again.settle()
    for frame in nameless:
        again.frame(frame)
    assert [fill[1] for fill in again.fills] == made, "the same in every process"


@MARKETS
def test_the_sweep_finds_a_fill_that_no_stream_told(market: str) -> None:
    world = World(market)
    world.new(17, 2 * LOT)
    world.run(1)
    world.venue.fill(world.of(17), LOT)
    world.venue.frames.clear()
    world.run(11)
    assert [fill[0] for fill in world.fills] == [17]
    assert "FILL_MISSED_BY_STREAM" in world.names()


def test_a_lost_end_is_found_by_the_list_of_open_orders() -> None:
    world = World("spot")
    world.new(17, 2 * LOT)
    world.settle()
    world.venue.end(world.of(17), "EXPIRED")
    world.venue.frames.clear()
    world.run(12)
    assert world.orders[17].state == "EXPIRED"


def test_an_end_waits_for_the_fills_that_the_venue_speaks_of() -> None:
    world = World("spot")
    world.new(17, 3 * LOT)
    world.settle()
    world.venue.fill(world.of(17), LOT)
    world.venue.end(world.of(17))
    trade, end = world.venue.frames
    world.frame(end)
    assert world.kinds() == ["ACK"], "the reserve stays until the fill is booked"
    world.frame(trade)
    assert world.kinds()[:2] == ["ACK", "FILL"]
    world.run(1)
    assert world.kinds() == ["ACK", "FILL", "CANCELLED"]


def test_a_fill_after_the_cancel_is_booked_and_told() -> None:
    world = World("spot")
    world.new(17, 3 * LOT)
    world.settle()
    at_venue = world.of(17)
    world.cancel(17)
    world.settle()
    at_venue.status = "NEW"
    world.venue.fill(at_venue, LOT)
    world.frames()
    assert world.kinds() == ["ACK", "CANCELLED", "FILL"]
    assert "FILL_AFTER_END" in world.names()


def test_more_than_was_ordered_is_booked_and_asks_for_a_halt() -> None:
    world = World("usdm")
    world.new(17, LOT)
    world.settle()
    at_venue = world.of(17)
    at_venue.qty = 3 * LOT
    world.venue.fill(at_venue, 2 * LOT)
    world.frames()
    assert world.fills[-1][3] == 2 * LOT
    overfill = next(alert for alert in world.alerts if alert.name == "OVERFILL")
    assert (overfill.value, overfill.demand) == (LOT, HALT)


def test_a_price_that_is_no_number_is_not_booked_and_the_trade_is_asked_for() -> None:
    world = World("spot")
    world.new(17, 2 * LOT)
    world.settle()
    world.venue.fill(world.of(17), LOT)
    frame = world.venue.frames.pop()
    for text in (b"NaN", b"Infinity", b"-inf"):
        facts = len(world.facts)
        world.frame(frame.replace(b'"L": "100.00"', b'"L": "' + text + b'"'))
        assert len(world.facts) == facts, "nothing is booked of it"
    assert "BAD_MESSAGE" in world.names()
    world.run(15)
    assert [int(each[0]["price"]) for each in world.facts if len(each) == 2] == [10_000]
