from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from numba import njit
from reference import portfolio as twin
from reference.money import Contract

from twinloop.kernels import money, portfolio
from twinloop.kernels.money import MONEY_MAX, MONEY_RULE, money_rule
from twinloop.kernels.portfolio import CASH, POSITION

QUOTE, BASE, THIRD = 0, 1, 2
# As the engine holds them: records and a ledger table nested in one record.
STATE = np.dtype(
    [("rule", MONEY_RULE), ("strategies", POSITION, (2,)), ("account", POSITION), ("ledgers", CASH, (1, 3))], align=True
)


@njit
def apply_fill(states: Any, side: int, price: int, qty: int, fee: int, fill_ns: int) -> Any:
    state = states[0]
    return portfolio.apply_fill(state["account"], state["rule"], side, price, qty, fee, fill_ns)


@njit
def book_fill(
    states: Any, strategy: int, side: int, price: int, qty: int, fee: int, fee_currency: int, fill_ns: int
) -> Any:
    state = states[0]
    return portfolio.book_fill(
        state["strategies"][strategy],
        state["account"],
        state["ledgers"][0],
        state["rule"],
        side,
        price,
        qty,
        fee,
        fee_currency,
        fill_ns,
    )


@njit
def mark_position(states: Any, strategy: int, price: int) -> Any:
    state = states[0]
    delta, status = portfolio.mark_position(state["strategies"][strategy], state["rule"], price)
    return delta, status, portfolio.mark_position(state["account"], state["rule"], price)


@njit
def book_funding(states: Any, price: int, rate: int) -> Any:
    state = states[0]
    return portfolio.book_funding(state["account"], state["ledgers"][0], state["rule"], price, rate)


@njit
def apply_funding(states: Any, strategy: int, price: int, rate: int) -> Any:
    return portfolio.apply_funding(states[0]["strategies"][strategy], states[0]["rule"], price, rate)


@njit
def receive_funding(states: Any, strategy: int, amount: int) -> Any:
    state = states[0]
    return portfolio.receive_funding(
        state["strategies"][strategy], state["account"], state["ledgers"][0], state["rule"], amount
    )


@njit
def deposit(states: Any, currency: int, amount: int) -> Any:
    return portfolio.deposit(states[0]["ledgers"][0][currency], amount)


@njit
def measures(states: Any, price: int) -> Any:
    state = states[0]
    position, rule = state["account"], state["rule"]
    return (
        portfolio.net_pnl(position),
        portfolio.open_value(position),
        portfolio.unrealised(position, rule, price),
        portfolio.average_price(position, rule),
    )


@njit
def exit_price(qty: int, bid: int, ask: int) -> Any:
    return portfolio.exit_price(qty, bid, ask)


def build(function: Any, which: str) -> Any:
    return getattr(function, "py_func", function) if which == "python" else function


BUILDS = pytest.mark.parametrize("which", ["compiled", "python"])

# Contract, and a money factor that is whole ("additive") or not; spot and linear, both.
CONTRACTS = {
    "linear": Contract("linear", 1, 3),
    "linear-sized": Contract("linear", 2, 0, 10**5),
    "linear-rounded": Contract("linear", 6, 4, 25 * 10**6),
    "inverse": Contract("inverse", 1, 0, 100 * 10**8),
    "inverse-lots": Contract("inverse", 2, 1, 10 * 10**8),
    "spot": Contract("spot", 2, 5),
    "spot-rounded": Contract("spot", 8, 3),
}


def fresh(contract: Contract) -> Any:
    states = np.zeros(1, dtype=STATE)
    states[0]["rule"] = money_rule(
        contract.kind, contract.price_scale, contract.qty_scale, contract.contract_size, QUOTE, BASE
    )
    return states


FILLS = st.lists(
    st.builds(
        twin.Fill,
        side=st.sampled_from([1, -1]),
        price=st.integers(1, 10**7),
        qty=st.one_of(st.integers(1, 20), st.integers(1, 10**6)),
        fee=st.integers(-(10**6), 10**7),
        fee_currency=st.sampled_from([QUOTE, BASE, THIRD]),
    ),
    max_size=12,
)
MARKS = st.lists(st.integers(1, 10**7), min_size=12, max_size=12)


