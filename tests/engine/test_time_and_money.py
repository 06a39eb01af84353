"""Timers, sessions, bars and payments through the whole loop; money recomputed from the fills."""

import random
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import config
from reference import run_small
from reference.bars import BarBuilder
from reference.checks import check, delays
from reference.portfolio import balances
from reference.random_market import setup_of
from reference.run_small import CASH, DEPTH, PRINTS, TOUCH, Outcome, Setup, linear, row, run
from reference.venue import Twin

from twinloop.data.instruments import MONEY_ONE
from twinloop.engine.assembly import BarRequest, VenueSettings
from twinloop.kernels import bars, codes, rows
from twinloop.kernels.money import NO_CURRENCY
from twinloop.kernels.node import STANDARD

SIZE = run_small.TINY if config.DISABLE_JIT else STANDARD


def quotes(*times: int) -> list[dict[str, Any]]:
    return [row(rows.QUOTE, at, at, bid=998, bid_qty=50, ask=1002, ask_qty=50) for at in times]


def timeline(script: dict[int, list[Any]], *times: int) -> list[tuple[str, int]]:
    """(callback, local time) of a run over quotes at these times; a timer's with its id."""
    got = run(Setup([linear()], [TOUCH], quotes(*times), script), SIZE)
    return [("timer", call[2]) if call[0] == "on_timer" else ("quote", call[3]) for call in got.log]


def test_a_timer_fires_once_at_its_time() -> None:
    seen = timeline({0: [("timer", 1, 5)]}, 10, 20, 30)
    assert seen == [("quote", 10), ("timer", 15), ("quote", 20), ("quote", 30)]


def test_a_timer_comes_after_the_rows_of_its_instant() -> None:
    seen = timeline({0: [("timer", 1, 10)]}, 10, 20, 20, 30)
    assert seen == [("quote", 10), ("quote", 20), ("quote", 20), ("timer", 20), ("quote", 30)]


def test_a_repeating_timer_keeps_its_grid() -> None:
    seen = timeline({0: [("timer", 1, 5, 7)]}, 10, 31)
    assert seen == [("quote", 10), ("timer", 15), ("timer", 22), ("timer", 29), ("quote", 31)]


def test_a_timer_due_in_the_past_fires_at_once() -> None:
    seen = timeline({1: [("timer", 1, -5)]}, 10, 20, 20, 30)
    assert seen == [("quote", 10), ("quote", 20), ("timer", 20), ("quote", 20), ("quote", 30)]


def test_a_timer_can_be_moved_and_taken_back() -> None:
    assert timeline({0: [("timer", 1, 5), ("timer", 1, 15)]}, 10, 40) == [("quote", 10), ("timer", 25), ("quote", 40)]
    assert timeline({0: [("timer", 1, 15, 3)], 1: [("timer", 1, None)]}, 10, 20, 40) == [
        ("quote", 10),
        ("quote", 20),
        ("quote", 40),
    ]
    assert timeline({0: [("timer", 1, 5, 5)], 2: [("timer", 1, None)]}, 10, 40) == [
        ("quote", 10),
        ("timer", 15),
        ("timer", 20),
        ("quote", 40),
    ]


def test_timers_end_with_the_data() -> None:
    assert timeline({0: [("timer", 1, 5, 5)]}, 10, 16) == [("quote", 10), ("timer", 15), ("quote", 16)]


def test_timers_of_one_instant_fire_in_the_order_of_their_places() -> None:
    got = run(
        Setup([linear()], [TOUCH], quotes(10, 30), {0: [("timer", 3, 5), ("timer", 1, 5), ("timer", 2, 4)]}), SIZE
    )
    assert [(call[2], call[3]) for call in got.log if call[0] == "on_timer"] == [(14, 2), (15, 3), (15, 1)]


def test_a_full_timer_table_is_a_verdict() -> None:
    script = {0: [("timer", number, 5) for number in range(1, SIZE.timers + 2)]}
    got = run(Setup([linear()], [TOUCH], quotes(10, 30), script), SIZE)
    assert [result for _, result in got.results] == [0] * SIZE.timers + [-codes.REJECT_TIMERS_FULL]


