"""`ctx`: what a strategy may ask and order. One source, compiled for Strategy and run as it is by Python strategies.

Every method's `self` is a Context, which stands for the node; `node_of` gets it (engine/strategy_types.py compiles both). Order
calls fill `node["request"]` and call the desk by its address, so that a strategy never contains the risk gate.

Prices and quantities are natural units (61659.7, 0.005) as floats or ints; the `*_scaled` calls take scaled integers. A natural
value is rounded to the nearest tick or lot; one further than 1e-6 of a tick or lot away from it is refused, not rounded.
Order calls return an order id (> 0) or minus a verdict (`-codes.REJECT_*`), and never raise for a refusal. What is unknown yet
(no quote, no trade) reads as 0.0. An instrument slot that the run does not have raises IndexError and ends the run.
This module must not decide anything about risk, and holds no state.
"""

import ctypes
import math
from typing import Any, Final

from numba import config
from numba.extending import overload, register_jitable

from twinloop.kernels import book_depth, codes, rows
from twinloop.kernels.desk import hash_decision, record_refusal
from twinloop.kernels.intrinsics import call_at
from twinloop.kernels.node import NEVER

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


@register_jitable
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


# Scaling.


@register_jitable
def to_scaled(value: float, per_unit: float, step: int) -> tuple[int, int]:
    """(Scaled integer, ALLOW or why not) of a natural value on a grid of step scaled units."""
    if not math.isfinite(value):
        return 0, codes.REJECT_NOT_FINITE
    scaled = value * per_unit
    if step <= 0 or abs(scaled) > SCALED_MAX:
        return 0, codes.REJECT_OFF_GRID
    on_grid = int(math.floor(scaled / step + 0.5)) * step
    if abs(scaled - on_grid) > max(TOLERANCE * step, abs(scaled) * ROUNDING):
        return on_grid, codes.REJECT_OFF_GRID
    return on_grid, codes.ALLOW


@register_jitable
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


@register_jitable
def _market(node: Any, instrument: int) -> Any:
    """The instrument's record."""
    if instrument < 0 or instrument >= node["decision"]["instrument_count"]:
        raise IndexError("no instrument has this slot in this run")
    return node["decision"]["instruments"][instrument]


@register_jitable
def _known(node: Any, instrument: int) -> bool:
    return 0 <= instrument < node["decision"]["instrument_count"]


@register_jitable
def _order(node: Any, order_id: int) -> Any:
    """The record of the slot an id stands for; the caller compares ids."""
    return node["decision"]["orders"][order_id & (node["decision"]["orders"].shape[0] - 1)]


@register_jitable
def _holds(node: Any, order_id: int) -> bool:
    return order_id > 0 and _order(node, order_id)["id"] == order_id


# Requests.


@register_jitable
def _ask(
    node: Any, instrument: int, side: int, kind: int, flags: int, price: int, qty: int, trigger: int, expire_ns: int
) -> None:
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


@register_jitable
def _submit(
    node: Any, instrument: int, side: int, kind: int, flags: int, price: int, qty: int, trigger: int, expire_ns: int
) -> int:
    if side != 1 and side != -1:
        raise ValueError("side is neither tl.BUY nor tl.SELL")
    _ask(node, instrument, side, kind, flags, price, qty, trigger, expire_ns)
    service(node["submit"], node["address"])
    return int(node["request"]["result"])


