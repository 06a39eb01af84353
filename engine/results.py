"""The folder of a run: written once from what the loop recorded, read back by reports, scripts and other tools.

    manifest.json    what was run: code digest, configuration, data and parameter hashes, versions, seed, instruments
    orders.parquet   one row an order, in order of decision
    fills.parquet    one row a fill, in the order they happened
    trades.parquet   one row a round trip (FIFO), derived from the fills
    equity.parquet   sampled equity, cash, drawdown, and position and mark per symbol
    risk.parquet     every verdict that was not "allow"
    summary.json     the statistics, warnings and counts; the only place with wall-clock facts, under "timing"
    report.html      one offline page

The same inputs give the same bytes in every file but summary.json's "timing" and the page that shows it. Integers are the
truth; the float columns repeat them for convenience. summary.json is written last but for the page: a folder without it
is a run that died. This module must not compute statistics or read a clock.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import msgspec
import numpy as np
import numpy.typing as npt

from twinloop.data.errors import DataError
from twinloop.data.instruments import Instrument
from twinloop.engine.instrument_names import shown_names
from twinloop.engine.records import FILL, ORDER, RISK, CodeNames, equity_dtype

if TYPE_CHECKING:
    import polars as pl

FORMAT: Final = 1
TABLES: Final = ("orders", "fills", "trades", "equity", "risk")
RUN_FILES: Final = ("manifest.json", "summary.json", "report.html", *(f"{table}.parquet" for table in TABLES))

Records = npt.NDArray[np.void]


@dataclass(frozen=True, kw_only=True)
class RunInfo:
    """What a run is: everything that, with the data, decides its outcome.

    name: of the run, usually the folder's. instruments, strategies, currencies: by slot; fee currencies only need a slot
    where they differ from the settlement currency. config, parameters: plain values as JSON takes them. hashes: by what
    they cover ("code", "data", "config", "parameters", "decisions"). versions: by package. capital_int: 1e-8 of
    account_currency at the start, 0 to take the first equity sample.
    """

    name: str
    instruments: Sequence[Instrument]
    strategies: Sequence[str]
    account_currency: str
    seed: int
    currencies: Sequence[str] = ()
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    hashes: Mapping[str, str] = field(default_factory=dict)
    versions: Mapping[str, str] = field(default_factory=dict)
    data: Sequence[Mapping[str, Any]] = ()
    names: CodeNames = field(default_factory=CodeNames)
    capital_int: int = 0


@dataclass(frozen=True)
class Run:
    """A run's folder, read back. Tables are loaded when first used."""

    folder: Path
    manifest: dict[str, Any]
    summary: dict[str, Any]

    @property
    def complete(self) -> bool:
        """Whether the run reached the end of its data."""
        return bool(self.summary.get("complete", False))

    @cached_property
    def instruments(self) -> list[Instrument]:
        """The instruments by slot."""
        return [msgspec.convert(each, Instrument) for each in self.manifest["instruments"]]

    @property
    def symbols(self) -> list[str]:
        """Names of the instruments in the tables, by slot."""
        return list(self.manifest["symbols"])

    @cached_property
    def fills(self) -> "pl.DataFrame":
        """fills.parquet."""
        return self._read("fills")

    @cached_property
    def orders(self) -> "pl.DataFrame":
        """orders.parquet."""
        return self._read("orders")

    @cached_property
    def trades(self) -> "pl.DataFrame":
        """trades.parquet."""
        return self._read("trades")

    @cached_property
    def equity(self) -> "pl.DataFrame":
        """equity.parquet."""
        return self._read("equity")

    @cached_property
    def risk(self) -> "pl.DataFrame":
        """risk.parquet."""
        return self._read("risk")

    def _read(self, table: str) -> "pl.DataFrame":
        from twinloop.engine.run_tables import read_table  # noqa: PLC0415 - it loads Polars

        return read_table(self.folder / f"{table}.parquet")


