"""What counts as a difference between journal and venue, without either."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from twinloop.data.binance_reports import AccountReport
from twinloop.data.instruments import Instrument
from twinloop.engine.live.holdings import of_venue, position_breaks, stock, wallet
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
    return SimpleNamespace(session=SimpleNamespace(instruments=[instrument]))


def held(balances: dict[str, str], positions: dict[tuple[str, str], str]) -> AccountReport:
    return AccountReport(0, "", balances, positions, complete=True)


def holdings(**amounts: str) -> dict[str, Decimal]:
    return {name: Decimal(text) for name, text in amounts.items()}


def test_what_was_on_its_way_is_no_difference() -> None:
    visited = [holdings(BTCUSDT="0.1"), holdings(BTCUSDT="0.3"), holdings(BTCUSDT="0.2")]
    for theirs in ("0.1", "0.2", "0.3"):
        assert position_breaks(node("linear"), holdings(BTCUSDT=theirs), visited) == []
    (found,) = position_breaks(node("linear"), holdings(BTCUSDT="0.25"), visited)
    assert str(found) == "BTCUSDT: the journal says 0.2, the venue 0.25"
    (other,) = position_breaks(node("linear"), holdings(BTCUSDT="0.26"), visited)
    assert found.number != other.number


def test_a_position_outside_the_session_is_a_difference_that_names_no_slot() -> None:
    theirs = of_venue(node("linear"), held({}, {("ETHUSDT", "LONG"): "3", ("ETHUSDT", "SHORT"): "-1"}))
    (found,) = position_breaks(node("linear"), theirs, [holdings(BTCUSDT="0")])
    assert (found.name, found.slot, found.theirs) == ("ETHUSDT", -1, Decimal(2))


def test_spot_balances_may_differ_by_less_than_a_lot() -> None:
    visited = [holdings(BTC="1")]
    assert position_breaks(node("spot"), of_venue(node("spot"), held({"BTC": "1.00099999"}, {})), visited) == []
    assert position_breaks(node("spot"), of_venue(node("spot"), held({"BTC": "1.00100000"}, {})), visited)
    assert position_breaks(node("spot"), of_venue(node("spot"), held({}, {})), visited), (
        "no balance is none, not unknown"
    )


def test_an_account_is_read_or_refused() -> None:
    account = held({"USDT": "12.5", "BTC": "0.5"}, {})
    assert wallet(account, "USDT") == 1_250_000_000
    assert stock(account, node("spot").session.instruments) == {"BTC": 50_000_000}
    assert stock(account, node("linear").session.instruments) == {}
    with pytest.raises(SessionError, match="no money"):
        wallet(account, "USDC")
    with pytest.raises(SessionError, match="cannot be read"):
        of_venue(node("linear"), held({}, {("BTCUSDT", "BOTH"): "many"}))
