"""Closing an account's positions, at an operator's word or because a limit says so, with every other order refused.

Rounds. First all that works is proven gone; then, an instrument each, immediate-or-cancel orders against the account's position, no larger than the
limits on one order let pass, at most `flatten_collar_e8` beyond the touch; when they have ended, the next round. A round that filled nothing is
followed by a pause. The end is an account without a position that can be traded: what is less than the venue's smallest order stays, and of a spot
position what fees took of its base asset where the account holds no more of that. An order belongs to the strategy whose position it closes, else to
the account's unassigned book; where books hold both signs only the account's own excess is closed, so that every order lowers the venue's position.

These orders are decisions like a strategy's, numbered and hashed, and pass no gate: it refuses everything in HALTED.
"""

from typing import Any, Final

from twinloop.kernels import codes
from twinloop.kernels.desk import CANCEL_RESERVE, enter_order, hash_decision, publish_new
from twinloop.kernels.exposure import any_price2, costlier_price, value_in_account
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import INNER, njit
from twinloop.kernels.money import FLOOR, MONEY_UNIT, OK, SPOT, mul_div, notional
from twinloop.kernels.node import FLATTEN_MARKET, FLATTEN_NOT, NEVER
from twinloop.kernels.orders import book_of, take_slot
from twinloop.kernels.risk_state import end_flatten

PAUSE_NS: Final = 1_000_000_000
NO_PRICE: Final = -1


@njit(cache=True)
def flatten_accounts(node: Any) -> None:
    """The next round of each account that is being flattened, if its last one has ended."""
    out_of_line()
    decision = node["decision"]
    now_ns = decision["clock"]["now_ns"]
    for account in range(decision["account_count"]):
        state = decision["accounts"][account]
        if state["flatten"] == FLATTEN_NOT or now_ns < state["flatten_ns"] or _works(decision, account):
            continue
        left = _left(decision, account)
        if left > 0 and left == state["flatten_left"]:
            state["flatten_ns"] = now_ns + PAUSE_NS
            state["flatten_left"] = 0
            continue
        state["flatten_left"] = left
        if left == 0 or _round(node, account) == 0:
            end_flatten(decision, account)


@njit(**INNER)
def _works(decision: Any, account: int) -> bool:
    """Whether an order of the account may still fill."""
    for i in range(decision["open_count"]):
        if decision["orders"][decision["open_orders"][i]]["account"] == account:
            return True
    return False


@njit(**INNER)
def _left(decision: Any, account: int) -> int:
    """Sum of the account's |positions|: only ever compared with itself."""
    left = 0
    for i in range(decision["accounts"][account]["exposed_count"]):
        instrument = decision["exposed"][account, i]
        left += abs(int(decision["account_holdings"][account][instrument]["position"]["qty"]))
    return left


@njit(**INNER)
def _round(node: Any, account: int) -> int:
    """Send what closes the account's positions: how many orders, counting as one each position that waits for a price."""
    decision = node["decision"]
    sent = 0
    for i in range(decision["accounts"][account]["exposed_count"]):
        instrument = int(decision["exposed"][account, i])
        held = _tradable(decision, account, instrument)
        if held != 0:
            sent += _close(node, account, instrument, held)
    return sent


