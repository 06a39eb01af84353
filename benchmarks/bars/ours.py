"""twinloop's side of every bar: the only file here that knows the engine. Each function says what the bar expects of it.

A part that does not exist yet raises NotBuiltError; its bar then prints ok false with that reason.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "parity"))

import ours_modes

ROOT: Final = Path(__file__).resolve().parents[2]


class NotBuiltError(Exception):
    """A part of the engine that a bar needs and that does not exist yet."""


FEATURES: Final[dict[str, tuple[str, ...]]] = {
    "w1": ("limits", "bars", "loss_mark", "stale_gate"),
    "w1b": ("limits", "bars", "loss_mark", "stale_gate"),
    "w2": ("limits", "loss_mark", "stale_gate"),
}
"""Switches whose cost the speed bars state, one off at a time. The compared run has all of them on."""


def speed_load(workload: str, folder: Path) -> Any:
    """Rows of a workload (w1, w1b, w2) as a ROW array, made from folder/<workload>.npy and kept beside it. Not timed.

    venue_ns = ts, local_ns = ts + 1 ms, price_scale 1, qty_scale 3; of w2 the first 40 rows are one snapshot.
    workload_rows() below does the conversion.
    """
    return workload_rows(workload, folder)


def speed_build(workload: str, mode: str, features: Sequence[str]) -> Callable[[Any], dict[str, Any]]:
    """A ready function rows -> {"fills", "position", "fee", "requests", "balance"}; compiling is done here, not timed.

    mode: "feed" (each row) or "100ms" (a timer). features: those of FEATURES that are on. The strategies and settings are
    those of benchmarks/workloads/peer_hftbacktest.py: EMA(100)/EMA(400), reversal by IOC, taker fee 2 bps, order latencies
    1 ms each way, risk-averse queue; W2: 1.0 a side at the best, post-only, limit 5, power queue n = 2, maker fee -0.5 bps.
    """
    import sys

    import numpy as np

    from twinloop.data.instruments import Instrument
    from twinloop.engine.assembly import Assembly, BarRequest, StrategySlot, VenueSettings
    from twinloop.engine.strategy_compiler import compile_strategy
    from twinloop.kernels import codes, venue
    from twinloop.kernels.bars import TIME_BAR
    from twinloop.kernels.node import STANDARD

    sys.path.insert(0, str(Path(__file__).parents[1] / "workloads"))
    import strategies

    maker = workload == "w2"
    instrument = Instrument(
        symbol="X", venue="synthetic", contract="linear", base="BTC", quote="USDT", settle="USDT", price_scale=1, qty_scale=3,
        tick_size=1, lot_size=1, min_qty=1, max_qty=10**12, maker_fee=-5_000 if maker else 0, taker_fee=70_000 if maker else 20_000,
    )  # fmt: skip
    settings = VenueSettings(
        entry_latency_ns=1_000_000,
        response_latency_ns=1_000_000,
        queue_model="power" if maker else "risk_averse",
        deplete=False,
    )
    strategy = strategies.Maker if maker else strategies.EmaCross
    parameters = {"interval_ns": 0 if mode == "feed" else 100_000_000} if maker else {}
    compiled = compile_strategy(strategy, parameters, STANDARD, ["X"])
    with_depth = workload != "w1"

    def build() -> Assembly:
        assembly = Assembly(STANDARD)
        assembly.currency("USDT")
        assembly.add_account(10_000_000 * 10**8)
        assembly.add_instrument(instrument, venue.DEPTH if with_depth else venue.TOUCH)
        assembly.set_venue(settings, 7)
        if "bars" in features:
            assembly.add_bars([BarRequest(0, TIME_BAR, 60 * 10**9)], [instrument])
        slot = StrategySlot("speed", dict(compiled.addresses), compiled.initial_area(), [0], keep=compiled)
        if maker and mode != "feed":
            slot.addresses.pop("on_book"), slot.addresses.pop("on_trade")
        assembly.add_strategy(slot)
        wide_limits(assembly, features)
        assembly.venue["jump"] = not with_depth
        return assembly

    build()

    def run(rows: Any) -> dict[str, Any]:
        assembly = build()
        assembly.set_tape(rows, rows)
        assembly.decision["clock"]["now_ns"] = int(rows[0]["local_ns"])
        assembly.callback(0, codes.ON_START)
        fills = 0
        while True:
            status = assembly.replay(1_000_000)
            fills += int(assembly.node["fill_count"])
            for name in ("fill_count", "order_record_count", "verdict_count", "equity_count", "records_full"):
                assembly.node[name] = 0
            if status not in (codes.RUN_ROWS_MAX, codes.RUN_RECORDS_FULL):
                break
        assert status == codes.RUN_DONE, codes.RUN_NAME[status]
        position = assembly.decision["account_holdings"][0, 0]["position"]
        measured = assembly.node["measured"]
        return {
            "fills": fills,
            "position": int(position["qty"]) / 1000,
            "fee": int(position["fees"]) / 1e8,
            "requests": int(measured["orders"] + measured["cancels"]),
            "balance": int(assembly.decision["accounts"][0]["cash"]) / 1e8 - 10_000_000,
            "refused": int(np.sum(measured["refused"])),
        }

    return run


def wide_limits(assembly: Any, features: Sequence[str]) -> None:
    """Every limit configured and wide ("limits"), the daily-loss mark and the stale gate on or off; off is as far as it goes."""
    decision = assembly.decision
    huge = 2**60
    limits, account = decision["instrument_limits"][0], decision["account_limits"][0]
    for record in (limits, account):
        for name in record.dtype.names:
            record[name] = huge
    limits["allowed"] = 1
    limits["price_collar_e8"] = 10**7
    limits["max_slippage_e8"] = 10**7 if "limits" in features else huge
    limits["max_data_age_ns"] = 3_600 * 10**9 if "stale_gate" in features else huge
    account["initial_margin_e8"] = 10**6 if "limits" in features else 0
    account["self_match"] = 1 if "limits" in features else 0
    account["duplicate_window_ns"] = 1 if "limits" in features else 0
    account["duplicate_max"] = 1000
    account["messages_per_s"], account["message_burst"] = 10**6, 10**6
    account["max_daily_loss"] = account["max_drawdown"] = 9_000_000 * 10**8 if "loss_mark" in features else huge
    decision["accounts"][0]["equity_floor"] = 1_000_000 * 10**8 if "loss_mark" in features else -huge


DEPARTURES: Final[tuple[str, ...]] = tuple(ours_modes.DEPARTURES)
"""Semantics in which the default mode departs from hftbacktest's; the bar states what each alone changes."""


