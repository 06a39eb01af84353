"""What counts as a difference between journal and venue, without either."""

from decimal import Decimal
from fractions import Fraction
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data.binance_reports import AccountReport
from twinloop.data.instruments import Instrument
from twinloop.engine.exchange.ledger import move
from twinloop.engine.exchange.model import Position
from twinloop.engine.live.holdings import breaks_of, of_journal, of_venue, stock, wallet
from twinloop.engine.live.session_errors import SessionError
from twinloop.kernels.money import MONEY_RULE, money_rule
from twinloop.kernels.portfolio import CASH, POSITION, book_fill


def node(contract: str, fills: int = 0) -> Any:
    instrument = Instrument.make(
        symbol="BTCUSDT",
        venue="binance-spot",
        contract=contract,
        base="BTC",
        quote="USDT",
        tick_size="0.1",
        lot_size="0.001",
    )
    return SimpleNamespace(
        session=SimpleNamespace(instruments=[instrument]),
        assembly=SimpleNamespace(currencies=["EUR", "USDT", "BTC"]),
        decision={
            "fx": [10**8, 5 * 10**7, 0],
            "account_holdings": [[{"position": {"fills_count": fills, "qty": 0}}]],
            "ledgers": [[{"balance": 7}, {"balance": 123_450_000_000}, {"balance": 5}]],
        },
    )


def held(balances: dict[str, str], positions: dict[tuple[str, str], str]) -> AccountReport:
    return AccountReport(0, "", balances, positions, complete=True)


def holdings(**amounts: str) -> dict[str, Decimal]:
    return {name: Decimal(text) for name, text in amounts.items()}


def test_what_was_on_its_way_is_no_difference() -> None:
    visited = [holdings(BTCUSDT="0.1"), holdings(BTCUSDT="0.3"), holdings(BTCUSDT="0.2")]
    for theirs in ("0.1", "0.2", "0.3"):
        assert breaks_of(node("linear"), holdings(BTCUSDT=theirs), visited) == []
    (found,) = breaks_of(node("linear"), holdings(BTCUSDT="0.25"), visited)
    assert str(found) == "BTCUSDT: the journal says 0.2, the venue 0.25"
    (other,) = breaks_of(node("linear"), holdings(BTCUSDT="0.26"), visited)
    assert found.number != other.number


def test_a_position_outside_the_session_is_a_difference_that_names_no_slot() -> None:
    theirs = of_venue(node("linear"), held({}, {("ETHUSDT", "LONG"): "3", ("ETHUSDT", "SHORT"): "-1"}))
    (found,) = breaks_of(node("linear"), theirs, [holdings(BTCUSDT="0")])
    assert (found.name, found.slot, found.theirs) == ("ETHUSDT", -1, Decimal(2))


def test_spot_balances_may_differ_by_less_than_a_lot() -> None:
    visited = [holdings(BTC="1", USDT="0")]
    assert breaks_of(node("spot"), of_venue(node("spot"), held({"BTC": "1.00099999"}, {})), visited) == []
    assert breaks_of(node("spot"), of_venue(node("spot"), held({"BTC": "1.00100000"}, {})), visited)
    assert breaks_of(node("spot"), of_venue(node("spot"), held({}, {})), visited), "no balance is none, not unknown"


@pytest.mark.parametrize(("theirs", "differs"), [("100", False), ("100.0199", False), ("100.02", True), ("99.9", True)])
def test_spot_money_may_differ_by_a_tolerance_in_the_accounts_currency(theirs: str, differs: bool) -> None:
    """A cent of the account's currency is two of USDT here."""
    told = of_venue(node("spot"), held({"BTC": "1", "USDT": theirs}, {}))
    found = breaks_of(node("spot"), told, [holdings(BTC="1", USDT="100")], 10**6)
    assert [(each.name, each.slot, each.currency) for each in found] == ([("USDT", -1, 1)] if differs else [])


@pytest.mark.parametrize(
    ("fills", "theirs", "differs"),
    [(0, "100", False), (0, "100.02", False), (0, "100.02000001", True), (2, "99.98", False), (2, "99.97999998", False), (2, "99.97999997", True)],
)  # fmt: skip
def test_a_wallet_may_differ_by_the_tolerance_and_by_what_fills_round(fills: int, theirs: str, differs: bool) -> None:
    told = of_venue(node("linear"), held({"USDT": theirs, "BNB": "3", "BTC": "1"}, {("BTCUSDT", "BOTH"): "0"}))
    assert set(told) == {"BTCUSDT", "USDT"}, "no asset that is no margin: fees may be paid in it"
    found = breaks_of(node("linear", fills), told, [holdings(BTCUSDT="0", USDT="100")], 10**6)
    assert [(each.name, each.slot, each.currency) for each in found] == ([("USDT", -1, 1)] if differs else [])


