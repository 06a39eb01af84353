import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reference import merge as twin

from twinloop.data.errors import CatalogError, CorruptError
from twinloop.data.instruments import BINANCE_SPOT_BTCUSDT, BINANCE_USDM_BTCUSDT, BINANCE_USDM_ETHUSDT
from twinloop.data.merge import RowSource, merge_rows, open_tape, venue_order
from twinloop.data.rowfile import join_rows, manifest_path, open_rows, write_rows
from twinloop.kernels.rows import BAR, FLAG_CONTINUES, FLAG_TAIL, ROW, TRADE

SLOT = np.zeros(1, np.int64)


def make_rows(facts: list[tuple[int, int, bool]], mark: int = 0) -> np.ndarray:
    """Rows of (local step, venue delay, two rows?)."""
    rows = np.zeros(sum(1 + two for _, _, two in facts), ROW)
    at, local_ns = 0, 1000
    for number, (step, delay, two) in enumerate(facts):
        local_ns += step
        for part in range(1 + two):
            rows[at]["local_ns"] = local_ns
            rows[at]["venue_ns"] = max(local_ns - delay, 0)
            rows[at]["sequence"] = number
            rows[at]["kind"] = BAR if two else TRADE
            rows[at]["price"] = 1_000_000 * mark + at
            if part:
                rows[at]["interval_ns"] = delay // 2
            if two:
                rows[at]["flags"] = FLAG_TAIL if part else FLAG_CONTINUES
            at += 1
    return rows


FACTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.booleans()), max_size=40)


@given(sources=st.lists(FACTS, min_size=1, max_size=6), window=st.integers(1, 9), out=st.integers(2, 11))
def test_merge_equals_a_stable_sort_of_facts(sources: list[list[tuple[int, int, bool]]], window: int, out: int) -> None:
    rows = [make_rows(facts, mark) for mark, facts in enumerate(sources)]
    chunks = [chunk.copy() for chunk in merge_rows([(part, SLOT) for part in rows], window_rows=window, out_rows=out)]
    merged = join_rows(chunks)
    assert merged.tobytes() == twin.merged(rows).tobytes()
    for chunk in chunks:
        assert not chunk["flags"][0] & FLAG_TAIL
        assert not chunk["flags"][-1] & FLAG_CONTINUES


@given(facts=FACTS, chunk=st.integers(1, 9), carry=st.integers(0, 20))
def test_venue_order_equals_a_stable_sort_for_any_disorder(
    facts: list[tuple[int, int, bool]], chunk: int, carry: int
) -> None:
    rows = make_rows(facts)
    parts = [part.copy() for part in venue_order(rows, chunk_rows=chunk, carry_rows_max=carry)]
    ordered = join_rows(parts)
    assert ordered.tobytes() == twin.venue_ordered(rows).tobytes()


def test_one_ordered_file_is_mapped_as_it_is(tmp_path: Path) -> None:
    rows = make_rows([(1, 0, False)] * 5)
    path = tmp_path / "a.rows"
    write_rows(path, [rows], [BINANCE_USDM_BTCUSDT])
    tape = open_tape([path], tmp_path / "cache")
    assert tape.venue is tape.local
    assert tape.paths == (path, path)
    assert not (tmp_path / "cache").exists()
    assert tape.local.tobytes() == rows.tobytes()
    part = open_tape([RowSource(path, 1, 3)], tmp_path / "cache")
    assert part.local.tobytes() == rows[1:3].tobytes()
    assert part.digest != tape.digest


def test_symbols_get_slots_in_order_of_appearance_and_a_day_of_the_same_symbol_shares_one(tmp_path: Path) -> None:
    paths = []
    for i, instrument in enumerate([BINANCE_SPOT_BTCUSDT, BINANCE_USDM_ETHUSDT, BINANCE_SPOT_BTCUSDT]):
        paths.append(tmp_path / f"{i}.rows")
        write_rows(paths[-1], [make_rows([(1, 0, False)] * 4, i)], [instrument])
    tape = open_tape(paths, tmp_path / "cache")
    assert tape.instruments == (BINANCE_SPOT_BTCUSDT, BINANCE_USDM_ETHUSDT)
    assert tape.local["instrument"].tolist() == [0, 1, 0] * 4
    assert tape.local["price"].tolist()[:3] == [0, 1_000_000, 2_000_000]
    again = open_tape(paths, tmp_path / "cache")
    assert again.digest == tape.digest
    assert again.local.tobytes() == tape.local.tobytes()
    _, manifest = open_rows(tape.paths[0], verify=True)
    assert manifest.rows == 12


