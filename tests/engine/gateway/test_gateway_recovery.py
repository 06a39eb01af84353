"""State over a restart, keys that nothing shows, and frames that cannot break it."""

import json
import logging
import pickle
import traceback
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference.gateway_world import API_KEY, LOT, SECRET, World, credentials, refusal, request_row, settings
from reference.worst_case import kernel_holds

from twinloop.data.errors import ConfigError, DataError
from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway.gateway import Gateway
from twinloop.engine.gateway.own_rows import as_rows, fate
from twinloop.kernels import codes, rows

MARKETS = pytest.mark.parametrize("market", ["spot", "usdm"])


def annotation(kind: int, order_id: int) -> tuple[int, Any]:
    return 7, request_row(kind, order_id, qty=0, price=0)


def test_a_journalled_order_without_sent_is_unknown_and_asked_about_and_one_not_sent_is_refused() -> None:
    world = World("spot")
    world.new(17)
    world.new(18)
    world.arrive(world.take(kinds.PLACE))
    world.journal.append(annotation(rows.NOT_SENT, 18))
    world.restart("journal")
    assert world.orders[17].state == "UNKNOWN"
    assert (world.orders[18].state, world.orders[18].code) == ("REJECTED", codes.REASON_NOT_SENT)
    world.run(3)
    assert world.orders[17].state == "ACKED"
    assert len(world.venue.orders) == 1


def test_a_snapshot_of_another_account_is_refused() -> None:
    world = World("spot")
    plain = world.gateway.snapshot()
    other = Gateway(settings("spot", account=3), credentials())
    with pytest.raises(DataError, match="not a snapshot"):
        other.restore(plain, 0, 0)
    with pytest.raises(DataError, match="not a snapshot"):
        world.gateway.restore({}, 0, 0)


def test_settings_that_cannot_stand_are_refused() -> None:
    for changes in ({"window_ms": 0}, {"epoch": 0}, {"horizon_ns": 1}, {"dead_man_timeout_ms": 1000}):
        with pytest.raises(ConfigError, match="cannot stand"):
            settings("usdm", **changes)


@MARKETS
def test_no_key_and_no_signature_is_shown_anywhere(market: str, caplog: pytest.LogCaptureFixture) -> None:
    world = World(market, websocket=True)
    world.gateway.on_order_socket(up=True)
    world.new(17)
    place = world.held[0]
    assert API_KEY in place.frame, "the canary is where it has to be"
    signature = json.loads(place.frame)["params"]["signature"]
    world.cancel(17)
    shown = [repr(place), str(place), f"{place}", repr(world.held), repr(world.gateway), repr(credentials())]
    shown.append(json.dumps(world.gateway.snapshot()))
    try:
        shown.append(repr(pickle.dumps(world.gateway)))
    except TypeError as error:
        shown.append(str(error))
    with caplog.at_level(logging.DEBUG):
        logging.getLogger("canary").error("%s %r %s", place, world.gateway, vars(world.gateway))
    shown.append(caplog.text)
    shown.append("".join(traceback.format_exception(ValueError(place, world.gateway))))
    world.respond(place, 400, refusal(-1022, "Signature for this request is not valid."))
    shown += [repr(alert) for alert in world.alerts]
    shown += [repr(facts.tobytes()) for facts in world.facts]
    text = "\n".join(shown)
    for secret in (API_KEY, SECRET, signature):
        for start in range(len(secret) - 9):
            assert secret[start : start + 10] not in text


@pytest.mark.parametrize("market", ["usdm", "spot"])
def test_an_amend_that_waited_for_the_disk_behind_anothers_answer_is_in_doubt_after_a_restart(market: str) -> None:
    """On spot what it placed was nobody's then, and worked on without anybody's counting it."""
    world = World(market)
    world.new(17, 3 * LOT)
    world.settle()
    world.amend(17, 8 * LOT)
    row = request_row(rows.AMEND, 17, 9 * LOT)
    world.orders[17].amends, world.orders[17].amend_qty = 2, 9 * LOT
    world.journal.append((7, row))
    world.settle()
    world.keep(world.gateway.on_requests(row, *world.times))
    leaves = world.take(kinds.AMEND if market == "usdm" else kinds.REPLACE)
    world.journal.append((7, as_rows([fate(rows.SENT, *world.times, leaves.number, 17, leaves.kind)])))
    world.arrive(leaves)
    world.venue.frames.clear()
    world.restart("journal")
    assert kernel_holds(world.orders[17]) == 9 * LOT
    world.run(30)
    assert world.gateway.unproven == 0
    assert (world.orders[17].open, kernel_holds(world.orders[17])) == (True, 9 * LOT)
    order = world.gateway.tracker.find(17)
    assert order is not None
    assert (order.qty, order.amend) == (9 * LOT, None)


@pytest.mark.parametrize("refused", ["of an order that is cancelled", "withdrawn", "one is under way"])
def test_an_amend_that_was_refused_here_says_nothing_of_the_one_under_way(refused: str) -> None:
    """After a restart neither: the venue may have done that one, and until it is proven its quantity counts."""
    world = World("usdm")
    world.new(17, 3 * LOT)
    world.settle()
    world.amend(17, 8 * LOT)
    world.arrive(world.take(kinds.AMEND))
    if refused == "of an order that is cancelled":
        world.cancel(17)
    if refused == "withdrawn":
        row = request_row(rows.AMEND, 17, 5 * LOT)
        world.orders[17].amends += 1
        world.journal.append((7, row))
        world.keep(world.gateway.on_withdrawn(row, *world.times))
    else:
        world.amend(17, 5 * LOT)
    world.venue.frames.clear()  # Nor does the stream tell of it.
    world.venue.fill(world.of(17), 3 * LOT)
    world.frames()
    for how in ("journal", "journal"):
        world.restart(how)
        order = world.orders[17]
        assert (order.open, order.filled, kernel_holds(order)) == (True, 3 * LOT, 8 * LOT)
    world.run(30)
    assert world.gateway.unproven == 0
    assert (world.of(17).status, kernel_holds(order)) == (
        ("CANCELED", 3 * LOT) if refused == "of an order that is cancelled" else ("PARTIALLY_FILLED", 8 * LOT)
    )


def damaged(good: list[bytes], number: int) -> bytes:
    broken = bytearray(good[number % len(good)])
    broken[number // 7 % len(broken)] = number % 251
    return bytes(broken)


@given(
    frames=st.lists(st.one_of(st.binary(max_size=60), st.integers(0, 10**9)), max_size=12),
    market=st.sampled_from(["spot", "usdm"]),
)
def test_no_frame_and_no_answer_can_break_it(frames: list[bytes | int], market: str) -> None:
    world = World(market)
    world.new(17, 2 * LOT)
    place = world.take(kinds.PLACE)
    world.arrive(place)
    world.venue.fill(world.of(17), LOT)
    good = list(world.venue.frames)
    for given_frame in frames:
        frame = given_frame if isinstance(given_frame, bytes) else damaged(good, given_frame)
        world.frame(frame)
        world.respond(place, (200, 400, 503)[len(frame) % 3], frame)
    world.settle()
    world.run(15)
    assert all(len(facts) for facts in world.facts)
