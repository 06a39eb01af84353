"""Facts about our own orders and accounts: fills, answers, funding, rates, limits. Order state first, then money, then the callbacks."""

from typing import Any

from twinloop.kernels import codes
from twinloop.kernels.bits import set_word
from twinloop.kernels.callbacks import call_strategy
from twinloop.kernels.exposure import list_exposure
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.marks import (
    converted_change,
    equity_changed,
    mark_instrument,
    revalue_account,
    to_account_currency,
)
from twinloop.kernels.money import MONEY_MAX, OK, checked_add, checked_sub
from twinloop.kernels.node import ACCOUNT_LIMIT, ACCOUNT_LIMIT_WORDS, INSTRUMENT_LIMIT_WORDS
from twinloop.kernels.orders import apply_order_fact, apply_order_fill, book_of, find_order
from twinloop.kernels.portfolio import apply_funding, book_fill, book_funding, change_fee, deposit, receive_funding
from twinloop.kernels.records import record_fill, record_order, sample_equity
from twinloop.kernels.risk_state import order_filled, position_changed, set_equity_floor


@njit(cache=True)
def mark_held(node: Any, instrument: int) -> None:
    """Mark the positions of an instrument; an overflow stops the run at this row."""
    out_of_line()
    status = mark_instrument(node["decision"], instrument)
    if status != 0:
        node["status"] = status
        node["error_sequence"] = node["decision"]["clock"]["sequence"]


@njit(cache=True)
def equity_moved(node: Any, account: int) -> None:
    """Take an account's new equity into account; an overflow stops the run at this row."""
    status = equity_changed(node["decision"], account)
    if status != 0:
        node["status"] = status
        node["error_sequence"] = node["decision"]["clock"]["sequence"]


@njit(cache=True)
def _book_fill(node: Any, row: Any, tail: Any, instrument: int, holder: int) -> tuple[int, bool]:
    """What a fill does to positions, ledgers, cash, marks and loss limits: (realised PnL of its book, whether it was booked).

    holder: the book's index in strategy_holdings.
    """
    out_of_line()
    decision = node["decision"]
    account = row["account"]
    market = decision["instruments"][instrument]
    of_strategy = decision["strategy_holdings"][holder][instrument]["position"]
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
    after = of_account["qty"]
    market["longs"] += int(after > 0) - int(before > 0)
    market["shorts"] += int(after < 0) - int(before < 0)
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
    mark_held(node, instrument)
    equity_moved(node, account)
    return realised, True


@njit(cache=True)
def on_fill(node: Any, row: Any, tail: Any, instrument: int) -> None:
    """A fill: order state, positions, ledgers, cash, marks, limits; on_fill, then on_order. Accepted in every order state."""
    out_of_line()
    decision = node["decision"]
    strategy = int(row["strategy"])
    holder = book_of(decision, strategy, int(row["account"]))
    slot = find_order(decision, row["order_id"])
    if slot < 0 or holder < 0:
        _on_foreign_fill(node, row, tail, instrument)
        return
    order = decision["orders"][slot]
    was_open = order["state"] < codes.STATE_FILLED
    result = apply_order_fill(decision, order, row)
    realised, booked = _book_fill(node, row, tail, instrument, holder)
    if not booked:
        return
    order_filled(decision, order, row)
    node["measured"]["fills"] += 1
    record_fill(node, row, tail, realised, holder)
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
    node["measured"]["foreign_facts"] += 1
    if _book_foreign(node, row, tail, instrument):
        node["measured"]["fills"] += 1
        call_strategy(node, codes.ON_FILL, int(row["strategy"]))


@njit(cache=True)
def on_adjustment(node: Any, row: Any, tail: Any, instrument: int) -> None:
    """A difference that a person accepted: booked as what was traded, and told to no strategy."""
    out_of_line()
    _book_foreign(node, row, tail, instrument)


@njit(cache=True)
def on_bust(node: Any, row: Any, tail: Any, instrument: int) -> None:
    """A trade that the venue took back: booked the other way round at its own price, with its fee returned, and told as such a fill.

    The state of its order stays: what has ended does not begin again.
    """
    out_of_line()
    if _book_foreign(node, row, tail, instrument):
        call_strategy(node, codes.ON_FILL, int(row["strategy"]))


@njit(cache=True)
def on_fee_change(node: Any, row: Any, instrument: int) -> None:
    """A booked trade cost more or less than was told first, which the venue had rounded: fees, ledger, cash, equity. No strategy is told."""
    out_of_line()
    decision = node["decision"]
    account = int(row["account"])
    holder = book_of(decision, int(row["strategy"]), account)
    if holder < 0 or account >= decision["account_count"] or not 0 <= row["fee_currency"] < decision["fx"].shape[0]:
        node["status"] = codes.RUN_BAD_ROW
        node["error_sequence"] = row["sequence"]
        return
    state = decision["accounts"][account]
    paid, status_1 = to_account_currency(decision, row["fee_currency"], row["fee"])
    cash, status_2 = checked_sub(state["cash"], paid)
    status = status_1 | status_2
    if status == OK:
        status = change_fee(
            decision["strategy_holdings"][holder][instrument]["position"],
            decision["account_holdings"][account][instrument]["position"],
            decision["ledgers"][account], decision["instruments"][instrument]["rule"], row["fee"], row["fee_currency"],
        )  # fmt: skip
    if status != OK:
        node["status"] = codes.RUN_OVERFLOW
        node["error_sequence"] = row["sequence"]
        return
    state["cash"] = cash
    equity_moved(node, account)


