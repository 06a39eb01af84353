"""A funding payment divided among those who held the position: exact integers that add up, by the positions of its time."""

import math
from fractions import Fraction
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import pick
from twinloop.engine.live.funding import divided
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.session import Session
from twinloop.kernels import rows as table
from twinloop.kernels.rows import FLAG_CONTINUES, ROW

AMOUNTS = st.integers(-(2**60), 2**60)
POSITIONS = st.lists(st.integers(-(2**60), 2**60), min_size=1, max_size=12)


@given(amount=AMOUNTS, positions=POSITIONS)
def test_the_parts_are_those_of_the_positions_and_add_up_to_the_amount(amount: int, positions: list[int]) -> None:
    parts = divided(amount, positions)
    assert sum(parts) == amount
    total = sum(positions)
    if total == 0:
        assert parts == [0] * len(positions) + [amount], "the journal knows nobody it belongs to"
        return
    for part, qty in zip(parts, positions, strict=False):
        exact = Fraction(amount * qty, total)
        assert 0 <= abs(exact) - abs(part) < 1, "rounded toward zero"
        assert part * exact >= 0
    assert abs(parts[-1]) < len(positions)


def test_one_who_is_short_while_the_account_is_long_gets_what_the_longs_pay() -> None:
    assert divided(-100, [30, -10]) == [-150, 50, 0]
    assert divided(-100, [1, 1, 1]) == [-33, -33, -33, -1]


def funding(at: int, local_ns: int, rate: int) -> Any:
    row = np.zeros(1, ROW)
    row["kind"], row["local_ns"], row["venue_ns"], row["sequence"] = table.FUNDING, local_ns, local_ns, at
    row["price"], row["rate"] = 700_000, rate
    return row


@pytest.mark.parametrize("mode", ["paper", "live"])
def test_a_markets_rate_moves_a_paper_sessions_money_as_in_a_backtest_and_a_live_ones_not(
    session: Session, market: tuple[Instrument, Any], mode: str
) -> None:
    """Position times price times rate, rounded away from us, from the cash of the moment."""
    tape = market[1]
    edge = "paper" if mode == "paper" else "recorded"
    node = LiveNode(msgspec.structs.replace(session, mode=mode), edge)  # type: ignore[arg-type]
    node.start()
    account, held = node.decision["accounts"][0], node.decision["account_holdings"][0][0]["position"]
    rates, expected = (10_000, -7_777, 33_333), 0
    parts = np.array_split(np.arange(len(tape)), len(rates))
    for at, (part, rate) in enumerate(zip(parts, rates, strict=True)):
        rows = pick(tape, part)
        while rows["flags"][-1] & FLAG_CONTINUES:
            rows = rows[:-1]
        node.handle(rows)
        if mode == "live":
            held["qty"] = 40 + at  # No venue answers here.
        qty, cash = int(held["qty"]), int(account["cash"])
        paid = -Fraction(qty * 700_000 * rate, 10_000) if mode == "paper" else Fraction(0)
        rounded = math.floor(paid)
        node.handle(funding(at, int(node.decision["clock"]["now_ns"]), rate))
        assert int(account["cash"]) - cash == rounded
        expected += rounded
    assert (expected != 0) == (mode == "paper")
    assert int(node.decision["ledgers"][0][0]["funding"]) == int(held["funding"]) == expected
