"""The floor: special-purpose Numba loops over the same work, with no engine around them. What is lost against these is the engine.

No checks, no risk limits, one order a side, float money: only good for saying how much of a core is left.

usage: floor.py FOLDER w1|w1b|w2 feed|100ms   (prints one JSON line)
"""
# ruff: noqa: ANN001, ANN201 - one compiled loop a workload, called here only

import json
import sys
import time
from pathlib import Path

import numpy as np
from numba import njit

NEVER = np.int64(0x7FFFFFFFFFFFFFFF)


@njit
def ema_ioc(events, alpha_fast, alpha_slow, fee_rate, latency_ns):
    """W1: two EMAs, a reversal at each crossing filled one latency later, fee, mark and drawdown at each trade."""
    fast = slow = position = cash = wanted = peak = drawdown = 0.0
    due = NEVER
    fills = 0
    first = True
    for i in range(len(events)):
        event = events[i]
        if event.ts >= due:
            change = wanted - position
            price = event.ask if change > 0 else event.bid
            cash -= change * price + abs(change) * price * fee_rate
            position = wanted
            due = NEVER
            fills += 1
        if event.kind == 1:
            if first:
                fast = slow = event.px
                first = False
            fast += alpha_fast * (event.px - fast)
            slow += alpha_slow * (event.px - slow)
            side = 1.0 if fast > slow else -1.0
            if side != wanted:
                wanted = side
                due = event.ts + latency_ns
            equity = cash + position * event.px
            peak = max(peak, equity)
            drawdown = max(drawdown, peak - equity)
    return cash, position, fills, fills


@njit
def book_ema_ioc(events, base, bids, asks, alpha_fast, alpha_slow, fee_rate, latency_ns):
    """W1b: the same over level rows, with the book that gives the best prices."""
    fast = slow = position = cash = wanted = peak = drawdown = 0.0
    due = NEVER
    fills = 0
    first = True
    best_bid, best_ask = 0, len(asks) - 1
    for i in range(len(events)):
        event = events[i]
        if event.ts >= due:
            change = wanted - position
            price = ((best_ask if change > 0 else best_bid) + base) * 0.1
            cash -= change * price + abs(change) * price * fee_rate
            position = wanted
            due = NEVER
            fills += 1
        if event.kind == 0:
            k = event.tick - base
            if event.side > 0:
                bids[k] = event.qty
                if event.qty > 0.0:
                    best_bid = max(best_bid, k)
                elif k == best_bid:
                    while best_bid > 0 and bids[best_bid] == 0.0:
                        best_bid -= 1
            else:
                asks[k] = event.qty
                if event.qty > 0.0:
                    best_ask = min(best_ask, k)
                elif k == best_ask:
                    while best_ask < len(asks) - 1 and asks[best_ask] == 0.0:
                        best_ask += 1
        else:
            if first:
                fast = slow = event.px
                first = False
            fast += alpha_fast * (event.px - fast)
            slow += alpha_slow * (event.px - slow)
            side = 1.0 if fast > slow else -1.0
            if side != wanted:
                wanted = side
                due = event.ts + latency_ns
            equity = cash + position * event.px
            peak = max(peak, equity)
            drawdown = max(drawdown, peak - equity)
    return cash, position, fills, fills


