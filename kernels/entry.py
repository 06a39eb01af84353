"""The compiled code's doors: one C function per service, taking addresses, so that a call costs well under a microsecond.

Built once per size class; strategies and the driver reach the kernels only through here. With the JIT off the doors are Python functions
registered under a number.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numba import carray, cfunc, config, types

from twinloop.kernels.bars import bar_init
from twinloop.kernels.book import book_clear
from twinloop.kernels.desk import amend, cancel, cancel_all, request_timer, submit
from twinloop.kernels.intrinsics import hash_memory, record_at, register
from twinloop.kernels.jit import njit
from twinloop.kernels.node import SizeClass, node_dtype
from twinloop.kernels.replay import run_replay, see_all
from twinloop.kernels.risk import gate
from twinloop.kernels.rows import FLAG_TAIL, ROW
from twinloop.kernels.step import call_strategy, record_order, sample_equity
from twinloop.kernels.venue import venue_dtype

SERVICES: Final = ("submit", "amend", "cancel", "cancel_all", "set_timer", "gate")

CALL: Final = np.dtype(
    [(name, "<i8") for name in (
        "node", "venue", "local", "local_count", "market", "market_count", "start", "more_local", "rows_max", "status", "at", "callback",
        "strategy", "slot", "kind", "value", "price_scale", "qty_scale",
    )]
)  # fmt: skip
_ROWS: Final = types.CPointer(types.uint8)


class Doors(NamedTuple):
    """Callables of one size class; each takes the address of a CALL record, `services` are addresses for the node."""

    node_dtype: np.dtype[np.void]
    venue_dtype: np.dtype[np.void]
    services: dict[str, int]
    replay: Callable[[int], None]
    see_all: Callable[[int], None]
    callback: Callable[[int], None]
    finish: Callable[[int], None]
    state_hash: Callable[[int], None]
    clear_books: Callable[[int], None]
    init_bar: Callable[[int], None]
    survey: Callable[[int], None]


def _compiled(function: Callable[..., Any]) -> tuple[int, Callable[[int], None]]:
    """Address and Python-callable form of a door void(int64)."""
    if config.DISABLE_JIT:
        return register(function), function
    door = cfunc(types.void(types.int64), cache=True)(function)
    return door.address, door.ctypes


if config.DISABLE_JIT:

    def rows_at(address: int, count: int) -> Any:
        """Twin: the rows at an address."""
        memory = (ctypes.c_char * (int(count) * ROW.itemsize)).from_address(int(address))
        return np.frombuffer(memory, dtype=ROW)  # type: ignore[call-overload]

    def words_at(address: int, count: int) -> Any:
        """Twin: the int64 words at an address."""
        memory = (ctypes.c_char * (int(count) * 8)).from_address(int(address))
        return np.frombuffer(memory, dtype=np.int64)  # type: ignore[call-overload]

else:
    from numba.extending import intrinsic

    @intrinsic
    def _pointer(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(_ROWS))

        return _ROWS(types.int64), codegen

    @njit(cache=True)
    def rows_at(address: int, count: int) -> Any:
        """Return the (count,) ROW array at an address."""
        return carray(_pointer(address), count * 64).view(ROW)

    @njit(cache=True)
    def words_at(address: int, count: int) -> Any:
        """Return the (count,) int64 array at an address."""
        return carray(_pointer(address), count * 8).view(np.int64)


@njit(cache=True)
def survey(tape: Any, counts: Any) -> None:
    """Count rows by instrument and kind: counts is (instruments * 256,) int64."""
    for i in range(tape.shape[0]):
        row = tape[i]
        if row["flags"] & FLAG_TAIL == 0:
            at = int(row["instrument"]) * 256 + int(row["kind"])
            if at < counts.shape[0]:
                counts[at] += 1


@cache
def doors(size: SizeClass) -> Doors:
    """Build, or load from the cache, the doors of a size class."""
    NODE = node_dtype(size)  # noqa: N806 - Numba freezes it like a constant.
    VENUE = venue_dtype(size)  # noqa: N806
    words = NODE["decision"].itemsize // 8
    decision_at = NODE.fields["decision"][1]  # type: ignore[index]

    def submit_door(address: int) -> None:
        submit(record_at(address, NODE))

    def amend_door(address: int) -> None:
        amend(record_at(address, NODE))

    def cancel_door(address: int) -> None:
        cancel(record_at(address, NODE))

    def cancel_all_door(address: int) -> None:
        cancel_all(record_at(address, NODE))

    def timer_door(address: int) -> None:
        request_timer(record_at(address, NODE))

    def gate_door(address: int) -> None:
        gate(record_at(address, NODE))

    def replay_door(address: int) -> None:
        call = record_at(address, CALL)
        status, at = run_replay(
            record_at(call["node"], NODE),
            record_at(call["venue"], VENUE),
            rows_at(call["local"], call["local_count"]),
            rows_at(call["market"], call["market_count"]),
            call["start"],
            call["more_local"],
            call["rows_max"],
        )
        call["status"] = status
        call["at"] = at

    def see_all_door(address: int) -> None:
        call = record_at(address, CALL)
        see_all(record_at(call["venue"], VENUE), rows_at(call["market"], call["market_count"]))

    def callback_door(address: int) -> None:
        call = record_at(address, CALL)
        call_strategy(record_at(call["node"], NODE), call["callback"], call["strategy"])

    def finish_door(address: int) -> None:
        call = record_at(address, CALL)
        node = record_at(call["node"], NODE)
        decision = node["decision"]
        for i in range(decision["open_count"]):
            record_order(node, decision["orders"][decision["open_orders"][i]])
        sample_equity(node)

    def hash_door(address: int) -> None:
        call = record_at(address, CALL)
        call["status"] = hash_memory(call["node"] + decision_at, words, 0)

    def clear_books_door(address: int) -> None:
        call = record_at(address, CALL)
        book_clear(record_at(call["node"], NODE)["decision"]["books"][call["slot"]], call["value"])
        book_clear(record_at(call["venue"], VENUE)["books"][call["slot"]], call["value"])

    def init_bar_door(address: int) -> None:
        call = record_at(address, CALL)
        state = record_at(call["node"], NODE)["decision"]["bars"][call["slot"]]["state"]
        call["status"] = bar_init(state, call["kind"], call["value"], call["price_scale"], call["qty_scale"])

    def survey_door(address: int) -> None:
        call = record_at(address, CALL)
        survey(rows_at(call["local"], call["local_count"]), words_at(call["value"], size.instruments * 256))

    services = (submit_door, amend_door, cancel_door, cancel_all_door, timer_door, gate_door)
    return Doors(
        NODE,
        VENUE,
        {name: _compiled(function)[0] for name, function in zip(SERVICES, services, strict=True)},
        _compiled(replay_door)[1],
        _compiled(see_all_door)[1],
        _compiled(callback_door)[1],
        _compiled(finish_door)[1],
        _compiled(hash_door)[1],
        _compiled(clear_books_door)[1],
        _compiled(init_bar_door)[1],
        _compiled(survey_door)[1],
    )
