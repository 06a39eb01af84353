"""Damaged recordings and archive files of Binance."""

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

import numpy as np
from damage import (
    ALL,
    ALL_BUT,
    AT,
    DONE,
    INCOMPLETE,
    RECORDS,
    START_MS,
    UNUSABLE,
    Damage,
    Reader,
    Rows,
    cut_gzip,
    instead,
    lift,
    moved,
    text,
    zipped,
)

from twinloop.kernels import rows as table

# Recorded streams. Depth updates are the records 0, 3, 7 and 10 (two levels each), quotes 2, 5 and 8; the others trade.
RAW: Final = (("spot", "BTCUSDT"), ("usdm", "BTCUSDT"), ("coinm", "BTCUSD_PERP"))
DEPTHS: Final = (0, 3, 7, 10)
QUOTES: Final = (2, 5, 8)
DEPTH, QUOTE = 7, 5


def raw(market: str, symbol: str) -> Reader:
    """Recorded lines of one market: every message 3 ms on its way, one every 10 ms."""
    futures = market != "spot"

    def line(number: int, shift_ms: int = 0) -> str:
        at = START_MS + 10 * number + shift_ms
        stream = symbol.lower()
        times = {"E": at, "T": at} if futures else {"E": at}
        if number in DEPTHS:
            place = DEPTHS.index(number)
            data: dict[str, Any] = {
                "e": "depthUpdate",
                **times,
                "s": symbol,
                "U": 101 + 10 * place,
                "u": 110 + 10 * place,
            }
            data |= {"pu": 100 + 10 * place} if futures else {}
            data |= {"b": [["57000.1", "3"]], "a": [["57000.2", "4"]]}
            stream += "@depth@0ms"
        elif number in QUOTES:
            data = {"e": "bookTicker"} | times if futures else {}
            data |= {"u": 1000 + number, "s": symbol, "b": "57000.1", "B": "3", "a": "57000.2", "A": "4"}
            stream += "@bookTicker"
        else:
            data = {"e": "trade", "E": at, "T": at, "s": symbol, "t": 500 + number, "p": "57000.1", "q": "2", "m": True}
            stream += "@trade"
        message = json.dumps({"stream": stream, "data": data}, separators=(",", ":"))
        return f"{(at + 3) * 1_000_000} {message}"

    lines = [line(number) for number in ALL]
    trade, depth, quote = lines[AT], lines[DEPTH], lines[QUOTE]
    stamp = trade.partition(" ")[0]
    venue_ms = f'"T":{START_MS + 10 * AT}'

    def of_trade(mutation: str, what: str, old: str, new: str, code: str) -> Damage:
        assert old in trade, (old, trade)
        spoiled = text(instead(lines, AT, trade.replace(old, new, 1)))
        return Damage(mutation, what, spoiled, 11, {code: 1}, DONE, ALL_BUT)

    def of_quote(mutation: str, what: str, old: str, new: str, code: str) -> Damage:
        assert old in quote, (old, quote)
        spoiled = text(instead(lines, QUOTE, quote.replace(old, new, 1)))
        return Damage(mutation, what, spoiled, 11, {code: 1}, DONE, [n for n in ALL if n != QUOTE])

    def of_depth(mutation: str, what: str, old: str, new: str, code: str) -> Damage:
        """The next depth update no longer continues the chain of ids: a gap row, so that no book is trusted."""
        assert old in depth, (old, depth)
        spoiled = text(instead(lines, DEPTH, depth.replace(old, new, 1)))

        def with_gap(groups: list[Rows]) -> list[Rows]:
            gap = np.zeros(1, table.ROW)
            for name in ("venue_ns", "local_ns"):
                gap[name] = groups[9][name][0]
            gap["kind"], gap["code"], gap["sequence"] = table.FEED_GAP, 1, 120
            return [*groups[:9], gap, *groups[9:]]

        return Damage(mutation, what, spoiled, 11, {code: 1}, DONE, [n for n in ALL if n != DEPTH], with_gap)

    def same(mutation: str, what: str, old: str, new: str) -> Damage:
        assert old in trade, (old, trade)
        return Damage(mutation, what, text(instead(lines, AT, trade.replace(old, new, 1))), 12, {}, DONE, ALL)

    behind = [*lines[:AT], line(1, -1_200_000), *lines[AT:]]
    seconds = [f"{each[:10]} {each.partition(' ')[2]}" for each in lines]
    damages = [
        Damage("truncated", "a line", text(instead(lines, AT, trade[:60])), 11, {"bad_json": 1}, DONE, ALL_BUT),
        Damage("truncated", "the last line", text(lines)[:-30], 11, {"bad_json": 1}, DONE, ALL[:11]),
        Damage("truncated", "a gzip stream behind a line", cut_gzip(text(lines[:9])), 9, {}, INCOMPLETE, ALL[:9], packed=True),
        Damage(
            "truncated", "a gzip stream inside a line", cut_gzip(text(lines[:9]) + lines[9][:60].encode()), 9,
            {"truncated_file": 1}, INCOMPLETE, ALL[:9], packed=True,
        ),
        Damage("reordered", "two lines", text(moved(lines, 7, 6)), 12, {}, DONE, moved(ALL, 7, 6), lift(6, 7)),
        Damage("reordered", "twenty minutes late", text(behind), 12, {"out_of_order": 1}, DONE, ALL),
        of_trade("nan", "price", '"p":"57000.1"', '"p":"NaN"', "bad_number"),
        of_trade("nan", "quantity, not in quotes", '"q":"2"', '"q":NaN', "bad_json"),
        of_quote("nan", "ask quantity", '"A":"4"', '"A":"nan"', "bad_number"),
        of_depth("nan", "level", '"3"', '"NaN"', "bad_number"),
        of_trade("negative", "price", '"57000.1"', '"-57000.1"', "bad_number"),
        of_trade("negative", "trade id", '"t":506', '"t":-506', "out_of_range"),
        of_quote("negative", "bid", '"57000.1"', '"-57000.1"', "bad_number"),
        of_depth("negative", "level quantity", '"4"', '"-4"', "bad_number"),
        of_trade("huge", "price of 30 digits", '"57000.1"', f'"{"9" * 30}"', "out_of_range"),
        of_trade("huge", "quantity with an exponent", '"q":"2"', '"q":"1e30"', "bad_number"),
        of_trade("huge", "venue time", venue_ms, f'"T":{"9" * 19}', "out_of_range"),
        of_quote("huge", "bid quantity", '"B":"3"', f'"B":"{"9" * 19}"', "out_of_range"),
        of_depth("huge", "level price", '"57000.2"', f'"{"9" * 30}"', "out_of_range"),
        of_trade("wrong unit", "receive time in seconds", stamp, stamp[:10], "bad_receive_time"),
        of_trade("wrong unit", "venue time in seconds", venue_ms, venue_ms[:-3], "time_disagrees"),
        of_trade("wrong unit", "price in another scale", '"57000.1"', '"57000.1234567"', "too_many_decimals"),
        same("wrong unit", "receive time in microseconds, told by its digits", stamp, stamp[:16]),
        same("wrong unit", "venue time in microseconds, told by its size", venue_ms, venue_ms + "000"),
        Damage("wrong unit", "every receive time in seconds", text(seconds), exit_code=UNUSABLE),
    ]  # fmt: skip
    widths = [2 if number in DEPTHS else 1 for number in ALL]
    flags = ("--instrument", f"binance-{market}:{symbol}", "--format", "binance-raw")
    return Reader(f"binance-raw {market}", "recorded.txt", text(lines), widths, flags, damages)