@register_jitable
def _submit_natural(
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
    if not _known(node, instrument):
        return _submit(node, instrument, side, kind, flags, 0, 0, 0, expire_ns)
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
        _ask(node, instrument, side, kind, flags, price_int, qty_int, trigger_int, expire_ns)
        refuse(node, verdict, rows.NEW)
        return -verdict
    return _submit(node, instrument, side, kind, flags, price_int, qty_int, trigger_int, expire_ns)


@register_jitable
def _flags(tif: int, post_only: bool, reduce_only: bool, expire_ns: int) -> int:
    flags = int(tif)
    if expire_ns != 0 and flags == codes.GTC:
        flags = codes.GTD
    if post_only:
        flags |= codes.POST_ONLY
    if reduce_only:
        flags |= codes.REDUCE_ONLY
    return flags


@register_jitable
def _book(node: Any, instrument: int) -> int:
    """Slot of the instrument's book, or -1 without depth."""
    return int(_market(node, instrument)["book"])


@register_jitable
def _side_index(side: int) -> int:
    if side != 1 and side != -1:
        raise ValueError("side is neither tl.BUY (bids) nor tl.SELL (asks)")
    return 0 if side == 1 else 1


@register_jitable
def _level(node: Any, instrument: int, side: int, level: int) -> tuple[int, int]:
    """Scaled (price, quantity) of a level, 0 the best; (0, 0) where there is none."""
    market = _market(node, instrument)
    index = _side_index(side)
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


class Context:
    """What a callback gets as `ctx`."""

    __slots__ = ("node",)

    def __init__(self, node: Any) -> None:
        self.node = node

    # Orders.

    def buy(self, instrument: int, qty: float, reduce_only: bool = False) -> int:
        """Market order to buy."""
        node = node_of(self)
        flags = _flags(codes.IOC, False, reduce_only, 0)
        return _submit_natural(node, instrument, 1, codes.MARKET, flags, 0.0, qty, 0.0, 0)

    def sell(self, instrument: int, qty: float, reduce_only: bool = False) -> int:
        """Market order to sell."""
        node = node_of(self)
        flags = _flags(codes.IOC, False, reduce_only, 0)
        return _submit_natural(node, instrument, -1, codes.MARKET, flags, 0.0, qty, 0.0, 0)

    def market_scaled(self, instrument: int, side: int, qty_int: int, reduce_only: bool = False) -> int:
        """Market order in scaled units."""
        flags = _flags(codes.IOC, False, reduce_only, 0)
        return _submit(node_of(self), instrument, side, codes.MARKET, flags, 0, qty_int, 0, 0)

    def limit(
        self,
        instrument: int,
        side: int,
        price: float,
        qty: float,
        tif: int = codes.GTC,
        post_only: bool = False,
        reduce_only: bool = False,
        expire_ns: int = 0,
    ) -> int:
        """Limit order. side: tl.BUY or tl.SELL; tif: tl.GTC, tl.IOC, tl.FOK, tl.DAY; expire_ns: venue time, makes it GTD."""
        flags = _flags(tif, post_only, reduce_only, expire_ns)
        return _submit_natural(node_of(self), instrument, side, codes.LIMIT, flags, price, qty, 0.0, expire_ns)

    def limit_scaled(
        self,
        instrument: int,
        side: int,
        price_int: int,
        qty_int: int,
        tif: int = codes.GTC,
        post_only: bool = False,
        reduce_only: bool = False,
        expire_ns: int = 0,
    ) -> int:
        """Limit order in scaled units."""
        flags = _flags(tif, post_only, reduce_only, expire_ns)
        return _submit(node_of(self), instrument, side, codes.LIMIT, flags, price_int, qty_int, 0, expire_ns)

    def stop(
        self,
        instrument: int,
        side: int,
        trigger_price: float,
        qty: float,
        reduce_only: bool = False,
        expire_ns: int = 0,
    ) -> int:
        """Stop order: a market order once the last price reaches trigger_price."""
        flags = _flags(codes.GTC, False, reduce_only, expire_ns)
        return _submit_natural(node_of(self), instrument, side, codes.STOP, flags, 0.0, qty, trigger_price, expire_ns)

    def stop_scaled(
        self,
        instrument: int,
        side: int,
        trigger_price_int: int,
        qty_int: int,
        reduce_only: bool = False,
        expire_ns: int = 0,
    ) -> int:
        """Stop order in scaled units."""
        flags = _flags(codes.GTC, False, reduce_only, expire_ns)
        return _submit(node_of(self), instrument, side, codes.STOP, flags, 0, qty_int, trigger_price_int, expire_ns)

    def stop_limit(
        self,
        instrument: int,
        side: int,
        trigger_price: float,
        price: float,
        qty: float,
        tif: int = codes.GTC,
        reduce_only: bool = False,
        expire_ns: int = 0,
    ) -> int:
        """Stop-limit order: a limit order at price once the last price reaches trigger_price."""
        flags = _flags(tif, False, reduce_only, expire_ns)
        node = node_of(self)
        return _submit_natural(node, instrument, side, codes.STOP_LIMIT, flags, price, qty, trigger_price, expire_ns)

    def stop_limit_scaled(
        self,
        instrument: int,
        side: int,
        trigger_price_int: int,
        price_int: int,
        qty_int: int,
        tif: int = codes.GTC,
        reduce_only: bool = False,
        expire_ns: int = 0,
    ) -> int:
        """Stop-limit order in scaled units."""
        flags = _flags(tif, False, reduce_only, expire_ns)
        node = node_of(self)
        return _submit(
            node, instrument, side, codes.STOP_LIMIT, flags, price_int, qty_int, trigger_price_int, expire_ns
        )

    def amend(self, order_id: int, price: float, qty: float) -> int:
        """Change price and total quantity (filled part included) of a working order; returns its id or minus a verdict."""
        node = node_of(self)
        price_int = 0
        qty_int = 0
        if _holds(node, order_id):
            order = _order(node, order_id)
            market = node["decision"]["instruments"][order["instrument"]]
            price_int, verdict = to_scaled(price, market["prices_per_unit"], market["tick_size"])
            qty_int, found = to_scaled(qty, market["qtys_per_unit"], market["lot_size"])
            verdict = verdict if verdict != codes.ALLOW else found
            if verdict != codes.ALLOW:
                _ask(node, order["instrument"], order["side"], order["type"], 0, price_int, qty_int, 0, 0)
                refuse(node, verdict, rows.AMEND)
                return -verdict
        return self.amend_scaled(order_id, price_int, qty_int)

    def amend_scaled(self, order_id: int, price_int: int, qty_int: int) -> int:
        """Amend in scaled units."""
        node = node_of(self)
        _ask(node, -1, 0, 0, 0, price_int, qty_int, 0, 0)
        if _holds(node, order_id):
            order = _order(node, order_id)
            node["request"]["instrument"] = order["instrument"]
            node["request"]["side"] = order["side"]
            node["request"]["type"] = order["type"]
            node["request"]["flags"] = order["flags"]
        node["request"]["order_id"] = order_id
        service(node["amend"], node["address"])
        return int(node["request"]["result"])

    def cancel(self, order_id: int) -> int:
        """Cancel a working order; returns its id or minus a verdict. No limit refuses a cancel."""
        node = node_of(self)
        node["request"]["order_id"] = order_id
        node["request"]["result"] = 0
        service(node["cancel"], node["address"])
        return int(node["request"]["result"])

    def cancel_all(self, instrument: int = -1) -> int:
        """Cancel this strategy's working orders, of one instrument or (-1) of all; returns how many cancels were sent."""
        node = node_of(self)
        if instrument != -1:
            _market(node, instrument)
        node["request"]["instrument"] = instrument
        node["request"]["result"] = 0
        service(node["cancel_all"], node["address"])
        return int(node["request"]["result"])

    # Orders asked about.

    def order_state(self, order_id: int) -> int:
        """codes.STATE_*; STATE_NONE for an id that is not (or no longer) in the table."""
        node = node_of(self)
        return int(_order(node, order_id)["state"]) if _holds(node, order_id) else codes.STATE_NONE

    def is_open(self, order_id: int) -> bool:
        """Whether the order may still fill, as far as is proven."""
        node = node_of(self)
        if not _holds(node, order_id):
            return False
        state = _order(node, order_id)["state"]
        return bool(codes.STATE_NONE < state < codes.STATE_FILLED)

    def order_filled(self, order_id: int) -> float:
        """Quantity filled so far, natural units."""
        node = node_of(self)
        if not _holds(node, order_id):
            return 0.0
        order = _order(node, order_id)
        return float(order["filled"]) / float(_market(node, order["instrument"])["qtys_per_unit"])

    def order_leaves(self, order_id: int) -> float:
        """Quantity not filled yet of an open order, natural units."""
        node = node_of(self)
        if not _holds(node, order_id):
            return 0.0
        order = _order(node, order_id)
        if order["state"] >= codes.STATE_FILLED:
            return 0.0
        return float(max(order["qty"] - order["filled"], 0)) / float(
            _market(node, order["instrument"])["qtys_per_unit"]
        )

    def order_price(self, order_id: int) -> float:
        """Limit price, natural units; 0.0 without one."""
        node = node_of(self)
        if not _holds(node, order_id):
            return 0.0
        order = _order(node, order_id)
        return float(order["price"]) / float(_market(node, order["instrument"])["prices_per_unit"])

    def open_orders(self, instrument: int = -1) -> int:
        """How many working orders this strategy has, on one instrument or (-1) on all. O(working orders)."""
        node = node_of(self)
        decision = node["decision"]
        found = 0
        for i in range(decision["open_count"]):
            order = decision["orders"][decision["open_orders"][i]]
            if order["strategy"] == node["current_strategy"] and (
                instrument == -1 or order["instrument"] == instrument
            ):
                found += 1
        return found

    def open_order(self, index: int, instrument: int = -1) -> int:
        """Id of this strategy's index-th working order (no particular order), 0 past the last."""
        node = node_of(self)
        decision = node["decision"]
        found = 0
        for i in range(decision["open_count"]):
            order = decision["orders"][decision["open_orders"][i]]
            if order["strategy"] == node["current_strategy"] and (
                instrument == -1 or order["instrument"] == instrument
            ):
                if found == index:
                    return int(order["id"])
                found += 1
        return 0

    # Timers.

    def set_timer(self, timer_id: int, delay_ns: int = 0, interval_ns: int = 0, at_ns: int = 0) -> int:
        """(Re)arm a timer at local time at_ns, or delay_ns from now; it repeats every interval_ns if that is > 0.

        With an interval alone it first fires one interval from now. Returns 0, or minus REJECT_TIMERS_FULL.
        """
        node = node_of(self)
        due_ns = at_ns
        if due_ns == 0:
            wait_ns = delay_ns if delay_ns > 0 else interval_ns
            due_ns = node["decision"]["clock"]["now_ns"] + wait_ns
        request = node["request"]
        request["order_id"] = timer_id
        request["expire_ns"] = min(max(due_ns, 1), NEVER - 1)
        request["qty"] = max(interval_ns, 0)
        service(node["set_timer"], node["address"])
        return int(node["request"]["result"])

    def cancel_timer(self, timer_id: int) -> int:
        """Disarm a timer; one that is not armed is left alone."""
        node = node_of(self)
        request = node["request"]
        request["order_id"] = timer_id
        request["expire_ns"] = 0
        request["qty"] = 0
        service(node["set_timer"], node["address"])
        return int(node["request"]["result"])

    # The clock.

    @property
    def now_ns(self) -> int:
        """Local time of the row in hand, ns since the epoch."""
        return int(node_of(self)["decision"]["clock"]["now_ns"])

    @property
    def venue_ns(self) -> int:
        """Venue time of the row in hand, 0 where it states none."""
        return int(node_of(self)["decision"]["clock"]["venue_ns"])

    @property
    def sequence(self) -> int:
        """Sequence of the row in hand."""
        return int(node_of(self)["decision"]["clock"]["sequence"])

    # The market.

    def bid(self, instrument: int) -> float:
        """Best bid."""
        market = _market(node_of(self), instrument)
        return float(market["bid"]) / float(market["prices_per_unit"])

    def ask(self, instrument: int) -> float:
        """Best ask."""
        market = _market(node_of(self), instrument)
        return float(market["ask"]) / float(market["prices_per_unit"])

    def bid_qty(self, instrument: int) -> float:
        """Quantity at the best bid."""
        market = _market(node_of(self), instrument)
        return float(market["bid_qty"]) / float(market["qtys_per_unit"])

    def ask_qty(self, instrument: int) -> float:
        """Quantity at the best ask."""
        market = _market(node_of(self), instrument)
        return float(market["ask_qty"]) / float(market["qtys_per_unit"])

    def mid(self, instrument: int) -> float:
        """(bid + ask) / 2; 0.0 while a side is unknown."""
        market = _market(node_of(self), instrument)
        if market["bid"] == 0 or market["ask"] == 0:
            return 0.0
        return float(market["bid"] + market["ask"]) / float(market["prices_per_unit"]) * 0.5

    def spread(self, instrument: int) -> float:
        """Ask - bid; 0.0 while a side is unknown."""
        market = _market(node_of(self), instrument)
        if market["bid"] == 0 or market["ask"] == 0:
            return 0.0
        return float(market["ask"] - market["bid"]) / float(market["prices_per_unit"])

    def last(self, instrument: int) -> float:
        """Price of the last trade."""
        market = _market(node_of(self), instrument)
        return float(market["last_price"]) / float(market["prices_per_unit"])

    def mark(self, instrument: int) -> float:
        """The venue's mark price."""
        market = _market(node_of(self), instrument)
        return float(market["mark_price"]) / float(market["prices_per_unit"])

    def bid_scaled(self, instrument: int) -> int:
        """Best bid, scaled."""
        return int(_market(node_of(self), instrument)["bid"])

    def ask_scaled(self, instrument: int) -> int:
        """Best ask, scaled."""
        return int(_market(node_of(self), instrument)["ask"])

    def last_scaled(self, instrument: int) -> int:
        """Price of the last trade, scaled."""
        return int(_market(node_of(self), instrument)["last_price"])

    def is_stale(self, instrument: int) -> bool:
        """Whether the instrument's feed has a gap or is silent."""
        return bool(_market(node_of(self), instrument)["stale"] != 0)

    # The book.

    def level_price(self, instrument: int, side: int, level: int) -> float:
        """Price of a level, 0 the best; side tl.BUY: bids. 0.0 where there is none. O(level)."""
        node = node_of(self)
        price, _ = _level(node, instrument, side, level)
        return float(price) / float(_market(node, instrument)["prices_per_unit"])

    def level_qty(self, instrument: int, side: int, level: int) -> float:
        """Quantity of a level, 0 the best. 0.0 where there is none. O(level)."""
        node = node_of(self)
        _, qty = _level(node, instrument, side, level)
        return float(qty) / float(_market(node, instrument)["qtys_per_unit"])

    def qty_at(self, instrument: int, side: int, price: float) -> float:
        """Displayed quantity at a price; 0.0 if there is none or no depth."""
        node = node_of(self)
        market = _market(node, instrument)
        index = _side_index(side)
        price_int, verdict = to_scaled(price, market["prices_per_unit"], market["tick_size"])
        if market["book"] < 0 or verdict != codes.ALLOW:
            return 0.0
        qty = book_depth.qty_at(node["decision"]["books"][market["book"]], index, price_int)
        return float(qty) / float(market["qtys_per_unit"])

    def depth_qty(self, instrument: int, side: int, levels: int) -> float:
        """Total displayed quantity of the best levels of one side; 0.0 without depth."""
        node = node_of(self)
        market = _market(node, instrument)
        index = _side_index(side)
        if market["book"] < 0:
            return 0.0
        qty = book_depth.depth_qty(node["decision"]["books"][market["book"]], index, levels)
        return float(qty) / float(market["qtys_per_unit"])

    def imbalance(self, instrument: int, levels: int = 1) -> float:
        """(bid - ask quantity) / their sum, -1..1, over the best levels; with one level or without depth, of the touch."""
        node = node_of(self)
        market = _market(node, instrument)
        if market["book"] >= 0 and levels > 1:
            return float(book_depth.imbalance(node["decision"]["books"][market["book"]], levels))
        total = market["bid_qty"] + market["ask_qty"]
        return float(market["bid_qty"] - market["ask_qty"]) / float(total) if total > 0 else 0.0

    def book_state(self, instrument: int) -> int:
        """book.BOOK_* (2 is LIVE: complete and not crossed); -1 without depth."""
        node = node_of(self)
        slot = _book(node, instrument)
        return int(node["decision"]["books"][slot]["state"]) if slot >= 0 else -1

    # Own position and money.

    def position(self, instrument: int) -> float:
        """This strategy's position, natural units, short negative."""
        node = node_of(self)
        market = _market(node, instrument)
        holding = node["decision"]["strategy_holdings"][node["current_strategy"]][instrument]
        return float(holding["position"]["qty"]) / float(market["qtys_per_unit"])

    def position_scaled(self, instrument: int) -> int:
        """This strategy's position, scaled."""
        node = node_of(self)
        _market(node, instrument)
        return int(node["decision"]["strategy_holdings"][node["current_strategy"]][instrument]["position"]["qty"])

    def working(self, instrument: int, side: int) -> float:
        """Quantity of this strategy's working orders on one side (in flight and being cancelled included)."""
        node = node_of(self)
        market = _market(node, instrument)
        exposure = node["decision"]["strategy_holdings"][node["current_strategy"]][instrument]["exposure"]
        qty = exposure["buy_qty"] if _side_index(side) == 0 else exposure["sell_qty"]
        return float(qty) / float(market["qtys_per_unit"])

    def realised(self, instrument: int) -> float:
        """This strategy's realised profit before fees, in the settlement currency."""
        node = node_of(self)
        _market(node, instrument)
        position = node["decision"]["strategy_holdings"][node["current_strategy"]][instrument]["position"]
        return float(position["realised"]) / MONEY

    def equity(self) -> float:
        """Equity of this strategy's account, in its currency."""
        node = node_of(self)
        account = node["decision"]["strategies"][node["current_strategy"]]["account"]
        return float(node["decision"]["accounts"][account]["equity"]) / MONEY

    def cash(self) -> float:
        """Cash of this strategy's account, in its currency."""
        node = node_of(self)
        account = node["decision"]["strategies"][node["current_strategy"]]["account"]
        return float(node["decision"]["accounts"][account]["cash"]) / MONEY

    def trading_state(self) -> int:
        """codes.ACTIVE, REDUCING or HALTED of this strategy's account."""
        node = node_of(self)
        account = node["decision"]["strategies"][node["current_strategy"]]["account"]
        return int(node["decision"]["accounts"][account]["state"])

    # Rules and the grid.

    def tick_size(self, instrument: int) -> float:
        """Smallest price step."""
        market = _market(node_of(self), instrument)
        return float(market["tick_size"]) / float(market["prices_per_unit"])

    def lot_size(self, instrument: int) -> float:
        """Smallest quantity step."""
        market = _market(node_of(self), instrument)
        return float(market["lot_size"]) / float(market["qtys_per_unit"])

    def min_qty(self, instrument: int) -> float:
        """Smallest quantity of an order."""
        market = _market(node_of(self), instrument)
        return float(market["min_qty"]) / float(market["qtys_per_unit"])

    def round_price(self, instrument: int, price: float) -> float:
        """Nearest price on the tick grid."""
        market = _market(node_of(self), instrument)
        return on_grid(price, market["prices_per_unit"], market["tick_size"], NEAREST)

    def floor_price(self, instrument: int, price: float) -> float:
        """Highest price on the tick grid at or below price."""
        market = _market(node_of(self), instrument)
        return on_grid(price, market["prices_per_unit"], market["tick_size"], DOWN)

    def ceil_price(self, instrument: int, price: float) -> float:
        """Lowest price on the tick grid at or above price."""
        market = _market(node_of(self), instrument)
        return on_grid(price, market["prices_per_unit"], market["tick_size"], UP)

    def round_qty(self, instrument: int, qty: float) -> float:
        """Nearest quantity on the lot grid."""
        market = _market(node_of(self), instrument)
        return on_grid(qty, market["qtys_per_unit"], market["lot_size"], NEAREST)

    def floor_qty(self, instrument: int, qty: float) -> float:
        """Largest quantity on the lot grid at or below qty."""
        market = _market(node_of(self), instrument)
        return on_grid(qty, market["qtys_per_unit"], market["lot_size"], DOWN)

    def ceil_qty(self, instrument: int, qty: float) -> float:
        """Smallest quantity on the lot grid at or above qty."""
        market = _market(node_of(self), instrument)
        return on_grid(qty, market["qtys_per_unit"], market["lot_size"], UP)
