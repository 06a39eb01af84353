"""The compiled turn of a live node: where its memory and its loop's door are, for data/live_turn.pyx.

Only a node whose requests leave for a venue elsewhere has one, and only compiled kernels have a door. This module must not decide anything.
"""

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import config

from twinloop.data.live_turn import COUNTS_SIZE, LiveTurn
from twinloop.engine.journal.writer import JournalWriter
from twinloop.engine.live.node import BATCH_ROWS, LiveNode
from twinloop.kernels import codes

_OF_CALL = ("local", "local_count", "start", "rows_max", "status", "at")
_OF_NODE = (
    "inbox_head", "outbox_head", "outbox_tail", "verdict_count", "fill_count", "order_record_count", "equity_count", "records_full",
)  # fmt: skip


def make_turn(node: LiveNode, journal: JournalWriter, counts: npt.NDArray[np.int64]) -> LiveTurn | None:
    """The compiled turn of a node and its journal; None where the kernels are not compiled. counts: (COUNTS_SIZE,), changed by it."""
    if config.DISABLE_JIT:
        return None
    assembly = node.assembly
    decision = node.decision
    words = {name: _word(assembly.call, name) for name in _OF_CALL}
    words |= {name: _word(node.node, name) for name in _OF_NODE}
    words |= {name: _word(decision, name) for name in ("hash", "decision_number")}
    words["now_ns"] = _word(decision["clock"], "now_ns")
    door = ctypes.cast(assembly.doors.replay, ctypes.c_void_p).value  # type: ignore[arg-type]
    assert door is not None
    inbox, outbox = node.node["inbox"], node.node["outbox"]
    assert counts.shape == (COUNTS_SIZE,)
    return LiveTurn(
        journal.core, door=door, call=assembly.call_address, words=words, inbox=(inbox.ctypes.data, len(inbox)),
        outbox=(outbox.ctypes.data, len(outbox)), done_status=codes.RUN_LOCAL_CHUNK, rows_max=BATCH_ROWS, marks=node.marks, counts=counts,
        keep=node,
    )  # fmt: skip


def _word(record: Any, name: str) -> int:
    """Address of an int64 field of a record."""
    kind, offset = record.dtype.fields[name][:2]
    assert kind == np.int64, (name, kind)
    return int(record.__array_interface__["data"][0]) + int(offset)
