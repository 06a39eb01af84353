"""What taking liquidity now would cost against the mid, estimated from what is displayed. Nothing here refuses or changes anything."""

from typing import Any

from twinloop.kernels import codes
from twinloop.kernels.book_depth import NO_PRICE, sweep_cost
from twinloop.kernels.exposure import costlier_price, in_account_currency
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import INNER, njit
from twinloop.kernels.money import (
    CEILING,
    INVERSE,
    MONEY_UNIT,
    OK,
    checked_add,
    checked_mul,
    checked_sub,
    mul_div,
    notional,
)
from twinloop.kernels.node import NEVER


@njit(**INNER)
def estimate_slippage(decision: Any, request: Any, market: Any, price2: int, filled: int) -> tuple[int, int, int, int]:
    """(2 * cost in price * qty, 2 * mid * qty, cost >= 0 in the account's currency, status) of what would be taken now.

    request: a market or limit order. With depth: a sweep of the displayed levels up to the limit. What a market order wants beyond them
    is counted at the edge of the price collar (without a collar: at the last level). Without depth: all at the touch. Without a touch:
    nothing. The money of an inverse contract is its share of the value at the mid, a first-order figure.
    """
    out_of_line()
    buys = request["side"] > 0
    qty = int(request["qty"]) - filled
    taken, paid, failed = qty, 0, 0
    if market["book"] >= 0:
        limited = request["type"] == codes.LIMIT
        book = decision["books"][market["book"]]
        swept, cost, last, failed = sweep_cost(
            book, 1 if buys else 0, qty, int(request["price"]) if limited else int(NO_PRICE)
        )
        taken, paid = int(swept), int(cost)
        if not limited and taken < qty:
            edge = int(last) if taken > 0 else price2 >> 1
            collar = int(decision["instrument_limits"][int(request["instrument"])]["price_collar_e8"])
            if collar != NEVER:
                share, far = checked_add(MONEY_UNIT, collar if buys else max(-collar, -MONEY_UNIT))
                edge, status = mul_div(price2, share, 2 * MONEY_UNIT, CEILING)
                failed |= far | status
            rest, far = checked_mul(edge, qty - taken)
            paid, further = checked_add(paid, rest)
            failed |= far | further
            taken = qty
    else:
        touch = int(market["ask"]) if buys else int(market["bid"])
        if touch <= 0:
            return 0, 0, 0, OK
        paid, failed = checked_mul(touch, qty)
    base2, far = checked_mul(price2, taken)
    twice, further = checked_mul(paid, 2)
    cost2, beyond = checked_sub(twice, base2)
    if (failed | far | further | beyond) != OK:
        return 0, 0, 0, 1
    cost2 = max(cost2 if buys else -cost2, 0)
    rule = market["rule"]
    if cost2 == 0:
        return 0, base2, 0, OK
    if rule["contract"] == INVERSE:
        value, failed = notional(rule, taken, costlier_price(rule, price2))
        amount, status = mul_div(value, cost2, base2, CEILING)
    else:
        divisor, failed = checked_mul(2, int(rule["divisor"]))
        amount, status = mul_div(cost2, int(rule["multiplier"]), divisor, CEILING)
    if (failed | status) != OK:
        return 0, 0, 0, failed | status
    money, status = in_account_currency(decision, int(market["settle"]), amount)
    return cost2, base2, money, status
