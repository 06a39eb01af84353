"""hftbacktest 2.4.4's side of the parity runs: every fill, every order and the position after each response, as one JSON file a run.

It uses the peer the way its users do: its own converter, the hash-map depth (its range-of-interest depth does not clear asks
at a snapshot), constant latency, risk-averse queue, no-partial-fill venue. It shares no code with twinloop.

usage: peer_hftbacktest.py RECORDING.gz|REFERENCE.parquet MARKET OUT_FOLDER
"""
# ruff: noqa: ANN001, ANN201, D103 - compiled strategies take the peer's jitclasses, which have no static types

import contextlib
import io
import json
import sys
from pathlib import Path

import hftbacktest
import numpy as np
import spec
from hftbacktest import (
    BUY,
    FILLED,
    GTX,
    LIMIT,
    NONE,
    BacktestAsset,
    HashMapMarketDepthBacktest,
)
from hftbacktest.order import IOC
from hftbacktest.types import event_dtype
from numba import njit, uint64

NO_BID = -(2**63)
NO_ASK = 2**63 - 1
ORDERS_MAX = 100_000
FILL = np.dtype(
    [
        ("order_id", "i8"),
        ("side", "i8"),
        ("price_ticks", "i8"),
        ("qty_lots", "i8"),
        ("venue_ns", "i8"),
        ("local_ns", "i8"),
    ]
)
ORDER = np.dtype(
    [
        ("order_id", "i8"),
        ("side", "i8"),
        ("price_ticks", "i8"),
        ("qty_lots", "i8"),
        ("decided_ns", "i8"),
        ("cancel_ns", "i8"),  # when the cancel was decided; 0 none
        ("status", "i8"),  # the peer's code at the last response seen: 1 resting, 2 expired, 3 filled, 4 cancelled
        ("venue_ns", "i8"),
        ("local_ns", "i8"),
    ]
)
POSITION = np.dtype([("local_ns", "i8"), ("position_lots", "i8")])


def events(path: str) -> np.ndarray:
    """The peer's event array of a recording: by its own converter, or from a stored Parquet of that converter's output."""
    if path.endswith(".parquet"):
        import polars as pl

        table = pl.read_parquet(path)
        out = np.zeros(len(table), event_dtype)
        for name in ("ev", "exch_ts", "local_ts", "px", "qty"):
            out[name] = table[name].to_numpy()
        return out
    from hftbacktest.data.utils import binancefutures

    with contextlib.redirect_stdout(io.StringIO()):
        return binancefutures.convert(path, buffer_size=5_000_000)


@njit
def scan(hbt, orders, fills, counts, seen_status, lot, latency_ns):
    """Note each order whose local state changed by the responses just handled. Returns how many did."""
    changed = 0
    values = hbt.orders(0).values()
    while values.has_next():
        order = values.get()
        index = np.int64(order.order_id)
        status = np.int64(order.status)
        # A changed venue time is a new response: the venue stamps each one.
        if status == NONE or (status == seen_status[index] and order.exch_timestamp == orders[index]["venue_ns"]):
            continue
        changed += 1
        seen_status[index] = status
        orders[index]["status"] = status
        orders[index]["venue_ns"] = order.exch_timestamp
        orders[index]["local_ns"] = order.exch_timestamp + latency_ns
        if status == FILLED:
            row = fills[counts[0]]
            row["order_id"] = index
            row["side"] = 1 if order.side == BUY else -1
            row["price_ticks"] = order.exec_price_tick
            row["qty_lots"] = np.int64(round(order.exec_qty / lot))
            row["venue_ns"] = order.exch_timestamp
            row["local_ns"] = order.exch_timestamp + latency_ns
            counts[0] += 1
    return changed


@njit
def submit(hbt, orders, counts, side, ticks, lots, tick, lot, time_in_force):
    counts[1] += 1
    index = counts[1]
    if side > 0:
        hbt.submit_buy_order(0, uint64(index), ticks * tick, lots * lot, time_in_force, LIMIT, False)
    else:
        hbt.submit_sell_order(0, uint64(index), ticks * tick, lots * lot, time_in_force, LIMIT, False)
    row = orders[index]
    row["order_id"] = index
    row["side"] = side
    row["price_ticks"] = ticks
    row["qty_lots"] = lots
    row["decided_ns"] = hbt.current_timestamp
    return index


