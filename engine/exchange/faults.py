"""What can be made to go wrong, by name and count, so that a test of a client meets it on a real socket.

    faults.arm("drop_response", count=1)      # the next order is taken, its answer never comes
    if faults.take("drop_response"): ...

Each entry names the numbers of the fault catalogue that it brings about: V of the venue, D of its data.
"""

from dataclasses import dataclass
from typing import Any, Final


@dataclass(frozen=True, slots=True)
class Fault:
    """numbers: of the catalogue. what: happens when it is met. lasting: armed with -1 as a rule, it holds until it is disarmed."""

    numbers: str
    what: str
    lasting: bool = False


KNOWN: Final[dict[str, Fault]] = {
    # Answers to orders.
    "drop_response": Fault("V1", "an order request takes effect, its answer never comes"),
    "lose_request": Fault("V2", "an order request is dropped before it takes effect, and no answer comes"),
    "delay_request": Fault("V2", "no answer comes to an order request, and it takes effect two seconds later"),
    "unknown_503": Fault("V3", "an order request takes effect, the answer is 503 with execution status unknown"),
    "failed_503": Fault("V3", "an order request is not carried out, the answer is 503 that says so"),
    "timeout_408": Fault("V3", "an order request takes effect, the answer is 408 with -1007, status unknown"),
    "too_many": Fault("V4", "the answer is 429 with a Retry-After of two seconds"),
    "banned": Fault("V5", "the answer is 418 with Retry-After"),
    "html_403": Fault("V6", "the answer is 403 with a page of a gateway, not JSON; the request takes effect"),
    "html_200": Fault("V6", "the answer is 200 with a page, not JSON; the request takes effect"),
    "empty_200": Fault("V6", "the answer is 200 with nothing in it; the request takes effect"),
    "reject": Fault("", "an order is refused with -2010 (spot) or -2019 (USD-M)"),
    "wrong_time": Fault("V17", "the answer is -1021"),
    "skew_clock": Fault("V17", "the venue's clock runs three seconds ahead", lasting=True),
    # The user stream.
    "late_ack": Fault("V7", "the user stream tells of fills before it tells of the order"),
    "double_user_event": Fault("V8", "an order's event on the user stream comes twice"),
    "replay_fills": Fault("V8", "a new user connection is told the last ten fills once more"),
    "round_fills": Fault("V9", "a list of trades has its numbers with other decimals, fees rounded to six places"),
    "lose_user_event": Fault("V13", "an order's event on the user stream is never sent"),
    "lose_fill": Fault("V13", "a fill's event on the user stream is never sent, all others are"),
    "user_silence": Fault("V13", "no user event is sent, pings are answered", lasting=True),
    "drop_user": Fault("V12", "every user connection is cut"),
    "partial_then_drop": Fault("V12", "half of an order that comes to rest is filled, and the user connections are cut before it is told"),
    # What orders meet.
    "fill_after_cancel": Fault("V10", "a cancel is acknowledged, and then the order is filled"),
    "cancel_too_late": Fault("V11", "a cancel finds that the order has just been filled: -2011"),
    "cancel_unknown": Fault("V11", "a cancel is refused with -2011 although the order works on"),
    "unsolicited_cancel": Fault("V14", "an order that comes to rest is expired by the venue"),
    "half_replace": Fault("V15", "of a cancel-replace the cancel is done and the new order refused: 409, -2021 (spot)"),
    "bust_trade": Fault("V16", "an account's last trade is reversed: money, position and lists are as if it had not been"),
    "overfill": Fault("V25", "an order that comes to rest is filled by twice its quantity"),
    "foreign_order": Fault("V24", "somebody else places an order with the account's own name for it"),
    "transfer": Fault("V24", "money leaves every account: a hundredth of what is free"),
    "pay_funding": Fault("", "funding of every position is paid now, not only every eight hours"),
    "fire_dead_man": Fault("V26", "every dead-man timer that runs fires now"),
    # Sessions.
    "expire_listen_key": Fault("V19", "every listen key expires: listenKeyExpired is told, and no event comes any more"),
    "server_shutdown": Fault("V19", "serverShutdown is told on every connection, which is closed a second later"),
    "cut_old": Fault("V19", "every connection is cut as after its 24 hours"),
    # The market's state and rules.
    "halt": Fault("V21", "orders are refused, cancels pass, exchangeInfo says so, nothing trades", lasting=True),
    "maintenance": Fault("V21", "every signed call is answered 503, -1016", lasting=True),
    "change_rules": Fault("V22", "tick, step and smallest value become ten times as large"),
    # Queries.
    "fail_query": Fault("V23", "a query of orders, positions or balances is answered with 500"),
    "lag_query": Fault("V23", "a query is answered as it was when it was last asked"),
    "query_unknown": Fault("V2 V27", "a query of an order that is there is answered -2013"),
    # Market data.
    "lose_update": Fault("D1", "a depth update is never sent"),
    "double_update": Fault("D2", "a depth update comes twice"),
    "old_update": Fault("D2", "a depth update is followed by the one before it"),
    "swap_updates": Fault("D2", "two depth updates come in the wrong order"),
    "cross_book": Fault("D5", "depth updates and quotes have a bid above the best ask", lasting=True),
    "bad_number": Fault("D6", "a price is in turn NaN, inf, 1e308, -0, negative, zero, or text"),
    "bad_json": Fault("D7", "a message is in turn cut short, without a field, null, of a wrong type, doubled in a key, huge in a number, unknown"),
    "huge_frame": Fault("D8", "a message comes in a frame of 4 MB"),
    "stuck_time": Fault("D9", "the times of messages stand still", lasting=True),
    "time_back": Fault("D9", "a message's times are an hour back"),
    "time_ahead": Fault("D9", "a message's times are an hour ahead"),
    "fat_tick": Fault("D10", "a trade or quote has ten times its price"),
    "silence": Fault("D11", "no market data is sent, pings are answered", lasting=True),
    "drop_market": Fault("D11", "every market connection is cut"),
    "refuse_market": Fault("D11", "new market connections are refused with 503", lasting=True),
    "offset_prices": Fault("D12", "every price of market data, streams and answers, is one per cent too high", lasting=True),
    "burst": Fault("D13", "for so many turns the market does twenty turns' work in one"),
    "unknown_symbol": Fault("D14", "a message comes for a symbol that nobody asked for"),
}  # fmt: skip
ALWAYS: Final = {
    "V20": "an order's client id is free again once the order has ended, as at the venue",
}
NOT_HERE: Final = {
    "V18": "this venue has no nonces: requests may come in any order inside the receive window",
    "D3": "this venue has no checksums",
    "D4": "this venue has no checksums",
}


class Faults:
    """Armed faults and how often each was met."""

    def __init__(self) -> None:
        self._armed: dict[str, int] = {}
        self.met: dict[str, int] = {}

    def arm(self, name: str, count: int = 1) -> None:
        """Have a fault met the next count times; 0 disarms it, -1 leaves it on. KeyError for an unknown one."""
        if name not in KNOWN:
            raise KeyError(name)
        self._armed[name] = count

    def on(self, name: str) -> bool:
        """Whether the fault is armed; nothing is counted."""
        return self._armed.get(name, 0) != 0

    def take(self, name: str) -> bool:
        """Whether the fault is to be met now; if so, once less from here on."""
        left = self._armed.get(name, 0)
        if left == 0:
            return False
        if left > 0:
            self._armed[name] = left - 1
        self.met[name] = self.met.get(name, 0) + 1
        return True

    def told(self) -> dict[str, Any]:
        """For the control page."""
        return {
            "armed": {name: count for name, count in self._armed.items() if count},
            "met": dict(self.met),
            "known": {name: f"{fault.what} [{fault.numbers}]" for name, fault in KNOWN.items()},
            "always": ALWAYS,
            "not_here": NOT_HERE,
        }
