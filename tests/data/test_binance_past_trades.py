"""Past trades by REST: single ones, older aggregated ones, nothing twice at the seam, and nothing of what cannot be read."""

import asyncio
import json
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data import binance_past_trades
from twinloop.data.binance_past_trades import PAGE, PastTrades, trades_after
from twinloop.data.errors import DecodeError
from twinloop.data.instruments import PRESETS

USDM = PRESETS["binance-usdm:BTCUSDT"]
T0 = 1_700_000_000_000
MS = 1_000_000


def past() -> PastTrades:
    return PastTrades("binance-usdm", USDM, 6)


class List:
    """A venue's trades, numbered from 1, one a millisecond; of aggregates each has up to three."""

    def __init__(self, count: int, seed: int = 1) -> None:
        draw = random.Random(seed)
        self.count = count
        self.aggregates: list[tuple[int, int]] = []
        first = 1
        while first <= count:
            last = min(first + draw.randrange(3), count)
            self.aggregates.append((first, last))
            first = last + 1
        self.asked: list[str] = []

    async def get(self, path: str) -> bytes:
        self.asked.append(path)
        where, _, words = path.partition("?")
        asked = dict(word.split("=") for word in words.split("&"))
        if where == "/fapi/v1/trades":
            return single(*range(max(self.count - PAGE, 0) + 1, self.count + 1))
        assert where == "/fapi/v1/aggTrades"
        numbered = list(enumerate(self.aggregates, 1))
        if "fromId" in asked:
            found = [each for each in numbered if each[0] >= int(asked["fromId"])]
        else:
            found = [each for each in numbered if T0 + each[1][0] >= int(asked["startTime"])]
        return aggregated(found[:PAGE])


def single(*numbers: int, **more: Any) -> bytes:
    return json.dumps([
        {"id": number, "price": "100.1", "qty": "0.25", "time": T0 + number, "isBuyerMaker": True} | more for number in numbers
    ]).encode()  # fmt: skip


def aggregated(found: list[tuple[int, tuple[int, int]]]) -> bytes:
    return json.dumps([
        {"a": number, "p": "100.1", "q": f"{(last - first + 1) * 0.25:.2f}", "f": first, "l": last, "T": T0 + first, "m": False}
        for number, (first, last) in found
    ]).encode()  # fmt: skip


def after(venue: List, after_id: int) -> tuple[Any, bool]:
    return asyncio.run(trades_after(venue.get, past(), after_id, (T0 + after_id) * MS, 77))


def test_single_trades_come_by_id() -> None:
    rows = past().recent(single(9, 7, 8), 5)
    assert rows["trade_id"].tolist() == rows["sequence"].tolist() == [7, 8, 9]
    assert set(rows["price"].tolist()) == {1001}
    assert set(rows["qty"].tolist()) == {250}
    assert set(rows["side"].tolist()) == {-1}
    assert set(rows["instrument"].tolist()) == {6}
    assert rows["local_ns"].tolist() == [5] * 3


@pytest.mark.parametrize("missed", [0, 1, PAGE - 1, PAGE])
def test_what_one_list_holds_is_asked_for_once(missed: int) -> None:
    venue = List(2500)
    rows, whole = after(venue, 2500 - missed)
    assert whole
    assert rows["trade_id"].tolist() == list(range(2501 - missed, 2501))
    assert len(venue.asked) == 1


@given(count=st.integers(1100, 6000), known=st.integers(1, 90), seed=st.integers(0, 99))
def test_older_ones_come_aggregated_and_nothing_is_missed_or_doubled(count: int, known: int, seed: int) -> None:
    venue = List(count, seed)
    floor = next(last for _, last in venue.aggregates if last >= known)  # A stream that was cut at a whole one.
    rows, whole = after(venue, floor)
    assert whole
    ids = rows["trade_id"].tolist()
    assert ids == sorted(set(ids))
    straddling = next((last - first for first, last in venue.aggregates if first <= count - PAGE < last), 0)
    missing = (count - floor) * 250 - int(rows["qty"].sum())
    assert 0 <= missing <= straddling * 250, "of one that lies across the seam no part is known"


def test_more_than_can_be_asked_for_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binance_past_trades, "PAGES_MAX", 2)
    rows, whole = after(List(9000), 1)
    assert not whole
    assert rows["trade_id"][-1] == 9000


def test_a_venue_whose_ids_begin_anew_is_believed() -> None:
    rows, whole = asyncio.run(trades_after(List(20).get, past(), 10**9, (T0 + 15) * MS, 77))
    assert (rows["trade_id"].tolist(), whole) == ([16, 17, 18, 19, 20], True)


@pytest.mark.parametrize("body", [
    b"", b"{}", b"[1]", b'{"code":-1121}', single(1, price="nan"), single(1, qty="-1"), single(1, price="0"), single(1, time=0), single(1, id=0),
    single(1, price="1e400"), single(1, isBuyerMaker="x"),
])  # fmt: skip
def test_what_cannot_be_read_gives_nothing(body: bytes) -> None:
    with pytest.raises(DecodeError):
        past().recent(body, 5)
    with pytest.raises(DecodeError):
        past().aggregated(body.replace(b"price", b"p").replace(b"qty", b"q"))


@given(count=st.integers(1, 6000), known=st.integers(1, 6000), seed=st.integers(0, 99))
def test_where_prints_stream_aggregated_so_does_all_that_was_missed_and_nothing_is_left_out(
    count: int, known: int, seed: int
) -> None:
    venue = List(count, seed)
    floor = next((last for _, last in venue.aggregates if last >= known), count)
    asked = PastTrades("binance-usdm", USDM, 6, aggregated=True)
    rows, whole = asyncio.run(trades_after(venue.get, asked, floor, (T0 + floor) * MS, 77))
    assert whole
    assert rows["trade_id"].tolist() == [last for _, last in venue.aggregates if last > floor]
    assert int(rows["qty"].sum()) == (count - floor) * 250
