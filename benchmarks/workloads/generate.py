"""The workloads W1, W1b and W2, made from numpy seed 7, and the folder they are kept in.

w1.npy   5,000,000 L1 events of one day: 60 % quotes, 40 % trades, tick 0.1, spread 1-3 ticks
w2.npy   5,000,037 L2 rows: a snapshot of 40 levels, then 88 % level sets (quantity 0 deletes) and 12 % trades, 20 levels a side
w1b.npy  w1 as L2-only rows: each changed side of a quote is "new level set, old level removed"; 8.7 M rows, one to one
         with the rows the peer reads, for a comparison in which neither engine has a shorter input

Nothing here is stored in the repository. The folder is TWINLOOP_BENCH_CACHE, or twinloop-bench-<digest of this file> in the
system's folder for temporary files; a folder is complete when its `complete` file exists. Needs numpy and numba only.

usage: generate.py   (prints the folder)
"""

import hashlib
import os
import tempfile
from pathlib import Path
from typing import Any

import numba as nb
import numpy as np

TICK = 0.1
DAY_NS = 86_400_000_000_000
START_NS = 1_704_067_200_000_000_000  # 2024-01-01 UTC
FEED_NS = 1_000_000  # from the venue to the strategy
SNAPSHOT_ROWS = 40
QUOTE, TRADE = 0, 1  # kinds of w1
LEVEL = 0  # kind of w1b and w2; TRADE is 1 there too

L1 = np.dtype([
    ("ts", "i8"), ("kind", "i4"), ("side", "i4"), ("px", "f8"), ("qty", "f8"),
    ("bid", "f8"), ("ask", "f8"), ("bid_qty", "f8"), ("ask_qty", "f8"),
])  # fmt: skip
L2 = np.dtype([("ts", "i8"), ("kind", "i4"), ("side", "i4"), ("px", "f8"), ("qty", "f8"), ("tick", "i8")])
assert L1.itemsize == 64


def arrival_times(rng: np.random.Generator, count: int) -> np.ndarray:
    """Increasing times over one day with log-normal gaps."""
    total = np.cumsum(rng.lognormal(0.0, 1.5, count))
    return START_NS + np.round(total / total[-1] * (DAY_NS - 10_000_000_000)).astype("i8") + np.arange(count)


def make_w1(rng: np.random.Generator, count: int = 5_000_000) -> np.ndarray:
    """Quotes and trades of one symbol; a trade carries the quote it met."""
    out = np.zeros(count, L1)
    out["ts"] = arrival_times(rng, count)
    kind = (rng.random(count) < 0.4).astype("i4")
    kind[0] = QUOTE
    out["kind"] = kind
    step = np.where(kind == QUOTE, rng.choice(np.array([-1, 0, 1]), count, p=[0.2, 0.6, 0.2]), 0)
    spread = rng.integers(1, 4, count)
    last_quote = np.maximum.accumulate(np.where(kind == QUOTE, np.arange(count), 0))
    bid = (500_000 + np.cumsum(step))[last_quote]
    ask = bid + spread[last_quote]
    side = rng.choice(np.array([-1, 1], "i4"), count)
    out["side"] = np.where(kind == TRADE, side, 0)
    qty = np.round(rng.lognormal(-2, 1, count), 3) + 0.001
    bid_qty = np.round(rng.lognormal(1, 1, count), 3) + 2.001
    ask_qty = np.round(rng.lognormal(1, 1, count), 3) + 2.001
    out["bid"] = np.round(bid * TICK, 1)
    out["ask"] = np.round(ask * TICK, 1)
    out["bid_qty"] = bid_qty[last_quote]
    out["ask_qty"] = ask_qty[last_quote]
    trade = kind == TRADE
    out["px"][trade] = np.where(side[trade] > 0, out["ask"][trade], out["bid"][trade])
    out["qty"][trade] = qty[trade]
    return out


@nb.njit
def put(out: Any, at: int, ts: int, kind: int, side: int, px: float, qty: float) -> int:
    """Write one L2 row. Returns the next index."""
    out[at]["ts"], out[at]["kind"], out[at]["side"], out[at]["px"], out[at]["qty"] = ts, kind, side, px, qty
    out[at]["tick"] = np.int64(round(px / TICK))
    return at + 1


@nb.njit
def split_quotes(source: Any, out: Any) -> int:
    """Each changed side of a quote as two level rows, new level first so that the book is never empty. Returns the count."""
    at = 0
    last_bid = last_ask = 0.0
    for i in range(len(source)):
        event = source[i]
        if event["kind"] == TRADE:
            at = put(out, at, event["ts"], TRADE, event["side"], event["px"], event["qty"])
            continue
        rising = event["bid"] >= last_bid
        for k in range(2):
            if (k == 0) == rising:
                if event["ask"] != last_ask:
                    at = put(out, at, event["ts"], LEVEL, -1, event["ask"], event["ask_qty"])
                    if last_ask > 0:
                        at = put(out, at, event["ts"], LEVEL, -1, last_ask, 0.0)
                    last_ask = event["ask"]
            elif event["bid"] != last_bid:
                at = put(out, at, event["ts"], LEVEL, 1, event["bid"], event["bid_qty"])
                if last_bid > 0:
                    at = put(out, at, event["ts"], LEVEL, 1, last_bid, 0.0)
                last_bid = event["bid"]
    return at