def parity_run(
    recording: Path, market: str, strategy: str, latency_ms: int, mode: str
) -> dict[str, list[tuple[int, ...]]]:
    """One run of benchmarks/parity: {"fills": [...], "positions": [...]}.

    mode: "hftbacktest" (the compatibility mode), "default", or "only:" and a name of DEPARTURES (the compatibility mode with
    that one semantic as by default). fills: (order id, side, price ticks, lots, venue_ns, local_ns), sorted by (local_ns,
    venue_ns, order id). positions: (local_ns, lots) after each local time with a response of any kind, in order. Order ids
    count from 1 by submission. The rules are benchmarks/parity/SEMANTICS.md and spec.py.
    """
    import ours_replay

    return ours_replay.replay(recording, market, strategy, latency_ms, mode)


def sma_trades(path: Path) -> list[tuple[int, int, int, str, str]]:
    """SMA 10/30 on a daily OHLCV file in the backtesting.py mode: (entry bar, exit bar, signed size, entry price, exit price).

    Prices as decimal text. The rules stand in benchmarks/parity/peer_backtesting.py.
    """
    import ours_bars

    return ours_bars.sma_trades(path)


def small_run_command(folder: Path) -> list[str]:
    """Arguments after `twinloop` of a small backtest that writes its run to `folder` and prints its result."""
    return ["backtest", str(ROOT / "examples" / "ema_cross.toml"), "--out", str(folder), "--name", "start"]


def cold_command(folder: Path) -> tuple[list[str], dict[str, str]]:
    """Arguments after `twinloop` that compile everything, and the environment that points the compile cache at `folder`."""
    return ["warmup"], {"TWINLOOP_CACHE_DIR": str(folder)}


def run_folder(contract: str, target: Path) -> Path:
    """A finished run of a "linear" or "inverse" instrument with >= 100 fills, maker and taker, both signs of position."""
    from twinloop.engine.backtest import run_backtest

    instrument = exact_instrument(contract)
    run_backtest(mixed_plan(target, [instrument], rows=120_000))
    return target


