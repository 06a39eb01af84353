"""Market data gone wrong: what a message becomes on its way to a connection while a fault of the data is armed.

The book behind it stays as it is; only what is told of it is lost, doubled, late or false.
"""

from decimal import Decimal
from typing import Any, Final

from twinloop.engine.exchange.decimals import encode
from twinloop.engine.exchange.faults import Faults

HOUR_MS: Final = 3_600_000
OFFSET: Final = Decimal("1.01")
HUGE_SIZE: Final = 4 << 20
NUMBERS: Final = ("NaN", "inf", "1e308", "-0", "-1.00", "0", "nan", "1,000.00")
SHAPES: Final = ("cut", "missing", "null", "type", "double", "huge number", "unknown event", "list")
_TIMES: Final = ("E", "T")
# The field of each event that bad_number and bad_json go for.
_FIELD: Final = {"depthUpdate": "u", "trade": "p", "aggTrade": "p", "markPriceUpdate": "p", "kline": "k"}


class Distortion:
    """The faults of one market's data."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._last: dict[str, str] = {}
        self._held: dict[str, str] = {}
        self._stuck: dict[str, int] = {}
        self._turns = {"bad_number": 0, "bad_json": 0}

    def texts(self, stream: str, document: dict[str, Any], ask: str) -> list[str]:
        """What is sent for a message: none, one or more texts, in this order. ask: the best one, to cross the book with."""
        faults = self._faults
        if faults.take("silence"):
            return []
        depth = document.get("e") == "depthUpdate"
        if depth and faults.take("lose_update"):
            return []
        self._false(document, ask)
        raw = self._broken(document)
        sent = [raw]
        if faults.take("unknown_symbol"):
            sent.append(encode(document | {"s": "NOSUCHUSDT"}))
        if depth:
            sent += self._out_of_order(stream, raw)
            if sent[-1] is _NOTHING:
                return []
        return sent

    def _false(self, document: dict[str, Any], ask: str) -> None:
        """Wrong prices and times, in place."""
        faults, event = self._faults, document.get("e")
        quote = "B" in document and "A" in document
        if faults.on("cross_book") and ask and (event == "depthUpdate" or quote) and faults.take("cross_book"):
            above = str(Decimal(ask) * 2 - Decimal(ask) * Decimal("0.999")).rstrip("0")
            above = str(Decimal(above).quantize(Decimal(ask)))
            if quote:
                document["b"] = above
            else:
                document["b"] = [*document["b"], [above, "1"]]
        if faults.take("offset_prices"):
            _scale(document, OFFSET)
        if (quote or event in {"trade", "aggTrade"}) and faults.take("fat_tick"):
            _scale(document, Decimal(10))
        if not faults.on("stuck_time"):
            self._stuck.clear()
        elif faults.take("stuck_time"):
            for name in _TIMES:
                if name in document:
                    document[name] = self._stuck.setdefault(name, document[name])
        for fault, shift_ms in (("time_back", -HOUR_MS), ("time_ahead", HOUR_MS)):
            if "E" in document and faults.take(fault):
                document |= {name: document[name] + shift_ms for name in _TIMES if name in document}

    def _broken(self, document: dict[str, Any]) -> str:
        """The message's text, perhaps one that no reader should accept."""
        faults = self._faults
        field = _FIELD.get(str(document.get("e")), "b")
        if faults.take("huge_frame"):
            raw = encode(document)
            return raw[:-1] + " " * (HUGE_SIZE - len(raw)) + "}"
        if faults.take("bad_number"):
            bad = NUMBERS[self._next("bad_number") % len(NUMBERS)]
            return encode(document | ({"b": [[bad, "1"]]} if document.get("e") == "depthUpdate" else {field: bad}))
        if faults.take("bad_json"):
            return _misshapen(document, field, SHAPES[self._next("bad_json") % len(SHAPES)])
        return encode(document)

    def _next(self, fault: str) -> int:
        self._turns[fault] += 1
        return self._turns[fault] - 1

    def _out_of_order(self, stream: str, raw: str) -> list[str]:
        """What follows a depth update; _NOTHING where it is held back itself."""
        faults = self._faults
        held = self._held.pop(stream, None)
        last, self._last[stream] = self._last.get(stream), raw
        if held is not None:
            return [held]
        if faults.take("swap_updates"):
            self._held[stream] = raw
            return [_NOTHING]
        if faults.take("double_update"):
            return [raw]
        return [last] if last is not None and faults.take("old_update") else []


_NOTHING: Final = "\0"


def scaled(price: str, by: Decimal) -> str:
    """A price times a factor, with the places it had."""
    return str((Decimal(price) * by).quantize(Decimal(price)))


def _scale(document: dict[str, Any], by: Decimal) -> None:
    """Multiply every price of a message."""
    for name in ("p", "b", "a", "i", "P"):
        value = document.get(name)
        if isinstance(value, str):
            document[name] = scaled(value, by)
        elif isinstance(value, list):
            document[name] = [[scaled(price, by), qty] for price, qty in value]


def offset(answer: Any) -> Any:
    """An answer about the market with every price one per cent too high, as the streams then have them."""
    if isinstance(answer, list):
        return [offset(each) for each in answer]
    if not isinstance(answer, dict):
        return answer
    found = dict(answer)
    for name, value in answer.items():
        if name in {"bids", "asks"}:
            found[name] = [[scaled(price, OFFSET), qty] for price, qty in value]
        elif name in {"price", "bidPrice", "askPrice", "markPrice", "indexPrice"}:
            found[name] = scaled(value, OFFSET)
    return found


def _misshapen(document: dict[str, Any], field: str, how: str) -> str:
    """A message that is not what was agreed."""
    raw = encode(document)
    match how:
        case "cut":
            return raw[: len(raw) // 2]
        case "missing":
            return encode({name: value for name, value in document.items() if name != field})
        case "null":
            return encode(document | {field: None})
        case "type":
            return encode(document | {field: {"what": [1]}})
        case "double":
            return f'{raw[:-1]},"{field}":"1"}}'
        case "huge number":
            return f'{raw[:-1]},"E":{"9" * 400}}}'
        case "unknown event":
            return encode(document | {"e": "somethingNew"})
    return f"[{raw}]"
