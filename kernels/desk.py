"""The desk: what a strategy's order calls do. The risk gate runs at the call, the reserve is taken at once, the request goes to the outbox.

Every call reads `node["request"]` and leaves in its `result` an order id (> 0), 0 for done, or minus a verdict. Every call is a
decision: it is numbered and mixed into the rolling hash together with the row it answers.
"""

from typing import Any

from twinloop.kernels import codes, rows
from twinloop.kernels.intrinsics import call_at, mix, mix_row, out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.node import SLICED_IDS
from twinloop.kernels.orders import (
    at_worst,
    end_sliced,
    find_order,
    find_sliced,
    is_open,
    leaves,
    reserve,
    take_slot,
)
from twinloop.kernels.risk import gate_passed
from twinloop.kernels.risk_state import spend_message
from twinloop.kernels.timers import set_timer

CANCEL_RESERVE = 64  # Outbox rows that only cancels may use.


@njit(cache=True)
def hash_decision(node: Any, verdict: int) -> None:
    """Mix the row in hand, the verdict and the number of the decision into the rolling hash."""
    out_of_line()
    decision = node["decision"]
    row = node["inbox"][node["current_slot"]]
    state = mix_row(mix(decision["hash"], decision["decision_number"]), row)
    decision["hash"] = mix(state, verdict)
    decision["decision_number"] += 1


@njit(cache=True)
def _hash_request(node: Any, row: Any) -> None:
    node["decision"]["hash"] = mix_row(node["decision"]["hash"], row)


@njit(cache=True)
def record_refusal(node: Any, strategy: int, instrument: int, verdict: int, operation: int) -> None:
    """Keep a verdict that was not ALLOW for the run's risk table."""
    out_of_line()
    request = node["request"]
    node["measured"]["refused"][verdict & 255] += 1
    at = node["verdict_count"]
    if at == node["verdicts"].shape[0]:
        node["measured"]["verdicts_unrecorded"] += 1  # Counted by verdict above; the row itself did not fit.
        return
    record = node["verdicts"][at]
    record["sequence"] = node["decision"]["clock"]["sequence"]
    record["local_ns"] = node["decision"]["clock"]["now_ns"]
    record["strategy"] = strategy
    record["instrument"] = instrument
    record["verdict"] = verdict
    record["side"] = request["side"]
    record["price_int"] = request["price"]
    record["qty_int"] = request["qty"]
    record["limit"] = request["limit"]
    record["value"] = request["value"]
    record["operation"] = operation
    record["rule"] = request["rule"] if verdict == codes.WARN else verdict
    record["findings"] = request["findings"]
    request["findings"] = 0  # A refusal before the gate has none.
    node["verdict_count"] = at + 1
    if at + 1 >= node["verdicts"].shape[0] - 64:
        node["records_full"] = 1


@njit(cache=True)
def _address_row(node: Any, row: Any, kind: int, order: Any) -> None:
    """Fill an outbox row with everything but price and quantity; published by the caller with `_publish`."""
    row["venue_ns"] = order["expire_ns"]
    row["local_ns"] = node["decision"]["clock"]["now_ns"]
    row["sequence"] = node["decision"]["clock"]["sequence"]
    row["kind"] = kind
    row["side"] = order["side"]
    row["strategy"] = order["strategy"]
    row["account"] = order["account"]
    row["source"] = order["type"]
    row["flags"] = order["flags"]
    row["instrument"] = order["instrument"]
    row["order_id"] = order["id"]


@njit(cache=True)
def _publish(node: Any, row: Any) -> None:
    _hash_request(node, row)
    node["outbox_head"] += 1


@njit(cache=True)
def enter_order(node: Any, slot: int, strategy: int, account: int) -> None:
    """Make the order in a slot that was taken from the request, and reserve what it may fill."""
    decision = node["decision"]
    request = node["request"]
    instrument = request["instrument"]
    market = decision["instruments"][instrument]
    order = decision["orders"][slot]
    order["price"] = request["price"]
    order["qty"] = request["qty"]
    order["filled"] = 0
    order["trigger_price"] = request["trigger_price"]
    order["notional"] = 0.0
    order["expire_ns"] = request["expire_ns"]
    order["decided_ns"] = decision["clock"]["now_ns"]
    order["decided_sequence"] = decision["clock"]["sequence"]
    order["decision_mid2"] = (
        market["bid"] + market["ask"] if market["bid"] > 0 and market["ask"] > 0 else 2 * market["last_price"]
    )
    order["acked_ns"] = 0
    order["ended_ns"] = 0
    order["amend_price"] = 0
    order["amend_qty"] = 0
    order["amends"] = 0
    order["slippage_reserved"] = 0
    order["fee"] = 0
    order["reserved"] = 0
    order["sliced_id"] = 0
    order["code"] = 0
    order["instrument"] = instrument
    order["strategy"] = strategy
    order["account"] = account
    order["side"] = request["side"]
    order["type"] = request["type"]
    order["flags"] = request["flags"]
    order["state"] = codes.STATE_NEW
    order["pending"] = 0
    reserve(decision, order, order["qty"])