# Archive files: price, quantity and time columns by kind.
ARCHIVES: Final = {
    "trades": (1, 2, (4,)),
    "aggTrades": (1, 2, (5,)),
    "bookTicker": (1, 2, (5, 6)),
    "klines": (1, 5, (0, 6)),
}


def archive(kind: str) -> Reader:
    """Archive lines of one kind: ticks every 10 ms, bars of a minute."""
    price, qty, times = ARCHIVES[kind]

    def line(number: int, shift_ms: int = 0) -> str:
        at = START_MS + 10 * number + shift_ms
        if kind == "trades":
            return f"{900 + number},57000.1,0.002,114.0,{at},true"
        if kind == "aggTrades":
            return f"{900 + number},57000.1,0.002,{2000 + number},{2000 + number},{at},false"
        if kind == "bookTicker":
            return f"{900 + number},57000.1,0.003,57000.2,0.004,{at},{at}"
        opens = START_MS - START_MS % 60_000 + 60_000 * number + shift_ms
        return f"{opens},57000.1,57000.9,56999.1,57000.3,7.5,{opens + 59_999},427500.12,31,3.5,199500.5,0"

    lines = [line(number) for number in ALL]

    def changed(mutation: str, what: str, columns: Sequence[int], edit: Callable[[str], str], code: str) -> Damage:
        fields = lines[AT].split(",")
        for column in columns:
            fields[column] = edit(fields[column])
        spoiled = text(instead(lines, AT, ",".join(fields)))
        if not code:
            return Damage(mutation, what, spoiled, 12, {}, DONE, ALL)
        return Damage(mutation, what, spoiled, 11, {code: 1}, DONE, ALL_BUT)

    seconds = [
        [column[:10] if place in times else column for place, column in enumerate(each.split(","))] for each in lines
    ]
    before = [*lines[:AT], line(1, -7_200_000), *lines[AT:]]
    swapped = Damage(
        "reordered", "two lines 10 ms apart", text(moved(lines, 7, 6)), 12, {}, DONE, moved(ALL, 7, 6), lift(6, 7)
    )
    if kind == "klines":
        swapped = Damage(
            "reordered", "a bar five places late", text(moved(lines, 4, 9)), 11, {"out_of_order": 1}, DONE,
            [number for number in ALL if number != 4],
        )  # fmt: skip
    damages = [
        Damage("truncated", "a line", text(instead(lines, AT, "906,57000.1,0.0")), 11, {"truncated": 1}, DONE, ALL_BUT),
        Damage("truncated", "the last line", text([*lines[:11], "911,57"], last=""), 11, {"truncated": 1}, DONE, ALL[:11]),
        Damage("truncated", "a gzip stream behind a line", cut_gzip(text(lines[:9])), 9, {}, INCOMPLETE, ALL[:9], packed=True),
        Damage(
            "truncated", "a gzip stream inside the last field", cut_gzip(text(lines[:10])[:-2]), 9, {"truncated": 1}, INCOMPLETE,
            ALL[:9], packed=True,
        ),
        Damage("truncated", "a zip archive", zipped(text(lines))[:-30], exit_code=UNUSABLE),
        swapped,
        Damage("reordered", "two hours late", text(before), 12, {"out_of_order": 1}, DONE, ALL),
        changed("nan", "price", [price], lambda _: "NaN", "nan"),
        changed("nan", "empty quantity", [qty], lambda _: "", "missing"),
        changed("nan", "time", times, lambda _: "nan", "nan"),
        changed("negative", "price", [price], lambda value: f"-{value}", "negative"),
        changed("negative", "quantity", [qty], lambda value: f"-{value}", "negative"),
        changed("negative", "time", times, lambda value: f"-{value}", "negative"),
        changed("huge", "price of 30 digits", [price], lambda _: "9" * 30, "too_large"),
        changed("huge", "quantity of 30 digits", [qty], lambda _: "9" * 30, "too_large"),
        changed("huge", "time of 18 digits", times, lambda _: "9" * 18, "time_out_of_range"),
        changed("wrong unit", "time in seconds", times, lambda value: value[:10], "time_out_of_range"),
        changed("wrong unit", "time in nanoseconds", times, lambda value: f"{value}000000", "time_out_of_range"),
        changed("wrong unit", "time in microseconds, told by its size", times, micro(kind), ""),
        Damage("wrong unit", "every time in seconds", text([",".join(each) for each in seconds]), exit_code=UNUSABLE),
    ]  # fmt: skip
    name = f"BTCUSDT-{'1m' if kind == 'klines' else kind}-2024-08-08.csv"
    flags = ("--instrument", "binance-usdm:BTCUSDT", "--kind", kind, "--format", "binance-archive")
    return Reader(f"binance-archive {kind}", name, text(lines), [1 + (kind == "klines")] * RECORDS, flags, damages)


def micro(kind: str) -> Callable[[str], str]:
    """A time in microseconds; a bar's end is the last microsecond in it."""
    return lambda value: f"{value}{'999' if kind == 'klines' and value.endswith('999') else '000'}"
