"""Calling strategies: the compiled callbacks stand in the node as addresses, and a call costs well under ten nanoseconds."""

from typing import Any

from twinloop.kernels import codes
from twinloop.kernels.intrinsics import call_at
from twinloop.kernels.jit import njit


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
