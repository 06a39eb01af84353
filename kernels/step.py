"""One fact, in the written order of work. Replay and live call this and nothing else.

1 clock (bars, samples and session rolls that the time passes) - 2 book, quote, bar - 3 own-order state, position, cash - 4 marks and
risk state - 5 strategy callbacks for that kind, then for bars it closed, in slot order; each order call passes the gate at the
call - 6 requests are in the outbox, numbered by decision.
"""

from typing import Any

import numpy as np

from twinloop.kernels import codes, rows
from twinloop.kernels.account_facts import (
    mark_held,
    on_adjustment,
    on_bust,
    on_external_working,
    on_fee_change,
    on_fill,
    on_funding,
    on_funding_paid,
    on_limit_change,
    on_order_fact,
    on_rate,
    on_transfer,
)
from twinloop.kernels.bars import bar_before, bar_given, bar_joined, bar_on_bar, bar_on_clock, bar_on_trade
from twinloop.kernels.book import ASK, BID, book_apply, book_event_end, book_set
from twinloop.kernels.callbacks import call_again, call_bar_strategies, call_strategies, call_strategy
from twinloop.kernels.desk import cancel_where
from twinloop.kernels.flatten import flatten_accounts
from twinloop.kernels.inbox import inbox_slot
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.newest_touch import newest_apply, newest_price, newest_qty
from twinloop.kernels.node import FAILED, FAILED_NOW, FROM_BARS, FROM_SHORTER_BARS, FROM_TRADES, NEVER
from twinloop.kernels.records import sample_equity
from twinloop.kernels.risk_state import operator_command, session_roll
from twinloop.kernels.slicer import send_slices
from twinloop.kernels.timers import timer_fired


@njit(cache=True)
def set_next_edge(clock: Any) -> None:
    """Keep the earliest of bar end, sample and session roll: the hot path compares with this one."""
    clock["edge_ns"] = min(clock["bar_ns"], min(clock["sample_ns"], clock["roll_ns"]))


@njit(cache=True)
def next_bar_end(decision: Any) -> None:
    """Find the earliest end of an open time bar."""
    earliest = NEVER
    for i in range(decision["bars_used"]):
        earliest = min(earliest, decision["bars"][i]["state"]["due_ns"])
    decision["clock"]["bar_ns"] = earliest


@njit(cache=True)
def time_passed(node: Any) -> None:
    """The clock reached an edge: close time bars (and tell strategies), roll the session, sample the equity."""
    out_of_line()
    decision = node["decision"]
    clock = decision["clock"]
    now_ns = clock["now_ns"]
    if now_ns >= clock["roll_ns"]:
        for account in range(decision["account_count"]):
            session_roll(decision, account)
        passed = (now_ns - clock["roll_ns"]) // clock["roll_interval_ns"] + 1
        clock["roll_ns"] += passed * clock["roll_interval_ns"]
    if now_ns >= clock["bar_ns"]:
        for i in range(decision["bars_used"]):
            if bar_on_clock(decision["bars"][i]["state"], now_ns) == 1:
                call_bar_strategies(node, i)
        next_bar_end(decision)
    if now_ns >= clock["sample_ns"]:
        sample_equity(node)
        passed = (now_ns - clock["sample_ns"]) // clock["sample_interval_ns"] + 1
        clock["sample_ns"] += passed * clock["sample_interval_ns"]
    set_next_edge(clock)


@njit(cache=True, forceinline=True)
def on_trade(node: Any, row: Any, instrument: int) -> None:
    """A print: last price, bars, marks where no touch is known, on_trade, then bars it closed."""
    decision = node["decision"]
    market = decision["instruments"][instrument]
    if row["flags"] & rows.FLAG_OFF_MARKET == 0:
        price = row["price"]
        market["last_price"] = price
        market["last_qty"] = row["qty"]
        market["last_side"] = row["side"]
        market["trade_ns"] = row["local_ns"]
        if (market["longs"] | market["shorts"]) > 0 and (market["bid"] == 0 or market["ask"] == 0):
            mark_held(node, instrument)
        call_strategies(node, codes.ON_TRADE, instrument)
        if market["bars_count"] > 0:
            _bars_on_trade(node, row, instrument)
    else:
        call_strategies(node, codes.ON_TRADE, instrument)


