"""The simulated venue's state: what it holds of the market, our orders resting there, requests on their way in, answers on their way out.

It is its own record, never part of the node: the replay edge advances it over the same rows with its own cursor, in venue time. This
module lays the record out and answers; `matching.py` decides fills, `arrivals.py` takes requests, `queue.py` estimates places in line.
"""

from typing import Any, Final

import numpy as np

from twinloop.kernels import codes, rows
from twinloop.kernels.book import book_dtype
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.latency import LATENCY, response_delay
from twinloop.kernels.layout import aligned, by_lines
from twinloop.kernels.money import MONEY_RULE, OK, fee_on, notional, saturating_add
from twinloop.kernels.newest_touch import NEWEST
from twinloop.kernels.node import NEVER, SizeClass
from twinloop.kernels.rows import ROW

# How the venue knows an instrument's market.
DEPTH: Final = 0  # L2 rows: the whole book.
TOUCH: Final = 1  # L1 quotes: best bid and ask with quantity.
PRINTS: Final = 2  # Trades only: the last price stands for both sides, without a limit on quantity.
BARS: Final = 3  # Bars only: a path through each bar.
NEWEST_DEPTH: Final = 4  # L2 rows, best prices by the rule of newest_touch.py; the touch is in bid and ask.

# Queue models.
RISK_AVERSE: Final = 0
PROBABILITY_POWER: Final = 1
PROBABILITY_LOG: Final = 2

# Price paths through a bar.
PATH_WORST: Final = 0  # Adverse extreme first: high first for buys, low first for sells.
PATH_OHLC: Final = 1
PATH_OLHC: Final = 2
PATH_NEAREST: Final = 3  # The extreme nearer to the open first.

# Modes of matching.
DEFAULT_MODE: Final = 0
NO_PARTIAL_FILL_MODE: Final = 1  # Compatibility with hftbacktest's no-partial-fill exchange.

TIERS: Final = 8
GONE: Final = 64
UNLIMITED: Final = 2**62
REQUESTS: Final = 4096
RESPONSES: Final = 8192


VENUE_ORDER: Final = aligned(
    ("id", "<i8"),
    ("price", "<i8"),
    ("qty", "<i8"),
    ("leaves", "<i8"),
    ("trigger_price", "<i8"),
    ("expire_ns", "<i8"),
    ("arrived_ns", "<i8"),
    ("answers", "<i8"),  # Answers so far: the legs that latency draws are keyed by.
    ("ahead", "<f8"),  # Estimated quantity in front of us at our price; a model's estimate, so not an integer.
    ("traded", "<f8"),  # Traded at our price since the level last changed (probability models).
    ("path_ns", "<i8"),  # Bars: when the path reaches our price, and the fill's price.
    ("path_price", "<i8"),
    ("previous", "<i8"),  # Neighbours in the instrument's list, oldest first; -1 none.
    ("next", "<i8"),
    ("instrument", "<i8"),
    ("strategy", "<i8"),
    ("account", "<i8"),
    ("side", "<i8"),
    ("type", "<i8"),
    ("flags", "<i8"),
    ("working", "<i8"),  # 0 not here, 1 resting, 2 waiting for its trigger.
)

GONE_LEVEL: Final = aligned(("instrument", "<i8"), ("side_index", "<i8"), ("price", "<i8"))

VENUE_BAR: Final = aligned(
    ("start_ns", "<i8"),
    ("end_ns", "<i8"),
    ("open", "<i8"),
    ("high", "<i8"),
    ("low", "<i8"),
    ("close", "<i8"),
    ("row", "<i8"),
)


