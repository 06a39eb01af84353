"""Position mode, margin type and leverage at the practice exchange: told, set, refused as the venue does."""

from typing import Any

import pytest
from reference.exchange_world import RICH, START_MS

from twinloop.engine.exchange import requests
from twinloop.engine.exchange.core import Exchange
from twinloop.engine.exchange.model import BUY, VenueError
from twinloop.engine.exchange.symbols import symbol


@pytest.fixture
def exchange() -> Exchange:
    made = Exchange("usdm", [symbol(name, "usdm") for name in ("BTCUSDT", "ETHUSDT")])
    made.advance(START_MS)
    made.add_account("a", "key", "s", RICH["usdm"])
    maker = made.add_account("b", "maker", "s", RICH["usdm"])
    made.place(maker, "BTCUSDT", -BUY, "LIMIT", 1000, price=made.mark_price("BTCUSDT"))
    return made


def call(exchange: Exchange, method: str, name: str, **parameters: str) -> Any:
    answer = requests.USDM[method, f"/fapi/v1/{name}"].answer
    return answer(exchange, exchange.accounts["key"], parameters)


def code_of(exchange: Exchange, method: str, name: str, **parameters: str) -> int:
    with pytest.raises(VenueError) as refused:
        call(exchange, method, name, **parameters)
    return refused.value.code


def test_position_mode_is_set_and_then_one_way_orders_are_refused(exchange: Exchange) -> None:
    assert call(exchange, "GET", "positionSide/dual") == {"dualSidePosition": False}
    assert code_of(exchange, "POST", "positionSide/dual", dualSidePosition="false") == -4059
    call(exchange, "POST", "positionSide/dual", dualSidePosition="true")
    assert call(exchange, "GET", "positionSide/dual") == {"dualSidePosition": True}
    told = call(exchange, "GET", "accountConfig")
    assert (told["dualSidePosition"], told["multiAssetsMargin"]) == (True, False)
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.010"}
    assert code_of(exchange, "POST", "order", **order) == -4061
    call(exchange, "POST", "positionSide/dual", dualSidePosition="false")
    call(exchange, "POST", "order", **order)
    assert code_of(exchange, "POST", "positionSide/dual", dualSidePosition="true") == -4068, "a position is open"


def test_margin_type_and_leverage_are_of_one_symbol(exchange: Exchange) -> None:
    call(exchange, "POST", "marginType", symbol="BTCUSDT", marginType="ISOLATED")
    assert code_of(exchange, "POST", "marginType", symbol="BTCUSDT", marginType="ISOLATED") == -4046
    assert call(exchange, "POST", "leverage", symbol="BTCUSDT", leverage="5")["leverage"] == 5
    assert code_of(exchange, "POST", "leverage", symbol="BTCUSDT", leverage="126") == -4028
    told = {each["symbol"]: (each["marginType"], each["leverage"]) for each in call(exchange, "GET", "symbolConfig")}
    assert told.pop("BTCUSDT") == ("ISOLATED", 5)
    assert set(told.values()) == {("CROSSED", 20)}
    (only,) = call(exchange, "GET", "symbolConfig", symbol="BTCUSDT")
    assert set(only) == {"symbol", "marginType", "isAutoAddMargin", "leverage", "maxNotionalValue"}


def test_a_lower_leverage_binds_more_margin(exchange: Exchange) -> None:
    account = exchange.accounts["key"]
    exchange.place(account, "BTCUSDT", BUY, "MARKET", 100)
    bound = exchange.margin(account)
    call(exchange, "POST", "leverage", symbol="BTCUSDT", leverage="5")
    assert exchange.margin(account) == pytest.approx(4 * bound, abs=4)