@njit
def maker(hbt, orders, counts, slots, tick, lot, order_lots, skew_ticks, levels, spacing_ticks, orders_max):
    hbt.clear_inactive_orders(0)
    depth = hbt.depth(0)
    bid, ask = depth.best_bid_tick, depth.best_ask_tick
    if bid == NO_BID or ask == NO_ASK:
        return
    held = np.int64(round(hbt.position(0) / lot)) // order_lots
    for slot in range(2 * levels):
        side = 1 if slot < levels else -1
        behind = (slot % levels) * spacing_ticks
        if side > 0:
            target = min(bid - held * skew_ticks, ask - 1) - behind
        else:
            target = max(ask - held * skew_ticks, bid + 1) + behind
        allowed = side * held < orders_max
        if slots[slot] != 0 and uint64(slots[slot]) not in hbt.orders(0):
            slots[slot] = 0  # Filled, cancelled or expired: the response was handled.
        if slots[slot] != 0:
            order = hbt.orders(0).get(uint64(slots[slot]))
            if not order.cancellable or (allowed and order.price_tick == target):
                continue  # Not yet answered, or already right.
            hbt.cancel(0, uint64(slots[slot]), False)
            orders[slots[slot]]["cancel_ns"] = hbt.current_timestamp
            slots[slot] = 0
        if allowed:
            slots[slot] = submit(hbt, orders, counts, side, target, order_lots, tick, lot, GTX)


@njit
def taker(hbt, orders, counts, slots, tick, lot, order_lots, percent, orders_max):
    hbt.clear_inactive_orders(0)
    depth = hbt.depth(0)
    bid, ask = depth.best_bid_tick, depth.best_ask_tick
    if bid == NO_BID or ask == NO_ASK:
        return
    if slots[0] != 0 and uint64(slots[0]) in hbt.orders(0):
        return  # Not yet answered.
    slots[0] = 0
    bid_lots = np.int64(round(depth.bid_qty_at_tick(bid) / lot))
    ask_lots = np.int64(round(depth.ask_qty_at_tick(ask) / lot))
    held = np.int64(round(hbt.position(0) / lot)) // order_lots
    if 100 * bid_lots > percent * (bid_lots + ask_lots) and held < orders_max:
        slots[0] = submit(hbt, orders, counts, 1, ask, order_lots, tick, lot, IOC)
    elif 100 * ask_lots > percent * (bid_lots + ask_lots) and -held < orders_max:
        slots[0] = submit(hbt, orders, counts, -1, bid, order_lots, tick, lot, IOC)


@njit
def run(
    hbt,
    is_maker,
    start_ns,
    last_ns,
    grid_ns,
    warmup,
    tick,
    lot,
    order_lots,
    skew_ticks,
    levels,
    spacing_ticks,
    orders_max,
    percent,
    latency_ns,
    fine,
    orders,
    fills,
    positions,
):
    """Drive the peer to the end of its data. fine stops at every event to note the position; else one elapse per grid step."""
    counts = np.zeros(3, np.int64)  # fills, orders, position notes
    slots = np.zeros(2 * levels, np.int64)
    seen_status = np.zeros(ORDERS_MAX, np.int64)
    decisions = np.int64(0)
    next_ns = start_ns + grid_ns
    result = np.int64(0)
    first = True
    while True:
        if fine:
            # The first call starts the peer's clock at its first event.
            while first or hbt.current_timestamp < next_ns:
                remaining = np.int64(grid_ns) if first else next_ns - hbt.current_timestamp
                first = False
                result = hbt.wait_next_feed(True, remaining)
                if result not in (0, 2, 3):
                    break
                scan(hbt, orders, fills, counts, seen_status, lot, latency_ns)
                if result == 3:
                    if counts[2] == 0 or positions[counts[2] - 1]["local_ns"] != hbt.current_timestamp:
                        counts[2] += 1
                    positions[counts[2] - 1]["local_ns"] = hbt.current_timestamp
                    positions[counts[2] - 1]["position_lots"] = np.int64(round(hbt.position(0) / lot))
            if result == 1 or result >= 10:
                # The last answers may come with the end of the data, which leaves the clock where it was.
                before = counts[0]
                if scan(hbt, orders, fills, counts, seen_status, lot, latency_ns) > 0 and counts[0] > before:
                    positions[counts[2]]["local_ns"] = fills[counts[0] - 1]["local_ns"]
                    positions[counts[2]]["position_lots"] = np.int64(round(hbt.position(0) / lot))
                    counts[2] += 1
                break
        else:
            result = hbt.elapse(grid_ns)
            if result != 0:
                scan(hbt, orders, fills, counts, seen_status, lot, latency_ns)
                break
            scan(hbt, orders, fills, counts, seen_status, lot, latency_ns)
        decisions += 1
        assert hbt.current_timestamp == next_ns
        if decisions > warmup and next_ns <= last_ns:
            if is_maker:
                maker(hbt, orders, counts, slots, tick, lot, order_lots, skew_ticks, levels, spacing_ticks, orders_max)
            else:
                taker(hbt, orders, counts, slots, tick, lot, order_lots, percent, orders_max)
        next_ns += grid_ns
    return counts, result


