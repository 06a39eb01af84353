"""Columns of decimal text to exact scaled integers, by column; the vectorised sibling of `instruments.to_scaled`.

A value is a mantissa and a number of decimals (trailing zeros left out), so that the scale can be chosen after all values
are known. Nothing goes through a float. This module must not know what the numbers mean.
"""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation, localcontext
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from twinloop.data.errors import DataError
from twinloop.data.instruments import SCALED_MAX

FINE: Final = 0
MISSING: Final = 1  # No text.
NOT_FINITE: Final = 2  # NaN, infinity, null as other tools write them.
NOT_A_NUMBER: Final = 3
TOO_LARGE: Final = 4  # More than 18 significant digits, or beyond SCALED_MAX at the scale.
TOO_FINE: Final = 5  # More decimals than the scale, and rounding not asked for.
NOISE_MIN: Final = 10**15
_NOT_FINITE_TEXTS: Final = (
    "nan",
    "inf",
    "-inf",
    "+inf",
    "infinity",
    "-infinity",
    "null",
    "none",
    "na",
    "n/a",
    "-nan",
    "nat",
)
_PLAIN: Final = r"^[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,2})?$"


class Decimals(NamedTuple):
    """Decimal numbers: value = mantissa * 10**-decimals where status is FINE.

    mantissa: (n,) int64, below 10**18 in magnitude. decimals: (n,) int64, >= 0. status: (n,) int8.
    """

    mantissa: NDArray[np.int64]
    decimals: NDArray[np.int64]
    status: NDArray[np.int8]


def read_decimals(text: pl.Series, limit: int = SCALED_MAX) -> Decimals:
    """Decimals of a column of text; signs, one point, exponents; spaces around are no harm. limit: largest mantissa."""
    column = text.cast(pl.String).str.strip_chars()
    pieces = (
        pl.DataFrame({"text": column})
        .select(pl.col("text").str.splitn(".", 2).struct.rename_fields(["whole", "part"]).struct.unnest())
        .with_columns(pl.col("part").fill_null("").str.strip_chars_end("0"))
        .select(
            (pl.col("whole").fill_null("") + pl.col("part")).cast(pl.Int64, strict=False).alias("mantissa"),
            pl.col("part").str.len_bytes().cast(pl.Int64).alias("decimals"),
        )
    )
    mantissa = pieces["mantissa"]
    decimals = pieces["decimals"].to_numpy().copy()
    values = mantissa.fill_null(0).to_numpy().copy()
    status = np.where(mantissa.is_null().to_numpy(), NOT_A_NUMBER, FINE).astype(np.int8)
    status[(np.abs(values) > limit) | (values == np.iinfo(np.int64).min)] = TOO_LARGE
    _second_look(column, values, decimals, status)
    broken = status != FINE
    values[broken] = 0
    decimals[broken | (values == 0)] = 0
    return Decimals(values, decimals, status)


def _second_look(
    column: pl.Series, values: NDArray[np.int64], decimals: NDArray[np.int64], status: NDArray[np.int8]
) -> None:
    """Tell apart what the fast path could not read; in place."""
    at = np.flatnonzero(status != FINE)
    if not at.size:
        return
    odd = pl.DataFrame({"text": column.gather(at)}).select(
        text="text",
        missing=pl.col("text").is_null() | (pl.col("text") == ""),
        endless=pl.col("text").str.to_lowercase().is_in(_NOT_FINITE_TEXTS).fill_null(value=False),
        plain=pl.col("text").str.contains(_PLAIN).fill_null(value=False),
    )
    status[at[odd["missing"].to_numpy()]] = MISSING
    status[at[odd["endless"].to_numpy()]] = NOT_FINITE
    for index, number in zip(at[odd["plain"].to_numpy()], odd.filter("plain")["text"], strict=True):
        whole, _, exponent = number.lower().partition("e")
        digits, _, part = whole.lstrip("+-").partition(".")
        shown, places = (digits + part).lstrip("0"), len(part) - int(exponent or "0")
        kept = shown.rstrip("0")
        places -= len(shown) - len(kept)
        if places < 0:
            kept, places = kept + "0" * -places, 0
        if len(kept) > 18:
            status[index] = TOO_LARGE
            # Digits beyond 18 in the decimals only: keep 18 significant ones and mark what rounding would have to lose.
            lost = len(kept) - 18
            if lost <= places:
                status[index] = TOO_FINE
            continue
        values[index] = -int(kept or "0") if whole.startswith("-") else int(kept or "0")
        decimals[index] = places if kept else 0
        status[index] = FINE


def scale_of(numbers: Decimals) -> int:
    """Decimals the values need: the largest among the fine ones."""
    fine = numbers.status == FINE
    return int(numbers.decimals[fine].max()) if fine.any() else 0


def to_scale(numbers: Decimals, scale: int, limit: int = SCALED_MAX) -> Decimals:
    """The same values at one scale: mantissa = value * 10**scale, decimals = scale; TOO_FINE and TOO_LARGE marked.

    limit: largest magnitude allowed.
    """
    if scale < 0:
        raise DataError("not a scale", expected="0 or more decimals", got=scale)
    status = numbers.status.copy()
    shift = scale - numbers.decimals
    status[(status == FINE) & (shift < 0)] = TOO_FINE
    power = np.minimum(np.maximum(shift, 0), 18)
    room = limit // 10**power
    status[(status == FINE) & ((np.abs(numbers.mantissa) > room) | ((shift > 18) & (numbers.mantissa != 0)))] = (
        TOO_LARGE
    )
    scaled = np.where(status == FINE, numbers.mantissa, 0) * 10**power
    return Decimals(scaled, np.full(scaled.size, scale, np.int64), status)


def float_noise(numbers: Decimals) -> NDArray[np.bool_]:
    """(n,) bool: numbers with a fraction and 16 or more significant digits, as only float arithmetic writes them.

    A decimal of up to 15 digits survives a float64 and prints as it was; 218102.59507500002 is the sum of such.
    """
    long = (numbers.decimals > 0) & (np.abs(numbers.mantissa) >= NOISE_MIN)
    return np.asarray(long & (numbers.status == FINE), np.bool_)


def rounded(numbers: Decimals, chosen: NDArray[np.bool_], scale: int) -> Decimals:
    """The chosen values rounded half to even to a number of decimals, the others as they are."""
    at = np.flatnonzero(chosen & (numbers.decimals > scale))
    step = 10 ** np.minimum(numbers.decimals[at] - scale, 18)
    whole, rest = np.divmod(numbers.mantissa[at], step)
    up = (2 * rest > step) | ((2 * rest == step) & (whole % 2 == 1))
    mantissa, decimals = numbers.mantissa.copy(), numbers.decimals.copy()
    mantissa[at], decimals[at] = whole + up, scale
    return Decimals(mantissa, decimals, numbers.status)


def round_text(text: pl.Series, scale: int) -> pl.Series:
    """Decimal text rounded half to even to a number of decimals; other text as it is. For prices made by float arithmetic."""
    step = Decimal(1).scaleb(-scale)

    def nearest(value: str | None) -> str | None:
        try:
            number = Decimal(value or "")
            return format(number.quantize(step, rounding=ROUND_HALF_EVEN), "f") if number.is_finite() else value
        except InvalidOperation:
            return value

    with localcontext(prec=80):
        return pl.Series(text.name, [nearest(value) for value in text], dtype=pl.String)
