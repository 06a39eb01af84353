"""What the gateway does under the venue's limits, hold-offs and bans, and when the clock is not to be relied on."""

import json
from collections import Counter

import pytest
from reference.gateway_world import LOT, MS, World, refusal

from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway.alerts import HALT
from twinloop.kernels import codes


def test_too_many_requests_holds_everything_off_and_cancels_go_first_after_it() -> None:
    world = World("spot")
    world.new(17)
    world.settle()
    world.new(18)
    world.respond(world.take(kinds.PLACE), 429, refusal(-1003), {"Retry-After": "7"})
    assert world.orders[18].code == codes.REASON_RATE
    world.new(19)
    assert world.orders[19].code == codes.REASON_RATE
    world.cancel(17)
    world.run(6, step_ms=500)
    asked = len(world.venue.requests)
    world.run(0.5, step_ms=500)
    assert len(world.venue.requests) == asked, "nothing at all goes out"
    assert world.orders[17].state == "ACKED"
    world.run(2)
    assert world.orders[17].state == "CANCELLED"
    assert "HELD_OFF" in world.names()


@pytest.mark.parametrize("market", ["spot", "usdm"])
@pytest.mark.parametrize("status", [429, 418])
def test_after_a_wait_cancels_leave_before_anything_else_and_new_orders_wait_for_proof(
    market: str, status: int
) -> None:
    world = World(market)
    for order_id in (17, 18, 19):
        world.new(order_id)
    world.settle()
    world.respond(world.gateway_probe(), status, refusal(-1003), {"Retry-After": "7"})
    world.cancel(17)
    world.cancel(19)
    assert world.held == []
    assert not world.gateway.caught_up
    world.run(6.9, step_ms=100)
    asked = len(world.venue.requests)
    world.now_ns, world.mono_ns = world.now_ns + 200 * MS, world.mono_ns + 200 * MS
    world.new(20)  # Whoever calls first: the cancels go before it.
    assert [outgoing.kind for outgoing in world.held[:3]] == [kinds.CANCEL, kinds.CANCEL, kinds.PLACE]
    assert not world.gateway.caught_up, "what happened meanwhile is not known yet"
    world.settle()
    assert [method for method, *_ in world.venue.requests[asked : asked + 3]] == ["DELETE", "DELETE", "POST"]
    assert (world.orders[17].state, world.orders[19].state) == ("CANCELLED", "CANCELLED")
    world.run(1)
    assert world.gateway.caught_up


def test_a_stray_order_is_cancelled_after_a_wait() -> None:
    """One that nobody remembers: its cancel is not forgotten because it could not leave."""
    world = World("usdm")
    world.new(17)
    world.settle()
    world.respond(world.gateway_probe(), 429, refusal(-1003), {"Retry-After": "7"})
    stray = (next(iter(world.settings.instruments)), "tl-6-6-1-0")
    world.gateway.book.stray_cancels.append(stray)
    world.run(6)
    assert world.gateway.book.stray_cancels == [stray]
    world.run(1.5)
    assert world.gateway.book.stray_cancels == []


def test_a_full_count_of_orders_stops_no_cancel() -> None:
    """-1015 is the account's count of new orders, not the address's."""
    world = World("spot")
    world.new(17)
    world.settle()
    world.new(18)
    world.respond(world.take(kinds.PLACE), 429, refusal(-1015), {"Retry-After": "7"})
    assert world.orders[18].code == codes.REASON_RATE
    world.cancel(17)
    world.settle()
    assert world.orders[17].state == "CANCELLED"


def test_a_ban_stops_all_calls_and_outlives_a_restart() -> None:
    world = World("spot")
    world.new(17)
    world.settle()
    world.cancel(17)
    world.respond(world.take(kinds.CANCEL), 418, b"", {"Retry-After": "300"})
    banned = next(alert for alert in world.alerts if alert.name == "BANNED")
    assert banned.demand == HALT
    world.restart("snapshot")
    asked = len(world.venue.requests)
    world.run(290)
    assert len(world.venue.requests) == asked, "asked during the ban"
    assert world.orders[17].open
    world.run(30)
    assert world.orders[17].state == "CANCELLED"


def test_new_orders_stop_before_the_limit_and_cancels_do_not() -> None:
    world = World("usdm")
    world.new(17)
    world.settle()
    world.respond(world.gateway_probe(), 200, b"[]", {"X-MBX-USED-WEIGHT-1M": "1900"})
    world.amend(17, 2 * LOT)
    assert world.kinds()[-1] == "ACK"
    world.settle()
    world.respond(world.gateway_probe(), 200, b"[]", {"X-MBX-USED-WEIGHT-1M": "1920"})
    world.amend(17, 3 * LOT)
    assert world.kinds()[-1] == "AMEND_REJECT"
    world.cancel(17)
    assert world.count(kinds.CANCEL) == 1


