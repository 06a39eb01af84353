"""Slices: a large quantity traded as immediate-or-cancel orders of at most one size, one at a time.

A slice is asked for at the other side's touch (the last price where no touch is known), not beyond the limit, when the slice before has
ended and its interval has passed. Each is an order of the strategy's, through the gate; one that a moment's state refuses (no fresh
price, a wide spread, the throttle) is tried again after a pause, as after one that got nothing; any other refusal ends the whole. So what
was sent, less what ended unfilled, never exceeds what was asked for, and as long as a slice's end is not proven no other is sent. Decided
here, so that a backtest slices as live does.
"""

from typing import Any, Final

from twinloop.kernels import codes
from twinloop.kernels.desk import hash_decision, record_refusal
from twinloop.kernels.intrinsics import call_at, out_of_line
from twinloop.kernels.jit import INNER, njit
from twinloop.kernels.node import SLICED_IDS
from twinloop.kernels.orders import end_sliced, find_order, is_open
from twinloop.kernels.rows import NEW

RETRY_NS: Final = 100_000_000


@njit(cache=True)
def slice_order(node: Any) -> None:
    """Begin to trade node["request"] in slices: its id is left in `result`, or minus a verdict. interval: expire_ns; size: slice_qty."""
    out_of_line()
    decision = node["decision"]
    request = node["request"]
    instrument = request["instrument"]
    verdict = codes.ALLOW
    slot = _free_slot(decision)
    if instrument < 0 or instrument >= decision["instrument_count"]:
        verdict = codes.REJECT_INSTRUMENT
    elif request["side"] != 1 and request["side"] != -1:
        verdict = codes.REJECT_TYPE
    elif request["qty"] <= 0 or request["slice_qty"] <= 0 or request["expire_ns"] < 0 or request["price"] < 0:
        verdict = codes.REJECT_QTY
    elif slot < 0:
        verdict = codes.REJECT_ORDERS_FULL
    hash_decision(node, verdict)
    node["measured"]["decisions"] += 1
    if verdict != codes.ALLOW:
        request["result"] = -verdict
        record_refusal(node, node["current_strategy"], instrument, verdict, NEW)
        return
    whole = decision["sliced"][slot]
    decision["sliced_count"] += 1
    whole["id"] = SLICED_IDS + decision["sliced_count"] * decision["sliced"].shape[0] + slot
    whole["active"] = 1
    whole["strategy"] = node["current_strategy"]
    whole["instrument"] = instrument
    whole["side"] = request["side"]
    whole["qty"] = request["qty"]
    whole["slice_qty"] = request["slice_qty"]
    whole["price"] = request["price"]
    whole["interval_ns"] = request["expire_ns"]
    whole["flags"] = codes.IOC | (request["flags"] & codes.REDUCE_ONLY)
    whole["filled"] = 0
    whole["order_id"] = 0
    whole["next_ns"] = 0
    whole["code"] = 0
    decision["slicing"] += 1
    request["result"] = whole["id"]


@njit(**INNER)
def _free_slot(decision: Any) -> int:
    for i in range(decision["sliced"].shape[0]):
        if decision["sliced"][i]["active"] == 0:
            return i
    return -1


@njit(cache=True)
def send_slices(node: Any) -> None:
    """The next slice of everything whose last one has ended."""
    out_of_line()
    decision = node["decision"]
    for i in range(decision["sliced"].shape[0]):
        whole = decision["sliced"][i]
        if whole["active"] == 0:
            continue
        if whole["order_id"] != 0:
            slot = find_order(decision, whole["order_id"])
            if slot >= 0 and is_open(decision["orders"][slot]):
                continue
            whole["order_id"] = 0
            if whole["filled"] == whole["filled_before"]:  # Nothing was there: asking again at once would be a storm.
                whole["next_ns"] = max(int(whole["next_ns"]), int(decision["clock"]["now_ns"]) + RETRY_NS)
        market = decision["instruments"][whole["instrument"]]
        qty = min(int(whole["qty"] - whole["filled"]), int(whole["slice_qty"]))
        if qty <= 0 or qty < market["min_qty"]:
            end_sliced(decision, whole, codes.ALLOW)
        elif decision["clock"]["now_ns"] >= whole["next_ns"]:
            _send(node, whole, market, qty)


@njit(**INNER)
def _send(node: Any, whole: Any, market: Any, qty: int) -> None:
    """One slice, if the market is within the limit."""
    out_of_line()
    decision = node["decision"]
    side = int(whole["side"])
    limit = int(whole["price"])
    price = int(market["ask"] if side > 0 else market["bid"])
    if price <= 0:
        price = int(market["last_price"])
    if price <= 0 or (limit > 0 and (price > limit if side > 0 else price < limit)):
        return
    request = node["request"]
    request["instrument"] = whole["instrument"]
    request["side"] = side
    request["type"] = codes.LIMIT
    request["flags"] = whole["flags"]
    request["price"] = price
    request["qty"] = qty
    request["trigger_price"] = 0
    request["expire_ns"] = 0
    node["current_strategy"] = whole["strategy"]
    call_at(node["submit"], node["address"])
    result = int(request["result"])
    now_ns = decision["clock"]["now_ns"]
    if result > 0:
        whole["order_id"] = result
        whole["filled_before"] = whole["filled"]
        whole["next_ns"] = now_ns + whole["interval_ns"]
        decision["orders"][find_order(decision, result)]["sliced_id"] = whole["id"]
    elif _passes(-result):
        whole["next_ns"] = now_ns + RETRY_NS
    else:
        end_sliced(decision, whole, -result)


@njit(**INNER)
def _passes(verdict: int) -> bool:
    """Whether a refusal is one of the moment."""
    return (
        verdict == codes.REJECT_STALE
        or verdict == codes.REJECT_NO_REFERENCE
        or verdict == codes.REJECT_MAX_SPREAD
        or verdict == codes.REJECT_THROTTLE
        or verdict == codes.REJECT_OUTBOX_FULL
        or verdict == codes.REJECT_ORDERS_FULL
    )