def decision_hash(batch: str, extra_instrument: bool) -> dict[str, Any]:
    """{"hash", "decisions", "fills"} of one fixed run whose rows enter the ring in batches of "1", "7", "64", "full", "random".

    Called in a process of its own, also with NUMBA_DISABLE_JIT=1, so it must be short: about 20,000 rows. fills: a digest of
    the fills of the first instrument alone. extra_instrument: an unrelated one is added, its rows merged in.
    """
    import hashlib
    import tempfile

    import numpy as np

    from twinloop.engine import backtest

    others = [exact_instrument("linear", "OTHER")] if extra_instrument else []
    sizes = np.random.default_rng(11)
    with tempfile.TemporaryDirectory() as folder:
        plan = mixed_plan(Path(folder), [exact_instrument("linear"), *others], rows=20_000)
        run = backtest.Backtest(plan)
        replay = run.assembly.replay

        def in_batches(rows_max: int) -> int:
            size = {"full": rows_max, "random": int(sizes.integers(1, 300))}.get(batch)
            return replay(int(batch) if size is None else size)

        run.assembly.replay = in_batches  # type: ignore[method-assign]
        done = run.run()
        fills = done.fills.filter(done.fills["symbol"] == "BTCUSDT").drop("sequence", "cause_id")
        digest = hashlib.sha256(fills.write_csv().encode()).hexdigest()
        hashes = done.manifest["hashes"]
        return {
            "hash": hashes["decisions"] if extra_instrument else f"{hashes['decisions']} {hashes['state']}",
            "decisions": int(run.assembly.node["measured"]["decisions"]),
            "fills": digest,
        }


def stream_run(scale: int) -> dict[str, Any]:
    """Run over `scale` times the base data set through the whole path (catalog, row cache, loop, results).

    Base: 2 M rows, past the point where every buffer of the path is full. A decision every 5 s: a run's results are held in
    memory until they are written, so fills by the ten thousand would be seen here, and nothing of the data's path.
    Called in a process of its own, which samples its own anonymous memory. Returns {"rows", "fills"}.
    """
    import tempfile

    from twinloop.data.catalog import Catalog
    from twinloop.data.synth import synthesise
    from twinloop.engine.backtest import run_backtest

    with tempfile.TemporaryDirectory() as folder:
        instrument = exact_instrument("linear")
        instruments, chunks = synthesise([synthetic(instrument)], rows=2_000_000 * scale, seed=5)
        catalog = Catalog(Path(folder) / "catalog")
        catalog.ingest(chunks, instruments[0], source="synth")
        tape = catalog.tape(instruments[0].symbol)
        plan = plan_of(Path(folder) / "run", tape.instruments, tape.local, tape.venue, interval_ns=5_000_000_000)
        done = run_backtest(plan)
        return {"rows": len(tape.local), "fills": done.fills.height}


def bad_inputs() -> list[dict[str, Any]]:
    """Every (reader, mutation) tried: {"reader", "mutation", "expected": {...}, "got": {...}}.

    expected and got: rows kept, lines quarantined by code, the exit code, and whether the valid rows around the damage are
    kept exactly. mutation: one of badinput.MUTATIONS.
    """
    import bad_inputs

    return bad_inputs.bad_inputs()


def exact_instrument(contract: str, symbol: str = "BTCUSDT") -> Any:
    """A synthetic linear or inverse instrument."""
    from twinloop.data.instruments import Instrument

    if contract == "inverse":
        return Instrument.make(
            symbol="BTCUSD_PERP", venue="synthetic", contract="inverse", base="BTC", quote="USD", tick_size="0.1", lot_size="1",
            max_qty="1000000", contract_size="100", maker_fee="0.0001", taker_fee="0.0005",
        )  # fmt: skip
    return Instrument.make(
        symbol=symbol, venue="synthetic", contract="linear", base="BTC", quote="USDT", tick_size="0.1", lot_size="0.001",
        max_qty="1000", maker_fee="0.0002", taker_fee="0.0005",
    )  # fmt: skip


def synthetic(instrument: Any) -> Any:
    """Its synthetic market: sizes that fit its lots."""
    from twinloop.data.synth import SynthSymbol

    if instrument.contract == "inverse":
        return SynthSymbol(instrument=instrument, best_qty="3500", trade_qty="60")
    return SynthSymbol(instrument=instrument)


