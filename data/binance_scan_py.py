"""Python twin of the compiled Binance scanner: one recorded line to rows, plainly and completely.

It defines what a line means. The compiled scanner reads the usual shapes of the same lines quickly and hands everything
else to this decoder, which works on the same state. It must stay simple rather than fast, and never touch a file.
"""

import json
import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from twinloop.data import binance_codes as codes
from twinloop.kernels import rows

SLOT: Final = codes.SLOTS
_DECIMAL: Final = re.compile(r"([0-9]+)(?:\.([0-9]+))?")
_SIGNED_DECIMAL: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?")
STREAM_SYMBOL: Final = re.compile(rb'\{"stream":"([a-z0-9_]+)@')
_RECEIVE_UNIT_NS: Final = {13: 1_000_000, 16: 1000, 19: 1}
# Venue times are milliseconds below, microseconds above the middle; both end before their nanoseconds leave int64.
_MS_MAX: Final = 9 * 10**12
_US_MIN: Final = 10**14
_US_MAX: Final = 9 * 10**15
_MS_NS: Final = 1_000_000
_US_NS: Final = 1000
_ID_MAX: Final = 10**18
_NUMBER_CHARS_MAX: Final = 64
_KNOWN_KEYS: Final = frozenset(
    "stream data e E T s symbol U u pu b a B A t l p q X m i r lastUpdateId bids asks".split()  # noqa: SIM905
)

Row = dict[str, int]