def test_a_session_roll_takes_the_equity_of_that_moment_and_keeps_its_grid() -> None:
    facts = quotes(10) + [
        row(rows.QUOTE, at, at, bid=bid, bid_qty=50, ask=bid + 4, ask_qty=50)
        for at, bid in ((90, 1098), (130, 1198), (390, 1298))
    ]
    buy = ("order", {"side": 1, "qty": 10, "type": codes.MARKET})
    setup = Setup([linear(taker_fee=0)], [TOUCH], facts, {0: [buy]}, roll=(100, 100))
    got = run(setup, SIZE)
    money = MONEY_ONE // 10**4 * 10  # Of one price unit on the position.
    # The roll at 100 is noticed by the row at 130, before that row changes the marks; those at 200 and 300 by the row at 390, once.
    assert int(got.assembly.decision["accounts"][0]["day_equity"]) == CASH + (1198 - 1002) * money
    assert int(got.assembly.decision["clock"]["roll_ns"]) == 400
    assert got.final_equity == CASH + (1298 - 1002) * money


KINDS = {
    "time": (bars.TIME_BAR, 10),
    "tick": (bars.TICK_BAR, 3),
    "volume": (bars.VOLUME_BAR, 12),
    "notional": (bars.NOTIONAL_BAR, 2 * MONEY_ONE),
}


@given(seed=st.integers(0, 2**32))
def test_bars_in_the_loop_equal_the_definition(seed: int) -> None:
    setup = setup_of(seed, (PRINTS, DEPTH))
    setup = replace(setup, script={5: [("timer", 1, 4, 6)]}, bars=[BarRequest(0, *KINDS[kind]) for kind in KINDS])
    got = run(setup, SIZE)
    builders = [BarBuilder(kind, size, 1, 3) for kind, (_, size) in KINDS.items()]
    told: list[dict[str, Any]] = []
    facts = iter(setup.facts)

    def close(now: int) -> None:
        told.extend(
            builder.bars[-1].as_dict() | {"slot": slot} for slot, builder in enumerate(builders) if builder.clock(now)
        )

    rows_seen = [("on_timer", call[2]) for call in got.log if call[0] == "on_timer"]
    # Rows the strategy is not called for count too, so walk over the facts and put the timers where they fell.
    for fact in facts:
        while rows_seen and rows_seen[0][1] < fact["local_ns"]:
            close(rows_seen.pop(0)[1])
        close(fact["local_ns"])
        if fact["kind"] == rows.TRADE and fact["instrument"] == 0 and not fact["flags"]:
            for slot, builder in enumerate(builders):
                if builder.trade(fact["price"], fact["qty"], fact["local_ns"]):
                    told.append(builder.bars[-1].as_dict() | {"slot": slot})
    expected = [
        tuple(bar[name] for name in ("slot", "start_ns", "end_ns", "open", "high", "low", "close", "volume"))
        for bar in told
    ]
    assert [call[4:] for call in got.log if call[0] == "on_bar"] == expected


CONTRACTS = {
    "linear": linear("X"),
    "spot": linear("X", contract="spot"),
    "inverse": linear("X", contract="inverse", quote="USD", settle="X", qty_scale=0, contract_size=100 * MONEY_ONE),
    "rebate": linear("X", maker_fee=-15_000, taker_fee=35_000),
}


def with_payments(setup: Setup, seed: int) -> Setup:
    """Funding rows here and there, instrument 0."""
    draw = random.Random(seed)
    last = setup.facts[-1]["local_ns"]
    paid = [
        row(rows.FUNDING, at, at, 0, price=90 + draw.randrange(20), rate=draw.randrange(-50_000, 50_000))
        for at in sorted(draw.randrange(60, last) for _ in range(4))
    ]
    return replace(setup, facts=sorted([*setup.facts, *paid], key=lambda fact: fact["local_ns"]))


def check_money(setup: Setup) -> Outcome:
    got, twin = check(setup, SIZE)
    ledgers = got.assembly.decision["ledgers"][0]
    currencies = got.assembly.currencies
    wanted: dict[int, int] = {currencies.index(setup.currency): setup.cash}
    for slot, (instrument, holding) in enumerate(zip(setup.instruments, twin.holdings, strict=True)):
        settle = currencies.index(instrument.settle)
        for fill in holding.fills:
            fill.fee_currency = settle
        base = currencies.index(instrument.base) if instrument.contract == "spot" else NO_CURRENCY  # Else none is held.
        wanted = dict(balances(holding, settle, base, wanted))
        wanted[settle] = wanted.get(settle, 0) + twin.funding[slot]
        position = got.assembly.decision["account_holdings"][0][slot]["position"]
        assert int(position["realised"]) == holding.realised()
        assert int(position["funding"]) == twin.funding[slot]
        assert int(position["fees"]) == sum(fill.fee for fill in holding.fills)
    assert {slot: int(ledgers[slot]["balance"]) for slot in wanted} == wanted
    return got


