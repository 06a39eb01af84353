"""The 64-byte row: one fact, the same bytes in the ring, the journal and the replay cache.

A row is a header of 32 bytes and a payload of 32 bytes whose fields depend on the kind; the payload fields of different
kinds share the same bytes, so `row["bid"]` and `row["price"]` are two names for offset 32. A fact that needs more than
32 bytes takes two rows of the same kind: the head carries FLAG_CONTINUES, the tail FLAG_TAIL, and both are published by
one cursor move and handled as one step.

Header (offset: field):
     0 venue_ns    i8  venue time, ns since the epoch; 0 when the venue states none
     8 local_ns    i8  local receive time, ns since the epoch
    16 sequence    i8  order of processing, given on entry to the inbox; in a market file at rest: the venue's own update
                       or trade id, so that it survives until the row enters a ring
    24 kind        u1  one of the constants below
    25 side        i1  +1 buy/bid, -1 sell/ask, 0 none; of a trade: the aggressor's side
    26 strategy    u1  strategy slot (own-order facts, timers, requests)
    27 account     u1  account slot
    28 source      u1  feed or session the row came from; of a request: the order type
    29 flags       u1  FLAG_* bits; of a request: time in force and instructions
    30 instrument  u2  instrument slot

Prices and quantities are int64 in the instrument's fixed decimal scales; money is int64 in the currency's scale.
Nothing in this module does work: it is the table that kernels, decoders, journal and docs share.
"""

from typing import Final, NamedTuple

import numpy as np

ROW_SIZE: Final = 64
HEADER: Final = (
    ("venue_ns", "<i8", 0),
    ("local_ns", "<i8", 8),
    ("sequence", "<i8", 16),
    ("kind", "u1", 24),
    ("side", "i1", 25),
    ("strategy", "u1", 26),
    ("account", "u1", 27),
    ("source", "u1", 28),
    ("flags", "u1", 29),
    ("instrument", "<u2", 30),
)

# Origins: who may write a row of the kind, and whether a kernel ever sees it.
MARKET: Final = 1
OWN_ORDER: Final = 2
DERIVED: Final = 3
TIMER_ORIGIN: Final = 4
OPERATOR: Final = 5
FEED_STATE: Final = 6
ANNOTATION: Final = 7  # Never fed to the kernel.
REQUEST: Final = 8  # Outbox only.

# Market data.
TRADE: Final = 1
QUOTE: Final = 2
LEVEL: Final = 3
SNAPSHOT_BEGIN: Final = 4
SNAPSHOT_LEVEL: Final = 5
SNAPSHOT_END: Final = 6
CLEAR: Final = 7
ORDER_ADD: Final = 8
ORDER_MODIFY: Final = 9
ORDER_CANCEL: Final = 10
ORDER_EXECUTE: Final = 11
BAR: Final = 12
STATUS: Final = 13
FUNDING: Final = 14
MARK: Final = 15
FX: Final = 16
INSTRUMENT: Final = 20
# Own-order facts.
ACK: Final = 32
REJECT: Final = 33
FILL: Final = 34
CANCELLED: Final = 35
EXPIRED: Final = 36
AMENDED: Final = 37
UNKNOWN: Final = 38
CANCEL_REJECT: Final = 39
AMEND_REJECT: Final = 40
EXTERNAL_WORKING: Final = (
    41  # What orders of others than our strategies have working on the account's instrument, a side each.
)
BUST: Final = (
    42  # A trade that the venue took back, by its trade id: booked the other way round, its fee (negative) returned.
)
FEE_CHANGED: Final = 43  # What a booked trade's fee is more (negative: less) than was told first, by its trade id.
FUNDING_PAID: Final = 44  # What the venue paid (negative: took) in funding of a position, by its transaction id; a row for each book's part.
# Timers.
TIMER: Final = 48
CLOCK: Final = 49  # Nothing but the time: a live edge writes one when an interval ends and no other row tells of it.
# Feed state.
FEED_GAP: Final = 56
FEED_STALE: Final = 57
FEED_SWITCHED: Final = 58
FEED_RECOVERED: Final = 59
# Operator commands.
HALT: Final = 64
REDUCE: Final = 65
RESUME: Final = 66
FLATTEN: Final = 67
LIMIT_CHANGE: Final = 68
NOTE: Final = 69
ADJUSTMENT: Final = 70  # A difference that a person accepted: booked like a fill, to the account's unassigned book.
TRANSFER: Final = 71  # Money that came from outside or left, by a person's word: neither profit nor loss.
# Requests, in the outbox.
NEW: Final = 80
AMEND: Final = 81
CANCEL: Final = 82
# Annotations of a journal.
SEAL: Final = 96
SENT: Final = 97
NOT_SENT: Final = 98
VERDICT: Final = 99
CLOCK_MAP: Final = 100
HASH: Final = 101
RAW_FRAME: Final = 102
ALERT: Final = 103
ALERT_ACKNOWLEDGED: Final = 104
SWEPT: Final = (
    105  # Every trade of the account in the instrument below this id is booked: no list has to be asked for it again.
)