def as_dict(record: Any) -> dict[str, int]:
    return {name: int(record[name]) for name in record.dtype.names}


def ledger_holds(ledger: Any) -> bool:
    entry = as_dict(ledger)
    return entry["balance"] == (
        entry["start"] + entry["outside"] + entry["realised"] + entry["exchanged"] - entry["fees"] + entry["funding"]
    )


@BUILDS
@pytest.mark.parametrize("name", CONTRACTS)
@given(fills=FILLS, marks=MARKS)
def test_fills_and_marks_equal_the_definition(which: str, name: str, fills: list[twin.Fill], marks: list[int]) -> None:
    contract = CONTRACTS[name]
    states = fresh(contract)
    position = states[0]["account"]
    history = twin.Holding(contract)
    mark = 0
    for number, (fill, next_mark) in enumerate(zip(fills, marks, strict=False)):
        before_qty, _, before_realised = history.fold()
        history.fills.append(fill)
        mark = mark if before_qty else fill.price
        fee = fill.fee if fill.fee_currency == QUOTE else 0
        got = build(apply_fill, which)(states, fill.side, fill.price, fill.qty, fee, number)
        qty, cost, realised = history.fold()
        moved = realised - before_realised
        paid = -contract.value(fill.side * fill.qty, fill.price)
        assert got == (moved, (paid if contract.kind == "spot" else moved) - fee, money.OK)
        assert (position["qty"], position["cost"], position["realised"]) == (qty, cost, realised)
        assert position["mark_price"] == mark
        assert position["unrealised"] == history.unrealised(mark)
        delta, status, account = build(mark_position, which)(states, 0, next_mark)
        assert (delta, status) == (0, money.OK)
        assert account == (history.unrealised(next_mark) - (history.unrealised(mark) if qty else 0), money.OK)
        mark = next_mark
        assert position["unrealised"] == history.unrealised(mark)
    net, opened, at_mark, _ = build(measures, which)(states, mark or 1)
    fees = sum(fill.fee for fill in fills if fill.fee_currency == QUOTE)
    assert net == (history.realised() + history.unrealised(mark or 1) - fees, money.OK)
    assert at_mark == (history.unrealised(mark or 1), money.OK)
    assert opened == (int(position["cost"]) + history.unrealised(mark or 1), money.OK)
    assert position["fills_count"] == len(fills)
    assert position["last_fill_ns"] == max(len(fills) - 1, 0)
    assert position["buys_qty"] == sum(fill.qty for fill in fills if fill.side > 0)
    assert position["sells_qty"] == sum(fill.qty for fill in fills if fill.side < 0)
    assert position["traded_notional"] == sum(abs(contract.value(fill.qty, fill.price)) for fill in fills)


