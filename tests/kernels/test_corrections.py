"""What is not a trade and moves money all the same: a venue that takes a trade back, and transfers that a person accepts."""

from typing import Any

import pytest
from numba import config
from reference import run_small
from reference.run_small import CASH, TOUCH, Outcome, Setup, linear, row

from twinloop.engine.limits import parse_limits
from twinloop.kernels import codes, rows
from twinloop.kernels.node import STANDARD

SIZE = run_small.TINY if config.DISABLE_JIT else STANDARD
BUY_TEN = ("order", {"side": 1, "qty": 10, "price": 1002, "type": codes.LIMIT, "flags": codes.IOC})
UNIT = 10**8


def quote(at: int, bid: int = 998, ask: int = 1002) -> dict[str, Any]:
    return row(rows.QUOTE, at, at, bid=bid, bid_qty=50, ask=ask, ask_qty=50)


def transfer(at: int, value: int, currency: int = 0) -> dict[str, Any]:
    return row(rows.TRANSFER, at, at, strategy=codes.UNASSIGNED, currency=currency, value=value, code=1000)


def bust(at: int, side: int, price: int, qty: int, fee: int, strategy: int = 0) -> dict[str, Any]:
    """Of the first order's trade. side: of the reversal."""
    tail = {"cause_id": -1, "fee_currency": 0, "trade_id": 7, "leaves_qty": 0}
    return row(rows.BUST, at, at, strategy=strategy, side=side, price=price, qty=qty, fee=fee, order_id=0, tail=tail)


def play(
    facts: list[dict[str, Any]],
    limits: Any = None,
    contract: str = "linear",
    script: Any = None,
    *,
    funding_told: bool = False,
) -> Outcome:
    setup = Setup(
        [linear(contract=contract)], [TOUCH], facts, {0: [BUY_TEN]} if script is None else script, limits=limits or parse_limits({}),
        funding_told=funding_told,
    )  # fmt: skip
    return run_small.run(setup, SIZE)


@pytest.mark.parametrize("contract", ["linear", "spot"])
def test_a_trade_taken_back_leaves_the_account_as_if_it_had_not_been(contract: str) -> None:
    before = play([quote(10), quote(20), quote(30, 990, 994)], contract=contract)
    (fill,) = before.fills
    reversal = bust(40, -1, fill["price_int"], fill["qty_int"], -fill["fee_int"])
    got = play([quote(10), quote(20), quote(30, 990, 994), reversal, quote(50, 980, 984)], contract=contract)
    assert got.status == codes.RUN_DONE
    assert got.positions == [0]
    state = got.assembly.decision["accounts"][0]
    assert int(state["cash"]) == int(state["equity"]) == CASH
    for ledger in got.assembly.decision["ledgers"][0][:2]:
        assert int(ledger["balance"]) == int(ledger["start"])
        assert int(ledger["fees"]) == 0
    told = [call for call in got.log if call[0] == "on_fill"]
    assert len(told) == 2, "the strategy is told of both"
    order = next(each for each in got.orders if each["order_id"] == fill["order_id"])
    assert order["filled_int"] == fill["qty_int"], "an order that has ended does not begin again"


def test_of_two_trades_the_one_taken_back_is_booked_at_its_own_price() -> None:
    """Average cost says what is realised and what is not; what the account is worth is as if the first had never been."""
    facts = [quote(10), quote(20), quote(30, 1098, 1102), quote(40, 1098, 1102)]
    again = ("order", {**BUY_TEN[1], "price": 1102})
    both = {0: [BUY_TEN], 4: [again]}
    first, second = play(facts, script=both).fills
    got = play([*facts, bust(50, -1, first["price_int"], 10, -first["fee_int"]), quote(60, 1198, 1202)], script=both)
    alone = play([*facts, quote(60, 1198, 1202)], script={2: [again]})
    assert second["price_int"] > first["price_int"]
    assert got.positions == alone.positions == [10]
    assert got.final_equity == alone.final_equity


