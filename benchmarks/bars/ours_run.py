"""One measurement of twinloop in a process of its own; ours.py holds what is run. Prints one JSON line.

usage: ours_run.py speed FOLDER WORKLOAD MODE FEATURE,FEATURE... | parity RECORDING MARKET STRATEGY LATENCY_MS MODE
       | hash BATCH 0|1 | stream SCALE | sma FILE
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import ours


def speed(folder: str, workload: str, mode: str, features: str) -> dict[str, Any]:
    """Compile and touch the rows outside the clock, then time one whole run."""
    rows = ours.speed_load(workload, Path(folder))
    run = ours.speed_build(workload, mode, [name for name in features.split(",") if name])
    np.add.reduce(rows["venue_ns"])  # the pages are in memory, as the peer's array is
    start, busy = time.perf_counter(), time.process_time()
    out = run(rows)
    elapsed, busy = time.perf_counter() - start, time.process_time() - busy
    count = len(rows) - (0 if workload == "w1" else 2)  # the snapshot's two brackets are no source rows
    rates = {"seconds": round(elapsed, 6), "rate": round(count / elapsed), "cpu_rate": round(count / busy)}
    return {"engine": "twinloop", "rows": count, **rates, **out}


def anonymous_bytes() -> int:
    """Anonymous resident memory of this process now; file-mapped pages are the page cache's and can be dropped."""
    fields = {}
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines()[1:]:
        name, value = line.split(":")
        fields[name] = int(value.split()[0]) * 1024
    return fields["Anonymous"]


def stream(scale: str) -> dict[str, Any]:
    """One streamed run, its anonymous memory sampled every 10 ms by a thread."""
    import threading

    peak = [0]
    done = threading.Event()

    def watch() -> None:
        while not done.wait(0.01):
            peak[0] = max(peak[0], anonymous_bytes())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        out = ours.stream_run(int(scale))
    finally:
        done.set()
        watcher.join()
    return {"peak_anonymous_bytes": max(peak[0], anonymous_bytes()), **out}


def growth(runs: str) -> dict[str, Any]:
    """Several runs in one process; anonymous memory after each."""
    import gc

    after = []
    for _ in range(int(runs)):
        ours.stream_run(1)
        gc.collect()
        after.append(anonymous_bytes())
    return {"after_bytes": after}


def main() -> None:
    """Dispatch."""
    what, *arguments = sys.argv[1:]
    known = {
        "speed": speed,
        "stream": stream,
        "growth": growth,
        "parity": lambda path, market, strategy, latency, mode: ours.parity_run(
            Path(path), market, strategy, int(latency), mode
        ),
        "hash": lambda batch, extra: ours.decision_hash(batch, extra == "1"),
        "sma": lambda path: {"trades": ours.sma_trades(Path(path))},
        "bad-input": lambda: {"cases": ours.bad_inputs()},
    }
    try:
        found = known[what](*arguments)
    except ours.NotBuiltError as reason:
        found = {"not_built": str(reason)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