@njit(cache=True)
def _bars_on_trade(node: Any, row: Any, instrument: int) -> None:
    out_of_line()
    decision = node["decision"]
    market = decision["instruments"][instrument]
    clock = decision["clock"]
    for i in range(market["bars_first"], market["bars_first"] + market["bars_count"]):
        if decision["bars"][i]["source"] != FROM_TRADES:
            continue
        state = decision["bars"][i]["state"]
        if bar_on_trade(state, row["price"], row["qty"], row["local_ns"]) == 1:
            call_bar_strategies(node, i)
        if state["due_ns"] < clock["bar_ns"]:
            clock["bar_ns"] = state["due_ns"]
            set_next_edge(clock)


@njit(cache=True, forceinline=True)
def on_quote(node: Any, row: Any, instrument: int) -> None:
    """A change of the touch: marks, loss limits, on_quote."""
    decision = node["decision"]
    market = decision["instruments"][instrument]
    market["bid_qty"] = row["bid_qty"]
    market["ask_qty"] = row["ask_qty"]
    market["quote_ns"] = row["local_ns"]
    _touch(node, market, row["bid"], row["ask"], instrument)
    call_strategies(node, codes.ON_QUOTE, instrument)


@njit(cache=True, forceinline=True)
def _touch(node: Any, market: Any, bid: int, ask: int, instrument: int) -> None:
    """New best prices: longs are marked at the bid, shorts at the ask."""
    marked = (bid != market["bid"]) * market["longs"] + (ask != market["ask"]) * market["shorts"]
    market["bid"] = bid
    market["ask"] = ask
    if marked > 0:
        mark_held(node, instrument)


@njit(cache=True, forceinline=True)
def on_level(node: Any, row: Any, instrument: int) -> None:
    """A level of the book: what most rows of a market with depth are."""
    decision = node["decision"]
    market = decision["instruments"][instrument]
    if market["book"] < 0 or market["newest_wins"] != 0:
        _on_depth(node, row, instrument)
        return
    book = decision["books"][market["book"]]
    book_set(book, np.int64(row["side"] < 0), row["price"], row["qty"])
    market["quote_ns"] = row["local_ns"]
    if row["flags"] & rows.FLAG_EVENT_END != 0:
        book_event_end(book)
        _touch_of_book(node, market, book, instrument)


@njit(cache=True, forceinline=True)
def _touch_of_book(node: Any, market: Any, book: Any, instrument: int) -> None:
    """The venue's message is complete: the touch, marks, on_book."""
    market["bid_qty"] = book["best_bid_qty"]
    market["ask_qty"] = book["best_ask_qty"]
    _touch(node, market, book["best_bid"], book["best_ask"], instrument)
    call_strategies(node, codes.ON_BOOK, instrument)


@njit(cache=True)
def _on_depth(node: Any, row: Any, instrument: int) -> None:
    """Any row of the book: the pool's book, and when the venue's message is complete the touch, marks, on_book."""
    out_of_line()
    decision = node["decision"]
    market = decision["instruments"][instrument]
    if market["book"] < 0:
        if row["kind"] == rows.FEED_GAP:  # With a book, its state says so until the next snapshot.
            market["stale"] = 1
        return
    if market["newest_wins"] != 0:
        _on_newest_depth(node, row, instrument)
        return
    book = decision["books"][market["book"]]
    book_apply(book, row)
    market["quote_ns"] = row["local_ns"]
    if row["flags"] & rows.FLAG_EVENT_END != 0 or row["kind"] == rows.SNAPSHOT_END:
        _touch_of_book(node, market, book, instrument)


@njit(cache=True)
def _on_newest_depth(node: Any, row: Any, instrument: int) -> None:
    """_on_depth where the newest row wins a cross."""
    out_of_line()
    decision = node["decision"]
    market = decision["instruments"][instrument]
    book = decision["books"][market["book"]]
    newest = market["newest"]
    newest_apply(newest, book, row)
    market["quote_ns"] = row["local_ns"]
    if row["flags"] & rows.FLAG_EVENT_END == 0:
        return
    market["bid_qty"] = newest_qty(newest, book, BID)
    market["ask_qty"] = newest_qty(newest, book, ASK)
    _touch(node, market, newest_price(newest, BID), newest_price(newest, ASK), instrument)
    call_strategies(node, codes.ON_BOOK, instrument)


