"""The same fills as engines nobody here wrote: hftbacktest on recordings, backtesting.py on daily bars. Both run in the bar."""

import gzip
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

import ours
from harness import BENCHMARKS, NotMetError, Outcome, bar, market_of, peers_python, real_data, recordings, run_json, say

HERE = Path(__file__).resolve().parent
DEPARTURES_AT_MS = 10  # the latency at which each semantic of the default mode is switched on alone
PARITY = BENCHMARKS / "parity"
sys.path.insert(0, str(PARITY))

import spec  # noqa: E402


def parity_recordings() -> list[Path]:
    """The USD-M recordings of 2024-08-08 in a market that spec.py knows; where there are none, those of other days."""
    known = [path for path in recordings("usdm") if "_".join(market_of(path)[:2]) in spec.MARKETS]
    # The peer's converter reads 19-digit nanoseconds only, and needs the recording's own snapshot.
    usable = []
    for path in known:
        with gzip.open(path) as lines:
            first = lines.readline()
        if len(first.split(b" ", 1)[0]) == 19:
            usable.append(path)
    chosen = [path for path in usable if market_of(path)[2] == "20240808"] or usable
    if not chosen:
        raise NotMetError(f"no USD-M recording of {', '.join(spec.MARKETS)} with times in nanoseconds")
    return chosen


def peer_runs(python: str, folder: Path) -> list[dict[str, Any]]:
    """Every (recording, strategy, latency) of the parity set, by the peer; one process a recording."""
    found = []
    for path in parity_recordings():
        market = "_".join(market_of(path)[:2])
        target = folder / path.name
        target.mkdir()
        written = run_json([python, PARITY / "peer_hftbacktest.py", path, market, target], pin=False)["written"]
        for name, count in written.items():
            found.append({**json.loads((target / name).read_text()), "recording": path})
            say(f"  hftbacktest {name.removesuffix('.json')}: {count} fills")
    return found


def first_difference(mine: list[Any], theirs: list[Any]) -> dict[str, Any] | None:
    """Where two lists part."""
    for index, (one, other) in enumerate(zip(mine, theirs, strict=False)):
        if list(one) != list(other):
            return {"index": index, "ours": list(one), "theirs": list(other)}
    return (
        None if len(mine) == len(theirs) else {"index": min(len(mine), len(theirs)), "counts": [len(mine), len(theirs)]}
    )


def departure(mine: list[list[int]], theirs: list[list[int]]) -> dict[str, Any]:
    """How a mode departs from the peer: fills that both have (side, price, quantity, venue time), and the first that differs.

    Order ids are left out: after the first other decision the same order has another number.
    """
    counts = [Counter(tuple(fill[1:5]) for fill in fills) for fills in (mine, theirs)]
    lots = [sum(side * qty for _, side, _, qty, *_ in fills) for fills in (mine, theirs)]
    return {
        "ours": len(mine),
        "theirs": len(theirs),
        "same": sum((counts[0] & counts[1]).values()),
        "final_lots": lots,
        "first": first_difference(mine, theirs),
    }


@bar("fills", "equal", "runs")
def parity() -> Outcome:
    """Maker and taker on the USD-M recordings of 2024-08-08 at 0/1/10/100 ms: fills and positions equal hftbacktest's."""
    python = peers_python("hftbacktest", "numba", "polars")
    with tempfile.TemporaryDirectory() as folder:
        theirs = peer_runs(python, Path(folder))
    table, equal, missing = [], 0, ""
    for run in theirs:
        line = {"run": f"{run['market']} {run['strategy']} {run['latency_ms']} ms", "peer_fills": len(run["fills"])}
        table.append(line)
        if missing:
            continue
        own = [
            sys.executable,
            HERE / "ours_run.py",
            "parity",
            run["recording"],
            run["market"],
            run["strategy"],
            str(run["latency_ms"]),
        ]
        try:
            mine = run_json([*own, "hftbacktest"], pin=False)
        except NotMetError as reason:
            missing = str(reason)
            continue
        peer_positions = [list(row[:2]) for row in run["positions"]]
        line |= {
            "our_fills": len(mine["fills"]),
            "fill_difference": first_difference(mine["fills"], run["fills"]),
            "position_difference": first_difference(mine["positions"], peer_positions),
        }
        line["equal"] = line["fill_difference"] is None and line["position_difference"] is None
        equal += bool(line["equal"] and len(run["fills"]) >= spec.FILLS_MIN)
        modes = ["default", *(f"only:{name}" for name in ours.DEPARTURES if run["latency_ms"] == DEPARTURES_AT_MS)]
        line["against_peer"] = {
            mode: departure(run_json([*own, mode], pin=False)["fills"], run["fills"]) for mode in modes
        }
    detail = {"runs": table, **({"reason": missing} if missing else {})}
    return Outcome(f"{equal}/{len(theirs)}", ok=equal == len(theirs) and not missing, detail=detail)


@bar("bars", 66, "trades")
def bars() -> Outcome:
    """SMA 10/30 on GOOG: all 66 trades equal backtesting.py's, run here, and its statistics the expected ones."""
    python = peers_python("backtesting")
    folder = real_data() / "ohlcv-bars"
    source, expected = folder / "GOOG.csv", folder / "expected_goog_smacross.json"
    with tempfile.TemporaryDirectory() as target:
        out = Path(target) / "trades.json"
        said = run_json([python, PARITY / "peer_backtesting.py", source, expected, out], pin=False)
        theirs = [[*row[:3], float(row[3]), float(row[4])] for row in json.loads(out.read_text())["trades"]]
    detail: dict[str, Any] = {
        "peer_trades": len(theirs),
        "expected_wrong": said["expected_wrong"],
        "replica_equal": said["replica_equal"],
    }
    try:
        trades = run_json([sys.executable, HERE / "ours_run.py", "sma", source], pin=False)["trades"]
    except NotMetError as reason:
        return Outcome(0, ok=False, detail={"reason": str(reason), **detail})
    mine = [[*row[:3], float(row[3]), float(row[4])] for row in trades]
    equal = sum(one == other for one, other in zip(mine, theirs, strict=False))
    detail["first_difference"] = first_difference(mine, theirs)
    ok = equal == len(mine) == len(theirs) == 66 and not said["expected_wrong"] and said["replica_equal"]
    return Outcome(equal, ok=ok, detail=detail)