@njit(**INNER)
def _tradable(decision: Any, account: int, instrument: int) -> int:
    """The account's position; of a spot one no more than the account holds of its base asset: a venue takes a purchase's fee out of that."""
    held = int(decision["account_holdings"][account][instrument]["position"]["qty"])
    rule = decision["instruments"][instrument]["rule"]
    if rule["contract"] != SPOT or held <= 0:
        return held
    balance = int(decision["ledgers"][account][rule["base_currency"]]["balance"])
    return min(held, max(balance, 0) // int(rule["base_unit"]))


@njit(**INNER)
def _close(node: Any, account: int, instrument: int, held: int) -> int:
    """Orders against one position, of those whose books hold its sign: how many, 1 if it waits for a price or for room."""
    out_of_line()
    decision = node["decision"]
    market = decision["instruments"][instrument]
    side = -1 if held > 0 else 1
    price = _price(decision, market, account, side)
    if price == NO_PRICE:
        return 1
    left = abs(held)
    most = _largest(decision, market, instrument, left, price)
    sent = 0
    strategies = decision["strategy_count"]
    for each in range(strategies + 1):
        strategy = each if each < strategies else codes.UNASSIGNED
        if each < strategies and decision["strategies"][each]["account"] != account:
            continue
        own = int(decision["strategy_holdings"][book_of(decision, strategy, account)][instrument]["position"]["qty"])
        qty = min(min(-own * side, left), most)
        if market["lot_size"] > 1:
            qty -= qty % market["lot_size"]
        if qty <= 0 or qty < market["min_qty"] or not _worth_an_order(market, qty, price):
            continue
        if not _send(node, account, strategy, instrument, side, qty, price):
            return max(sent, 1)
        left -= qty
        sent += 1
    return sent


@njit(**INNER)
def _price(decision: Any, market: Any, account: int, side: int) -> int:
    """Limit price of a closing order: the collar beyond the touch, else beyond the best price known; 0 for a market order, or NO_PRICE."""
    touch = int(market["bid"] if side < 0 else market["ask"])
    if touch <= 0:
        touch = any_price2(market) >> 1
    collar = int(decision["account_limits"][account]["flatten_collar_e8"])
    if touch <= 0:
        return 0 if decision["accounts"][account]["flatten"] == FLATTEN_MARKET else NO_PRICE
    if collar == NEVER:
        return 0
    distance, status = mul_div(touch, collar, MONEY_UNIT, FLOOR)
    if status != OK:
        return 0
    tick = max(int(market["tick_size"]), 1)
    if side > 0:
        return (touch + distance) // tick * tick
    return max(-((distance - touch) // tick) * tick, tick)


@njit(**INNER)
def _largest(decision: Any, market: Any, instrument: int, qty: int, price: int) -> int:
    """The largest order of at most qty that the venue and the limits on one order let pass; a limit of zero, not configured, binds none."""
    limits = decision["instrument_limits"][instrument]
    most = min(qty, int(market["max_qty"]))
    if limits["max_order_qty"] > 0:
        most = min(most, int(limits["max_order_qty"]))
    if price == 0:
        price = costlier_price(market["rule"], any_price2(market))
    value, status = value_in_account(decision, market, most, price)
    bound = int(limits["max_order_notional"])
    if status == OK and 0 < bound < value:
        most, _ = mul_div(most, bound, value, FLOOR)
    return most


@njit(**INNER)
def _worth_an_order(market: Any, qty: int, price: int) -> bool:
    """Whether a venue takes an order of so little value: on spot it may not, elsewhere what only reduces passes. Without a price: it does."""
    least = int(market["min_notional"])
    if least == 0 or market["rule"]["contract"] != SPOT:
        return True
    value, status = notional(market["rule"], qty, price if price > 0 else any_price2(market) >> 1)
    return status != OK or value >= least or value == 0


@njit(**INNER)
def _send(node: Any, account: int, strategy: int, instrument: int, side: int, qty: int, price: int) -> bool:
    """One closing order; False where there is no room for it now."""
    out_of_line()
    decision = node["decision"]
    if node["outbox_head"] - node["outbox_tail"] >= node["outbox"].shape[0] - CANCEL_RESERVE:
        return False
    slot = take_slot(decision)
    if slot < 0:
        return False
    request = node["request"]
    request["instrument"] = instrument
    request["side"] = side
    request["type"] = codes.LIMIT if price > 0 else codes.MARKET
    request["flags"] = codes.IOC
    if decision["instruments"][instrument]["rule"]["contract"] != SPOT:
        request["flags"] = codes.IOC | codes.REDUCE_ONLY
    request["price"] = price
    request["qty"] = qty
    request["trigger_price"] = 0
    request["expire_ns"] = 0
    request["order_id"] = 0
    hash_decision(node, codes.ALLOW)
    node["measured"]["decisions"] += 1
    enter_order(node, slot, strategy, account)
    publish_new(node, decision["orders"][slot])
    return True
