"""Columns a person reads, made from the integer columns of a catalog's records. Must not read files."""

from collections.abc import Callable

import polars as pl

from twinloop.data.instruments import MONEY_SCALE, Instrument
from twinloop.data.parquet import Group


def _scales(group: Group, instrument: Instrument) -> dict[str, int]:
    """Decimal digits of each scaled column."""
    return {
        **dict.fromkeys(group.price, instrument.price_scale),
        **dict.fromkeys(group.qty, instrument.qty_scale),
        **dict.fromkeys(group.money, MONEY_SCALE),
    }


def decimal_columns(frame: pl.LazyFrame, group: Group, instrument: Instrument) -> pl.LazyFrame:
    """With venue, symbol, times as datetimes, and a float64 column beside each integer one (price_int -> price).

    float64 is for analytics: below 2**53 the integer divided by a power of ten is the nearest float to the decimal.
    """
    return frame.with_columns(
        pl.lit(instrument.venue).alias("venue"),
        pl.lit(instrument.symbol).alias("symbol"),
        pl.from_epoch("local_ns", time_unit="ns").dt.replace_time_zone("UTC").alias("local_time"),
        pl.from_epoch("venue_ns", time_unit="ns").dt.replace_time_zone("UTC").alias("venue_time"),
        *(
            pl.col(name)
            .map_batches(_divider(10.0**scale), return_dtype=pl.Float64, is_elementwise=True)
            .alias(name.removesuffix("_int"))
            for name, scale in _scales(group, instrument).items()
        ),
    )


def _divider(power: float) -> Callable[[pl.Series], pl.Series]:
    """Division rounded once; Polars multiplies by the inverse instead, and 616597 / 10 is then not 61659.7."""
    return lambda values: pl.Series(values.name, values.to_numpy() / power)


def exact_columns(frame: pl.LazyFrame, group: Group, instrument: Instrument) -> pl.LazyFrame:
    """The same frame with exact decimal text in place of each float64 and integer pair; it reads back to the same rows."""
    scales = _scales(group, instrument)
    return frame.with_columns(
        _text(pl.col(name), scale).alias(name.removesuffix("_int")) for name, scale in scales.items()
    ).drop(*scales, "local_time", "venue_time")


def _text(value: pl.Expr, scale: int) -> pl.Expr:
    """Decimal text of a scaled integer, all its decimals."""
    if scale == 0:
        return value.cast(pl.String)
    sign = pl.when(value < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    digits = value.abs().cast(pl.String).str.pad_start(scale + 1, "0")
    return pl.concat_str(sign, digits.str.head(-scale), pl.lit("."), digits.str.tail(scale))
