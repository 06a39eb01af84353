"""A venue's past trades, asked for by REST, to rows: its last single ones, and older ones put together by price and moment. Sans-I/O.

    PastTrades("binance-usdm", instrument, slot).recent(body of GET .recent_path(), now)
    await trades_after(get, past, after_id, after_ns, now)      # all that a stream did not tell, oldest first

The stream's ids are those of single trades. A venue gives a thousand of those at once; what is older comes aggregated, each with the ids of
its first and last trade, so that nothing is counted twice at the seams. Nothing here reads a clock or a socket.
"""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any, Final, NamedTuple

import msgspec
import numpy as np
import numpy.typing as npt

from twinloop.data.binance_scan_py import BadLineError, scaled
from twinloop.data.errors import DecodeError
from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import Rows, join_rows, pick
from twinloop.kernels import rows as table

PAGE: Final = 1000  # Trades in one answer: the venue's most.
PAGES_MAX: Final = 20  # Of older ones; 400 of USD-M's weight of 2,400 a minute.
_RECENT: Final = {
    "binance-spot": "/api/v3/trades",
    "binance-usdm": "/fapi/v1/trades",
    "binance-coinm": "/dapi/v1/trades",
}
_AGGREGATED: Final = {
    "binance-spot": "/api/v3/aggTrades",
    "binance-usdm": "/fapi/v1/aggTrades",
    "binance-coinm": "/dapi/v1/aggTrades",
}
Identity = Annotated[int, msgspec.Meta(gt=0, lt=10**18)]
Milliseconds = Annotated[int, msgspec.Meta(gt=0, lt=9 * 10**12)]
Ids = npt.NDArray[np.int64]


class _Single(msgspec.Struct):
    id: Identity
    price: str
    qty: str
    time: Milliseconds
    isBuyerMaker: bool  # noqa: N815 - the venue's name


class _Aggregated(msgspec.Struct):
    a: Identity
    p: str
    q: str
    T: Milliseconds
    m: bool
    f: int = 0
    l: int = 0  # noqa: E741 - the venue's name


_SINGLES: Final = msgspec.json.Decoder(list[_Single])
_AGGREGATES: Final = msgspec.json.Decoder(list[_Aggregated])


class Aggregates(NamedTuple):
    """rows: with the aggregates' own ids, rising. first, last: ids of the single trades that each is made of."""

    rows: Rows
    first: Ids
    last: Ids


