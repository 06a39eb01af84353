"""Positions and cash: what fills, fees, funding and marks do to them, exactly.

A POSITION is kept per (account, strategy, instrument) and once more per (account, instrument); a CASH ledger per (account,
currency). All money is int64 in 1e-8 of its currency. This module must not decide anything: no orders, no limits.

Signs. `cost` is the summed signed value (money.position_value) of the open quantity: positive for a linear or spot long,
negative for its short, and the reverse for inverse contracts. Then for every contract, long or short:
    unrealised = value at the mark - cost         realised = -(value of the closing part) - (cost it releases)
A partial close releases cost pro rata, rounded half to even; the remainder stays. A fill that crosses zero closes all and
opens the rest; its value, rounded once, is split pro rata in the same way. `fees` > 0 were paid, `funding` > 0 was received.

These hold exactly after any sequence of calls:
    position: sum of the fills' values = cost - realised
    ledger:   balance = start + outside + realised + exchanged - fees + funding
    futures:  balance + unrealised = start + realised + unrealised - fees + funding (per settlement currency)
    spot:     quote balance + cost = start + realised - fees + funding; base balance = outside + bought - sold - fees in base
A call that returns a status other than OK has changed nothing.
"""

from typing import Final

import numpy as np

from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.money import (
    HALF_EVEN,
    INVERSE,
    MONEY_UNIT,
    OK,
    OVERFLOW,
    SPOT,
    UP_AWAY,
    base_money,
    checked_add,
    checked_mul,
    checked_sub,
    mark_delta,
    mul_div,
    position_value,
    saturating_add,
)

# Statuses beside those of money.py, in further bits.
BAD_FILL: Final = 16  # Side is not +1 or -1, or the quantity is not positive.
BAD_CURRENCY: Final = 32  # A currency slot outside the account's ledgers.

POSITION: Final = np.dtype(
    [
        ("qty", "<i8"),  # Signed, in the instrument's qty scale.
        ("cost", "<i8"),  # Signed value of the open quantity at its fill prices.
        ("realised", "<i8"),  # Before fees and funding.
        ("unrealised", "<i8"),  # At mark_price.
        (
            "fees",
            "<i8",
        ),  # Paid in the settlement currency; fees in another currency are in that currency's ledger only.
        ("funding", "<i8"),  # Received.
        ("mark_price", "<i8"),
        (
            "buys_qty",
            "<i8",
        ),  # This and the next three are running statistics: held at MONEY_MAX, they never stop a fill.
        ("sells_qty", "<i8"),
        ("traded_notional", "<i8"),
        ("fills_count", "<i8"),
        ("last_fill_ns", "<i8"),
    ],
    align=True,
)
assert POSITION.itemsize == 96

CASH: Final = np.dtype(
    [
        ("balance", "<i8"),
        ("start", "<i8"),  # Deposits less withdrawals.
        (
            "outside",
            "<i8",
        ),  # Of a currency not the account's: what was there when the run began. Spendable, and no part of equity.
        ("realised", "<i8"),
        ("exchanged", "<i8"),  # Spot: quote paid and received, base received and delivered.
        ("fees", "<i8"),
        ("funding", "<i8"),
    ],
    align=True,
)
assert CASH.itemsize == 56


@njit(cache=True)
def apply_fill(
    position: np.void, rule: np.void, side: int, price: int, qty: int, fee: int, fill_ns: int
) -> tuple[int, int, int]:
    """Apply one fill to one position: (realised delta, cash delta, status).

    side: +1 bought, -1 sold; qty > 0; fee: in the settlement currency, 0 where it is charged in another. The cash delta
    is that of the settlement currency, fee included: realised - fee for futures, -value - fee for spot. Unrealised PnL
    stays at the last mark price, or takes the fill's own where the position was flat.
    """
    trade = _plan_trade(rule, position["qty"], position["cost"], side, price, qty)
    _, _, realised_delta, value, _ = trade
    planned, status = _plan_fill(position, rule, trade, price, fee)
    gross = -value if rule["contract"] == SPOT else realised_delta
    cash_delta, overflow = checked_sub(gross, fee)
    if status | overflow:
        return 0, 0, status | overflow
    _store_fill(position, planned, side, qty, value, fill_ns)
    return realised_delta, cash_delta, OK


