"""A run's records as the tables of its folder.

Apart from results.py, so that a run starts without waiting for Polars. This module must not compute statistics.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from twinloop.data.errors import DataError
from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.engine.records import NOT_SAMPLED, RISK, SETTLE_CURRENCY
from twinloop.engine.trades import round_trips, with_excursions

if TYPE_CHECKING:
    from twinloop.engine.results import RunInfo

Records = npt.NDArray[np.void]


def run_tables(records: Mapping[str, Records], info: "RunInfo", symbols: Sequence[str]) -> dict[str, pl.DataFrame]:
    """Every table of a run's folder, by name, of its records (fills, orders, equity, risk)."""
    fills = fills_table(records["fills"], info, symbols)
    equity = equity_table(records["equity"], symbols, info.instruments)
    trades = round_trips(records["fills"], info.instruments, info.strategies, info.currencies, symbols)
    return {
        "orders": orders_table(records["orders"], info, symbols, fills),
        "fills": fills,
        "trades": with_excursions(trades, equity),
        "equity": equity,
        "risk": risk_table(records["risk"], info, symbols),
    }


def read_table(path: Path) -> pl.DataFrame:
    """A table of a run's folder. Raises DataError where it is not one."""
    try:
        return pl.read_parquet(path, memory_map=False)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError("not a readable table of a run", file=path, got=str(error)) from error


def fills_table(fills: Records, info: "RunInfo", symbols: Sequence[str]) -> pl.DataFrame:
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
            "position_after_int": fills["position_after_int"],
            "realised_int": fills["realised_int"],
            "price": fills["price_int"] / price_scale,
            "qty": fills["qty_int"] / qty_scale,
            "fee": fills["fee_int"] / MONEY_ONE,
            "realised": fills["realised_int"] / MONEY_ONE,
        }
    )


def orders_table(orders: Records, info: "RunInfo", symbols: Sequence[str], fills: pl.DataFrame) -> pl.DataFrame:
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


def risk_table(risk: Records, info: "RunInfo", symbols: Sequence[str]) -> pl.DataFrame:
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
        position = equity["position_int"][:, slot]
        known = position != NOT_SAMPLED
        columns[f"position:{symbol}"] = pl.Series(
            np.where(known, position / 10.0**instrument.qty_scale, np.nan)
        ).fill_nan(None)
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