class PastTrades:
    """Of one instrument. slot: of it in the node. aggregated: the stream's prints are, and so is all that is told of those it did not tell."""

    def __init__(
        self, venue: str, instrument: Instrument, slot: int, source: int = 0, *, aggregated: bool = False
    ) -> None:
        self.instrument = instrument
        self.tells_aggregated = aggregated
        self._venue, self._slot, self._source = venue, slot, source

    def recent_path(self, limit: int = PAGE) -> str:
        """Where the last single trades are."""
        return f"{_RECENT[self._venue]}?symbol={self.instrument.symbol}&limit={limit}"

    def aggregated_path(self, *, from_id: int = 0, start_ms: int = 0) -> str:
        """Where aggregated ones are: from an id of theirs or a time on; the last ones without either."""
        start = f"&fromId={from_id}" if from_id else (f"&startTime={start_ms}" if start_ms else "")
        return f"{_AGGREGATED[self._venue]}?symbol={self.instrument.symbol}&limit={PAGE}{start}"

    def recent(self, body: bytes, local_ns: int) -> Rows:
        """Rows of single trades by id, at a local time. DecodeError for an answer of which any part cannot be read."""
        found = self._read(_SINGLES, body)
        found.sort(key=lambda each: each.id)
        return self._rows([(each.id, each.time, each.price, each.qty, each.isBuyerMaker) for each in found], local_ns)

    def aggregated(self, body: bytes) -> Aggregates:
        """Aggregated trades by id, at the venue's own times. DecodeError as above."""
        found = self._read(_AGGREGATES, body)
        found.sort(key=lambda each: each.a)
        rows = self._rows([(each.a, each.T, each.p, each.q, each.m) for each in found], 0)
        rows["local_ns"] = rows["venue_ns"]
        first, last = np.array([(each.f, each.l) for each in found], np.int64).reshape(-1, 2).T
        return Aggregates(rows, first, last)

    @staticmethod
    def by_last(found: Aggregates, wanted: npt.NDArray[np.bool_]) -> Rows:
        """Aggregated trades as they stream: named by the last of their trades."""
        rows = pick(found.rows, wanted)
        rows["trade_id"] = found.last[wanted]
        return rows

    def _read(self, decoder: "msgspec.json.Decoder[Any]", body: bytes) -> list[Any]:
        try:
            found: list[Any] = decoder.decode(body)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DecodeError("past trades that cannot be read", field=self.instrument.symbol, got=str(error)) from None
        return found

    def _rows(self, found: list[tuple[int, int, str, str, bool]], local_ns: int) -> Rows:
        rows = np.zeros(len(found), table.ROW)
        rows["kind"], rows["instrument"], rows["source"] = table.TRADE, self._slot, self._source
        rows["local_ns"] = local_ns
        try:
            for row, (number, time_ms, price, qty, maker) in zip(rows, found, strict=True):
                row["trade_id"] = row["sequence"] = number
                row["venue_ns"] = time_ms * 10**6
                row["price"] = scaled(price, self.instrument.price_scale)
                row["qty"] = scaled(qty, self.instrument.qty_scale)
                row["side"] = -1 if maker else 1
        except BadLineError as error:
            raise DecodeError("past trades that cannot be read", field=self.instrument.symbol, got=str(error)) from None
        if len(rows) and min(int(rows["price"].min()), int(rows["qty"].min())) <= 0:
            raise DecodeError(
                "past trades that cannot be read", field=self.instrument.symbol, expected="prices and quantities above 0", got="one that is not"
            )  # fmt: skip
        return rows


async def trades_after(
    get: Callable[[str], Awaitable[bytes]], past: PastTrades, after_id: int, after_ns: int, local_ns: int
) -> tuple[Rows, bool]:
    """(Trades after a single one, by its id and venue time; whether they are all). get: body of a GET of a path.

    Rows carry the id of a single trade, of an aggregated one its last. A venue whose ids begin anew is believed, by its clock.
    """
    if past.tells_aggregated:
        return await _aggregates_after(get, past, after_id, after_ns)
    recent = past.recent(await get(past.recent_path()), local_ns)
    recent = pick(recent, (recent["trade_id"] > after_id) | (recent["venue_ns"] > after_ns))
    if not len(recent) or len(recent) < PAGE:
        return recent, True
    first = int(recent["trade_id"][0])
    if first == after_id + 1:
        return recent, True
    older, from_id = list[Rows](), 0
    for _ in range(PAGES_MAX):
        path = past.aggregated_path(from_id=from_id, start_ms=0 if from_id else after_ns // 10**6)
        found = past.aggregated(await get(path))
        if not len(found.rows):
            return join_rows([*older, recent]), False
        rows = pick(found.rows, (found.first > after_id) & (found.last < first))
        rows["trade_id"] = rows["sequence"] = found.last[(found.first > after_id) & (found.last < first)]
        older.append(rows)
        if int(found.last[-1]) >= first - 1:
            return join_rows([*older, recent]), True
        from_id = int(found.rows["trade_id"][-1]) + 1
    return join_rows([*older, recent]), False


async def _aggregates_after(
    get: Callable[[str], Awaitable[bytes]], past: PastTrades, after_id: int, after_ns: int
) -> tuple[Rows, bool]:
    """The same where prints stream aggregated: those made of later trades only, so that what streams joins them without a seam."""
    told, from_id = list[Rows](), 0
    for _ in range(PAGES_MAX):
        path = past.aggregated_path(from_id=from_id, start_ms=0 if from_id else after_ns // 10**6)
        found = past.aggregated(await get(path))
        later = (found.first > after_id) | (found.rows["venue_ns"] > after_ns)
        told.append(past.by_last(found, later))
        if len(found.rows) < PAGE:
            return join_rows(told), True
        from_id = int(found.rows["trade_id"][-1]) + 1
    return join_rows(told), False
