"""hftbacktest 2.4.4 on the workloads, in its fastest configuration: range-of-interest vector depth, no-partial-fill venue, one core.

One process is one measurement: convert (kept beside the workload), compile on a short piece, then time one whole run.

W1   EMA(100)/EMA(400) of trade prices; at a crossing one order reverses to +1 or -1 (the first opens), taker, feed latency 1 ms,
     order latency 1 ms each way, risk-averse queue, taker fee 2 bps; the strategy is asked at each row of the feed.
W1b  the same run; the rows counted are those of w1b, which the peer reads one to one.
W2   one post-only bid and ask of 1.0 at the best, position limit 5, power probability queue (n = 2), order latency 1 ms each way,
     maker rebate 0.5 bps; re-quoted at each row (after the snapshot's 40) or each 100 ms.

usage: peer_hftbacktest.py FOLDER w1|w1b|w2 feed|100ms   (prints one JSON line)
"""
# ruff: noqa: ANN001, ANN201, D103 - compiled strategies take the peer's jitclasses, which have no static types

import json
import sys
import time
from pathlib import Path

import hftbacktest
import numpy as np
from hftbacktest import BUY, GTC, GTX, LIMIT, MARKET, BacktestAsset, ROIVectorMarketDepthBacktest
from hftbacktest.types import event_dtype
from numba import njit, uint64

FAR_NS = 10**15
FEED_NS = 1_000_000
BOTH = hftbacktest.EXCH_EVENT | hftbacktest.LOCAL_EVENT
BID_SIDE, ASK_SIDE = hftbacktest.BUY_EVENT, hftbacktest.SELL_EVENT


@njit
def ema_cross(hbt, alpha_fast, alpha_slow):
    fast = slow = wanted = 0.0
    order_id = 1
    calls = trades = 0
    while hbt.wait_next_feed(True, FAR_NS) != 1:
        calls += 1
        seen = hbt.last_trades(0)
        if len(seen) == 0:
            continue
        for i in range(len(seen)):
            price = seen[i].px
            if trades == 0:
                fast = slow = price
            trades += 1
            fast += alpha_fast * (price - fast)
            slow += alpha_slow * (price - slow)
        hbt.clear_last_trades(0)
        side = 1.0 if fast > slow else -1.0
        if side != wanted:
            qty = 1.0 if wanted == 0.0 else 2.0
            wanted = side
            hbt.clear_inactive_orders(0)
            order_id += 1
            if side > 0:
                hbt.submit_buy_order(0, order_id, hbt.depth(0).best_ask, qty, GTC, MARKET, False)
            else:
                hbt.submit_sell_order(0, order_id, hbt.depth(0).best_bid, qty, GTC, MARKET, False)
    return calls, order_id - 1


@njit
def quote(hbt, limit):
    hbt.clear_inactive_orders(0)
    depth = hbt.depth(0)
    bid, ask, tick = depth.best_bid_tick, depth.best_ask_tick, depth.tick_size
    position = hbt.position(0)
    have_bid = have_ask = False
    sent = 0
    orders = hbt.orders(0)
    values = orders.values()
    while values.has_next():
        order = values.get()
        if order.side == BUY:
            if order.price_tick == bid and position < limit:
                have_bid = True
            elif order.cancellable:
                hbt.cancel(0, order.order_id, False)
                sent += 1
        elif order.price_tick == ask and position > -limit:
            have_ask = True
        elif order.cancellable:
            hbt.cancel(0, order.order_id, False)
            sent += 1
    if not have_bid and position < limit and uint64(bid) not in orders:
        hbt.submit_buy_order(0, uint64(bid), bid * tick, 1.0, GTX, LIMIT, False)
        sent += 1
    if not have_ask and position > -limit and uint64(ask) not in orders:
        hbt.submit_sell_order(0, uint64(ask), ask * tick, 1.0, GTX, LIMIT, False)
        sent += 1
    return sent


@njit
def quote_each_step(hbt, step_ns, limit):
    calls = sent = 0
    while hbt.elapse(step_ns) == 0:
        calls += 1
        sent += quote(hbt, limit)
    return calls, sent


@njit
def quote_each_row(hbt, limit):
    calls = sent = 0
    while hbt.wait_next_feed(False, FAR_NS) != 1:
        calls += 1
        if calls > 40:
            sent += quote(hbt, limit)
    return calls, sent


def converted(folder: Path, workload: str) -> np.ndarray:
    """The peer's event array of a workload, row by row, kept beside it."""
    kept = folder / f"hftbacktest_{workload}.npy"
    if not kept.exists():
        source = np.load(folder / f"{workload}.npy")
        out = np.zeros(len(source), event_dtype)
        kind = np.where(source["kind"] == 1, hftbacktest.TRADE_EVENT, hftbacktest.DEPTH_EVENT)
        if workload == "w2":
            kind[:40] = hftbacktest.DEPTH_SNAPSHOT_EVENT
        out["ev"] = kind | BOTH | np.where(source["side"] > 0, BID_SIDE, ASK_SIDE)
        out["exch_ts"] = source["ts"]
        out["local_ts"] = source["ts"] + FEED_NS
        out["px"], out["qty"] = source["px"], source["qty"]
        half_made = kept.with_suffix(".part.npy")
        np.save(half_made, out)
        half_made.replace(kept)
    return np.load(kept)


def run(data: np.ndarray, workload: str, mode: str) -> dict[str, float]:
    """One whole run."""
    asset = (
        BacktestAsset()
        .data(data)
        .linear_asset(1.0)
        .constant_order_latency(1_000_000, 1_000_000)
        .no_partial_fill_exchange()
    )
    if workload == "w2":
        asset = asset.power_prob_queue_model(2.0).trading_value_fee_model(-0.00005, 0.0007)
    else:
        asset = asset.risk_adverse_queue_model().trading_value_fee_model(0.0, 0.0002).last_trades_capacity(100_000)
    hbt = ROIVectorMarketDepthBacktest([asset.tick_size(0.1).lot_size(0.001).roi_lb(49_000.0).roi_ub(51_000.0)])
    if workload != "w2":
        calls, sent = ema_cross(hbt, 2 / 101, 2 / 401)
    elif mode == "feed":
        calls, sent = quote_each_row(hbt, 5.0)
    else:
        calls, sent = quote_each_step(hbt, int(mode.removesuffix("ms")) * 1_000_000, 5.0)
    state = hbt.state_values(0)
    out = {
        "calls": int(calls),
        "requests": int(sent),
        "fills": int(state.num_trades),
        "position": float(state.position),
        "fee": float(state.fee),
        "balance": float(state.balance),
    }
    hbt.close()
    return out


def main() -> None:
    """Measure once."""
    folder, workload, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    data = converted(folder, "w1b" if workload == "w1" else workload)
    source_rows = 5_000_000 if workload == "w1" else len(data)
    run(data[:2000].copy(), workload, mode)
    start, busy = time.perf_counter(), time.process_time()
    out = run(data, workload, mode)
    elapsed, busy = time.perf_counter() - start, time.process_time() - busy
    print(
        json.dumps(
            {
                "engine": f"hftbacktest {hftbacktest.__version__} (ROI vector depth, no partial fills)",
                "rows": source_rows,
                "rows_read": len(data),
                "seconds": round(elapsed, 6),
                "rate": round(source_rows / elapsed),
                "cpu_rate": round(source_rows / busy),
                **out,
            }
        )
    )


if __name__ == "__main__":
    main()
