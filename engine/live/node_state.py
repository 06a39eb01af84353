"""The memory of a live node as plain parts, and a node again from them: what a snapshot holds.

Addresses are never kept: they belong to one process. A paper session's simulated venue is part of what goes on; of a live one the venue is
elsewhere. This module must not read or write files.
"""

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from twinloop.data.errors import CorruptError
from twinloop.engine.journal.snapshot import Head
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


def take_over(node: LiveNode, path: Path, head: Head, parts: Mapping[str, Memory], config: str) -> None:
    """Make a new node what a snapshot holds. CorruptError where that is of another session or code, or not the state it says.

    path: of the snapshot, for errors. config: digest of the session.
    """
    for what, expected, got in (
        ("kernels", node.session.code, head.code),
        ("session", config, head.config),
        ("layout", layout(), head.layout),
    ):
        if expected != got:
            raise CorruptError(f"a snapshot of another {what}", file=path, expected=expected[:12], got=got[:12])
    try:
        restore(node, parts, head.words)
    except (KeyError, ValueError, TypeError) as error:
        raise CorruptError("a snapshot without what this version needs", file=path, got=repr(error)) from None
    if node.state_hash() != head.state_hash or node.decision_hash() != head.decision_hash:
        raise CorruptError(
            "a snapshot whose state is not what it says", file=path, expected=head.state_hash, got=node.state_hash()
        )


def restore(node: LiveNode, parts: Mapping[str, Memory], words: Mapping[str, Any]) -> None:
    """Make a new node of the same session and edge what the other was. The caller compared layout and digests."""
    for name in _PARTS:
        node.assembly.memory(name)[:] = parts[name]
    for name in _CURSORS:
        node.node[name] = words[name]
    node.halt_failures()
    if node.edge == "paper":
        _restore_venue(node, parts["venue"])
        node.assembly.call["market_count"] = words["market_count"]
    node.requested = words["requested"]
    node.started = True


def _restore_venue(node: LiveNode, part: Memory) -> None:
    """The simulated venue's memory; where its books are in memory stays what it is in this process."""
    venue = node.assembly.venue
    markets = venue["instruments"]
    own, nodes = markets["own_book_at"].copy(), markets["node_book_at"].copy()
    node.assembly.memory("venue")[:] = part
    markets["own_book_at"], markets["node_book_at"] = own, nodes
    markets["book_at"] = nodes if venue["lent"] else own