class RunWriter:
    """Collects a run's records, in batches, and writes its folder.

    Batches wait as raw records in one file per table, so that memory stays flat however long the run is. Use as a context
    manager, or call `finish` in the end; leaving the context without it closes and removes those files. The folder itself is
    locked meanwhile: two runs that wrote to one would leave the tables of one beside the numbers of the other.
    """

    def __init__(self, folder: str | os.PathLike[str], info: RunInfo) -> None:
        """Open the folder, creating it; files of an earlier run in it are removed. DataError while another run writes to it."""
        self.folder = Path(folder)
        self.info = info
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = _lock_folder(self.folder)
        self._spools: dict[str, _Spool] = {}
        try:
            for name in RUN_FILES:
                (self.folder / name).unlink(missing_ok=True)
            equity = equity_dtype(len(info.instruments))
            for name, dtype in (("fills", FILL), ("orders", ORDER), ("equity", equity), ("risk", RISK)):
                self._spools[name] = _Spool(self.folder / f".{name}.records", dtype)
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        """Nothing to do: the folder is open."""
        return self

    def __exit__(self, *exception: object) -> None:
        """Drop what was not finished."""
        self.close()

    def append(
        self,
        *,
        fills: Records | None = None,
        orders: Records | None = None,
        equity: Records | None = None,
        risk: Records | None = None,
    ) -> None:
        """Take the next records of each table; arrays with the fields of FILL, ORDER, equity_dtype and RISK (or more).

        The arrays may be reused at once: their bytes are copied out here.
        """
        for name, batch in (("fills", fills), ("orders", orders), ("equity", equity), ("risk", risk)):
            if batch is not None and len(batch):
                self._spools[name].append(batch)

    def close(self) -> None:
        """Close and remove the waiting records, and let another run have the folder; safe to call twice."""
        self._close_spools()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def _close_spools(self) -> None:
        for spool in self._spools.values():
            spool.close()

    def finish(
        self,
        *,
        complete: bool = True,
        stopped: str | None = None,
        counts: Mapping[str, int] | None = None,
        warnings: Sequence[str] = (),
        halts: Sequence[Mapping[str, Any]] = (),
        timing: Mapping[str, float] | None = None,
        report: bool = True,
        bootstrap_resamples: int = 1000,
    ) -> Run:
        """Write every file of the folder and give the run back, its tables in memory.

        complete: False for a run that was stopped before the end of its data; `stopped` then says why. counts: facts of
        the run by name ("rows", "rows_trade", "callbacks", "orders_sent" ...). halts: as halt_watch.HaltWatch found them. timing: wall-clock facts ("run_seconds",
        "rows_per_second" ...), kept out of everything that is compared byte for byte.
        """
        from twinloop.engine import scorecard  # noqa: PLC0415 - it reads runs, so it imports this module
        from twinloop.engine.run_tables import run_tables, write_table  # noqa: PLC0415 - Polars is not needed before

        info = self.info
        symbols = shown_names(info.instruments)
        records = {name: spool.records() for name, spool in self._spools.items()}
        tables = run_tables(records, info, symbols)
        digests = {f"records_{name}": _digest(array) for name, array in records.items()}
        del records
        self._close_spools()
        for name, table in tables.items():
            write_table(self.folder / f"{name}.parquet", table)
        manifest = _manifest(info, symbols, digests, complete=complete)
        write_json(self.folder / "manifest.json", manifest)
        run = Run(self.folder, manifest, {})
        run.__dict__.update(tables)  # fills the cached properties
        run.summary.update(
            scorecard.summarise(
                run,
                complete=complete,
                stopped=stopped,
                counts=dict(counts or {}),
                warnings=list(warnings),
                halts=list(halts),
                timing=dict(timing or {}),
                bootstrap_resamples=bootstrap_resamples,
            )
        )
        write_json(self.folder / "summary.json", run.summary)
        if report:
            from twinloop.engine.report import write_report  # noqa: PLC0415 - only when a page is wanted

            write_report(run)
        self.close()
        return run


