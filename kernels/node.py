"""All state of a running engine in one structured record: the node.

`decision` holds what decisions depend on and is what state hashes cover. Everything else (rings, code addresses, scratch, records for
the report, measurements) is outside it. Kernels take the node or a sub-record of it; sizes that vary come in few classes.
"""

from typing import Final, NamedTuple

import numpy as np

from twinloop.kernels.bars import BAR, BAR_STATE
from twinloop.kernels.book import book_dtype
from twinloop.kernels.codes import CALLBACKS
from twinloop.kernels.layout import aligned, by_lines
from twinloop.kernels.money import MONEY_RULE
from twinloop.kernels.newest_touch import NEWEST
from twinloop.kernels.portfolio import CASH, POSITION
from twinloop.kernels.rows import ROW

NEVER: Final = 2**63 - 1  # A time that does not come.
NO_PRICE: Final = 0  # Bid, ask, last or mark not known yet.


class SizeClass(NamedTuple):
    """Capacities of a node. Every one is a stated bound: what does not fit is refused before the run starts."""

    name: str
    instruments: int
    books: int
    window_levels: int
    bars: int
    orders: int  # Power of two: an order's slot is its id modulo this.
    strategies: int
    accounts: int
    currencies: int
    timers: int
    area_bytes: int  # Parameters and state of one strategy.
    inbox_rows: int
    outbox_rows: int
    records: int


# One class serves every run: memory that is never touched is never there, and a second class would double the compile time.
STANDARD: Final = SizeClass("standard", 1024, 16, 16384, 2048, 4096, 8, 2, 8, 64, 1048576, 4096, 4096, 8192)


CLOCK: Final = aligned(
    ("now_ns", "<i8"),  # Local time of the row in hand; never falls.
    ("venue_ns", "<i8"),  # Its venue time.
    ("sequence", "<i8"),  # Its sequence.
    ("edge_ns", "<i8"),  # The earliest of the four below: one compare on the hot path.
    ("bar_ns", "<i8"),  # Earliest end of an open time bar.
    ("sample_ns", "<i8"),  # Next equity sample.
    ("sample_interval_ns", "<i8"),
    ("roll_ns", "<i8"),  # Next session roll: daily loss and day counters start again.
    ("roll_interval_ns", "<i8"),
    ("timer_ns", "<i8"),  # Earliest armed timer.
)

INSTRUMENT: Final = by_lines(
    # What a row of the market reads and writes: one line for quotes and books, one for prints.
    ("bid", "<i8"),
    ("bid_qty", "<i8"),
    ("ask", "<i8"),
    ("ask_qty", "<i8"),
    ("quote_ns", "<i8"),  # Local time of the last change of the touch; of the last book event with depth.
    ("longs", "<i8"),  # How many accounts are long: a changed bid marks them. None holds a position: nothing to mark.
    ("shorts", "<i8"),
    ("book", "<i8"),  # Slot in the book pool, -1 without depth.
    ("last_price", "<i8"),
    ("last_qty", "<i8"),
    ("last_side", "<i8"),
    ("trade_ns", "<i8"),
    ("bars_first", "<i8"),  # Its bar builders are neighbours in `bars`.
    ("bars_count", "<i8"),
    ("newest_wins", "<i8"),  # 1: best prices by the rule of newest_touch.py (a compatibility mode).
    ("stale", "<i8"),  # Feed state: 0 live, 1 gap or stale.
    ("mark_price", "<i8"),
    ("mark_ns", "<i8"),  # Local time of the mark price.
    ("status", "<i8"),
    # Static and effective-dated rules.
    ("price_unit", "<f8"),  # 10**-price_scale; display and strategies' natural units only.
    ("qty_unit", "<f8"),
    ("prices_per_unit", "<f8"),  # 10**price_scale
    ("qtys_per_unit", "<f8"),
    ("tick_size", "<i8"),
    ("lot_size", "<i8"),
    ("min_qty", "<i8"),
    ("max_qty", "<i8"),
    ("min_notional", "<i8"),
    ("maker_fee", "<i8"),  # 1e-8 of notional; negative is a rebate.
    ("taker_fee", "<i8"),
    ("settle", "<i8"),  # Currency slot of PnL, fees and funding.
    ("rule", MONEY_RULE),
    ("newest", NEWEST),
)