@njit
def maker(events, base, bids, asks, step_ns, latency_ns, limit, fee_rate):
    """W2: the book, one bid and one ask at the best re-quoted each step, order latency, queue position, position limit, fee."""
    best_bid, best_ask = 0, 0x7FFFFFFF
    next_ns = events[0].ts + step_ns
    at = np.full(2, -1)  # the live order's level: 0 bid, 1 ask
    ahead = np.zeros(2)
    wanted = np.full(2, -1)
    due = np.full(2, NEVER)  # when the last request reaches the venue
    position = cash = 0.0
    fills = requests = 0
    for i in range(len(events)):
        event = events[i]
        for s in range(2):
            if event.ts >= due[s]:
                due[s] = NEVER
                at[s] = wanted[s]
                if at[s] >= 0:
                    if (s == 0 and at[s] >= best_ask) or (s == 1 and at[s] <= best_bid):
                        at[s] = -1
                    else:
                        ahead[s] = bids[at[s]] if s == 0 else asks[at[s]]
        k = event.tick - base
        hit = -1
        if event.kind == 0:
            if event.side > 0:
                bids[k] = event.qty
                if k == at[0] and event.qty < ahead[0]:
                    ahead[0] = event.qty
                if event.qty > 0.0:
                    best_bid = max(best_bid, k)
                elif k == best_bid:
                    while bids[best_bid] == 0.0:
                        best_bid -= 1
                if at[1] >= 0 and best_bid >= at[1]:
                    hit = 1
            else:
                asks[k] = event.qty
                if k == at[1] and event.qty < ahead[1]:
                    ahead[1] = event.qty
                if event.qty > 0.0:
                    best_ask = min(best_ask, k)
                elif k == best_ask:
                    while asks[best_ask] == 0.0:
                        best_ask += 1
                if at[0] >= 0 and best_ask <= at[0]:
                    hit = 0
        elif event.side < 0:
            if at[0] >= 0:
                if k < at[0]:
                    hit = 0
                elif k == at[0]:
                    ahead[0] -= event.qty
                    if ahead[0] < 0.0:
                        hit = 0
        elif at[1] >= 0:
            if k > at[1]:
                hit = 1
            elif k == at[1]:
                ahead[1] -= event.qty
                if ahead[1] < 0.0:
                    hit = 1
        if hit >= 0:
            price = (at[hit] + base) * 0.1
            change = 1.0 if hit == 0 else -1.0
            position += change
            cash -= change * price + price * fee_rate
            at[hit] = -1
            fills += 1
        if event.ts >= next_ns:
            next_ns += ((event.ts - next_ns) // step_ns + 1) * step_ns
            for s in range(2):
                allowed = (s == 0 and position < limit) or (s == 1 and position > -limit)
                target = (best_bid if s == 0 else best_ask) if allowed else -1
                if due[s] == NEVER and target != at[s]:
                    wanted[s] = target
                    due[s] = event.ts + latency_ns
                    requests += 1
    return cash, position, fills, requests


def main() -> None:
    """Measure once."""
    folder, workload, mode = Path(sys.argv[1]), sys.argv[2], sys.argv[3]
    data = np.load(folder / f"{workload}.npy")
    if workload == "w1":

        def run(rows):  # noqa: ANN202
            return ema_ioc(rows, 2 / 101, 2 / 401, 0.0002, 1_000_000)

    else:
        base = int(data["tick"].min()) - 100
        width = int(data["tick"].max()) - base + 100
        step_ns = 1 if mode == "feed" else int(mode.removesuffix("ms")) * 1_000_000

        def run(rows):  # noqa: ANN202
            bids, asks = np.zeros(width), np.zeros(width)
            if workload == "w1b":
                return book_ema_ioc(rows, base, bids, asks, 2 / 101, 2 / 401, 0.0002, 1_000_000)
            return maker(rows, base, bids, asks, step_ns, 1_000_000, 5.0, -0.00005)

    run(data[:2000])
    start, busy = time.perf_counter(), time.process_time()
    cash, position, fills, requests = run(data)
    elapsed, busy = time.perf_counter() - start, time.process_time() - busy
    print(
        json.dumps(
            {
                "engine": "plain Numba loop",
                "rows": len(data),
                "seconds": round(elapsed, 6),
                "rate": round(len(data) / elapsed),
                "cpu_rate": round(len(data) / busy),
                "requests": int(requests),
                "fills": int(fills),
                "position": float(position),
                "balance": float(cash),
            }
        )
    )


if __name__ == "__main__":
    main()