@pytest.mark.parametrize("contract", ["linear", "spot"])
@pytest.mark.parametrize("more", [25, -25])
def test_a_fee_that_was_rounded_is_made_what_it_was(contract: str, more: int) -> None:
    facts = [quote(10), quote(20), quote(30, 990, 994)]
    change = row(rows.FEE_CHANGED, 40, 40, fee_currency=0, trade_id=7, fee=more)
    before, got = play(facts, contract=contract), play([*facts, change], contract=contract)
    assert got.status == codes.RUN_DONE
    assert got.positions == before.positions
    for outcome, paid in ((before, 0), (got, more)):
        decision = outcome.assembly.decision
        for name in ("cash", "equity"):
            assert int(decision["accounts"][0][name]) == int(before.assembly.decision["accounts"][0][name]) - paid
        for holdings in ("account_holdings", "strategy_holdings"):
            fees = int(before.assembly.decision[holdings][0][0]["position"]["fees"])
            assert int(decision[holdings][0][0]["position"]["fees"]) == fees + paid
        ledger, first = decision["ledgers"][0][0], before.assembly.decision["ledgers"][0][0]
        assert int(ledger["fees"]) == int(first["fees"]) + paid
        assert int(ledger["balance"]) == int(first["balance"]) - paid
    assert len([call for call in got.log if call[0] == "on_fill"]) == 1, "no strategy is told"


@pytest.mark.parametrize("wrong", [{"strategy": 5}, {"fee_currency": 99}, {"fee_currency": -1}])
def test_a_fee_of_nobody_or_of_no_currency_stops_the_run(wrong: dict[str, int]) -> None:
    change = row(rows.FEE_CHANGED, 40, 40, **({"fee_currency": 0, "trade_id": 7, "fee": 25} | wrong))
    assert play([quote(10), quote(20), change]).status != codes.RUN_DONE


def paid(at: int, value: int, **fields: int) -> dict[str, Any]:
    return row(rows.FUNDING_PAID, at, at, **({"currency": 0, "value": value, "trade_id": 9} | fields))


@pytest.mark.parametrize("amount", [3 * UNIT, -3 * UNIT])
def test_what_a_venue_paid_in_funding_is_booked_as_it_says(amount: int) -> None:
    """Position of the book and of the account, ledger, cash, equity; the day's result has it, the positions stay."""
    before = play([quote(10), quote(20), quote(30)]).assembly.decision
    got = play([quote(10), quote(20), paid(25, amount), paid(26, 1, strategy=codes.UNASSIGNED), quote(30)])
    assert got.status == codes.RUN_DONE
    decision = got.assembly.decision
    for name in ("cash", "equity"):
        assert int(decision["accounts"][0][name]) == int(before["accounts"][0][name]) + amount + 1, name
    for name in ("start_equity", "day_equity"):
        assert int(decision["accounts"][0][name]) == int(before["accounts"][0][name]), name
    unassigned = decision["strategy_holdings"].shape[0] - decision["accounts"].shape[0]
    for holdings, book, funding in (
        ("strategy_holdings", 0, amount), ("strategy_holdings", unassigned, 1), ("account_holdings", 0, amount + 1),
    ):  # fmt: skip
        position = decision[holdings][book][0]["position"]
        assert int(position["funding"]) == funding
        assert int(position["qty"]) == int(before[holdings][book][0]["position"]["qty"])
    ledger, first = decision["ledgers"][0][0], before["ledgers"][0][0]
    assert int(ledger["funding"]) == int(ledger["balance"]) - int(first["balance"]) == amount + 1


def test_funding_counts_in_the_days_loss() -> None:
    limits = parse_limits({"preset": "research", "max_daily_loss": "10"})
    assert (
        play([quote(10), quote(20), paid(25, -9 * UNIT), quote(30)], limits).assembly.decision["accounts"][0]["state"]
        == codes.ACTIVE
    )
    state = play([quote(10), quote(20), paid(25, -10 * UNIT), quote(30)], limits).assembly.decision["accounts"][0]
    assert (int(state["state"]), int(state["halt_code"])) == (codes.HALTED, codes.REJECT_DAILY_LOSS)


