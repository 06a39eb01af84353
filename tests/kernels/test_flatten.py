"""FLATTEN: every other order gone, then the account's positions closed in slices, and nothing that makes one larger."""

from typing import Any

import pytest
from numba import config
from reference import run_small
from reference.run_small import TOUCH, Outcome, Setup, linear, row

from twinloop.engine.assembly import VenueSettings
from twinloop.engine.limits import parse_limits
from twinloop.kernels import codes, rows
from twinloop.kernels.flatten import PAUSE_NS
from twinloop.kernels.money import MONEY_MAX
from twinloop.kernels.node import FLATTEN_NOT, STANDARD

SIZE = run_small.TINY if config.DISABLE_JIT else STANDARD
BUY_TEN = ("order", {"side": 1, "qty": 10, "price": 1002, "type": codes.LIMIT, "flags": codes.IOC})
FAR_SELL = ("order", {"side": -1, "qty": 3, "price": 1100, "type": codes.LIMIT})
EVERYONE = codes.UNASSIGNED


def quote(at: int, bid: int = 998, ask: int = 1002, qty: int = 50, instrument: int = 0) -> dict[str, Any]:
    return row(rows.QUOTE, at, at, bid=bid, bid_qty=qty if bid else 0, ask=ask, ask_qty=qty if ask else 0) | {
        "instrument": instrument
    }


def command(kind: int, at: int, code: int = 0) -> dict[str, Any]:
    return {"kind": kind, "venue_ns": at, "local_ns": at, "instrument": 0, "strategy": EVERYONE, "code": code}


def traded(at: int, side: int, qty: int, strategy: int = EVERYONE, kind: int = rows.FILL) -> dict[str, Any]:
    tail = {"cause_id": -1, "fee_currency": 0, "trade_id": at, "leaves_qty": 0}
    return {
        "kind": kind, "venue_ns": at, "local_ns": at, "instrument": 0, "strategy": strategy, "account": 0, "side": side,
        "price": 1000, "qty": qty, "fee": 7, "order_id": 0, "tail": tail,
    }  # fmt: skip


def play(
    facts: list[dict[str, Any]], script: Any = None, limits: Any = None, contract: str = "linear", **settings: Any
) -> tuple[Outcome, list[Any]]:
    """A run, and its orders as (strategy, side, price, qty, flags) in the order they were made."""
    chosen = {0: [BUY_TEN]} if script is None else script
    setup = Setup(
        [linear(contract=contract)],
        [TOUCH],
        facts,
        chosen,
        VenueSettings(**settings),
        limits=limits or parse_limits({}),
    )
    got = run_small.run(setup, SIZE)
    assert got.status == codes.RUN_DONE
    made = sorted(got.orders, key=lambda each: each["order_id"])
    return got, [tuple(each[name] for name in ("strategy", "side", "price_int", "qty_int", "flags")) for each in made]


IOC_REDUCE = codes.IOC | codes.REDUCE_ONLY


def test_positions_are_closed_in_slices_that_one_order_may_have() -> None:
    limits = parse_limits({"max_order_qty": "0.004"})
    script = {0: [("order", {**BUY_TEN[1], "qty": 4})], 1: [("order", {**BUY_TEN[1], "qty": 4})], 4: [FAR_SELL]}
    facts = [quote(10), quote(20), quote(30), command(rows.FLATTEN, 40), *(quote(50 + 10 * i) for i in range(9))]
    got, asked = play(facts, script, limits)
    assert got.positions == [0]
    assert asked[3:] == [(0, -1, 949, 4, IOC_REDUCE), (0, -1, 949, 4, IOC_REDUCE)]
    assert int(got.assembly.node["measured"]["cancels"]) == 1
    decision = got.assembly.decision
    assert (int(decision["flattening"]), int(decision["accounts"][0]["state"])) == (0, codes.HALTED)


def test_nothing_is_sent_before_all_that_works_is_proven_gone() -> None:
    facts = [quote(10), quote(20), command(rows.FLATTEN, 30), *(quote(at) for at in range(40, 400, 10))]
    got, asked = play(facts, {0: [BUY_TEN, FAR_SELL]}, entry_latency_ns=5, response_latency_ns=100)
    cancelled = next(each for each in got.orders if each["price_int"] == 1100)
    closing = next(each for each in got.orders if each["flags"] == IOC_REDUCE)
    assert closing["decided_ns"] >= cancelled["ended_ns"]
    assert asked[2:] == [(0, -1, 949, 10, IOC_REDUCE)]
    assert got.positions == [0]


def test_a_round_that_fills_nothing_is_followed_by_a_pause() -> None:
    away = [
        quote(at, 900, 1000) for at in (31, 40, 50, 60)
    ]  # Gone when the order arrives, and further than the collar.
    facts = [quote(10), quote(20), command(rows.FLATTEN, 30), *away]
    later = [quote(at + 2 * PAUSE_NS, 900, 1000) for at in (70, 80, 90)]
    got, asked = play([*facts, *later], entry_latency_ns=5)
    assert [each[1:3] for each in asked] == [(1, 1002), (-1, 949), (-1, 855)]
    assert got.orders[-1]["decided_ns"] > PAUSE_NS
    assert got.positions == [0]


