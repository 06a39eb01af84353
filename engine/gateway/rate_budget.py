"""The venue's limits, kept below: weight per minute of this address, orders per window of this account, hold-offs and bans.

What was sent counts at once; what the venue's headers say counts when it is more. A share of each minute's weight is kept for
cancels, and part of it, with a share of each window's orders, for orders that only close: they have room before a limit is met.
A hold-off (429) and a ban (418) stop everything until they end: the venue's rule is to send nothing before Retry-After is over, from this
address, and it makes no exception for cancels; who goes on is banned, and a ban grows (its documentation, "IP limits"). So the reserve is
what there is for cancels before that. An order count that is full (-1015) is the account's and not the address's: cancels do not count in
it, and go on. The ends are wall times, so that a restart keeps them. The limits are per address: gateways of one market behind one address
share a budget.
"""

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final

from twinloop.data.order_way import BANNED, CLOSING, HELD_OFF, MINUTE, OPEN, USED, WEIGHT_WORDS

CANCEL_RESERVE_PPM: Final = 200_000  # Of the weight; closing orders may use half of it.
CLOSING_RESERVE_PPM: Final = 100_000  # Of each window's orders.
MINUTE_NS: Final = 60_000_000_000


class WeightBudget:
    """Weight per minute of one address. Times are wall ns at the venue (local time plus offset). words: what compiled code reads."""

    def __init__(self, limit: int, *, cancel_reserve_ppm: int = CANCEL_RESERVE_PPM) -> None:
        self.limit = limit
        reserve = limit * cancel_reserve_ppm // 1_000_000
        self.words = array("q", bytes(8 * WEIGHT_WORDS))
        self._limits = limit - reserve, limit - reserve // 2
        self.words[OPEN], self.words[CLOSING] = self._limits
        self.words[MINUTE] = -1
        self.shut = False  # The venue wants to be left alone, or did so and nobody has called `reopen` since.

    @property
    def held_off_until_ns(self) -> int:
        """When the last hold-off ends."""
        return self.words[HELD_OFF]

    @property
    def banned_until_ns(self) -> int:
        """When the last ban ends."""
        return self.words[BANNED]

    def _turn(self, now_ns: int) -> None:
        minute = now_ns // MINUTE_NS
        if minute > self.words[MINUTE]:
            self.words[MINUTE] = minute
            self.words[USED] = 0

    def blocked_until_ns(self, now_ns: int) -> int:
        """When the present hold-off or ban ends; 0 without one."""
        until_ns = max(self.held_off_until_ns, self.banned_until_ns)
        return until_ns if until_ns > now_ns else 0

    def takes(self, weight: int, now_ns: int, *, is_cancel: bool, is_closing: bool = False) -> bool:
        """Spend the weight of a request if it may be sent now. is_closing: an order that only lowers a position."""
        words = self.words
        # While shut nothing but a cancel has a limit to keep below, and that one waits for the time.
        if now_ns < words[HELD_OFF] or now_ns < words[BANNED]:
            return False
        self._turn(now_ns)
        if words[USED] + weight > (self.limit if is_cancel else words[CLOSING if is_closing else OPEN]):
            return False
        words[USED] += weight
        return True

    def next_minute_ns(self, now_ns: int) -> int:
        """When the count begins anew."""
        return (now_ns // MINUTE_NS + 1) * MINUTE_NS

    def used(self, now_ns: int) -> int:
        """Weight used in the present minute."""
        self._turn(now_ns)
        return self.words[USED]

    def hears(self, headers: Mapping[str, str], now_ns: int) -> None:
        """Take over the venue's count, if it is more."""
        used = _number(headers.get("x-mbx-used-weight-1m", ""))
        self._turn(now_ns)
        self.words[USED] = max(self.words[USED], used)

    def hold_off(self, until_ns: int) -> None:
        """The venue said: too many requests."""
        self._shut(HELD_OFF, until_ns)

    def ban(self, until_ns: int) -> None:
        """The venue said: banned."""
        self._shut(BANNED, until_ns)

    def _shut(self, word: int, until_ns: int) -> None:
        if until_ns > self.words[word]:
            self.words[word], self.shut = until_ns, True
            self.words[OPEN] = self.words[CLOSING] = -1

    def reopen(self, now_ns: int) -> None:
        """Let other requests than cancels pass again if the wait is over. Whoever calls this sends the cancels that waited first."""
        if self.shut and not self.blocked_until_ns(now_ns):
            self.shut = False
            self.words[OPEN], self.words[CLOSING] = self._limits

    def to_plain(self) -> dict[str, Any]:
        """What a restart must not forget."""
        return {"held_off_until_ns": self.held_off_until_ns, "banned_until_ns": self.banned_until_ns}

    def from_plain(self, plain: Mapping[str, Any]) -> None:
        """Take over what a former run knew; an end that is already known stays if it is later."""
        self.hold_off(int(plain["held_off_until_ns"]))
        self.ban(int(plain["banned_until_ns"]))


class OrderBudget:
    """New orders per window of one account. windows: (header's suffix, length in ms, limit)."""

    def __init__(self, windows: Sequence[tuple[str, int, int]]) -> None:
        self._suffixes = [suffix.lower() for suffix, _, _ in windows]
        self._lengths_ns = array("q", [length_ms * 1_000_000 for _, length_ms, _ in windows])
        self._limits = array("q", [limit for _, _, limit in windows])
        self._open_limits = array("q", [limit - limit * CLOSING_RESERVE_PPM // 1_000_000 for limit in self._limits])
        self.full_until_ns = 0  # When the window ends that refused last.
        self._shortest_ns = min(self._lengths_ns)  # Every other length is a multiple of it.
        self._turn_ns = 0
        self._number = array("q", [-1] * len(windows))
        self._used = array("q", [0] * len(windows))

    @property
    def words(self) -> tuple["array[int]", "array[int]", "array[int]", "array[int]", "array[int]"]:
        """What compiled code reads: lengths, numbers of the present windows, orders used, limits, limits of closing orders."""
        return self._lengths_ns, self._number, self._used, self._open_limits, self._limits

    def _turn(self, now_ns: int) -> None:
        if now_ns < self._turn_ns:
            return
        for at, length_ns in enumerate(self._lengths_ns):
            number = now_ns // length_ns
            if number > self._number[at]:
                self._number[at] = number
                self._used[at] = 0
        # Nothing begins anew before the next window of the shortest length does.
        self._turn_ns = (now_ns // self._shortest_ns + 1) * self._shortest_ns

    def takes(self, orders: int, now_ns: int, *, is_closing: bool = False) -> bool:
        """Spend the orders of a request if every window has room; the last of each window is for closing orders."""
        if orders == 0:
            return True
        self._turn(now_ns)
        used = self._used
        for at, limit in enumerate(self._limits if is_closing else self._open_limits):
            if used[at] + orders > limit:
                self.full_until_ns = (self._number[at] + 1) * self._lengths_ns[at]
                return False
        for at in range(len(used)):
            used[at] += orders
        return True

    def hears(self, headers: Mapping[str, str], now_ns: int) -> None:
        """Take over the venue's counts, where they are more."""
        self._turn(now_ns)
        for at, suffix in enumerate(self._suffixes):
            self._used[at] = max(self._used[at], _number(headers.get(f"x-mbx-order-count-{suffix}", "")))

    def fill_up(self, now_ns: int) -> None:
        """The venue says a window is full: nothing more in the shortest one."""
        self._turn(now_ns)
        self._used[0] = self._limits[0]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 12 else 0