@pytest.mark.parametrize(("wrong", "status"), [
    ({"strategy": 5}, codes.RUN_BAD_ROW), ({"account": 9}, codes.RUN_BAD_ROW), ({"currency": 1}, codes.RUN_BAD_ROW),
    ({"value": 2**63 - 1}, codes.RUN_OVERFLOW),
])  # fmt: skip
def test_funding_of_nobody_or_in_another_currency_stops_the_run(wrong: dict[str, int], status: int) -> None:
    assert play([quote(10), quote(20), paid(25, UNIT) | wrong]).status == status


@pytest.mark.parametrize("told", [False, True])
def test_a_markets_funding_moves_no_money_where_the_venue_tells_what_it_paid(told: bool) -> None:
    funding = row(rows.FUNDING, 25, 25, price=1000, rate=10_000_000)
    got = play([quote(10), quote(20), funding, quote(30)], funding_told=told)
    assert got.status == codes.RUN_DONE
    funded = int(got.assembly.decision["account_holdings"][0][0]["position"]["funding"])
    assert (funded == 0) == told
    assert funded == int(got.assembly.decision["ledgers"][0][0]["funding"])


@pytest.mark.parametrize("amount", [50 * UNIT, -50 * UNIT])
def test_a_transfer_is_neither_profit_nor_loss(amount: int) -> None:
    limits = parse_limits({"preset": "research", "max_daily_loss": "10", "max_drawdown": "20"})
    plain = play([quote(10), quote(20), quote(30)], limits).assembly.decision["accounts"][0]
    got = play([quote(10), quote(20), transfer(25, amount), quote(30)], limits)
    assert got.status == codes.RUN_DONE
    state = got.assembly.decision["accounts"][0]
    for name in ("cash", "equity", "start_equity", "day_equity", "peak_equity", "floor_peak", "equity_floor"):
        assert int(state[name]) == int(plain[name]) + amount, name
    assert int(state["state"]) == codes.ACTIVE
    ledger = got.assembly.decision["ledgers"][0][0]
    assert int(ledger["start"]) == CASH + amount


def test_after_a_transfer_a_loss_still_stops_the_account() -> None:
    limits = parse_limits({"preset": "research", "max_daily_loss": "0.02"})
    facts = [
        quote(10),
        quote(20),
        transfer(25, 50 * UNIT),
        quote(30, 940, 944),
        transfer(35, 50 * UNIT),
        quote(40, 940, 944),
    ]
    state = play(facts, limits).assembly.decision["accounts"][0]
    assert (int(state["state"]), int(state["halt_code"])) == (codes.HALTED, codes.REJECT_DAILY_LOSS)


def test_money_of_another_currency_is_there_to_be_spent_and_no_equity() -> None:
    got = play([quote(10), transfer(15, 3 * UNIT, currency=1), quote(20)], contract="spot", script={})
    ledger = got.assembly.decision["ledgers"][0][1]
    assert (int(ledger["balance"]), int(ledger["outside"]), int(ledger["start"])) == (3 * UNIT, 3 * UNIT, 0)
    assert int(got.assembly.decision["accounts"][0]["equity"]) == CASH


@pytest.mark.parametrize(("fields", "status"), [
    ({"currency": -1}, codes.RUN_BAD_ROW), ({"currency": 64}, codes.RUN_BAD_ROW), ({"account": 9}, codes.RUN_BAD_ROW),
    ({"value": 2**63 - 1}, codes.RUN_OVERFLOW), ({"value": 2**63 - 1, "currency": 1}, codes.RUN_DONE),
])  # fmt: skip
def test_a_transfer_that_cannot_be_booked_stops_the_run(fields: dict[str, int], status: int) -> None:
    got = play([quote(10), transfer(15, UNIT) | fields, quote(20)], script={})
    assert got.status == status