class BadLineError(Exception):
    """A line that gives no rows: its quarantine code and, for people, the reason."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code = code
        self.reason = reason


def scaled(text: Any, scale: int) -> int:
    """Scaled integer of an unsigned plain decimal; BadLineError otherwise."""
    value, rounded = _scaled(text, scale, _DECIMAL)
    if rounded:
        raise BadLineError(codes.TOO_MANY_DECIMALS, f"expected at most {scale} decimals, got {text}")
    return value


def scaled_rounded(text: Any, scale: int) -> tuple[int, bool]:
    """Nearest scaled integer of a plain decimal with optional minus, half to even, and whether digits were lost."""
    return _scaled(text, scale, _SIGNED_DECIMAL)


def _scaled(text: Any, scale: int, grammar: re.Pattern[str]) -> tuple[int, bool]:
    match = grammar.fullmatch(text) if isinstance(text, str) and len(text) <= _NUMBER_CHARS_MAX else None
    if match is None:
        raise BadLineError(codes.BAD_NUMBER, f"expected a plain decimal in quotes, got {text!r:.40}")
    whole, fraction = match[match.re.groups - 1], match[match.re.groups] or ""
    value = int(whole + fraction[:scale].ljust(scale, "0"))
    lost = fraction[scale:].rstrip("0")
    if lost and (lost > "5" or (lost == "5" and value % 2 == 1)):
        value += 1
    if value > codes.VALUE_MAX:
        raise BadLineError(codes.OUT_OF_RANGE, f"expected at most 18 digits at scale {scale}, got {text:.40}")
    return (-value if text.startswith("-") else value), bool(lost)


def _no_repeated_key(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = [name for name in _KNOWN_KEYS if names.count(name) > 1]
        if repeated:
            raise BadLineError(codes.DUPLICATE_KEY, f"key {min(repeated)} twice in one object")
    return found


def parse(text: bytes) -> Any:
    """JSON of a line. The pairs hook needs the standard parser; NaN and Infinity are not JSON."""

    def constant(name: str) -> Any:
        raise BadLineError(codes.BAD_JSON, f"{name} is not JSON")

    try:
        return json.loads(text.decode("utf-8"), object_pairs_hook=_no_repeated_key, parse_constant=constant)
    except UnicodeDecodeError:
        raise BadLineError(codes.BAD_JSON, "not UTF-8") from None
    except (ValueError, RecursionError) as error:
        raise BadLineError(codes.BAD_JSON, str(error)[:120]) from None


class LineDecoder:
    """Decodes lines one by one.

    symbol: as the venue writes it in `s`. price_scale, qty_scale: decimals of the integers. futures: whether depth updates
    carry `pu`. clock_offset_ns: added to every receive time. assumed_latency_ns: receive time minus venue time of lines
    without venue time; -1 leaves their venue_ns at 0. state: (STATE_SIZE,) int64, changed in place. aggregate: whether prints are
    those of aggTrade; the others are then of no interest, since both tell of the same trades.
    """

    def __init__(
        self,
        symbol: str,
        price_scale: int,
        qty_scale: int,
        *,
        futures: bool,
        clock_offset_ns: int,
        assumed_latency_ns: int,
        instrument_slot: int,
        source: int,
        state: npt.NDArray[np.int64],
        aggregate: bool = False,
    ) -> None:
        self.symbol = symbol
        self.stream_symbol = symbol.lower().encode()
        self.price_scale = price_scale
        self.qty_scale = qty_scale
        self.futures = futures
        self.clock_offset_ns = clock_offset_ns
        self.assumed_latency_ns = assumed_latency_ns
        self.instrument_slot = instrument_slot
        self.source = source
        self.state = state
        self.aggregate = aggregate

    def decode(self, line: bytes) -> npt.NDArray[np.void]:
        """Rows of one line without its line feed; none for a control line. Raises BadLineError; every line is counted."""
        return self._counted(lambda: self._decode(line.removesuffix(b"\r")))

    def decode_text(self, text: bytes, local_ns: int) -> npt.NDArray[np.void]:
        """The same for a text without a receive time: a live frame, or a snapshot's body."""
        return self._counted(lambda: self._text(text, local_ns))

    def _counted(self, decode: Callable[[], list[Row] | str]) -> npt.NDArray[np.void]:
        self._count("LINES")
        try:
            found = decode()
        except BadLineError:
            self._count("QUARANTINED")
            raise
        if isinstance(found, str):
            self._count(found)
            return np.empty(0, rows.ROW)
        self._count("KEPT")
        decoded = np.zeros(len(found), rows.ROW)
        for row, fields in zip(decoded, found, strict=True):
            row["instrument"] = self.instrument_slot
            row["source"] = self.source
            for name, value in fields.items():
                row[name] = value
        return decoded

    def _count(self, name: str, amount: int = 1) -> None:
        self.state[SLOT[name]] += amount

    def _get(self, name: str) -> int:
        return int(self.state[SLOT[name]])

    def _set(self, name: str, value: int) -> None:
        self.state[SLOT[name]] = value

    def _decode(self, line: bytes) -> list[Row] | str:
        """Rows, or the name of a control."""
        if not line:
            return "BLANK"
        digits, space, text = line.partition(b" ")
        unit_ns = _RECEIVE_UNIT_NS.get(len(digits))
        local_ns = int(digits) * unit_ns if unit_ns and digits.isdigit() else 0
        if not space or not 0 < local_ns < 9 * 10**18:
            raise BadLineError(codes.BAD_RECEIVE_TIME, f"expected 13, 16 or 19 digits and a space, got {line[:24]!r}")
        return self._text(text, local_ns)

    def _text(self, text: bytes, local_ns: int) -> list[Row] | str:
        last_seen = self._get("LAST_SEEN")
        self._set("LAST_SEEN", local_ns)
        stream = STREAM_SYMBOL.match(text)
        if stream and stream[1] != self.stream_symbol:
            return "OTHER_SYMBOL"
        message = parse(text)
        if not isinstance(message, dict):
            raise BadLineError(codes.UNEXPECTED_SHAPE, "expected a JSON object")
        wrapped = "stream" in message
        data = message.get("data") if wrapped else message
        if not isinstance(data, dict):
            raise BadLineError(codes.UNEXPECTED_SHAPE, "expected an object under data")
        return self._message(data, wrapped, local_ns, last_seen)

    def _message(self, data: dict[str, Any], wrapped: bool, local_ns: int, last_seen: int) -> list[Row] | str:
        event = data.get("e")
        name = data.get("s", data.get("symbol"))
        if event is None and "lastUpdateId" in data:
            if wrapped:
                return "OTHER_EVENT"  # A partial book stream: the few best levels, not a snapshot.
            if name is not None and name != self.symbol:
                return "OTHER_SYMBOL"
            return self._snapshot(data, local_ns, last_seen)
        if event is None and "id" in data and not wrapped and ("result" in data or "error" in data):
            return "ANSWER"
        if event is None and {"u", "b", "B", "a", "A"} <= data.keys():
            event = "bookTicker"
        if not isinstance(event, str):
            raise BadLineError(codes.UNEXPECTED_SHAPE, "expected an event type under e")
        readers = {
            "depthUpdate": self._depth,
            "bookTicker": self._quote,
            "aggTrade" if self.aggregate else "trade": self._trade,
            "markPriceUpdate": self._mark,
        }
        if event not in readers:
            return "OTHER_EVENT"
        if not isinstance(name, str):
            raise BadLineError(codes.UNEXPECTED_SHAPE, "expected a symbol under s")
        if name != self.symbol:
            return "OTHER_SYMBOL"
        return readers[event](data, local_ns, last_seen)

    @staticmethod
    def _integer(data: dict[str, Any], key: str) -> int:
        value = data.get(key)
        if type(value) is not int:
            raise BadLineError(codes.UNEXPECTED_SHAPE, f"expected an integer under {key}, got {value!r:.40}")
        if not 0 <= value < _ID_MAX:
            raise BadLineError(codes.OUT_OF_RANGE, f"{key} is {value}")
        return value

    def _time(self, data: dict[str, Any], *keys: str) -> int:
        """Nanoseconds of the first of the keys that is there."""
        for key in keys:
            if key in data:
                value = self._integer(data, key)
                if 0 < value < _MS_MAX:
                    return value * _MS_NS
                if _US_MIN <= value < _US_MAX:
                    return value * _US_NS
                raise BadLineError(codes.OUT_OF_RANGE, f"{key} is {value}")
        raise BadLineError(codes.UNEXPECTED_SHAPE, f"expected a time under {' or '.join(keys)}")

    def _check_order(self, local_ns: int) -> None:
        last = self._get("LAST_LOCAL")
        if last - local_ns > codes.TIME_TOLERANCE_NS:
            raise BadLineError(codes.OUT_OF_ORDER, f"received at {local_ns}, a line above it at {last}")

    def _check_time(self, local_ns: int, venue_ns: int) -> None:
        if abs(local_ns - venue_ns) > codes.TIME_TOLERANCE_NS:
            raise BadLineError(codes.TIME_DISAGREES, f"received at {local_ns}, venue time {venue_ns}")
        self._check_order(local_ns)

    def _check_untimed(self, local_ns: int, last_seen: int) -> None:
        near = (last_seen, self._get("LAST_LOCAL"))
        if last_seen and min(abs(local_ns - other) for other in near) > codes.TIME_TOLERANCE_NS:
            raise BadLineError(codes.TIME_DISAGREES, f"received at {local_ns}, the lines before at {last_seen}")
        self._check_order(local_ns)

    def _header(self, kind: str, local_ns: int, venue_ns: int, sequence: int) -> Row:
        """Header fields of a kept line's rows; from here on the line can no longer fail."""
        if local_ns < self._get("LAST_LOCAL"):
            # A clock that was set back a little is lifted, so that receive order stays time order.
            self._count("LOCAL_BACK")
            local_ns = self._get("LAST_LOCAL")
        self._set("LAST_LOCAL", local_ns)
        self._count(kind)
        local_ns += self.clock_offset_ns
        if venue_ns == 0:
            self._count("UNTIMED")
            venue_ns = local_ns - self.assumed_latency_ns if self.assumed_latency_ns >= 0 else 0
        return {"venue_ns": venue_ns, "local_ns": local_ns, "sequence": sequence}

    def _levels(self, data: dict[str, Any], key: str, side: int) -> list[Row]:
        found = data.get(key)
        if not isinstance(found, list):
            raise BadLineError(codes.UNEXPECTED_SHAPE, f"expected a list of levels under {key}")
        levels = []
        for level in found:
            if not isinstance(level, list) or len(level) != 2:
                raise BadLineError(codes.UNEXPECTED_SHAPE, f"expected [price, quantity] under {key}")
            price, qty = scaled(level[0], self.price_scale), scaled(level[1], self.qty_scale)
            if price == 0:
                raise BadLineError(codes.OUT_OF_RANGE, f"price 0 under {key}")
            levels.append({"side": side, "price": price, "qty": qty})
        return levels

    def _both_sides(self, data: dict[str, Any], bids: str, asks: str) -> list[Row]:
        """Levels of both sides in the order of the message."""
        sides = {bids: self._levels(data, bids, 1), asks: self._levels(data, asks, -1)}
        return [level for key in data if key in sides for level in sides[key]]

    def _depth(self, data: dict[str, Any], local_ns: int, _: int) -> list[Row] | str:
        first, final = self._integer(data, "U"), self._integer(data, "u")
        if ("pu" in data) != self.futures or final == 0 or first > final:
            raise BadLineError(codes.UNEXPECTED_SHAPE, "expected update ids U <= u, and pu on futures only")
        previous = self._integer(data, "pu") if self.futures else first - 1
        venue_ns = self._time(data, "T", "E")
        self._time(data, "E")
        self._check_time(local_ns, venue_ns)
        levels = self._both_sides(data, "b", "a")
        last, snapshot = self._get("LAST_UPDATE"), self._get("SNAPSHOT_ID")
        if final == last:
            return "DUPLICATE"
        bridged = snapshot >= last and first <= snapshot + 1 and final >= snapshot
        linked = previous == last or (bridged if snapshot else last == 0)
        self._set("LAST_UPDATE", final)
        if last == 0 or not linked:
            self._set("FIRST_UPDATE", first)
        if not linked:
            self._count("DEPTH_GAPS")
        if not levels and linked:
            return "EMPTY"
        header = self._header("DEPTH", local_ns, venue_ns, final)
        found = [header | {"kind": rows.LEVEL, "update_id": final} | level for level in levels]
        if found:
            found[-1]["flags"] = rows.FLAG_EVENT_END
        if not linked:
            found.insert(0, header | {"kind": rows.FEED_GAP, "sequence": last, "code": codes.GAP_UPDATE_IDS})
        return found

    def _snapshot(self, data: dict[str, Any], local_ns: int, last_seen: int) -> list[Row]:
        update_id = self._integer(data, "lastUpdateId")
        if update_id == 0:
            raise BadLineError(codes.OUT_OF_RANGE, "lastUpdateId is 0")
        venue_ns = self._time(data, "T", "E") if data.keys() & {"T", "E"} else 0
        if "E" in data:
            self._time(data, "E")
        if venue_ns:
            self._check_time(local_ns, venue_ns)
        else:
            self._check_untimed(local_ns, last_seen)
        levels = self._both_sides(data, "bids", "asks")
        self._set("SNAPSHOT_ID", update_id)
        old = self._get("LAST_UPDATE") > 0 and update_id + 1 < self._get("FIRST_UPDATE")
        header = self._header("SNAPSHOT", local_ns, venue_ns, update_id)
        found = [header | {"kind": rows.SNAPSHOT_LEVEL, "update_id": update_id} | level for level in levels]
        found.insert(0, header | {"kind": rows.SNAPSHOT_BEGIN, "update_id": update_id})
        found.append(header | {"kind": rows.SNAPSHOT_END, "update_id": update_id})
        if old:
            self._count("DEPTH_GAPS")
            found.append(header | {"kind": rows.FEED_GAP, "code": codes.GAP_SNAPSHOT_OLD})
        return found

    def _quote(self, data: dict[str, Any], local_ns: int, last_seen: int) -> list[Row] | str:
        update_id = self._integer(data, "u")
        venue_ns = self._time(data, "T", "E") if data.keys() & {"T", "E"} else 0
        if "E" in data:
            self._time(data, "E")
        if venue_ns:
            self._check_time(local_ns, venue_ns)
        else:
            self._check_untimed(local_ns, last_seen)
        bid, bid_qty = scaled(data.get("b"), self.price_scale), scaled(data.get("B"), self.qty_scale)
        ask, ask_qty = scaled(data.get("a"), self.price_scale), scaled(data.get("A"), self.qty_scale)
        if (bid == 0 and bid_qty > 0) or (ask == 0 and ask_qty > 0):
            raise BadLineError(codes.OUT_OF_RANGE, "quantity at price 0")
        last = self._get("LAST_QUOTE")
        if update_id == last and last > 0:
            return "DUPLICATE"
        if update_id < last:
            self._count("QUOTES_BACK")
        self._set("LAST_QUOTE", update_id)
        if bid >= ask > 0:
            self._count("CROSSED")
        header = self._header("QUOTE", local_ns, venue_ns, update_id)
        return [header | {"kind": rows.QUOTE, "bid": bid, "bid_qty": bid_qty, "ask": ask, "ask_qty": ask_qty}]

    def _trade(self, data: dict[str, Any], local_ns: int, _: int) -> list[Row] | str:
        trade_id = self._integer(data, "a" if self.aggregate else "t")
        last_trade = self._integer(data, "l") if self.aggregate else trade_id
        venue_ns = self._time(data, "T", "E")
        self._time(data, "E")
        self._check_time(local_ns, venue_ns)
        price, qty = scaled(data.get("p"), self.price_scale), scaled(data.get("q"), self.qty_scale)
        buyer_made, origin = data.get("m"), data.get("X", "MARKET")
        if not isinstance(buyer_made, bool) or not isinstance(origin, str):
            raise BadLineError(codes.UNEXPECTED_SHAPE, "expected true or false under m, a name under X")
        off_market = origin != "MARKET"
        if not off_market and (price == 0 or qty == 0):
            raise BadLineError(codes.OUT_OF_RANGE, "a market trade of nothing or at price 0")
        last = self._get("LAST_TRADE")
        if trade_id == last and last > 0:
            return "DUPLICATE"
        if trade_id < last:
            self._count("TRADES_BACK")
        elif last and trade_id > last + 1:
            self._count("TRADE_GAPS")
        self._set("LAST_TRADE", trade_id)
        fields = {"price": price, "qty": qty, "trade_id": last_trade, "side": -1 if buyer_made else 1}
        flags = rows.FLAG_OFF_MARKET if off_market else 0
        return [self._header("TRADE", local_ns, venue_ns, trade_id) | {"kind": rows.TRADE, "flags": flags} | fields]

    def _mark(self, data: dict[str, Any], local_ns: int, _: int) -> list[Row]:
        venue_ns = self._time(data, "E")
        self._check_time(local_ns, venue_ns)
        price, rounded = scaled_rounded(data.get("p"), self.price_scale)
        index_price, index_rounded = scaled_rounded(data.get("i", "0"), self.price_scale)
        rate, rate_rounded = scaled_rounded(data.get("r", "0") or "0", codes.RATE_SCALE)
        if price <= 0 or index_price < 0:
            raise BadLineError(codes.OUT_OF_RANGE, f"mark price {price}, index price {index_price}")
        funding_ns = self._time(data, "T") if data.get("T", 0) != 0 else 0
        self._count("ROUNDED", int(rounded or index_rounded or rate_rounded))
        header = self._header("MARK", local_ns, venue_ns, 0)
        found = [header | {"kind": rows.MARK, "price": price, "index_price": index_price}]
        due = self._get("FUNDING_TIME")
        if 0 < due < funding_ns and due <= venue_ns:
            # The next funding time moved on: what the last message before announced has been settled.
            settled = {"price": self._get("FUNDING_MARK"), "rate": self._get("FUNDING_RATE"), "venue_ns": due}
            found.insert(0, header | {"kind": rows.FUNDING} | settled)
        self._set("FUNDING_TIME", funding_ns)
        self._set("FUNDING_RATE", rate)
        self._set("FUNDING_MARK", price)
        return found