@BUILDS
@pytest.mark.parametrize("name", CONTRACTS)
@given(fills=FILLS, strategies=st.lists(st.integers(0, 1), min_size=12, max_size=12), mark=st.integers(1, 10**7))
def test_cash_and_equity_recomputed_from_the_fills_equal_the_ledgers(
    which: str, name: str, fills: list[twin.Fill], strategies: list[int], mark: int
) -> None:
    contract = CONTRACTS[name]
    states = fresh(contract)
    start = {QUOTE: 10**15, BASE: 10**14, THIRD: 10**12}
    for currency, amount in start.items():
        assert build(deposit, which)(states, currency, amount) == money.OK
    history = twin.Holding(contract, fills)
    owners = [twin.Holding(contract), twin.Holding(contract)]
    for fill, strategy in zip(fills, strategies, strict=False):
        before = owners[strategy].realised()
        owners[strategy].fills.append(fill)
        got = build(book_fill, which)(states, strategy, fill.side, fill.price, fill.qty, fill.fee, fill.fee_currency, 0)
        assert got[0] == owners[strategy].realised() - before
        assert got[2] == money.OK
    ledgers, account = states[0]["ledgers"][0], states[0]["account"]
    balances = twin.balances(history, QUOTE, BASE, start)
    assert [int(entry["balance"]) for entry in ledgers] == [balances[QUOTE], balances[BASE], balances[THIRD]]
    assert all(ledger_holds(entry) for entry in ledgers)
    for strategy in (0, 1):
        build(mark_position, which)(states, strategy, mark)
    assert account["fees"] == states[0]["strategies"]["fees"].sum()
    assert account["fees"] == sum(fill.fee for fill in fills if fill.fee_currency == QUOTE)
    entry, held = as_dict(ledgers[QUOTE]), as_dict(account)
    # equity = start + realised + unrealised - fees + funding, per settlement currency.
    equity = entry["balance"] + held["unrealised"] + (held["cost"] if contract.kind == "spot" else 0)
    assert equity == (
        start[QUOTE] + held["realised"] + held["unrealised"] - sum(f.fee for f in fills if f.fee_currency == QUOTE)
    )
    if contract.is_exact():
        # No rounding anywhere: equal to the exact worth, however the strategies share the position.
        assert held["realised"] + held["unrealised"] == history.exact_pnl(mark)
        parts = [as_dict(position) for position in states[0]["strategies"]]
        assert sum(part["realised"] + part["unrealised"] for part in parts) == history.exact_pnl(mark)
    else:
        # One rounding of half a unit for each fill's value, and one for the mark's.
        error = abs(held["realised"] + held["unrealised"] - history.exact_pnl(mark))
        assert error <= Fraction(len(fills) + 1, 2)


@BUILDS
@pytest.mark.parametrize("name", CONTRACTS)
@given(fills=FILLS, payments=st.lists(st.tuples(st.integers(1, 10**7), st.integers(-(10**6), 10**6)), max_size=4))
def test_funding_is_paid_by_longs_and_rounded_away_from_us(
    which: str, name: str, fills: list[twin.Fill], payments: list[tuple[int, int]]
) -> None:
    contract = CONTRACTS[name]
    states = fresh(contract)
    for fill in fills:
        build(book_fill, which)(states, 0, fill.side, fill.price, fill.qty, fill.fee, QUOTE, 0)
    qty = int(states[0]["account"]["qty"])
    total = 0
    for price, rate in payments:
        amount = twin.funding(contract, qty, price, rate)
        assert build(book_funding, which)(states, price, rate) == (amount, money.OK)
        assert build(apply_funding, which)(states, 0, price, rate) == (amount, money.OK)
        assert amount * rate * qty <= 0
        total += amount
    assert states[0]["account"]["funding"] == states[0]["strategies"][0]["funding"] == total
    assert states[0]["ledgers"][0][QUOTE]["funding"] == total
    assert ledger_holds(states[0]["ledgers"][0][QUOTE])


@BUILDS
@given(
    payments=st.lists(
        st.tuples(
            st.integers(0, 1),
            st.one_of(st.integers(-(10**12), 10**12), st.sampled_from([-MONEY_MAX, MONEY_MAX, 2**62])),
        ),
        max_size=8,
    )
)
def test_what_a_venue_says_it_paid_is_booked_in_all_three_places_or_none(
    which: str, payments: list[tuple[int, int]]
) -> None:
    states = fresh(CONTRACTS["linear"])
    paid = [0, 0]
    for strategy, amount in payments:
        before = states.tobytes()
        status = build(receive_funding, which)(states, strategy, amount)
        fits = all(abs(total + amount) <= MONEY_MAX for total in (paid[strategy], sum(paid)))
        assert status == (money.OK if fits else money.OVERFLOW)
        if fits:
            paid[strategy] += amount
        else:
            assert states.tobytes() == before
    assert [int(each["funding"]) for each in states[0]["strategies"]] == paid
    ledger = states[0]["ledgers"][0][QUOTE]
    assert int(states[0]["account"]["funding"]) == int(ledger["funding"]) == int(ledger["balance"]) == sum(paid)