ORDER: Final = aligned(
    ("id", "<i8"),
    ("price", "<i8"),
    ("qty", "<i8"),
    ("filled", "<i8"),
    ("trigger_price", "<i8"),
    ("notional", "<f8"),  # Sum of price * qty over its fills: average price for display only.
    ("expire_ns", "<i8"),
    ("decided_ns", "<i8"),
    ("decided_sequence", "<i8"),
    ("decision_mid2", "<i8"),  # bid + ask at the decision.
    ("slippage_reserved", "<i8"),
    ("acked_ns", "<i8"),
    ("ended_ns", "<i8"),
    ("amend_price", "<i8"),
    ("amend_qty", "<i8"),  # The largest total quantity that an amend under way asked for.
    ("amends", "<i8"),  # Amends under way.
    ("fee", "<i8"),
    ("reserved", "<i8"),  # Quantity held in the worst-case exposure on its side.
    ("open_at", "<i8"),  # Its place in the list of open orders, -1 when terminal.
    ("sliced_id", "<i8"),  # What it is a slice of; 0 nothing.
    ("code", "<i8"),
    ("instrument", "<i8"),
    ("strategy", "<i8"),
    ("account", "<i8"),
    ("side", "<i8"),
    ("type", "<i8"),
    ("flags", "<i8"),
    ("state", "<i8"),
    ("pending", "<i8"),
)

EXPOSURE: Final = aligned(  # What is working: open, in flight, unknown or pending-cancel, at remaining quantity.
    ("buy_qty", "<i8"),
    ("sell_qty", "<i8"),
    (
        "buy_top",
        "<i8",
    ),  # Of an account: no resting buy of ours is above it, no resting sell below sell_low; 0 none, or not known yet.
    ("sell_low", "<i8"),
    ("listed", "<i8"),  # Of an account: 1 while the instrument stands in its `exposed` list.
    (
        "external_buy",
        "<i8",
    ),  # Of an account: what others than our strategies have working; counted in buy_qty and sell_qty.
    ("external_sell", "<i8"),
)

HOLDING: Final = aligned(("position", POSITION), ("exposure", EXPOSURE))

ACCOUNT: Final = aligned(
    ("cash", "<i8"),  # Start + realised - fees + funding, 1e-8 of the account currency.
    ("unrealised", "<i8"),
    ("equity", "<i8"),
    ("start_equity", "<i8"),
    ("day_equity", "<i8"),  # Equity at the session roll: the capital of % limits.
    ("peak_equity", "<i8"),
    ("max_drawdown", "<i8"),
    ("equity_floor", "<i8"),  # Below it the daily loss cap or the drawdown limit is broken: one compare per mark.
    ("gross", "<i8"),  # Sum of |worst-case notional| over instruments, at the last order that a limit on it let pass.
    ("slippage_day", "<i8"),  # Signed slippage since the roll.
    ("slippage_reserved", "<i8"),  # Estimated for orders under way.
    ("floor_peak", "<i8"),  # Where the drawdown limit counts from: the peak, or the equity at the last RESUME.
    ("exposed_count", "<i8"),  # Instruments in the account's `exposed` list.
    ("state", "<i8"),  # ACTIVE, REDUCING, HALTED.
    ("halt_code", "<i8"),
    ("cancel_all", "<i8"),  # Set by a breach: the loop cancels every working order of the account in this step.
    ("flatten", "<i8"),  # FLATTEN_NOT, or how the account's positions are being closed.
    ("flatten_ns", "<i8"),  # Not before this time is the next round of closing orders sent.
    ("flatten_left", "<i8"),  # Sum of |position| at the last round.
    ("flattens_ended", "<i8"),  # How often there was an end to it, whatever ended it.
)

# Zero means zero: no limit configured, no order. NEVER switches a limit off.
INSTRUMENT_LIMITS: Final = aligned(
    ("allowed", "<i8"),  # Bit of each strategy that may trade it.
    ("max_order_qty", "<i8"),
    ("max_order_notional", "<i8"),
    ("max_position_long", "<i8"),
    ("max_position_short", "<i8"),
    ("max_position_notional", "<i8"),  # Worst-case notional in one symbol, money; 5 % of capital in the shipped preset.
    ("price_collar_e8", "<i8"),  # Largest distance from the reference, 1e-8 of it.
    ("max_spread", "<i8"),  # Price units.
    ("max_spread_e8", "<i8"),  # 1e-8 of the mid.
    ("max_order_e8", "<i8"),  # Order notional, and below the worst-case notional in one symbol, in 1e-8 of the capital.
    ("max_position_e8", "<i8"),
    ("max_data_age_ns", "<i8"),
    ("max_slippage_e8", "<i8"),  # Per order, estimated from depth before sending, 1e-8 of the mid.
    ("covered", "<i8"),  # 1: of spot no more is sold than the account holds of the base asset.
)

