"""The memory of a live node as plain parts, and a node again from them: what a snapshot holds.

Addresses are never kept: they belong to one process. A paper session's simulated venue is part of what goes on; of a live one the venue is
elsewhere. This module must not read or write files.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from twinloop.engine.live.node import LiveNode
from twinloop.kernels.node import STANDARD, node_dtype
from twinloop.kernels.venue import venue_dtype

Memory = npt.NDArray[np.uint8]
_PARTS: Final = ("decision", "measured")
_CURSORS: Final = ("inbox_head", "inbox_tail", "outbox_head", "outbox_tail")
_ADDRESSES: Final = ("local_rows", "market_rows")


@cache
def layout() -> str:
    """Digest of the records whose memory a snapshot holds: another one's bytes mean something else."""
    told = repr((node_dtype(STANDARD)["decision"], node_dtype(STANDARD)["measured"], venue_dtype(STANDARD)))
    return hashlib.sha256(told.encode()).hexdigest()


def parts_of(node: LiveNode) -> dict[str, Memory]:
    """The node's memory, to be written before it handles anything more: not a copy."""
    parts = {name: node.assembly.memory(name) for name in _PARTS}
    if node.edge == "paper":
        for name in _ADDRESSES:  # Set again by every call.
            node.assembly.venue[name] = 0
        parts["venue"] = node.assembly.memory("venue")
    return parts


def words_of(node: LiveNode) -> dict[str, int]:
    """What goes on and is not in the memory of parts_of."""
    words = {name: int(node.node[name]) for name in _CURSORS}
    return words | {"requested": node.requested, "market_count": int(node.assembly.call["market_count"])}


def restore(node: LiveNode, parts: Mapping[str, Memory], words: Mapping[str, Any]) -> None:
    """Make a new node of the same session and edge what the other was. The caller compared layout and digests."""
    for name in _PARTS:
        node.assembly.memory(name)[:] = parts[name]
    for name in _CURSORS:
        node.node[name] = words[name]
    if node.edge == "paper":
        node.assembly.memory("venue")[:] = parts["venue"]
    node.assembly.call["market_count"] = words["market_count"]
    node.requested = words["requested"]
    node.started = True
