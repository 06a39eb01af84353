"""Where a resting order stands in line, when only the quantity of each level is known.

Risk-averse: prints at our price move us forward; a shrinking level does not, except that no more can be ahead than is displayed.
Probability: a cancel at our level was ahead of us with probability f(ahead) / (f(ahead) + f(behind)), f(x) = x**n or log(1 + x); the
expected part of it moves us forward (Moallemi and Yuan 2017 give the value of a place in line; the family of models is common practice).
Estimates are float64 quantities below 2**53 scaled units; they decide whether a print reaches us, never money.
"""

import math
from typing import Any

from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.venue import PROBABILITY_LOG, RISK_AVERSE


@njit(cache=True)
def _weight(venue: Any, qty: float) -> float:
    if venue["queue_model"] == PROBABILITY_LOG:
        return math.log(1.0 + qty)
    result = 1.0
    for _ in range(venue["queue_power"]):
        result *= qty
    return result


@njit(cache=True)
def queue_traded(order: Any, qty: int) -> int:
    """A print of qty at our price: moves us forward; returns how much of it reached us (0 or more)."""
    order["traded"] += float(qty)
    order["ahead"] -= float(qty)
    if order["ahead"] >= 0.0:
        return 0
    reached = int(-order["ahead"])
    order["ahead"] = 0.0
    return reached


@njit(cache=True)
def queue_displayed(venue: Any, order: Any, before: int, after: int) -> None:
    """The displayed quantity at our price went from before to after."""
    out_of_line()
    displayed = float(after)
    if venue["queue_model"] == RISK_AVERSE:
        order["ahead"] = min(order["ahead"], displayed)
        return
    shrunk = float(before - after) - order["traded"]
    order["traded"] = 0.0
    if shrunk <= 0.0:
        order["ahead"] = min(order["ahead"], displayed)
        return
    ahead = order["ahead"]
    behind = max(float(before) - ahead, 0.0)
    weight_ahead = _weight(venue, ahead)
    weight = weight_ahead + _weight(venue, behind)
    share = weight_ahead / weight if weight > 0.0 else 1.0
    ahead -= share * shrunk
    overshoot = (1.0 - share) * shrunk - behind
    if overshoot > 0.0:
        ahead -= overshoot
    order["ahead"] = min(max(ahead, 0.0), displayed)
