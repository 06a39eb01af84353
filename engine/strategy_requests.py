"""What order calls do underneath: natural units to scaled integers, the request record, the call of the desk by its address.

One source, run as it is by Python strategies and compiled for the others: every function here is plain Python that compiled code may
call. Rounding: a natural value goes to the nearest tick or lot; one further than 1e-6 of a tick or lot away from it is refused.
This module must not decide anything about risk, and holds no state.
"""

import ctypes
import math
from collections.abc import Callable
from typing import Any, Final, TypeVar

from numba import config
from numba.extending import overload, register_jitable

from twinloop.kernels import book_depth, codes, rows
from twinloop.kernels.desk import hash_decision, record_refusal
from twinloop.kernels.intrinsics import call_at

_F = TypeVar("_F", bound=Callable[..., Any])


def jitable(function: _F) -> _F:
    """Let compiled code call a plain function; it stays one for Python."""
    register_jitable(function)
    return function


TOLERANCE: Final = 1e-6  # Of a tick or lot.
ROUNDING: Final = 2.0**-51  # Relative error of value * 10**scale, the value's own and the product's, with room.
SCALED_MAX: Final = 2.0**49  # Above it a float no longer tells neighbouring scaled integers apart safely.
MONEY: Final = 1e8
NEAREST: Final = 0
DOWN: Final = -1
UP: Final = 1
NEW: Final = 0
AMEND: Final = 1


def node_of(ctx: Any) -> Any:
    """The node a context stands for."""
    return ctx.node


_call_type = ctypes.CFUNCTYPE(None, ctypes.c_int64)


def service(function: int, address: int) -> None:
    """Call a service of the node by its address, from Python."""
    if config.DISABLE_JIT:
        call_at(function, address)
    else:
        _call_type(int(function))(int(address))


def refuse(node: Any, verdict: int, operation: int) -> None:
    """Number and record a call that was refused before it reached the desk."""
    if config.DISABLE_JIT:
        _refuse(node, verdict, operation)
    else:
        from twinloop.engine.strategy_types import refuse_door  # noqa: PLC0415 - only a plain-Python strategy needs it.

        refuse_door(node, verdict, operation)


def _call(function: int, address: int) -> None:
    call_at(function, address)


@jitable
def _refuse(node: Any, verdict: int, operation: int) -> None:
    request = node["request"]
    hash_decision(node, verdict)
    node["measured"]["decisions"] += 1
    record_refusal(node, node["current_strategy"], request["instrument"], verdict, operation)


@overload(service, strict=False)
def _service(*_arguments: Any) -> Any:
    return _call


@overload(refuse, strict=False)
def _refuse_compiled(*_arguments: Any) -> Any:
    return _refuse


# Scaling. A division: a product with 10**-scale would miss the nearest float, so that `ctx.bid(x) == 61659.7` would be false.


@jitable
def price_of(market: Any, price_int: int) -> float:
    """A scaled price of an instrument in natural units."""
    return float(price_int) / float(market["prices_per_unit"])


@jitable
def qty_of(market: Any, qty_int: int) -> float:
    """A scaled quantity of an instrument in natural units."""
    return float(qty_int) / float(market["qtys_per_unit"])


@jitable
def to_scaled(value: float, per_unit: float, step: int) -> tuple[int, int]:
    """(Scaled integer, ALLOW or why not) of a natural value on a grid of step scaled units."""
    if not math.isfinite(value):
        return 0, codes.REJECT_NOT_FINITE
    scaled = value * per_unit
    if step <= 0 or abs(scaled) > SCALED_MAX:
        return 0, codes.REJECT_OFF_GRID
    nearest = math.floor(scaled / step + 0.5) * step
    if abs(scaled - nearest) > max(TOLERANCE * step, abs(scaled) * ROUNDING):
        return nearest, codes.REJECT_OFF_GRID
    return nearest, codes.ALLOW


@jitable
def on_grid(value: float, per_unit: float, step: int, direction: int) -> float:
    """The natural value's neighbour on the grid: nearest, at or below, at or above. Within 1e-6 of a step counts as on it."""
    scaled = value * per_unit
    if not math.isfinite(scaled) or step <= 0 or abs(scaled) > SCALED_MAX:
        raise ValueError("value to round is not finite or too large")
    steps = scaled / step
    slack = max(TOLERANCE, abs(steps) * ROUNDING)
    if direction == NEAREST:
        count = math.floor(steps + 0.5)
    elif direction == DOWN:
        count = math.floor(steps + slack)
    else:
        count = math.ceil(steps - slack)
    return float(int(count) * step) / per_unit


@jitable
def market_of(node: Any, instrument: int) -> Any:
    """The instrument's record."""
    if instrument < 0 or instrument >= node["decision"]["instrument_count"]:
        raise IndexError("no instrument has this slot in this run")
    return node["decision"]["instruments"][instrument]


@jitable
def holding_of(node: Any, instrument: int) -> Any:
    """What the strategy that is called holds of an instrument, and its working orders there."""
    market_of(node, instrument)  # For its refusal of an unknown slot.
    return node["decision"]["strategy_holdings"][node["current_strategy"]][instrument]


@jitable
def account_of(node: Any) -> Any:
    """The record of the account that the strategy which is called trades for."""
    decision = node["decision"]
    return decision["accounts"][decision["strategies"][node["current_strategy"]]["account"]]


@jitable
def is_known_slot(node: Any, instrument: int) -> bool:
    """Whether the run has an instrument in this slot."""
    return bool(0 <= instrument < node["decision"]["instrument_count"])


@jitable
def order_of(node: Any, order_id: int) -> Any:
    """The record of the slot an id stands for; the caller compares ids."""
    return node["decision"]["orders"][order_id & (node["decision"]["orders"].shape[0] - 1)]