@pytest.mark.parametrize("name", CONTRACTS)
@given(seed=st.integers(0, 2**32), mode=st.sampled_from([DEPTH, TOUCH, PRINTS]))
@settings(max_examples=20)
def test_money_follows_from_the_fills(name: str, seed: int, mode: int) -> None:
    setup = with_payments(setup_of(seed, (mode, TOUCH)), seed)
    instrument = CONTRACTS[name]
    rates = {"X": 50_000 * MONEY_ONE} if name == "inverse" else {}
    check_money(replace(setup, instruments=[instrument, linear("Y")], rates=rates))


def test_funding_without_a_price_is_paid_at_the_mark() -> None:
    facts = [
        *quotes(10, 20),
        row(rows.MARK, 25, 25, price=1100),
        row(rows.FUNDING, 30, 30, price=0, rate=10_000),
        *quotes(40),
    ]
    buy = ("order", {"side": 1, "qty": 1000, "type": codes.MARKET})
    got = run(
        Setup(
            [linear(taker_fee=0)],
            [TOUCH],
            [{**fact, **({"ask_qty": 5000} if "ask_qty" in fact else {})} for fact in facts],
            {0: [buy]},
        ),
        SIZE,
    )
    assert got.positions == [1000]
    assert got.cash == CASH - 110 * MONEY_ONE // 10_000


def test_the_twin_sees_what_it_is_for() -> None:
    """A fee one unit off is noticed."""
    setup = setup_of(3, (TOUCH, TOUCH))
    got = run(setup, SIZE)
    assert got.fills
    twin = Twin(
        replace(setup, instruments=[linear("X", taker_fee=50_001), linear("Y", taker_fee=50_001)]),
        got.results,
        *delays(setup),
    )
    twin.capacity = SIZE.orders
    twin.run()
    assert [fill["fee_int"] for fill in got.fills] != [fill["fee_int"] for fill in twin.fills]


def test_a_fee_tier_holds_from_the_volume_traded_before() -> None:
    """Notional of each fill: 10 at 1002, so 1.002 of money; the second tier begins at 1.002."""
    buy = ("order", {"side": 1, "qty": 10, "type": codes.MARKET})
    value = 1002 * 10 * MONEY_ONE // 10**4
    tiers = ((0, 10_000, 40_000), (value, 5_000, 20_000), (3 * value, 0, 10_000))
    setup = Setup(
        [linear()],
        [TOUCH],
        quotes(10, 20, 30, 40, 50),
        {0: [buy], 3: [buy], 6: [buy], 9: [buy]},
        VenueSettings(fee_tiers=tiers),
    )
    got = run(setup, SIZE)
    assert [fill["fee_int"] for fill in got.fills] == [
        value * rate // MONEY_ONE for rate in (40_000, 20_000, 20_000, 10_000)
    ]


def test_measured_latencies_are_interpolated_at_the_time_of_sending_and_of_answering() -> None:
    measured = np.array([[0, 10, 2], [100, 30, 4], [200, 30, 24]], np.int64)
    limit = ("order", {"side": 1, "qty": 1, "type": codes.LIMIT, "price": 900})
    setup = Setup(
        [linear()],
        [TOUCH],
        quotes(50, 150, 260),
        {0: [limit], 2: [limit]},
        VenueSettings(latency_model="measured", measured=measured),
    )
    got = run(setup, SIZE)
    # Sent at 50: 20 to the venue, at 70 back in 3. Sent at 150: 30, and at 180 back in 20.
    assert [(call[2], call[3]) for call in got.log if call[0] == "on_order"] == [(70, 73), (180, 200)]


def test_answers_and_requests_never_overtake_one_another() -> None:
    measured = np.array([[0, 100, 50], [9, 100, 50], [10, 5, 1]], np.int64)
    limit = ("order", {"side": 1, "qty": 1, "type": codes.LIMIT, "price": 900})
    setup = Setup(
        [linear()],
        [TOUCH],
        quotes(9, 10, 300),
        {0: [limit], 1: [limit]},
        VenueSettings(latency_model="measured", measured=measured),
    )
    got = run(setup, SIZE)
    assert [call[2:5] for call in got.log if call[0] == "on_order"] == [(109, 110, 0), (109, 110, 1)]


def test_an_overflowing_payment_names_its_row() -> None:
    facts = [*quotes(10, 20), row(rows.FUNDING, 30, 30, price=2**62, rate=10**8), *quotes(40)]
    buy = ("order", {"side": 1, "qty": 40, "type": codes.MARKET})
    got = run(Setup([linear(qty_scale=0)], [TOUCH], facts, {0: [buy]}, cash=10**17), SIZE)
    assert got.status == codes.RUN_OVERFLOW
    assert int(got.assembly.node["error_sequence"]) == int(got.assembly.decision["clock"]["sequence"]) > 0
