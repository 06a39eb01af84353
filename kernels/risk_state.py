"""What facts do to the trading state of accounts and strategies: losses, slippage, sessions, messages, an operator's word.

ACTIVE, REDUCING, HALTED only rise here, except at two events: the session roll takes back what a daily limit did, an operator's RESUME
takes back everything. `halt_code` says why: the verdict of the limit that was broken, REJECT_HALTED for an operator.

Called by marks and steps, after the fact; the gate that looks at the state before an order is `risk.py`. A mark costs one comparison
here: equity against `equity_floor`.
"""

from typing import Any, Final

from twinloop.kernels import codes, rows
from twinloop.kernels.exposure import list_exposure
from twinloop.kernels.intrinsics import out_of_line
from twinloop.kernels.jit import njit
from twinloop.kernels.money import (
    FLOOR,
    INVERSE,
    MONEY_MAX,
    MONEY_UNIT,
    OK,
    checked_add,
    checked_mul,
    checked_sub,
    convert,
    mul_div,
    position_value,
)
from twinloop.kernels.node import FLATTEN_COLLARED, FLATTEN_MARKET, FLATTEN_NOT, NEVER

MESSAGE: Final = 1_000_000_000  # Tokens are counted in 1e-9 messages: one nanosecond at one message a second.
BURST_MAX: Final = 9_000_000_000  # Larger bursts would leave 64 bits.


@njit(cache=True)
def floor_below(base: int, distance: int) -> int:
    """Base - distance, held at the lowest number there is."""
    floor, overflow = checked_sub(base, distance)
    return -MONEY_MAX if overflow else floor


@njit(cache=True)
def set_equity_floor(decision: Any, account: int) -> None:
    """Recompute the equity below which the daily loss cap or the drawdown limit is broken.

    The drawdown counts from the highest equity since the start or since the last RESUME (then only a new all-time high moves it).
    """
    limits = decision["account_limits"][account]
    state = decision["accounts"][account]
    if state["equity"] >= state["peak_equity"]:
        state["floor_peak"] = state["peak_equity"]
    state["equity_floor"] = max(
        floor_below(int(state["day_equity"]), int(limits["max_daily_loss"])),
        floor_below(int(state["floor_peak"]), int(limits["max_drawdown"])),
    )


@njit(cache=True)
def enter_state(decision: Any, account: int, trading: int, code: int) -> None:
    """Raise an account's state for a reason, and have its working orders cancelled in this step. It never falls here."""
    out_of_line()
    state = decision["accounts"][account]
    if state["state"] < trading:
        state["state"] = trading
        state["cancel_all"] = 1
        decision["breaches"] = 1
    if is_of_the_day(int(state["halt_code"])):
        state["halt_code"] = code


@njit(cache=True)
def is_of_the_day(code: int) -> bool:
    """Whether a reason ends with the session."""
    return code == codes.ALLOW or code == codes.REJECT_DAILY_LOSS or code == codes.REJECT_SLIPPAGE


@njit(cache=True)
def equity_below_floor(decision: Any, account: int) -> None:
    """A mark, fee or payment took the equity below its floor: stop trading and ask for every order to be cancelled."""
    out_of_line()
    limits = decision["account_limits"][account]
    state = decision["accounts"][account]
    code = codes.REJECT_DAILY_LOSS
    if state["equity"] < floor_below(int(state["floor_peak"]), int(limits["max_drawdown"])):
        code = codes.REJECT_DRAWDOWN
    halted_before = state["state"] == codes.HALTED
    enter_state(decision, account, codes.REDUCING if limits["breach_state"] == codes.REDUCING else codes.HALTED, code)
    if limits["breach_state"] == codes.FLATTENING and not halted_before:
        begin_flatten(decision, account, FLATTEN_COLLARED)
    # Nothing further to find below until the session rolls, a new high is made or an operator resumes.
    state["equity_floor"] = -MONEY_MAX


@njit(cache=True)
def begin_flatten(decision: Any, account: int, how: int) -> None:
    """Have the account's positions closed, from this step on (flatten.py)."""
    state = decision["accounts"][account]
    if state["flatten"] == FLATTEN_NOT:
        decision["flattening"] += 1
    state["flatten"] = max(int(state["flatten"]), how)
    state["flatten_ns"] = 0
    state["flatten_left"] = 0


