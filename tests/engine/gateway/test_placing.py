"""New orders: accepted, refused, unknown until proven, and never sent twice."""

import json

import pytest
from reference.gateway_world import LOT, MS, World, refusal, request_row
from reference.order_venue import KernelOrder

from twinloop.engine.gateway import outcome as kinds
from twinloop.kernels import codes, rows

MARKETS = pytest.mark.parametrize("market", ["spot", "usdm"])


@MARKETS
def test_an_accepted_order_is_acknowledged_once(market: str) -> None:
    world = World(market)
    world.new(17)
    world.settle()
    assert world.kinds() == ["ACK"]
    row = world.facts[0][0]
    assert [int(row[name]) for name in ("order_id", "strategy", "account", "source", "instrument", "side")] == [
        17, 6, 2, 9, 3, 1,
    ]  # fmt: skip
    assert world.venue.orders[0].client_id == "tl-7-6-h-0"


def test_a_fill_is_two_rows_with_fee_currency_trade_and_leaves() -> None:
    world = World("spot")
    world.new(17, 3 * LOT)
    world.settle()
    world.venue.fill(world.of(17), LOT, price=9_999)
    world.frames()
    head, tail = world.facts[-1]
    assert [int(head[name]) for name in ("kind", "price", "qty", "order_id", "fee")] == [
        rows.FILL,
        9_999,
        LOT,
        17,
        10_000,
    ]
    assert int(head["flags"]) == rows.FLAG_CONTINUES | rows.FLAG_MAKER
    assert int(tail["flags"]) == rows.FLAG_TAIL | rows.FLAG_MAKER
    assert [int(tail[name]) for name in ("fee_currency", "trade_id", "leaves_qty")] == [1, 1001, 2 * LOT]
    assert int(head["venue_ns"]) == world.venue.trades[0].time_ms * MS


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (None, b""),
        (500, b""),
        (502, b"<html>bad gateway</html>"),
        (403, b"<html>forbidden</html>"),
        (400, refusal(-1006)),
        (400, refusal(-1007)),
        (200, b"<html>login</html>"),
        (200, b'{"orderId":"x"}'),
        (503, refusal(-1001, "Unknown error, please check your request or try again later.")),
    ],
)
@pytest.mark.parametrize("arrived", [True, False])
@MARKETS
def test_no_proof_is_unknown_until_proven(market: str, status: int | None, body: bytes, arrived: bool) -> None:
    world = World(market)
    world.new(17)
    place = world.take(kinds.PLACE)
    if arrived:
        world.arrive(place)
        world.answered.clear()
        world.venue.frames.clear()
    if status is None:
        world.lose(place)
    else:
        world.respond(place, status, body)
    assert world.kinds() == ["UNKNOWN"]
    assert "REQUEST_UNPROVEN" in world.names()
    world.run(1)
    # Found by the first query; not found counts for nothing yet.
    assert world.kinds() == (["UNKNOWN", "ACK"] if arrived else ["UNKNOWN"])
    world.run(20)
    assert world.orders[17].state == ("ACKED" if arrived else "REJECTED")
    assert len(world.venue.orders) == arrived, "never sent again, under this id or another"
    assert sum(method == "POST" and "order" in path for method, path, _ in world.venue.requests) == arrived


def test_absence_needs_two_sources_asked_after_the_horizon() -> None:
    world = World("spot")
    world.new(17)
    world.lose(world.take(kinds.PLACE))
    world.run(9.5)
    assert world.kinds() == ["UNKNOWN"]
    for _ in range(20):  # The query says no, the list of open orders does not answer.
        world.tick(250)
        for outgoing in list(world.held):
            world.held.remove(outgoing)
            if outgoing.kind == kinds.OPEN_ORDERS:
                world.lose(outgoing)
            else:
                world.arrive(outgoing)
        while world.answered:
            world.deliver()
    assert world.kinds() == ["UNKNOWN"]
    world.run(3)
    assert world.kinds() == ["UNKNOWN", "REJECT"]
    assert world.orders[17].code == codes.REASON_ABSENT
    assert world.gateway.open_orders == []


@MARKETS
def test_absence_is_asked_about_as_soon_as_it_can_be_proven(market: str) -> None:
    """Not when the waits between queries, which grow, come to it: a session that ends waits for this."""
    world = World(market)
    world.new(17)
    world.lose(world.take(kinds.PLACE))
    world.run(9.75)
    assert world.kinds() == ["UNKNOWN"]
    world.run(0.75)  # The horizon, and the list behind it.
    assert world.kinds() == ["UNKNOWN", "REJECT"]
    assert world.orders[17].code == codes.REASON_ABSENT


