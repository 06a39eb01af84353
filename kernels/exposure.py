"""What could become of an account's positions: worst case over its working orders, valued at one reference price an instrument.

An order counts from the call that makes it until the venue proves it gone: open, in flight, unknown or pending-cancel, at remaining
quantity (`orders.reserve` keeps the sums). This module must not refuse anything; `risk.py` does.

The worst case on a side is side * position + what works on that side. Prices: mid, else last trade, else mark price. A mid may lie
between two prices of the scale: `mid2` is twice the price, and a value takes the neighbour with the larger notional.
"""

from typing import Any, Final

from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import INNER, njit
from twinloop.kernels.money import (
    CEILING,
    INVERSE,
    MONEY_UNIT,
    OK,
    OVERFLOW,
    SPOT,
    checked_add,
    checked_mul,
    checked_sub,
    mul_div,
    notional,
)

PRICE_MAX: Final = 2**61  # Beyond it a price is no price: twice the sum of two still fits.
NO_RATE: Final = 64  # A status beside those of money.py: no rate for the currency, or no price.


@njit(**INNER)
def touch_mid2(market: Any) -> int:
    """Bid + ask, or 0 without both, or where the bid is above the ask."""
    bid = int(market["bid"])
    ask = int(market["ask"])
    return bid + ask if 0 < bid <= ask < PRICE_MAX else 0


@njit(**INNER)
def any_price2(market: Any) -> int:
    """Twice the best price known, however old: mid, last trade, mark; 0 for none."""
    mid2 = touch_mid2(market)
    if mid2 > 0:
        return mid2
    price = int(market["last_price"])
    if not 0 < price < PRICE_MAX:
        price = int(market["mark_price"])
    return 2 * price if 0 < price < PRICE_MAX else 0


@njit(**INNER)
def costlier_price(rule: Any, price2: int) -> int:
    """Half of price2 as a price of the scale, rounded to where the notional is larger: up; of an inverse contract down, but not to 0."""
    if rule["contract"] == INVERSE:
        return max(price2 >> 1, 1)
    return (price2 + 1) >> 1


@njit(**INNER)
def in_account_currency(decision: Any, currency: int, amount: int) -> tuple[int, int]:
    """Amount >= 0 of a currency in the account's, rounded up, and a status; NO_RATE where its rate is not known."""
    rate = int(decision["fx"][currency])
    if rate == MONEY_UNIT:
        return amount, OK
    if rate <= 0:
        return 0, NO_RATE
    return mul_div(amount, rate, MONEY_UNIT, CEILING)


@njit(**INNER)
def value_in_account(decision: Any, market: Any, qty: int, price: int) -> tuple[int, int]:
    """Notional of a quantity at a price in the account's currency, and a status."""
    amount, status = notional(market["rule"], qty, price)
    if status != OK:
        return 0, status
    return in_account_currency(decision, int(market["settle"]), amount)


@njit(**INNER)
def worst_case(holding: Any, side: int, added: int) -> tuple[int, int]:
    """(Side * position + working quantity of the side + added, OVERFLOW or OK); negative where the side only closes."""
    position = int(holding["position"]["qty"])
    exposure = holding["exposure"]
    working = int(exposure["buy_qty"]) if side > 0 else int(exposure["sell_qty"])
    signed, low = checked_sub(0, position)
    total, far = checked_add(position if side > 0 else signed, working)
    total, further = checked_add(total, added)
    return total, low | far | further


@njit(**INNER)
def base_on_sale(decision: Any, account: int, base: int) -> tuple[int, int]:
    """(Money of a base currency that an account's working sells of spot instruments may still deliver, OVERFLOW or OK)."""
    out_of_line()
    total = 0
    failed = 0
    for i in range(decision["accounts"][account]["exposed_count"]):
        instrument = int(decision["exposed"][account, i])
        rule = decision["instruments"][instrument]["rule"]
        if rule["contract"] == SPOT and rule["base_currency"] == base:
            exposure = decision["account_holdings"][account][instrument]["exposure"]
            amount, far = checked_mul(int(exposure["sell_qty"]), int(rule["base_unit"]))
            total, further = checked_add(total, amount)
            failed |= far | further
    return total, failed


