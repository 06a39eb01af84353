"""Round trips from fills: each quantity that closes is matched with the oldest quantity still open (FIFO), exactly.

The value of a fill is rounded once, half to even, to 1e-8 of the settlement currency; pieces of a fill share its value and
its fee pro rata and the last piece takes the rest, so over any position that comes back to flat the trades' gross and fees
sum to the fills' to the last unit. Works per (account, strategy, instrument) on Python integers, which cannot wrap. Only
the columns named price, qty, gross and so on without `_int` are floats, for display and statistics.

The engine itself books average cost; it and FIFO agree whenever a position is flat and differ in between.
"""

from collections import deque
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import polars as pl

from twinloop.data.instruments import MONEY_ONE, Instrument
from twinloop.engine.records import SETTLE_CURRENCY

TRADE_SCHEMA: Final[Any] = {
    "trade": pl.Int64,
    "strategy": pl.String,
    "account": pl.Int32,
    "symbol": pl.String,
    "side": pl.Int8,  # +1 long, -1 short
    "qty_int": pl.Int64,
    "entry_ns": pl.Int64,
    "exit_ns": pl.Int64,
    "entry_price_int": pl.Int64,
    "exit_price_int": pl.Int64,
    "entry_sequence": pl.Int64,
    "exit_sequence": pl.Int64,
    "entry_value_int": pl.Int64,  # 1e-8 of the settlement currency, as are the next four
    "exit_value_int": pl.Int64,
    "gross_int": pl.Int64,
    "fee_int": pl.Int64,
    "net_int": pl.Int64,
    "currency": pl.String,
    "holding_ns": pl.Int64,
    "qty": pl.Float64,
    "entry_price": pl.Float64,
    "exit_price": pl.Float64,
    "gross": pl.Float64,
    "fee": pl.Float64,
    "net": pl.Float64,
    "return": pl.Float64,  # net over the value at entry
    "adverse": pl.Float64,  # worst and best price move while open, fraction of the entry price; null without marks
    "favourable": pl.Float64,
}


def divide_half_even(numerator: int, denominator: int) -> int:
    """Quotient rounded half to even; denominator > 0."""
    quotient, rest = divmod(numerator, denominator)
    twice = 2 * rest
    if twice > denominator or (twice == denominator and quotient & 1):
        quotient += 1
    return quotient


def fill_value(instrument: Instrument, price_int: int, qty_int: int) -> int:
    """Value of a fill in 1e-8 of the settlement currency, rounded half to even once.

    Linear and spot: price * qty * contract size, in the quote currency. Inverse: qty * contract size / price, in the base
    currency (price > 0).
    """
    if instrument.contract == "inverse":
        numerator = qty_int * instrument.contract_size * 10**instrument.price_scale
        return divide_half_even(numerator, price_int * 10**instrument.qty_scale)
    scale = 10 ** (instrument.price_scale + instrument.qty_scale)
    return divide_half_even(price_int * qty_int * instrument.contract_size, scale)


def settlement_fee(instrument: Instrument, fee_int: int, fee_currency: str, price_int: int) -> int | None:
    """Fee in 1e-8 of the settlement currency; None where its currency has no price in this fill.

    A fee in the base currency of a linear or spot instrument, or in the quote currency of an inverse one, is converted at
    the fill's own price, rounded half to even.
    """
    if fee_currency == instrument.settle:
        return fee_int
    scale = 10**instrument.price_scale
    if instrument.contract == "inverse":
        return divide_half_even(fee_int * scale, price_int) if fee_currency == instrument.quote else None
    return divide_half_even(fee_int * price_int, scale) if fee_currency == instrument.base else None


