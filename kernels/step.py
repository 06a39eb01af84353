"""One fact, in the written order of work. Replay and live call this and nothing else.

1 clock (bars, samples and session rolls that the time passes) - 2 book, quote, bar - 3 own-order state, position, cash - 4 marks and
risk state - 5 strategy callbacks for that kind, then for bars it closed, in slot order; each order call passes the gate at the
call - 6 requests are in the outbox, numbered by decision.
"""

from typing import Any

from twinloop.kernels import codes, rows
from twinloop.kernels.bars import bar_on_clock, bar_on_trade
from twinloop.kernels.bits import set_word
from twinloop.kernels.book import ASK, BID, book_apply
from twinloop.kernels.desk import cancel_where
from twinloop.kernels.intrinsics import call_at, out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.marks import (
    converted_change,
    equity_changed,
    mark_instrument,
    revalue_account,
    to_account_currency,
)
from twinloop.kernels.money import OK, checked_add, checked_sub
from twinloop.kernels.newest_touch import newest_apply, newest_price, newest_qty
from twinloop.kernels.node import ACCOUNT_LIMIT, ACCOUNT_LIMIT_WORDS, INSTRUMENT_LIMIT_WORDS, NEVER
from twinloop.kernels.orders import apply_order_fact, apply_order_fill, find_order
from twinloop.kernels.portfolio import apply_funding, book_fill, book_funding
from twinloop.kernels.risk_state import operator_command, order_filled, position_changed, session_roll, set_equity_floor
from twinloop.kernels.timers import timer_fired


@njit(cache=True)
def call_strategies(node: Any, callback: int, instrument: int) -> None:
    """Call every subscribed strategy's callback in slot order."""
    if node["wanted"][callback] == 0:
        return
    for strategy in range(node["decision"]["strategy_count"]):
        function = node["callbacks"][strategy, callback]
        if function != 0 and node["subscribed"][strategy, instrument] != 0:
            node["current_strategy"] = strategy
            call_at(function, node["address"])


@njit(cache=True)
def call_strategy(node: Any, callback: int, strategy: int) -> None:
    """Call one strategy's callback, if it has it."""
    function = node["callbacks"][strategy, callback]
    if function != 0:
        node["current_strategy"] = strategy
        call_at(function, node["address"])


@njit(cache=True)
def _mark(node: Any, instrument: int) -> None:
    """Mark the positions of an instrument; an overflow stops the run at this row."""
    out_of_line()
    status = mark_instrument(node["decision"], instrument)
    if status != 0:
        node["status"] = status
        node["error_sequence"] = node["decision"]["clock"]["sequence"]


@njit(cache=True)
def _equity_changed(node: Any, account: int) -> None:
    """Take an account's new equity into account; an overflow stops the run at this row."""
    status = equity_changed(node["decision"], account)
    if status != 0:
        node["status"] = status
        node["error_sequence"] = node["decision"]["clock"]["sequence"]


@njit(cache=True)
def sample_equity(node: Any) -> None:
    """Keep one equity sample of the first account for the report."""
    out_of_line()
    at = node["equity_count"]
    decision = node["decision"]
    state = decision["accounts"][0]
    record = node["equity"][at]
    record["local_ns"] = decision["clock"]["now_ns"]
    record["sequence"] = decision["clock"]["sequence"]
    record["equity_int"] = state["equity"]
    record["cash_int"] = state["cash"]
    record["unrealised_int"] = state["unrealised"]
    record["drawdown_int"] = state["peak_equity"] - state["equity"]
    for i in range(min(record["position_int"].shape[0], decision["instrument_count"])):
        market = decision["instruments"][i]
        record["position_int"][i] = decision["account_holdings"][0][i]["position"]["qty"]
        record["mark2_int"][i] = (
            2 * market["last_price"] if market["bid"] == 0 or market["ask"] == 0 else market["bid"] + market["ask"]
        )
    node["equity_count"] = at + 1
    if at + 1 >= node["equity"].shape[0] - 64:
        node["records_full"] = 1


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
                node["current_bar"] = i
                call_strategies(node, codes.ON_BAR, decision["bars"][i]["instrument"])
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
        if market["held"] > 0 and (market["bid"] == 0 or market["ask"] == 0):
            _mark(node, instrument)
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
        state = decision["bars"][i]["state"]
        if bar_on_trade(state, row["price"], row["qty"], row["local_ns"]) == 1:
            node["current_bar"] = i
            call_strategies(node, codes.ON_BAR, instrument)
        if state["due_ns"] < clock["bar_ns"]:
            clock["bar_ns"] = state["due_ns"]
            set_next_edge(clock)