def test_one_that_appears_after_all_is_cancelled_and_its_fill_booked() -> None:
    world = World("spot")
    world.new(17, 2 * LOT)
    late = world.take(kinds.PLACE)
    world.lose(late)
    world.run(20)
    assert world.orders[17].state == "REJECTED"
    world.arrive(late)
    world.answered.clear()
    world.venue.fill(world.of(17), LOT)
    world.settle()
    world.run(2)
    assert world.of(17).status == "CANCELED"
    assert [fill[1:] for fill in world.fills] == [(1001, 10_000, LOT)]
    assert {"LATE_APPEARANCE", "FILL_AFTER_END"} <= set(world.names())
    assert world.gateway.open_orders == []


@pytest.mark.parametrize(
    ("market", "status", "code", "message", "reason"),
    [
        ("spot", 400, -2010, "Account has insufficient balance for requested action.", codes.REASON_BALANCE),
        ("spot", 400, -2010, "Order would immediately match and take.", codes.REASON_POST_ONLY),
        ("spot", 400, -2010, "Market is closed.", codes.REASON_STATUS),
        ("spot", 400, -2010, "Something else.", codes.REASON_VENUE),
        ("spot", 400, -1013, "Filter failure: LOT_SIZE", codes.REASON_FILTER),
        ("spot", 400, -1111, "", codes.REASON_FILTER),
        ("spot", 400, -1121, "Invalid symbol.", codes.REASON_NO_INSTRUMENT),
        ("spot", 400, -1022, "", codes.REASON_KEY),
        ("spot", 401, -2015, "", codes.REASON_KEY),
        ("spot", 429, -1015, "Too many new orders.", codes.REASON_RATE),
        ("spot", 400, -9999, "new code", codes.REASON_VENUE),
        ("usdm", 400, -2019, "Margin is insufficient.", codes.REASON_BALANCE),
        ("usdm", 400, -2022, "ReduceOnly Order is rejected.", codes.REASON_REDUCE_ONLY),
        ("usdm", 400, -5022, "", codes.REASON_POST_ONLY),
        ("usdm", 400, -5021, "", codes.REASON_FILL_OR_KILL),
        ("usdm", 400, -4164, "", codes.REASON_FILTER),
        ("usdm", 400, -4001, "Price less than 0.", codes.REASON_FILTER),
        ("usdm", 400, -4002, "Price greater than max price.", codes.REASON_FILTER),
        ("usdm", 400, -4013, "Price less than min price.", codes.REASON_FILTER),
        ("usdm", 400, -2021, "Order would immediately trigger.", codes.REASON_WOULD_TRIGGER),
        ("usdm", 400, -5025, "Only limit order is supported.", codes.REASON_UNSUPPORTED),
        ("usdm", 400, -5027, "No need to modify the order.", codes.REASON_NO_CHANGE),
        ("spot", 400, -2010, "Stop price would trigger immediately.", codes.REASON_WOULD_TRIGGER),
        ("usdm", 503, -1001, "Service Unavailable.", codes.REASON_VENUE),
        ("usdm", 503, -1008, "Request throttled by system-level protection.", codes.REASON_VENUE_BUSY),
    ],
)
def test_a_definite_refusal_rejects_at_once(market: str, status: int, code: int, message: str, reason: int) -> None:
    world = World(market)
    world.new(17)
    world.respond(world.take(kinds.PLACE), status, refusal(code, message))
    assert world.kinds() == ["REJECT"]
    assert (world.orders[17].state, world.orders[17].code) == ("REJECTED", reason)
    assert world.gateway.open_orders == []


def test_an_id_that_is_taken_is_this_order_and_no_refusal() -> None:
    world = World("spot")
    world.new(17)
    place = world.take(kinds.PLACE)
    world.arrive(place)
    world.answered.clear()
    world.venue.frames.clear()
    world.respond(place, 400, refusal(-2010, "Duplicate order sent."))
    world.run(1)
    assert world.kinds() == ["UNKNOWN", "ACK"]


