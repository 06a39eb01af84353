"""Money that moved without a trade: what stream and list tell of one transfer is one, and nothing is booked by either."""

import json
from typing import Any

import pytest
from reference.gateway_world import MS, World

from twinloop.data.binance_orders import INCOME_MAX
from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway.money_moves import PAGES_MAX


def told(reason: str, amount: str, time_ms: int, asset: str = "USDT") -> bytes:
    change = {"m": reason, "B": [{"a": asset, "wb": "9", "cw": "9", "bc": amount}], "P": []}
    return json.dumps({"e": "ACCOUNT_UPDATE", "E": time_ms, "T": time_ms, "a": change}).encode()


def listed(*moves: tuple[int, str, int], kind: str = "TRANSFER") -> bytes:
    """(number, amount, time) each."""
    return json.dumps([
        {"symbol": "", "incomeType": kind, "income": amount, "asset": "USDT", "info": "", "time": at_ms, "tranId": number, "tradeId": ""}
        for number, amount, at_ms in moves
    ]).encode()  # fmt: skip


def ask(world: World, body: bytes, status: int = 200) -> None:
    world.keep(world.gateway.ask_income(world.now_ns, *world.times))
    assert not world.gateway.money_moves.told
    world.respond(world.take(kinds.INCOME), status, body)


def amounts(world: World) -> list[int]:
    return [move.amount for move in world.gateway.money_moves.kept]


@pytest.mark.parametrize(
    "reason", ["DEPOSIT", "WITHDRAW", "ASSET_TRANSFER", "ADJUSTMENT", "INSURANCE_CLEAR", "A_NEW_ONE"]
)
def test_what_the_stream_tells_is_an_alert_and_books_nothing(reason: str) -> None:
    world = World("usdm")
    frame = told(reason, "-12.50000001", world.now_ns // MS)
    world.frame(frame)
    world.frame(frame)
    (alert,) = [each for each in world.alerts if each.name == "MONEY_MOVED"]
    assert (alert.value, alert.detail) == (-1_250_000_001, f"{reason} -12.50000001 USDT")
    assert world.facts == []


@pytest.mark.parametrize(
    ("reason", "amount"), [("ORDER", "0"), ("MARGIN_TYPE_CHANGE", "0.00000000"), ("FUNDING_FEE", "-3")]
)
def test_what_trades_and_funding_change_is_no_move_of_money(reason: str, amount: str) -> None:
    world = World("usdm")
    world.frame(told(reason, amount, world.now_ns // MS))
    assert "MONEY_MOVED" not in world.names()
    assert amounts(world) == []


def test_spot_tells_of_it_by_an_event_of_its_own() -> None:
    world = World("spot")
    event = {"e": "balanceUpdate", "E": 5, "a": "BTC", "d": "0.00100000", "T": 5}
    world.frame(json.dumps({"subscriptionId": 0, "event": event}).encode())
    (alert,) = [each for each in world.alerts if each.name == "MONEY_MOVED"]
    assert alert.detail == "BALANCE_UPDATE +0.001 BTC"
    world.keep(world.gateway.ask_income(world.now_ns, *world.times))
    assert world.gateway.money_moves.told, "spot has no such list"


def test_one_transfer_that_both_tell_of_is_one_and_two_equal_ones_are_two() -> None:
    world = World("usdm")
    now_ms = world.now_ns // MS
    world.frame(told("WITHDRAW", "-7", now_ms))
    ask(world, listed((1, "-7.00000000", now_ms + 900)))
    assert amounts(world) == [-7 * 10**8]
    ask(world, listed((1, "-7", now_ms + 900), (2, "5", now_ms + 1000), (3, "5", now_ms + 1000)))
    ask(world, listed((2, "5", now_ms + 1000), (3, "5", now_ms + 1000)))
    assert amounts(world) == [-7 * 10**8, 5 * 10**8, 5 * 10**8]


def test_of_two_equal_ones_in_the_list_the_stream_told_one() -> None:
    world = World("usdm")
    now_ms = world.now_ns // MS
    world.frame(told("DEPOSIT", "5", now_ms))
    for _ in range(2):
        ask(world, listed((2, "5", now_ms), (3, "5", now_ms + 10)))
        world.frame(told("DEPOSIT", "5", now_ms))  # A stream may tell again what it told.
    assert amounts(world) == [5 * 10**8, 5 * 10**8]


@pytest.mark.parametrize(
    "kind", ["REFERRAL_KICKBACK", "COMMISSION_REBATE", "API_REBATE", "FEE_RETURN", "WELCOME_BONUS", "A_NEW_ONE"]
)
def test_what_the_stream_never_speaks_of_is_in_the_list(kind: str) -> None:
    world = World("usdm")
    ask(world, listed((7, "0.25", world.now_ns // MS), kind=kind))
    assert [str(move) for move in world.gateway.money_moves.kept] == [f"{kind} +0.25 USDT"]


@pytest.mark.parametrize("kind", ["REALIZED_PNL", "COMMISSION", "FUNDING_FEE"])
def test_what_trades_and_funding_brought_is_in_the_list_too_and_no_move_of_money(kind: str) -> None:
    world = World("usdm")
    ask(world, listed((7, "0.25", world.now_ns // MS), kind=kind))
    assert world.gateway.money_moves.told
    assert amounts(world) == []


def test_one_number_of_two_kinds_is_two() -> None:
    world = World("usdm")
    now_ms = world.now_ns // MS
    ask(world, listed((7, "0.25", now_ms)))
    ask(world, listed((7, "0.5", now_ms), kind="API_REBATE"))
    assert amounts(world) == [25_000_000, 50_000_000]


def test_a_list_is_read_page_by_page_and_not_for_ever() -> None:
    world = World("usdm")
    now_ms = world.now_ns // MS
    full = listed(*((number, "0.1", now_ms) for number in range(1, INCOME_MAX + 1)), kind="COMMISSION")
    ask(world, full)
    second = world.take(kinds.INCOME)
    assert "page=2" in second.text
    world.respond(second, 200, listed((5, "3", now_ms), kind="API_REBATE"))
    assert world.gateway.money_moves.told
    assert amounts(world) == [3 * 10**8]
    ask(world, full)
    for page in range(2, PAGES_MAX + 1):
        sent = world.take(kinds.INCOME)
        assert f"page={page}&" in sent.text
        world.respond(sent, 200, full)
    assert kinds.INCOME not in [each.kind for each in world.held]
    assert not world.gateway.money_moves.told


@pytest.mark.parametrize(("body", "status"), [(b"{}", 200), (b"[{}]", 200), (b"[]", 500)])
def test_a_list_that_cannot_be_read_tells_nothing(body: bytes, status: int) -> None:
    world = World("usdm")
    ask(world, body, status)
    assert not world.gateway.money_moves.told
    assert amounts(world) == []


def test_a_bad_amount_on_the_stream_is_a_bad_message() -> None:
    world = World("usdm")
    changes: Any = told("DEPOSIT", "many", world.now_ns // MS)
    world.frame(changes)
    assert "BAD_MESSAGE" in world.names()
    assert amounts(world) == []
