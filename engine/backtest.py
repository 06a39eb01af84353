"""One backtest: a plan in, a run's folder out. Drives the compiled loop in batches, drains its records, stops in order.

The same `Assembly` and the same kernels serve the live process; only the edge differs. This module must not know where data or
settings came from: `config.py` and the command line turn those into a plan.
"""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np

from twinloop.data.errors import ConfigError, DataError
from twinloop.data.instruments import Instrument
from twinloop.engine.assembly import DAY_NS, Assembly, StrategySlot, VenueSettings
from twinloop.engine.bar_series import Listener, series_of
from twinloop.engine.halt_watch import HaltWatch
from twinloop.engine.instrument_names import shown_names, slots_by_name, suggestion
from twinloop.engine.market_warnings import market_warnings
from twinloop.engine.records import NOT_SAMPLED, ORDER, RISK, CodeNames, equity_dtype
from twinloop.engine.results import Run, RunInfo, RunWriter
from twinloop.kernels import codes, rows
from twinloop.kernels import venue as venue_kernel

BATCH_ROWS: Final = 1_000_000  # Rows between two looks at the keyboard and the progress bar: some 20 to 50 ms.
PYTHON_BATCH_ROWS: Final = (
    1_000  # The same where callbacks run in Python, a few microseconds a row or as slow as they like.
)
SAMPLES: Final = 2_000  # Equity samples of a run, besides one at every fill.

_BOOK_KINDS: Final = (rows.LEVEL, rows.SNAPSHOT_BEGIN, rows.SNAPSHOT_LEVEL, rows.SNAPSHOT_END)
_JUMP_KINDS: Final = frozenset((rows.TRADE, rows.QUOTE))


@dataclass(frozen=True)
class StrategyPlan:
    """One strategy of a run: a class, its parameters, the symbols it sees and the bars it asks for."""

    strategy: type
    name: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    symbols: Sequence[str] = ()  # Empty: all.
    bars: Sequence[tuple[int, int]] = ()  # (kind, size) in kernels.bars' units, for each of its symbols.


@dataclass(frozen=True)
class Plan:
    """Everything that decides a run's outcome.

    local, market: (n,) ROW, what the node sees and what the venue holds (the same object when venue time never goes back and never lies after local time).
    cash: start balance, 1e-8 of the account currency. limits: an object with apply(decision, instruments, capital).
    notes: what a user should know of the data and the settings; broken: what to say of data that breaks off, which makes the result
    a partial one.
    """

    name: str
    folder: Path
    instruments: Sequence[Instrument]
    local: Any
    market: Any
    strategies: Sequence[StrategyPlan]
    currency: str
    cash: int
    venue: VenueSettings = field(default_factory=VenueSettings)
    limits: Any = None
    fx: Mapping[str, int] = field(default_factory=dict)  # 1e-8 account currency per unit.
    seed: int = 0
    sample_interval_ns: int = 0  # 0: chosen so that the run has about SAMPLES samples.
    session_start_ns: int = 0  # When the loss cap's day begins, ns after midnight UTC.
    data_digest: str = ""
    config: Mapping[str, Any] = field(default_factory=dict)
    data: Sequence[Mapping[str, Any]] = ()
    notes: Sequence[str] = ()
    broken: Sequence[str] = ()


@dataclass(frozen=True)
class Progress:
    """How far a run is."""

    rows: int
    rows_total: int
    local_ns: int
    seconds: float
    fills: int


def market_mode(kinds: Any) -> int:
    """How an instrument's market is known, from its (256,) row counts by kind: the richest kind there is."""
    if any(kinds[kind] for kind in _BOOK_KINDS):
        return venue_kernel.DEPTH
    if kinds[rows.QUOTE]:
        return venue_kernel.TOUCH
    if kinds[rows.TRADE]:
        return venue_kernel.PRINTS
    return venue_kernel.BARS