def _fill_values(fills: npt.NDArray[np.void], instruments: Sequence[Instrument]) -> list[int]:
    """`fill_value` of every fill; whole columns at once where no product can leave int64."""
    prices, quantities = fills["price_int"].astype(np.int64), fills["qty_int"].astype(np.int64)
    values = np.zeros(len(fills), dtype=object)
    for slot in np.unique(fills["instrument"]).tolist():
        instrument = instruments[slot]
        rows = np.flatnonzero(fills["instrument"] == slot)
        price, qty = prices[rows], quantities[rows]
        ratio = Fraction(instrument.contract_size, 10 ** (instrument.price_scale + instrument.qty_scale))
        largest = int(price.max()) * int(qty.max()) * ratio.numerator
        if instrument.contract == "inverse" or price.min() <= 0 or max(largest, 2 * ratio.denominator) >= 2**62:
            values[rows] = [fill_value(instrument, *each) for each in zip(price.tolist(), qty.tolist(), strict=True)]
            continue
        quotient, rest = np.divmod(price * qty * ratio.numerator, ratio.denominator)
        odd = quotient & 1
        values[rows] = quotient + (2 * rest + odd > ratio.denominator)
    return values.tolist()


def round_trips(
    fills: npt.NDArray[np.void],
    instruments: Sequence[Instrument],
    strategies: Sequence[str],
    currencies: Sequence[str] = (),
    symbols: Sequence[str] | None = None,
) -> pl.DataFrame:
    """Closed trades of a run, in order of their closing fill; columns of TRADE_SCHEMA.

    fills: (n,) records with the fields of FILL, in the order they happened. symbols: names to print per instrument slot,
    the instruments' own by default. A fee whose currency has no price in its fill counts as 0 here.
    """
    symbols = symbols if symbols is not None else [instrument.symbol for instrument in instruments]
    fields = ("account", "strategy", "instrument", "side", "price_int", "qty_int", "fee_int", "fee_currency")
    columns = [fills[name].tolist() for name in (*fields, "local_ns", "sequence")]
    inverse = [instrument.contract == "inverse" for instrument in instruments]
    open_lots: dict[tuple[int, int, int], deque[list[int]]] = {}
    rows: list[tuple[Any, ...]] = []
    values = _fill_values(fills, instruments)
    for *key, side, price, all_qty, fee_int, fee_slot, ts_ns, sequence, all_value in zip(*columns, values, strict=True):
        account, strategy, slot = key
        qty, value, fee = all_qty, all_value, fee_int
        if fee_slot != SETTLE_CURRENCY:
            fee = settlement_fee(instruments[slot], fee_int, currencies[fee_slot], price) or 0
        lots = open_lots.setdefault((account, strategy, slot), deque())
        while qty and lots and lots[0][0] != side:
            lot = lots[0]
            lot_side, lot_qty, lot_value, lot_fee, lot_price, lot_ns, lot_sequence = lot
            if lot_qty <= qty:
                piece, entry_value, entry_fee = lot_qty, lot_value, lot_fee
                lots.popleft()
            else:
                piece = qty
                entry_value = divide_half_even(lot_value * piece, lot_qty)
                entry_fee = divide_half_even(lot_fee * piece, lot_qty)
                lot[1:4] = (lot_qty - piece, lot_value - entry_value, lot_fee - entry_fee)
            exit_value = value if piece == qty else divide_half_even(value * piece, qty)
            exit_fee = fee if piece == qty else divide_half_even(fee * piece, qty)
            qty, value, fee = qty - piece, value - exit_value, fee - exit_fee
            gain = entry_value - exit_value if inverse[slot] else exit_value - entry_value
            gross, fees = lot_side * gain, entry_fee + exit_fee
            head = (account, strategy, slot, lot_side, piece, lot_ns, ts_ns, lot_price, price, lot_sequence, sequence)
            rows.append((*head, entry_value, exit_value, gross, fees, gross - fees))
        if qty:
            lots.append([side, qty, value, fee, price, ts_ns, sequence])
    return _frame(rows, instruments, strategies, symbols)


