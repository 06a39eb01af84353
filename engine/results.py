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

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import numpy as np
import numpy.typing as npt
import polars as pl

from twinloop.data.errors import DataError
from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.engine.instrument_names import shown_names
from twinloop.engine.records import FILL, ORDER, RISK, SETTLE_CURRENCY, CodeNames, equity_dtype
from twinloop.engine.trades import round_trips, with_excursions

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
    def fills(self) -> pl.DataFrame:
        """fills.parquet."""
        return self._read("fills")

    @cached_property
    def orders(self) -> pl.DataFrame:
        """orders.parquet."""
        return self._read("orders")

    @cached_property
    def trades(self) -> pl.DataFrame:
        """trades.parquet."""
        return self._read("trades")

    @cached_property
    def equity(self) -> pl.DataFrame:
        """equity.parquet."""
        return self._read("equity")

    @cached_property
    def risk(self) -> pl.DataFrame:
        """risk.parquet."""
        return self._read("risk")

    def _read(self, table: str) -> pl.DataFrame:
        path = self.folder / f"{table}.parquet"
        try:
            return pl.read_parquet(path, memory_map=False)
        except (OSError, pl.exceptions.PolarsError) as error:
            raise DataError("not a readable table of a run", file=path, got=str(error)) from error


class RunWriter:
    """Collects a run's records, in batches, and writes its folder.

    Batches wait as raw records in one file per table, so that memory stays flat however long the run is. Use as a context
    manager, or call `finish` in the end; leaving the context without it closes and removes those files.
    """

    def __init__(self, folder: str | os.PathLike[str], info: RunInfo) -> None:
        """Open the folder, creating it; files of an earlier run in it are removed."""
        self.folder = Path(folder)
        self.info = info
        self.folder.mkdir(parents=True, exist_ok=True)
        for name in RUN_FILES:
            (self.folder / name).unlink(missing_ok=True)
        equity = equity_dtype(len(info.instruments))
        self._spools = {
            name: _Spool(self.folder / f".{name}.records", dtype)
            for name, dtype in (("fills", FILL), ("orders", ORDER), ("equity", equity), ("risk", RISK))
        }

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
        """Close and remove the waiting records; safe to call twice."""
        for spool in self._spools.values():
            spool.close()

    def finish(
        self,
        *,
        complete: bool = True,
        stopped: str | None = None,
        counts: Mapping[str, int] | None = None,
        warnings: Sequence[str] = (),
        timing: Mapping[str, float] | None = None,
        report: bool = True,
        bootstrap_resamples: int = 1000,
    ) -> Run:
        """Write every file of the folder and give the run back, its tables in memory.

        complete: False for a run that was stopped before the end of its data; `stopped` then says why. counts: facts of
        the run by name ("rows", "rows_trade", "callbacks", "orders_sent" ...). timing: wall-clock facts ("run_seconds",
        "rows_per_second" ...), kept out of everything that is compared byte for byte.
        """
        from twinloop.engine import scorecard  # noqa: PLC0415 - it reads runs, so it imports this module

        info = self.info
        symbols = shown_names(info.instruments)
        records = {name: spool.records() for name, spool in self._spools.items()}
        fills = fills_table(records["fills"], info, symbols)
        equity = equity_table(records["equity"], symbols, info.instruments)
        trades = round_trips(records["fills"], info.instruments, info.strategies, info.currencies, symbols)
        tables = {
            "orders": orders_table(records["orders"], info, symbols, fills),
            "fills": fills,
            "trades": with_excursions(trades, equity),
            "equity": equity,
            "risk": risk_table(records["risk"], info, symbols),
        }
        digests = {f"records_{name}": _digest(array) for name, array in records.items()}
        del records
        self.close()
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
                timing=dict(timing or {}),
                bootstrap_resamples=bootstrap_resamples,
            )
        )
        write_json(self.folder / "summary.json", run.summary)
        if report:
            from twinloop.engine.report import write_report  # noqa: PLC0415 - only when a page is wanted

            write_report(run)
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