@njit(cache=True)
def book_fill(
    position: np.void,
    account_position: np.void,
    ledgers: np.ndarray,
    rule: np.void,
    side: int,
    price: int,
    qty: int,
    fee: int,
    fee_currency: int,
    fill_ns: int,
) -> tuple[int, int, int]:
    """Apply one fill to the strategy's position, the account's position and the account's ledgers, all or none.

    ledgers: (currencies,) CASH of the account; fee_currency: slot of the fee's currency. Returns the realised deltas of
    the strategy's and of the account's position, and a status. The ledger settles what the account's position realises,
    as the venue does; the two differ where one strategy closes what another opened.
    """
    out_of_line()
    settle, base, count = rule["settle_currency"], rule["base_currency"], ledgers.shape[0]
    is_spot = rule["contract"] == SPOT
    if not (0 <= settle < count and 0 <= fee_currency < count and (0 <= base < count or not is_spot)):
        return 0, 0, BAD_CURRENCY
    own_fee = fee if fee_currency == settle else 0
    trade = _plan_trade(rule, position["qty"], position["cost"], side, price, qty)
    account_trade = trade
    if account_position["qty"] != position["qty"] or account_position["cost"] != position["cost"]:
        account_trade = _plan_trade(rule, account_position["qty"], account_position["cost"], side, price, qty)
    planned, failed = _plan_fill(position, rule, trade, price, own_fee)
    account_planned, account_failed = _plan_fill(account_position, rule, account_trade, price, own_fee)
    if failed | account_failed:
        return 0, 0, failed | account_failed
    value = trade[3]
    status = _post_fill(ledgers, rule, side, qty, value, account_trade[2], fee, fee_currency)
    if status != OK:
        return 0, 0, status
    _store_fill(position, planned, side, qty, value, fill_ns)
    _store_fill(account_position, account_planned, side, qty, value, fill_ns)
    return trade[2], account_trade[2], OK


@njit(cache=True)
def mark_position(position: np.void, rule: np.void, mark_price: int) -> tuple[int, int]:
    """Move the mark of a position: (change of its unrealised PnL, status). One multiplication where the rule is additive."""
    if position["qty"] == 0:
        position["mark_price"] = mark_price
        return 0, OK
    price_change, far = checked_sub(mark_price, position["mark_price"])
    if rule["additive"] and not far:
        delta, status = mark_delta(rule, position["qty"], price_change)
        marked, overflow = checked_add(position["unrealised"], delta)
    else:
        marked, status = unrealised(position, rule, mark_price)
        delta, overflow = checked_sub(marked, position["unrealised"])
    if status | overflow:
        return 0, status | overflow
    position["unrealised"] = marked
    position["mark_price"] = mark_price
    return delta, OK


@njit(cache=True)
def unrealised(position: np.void, rule: np.void, mark_price: int) -> tuple[int, int]:
    """PnL of the open quantity at a mark price, before fees, and a status; changes nothing."""
    out_of_line()
    if position["qty"] == 0:
        return 0, OK
    value, status = position_value(rule, position["qty"], mark_price)
    pnl, overflow = checked_sub(value, position["cost"])
    return (0, status | overflow) if status | overflow else (pnl, OK)


@njit(cache=True)
def exit_price(qty: int, bid: int, ask: int) -> int:
    """The conservative mark: longs at the bid, shorts at the ask. The caller sees to it that the side exists."""
    return bid if qty > 0 else ask


@njit(cache=True)
def apply_funding(position: np.void, rule: np.void, mark_price: int, rate: int) -> tuple[int, int]:
    """One funding payment to a position: (cash delta in the settlement currency, status).

    rate: 1e-8 of the notional at the mark price; a long pays a positive rate, a short receives it. Rounded away from us.
    """
    out_of_line()
    amount, funding, status = _plan_funding(position, rule, mark_price, rate)
    if status == OK:
        position["funding"] = funding
    return amount, status


@njit(cache=True)
def book_funding(
    account_position: np.void, ledgers: np.ndarray, rule: np.void, mark_price: int, rate: int
) -> tuple[int, int]:
    """apply_funding() to the account's position and its settlement ledger, both or none.

    The strategies' positions take theirs by apply_funding(): each rounds for itself, so that their sum may differ from
    what the account paid by less than one unit a strategy, and cancelling positions of two strategies pay each other.
    """
    settle = rule["settle_currency"]
    if not 0 <= settle < ledgers.shape[0]:
        return 0, BAD_CURRENCY
    amount, funding, status = _plan_funding(account_position, rule, mark_price, rate)
    if status == OK:
        status = post(ledgers[settle], 0, 0, 0, amount)
    if status != OK:
        return 0, status
    account_position["funding"] = funding
    return amount, OK


@njit(cache=True)
def receive_funding(
    position: np.void, account_position: np.void, ledgers: np.ndarray, rule: np.void, amount: int
) -> int:
    """Book what a venue says it paid (< 0: took), in the settlement currency, in all three places or none; returns a status."""
    settle = rule["settle_currency"]
    if not 0 <= settle < ledgers.shape[0]:
        return BAD_CURRENCY
    funding, overflow = checked_add(position["funding"], amount)
    account_funding, account_overflow = checked_add(account_position["funding"], amount)
    if overflow | account_overflow:
        return OVERFLOW
    status = post(ledgers[settle], 0, 0, 0, amount)
    if status == OK:
        position["funding"] = funding
        account_position["funding"] = account_funding
    return status