@BUILDS
@pytest.mark.parametrize("name", CONTRACTS)
@given(price=st.integers(10**3, 10**7), qty=st.integers(10**3, 10**6), side=st.sampled_from([1, -1]))
def test_average_price_of_one_fill_is_its_price(which: str, name: str, price: int, qty: int, side: int) -> None:
    contract = CONTRACTS[name]
    states = fresh(contract)
    build(apply_fill, which)(states, side, price, qty, 0, 0)
    average, status = build(measures, which)(states, price)[3]
    assert status == money.OK
    # The cost is off by half a unit at most, which moves the average by that share of the price.
    assert abs(average - price) <= Fraction(price, 2 * abs(contract.value(qty, price))) + Fraction(1, 2)


INT64 = st.one_of(
    st.sampled_from([-(2**63), -MONEY_MAX, -1, 0, 1, 2**32, 2**62, MONEY_MAX]), st.integers(-(2**63), MONEY_MAX)
)
WILD = st.one_of(st.integers(1, 100), INT64)


@BUILDS
@pytest.mark.parametrize("name", CONTRACTS)
@given(
    steps=st.lists(st.tuples(st.sampled_from([1, -1]), WILD, WILD, WILD, st.integers(-1, 3), WILD, WILD), max_size=8)
)
@example(steps=[(1, 1, MONEY_MAX, 0, 0, 1, 0), (-1, 1, MONEY_MAX, 0, 0, 1, 0)])
@example(steps=[(1, 1, 2**62, 0, 0, 1, 0), (1, 1, 2**62, 0, 0, 1, 0)])
@example(steps=[(1, 9 * 10**14, 1, 0, 0, 1, 0), (-1, -9 * 10**14, 1, 0, 0, 1, 0)])
@example(steps=[(1, 100, 1, MONEY_MAX, 2, 1, 0), (1, 100, 1, 1, 2, 1, 0)])
def test_extremes_are_refused_whole_or_booked_exactly(which: str, name: str, steps: list[Any]) -> None:
    contract = CONTRACTS[name]
    states = fresh(contract)
    history = twin.Holding(contract)
    funded = 0
    for side, price, qty, fee, fee_currency, mark, rate in steps:
        before = states.tobytes()
        status = build(book_fill, which)(states, 0, side, price, qty, fee, fee_currency, 0)[2]
        if status == money.OK:
            history.fills.append(twin.Fill(side, price, qty, fee, fee_currency))
        else:
            assert states.tobytes() == before
        before = states.tobytes()
        amount, status = build(book_funding, which)(states, mark, rate)
        funded += amount
        if status != money.OK:
            assert amount == 0
            assert states.tobytes() == before
        before = states.tobytes()
        *_, account = build(mark_position, which)(states, 1, mark)
        if account[1] != money.OK:
            same = np.frombuffer(before, dtype=STATE)
            assert states[0]["account"].tobytes() == same[0]["account"].tobytes()
    position = states[0]["account"]
    assert (position["qty"], position["cost"], position["realised"]) == history.fold()
    if position["qty"] and position["mark_price"]:
        assert position["unrealised"] == history.unrealised(int(position["mark_price"]))
    balances = twin.balances(history, QUOTE, BASE, {QUOTE: funded})
    assert [int(entry["balance"]) for entry in states[0]["ledgers"][0]] == [balances[c] for c in (QUOTE, BASE, THIRD)]


@BUILDS
@pytest.mark.parametrize(("side", "qty"), [(0, 1), (2, 1), (-2, 1), (1, 0), (1, -1), (-1, -(2**63))])
def test_a_fill_without_side_or_quantity_is_refused(which: str, side: int, qty: int) -> None:
    states = fresh(CONTRACTS["linear"])
    before = states.tobytes()
    assert build(apply_fill, which)(states, side, 100, qty, 0, 0) == (0, 0, portfolio.BAD_FILL)
    assert states.tobytes() == before