ACCOUNT_LIMITS: Final = aligned(
    ("max_gross", "<i8"),
    ("max_net", "<i8"),
    ("max_daily_loss", "<i8"),
    ("max_drawdown", "<i8"),
    ("max_slippage_day", "<i8"),
    ("initial_margin_e8", "<i8"),  # Margin needed per worst-case notional, 1e-8.
    ("messages_per_s", "<i8"),
    ("message_burst", "<i8"),
    ("duplicate_window_ns", "<i8"),
    ("duplicate_max", "<i8"),
    ("self_match", "<i8"),  # 1: refuse an order that would meet our own.
    (
        "breach_state",
        "<i8",
    ),  # What a broken loss limit leads to: REDUCING, FLATTENING (HALTED, positions closed), else HALTED.
    (
        "max_gross_e8",
        "<i8",
    ),  # Shares of capital, 1e-8, from which the session roll recomputes the limits above; NEVER: they are amounts.
    ("max_net_e8", "<i8"),
    ("max_daily_loss_e8", "<i8"),
    ("max_drawdown_e8", "<i8"),
    ("max_slippage_day_e8", "<i8"),
    ("flatten_collar_e8", "<i8"),  # How far beyond the touch a closing order of FLATTEN may trade, 1e-8 of it.
)

# How an account's positions are being closed.
FLATTEN_NOT: Final = 0
FLATTEN_COLLARED: Final = 1
FLATTEN_MARKET: Final = 2

# A LIMIT_CHANGE row names a limit by its word: of the instrument's limits, or from ACCOUNT_LIMIT on of the account's.
INSTRUMENT_LIMIT_WORDS: Final = len(INSTRUMENT_LIMITS.names or ())
ACCOUNT_LIMIT: Final = 256
ACCOUNT_LIMIT_WORDS: Final = len(ACCOUNT_LIMITS.names or ())

RECENT_ORDERS: Final = 16  # How many past orders the duplicate check remembers per strategy.
RECENT: Final = aligned(("ns", "<i8"), ("price", "<i8"), ("trigger_price", "<i8"), ("qty", "<i8"), ("key", "<i8"))

STRATEGY: Final = aligned(
    ("account", "<i8"),
    ("state", "<i8"),
    ("failed", "<i8"),  # One of the next: what an error of a callback has led to.
    ("tokens_e9", "<i8"),  # Message bucket, 1e-9 messages.
    ("tokens_ns", "<i8"),
    ("recent_at", "<i8"),
    ("recent", RECENT, (RECENT_ORDERS,)),
)

FAILED_NOT: Final = 0
FAILED_NOW: Final = 1  # In this step: its orders are to be cancelled.
FAILED: Final = 2  # It is called no more until somebody resumes.

FAILURE: Final = (
    aligned(  # An error of a strategy's callback; what was raised is described at an address of the process.
        ("callback", "<i8"),
        ("value", "<i8"),
        ("sequence", "<i8"),
    )
)

TIMER: Final = aligned(("due_ns", "<i8"), ("interval_ns", "<i8"), ("id", "<i8"), ("strategy", "<i8"), ("armed", "<i8"))

# What a series of bars is made from.
FROM_TRADES: Final = 0
FROM_BARS: Final = 1  # The vendor's bars as they are.
FROM_SHORTER_BARS: Final = 2  # Time bars put together from the vendor's shorter ones.

BAR_SLOT: Final = aligned(
    ("state", BAR_STATE),
    ("instrument", "<i8"),
    ("source", "<i8"),  # FROM_TRADES, FROM_BARS, FROM_SHORTER_BARS.
    ("strategies", "<i8"),  # Bit of each strategy that asked for the series.
)

SLICED_IDS: Final = 1 << 62  # From here on an id is that of a quantity traded in slices, below it an order's.
SLICED_MAX: Final = 32
SLICED: Final = aligned(  # A quantity traded in slices (slicer.py).
    ("id", "<i8"),
    ("active", "<i8"),
    ("strategy", "<i8"),
    ("instrument", "<i8"),
    ("side", "<i8"),
    ("qty", "<i8"),
    ("filled", "<i8"),
    ("slice_qty", "<i8"),
    ("price", "<i8"),  # Limit of every slice; 0 none.
    ("interval_ns", "<i8"),  # From one slice to the next, at least.
    ("next_ns", "<i8"),
    ("order_id", "<i8"),  # The slice that works; 0 none.
    ("filled_before", "<i8"),  # `filled` when it was sent.
    ("flags", "<i8"),
    ("code", "<i8"),  # Why it ended before all was filled.
)

