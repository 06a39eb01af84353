"""The risk gate: every new order and every amend passes here, at the call, before anything is reserved. Cancels never do.

All checks run and each finding is kept as a bit of request["findings"]; the worst is the verdict: ALLOW < WARN < a REJECT code (the first
found) < REJECT_REDUCING < REJECT_HALTED. request["limit"] and ["value"] say what the worst one measured. Every limit is written "accept
only if within"; an arithmetic overflow is a refusal. A request that makes no sense in itself (side, type, quantity not positive) is
judged by states and allowlist only: the other limits have nothing to measure.

The gate changes nothing but the request, and two caches that no verdict depends on; `gate_passed` books what an accepted order used up. docs/risk.md states each limit's meaning.
"""

from typing import Any

from twinloop.kernels import codes
from twinloop.kernels.book import BOOK_CROSSED, BOOK_EMPTY, BOOK_LIVE
from twinloop.kernels.exposure import (
    NO_RATE,
    PRICE_MAX,
    costlier_price,
    touch_mid2,
    value_in_account,
    worst_case,
    worst_totals,
)
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.money import (
    DOWN,
    FLOOR,
    INVERSE,
    MONEY_MAX,
    MONEY_UNIT,
    OK,
    checked_add,
    checked_mul,
    mul_div,
    notional,
)
from twinloop.kernels.node import NEVER, RECENT_ORDERS
from twinloop.kernels.risk_state import MESSAGE, floor_below, spend_message, tokens_now
from twinloop.kernels.shares import product_within
from twinloop.kernels.slippage import crosses_touch, estimate_slippage


@njit(cache=True)
def gate_new(node: Any, strategy: int) -> int:
    """Verdict on node["request"]."""
    out_of_line()
    node["request"]["order_id"] = 0
    return _judge(node, strategy, 0, int(node["request"]["qty"]))


@njit(cache=True)
def gate_amend(node: Any, strategy: int, slot: int) -> int:
    """Verdict on giving the order in a slot node["request"]'s price and total quantity. Completes the request from the order."""
    out_of_line()
    request = node["request"]
    order = node["decision"]["orders"][slot]
    request["instrument"] = order["instrument"]
    request["side"] = order["side"]
    request["type"] = order["type"]
    request["flags"] = order["flags"]
    request["trigger_price"] = order["trigger_price"]
    request["expire_ns"] = order["expire_ns"]
    request["order_id"] = order["id"]
    filled = int(order["filled"])
    wanted = int(request["qty"]) - filled if request["qty"] > 0 else 0
    return _judge(node, strategy, filled, max(wanted - int(order["reserved"]), 0))


@njit(cache=True)
def gate_passed(node: Any, strategy: int, slot: int) -> None:
    """Book what an accepted new order or amend used up: a message, the duplicate memory, estimated slippage, our own best prices."""
    out_of_line()
    decision = node["decision"]
    request = node["request"]
    order = decision["orders"][slot]
    spend_message(decision, strategy)
    state = decision["accounts"][order["account"]]
    if request["gross"] > 0:
        state["gross"] = request["gross"]
    state["slippage_reserved"] += max(request["slippage"] - order["slippage_reserved"], 0)
    order["slippage_reserved"] = max(request["slippage"], order["slippage_reserved"])
    if request["order_id"] == 0:
        memory = decision["strategies"][strategy]
        recent = memory["recent"][memory["recent_at"] & (RECENT_ORDERS - 1)]
        memory["recent_at"] += 1
        recent["ns"] = decision["clock"]["now_ns"]
        recent["price"] = request["price"] + request["trigger_price"]
        recent["qty"] = request["qty"]
        recent["key"] = _key(request)
    if can_rest(order):
        exposure = decision["account_holdings"][order["account"]][order["instrument"]]["exposure"]
        if order["side"] > 0:
            exposure["buy_top"] = max(exposure["buy_top"], request["price"])
        elif exposure["sell_low"] == 0 or request["price"] < exposure["sell_low"]:
            exposure["sell_low"] = request["price"]


@njit(cache=True)
def found(request: Any, worst: int, code: int, limit: int, value: int) -> int:
    """Note a finding: the worse of it and the worst so far."""
    out_of_line()
    request["findings"] |= 1 << code
    if _severity(code) <= _severity(worst):
        return worst
    request["limit"] = limit
    request["value"] = value
    return code