def write_run(
    folder: str | os.PathLike[str],
    info: RunInfo,
    *,
    fills: Records | None = None,
    orders: Records | None = None,
    equity: Records | None = None,
    risk: Records | None = None,
    **finish: Any,
) -> Run:
    """Write a whole run at once; `finish` are the arguments of RunWriter.finish."""
    with RunWriter(folder, info) as writer:
        writer.append(fills=fills, orders=orders, equity=equity, risk=risk)
        return writer.finish(**finish)


def load_run(folder: str | os.PathLike[str]) -> Run:
    """Read a run's folder back. Raises DataError where it is not one, or where the run died before its summary."""
    folder = Path(folder)
    documents = []
    for name, meaning in (("manifest.json", "not a run's folder"), ("summary.json", "the run died before it ended")):
        path = folder / name
        try:
            documents.append(json.loads(path.read_bytes()))
        except OSError as error:
            raise DataError(meaning, file=path, got=error.strerror, remedy="name a folder under runs/") from error
        except ValueError as error:
            raise DataError("not a JSON document", file=path, got=str(error)) from error
    manifest, summary = documents
    if manifest.get("format") != FORMAT:
        raise DataError(
            "a run of another version of twinloop",
            file=folder / "manifest.json",
            field="format",
            expected=FORMAT,
            got=manifest.get("format"),
            remedy="run it again",
        )
    return Run(folder, manifest, summary)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON in the document's own order, no NaN; replaces the file in one step."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)


def _lock_folder(folder: Path) -> int:
    """Descriptor of a folder that this process alone writes to until it is closed."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise DataError(
            "another run is writing to this folder", file=folder, remedy="wait for its end, or choose another run.name"
        ) from None
    return descriptor


class _Spool:
    """Records of one table waiting in a file."""

    def __init__(self, path: Path, dtype: np.dtype[np.void]) -> None:
        self._path, self._dtype = path, dtype
        self._fields = [name for name in dtype.names or () if name != "pad"]
        self._file = path.open("wb")

    def append(self, batch: Records) -> None:
        missing = [name for name in self._fields if name not in (batch.dtype.names or ())]
        assert not missing, f"records lack the fields {missing}"
        if batch.dtype != self._dtype or "pad" in (self._dtype.names or ()):
            records = np.zeros(len(batch), self._dtype)
            for name in self._fields:
                records[name] = batch[name]
            batch = records
        self._file.write(batch.tobytes())

    def records(self) -> Records:
        """Every record appended, mapped read-only."""
        self._file.flush()
        if self._path.stat().st_size == 0:
            return np.zeros(0, self._dtype)
        return np.memmap(self._path, self._dtype, mode="r")

    def close(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


def _manifest(info: RunInfo, symbols: Sequence[str], digests: Mapping[str, str], *, complete: bool) -> dict[str, Any]:
    document = {
        "format": FORMAT,
        "name": info.name,
        "complete": complete,
        "account_currency": info.account_currency,
        "capital_int": info.capital_int,
        "instruments": [msgspec.to_builtins(instrument) for instrument in info.instruments],
        "symbols": list(symbols),
        "strategies": list(info.strategies),
        "currencies": list(info.currencies),
        "seed": info.seed,
        "config": info.config,
        "parameters": info.parameters,
        "data": list(info.data),
        "hashes": {**info.hashes, **digests},
        "versions": info.versions,
    }
    # Sorted, so that the order in which a configuration was written down does not show; and exactly what a reader will see.
    loaded: dict[str, Any] = json.loads(json.dumps(document, allow_nan=False, sort_keys=True))
    return loaded


def _digest(records: Records) -> str:
    """SHA-256 of the records' bytes, independent of the Parquet writer."""
    return hashlib.sha256(np.ascontiguousarray(records).view(np.uint8).data).hexdigest()
