"""`ctx`: what a strategy may ask and order. One source, compiled for Strategy and run as it is by Python strategies.

Every method's `self` is a Context, which stands for the node; `node_of` gets it (engine/strategy_types.py compiles both). Order
calls fill `node["request"]` and call the desk by its address, so that a strategy never contains the risk gate.

Prices and quantities are natural units (61659.7, 0.005) as floats or ints; the `*_scaled` calls take scaled integers. A natural
value is rounded to the nearest tick or lot; one further than 1e-6 of a tick or lot away from it is refused, not rounded.
Order calls return an order id (> 0) or minus a verdict (`-codes.REJECT_*`), and never raise for a refusal. What is unknown yet
(no quote, no trade) reads as 0.0. An instrument slot that the run does not have raises IndexError and ends the run.
This module must not decide anything about risk, and holds no state.
"""

from typing import Any

from twinloop.engine.strategy_requests import (
    DOWN,
    MONEY,
    NEAREST,
    UP,
    account_of,
    book_slot,
    fill_request,
    flags_of,
    holding_of,
    holds,
    level_of,
    market_of,
    node_of,
    on_grid,
    order_of,
    price_of,
    qty_of,
    refuse,
    service,
    side_index,
    slice_natural,
    submit,
    submit_natural,
    to_scaled,
)
from twinloop.kernels import book_depth, codes, rows
from twinloop.kernels.exposure import sellable
from twinloop.kernels.node import NEVER