@jitable
def holds(node: Any, order_id: int) -> bool:
    """Whether the table still holds the order of an id."""
    return order_id > 0 and order_of(node, order_id)["id"] == order_id


# Requests.


@jitable
def fill_request(
    node: Any, instrument: int, side: int, kind: int, flags: int, price: int, qty: int, trigger: int, expire_ns: int
) -> None:
    """Fill the request record; scaled units."""
    request = node["request"]
    request["instrument"] = instrument
    request["side"] = side
    request["type"] = kind
    request["flags"] = flags
    request["price"] = price
    request["qty"] = qty
    request["trigger_price"] = trigger
    request["expire_ns"] = expire_ns
    request["order_id"] = 0
    request["limit"] = 0
    request["value"] = 0
    request["result"] = 0


@jitable
def submit(
    node: Any, instrument: int, side: int, kind: int, flags: int, price: int, qty: int, trigger: int, expire_ns: int
) -> int:
    """Ask the desk for a new order in scaled units; its id, or minus a verdict."""
    if side != 1 and side != -1:
        raise ValueError("side is neither tl.BUY nor tl.SELL")
    fill_request(node, instrument, side, kind, flags, price, qty, trigger, expire_ns)
    service(node["submit"], node["address"])
    return int(node["request"]["result"])


@jitable
def submit_natural(
    node: Any,
    instrument: int,
    side: int,
    kind: int,
    flags: int,
    price: float,
    qty: float,
    trigger: float,
    expire_ns: int,
) -> int:
    """Scale, refuse what is not on the grid, submit. price and trigger are 0.0 where the order type has none."""
    if not is_known_slot(node, instrument):
        return submit(node, instrument, side, kind, flags, 0, 0, 0, expire_ns)
    market = node["decision"]["instruments"][instrument]
    qty_int, verdict = to_scaled(qty, market["qtys_per_unit"], market["lot_size"])
    price_int = 0
    trigger_int = 0
    if kind == codes.LIMIT or kind == codes.STOP_LIMIT:
        price_int, found = to_scaled(price, market["prices_per_unit"], market["tick_size"])
        verdict = verdict if verdict != codes.ALLOW else found
    if kind == codes.STOP or kind == codes.STOP_LIMIT:
        trigger_int, found = to_scaled(trigger, market["prices_per_unit"], market["tick_size"])
        verdict = verdict if verdict != codes.ALLOW else found
    if verdict != codes.ALLOW:
        fill_request(node, instrument, side, kind, flags, price_int, qty_int, trigger_int, expire_ns)
        refuse(node, verdict, rows.NEW)
        return -verdict
    return submit(node, instrument, side, kind, flags, price_int, qty_int, trigger_int, expire_ns)


@jitable
def slice_natural(
    node: Any, instrument: int, side: int, flags: int, price: float, qty: float, slice_qty: float, interval_ns: int
) -> int:
    """Scale, refuse what is not on the grid, begin to slice; the id, or minus a verdict. price: 0.0 for none."""
    if side != 1 and side != -1:
        raise ValueError("side is neither tl.BUY nor tl.SELL")
    price_int = 0
    qty_int = 0
    slice_int = 0
    verdict = codes.ALLOW
    if is_known_slot(node, instrument):
        market = node["decision"]["instruments"][instrument]
        qty_int, verdict = to_scaled(qty, market["qtys_per_unit"], market["lot_size"])
        slice_int, found = to_scaled(slice_qty, market["qtys_per_unit"], market["lot_size"])
        verdict = verdict if verdict != codes.ALLOW else found
        if price != 0.0:
            price_int, found = to_scaled(price, market["prices_per_unit"], market["tick_size"])
            verdict = verdict if verdict != codes.ALLOW else found
    fill_request(node, instrument, side, codes.LIMIT, flags, price_int, qty_int, 0, interval_ns)
    node["request"]["slice_qty"] = slice_int
    if verdict != codes.ALLOW:
        refuse(node, verdict, rows.NEW)
        return -verdict
    service(node["slice_order"], node["address"])
    return int(node["request"]["result"])


@jitable
def flags_of(tif: int, post_only: bool, reduce_only: bool, expire_ns: int) -> int:
    """Time in force and instructions as a request's flags; an expiry makes GTC a GTD."""
    flags = int(tif)
    if expire_ns != 0 and flags == codes.GTC:
        flags = codes.GTD
    if post_only:
        flags |= codes.POST_ONLY
    if reduce_only:
        flags |= codes.REDUCE_ONLY
    return flags


@jitable
def book_slot(node: Any, instrument: int) -> int:
    """Slot of the instrument's book, or -1 without depth."""
    return int(market_of(node, instrument)["book"])


@jitable
def side_index(side: int) -> int:
    """0 for bids (tl.BUY), 1 for asks (tl.SELL)."""
    if side != 1 and side != -1:
        raise ValueError("side is neither tl.BUY (bids) nor tl.SELL (asks)")
    return 0 if side == 1 else 1


@jitable
def level_of(node: Any, instrument: int, side: int, level: int) -> tuple[int, int]:
    """Scaled (price, quantity) of a level, 0 the best; (0, 0) where there is none."""
    market = market_of(node, instrument)
    index = side_index(side)
    slot = market["book"]
    price = market["bid"] if index == 0 else market["ask"]
    qty = market["bid_qty"] if index == 0 else market["ask_qty"]
    if level == 0 or qty == 0:
        if level != 0:
            return 0, 0
        return int(price), int(qty)
    if slot < 0:
        return 0, 0
    book = node["decision"]["books"][slot]
    for _ in range(level):
        price = book_depth.next_level(book, index, price)
        if price == book_depth.NO_PRICE:
            return 0, 0
    return int(price), int(book_depth.qty_at(book, index, price))
