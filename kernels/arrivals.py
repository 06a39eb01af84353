"""Requests arriving at the simulated venue: what it accepts, takes at once, lets rest, or refuses. In venue time only."""

from typing import Any

from twinloop.kernels import codes, rows
from twinloop.kernels.bar_path import path_price, schedule
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.latency import entry_delay
from twinloop.kernels.matching import available, crosses, fillable, line_ahead, take, touch
from twinloop.kernels.node import NEVER
from twinloop.kernels.venue import (
    BARS,
    NO_PARTIAL_FILL_MODE,
    REQUESTS,
    add_resting,
    answer,
    closable,
    fill,
    remove_resting,
)

TAKER = -1  # Cause id of a fill that we caused ourselves.


@njit(cache=True)
def send_requests(node: Any, venue: Any) -> None:
    """Move the outbox to the way in: each request arrives after the entry latency, never before the one sent before it."""
    out_of_line()
    while node["outbox_tail"] < node["outbox_head"]:
        request = node["outbox"][node["outbox_tail"] & (node["outbox"].shape[0] - 1)]
        head = venue["request_head"]
        if head - venue["request_tail"] >= REQUESTS:
            venue["status"] = codes.RUN_VENUE_FULL
            return
        slot = request["order_id"] & (venue["orders"].shape[0] - 1)
        if request["kind"] == rows.NEW:
            venue["legs"][slot] = 0
        delay_ns = entry_delay(venue["latency"], request["local_ns"], request["order_id"], venue["legs"][slot])
        venue["legs"][slot] += 1
        arrival_ns = max(request["local_ns"] + delay_ns, venue["last_arrival_ns"])
        venue["last_arrival_ns"] = arrival_ns
        venue["next_ns"] = min(venue["next_ns"], arrival_ns)
        at = head & (REQUESTS - 1)
        venue["request_ns"][at] = arrival_ns
        to = venue["requests"][at]
        to["venue_ns"] = request["venue_ns"]
        to["local_ns"] = request["local_ns"]
        to["kind"] = request["kind"]
        to["side"] = request["side"]
        to["strategy"] = request["strategy"]
        to["account"] = request["account"]
        to["source"] = request["source"]
        to["flags"] = request["flags"]
        to["instrument"] = request["instrument"]
        to["price"] = request["price"]
        to["qty"] = request["qty"]
        to["order_id"] = request["order_id"]
        to["trigger_price"] = request["trigger_price"]
        venue["request_head"] = head + 1
        node["outbox_tail"] += 1
    if venue["keep_up"] == 0:  # Nobody reads them afterwards.
        node["outbox_head"] = 0  # Empty rings start again: what is used stays in the first-level cache.
        node["outbox_tail"] = 0


@njit(cache=True)
def _refuse(venue: Any, order: Any, now_ns: int, code: int) -> None:
    order["working"] = 0
    answer(venue, rows.REJECT, order, now_ns, order["leaves"], code)