@njit(cache=True, forceinline=True)
def on_quote(node: Any, row: Any, instrument: int) -> None:
    """A change of the touch: marks, loss limits, on_quote."""
    decision = node["decision"]
    market = decision["instruments"][instrument]
    market["bid"] = row["bid"]
    market["bid_qty"] = row["bid_qty"]
    market["ask"] = row["ask"]
    market["ask_qty"] = row["ask_qty"]
    market["quote_ns"] = row["local_ns"]
    if market["held"] > 0:
        _mark(node, instrument)
    call_strategies(node, codes.ON_QUOTE, instrument)


@njit(cache=True, forceinline=True)
def on_depth(node: Any, row: Any, instrument: int) -> None:
    """A row of the book: the pool's book, the touch, marks, and on_book when the venue's message is complete."""
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
    if row["flags"] & rows.FLAG_EVENT_END == 0 and row["kind"] != rows.SNAPSHOT_END:
        return
    bid = book["best_bid"]
    ask = book["best_ask"]
    market["bid_qty"] = book["best_bid_qty"]
    market["ask_qty"] = book["best_ask_qty"]
    if bid != market["bid"] or ask != market["ask"]:
        market["bid"] = bid
        market["ask"] = ask
        if market["held"] > 0:
            _mark(node, instrument)
    call_strategies(node, codes.ON_BOOK, instrument)


@njit(cache=True)
def _on_newest_depth(node: Any, row: Any, instrument: int) -> None:
    """on_depth where the newest row wins a cross."""
    out_of_line()
    decision = node["decision"]
    market = decision["instruments"][instrument]
    book = decision["books"][market["book"]]
    newest = market["newest"]
    newest_apply(newest, book, row)
    market["quote_ns"] = row["local_ns"]
    if row["flags"] & rows.FLAG_EVENT_END == 0:
        return
    market["bid"] = newest_price(newest, BID)
    market["bid_qty"] = newest_qty(newest, book, BID)
    market["ask"] = newest_price(newest, ASK)
    market["ask_qty"] = newest_qty(newest, book, ASK)
    if market["held"] > 0:
        _mark(node, instrument)
    call_strategies(node, codes.ON_BOOK, instrument)


@njit(cache=True)
def on_vendor_bar(node: Any, row: Any, tail: Any, instrument: int) -> None:
    """A vendor's bar: its close is the last price; the strategy sees it as a closed bar in the instrument's first bar slot."""
    out_of_line()
    decision = node["decision"]
    market = decision["instruments"][instrument]
    market["last_price"] = row["close"]
    market["last_qty"] = tail["volume"]
    market["trade_ns"] = row["local_ns"]
    if market["held"] > 0:
        _mark(node, instrument)
    if market["bars_count"] == 0:
        return
    state = decision["bars"][market["bars_first"]]["state"]
    closed = state["closed"]
    closed["start_ns"] = row["venue_ns"] - tail["interval_ns"]
    closed["end_ns"] = row["venue_ns"]
    closed["closed_ns"] = row["local_ns"]
    closed["open"] = row["open"]
    closed["high"] = row["high"]
    closed["low"] = row["low"]
    closed["close"] = row["close"]
    closed["volume"] = tail["volume"]
    closed["notional"] = tail["notional"]
    closed["trades"] = tail["trades"]
    closed["flags"] = 0
    state["count"] += 1
    node["current_bar"] = market["bars_first"]
    call_strategies(node, codes.ON_BAR, instrument)


@njit(cache=True)
def _record_fill(node: Any, row: Any, tail: Any, realised: int) -> None:
    """Keep a fill for the fills table. What only its order knows (times, mid at the decision) is left 0."""
    out_of_line()
    decision = node["decision"]
    at = node["fill_count"]
    record = node["fills"][at]
    record["sequence"] = row["sequence"]
    record["local_ns"] = row["local_ns"]
    record["venue_ns"] = row["venue_ns"]
    record["instrument"] = row["instrument"]
    record["strategy"] = row["strategy"]
    record["account"] = row["account"]
    record["side"] = row["side"]
    record["order_id"] = row["order_id"]
    record["trade_id"] = tail["trade_id"]
    record["price_int"] = row["price"]
    record["qty_int"] = row["qty"]
    record["fee_int"] = row["fee"]
    record["fee_currency"] = tail["fee_currency"]
    record["maker"] = 1 if row["flags"] & rows.FLAG_MAKER else 0
    record["cause_id"] = tail["cause_id"]
    record["decided_ns"] = 0
    record["arrived_ns"] = 0
    record["decision_mid2_int"] = 0
    record["arrival_mid2_int"] = 0
    record["position_after_int"] = decision["strategy_holdings"][row["strategy"]][row["instrument"]]["position"]["qty"]
    record["realised_int"] = realised
    node["fill_count"] = at + 1
    if at + 1 >= node["fills"].shape[0] - 64:
        node["records_full"] = 1


