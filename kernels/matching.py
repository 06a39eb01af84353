"""Matching: what a taker order gets, and what each market row does to our resting orders. In venue time only.

Written in the order a real book works: price priority, then the place in line. A print through our price fills us in full; a print at our
price first consumes the quantity ahead of us; a level or touch of the other side that reaches our price fills us up to its quantity.
"""

from typing import Any

import numpy as np

from twinloop.kernels import codes, rows
from twinloop.kernels.book import ASK, BID, NO_PRICE, book_apply, book_set, next_level, qty_at
from twinloop.kernels.following import level_spoken, level_taken
from twinloop.kernels.intrinsics import book_at, out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.no_partial_fill import newest_depth_row
from twinloop.kernels.node import NEVER
from twinloop.kernels.queue import queue_displayed, queue_traded
from twinloop.kernels.venue import (
    BARS,
    DEPTH,
    NEWEST_DEPTH,
    NO_PARTIAL_FILL_MODE,
    PRINTS,
    TOUCH,
    UNLIMITED,
    answer,
    closable,
    concerns_level,
    concerns_trade,
    fill,
    remove_resting,
    trigger_rests,
)

UNREACHED = (
    1e18  # Nothing is known of the line at this price: only a print through it, or the touch arriving there, fills.
)


@njit(cache=True)
def touch(venue: Any, market: Any, side: int) -> tuple[int, int]:
    """Best price and quantity that an order of a side would take, quantity 0 if there is none."""
    if market["mode"] == DEPTH:
        book = book_at(venue, market["book_at"])
        if side > 0:
            return book["best_ask"], book["best_ask_qty"]
        return book["best_bid"], book["best_bid_qty"]
    if market["mode"] == PRINTS:
        return market["last_price"], UNLIMITED if market["last_price"] > 0 else 0
    if side > 0:
        return market["ask"], market["ask_qty"]
    return market["bid"], market["bid_qty"]


@njit(cache=True)
def crosses(side: int, price: int, other: int, other_qty: int) -> bool:
    """Whether a limit price reaches the other side's best."""
    if other_qty <= 0:
        return False
    return price >= other if side > 0 else price <= other


@njit(cache=True)
def available(venue: Any, market: Any, side: int, limit: int, limited: bool, want: int) -> int:
    """Quantity a taker could get down to its limit, up to want."""
    out_of_line()
    price, qty = touch(venue, market, side)
    if qty == 0 or (limited and not crosses(side, limit, price, qty)):
        return 0
    if market["mode"] != DEPTH:
        return min(qty, want)
    book = book_at(venue, market["book_at"])
    opposite = ASK if side > 0 else BID
    total = 0
    while price != NO_PRICE and total < want and (not limited or crosses(side, limit, price, 1)):
        total += qty_at(book, opposite, price)
        price = next_level(book, opposite, price)
    return min(total, want)


@njit(cache=True)
def fillable(market: Any, order: Any) -> int:
    """What is left of an order, or of a reduce-only order what it could close now."""
    if int(order["flags"]) & codes.REDUCE_ONLY:
        return min(int(order["leaves"]), closable(market, order))
    return int(order["leaves"])


@njit(cache=True)
def take(venue: Any, order: Any, limited: bool, now_ns: int, cause: int) -> None:
    """Fill a taker order level by level, best first, within its limit; what is not there stays in its leaves."""
    out_of_line()
    market = venue["instruments"][order["instrument"]]
    side = order["side"]
    price, qty = touch(venue, market, side)
    if qty == 0:
        return
    if venue["mode"] == NO_PARTIAL_FILL_MODE:
        if not limited or crosses(side, order["price"], price, qty):
            fill(venue, order, price, order["leaves"], now_ns, False, cause)
        return
    if market["mode"] != DEPTH:
        if not limited or crosses(side, order["price"], price, qty):
            got = fill(venue, order, price, min(qty, order["leaves"]), now_ns, False, cause)
            if venue["deplete"] == 1 and market["mode"] == TOUCH:
                level_taken(venue, order["instrument"], BID if side < 0 else ASK, 0)
                if side > 0:
                    market["ask_qty"] -= got
                else:
                    market["bid_qty"] -= got
        return
    book = book_at(venue, market["book_at"])
    opposite = ASK if side > 0 else BID
    while price != NO_PRICE and order["leaves"] > 0 and (not limited or crosses(side, order["price"], price, 1)):
        level = qty_at(book, opposite, price)
        got = min(level, order["leaves"])
        following = next_level(book, opposite, price)
        if got > 0:
            got = fill(venue, order, price, got, now_ns, False, cause)
            if venue["deplete"] == 1:
                book_set(book, opposite, price, level - got)
                level_taken(venue, order["instrument"], opposite, price)
        price = following


