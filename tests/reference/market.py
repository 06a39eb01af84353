"""What a recorded or made L2 stream has to obey, checked row by row against dict books."""

from typing import Any

TRADE, QUOTE, LEVEL, SNAPSHOT_BEGIN, SNAPSHOT_LEVEL, SNAPSHOT_END = 1, 2, 3, 4, 5, 6
EVENT_END = 4
SYNTHETIC = 64


class Symbol:
    """One symbol's book as its rows told it, and the ids and times seen."""

    def __init__(self) -> None:
        self.book: dict[int, dict[int, int]] = {1: {}, -1: {}}
        self.phase = "start"
        self.update_id = 0
        self.trade_id = 0
        self.venue_ns = 0
        self.taken: dict[
            tuple[int, int], int
        ] = {}  # (side of the level, price): shown quantity less trades of this message
        self.traded: set[tuple[int, int]] = set()  # of them, those that traded and were not shown since
        self.open_message = 0

    def best(self) -> tuple[int, int, int, int]:
        bid, ask = max(self.book[1]), min(self.book[-1])
        return bid, self.book[1][bid], ask, self.book[-1][ask]

    def trade(self, row: dict[str, int]) -> None:
        side, price = row["side"], row["price"]
        resting = self.book[-side]
        assert row["trade_id"] == self.trade_id + 1 == row["sequence"]
        self.trade_id += 1
        if not self.taken:
            self.taken = {(s, p): q for s in (1, -1) for p, q in self.book[s].items()}
        shown = self.taken.get((-side, price), 0)
        assert 0 < row["qty"] <= shown, f"traded {row['qty']} of {shown} shown"
        better = [p for p in resting if side * (p - price) < 0 and self.taken[-side, p] > 0]
        assert not better, "a trade went through a better level"
        self.taken[-side, price] = shown - row["qty"]
        self.traded.add((-side, price))

    def level(self, row: dict[str, int]) -> None:
        side, price, qty = row["side"], row["price"], row["qty"]
        if self.open_message == 0:
            assert row["update_id"] > self.update_id
            self.open_message = row["update_id"]
        assert row["update_id"] == self.open_message == row["sequence"]
        assert qty != self.book[side].get(price, 0) or (side, price) in self.traded, "a level row that changes nothing"
        self.traded.discard((side, price))
        if qty:
            self.book[side][price] = qty
        else:
            del self.book[side][price]
        if row["flags"] & EVENT_END:
            self.update_id, self.open_message = self.open_message, 0
            self.taken = {}
            assert not self.traded, "a traded level that the message does not show"
            assert max(self.book[1]) < min(self.book[-1]), "crossed"


def check(rows: Any) -> dict[int, Symbol]:
    """Books by instrument after a stream of rows; an AssertionError names the first rule broken."""
    symbols: dict[int, Symbol] = {}
    names = (
        "venue_ns",
        "local_ns",
        "sequence",
        "kind",
        "side",
        "flags",
        "instrument",
        "price",
        "qty",
        "trade_id",
        "ask_qty",
    )
    columns = {name: rows[name].tolist() for name in names}
    last_local = 0
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        row["update_id"] = row["trade_id"]  # One offset.
        symbol = symbols.setdefault(row["instrument"], Symbol())
        assert row["local_ns"] >= last_local
        assert row["local_ns"] > row["venue_ns"] >= symbol.venue_ns
        assert row["flags"] & SYNTHETIC
        last_local, symbol.venue_ns = row["local_ns"], row["venue_ns"]
        kind = row["kind"]
        if kind in {SNAPSHOT_BEGIN, SNAPSHOT_LEVEL, SNAPSHOT_END}:
            assert symbol.phase == ("start" if kind == SNAPSHOT_BEGIN else "snapshot")
            symbol.phase = "live" if kind == SNAPSHOT_END else "snapshot"
            symbol.update_id = row["update_id"]
            if kind == SNAPSHOT_LEVEL:
                assert row["qty"] > 0
                assert row["price"] not in symbol.book[row["side"]]
                symbol.book[row["side"]][row["price"]] = row["qty"]
            continue
        assert symbol.phase == "live"
        if kind == TRADE:
            assert symbol.open_message == 0
            symbol.trade(row)
        elif kind == LEVEL:
            assert row["price"] > 0
            symbol.level(row)
        else:
            assert kind == QUOTE
            assert symbol.open_message == 0
            assert not symbol.taken, "a quote before the levels that show a trade"
            assert (row["price"], row["qty"], row["trade_id"], row["ask_qty"]) == symbol.best()
            assert row["sequence"] == symbol.update_id
    return symbols