@njit(cache=True)
def record_order(node: Any, order: Any) -> None:
    """Keep an order that ended (or is open at the end of the run) for the orders table."""
    out_of_line()
    at = node["order_record_count"]
    record = node["order_records"][at]
    record["sequence"] = order["decided_sequence"]
    record["decided_ns"] = order["decided_ns"]
    record["order_id"] = order["id"]
    record["strategy"] = order["strategy"]
    record["account"] = order["account"]
    record["instrument"] = order["instrument"]
    record["side"] = order["side"]
    record["type"] = order["type"]
    record["flags"] = order["flags"]
    record["price_int"] = order["price"]
    record["qty_int"] = order["qty"]
    record["trigger_price_int"] = order["trigger_price"]
    record["filled_int"] = order["filled"]
    record["state"] = order["state"]
    record["acked_ns"] = order["acked_ns"]
    record["ended_ns"] = order["ended_ns"]
    record["code"] = order["code"]
    record["notional"] = order["notional"]
    node["order_record_count"] = at + 1
    if at + 1 >= node["order_records"].shape[0] - 64:
        node["records_full"] = 1


@njit(cache=True)
def _book_fill(node: Any, row: Any, tail: Any, instrument: int) -> tuple[int, bool]:
    """What a fill does to positions, ledgers, cash, marks and loss limits: (realised PnL of the strategy, whether it was booked)."""
    out_of_line()
    decision = node["decision"]
    account = row["account"]
    strategy = row["strategy"]
    market = decision["instruments"][instrument]
    of_strategy = decision["strategy_holdings"][strategy][instrument]["position"]
    of_account = decision["account_holdings"][account][instrument]["position"]
    before = of_account["qty"]
    unrealised_before = of_account["unrealised"]
    realised, account_realised, status = book_fill(
        of_strategy, of_account, decision["ledgers"][account], market["rule"], row["side"], row["price"], row["qty"],
        row["fee"], tail["fee_currency"], row["venue_ns"],
    )  # fmt: skip
    if status != OK:
        node["status"] = codes.RUN_OVERFLOW
        node["error_sequence"] = row["sequence"]
        return 0, False
    if before == 0 and of_account["qty"] != 0:
        market["held"] += 1
    elif before != 0 and of_account["qty"] == 0:
        market["held"] -= 1
    state = decision["accounts"][account]
    gained, status_1 = to_account_currency(decision, market["settle"], account_realised)
    paid, status_2 = to_account_currency(decision, tail["fee_currency"], row["fee"])
    moved, status_3 = converted_change(decision, market["settle"], unrealised_before, of_account["unrealised"])
    net, status_4 = checked_sub(gained, paid)
    cash, status_5 = checked_add(state["cash"], net)
    open_pnl, status_6 = checked_add(state["unrealised"], moved)
    if (status_1 | status_2 | status_3 | status_4 | status_5 | status_6) != OK:
        node["status"] = codes.RUN_OVERFLOW
        node["error_sequence"] = row["sequence"]
        return 0, False
    state["cash"] = cash
    state["unrealised"] = open_pnl
    _mark(node, instrument)
    _equity_changed(node, account)
    return realised, True


