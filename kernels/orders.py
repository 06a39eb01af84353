"""The order table: slots, states, working exposure. What the venue says about our orders becomes state here, in any order it comes.

A fill is accepted in every state, terminal ones included; an exposure is released only by proof (a fact from the venue). Ids are unique
for ever: `order_count * capacity + slot`, so that a slot is an id modulo the capacity, a power of two.
"""

from typing import Any

from twinloop.kernels import codes, rows
from twinloop.kernels.exposure import list_exposure
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.node import SLICED_IDS


@njit(cache=True)
def take_slot(decision: Any) -> int:
    """A free slot with its new id set, or -1 when every slot holds a working order."""
    tail = decision["free_tail"]
    capacity = decision["free_slots"].shape[0]
    if tail < decision["free_head"]:
        slot = decision["free_slots"][tail & (capacity - 1)]
        decision["free_tail"] = tail + 1
    elif decision["slots_used"] < capacity:
        slot = decision["slots_used"]
        decision["slots_used"] = slot + 1
    else:
        return -1
    order = decision["orders"][slot]
    order["id"] = decision["order_count"] * capacity + slot
    decision["order_count"] += 1
    order["open_at"] = decision["open_count"]
    decision["open_orders"][decision["open_count"]] = slot
    decision["open_count"] += 1
    return slot


@njit(cache=True)
def book_of(decision: Any, strategy: int, account: int) -> int:
    """Index in `strategy_holdings` of whom an order or a fill belongs to: a strategy, or the account's unassigned book; -1 for none."""
    if strategy < decision["strategy_count"]:
        return int(strategy)
    if strategy == codes.UNASSIGNED and account < decision["account_count"]:
        return int(decision["strategies"].shape[0] + account)
    return -1


@njit(cache=True)
def find_order(decision: Any, order_id: int) -> int:
    """Slot of an order the table still holds, or -1."""
    if order_id <= 0:
        return -1
    slot = order_id & (decision["orders"].shape[0] - 1)
    if decision["orders"][slot]["id"] != order_id:
        return -1
    return slot


@njit(cache=True)
def find_sliced(decision: Any, sliced_id: int) -> int:
    """Slot of a quantity traded in slices that the table still holds, or -1."""
    if sliced_id < SLICED_IDS:
        return -1
    slot = sliced_id & (decision["sliced"].shape[0] - 1)
    return int(slot) if decision["sliced"][slot]["id"] == sliced_id else -1


@njit(cache=True)
def end_sliced(decision: Any, whole: Any, code: int) -> None:
    """Send no more slices; one that works is left as it is."""
    if whole["active"] != 0:
        decision["slicing"] -= 1
    whole["active"] = 0
    whole["code"] = code


@njit(cache=True)
def is_open(order: Any) -> bool:
    """Whether the venue may still fill it, as far as is proven."""
    return codes.STATE_NONE < order["state"] < codes.STATE_FILLED


@njit(cache=True)
def leaves(order: Any) -> int:
    """Quantity not filled yet."""
    return max(order["qty"] - order["filled"], 0)


@njit(cache=True)
def at_worst(order: Any) -> int:
    """Quantity that may still fill: what is left, or what an amend under way would leave if that is more."""
    if order["amends"] == 0:
        return leaves(order)
    return max(leaves(order), order["amend_qty"] - order["filled"])


@njit(cache=True)
def _amend_answered(order: Any) -> None:
    """One amend less under way. Only the last answer frees what the largest of them asked for: the venue may still apply it."""
    order["amends"] = max(order["amends"] - 1, 0)
    if order["amends"] == 0:
        order["pending"] &= ~codes.PENDING_AMEND
        order["amend_qty"] = 0


@njit(cache=True)
def reserve(decision: Any, order: Any, qty: int) -> None:
    """Set the quantity an order holds in the worst-case exposure of its strategy and account."""
    out_of_line()
    change = qty - order["reserved"]
    if change == 0:
        return
    order["reserved"] = qty
    list_exposure(decision, order["account"], order["instrument"])
    holder = book_of(decision, order["strategy"], order["account"])
    of_strategy = decision["strategy_holdings"][holder][order["instrument"]]["exposure"]
    of_account = decision["account_holdings"][order["account"]][order["instrument"]]["exposure"]
    if order["side"] > 0:
        of_strategy["buy_qty"] += change
        of_account["buy_qty"] += change
    else:
        of_strategy["sell_qty"] += change
        of_account["sell_qty"] += change