@njit(cache=True)
def line_ahead(venue: Any, market: Any, side: int, price: int) -> float:
    """Displayed quantity an order joining a side at a price stands behind."""
    if market["mode"] == DEPTH or market["mode"] == NEWEST_DEPTH:
        return float(qty_at(book_at(venue, market["book_at"]), BID if side > 0 else ASK, price))
    if market["mode"] == TOUCH:
        best = market["bid"] if side > 0 else market["ask"]
        best_qty = market["bid_qty"] if side > 0 else market["ask_qty"]
        if price == best:
            return float(best_qty)
        better = price > best if side > 0 else price < best
        return 0.0 if better and best_qty > 0 else UNREACHED
    return UNREACHED


@njit(cache=True)
def _fill_resting(venue: Any, slot: int, price: int, qty: int, now_ns: int, cause: int) -> int:
    """Fill a resting order: how much of qty it got, less than qty only if it may only reduce."""
    out_of_line()
    order = venue["orders"][slot]
    got = fill(venue, order, price, qty, now_ns, True, cause)
    if order["leaves"] == 0:
        remove_resting(venue, slot)
    return got


@njit(cache=True)
def end_order(venue: Any, slot: int, now_ns: int, code: int) -> None:
    """The venue ends a working order itself."""
    remove_resting(venue, slot)
    order = venue["orders"][slot]
    answer(venue, rows.EXPIRED, order, now_ns, order["leaves"], code)


@njit(cache=True)
def trigger(venue: Any, slot: int, now_ns: int, cause: int) -> None:
    """A waiting stop is reached: it takes liquidity at once; a stop-limit's rest joins the line, a stop's rest expires.

    From here on it is the order it would have been without a trigger: post-only refuses to take, fill-or-kill takes all or nothing, and
    what immediate-or-cancel leaves expires.
    """
    out_of_line()
    order = venue["orders"][slot]
    market = venue["instruments"][order["instrument"]]
    limited = order["type"] == codes.STOP_LIMIT
    flags = int(order["flags"])
    in_force = flags & codes.TIME_IN_FORCE_MASK
    if flags & codes.POST_ONLY:
        price, qty = touch(venue, market, order["side"])
        if crosses(order["side"], order["price"], price, qty):
            end_order(venue, slot, now_ns, codes.REASON_POST_ONLY)
            return
    wanted = fillable(market, order)
    if in_force == codes.FOK and available(venue, market, order["side"], order["price"], limited, wanted) < wanted:
        end_order(venue, slot, now_ns, codes.REASON_FILL_OR_KILL)
        return
    take(venue, order, limited, now_ns, cause)
    if order["leaves"] == 0:
        remove_resting(venue, slot)
    elif limited and (in_force == codes.IOC or in_force == codes.FOK):
        end_order(venue, slot, now_ns, codes.REASON_IOC)
    elif limited:
        trigger_rests(venue, order)
        order["ahead"] = line_ahead(venue, market, order["side"], order["price"])
        order["traded"] = 0.0
    else:
        end_order(venue, slot, now_ns, codes.REASON_NO_LIQUIDITY)


@njit(cache=True)
def _is_triggered(order: Any, price: int) -> bool:
    return price >= order["trigger_price"] if order["side"] > 0 else price <= order["trigger_price"]


@njit(cache=True)
def orders_on_trade(venue: Any, market: Any, row: Any, now_ns: int, cause: int) -> None:
    """What a print does to our orders: fills through and at the price, triggers."""
    out_of_line()
    price = row["price"]
    qty = row["qty"]
    aggressor = int(row["side"])
    used = 0  # What earlier orders of ours at this price got of the print.
    whole = venue["mode"] == NO_PARTIAL_FILL_MODE
    slot = market["first"]
    while slot >= 0:
        order = venue["orders"][slot]
        following = order["next"]
        side = order["side"]
        if order["working"] == 2:
            if _is_triggered(order, price):
                trigger(venue, slot, now_ns, cause)
        elif side != aggressor:
            through = price < order["price"] if side > 0 else price > order["price"]
            if through:
                _fill_resting(venue, slot, order["price"], order["leaves"], now_ns, cause)
            elif price == order["price"]:
                reached = queue_traded(order, qty) - used
                if reached > 0:
                    wanted = order["leaves"] if whole else min(reached, order["leaves"])
                    got = _fill_resting(venue, slot, order["price"], wanted, now_ns, cause)
                    used += 0 if whole else got  # In that mode a print is not shared out.
        slot = following


