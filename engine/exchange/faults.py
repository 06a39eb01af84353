"""What can be made to go wrong, by name and count, so that a test of a client meets it on a real socket.

faults.arm("drop_response", count=1)      # the next order is taken, its answer never comes
if faults.take("drop_response"): ...
"""

from typing import Any, Final

KNOWN: Final = {
    "drop_response": "an order request takes effect, its answer never comes",
    "lose_request": "an order request is dropped before it takes effect, and no answer comes",
    "unknown_503": "an order request takes effect, the answer is 503 with execution status unknown",
    "failed_503": "an order request is not carried out, the answer is 503 that says so",
    "html_403": "the answer is a page of a gateway, not JSON; the request takes effect",
    "reject": "an order is refused with -2010 (spot) or -2019 (USD-M)",
    "too_many": "the answer is 429 with Retry-After",
    "banned": "the answer is 418 with Retry-After",
    "wrong_time": "the answer is -1021",
    "late_ack": "the user stream tells of fills before it tells of the order",
    "double_user_event": "an event of the user stream comes twice",
    "lose_user_event": "an event of the user stream is never sent",
    "lose_update": "a depth update is never sent",
    "double_update": "a depth update comes twice",
    "silence": "no market data is sent, pings are answered",
    "user_silence": "no user event is sent, pings are answered",
    "drop_market": "every market connection is cut",
    "drop_user": "every user connection is cut",
    "fail_query": "a query of orders, positions or balances is answered with 500",
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
            "known": KNOWN,
        }
