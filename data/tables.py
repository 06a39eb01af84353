"""OHLCV bars, trades and quotes from CSV and Parquet tables, to rows.

    table = read_table(Path("BTCUSDT-1m.csv"), symbol="BTCUSDT")
    catalog.ingest(table.chunks(), table.instrument, source=table.source, conservation=table.conservation)

Numbers are read digit by digit and times exactly. What is not given is inferred and stated (`table.stated`). A record that
cannot stand is quarantined with a code and the records around it are kept exactly; a table of which nothing can be kept is
an error. A bar's venue time is its close. This module must not guess values: it fills and repairs nothing, and rounds only
when told, or, where it had to find the scale itself, numbers that float arithmetic has left with 16 digits or more (stated).

Code of a quarantined record   what is wrong with it
    truncated, extra_fields    a line with fewer or more fields than the table has
    bad_time, ambiguous_time   no time; a local time that a clock change makes double or skips
    time_out_of_range          a time in another unit than the rest (seconds among milliseconds)
    missing, nan               an empty number; NaN, infinity or null
    not_a_number               any other text
    too_large, too_fine        more than 18 digits at the scale; more decimals than the scale
    negative, zero_price       a price or quantity below 0; a price of 0
    outlier                    a price over `jump_max` times, or under its inverse of, the median of the 21 records around it
    high_low                   a bar whose high is not the highest or low not the lowest of its four prices
    bad_side                   a trade whose side is neither a buy nor a sell
    duplicate                  a bar at the time of an earlier one; a trade with an earlier one's id
    out_of_order               a record outside the longest run of records in time order
What cannot be told: digits lost from the last field of a line that is otherwise whole.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from twinloop.data.decimals import Decimals, float_noise, read_decimals, round_text, rounded, scale_of, to_scale
from twinloop.data.errors import ConfigError, DataError, DecodeError
from twinloop.data.instruments import MONEY_SCALE, SCALE_MAX, Instrument, from_scaled
from twinloop.data.quality import Conservation, QualityMeter, QualityReport, clock_offset_ns
from twinloop.data.rowfile import Rows, whole_facts
from twinloop.data.tablechecks import NUMBER_CODES, Verdicts
from twinloop.data.tablecolumns import find_columns
from twinloop.data.tabletext import TableText, read_table_text
from twinloop.data.tabletimes import bar_spans, read_times, usual_step
from twinloop.data.times import interval_label, parse_interval
from twinloop.kernels import rows as r

_PRICES: Final = {"bars": ("open", "high", "low", "close"), "quotes": ("bid", "ask"), "trades": ("price",)}
_QTYS: Final = {"bars": ("volume",), "quotes": ("bid_qty", "ask_qty"), "trades": ("qty",)}
_BUY: Final[tuple[str, ...]] = ("buy", "b", "bid", "1", "+1", "buyer", "long")
_SELL: Final[tuple[str, ...]] = ("sell", "s", "ask", "-1", "seller", "short")
_TRUE: Final[tuple[str, ...]] = ("true", "1", "t", "yes")
_FALSE: Final[tuple[str, ...]] = ("false", "0", "f", "no")


class TableSettings(msgspec.Struct, kw_only=True, frozen=True):
    """How to read a table; None is inferred from the table and stated.

    kind: "bars", "trades", "quotes". columns: our field -> the table's column, by name or 0-based position (tablecolumns.py
    lists fields and the common names found without). delimiter, header, decimal: of a CSV; decimal is "." or ",".
    time_unit: "s", "ms", "us", "ns", "text". time_format: strptime. timezone: of times that name none. interval: of bars,
    "1m" or ns. stamp: whether a bar's time is its "open" or "close". price_scale, qty_scale: decimals. round: round half to
    even to the scales given, for tables written from floats. latency_ns: local time minus venue time where no local time is
    in the table. sort: put records in time order instead of quarantining those outside it. allow_negative: keep prices <= 0.
    jump_max: see "outlier"; 0 keeps all.
    """

    kind: str | None = None
    columns: dict[str, str | int] = {}
    delimiter: str | None = None
    header: bool | None = None
    decimal: str | None = None
    time_unit: str | None = None
    time_format: str | None = None
    timezone: str = "UTC"
    interval: str | int | None = None
    stamp: str | None = None
    price_scale: int | None = None
    qty_scale: int | None = None
    round: bool = False
    latency_ns: int = 0
    sort: bool = False
    allow_negative: bool = False
    jump_max: float = 10.0


class TableRead(NamedTuple):
    """Rows of a table and what became of every line.

    rows: (n,) ROW by local_ns. stated: what was inferred or assumed, by setting. quarantine: frame of (line, code, text).
    conservation: lines read == kept + quarantined + control. clock_offset_ns: added to local times so that none is before
    its venue time.
    """

    rows: Rows
    instrument: Instrument
    stated: dict[str, Any]
    quarantine: pl.DataFrame
    conservation: Conservation
    clock_offset_ns: int
    source: str

    def chunks(self) -> Iterator[Rows]:
        """Rows in chunks of whole facts, as Catalog.ingest takes them."""
        return whole_facts(self.rows)

    def quality(self) -> QualityReport:
        """Quality report of the rows."""
        meter = QualityMeter()
        for chunk in self.chunks():
            meter.add(chunk)
        return meter.report(conservation=self.conservation, clock_offset_ns=self.clock_offset_ns)


def read_table(
    path: Path | str,
    *,
    symbol: str,
    venue: str = "table",
    settings: TableSettings | None = None,
    instrument: Instrument | None = None,
) -> TableRead:
    """Rows of a CSV or Parquet table (plain, .gz or .zip, told by content).

    instrument: gives scales and rules; otherwise one is made from the symbol, the venue and the scales (tick and lot are
    then one unit of the last decimal). Raises DecodeError when nothing can be kept or columns are missing, ConfigError for
    settings that cannot be.
    """
    path = Path(path)
    chosen = settings or TableSettings()
    _check_settings(chosen)
    text = read_table_text(path, delimiter=chosen.delimiter, header=chosen.header)
    kind, columns = find_columns(path, text.columns.columns, chosen.kind, chosen.columns)
    stated: dict[str, Any] = {"kind": kind, "columns": columns}
    if text.delimiter is not None:
        stated["delimiter"] = text.delimiter
    if not text.columns.height:
        raise DecodeError("every line is cut or has extra fields", file=path, got=text.refused["text"][0])
    reader = _Reader(path, chosen, kind, columns, text, stated, instrument)
    return reader.read(symbol, venue)


def _check_settings(chosen: TableSettings) -> None:
    if chosen.decimal not in {None, ".", ","}:
        raise ConfigError("not a decimal mark", field="decimal", expected='"." or ","', got=chosen.decimal)
    if chosen.stamp not in {None, "open", "close"}:
        raise ConfigError("not a stamp", field="stamp", expected='"open" or "close"', got=chosen.stamp)
    if chosen.latency_ns < 0:
        raise ConfigError("latency below 0", field="latency_ns", expected="0 or more", got=chosen.latency_ns)
    if chosen.round and chosen.price_scale is None:
        raise ConfigError("nothing to round to", field="round", expected="price_scale given", got="none")
    for name in ("price_scale", "qty_scale"):
        scale = getattr(chosen, name)
        if scale is not None and not 0 <= scale <= SCALE_MAX:
            raise ConfigError("not a scale", field=name, expected=f"0 to {SCALE_MAX}", got=scale)


class _Reader:
    """One table on its way to rows; each step judges records and leaves the rest alone."""

    def __init__(
        self,
        path: Path,
        chosen: TableSettings,
        kind: str,
        columns: dict[str, str],
        text: TableText,
        stated: dict[str, Any],
        instrument: Instrument | None,
    ) -> None:
        self.path, self.chosen, self.kind, self.columns = path, chosen, kind, columns
        self.text, self.stated, self.instrument = text, stated, instrument
        self.verdicts = Verdicts(text.columns.height)
        self.order = np.arange(text.columns.height)

    def read(self, symbol: str, venue: str) -> TableRead:
        field = "time" if "time" in self.columns else "close_time"
        venue_ns = self._times(field)
        local_ns = self._times("local_time") if "local_time" in self.columns else None
        prices = self._numbers(_PRICES[self.kind], "price_scale")
        qtys = self._numbers(_QTYS[self.kind], "qty_scale")
        extras = self._numbers(tuple(name for name in ("notional",) if name in self.columns), None)
        self._signs(prices, qtys | extras)
        if self.chosen.jump_max:
            self.verdicts.outliers(prices, self.chosen.jump_max)
        price_scale = self._scale(prices, "price_scale")
        qty_scale = self._scale(qtys, "qty_scale")
        scaled = self._scaled(prices, price_scale) | self._scaled(qtys, qty_scale) | self._scaled(extras, MONEY_SCALE)
        if self.kind == "bars":
            self.verdicts.high_low(*(scaled[name] for name in _PRICES["bars"]))
        scaled |= self._whole_numbers()
        if self.kind == "trades":
            scaled["side"] = self._sides()
        clock = venue_ns if local_ns is None else local_ns
        self.stated["order"] = self._put_in_order(clock)
        kept = self.order[self.verdicts.fine[self.order]]
        if not kept.size:
            raise self._nothing_kept()
        instrument = self.instrument or self._make_instrument(symbol, venue, price_scale, qty_scale)
        values = {name: column[kept] for name, column in scaled.items()}
        rows, offset = self._rows(kept, venue_ns[kept], None if local_ns is None else local_ns[kept], field, values)
        quarantine = self._quarantine()
        counts = quarantine.group_by("code").len().sort("code")
        conservation = Conservation(
            read=self.text.read,
            kept=int(kept.size),
            quarantined=dict(zip(counts["code"].to_list(), counts["len"].to_list(), strict=True)),
            control=self.text.control,
        ).check(str(self.path))
        return TableRead(rows, instrument, self.stated, quarantine, conservation, offset, self.path.name)

    def _text(self, field: str) -> pl.Series:
        return self.text.columns[self.columns[field]]

    def _times(self, field: str) -> NDArray[np.int64]:
        text = self._text(field)
        if field == "time" and "clock" in self.columns:
            text = self.text.columns.select(
                pl.concat_str(self.columns["time"], self.columns["clock"], separator=" ")
            ).to_series()
        chosen = self.chosen
        try:
            times = read_times(text, unit=chosen.time_unit, time_format=chosen.time_format, timezone=chosen.timezone)
        except (DataError, ConfigError) as error:
            raise type(error)(
                error.what, file=self.path, line=error.line, field=error.field or self.columns[field],
                expected=error.expected, got=error.got, remedy=error.remedy,
            ) from None  # fmt: skip
        self.verdicts.mark_texts(times.code)
        self.stated |= {
            f"{field}.{name}" if field == "local_time" else name: value for name, value in times.stated.items()
        }
        return times.ns

    def _numbers(self, fields: tuple[str, ...], scale_name: str | None) -> dict[str, Decimals]:
        found = {}
        for field in fields:
            if field not in self.columns:
                self.stated[field] = "not in the table, taken as 0"
                continue
            text = self._text(field)
            if self._decimal_mark(text) == ",":
                text = text.str.replace(",", ".", literal=True)
            scale = getattr(self.chosen, scale_name) if scale_name else None
            if self.chosen.round and scale is not None:
                text = round_text(text, scale)
            numbers = read_decimals(text)
            self.verdicts.mark_numbers(numbers.status, NUMBER_CODES)
            found[field] = numbers
        return found

    def _decimal_mark(self, text: pl.Series) -> str:
        if self.chosen.decimal is not None:
            return self.chosen.decimal
        if self.text.delimiter == ";" and (text.str.contains(r"^\s*-?[0-9]+,[0-9]+\s*$").sum() or 0) * 2 > text.len():
            self.stated["decimal"] = ","
            return ","
        return "."

    def _signs(self, prices: dict[str, Decimals], qtys: dict[str, Decimals]) -> None:
        for numbers in qtys.values():
            self.verdicts.mark(numbers.mantissa < 0, "negative")
        if not self.chosen.allow_negative:
            for numbers in prices.values():
                self.verdicts.mark(numbers.mantissa < 0, "negative")
                self.verdicts.mark(numbers.mantissa == 0, "zero_price")

    def _scale(self, columns: dict[str, Decimals], name: str) -> int:
        """Scale given by the instrument or the settings, else the decimals the sound records need."""
        if self.instrument is not None:
            return int(getattr(self.instrument, name))
        given = getattr(self.chosen, name)
        if given is not None:
            return int(given)
        fine = self.verdicts.fine
        noise = {field: float_noise(numbers) for field, numbers in columns.items()}
        scale = 0
        for field, numbers in columns.items():
            sound = numbers.decimals[fine & ~noise[field]]
            if (fine.any() and not sound.size) or (sound.size and sound.max() > SCALE_MAX):
                raise DecodeError(
                    "numbers have more decimals than a price or quantity can have",
                    file=self.path,
                    field=field,
                    expected=f"at most {SCALE_MAX} decimals and 15 digits",
                    got=f"up to {scale_of(numbers)} decimals",
                    remedy=f"pass {name}=... and round=True",
                )
            scale = max(scale, int(sound.max()) if sound.size else 0)
        for field, numbers in columns.items():
            if noise[field].any():
                columns[field] = rounded(numbers, noise[field], scale)
                self.stated[f"{field}.rounded"] = (
                    f"{int(noise[field].sum())} records of 16 digits or more (float arithmetic) to {scale} decimals"
                )
        self.stated[name] = scale
        return scale

    def _scaled(self, columns: dict[str, Decimals], scale: int) -> dict[str, NDArray[np.int64]]:
        scaled = {}
        for field, numbers in columns.items():
            at_scale = to_scale(numbers, scale)
            self.verdicts.mark_numbers(at_scale.status, NUMBER_CODES)
            scaled[field] = at_scale.mantissa
        return scaled

    def _whole_numbers(self) -> dict[str, NDArray[np.int64]]:
        """Counts of trades, and trade ids (0 where ids are no numbers; repeats are found by their text)."""
        found = {}
        if "trades" in self.columns and self.kind == "bars":
            numbers = to_scale(read_decimals(self._text("trades")), 0)
            self.verdicts.mark_numbers(numbers.status, NUMBER_CODES)
            self.verdicts.mark(numbers.mantissa < 0, "negative")
            found["trades"] = numbers.mantissa
        if "trade_id" in self.columns:
            text = self._text("trade_id")
            found["trade_id"] = text.cast(pl.Int64, strict=False).fill_null(0).to_numpy()
            if not found["trade_id"].any():
                self.stated["trade_id"] = "no numbers, taken as 0"
            self.verdicts.repeats(text)
        return found

    def _sides(self) -> NDArray[np.int64]:
        """Aggressor's side: +1, -1, or 0 where the table does not say."""
        if "buyer_is_maker" in self.columns:
            field, buys, sells = "buyer_is_maker", _FALSE, _TRUE
        elif "side" in self.columns:
            field, buys, sells = "side", _BUY, _SELL
        else:
            self.stated["side"] = "not in the table, taken as 0 (unknown)"
            return np.zeros(self.text.columns.height, np.int64)
        text = self._text(field).str.strip_chars().str.to_lowercase().fill_null("")
        buy, sell = text.is_in(buys).to_numpy(), text.is_in(sells).to_numpy()
        self.verdicts.mark(~buy & ~sell, "bad_side")
        return np.where(buy, 1, np.where(sell, -1, 0)).astype(np.int64)

    def _put_in_order(self, clock: NDArray[np.int64]) -> str:
        fine = self.verdicts.fine
        if self.kind == "bars":
            self.verdicts.repeats(pl.Series(clock))
            fine = self.verdicts.fine
        times = clock[fine]
        if (times[1:] >= times[:-1]).all():
            return "oldest first"
        if (times[1:] <= times[:-1]).all():
            self.order = self.order[::-1]
            return "newest first, reversed"
        if self.chosen.sort:
            self.order = np.argsort(clock, kind="stable")
            return "sorted by time"
        self.verdicts.longest_run(clock)
        return "oldest first"

    def _nothing_kept(self) -> DecodeError:
        worst = self.verdicts.most_frequent()
        at = int(np.argmax(self.verdicts.code == worst))
        return DecodeError(
            f"no record can be kept: most are {worst}",
            file=self.path,
            line=int(self.text.line[at]),
            got=", ".join(str(value) for value in self.text.columns.row(at)),
            remedy="state the columns, the time unit or format, or the scales",
        )

    @staticmethod
    def _make_instrument(symbol: str, venue: str, price_scale: int, qty_scale: int) -> Instrument:
        return Instrument.make(
            symbol=symbol,
            venue=venue,
            tick_size=from_scaled(1, price_scale),
            lot_size=from_scaled(1, qty_scale),
            price_scale=price_scale,
            qty_scale=qty_scale,
        )

    def _rows(
        self,
        kept: NDArray[np.int64],
        venue_ns: NDArray[np.int64],
        local_ns: NDArray[np.int64] | None,
        field: str,
        values: dict[str, NDArray[np.int64]],
    ) -> tuple[Rows, int]:
        if self.kind == "bars":
            return self._bar_rows(venue_ns, field, values), 0
        rows = np.zeros(kept.size, r.ROW)
        rows["venue_ns"] = venue_ns
        offset = 0
        if local_ns is None:
            rows["local_ns"] = venue_ns + self.chosen.latency_ns
        else:
            offset = clock_offset_ns(venue_ns, local_ns)
            rows["local_ns"] = local_ns + offset
        rows["kind"] = r.TRADE if self.kind == "trades" else r.QUOTE
        for name, column in values.items():
            rows[name] = column
        if "trade_id" in values:
            rows["sequence"] = values["trade_id"]
        return rows, offset

    def _bar_rows(self, stamps: NDArray[np.int64], field: str, values: dict[str, NDArray[np.int64]]) -> Rows:
        stamp = self.chosen.stamp or ("close" if field == "close_time" else "open")
        interval_ns = usual_step(stamps) if self.chosen.interval is None else parse_interval(self.chosen.interval)
        if interval_ns is None:
            fine = self.verdicts.fine
            others = "" if fine.all() else f", most others are {self.verdicts.most_frequent()}"
            raise ConfigError(
                "length of the bars cannot be told",
                file=self.path,
                field="interval",
                expected="two or more bars at different times",
                got=f"{int(fine.sum())} of {fine.size} records kept{others}",
                remedy="mend the table, or pass its interval, such as 1d",
            )
        closes, lengths, rule = bar_spans(stamps, interval_ns, stamp, self.chosen.timezone)
        self.stated |= {"interval": interval_label(interval_ns), "stamp": rule}
        rows = np.zeros(2 * stamps.size, r.ROW)
        heads, tails = rows[0::2], rows[1::2]
        for part in (heads, tails):
            part["kind"] = r.BAR
            part["venue_ns"] = closes
            part["local_ns"] = closes + self.chosen.latency_ns
        heads["flags"], tails["flags"] = r.FLAG_CONTINUES, r.FLAG_TAIL
        for name in _PRICES["bars"]:
            heads[name] = values[name]
        for name in ("volume", "notional", "trades"):
            tails[name] = values.get(name, 0)
        tails["interval_ns"] = lengths
        return rows

    def _quarantine(self) -> pl.DataFrame:
        bad = np.flatnonzero(~self.verdicts.fine)
        separator = self.text.delimiter or ","
        lines = self.text.columns[bad.tolist()] if bad.size else self.text.columns.clear()
        return pl.concat(
            [
                self.text.refused,
                pl.DataFrame(
                    {
                        "line": self.text.line.gather(bad),
                        "code": pl.Series(self.verdicts.code[bad].tolist(), dtype=pl.String),
                        "text": lines.select(pl.concat_str(pl.all().fill_null(""), separator=separator)).to_series(),
                    }
                ),
            ]
        ).sort("line")