@njit(cache=True)
def on_vendor_bar(node: Any, row: Any, tail: Any, instrument: int) -> None:
    """A vendor's bar: its close is the last price; it goes to every series that is made from the vendor's bars.

    In a warm-up it stands for trades that are not told one by one: it counts in the time bars that are built from trades.
    """
    out_of_line()
    decision = node["decision"]
    market = decision["instruments"][instrument]
    market["last_price"] = row["close"]
    market["last_qty"] = tail["volume"]
    market["trade_ns"] = row["local_ns"]
    if (market["longs"] | market["shorts"]) > 0:
        mark_held(node, instrument)
    bar = node["vendor_bar"]
    bar["start_ns"] = row["venue_ns"] - tail["interval_ns"]
    bar["end_ns"] = row["venue_ns"]
    bar["closed_ns"] = row["local_ns"]
    bar["open"] = row["open"]
    bar["high"] = row["high"]
    bar["low"] = row["low"]
    bar["close"] = row["close"]
    bar["volume"] = tail["volume"]
    bar["notional"] = tail["notional"]
    bar["trades"] = tail["trades"]
    for i in range(market["bars_first"], market["bars_first"] + market["bars_count"]):
        slot = decision["bars"][i]
        if slot["source"] == FROM_BARS:
            bar_given(slot["state"], bar)
            call_bar_strategies(node, i)
        elif slot["source"] == FROM_SHORTER_BARS:
            if bar_before(slot["state"], bar) == 1:
                call_bar_strategies(node, i)
            if bar_on_bar(slot["state"], bar) == 1:
                call_bar_strategies(node, i)
        elif row["flags"] & rows.FLAG_WARMUP != 0 and bar_joined(slot["state"], bar) == 1:
            decision["clock"]["bar_ns"] = min(decision["clock"]["bar_ns"], slot["state"]["due_ns"])
            set_next_edge(decision["clock"])


@njit(cache=True)
def on_operator(node: Any, kind: int, strategy: int, code: int) -> None:
    """An operator's command: the state first, then the cancels. Strategy UNASSIGNED means every account."""
    out_of_line()
    decision = node["decision"]
    if strategy != codes.UNASSIGNED and strategy >= decision["strategy_count"]:
        node["status"] = codes.RUN_BAD_ROW
        node["error_sequence"] = decision["clock"]["sequence"]
        return
    for account in range(decision["account_count"]):
        if strategy == codes.UNASSIGNED or decision["strategies"][strategy]["account"] == account:
            operator_command(decision, account, kind, code)
            if kind == rows.RESUME and code != codes.RESUME_BY_ITSELF and code != codes.RESUME_OF_START:
                call_again(node, account)


@njit(cache=True)
def rare(node: Any, row: Any, tail: Any, kind: int, instrument: int) -> None:
    """Kinds that come seldom."""
    out_of_line()
    decision = node["decision"]
    market = decision["instruments"][instrument]
    if kind == rows.MARK:
        market["mark_price"] = row["price"]
        market["mark_ns"] = row["local_ns"]
    elif kind == rows.STATUS:
        market["status"] = row["status"]
    elif kind == rows.FUNDING:
        on_funding(node, row, instrument)
    elif kind == rows.FX:
        on_rate(node, row["currency"], row["rate"])
    elif kind == rows.INSTRUMENT:
        market["tick_size"] = row["tick_size"]
        market["lot_size"] = row["lot_size"]
        market["min_qty"] = row["min_qty"]
        market["max_qty"] = row["max_qty"]
        market["min_notional"] = tail["min_notional"]
        if market["book"] >= 0:
            book_apply(decision["books"][market["book"]], row)
    elif rows.HALT <= kind <= rows.FLATTEN:
        on_operator(node, kind, int(row["strategy"]), int(row["code"]))
    elif kind == rows.LIMIT_CHANGE:
        on_limit_change(node, row, instrument)
    elif kind == rows.TRANSFER:
        on_transfer(node, row)
    elif rows.FEED_STALE <= kind <= rows.FEED_RECOVERED:
        if kind != rows.FEED_SWITCHED:
            market["stale"] = int(kind == rows.FEED_STALE)
        call_strategies(node, codes.ON_FEED, instrument)
    elif not (rows.ORDER_ADD <= kind <= rows.ORDER_EXECUTE or kind == rows.NOTE or kind == rows.CLOCK):
        node["status"] = codes.RUN_BAD_ROW
        node["error_sequence"] = row["sequence"]