class Backtest:
    """A run in hand. `run()` goes to the end, or until `stop` answers True between two batches; then the folder is written.

    `end_batch()` ends the batch in hand, so that `stop` is asked.
    """

    def __init__(self, plan: Plan) -> None:
        from twinloop.engine.strategy_compiler import compile_strategy  # noqa: PLC0415 - after the cache folder is chosen

        if len(plan.local) == 0:
            raise DataError(
                "no rows to run over", expected="at least one row", got="0", remedy="check symbols and dates"
            )
        self.plan = plan
        symbols = slots_by_name(plan.instruments)
        seen = [self._seen(strategy, symbols) for strategy in plan.strategies]
        self.assembly = Assembly()
        self.size = self.assembly.size
        assembly = self.assembly
        self._need_currencies()
        assembly.currency(plan.currency)
        assembly.set_tape(plan.local, plan.market)
        counts = np.zeros(self.size.instruments * 256, np.int64)
        assembly.call["value"] = counts.ctypes.data
        assembly.doors.survey(assembly.call_address)
        self.kinds = counts.reshape(self.size.instruments, 256)
        depth = 0
        for slot, instrument in enumerate(plan.instruments):
            mode = market_mode(self.kinds[slot])
            depth += mode == venue_kernel.DEPTH
            if depth > self.size.books:
                raise ConfigError(
                    "too many order books in one run",
                    expected=f"at most {self.size.books}",
                    got=str(depth),
                    remedy="run fewer symbols at once",
                )
            assembly.add_instrument(instrument, mode)
        present = {int(kind) for kind in np.flatnonzero(self.kinds.sum(axis=0))}
        assembly.venue["jump"] = present <= _JUMP_KINDS
        for code in assembly.currencies[1:]:
            assembly.decision["fx"][assembly.currency(code)] = plan.fx.get(code, 0)
        for code in assembly.currencies[1:]:
            self._need_rate(code)
        assembly.add_account(plan.cash)
        assembly.set_venue(plan.venue, plan.seed)
        self.compiled = [
            compile_strategy(strategy.strategy, dict(strategy.parameters), self.size, symbols=symbols)
            for strategy in plan.strategies
        ]
        listeners = [
            Listener(strategy.name, slots, strategy.bars, bool(compiled.addresses.get("on_bar")))
            for strategy, slots, compiled in zip(plan.strategies, seen, self.compiled, strict=True)
        ]
        series, self._bar_notes = series_of(listeners, shown_names(plan.instruments), self.kinds, plan.local)
        assembly.add_bars(series, plan.instruments)
        self._set_times()
        for strategy, slots, compiled in zip(plan.strategies, seen, self.compiled, strict=True):
            assembly.add_strategy(
                StrategySlot(strategy.name, compiled.addresses, compiled.initial_area(), slots, keep=compiled)
            )
        self._apply_limits()
        self.batch_rows = BATCH_ROWS if all(each.compiled for each in self.compiled) else PYTHON_BATCH_ROWS
        self.rows_total = len(plan.local)
        self.fills = 0
        self.status = codes.RUN_ROWS_MAX

    def _seen(self, strategy: StrategyPlan, symbols: Mapping[str, int]) -> Sequence[int]:
        """Slots of the instruments that a strategy sees."""
        for name in strategy.symbols:
            if name not in symbols:
                raise ConfigError(
                    "strategy names a symbol that is not in the data", field=f"strategy.{strategy.name}.symbols",
                    expected="one of " + ", ".join(symbols), got=name, remedy=suggestion(name, symbols) or None,
                )  # fmt: skip
        return [symbols[name] for name in strategy.symbols] or range(len(self.plan.instruments))

    def _need_currencies(self) -> None:
        """Raise where the currencies that can hold money (the account's, settlement, bases of spot) are more than there is room for."""
        held = [self.plan.currency]
        for instrument in self.plan.instruments:
            held += [instrument.settle] + ([instrument.base] if instrument.contract == "spot" else [])
        held = list(dict.fromkeys(held))
        if len(held) > self.size.currencies:
            raise ConfigError(
                "too many currencies in one run", expected=f"at most {self.size.currencies} that can hold money",
                got=f"{len(held)}: {', '.join(held)}", remedy="run fewer symbols at once",
            )  # fmt: skip

    def _need_rate(self, code: str) -> None:
        assembly = self.assembly
        if assembly.decision["fx"][assembly.currencies.index(code)] != 0:
            return
        used = {instrument.settle for instrument in self.plan.instruments}
        if code in used:
            raise ConfigError(
                "no rate for a settlement currency", field=f"account.fx.{code}", expected=f"units of {self.plan.currency} for one {code}",
                got="nothing", remedy=f"add it, or make {code} the account currency",
            )  # fmt: skip

    def _set_times(self) -> None:
        plan, clock = self.plan, self.assembly.decision["clock"]
        first = int(plan.local[0]["local_ns"])
        last = int(plan.local[len(plan.local) - 1]["local_ns"])
        interval = plan.sample_interval_ns or max((last - first) // SAMPLES, 1_000_000)
        clock["sample_interval_ns"], clock["sample_ns"] = interval, first
        clock["roll_interval_ns"] = DAY_NS
        clock["roll_ns"] = first - (first - plan.session_start_ns) % DAY_NS + DAY_NS
        clock["now_ns"] = first
        clock["edge_ns"] = min(int(clock["sample_ns"]), int(clock["roll_ns"]), int(clock["bar_ns"]))

    def _apply_limits(self) -> None:
        from twinloop.engine.limits import apply_limits, research  # noqa: PLC0415

        self.limits = self.plan.limits if self.plan.limits is not None else research()
        apply_limits(
            self.assembly.decision,
            self.limits,
            list(self.plan.instruments),
            self.plan.cash,
            [each.name for each in self.plan.strategies],
        )

    def info(self) -> RunInfo:
        """What the manifest says of this run, before it begins."""
        plan = self.plan
        parameters = {
            each.name: compiled.parameters for each, compiled in zip(plan.strategies, self.compiled, strict=True)
        }
        return RunInfo(
            name=plan.name,
            instruments=plan.instruments,
            strategies=[each.name for each in plan.strategies],
            account_currency=plan.currency,
            seed=plan.seed,
            currencies=list(self.assembly.currencies),
            config=plan.config,
            parameters=parameters,
            hashes={
                "code": code_digest(),
                "data": plan.data_digest,
                "config": digest_of(plan.config),
                "parameters": digest_of(parameters),
                "strategies": digest_of([compiled.source_digest for compiled in self.compiled]),
            },
            versions=versions(),
            data=list(plan.data),
            names=CodeNames(
                order_type=codes.TYPE_NAME,
                time_in_force=codes.TIME_IN_FORCE_NAME,
                order_state=codes.STATE_NAME,
                reject_code={code: name for code, name in codes.CODE_NAME.items() if code != codes.ALLOW},
                verdict=codes.CODE_NAME,
                rule=codes.CODE_NAME,
            ),
            capital_int=plan.cash,
        )

    def run(self, progress: Callable[[Progress], None] | None = None, stop: Callable[[], bool] | None = None) -> Run:
        """Run to the end of the data, or until stop() is True; write the folder and give it back."""
        began = time.perf_counter()
        info = self.info()
        with RunWriter(self.plan.folder, info) as writer:
            for strategy in range(len(self.compiled)):
                self.assembly.callback(strategy, codes.ON_START)
                self._check_strategy()
            halts = HaltWatch()
            stopped = "; ".join(self.plan.broken) or None
            while True:
                self.status = self.assembly.replay(self.batch_rows)
                self._drain(writer)
                halts.look(self.assembly.decision)
                if self.status not in (codes.RUN_ROWS_MAX, codes.RUN_RECORDS_FULL):
                    break
                if progress is not None:
                    progress(self.progress(time.perf_counter() - began))
                if stop is not None and stop():
                    stopped = "; ".join(("interrupted", *self.plan.broken))
                    break
            self._check_end()
            for strategy in range(len(self.compiled)):
                self.assembly.callback(strategy, codes.ON_STOP)
            self.assembly.finish()
            self._drain(writer)
            seconds = time.perf_counter() - began
            if progress is not None:
                progress(self.progress(seconds))
            info.hashes["decisions"] = f"{int(self.assembly.decision['hash']) & (2**64 - 1):016x}"  # type: ignore[index]
            info.hashes["state"] = f"{self.assembly.state_hash() & (2**64 - 1):016x}"  # type: ignore[index]
            return writer.finish(
                complete=stopped is None,
                stopped=stopped,
                counts=self._counts(),
                warnings=self._warnings(),
                halts=halts.found,
                timing={"run_seconds": seconds, "rows_per_second": int(self.assembly.call["at"]) / max(seconds, 1e-9)},
            )

    def end_batch(self) -> None:
        """Let the loop return once the row in hand is handled. May be called by a callback, or by a signal that comes during one."""
        self.assembly.node["records_full"] = 1

    def progress(self, seconds: float) -> Progress:
        """Where the run stands."""
        clock = self.assembly.decision["clock"]
        return Progress(int(self.assembly.call["at"]), self.rows_total, int(clock["now_ns"]), seconds, self.fills)

    def _check_strategy(self) -> None:
        if self.assembly.node["status"] == codes.RUN_STRATEGY_ERROR:
            for compiled in self.compiled:
                compiled.raise_error(self.assembly.node)

    def _check_end(self) -> None:
        """Raise what stopped the loop, unless it was the end of the data or an interruption."""
        if self.status in (codes.RUN_DONE, codes.RUN_ROWS_MAX, codes.RUN_RECORDS_FULL):
            return
        self._check_strategy()
        sequence = int(self.assembly.node["error_sequence"])
        meaning = {
            codes.RUN_OVERFLOW: ("money left 64 bits", "quantities and prices whose value fits 9.2e10 of the currency"),
            codes.RUN_TIME_BACK: ("local time goes back", "rows sorted by local time"),
            codes.RUN_BAD_ROW: ("a row of unknown kind or instrument", "kinds and instruments of the manifest"),
            codes.RUN_VENUE_FULL: (
                "too many requests on their way to the venue",
                f"at most {venue_kernel.REQUESTS} at once",
            ),
        }
        what, expected = meaning.get(self.status, (codes.RUN_NAME.get(self.status, str(self.status)), ""))
        raise DataError(
            what, expected=expected, got=f"row {sequence} of the inbox, row {int(self.assembly.call['at'])} of the tape"
        )

    def _drain(self, writer: RunWriter) -> None:
        node = self.assembly.node
        fills = node["fills"][: int(node["fill_count"])]
        self.fills += len(fills)
        orders = node["order_records"][: int(node["order_record_count"])]
        verdicts = node["verdicts"][: int(node["verdict_count"])]
        samples = node["equity"][: int(node["equity_count"])]
        writer.append(fills=fills, orders=self._orders(orders), equity=self._equity(samples), risk=self._risk(verdicts))
        for name in ("fill_count", "order_record_count", "verdict_count", "equity_count", "records_full"):
            node[name] = 0

    @staticmethod
    def _orders(records: Any) -> Any:
        out = np.zeros(len(records), ORDER)
        for name in (
            "sequence",
            "decided_ns",
            "order_id",
            "price_int",
            "qty_int",
            "trigger_price_int",
            "filled_int",
            "ended_ns",
            "account",
            "instrument",
            "strategy",
            "side",
            "type",
            "state",
        ):
            out[name] = records[name]
        out["arrived_ns"] = records["acked_ns"]
        # Our own cancel was not a refusal.
        out["reject_code"] = np.where(records["code"] == codes.REASON_REQUESTED, 0, records["code"])
        out["time_in_force"] = records["flags"] & codes.TIME_IN_FORCE_MASK
        return out

    @staticmethod
    def _risk(records: Any) -> Any:
        out = np.zeros(len(records), RISK)
        for name in (
            "sequence",
            "local_ns",
            "price_int",
            "qty_int",
            "limit",
            "value",
            "verdict",
            "instrument",
            "strategy",
            "side",
        ):
            out[name] = records[name]
        out["rule"] = records["rule"]
        return out

    def _equity(self, records: Any) -> Any:
        out = np.zeros(len(records), equity_dtype(len(self.plan.instruments)))
        for name in ("local_ns", "equity_int", "cash_int"):
            out[name] = records[name]
        out["position_value_int"] = records["unrealised_int"]
        sampled = self._sampled(records)
        out["position_int"] = NOT_SAMPLED
        for name in ("position_int", "mark2_int"):
            out[name][:, :sampled] = records[name][:, :sampled]
        return out

    def _sampled(self, records: Any) -> int:
        """Of how many instruments, the first ones, equity samples hold position and mark."""
        return min(len(self.plan.instruments), int(records["position_int"].shape[1]))

    def _counts(self) -> dict[str, int]:
        measured = self.assembly.node["measured"]
        counts = {"rows": int(self.assembly.call["at"])}
        counts |= {
            f"rows_{rows.KIND_NAME[int(kind)].lower()}": int(measured["rows"][kind])
            for kind in np.flatnonzero(measured["rows"])
        }
        for name in (
            "decisions",
            "orders",
            "amends",
            "cancels",
            "fills",
            "late_fills",
            "overfills",
            "foreign_facts",
            "verdicts_unrecorded",
        ):
            counts[name] = int(measured[name])
        counts["refused"] = int(measured["refused"][codes.WARN + 1 :].sum())
        counts["warned"] = int(measured["refused"][codes.WARN])
        return counts

    def _warnings(self) -> list[str]:
        names, sampled = shown_names(self.plan.instruments), self._sampled(self.assembly.node["equity"])
        return [*self.plan.notes, *self._bar_notes, *market_warnings(self.assembly, names, sampled)]


def run_backtest(
    plan: Plan, progress: Callable[[Progress], None] | None = None, stop: Callable[[], bool] | None = None
) -> Run:
    """Run a plan and write its folder. Raises the project's errors; a stopped run is written and marked incomplete."""
    return Backtest(plan).run(progress, stop)


def digest_of(value: Any) -> str:
    """SHA-256 of a plain value, keys sorted."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()


def code_digest() -> str:
    """Digest of the kernels and of everything that decides their machine code."""
    from twinloop._cache import kernel_digest  # noqa: PLC0415

    return str(kernel_digest())


def versions() -> dict[str, str]:
    """Versions that a result may depend on."""
    import platform  # noqa: PLC0415
    from importlib.metadata import version  # noqa: PLC0415

    return {"python": platform.python_version()} | {
        name: version(name) for name in ("twinloop", "numba", "numpy", "polars", "llvmlite")
    }