@njit(cache=True)
def on_fill(node: Any, row: Any, tail: Any, instrument: int) -> None:
    """A fill: order state, positions, ledgers, cash, marks, limits; on_fill, then on_order. Accepted in every order state."""
    out_of_line()
    decision = node["decision"]
    strategy = row["strategy"]
    slot = find_order(decision, row["order_id"])
    if slot < 0:
        _on_foreign_fill(node, row, tail, instrument)
        return
    order = decision["orders"][slot]
    was_open = order["state"] < codes.STATE_FILLED
    result = apply_order_fill(decision, order, row)
    realised, booked = _book_fill(node, row, tail, instrument)
    if not booked:
        return
    order_filled(decision, order, row)
    node["measured"]["fills"] += 1
    _record_fill(node, row, tail, realised)
    record = node["fills"][node["fill_count"] - 1]
    record["decided_ns"] = order["decided_ns"]
    record["arrived_ns"] = order["acked_ns"]
    record["decision_mid2_int"] = order["decision_mid2"]
    sample_equity(node)
    if result == 1:
        node["measured"]["late_fills"] += 1
    elif result == 2:
        node["measured"]["overfills"] += 1
    ended = was_open and order["state"] >= codes.STATE_FILLED
    if ended or not was_open:
        # Before the callback: an order sent there may take the slot. One that had ended is recorded again: the last record counts.
        record_order(node, order)
    call_strategy(node, codes.ON_FILL, strategy)
    if ended:
        call_strategy(node, codes.ON_ORDER, strategy)


@njit(cache=True)
def _on_foreign_fill(node: Any, row: Any, tail: Any, instrument: int) -> None:
    """A fill of an order the table no longer holds, or never did: what was traded is ours all the same, and is booked."""
    out_of_line()
    decision = node["decision"]
    node["measured"]["foreign_facts"] += 1
    if row["strategy"] >= decision["strategy_count"] or row["account"] >= decision["account_count"]:
        node["status"] = codes.RUN_BAD_ROW
        node["error_sequence"] = row["sequence"]
        return
    realised, booked = _book_fill(node, row, tail, instrument)
    if booked:
        position_changed(decision, int(row["account"]), instrument)
        node["measured"]["fills"] += 1
        _record_fill(node, row, tail, realised)
        sample_equity(node)
        call_strategy(node, codes.ON_FILL, row["strategy"])


@njit(cache=True)
def on_order_fact(node: Any, row: Any) -> None:
    """Any other fact about an own order: its state, its reserve, on_order."""
    out_of_line()
    decision = node["decision"]
    slot = find_order(decision, row["order_id"])
    if slot < 0:
        node["measured"]["foreign_facts"] += 1
        return
    order = decision["orders"][slot]
    was_open = order["state"] < codes.STATE_FILLED
    apply_order_fact(decision, order, row)
    if was_open and order["state"] >= codes.STATE_FILLED:
        record_order(node, order)
    call_strategy(node, codes.ON_ORDER, order["strategy"])


@njit(cache=True)
def on_funding(node: Any, row: Any, instrument: int) -> None:
    """A funding payment: every strategy's position pays its part; the account's ledger and cash take the account's."""
    out_of_line()
    decision = node["decision"]
    market = decision["instruments"][instrument]
    price = row["price"] if row["price"] > 0 else market["mark_price"]
    for strategy in range(decision["strategy_count"]):
        position = decision["strategy_holdings"][strategy][instrument]["position"]
        if position["qty"] != 0:
            _, status = apply_funding(position, market["rule"], price, row["rate"])
            if status != OK:
                node["status"] = codes.RUN_OVERFLOW
                node["error_sequence"] = row["sequence"]
    for account in range(decision["account_count"]):
        position = decision["account_holdings"][account][instrument]["position"]
        if position["qty"] != 0:
            cash, status = book_funding(position, decision["ledgers"][account], market["rule"], price, row["rate"])
            cash, converted = to_account_currency(decision, market["settle"], cash)
            state = decision["accounts"][account]
            total, overflow = checked_add(state["cash"], cash)
            if (status | converted) != OK or overflow:
                node["status"] = codes.RUN_OVERFLOW
                node["error_sequence"] = row["sequence"]
                return
            state["cash"] = total
            _equity_changed(node, account)


@njit(cache=True)
def on_operator(node: Any, kind: int, strategy: int) -> None:
    """An operator's command: the state first, then the cancels. Strategy 255 means every account."""
    out_of_line()
    decision = node["decision"]
    if strategy != 255 and strategy >= decision["strategy_count"]:
        node["status"] = codes.RUN_BAD_ROW
        node["error_sequence"] = decision["clock"]["sequence"]
        return
    for account in range(decision["account_count"]):
        if strategy == 255 or decision["strategies"][strategy]["account"] == account:
            operator_command(decision, account, kind)


