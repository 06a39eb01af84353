"""Marking to market: what a new price does to unrealised PnL, equity, peak and the loss limits. Longs at the bid, shorts at the ask."""

from typing import Any


from twinloop.kernels.jit import njit
from twinloop.kernels.intrinsics import out_of_line

from twinloop.kernels import codes
from twinloop.kernels.money import OK, checked_add, convert
from twinloop.kernels.portfolio import mark_position
from twinloop.kernels.risk import equity_below_floor, set_equity_floor

ONE_E8 = 100_000_000


@njit(cache=True)
def to_account_currency(decision: Any, currency: int, amount: int) -> tuple[int, int]:
    """Amount of a currency in the account's (slot 0), and a status; exact when they are the same."""
    rate = decision["fx"][currency]
    if rate == ONE_E8:
        return amount, OK
    return convert(amount, rate)


@njit(cache=True)
def equity_changed(decision: Any, account: int) -> None:
    """Take a new equity into account: peak, drawdown, and the floor below which a limit is broken."""
    out_of_line()
    state = decision["accounts"][account]
    equity = state["cash"] + state["unrealised"]
    state["equity"] = equity
    if equity > state["peak_equity"]:
        state["peak_equity"] = equity
        set_equity_floor(decision, account)
    else:
        if state["peak_equity"] - equity > state["max_drawdown"]:
            state["max_drawdown"] = state["peak_equity"] - equity
        if equity < state["equity_floor"]:
            equity_below_floor(decision, account)


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
        delta, status = mark_position(position, rule, price)
        if status != OK:
            return codes.RUN_OVERFLOW
        delta, status = to_account_currency(decision, market["settle"], delta)
        state = decision["accounts"][account]
        total, overflow = checked_add(state["unrealised"], delta)
        if status != OK or overflow:
            return codes.RUN_OVERFLOW
        state["unrealised"] = total
        equity_changed(decision, account)
    return 0