def replay(data: np.ndarray, market: str, strategy: str, latency_ms: int, *, fine: bool = True) -> dict[str, object]:
    """One run. Returns fills, orders, positions (structured arrays) and the peer's own totals."""
    grid = spec.MARKETS[market]
    tick, lot = float(grid.tick), float(grid.lot)
    latency_ns = latency_ms * 1_000_000
    asset = (
        BacktestAsset()
        .data(data)
        .linear_asset(1.0)
        .constant_order_latency(latency_ns, latency_ns)
        .risk_adverse_queue_model()
        .no_partial_fill_exchange()
        .trading_value_fee_model(spec.MAKER_FEE, spec.TAKER_FEE)
        .tick_size(tick)
        .lot_size(lot)
        .last_trades_capacity(0)
    )
    venue = data[(data["ev"] & hftbacktest.EXCH_EVENT) != 0]
    local = data[(data["ev"] & hftbacktest.LOCAL_EVENT) != 0]
    start_ns = int(min(venue["exch_ts"][0], local["local_ts"][0]))
    last_ns = int(local["local_ts"][-1]) - spec.TAIL_NS
    orders_max = spec.MAKER.orders_max if strategy == "maker" else spec.TAKER.orders_max
    orders = np.zeros(ORDERS_MAX, ORDER)
    fills = np.zeros(ORDERS_MAX, FILL)
    positions = np.zeros(ORDERS_MAX, POSITION)
    hbt = HashMapMarketDepthBacktest([asset])
    counts, result = run(
        hbt, strategy == "maker", start_ns, last_ns, spec.GRID_NS, spec.WARMUP_DECISIONS, tick, lot, grid.order_lots,
        grid.skew_ticks, spec.MAKER.levels, grid.spacing_ticks, orders_max, spec.TAKER.percent, latency_ns, fine, orders, fills, positions,
    )  # fmt: skip
    if result != 1:
        raise SystemExit(f"hftbacktest stopped with code {result} before the end of the data")
    state = hbt.state_values(0)
    totals = {
        "position": float(state.position),
        "balance": float(state.balance),
        "fee": float(state.fee),
        "trades": int(state.num_trades),
    }
    hbt.close()
    fills = np.sort(fills[: counts[0]], order=("local_ns", "venue_ns", "order_id"))
    return {
        "fills": fills,
        "orders": orders[1 : counts[1] + 1],
        "positions": positions[: counts[2]],
        "totals": totals,
        "start_ns": start_ns,
        "rows": len(data),
    }


def main() -> None:
    """Run every strategy at every latency over one recording; one JSON file each, in a folder."""
    source, market, folder = sys.argv[1:]
    data = events(source)
    written = {}
    for strategy in spec.STRATEGIES:
        for latency_ms in spec.LATENCIES_MS:
            result = replay(data, market, strategy, latency_ms)
            document = {
                "engine": f"hftbacktest {hftbacktest.__version__}",
                "market": market,
                "strategy": strategy,
                "latency_ms": latency_ms,
                **{
                    k: [list(map(int, r)) for r in v.tolist()] if isinstance(v, np.ndarray) else v
                    for k, v in result.items()
                },
                "columns": {"fills": FILL.names, "orders": ORDER.names, "positions": POSITION.names},
            }
            name = f"{market}_{strategy}_{latency_ms}ms.json"
            (Path(folder) / name).write_text(json.dumps(document))
            written[name] = len(document["fills"])
    print(json.dumps({"written": written}))


if __name__ == "__main__":
    main()
