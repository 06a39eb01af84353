"""The risk gate: every new order and every amend passes here, at the call, before anything is reserved. Cancels never do.

All checks run and each finding is kept as a bit of request["findings"]; the worst is the verdict: ALLOW < WARN < a REJECT code (the first
found) < REJECT_REDUCING < REJECT_HALTED. request["limit"] and ["value"] say what the worst one measured. Every limit is written "accept
only if within"; an arithmetic overflow is a refusal. A request that makes no sense in itself (side, type, quantity not positive) is
judged by states and allowlist only: the other limits have nothing to measure.

The gate changes nothing but the request, and two caches that no verdict depends on; `gate_passed` books what an accepted order used up.
docs/risk.md states each limit's meaning. Checks are few and long, and the desk calls the gate by its address: Numba compiles each
function's callees anew, so a tree of small ones would take three times as long to compile.
"""

from typing import Any

from twinloop.kernels import codes
from twinloop.kernels.book import BOOK_CROSSED, BOOK_EMPTY, BOOK_LIVE
from twinloop.kernels.exposure import (
    NO_RATE,
    PRICE_MAX,
    base_on_sale,
    costlier_price,
    touch_mid2,
    value_in_account,
    worst_case,
    worst_totals,
)
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import INNER, njit
from twinloop.kernels.money import (
    DOWN,
    INVERSE,
    MONEY_MAX,
    MONEY_UNIT,
    OK,
    checked_add,
    checked_mul,
    checked_sub,
    mul_div,
    notional,
)
from twinloop.kernels.node import NEVER, RECENT_ORDERS
from twinloop.kernels.risk_state import MESSAGE, spend_message, tokens_now
from twinloop.kernels.shares import product_within
from twinloop.kernels.slippage import estimate_slippage


@njit(**INNER)
def gate(node: Any) -> None:
    """Judge node["request"] of node["current_strategy"]: the verdict is left in its `result`.

    order_id 0: a new order. Else an amend of that order, which exists and works, to the request's price and total quantity; the rest of
    the request is completed from the order.
    """
    decision = node["decision"]
    request = node["request"]
    strategy = int(node["current_strategy"])
    filled = 0
    added = int(request["qty"])
    if request["order_id"] != 0:
        order = decision["orders"][request["order_id"] & (decision["orders"].shape[0] - 1)]
        request["instrument"] = order["instrument"]
        request["side"] = order["side"]
        request["type"] = order["type"]
        request["flags"] = order["flags"]
        request["trigger_price"] = order["trigger_price"]
        request["expire_ns"] = order["expire_ns"]
        filled = int(order["filled"])
        added = max(int(request["qty"]) - filled - int(order["reserved"]), 0) if request["qty"] > filled else 0
    request["findings"] = 0
    request["rule"] = 0
    request["slippage"] = 0
    request["gross"] = 0
    instrument = int(request["instrument"])
    market = decision["instruments"][instrument]
    limits = decision["instrument_limits"][instrument]
    account = int(decision["strategies"][strategy]["account"])
    bounds = decision["account_limits"][account]
    side = 1 if request["side"] > 0 else -1
    form = _form(request, filled)
    worst = _check_state(decision, request, strategy, account, side, added if form == codes.ALLOW else 0)
    if form != codes.ALLOW:
        request["result"] = found(request, worst, form, filled + 1, int(request["qty"]))
        return
    worst = _check_order(decision, request, market, strategy, account, worst)
    max_age_ns = int(limits["max_data_age_ns"])
    price2, seen_ns = _reference2(decision, market, max_age_ns)
    if not (price2 > 0 and int(decision["clock"]["now_ns"]) - seen_ns <= max_age_ns):
        worst = found(
            request,
            worst,
            -price2 if price2 < 0 else codes.REJECT_STALE,
            max_age_ns,
            int(decision["clock"]["now_ns"]) - seen_ns,
        )
        price2 = 0
    if price2 > 0:
        worst = _check_prices(decision, request, market, account, price2, worst)
        if limits["max_slippage_e8"] != NEVER or bounds["max_slippage_day"] != NEVER:
            worst = _check_slippage(decision, request, market, account, price2, filled, worst)
    if added > 0:
        if side < 0 and limits["covered"] != 0:
            worst = _check_covered(decision, request, account, added, worst)
        worst = _check_position(decision, request, market, strategy, price2, added, worst)
        if bounds["max_gross"] != NEVER or bounds["max_net"] != NEVER or bounds["initial_margin_e8"] != 0:
            worst = _check_totals(decision, request, account, side, added, worst)
    if bounds["self_match"] != 0:
        exposure = decision["account_holdings"][account][instrument]["exposure"]
        if (exposure["sell_qty"] if side > 0 else exposure["buy_qty"]) > 0:
            worst = _check_self_match(decision, request, account, side, worst)
    request["result"] = worst