@pytest.mark.parametrize(("code", "sent"), [(codes.FLATTEN_WITHIN_COLLAR, 0), (codes.FLATTEN_AT_MARKET, 1)])
def test_without_a_price_only_at_market_sends(code: int, sent: int) -> None:
    got, asked = play([traded(10, 1, 5), command(rows.FLATTEN, 20, code), row(rows.STATUS, 30, 30) | {"status": 0}], {})
    assert len(asked) == sent
    assert int(got.assembly.decision["flattening"]) == 1
    if sent:
        assert asked == [(EVERYONE, -1, 0, 5, IOC_REDUCE)]


def test_what_others_traded_is_closed_from_the_unassigned_book() -> None:
    facts = [quote(10), traded(20, -1, 6), command(rows.FLATTEN, 30), *(quote(at) for at in range(40, 90, 10))]
    got, asked = play(facts, {}, contract="spot")  # Whose venue knows no reduce-only.
    assert asked == [(EVERYONE, 1, 1052, 6, codes.IOC)]
    holdings = got.assembly.decision["strategy_holdings"]
    assert got.positions == [0]
    assert not holdings["position"]["qty"].any()


@pytest.mark.parametrize(
    ("others", "orders"),
    [(-4, [(0, -1, 949, 6)]), (-10, []), (-13, [(EVERYONE, 1, 1052, 3)]), (5, [(0, -1, 949, 10), (EVERYONE, -1, 949, 5)])],
)  # fmt: skip
def test_only_the_accounts_own_excess_is_closed(others: int, orders: list[Any]) -> None:
    side = 1 if others > 0 else -1
    facts = [quote(10), quote(20), traded(25, side, abs(others)), command(rows.FLATTEN, 30)]
    got, asked = play([*facts, *(quote(at) for at in range(40, 140, 10))], contract="spot")
    assert asked[1:] == [(*each, codes.IOC) for each in orders]
    assert got.positions == [0]


@pytest.mark.parametrize("kind", [rows.HALT, rows.RESUME])
def test_an_operators_word_ends_it(kind: int) -> None:
    facts = [quote(10), quote(20), command(rows.FLATTEN, 30), command(kind, 31), quote(40), quote(50)]
    got, asked = play(facts, {0: [BUY_TEN, FAR_SELL]}, entry_latency_ns=5)
    assert len(asked) == 2
    assert got.positions == [10]
    assert int(got.assembly.decision["flattening"]) == 0


def test_a_broken_loss_limit_may_flatten() -> None:
    limits = parse_limits({"preset": "research", "max_daily_loss": "0.02", "on_breach": "flatten"})
    facts = [quote(10), quote(20), quote(30, 940, 944), *(quote(at, 940, 944) for at in range(40, 90, 10))]
    got, asked = play(facts, limits=limits)
    assert got.positions == [0]
    assert asked[1:] == [(0, -1, 893, 10, IOC_REDUCE)]
    state = got.assembly.decision["accounts"][0]
    assert (int(state["state"]), int(state["halt_code"])) == (codes.HALTED, codes.REJECT_DAILY_LOSS)


def test_less_than_the_smallest_order_stays() -> None:
    facts = [quote(10), quote(20), command(rows.FLATTEN, 30), quote(40), quote(50)]
    setup = Setup([linear(min_qty=20, max_qty=10**9)], [TOUCH], [traded(15, 1, 5), *facts], {}, limits=parse_limits({}))
    got = run_small.run(setup, SIZE)
    assert got.positions == [5]
    assert int(got.assembly.decision["flattening"]) == 0


def test_of_a_spot_position_no_more_is_sold_than_fees_in_the_base_asset_left() -> None:
    bought = traded(20, 1, 10)
    bought |= {"fee": 1000, "tail": bought["tail"] | {"fee_currency": 1}}  # A tenth of a per cent of ten lots.
    rate = {"kind": rows.FX, "venue_ns": 15, "local_ns": 15, "currency": 1, "rate": 100 * 10**8}
    facts = [quote(10), rate, bought, command(rows.FLATTEN, 30), *(quote(at) for at in range(40, 90, 10))]
    got, asked = play(facts, {}, contract="spot")
    assert asked == [(EVERYONE, -1, 949, 9, codes.IOC)]
    assert got.positions == [1], "the fee, and what it left of a lot"
    assert int(got.assembly.decision["ledgers"][0][1]["balance"]) == 10**5 - 1000
    state = got.assembly.decision["accounts"][0]
    assert (int(state["flatten"]), int(state["flattens_ended"])) == (FLATTEN_NOT, 1)