@njit(cache=True)
def _no_value(request: Any, worst: int, status: int) -> int:
    """Something could not be valued: no rate or price, or a number beyond 64 bits."""
    out_of_line()
    return found(request, worst, codes.REJECT_NO_REFERENCE if status & NO_RATE else codes.REJECT_OVERFLOW, 0, status)


@njit(cache=True)
def _severity(code: int) -> int:
    if code <= codes.WARN:
        return code
    if code == codes.REJECT_HALTED:
        return 4
    return 3 if code == codes.REJECT_REDUCING else 2


@njit(cache=True)
def _judge(node: Any, strategy: int, filled: int, added: int) -> int:
    """All checks in order. filled: what an amended order has filled; added: how much its reserve would grow."""
    decision = node["decision"]
    request = node["request"]
    request["findings"] = 0
    request["rule"] = 0
    request["slippage"] = 0
    request["gross"] = 0
    instrument = int(request["instrument"])
    market = decision["instruments"][instrument]
    limits = decision["instrument_limits"][instrument]
    account = int(decision["strategies"][strategy]["account"])
    if not _is_order(request, filled):
        worst = _check_state(decision, request, strategy, account, instrument, 0)
        return _malformed(request, market, worst, filled)
    worst = _check_state(decision, request, strategy, account, instrument, added)
    worst = _check_static(request, market, limits, worst)
    worst = _check_pace(decision, request, strategy, account, worst)
    price2 = _reference2(decision, market, int(limits["max_data_age_ns"]))
    if price2 <= 0:
        worst = found(
            request,
            worst,
            -price2,
            int(limits["max_data_age_ns"]),
            int(decision["clock"]["now_ns"]) - int(market["quote_ns"]),
        )
    else:
        worst = _check_prices(decision, request, market, limits, account, price2, worst)
        if takes_liquidity(request, market):
            worst = _check_slippage(decision, request, market, limits, account, price2, filled, worst)
    if added > 0:
        worst = _check_position(decision, request, market, limits, strategy, account, price2, added, worst)
        worst = _check_totals(decision, request, account, instrument, added, worst)
    if decision["account_limits"][account]["self_match"] != 0:
        worst = _check_self_match(decision, request, account, instrument, worst)
    return worst


# Checks, in the order in which they run. Each returns the worst verdict so far.


@njit(cache=True)
def _is_order(request: Any, filled: int) -> bool:
    """Whether the request has a meaning at all: a side, a known type, a positive quantity left, consistent prices, instructions that go together."""
    side = request["side"]
    kind = request["type"]
    flags = int(request["flags"])
    in_force = flags & codes.TIME_IN_FORCE_MASK
    limited = kind == codes.LIMIT or kind == codes.STOP_LIMIT
    triggered = kind == codes.STOP or kind == codes.STOP_LIMIT
    price = int(request["price"])
    trigger = int(request["trigger_price"])
    return (
        (side == 1 or side == -1)
        and (limited or triggered or kind == codes.MARKET)
        and request["qty"] > filled
        and (0 < price < PRICE_MAX if limited else price == 0)
        and (0 < trigger < PRICE_MAX if triggered else trigger == 0)
        and flags & ~(codes.TIME_IN_FORCE_MASK | codes.POST_ONLY | codes.REDUCE_ONLY) == 0
        and in_force <= codes.GTD
        and (in_force != codes.GTD or request["expire_ns"] > 0)
        and (flags & codes.POST_ONLY == 0 or (limited and in_force != codes.IOC and in_force != codes.FOK))
    )


@njit(cache=True)
def _malformed(request: Any, market: Any, worst: int, filled: int) -> int:
    """Why a request is no order."""
    out_of_line()
    kind = request["type"]
    limited = kind == codes.LIMIT or kind == codes.STOP_LIMIT
    triggered = kind == codes.STOP or kind == codes.STOP_LIMIT
    before = int(request["findings"])
    if request["qty"] <= filled:
        worst = found(request, worst, codes.REJECT_QTY, filled + 1, int(request["qty"]))
    for priced, price in ((limited, int(request["price"])), (triggered, int(request["trigger_price"]))):
        if priced and price <= 0:
            worst = found(request, worst, codes.REJECT_OFF_GRID, int(market["tick_size"]), price)
        elif priced and price >= PRICE_MAX:
            worst = found(request, worst, codes.REJECT_OVERFLOW, PRICE_MAX - 1, price)
    if int(request["findings"]) == before:
        worst = found(request, worst, codes.REJECT_TYPE, 0, int(kind))
    return worst