@njit(cache=True)
def close_order(decision: Any, order: Any, state: int, now_ns: int) -> None:
    """Make an order terminal: release its reserve, leave the open list, give its slot back (readable until reused)."""
    out_of_line()
    reserve(decision, order, 0)
    decision["accounts"][order["account"]]["slippage_reserved"] -= order["slippage_reserved"]
    order["slippage_reserved"] = 0
    order["state"] = state
    order["pending"] = 0
    order["amends"] = 0
    order["ended_ns"] = now_ns
    at = order["open_at"]
    if at < 0:
        return
    last = decision["open_count"] - 1
    moved = decision["open_orders"][last]
    decision["open_orders"][at] = moved
    decision["orders"][moved]["open_at"] = at
    decision["open_count"] = last
    order["open_at"] = -1
    capacity = decision["free_slots"].shape[0]
    decision["free_slots"][decision["free_head"] & (capacity - 1)] = order["id"] & (capacity - 1)
    decision["free_head"] += 1


@njit(cache=True)
def apply_order_fact(decision: Any, order: Any, row: Any) -> None:
    """What an own-order row other than a fill does to its order. Facts that come late or twice change nothing that is proven."""
    out_of_line()
    kind = row["kind"]
    code = row["code"]
    now_ns = row["local_ns"]
    if kind == rows.ACK:
        if (
            order["state"] == codes.STATE_NEW
            or order["state"] == codes.STATE_SENT
            or order["state"] == codes.STATE_UNKNOWN
        ):
            order["state"] = codes.STATE_ACKED if order["filled"] == 0 else codes.STATE_PARTIAL
        if order["acked_ns"] == 0:
            order["acked_ns"] = row["venue_ns"]
    elif kind == rows.AMENDED:
        if is_open(order):
            if (
                code != codes.REASON_UNSOLICITED
            ):  # Somebody else's change answers none of ours, whose quantity still counts.
                _amend_answered(order)
            order["price"] = row["price"]
            order["qty"] = row["qty"]
            if leaves(order) == 0 and order["amends"] == 0:
                close_order(decision, order, codes.STATE_FILLED, now_ns)
            else:
                reserve(decision, order, at_worst(order))
    elif kind == rows.AMEND_REJECT:
        if is_open(order):
            _amend_answered(order)
            order["code"] = code
            if leaves(order) == 0 and order["amends"] == 0:
                close_order(decision, order, codes.STATE_FILLED, now_ns)
            else:
                reserve(decision, order, at_worst(order))
    elif kind == rows.CANCEL_REJECT:
        if is_open(order):
            order["pending"] &= ~codes.PENDING_CANCEL
            order["code"] = code
    elif kind == rows.UNKNOWN:
        if is_open(order):
            order["state"] = codes.STATE_UNKNOWN
    elif is_open(order):
        order["code"] = code
        if kind == rows.REJECT:
            close_order(decision, order, codes.STATE_REJECTED, now_ns)
        elif kind == rows.CANCELLED:
            close_order(decision, order, codes.STATE_CANCELLED, now_ns)
        else:
            close_order(decision, order, codes.STATE_EXPIRED, now_ns)


@njit(cache=True)
def apply_order_fill(decision: Any, order: Any, row: Any) -> int:
    """What a fill does to its order: 0, or 1 if the order was terminal already, or 2 if it now exceeds the order's quantity."""
    out_of_line()
    result = 0
    if not is_open(order):
        result = 1
    order["filled"] += row["qty"]
    if order["sliced_id"] != 0:
        slot = find_sliced(decision, order["sliced_id"])
        if slot >= 0:
            decision["sliced"][slot]["filled"] += row["qty"]
    order["notional"] += float(row["price"]) * float(row["qty"])
    order["fee"] += row["fee"]
    if order["acked_ns"] == 0:
        order["acked_ns"] = row["venue_ns"]
    # An amend under way may have been applied at the venue already: its quantity counts until the answer is here.
    most = max(order["qty"], order["amend_qty"]) if order["amends"] > 0 else order["qty"]
    if order["filled"] > most:
        result = 2
    if order["open_at"] < 0:
        return result
    if order["filled"] >= most:
        close_order(decision, order, codes.STATE_FILLED, row["local_ns"])
    else:
        order["state"] = codes.STATE_PARTIAL
        reserve(decision, order, at_worst(order))
    return result