@njit(cache=True)
def on_limit_change(node: Any, row: Any, instrument: int) -> None:
    """An operator's new value of a limit: of the instrument by its word, from ACCOUNT_LIMIT on of the account. It holds from here on."""
    out_of_line()
    decision = node["decision"]
    limit = row["limit"]
    account = int(row["account"])
    if 0 <= limit < INSTRUMENT_LIMIT_WORDS and row["value"] >= 0:
        set_word(decision["instrument_limits"][instrument], limit, row["value"])
    elif (
        ACCOUNT_LIMIT <= limit < ACCOUNT_LIMIT + ACCOUNT_LIMIT_WORDS
        and row["value"] >= 0
        and account < decision["account_count"]
    ):
        set_word(decision["account_limits"][account], limit - ACCOUNT_LIMIT, row["value"])
        set_equity_floor(decision, account)
        _equity_changed(node, account)
    else:
        node["status"] = codes.RUN_BAD_ROW
        node["error_sequence"] = decision["clock"]["sequence"]


@njit(cache=True)
def on_rate(node: Any, currency: int, rate: int) -> None:
    """A new rate of a currency: every account is valued anew."""
    out_of_line()
    decision = node["decision"]
    if not 0 <= currency < decision["fx"].shape[0] or rate <= 0:
        node["status"] = codes.RUN_BAD_ROW
        node["error_sequence"] = decision["clock"]["sequence"]
        return
    decision["fx"][currency] = rate
    for account in range(decision["account_count"]):
        status = revalue_account(decision, account)
        if status != 0:
            node["status"] = status
            node["error_sequence"] = decision["clock"]["sequence"]


@njit(cache=True)
def rare(node: Any, row: Any, tail: Any, kind: int, instrument: int) -> None:
    """Kinds that come seldom."""
    out_of_line()
    decision = node["decision"]
    market = decision["instruments"][instrument]
    if rows.ACK <= kind <= rows.AMEND_REJECT:
        on_order_fact(node, row)
    elif kind == rows.TIMER:
        strategy = int(row["strategy"])
        timer_fired(decision, strategy, row["timer_id"], row["due_ns"])
        call_strategy(node, codes.ON_TIMER, strategy)
    elif kind == rows.MARK:
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
        on_operator(node, kind, int(row["strategy"]))
    elif kind == rows.LIMIT_CHANGE:
        on_limit_change(node, row, instrument)
    elif kind == rows.FEED_RECOVERED:
        market["stale"] = 0
    elif kind == rows.FEED_STALE:
        market["stale"] = 1
    elif not (rows.ORDER_ADD <= kind <= rows.ORDER_EXECUTE or kind == rows.NOTE or kind == rows.FEED_SWITCHED):
        node["status"] = codes.RUN_BAD_ROW
        node["error_sequence"] = row["sequence"]


@njit(cache=True)
def _cancel_breached(node: Any) -> None:
    """Cancel what works on accounts that a limit or an operator halted in this step."""
    out_of_line()
    decision = node["decision"]
    decision["breaches"] = 0
    for account in range(decision["account_count"]):
        state = decision["accounts"][account]
        if state["cancel_all"] != 0:
            state["cancel_all"] = 0
            cancel_where(node, -1, account, -1)


@njit(cache=True)
def _step_seldom(node: Any, slot: int, kind: int, instrument: int) -> int:
    """Every kind but quotes, prints and depth: how many rows the fact was."""
    out_of_line()
    row = node["inbox"][slot]
    tail = node["inbox"][(slot + 1) & node["inbox_mask"]]
    if kind == rows.FILL:
        on_fill(node, row, tail, instrument)
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
def step(node: Any) -> int:
    """Handle the oldest fact of the inbox; returns how many rows it was (1 or 2), 0 when it stops the run.

    The caller knows that the inbox is not empty.
    """
    tail_at = node["inbox_tail"]
    slot = tail_at & node["inbox_mask"]
    row = node["inbox"][slot]
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
    clock["sequence"] = row["sequence"]
    if now_ns >= clock["edge_ns"]:
        time_passed(node)
    node["measured"]["rows"][kind] += 1
    handled = 1
    if kind == rows.QUOTE:
        on_quote(node, row, instrument)
    elif kind == rows.TRADE:
        on_trade(node, row, instrument)
    elif rows.LEVEL <= kind <= rows.CLEAR or kind == rows.FEED_GAP:
        on_depth(node, row, instrument)
    else:
        handled = _step_seldom(node, slot, kind, instrument)
    if decision["breaches"] != 0:
        _cancel_breached(node)
    node["inbox_tail"] = tail_at + handled
    return handled
