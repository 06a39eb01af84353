"""What a gateway remembers of one order: its terms, its legs at the venue, and what is being asked about it.

A leg is one order at the venue. Most orders have one; an amend that has to replace the order adds a leg, and until the old one is proven
ended and the new one proven placed or refused, both count. Plain data, so that a snapshot is a dictionary. Nothing here decides.
"""

from typing import Any, Final

import msgspec

from twinloop.data.binance_reports import CANCELLED, EXPIRED, FILLED, LIVE, REJECTED
from twinloop.engine.gateway.own_rows import OwnOrder

# Where a leg stands, by proof: as the venue's reports have it, and two that no report can say.
ASKED: Final = 0  # Asked for; whether it arrived is not known.
ABSENT: Final = 6  # Proven by two sources never to have arrived.
assert not {ASKED, ABSENT} & {LIVE, FILLED, CANCELLED, EXPIRED, REJECTED}
OPEN: Final = frozenset({ASKED, LIVE})
NEVER_PLACED: Final = frozenset({REJECTED, ABSENT})

# How an amend is carried out.
MODIFY: Final = 1  # In place, price and quantity.
REDUCE: Final = 2  # In place, less quantity.
REPLACE: Final = 3  # One request that cancels the old leg and places a new one.
CANCEL_THEN_PLACE: Final = 4  # The new leg waits until the old one's last fill is known: it has filled in part already.


class Leg(msgspec.Struct, gc=False):
    """One order at the venue. executed: what the venue says has filled; filled: what is booked and known to be of this leg.

    Times are monotonic ns.
    """

    number: int
    client_id: str
    qty: int
    price: int
    state: int = ASKED
    venue_id: int = 0
    executed: int = 0
    filled: int = 0
    reason: int = 0
    in_service: bool = False  # A stop order that the conditional-order service still holds.
    placed: bool = False  # The venue has spoken of it.
    asked_mono_ns: int = 0
    answer_due_mono_ns: int = 0  # Of the request that places it; 0 when answered.
    in_doubt: bool = False  # To be queried until proven.
    query_due_mono_ns: int = 0
    query_sent_mono_ns: int = 0  # 0 when none is under way.
    queries: int = 0
    absent_by_query: bool = False
    absent_by_list: bool = False
    cancel_due_mono_ns: int = 0
    cancel_sent_mono_ns: int = 0
    cancels: int = 0
    resigned: bool = False
    amended_ns: int = 0  # Venue time of the last change of price or quantity.
    synthetic: list[tuple[int, int]] = []  # (price, qty) of fills that came without a trade id.


class Amend(msgspec.Struct, gc=False):
    """An amend under way. number: counted over the order's amends; leg: number of the leg that carries it out."""

    number: int
    how: int
    qty: int
    price: int
    leg: int
    sent_mono_ns: int = 0
    answer_due_mono_ns: int = 0
    in_doubt: bool = False
    waiting: bool = False  # CANCEL_THEN_PLACE, old leg not proven ended.
    resigned: bool = False


class Order(msgspec.Struct, gc=False):
    """An order of the kernel's. qty, price: as last acknowledged to the kernel; filled: booked over all legs."""

    order_id: int
    epoch: int
    strategy: int
    account: int
    source: int
    instrument: int
    side: int
    kind: int
    flags: int
    qty: int
    price: int
    trigger_price: int
    expire_ns: int
    legs: list[Leg]
    amends: int = 0  # Ever asked for: the number of the next leg.
    amend: Amend | None = None
    filled: int = 0
    acknowledged: bool = False
    unknown: bool = False  # The kernel was told UNKNOWN and not yet otherwise.
    ended: int = 0  # Kind of the row that ended it for the kernel; FILL when its fills did.
    cancel_wanted: bool = False
    cancel_asked: bool = False  # By the kernel, whose request waits for an answer.
    shrunk: bool = False  # The cancel stands for an amend to no more than has filled, which waits for its answer.
    expired: bool = False  # Cancelled by us because its time was over.
    missing_since_mono_ns: int = 0  # The venue speaks of fills that are not here.

    @property
    def own(self) -> OwnOrder:
        """What its rows say of it."""
        return OwnOrder(self.order_id, self.strategy, self.account, self.source, self.instrument, self.side)

    @property
    def missing(self) -> bool:
        """Whether the venue speaks of more than is booked. Over all legs: a journal does not say which leg a fill was of."""
        return sum(leg.executed for leg in self.legs) > self.filled

    @property
    def open(self) -> bool:
        """Whether any leg may still fill, as far as is proven, or fills are missing."""
        return self.amend is not None or self.missing or any(leg.state in OPEN for leg in self.legs)

    def filled_elsewhere(self, leg: Leg) -> int:
        """What legs other than one have filled."""
        return sum(max(other.filled, other.executed) for other in self.legs if other is not leg)


def to_plain(order: Order) -> dict[str, Any]:
    """Plain data of an order."""
    plain: dict[str, Any] = msgspec.to_builtins(order)
    return plain


def from_plain(plain: dict[str, Any]) -> Order:
    """An order of plain data. Requests of a former process have no answer coming: what waited for one is in doubt."""
    order = msgspec.convert(plain, Order)
    for leg in order.legs:
        forget_times(leg)
    if order.amend is not None:
        order.amend.answer_due_mono_ns = 0
        order.amend.sent_mono_ns = 0
        order.amend.in_doubt = not order.amend.waiting
    return order


def forget_times(leg: Leg) -> None:
    """A monotonic time means nothing to another process. An open leg has to be proven anew, with a full horizon before it."""
    leg.asked_mono_ns = leg.answer_due_mono_ns = 0
    leg.query_due_mono_ns = leg.query_sent_mono_ns = 0
    leg.cancel_due_mono_ns = leg.cancel_sent_mono_ns = 0
    leg.absent_by_query = leg.absent_by_list = False
    leg.in_doubt = leg.state in OPEN