@njit(cache=True)
def sellable(decision: Any, strategy: int, instrument: int) -> int:
    """What a strategy may still sell of its long position, in whole lots: without what works on its sell side.

    Of spot no more than what the account holds of the base currency and has not on sale: a venue takes a purchase's fee out of that.
    """
    out_of_line()
    account = int(decision["strategies"][strategy]["account"])
    holding = decision["strategy_holdings"][strategy][instrument]
    market = decision["instruments"][instrument]
    rule = market["rule"]
    left, failed = checked_sub(int(holding["position"]["qty"]), int(holding["exposure"]["sell_qty"]))
    if rule["contract"] == SPOT:
        base = int(rule["base_currency"])
        on_sale, status = base_on_sale(decision, account, base)
        free, far = checked_sub(int(decision["ledgers"][account][base]["balance"]), on_sale)
        failed |= status | far
        left = min(left, free // int(rule["base_unit"]))
    if failed or left <= 0:
        return 0
    lot = max(int(market["lot_size"]), 1)
    return left - left % lot


@njit(**INNER)
def list_exposure(decision: Any, account: int, instrument: int) -> None:
    """Enter an instrument in the account's list of those with a position or a working order; once."""
    exposure = decision["account_holdings"][account][instrument]["exposure"]
    if exposure["listed"] == 0:
        exposure["listed"] = 1
        state = decision["accounts"][account]
        decision["exposed"][account, state["exposed_count"]] = instrument
        state["exposed_count"] += 1


@njit(**INNER)
def worst_totals(decision: Any, account: int, instrument: int, side: int, added: int) -> tuple[int, int, int]:
    """(Gross, net, status) of an account with `added` more working on a side of one instrument.

    Gross: sum over instruments of the larger worst-case notional of both sides. Net: signed sum of the notionals if all that works on
    the side fills and nothing on the other. Account currency. Walks the instruments with exposure and drops those that have none left.
    """
    out_of_line()
    state = decision["accounts"][account]
    listed = decision["exposed"][account]
    gross = 0
    net = 0
    failed = 0
    i = int(state["exposed_count"]) - 1
    seen = added == 0
    while i >= 0:
        each = int(listed[i])
        holding = decision["account_holdings"][account][each]
        exposure = holding["exposure"]
        if (
            each != instrument
            and holding["position"]["qty"] == 0
            and exposure["buy_qty"] == 0
            and exposure["sell_qty"] == 0
        ):
            exposure["listed"] = 0
            state["exposed_count"] -= 1
            listed[i] = listed[state["exposed_count"]]
        else:
            seen = seen or each == instrument
            worst, signed, status = _one(decision, account, each, side, added if each == instrument else 0)
            gross, far = checked_add(gross, worst)
            net, further = checked_add(net, signed)
            failed |= status | far | further
        i -= 1
    if not seen:
        worst, signed, status = _one(decision, account, instrument, side, added)
        gross, far = checked_add(gross, worst)
        net, further = checked_add(net, signed)
        failed |= status | far | further
    return gross, net, failed


@njit(**INNER)
def _one(decision: Any, account: int, instrument: int, side: int, added: int) -> tuple[int, int, int]:
    """(Larger worst-case notional of both sides, signed notional of one side, status) of one instrument."""
    out_of_line()
    holding = decision["account_holdings"][account][instrument]
    market = decision["instruments"][instrument]
    own, status = worst_case(holding, side, added)
    other, other_status = worst_case(holding, -side, 0)
    if (status | other_status) != OK:
        return 0, 0, OVERFLOW
    if own == 0 and other <= 0:
        return 0, 0, OK
    price2 = any_price2(market)
    price = costlier_price(market["rule"], price2) if price2 > 0 else int(holding["position"]["mark_price"])
    if price <= 0:
        return 0, 0, NO_RATE
    signed, status = value_in_account(decision, market, own, price)
    if own >= other:
        return signed, signed, status
    worst, other_status = value_in_account(decision, market, other, price)
    return worst, signed if own >= 0 else -signed, status | other_status
