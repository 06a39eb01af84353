"""Zero fills print why, and results that deserve doubt say which."""

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from reference import fake_run

from twinloop.engine.diagnosis import notes_on, why_no_fills
from twinloop.engine.records import FILL, RISK
from twinloop.engine.results import write_run

NO_FILLS = np.zeros(0, FILL)


def run_of(folder: Path, **records: Any) -> Any:
    return write_run(folder, fake_run.info(), report=False, **records)


def test_no_market_rows(tmp_path: Path) -> None:
    assert "held no row" in why_no_fills(run_of(tmp_path), {"rows": 0})


def test_silent_strategy(tmp_path: Path) -> None:
    assert "sent no order in 1,000 rows" in why_no_fills(run_of(tmp_path), {"rows": 1000})


def test_everything_refused_names_the_rule(tmp_path: Path) -> None:
    risk = fake_run.records(samples=100, fills=80)[3]
    text = why_no_fills(run_of(tmp_path, risk=risk), {"rows": 1000})
    assert "refused 4 requests, mostly by position_limit (3)" in text


@pytest.mark.parametrize(
    ("codes", "states", "part"),
    [
        ([7] * 5, [3] * 5, "rejected all 5 orders, mostly for post_only_would_cross (5)"),
        ([0] * 5, [2] * 5, "none traded; most ended as cancelled (5)"),
    ],
)
def test_orders_without_a_fill(tmp_path: Path, codes: list[int], states: list[int], part: str) -> None:
    orders = fake_run.records(samples=100, fills=4)[1]
    orders["reject_code"], orders["state"], orders["filled_int"], orders["type"] = codes, states, 0, 2
    text = why_no_fills(run_of(tmp_path, orders=orders), {"rows": 1000})
    assert part in text
    if not codes[0]:
        assert "prices were not reached" in text


def test_resting_orders_and_refusals_are_both_told(tmp_path: Path) -> None:
    orders = fake_run.records(samples=100, fills=4)[1]
    orders["reject_code"] = 0
    risk = np.zeros(1, RISK)
    assert "also, the risk gate refused 1 requests" in why_no_fills(run_of(tmp_path, orders=orders, risk=risk), {})


def test_doubtful_results_say_why(tmp_path: Path) -> None:
    fills = fake_run.records(samples=600, fills=80)[0]
    fills["maker"], fills["fee_int"], fills["arrived_ns"] = 1, 0, fills["decided_ns"]
    notes = " ".join(notes_on(run_of(tmp_path, fills=fills)))
    for part in ("every fill was passive", "no fee was charged", "in no time", "still open at the end (BTCUSDT)"):
        assert part in notes


def test_ordinary_results_raise_no_doubt(tmp_path: Path) -> None:
    fills = fake_run.records(samples=600, fills=80)[0]
    fills["position_after_int"][-1] = 0
    assert notes_on(run_of(tmp_path, fills=fills)) == []


@pytest.mark.parametrize(
    ("contract", "base", "sides", "told"),
    [
        ("spot", "BTC", [1, -1, -1], True),
        ("spot", "BTC", [1, 1, -1], False),
        ("spot", "", [1, -1, -1], False),
        ("linear", "BTC", [1, -1, -1], False),
    ],
)
def test_spot_that_was_sold_short_is_told(
    tmp_path: Path, contract: str, base: str, sides: list[int], told: bool
) -> None:
    fills = fake_run.records(samples=600, fills=80)[0][:3]
    fills["side"], fills["qty_int"], fills["position_after_int"] = sides, 5, 0
    instrument = msgspec.structs.replace(fake_run.BTC, contract=contract, base=base)
    run = write_run(tmp_path, fake_run.info(instruments=(instrument,)), fills=fills, report=False)
    assert [note for note in notes_on(run) if "spot was sold short (BTCUSDT)" in note] == notes_on(run)
    assert bool(notes_on(run)) == told


def test_fees_without_a_price_are_named(tmp_path: Path) -> None:
    fills = fake_run.records(samples=600, fills=80)[0]
    fills["fee_currency"][:4], fills["position_after_int"][-1] = 0, 0
    run = write_run(tmp_path, fake_run.info(currencies=("BNB",)), fills=fills, report=False)
    assert notes_on(run) == ["fees in BNB have no price in this run and are left out of the trades' net"]