@njit(**INNER)
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
    more = request["slippage"] - order["slippage_reserved"]
    if more > 0:
        state["slippage_reserved"] += more
        order["slippage_reserved"] = request["slippage"]
    if request["order_id"] == 0:
        memory = decision["strategies"][strategy]
        recent = memory["recent"][memory["recent_at"] & (RECENT_ORDERS - 1)]
        memory["recent_at"] += 1
        recent["ns"] = decision["clock"]["now_ns"]
        recent["price"] = request["price"]
        recent["trigger_price"] = request["trigger_price"]
        recent["qty"] = request["qty"]
        recent["key"] = same_key(request)
    if can_rest(order):
        exposure = decision["account_holdings"][order["account"]][order["instrument"]]["exposure"]
        if order["side"] > 0:
            exposure["buy_top"] = max(exposure["buy_top"], request["price"])
        elif exposure["sell_low"] == 0 or request["price"] < exposure["sell_low"]:
            exposure["sell_low"] = request["price"]


@njit(**INNER)
def found(request: Any, worst: int, code: int, limit: int, value: int) -> int:
    """Note a finding: the worse of it and the worst so far."""
    out_of_line()
    request["findings"] |= 1 << code
    # A code is worse than another of its kind never, so that the first stays; kinds by rank.
    rank = 4 if code == codes.REJECT_HALTED else (3 if code == codes.REJECT_REDUCING else min(code, 2))
    held = 4 if worst == codes.REJECT_HALTED else (3 if worst == codes.REJECT_REDUCING else min(worst, 2))
    if rank <= held:
        return worst
    request["limit"] = limit
    request["value"] = value
    return code


@njit(**INNER)
def same_key(request: Any) -> int:
    """What makes two orders the same besides prices and quantity: instrument, type, side."""
    return (int(request["instrument"]) * 4 + int(request["type"])) * 2 + (1 if request["side"] > 0 else 0)


@njit(**INNER)
def can_rest(order: Any) -> bool:
    """Whether an order may stand in the venue's book: a limit order that is neither IOC nor FOK. A stop does not, until it wakes."""
    in_force = int(order["flags"]) & codes.TIME_IN_FORCE_MASK
    return order["type"] == codes.LIMIT and in_force != codes.IOC and in_force != codes.FOK


# Checks, in the order in which they run. Each returns the worst verdict so far.


@njit(**INNER)
def _form(request: Any, filled: int) -> int:
    """Whether the request means anything: a quantity left, a side, a known type, the prices it needs and no other, instructions that fit."""
    side = request["side"]
    kind = request["type"]
    flags = int(request["flags"])
    in_force = flags & codes.TIME_IN_FORCE_MASK
    price = int(request["price"])
    trigger = int(request["trigger_price"])
    limited = kind == codes.LIMIT or kind == codes.STOP_LIMIT
    triggered = kind == codes.STOP or kind == codes.STOP_LIMIT
    if not request["qty"] > filled:
        return codes.REJECT_QTY
    if not (price < PRICE_MAX and trigger < PRICE_MAX):
        return codes.REJECT_OVERFLOW
    fits = (
        (side == 1 or side == -1)
        and (limited or triggered or kind == codes.MARKET)
        and (price > 0 if limited else price == 0)
        and (trigger > 0 if triggered else trigger == 0)
        and flags & ~(codes.TIME_IN_FORCE_MASK | codes.POST_ONLY | codes.REDUCE_ONLY) == 0
        and in_force <= codes.GTD
        and (in_force != codes.GTD or request["expire_ns"] > 0)
        and (flags & codes.POST_ONLY == 0 or (limited and in_force != codes.IOC and in_force != codes.FOK))
    )
    return codes.ALLOW if fits else codes.REJECT_TYPE


