"""Prices asked for by REST: rows of a book and of prints, and nothing from what cannot be read."""

import json
import random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from reference.streamed_book import NOW, kinds, snapshot

from twinloop.data.binance_polled import PolledMarket
from twinloop.data.feed_codes import POLLED
from twinloop.data.instruments import PRESETS
from twinloop.kernels import rows as table

USDM = PRESETS["binance-usdm:BTCUSDT"]
BOOK = snapshot(77, [["100.1", "2"], ["100.0", "3"]], [["100.3", "1"], ["100.2", "5"]])


def prints(*numbers: int, **more: Any) -> bytes:
    return json.dumps([
        {"id": number, "price": "100.1", "qty": "0.25", "quoteQty": "25", "time": 1_700_000_000_000 + number, "isBuyerMaker": True} | more
        for number in numbers
    ]).encode()  # fmt: skip


def test_both_answers_become_rows_the_prints_first_and_in_order() -> None:
    market = PolledMarket("binance-usdm", [USDM], depth=True, slots=[6])
    rows = market.rows(0, BOOK, prints(9, 7, 8), NOW)
    assert kinds(rows) == ["TRADE"] * 3 + ["SNAPSHOT_BEGIN"] + ["SNAPSHOT_LEVEL"] * 4 + ["SNAPSHOT_END"]
    assert rows["trade_id"][:3].tolist() == [7, 8, 9]
    assert rows["price"][:3].tolist() == [1001] * 3
    assert rows["qty"][:3].tolist() == [250] * 3
    assert rows["side"][:3].tolist() == [-1] * 3
    assert set(rows["source"].tolist()) == {POLLED}
    assert set(rows["instrument"].tolist()) == {6}


def test_where_the_touch_is_seen_a_book_becomes_a_quote() -> None:
    market = PolledMarket("binance-usdm", [USDM], depth=False)
    rows = market.rows(0, BOOK, b"[]", NOW)
    assert kinds(rows) == ["QUOTE"]
    row = rows[0]
    assert [int(row[name]) for name in ("bid", "bid_qty", "ask", "ask_qty")] == [1001, 2000, 1002, 5000]


def test_a_later_poll_is_no_gap() -> None:
    market = PolledMarket("binance-usdm", [USDM], depth=True)
    for number in (10, 5, 1000):
        assert table.FEED_GAP not in market.rows(0, snapshot(number, [["1.0", "1"]], []), b"[]", NOW)["kind"]


def test_the_paths_are_those_of_the_market() -> None:
    market = PolledMarket("binance-usdm", [USDM], depth=True)
    assert market.paths(0) == ("/fapi/v1/depth?symbol=BTCUSDT&limit=100", "/fapi/v1/trades?symbol=BTCUSDT&limit=1000")


@given(seed=st.integers(0, 2**32), junk=st.binary(max_size=60))
def test_damaged_answers_give_valid_rows_or_none(seed: int, junk: bytes) -> None:
    market = PolledMarket("binance-usdm", [USDM], depth=True)
    draw = random.Random(seed)
    book, trades = bytearray(BOOK), bytearray(prints(1, 2, 3))
    for text in (book, trades):
        at = draw.randrange(len(text))
        text[at : at + draw.randrange(4)] = junk[: draw.randrange(8)]
    for row in market.rows(0, bytes(book), bytes(trades), NOW):
        if int(row["kind"]) in {table.TRADE, table.SNAPSHOT_LEVEL}:
            assert 0 <= int(row["price"]) < 10**18
            assert 0 <= int(row["qty"]) < 10**18
    assert not len(market.rows(0, junk, junk, NOW)) or junk
