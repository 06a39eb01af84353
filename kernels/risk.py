"""The risk gate (being written): called at every new order and amend, before anything is reserved."""

from typing import Any

from numba import njit

from twinloop.kernels import codes


@njit(cache=True)
def gate_new(node: Any, strategy: int) -> int:
    """Verdict on node["request"]."""
    decision = node["decision"]
    if decision["accounts"][decision["strategies"][strategy]["account"]]["state"] == codes.HALTED:
        return codes.REJECT_HALTED
    return codes.ALLOW


@njit(cache=True)
def gate_amend(node: Any, strategy: int, slot: int) -> int:
    """Verdict on amending the order in a slot to node["request"]'s price and quantity."""
    return codes.ALLOW


@njit(cache=True)
def set_equity_floor(decision: Any, account: int) -> None:
    """Recompute the equity below which the daily loss cap or the drawdown limit is broken."""
    limits = decision["account_limits"][account]
    state = decision["accounts"][account]
    state["equity_floor"] = max(state["day_equity"] - limits["max_daily_loss"], state["peak_equity"] - limits["max_drawdown"])


@njit(cache=True)
def equity_below_floor(decision: Any, account: int) -> None:
    """A mark or a fee took the equity below its floor: halt the account and ask for every order to be cancelled."""
    state = decision["accounts"][account]
    if state["state"] != codes.HALTED:
        state["state"] = codes.HALTED
        state["cancel_all"] = 1
        decision["breaches"] = 1


@njit(cache=True)
def session_roll(decision: Any, account: int) -> None:
    """A new session begins: the daily loss counts from today's equity."""
    state = decision["accounts"][account]
    state["day_equity"] = state["equity"]
    state["slippage_day"] = 0
    set_equity_floor(decision, account)


@njit(cache=True)
def order_filled(decision: Any, order: Any, row: Any) -> None:
    """Track the slippage budget after a fill."""