@njit(**INNER)
def _check_state(decision: Any, request: Any, strategy: int, account: int, side: int, added: int) -> int:
    """States of account and strategy, the loss limits, the allowlist.

    HALTED refuses. REDUCING lets pass what can only bring the position nearer to zero, with all that works on that side filled: of the
    account, of the strategy, or of both, as the state is the one's or the other's.
    """
    worst = codes.ALLOW
    instrument = int(request["instrument"])
    state = decision["accounts"][account]
    bounds = decision["account_limits"][account]
    trading = int(state["state"])
    own = int(decision["strategies"][strategy]["state"])
    if max(trading, own) >= codes.HALTED:
        worst = found(request, worst, codes.REJECT_HALTED, codes.ACTIVE, int(state["halt_code"]))
    elif trading != codes.ACTIVE or own != codes.ACTIVE:
        beyond, status = worst_case(decision["account_holdings"][account][instrument], side, added)
        if trading == codes.ACTIVE:
            beyond = -1
        own_beyond, own_status = worst_case(decision["strategy_holdings"][strategy][instrument], side, added)
        if own != codes.ACTIVE:
            beyond = max(beyond, own_beyond)
        if not ((status | own_status) == OK and beyond <= 0):
            worst = found(request, worst, codes.REJECT_REDUCING, 0, beyond)
    else:
        equity = int(state["equity"])
        limit = int(bounds["max_daily_loss"])
        loss, far = checked_sub(int(state["day_equity"]), equity)
        if not equity >= state["equity_floor"]:
            if far == OK and loss <= limit:
                fall, far = checked_sub(int(state["floor_peak"]), equity)
                worst = found(request, worst, codes.REJECT_DRAWDOWN, int(bounds["max_drawdown"]), fall)
            else:
                worst = found(request, worst, codes.REJECT_DAILY_LOSS, limit, loss)
        elif loss > limit - limit // 5:
            worst = found(request, worst, codes.WARN, limit, loss)
            request["rule"] = codes.REJECT_DAILY_LOSS
    if (decision["instrument_limits"][instrument]["allowed"] >> strategy) & 1 == 0:
        worst = found(request, worst, codes.REJECT_INSTRUMENT, 0, instrument)
    return worst


@njit(**INNER, error_model="numpy")
def _check_order(decision: Any, request: Any, market: Any, strategy: int, account: int, worst: int) -> int:
    """The venue's grid and sizes, the largest quantity, the message bucket, equal orders."""
    qty = int(request["qty"])
    price = int(request["price"])
    trigger = int(request["trigger_price"])
    tick = int(market["tick_size"])
    lot = int(market["lot_size"])
    if tick > 1 and (price % tick != 0 or trigger % tick != 0):
        worst = found(request, worst, codes.REJECT_OFF_GRID, tick, price if price % tick != 0 else trigger)
    if lot > 1 and qty % lot != 0:
        worst = found(request, worst, codes.REJECT_OFF_GRID, lot, qty)
    if not market["min_qty"] <= qty:
        worst = found(request, worst, codes.REJECT_QTY, int(market["min_qty"]), qty)
    if not qty <= market["max_qty"]:
        worst = found(request, worst, codes.REJECT_QTY, int(market["max_qty"]), qty)
    most = int(decision["instrument_limits"][int(request["instrument"])]["max_order_qty"])
    if not qty <= most:
        worst = found(request, worst, codes.REJECT_MAX_ORDER_QTY, most, qty)
    bounds = decision["account_limits"][account]
    memory = decision["strategies"][strategy]
    now_ns = int(decision["clock"]["now_ns"])
    tokens = tokens_now(bounds, memory, now_ns)
    if not tokens >= MESSAGE:
        worst = found(request, worst, codes.REJECT_THROTTLE, int(bounds["messages_per_s"]), tokens)
    if bounds["duplicate_max"] <= RECENT_ORDERS and request["order_id"] == 0:
        key = same_key(request)
        since_ns = now_ns - min(int(bounds["duplicate_window_ns"]), now_ns)
        at = int(memory["recent_at"])
        same = 1
        for i in range(min(at, RECENT_ORDERS)):
            recent = memory["recent"][(at - 1 - i) & (RECENT_ORDERS - 1)]
            if recent["ns"] < since_ns:
                break
            alike = recent["price"] == price and recent["trigger_price"] == trigger and recent["qty"] == qty
            if recent["key"] == key and alike:
                same += 1
        if not same <= bounds["duplicate_max"]:
            worst = found(request, worst, codes.REJECT_DUPLICATE, int(bounds["duplicate_max"]), same)
    return worst