@pytest.mark.parametrize(
    ("contract", "least", "sent"), [("spot", 85_410_000, 1), ("spot", 85_410_001, 0), ("linear", 85_410_001, 1)]
)
def test_what_is_worth_less_than_the_smallest_order_stays_on_spot(contract: str, least: int, sent: int) -> None:
    """Nine lots at the collar's price are worth 0.8541. Of contracts, a venue takes any order that only reduces."""
    facts = [quote(10), quote(20), command(rows.FLATTEN, 30), *(quote(at) for at in range(40, 90, 10))]
    instrument = linear(contract=contract, min_notional=least)
    bought = {0: [("order", {**BUY_TEN[1], "qty": 9})]}
    got = run_small.run(Setup([instrument], [TOUCH], facts, bought, limits=parse_limits({})), SIZE)
    assert len(got.orders) == 1 + sent
    assert got.positions == [0 if sent else 9]
    assert int(got.assembly.decision["flattening"]) == 0


@pytest.mark.parametrize("kind", [rows.FILL, rows.ADJUSTMENT])
def test_what_no_strategy_traded_is_the_accounts_and_nobodys_callback(kind: int) -> None:
    got, _ = play([quote(10), traded(20, 1, 6, kind=kind), quote(30)], {})
    decision = got.assembly.decision
    unassigned = decision["strategy_holdings"][SIZE.strategies][0]["position"]
    assert int(unassigned["qty"]) == int(decision["account_holdings"][0][0]["position"]["qty"]) == 6
    assert not decision["strategy_holdings"][: SIZE.strategies]["position"]["qty"].any()
    assert [call[0] for call in got.log] == ["on_quote", "on_quote"]
    assert [(each["qty_int"], each["position_after_int"]) for each in got.fills] == [(6, 6)]


def test_working_orders_of_others_count_in_the_accounts_limits_only() -> None:
    limits = parse_limits({"max_position_long_qty": "0.012"})
    external = row(rows.EXTERNAL_WORKING, 20, 20) | {
        "instrument": 0,
        "account": 0,
        "external_buy": 5,
        "external_sell": 1,
    }
    fewer = external | {"venue_ns": 40, "local_ns": 40, "external_buy": 2}
    order = ("order", {**BUY_TEN[1], "qty": 8})
    got, _ = play([quote(10), external, quote(30), fewer, quote(50), quote(60)], {1: [order], 2: [order]}, limits)
    refused, passed = (result for name, result in got.results if name == "submit")
    assert refused == -codes.REJECT_MAX_POSITION
    assert passed > 0
    exposure = got.assembly.decision["account_holdings"][0][0]["exposure"]
    assert (int(exposure["buy_qty"]), int(exposure["sell_qty"])) == (2, 1)


@pytest.mark.parametrize(("before", "lifted"), [(rows.REDUCE, True), (rows.HALT, False)])
def test_a_resume_by_itself_lifts_a_reduce_only(before: int, lifted: bool) -> None:
    facts = [quote(10), command(before, 20), command(rows.RESUME, 30, codes.RESUME_BY_ITSELF), quote(40)]
    got, _ = play(facts, {})
    assert (int(got.assembly.decision["accounts"][0]["state"]) == codes.ACTIVE) is lifted


@pytest.mark.parametrize("before", [rows.REDUCE, rows.HALT])
def test_a_session_that_starts_again_goes_on_where_it_was(before: int) -> None:
    """Its RESUME lifts the word with which the one before ended, and the drawdown counts on from where it did."""
    facts = [quote(10), quote(20), quote(30, 970, 974), command(before, 40), quote(50, 960, 964)]
    got, _ = play([*facts, command(rows.RESUME, 60, codes.RESUME_OF_START), quote(70, 960, 964)])
    state = got.assembly.decision["accounts"][0]
    assert int(state["state"]) == codes.ACTIVE
    assert int(state["floor_peak"]) == int(state["peak_equity"]) > int(state["equity"])


def test_a_session_that_starts_again_lifts_no_limit() -> None:
    limits = parse_limits({"preset": "research", "max_daily_loss": "0.02"})
    facts = [
        quote(10),
        quote(20),
        quote(30, 940, 944),
        command(rows.RESUME, 40, codes.RESUME_OF_START),
        quote(50, 940, 944),
    ]
    got, _ = play(facts, limits=limits)
    state = got.assembly.decision["accounts"][0]
    assert (int(state["state"]), int(state["halt_code"])) == (codes.HALTED, codes.REJECT_DAILY_LOSS)
    assert int(state["equity_floor"]) == -MONEY_MAX  # Found once, it is not looked for at each mark.


def test_the_end_of_a_flatten_leaves_the_loss_limits_alone() -> None:
    facts = [quote(10), quote(20), command(rows.FLATTEN, 30), *(quote(at) for at in range(40, 90, 10))]
    got, _ = play([*facts, command(rows.RESUME, 100), quote(110)], limits=parse_limits({"max_drawdown": "1"}))
    state = got.assembly.decision["accounts"][0]
    assert int(state["equity_floor"]) == int(state["floor_peak"]) - 10**8