FLAG_CONTINUES: Final = 1  # The next row is the second half of this fact.
FLAG_TAIL: Final = 2  # This row is the second half of the fact before it.
FLAG_EVENT_END: Final = 4  # Last row of one venue message: the book is consistent again and on_book may run.
FLAG_OFF_MARKET: Final = 8  # A print outside the order book (insurance fund, block): shown, never matched against.
FLAG_MAKER: Final = 16  # Of a fill: our order was resting.
FLAG_WARMUP: Final = 32  # Provenance: history fed before trading; orders are suppressed.
FLAG_SYNTHETIC: Final = 64  # Provenance: made by twinloop's generator, not by a market.
FLAG_LATE: Final = 128  # A print that came after its time: asked for once a connection was back. Shown, and counted in bars; never matched.

# Values of a STATUS row's code, by what the venue still accepts.
TRADING: Final = 0
HALTED_STATUS: Final = 1
CANCEL_ONLY: Final = 2
POST_ONLY_STATUS: Final = 3


class KindSpec(NamedTuple):
    """One line of the table: code, name, origin, and payload fields by offset."""

    code: int
    name: str
    origin: int
    payload: tuple[tuple[str, int], ...]
    tail: tuple[tuple[str, int], ...] = ()


_PRICE_QTY: Final = (("price", 32), ("qty", 40))
_OWN: Final = (("price", 32), ("qty", 40), ("order_id", 48), ("code", 56))
_TRADED: Final = (
    (("price", 32), ("qty", 40), ("order_id", 48), ("fee", 56)),
    (("cause_id", 32), ("fee_currency", 40), ("trade_id", 48), ("leaves_qty", 56)),
)