@njit(cache=True)
def publish_new(node: Any, order: Any) -> None:
    """Ask for an order that was entered: its row goes to the outbox."""
    row = node["outbox"][node["outbox_head"] & (node["outbox"].shape[0] - 1)]
    _address_row(node, row, rows.NEW, order)
    row["price"] = order["price"]
    row["qty"] = order["qty"]
    row["trigger_price"] = order["trigger_price"]
    _publish(node, row)
    node["measured"]["orders"] += 1


@njit(cache=True)
def submit(node: Any) -> None:
    """A new order: gate, reserve, outbox."""
    out_of_line()
    decision = node["decision"]
    request = node["request"]
    strategy = node["current_strategy"]
    instrument = request["instrument"]
    request["limit"] = 0
    request["value"] = 0
    request["findings"] = 0
    verdict = codes.ALLOW
    if instrument < 0 or instrument >= decision["instrument_count"]:
        verdict = codes.REJECT_INSTRUMENT
    elif node["outbox_head"] - node["outbox_tail"] >= node["outbox"].shape[0] - CANCEL_RESERVE:
        verdict = codes.REJECT_OUTBOX_FULL
    else:
        request["order_id"] = 0
        call_at(node["gate"], node["address"])
        verdict = request["result"]
    slot = -1
    if verdict <= codes.WARN:
        slot = take_slot(decision)
        if slot < 0:
            verdict = codes.REJECT_ORDERS_FULL
    hash_decision(node, verdict)
    node["measured"]["decisions"] += 1
    if verdict > codes.WARN:
        request["result"] = -verdict
        record_refusal(node, strategy, instrument, verdict, rows.NEW)
        return
    enter_order(node, slot, strategy, decision["strategies"][strategy]["account"])
    gate_passed(node, strategy, slot)
    order = decision["orders"][slot]
    publish_new(node, order)
    request["result"] = order["id"]
    if verdict == codes.WARN:
        record_refusal(node, strategy, instrument, verdict, rows.NEW)


@njit(cache=True)
def _own_open_slot(node: Any, strategy: int, order_id: int) -> int:
    """Slot of a strategy's own working order, or minus a verdict."""
    decision = node["decision"]
    slot = find_order(decision, order_id)
    if slot < 0 or decision["orders"][slot]["strategy"] != strategy:
        return -codes.REJECT_UNKNOWN_ORDER
    if not is_open(decision["orders"][slot]):
        return -codes.REJECT_TERMINAL
    return slot


@njit(cache=True)
def amend(node: Any) -> None:
    """Change price and total quantity of a working order: gate, reserve the larger of both, outbox."""
    out_of_line()
    decision = node["decision"]
    request = node["request"]
    strategy = node["current_strategy"]
    request["limit"] = 0
    request["value"] = 0
    request["findings"] = 0
    slot = _own_open_slot(node, strategy, request["order_id"])
    verdict = codes.ALLOW
    instrument = -1
    if slot < 0:
        verdict = -slot
    else:
        instrument = decision["orders"][slot]["instrument"]
        if node["outbox_head"] - node["outbox_tail"] >= node["outbox"].shape[0] - CANCEL_RESERVE:
            verdict = codes.REJECT_OUTBOX_FULL
        else:
            call_at(node["gate"], node["address"])
            verdict = request["result"]
    hash_decision(node, verdict)
    node["measured"]["decisions"] += 1
    if verdict > codes.WARN:
        request["result"] = -verdict
        record_refusal(node, strategy, instrument, verdict, rows.AMEND)
        return
    order = decision["orders"][slot]
    order["pending"] |= codes.PENDING_AMEND
    # Of several under way, the price that our own orders would meet first stands for all.
    better = order["amends"] == 0 or (request["price"] > order["amend_price"]) == (order["side"] > 0)
    order["amend_price"] = request["price"] if better else order["amend_price"]
    order["amend_qty"] = max(request["qty"], order["amend_qty"])  # Of several under way, the largest stays reserved.
    order["amends"] += 1
    reserve(decision, order, at_worst(order))
    gate_passed(node, strategy, slot)
    row = node["outbox"][node["outbox_head"] & (node["outbox"].shape[0] - 1)]
    _address_row(node, row, rows.AMEND, order)
    row["price"] = request["price"]
    row["qty"] = request["qty"]
    row["decision"] = decision["decision_number"] - 1
    _publish(node, row)
    node["measured"]["amends"] += 1
    request["result"] = order["id"]
    if verdict == codes.WARN:
        record_refusal(node, strategy, instrument, verdict, rows.AMEND)


