"""Orders out equal orders asked for: what was written to the venue, read back and held against the kernel's requests.

An auditor beside the gateway, told of two things only: the requests that came (NEW and AMEND rows) and the texts that were written, REST
or frame, as they went over the wire. Of the gateway it asks how far an order's legs are proven ended, nothing else.

    audit.came(rows); audit.wrote(outgoing) or audit.wrote_frame(frame)       # cheap: kept for later
    alerts = audit.check(asked, mono_ns)                                       # several times a second

ORDERS_DIFFER, which halts, for: a text of an order that nobody asked for, or of another symbol, side or strategy; an order placed twice;
legs that may fill more than was asked for; a request that neither left nor was refused; a kernel that counts more requests than came.
This module must not send, and must not believe what the gateway says about quantities.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final
from urllib.parse import parse_qsl

from twinloop.data.errors import TwinloopError
from twinloop.data.instruments import Instrument
from twinloop.engine.gateway import outcome as kinds
from twinloop.engine.gateway.alerts import Alert, alert
from twinloop.engine.gateway.client_ids import ClientIds
from twinloop.engine.gateway.orders import ASKED, NEVER_PLACED, OPEN, Leg, Order
from twinloop.engine.gateway.outcome import Outgoing
from twinloop.engine.gateway.own_rows import read_row
from twinloop.kernels import rows
from twinloop.kernels.rows import ROW_SIZE

LEAVES_WITHIN_NS: Final = 30_000_000_000  # Or is refused: longer than a connection takes to be there.
KEPT: Final = 4096  # Requests of orders that have ended are looked through when there are so many.
_SIDES: Final = {"BUY": 1, "SELL": -1}


class _DifferError(Exception):
    """What was written is not what was asked for."""


@dataclass(slots=True)
class _Intent:
    """A request of the kernel's. qty: the most that was ever asked for. legs: quantity by client id, as written."""

    instrument: int
    side: int
    strategy: int
    qty: int
    came_mono_ns: int
    legs: dict[str, int] = field(default_factory=dict)
    replaced: dict[str, str] = field(default_factory=dict)  # Old leg to the one that takes its place.