@njit(cache=True)
def net_pnl(position: np.void) -> tuple[int, int]:
    """The position's whole PnL, realised + unrealised - fees + funding, and a status."""
    gross, overflow_gross = checked_add(position["realised"], position["unrealised"])
    costs, overflow_costs = checked_sub(position["funding"], position["fees"])
    total, overflow = checked_add(gross, costs)
    failed = overflow_gross | overflow_costs | overflow
    return (0, OVERFLOW) if failed else (total, OK)


@njit(cache=True)
def open_value(position: np.void) -> tuple[int, int]:
    """Signed value of the open quantity at its mark, and a status: what a spot position adds to its quote balance."""
    return checked_add(position["cost"], position["unrealised"])


@njit(cache=True)
def average_price(position: np.void, rule: np.void) -> tuple[int, int]:
    """Average entry price in the instrument's scale, half to even, and a status. For display: nothing is computed from it."""
    if position["qty"] == 0:
        return 0, OK
    if rule["contract"] == INVERSE:
        divisor, overflow = checked_mul(position["cost"], rule["divisor"])
        average, status = mul_div(-position["qty"], rule["multiplier"], divisor, HALF_EVEN)
    else:
        divisor, overflow = checked_mul(position["qty"], rule["multiplier"])
        average, status = mul_div(position["cost"], rule["divisor"], divisor, HALF_EVEN)
    return (0, OVERFLOW) if overflow else (average, status)


@njit(cache=True)
def change_fee(
    position: np.void, account_position: np.void, ledgers: np.ndarray, rule: np.void, fee: int, fee_currency: int
) -> int:
    """Count so much more (< 0: less) as paid for a trade that is booked, in all three places or none; returns a status."""
    settle, count = rule["settle_currency"], ledgers.shape[0]
    if not (0 <= settle < count and 0 <= fee_currency < count):
        return BAD_CURRENCY
    own_fee = fee if fee_currency == settle else 0
    fees, overflow = checked_add(position["fees"], own_fee)
    account_fees, account_overflow = checked_add(account_position["fees"], own_fee)
    if overflow | account_overflow:
        return OVERFLOW
    status = post(ledgers[fee_currency], 0, 0, fee, 0)
    if status == OK:
        position["fees"] = fees
        account_position["fees"] = account_fees
    return status


@njit(cache=True)
def deposit(ledger: np.void, amount: int) -> int:
    """Put money in (< 0: take it out) from outside; returns a status."""
    start, overflow = checked_add(ledger["start"], amount)
    balance, overflow_balance = checked_add(ledger["balance"], amount)
    if overflow | overflow_balance:
        return OVERFLOW
    ledger["start"] = start
    ledger["balance"] = balance
    return OK


@njit(cache=True)
def post(ledger: np.void, realised: int, exchanged: int, fee: int, funding: int) -> int:
    """Post amounts of the ledger's currency: + realised + exchanged - fee + funding; returns a status."""
    out_of_line()
    total_realised, overflow_1 = checked_add(ledger["realised"], realised)
    total_exchanged, overflow_2 = checked_add(ledger["exchanged"], exchanged)
    total_fees, overflow_3 = checked_add(ledger["fees"], fee)
    total_funding, overflow_4 = checked_add(ledger["funding"], funding)
    received, overflow_5 = checked_add(realised, exchanged)
    charged, overflow_6 = checked_sub(funding, fee)
    net, overflow_7 = checked_add(received, charged)
    balance, overflow_8 = checked_add(ledger["balance"], net)
    if overflow_1 | overflow_2 | overflow_3 | overflow_4 | overflow_5 | overflow_6 | overflow_7 | overflow_8:
        return OVERFLOW
    ledger["realised"] = total_realised
    ledger["exchanged"] = total_exchanged
    ledger["fees"] = total_fees
    ledger["funding"] = total_funding
    ledger["balance"] = balance
    return OK


@njit(cache=True)
def _plan_funding(position: np.void, rule: np.void, mark_price: int, rate: int) -> tuple[int, int, int]:
    """(cash delta, funding total after it, status)."""
    if position["qty"] == 0:
        return 0, position["funding"], OK
    value, status = position_value(rule, position["qty"], mark_price)
    exposure = -value if rule["contract"] == INVERSE else value
    charge, charge_status = mul_div(exposure, rate, MONEY_UNIT, UP_AWAY)
    funding, overflow = checked_sub(position["funding"], charge)
    failed = status | charge_status | overflow
    return (0, 0, failed) if failed else (-charge, funding, OK)