def venue_instrument_dtype(accounts: int) -> np.dtype[np.void]:
    """One instrument as the venue holds it."""
    return by_lines(
        # What a row of the market asks first.
        ("mode", "<i8"),  # DEPTH, TOUCH, PRINTS, BARS or NEWEST_DEPTH.
        ("book", "<i8"),
        # Prices of our resting orders lie within these, so that most rows of the market are known to be none of their business.
        ("buy_low", "<i8"),
        ("buy_high", "<i8"),
        ("sell_low", "<i8"),
        ("sell_high", "<i8"),
        ("stops", "<i8"),  # Of our orders, those waiting for their trigger.
        ("last_price", "<i8"),
        ("seen_trade", "<i8"),  # Rows of the tape before this one are in last_price, or in bid and ask, already.
        ("seen_quote", "<i8"),
        ("status", "<i8"),
        (
            "book_at",
            "<i8",
        ),  # Address of the book that says what this market holds: its own, or while it is lent the node's.
        ("own_book_at", "<i8"),
        ("node_book_at", "<i8"),
        ("bid", "<i8"),
        ("bid_qty", "<i8"),
        ("ask", "<i8"),
        ("ask_qty", "<i8"),
        ("first", "<i8"),  # List of our orders here, oldest first; -1 none.
        ("last", "<i8"),
        ("count", "<i8"),
        ("tick_size", "<i8"),
        ("settle", "<i8"),
        ("maker_fee", "<i8"),
        ("taker_fee", "<i8"),
        ("position", "<i8", (accounts,)),  # Of our accounts, from the venue's own fills: for reduce-only.
        ("rule", MONEY_RULE),
        ("newest", NEWEST),  # NEWEST_DEPTH only.
        ("bar", VENUE_BAR),
    )


def venue_dtype(size: SizeClass) -> np.dtype[np.void]:
    """The VENUE record of a size class."""
    return by_lines(
        ("local_rows", "<i8"),  # Address and count of the node's tape, and of the venue's.
        ("local_count", "<i8"),
        ("market_rows", "<i8"),
        ("market_count", "<i8"),
        ("next_row", "<i8"),  # Cursor into the venue's tape.
        ("first_row", "<i8"),  # Number of the chunk's first row in the whole tape: cause ids count from the start.
        ("more_rows", "<i8"),  # 1: another chunk follows.
        ("jump", "<i8"),  # 1: only quotes and prints on the tape, so a venue without resting orders may skip rows.
        ("jumped_to", "<i8"),  # Rows before this one may have been passed over.
        ("shared_tape", "<i8"),  # 1: the node sees the very same rows.
        ("remote", "<i8"),  # 1: requests stay in the outbox: the venue is elsewhere, its answers are on the tape.
        (
            "keep_up",
            "<i8",
        ),  # 1: lives up to the last row of a chunk before the next is asked for: what comes later is not known yet.
        ("recorded", "<i8"),  # 1: the tape holds every fact, timers too; none is made.
        # Without orders of ours, so many rows (and levels) behind the node, the venue takes over the node's books.
        ("follow_rows", "<i8"),
        ("lends", "<i8"),  # 1: the node's books may be read instead of keeping others (kernels/lending.py).
        ("lent", "<i8"),  # 1: they are: what the venue's own hold is old.
        # Levels our fills took from, until the market's next word on them; more than GONE: no longer known.
        ("gone_count", "<i8"),
        ("gone", GONE_LEVEL, (GONE,)),
        ("now_ns", "<i8"),
        ("next_ns", "<i8"),  # Nothing happens here before: no row, no arrival, no expiry. 0 when it is not known.
        ("instrument_count", "<i8"),
        ("resting", "<i8"),  # Orders here.
        ("path_ns", "<i8"),  # Earliest path_ns, and earliest expiry, of our orders.
        ("expire_ns", "<i8"),
        ("request_head", "<i8"),
        ("request_tail", "<i8"),
        ("response_head", "<i8"),
        ("response_tail", "<i8"),
        ("last_arrival_ns", "<i8"),  # Requests and answers of one session never overtake each other.
        ("last_answer_ns", "<i8"),
        ("trade_count", "<i8"),
        ("status", "<i8"),
        ("error_row", "<i8"),
        # Configuration.
        ("latency", LATENCY),
        ("mode", "<i8"),
        ("queue_model", "<i8"),
        ("queue_power", "<i8"),
        ("deplete", "<i8"),  # 1: what our taker fills took stays gone until the venue's next word on that level.
        ("path", "<i8"),
        ("touch_fills", "<i8"),  # Bars: 1 lets a limit order fill when the path only touches its price.
        ("session_end_ns", "<i8"),  # DAY orders end here; moves by session_interval_ns.
        ("session_interval_ns", "<i8"),
        ("tier_count", "<i8"),
        ("tier_volume", "<i8", (TIERS,)),  # Traded notional from which the tier holds.
        ("tier_maker", "<i8", (TIERS,)),
        ("tier_taker", "<i8", (TIERS,)),
        ("traded", "<i8", (size.accounts,)),  # Notional traded so far.
        ("instruments", venue_instrument_dtype(size.accounts), (size.instruments,)),
        ("orders", VENUE_ORDER, (size.orders,)),
        ("legs", "<i8", (size.orders,)),  # Requests sent so far for the order of a slot.
        ("request_ns", "<i8", (REQUESTS,)),  # Arrival time of each request.
        ("requests", ROW, (REQUESTS,)),
        ("responses", ROW, (RESPONSES,)),
        ("books", book_dtype(size.window_levels), (size.books,)),
    )


