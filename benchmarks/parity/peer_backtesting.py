"""backtesting.py 0.6.6's side of the bar comparison: SMA 10/30 on a daily file, every trade as JSON, and a plain replica of its rules.

The rules, as read from that release and proven by `replica` (bars are numbered from 0; prices are the file's):

- Signal at the close of bar i, from i = 30 on: with f = mean of the last 10 closes, s = mean of the last 30, "up" when
  f < s at bar i - 1 and f > s at bar i (both strict), "down" the other way round. Bar 30 is the first: it needs s at bar 29.
- Up: close the open position, then buy with all equity. Down: close, then sell short with all equity. Both fill at the open of bar i + 1,
  the close first, so that the entry is sized with the cash after it. Nothing is done without a signal.
- Size: whole shares, floor(equity * (1 - 2**-52) / open), where equity is the cash after the close (no position is open then). If that is
  0, or costs more than the equity, the order is dropped.
- No commission, no spread; cash 10,000; a short needs no more than the same equity.
- After the last bar's strategy call the open position is closed (and any order made on that bar filled) at the **open of that
  last bar**, exit bar = the last: the peer runs its broker once more on the same prices.
- A trade: entry bar, exit bar, signed size, entry price, exit price.

usage: peer_backtesting.py GOOG.csv EXPECTED.json OUT.json
"""

import csv
import json
import math
import sys
import warnings
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

FAST, SLOW, CASH = 10, 30, 10_000


def replica(opens: list[Decimal], closes: list[Decimal]) -> list[tuple[int, int, int, str, str]]:
    """The trades by the rules above, in exact arithmetic."""
    cash = Fraction(CASH)
    trades: list[tuple[int, int, int, str, str]] = []
    held = 0
    entry_bar = 0
    pending = 0

    def close(bar: int) -> None:
        nonlocal cash, held
        if held:
            cash += held * (Fraction(opens[bar]) - Fraction(opens[entry_bar]))
            trades.append((entry_bar, bar, held, str(opens[entry_bar]), str(opens[bar])))
            held = 0

    for bar in range(SLOW, len(closes)):
        if pending:
            close(bar)
            size = math.floor(cash * (1 - Fraction(1, 2**52)) / Fraction(opens[bar]))
            held, entry_bar = pending * size, bar
            pending = 0

        def gap(at: int) -> Decimal:
            return sum(closes[at - FAST + 1 : at + 1]) * (SLOW // FAST) - sum(closes[at - SLOW + 1 : at + 1])

        if gap(bar - 1) < 0 < gap(bar):
            pending = 1
        elif gap(bar - 1) > 0 > gap(bar):
            pending = -1
    close(len(closes) - 1)
    return trades


def peer(path: Path) -> tuple[list[tuple[int, int, int, str, str]], dict[str, float]]:
    """The trades of the library itself, and its statistics."""
    import pandas as pd
    from backtesting import Backtest, Strategy
    from backtesting.lib import crossover
    from backtesting.test import SMA

    class SmaCross(Strategy):
        """Fast over slow: long; under: short."""

        def init(self) -> None:
            """Declare the two averages."""
            self.fast = self.I(SMA, self.data.Close, FAST)
            self.slow = self.I(SMA, self.data.Close, SLOW)

        def next(self) -> None:
            """Reverse at each crossing."""
            if crossover(self.fast, self.slow):
                self.position.close()
                self.buy()
            elif crossover(self.slow, self.fast):
                self.position.close()
                self.sell()

    data = pd.read_csv(path, index_col=0, parse_dates=True)
    stats = Backtest(data, SmaCross, cash=CASH, finalize_trades=True).run()
    table = stats["_trades"].sort_values(["EntryBar", "ExitBar"])
    trades = [
        (int(r.EntryBar), int(r.ExitBar), int(r.Size), repr(float(r.EntryPrice)), repr(float(r.ExitPrice)))
        for r in table.itertuples()
    ]
    return trades, {k: float(v) for k, v in stats.items() if isinstance(v, int | float)}


def main() -> None:
    """Run both, compare with each other and with the expected statistics, write the trades."""
    source, expected_path, out = map(Path, sys.argv[1:])
    with source.open() as lines:
        table = list(csv.DictReader(lines))
    exact = replica([Decimal(r["Open"]) for r in table], [Decimal(r["Close"]) for r in table])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trades, stats = peer(source)
    same = [
        (a, b)
        for a, b in zip(exact, trades, strict=False)
        if (*a[:3], float(a[3]), float(a[4])) != (*b[:3], float(b[3]), float(b[4]))
    ]
    expected = json.loads(expected_path.read_text())["expected"]
    wrong = {
        k: (stats[k], v) for k, v in expected.items() if k in stats and not math.isclose(stats[k], v, rel_tol=1e-9)
    }
    document = {
        "columns": ["entry_bar", "exit_bar", "size", "entry_price", "exit_price"],
        "trades": trades,
        "replica_equal": not same and len(exact) == len(trades),
        "differences": same[:3],
        "expected_checked": sorted(k for k in expected if k in stats),
        "expected_wrong": wrong,
        "equity_final": stats["Equity Final [$]"],
    }
    out.write_text(json.dumps(document))
    print(json.dumps({k: v for k, v in document.items() if k != "trades"} | {"trades": len(trades)}))


if __name__ == "__main__":
    main()
