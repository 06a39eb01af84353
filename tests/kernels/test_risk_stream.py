"""Random order streams through the desk and the loop, judged beside the twin: the same findings, and never a limit broken."""

from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import risk as twin
from reference.risk_node import ONE, Desk, inverse, linear

from twinloop.kernels import codes, rows
from twinloop.kernels.exposure import sellable
from twinloop.kernels.node import NEVER

LIMITS = (
    twin.Limits(
        max_order_qty=40, max_position_long=60, max_position_short=50, price_collar_e8=5_000_000, self_match=True
    ),
    twin.Limits(
        max_order_notional=4 * ONE, max_position_notional=6 * ONE, max_gross=8 * ONE, max_net=7 * ONE, max_spread=4
    ),
    twin.Limits(max_order_e8=400, max_position_e8=600, initial_margin_e8=10**8 * 10**5, price_collar_e8=20_000_000),
    twin.Limits(max_position_long=0, max_position_short=30, max_gross=5 * ONE, self_match=True),
)
BITS = {name.removeprefix("REJECT_"): 1 << code for code, name in codes.CODE_NAME.items() if name.startswith("REJECT_")}
MONEY = 10**6 * ONE

operations = st.lists(
    st.one_of(
        st.tuples(st.just("quote"), st.integers(0, 1), st.integers(960, 1040), st.integers(1, 6)),
        st.tuples(st.just("submit"), st.integers(0, 1), st.integers(0, 1), st.sampled_from([1, -1]), st.sampled_from([0, 1, 1, 1]),
                  st.integers(-60, 60), st.integers(1, 45)),
        st.tuples(st.just("amend"), st.integers(0, 30), st.integers(-60, 60), st.integers(1, 60)),
        st.tuples(st.just("amended"), st.integers(0, 30), st.booleans()),
        st.tuples(st.just("fill"), st.integers(0, 30), st.integers(1, 45)),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("cancelled"), st.integers(0, 30)),
    ),
    max_size=40,
)  # fmt: skip