@njit(cache=True)
def fill_reached(venue: Any, market: Any, side: int, price: int, qty: int, now_ns: int, cause: int) -> None:
    """The other side has qty more at a price that reaches orders of ours: shared out by price, then by arrival."""
    out_of_line()
    left = qty
    while left > 0:
        best = -1
        slot = market["first"]
        while slot >= 0:
            order = venue["orders"][slot]
            if order["working"] == 1 and order["side"] == side and crosses(side, order["price"], price, left):
                if best < 0 or (order["price"] - venue["orders"][best]["price"]) * side > 0:
                    best = slot
            slot = order["next"]
        if best < 0:
            return
        wanted = min(left, int(venue["orders"][best]["leaves"]))
        left -= _fill_resting(venue, best, venue["orders"][best]["price"], wanted, now_ns, cause)


@njit(cache=True)
def orders_on_level(venue: Any, market: Any, row: Any, side_index: int, before: int, now_ns: int, cause: int) -> None:
    """What a changed level does to our orders: places in line on its side, fills by what it brings to our price on the other.

    Only what is new at the level fills us: the quantity that stood there before has had its chance.
    """
    price = row["price"]
    qty = row["qty"]
    level_side = 1 if side_index == BID else -1
    trading = market["status"] == rows.TRADING
    reached = False
    slot = market["first"]
    while slot >= 0:
        order = venue["orders"][slot]
        if order["working"] == 1:
            if order["side"] == level_side:
                if order["price"] == price:
                    queue_displayed(venue, order, before, qty)
            elif qty > before and trading and crosses(order["side"], order["price"], price, qty):
                reached = True
        slot = order["next"]
    if reached:
        fill_reached(venue, market, -level_side, price, qty - before, now_ns, cause)


@njit(cache=True)
def stops_on_touch(venue: Any, market: Any, now_ns: int, cause: int) -> None:
    """Triggers where the market shows no prints: the other side's best stands for the last price."""
    out_of_line()
    if market["status"] != rows.TRADING:
        return
    slot = market["first"]
    while slot >= 0:
        order = venue["orders"][slot]
        following = order["next"]
        if order["working"] == 2:
            price, qty = touch(venue, market, order["side"])
            if qty > 0 and _is_triggered(order, price):
                trigger(venue, slot, now_ns, cause)
        slot = following


@njit(cache=True)
def _place_at_touch(venue: Any, order: Any, best: int, best_qty: int, was: int, was_qty: int) -> None:
    """An order's place in line after its side's best went from was to best."""
    side = order["side"]
    if order["price"] == best:
        if order["ahead"] >= UNREACHED:
            order["ahead"] = float(best_qty)
            order["traded"] = 0.0
        else:
            queue_displayed(venue, order, was_qty if was == best else best_qty, best_qty)
    elif (order["price"] - best) * side > 0:
        order["ahead"] = 0.0  # Nothing is displayed at our price: the line ahead of us is gone.
        order["traded"] = 0.0


@njit(cache=True)
def orders_on_touch(
    venue: Any,
    market: Any,
    before_bid: int,
    before_bid_qty: int,
    before_ask: int,
    before_ask_qty: int,
    now_ns: int,
    cause: int,
) -> None:
    """What a new touch does to our orders: places in line at the touch, fills by what the other side brings to our price."""
    out_of_line()
    new_ask = market["ask_qty"] - (before_ask_qty if market["ask"] == before_ask else 0)
    new_bid = market["bid_qty"] - (before_bid_qty if market["bid"] == before_bid else 0)
    whole = venue["mode"] == NO_PARTIAL_FILL_MODE
    buys = False
    sells = False
    slot = market["first"]
    while slot >= 0:
        order = venue["orders"][slot]
        following = order["next"]
        if order["working"] == 1:
            side = order["side"]
            other = market["ask"] if side > 0 else market["bid"]
            other_qty = market["ask_qty"] if side > 0 else market["bid_qty"]
            if crosses(side, order["price"], other, other_qty):
                if whole:
                    _fill_resting(venue, slot, order["price"], order["leaves"], now_ns, cause)
                elif side > 0:
                    buys = True
                else:
                    sells = True
            elif side > 0:
                _place_at_touch(venue, order, market["bid"], market["bid_qty"], before_bid, before_bid_qty)
            else:
                _place_at_touch(venue, order, market["ask"], market["ask_qty"], before_ask, before_ask_qty)
        slot = following
    if buys:
        fill_reached(venue, market, 1, market["ask"], new_ask, now_ns, cause)
    if sells:
        fill_reached(venue, market, -1, market["bid"], new_bid, now_ns, cause)
    if market["last_price"] == 0:
        stops_on_touch(venue, market, now_ns, cause)


@njit(cache=True)
def venue_time(row: Any) -> int:
    """When the venue's tape has a row: its venue time, or the local time where the venue states none."""
    return int(row["venue_ns"]) if row["venue_ns"] > 0 else int(row["local_ns"])


