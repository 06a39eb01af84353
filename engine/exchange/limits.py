"""The venue's limits: weight per address and minute, orders per account, bans that grow, connections per address.

Counts are per calendar window, as the venue's headers tell them. Whoever goes on asking after a 429 is banned: two minutes the first time,
twice as long each further time, three days at most.
"""

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

from twinloop.engine.exchange.model import Market

MINUTE_MS: Final = 60_000
WEIGHT_PER_MINUTE: Final[dict[str, int]] = {"spot": 6000, "usdm": 2400, "coinm": 2400}
# (interval as the headers write it, its length, orders)
ORDER_LIMITS: Final[dict[str, tuple[tuple[str, int, int], ...]]] = {
    "spot": (("10S", 10_000, 100), ("1D", 86_400_000, 200_000)),
    "usdm": (("10S", 10_000, 300), ("1M", MINUTE_MS, 1200)),
    "coinm": (("1M", MINUTE_MS, 1200),),
}
PATIENCE: Final = 10  # So many 429 in one minute, and the next request is a ban.
BAN_MS: Final = 120_000
BAN_MS_MAX: Final = 3 * 86_400_000
CONNECTIONS: Final = (300_000, 300)  # So many new ones in five minutes.


@dataclass(frozen=True, slots=True)
class Refusal:
    """An answer instead of what was asked."""

    status: int
    code: int
    message: str
    retry_after_s: int

    @property
    def body(self) -> dict[str, Any]:
        """What the venue writes."""
        return {"code": self.code, "msg": self.message}


@dataclass(slots=True)
class _Address:
    minute: int = -1
    weight: int = 0
    refused: int = 0
    bans: int = 0
    banned_until_ms: int = 0
    connections: deque[int] = field(default_factory=deque)


class Limits:
    """One market's limits."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._addresses: dict[str, _Address] = {}
        self._orders: dict[str, dict[str, tuple[int, int]]] = {}

    def weigh(self, address: str, now_ms: int, weight: int) -> tuple[dict[str, str], Refusal | None]:
        """Count a request of an address: the headers of its answer, and the refusal where it is one too many."""
        its = self._addresses.setdefault(address, _Address())
        if now_ms < its.banned_until_ms:
            return {}, self._banned(its, now_ms)
        minute = now_ms // MINUTE_MS
        if its.minute != minute:
            its.minute, its.weight, its.refused = minute, 0, 0
        its.weight += weight
        headers = {"X-MBX-USED-WEIGHT": str(its.weight), "X-MBX-USED-WEIGHT-1M": str(its.weight)}
        if its.weight <= WEIGHT_PER_MINUTE[self._market]:
            return headers, None
        its.refused += 1
        if its.refused > PATIENCE:
            its.banned_until_ms = now_ms + min(BAN_MS << min(its.bans, 12), BAN_MS_MAX)
            its.bans += 1
            return headers, self._banned(its, now_ms)
        return headers, self.too_many(now_ms)

    def too_many(self, now_ms: int, wait_s: int = 0) -> Refusal:
        """429 for so many seconds; 0: until the minute ends."""
        wait_s = wait_s or -(-(MINUTE_MS - now_ms % MINUTE_MS) // 1000)
        text = (
            f"Too much request weight used; current limit is {WEIGHT_PER_MINUTE[self._market]} request weight per 1 MINUTE. "
            "Please use WebSocket Streams for live updates to avoid polling the API."
        )
        return Refusal(429, -1003, text, wait_s)

    @staticmethod
    def _banned(its: _Address, now_ms: int) -> Refusal:
        return banned(its.banned_until_ms, now_ms)

    def count_order(self, account: str, now_ms: int) -> tuple[dict[str, str], Refusal | None]:
        """Count an order of an account: headers, and the refusal where it is one too many."""
        counts = self._orders.setdefault(account, {})
        headers: dict[str, str] = {}
        refusal = None
        for name, length_ms, most in ORDER_LIMITS[self._market]:
            window, count = counts.get(name, (-1, 0))
            count = count + 1 if window == now_ms // length_ms else 1
            counts[name] = now_ms // length_ms, count
            headers[f"X-MBX-ORDER-COUNT-{name}"] = str(count)
            if count > most and refusal is None:
                wait_s = -(-(length_ms - now_ms % length_ms) // 1000)
                refusal = Refusal(
                    429, -1015, f"Too many new orders; current limit is {most} orders per {name}.", wait_s
                )
        return headers, refusal

    def connect(self, address: str, now_ms: int) -> bool:
        """Whether an address may open one more connection."""
        recent = self._addresses.setdefault(address, _Address()).connections
        length_ms, most = CONNECTIONS
        while recent and recent[0] <= now_ms - length_ms:
            recent.popleft()
        recent.append(now_ms)
        return len(recent) <= most


def banned(until_ms: int, now_ms: int) -> Refusal:
    """418 until a time."""
    text = f"Way too much request weight used; IP banned until {until_ms}. Please use WebSocket Streams for live updates to avoid bans."
    return Refusal(418, -1003, text, -(-(until_ms - now_ms) // 1000))


def told_limits(market: Market) -> list[dict[str, Any]]:
    """For exchangeInfo."""
    words = {"S": "SECOND", "M": "MINUTE", "D": "DAY"}
    return [
        {"rateLimitType": "REQUEST_WEIGHT", "interval": "MINUTE", "intervalNum": 1, "limit": WEIGHT_PER_MINUTE[market]},
        *(
            {"rateLimitType": "ORDERS", "interval": words[name[-1]], "intervalNum": int(name[:-1]), "limit": most}
            for name, _, most in ORDER_LIMITS[market]
        ),
    ]