@njit(cache=True)
def _place(venue: Any, slot: int, now_ns: int, kind: int) -> None:
    """Take what can be taken and let the rest wait, as the order's type and time in force say. kind: ACK or AMENDED, the answer that says so."""
    out_of_line()
    order = venue["orders"][slot]
    market = venue["instruments"][order["instrument"]]
    side = order["side"]
    flags = order["flags"]
    in_force = flags & codes.TIME_IN_FORCE_MASK
    limited = order["type"] == codes.LIMIT or order["type"] == codes.STOP_LIMIT
    if order["type"] == codes.STOP or order["type"] == codes.STOP_LIMIT:
        reference = market["last_price"]
        if market["mode"] != BARS and reference == 0:
            reference, _ = touch(venue, market, side)
        reached = reference > 0 and (
            reference >= order["trigger_price"] if side > 0 else reference <= order["trigger_price"]
        )
        if market["mode"] == BARS or not reached:
            add_resting(venue, slot, 2)
            answer(venue, kind, order, now_ns, order["qty"], 0)
            if market["mode"] == BARS:
                schedule(venue, market, order)
                venue["path_ns"] = min(venue["path_ns"], order["path_ns"])
            return
    if market["mode"] == BARS:
        _place_on_bar(venue, slot, now_ns, kind, limited)
        return
    price, qty = touch(venue, market, side)
    marketable = (not limited and qty > 0) or (limited and crosses(side, order["price"], price, qty))
    if flags & codes.POST_ONLY and marketable:
        _refuse(venue, order, now_ns, codes.REASON_POST_ONLY)
        return
    wanted = fillable(market, order)
    if in_force == codes.FOK and venue["mode"] != NO_PARTIAL_FILL_MODE:
        if available(venue, market, side, order["price"], limited, wanted) < wanted:
            answer(venue, rows.EXPIRED, order, now_ns, order["leaves"], codes.REASON_FILL_OR_KILL)
            return
    rests = limited and in_force != codes.IOC and in_force != codes.FOK
    if kind == rows.AMENDED and marketable:
        answer(venue, kind, order, now_ns, order["qty"], 0)
    elif marketable and rests and venue["mode"] != NO_PARTIAL_FILL_MODE:
        if available(venue, market, side, order["price"], True, order["leaves"]) < order["leaves"]:
            answer(
                venue, kind, order, now_ns, order["qty"], 0
            )  # Its rest will stand in the book: accepted first, filled after.
    if marketable:
        take(venue, order, limited, now_ns, TAKER)
    if order["leaves"] == 0:
        return
    if not rests:
        answer(
            venue,
            rows.EXPIRED,
            order,
            now_ns,
            order["leaves"],
            codes.REASON_IOC if limited else codes.REASON_NO_LIQUIDITY,
        )
        return
    order["ahead"] = line_ahead(venue, market, side, order["price"])
    order["traded"] = 0.0
    add_resting(venue, slot, 1)
    if not marketable:
        answer(venue, kind, order, now_ns, order["qty"], 0)


@njit(cache=True)
def _place_on_bar(venue: Any, slot: int, now_ns: int, kind: int, limited: bool) -> None:
    """With bars only: the path's price now, or wait for the next bar's open."""
    out_of_line()
    order = venue["orders"][slot]
    market = venue["instruments"][order["instrument"]]
    side = order["side"]
    price = path_price(venue, market, side, now_ns)
    if price > 0 and (not limited or crosses(side, order["price"], price, 1)):
        if order["flags"] & codes.POST_ONLY and limited:
            _refuse(venue, order, now_ns, codes.REASON_POST_ONLY)
            return
        if kind == rows.AMENDED:
            answer(venue, kind, order, now_ns, order["qty"], 0)
        fill(venue, order, price, order["leaves"], now_ns, False, TAKER)
        return
    in_force = order["flags"] & codes.TIME_IN_FORCE_MASK
    if limited and price > 0 and (in_force == codes.IOC or in_force == codes.FOK):
        answer(venue, rows.EXPIRED, order, now_ns, order["leaves"], codes.REASON_IOC)
        return
    order["ahead"] = 0.0
    add_resting(venue, slot, 1)
    answer(venue, kind, order, now_ns, order["qty"], 0)
    if limited:
        schedule(venue, market, order)
        venue["path_ns"] = min(venue["path_ns"], order["path_ns"])
    else:
        order["path_ns"] = NEVER  # A market order between bars: the next bar's open.


@njit(cache=True)
def _arrive_new(venue: Any, request: Any, slot: int, now_ns: int) -> None:
    out_of_line()
    order = venue["orders"][slot]
    market = venue["instruments"][request["instrument"]]
    order["id"] = request["order_id"]
    order["answers"] = 0
    order["price"] = request["price"]
    order["qty"] = request["qty"]
    order["leaves"] = request["qty"]
    order["trigger_price"] = request["trigger_price"]
    order["arrived_ns"] = now_ns
    order["ahead"] = 0.0
    order["traded"] = 0.0
    order["path_ns"] = NEVER
    order["instrument"] = request["instrument"]
    order["strategy"] = request["strategy"]
    order["account"] = request["account"]
    order["side"] = request["side"]
    order["type"] = request["source"]
    order["flags"] = request["flags"]
    in_force = int(request["flags"]) & codes.TIME_IN_FORCE_MASK
    order["expire_ns"] = NEVER
    if in_force == codes.GTD:
        order["expire_ns"] = request["venue_ns"]
    elif in_force == codes.DAY:
        while venue["session_interval_ns"] > 0 and venue["session_end_ns"] <= now_ns:
            venue["session_end_ns"] += venue["session_interval_ns"]
        order["expire_ns"] = venue["session_end_ns"]
    if not _accepts(market, order):
        _refuse(venue, order, now_ns, codes.REASON_STATUS)
    elif order["flags"] & codes.REDUCE_ONLY and closable(market, order) == 0:
        _refuse(venue, order, now_ns, codes.REASON_REDUCE_ONLY)
    elif order["expire_ns"] <= now_ns:
        answer(venue, rows.EXPIRED, order, now_ns, order["leaves"], codes.REASON_TIME)
    else:
        _place(venue, slot, now_ns, rows.ACK)