KINDS: Final = (
    KindSpec(TRADE, "TRADE", MARKET, (*_PRICE_QTY, ("trade_id", 48))),
    KindSpec(QUOTE, "QUOTE", MARKET, (("bid", 32), ("bid_qty", 40), ("ask", 48), ("ask_qty", 56))),
    KindSpec(LEVEL, "LEVEL", MARKET, (*_PRICE_QTY, ("update_id", 48))),
    KindSpec(SNAPSHOT_BEGIN, "SNAPSHOT_BEGIN", MARKET, (("update_id", 48),)),
    KindSpec(SNAPSHOT_LEVEL, "SNAPSHOT_LEVEL", MARKET, (*_PRICE_QTY, ("update_id", 48))),
    KindSpec(SNAPSHOT_END, "SNAPSHOT_END", MARKET, (("update_id", 48),)),
    KindSpec(CLEAR, "CLEAR", MARKET, ()),
    KindSpec(ORDER_ADD, "ORDER_ADD", MARKET, (*_PRICE_QTY, ("order_id", 48))),
    KindSpec(ORDER_MODIFY, "ORDER_MODIFY", MARKET, (*_PRICE_QTY, ("order_id", 48))),
    KindSpec(ORDER_CANCEL, "ORDER_CANCEL", MARKET, (*_PRICE_QTY, ("order_id", 48))),
    KindSpec(ORDER_EXECUTE, "ORDER_EXECUTE", MARKET, (*_PRICE_QTY, ("order_id", 48), ("execution_id", 56))),
    # A vendor's bar: venue_ns is its CLOSE time, interval_ns its length.
    KindSpec(
        BAR,
        "BAR",
        MARKET,
        (("open", 32), ("high", 40), ("low", 48), ("close", 56)),
        (("volume", 32), ("notional", 40), ("trades", 48), ("interval_ns", 56)),
    ),
    KindSpec(STATUS, "STATUS", MARKET, (("status", 32),)),
    KindSpec(FUNDING, "FUNDING", MARKET, (("price", 32), ("rate", 40))),  # rate x 1e-8 of notional at the mark price
    KindSpec(MARK, "MARK", MARKET, (("price", 32), ("index_price", 40))),
    KindSpec(FX, "FX", MARKET, (("currency", 32), ("rate", 40), ("quote_currency", 48))),  # rate x 1e-8
    KindSpec(
        INSTRUMENT,
        "INSTRUMENT",
        MARKET,
        (("tick_size", 32), ("lot_size", 40), ("min_qty", 48), ("max_qty", 56)),
        (("min_notional", 32),),
    ),
    KindSpec(ACK, "ACK", OWN_ORDER, _OWN),
    KindSpec(REJECT, "REJECT", OWN_ORDER, _OWN),
    KindSpec(FILL, "FILL", OWN_ORDER, *_TRADED),
    KindSpec(CANCELLED, "CANCELLED", OWN_ORDER, _OWN),
    KindSpec(EXPIRED, "EXPIRED", OWN_ORDER, _OWN),
    KindSpec(AMENDED, "AMENDED", OWN_ORDER, _OWN),
    KindSpec(UNKNOWN, "UNKNOWN", OWN_ORDER, _OWN),
    KindSpec(CANCEL_REJECT, "CANCEL_REJECT", OWN_ORDER, _OWN),
    KindSpec(AMEND_REJECT, "AMEND_REJECT", OWN_ORDER, _OWN),
    KindSpec(EXTERNAL_WORKING, "EXTERNAL_WORKING", OWN_ORDER, (("external_buy", 32), ("external_sell", 40))),
    KindSpec(BUST, "BUST", OWN_ORDER, *_TRADED),
    KindSpec(FEE_CHANGED, "FEE_CHANGED", OWN_ORDER, (("fee_currency", 40), ("trade_id", 48), ("fee", 56))),
    KindSpec(
        FUNDING_PAID, "FUNDING_PAID", OWN_ORDER, (("currency", 32), ("value", 40), ("trade_id", 48))
    ),  # value: 1e-8
    KindSpec(TIMER, "TIMER", TIMER_ORIGIN, (("due_ns", 32), ("timer_id", 40))),
    KindSpec(CLOCK, "CLOCK", TIMER_ORIGIN, ()),
    KindSpec(FEED_GAP, "FEED_GAP", FEED_STATE, (("code", 56),)),
    KindSpec(FEED_STALE, "FEED_STALE", FEED_STATE, (("code", 56),)),
    KindSpec(FEED_SWITCHED, "FEED_SWITCHED", FEED_STATE, (("code", 56),)),
    KindSpec(FEED_RECOVERED, "FEED_RECOVERED", FEED_STATE, (("code", 56),)),
    KindSpec(HALT, "HALT", OPERATOR, (("code", 56),)),
    KindSpec(REDUCE, "REDUCE", OPERATOR, (("code", 56),)),
    KindSpec(RESUME, "RESUME", OPERATOR, (("code", 56),)),
    KindSpec(FLATTEN, "FLATTEN", OPERATOR, (("code", 56),)),
    KindSpec(LIMIT_CHANGE, "LIMIT_CHANGE", OPERATOR, (("limit", 32), ("value", 40))),
    KindSpec(NOTE, "NOTE", OPERATOR, (("value", 40), ("code", 56))),
    KindSpec(ADJUSTMENT, "ADJUSTMENT", OPERATOR, *_TRADED),
    KindSpec(TRANSFER, "TRANSFER", OPERATOR, (("currency", 32), ("value", 40), ("code", 56))),  # value: 1e-8, signed
    # A request's venue_ns is its expiry at the venue (0: none), its sequence the deciding row's.
    KindSpec(NEW, "NEW", REQUEST, (*_PRICE_QTY, ("order_id", 48), ("trigger_price", 56))),
    KindSpec(AMEND, "AMEND", REQUEST, (*_PRICE_QTY, ("order_id", 48), ("decision", 56))),
    KindSpec(CANCEL, "CANCEL", REQUEST, (*_PRICE_QTY, ("order_id", 48), ("decision", 56))),
    # A commit's last row: rows before it in the commit, CRC32C over them and the previous seal's, both clocks.
    KindSpec(SEAL, "SEAL", ANNOTATION, (("rows", 32), ("checksum", 40), ("monotonic_ns", 48), ("wall_ns", 56))),
    # Of request number `request` (counted over the epoch): handed to the socket, or never to be.
    KindSpec(SENT, "SENT", ANNOTATION, (("egress_ns", 32), ("request", 40), ("order_id", 48), ("code", 56))),
    KindSpec(NOT_SENT, "NOT_SENT", ANNOTATION, (("request", 40), ("order_id", 48), ("code", 56))),
    KindSpec(VERDICT, "VERDICT", ANNOTATION, (("limit", 32), ("value", 40), ("rule", 48), ("code", 56))),
    KindSpec(
        CLOCK_MAP,
        "CLOCK_MAP",
        ANNOTATION,
        (("offset_ns", 32), ("error_ns", 40), ("monotonic_ns", 48), ("wall_ns", 56)),
    ),
    # After the fact of this sequence: rolling decision hash, hash of the whole state (0: not taken), decisions so far.
    KindSpec(HASH, "HASH", ANNOTATION, (("decision_hash", 32), ("state_hash", 40), ("decisions", 48))),
    KindSpec(RAW_FRAME, "RAW_FRAME", ANNOTATION, (("file", 32), ("offset", 40), ("size", 48))),
    KindSpec(ALERT, "ALERT", ANNOTATION, (("alert", 32), ("value", 40), ("code", 56))),
    KindSpec(ALERT_ACKNOWLEDGED, "ALERT_ACKNOWLEDGED", ANNOTATION, (("alert", 32), ("code", 56))),
    KindSpec(SWEPT, "SWEPT", ANNOTATION, (("trade_id", 48),)),
)


def _row_dtype() -> np.dtype[np.void]:
    fields = {name: (fmt, offset) for name, fmt, offset in HEADER}
    for kind in KINDS:
        for name, offset in (*kind.payload, *kind.tail):
            # A name stands for one offset in every kind, so that no reader has to ask which kind it looks at.
            assert fields.setdefault(name, ("<i8", offset)) == ("<i8", offset), f"{kind.name}.{name} at {offset}"
    return np.dtype(
        {
            "names": list(fields),
            "formats": [fmt for fmt, _ in fields.values()],
            "offsets": [offset for _, offset in fields.values()],
            "itemsize": ROW_SIZE,
        }
    )


ROW: Final = _row_dtype()
assert ROW.itemsize == ROW_SIZE

KIND_NAME: Final = {kind.code: kind.name for kind in KINDS}
KIND_CODE: Final = {kind.name: kind.code for kind in KINDS}
ORIGIN: Final = {kind.code: kind.origin for kind in KINDS}
assert len(KIND_NAME) == len(KINDS)
assert len(KIND_CODE) == len(KINDS)