def fills_table(fills: Records, info: RunInfo, symbols: Sequence[str]) -> pl.DataFrame:
    """fills.parquet of FILL records."""
    slot, fee_slot = fills["instrument"].astype(np.int64), fills["fee_currency"].astype(np.int64)
    price_scale, qty_scale = _scales(info.instruments, slot)
    names = [*info.currencies, *(instrument.settle for instrument in info.instruments)]
    own = fee_slot == SETTLE_CURRENCY
    return pl.DataFrame(
        {
            "sequence": fills["sequence"],
            "local_ns": fills["local_ns"],
            "venue_ns": fills["venue_ns"],
            "symbol": _named(symbols, slot),
            "venue": _named([instrument.venue for instrument in info.instruments], slot),
            "strategy": _named(info.strategies, fills["strategy"]),
            "account": fills["account"],
            "side": fills["side"],
            "order_id": fills["order_id"],
            "trade_id": fills["trade_id"],
            "price_int": fills["price_int"],
            "qty_int": fills["qty_int"],
            "fee_int": fills["fee_int"],
            "fee_currency": _named(names, np.where(own, len(info.currencies) + slot, fee_slot)),
            "maker": fills["maker"].astype(np.bool_),
            "cause_id": fills["cause_id"],
            "decided_ns": fills["decided_ns"],
            "arrived_ns": fills["arrived_ns"],
            "decision_mid2_int": fills["decision_mid2_int"],
            "arrival_mid2_int": fills["arrival_mid2_int"],
            "position_after_int": fills["position_after_int"],
            "realised_int": fills["realised_int"],
            "price": fills["price_int"] / price_scale,
            "qty": fills["qty_int"] / qty_scale,
            "fee": fills["fee_int"] / MONEY_ONE,
            "realised": fills["realised_int"] / MONEY_ONE,
        }
    )


def orders_table(orders: Records, info: RunInfo, symbols: Sequence[str], fills: pl.DataFrame) -> pl.DataFrame:
    """orders.parquet of ORDER records; the average price comes from the fills, null without one."""
    slot = orders["instrument"].astype(np.int64)
    price_scale, qty_scale = _scales(info.instruments, slot)
    names = info.names
    table = pl.DataFrame(
        {
            "sequence": orders["sequence"],
            "decided_ns": orders["decided_ns"],
            "order_id": orders["order_id"],
            "strategy": _named(info.strategies, orders["strategy"]),
            "account": orders["account"],
            "symbol": _named(symbols, slot),
            "side": orders["side"],
            "type": _coded(names.order_type, orders["type"]),
            "time_in_force": _coded(names.time_in_force, orders["time_in_force"]),
            "price_int": orders["price_int"],
            "qty_int": orders["qty_int"],
            "trigger_price_int": orders["trigger_price_int"],
            "filled_int": orders["filled_int"],
            "state": _coded(names.order_state, orders["state"]),
            "arrived_ns": orders["arrived_ns"],
            "answered_ns": orders["answered_ns"],
            "ended_ns": orders["ended_ns"],
            "reject_code": _coded({0: "", **names.reject_code}, orders["reject_code"]),
            "price": orders["price_int"] / price_scale,
            "qty": orders["qty_int"] / qty_scale,
        }
    )
    # An order that was filled after its end was recorded again: the last word counts.
    table = table.unique(["account", "order_id"], keep="last", maintain_order=True)
    return table.join(_average_prices(fills), on=["account", "order_id"], how="left", maintain_order="left")


