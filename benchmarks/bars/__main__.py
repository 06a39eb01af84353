"""The project's named bars. Each measures now, on this machine, and prints one JSON line last; it exits 0 only when it holds.

usage: python benchmarks/bars NAME [NAME ...] | --all | --list

TWINLOOP_REAL_DATA     folder with binance-raw-ws/ and ohlcv-bars/ (bars on real recordings)
TWINLOOP_PEERS_PYTHON  interpreter that has hftbacktest and backtesting (default: this one; pip install -e '.[bars]')
TWINLOOP_BENCH_CACHE   folder of the generated workloads (default: under the system's temporary files)
"""

import argparse
import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import badinput  # noqa: F401 - registers its bars, as do the next
import books  # noqa: F401
import burst  # noqa: F401
import decoding  # noqa: F401
import exactness  # noqa: F401
import faults  # noqa: F401
import files  # noqa: F401
import fills  # noqa: F401
import harness
import kills  # noqa: F401
import latency  # noqa: F401
import memory  # noqa: F401
import newcomer  # noqa: F401
import parity  # noqa: F401
import planted  # noqa: F401
import security  # noqa: F401
import speed  # noqa: F401
import start  # noqa: F401


def main() -> int:
    """Run what was asked for. 0: all hold; 1: some do not; 2: a name that is no bar."""
    parser = argparse.ArgumentParser(prog="python benchmarks/bars", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--list", action="store_true", help="names, limits and what they check")
    parser.add_argument("--all", action="store_true", help="run every bar, then print a table")
    wanted = parser.parse_args()
    if wanted.list or not (wanted.names or wanted.all):
        for each in harness.BARS.values():
            print(f"{each.name:20} {each.limit!s:>10} {each.unit:12} {each.about}")
        return 0
    unknown = [name for name in wanted.names if name not in harness.BARS]
    if unknown:
        print(f"no bar named {', '.join(unknown)}; the bars are: {', '.join(harness.BARS)}", file=sys.stderr)
        return 2
    lines = []
    for name in harness.BARS if wanted.all else wanted.names:
        harness.say(f"{name}: {harness.BARS[name].about}")
        line, _ = harness.measure(harness.BARS[name])
        lines.append(line)
        print(json.dumps(line), flush=True)
    held = sum(line["ok"] for line in lines)
    if len(lines) > 1:
        print(f"\n{'bar':20} {'value':>12} {'limit':>12} {'unit':12} ok")
        for line in lines:
            value = f"{line['value']:.4g}" if isinstance(line["value"], float) else str(line["value"])
            print(
                f"{line['bar']:20} {value:>12} {line['limit']!s:>12} {line['unit']:12} {'yes' if line['ok'] else 'NO'}"
            )
        # The last line stays one JSON line, whatever was run.
        print(json.dumps({"bar": "all", "value": held, "limit": len(lines), "unit": "bars", "ok": held == len(lines),
                          "detail": {"missed": [line["bar"] for line in lines if not line["ok"]]}}))  # fmt: skip
    return 0 if held == len(lines) else 1


if __name__ == "__main__":
    raise SystemExit(main())
