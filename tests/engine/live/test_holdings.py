"""What counts as a difference between journal and venue, without either."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from twinloop.data.binance_reports import AccountReport
from twinloop.data.instruments import Instrument
from twinloop.engine.live.holdings import breaks_of, of_venue, stock, wallet
from twinloop.engine.live.session_errors import SessionError


def node(contract: str) -> Any:
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
        decision={"fx": [10**8, 5 * 10**7, 0]},
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


def test_an_account_is_read_or_refused() -> None:
    account = held({"USDT": "12.5", "BTC": "0.5"}, {})
    assert wallet(account, "USDT") == 1_250_000_000
    assert stock(account, node("spot").session.instruments, "USDT") == {"BTC": 50_000_000}
    assert stock(account, node("spot").session.instruments, "EUR") == {"BTC": 50_000_000, "USDT": 1_250_000_000}
    assert stock(account, node("linear").session.instruments, "USDT") == {}
    with pytest.raises(SessionError, match="no money"):
        wallet(account, "USDC")
    with pytest.raises(SessionError, match="cannot be read"):
        of_venue(node("linear"), held({}, {("BTCUSDT", "BOTH"): "many"}))
