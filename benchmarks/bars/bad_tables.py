"""Damaged tables of any vendor, CSV and Parquet, and damaged row files."""

import gzip
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import polars as pl
from damage import (
    ALL,
    ALL_BUT,
    AT,
    DONE,
    RECORDS,
    START_MS,
    UNUSABLE,
    Content,
    Damage,
    Reader,
    Rows,
    instead,
    moved,
    text,
)

from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import manifest_path, pick, write_rows
from twinloop.kernels import rows as table

# Generic tables: columns, a record, and the names of a price, a quantity and the prices that scale together.
TABLES: Final = {
    "bars": (("open", "high", "low", "close", "volume"), (100.2, 100.9, 99.1, 100.3, 7.5), ("open", "high", "low", "close"), "volume"),
    "trades": (("price", "qty"), (100.2, 0.5), ("price",), "qty"),
    "quotes": (("bid", "bid_qty", "ask", "ask_qty"), (100.1, 0.5, 100.2, 1.5), ("bid", "ask"), "bid_qty"),
}  # fmt: skip


def generic(kind: str, form: str) -> Reader:
    """A table of a minute's records: times in milliseconds, numbers with a decimal."""
    names, values, prices, qty = TABLES[kind]
    records: list[dict[str, Any]] = [
        {"time": START_MS + 60_000 * number} | dict(zip(names, values, strict=True)) for number in ALL
    ]

    def file(found: Sequence[dict[str, Any]]) -> Content:
        if form == "csv":
            return text([",".join(records[0]), *(",".join(str(value) for value in each.values()) for each in found)])
        types = {name: pl.Int64 if name == "time" else pl.Float64 for name in records[0]}
        return lambda path: pl.DataFrame(list(found), schema=types).write_parquet(path)

    def changed(mutation: str, what: str, fields: Sequence[str], edit: Callable[[Any], Any], code: str) -> Damage:
        wrong = records[AT] | {name: edit(records[AT][name]) for name in fields}
        spoiled = file([*records[:AT], wrong, *records[AT + 1 :]])
        return Damage(mutation, what, spoiled, 11, {code: 1}, DONE, ALL_BUT)

    late = moved(records, 4, 9)
    all_but_four = [number for number in ALL if number != 4]
    in_seconds = ("--set", "time_unit=s")
    damages = [
        Damage("reordered", "a record five places late", file(late), 11, {"out_of_order": 1}, DONE, all_but_four),
        Damage("reordered", "the same, to be sorted", file(late), 12, {}, DONE, ALL, arguments=("--set", "sort=true")),
        Damage("reordered", "newest first", file(records[::-1]), 12, {}, DONE, ALL),
        changed("nan", "price", prices[:1], lambda _: float("nan"), "nan"),
        changed("nan", "infinite quantity", [qty], lambda _: float("inf"), "nan"),
        changed("negative", "price", prices[:1], lambda value: -value, "negative"),
        changed("negative", "quantity", [qty], lambda value: -value, "negative"),
        changed("huge", "price", prices[:1], lambda _: 1e30, "too_large"),
        changed("huge", "quantity", [qty], lambda _: 1e30, "too_large"),
        changed("huge", "prices a thousand times their neighbours'", prices, lambda value: value * 1000, "outlier"),
        changed("huge", "time", ["time"], lambda _: 9 * 10**17, "time_out_of_range"),
        changed("wrong unit", "time in seconds", ["time"], lambda value: value // 1000, "time_out_of_range"),
        changed("wrong unit", "prices in cents", prices, lambda value: round(value * 100), "outlier"),
        Damage("wrong unit", "every time, by a setting", file(records), exit_code=UNUSABLE, arguments=in_seconds),
    ]
    if form == "csv":
        lines = file(records).decode().splitlines()  # type: ignore[union-attr]
        damages += [
            Damage("truncated", "a line", text(instead(lines, AT + 1, lines[AT + 1][:16])), 11, {"truncated": 1}, DONE, ALL_BUT),
            Damage("truncated", "the last line", text([*lines[:12], lines[12][:9]], last=""), 11, {"truncated": 1}, DONE, ALL[:11]),
            Damage("truncated", "a gzip stream", gzip.compress(text(lines))[:-30], exit_code=UNUSABLE, packed=True),
            changed("nan", "empty price", prices[:1], lambda _: "", "missing"),
            changed("nan", "time", ["time"], lambda _: "NaN", "bad_time"),
        ]  # fmt: skip
    else:

        def cut(path: Path) -> None:
            file(records)(path)  # type: ignore[operator]
            path.write_bytes(path.read_bytes()[:-20])

        damages += [
            Damage("truncated", "the file", cut, exit_code=UNUSABLE),
            changed("truncated", "a record without its price", prices[:1], lambda _: None, "missing"),
            changed("nan", "no time", ["time"], lambda _: None, "bad_time"),
        ]
    flags = ("--symbol", "X", "--kind", kind, "--format", form)
    return Reader(f"{form} {kind}", f"x.{form}", file(records), [1 + (kind == "bars")] * RECORDS, flags, damages)


def row_file() -> Reader:
    """A row file of trades. It is ours, written whole: a byte that is not the one written makes all of it unusable."""
    sound = np.zeros(RECORDS, table.ROW)
    sound["venue_ns"] = np.arange(RECORDS) * 10_000_000 + START_MS * 1_000_000
    sound["local_ns"] = sound["venue_ns"] + 3_000_000
    sound["kind"], sound["side"], sound["price"], sound["qty"] = table.TRADE, 1, 570_001, 2_000
    sound["sequence"] = sound["trade_id"] = np.arange(RECORDS) + 500
    instrument = Instrument.make(symbol="X", venue="synthetic", tick_size="0.1", lot_size="0.001")

    def write(path: Path) -> None:
        write_rows(path, [sound], [instrument], source="bar")

    def spoiled(mutation: str, what: str, edit: Callable[[Rows], Rows], *, sealed: bool = False) -> Damage:
        """sealed: the manifest fits the damaged bytes, as another program might write them."""

        def damage(path: Path) -> None:
            write(path)
            content = edit(sound.copy()).tobytes()
            path.write_bytes(content)
            if sealed:
                manifest = json.loads(manifest_path(path).read_text())
                manifest["digest"] = hashlib.sha256(content).hexdigest()
                manifest_path(path).write_text(json.dumps(manifest))

        return Damage(mutation, what, damage, exit_code=UNUSABLE)

    def cell(name: str, value: int) -> Callable[[Rows], Rows]:
        def edit(rows: Rows) -> Rows:
            rows[name][AT] = value
            return rows

        return edit

    def half_manifest(path: Path) -> None:
        write(path)
        manifest_path(path).write_bytes(manifest_path(path).read_bytes()[:200])

    not_a_number = int(np.array([np.nan]).view(np.int64)[0])
    swapped = np.array(moved(ALL, 7, 6))
    damages = [
        spoiled("truncated", "inside a row", lambda rows: rows.view(np.uint8)[:-32]),
        spoiled("truncated", "behind a row", lambda rows: rows[:-1]),
        Damage("truncated", "the manifest", half_manifest, exit_code=UNUSABLE),
        spoiled("reordered", "two rows", lambda rows: pick(rows, swapped)),
        spoiled("reordered", "two rows, and a manifest that fits", lambda rows: pick(rows, swapped), sealed=True),
        spoiled("nan", "the bits of a float NaN as a price", cell("price", not_a_number)),
        spoiled("negative", "price", cell("price", -570_001)),
        spoiled("huge", "quantity", cell("qty", 2**62)),
        spoiled("wrong unit", "time in microseconds", cell("local_ns", START_MS * 1000)),
        spoiled("wrong unit", "time in microseconds, and a manifest that fits", cell("local_ns", START_MS * 1000), sealed=True),
    ]  # fmt: skip
    return Reader("row file", "x.rows", write, [1] * RECORDS, (), damages)