@njit(**INNER)
def _reference2(decision: Any, market: Any, max_age_ns: int) -> tuple[int, int]:
    """(Twice the reference price, when it was seen): mid, else last trade, else mark; minus a verdict where there is none.

    A feed that says it is stale, and a book with a gap, never give one. With max_data_age off, an empty or crossed book leaves the word
    to the last trade.
    """
    if market["book"] >= 0:
        state = decision["books"][market["book"]]["state"]
        if state != BOOK_LIVE and (max_age_ns != NEVER or (state != BOOK_EMPTY and state != BOOK_CROSSED)):
            return -codes.REJECT_STALE, int(market["quote_ns"])
    if market["stale"] != 0:
        return -codes.REJECT_STALE, int(market["quote_ns"])
    mid2 = touch_mid2(market)
    if mid2 > 0:
        return mid2, int(market["quote_ns"])
    price = int(market["last_price"])
    if 0 < price < PRICE_MAX:
        return 2 * price, int(market["trade_ns"])
    price = int(market["mark_price"])
    if 0 < price < PRICE_MAX:
        return 2 * price, int(market["mark_ns"])
    return -codes.REJECT_NO_REFERENCE, int(market["mark_ns"])


@njit(**INNER)
def _check_prices(decision: Any, request: Any, market: Any, account: int, price2: int, worst: int) -> int:
    """Price collar, spread, smallest and largest value of the order."""
    out_of_line()
    limits = decision["instrument_limits"][int(request["instrument"])]
    collar = int(limits["price_collar_e8"])
    price = int(request["price"])
    trigger = int(request["trigger_price"])
    qty = int(request["qty"])
    if price > 0 and collar != NEVER:
        around2 = (
            price2 if trigger == 0 else 2 * trigger
        )  # When a stop-limit order wakes, the market is at its trigger.
        distance2 = abs(2 * price - around2)
        if not product_within(distance2, MONEY_UNIT, collar, around2):
            worst = found(request, worst, codes.REJECT_PRICE_COLLAR, collar, _share(distance2, MONEY_UNIT, around2))
    if limits["max_spread"] != NEVER or limits["max_spread_e8"] != NEVER:
        mid2 = touch_mid2(market)
        spread = int(market["ask"]) - int(market["bid"]) if mid2 > 0 else -1
        if not (mid2 > 0 and spread <= limits["max_spread"]):
            worst = found(request, worst, codes.REJECT_MAX_SPREAD, int(limits["max_spread"]), spread)
        elif limits["max_spread_e8"] != NEVER and not product_within(
            2 * spread, MONEY_UNIT, int(limits["max_spread_e8"]), mid2
        ):
            worst = found(
                request,
                worst,
                codes.REJECT_MAX_SPREAD,
                int(limits["max_spread_e8"]),
                _share(2 * spread, MONEY_UNIT, mid2),
            )
    if market["min_notional"] > 0:
        least = int(market["min_notional"])
        rule = market["rule"]
        if rule["contract"] == INVERSE:
            divisor, far = checked_mul(int(rule["divisor"]), int(rule["price_unit"]))
            value, status = mul_div(qty, int(rule["multiplier"]), divisor, DOWN)
            status |= far
        else:
            value, status = notional(
                rule, qty, price if price > 0 else (trigger if trigger > 0 else max(price2 >> 1, 1))
            )
        if not (status == OK and value >= least):
            worst = found(
                request, worst, codes.REJECT_MIN_NOTIONAL if status == OK else codes.REJECT_OVERFLOW, least, value
            )
    most = int(limits["max_order_notional"])
    share = int(limits["max_order_e8"])
    if most != NEVER or share != NEVER:
        value, status = value_in_account(decision, market, qty, valuation_price(request, market, price2, collar))
        capital = int(decision["accounts"][account]["day_equity"])
        if status != OK:
            worst = _no_value(request, worst, status)
        elif not value <= most:
            worst = found(request, worst, codes.REJECT_MAX_ORDER_NOTIONAL, most, value)
        elif share != NEVER and not product_within(value, MONEY_UNIT, share, capital):
            worst = found(request, worst, codes.REJECT_MAX_ORDER_NOTIONAL, _share(share, capital, MONEY_UNIT), value)
    return worst


