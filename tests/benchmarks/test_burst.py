"""The market that the burst bar plays is one: its books chain and are never crossed, no print is left out, and times are those of now."""

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest

from twinloop.data.binance_stream import BinanceStream
from twinloop.data.instruments import PRESETS
from twinloop.kernels import rows as table

BARS = Path(__file__).parents[2] / "benchmarks" / "bars"
USDM = PRESETS["binance-usdm:BTCUSDT"]
NOW_MS = 1_795_762_550_004


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(BARS))
    for name in ("harness", "latency_session", "latency_venue", "burst_venue"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    import burst_venue  # type: ignore[import-not-found]

    found: ModuleType = burst_venue
    return found


def text_of(framed: bytes) -> bytes:
    return framed[framed.index(b"{") :]


@pytest.mark.parametrize("shown", ["touch", "depth"])
def test_a_second_played_thrice_is_one_market(module: ModuleType, real_data: Path, shown: str) -> None:
    path = real_data / "binance-raw-ws" / "usdm_btcusdt_20240808.gz"
    second, kinds = module.busiest_second(path)
    assert kinds.total() == 2466
    play = module.Play(path, second, shown, 600_000)
    stream = BinanceStream("binance-usdm", [USDM], depth=shown == "depth")
    if shown == "depth":
        assert not len(stream.on_frame(text_of(play.next(NOW_MS)), NOW_MS * 10**6))  # Held until its book is there.
        assert len(stream.on_snapshot("BTCUSDT", json.dumps(play.snapshot(NOW_MS)).encode(), NOW_MS * 10**6))
    prints: list[int] = []
    crossed = 0
    for _ in range(3 * play.size):
        for row in (rows := stream.on_frame(text_of(play.next(NOW_MS)), NOW_MS * 10**6)):
            assert int(row["kind"]) != table.FEED_GAP
        if len(rows) and int(rows[0]["kind"]) == table.TRADE:
            prints.append(int(rows[0]["trade_id"]))
        if shown == "depth" and len(rows) and int(rows[0]["kind"]) == table.LEVEL:
            sides = {side: [price for each, price in play._book if each == side] for side in ("b", "a")}
            crossed += max(sides["b"]) >= min(sides["a"])
    assert (stream.refused, stream.counts["unusual"], crossed) == (0, 0, 0)
    assert prints == list(range(prints[0], prints[0] + len(prints)))
    assert len(prints) >= 3 * kinds[b"@trade"] - 1


def test_a_snapshot_is_what_the_frames_left(module: ModuleType, real_data: Path) -> None:
    path = real_data / "binance-raw-ws" / "usdm_btcusdt_20240808.gz"
    second, _ = module.busiest_second(path)
    one, other = (module.Play(path, second, "depth", 600_000) for _ in range(2))
    assert one.snapshot(NOW_MS)["bids"] == other.snapshot(NOW_MS)["bids"]
    for _ in range(one.size):
        one.next(NOW_MS)
    assert one.snapshot(NOW_MS)["bids"] == other.snapshot(NOW_MS)["bids"]  # A round trip.
    assert one.snapshot(NOW_MS)["asks"] == other.snapshot(NOW_MS)["asks"]
    assert one.snapshot(NOW_MS)["lastUpdateId"] > other.snapshot(NOW_MS)["lastUpdateId"]
    assert int(one.snapshot(NOW_MS)["bids"][0][0].partition(".")[0]) == 60_000
