"""The compiled code's doors: one C function per service, taking addresses, so that a call costs well under a microsecond.

Built once per size class; strategies and the driver reach the kernels only through here. With the JIT off the doors are Python functions
registered under a number.
"""

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any, Final, NamedTuple

import numpy as np
from numba import carray, config, types

from twinloop.kernels import image
from twinloop.kernels.arrivals import arrive
from twinloop.kernels.bars import bar_init
from twinloop.kernels.book import book_clear, set_outside
from twinloop.kernels.callbacks import call_strategy
from twinloop.kernels.desk import amend, cancel, cancel_all, request_timer, submit
from twinloop.kernels.following import level_spoken
from twinloop.kernels.intrinsics import hash_memory, record_at, register
from twinloop.kernels.jit import njit
from twinloop.kernels.matching import fill_reached, orders_on_trade, other_row, stops_on_touch
from twinloop.kernels.newest_touch import newest_apply
from twinloop.kernels.node import SizeClass, node_dtype
from twinloop.kernels.records import record_order, sample_equity
from twinloop.kernels.replay import advance_venue, run_replay, see_all
from twinloop.kernels.risk import gate
from twinloop.kernels.rows import FLAG_TAIL, ROW
from twinloop.kernels.slicer import slice_order
from twinloop.kernels.venue import venue_dtype

# What the venue's group compiles for the loop's, which calls it: two cores share the work.
_PROMISES: Final = {"venue": {
    advance_venue: types.boolean, arrive: types.none, fill_reached: types.none, level_spoken: types.none, newest_apply: types.boolean,
    orders_on_trade: types.none, other_row: types.none, set_outside: types.int64, stops_on_touch: types.none,
}}  # fmt: skip

SERVICES: Final = ("submit", "amend", "cancel", "cancel_all", "set_timer", "slice_order", "gate")

CALL: Final = np.dtype(
    [(name, "<i8") for name in (
        "node", "venue", "local", "local_count", "market", "market_count", "start", "more_local", "rows_max", "status", "at", "callback",
        "strategy", "slot", "kind", "value", "price_scale", "qty_scale",
    )]
)  # fmt: skip
_ROWS: Final = types.CPointer(types.uint8)
_DOOR: Final = ctypes.CFUNCTYPE(None, ctypes.c_int64)


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


def _callable(address: int, function: Callable[[int], None]) -> Callable[[int], None]:
    """A door as Python calls it."""
    return function if config.DISABLE_JIT else _DOOR(address)


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


Functions = dict[str, dict[str, Callable[[int], None]]]


def _functions(size: SizeClass) -> tuple[np.dtype[np.void], np.dtype[np.void], Functions]:
    """Records of a size class, and its doors in groups that share little: they are compiled side by side."""
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

    def slice_door(address: int) -> None:
        slice_order(record_at(address, NODE))

    def gate_door(address: int) -> None:
        gate(record_at(address, NODE))

    def replay_door(address: int) -> None:
        call = record_at(address, CALL)
        venue = record_at(call["venue"], VENUE)
        venue["local_rows"] = call["local"]
        venue["local_count"] = call["local_count"]
        venue["market_rows"] = call["market"]
        venue["market_count"] = call["market_count"]
        status, at = run_replay(
            record_at(call["node"], NODE), venue, call["start"], call["more_local"], call["rows_max"]
        )
        call["status"] = status
        call["at"] = at

    def see_all_door(address: int) -> None:
        call = record_at(address, CALL)
        venue = record_at(call["venue"], VENUE)
        venue["market_rows"] = call["market"]
        see_all(venue)

    def venue_door(address: int) -> None:
        # Nobody's door: it has all that _PROMISES names compiled.
        venue = record_at(record_at(address, CALL)["venue"], VENUE)
        advance_venue(venue, 0, 0)

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

    loop: dict[str, Callable[[int], None]] = {
        "replay": replay_door, "callback": callback_door, "finish": finish_door, "state_hash": hash_door,
        "clear_books": clear_books_door, "init_bar": init_bar_door, "survey": survey_door,
    }  # fmt: skip
    venue: dict[str, Callable[[int], None]] = {"see_all": see_all_door, "venue": venue_door}
    desk: dict[str, Callable[[int], None]] = {
        "submit": submit_door, "amend": amend_door, "cancel": cancel_door, "cancel_all": cancel_all_door, "set_timer": timer_door,
        "slice_order": slice_door,
        "gate": gate_door,
    }  # fmt: skip
    return NODE, VENUE, {"loop": loop, "venue": venue, "desk": desk}


@cache
def doors(size: SizeClass) -> Doors:
    """Build, or load from the cache, the doors of a size class."""
    node, venue, groups = _functions(size)
    functions = {name: function for group in groups.values() for name, function in group.items()}
    if config.DISABLE_JIT:
        addresses = {name: register(function) for name, function in functions.items()}
    else:
        addresses = image.load(
            size.name,
            groups,
            f"from twinloop.kernels.entry import make_image; make_image({tuple(size)!r}, {{!r}})",
            _PROMISES,
        )
    calls = {name: _callable(address, functions[name]) for name, address in addresses.items() if name in Doors._fields}
    return Doors(node, venue, {name: addresses[name] for name in SERVICES}, **calls)


def make_image(size: tuple[Any, ...], group: str) -> None:
    """Compile one group of a size class's doors into its image: the work of a process beside the one that waits for it."""
    chosen = SizeClass(*size)
    image.make(chosen.name, group, _functions(chosen)[2][group], _PROMISES)