@njit(**INNER)
def _check_covered(decision: Any, request: Any, account: int, added: int, worst: int) -> int:
    """Spot: all that the account has on sale of the base asset, this order with it, against what it holds of that. In the order's scale."""
    out_of_line()
    rule = decision["instruments"][int(request["instrument"])]["rule"]
    base, unit = int(rule["base_currency"]), int(rule["base_unit"])
    on_sale, status = base_on_sale(decision, account, base)
    more, far = checked_mul(added, unit)
    total, further = checked_add(on_sale, more)
    if (status | far | further) != OK:
        return found(request, worst, codes.REJECT_OVERFLOW, 0, added)
    held = int(decision["ledgers"][account][base]["balance"])
    if not total <= held:
        worst = found(request, worst, codes.REJECT_BALANCE, held // unit, (total + unit - 1) // unit)
    return worst


@njit(**INNER)
def _no_value(request: Any, worst: int, status: int) -> int:
    """Something could not be valued: no rate or price, or a number beyond 64 bits."""
    return found(request, worst, codes.REJECT_NO_REFERENCE if status & NO_RATE else codes.REJECT_OVERFLOW, 0, status)


@njit(**INNER)
def valuation_price(request: Any, market: Any, price2: int, collar_e8: int) -> int:
    """The price at which an order is valued: the costliest at which it may fill, as far as limit, reference and collar bound it.

    Linear and spot: a limit buy at its limit; a limit sell at the higher of limit and reference; an order without a limit at the collar's
    upper edge around the reference, or around its trigger if that is higher. Inverse contracts cost more where the price is lower: the
    mirror image.
    """
    price = int(request["price"])
    rule = market["rule"]
    inverse = rule["contract"] == INVERSE
    if price > 0 and (request["side"] > 0) != inverse:
        return price
    if price == 0:
        trigger2 = 2 * int(request["trigger_price"])
        if trigger2 > 0:
            price2 = min(price2, trigger2) if inverse else max(price2, trigger2)
        if collar_e8 != NEVER:
            share, far = checked_add(MONEY_UNIT, max(-collar_e8, -MONEY_UNIT) if inverse else collar_e8)
            edge, status = mul_div(price2, share, 2 * MONEY_UNIT, DOWN)
            return MONEY_MAX if (far | status) != OK else max(edge, 1)
        price = costlier_price(rule, price2)
    near = costlier_price(rule, price2)
    return min(price, near) if inverse else max(price, near)


@njit(**INNER)
def _share(a: int, b: int, divisor: int) -> int:
    """Quotient a * b / divisor for the record of a refusal."""
    out_of_line()
    share, status = mul_div(a, b, max(divisor, 1), DOWN)
    return share if status == OK else MONEY_MAX


@njit(**INNER)
def _check_slippage(
    decision: Any, request: Any, market: Any, account: int, price2: int, filled: int, worst: int
) -> int:
    """What taking the displayed depth would cost against the mid: per order, and in the day's budget. A stop's is not known yet.

    A limit order that rests is not measured: with the day's budget spent, only such orders pass.
    """
    out_of_line()
    most = int(decision["instrument_limits"][int(request["instrument"])]["max_slippage_e8"])
    budget = int(decision["account_limits"][account]["max_slippage_day"])
    state = decision["accounts"][account]
    kind = request["type"]
    if kind == codes.LIMIT or kind == codes.STOP_LIMIT:
        price = int(request["price"])
        touch = int(market["ask"]) if request["side"] > 0 else int(market["bid"])
        takes = touch > 0 and (price >= touch if request["side"] > 0 else price <= touch)
        if kind == codes.STOP_LIMIT or not takes or int(request["flags"]) & codes.POST_ONLY:
            return worst
    cost = 0
    if kind != codes.STOP:
        cost2, base2, cost, status = estimate_slippage(decision, request, market, price2, filled)
        if status != OK:
            return _no_value(request, worst, status)
        if most != NEVER and not product_within(cost2, MONEY_UNIT, most, base2):
            worst = found(request, worst, codes.REJECT_SLIPPAGE, most, _share(cost2, MONEY_UNIT, base2))
    if budget != NEVER:
        request["slippage"] = cost
        under_way, far = checked_add(int(state["slippage_reserved"]), cost)
        total, further = checked_add(int(state["slippage_day"]), under_way)
        if not ((far | further) == OK and total <= budget):
            worst = found(request, worst, codes.REJECT_SLIPPAGE, budget, total)
    return worst


@njit(**INNER)
def _check_position(
    decision: Any, request: Any, market: Any, strategy: int, price2: int, added: int, worst: int
) -> int:
    """Position plus everything working on the order's side, of the account and of the strategy alone: quantity, then value."""
    out_of_line()
    side = 1 if request["side"] > 0 else -1
    instrument = int(request["instrument"])
    limits = decision["instrument_limits"][instrument]
    account = int(decision["strategies"][strategy]["account"])
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
    most = int(limits["max_position_notional"])
    share = int(limits["max_position_e8"])
    if price2 > 0 and (most != NEVER or share != NEVER):
        value, status = value_in_account(decision, market, beyond, costlier_price(market["rule"], price2))
        capital = int(decision["accounts"][account]["day_equity"])
        if status != OK:
            worst = _no_value(request, worst, status)
        elif not value <= most:
            worst = found(request, worst, codes.REJECT_MAX_POSITION, most, value)
        elif share != NEVER and not product_within(value, MONEY_UNIT, share, capital):
            worst = found(request, worst, codes.REJECT_MAX_POSITION, _share(share, capital, MONEY_UNIT), value)
    return worst


@njit(**INNER)
def _check_totals(decision: Any, request: Any, account: int, side: int, added: int, worst: int) -> int:
    """Gross, net and margin over all instruments. Gross and margin do not stop what leaves the instrument's worst case as it is."""
    out_of_line()
    bounds = decision["account_limits"][account]
    instrument = int(request["instrument"])
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
    limit = int(bounds["max_gross"])
    equity = int(decision["accounts"][account]["equity"])
    if not gross <= limit:
        worst = found(request, worst, codes.REJECT_MAX_GROSS, limit, gross)
    elif gross > limit - limit // 5:
        worst = found(request, worst, codes.WARN, limit, gross)
        request["rule"] = codes.REJECT_MAX_GROSS
    if not product_within(gross, int(bounds["initial_margin_e8"]), MONEY_UNIT, equity):
        worst = found(
            request, worst, codes.REJECT_MARGIN, equity, _share(int(bounds["initial_margin_e8"]), gross, MONEY_UNIT)
        )
    return worst


@njit(**INNER)
def _check_self_match(decision: Any, request: Any, account: int, side: int, worst: int) -> int:
    """No resting order of the account, of any strategy, stands where this one would meet it. Stops are left to the venue's own check.

    Our best resting price on the other side is remembered as a bound that may be too near, never too far: only a request that reaches it
    walks the working orders, and makes it exact.
    """
    out_of_line()
    kind = request["type"]
    limit = int(request["price"])
    instrument = int(request["instrument"])
    exposure = decision["account_holdings"][account][instrument]["exposure"]
    if kind == codes.STOP or kind == codes.STOP_LIMIT:
        return worst
    if kind == codes.LIMIT and (limit < exposure["sell_low"] if side > 0 else limit > exposure["buy_top"]):
        return worst
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
            asked = int(order["amend_price"])
            price = min(price, asked) if side > 0 else max(price, asked)
        if best == 0 or (price < best if side > 0 else price > best):
            best = price
    if side > 0:
        exposure["sell_low"] = best if best > 0 else NEVER
    else:
        exposure["buy_top"] = best
    if best > 0 and (limit == 0 or (limit >= best if side > 0 else limit <= best)):
        worst = found(request, worst, codes.REJECT_SELF_MATCH, best, limit)
    return worst
