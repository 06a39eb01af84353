"""Where a fact stands in the inbox ring."""

from typing import Any

from twinloop.kernels.jit import njit


@njit(cache=True)
def inbox_slot(node: Any, sequence: int) -> int:
    """Slot of a sequence. The second mask, a constant, tells the compiler that no index is negative."""
    return int(sequence & node["inbox_mask"] & (node["inbox"].shape[0] - 1))
