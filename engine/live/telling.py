"""What a session says of itself in words: why it does not trade, what it refused and why, and what it leaves behind.

Reads the node and the gateway between two turns; must not change anything.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

import numpy as np

from twinloop.data.feed_codes import SOURCE_NAME
from twinloop.data.instruments import MONEY_ONE
from twinloop.engine.gateway.alerts import ALERTS
from twinloop.engine.gateway.orders import OPEN, Order
from twinloop.engine.instrument_names import shown_names
from twinloop.engine.limits import SHARE_OF, Limits, limits_lines
from twinloop.engine.live.limit_changes import tightened_lines
from twinloop.engine.live.loop import OF_ALERT, OF_PERSON, SESSION_END, SESSION_START, WARM_UP
from twinloop.engine.live.node import LiveNode
from twinloop.kernels import codes
from twinloop.kernels.rows import FLATTEN, HALT

SHARES: Final = ("max_order_pct", "max_position_pct", *SHARE_OF.values())
STALE_TOLD_NS: Final = 1_000_000_000  # A market that is back sooner is not worth a line.
RESUME: Final = "`twinloop ctl resume` trades again"
BY_ITSELF: Final = "it ends by itself"


def why_stopped(node: LiveNode, last_word: tuple[int, int]) -> str:
    """Why not everything may be traded, and what ends that; "": everything may. last_word: kind and code of the last HALT, REDUCE or FLATTEN."""
    account = node.decision["accounts"][0]
    if int(account["state"]) == codes.ACTIVE:
        return ""
    reason, (kind, code) = int(account["halt_code"]), last_word
    if reason != codes.REJECT_HALTED:
        name = codes.CODE_NAME.get(reason, str(reason))
        return f"a limit was reached ({name}): see `twinloop ctl limits`; {RESUME}, the day's loss still counts"
    if kind == 0:
        return f"stopped before this start: `twinloop journal show --kind HALT --kind REDUCE` says by whom; {RESUME}"
    if code >= OF_PERSON - 1:
        who = f"user {code - OF_PERSON}" if code >= OF_PERSON else "a person"
        return f"{who} gave the word; {RESUME}"
    if code == SESSION_END:
        return "the session ends"
    if code == SESSION_START:
        if kind == HALT:
            return "the venue holds something else than the journal: see `twinloop reconcile`"
        return f"until every order of the run before is proven; {BY_ITSELF}"
    if code == WARM_UP:
        return f"history is fed; {BY_ITSELF}"
    found = ALERTS.get(OF_ALERT - code)
    if found is not None:
        return f"{found.name}: {found.meaning}"
    return f"a flatten has ended; {RESUME}" if kind == FLATTEN else f"word {code}; {RESUME}"


def limits_told(node: LiveNode) -> list[str]:
    """The limits in force, as money where they are a share of it, and what was made stricter."""
    session = node.session
    limits = session.limits()
    first, *others = limits_lines(limits)
    stricter = tightened_lines(node.decision, limits, session.instruments)
    kept = [key for key in SHARES if not any(f" {key} " in line for line in stricter)]
    capital = int(node.decision["accounts"][0]["day_equity"])
    money = limits_in_money(limits, kept, capital, session.currency, session.money_decimals)
    return [first, *([money] if money else []), *others, *stricter]


def limits_in_money(limits: Limits, keys: Iterable[str], capital: int, currency: str, decimals: int = 2) -> str:
    """Those of the limits that are a share of the capital as money, as they count until the next roll. capital: 1e-8; "": there is none."""
    shares = {key: value for key in keys if (value := limits.value(key)) is not None}
    if not shares:
        return ""
    told = [
        f"{key.removesuffix('_pct')} {Decimal(capital) * value / 100 / MONEY_ONE:,.{decimals}f}"
        for key, value in shares.items()
    ]
    return f"  of a capital of {Decimal(capital) / MONEY_ONE:,.{decimals}f} {currency}: {', '.join(told)}"


def refusals(node: LiveNode) -> dict[str, int]:
    """Calls that the gate refused since the journal began, by why, the most frequent first."""
    counts = node.node["measured"]["refused"]
    found = {int(code): int(counts[code]) for code in np.flatnonzero(counts) if int(code) > codes.WARN}
    return {
        codes.CODE_NAME.get(code, str(code)): count
        for code, count in sorted(found.items(), key=lambda each: (-each[1], each[0]))
    }


def positions_left(node: LiveNode) -> list[str]:
    """The account's positions that are not flat, "BTCUSDT 0.010"."""
    instruments = node.session.instruments
    held = node.decision["account_holdings"][0]["position"]["qty"]
    return [
        f"{shown} {instrument.qty_text(int(held[slot]))}"
        for slot, (instrument, shown) in enumerate(zip(instruments, shown_names(instruments), strict=True))
        if int(held[slot])
    ]


def may_still_work(node: LiveNode, order: Order) -> str:
    """An order whose end is not proven, as the venue knows it, and what to do about it."""
    instrument = node.session.instruments[order.instrument]
    side = "buy" if order.side > 0 else "sell"
    legs: list[Any] = [leg for leg in order.legs if leg.state in OPEN] or order.legs
    price = f" at {instrument.price_text(order.price)}" if order.price else ""
    left = instrument.qty_text(max(order.qty - order.filled, 0))
    return (
        f"! order {order.order_id} may still work at the venue: {side} {left} {instrument.symbol}{price}, client id "
        f"{', '.join(leg.client_id for leg in legs)}; look there and cancel it, or start this session again: it proves or cancels it first"
    )


class MarketWatch:
    """Of one session: tells once that a market is stale, and once that all are back. `look` is called again and again."""

    def __init__(self, now_ns: int) -> None:
        self._since_ns = now_ns  # Every market is stale at the start.
        self._stale = True
        self._told = False

    def look(self, now_ns: int, *, stale: bool, reasons: Mapping[int, str]) -> str:
        """What to say now, or nothing. reasons: why a source does not stream, by its number."""
        if stale != self._stale:
            self._stale, before_ns, self._since_ns = stale, self._since_ns, now_ns
            if not stale and self._told:
                self._told = False
                return f"the market is up to date again, after {(now_ns - before_ns) / 1e9:.1f} s"
        if stale and not self._told and now_ns - self._since_ns >= STALE_TOLD_NS:
            self._told = True
            why = "; ".join(f"{SOURCE_NAME[number]}: {text}" for number, text in sorted(reasons.items()))
            return f"! a market is stale, no new order goes there ({why or 'silent, late, or its book has a gap'})"
        return ""
