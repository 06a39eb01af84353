"""Calling strategies: the compiled callbacks stand in the node as addresses, and a call costs well under ten nanoseconds.

A callback that ends with an error says so here, from inside the call. Where errors halt their strategy, its callbacks are taken out of the
table, so that no call has to ask.
"""

from typing import Any

from twinloop.kernels import codes
from twinloop.kernels.intrinsics import call_at, out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.node import FAILED, FAILED_NOT, FAILED_NOW


@njit(cache=True)
def call_strategies(node: Any, callback: int, instrument: int) -> None:
    """Call every subscribed strategy's callback in slot order."""
    if node["wanted"][callback] == 0:
        return
    for strategy in range(node["decision"]["strategy_count"]):
        function = node["callbacks"][strategy, callback]
        if function != 0 and node["subscribed"][strategy, instrument] != 0:
            node["current_strategy"] = strategy
            call_at(function, node["address"])


@njit(cache=True)
def call_bar_strategies(node: Any, slot: int) -> None:
    """Hand the bar that a series closed to the strategies that asked for the series, in slot order."""
    wanting = node["decision"]["bars"][slot]["strategies"]
    node["current_bar"] = slot
    for strategy in range(node["decision"]["strategy_count"]):
        function = node["callbacks"][strategy, codes.ON_BAR]
        if function != 0 and (wanting >> strategy) & 1 != 0:
            node["current_strategy"] = strategy
            call_at(function, node["address"])


@njit(cache=True)
def call_strategy(node: Any, callback: int, strategy: int) -> None:
    """Call one strategy's callback, if there is the strategy and it has it."""
    if strategy >= node["callbacks"].shape[0]:
        return
    function = node["callbacks"][strategy, callback]
    if function != 0:
        node["current_strategy"] = strategy
        call_at(function, node["address"])


@njit(cache=True)
def callback_failed(node: Any, callback: int, value: int) -> None:
    """The current strategy's callback ended with an error: stop the run, or halt that strategy and let the others go on.

    value: where the error is described, kept for whoever drives the run. What is working of a halted strategy is cancelled at the end of
    the step. Also called as plain Python, from callbacks that are.
    """
    decision = node["decision"]
    sequence = decision["clock"]["sequence"]
    if node["failures_halt"] == 0:
        node["error_sequence"] = sequence
        node["status"] = codes.RUN_STRATEGY_ERROR
        return
    strategy = node["current_strategy"]
    failure = node["failures"][strategy]
    failure["callback"] = callback
    failure["value"] = value
    failure["sequence"] = sequence
    node["failure_count"] += 1
    state = decision["strategies"][strategy]
    state["state"] = codes.HALTED
    state["failed"] = FAILED_NOW
    decision["breaches"] = 1
    for number in range(node["callbacks"].shape[1]):
        if node["callbacks"][strategy, number] != 0:
            node["silenced"][strategy, number] = node["callbacks"][strategy, number]
            node["callbacks"][strategy, number] = 0


@njit(cache=True)
def call_again(node: Any, account: int) -> None:
    """Call an account's strategies again that had failed: a person has said so."""
    out_of_line()
    decision = node["decision"]
    for strategy in range(decision["strategy_count"]):
        state = decision["strategies"][strategy]
        if state["account"] == account and state["failed"] == FAILED:
            state["failed"] = FAILED_NOT
            for callback in range(node["callbacks"].shape[1]):
                node["callbacks"][strategy, callback] = node["silenced"][strategy, callback]