@njit(cache=True)
def _plan_trade(
    rule: np.void, old_qty: int, old_cost: int, side: int, price: int, qty: int
) -> tuple[int, int, int, int, int]:
    """What a fill makes of an open quantity and its cost: (qty, cost, realised delta, value of the fill, status)."""
    out_of_line()
    if qty <= 0 or side not in (1, -1):
        return 0, 0, 0, 0, BAD_FILL
    signed_qty = qty if side > 0 else -qty
    value, failed = position_value(rule, signed_qty, price)
    new_qty, overflow = checked_add(old_qty, signed_qty)
    failed |= overflow
    closing_value, released = 0, 0
    if (old_qty > 0) != (signed_qty > 0) and old_qty != 0:
        closing_value, released, overflow = _closing_part(old_qty, old_cost, qty, value)
        failed |= overflow
    realised_delta, overflow = checked_sub(-closing_value, released)
    failed |= overflow
    kept_cost, overflow = checked_sub(old_cost, released)
    opening_value, overflow_sum = checked_sub(value, closing_value)
    failed |= overflow | overflow_sum
    cost, overflow = checked_add(kept_cost, opening_value)
    return new_qty, cost, realised_delta, value, failed | overflow


@njit(cache=True)
def _plan_fill(
    position: np.void, rule: np.void, trade: tuple[int, int, int, int, int], price: int, fee: int
) -> tuple[tuple[int, int, int, int, int, int], int]:
    """What a fill would make of a position, from what _plan_trade says: ((qty, cost, realised, unrealised, fees, mark), status)."""
    new_qty, cost, realised_delta, _, failed = trade
    realised, overflow = checked_add(position["realised"], realised_delta)
    fees, overflow_sum = checked_add(position["fees"], fee)
    failed |= overflow | overflow_sum
    was_flat = position["qty"] == 0
    mark = price if was_flat else position["mark_price"]
    pnl = 0
    if not was_flat and new_qty != 0:
        marked_value, status = position_value(rule, new_qty, mark)
        pnl, overflow = checked_sub(marked_value, cost)
        failed |= status | overflow
    return (new_qty, cost, realised, pnl, fees, mark), failed


@njit(cache=True)
def _closing_part(old_qty: int, old_cost: int, qty: int, value: int) -> tuple[int, int, int]:
    """(value of the closing part of a fill, cost it releases, status) for a fill against an open position."""
    open_qty = abs(old_qty)
    if qty <= open_qty:
        released, status = mul_div(old_cost, qty, open_qty, HALF_EVEN)
        return value, released, status
    closing_value, status = mul_div(value, open_qty, qty, HALF_EVEN)
    return closing_value, old_cost, status


@njit(cache=True)
def _store_fill(
    position: np.void, planned: tuple[int, int, int, int, int, int], side: int, qty: int, value: int, fill_ns: int
) -> None:
    position["qty"], position["cost"], position["realised"] = planned[0], planned[1], planned[2]
    position["unrealised"], position["fees"], position["mark_price"] = planned[3], planned[4], planned[5]
    if side > 0:
        position["buys_qty"] = saturating_add(position["buys_qty"], qty)
    else:
        position["sells_qty"] = saturating_add(position["sells_qty"], qty)
    position["traded_notional"] = saturating_add(position["traded_notional"], abs(value))
    position["fills_count"] += 1
    position["last_fill_ns"] = fill_ns


@njit(cache=True)
def _post_fill(
    ledgers: np.ndarray, rule: np.void, side: int, qty: int, value: int, realised: int, fee: int, fee_currency: int
) -> int:
    """Post one fill to the ledgers it touches (two of them may be one); undoes its own postings if a later one fails."""
    out_of_line()
    settle = rule["settle_currency"]
    if rule["contract"] != SPOT:
        if fee_currency == settle:
            return post(ledgers[settle], realised, 0, fee, 0)
        status = post(ledgers[settle], realised, 0, 0, 0)
        if status == OK:
            status = post(ledgers[fee_currency], 0, 0, fee, 0)
            if status != OK:
                post(ledgers[settle], -realised, 0, 0, 0)
        return status
    base = rule["base_currency"]
    amount, status = base_money(rule, qty if side > 0 else -qty)
    if status != OK:
        return status
    status = post(ledgers[settle], 0, -value, 0, 0)
    if status != OK:
        return status
    status = post(ledgers[base], 0, amount, 0, 0)
    if status == OK:
        status = post(ledgers[fee_currency], 0, 0, fee, 0)
        if status == OK:
            return OK
        post(ledgers[base], 0, -amount, 0, 0)
    post(ledgers[settle], 0, value, 0, 0)
    return status