@nb.njit
def order_flow(count: int, u: Any, u2: Any, q: Any, kind: Any, side: Any, tick: Any, qty: Any) -> int:
    """A book of 20 contiguous levels a side under improvements, trades at the best and changes behind it. Returns the row count."""
    half = 400_000
    base = 500_000 - half
    bids, asks = np.zeros(2 * half), np.zeros(2 * half)
    b, a = 500_000, 500_001
    i = 0
    for k in range(20):
        bids[b - k - base] = q[k]
        kind[i], side[i], tick[i], qty[i] = LEVEL, 1, b - k, q[k]
        i += 1
        asks[a + k - base] = q[k + 20]
        kind[i], side[i], tick[i], qty[i] = LEVEL, -1, a + k, q[k + 20]
        i += 1
    j = SNAPSHOT_ROWS
    while i < count - 3:
        r, r2, fresh = u[j], u2[j], q[j]
        j += 1
        is_bid = r2 < 0.5
        spread = a - b
        if spread > 3 or (spread > 1 and r < 0.06):  # a new level inside the spread, the 21st disappears
            if is_bid:
                b += 1
                bids[b - base] = fresh
                kind[i], side[i], tick[i], qty[i] = LEVEL, 1, b, fresh
                bids[b - 20 - base] = 0.0
                kind[i + 1], side[i + 1], tick[i + 1], qty[i + 1] = LEVEL, 1, b - 20, 0.0
            else:
                a -= 1
                asks[a - base] = fresh
                kind[i], side[i], tick[i], qty[i] = LEVEL, -1, a, fresh
                asks[a + 20 - base] = 0.0
                kind[i + 1], side[i + 1], tick[i + 1], qty[i + 1] = LEVEL, -1, a + 20, 0.0
            i += 2
        elif r < 0.16:  # a trade at the best, then the depth row that shows it
            direction = 1 if is_bid else -1
            book = bids if is_bid else asks
            best = b if is_bid else a
            have = book[best - base]
            traded = min(fresh * 0.3, have)
            left = have - traded
            if left < 0.01:
                traded, left = have, 0.0
            kind[i], side[i], tick[i], qty[i] = TRADE, -direction, best, traded
            kind[i + 1], side[i + 1], tick[i + 1], qty[i + 1] = LEVEL, direction, best, left
            book[best - base] = left
            i += 2
            if left == 0.0:
                best -= direction
                far = best - 19 * direction
                kind[i], side[i], tick[i], qty[i] = LEVEL, direction, far, fresh
                book[far - base] = fresh
                i += 1
                if is_bid:
                    b = best
                else:
                    a = best
        else:
            behind = min(19, int(-np.log(1.0 - (r - 0.16) / 0.84 * 0.9999) * 4.0))
            if is_bid:
                bids[b - behind - base] = fresh
                kind[i], side[i], tick[i], qty[i] = LEVEL, 1, b - behind, fresh
            else:
                asks[a + behind - base] = fresh
                kind[i], side[i], tick[i], qty[i] = LEVEL, -1, a + behind, fresh
            i += 1
    return i


def make_w2(rng: np.random.Generator, count: int = 5_000_000) -> np.ndarray:
    """The order flow with arrival times; the snapshot's rows share the first."""
    count += SNAPSHOT_ROWS
    kind, side, tick = np.zeros(count, "i4"), np.zeros(count, "i4"), np.zeros(count, "i8")
    qty = np.zeros(count)
    fresh = np.round(rng.lognormal(0, 0.8, count), 3) + 0.05
    made = order_flow(count, rng.random(count), rng.random(count), fresh, kind, side, tick, qty)
    out = np.zeros(made, L2)
    times = arrival_times(rng, made)
    times[:SNAPSHOT_ROWS] = times[0]
    out["ts"] = times
    out["kind"], out["side"], out["tick"] = kind[:made], side[:made], tick[:made]
    out["px"] = np.round(tick[:made] * TICK, 1)
    out["qty"] = np.round(qty[:made], 3)
    out["qty"][(out["kind"] == TRADE) & (out["qty"] == 0)] = 0.001
    return out


def folder() -> Path:
    """Where the workloads are kept, whether or not they were made."""
    named = os.environ.get("TWINLOOP_BENCH_CACHE")
    if named:
        return Path(named)
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"twinloop-bench-{digest}"


def prepare() -> Path:
    """The folder with the three files, made if missing (about half a minute, 1.1 GB)."""
    target = folder()
    if (target / "complete").exists():
        return target
    target.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(7)
    w1 = make_w1(rng)
    np.save(target / "w1.npy", w1)
    np.save(target / "w2.npy", make_w2(rng))
    rows = np.zeros(2 * len(w1), L2)
    np.save(target / "w1b.npy", rows[: split_quotes(w1, rows)])
    (target / "complete").write_text("made by generate.py\n")
    return target


if __name__ == "__main__":
    print(prepare())