def mixed_plan(folder: Path, instruments: Sequence[Any], rows: int) -> Any:
    """A plan over a synthetic market of the instruments; the first one's rows are the same however many there are."""
    import numpy as np

    from twinloop.data.rowfile import join_rows
    from twinloop.data.synth import synthesise

    _, chunks = synthesise([synthetic(each) for each in instruments], duration_s=rows / 1500, seed=5)
    tape = join_rows(list(chunks))
    order = np.argsort(np.where(tape["venue_ns"] == 0, tape["local_ns"], tape["venue_ns"]), kind="stable")
    from twinloop.data.rowfile import pick

    venue = tape if (np.diff(order) == 1).all() else pick(tape, order)
    return plan_of(folder, instruments, tape, venue)


def plan_of(folder: Path, instruments: Sequence[Any], local: Any, market: Any, interval_ns: int = 500_000_000) -> Any:
    """The Mixed strategy on the first instrument, 2 ms each way."""
    import sys

    from twinloop.engine.assembly import VenueSettings
    from twinloop.engine.backtest import Plan, StrategyPlan

    sys.path.insert(0, str(ROOT / "benchmarks" / "workloads"))
    import strategies

    first = instruments[0]
    qty = 20 if first.contract == "linear" else 5
    parameters = {"instrument": first.symbol, "qty": qty, "interval_ns": interval_ns}
    return Plan(
        name="bar", folder=folder, instruments=list(instruments), local=local, market=market, currency=first.settle,
        cash=1_000 * 10**8 if first.contract == "inverse" else 10_000_000 * 10**8,
        strategies=[StrategyPlan(strategies.Mixed, "mixed", parameters, [first.symbol])],
        venue=VenueSettings(entry_latency_ns=2_000_000, response_latency_ns=2_000_000), seed=3,
    )  # fmt: skip


def workload_rows(workload: str, folder: Path) -> Any:
    """The ROW array of a workload: memory-mapped, built once beside the workload's file."""
    import numpy as np

    from twinloop.kernels import rows as table

    kept = folder / f"twinloop_{workload}.rows"
    if not kept.exists():
        source = np.load(folder / f"{workload}.npy", mmap_mode="r")
        snapshot = {"w1": 0, "w1b": 2, "w2": 40}[workload]
        lead = 1 if snapshot else 0  # SNAPSHOT_BEGIN before and SNAPSHOT_END behind the snapshot's levels
        out = np.zeros(len(source) + 2 * lead, table.ROW)
        if snapshot:
            _fill(out[lead : lead + snapshot], source[:snapshot], table.SNAPSHOT_LEVEL, 0)
            for place, kind in ((0, table.SNAPSHOT_BEGIN), (snapshot + 1, table.SNAPSHOT_END)):
                out[place]["kind"] = kind
                out[place]["venue_ns"] = source["ts"][0]
        body = out[snapshot + 2 * lead :]
        _fill(body, source[snapshot:], table.QUOTE if workload == "w1" else table.LEVEL, snapshot)
        if workload == "w1b":
            # The new and the removed level of one quote are one event: only its last row ends it.
            body["flags"][:-1][body["venue_ns"][1:] == body["venue_ns"][:-1]] = 0
        out["local_ns"] = out["venue_ns"] + 1_000_000
        half_made = kept.with_suffix(".part")
        out.tofile(half_made)
        half_made.replace(kept)
    return np.memmap(kept, table.ROW, mode="r")


def _fill(rows: Any, source: Any, other_kind: int, first: int) -> None:
    """Rows of a piece of a workload; other_kind: what its rows are that are no trades."""
    import numpy as np

    from twinloop.kernels import rows as table

    trade = source["kind"] == 1
    rows["venue_ns"] = source["ts"]
    rows["sequence"] = np.arange(first + 1, first + 1 + len(source))
    rows["kind"] = np.where(trade, table.TRADE, other_kind)
    rows["side"] = source["side"]
    rows["price"] = np.rint(source["px"] * 10)
    rows["qty"] = np.rint(source["qty"] * 1000)
    if other_kind == table.LEVEL:
        rows["flags"][~trade] = table.FLAG_EVENT_END
    if other_kind == table.QUOTE:
        # price and bid share their bytes, as do qty and bid_qty: only the quotes are written here.
        for name, scale in (("bid", 10), ("bid_qty", 1000), ("ask", 10), ("ask_qty", 1000)):
            rows[name][~trade] = np.rint(source[name][~trade] * scale)