def test_nothing_is_signed_while_the_clock_is_unknown_but_cancels_go() -> None:
    world = World("spot")
    world.new(17)
    world.settle()
    world.now_ns += 3_600_000_000_000  # Our wall clock is set.
    world.new(18)
    assert (world.orders[18].state, world.orders[18].code) == ("REJECTED", codes.REASON_CLOCK)
    world.cancel(17)
    assert world.count(kinds.CANCEL) == 1


def test_a_clock_too_far_off_refuses_new_orders() -> None:
    world = World("spot", clock_offset_max_ns=100 * MS)
    world.tick(61_000)
    clock = world.take(kinds.SERVER_TIME)
    world.settle()
    server_ms = world.now_ns // MS + 500
    for _ in range(8):  # Until the older samples are gone.
        world.respond(clock, 200, json.dumps({"serverTime": server_ms}).encode())
    world.new(17)
    assert world.orders[17].code == codes.REASON_CLOCK


def test_a_request_refused_for_its_time_is_signed_anew_once_after_measuring() -> None:
    world = World("spot")
    world.new(17)
    first = world.take(kinds.PLACE)
    world.respond(first, 400, refusal(-1021, "Timestamp for this request is outside of the recvWindow."))
    assert world.kinds() == []
    world.tick(10)
    clock = world.take(kinds.SERVER_TIME)
    world.respond(clock, 200, json.dumps({"serverTime": world.now_ns // MS + 700}).encode())
    second = world.take(kinds.PLACE)
    assert second.request == first.request
    assert f"timestamp={world.now_ns // MS + 700}" in second.text.replace(
        str(world.now_ns // MS + 699), str(world.now_ns // MS + 700)
    )
    assert "recvWindow=5000" in second.text
    world.respond(second, 400, refusal(-1021))
    assert (world.orders[17].state, world.orders[17].code) == ("REJECTED", codes.REASON_CLOCK)
    assert world.count(kinds.PLACE) == 0


def test_without_a_server_time_the_refused_request_is_given_up() -> None:
    world = World("spot")
    world.new(17)
    world.respond(world.take(kinds.PLACE), 400, refusal(-1021))
    world.held.clear()
    for _ in range(4):
        world.tick(1000)
        world.held.clear()
    assert world.orders[17].code == codes.REASON_CLOCK


def test_a_refused_key_asks_for_a_halt() -> None:
    world = World("spot")
    world.new(17)
    world.respond(world.take(kinds.PLACE), 401, refusal(-2015, "Invalid API-key, IP, or permissions for action."))
    assert any(alert.name == "KEY_REFUSED" and alert.demand == HALT for alert in world.alerts)


def test_a_closing_order_leaves_where_an_opening_one_has_to_wait() -> None:
    world = World("usdm")
    world.new(17)
    world.settle()
    world.respond(world.gateway_probe(), 200, b"[]", {"X-MBX-ORDER-COUNT-10S": "270"})
    world.new(18)
    assert world.orders[18].code == codes.REASON_RATE
    world.new(19)
    assert world.names().count("LIMIT_NEAR") == 1, "told once for one wait"
    world.new(20, side=-1, flags=codes.REDUCE_ONLY)
    world.settle()
    assert world.orders[20].state == "ACKED"


@pytest.mark.parametrize("market", ["spot", "usdm"])
def test_a_venue_that_cannot_be_reached_is_not_asked_at_every_turn(market: str) -> None:
    """No route, no name, a port that is shut: no answer, and at once. What is left of the minute's limits is for when it is back."""
    world = World(market)
    for order_id in (17, 18, 19):
        world.new(order_id)
    world.settle()
    world.keep(world.gateway.on_stream(up=False, now_ns=world.now_ns, mono_ns=world.mono_ns))
    asked: Counter[int] = Counter()
    for _ in range(20 * 150):
        world.tick(50)
        while world.held:
            outgoing = world.take()
            asked[outgoing.kind] += 1
            world.lose(outgoing)
    assert 100 <= asked[kinds.TRADES] <= 160, "two instruments, in 150 s"
    assert 100 <= asked[kinds.OPEN_ORDERS] <= 160
    assert asked[kinds.SERVER_TIME] <= 150
    assert "LIMIT_NEAR" not in world.names()
    world.keep(world.gateway.on_stream(up=True, now_ns=world.now_ns, mono_ns=world.mono_ns))
    world.run(1)
    assert world.gateway.caught_up