class OrdersOut:
    """One gateway's. find: an order of the gateway's by its id."""

    def __init__(
        self, ids: ClientIds, instruments: Mapping[int, Instrument], find: Callable[[int], Order | None]
    ) -> None:
        self._ids = ids
        self._slots = {each.symbol: slot for slot, each in instruments.items()}
        self._instruments = instruments
        self._find = find
        self._queue: list[tuple[int, bytes | str]] = []  # (kind, 0: of the kernel's rows; text)
        self._intents: dict[int, _Intent] = {}
        self._unwritten: set[int] = set()
        self.came_in = 0  # New orders.
        self._unequal = 0  # Checks in a row that found the kernel's count another.

    def adopt(self, orders: Iterable[Order]) -> None:
        """Working orders of an earlier process, as the gateway rebuilt them from the journal: before anything else."""
        for order in orders:
            qty = max(order.qty, order.amend.qty) if order.amend is not None else order.qty
            ids = [leg.client_id for leg in order.legs]
            legs = {leg.client_id: leg.qty for leg in order.legs}
            replaced = dict(pairwise(ids))  # Each further leg took the place of the one before.
            self._intents[order.order_id] = _Intent(
                order.instrument, order.side, order.strategy, qty, 0, legs, replaced
            )

    def came(self, row_bytes: bytes) -> None:
        """Requests of the kernel, as the bytes of rows."""
        self._queue.append((0, row_bytes))

    def wrote(self, outgoing: Outgoing) -> None:
        """A request whose text was handed to a socket."""
        if outgoing.kind in kinds.MAY_FILL:
            self._queue.append((outgoing.kind, outgoing.frame or outgoing.text))

    def wrote_frame(self, frame: bytes) -> None:
        """A new order's frame as it went over the wire, masked."""
        self._queue.append((kinds.PLACE, frame))

    def check(self, asked: int, mono_ns: int) -> list[Alert]:
        """What differs. asked: new orders of the kernel's that should have come by now."""
        found: list[Alert] = []
        queue, self._queue = self._queue, []
        written: dict[int, None] = {}
        for kind, text in queue:
            try:
                if kind:
                    written[self._written(kind, text)] = None
                else:
                    assert isinstance(text, bytes)
                    self._asked_for(text, mono_ns)
            except _DifferError as error:
                found.append(alert("ORDERS_DIFFER", detail=str(error)))
        # Behind all of them: how far a leg has filled is known as of now, and so must be what was asked for.
        for order_id in written:
            try:
                self._not_more(order_id, self._intents[order_id])
            except _DifferError as error:
                found.append(alert("ORDERS_DIFFER", order_id=order_id, detail=str(error)))
        found += self._never_left(mono_ns)
        self._unequal = self._unequal + 1 if asked != self.came_in else 0
        if self._unequal == 2:  # Told once.
            text = f"the kernel asked for {asked} new orders, {self.came_in} came"
            found.append(alert("ORDERS_DIFFER", value=asked - self.came_in, detail=text))
        if len(self._intents) > KEPT:
            self._forget()
        return found

    # What came.

    def _asked_for(self, row_bytes: bytes, mono_ns: int) -> None:
        for at in range(0, len(row_bytes), ROW_SIZE):
            row = read_row(row_bytes[at : at + ROW_SIZE])
            order_id, qty = row.word_48, row.word_40
            if row.kind == rows.NEW:
                self.came_in += 1
                if order_id in self._intents:
                    raise _DifferError(f"order {order_id} was asked for twice")
                self._intents[order_id] = _Intent(row.instrument, row.side, row.strategy, qty, mono_ns)
                self._unwritten.add(order_id)
            elif row.kind == rows.AMEND and order_id in self._intents:  # Else it has ended: the gateway refuses it.
                self._intents[order_id].qty = max(self._intents[order_id].qty, qty)

    # What left.

    def _written(self, kind: int, text: bytes | str) -> int:
        fields = _fields(text)
        client_id = fields.get("newClientOrderId") or fields.get("clientAlgoId") or fields.get("origClientOrderId", "")
        named = self._ids.parse(client_id)
        if named is None:
            raise _DifferError(f"an order left under the id {client_id[:40]!r}, which is none of this session's")
        intent = self._intents.get(named.order_id)
        if intent is None:
            raise _DifferError(f"order {named.order_id} left and nobody asked for it")
        slot = self._slots.get(fields.get("symbol", ""), -1)
        side = _SIDES.get(fields.get("side", ""), intent.side)  # A spot reduction names none.
        if (slot, side, named.strategy) != (intent.instrument, intent.side, intent.strategy):
            raise _DifferError(f"order {named.order_id} left for another symbol, side or strategy than was asked for")
        qty = self._qty(slot, fields.get("quantity") or fields.get("newQty", ""))
        if (
            kind != kinds.AMEND
            and client_id in intent.legs
            and not self._signed_anew(named.order_id, client_id, qty, intent)
        ):
            raise _DifferError(f"order {named.order_id} was placed twice under the id {client_id}")
        intent.legs[client_id] = qty
        self._unwritten.discard(named.order_id)
        if kind == kinds.REPLACE:
            intent.replaced[fields.get("cancelOrigClientOrderId", "")] = client_id
        return named.order_id

    def _qty(self, slot: int, text: str) -> int:
        try:
            return self._instruments[slot].qty_int(text)
        except TwinloopError:
            raise _DifferError(f"an order left with a quantity that is none: {text[:40]!r}") from None

    def _signed_anew(self, order_id: int, client_id: str, qty: int, intent: _Intent) -> bool:
        """Whether the venue refused the first for its time: the one case in which an id is written twice."""
        leg = self._leg(order_id, client_id)
        return leg is not None and leg.resigned and qty == intent.legs[client_id]

    def _leg(self, order_id: int, client_id: str) -> Leg | None:
        order = self._find(order_id)
        return None if order is None else next((leg for leg in order.legs if leg.client_id == client_id), None)

    def _not_more(self, order_id: int, intent: _Intent) -> None:
        """What the legs have filled or may still fill is no more than was asked for."""
        most = 0
        for client_id, qty in intent.legs.items():
            leg = self._leg(order_id, client_id)
            if client_id in intent.replaced:
                successor = self._leg(order_id, intent.replaced[client_id])
                # The venue places the one only when it has cancelled the other, which had not filled at all: until it has said which, one of
                # both may fill. A fill of the one that came meanwhile was before, and the other is refused.
                if successor is None or successor.state == ASKED:
                    continue
                if successor.state not in NEVER_PLACED:
                    most += max(leg.executed, leg.filled) if leg is not None else 0
                    continue
            ended = leg is not None and leg.state not in OPEN
            most += max(leg.executed, leg.filled) if leg is not None and ended else qty
        if most > intent.qty:
            raise _DifferError(
                f"order {order_id} may fill {most} units of its quantity scale, asked for were {intent.qty}"
            )

    def _never_left(self, mono_ns: int) -> list[Alert]:
        found = []
        for order_id in sorted(self._unwritten):
            intent, order = self._intents[order_id], self._find(order_id)
            late = mono_ns - intent.came_mono_ns >= LEAVES_WITHIN_NS
            if late and (order is None or not order.ended):
                text = f"order {order_id} was asked for, and neither left nor was refused"
                found.append(alert("ORDERS_DIFFER", order_id=order_id, instrument=intent.instrument, detail=text))
            if late or (order is not None and order.ended):
                self._unwritten.discard(order_id)
        return found

    def _forget(self) -> None:
        for order_id in list(self._intents):
            order = self._find(order_id)
            if order_id not in self._unwritten and (order is None or not order.open):
                del self._intents[order_id]


def _fields(text: bytes | str) -> dict[str, str]:
    """Parameters of a request as it was written: a form or query, a frame's JSON, or a masked frame."""
    if isinstance(text, bytes):
        text = _unmasked(text)
    if not text.startswith("{"):
        return dict(parse_qsl(text))
    return {name: str(value) for name, value in json.loads(text)["params"].items()}


def _unmasked(frame: bytes) -> str:
    """Text of a client's frame (RFC 6455, section 5.2)."""
    length = frame[1] & 0x7F
    at = {126: 4, 127: 10}.get(length, 2)
    mask, payload = frame[at : at + 4], frame[at + 4 :]
    words = -(-len(payload) // 4)
    plain = int.from_bytes(payload, "big") ^ (int.from_bytes(mask * words, "big") >> 8 * (4 * words - len(payload)))
    return plain.to_bytes(len(payload), "big").decode()