class Pair:
    """The desk and its twin, driven side by side. Instrument 1 is inverse, its lots are a hundred times cheaper."""

    def __init__(self, limits: twin.Limits, base: int = 0) -> None:
        self.limits = limits
        instruments = [linear(), inverse(settle="USDT", contract_size=1000 * 100 * ONE)]
        if limits.covered:  # Two spot instruments of one base asset.
            instruments = [linear(contract="spot"), linear("BTCFDUSD", contract="spot", qty_scale=5)]
        self.desk = Desk(instruments, strategies=2, cash=MONEY)
        # Values of quantity 1 at price 1: 1e8 / 10**(1 + 3), and 100,000 units * 1e8 * 10**1 over the price.
        markets = [
            twin.Market(multiplier=Fraction(10**4)),
            twin.Market(contract="inverse", multiplier=Fraction(10**5 * ONE * 10)),
        ]
        if limits.covered:
            markets = [
                twin.Market(contract="spot", multiplier=Fraction(10**4), base_unit=10**5),
                twin.Market(contract="spot", multiplier=Fraction(10**2), base_unit=10**3),
            ]
        self.account = twin.Account(markets, limits, MONEY)
        if limits.covered:
            self.account.base_start = base
            self.desk.assembly.hold(0, "BTC", base)
        for instrument, market in enumerate(markets):
            rules = self.desk.decision["instruments"][instrument]
            market.max_qty, market.min_qty = int(rules["max_qty"]), int(rules["min_qty"])
        self.ids: list[int] = []
        for name in vars(limits):
            value = getattr(limits, name)
            if name in (self.desk.decision["instrument_limits"].dtype.names or ()):
                self.desk.decision["instrument_limits"][name] = NEVER if value is None else value
            else:
                self.desk.decision["account_limits"][name] = NEVER if value is None else value
        for instrument in (0, 1):
            self.quote(instrument, 1000, 2)

    def quote(self, instrument: int, bid: int, spread: int) -> None:
        market = self.account.markets[instrument]
        market.bid, market.ask = bid, bid + spread
        assert self.desk.quote(bid, bid + spread, instrument) == codes.RUN_DONE
        self.account.equity = int(self.desk.decision["accounts"][0]["equity"])

    def judged(self, expected: set[str], result: int) -> bool:
        """Whether an order or amend passed; the findings are the twin's."""
        refusals = int(self.desk.node["verdict_count"])
        bits = int(self.desk.node["verdicts"][0]["findings"]) if refusals else 0
        self.desk.node["verdict_count"] = 0
        found = {name for name, bit in BITS.items() if bits & bit}
        assert found == expected
        assert (result > 0) == (not expected)
        if expected:
            assert codes.CODE_NAME[-result].removeprefix("REJECT_") in expected
        return result > 0

    def submit(self, strategy: int, instrument: int, side: int, limited: int, distance: int, qty: int) -> None:
        market = self.account.markets[instrument]
        price = market.bid + distance if limited else 0
        qty = qty * 100 if instrument else qty
        expected = self.account.findings(strategy, instrument, side, price, qty)
        result = self.desk.submit(side, qty, price, strategy=strategy, instrument=instrument)
        if self.judged(expected, result):
            self.ids.append(result)
            self.account.orders.append(twin.Order(strategy, instrument, side, price, qty))

    def pick(self, at: int) -> tuple[int, twin.Order] | None:
        known = [(order_id, order) for order_id, order in zip(self.ids, self.account.orders, strict=True) if order.open]
        return known[at % len(known)] if known else None

    def amend(self, order_id: int, order: twin.Order, distance: int, qty: int) -> None:
        if order.price == 0:
            return
        price = self.account.markets[order.instrument].bid + distance
        qty = order.filled + (qty * 100 if order.instrument else qty)
        expected = self.account.findings(order.strategy, order.instrument, order.side, price, qty, order)
        result = self.desk.amend(order_id, price, qty, order.strategy)
        if self.judged(expected, result):
            order.asked.append((price, qty))

    def amended(self, order_id: int, order: twin.Order, accepted: bool) -> None:
        if not order.asked:
            return
        price, qty = order.asked.pop(0)
        if accepted and qty > order.filled:
            order.price, order.qty = price, qty
            self.desk.answer(rows.AMENDED, order_id, price=price, qty=qty)
        else:
            self.desk.answer(rows.AMEND_REJECT, order_id)
        order.open = order.remaining() > 0

    def fill(self, order_id: int, order: twin.Order, qty: int) -> None:
        qty = min(qty * 100 if order.instrument else qty, order.qty - order.filled)
        if qty <= 0:
            return
        market = self.account.markets[order.instrument]
        price, fee, currency = market.ask if order.side > 0 else market.bid, 0, None
        if market.base_unit and order.side > 0:  # Taken out of what was bought, rounded up.
            fee, currency = -(-qty * market.base_unit // 1000), self.desk.assembly.currencies.index("BTC")
            self.account.base_fees.append(fee)
        assert self.desk.fill(order_id, price, qty, fee, currency) == codes.RUN_DONE
        order.filled += qty
        order.open = order.remaining() > 0
        self.account.fills.append((order.strategy, order.instrument, order.side * qty))
        self.account.equity = int(self.desk.decision["accounts"][0]["equity"])

    def cancelled(self, order_id: int, order: twin.Order) -> None:
        self.desk.answer(rows.CANCELLED, order_id)
        order.open = False

    def run(self, operation: tuple[Any, ...]) -> None:
        name, *arguments = operation
        if name in ("quote", "submit"):
            getattr(self, name)(*arguments)
            return
        picked = self.pick(arguments[0])
        if picked is None:
            return
        if name == "cancel":
            assert self.desk.cancel(picked[0], picked[1].strategy) > 0  # Never refused, and frees nothing.
        else:
            getattr(self, name)(*picked, *arguments[1:])

    def compare_exposure(self) -> None:
        for instrument in (0, 1):
            holding = self.desk.decision["account_holdings"][0, instrument]
            assert int(holding["position"]["qty"]) == self.account.position(instrument)
            assert int(holding["exposure"]["buy_qty"]) == self.account.working(instrument, 1)
            assert int(holding["exposure"]["sell_qty"]) == self.account.working(instrument, -1)

    def check_quantities(self) -> None:
        """What holds at any time, not only when an order is judged: quantities do not depend on prices."""
        for instrument in (0, 1):
            for side, most in ((1, self.limits.max_position_long), (-1, self.limits.max_position_short)):
                assert most is None or self.account.worst(instrument, side) <= max(most, 0)

    def check_base(self) -> None:
        """The account never has more on sale than it holds, and a strategy that sells what is available is not refused for it."""
        assert self.account.base_left(0) >= 0
        for strategy in (0, 1):
            for instrument in (0, 1):
                found = sellable(self.desk.decision, strategy, instrument)
                assert found == self.account.sellable(strategy, instrument)
                assert self.account.base_left(instrument, found) >= 0


@pytest.mark.parametrize("base", [0, 123_456, 10**7])
@given(stream=operations)
def test_no_more_of_a_spot_asset_is_on_sale_than_the_account_holds(base: int, stream: Any) -> None:
    """Two symbols of one base asset, two strategies, fees taken out of what was bought; what is held before may be sold too."""
    pair = Pair(twin.Limits(covered=1), base)
    for operation in stream:
        pair.run(operation)
        pair.compare_exposure()
        pair.check_base()


@pytest.mark.parametrize("limits", LIMITS, ids=["quantities", "values", "shares", "one-sided"])
@given(stream=operations)
def test_no_accepted_order_breaks_a_limit_and_no_other_is_refused(limits: Any, stream: Any) -> None:
    pair = Pair(limits)
    for operation in stream:
        pair.run(operation)
        pair.compare_exposure()
        pair.check_quantities()
