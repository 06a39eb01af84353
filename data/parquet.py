"""Rows as Parquet columns and back, bit for bit.

A kind of the catalog is a group of row kinds with one set of columns. Every header field and all 32 payload bytes have a
column, so any row comes back exactly; integers in the instrument's scales end in `_int`. The two rows of a bar are one
record. `row` is the place in the ingested stream, which orders records of different kinds at one local time.
This module must not know folders or dates.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twinloop.data.errors import DataError
from twinloop.data.rowfile import Rows
from twinloop.kernels import rows as r

PART_ROW_GROUP: Final = 1 << 16  # Records read back at a time.
_BLOCK_RECORDS: Final = 1 << 13
_HEADER_COLUMNS: Final = {
    "row": pl.Int64,
    "local_ns": pl.Int64,
    "venue_ns": pl.Int64,
    "sequence": pl.Int64,
    "kind": pl.UInt8,
    "side": pl.Int8,
    "strategy": pl.UInt8,
    "account": pl.UInt8,
    "source": pl.UInt8,
    "flags": pl.UInt8,
    "instrument": pl.UInt16,
}
_HEADER_FIELDS: Final = tuple(name for name, _, _ in r.HEADER)
_OFFSET_FIELD: Final = {32: "price", 40: "qty", 48: "order_id", 56: "code"}  # One field name per payload offset.


class Group(NamedTuple):
    """One kind of the catalog: its name, the row kinds in it, and columns for payload offsets 32, 40, 48 and 56.

    tail: columns of the second row's payload, for facts of two rows. price, qty, money: the columns by scale.
    """

    name: str
    kinds: tuple[int, ...]
    payload: tuple[str, str, str, str]
    tail: tuple[str, ...] = ()
    price: tuple[str, ...] = ()
    qty: tuple[str, ...] = ()
    money: tuple[str, ...] = ()


_PRICE_QTY: Final = {"price": ("price_int",), "qty": ("qty_int",)}
GROUPS: Final = (
    Group("trades", (r.TRADE,), ("price_int", "qty_int", "trade_id", "word_56"), **_PRICE_QTY),
    Group(
        "quotes",
        (r.QUOTE,),
        ("bid_int", "bid_qty_int", "ask_int", "ask_qty_int"),
        price=("bid_int", "ask_int"),
        qty=("bid_qty_int", "ask_qty_int"),
    ),
    Group(
        "book",
        (r.LEVEL, r.SNAPSHOT_BEGIN, r.SNAPSHOT_LEVEL, r.SNAPSHOT_END, r.CLEAR),
        ("price_int", "qty_int", "update_id", "word_56"),
        **_PRICE_QTY,
    ),
    Group(
        "orders",
        (r.ORDER_ADD, r.ORDER_MODIFY, r.ORDER_CANCEL, r.ORDER_EXECUTE),
        ("price_int", "qty_int", "order_id", "execution_id"),
        **_PRICE_QTY,
    ),
    Group(
        "bars",
        (r.BAR,),
        ("open_int", "high_int", "low_int", "close_int"),
        ("volume_int", "notional_int", "trades", "interval_ns"),
        price=("open_int", "high_int", "low_int", "close_int"),
        qty=("volume_int",),
        money=("notional_int",),
    ),
    Group(
        "marks",
        (r.MARK,),
        ("price_int", "index_price_int", "word_48", "word_56"),
        price=("price_int", "index_price_int"),
    ),
    Group(
        "funding",
        (r.FUNDING,),
        ("price_int", "rate_int", "word_48", "word_56"),
        price=("price_int",),
        money=("rate_int",),
    ),
    # Whatever else can be a row; a two-row fact is two records here.
    Group(
        "events",
        tuple(sorted(set(r.KIND_NAME) - {r.TRADE, r.QUOTE, r.LEVEL, r.BAR, r.MARK, r.FUNDING, *range(4, 12)})),
        ("word_32", "word_40", "word_48", "word_56"),
    ),
)
GROUP: Final = {group.name: group for group in GROUPS}
GROUP_OF_KIND: Final = np.full(256, -1, np.int8)
for _index, _group in enumerate(GROUPS):
    GROUP_OF_KIND[list(_group.kinds)] = _index
assert all(GROUP_OF_KIND[code] >= 0 for code in r.KIND_NAME), "every kind has a group"


def schema(group: Group) -> dict[str, type[pl.DataType]]:
    """Column types of a group's Parquet files."""
    columns: dict[str, type[pl.DataType]] = {**_HEADER_COLUMNS, **dict.fromkeys(group.payload, pl.Int64)}
    if group.tail:
        columns |= {**dict.fromkeys(group.tail, pl.Int64), "tail_flags": pl.UInt8}
    return columns