@njit(cache=True)
def _address_answer(venue: Any, row: Any, kind: int, order: Any, venue_ns: int, tail: bool) -> None:
    """Fill the header of the next row of the answer ring; `venue["response_head"]` moves past it.

    Local time is the venue's plus the response latency of this order and leg, and never before the last answer's.
    """
    out_of_line()
    head = venue["response_head"]
    if head - venue["response_tail"] >= RESPONSES - 2:
        venue["status"] = codes.RUN_VENUE_FULL
    if not tail:
        answer_ns = venue_ns + response_delay(venue["latency"], venue_ns, order["id"], order["answers"])
        order["answers"] += 1
        venue["last_answer_ns"] = max(venue["last_answer_ns"], answer_ns)
    row["venue_ns"] = venue_ns
    row["local_ns"] = venue["last_answer_ns"]
    row["kind"] = kind
    row["side"] = order["side"]
    row["strategy"] = order["strategy"]
    row["account"] = order["account"]
    row["source"] = 0
    row["flags"] = rows.FLAG_TAIL if tail else 0
    row["instrument"] = order["instrument"]
    row["order_id"] = order["id"]
    venue["response_head"] = head + 1


@njit(cache=True)
def answer(venue: Any, kind: int, order: Any, venue_ns: int, qty: int, code: int) -> None:
    """Answer with anything but a fill. qty: of an ACK or AMENDED the order's total, else what was left."""
    out_of_line()
    row = venue["responses"][venue["response_head"] & (RESPONSES - 1)]
    _address_answer(venue, row, kind, order, venue_ns, False)
    row["price"] = order["price"]
    row["qty"] = qty
    row["code"] = code


@njit(cache=True)
def fee_rate(venue: Any, market: Any, account: int, maker: bool) -> int:
    """Fee rate in 1e-8: the instrument's, or the tier's that the account's traded notional has reached."""
    rate = market["maker_fee"] if maker else market["taker_fee"]
    for tier in range(venue["tier_count"]):
        if venue["traded"][account] >= venue["tier_volume"][tier]:
            rate = venue["tier_maker"][tier] if maker else venue["tier_taker"][tier]
    return rate


@njit(cache=True)
def closable(market: Any, order: Any) -> int:
    """Quantity of the account's position that an order would close; 0 where it would only open."""
    position = int(market["position"][order["account"]])
    return max(-position if order["side"] > 0 else position, 0)


@njit(cache=True)
def fill(venue: Any, order: Any, price: int, qty: int, venue_ns: int, maker: bool, cause: int) -> int:
    """Fill an order: how much of qty it got. The caller removes the order when nothing is left.

    A reduce-only order gets what it can close at this moment; when it has nothing left to close, its rest expires.
    """
    out_of_line()
    market = venue["instruments"][order["instrument"]]
    if int(order["flags"]) & codes.REDUCE_ONLY == 0:
        _fill(venue, market, order, price, qty, venue_ns, maker, cause)
        return qty
    got = min(qty, closable(market, order))
    if got > 0:
        _fill(venue, market, order, price, got, venue_ns, maker, cause)
    if order["leaves"] > 0 and closable(market, order) == 0:
        answer(venue, rows.EXPIRED, order, venue_ns, order["leaves"], codes.REASON_REDUCE_ONLY)
        order["leaves"] = 0
    return got