@MARKETS
def test_what_is_withdrawn_is_refused_and_nothing_of_it_is_sent(market: str) -> None:
    """It waited for the disk, and was cancelled meanwhile or grew old."""
    world = World(market)
    world.new(17, 3 * LOT)
    world.settle()
    world.orders[18] = KernelOrder(LOT, 10_000)
    world.orders[17].amends, world.orders[17].amend_qty = 1, 5 * LOT
    for row in (request_row(rows.NEW, 18), request_row(rows.AMEND, 17, 5 * LOT)):
        world.journal.append((7, row))
        world.keep(world.gateway.on_withdrawn(row, *world.times))
    assert world.held == []
    assert world.kinds() == ["ACK", "REJECT", "AMEND_REJECT"]
    assert (world.orders[18].state, world.orders[18].code) == ("REJECTED", codes.REASON_NOT_SENT)
    assert (world.orders[17].qty, world.orders[17].amends) == (3 * LOT, 0)
    world.restart("journal")
    world.run(15)
    assert world.gateway.unproven == 0
    assert {order.order_id for order in world.gateway.open_orders} == {17}


def test_a_number_that_was_used_is_never_sent_again() -> None:
    world = World("spot")
    world.new(17)
    world.settle()
    sent = len(world.venue.requests)
    outcome = world.request(request_row(rows.NEW, 17))
    outcome_2 = world.request(request_row(rows.NEW, 3))
    assert not outcome.facts
    assert not outcome.outgoing + outcome_2.outgoing
    assert world.names()[-2:] == ["DUPLICATE_REQUEST"] * 2
    assert len(world.venue.requests) == sent


@pytest.mark.parametrize(
    ("market", "fields"),
    [
        ("spot", {"instrument": 4}),
        ("spot", {"flags": codes.DAY}),
        ("spot", {"flags": codes.GTD}),
        ("spot", {"source": 9}),
        ("spot", {"flags": codes.REDUCE_ONLY}),
        ("spot", {"flags": codes.POST_ONLY, "source": codes.MARKET}),
    ],
)
def test_what_the_venue_has_not_is_refused_here(market: str, fields: dict[str, int]) -> None:
    world = World(market)
    world.new(17, **fields)
    assert world.held == []
    assert world.kinds() == ["REJECT"]


def test_an_answer_that_never_comes_and_no_timeout_either_is_no_answer() -> None:
    world = World("spot")
    world.new(17)
    world.held.clear()
    world.run(15)
    assert world.kinds()[0] == "UNKNOWN"


def stop_answer(world: World, status: str, actual: str = "") -> bytes:
    return json.dumps(
        {
            "algoId": 77,
            "clientAlgoId": world.gateway.ids.make(7, 6, 17),
            "symbol": "BTCUSDT",
            "side": "BUY",
            "algoStatus": status,
            "quantity": "1.000",
            "actualOrderId": actual,
        }
    ).encode()


def test_a_stop_order_lives_in_the_service_until_it_triggers() -> None:
    world = World("usdm")
    world.new(17, source=codes.STOP, trigger_price=11_000)
    place = world.take(kinds.PLACE)
    assert place.path == "/fapi/v1/algoOrder"
    world.respond(place, 200, stop_answer(world, "NEW"))
    assert world.kinds() == ["ACK"]
    world.amend(17, 2 * LOT)
    assert world.kinds()[-1] == "AMEND_REJECT"
    event = {"caid": "tl-7-6-h-0", "aid": 77, "s": "BTCUSDT", "S": "BUY", "q": "1.000", "X": "TRIGGERED", "ai": "990"}
    world.frame(json.dumps({"e": "ALGO_UPDATE", "T": 5, "o": event}).encode())
    update = {
        "s": "BTCUSDT", "c": "made-by-the-service", "S": "BUY", "q": "1.000", "p": "0", "x": "TRADE", "X": "FILLED",
        "i": 990, "l": "1.000", "z": "1.000", "L": "110.00", "T": 6, "t": 4001, "n": "0.1", "N": "USDT",
    }  # fmt: skip
    world.frame(json.dumps({"e": "ORDER_TRADE_UPDATE", "T": 6, "o": update}).encode())
    assert world.orders[17].state == "FILLED"
    assert world.fills == [(17, 4001, 11_000, LOT)]


def test_a_stop_order_is_cancelled_in_the_service() -> None:
    world = World("usdm")
    world.new(17, source=codes.STOP, trigger_price=11_000)
    world.respond(world.take(kinds.PLACE), 200, stop_answer(world, "NEW"))
    world.cancel(17)
    cancel = world.take(kinds.CANCEL)
    assert (cancel.method, cancel.path) == ("DELETE", "/fapi/v1/algoOrder")
    world.respond(cancel, 200, b'{"algoId":77,"clientAlgoId":"x","code":"200","msg":"success"}')
    query = world.take(kinds.QUERY)
    assert query.path == "/fapi/v1/algoOrder"
    world.respond(query, 200, stop_answer(world, "CANCELED"))
    assert (world.orders[17].state, world.orders[17].code) == ("CANCELLED", codes.REASON_REQUESTED)
