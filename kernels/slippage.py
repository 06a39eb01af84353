"""What taking liquidity now would cost against the mid, estimated from what is displayed. Nothing here refuses or changes anything."""

from typing import Any

from twinloop.kernels import codes
from twinloop.kernels.book_depth import NO_PRICE, sweep_cost
from twinloop.kernels.exposure import costlier_price, in_account_currency
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.money import (
    CEILING,
    FLOOR,
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


@njit(cache=True)
def crosses_touch(request: Any, market: Any) -> bool:
    """Whether a limit order would take at the touch as it is known; a post-only one never takes."""
    if int(request["flags"]) & codes.POST_ONLY:
        return False
    if request["side"] > 0:
        return market["ask"] > 0 and request["price"] >= market["ask"]
    return market["bid"] > 0 and request["price"] <= market["bid"]


@njit(cache=True)
def estimate_slippage(
    decision: Any, request: Any, market: Any, collar_e8: int, price2: int, filled: int
) -> tuple[int, int, int, int]:
    """(2 * cost in price * qty, 2 * mid * qty, cost >= 0 in the account's currency, status) of what would be taken now.

    With depth: a sweep of the displayed levels up to the limit. What a market order wants beyond them is counted at the edge of the
    price collar (without a collar: at the last level). Without depth: all at the touch. Without a touch: nothing.
    """
    out_of_line()
    side = 1 if request["side"] > 0 else -1
    qty = int(request["qty"]) - filled
    limit = int(request["price"]) if request["type"] == codes.LIMIT else int(NO_PRICE)
    taken, paid, status = qty, 0, 0
    if market["book"] >= 0:
        book = decision["books"][market["book"]]
        found, cost, last, status = sweep_cost(book, 1 if side > 0 else 0, qty, limit)
        taken = int(found)
        paid = int(cost)
        if request["type"] == codes.MARKET and taken < qty:
            rest, far = checked_mul(_edge(side, collar_e8, price2, int(last) if taken > 0 else 0), qty - taken)
            paid, further = checked_add(paid, rest)
            status |= far | further
            taken = qty
    else:
        touch = int(market["ask"]) if side > 0 else int(market["bid"])
        if touch <= 0:
            return 0, 0, 0, OK
        paid, status = checked_mul(touch, qty)
    base2, far = checked_mul(price2, taken)
    twice, further = checked_mul(paid, 2)
    cost2, most = checked_sub(twice, base2)
    if (status | far | further | most) != OK:
        return 0, 0, 0, 1
    cost2 = max(cost2 if side > 0 else -cost2, 0)
    money, status = _as_money(decision, market, cost2, base2, taken, price2)
    return cost2, base2, money, status


@njit(cache=True)
def _edge(side: int, collar_e8: int, price2: int, last: int) -> int:
    """Where a market order is stopped at worst: the collar's edge on its side."""
    if collar_e8 == NEVER:
        return last if last > 0 else price2 >> 1
    share, far = checked_add(MONEY_UNIT, collar_e8 if side > 0 else -min(collar_e8, MONEY_UNIT))
    edge, status = mul_div(price2, share, 2 * MONEY_UNIT, CEILING if side > 0 else FLOOR)
    return NEVER if (far | status) != OK else edge


@njit(cache=True)
def _as_money(decision: Any, market: Any, cost2: int, base2: int, taken: int, price2: int) -> tuple[int, int]:
    """The cost in the account's currency, rounded up. Of an inverse contract: its share of the value at the mid, a first-order figure."""
    if cost2 == 0:
        return 0, OK
    rule = market["rule"]
    if rule["contract"] == INVERSE:
        value, failed = notional(rule, taken, costlier_price(rule, price2))
        amount, status = mul_div(value, cost2, base2, CEILING)
        status |= failed
    else:
        divisor, failed = checked_mul(2, int(rule["divisor"]))
        amount, status = mul_div(cost2, int(rule["multiplier"]), divisor, CEILING)
        status |= failed
    if status != OK:
        return 0, status
    return in_account_currency(decision, int(market["settle"]), amount)