@njit(cache=True)
def _fill(venue: Any, market: Any, order: Any, price: int, qty: int, venue_ns: int, maker: bool, cause: int) -> None:
    """Position, fee, and a two-row answer."""
    out_of_line()
    account = order["account"]
    order["leaves"] -= qty
    market["position"][account] += qty if order["side"] > 0 else -qty
    amount, status = notional(market["rule"], qty, price)
    fee, fee_status = fee_on(amount, fee_rate(venue, market, account, maker))
    if (status | fee_status) != OK:
        venue["status"] = codes.RUN_OVERFLOW
    venue["traded"][account] = saturating_add(venue["traded"][account], amount)
    row = venue["responses"][venue["response_head"] & (RESPONSES - 1)]
    _address_answer(venue, row, rows.FILL, order, venue_ns, False)
    row["flags"] = rows.FLAG_CONTINUES | rows.FLAG_MAKER if maker else rows.FLAG_CONTINUES
    row["price"] = price
    row["qty"] = qty
    row["fee"] = fee
    tail = venue["responses"][venue["response_head"] & (RESPONSES - 1)]
    _address_answer(venue, tail, rows.FILL, order, venue_ns, True)
    venue["trade_count"] += 1
    tail["cause_id"] = cause
    tail["fee_currency"] = market["settle"]
    tail["trade_id"] = venue["trade_count"]
    tail["leaves_qty"] = order["leaves"]


@njit(cache=True)
def _widen(market: Any, order: Any) -> None:
    """Take a resting order's price into the range of its side."""
    if order["side"] > 0:
        market["buy_low"] = min(market["buy_low"], order["price"])
        market["buy_high"] = max(market["buy_high"], order["price"])
    else:
        market["sell_low"] = min(market["sell_low"], order["price"])
        market["sell_high"] = max(market["sell_high"], order["price"])


@njit(cache=True)
def _measure_range(venue: Any, market: Any) -> None:
    """Find the range of our resting orders' prices anew, after one at its edge went."""
    out_of_line()
    market["buy_low"] = NEVER
    market["buy_high"] = -NEVER
    market["sell_low"] = NEVER
    market["sell_high"] = -NEVER
    slot = market["first"]
    while slot >= 0:
        order = venue["orders"][slot]
        if order["working"] == 1:
            _widen(market, order)
        slot = order["next"]


@njit(cache=True)
def trigger_rests(venue: Any, order: Any) -> None:
    """A stop-limit order that waited in its instrument's list rests there from now on."""
    market = venue["instruments"][order["instrument"]]
    market["stops"] -= 1
    order["working"] = 1
    _widen(market, order)


@njit(cache=True)
def concerns_level(market: Any, bids: bool, price: int) -> bool:
    """Whether a change of a level may concern an order of ours: its place in line, or by reaching it from the other side."""
    if bids:
        return bool(market["buy_low"] <= price <= market["buy_high"] or price >= market["sell_low"])
    return bool(market["sell_low"] <= price <= market["sell_high"] or price <= market["buy_high"])


@njit(cache=True)
def concerns_trade(market: Any, price: int) -> bool:
    """Whether a print may concern an order of ours."""
    return bool(price <= market["buy_high"] or price >= market["sell_low"] or market["stops"] > 0)


@njit(cache=True)
def add_resting(venue: Any, slot: int, working: int) -> None:
    """Put the order of a slot at the end of its instrument's list."""
    out_of_line()
    order = venue["orders"][slot]
    market = venue["instruments"][order["instrument"]]
    order["working"] = working
    if working == 1:
        _widen(market, order)
    else:
        market["stops"] += 1
    order["previous"] = market["last"]
    order["next"] = -1
    if market["last"] >= 0:
        venue["orders"][market["last"]]["next"] = slot
    else:
        market["first"] = slot
    market["last"] = slot
    market["count"] += 1
    venue["resting"] += 1
    venue["expire_ns"] = min(venue["expire_ns"], order["expire_ns"])


@njit(cache=True)
def remove_resting(venue: Any, slot: int) -> None:
    """Take the order of a slot out of its instrument's list."""
    out_of_line()
    order = venue["orders"][slot]
    market = venue["instruments"][order["instrument"]]
    if order["previous"] >= 0:
        venue["orders"][order["previous"]]["next"] = order["next"]
    else:
        market["first"] = order["next"]
    if order["next"] >= 0:
        venue["orders"][order["next"]]["previous"] = order["previous"]
    else:
        market["last"] = order["previous"]
    price = order["price"]
    waited = order["working"] == 2
    order["working"] = 0
    market["count"] -= 1
    venue["resting"] -= 1
    if waited:
        market["stops"] -= 1
    elif market["count"] == 0 or (
        price == market["buy_low"]
        or price == market["buy_high"]
        or price == market["sell_low"]
        or price == market["sell_high"]
    ):
        _measure_range(venue, market)