REQUEST: Final = aligned(  # What a strategy asks for; filled by its call, answered in `result`.
    ("price", "<i8"),
    ("qty", "<i8"),
    ("trigger_price", "<i8"),
    ("expire_ns", "<i8"),
    ("slice_qty", "<i8"),
    ("order_id", "<i8"),
    ("instrument", "<i8"),
    ("side", "<i8"),
    ("type", "<i8"),
    ("flags", "<i8"),
    ("result", "<i8"),  # Order id > 0, or minus a verdict.
    ("limit", "<i8"),  # The limit a refusal names, and the value that broke it.
    ("value", "<i8"),
    ("findings", "<i8"),  # Every verdict the gate found, as bits; `result` is the worst.
    ("rule", "<i8"),  # Of a WARN: the verdict that is near.
    (
        "slippage",
        "<i8",
    ),  # Estimated slippage, account currency, and gross exposure with the order; 0 where no limit needs them.
    ("gross", "<i8"),
)

FILL_RECORD: Final = np.dtype(
    [(name, "<i8") for name in (
        "sequence", "local_ns", "venue_ns", "instrument", "strategy", "account", "side", "order_id", "trade_id", "price_int",
        "qty_int", "fee_int", "fee_currency", "maker", "cause_id", "decided_ns", "arrived_ns", "decision_mid2_int",
        "arrival_mid2_int", "position_after_int", "realised_int",
    )]
)  # fmt: skip
ORDER_RECORD: Final = np.dtype(
    [(name, "<i8") for name in (
        "sequence", "decided_ns", "order_id", "strategy", "account", "instrument", "side", "type", "flags", "price_int",
        "qty_int", "trigger_price_int", "filled_int", "state", "acked_ns", "ended_ns", "code",
    )] + [("notional", "<f8")]
)  # fmt: skip
VERDICT_RECORD: Final = np.dtype(
    [(name, "<i8") for name in (
        "sequence", "local_ns", "strategy", "instrument", "verdict", "side", "price_int", "qty_int", "limit", "value", "operation",
        "rule", "findings",
    )]
)  # fmt: skip


def equity_record(instruments: int) -> np.dtype[np.void]:
    """One equity sample: money of the first account, and position and mark of each instrument (up to 8 are sampled)."""
    sampled = min(instruments, 8)
    return np.dtype(
        [("local_ns", "<i8"), ("sequence", "<i8"), ("equity_int", "<i8"), ("cash_int", "<i8"), ("unrealised_int", "<i8"),
         ("drawdown_int", "<i8"), ("position_int", "<i8", (sampled,)), ("mark2_int", "<i8", (sampled,))]
    )  # fmt: skip


COUNTERS: Final = aligned(
    ("rows", "<i8", (256,)),  # By kind.
    ("decisions", "<i8"),
    ("orders", "<i8"),
    ("amends", "<i8"),
    ("cancels", "<i8"),
    ("fills", "<i8"),
    ("refused", "<i8", (256,)),  # By verdict.
    ("verdicts_unrecorded", "<i8"),
    ("late_fills", "<i8"),  # Fills of orders already terminal.
    ("overfills", "<i8"),
    ("foreign_facts", "<i8"),  # Own-order facts of an id the node does not hold.
)