@njit(cache=True)
def _send_cancel(node: Any, order: Any) -> None:
    out_of_line()
    order["pending"] |= codes.PENDING_CANCEL
    spend_message(node["decision"], order["strategy"])
    row = node["outbox"][node["outbox_head"] & (node["outbox"].shape[0] - 1)]
    _address_row(node, row, rows.CANCEL, order)
    row["price"] = order["price"]
    row["qty"] = leaves(order)
    row["decision"] = node["decision"]["decision_number"] - 1
    _publish(node, row)
    node["measured"]["cancels"] += 1


@njit(cache=True)
def cancel(node: Any) -> None:
    """Cancel a working order, or what is traded in slices. No limit refuses a cancel; one already under way is not sent twice."""
    decision = node["decision"]
    request = node["request"]
    if request["order_id"] >= SLICED_IDS:
        _cancel_sliced(node)
        return
    slot = _own_open_slot(node, node["current_strategy"], request["order_id"])
    verdict = codes.ALLOW
    if slot < 0:
        verdict = -slot
    elif node["outbox_head"] - node["outbox_tail"] >= node["outbox"].shape[0]:
        verdict = codes.REJECT_OUTBOX_FULL
    hash_decision(node, verdict)
    node["measured"]["decisions"] += 1
    if verdict > codes.WARN:
        request["result"] = -verdict
        node["measured"]["refused"][verdict & 255] += 1
        return
    order = decision["orders"][slot]
    if order["pending"] & codes.PENDING_CANCEL == 0:
        _send_cancel(node, order)
    request["result"] = order["id"]


@njit(cache=True)
def _cancel_sliced(node: Any) -> None:
    """Send no more slices, and cancel the one that works."""
    out_of_line()
    decision = node["decision"]
    request = node["request"]
    slot = find_sliced(decision, request["order_id"])
    verdict = codes.ALLOW
    if slot < 0 or decision["sliced"][slot]["strategy"] != node["current_strategy"]:
        verdict = codes.REJECT_UNKNOWN_ORDER
    elif decision["sliced"][slot]["active"] == 0:
        verdict = codes.REJECT_TERMINAL
    hash_decision(node, verdict)
    node["measured"]["decisions"] += 1
    if verdict != codes.ALLOW:
        request["result"] = -verdict
        node["measured"]["refused"][verdict & 255] += 1
        return
    _stop_sliced(node, decision["sliced"][slot])
    request["result"] = request["order_id"]


@njit(cache=True)
def _stop_sliced(node: Any, whole: Any) -> None:
    decision = node["decision"]
    end_sliced(decision, whole, codes.REASON_REQUESTED)
    working = find_order(decision, whole["order_id"])
    if working < 0 or not is_open(decision["orders"][working]):
        return
    order = decision["orders"][working]
    if (
        order["pending"] & codes.PENDING_CANCEL == 0
        and node["outbox_head"] - node["outbox_tail"] < node["outbox"].shape[0]
    ):
        _send_cancel(node, order)


@njit(cache=True)
def _end_slices(decision: Any, strategy: int, account: int, instrument: int) -> None:
    """Send no more slices, by strategy, account and instrument (-1: any)."""
    out_of_line()
    for i in range(decision["sliced"].shape[0]):
        whole = decision["sliced"][i]
        if whole["active"] == 0 or (strategy >= 0 and whole["strategy"] != strategy):
            continue
        of_account = decision["strategies"][whole["strategy"]]["account"]
        if (account < 0 or of_account == account) and (instrument < 0 or whole["instrument"] == instrument):
            end_sliced(decision, whole, codes.REASON_REQUESTED)


@njit(cache=True)
def cancel_where(node: Any, strategy: int, account: int, instrument: int) -> int:
    """Cancel working orders by strategy, account and instrument (-1: any), newest first: how many cancels were sent."""
    out_of_line()
    decision = node["decision"]
    if decision["slicing"] != 0:
        _end_slices(decision, strategy, account, instrument)
    sent = 0
    for i in range(decision["open_count"] - 1, -1, -1):
        order = decision["orders"][decision["open_orders"][i]]
        if strategy >= 0 and order["strategy"] != strategy:
            continue
        if account >= 0 and order["account"] != account:
            continue
        if instrument >= 0 and order["instrument"] != instrument:
            continue
        if (
            order["pending"] & codes.PENDING_CANCEL
            or node["outbox_head"] - node["outbox_tail"] >= node["outbox"].shape[0]
        ):
            continue
        _send_cancel(node, order)
        sent += 1
    return sent


@njit(cache=True)
def cancel_all(node: Any) -> None:
    """Cancel every working order of the calling strategy, on one instrument or (-1) on all."""
    hash_decision(node, codes.ALLOW)
    node["measured"]["decisions"] += 1
    node["request"]["result"] = cancel_where(node, node["current_strategy"], -1, node["request"]["instrument"])


@njit(cache=True)
def request_timer(node: Any) -> None:
    """Arm or disarm a timer: order_id is the timer's id, expire_ns when it is due, qty its interval."""
    request = node["request"]
    request["result"] = set_timer(
        node["decision"], node["current_strategy"], request["order_id"], request["expire_ns"], request["qty"]
    )