@njit(cache=True)
def _after_step(node: Any) -> None:
    """What the engine itself does: cancel what was halted in this step, close positions of flattened accounts, send slices."""
    out_of_line()
    decision = node["decision"]
    if decision["breaches"] != 0:
        node["records_full"] = 1  # Ends the batch: who drives the run sees the state that the limit caused, and when.
        for strategy in range(decision["strategy_count"]):
            if decision["strategies"][strategy]["failed"] == FAILED_NOW:
                decision["strategies"][strategy]["failed"] = FAILED
                cancel_where(node, strategy, -1, -1)
    decision["breaches"] = 0
    for account in range(decision["account_count"]):
        state = decision["accounts"][account]
        if state["cancel_all"] != 0:
            state["cancel_all"] = 0
            cancel_where(node, -1, account, -1)
    if decision["flattening"] != 0:
        flatten_accounts(node)
    if decision["slicing"] != 0:
        send_slices(node)


@njit(cache=True)
def _step_seldom(node: Any, slot: int, kind: int, instrument: int) -> int:
    """Every kind but quotes, prints and depth: how many rows the fact was."""
    out_of_line()
    row = node["inbox"][slot]
    tail = node["inbox"][inbox_slot(node, slot + 1)]
    if kind == rows.FILL:
        on_fill(node, row, tail, instrument)
    elif rows.ACK <= kind <= rows.AMEND_REJECT:
        on_order_fact(node, row)
    elif kind == rows.EXTERNAL_WORKING:
        on_external_working(node, row, instrument)
    elif kind == rows.ADJUSTMENT:
        on_adjustment(node, row, tail, instrument)
    elif kind == rows.FEE_CHANGED:
        on_fee_change(node, row, instrument)
    elif kind == rows.FUNDING_PAID:
        on_funding_paid(node, row, instrument)
    elif kind == rows.BUST:
        on_bust(node, row, tail, instrument)
    elif kind == rows.TIMER:
        strategy = int(row["strategy"])
        timer_fired(node["decision"], strategy, row["timer_id"], row["due_ns"])
        call_strategy(node, codes.ON_TIMER, strategy)
    elif kind == rows.BAR:
        on_vendor_bar(node, row, tail, instrument)
    else:
        rare(node, row, tail, kind, instrument)
    return 2 if row["flags"] & rows.FLAG_CONTINUES else 1


@njit(cache=True)
def _stop_at(node: Any, slot: int, status: int) -> None:
    """Stop the run at a row that cannot be handled."""
    out_of_line()
    node["status"] = status
    node["error_sequence"] = node["inbox"][slot]["sequence"]


@njit(cache=True, forceinline=True)
def step(node: Any, at: int, row: Any) -> int:
    """Handle the oldest fact of the inbox: how many rows it was (1 or 2), 0 when it stops the run.

    at: its sequence. row: where it came from, the same but for the sequence; to read what was just written costs a processor time.
    """
    slot = inbox_slot(node, at)
    node["current_slot"] = slot
    decision = node["decision"]
    clock = decision["clock"]
    now_ns = row["local_ns"]
    kind = int(row["kind"])
    instrument = int(row["instrument"])
    if now_ns < clock["now_ns"]:
        _stop_at(node, slot, codes.RUN_TIME_BACK)
        return 0
    if instrument >= decision["instrument_count"]:
        _stop_at(node, slot, codes.RUN_BAD_ROW)
        return 0
    clock["now_ns"] = now_ns
    clock["venue_ns"] = row["venue_ns"]
    clock["sequence"] = at
    if now_ns >= clock["edge_ns"]:
        time_passed(node)
    node["measured"]["rows"][kind] += 1
    handled = 1
    if kind == rows.LEVEL:
        on_level(node, row, instrument)
    elif kind == rows.TRADE:
        on_trade(node, row, instrument)
    elif kind == rows.QUOTE:
        on_quote(node, row, instrument)
    elif rows.LEVEL < kind <= rows.CLEAR or kind == rows.FEED_GAP:
        _on_depth(node, row, instrument)
    else:
        handled = _step_seldom(node, slot, kind, instrument)
    if (decision["breaches"] | decision["flattening"] | decision["slicing"]) != 0:
        _after_step(node)
    node["inbox_tail"] = at + handled
    return handled