@njit(cache=True)
def _accepts(market: Any, order: Any) -> bool:
    """Whether the venue's status lets an order in, or lets it change."""
    status = market["status"]
    return bool(status == rows.TRADING or (status == rows.POST_ONLY_STATUS and order["flags"] & codes.POST_ONLY))


@njit(cache=True)
def _would_take(venue: Any, market: Any, side: int, price: int, now_ns: int) -> bool:
    """Whether a limit price reaches what the other side shows now."""
    if market["mode"] == BARS:
        return crosses(
            side, price, path_price(venue, market, side, now_ns), int(path_price(venue, market, side, now_ns) > 0)
        )
    other, qty = touch(venue, market, side)
    return crosses(side, price, other, qty)


@njit(cache=True)
def _arrive_amend(venue: Any, request: Any, slot: int, now_ns: int) -> None:
    """Less quantity at the same price keeps the place in line; anything else goes to the back, or takes. A refusal changes nothing."""
    out_of_line()
    order = venue["orders"][slot]
    market = venue["instruments"][order["instrument"]]
    if not _accepts(market, order):
        answer(venue, rows.AMEND_REJECT, order, now_ns, order["leaves"], codes.REASON_STATUS)
        return
    if (
        order["flags"] & codes.POST_ONLY
        and order["working"] == 1
        and _would_take(venue, market, order["side"], request["price"], now_ns)
    ):
        answer(venue, rows.AMEND_REJECT, order, now_ns, order["leaves"], codes.REASON_POST_ONLY)
        return
    filled = order["qty"] - order["leaves"]
    if request["qty"] <= filled:
        remove_resting(venue, slot)
        answer(venue, rows.CANCELLED, order, now_ns, order["leaves"], codes.REASON_REQUESTED)
        return
    keeps = request["price"] == order["price"] and request["qty"] <= order["qty"]
    order["leaves"] = request["qty"] - filled
    order["qty"] = request["qty"]
    order["price"] = request["price"]
    if keeps or order["working"] == 2:
        answer(venue, rows.AMENDED, order, now_ns, order["qty"], 0)
        return
    remove_resting(venue, slot)
    order["arrived_ns"] = now_ns
    _place(venue, slot, now_ns, rows.AMENDED)


@njit(cache=True)
def arrive(venue: Any) -> None:
    """Take the oldest request at its arrival time."""
    out_of_line()
    at = venue["request_tail"] & (REQUESTS - 1)
    request = venue["requests"][at]
    now_ns = venue["request_ns"][at]
    slot = request["order_id"] & (venue["orders"].shape[0] - 1)
    order = venue["orders"][slot]
    kind = request["kind"]
    if kind == rows.NEW:
        _arrive_new(venue, request, slot, now_ns)
    elif order["id"] != request["order_id"] or order["working"] == 0:
        # It ended before this request arrived. The slot's next order, if there is one already, is not this one.
        _refuse_ended(venue, request, now_ns)
    elif kind == rows.CANCEL:
        remove_resting(venue, slot)
        answer(venue, rows.CANCELLED, order, now_ns, order["leaves"], codes.REASON_REQUESTED)
    else:
        _arrive_amend(venue, request, slot, now_ns)
    venue["request_tail"] += 1
    if venue["request_tail"] == venue["request_head"]:
        venue["request_tail"] = 0
        venue["request_head"] = 0


@njit(cache=True)
def _refuse_ended(venue: Any, request: Any, now_ns: int) -> None:
    out_of_line()
    slot = request["order_id"] & (venue["orders"].shape[0] - 1)
    order = venue["orders"][slot]
    refused = order["id"] == request["order_id"]
    if refused:
        answer(
            venue,
            rows.CANCEL_REJECT if request["kind"] == rows.CANCEL else rows.AMEND_REJECT,
            order,
            now_ns,
            0,
            codes.REASON_UNKNOWN_ORDER,
        )
