"""Timers: asked for by strategies, kept in the node, written as rows by the edge when they fall due."""

from typing import Any

from twinloop.kernels import codes
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.node import NEVER


@njit(cache=True)
def _refresh(decision: Any) -> None:
    earliest = NEVER
    for i in range(decision["timers_used"]):
        timer = decision["timers"][i]
        if timer["armed"] == 1 and timer["due_ns"] < earliest:
            earliest = timer["due_ns"]
    decision["clock"]["timer_ns"] = earliest


@njit(cache=True)
def set_timer(decision: Any, strategy: int, timer_id: int, due_ns: int, interval_ns: int) -> int:
    """Arm, re-arm or (due_ns == 0) disarm the timer a strategy calls timer_id: 0, or minus a verdict when the table is full.

    due_ns: local time; in the past means at once. interval_ns: 0 once, else again at the times of its grid (due_ns + a multiple of it).
    """
    out_of_line()
    slot = -1
    for i in range(decision["timers_used"]):
        timer = decision["timers"][i]
        if timer["armed"] == 1:
            if timer["strategy"] == strategy and timer["id"] == timer_id:
                slot = i
                break
        elif slot < 0:
            slot = i
    if due_ns == 0:
        if slot >= 0 and decision["timers"][slot]["armed"] == 1:
            decision["timers"][slot]["armed"] = 0
            _refresh(decision)
        return 0
    if slot < 0:
        slot = decision["timers_used"]
        if slot == decision["timers"].shape[0]:
            return -codes.REJECT_TIMERS_FULL
        decision["timers_used"] = slot + 1
    timer = decision["timers"][slot]
    timer["armed"] = 1
    timer["strategy"] = strategy
    timer["id"] = timer_id
    timer["due_ns"] = due_ns
    timer["interval_ns"] = interval_ns
    _refresh(decision)
    return 0


@njit(cache=True)
def next_timer(decision: Any) -> int:
    """Slot of the armed timer that falls due first (lowest slot on a tie), or -1."""
    due_ns = decision["clock"]["timer_ns"]
    if due_ns == NEVER:
        return -1
    for i in range(decision["timers_used"]):
        timer = decision["timers"][i]
        if timer["armed"] == 1 and timer["due_ns"] == due_ns:
            return i
    return -1


@njit(cache=True)
def timer_fired(decision: Any, strategy: int, timer_id: int, due_ns: int) -> None:
    """Take a TIMER row into account: re-arm a repeating timer, disarm a single one. Times of its grid that passed unseen are passed over."""
    out_of_line()
    for i in range(decision["timers_used"]):
        timer = decision["timers"][i]
        if (
            timer["armed"] == 1
            and timer["strategy"] == strategy
            and timer["id"] == timer_id
            and timer["due_ns"] == due_ns
        ):
            if timer["interval_ns"] > 0:
                late_ns = decision["clock"]["now_ns"] - due_ns
                passed = (
                    late_ns // timer["interval_ns"] if late_ns >= timer["interval_ns"] else 0
                )  # A division costs more than the rest.
                timer["due_ns"] = due_ns + (passed + 1) * timer["interval_ns"]
            else:
                timer["armed"] = 0
            break
    _refresh(decision)