@njit(cache=True)
def end_flatten(decision: Any, account: int) -> None:
    """Send no more closing orders."""
    state = decision["accounts"][account]
    if state["flatten"] != FLATTEN_NOT:
        decision["flattening"] -= 1
        state["flattens_ended"] += 1
    state["flatten"] = FLATTEN_NOT


@njit(cache=True)
def _of_capital(share_e8: int, capital: int, present: int) -> int:
    """A limit in 1e-8 of the capital as money; the present one where the limit is not a share."""
    if share_e8 == NEVER:
        return present
    amount, status = mul_div(max(capital, 0), share_e8, MONEY_UNIT, FLOOR)
    return amount if status == OK else MONEY_MAX


@njit(cache=True)
def session_roll(decision: Any, account: int) -> None:
    """A new session begins: daily counters start again, and limits in % take the equity now as capital.

    A state that a daily limit caused ends with the day; one that the drawdown limit, a position over its limit, an overflow or an
    operator caused stays. An equity still below the drawdown floor stops the account again at once.
    """
    out_of_line()
    limits = decision["account_limits"][account]
    state = decision["accounts"][account]
    capital = int(state["equity"])
    state["day_equity"] = capital
    state["slippage_day"] = 0
    limits["max_daily_loss"] = _of_capital(int(limits["max_daily_loss_e8"]), capital, int(limits["max_daily_loss"]))
    limits["max_drawdown"] = _of_capital(int(limits["max_drawdown_e8"]), capital, int(limits["max_drawdown"]))
    limits["max_gross"] = _of_capital(int(limits["max_gross_e8"]), capital, int(limits["max_gross"]))
    limits["max_net"] = _of_capital(int(limits["max_net_e8"]), capital, int(limits["max_net"]))
    limits["max_slippage_day"] = _of_capital(
        int(limits["max_slippage_day_e8"]), capital, int(limits["max_slippage_day"])
    )
    if is_of_the_day(int(state["halt_code"])) and state["flatten"] == FLATTEN_NOT:
        state["state"] = codes.ACTIVE
        state["halt_code"] = codes.ALLOW
    set_equity_floor(decision, account)
    if state["equity"] < state["equity_floor"]:
        equity_below_floor(decision, account)


@njit(cache=True)
def operator_command(decision: Any, account: int, kind: int, code: int) -> None:
    """HALT and FLATTEN stop and cancel, REDUCE only lets positions shrink, RESUME makes the account and its strategies ACTIVE.

    FLATTEN closes the positions then, with market orders where there is no price and its code says so; HALT and RESUME end that. RESUME
    starts the drawdown anew at the equity now. The day's loss still counts: to trade on the same day after the cap was hit, the limit
    has to be raised, else the next mark stops the account again. RESUME_BY_ITSELF lifts a REDUCE and RESUME_OF_START a REDUCE or a HALT
    that were somebody's word, and nothing begins anew.
    """
    out_of_line()
    state = decision["accounts"][account]
    if kind == rows.RESUME and (code == codes.RESUME_BY_ITSELF or code == codes.RESUME_OF_START):
        reducing = state["state"] == codes.REDUCING
        if (reducing or code == codes.RESUME_OF_START) and state["halt_code"] == codes.REJECT_HALTED:
            state["state"] = codes.ACTIVE
            state["halt_code"] = codes.ALLOW
        return
    if kind == rows.RESUME:
        end_flatten(decision, account)
        state["state"] = codes.ACTIVE
        state["halt_code"] = codes.ALLOW
        state["floor_peak"] = state["equity"]
        for strategy in range(decision["strategy_count"]):
            if decision["strategies"][strategy]["account"] == account:
                decision["strategies"][strategy]["state"] = codes.ACTIVE
        set_equity_floor(decision, account)
        return
    state["halt_code"] = codes.REJECT_HALTED
    if kind == rows.REDUCE:
        state["state"] = max(int(state["state"]), codes.REDUCING)
        return
    if kind == rows.FLATTEN:
        begin_flatten(decision, account, FLATTEN_MARKET if code == codes.FLATTEN_AT_MARKET else FLATTEN_COLLARED)
    else:
        end_flatten(decision, account)
    state["state"] = codes.HALTED
    state["cancel_all"] = 1  # Also of an account that is halted already: an operator's word is never a no-op.
    decision["breaches"] = 1