@njit(cache=True)
def _check_state(decision: Any, request: Any, strategy: int, account: int, instrument: int, added: int) -> int:
    """States of account and strategy, allowlist, losses."""
    worst = codes.ALLOW
    own = decision["strategies"][strategy]
    state = decision["accounts"][account]
    if (state["state"] | own["state"]) != codes.ACTIVE:
        worst = _check_stopped(decision, request, strategy, account, instrument, added)
    elif not (
        floor_below(int(state["day_equity"]), int(decision["account_limits"][account]["max_daily_loss"]))
        <= state["equity"]
        and floor_below(int(state["floor_peak"]), int(decision["account_limits"][account]["max_drawdown"]))
        <= state["equity"]
    ):
        worst = _check_losses(decision, request, account, worst)
    else:
        limit = int(decision["account_limits"][account]["max_daily_loss"])
        if state["equity"] < floor_below(int(state["day_equity"]), limit - limit // 5):
            worst = found(request, worst, codes.WARN, limit, int(state["day_equity"]) - int(state["equity"]))
            request["rule"] = codes.REJECT_DAILY_LOSS
    if (decision["instrument_limits"][instrument]["allowed"] >> strategy) & 1 == 0:
        worst = found(request, worst, codes.REJECT_INSTRUMENT, 0, instrument)
    return worst


@njit(cache=True)
def _check_losses(decision: Any, request: Any, account: int, worst: int) -> int:
    out_of_line()
    limits = decision["account_limits"][account]
    state = decision["accounts"][account]
    equity = int(state["equity"])
    for code, base, limit in (
        (codes.REJECT_DAILY_LOSS, int(state["day_equity"]), int(limits["max_daily_loss"])),
        (codes.REJECT_DRAWDOWN, int(state["floor_peak"]), int(limits["max_drawdown"])),
    ):
        if not floor_below(base, limit) <= equity:
            worst = found(request, worst, code, limit, -floor_below(equity, base))
    return worst


@njit(cache=True)
def _check_stopped(decision: Any, request: Any, strategy: int, account: int, instrument: int, added: int) -> int:
    """HALTED refuses; REDUCING lets pass what can only bring the position nearer to zero, all that works on that side filled."""
    out_of_line()
    own = int(decision["strategies"][strategy]["state"])
    state = int(decision["accounts"][account]["state"])
    worst = codes.ALLOW
    if max(own, state) >= codes.HALTED:
        return found(request, worst, codes.REJECT_HALTED, codes.ACTIVE, int(decision["accounts"][account]["halt_code"]))
    side = 1 if request["side"] > 0 else -1
    if state == codes.REDUCING:
        beyond, status = worst_case(decision["account_holdings"][account][instrument], side, added)
        if not (status == OK and beyond <= 0):
            worst = found(request, worst, codes.REJECT_REDUCING, 0, beyond)
    if own == codes.REDUCING:
        beyond, status = worst_case(decision["strategy_holdings"][strategy][instrument], side, added)
        if not (status == OK and beyond <= 0):
            worst = found(request, worst, codes.REJECT_REDUCING, 0, beyond)
    return worst


@njit(cache=True, error_model="numpy")
def _check_static(request: Any, market: Any, limits: Any, worst: int) -> int:
    """The venue's grid and sizes, and the largest order quantity."""
    qty = int(request["qty"])
    price = int(request["price"])
    trigger = int(request["trigger_price"])
    tick = max(int(market["tick_size"]), 1)
    lot = max(int(market["lot_size"]), 1)
    if (price | trigger) != 0 and (price % tick != 0 or trigger % tick != 0):
        worst = found(request, worst, codes.REJECT_OFF_GRID, tick, price if price % tick != 0 else trigger)
    if qty % lot != 0:
        worst = found(request, worst, codes.REJECT_OFF_GRID, lot, qty)
    if not market["min_qty"] <= qty:
        worst = found(request, worst, codes.REJECT_QTY, int(market["min_qty"]), qty)
    if not qty <= market["max_qty"]:
        worst = found(request, worst, codes.REJECT_QTY, int(market["max_qty"]), qty)
    if not qty <= limits["max_order_qty"]:
        worst = found(request, worst, codes.REJECT_MAX_ORDER_QTY, int(limits["max_order_qty"]), qty)
    return worst


@njit(cache=True)
def _check_pace(decision: Any, request: Any, strategy: int, account: int, worst: int) -> int:
    """The message bucket holds a message; the order is not one too many of the same."""
    limits = decision["account_limits"][account]
    memory = decision["strategies"][strategy]
    now_ns = int(decision["clock"]["now_ns"])
    if not tokens_now(limits, memory, now_ns) >= MESSAGE:
        worst = found(
            request,
            worst,
            codes.REJECT_THROTTLE,
            int(limits["messages_per_s"]),
            tokens_now(limits, memory, now_ns) // MESSAGE,
        )
    if limits["duplicate_max"] <= RECENT_ORDERS and request["order_id"] == 0:
        key = _key(request)
        prices = int(request["price"]) + int(request["trigger_price"])
        since_ns = now_ns - min(int(limits["duplicate_window_ns"]), now_ns)
        at = int(memory["recent_at"])
        same = 1
        for i in range(min(at, RECENT_ORDERS)):
            recent = memory["recent"][(at - 1 - i) & (RECENT_ORDERS - 1)]
            if recent["ns"] < since_ns:
                break
            if recent["key"] == key and recent["price"] == prices and recent["qty"] == request["qty"]:
                same += 1
        if not same <= limits["duplicate_max"]:
            worst = found(request, worst, codes.REJECT_DUPLICATE, int(limits["duplicate_max"]), same)
    return worst


@njit(cache=True)
def _key(request: Any) -> int:
    """What makes two orders the same besides prices and quantity: instrument, type, side."""
    side = 1 if request["side"] > 0 else 0
    return (int(request["instrument"]) * 4 + int(request["type"])) * 2 + side


@njit(cache=True)
def _reference2(decision: Any, market: Any, max_age_ns: int) -> int:
    """Twice the reference price: mid, else last trade, else mark; or minus the verdict where none is there, or it is too old.

    A feed that says it is stale, and a book with a gap, never give one. With max_data_age off, an empty or crossed book leaves the word
    to the last trade.
    """
    if market["stale"] != 0:
        return -codes.REJECT_STALE
    if market["book"] >= 0:
        state = decision["books"][market["book"]]["state"]
        if state != BOOK_LIVE and (max_age_ns != NEVER or (state != BOOK_EMPTY and state != BOOK_CROSSED)):
            return -codes.REJECT_STALE
    price2 = touch_mid2(market)
    seen_ns = int(market["quote_ns"])
    if price2 == 0:
        price = int(market["last_price"])
        seen_ns = int(market["trade_ns"])
        if not 0 < price < PRICE_MAX:
            price = int(market["mark_price"])
            seen_ns = int(market["mark_ns"])
        if not 0 < price < PRICE_MAX:
            return -codes.REJECT_NO_REFERENCE
        price2 = 2 * price
    if not int(decision["clock"]["now_ns"]) - seen_ns <= max_age_ns:
        return -codes.REJECT_STALE
    return price2


@njit(cache=True)
def _check_prices(decision: Any, request: Any, market: Any, limits: Any, account: int, price2: int, worst: int) -> int:
    """Price collar, spread, smallest and largest value of the order."""
    out_of_line()
    kind = request["type"]
    collar = int(limits["price_collar_e8"])
    if kind == codes.LIMIT or kind == codes.STOP_LIMIT:
        # When a stop-limit order wakes, the market is at its trigger.
        around2 = price2 if kind == codes.LIMIT else 2 * int(request["trigger_price"])
        distance2 = abs(2 * int(request["price"]) - around2)
        if collar != NEVER and not product_within(distance2, MONEY_UNIT, collar, around2):
            worst = found(request, worst, codes.REJECT_PRICE_COLLAR, collar, _share_e8(distance2, around2))
    if limits["max_spread"] != NEVER or limits["max_spread_e8"] != NEVER:
        mid2 = touch_mid2(market)
        spread = int(market["ask"]) - int(market["bid"]) if mid2 > 0 else -1
        if not (mid2 > 0 and spread <= limits["max_spread"]):
            worst = found(request, worst, codes.REJECT_MAX_SPREAD, int(limits["max_spread"]), spread)
        elif limits["max_spread_e8"] != NEVER and not product_within(
            2 * spread, MONEY_UNIT, int(limits["max_spread_e8"]), mid2
        ):
            worst = found(
                request, worst, codes.REJECT_MAX_SPREAD, int(limits["max_spread_e8"]), _share_e8(2 * spread, mid2)
            )
    qty = int(request["qty"])
    value, status = value_in_account(decision, market, qty, valuation_price(request, market, price2, collar))
    if status != OK:
        return _no_value(request, worst, status)
    if not value <= limits["max_order_notional"]:
        worst = found(request, worst, codes.REJECT_MAX_ORDER_NOTIONAL, int(limits["max_order_notional"]), value)
    elif limits["max_order_e8"] != NEVER:
        capital = int(decision["accounts"][account]["day_equity"])
        if not product_within(value, MONEY_UNIT, int(limits["max_order_e8"]), capital):
            worst = found(
                request, worst, codes.REJECT_MAX_ORDER_NOTIONAL, _part(int(limits["max_order_e8"]), capital), value
            )
    if market["min_notional"] > 0:
        worst = _check_min_notional(request, market, price2, worst)
    return worst


@njit(cache=True)
def _check_min_notional(request: Any, market: Any, price2: int, worst: int) -> int:
    """The venue's smallest order value, quote currency, at the order's own price; without one at its trigger, or the reference."""
    rule = market["rule"]
    price = int(request["price"])
    if price == 0:
        price = int(request["trigger_price"]) if request["trigger_price"] > 0 else max(price2 >> 1, 1)
    qty = int(request["qty"])
    if rule["contract"] == INVERSE:
        divisor, far = checked_mul(int(rule["divisor"]), int(rule["price_unit"]))
        value, status = mul_div(qty, int(rule["multiplier"]), divisor, DOWN)
        status |= far
    else:
        value, status = notional(rule, qty, price)
    if status != OK:
        return _no_value(request, worst, status)
    if not market["min_notional"] <= value:
        worst = found(request, worst, codes.REJECT_MIN_NOTIONAL, int(market["min_notional"]), value)
    return worst


@njit(cache=True)
def valuation_price(request: Any, market: Any, price2: int, collar_e8: int) -> int:
    """The price at which an order is valued: the costliest at which it may fill, as far as limit, reference and collar bound it.

    Linear and spot: a limit buy at its limit; a limit sell at the higher of limit and reference; an order without a limit at the collar's
    upper edge around the reference, or around its trigger if that is higher. Inverse contracts cost more where the price is lower: the
    mirror image.
    """
    side = request["side"]
    price = int(request["price"])
    rule = market["rule"]
    inverse = rule["contract"] == INVERSE
    if price > 0:
        if (side > 0) != inverse:
            return price
        near = costlier_price(rule, price2)
        return min(price, near) if inverse else max(price, near)
    trigger2 = 2 * int(request["trigger_price"])
    if trigger2 > 0:
        price2 = min(price2, trigger2) if inverse else max(price2, trigger2)
    if collar_e8 == NEVER:
        return costlier_price(rule, price2)
    if inverse:
        edge, status = mul_div(price2, max(MONEY_UNIT - collar_e8, 0), 2 * MONEY_UNIT, FLOOR)
        return max(edge, 1)
    share, far = checked_add(MONEY_UNIT, collar_e8)
    edge, status = mul_div(price2, share, 2 * MONEY_UNIT, FLOOR)
    return MONEY_MAX if (far | status) != OK else edge


@njit(cache=True)
def _share_e8(part: int, whole: int) -> int:
    """Part of the whole in 1e-8, for the record of a refusal."""
    out_of_line()
    share, status = mul_div(part, MONEY_UNIT, max(whole, 1), DOWN)
    return share if status == OK else MONEY_MAX


@njit(cache=True)
def _part(share_e8: int, whole: int) -> int:
    """1e-8 shares of the whole as an amount, for the record of a refusal."""
    out_of_line()
    part, status = mul_div(share_e8, whole, MONEY_UNIT, FLOOR)
    return part if status == OK else MONEY_MAX


@njit(cache=True)
def takes_liquidity(request: Any, market: Any) -> bool:
    """Whether the order may take liquidity at once, or (a stop) when it wakes."""
    kind = request["type"]
    if kind == codes.LIMIT:
        return crosses_touch(request, market)
    return kind == codes.MARKET or kind == codes.STOP


@njit(cache=True)
def _check_slippage(
    decision: Any, request: Any, market: Any, limits: Any, account: int, price2: int, filled: int, worst: int
) -> int:
    """What taking the displayed depth would cost against the mid: per order, and in the day's budget. A stop's is not known yet."""
    out_of_line()
    bounds = decision["account_limits"][account]
    if limits["max_slippage_e8"] == NEVER and bounds["max_slippage_day"] == NEVER:
        return worst
    state = decision["accounts"][account]
    cost = 0
    if request["type"] != codes.STOP:
        cost2, base2, money, status = estimate_slippage(
            decision, request, market, int(limits["price_collar_e8"]), price2, filled
        )
        if status != OK:
            return _no_value(request, worst, status)
        if limits["max_slippage_e8"] != NEVER and not product_within(
            cost2, MONEY_UNIT, int(limits["max_slippage_e8"]), base2
        ):
            worst = found(
                request, worst, codes.REJECT_SLIPPAGE, int(limits["max_slippage_e8"]), _share_e8(cost2, base2)
            )
        cost = money
    if bounds["max_slippage_day"] != NEVER:
        request["slippage"] = cost
        under_way, far = checked_add(int(state["slippage_reserved"]), cost)
        total, further = checked_add(int(state["slippage_day"]), under_way)
        if not ((far | further) == OK and total <= bounds["max_slippage_day"]):
            worst = found(request, worst, codes.REJECT_SLIPPAGE, int(bounds["max_slippage_day"]), total)
    return worst


@njit(cache=True)
def _check_position(
    decision: Any,
    request: Any,
    market: Any,
    limits: Any,
    strategy: int,
    account: int,
    price2: int,
    added: int,
    worst: int,
) -> int:
    """Position plus everything working on the order's side, of the account and of the strategy alone: quantity, then value."""
    out_of_line()
    side = 1 if request["side"] > 0 else -1
    instrument = int(request["instrument"])
    beyond, status = worst_case(decision["account_holdings"][account][instrument], side, added)
    own, own_status = worst_case(decision["strategy_holdings"][strategy][instrument], side, added)
    if (status | own_status) != OK:
        return _no_value(request, worst, status | own_status)
    beyond = max(beyond, own)
    if beyond <= 0:
        return worst  # The side only closes.
    limit = int(limits["max_position_long"]) if side > 0 else int(limits["max_position_short"])
    if not beyond <= limit:
        worst = found(request, worst, codes.REJECT_MAX_POSITION, limit, beyond)
    if price2 > 0 and (limits["max_position_notional"] != NEVER or limits["max_position_e8"] != NEVER):
        value, status = value_in_account(decision, market, beyond, costlier_price(market["rule"], price2))
        if status != OK:
            return _no_value(request, worst, status)
        if not value <= limits["max_position_notional"]:
            worst = found(request, worst, codes.REJECT_MAX_POSITION, int(limits["max_position_notional"]), value)
        capital = int(decision["accounts"][account]["day_equity"])
        if limits["max_position_e8"] != NEVER and not product_within(
            value, MONEY_UNIT, int(limits["max_position_e8"]), capital
        ):
            worst = found(
                request, worst, codes.REJECT_MAX_POSITION, _part(int(limits["max_position_e8"]), capital), value
            )
    return worst


@njit(cache=True)
def _check_totals(decision: Any, request: Any, account: int, instrument: int, added: int, worst: int) -> int:
    """Gross, net and margin over all instruments. Gross and margin do not stop what leaves the instrument's worst case as it is."""
    bounds = decision["account_limits"][account]
    if bounds["max_gross"] == NEVER and bounds["max_net"] == NEVER and bounds["initial_margin_e8"] == 0:
        return worst
    return _check_totals_set(decision, request, account, instrument, added, worst)


@njit(cache=True)
def _check_totals_set(decision: Any, request: Any, account: int, instrument: int, added: int, worst: int) -> int:
    out_of_line()
    bounds = decision["account_limits"][account]
    state = decision["accounts"][account]
    side = 1 if request["side"] > 0 else -1
    gross, net, status = worst_totals(decision, account, instrument, side, added)
    if status != OK:
        return _no_value(request, worst, status)
    if not net <= bounds["max_net"]:
        worst = found(request, worst, codes.REJECT_MAX_NET, int(bounds["max_net"]), net)
    holding = decision["account_holdings"][account][instrument]
    after, _ = worst_case(holding, side, added)
    other, _ = worst_case(holding, -side, 0)
    if after <= other:
        return worst
    request["gross"] = gross
    if not gross <= bounds["max_gross"]:
        worst = found(request, worst, codes.REJECT_MAX_GROSS, int(bounds["max_gross"]), gross)
    elif gross > bounds["max_gross"] - bounds["max_gross"] // 5:
        worst = found(request, worst, codes.WARN, int(bounds["max_gross"]), gross)
        request["rule"] = codes.REJECT_MAX_GROSS
    if not product_within(gross, int(bounds["initial_margin_e8"]), MONEY_UNIT, int(state["equity"])):
        worst = found(
            request, worst, codes.REJECT_MARGIN, int(state["equity"]), _part(int(bounds["initial_margin_e8"]), gross)
        )
    return worst


@njit(cache=True)
def can_rest(order: Any) -> bool:
    """Whether an order may stand in the venue's book: a limit order that is neither IOC nor FOK. A stop does not, until it wakes."""
    in_force = int(order["flags"]) & codes.TIME_IN_FORCE_MASK
    return order["type"] == codes.LIMIT and in_force != codes.IOC and in_force != codes.FOK


@njit(cache=True)
def _check_self_match(decision: Any, request: Any, account: int, instrument: int, worst: int) -> int:
    """No resting order of the account, of any strategy, stands where this one would meet it. Stops are left to the venue's own check."""
    kind = request["type"]
    exposure = decision["account_holdings"][account][instrument]["exposure"]
    price = int(request["price"])
    if kind == codes.STOP or kind == codes.STOP_LIMIT:
        return worst
    if request["side"] > 0:
        if exposure["sell_qty"] == 0 or (kind == codes.LIMIT and price < exposure["sell_low"]):
            return worst
    elif exposure["buy_qty"] == 0 or (kind == codes.LIMIT and price > exposure["buy_top"]):
        return worst
    return _find_own(decision, request, account, instrument, worst)


@njit(cache=True)
def _find_own(decision: Any, request: Any, account: int, instrument: int, worst: int) -> int:
    """Walk the working orders: our best resting price on the other side, kept for next time, and whether the request meets it."""
    out_of_line()
    side = 1 if request["side"] > 0 else -1
    best = 0
    for i in range(decision["open_count"]):
        order = decision["orders"][decision["open_orders"][i]]
        if (
            order["account"] != account
            or order["instrument"] != instrument
            or order["side"] == side
            or not can_rest(order)
        ):
            continue
        price = int(order["price"])
        if order["amends"] > 0:
            price = _nearer(side, price, int(order["amend_price"]))
        best = price if best == 0 else _nearer(side, best, price)
    exposure = decision["account_holdings"][account][instrument]["exposure"]
    if side > 0:
        exposure["sell_low"] = best if best > 0 else NEVER
    else:
        exposure["buy_top"] = best
    limit = int(request["price"])
    if best > 0 and (limit == 0 or (limit >= best if side > 0 else limit <= best)):
        worst = found(request, worst, codes.REJECT_SELF_MATCH, best, limit)
    return worst


@njit(cache=True)
def _nearer(side: int, a: int, b: int) -> int:
    """Of two resting prices, the one that an order of a side meets first."""
    return min(a, b) if side > 0 else max(a, b)
