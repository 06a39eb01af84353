"""Own-order rows as bytes, and request rows read from bytes: the gateway's side of the row's layout.

A row is packed and unpacked in one call; the layout is held against kernels/rows.py when this module is imported. This module must not
decide anything.
"""

import struct
from typing import Final, NamedTuple

import numpy as np

from twinloop.data.rowfile import Rows
from twinloop.kernels import codes, rows
from twinloop.kernels.rows import FLAG_CONTINUES, FLAG_MAKER, FLAG_TAIL, ROW, ROW_SIZE

_LAYOUT: Final = struct.Struct("<qqqBbBBBBHqqqq")
assert _LAYOUT.size == ROW_SIZE
assert [offset for _, _, offset in rows.HEADER] == [0, 8, 16, 24, 25, 26, 27, 28, 29, 30]


class RowFields(NamedTuple):
    """A row's header and its four words. Of a request: price, qty, order_id, and trigger_price or decision."""

    venue_ns: int
    local_ns: int
    sequence: int
    kind: int
    side: int
    strategy: int
    account: int
    source: int
    flags: int
    instrument: int
    word_32: int
    word_40: int
    word_48: int
    word_56: int


def read_rows(array: Rows) -> list[RowFields]:
    """Fields of an array of ROW, in order."""
    return [RowFields._make(fields) for fields in _LAYOUT.iter_unpack(array.tobytes())]


def read_row(row: bytes) -> RowFields:
    """Fields of one row."""
    return RowFields._make(_LAYOUT.unpack(row))


class OwnOrder(NamedTuple):
    """What every own-order row says of its order."""

    order_id: int
    strategy: int
    account: int
    source: int
    instrument: int
    side: int


def fate(kind: int, local_ns: int, egress_ns: int, request: int, order_id: int, code: int) -> bytes:
    """SENT or NOT_SENT: what became of a request. egress_ns: monotonic, of the time it left; code: what it was for."""
    return _LAYOUT.pack(0, local_ns, 0, kind, 0, 0, 0, 0, 0, 0, egress_ns, request, order_id, code)


def fact(kind: int, order: OwnOrder, venue_ns: int, local_ns: int, price: int, qty: int, code: int) -> bytes:
    """ACK, REJECT, CANCELLED, EXPIRED, AMENDED, UNKNOWN, CANCEL_REJECT or AMEND_REJECT: one row."""
    return _LAYOUT.pack(
        venue_ns, local_ns, 0, kind, order.side, order.strategy, order.account, order.source, 0, order.instrument,
        price, qty, order.order_id, code,
    )  # fmt: skip


def fill(
    order: OwnOrder,
    venue_ns: int,
    local_ns: int,
    *,
    price: int,
    qty: int,
    fee: int,
    fee_currency: int,
    trade_id: int,
    leaves: int,
    maker: bool,
) -> bytes:
    """A fill: two rows. fee: money in 1e-8 of fee_currency."""
    flags = FLAG_MAKER if maker else 0
    head = _LAYOUT.pack(
        venue_ns, local_ns, 0, rows.FILL, order.side, order.strategy, order.account, order.source,
        flags | FLAG_CONTINUES, order.instrument, price, qty, order.order_id, fee,
    )  # fmt: skip
    tail = _LAYOUT.pack(
        venue_ns, local_ns, 0, rows.FILL, order.side, order.strategy, order.account, order.source,
        flags | FLAG_TAIL, order.instrument, 0, fee_currency, trade_id, leaves,
    )  # fmt: skip
    return head + tail


def fee_change(order: OwnOrder, venue_ns: int, local_ns: int, *, fee: int, fee_currency: int, trade_id: int) -> bytes:
    """FEE_CHANGED: a booked trade's fee is so much more. fee: money in 1e-8 of fee_currency."""
    return _LAYOUT.pack(
        venue_ns, local_ns, 0, rows.FEE_CHANGED, order.side, order.strategy, order.account, order.source, 0,
        order.instrument, 0, fee_currency, trade_id, fee,
    )  # fmt: skip


def funding_paid(
    account: int, source: int, instrument: int, venue_ns: int, local_ns: int, *, currency: int, amount: int, number: int
) -> bytes:
    """FUNDING_PAID: what the venue paid (< 0: took), whole and for no book yet. amount: money in 1e-8 of currency."""
    return _LAYOUT.pack(
        venue_ns, local_ns, 0, rows.FUNDING_PAID, 0, codes.UNASSIGNED, account, source, 0, instrument, currency, amount,
        number, 0,
    )  # fmt: skip


def as_rows(facts: list[bytes]) -> Rows:
    """An array of ROW, writable, of packed rows."""
    return np.frombuffer(bytearray(b"".join(facts)), ROW)