class Context:
    """What a callback gets as `ctx`."""

    __slots__ = ("node",)

    def __init__(self, node: Any) -> None:
        self.node = node

    # Orders.

    def buy(self, instrument: int, qty: float, reduce_only: bool = False) -> int:
        """Market order to buy."""
        node = node_of(self)
        flags = flags_of(codes.IOC, False, reduce_only, 0)
        return submit_natural(node, instrument, 1, codes.MARKET, flags, 0.0, qty, 0.0, 0)

    def sell(self, instrument: int, qty: float, reduce_only: bool = False) -> int:
        """Market order to sell."""
        node = node_of(self)
        flags = flags_of(codes.IOC, False, reduce_only, 0)
        return submit_natural(node, instrument, -1, codes.MARKET, flags, 0.0, qty, 0.0, 0)

    def market_scaled(self, instrument: int, side: int, qty_int: int, reduce_only: bool = False) -> int:
        """Market order in scaled units."""
        flags = flags_of(codes.IOC, False, reduce_only, 0)
        return submit(node_of(self), instrument, side, codes.MARKET, flags, 0, qty_int, 0, 0)

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
        flags = flags_of(tif, post_only, reduce_only, expire_ns)
        return submit_natural(node_of(self), instrument, side, codes.LIMIT, flags, price, qty, 0.0, expire_ns)

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
        flags = flags_of(tif, post_only, reduce_only, expire_ns)
        return submit(node_of(self), instrument, side, codes.LIMIT, flags, price_int, qty_int, 0, expire_ns)

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
        flags = flags_of(codes.GTC, False, reduce_only, expire_ns)
        return submit_natural(node_of(self), instrument, side, codes.STOP, flags, 0.0, qty, trigger_price, expire_ns)

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
        flags = flags_of(codes.GTC, False, reduce_only, expire_ns)
        return submit(node_of(self), instrument, side, codes.STOP, flags, 0, qty_int, trigger_price_int, expire_ns)

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
        flags = flags_of(tif, False, reduce_only, expire_ns)
        node = node_of(self)
        return submit_natural(node, instrument, side, codes.STOP_LIMIT, flags, price, qty, trigger_price, expire_ns)

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
        flags = flags_of(tif, False, reduce_only, expire_ns)
        node = node_of(self)
        return submit(node, instrument, side, codes.STOP_LIMIT, flags, price_int, qty_int, trigger_price_int, expire_ns)

    def amend(self, order_id: int, price: float, qty: float) -> int:
        """Change price and total quantity (filled part included) of a working order; returns its id or minus a verdict."""
        node = node_of(self)
        price_int = 0
        qty_int = 0
        if holds(node, order_id):
            order = order_of(node, order_id)
            market = node["decision"]["instruments"][order["instrument"]]
            price_int, verdict = to_scaled(price, market["prices_per_unit"], market["tick_size"])
            qty_int, found = to_scaled(qty, market["qtys_per_unit"], market["lot_size"])
            verdict = verdict if verdict != codes.ALLOW else found
            if verdict != codes.ALLOW:
                fill_request(node, order["instrument"], order["side"], order["type"], 0, price_int, qty_int, 0, 0)
                refuse(node, verdict, rows.AMEND)
                return -verdict
        return self.amend_scaled(order_id, price_int, qty_int)

    def amend_scaled(self, order_id: int, price_int: int, qty_int: int) -> int:
        """Amend in scaled units."""
        node = node_of(self)
        fill_request(node, -1, 0, 0, 0, price_int, qty_int, 0, 0)
        if holds(node, order_id):
            order = order_of(node, order_id)
            node["request"]["instrument"] = order["instrument"]
            node["request"]["side"] = order["side"]
            node["request"]["type"] = order["type"]
            node["request"]["flags"] = order["flags"]
        node["request"]["order_id"] = order_id
        service(node["amend"], node["address"])
        return int(node["request"]["result"])

    def slice(
        self,
        instrument: int,
        side: int,
        qty: float,
        slice_qty: float,
        price: float = 0.0,
        interval_ns: int = 0,
        reduce_only: bool = False,
    ) -> int:
        """Trade a large quantity in slices of at most slice_qty: immediate-or-cancel orders at the touch, one at a time.

        price: no slice goes beyond it; 0.0 none. interval_ns: from one slice to the next, at least. Returns an id for `cancel` and
        `slice_left`, or minus a verdict; each slice is an order of its own and passes the risk gate.
        """
        node = node_of(self)
        flags = flags_of(codes.IOC, False, reduce_only, 0)
        return slice_natural(node, instrument, side, flags, price, qty, slice_qty, interval_ns)

    def slice_left(self, sliced_id: int) -> float:
        """Quantity that `slice` has still to trade, natural units; 0.0 once it has ended."""
        node = node_of(self)
        sliced = node["decision"]["sliced"][sliced_id & (node["decision"]["sliced"].shape[0] - 1)]
        if sliced["id"] != sliced_id or sliced["active"] == 0:
            return 0.0
        return qty_of(market_of(node, sliced["instrument"]), sliced["qty"] - sliced["filled"])

    def cancel(self, order_id: int) -> int:
        """Cancel a working order, or what `slice` trades; returns its id or minus a verdict. No limit refuses a cancel."""
        node = node_of(self)
        node["request"]["order_id"] = order_id
        node["request"]["result"] = 0
        service(node["cancel"], node["address"])
        return int(node["request"]["result"])

    def cancel_all(self, instrument: int = -1) -> int:
        """Cancel this strategy's working orders, of one instrument or (-1) of all; returns how many cancels were sent."""
        node = node_of(self)
        if instrument != -1:
            market_of(node, instrument)
        node["request"]["instrument"] = instrument
        node["request"]["result"] = 0
        service(node["cancel_all"], node["address"])
        return int(node["request"]["result"])

    # Orders asked about.

    def order_state(self, order_id: int) -> int:
        """codes.STATE_*; STATE_NONE for an id that is not (or no longer) in the table."""
        node = node_of(self)
        return int(order_of(node, order_id)["state"]) if holds(node, order_id) else codes.STATE_NONE

    def is_open(self, order_id: int) -> bool:
        """Whether the order may still fill, as far as is proven."""
        node = node_of(self)
        if not holds(node, order_id):
            return False
        state = order_of(node, order_id)["state"]
        return bool(codes.STATE_NONE < state < codes.STATE_FILLED)

    def order_filled(self, order_id: int) -> float:
        """Quantity filled so far, natural units."""
        node = node_of(self)
        if not holds(node, order_id):
            return 0.0
        order = order_of(node, order_id)
        return qty_of(market_of(node, order["instrument"]), order["filled"])

    def order_leaves(self, order_id: int) -> float:
        """Quantity not filled yet of an open order, natural units."""
        node = node_of(self)
        if not holds(node, order_id):
            return 0.0
        order = order_of(node, order_id)
        if order["state"] >= codes.STATE_FILLED:
            return 0.0
        return qty_of(market_of(node, order["instrument"]), max(order["qty"] - order["filled"], 0))

    def order_price(self, order_id: int) -> float:
        """Limit price, natural units; 0.0 without one."""
        node = node_of(self)
        if not holds(node, order_id):
            return 0.0
        order = order_of(node, order_id)
        return price_of(market_of(node, order["instrument"]), order["price"])

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
            now_ns = node["decision"]["clock"]["now_ns"]
            wait_ns = delay_ns if delay_ns > 0 else interval_ns
            due_ns = now_ns + min(wait_ns, NEVER - 1 - now_ns)  # A wait past the end of time is not one that is over.
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
        market = market_of(node_of(self), instrument)
        return price_of(market, market["bid"])

    def ask(self, instrument: int) -> float:
        """Best ask."""
        market = market_of(node_of(self), instrument)
        return price_of(market, market["ask"])

    def bid_qty(self, instrument: int) -> float:
        """Quantity at the best bid."""
        market = market_of(node_of(self), instrument)
        return qty_of(market, market["bid_qty"])

    def ask_qty(self, instrument: int) -> float:
        """Quantity at the best ask."""
        market = market_of(node_of(self), instrument)
        return qty_of(market, market["ask_qty"])

    def mid(self, instrument: int) -> float:
        """(bid + ask) / 2; 0.0 while a side is unknown."""
        market = market_of(node_of(self), instrument)
        if market["bid"] == 0 or market["ask"] == 0:
            return 0.0
        return price_of(market, market["bid"] + market["ask"]) * 0.5

    def spread(self, instrument: int) -> float:
        """Ask - bid; 0.0 while a side is unknown."""
        market = market_of(node_of(self), instrument)
        if market["bid"] == 0 or market["ask"] == 0:
            return 0.0
        return price_of(market, market["ask"] - market["bid"])

    def last(self, instrument: int) -> float:
        """Price of the last trade."""
        market = market_of(node_of(self), instrument)
        return price_of(market, market["last_price"])

    def mark(self, instrument: int) -> float:
        """The venue's mark price."""
        market = market_of(node_of(self), instrument)
        return price_of(market, market["mark_price"])

    def bid_scaled(self, instrument: int) -> int:
        """Best bid, scaled."""
        return int(market_of(node_of(self), instrument)["bid"])

    def ask_scaled(self, instrument: int) -> int:
        """Best ask, scaled."""
        return int(market_of(node_of(self), instrument)["ask"])

    def bid_qty_scaled(self, instrument: int) -> int:
        """Quantity at the best bid, scaled."""
        return int(market_of(node_of(self), instrument)["bid_qty"])

    def ask_qty_scaled(self, instrument: int) -> int:
        """Quantity at the best ask, scaled."""
        return int(market_of(node_of(self), instrument)["ask_qty"])

    def last_scaled(self, instrument: int) -> int:
        """Price of the last trade, scaled."""
        return int(market_of(node_of(self), instrument)["last_price"])

    def is_stale(self, instrument: int) -> bool:
        """Whether the instrument's feed has a gap or is silent."""
        return bool(market_of(node_of(self), instrument)["stale"] != 0)

    # The book.

    def level_price(self, instrument: int, side: int, level: int) -> float:
        """Price of a level, 0 the best; side tl.BUY: bids. 0.0 where there is none. O(level)."""
        node = node_of(self)
        price, _ = level_of(node, instrument, side, level)
        return price_of(market_of(node, instrument), price)

    def level_qty(self, instrument: int, side: int, level: int) -> float:
        """Quantity of a level, 0 the best. 0.0 where there is none. O(level)."""
        node = node_of(self)
        _, qty = level_of(node, instrument, side, level)
        return qty_of(market_of(node, instrument), qty)

    def qty_at(self, instrument: int, side: int, price: float) -> float:
        """Displayed quantity at a price; 0.0 if there is none or no depth."""
        node = node_of(self)
        market = market_of(node, instrument)
        index = side_index(side)
        price_int, verdict = to_scaled(price, market["prices_per_unit"], market["tick_size"])
        if market["book"] < 0 or verdict != codes.ALLOW:
            return 0.0
        qty = book_depth.qty_at(node["decision"]["books"][market["book"]], index, price_int)
        return qty_of(market, qty)

    def depth_qty(self, instrument: int, side: int, levels: int) -> float:
        """Total displayed quantity of the best levels of one side; 0.0 without depth."""
        node = node_of(self)
        market = market_of(node, instrument)
        index = side_index(side)
        if market["book"] < 0:
            return 0.0
        qty = book_depth.depth_qty(node["decision"]["books"][market["book"]], index, levels)
        return qty_of(market, qty)

    def imbalance(self, instrument: int, levels: int = 1) -> float:
        """(bid - ask quantity) / their sum, -1..1, over the best levels; with one level or without depth, of the touch."""
        node = node_of(self)
        market = market_of(node, instrument)
        if market["book"] >= 0 and levels > 1:
            return float(book_depth.imbalance(node["decision"]["books"][market["book"]], levels))
        total = market["bid_qty"] + market["ask_qty"]
        return float(market["bid_qty"] - market["ask_qty"]) / float(total) if total > 0 else 0.0

    def book_state(self, instrument: int) -> int:
        """book.BOOK_* (2 is LIVE: complete and not crossed); -1 without depth."""
        node = node_of(self)
        slot = book_slot(node, instrument)
        return int(node["decision"]["books"][slot]["state"]) if slot >= 0 else -1

    # Own position and money.

    def position(self, instrument: int) -> float:
        """This strategy's position, natural units, short negative."""
        node = node_of(self)
        return qty_of(market_of(node, instrument), holding_of(node, instrument)["position"]["qty"])

    def position_scaled(self, instrument: int) -> int:
        """This strategy's position, scaled."""
        return int(holding_of(node_of(self), instrument)["position"]["qty"])

    def available(self, instrument: int) -> float:
        """What this strategy may still sell of its long position; on spot what a purchase's fee took is not in it. Natural units."""
        node = node_of(self)
        return qty_of(market_of(node, instrument), sellable(node["decision"], node["current_strategy"], instrument))

    def available_scaled(self, instrument: int) -> int:
        """What this strategy may still sell of its long position, scaled, in whole lots."""
        node = node_of(self)
        market_of(node, instrument)
        return int(sellable(node["decision"], node["current_strategy"], instrument))

    def working(self, instrument: int, side: int) -> float:
        """Quantity of this strategy's working orders on one side (in flight and being cancelled included)."""
        node = node_of(self)
        exposure = holding_of(node, instrument)["exposure"]
        qty = exposure["buy_qty"] if side_index(side) == 0 else exposure["sell_qty"]
        return qty_of(market_of(node, instrument), qty)

    def realised(self, instrument: int) -> float:
        """This strategy's realised profit before fees, in the settlement currency."""
        return float(holding_of(node_of(self), instrument)["position"]["realised"]) / MONEY

    def equity(self) -> float:
        """Equity of this strategy's account, in its currency."""
        return float(account_of(node_of(self))["equity"]) / MONEY

    def cash(self) -> float:
        """Cash of this strategy's account, in its currency."""
        return float(account_of(node_of(self))["cash"]) / MONEY

    def trading_state(self) -> int:
        """codes.ACTIVE, REDUCING or HALTED of this strategy's account."""
        return int(account_of(node_of(self))["state"])

    # Rules and the grid.

    def tick_size(self, instrument: int) -> float:
        """Smallest price step."""
        market = market_of(node_of(self), instrument)
        return price_of(market, market["tick_size"])

    def lot_size(self, instrument: int) -> float:
        """Smallest quantity step."""
        market = market_of(node_of(self), instrument)
        return qty_of(market, market["lot_size"])

    def min_qty(self, instrument: int) -> float:
        """Smallest quantity of an order."""
        market = market_of(node_of(self), instrument)
        return qty_of(market, market["min_qty"])

    def round_price(self, instrument: int, price: float) -> float:
        """Nearest price on the tick grid."""
        market = market_of(node_of(self), instrument)
        return on_grid(price, market["prices_per_unit"], market["tick_size"], NEAREST)

    def floor_price(self, instrument: int, price: float) -> float:
        """Highest price on the tick grid at or below price."""
        market = market_of(node_of(self), instrument)
        return on_grid(price, market["prices_per_unit"], market["tick_size"], DOWN)

    def ceil_price(self, instrument: int, price: float) -> float:
        """Lowest price on the tick grid at or above price."""
        market = market_of(node_of(self), instrument)
        return on_grid(price, market["prices_per_unit"], market["tick_size"], UP)

    def round_qty(self, instrument: int, qty: float) -> float:
        """Nearest quantity on the lot grid."""
        market = market_of(node_of(self), instrument)
        return on_grid(qty, market["qtys_per_unit"], market["lot_size"], NEAREST)

    def floor_qty(self, instrument: int, qty: float) -> float:
        """Largest quantity on the lot grid at or below qty."""
        market = market_of(node_of(self), instrument)
        return on_grid(qty, market["qtys_per_unit"], market["lot_size"], DOWN)

    def ceil_qty(self, instrument: int, qty: float) -> float:
        """Smallest quantity on the lot grid at or above qty."""
        market = market_of(node_of(self), instrument)
        return on_grid(qty, market["qtys_per_unit"], market["lot_size"], UP)