def _average_prices(fills: pl.DataFrame) -> pl.DataFrame:
    """Quantity-weighted price per (account, order_id), summed in the order of the fills whatever the thread count."""
    sort = fills.select("account", "order_id", "price", "qty").sort("account", "order_id", maintain_order=True)
    if sort.is_empty():
        return sort.select("account", "order_id", average_price="price")
    account, order_id, price, qty = (sort[name].to_numpy() for name in ("account", "order_id", "price", "qty"))
    starts = np.flatnonzero(np.concatenate(([True], (np.diff(order_id) != 0) | (np.diff(account) != 0))))
    average = np.add.reduceat(price * qty, starts) / np.add.reduceat(qty, starts)
    low = np.minimum.reduceat(price, starts)
    average = np.where(low == np.maximum.reduceat(price, starts), low, average)  # one price stays that price
    return pl.DataFrame({"account": account[starts], "order_id": order_id[starts], "average_price": average})


NO_SLOT: Final = int(np.iinfo(RISK["instrument"]).max)  # What -1 reads as.


def risk_table(risk: Records, info: RunInfo, symbols: Sequence[str]) -> pl.DataFrame:
    """risk.parquet of RISK records."""
    return pl.DataFrame(
        {
            "sequence": risk["sequence"],
            "local_ns": risk["local_ns"],
            "strategy": _named(info.strategies, risk["strategy"]),
            # A refused request may name an order or an instrument that there is not.
            "symbol": _coded({NO_SLOT: "", **dict(enumerate(symbols))}, risk["instrument"]),
            "verdict": _coded(info.names.verdict, risk["verdict"]),
            "rule": _coded(info.names.rule, risk["rule"]),
            "side": risk["side"],
            "price_int": risk["price_int"],
            "qty_int": risk["qty_int"],
            "limit": risk["limit"],
            "value": risk["value"],
        }
    )


def equity_table(equity: Records, symbols: Sequence[str], instruments: Sequence[Instrument]) -> pl.DataFrame:
    """equity.parquet of equity records; drawdown is a fraction <= 0 of the highest equity so far (0 while that is <= 0)."""
    value = np.ascontiguousarray(equity["equity_int"])
    peak = np.maximum.accumulate(value)
    below = value - peak
    columns: dict[str, Any] = {
        "local_ns": equity["local_ns"],
        "equity_int": value,
        "cash_int": equity["cash_int"],
        "position_value_int": equity["position_value_int"],
        "drawdown_int": below,
        "equity": value / MONEY_ONE,
        "drawdown": np.where(peak > 0, below / np.maximum(peak, 1), 0.0),
    }
    for slot, (symbol, instrument) in enumerate(zip(symbols, instruments, strict=True)):
        columns[f"position:{symbol}"] = equity["position_int"][:, slot] / 10.0**instrument.qty_scale
        mark = equity["mark2_int"][:, slot] / (2.0 * 10.0**instrument.price_scale)
        columns[f"mark:{symbol}"] = pl.Series(np.where(mark == 0.0, np.nan, mark)).fill_nan(None)
    return pl.DataFrame(columns)


def write_table(path: Path, table: pl.DataFrame) -> None:
    """Write Parquet whose bytes depend on the table alone; replaces the file in one step."""
    partial = path.with_name(f".{path.name}.partial")
    table.rechunk().write_parquet(
        partial,
        compression="zstd",
        compression_level=1,
        statistics=True,
        row_group_size=1 << 18,
        data_page_size=1 << 20,
    )
    partial.replace(path)


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write JSON in the document's own order, no NaN; replaces the file in one step."""
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    partial.replace(path)


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


def _scales(
    instruments: Sequence[Instrument], slot: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Powers of ten per record: dividing by one gives the float nearest to the decimal, below 2**53."""
    price = np.array([10.0**instrument.price_scale for instrument in instruments])
    qty = np.array([10.0**instrument.qty_scale for instrument in instruments])
    return price[slot], qty[slot]


def _named(names: Sequence[str], slots: npt.NDArray[Any]) -> pl.Series:
    return pl.Series(list(names), dtype=pl.String).gather(slots.astype(np.int64))


def _coded(names: Mapping[int, str], codes: npt.NDArray[Any]) -> pl.Series:
    values, index = np.unique(codes, return_inverse=True)
    return _named([names.get(int(value), str(int(value))) for value in values], index)
