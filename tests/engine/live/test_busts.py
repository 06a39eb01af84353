"""Which booked trades a venue's list misses, and what undoes them."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from twinloop.data.instruments import Instrument
from twinloop.engine.gateway.needed_rows import FILLS_KEPT
from twinloop.engine.live.busts import BookedFills, undone, without
from twinloop.kernels import rows as table
from twinloop.kernels.rows import FLAG_CONTINUES, FLAG_TAIL, ROW


def fill(
    trade_id: int, *, slot: int = 0, side: int = 1, fee: int = 5, currency: int = 0, kind: int = table.FILL
) -> Any:
    rows = np.zeros(2, ROW)
    rows["kind"], rows["instrument"], rows["side"], rows["venue_ns"] = kind, slot, side, trade_id * 10
    rows["flags"] = FLAG_CONTINUES, FLAG_TAIL
    rows["price"][0], rows["qty"][0], rows["fee"][0] = 600_000, 20, fee
    rows["trade_id"][1], rows["fee_currency"][1] = trade_id, currency
    return rows


def booked(*trades: Any) -> BookedFills:
    found = BookedFills()
    for each in trades:
        found.take(each)
    return found


def ids(fills: Any) -> list[int]:
    return [each.trade_id for each in fills]


def test_what_is_not_listed_is_missing_unless_it_is_young_or_behind_a_full_list() -> None:
    kept = booked(*(fill(number) for number in (3, 4, 5, 6)), fill(1, slot=1))
    assert kept.first_id(0) == 3
    assert ids(kept.missing(0, [3, 5, 6], up_to_ns=1000, full=False)) == [4]
    assert ids(kept.missing(0, [], up_to_ns=1000, full=False)) == [3, 4, 5, 6]
    assert ids(kept.missing(0, [], up_to_ns=40, full=False)) == [3, 4]
    assert ids(kept.missing(0, [3, 5], up_to_ns=1000, full=True)) == [4]
    assert kept.missing(2, [], up_to_ns=1000, full=False) == []
    assert kept.first_id(2) == 0


def test_a_trade_taken_back_is_not_missed_again_and_ids_of_ours_never() -> None:
    kept = booked(fill(3), fill(4), fill(-9))
    (one,) = kept.missing(0, [3], up_to_ns=1000, full=False)
    kept.take(undone([one], 77))
    assert kept.missing(0, [3], up_to_ns=1000, full=False) == []


def test_the_last_fills_are_kept() -> None:
    kept = booked(*(fill(number) for number in range(1, FILLS_KEPT + 3)))
    assert kept.first_id(0) == 3


def test_what_undoes_a_fill_is_its_mirror() -> None:
    (one,) = booked(fill(3, side=-1)).missing(0, [], up_to_ns=1000, full=False)
    rows = undone([one], 77)
    assert rows["kind"].tolist() == [table.BUST] * 2
    assert rows["side"].tolist() == [1, 1]
    assert (int(rows["fee"][0]), int(rows["price"][0]), int(rows["qty"][0])) == (-5, 600_000, 20)
    assert int(rows["trade_id"][1]) == 3
    assert rows["local_ns"].tolist() == [77, 77]


@pytest.mark.parametrize(
    ("contract", "side", "currency", "after"),
    [
        ("linear", 1, 0, {"BTCUSDT": "-0.02"}),
        ("linear", -1, 0, {"BTCUSDT": "0.02"}),
        ("spot", 1, 1, {"BTC": "-0.01999995", "USDT": "1200"}),
        ("spot", -1, 0, {"BTC": "0.02", "USDT": "-1199.99999995"}),
    ],
)
def test_what_the_journal_would_say_without_a_fill(
    contract: str, side: int, currency: int, after: dict[str, str]
) -> None:
    instrument = Instrument.make(
        symbol="BTCUSDT", venue="binance-spot", contract=contract, base="BTC", quote="USDT", tick_size="0.1", lot_size="0.001",
    )  # fmt: skip
    node: Any = SimpleNamespace(
        session=SimpleNamespace(instruments=[instrument]), assembly=SimpleNamespace(currencies=["USDT", "BTC"])
    )
    fills = booked(fill(3, side=side, currency=currency)).missing(0, [], up_to_ns=1000, full=False)
    found, names = without(node, {"BTC": Decimal(0)}, fills)
    assert names == set(after)
    assert {name: found[name] for name in names} == {name: Decimal(text) for name, text in after.items()}


def test_a_fee_in_bnb_comes_back_with_its_trade_where_bnb_is_compared() -> None:
    instrument = Instrument.make(
        symbol="BTCUSDT", venue="binance-spot", contract="spot", base="BTC", quote="USDT", tick_size="0.1", lot_size="0.001",
    )  # fmt: skip
    node: Any = SimpleNamespace(
        session=SimpleNamespace(instruments=[instrument]), assembly=SimpleNamespace(currencies=["USDT", "BTC", "BNB"])
    )
    fills = booked(fill(3, side=1, currency=2)).missing(0, [], up_to_ns=1000, full=False)
    found, names = without(node, {"BTC": Decimal(0), "BNB": Decimal(1)}, fills)
    assert (names, found["BNB"]) == ({"BTC", "USDT", "BNB"}, Decimal("1.00000005"))
    found, names = without(node, {"BTC": Decimal(0)}, fills)
    assert names == found.keys() == {"BTC", "USDT"}