def _frame(
    rows: list[tuple[Any, ...]],
    instruments: Sequence[Instrument],
    strategies: Sequence[str],
    symbols: Sequence[str],
) -> pl.DataFrame:
    if not rows:
        return pl.DataFrame(schema=TRADE_SCHEMA)
    matrix = np.array(rows, dtype=np.int64).T  # raises OverflowError beyond int64, as the engine's own money would
    account, strategy, slot, side, qty, entry_ns, exit_ns, entry_price, exit_price, entry_sequence, exit_sequence = (
        matrix[:11]
    )
    entry_value, exit_value, gross, fee, net = matrix[11:]
    price_scale = np.array([10.0**instrument.price_scale for instrument in instruments])[slot]
    qty_scale = np.array([10.0**instrument.qty_scale for instrument in instruments])[slot]
    count = len(rows)
    return pl.DataFrame(
        {
            "trade": np.arange(1, count + 1),
            "strategy": pl.Series(strategies, dtype=pl.String).gather(strategy),
            "account": account,
            "symbol": pl.Series(symbols, dtype=pl.String).gather(slot),
            "side": side,
            "qty_int": qty,
            "entry_ns": entry_ns,
            "exit_ns": exit_ns,
            "entry_price_int": entry_price,
            "exit_price_int": exit_price,
            "entry_sequence": entry_sequence,
            "exit_sequence": exit_sequence,
            "entry_value_int": entry_value,
            "exit_value_int": exit_value,
            "gross_int": gross,
            "fee_int": fee,
            "net_int": net,
            "currency": pl.Series([i.settle for i in instruments], dtype=pl.String).gather(slot),
            "holding_ns": exit_ns - entry_ns,
            "qty": qty / qty_scale,
            "entry_price": entry_price / price_scale,
            "exit_price": exit_price / price_scale,
            "gross": gross / MONEY_ONE,
            "fee": fee / MONEY_ONE,
            "net": net / MONEY_ONE,
            "return": net / np.maximum(entry_value, 1),
            "adverse": pl.Series([None], dtype=pl.Float64).new_from_index(0, count),
            "favourable": pl.Series([None], dtype=pl.Float64).new_from_index(0, count),
        },
        schema_overrides=TRADE_SCHEMA,
        strict=False,
    ).cast(TRADE_SCHEMA)


def with_excursions(trades: pl.DataFrame, equity: pl.DataFrame) -> pl.DataFrame:
    """The trades with `adverse` (<= 0) and `favourable` (>= 0) from the marks sampled while each was open.

    equity: a run's equity table with its `mark:<symbol>` columns. As fine as the samples, and entry and exit prices count
    too; a symbol without marks keeps nulls.
    """
    if trades.is_empty() or equity.is_empty():
        return trades
    adverse, favourable = np.full(len(trades), np.nan), np.full(len(trades), np.nan)
    symbol_of = trades["symbol"].to_numpy()
    entry_ns, exit_ns = trades["entry_ns"].to_numpy(), trades["exit_ns"].to_numpy()
    entry, exit_, side = (trades[name].to_numpy() for name in ("entry_price", "exit_price", "side"))
    for symbol in trades["symbol"].unique(maintain_order=True):
        if f"mark:{symbol}" not in equity.columns:
            continue
        marks = equity.select("local_ns", mark=f"mark:{symbol}").drop_nulls()
        if marks.is_empty():
            continue
        rows = np.flatnonzero(symbol_of == symbol)
        times = marks["local_ns"].to_numpy()
        first = np.searchsorted(times, entry_ns[rows], "left")
        last = np.searchsorted(times, exit_ns[rows], "right")
        own_low, own_high = np.minimum(entry[rows], exit_[rows]), np.maximum(entry[rows], exit_[rows])
        prices = marks["mark"].to_numpy()
        low = np.fmin(_range_minimum(prices, first, last), own_low)
        high = np.fmax(-_range_minimum(-prices, first, last), own_high)
        down, up = low / entry[rows] - 1, high / entry[rows] - 1
        long = side[rows] > 0
        adverse[rows], favourable[rows] = np.where(long, down, -up), np.where(long, up, -down)
    return trades.with_columns(
        adverse=pl.Series(adverse).fill_nan(None), favourable=pl.Series(favourable).fill_nan(None)
    )


def _range_minimum(
    values: npt.NDArray[np.float64], first: npt.NDArray[np.int64], last: npt.NDArray[np.int64]
) -> npt.NDArray[np.float64]:
    """Minimum of values[first:last] per pair, NaN where empty; a sparse table answers each in two look-ups."""
    result = np.full(len(first), np.nan)
    length = last - first
    level_values, level = values, 0
    while True:
        span = 1 << level
        chosen = (length >= span) & (length < 2 * span)
        if chosen.any():
            result[chosen] = np.minimum(level_values[first[chosen]], level_values[last[chosen] - span])
        if 2 * span > length.max(initial=0):
            return result
        level_values = np.minimum(level_values[:-span], level_values[span:])
        level += 1