def test_disordered_venue_times_get_their_own_array(tmp_path: Path) -> None:
    rows = make_rows([(1, 0, False), (1, 30, True), (1, 5, False)])
    path = tmp_path / "a.rows"
    assert not write_rows(path, [rows], [BINANCE_USDM_BTCUSDT]).venue_ordered
    tape = open_tape([path], tmp_path / "cache")
    assert tape.local.tobytes() == rows.tobytes()
    assert tape.venue.tobytes() == twin.venue_ordered(rows).tobytes()


def test_rows_that_arrive_before_they_were_get_their_own_array(tmp_path: Path) -> None:
    """A feed whose clock runs ahead: what the node has seen, the venue may not have had yet."""
    rows = make_rows([(1, 0, False), (9, 5, False)])
    path = tmp_path / "a.rows"
    assert write_rows(path, [rows], [BINANCE_USDM_BTCUSDT]).venue_ordered
    rows["venue_ns"][1] = rows["local_ns"][1] + 1
    path = tmp_path / "b.rows"
    assert not write_rows(path, [rows], [BINANCE_USDM_BTCUSDT]).venue_ordered
    tape = open_tape([path], tmp_path / "cache")
    assert tape.local is not tape.venue


def test_an_order_by_an_older_key_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bar was once sorted by its close; rows kept in that order, or called ordered by it, are sorted again."""
    rows = make_rows([(0, 0, False), (50, 10, True)])
    rows["interval_ns"][2] = 45  # Of the bar's tail: it starts before the print.
    path = tmp_path / "mixed.rows"
    write_rows(path, [rows], [BINANCE_USDM_BTCUSDT])
    old = json.loads(manifest_path(path).read_text()) | {"venue_ordered": True}
    del old["venue_key"]
    manifest_path(path).write_text(json.dumps(old))
    with monkeypatch.context() as before:
        before.setattr("twinloop.data.merge.VENUE_KEY", 1)
        stale = open_tape([path], tmp_path)
    stale.paths[1].write_bytes(rows.tobytes())
    tape = open_tape([path], tmp_path)
    assert tape.venue.tobytes() == twin.venue_ordered(rows).tobytes() != rows.tobytes()
    assert tape.digest != stale.digest


def test_one_instrument_defined_in_two_ways_is_refused(tmp_path: Path) -> None:
    first, second = tmp_path / "a.rows", tmp_path / "b.rows"
    other = json.loads(json.dumps(BINANCE_USDM_BTCUSDT.to_dict())) | {"price_scale": 2}
    write_rows(first, [make_rows([(1, 0, False)])], [BINANCE_USDM_BTCUSDT])
    write_rows(second, [make_rows([(1, 0, False)])], [BINANCE_USDM_BTCUSDT.from_dict(other)])
    with pytest.raises(CatalogError, match="defined in two ways"):
        open_tape([first, second], tmp_path)


def test_rows_of_an_undeclared_instrument_are_refused(tmp_path: Path) -> None:
    rows = make_rows([(1, 0, False)] * 2)
    rows["instrument"] = 3
    with pytest.raises(CorruptError, match="does not declare"):
        list(merge_rows([(rows, SLOT), (rows, SLOT)]))
    first = tmp_path / "a.rows"
    write_rows(first, [make_rows([(1, 0, False)])], [BINANCE_USDM_BTCUSDT])
    manifest_path(first).unlink()
    with pytest.raises(CatalogError, match="no finished row file"):
        open_tape([first], tmp_path)
    with pytest.raises(CatalogError, match="nothing to open"):
        open_tape([], tmp_path)