def rows_to_frame(group: Group, rows: Rows, places: NDArray[np.int64]) -> pl.DataFrame:
    """Records of a group's rows. places: (n,) int64, place of each row in its stream.

    Raises DataError for a bar whose two rows' headers differ in more than their flags.
    """
    heads, tails, places = (rows[0::2], rows[1::2], places[0::2]) if group.tail else (rows, rows[:0], places)
    columns = {"row": places}
    columns |= {name: heads[name] for name in _HEADER_COLUMNS if name != "row"}
    columns |= {name: heads[_OFFSET_FIELD[32 + 8 * i]] for i, name in enumerate(group.payload)}
    if group.tail:
        for name in _HEADER_FIELDS:
            differs = heads[name] != tails[name]
            if name != "flags" and differs.any():
                at = int(np.argmax(differs))
                raise DataError(
                    f"the two rows of a {group.name} record differ",
                    field=name,
                    expected=int(heads[name][at]),
                    got=int(tails[name][at]),
                    remedy="give the tail row its head's header",
                )
        columns |= {name: tails[_OFFSET_FIELD[32 + 8 * i]] for i, name in enumerate(group.tail)}
        columns["tail_flags"] = tails["flags"]
    return pl.DataFrame(
        {name: pl.Series(name, np.ascontiguousarray(columns[name]), dtype) for name, dtype in schema(group).items()}
    )


def frame_to_rows(group: Group, frame: pl.DataFrame) -> tuple[Rows, NDArray[np.int64]]:
    """Rows of a group's records and the place of each in its stream; the inverse of rows_to_frame."""
    width = 2 if group.tail else 1
    rows = np.zeros(frame.height * width, r.ROW)
    places = np.repeat(frame["row"].to_numpy(), width) if width > 1 else frame["row"].to_numpy()
    columns = {name: frame[name].to_numpy() for name in _HEADER_FIELDS}
    columns |= {_OFFSET_FIELD[32 + 8 * i]: frame[name].to_numpy() for i, name in enumerate(group.payload)}
    tail_columns = {_OFFSET_FIELD[32 + 8 * i]: frame[name].to_numpy() for i, name in enumerate(group.tail)}
    if group.tail:
        places[1::2] += 1
        tail_columns["flags"] = frame["tail_flags"].to_numpy()
    # In blocks that stay in the cache: each column is one pass over the same lines.
    for start in range(0, frame.height, _BLOCK_RECORDS):
        stop = min(start + _BLOCK_RECORDS, frame.height)
        block = rows[start * width : stop * width]
        for name, values in columns.items():
            block[0::width][name] = values[start:stop]
        if group.tail:
            for name, values in (columns | tail_columns).items():
                block[1::2][name] = values[start:stop]
    return rows, places


def write_records(path: Path, frame: pl.DataFrame, metadata: dict[str, str]) -> None:
    """Write records as zstd Parquet with statistics, so that readers skip what they do not need."""
    frame.write_parquet(
        path, compression="zstd", compression_level=3, row_group_size=PART_ROW_GROUP, statistics=True, metadata=metadata
    )


def read_records(group: Group, path: Path) -> Iterator[tuple[Rows, NDArray[np.int64]]]:
    """Rows of one Parquet file and the place of each in its stream, a row group at a time."""
    scan = pl.scan_parquet(path, hive_partitioning=False, cache=False, low_memory=True)
    records = scan.select(pl.len()).collect().item()
    columns = scan.select(list(schema(group)))
    for start in range(0, records, PART_ROW_GROUP):
        yield frame_to_rows(group, columns.slice(start, PART_ROW_GROUP).collect())
