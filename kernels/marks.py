"""Marking to market: what a new price does to unrealised PnL, equity, peak and the loss limits. Longs at the bid, shorts at the ask.

Accounts' positions only: no decision reads a strategy's unrealised PnL, and marking it would double the cost of a quote. Who shows it
asks portfolio.unrealised() for it.

Equity in the account's currency is the sum over currencies of (start - fees + realised + funding + unrealised) at the rate now: a new
rate revalues all of it, and between two rates each mark moves it by the difference of two converted totals, so no rounding piles up.
"""

from typing import Any

from twinloop.kernels import codes
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.money import OK, checked_add, checked_sub, convert
from twinloop.kernels.portfolio import mark_position
from twinloop.kernels.risk_state import equity_below_floor, set_equity_floor

ONE_E8 = 100_000_000


@njit(cache=True)
def to_account_currency(decision: Any, currency: int, amount: int) -> tuple[int, int]:
    """Amount of a currency in the account's (slot 0), and a status; exact when they are the same."""
    rate = decision["fx"][currency]
    if rate == ONE_E8:
        return amount, OK
    return convert(amount, rate)


@njit(cache=True)
def converted_change(decision: Any, currency: int, before: int, after: int) -> tuple[int, int]:
    """What a total of a currency that went from before to after changed in the account's currency, and a status."""
    if decision["fx"][currency] == ONE_E8:
        return checked_sub(after, before)
    old, failed = to_account_currency(decision, currency, before)
    new, status = to_account_currency(decision, currency, after)
    change, overflow = checked_sub(new, old)
    return change, failed | status | overflow


@njit(cache=True)
def equity_changed(decision: Any, account: int) -> int:
    """Take a new equity into account: peak, drawdown, and the floor below which a limit is broken. RUN_OVERFLOW or 0."""
    out_of_line()
    state = decision["accounts"][account]
    equity, overflow = checked_add(state["cash"], state["unrealised"])
    if overflow:
        return codes.RUN_OVERFLOW
    state["equity"] = equity
    if equity > state["peak_equity"]:
        state["peak_equity"] = equity
        set_equity_floor(decision, account)
    else:
        drawdown, overflow = checked_sub(state["peak_equity"], equity)
        if overflow:
            return codes.RUN_OVERFLOW
        state["max_drawdown"] = max(state["max_drawdown"], drawdown)
        if equity < state["equity_floor"]:
            equity_below_floor(decision, account)
    return 0


@njit(cache=True)
def revalue_account(decision: Any, account: int) -> int:
    """Value an account anew at the rates of now, after one of them changed: RUN_OVERFLOW or 0."""
    out_of_line()
    cash = 0
    unrealised = 0
    failed = 0
    for currency in range(decision["fx"].shape[0]):
        ledger = decision["ledgers"][account][currency]
        settled, status = checked_sub(ledger["start"], ledger["fees"])
        failed |= status
        open_pnl = 0
        for instrument in range(decision["instrument_count"]):
            if decision["instruments"][instrument]["settle"] != currency:
                continue
            position = decision["account_holdings"][account][instrument]["position"]
            settled, status_1 = checked_add(settled, position["realised"])
            settled, status_2 = checked_add(settled, position["funding"])
            open_pnl, status_3 = checked_add(open_pnl, position["unrealised"])
            failed |= status_1 | status_2 | status_3
        settled, status_1 = to_account_currency(decision, currency, settled)
        open_pnl, status_2 = to_account_currency(decision, currency, open_pnl)
        cash, status_3 = checked_add(cash, settled)
        unrealised, status_4 = checked_add(unrealised, open_pnl)
        failed |= status_1 | status_2 | status_3 | status_4
    if failed:
        return codes.RUN_OVERFLOW
    state = decision["accounts"][account]
    state["cash"] = cash
    state["unrealised"] = unrealised
    return equity_changed(decision, account)


@njit(cache=True)
def mark_price_of(market: Any, qty: int) -> int:
    """Conservative mark: what closing would get at the touch; the last trade where no touch is known; 0 unknown."""
    price = market["bid"] if qty > 0 else market["ask"]
    return price if price > 0 else market["last_price"]


@njit(cache=True)
def mark_instrument(decision: Any, instrument: int) -> int:
    """Mark every account's position in an instrument at the current touch; a status (RUN_OVERFLOW or 0)."""
    market = decision["instruments"][instrument]
    rule = market["rule"]
    for account in range(decision["account_count"]):
        position = decision["account_holdings"][account][instrument]["position"]
        qty = position["qty"]
        if qty == 0:
            continue
        price = mark_price_of(market, qty)
        if price == 0 or price == position["mark_price"]:
            continue
        before = position["unrealised"]
        delta, status = mark_position(position, rule, price)
        if status != OK:
            return codes.RUN_OVERFLOW
        if decision["fx"][market["settle"]] != ONE_E8:
            delta, status = converted_change(decision, market["settle"], before, position["unrealised"])
        state = decision["accounts"][account]
        total, overflow = checked_add(state["unrealised"], delta)
        if status != OK or overflow:
            return codes.RUN_OVERFLOW
        state["unrealised"] = total
        if equity_changed(decision, account) != 0:
            return codes.RUN_OVERFLOW
    return 0