def decision_dtype(size: SizeClass) -> np.dtype[np.void]:
    """What decisions depend on; hashed byte by byte, so it holds no address and no padding that is ever written."""
    holdings = (HOLDING, (size.instruments,))
    return by_lines(
        ("clock", CLOCK),
        ("hash", "<i8"),  # Rolling hash over (row, verdict, request) at every decision.
        ("decision_number", "<i8"),
        ("order_count", "<i8"),  # Orders ever made; an id is order_count * orders + slot.
        ("instrument_count", "<i8"),
        ("strategy_count", "<i8"),
        ("account_count", "<i8"),
        ("breaches", "<i8"),  # 1: an account was halted in this step and its orders must be cancelled.
        ("flattening", "<i8"),  # Accounts whose positions are being closed.
        ("slicing", "<i8"),  # Quantities being traded in slices, and how many there ever were.
        ("sliced_count", "<i8"),
        (
            "funding_told",
            "<i8",
        ),  # 1: FUNDING_PAID rows say what a venue paid; a market's FUNDING rows move no money then.
        ("sliced", SLICED, (SLICED_MAX,)),
        ("instruments", INSTRUMENT, (size.instruments,)),
        ("instrument_limits", INSTRUMENT_LIMITS, (size.instruments,)),
        ("accounts", ACCOUNT, (size.accounts,)),
        ("account_limits", ACCOUNT_LIMITS, (size.accounts,)),
        ("account_holdings", np.dtype(holdings), (size.accounts,)),
        # Behind the strategies', one unassigned book for each account: what was traded on it by no strategy of ours.
        ("strategy_holdings", np.dtype(holdings), (size.strategies + size.accounts,)),
        ("ledgers", CASH, (size.accounts, size.currencies)),  # Per account and currency.
        ("fx", "<i8", (size.currencies,)),  # 1e-8 account currency per unit; 0 unknown.
        ("strategies", STRATEGY, (size.strategies,)),
        ("timers", TIMER, (size.timers,)),
        ("timers_used", "<i8"),  # Slots ever armed: scans stop there.
        ("bars", BAR_SLOT, (size.bars,)),
        ("bars_used", "<i8"),
        ("orders", ORDER, (size.orders,)),
        ("open_orders", "<i8", (size.orders,)),
        ("open_count", "<i8"),
        ("exposed", "<i8", (size.accounts, size.instruments)),  # Slots with a position or a working order, per account.
        (
            "free_slots",
            "<i8",
            (size.orders,),
        ),  # Ring of free slots, oldest first, so that ended orders stay readable longest.
        ("free_head", "<i8"),
        ("free_tail", "<i8"),
        ("slots_used", "<i8"),  # Slots from here on never held an order; they are taken when no other is free.
        ("books", book_dtype(size.window_levels), (size.books,)),
        ("areas", "u1", (size.strategies, size.area_bytes)),
    )


def node_dtype(size: SizeClass) -> np.dtype[np.void]:
    """The node of a size class."""
    return by_lines(
        # Small and hot first.
        ("address", "<i8"),  # Its own, for calls by address.
        ("inbox_head", "<i8"),
        ("inbox_tail", "<i8"),
        ("inbox_mask", "<i8"),
        ("outbox_head", "<i8"),
        ("outbox_tail", "<i8"),
        ("current_strategy", "<i8"),
        ("current_slot", "<i8"),  # Inbox slot of the row in hand.
        ("current_bar", "<i8"),  # Bar slot handed to on_bar.
        ("status", "<i8"),  # RUN_* when a step must stop the batch, else 0.
        ("error_sequence", "<i8"),
        ("request", REQUEST),
        ("vendor_bar", BAR),  # The bar of the row in hand.
        ("submit", "<i8"),  # Code addresses of the services strategies call.
        ("amend", "<i8"),
        ("cancel", "<i8"),
        ("cancel_all", "<i8"),
        ("set_timer", "<i8"),
        ("slice_order", "<i8"),
        ("gate", "<i8"),  # The risk gate, called by submit and amend.
        ("callbacks", "<i8", (size.strategies, len(CALLBACKS))),
        ("subscribed", "u1", (size.strategies, size.instruments)),
        ("wanted", "<i8", (len(CALLBACKS),)),  # How many strategies have the callback.
        ("silenced", "<i8", (size.strategies, len(CALLBACKS))),  # Of `callbacks`, those of strategies that failed.
        ("failures", FAILURE, (size.strategies,)),  # The last one of each strategy.
        ("failure_count", "<i8"),  # Errors that the driver has not looked at.
        ("failures_halt", "<i8"),  # 1: an error halts its strategy and the others go on. 0: it stops the run.
        ("fill_count", "<i8"),
        ("order_record_count", "<i8"),
        ("verdict_count", "<i8"),
        ("equity_count", "<i8"),
        ("records_full", "<i8"),
        ("decision", decision_dtype(size)),
        ("measured", COUNTERS),
        ("inbox", ROW, (size.inbox_rows,)),
        ("outbox", ROW, (size.outbox_rows,)),
        ("fills", FILL_RECORD, (size.records,)),
        ("order_records", ORDER_RECORD, (size.records,)),
        ("verdicts", VERDICT_RECORD, (size.records,)),
        ("equity", equity_record(size.instruments), (size.records,)),
    )
