"""Books against the venue's own quotes: the check itself, and what it finds in the recordings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference import binance_lines as sample

from twinloop.data.binance_raw import RawReader, read_raw
from twinloop.data.book_agreement import book_agreement, tops
from twinloop.data.instruments import BINANCE_COINM_BTCUSD_PERP, BINANCE_USDM_BTCUSDT, BINANCE_USDM_ETHUSDT, Instrument

UNCORRECTED: dict[str, Any] = {"clock_offset_ns": 0, "assumed_latency_ns": 0}
# Files that continue each other, and how many updates may differ from the quotes: the two of spot are those of a moment
# in which the venue left out quotes.
RECORDINGS = [
    ("usdm_btcusdt_20240808", BINANCE_USDM_BTCUSDT, 6547, 0),
    ("usdm_ethusdt_20240808", BINANCE_USDM_ETHUSDT, 6581, 0),
    ("usdm_btcusdt_20230404 usdm_btcusdt_20230405", BINANCE_USDM_BTCUSDT, 16110, 0),
    ("cm_btcusd_perp_20240808 cm_btcusd_perp_20240809", BINANCE_COINM_BTCUSD_PERP, 44772, 0),
    ("spot_btcusdt_20240808 spot_btcusdt_20240809", sample.SPOT, 6493, 2),
    ("spot_btcusdt_20230405", sample.SPOT, 3929, 0),
]


@pytest.mark.parametrize(("names", "instrument", "checked", "misses"), RECORDINGS, ids=[one[0] for one in RECORDINGS])
def test_recorded_books_agree_with_recorded_quotes(
    real_data: Path, names: str, instrument: Instrument, checked: int, misses: int
) -> None:
    paths = [real_data / "binance-raw-ws" / f"{name}.gz" for name in names.split()]
    # The last one has no snapshot: a book of updates alone.
    found = book_agreement(read_raw(paths, instrument, **UNCORRECTED), unanchored=len(paths) == 1)
    assert (found.checked, found.checked - found.agreed, found.unquoted) == (checked, misses, 0)
    assert found.agreed_with_qty == found.agreed
    assert found.crossed == 0


def read_text(tmp_path: Path, *lines: bytes) -> RawReader:
    path = tmp_path / "recording"
    path.write_bytes(b"".join(lines))
    return read_raw(path, sample.BTC, **UNCORRECTED)


def test_a_wrong_level_is_a_miss_that_names_both_sides(tmp_path: Path) -> None:
    lines = [
        sample.depth(1, 2, 0, [("90.0", "1")]),
        sample.snapshot(3, [("100.0", "1.5")], [("100.1", "2")]),
        sample.quote(2),
        sample.depth(3, 4, 2, [("100.0", "1.5")]),
        sample.depth(5, 6, 4, [], [("100.0", "2"), ("100.1", "0")]),
        sample.quote(6, at_ms=5),
        sample.quote(7, "100.2", at_ms=6),
    ]
    found = book_agreement(read_text(tmp_path, *lines))
    assert (found.checked, found.agreed, found.crossed) == (2, 1, 1)
    assert (found.misses[0].book, found.misses[0].quote) == ((1000, 1000), (1000, 1001))
    assert found.misses[0].quote_id == 6
    assert found.share == 0.5


def test_updates_without_snapshot_or_quote_are_counted_apart(tmp_path: Path) -> None:
    lines = [sample.depth(i, i, i - 1, [(f"{i}", "1")]) for i in (10, 11, 12)]
    found = book_agreement(read_text(tmp_path, *lines))
    assert (found.checked, found.unanchored, found.share) == (0, 3, 1.0)
    found = book_agreement(read_text(tmp_path, *lines), unanchored=True)
    assert (found.checked, found.unquoted) == (0, 3)


def test_best_prices_equal_those_of_a_plain_dict(tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    book: dict[int, dict[int, int]] = {1: {}, -1: {}}
    lines, expected = [], []
    for i in range(1, 400):
        side = int(rng.choice([1, -1]))
        price, qty = int(1000 + side * -rng.integers(1, 30)), int(rng.integers(0, 3))
        book[side][price] = qty
        book = {key: {p: q for p, q in levels.items() if q} for key, levels in book.items()}
        level = [(f"{price // 10}.{price % 10}", f"{qty}")]
        lines.append(sample.depth(i, i, i - 1, level if side == 1 else [], level if side == -1 else []))
        expected.append((max(book[1], default=0), min(book[-1], default=0)))
    assert [(top.bid[0], top.ask[0]) for top in tops(read_text(tmp_path, *lines))] == expected