@njit(cache=True)
def on_transfer(node: Any, row: Any) -> None:
    """Money that came from outside (< 0: left). Of the account's currency it moves the equity and all that is counted from that.

    So it is neither profit nor loss, and no loss limit is nearer or further for it. Of another currency it is only there to be spent.
    """
    out_of_line()
    decision = node["decision"]
    account, currency, amount = int(row["account"]), row["currency"], row["value"]
    if not (account < decision["account_count"] and 0 <= currency < decision["fx"].shape[0]):
        node["status"] = codes.RUN_BAD_ROW
        node["error_sequence"] = row["sequence"]
        return
    ledger = decision["ledgers"][account][currency]
    state = decision["accounts"][account]
    if currency == 0:
        cash, status_1 = checked_add(state["cash"], amount)
        peak, status_2 = checked_add(state["peak_equity"], amount)
        floor_peak, status_3 = checked_add(state["floor_peak"], amount)
        day, status_4 = checked_add(state["day_equity"], amount)
        start, status_5 = checked_add(state["start_equity"], amount)
        status = status_1 | status_2 | status_3 | status_4 | status_5
        if status == OK:
            status = deposit(ledger, amount)
        if status == OK:
            state["cash"], state["peak_equity"], state["floor_peak"] = cash, peak, floor_peak
            state["day_equity"], state["start_equity"] = day, start
            state["equity"] += amount
            if state["equity_floor"] != -MONEY_MAX:  # Else a limit is broken, and none is looked for.
                set_equity_floor(decision, account)
            equity_moved(node, account)
    else:
        balance, status_1 = checked_add(ledger["balance"], amount)
        outside, status_2 = checked_add(ledger["outside"], amount)
        status = status_1 | status_2
        if status == OK:
            ledger["balance"], ledger["outside"] = balance, outside
    if status != OK:
        node["status"] = codes.RUN_OVERFLOW
        node["error_sequence"] = row["sequence"]


@njit(cache=True)
def _book_foreign(node: Any, row: Any, tail: Any, instrument: int) -> bool:
    """Book what no order in the table traded, to its strategy or to the account's unassigned book. False: it stops the run."""
    decision = node["decision"]
    account = int(row["account"])
    holder = book_of(decision, int(row["strategy"]), account)
    if holder < 0 or account >= decision["account_count"]:
        node["status"] = codes.RUN_BAD_ROW
        node["error_sequence"] = row["sequence"]
        return False
    realised, booked = _book_fill(node, row, tail, instrument, holder)
    if booked:
        position_changed(decision, account, instrument)
        record_fill(node, row, tail, realised, holder)
        sample_equity(node)
    return booked


@njit(cache=True)
def on_external_working(node: Any, row: Any, instrument: int) -> None:
    """What orders of others have working on an account's instrument: it counts in the account's worst case like ours."""
    out_of_line()
    decision = node["decision"]
    account = int(row["account"])
    if account >= decision["account_count"] or row["external_buy"] < 0 or row["external_sell"] < 0:
        node["status"] = codes.RUN_BAD_ROW
        node["error_sequence"] = row["sequence"]
        return
    list_exposure(decision, account, instrument)
    exposure = decision["account_holdings"][account][instrument]["exposure"]
    exposure["buy_qty"] += row["external_buy"] - exposure["external_buy"]
    exposure["sell_qty"] += row["external_sell"] - exposure["external_sell"]
    exposure["external_buy"] = row["external_buy"]
    exposure["external_sell"] = row["external_sell"]


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
    """A market's funding: every book's position pays its part; the account's ledger and cash take the account's.

    Nothing where a venue says what it paid: that comes as FUNDING_PAID.
    """
    out_of_line()
    decision = node["decision"]
    if decision["funding_told"] != 0:
        return
    market = decision["instruments"][instrument]
    price = row["price"] if row["price"] > 0 else market["mark_price"]
    for holder in range(decision["strategy_holdings"].shape[0]):
        position = decision["strategy_holdings"][holder][instrument]["position"]
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
            equity_moved(node, account)


@njit(cache=True)
def on_funding_paid(node: Any, row: Any, instrument: int) -> None:
    """What a venue paid (< 0: took) in funding, a book's part of it: position, ledger, cash, equity. No strategy is told."""
    out_of_line()
    decision = node["decision"]
    account = int(row["account"])
    market = decision["instruments"][instrument]
    holder = book_of(decision, int(row["strategy"]), account)
    if holder < 0 or account >= decision["account_count"] or row["currency"] != market["settle"]:
        node["status"] = codes.RUN_BAD_ROW
        node["error_sequence"] = row["sequence"]
        return
    state = decision["accounts"][account]
    received, status_1 = to_account_currency(decision, market["settle"], row["value"])
    cash, status_2 = checked_add(state["cash"], received)
    status = status_1 | status_2
    if status == OK:
        status = receive_funding(
            decision["strategy_holdings"][holder][instrument]["position"],
            decision["account_holdings"][account][instrument]["position"],
            decision["ledgers"][account], market["rule"], row["value"],
        )  # fmt: skip
    if status != OK:
        node["status"] = codes.RUN_OVERFLOW
        node["error_sequence"] = row["sequence"]
        return
    state["cash"] = cash
    equity_moved(node, account)


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
        equity_moved(node, account)
    else:
        node["status"] = codes.RUN_BAD_ROW
        node["error_sequence"] = decision["clock"]["sequence"]