@njit(cache=True, forceinline=True)
def market_row(venue: Any, row: Any, tail: Any, cause: int) -> None:
    """Apply one row of the venue's tape: its market first, then our orders there. tail: the second row of a fact that has one."""
    kind = int(row["kind"])
    market = venue["instruments"][row["instrument"]]
    if venue["gone_count"] != 0 and kind != rows.TRADE:
        level_spoken(venue, row)
    if kind == rows.LEVEL and market["mode"] == DEPTH:
        book = venue["books"][market["book"]]
        bids = row["side"] > 0
        # Whether the book is crossed or complete is nothing to the venue: it asks for prices and quantities only.
        book_set(book, np.int64(not bids), row["price"], row["qty"])
        if concerns_level(market, bids, row["price"]):
            orders_on_level(venue, market, row, BID if bids else ASK, book["replaced_qty"], venue_time(row), cause)
        if market["stops"] > 0 and market["last_price"] == 0 and row["flags"] & rows.FLAG_EVENT_END:
            stops_on_touch(venue, market, venue_time(row), cause)
    elif kind == rows.TRADE:
        print_row(venue, market, row, cause)
    else:
        other_row(venue, market, row, tail, kind, cause)


@njit(cache=True, forceinline=True)
def print_row(venue: Any, market: Any, row: Any, cause: int) -> None:
    """Apply a print."""
    if row["flags"] & rows.FLAG_OFF_MARKET == 0:
        market["last_price"] = row["price"]
        market["seen_trade"] = cause + 1
        if concerns_trade(market, row["price"]) and market["status"] == rows.TRADING:
            orders_on_trade(venue, market, row, venue_time(row), cause)


@njit(cache=True)
def other_row(venue: Any, market: Any, row: Any, tail: Any, kind: int, cause: int) -> None:
    """Rows that are neither prints nor levels of a book."""
    out_of_line()
    if kind == rows.LEVEL:
        if market["mode"] == NEWEST_DEPTH:
            newest_depth_row(venue, market, row, cause)
    elif kind == rows.QUOTE:
        if market["mode"] != TOUCH:
            return
        bid, bid_qty, ask, ask_qty = market["bid"], market["bid_qty"], market["ask"], market["ask_qty"]
        market["bid"] = row["bid"]
        market["bid_qty"] = row["bid_qty"]
        market["ask"] = row["ask"]
        market["ask_qty"] = row["ask_qty"]
        market["seen_quote"] = cause + 1
        if market["count"] > 0 and market["status"] == rows.TRADING:
            orders_on_touch(venue, market, bid, bid_qty, ask, ask_qty, venue_time(row), cause)
    elif kind == rows.BAR:
        if market["mode"] != BARS:
            return
        bar = market["bar"]
        bar["start_ns"] = row["venue_ns"] - tail["interval_ns"]
        bar["end_ns"] = row["venue_ns"]
        bar["open"] = row["open"]
        bar["high"] = row["high"]
        bar["low"] = row["low"]
        bar["close"] = row["close"]
        bar["row"] = cause
        market["last_price"] = row["open"]
        venue["path_ns"] = 0  # Our orders' times on the path are found anew by the caller.
    elif rows.SNAPSHOT_BEGIN <= kind <= rows.CLEAR or kind == rows.FEED_GAP:
        if market["mode"] == DEPTH:
            book_apply(venue["books"][market["book"]], row)
            if kind == rows.SNAPSHOT_END:
                _after_snapshot(venue, market)
        elif market["mode"] == NEWEST_DEPTH:
            newest_depth_row(venue, market, row, cause)
    elif kind == rows.STATUS:
        market["status"] = row["status"]
    elif kind == rows.INSTRUMENT:
        market["tick_size"] = row["tick_size"]
        if market["book"] >= 0:
            book_apply(venue["books"][market["book"]], row)


@njit(cache=True)
def _after_snapshot(venue: Any, market: Any) -> None:
    """No more can be ahead of us than the new book displays."""
    out_of_line()
    slot = market["first"]
    while slot >= 0:
        order = venue["orders"][slot]
        if order["working"] == 1:
            order["ahead"] = min(order["ahead"], line_ahead(venue, market, order["side"], order["price"]))
            order["traded"] = 0.0
        slot = order["next"]


@njit(cache=True)
def expire_orders(venue: Any, now_ns: int) -> None:
    """End every resting order whose time has come, and find the next time."""
    out_of_line()
    venue["expire_ns"] = NEVER
    for i in range(venue["instrument_count"]):
        market = venue["instruments"][i]
        slot = market["first"]
        while slot >= 0:
            order = venue["orders"][slot]
            following = order["next"]
            if order["expire_ns"] <= now_ns:
                remove_resting(venue, slot)
                answer(venue, rows.EXPIRED, order, order["expire_ns"], order["leaves"], codes.REASON_TIME)
            else:
                venue["expire_ns"] = min(venue["expire_ns"], order["expire_ns"])
            slot = following
