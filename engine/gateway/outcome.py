"""What one call of the gateway leads to: rows for the kernel, requests for the transport, alerts."""

from dataclasses import dataclass, field
from typing import Final

from twinloop.data.binance_orders import Request
from twinloop.data.rowfile import Rows
from twinloop.engine.gateway.alerts import Alert
from twinloop.engine.gateway.own_rows import as_rows

# What a request is for.
PLACE: Final = 1
CANCEL: Final = 2
AMEND: Final = 3
REPLACE: Final = 4
QUERY: Final = 5
QUERY_BY_VENUE_ID: Final = 6
OPEN_ORDERS: Final = 7
OPEN_STOPS: Final = 8
TRADES: Final = 9
CANCEL_ALL: Final = 10
COUNTDOWN: Final = 11
SERVER_TIME: Final = 12
ACCOUNT: Final = 13
TRADES_AGAIN: Final = 14  # Of trades that are booked: which of them the venue still knows.
FUNDING: Final = 15

MAY_FILL: Final = frozenset({PLACE, AMEND, REPLACE})  # What can lead to a fill, or to a larger one.
INCOME: Final = 16


@dataclass(slots=True, eq=False)
class Outgoing:
    """One request on its way. Shows neither its parameters nor its signature.

    text: query (GET, DELETE) or form (POST, PUT) of the REST call, signed; frame: the same as a WebSocket API frame, "" if there is none.
    deadline_mono_ns: when the transport has to give up and call `on_timeout`, whatever it has received by then.
    """

    number: int
    kind: int
    request: Request
    text: str
    frame: str
    order_id: int
    leg: int
    amend: int
    instrument: int
    venue_id: int
    sent_mono_ns: int
    sent_ns: int
    deadline_mono_ns: int
    is_cancel: bool

    @property
    def method(self) -> str:
        """HTTP method."""
        return self.request.method

    @property
    def path(self) -> str:
        """Path of the REST call, without its query."""
        return self.request.path

    @property
    def weight(self) -> int:
        """What it costs of the address's limit."""
        return self.request.weight

    def __repr__(self) -> str:
        return f"Outgoing({self.number} {self.request.method} {self.request.path} order {self.order_id} leg {self.leg})"


@dataclass(slots=True, eq=False)
class Outcome:
    """facts: packed rows in order; a fill is two. The caller journals them before the kernel sees them."""

    facts: list[bytes] = field(default_factory=list)
    outgoing: list[Outgoing] = field(default_factory=list)
    alerts: list[Alert] = field(default_factory=list)

    @property
    def rows(self) -> Rows:
        """The facts as an array of ROW."""
        return as_rows(self.facts)