@pytest.mark.parametrize("contract", ["spot", "linear"])
@pytest.mark.parametrize(
    ("theirs", "differs"), [("3", False), ("2.99999998", False), ("2.99999997", True), ("0", True), ("3.1", True)]
)  # fmt: skip
def test_bnb_is_compared_from_its_first_rate_on_to_what_fills_round(contract: str, theirs: str, differs: bool) -> None:
    """Two fills: less than 3e-8."""
    paying = node(contract, 2)
    paying.assembly.currencies.append("BNB")
    paying.decision["ledgers"][0].append({"balance": 300_000_000})
    told = held({"USDT": "1234.5", "BTC": "0.00000005", "BNB": theirs}, {})
    paying.decision["fx"].append(0)
    assert "BNB" not in of_journal(paying).keys() | of_venue(paying, told).keys()
    assert breaks_of(paying, of_venue(paying, told), [of_journal(paying)]) == []
    paying.decision["fx"][3] = 600 * 10**8
    found = breaks_of(paying, of_venue(paying, told), [of_journal(paying)])
    assert [(each.name, each.slot, each.currency, each.ours) for each in found] == (
        [("BNB", -1, 3, Decimal(3))] if differs else []
    )
    (told_of,) = breaks_of(
        paying,
        of_venue(paying, held({"USDT": "1234.5", "BTC": "0.00000005", "BNB": "2.9998"}, {})),
        [of_journal(paying)],
        10**7,
    )
    assert told_of.name == "BNB", "ten cents are a sixth of a thousandth"
    near = of_venue(paying, held({"USDT": "1234.5", "BTC": "0.00000005", "BNB": "2.9999"}, {}))
    assert breaks_of(paying, near, [of_journal(paying)], 10**7) == []


def test_the_journals_wallet_is_the_ledger_of_the_margin() -> None:
    assert of_journal(node("linear")) == holdings(BTCUSDT="0", USDT="1234.5")


TRADES = st.lists(
    st.tuples(st.sampled_from([-1, 1]), st.integers(1, 10**6), st.integers(1, 10**5)), min_size=1, max_size=40
)


@given(trades=TRADES)
def test_two_ways_to_round_what_is_realised_stay_within_what_a_wallet_may_differ_by(
    trades: list[tuple[int, int, int]],
) -> None:
    """The journal's by the kernel, the practice exchange's, and average cost as exact fractions: 1e-8 a fill between any two."""
    contract = money_rule("linear", 1, 3, 10**8, 0, 0)
    ours, whole = np.zeros(1, POSITION)[0], np.zeros(1, POSITION)[0]
    ledgers = np.zeros(1, CASH)
    rule = np.zeros(1, MONEY_RULE)
    rule[0] = contract
    theirs, wallet = Position(), 0
    exact_qty, exact_cost, exact_wallet = 0, Fraction(0), Fraction(0)
    for number, (side, price, qty) in enumerate(trades, 1):
        value = price * qty * 10**4  # Price in tenths, quantity in thousandths, money in 1e-8.
        *_, status = book_fill(ours, whole, ledgers, rule[0], side, price, qty, 0, 0, number)
        assert status == 0
        wallet += move(theirs, side * qty, side * value)
        closed = min(qty, abs(exact_qty)) if exact_qty * side < 0 else 0
        if closed:
            released = exact_cost * closed / abs(exact_qty)
            exact_wallet += -(Fraction(side * value * closed, qty) + released)
            exact_cost -= released
        exact_cost += Fraction(side * value * (qty - closed), qty)
        exact_qty += side * qty
        assert int(whole["qty"]) == theirs.qty == exact_qty
        assert abs(int(ledgers[0]["balance"]) - wallet) <= number
        assert abs(int(ledgers[0]["balance"]) - exact_wallet) <= number
        if exact_qty == 0:
            assert int(ledgers[0]["balance"]) == wallet == exact_wallet, "nothing is left of it once all is closed"


def test_an_account_is_read_or_refused() -> None:
    account = held({"USDT": "12.5", "BTC": "0.5"}, {})
    assert wallet(account, "USDT") == 1_250_000_000
    assert stock(account, node("spot").session.instruments, "USDT") == {"BTC": 50_000_000}
    assert stock(account, node("spot").session.instruments, "EUR") == {"BTC": 50_000_000, "USDT": 1_250_000_000}
    assert stock(account, node("linear").session.instruments, "USDT") == {}
    assert stock(account, node("linear").session.instruments, "EUR") == {"USDT": 1_250_000_000}
    with pytest.raises(SessionError, match="no money"):
        wallet(account, "USDC")
    with pytest.raises(SessionError, match="cannot be read"):
        of_venue(node("linear"), held({}, {("BTCUSDT", "BOTH"): "many"}))