@njit(cache=True)
def slippage_of(decision: Any, order: Any, row: Any) -> tuple[int, int]:
    """What a fill cost against the mid at the decision (of a stop order: its trigger), account currency, > 0 paid; and a status."""
    out_of_line()
    mid2 = int(order["decision_mid2"])
    if order["type"] == codes.STOP or order["type"] == codes.STOP_LIMIT:
        mid2, far = checked_mul(2, int(order["trigger_price"]))
        if far:
            return 0, far
    if mid2 <= 0:
        return 0, OK
    market = decision["instruments"][int(row["instrument"])]
    rule = market["rule"]
    price2, far = checked_mul(2, int(row["price"]))
    qty = int(row["qty"]) * int(row["side"])
    paid, paid_status = position_value(rule, qty, price2)
    fair, fair_status = position_value(rule, qty, mid2)
    twice, further = checked_sub(paid, fair)
    if (far | paid_status | fair_status | further) != OK:
        return 0, 1
    if rule["contract"] == INVERSE:  # A value at twice the price is half the value; of the others, twice.
        amount, status = checked_mul(twice, 2)
    else:
        amount, status = twice - (twice >> 1), OK  # Half of it, rounded up.
    rate = int(decision["fx"][market["settle"]])
    if status != OK or rate == MONEY_UNIT:
        return amount, status
    return convert(amount, rate)


@njit(cache=True)
def position_changed(decision: Any, account: int, instrument: int) -> None:
    """A position beyond its limit (a late fill, an overfill, a lowered limit) makes the account REDUCING."""
    list_exposure(decision, account, instrument)
    position = int(decision["account_holdings"][account][instrument]["position"]["qty"])
    bounds = decision["instrument_limits"][instrument]
    if not (-int(bounds["max_position_short"]) <= position <= int(bounds["max_position_long"])):
        enter_state(decision, account, codes.REDUCING, codes.REJECT_MAX_POSITION)


@njit(cache=True)
def order_filled(decision: Any, order: Any, row: Any) -> None:
    """After a fill: count its slippage against the day's budget, and stop what is no longer within limits.

    Budget spent: the gate lets passive orders pass only; spent twice: REDUCING; three times: HALTED. A fill of more than was ordered
    halts the strategy.
    """
    out_of_line()
    account = int(order["account"])
    state = decision["accounts"][account]
    strategy = int(order["strategy"])
    if order["filled"] > (max(order["qty"], order["amend_qty"]) if order["amends"] > 0 else order["qty"]):
        if strategy != codes.UNASSIGNED:
            decision["strategies"][strategy]["state"] = codes.HALTED
    position_changed(decision, account, int(order["instrument"]))
    cost, status = slippage_of(decision, order, row)
    spent, far = checked_add(int(state["slippage_day"]), cost)
    if (status | far) != OK:
        enter_state(decision, account, codes.HALTED, codes.REJECT_OVERFLOW)
        return
    state["slippage_day"] = spent
    budget = int(decision["account_limits"][account]["max_slippage_day"])
    if spent > budget:
        over = spent - budget
        if over > budget:
            enter_state(
                decision, account, codes.HALTED if over - budget > budget else codes.REDUCING, codes.REJECT_SLIPPAGE
            )


@njit(cache=True)
def tokens_now(limits: Any, state: Any, now_ns: int) -> int:
    """What a strategy's message bucket holds at a time: refilled at messages_per_s up to message_burst; 1e-9 messages."""
    room = min(int(limits["message_burst"]), BURST_MAX) * MESSAGE
    elapsed, far = checked_sub(now_ns, int(state["tokens_ns"]))
    refill, further = checked_mul(elapsed, int(limits["messages_per_s"]))
    total, most = checked_add(int(state["tokens_e9"]), refill)
    return room if (far | further | most) != OK or total > room else total


@njit(cache=True)
def spend_message(decision: Any, strategy: int) -> None:
    """Take a message from a strategy's bucket. A cancel may leave it empty, never below: it delays orders, not other cancels."""
    if strategy == codes.UNASSIGNED:
        return
    state = decision["strategies"][strategy]
    limits = decision["account_limits"][state["account"]]
    now_ns = int(decision["clock"]["now_ns"])
    state["tokens_e9"] = max(tokens_now(limits, state, now_ns) - MESSAGE, 0)
    state["tokens_ns"] = now_ns