@BUILDS
@pytest.mark.parametrize(("settle", "base", "fee_currency"), [(-1, 1, 0), (3, 1, 0), (0, 1, 3), (0, 1, -1), (0, -1, 0)])
def test_a_currency_without_a_ledger_is_refused(which: str, settle: int, base: int, fee_currency: int) -> None:
    states = fresh(CONTRACTS["spot"])
    states[0]["rule"]["settle_currency"], states[0]["rule"]["base_currency"] = settle, base
    before = states.tobytes()
    assert build(book_fill, which)(states, 0, 1, 100, 1, 0, fee_currency, 0) == (0, 0, portfolio.BAD_CURRENCY)
    if not 0 <= settle < 3:
        assert build(book_funding, which)(states, 100, 1) == (0, portfolio.BAD_CURRENCY)
    assert states.tobytes() == before


@BUILDS
def test_a_full_ledger_undoes_the_postings_before_it(which: str) -> None:
    for name in ("spot", "linear"):
        for full in (QUOTE, BASE, THIRD):
            if name == "linear" and full == BASE:
                continue
            states = fresh(CONTRACTS[name])
            # One unit from the end in the direction that the fill moves it.
            build(deposit, which)(states, full, MONEY_MAX if full == BASE else -MONEY_MAX)
            before = states.tobytes()
            if name == "linear" and full == QUOTE:
                assert build(book_fill, which)(states, 0, 1, 100, 1, 5, QUOTE, 0)[2] == money.OVERFLOW
            else:
                assert build(book_fill, which)(states, 0, 1, 100, 1, 5, THIRD, 0)[2] == money.OVERFLOW
            assert states.tobytes() == before


@BUILDS
def test_rows_with_small_integer_types_give_the_same(which: str) -> None:
    """With the JIT off a row's side is np.int8 and its price np.int64; neither may overflow on the way."""
    states = fresh(CONTRACTS["linear"])
    got = build(apply_fill, which)(states, np.int8(-1), np.int64(650000), np.int64(1000), np.int64(7), np.int64(9))
    assert got == (0, -7, money.OK)
    assert states[0]["account"]["qty"] == -1000


@BUILDS
def test_running_statistics_saturate_and_never_stop_a_fill(which: str) -> None:
    states = fresh(CONTRACTS["linear"])
    states[0]["account"]["traded_notional"] = states[0]["account"]["buys_qty"] = MONEY_MAX - 1
    assert build(apply_fill, which)(states, 1, 100, 5, 0, 0)[2] == money.OK
    assert states[0]["account"]["traded_notional"] == states[0]["account"]["buys_qty"] == MONEY_MAX


@BUILDS
def test_longs_are_marked_at_the_bid_and_shorts_at_the_ask(which: str) -> None:
    assert build(exit_price, which)(5, 99, 101) == 99
    assert build(exit_price, which)(-5, 99, 101) == 101


@BUILDS
def test_known_trades_give_the_textbook_numbers(which: str) -> None:
    # Long 100 inverse contracts of 100 USD from 50,000 to 62,500: 10,000 * (1/50,000 - 1/62,500) = 0.04 BTC.
    inverse = fresh(CONTRACTS["inverse"])
    build(apply_fill, which)(inverse, 1, 500_000, 100, 0, 0)
    assert build(apply_fill, which)(inverse, -1, 625_000, 100, 0, 0) == (4_000_000, 4_000_000, money.OK)
    # Long 2 at 100, sell 3 at 110, buy 1 at 105: 20 + 5.
    linear = fresh(Contract("linear", 0, 0))
    build(apply_fill, which)(linear, 1, 100, 2, 0, 0)
    assert build(apply_fill, which)(linear, -1, 110, 3, 0, 0)[0] == 20 * 10**8
    assert int(linear[0]["account"]["cost"]) == -110 * 10**8
    assert build(apply_fill, which)(linear, 1, 105, 1, 0, 0)[0] == 5 * 10**8
