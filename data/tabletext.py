"""Opening a table: CSV (plain, gzip, zip) or Parquet to columns of text, each record with its line number.

Lines that do not have the table's number of fields are told apart here, so that a cut line never shifts its neighbours.
This module must not know what the columns mean.
"""

import csv
import gzip
import io
import zipfile
import zlib
from pathlib import Path
from typing import Final, NamedTuple

import polars as pl

from twinloop.data.errors import ConfigError, DecodeError

DELIMITERS: Final = (",", ";", "\t", "|")
_SAMPLE_LINES: Final = 50
_GZIP: Final = b"\x1f\x8b"
_ZIP: Final = b"PK\x03\x04"
_PARQUET: Final = b"PAR1"


class TableText(NamedTuple):
    """A table as text. columns: one String column per field. line: (n,) Int64, 1-based line (or record) number.

    refused: frame of (line, code, text) for lines without the right number of fields. control: header, blank and comment
    lines. delimiter: None for Parquet.
    """

    columns: pl.DataFrame
    line: pl.Series
    refused: pl.DataFrame
    control: int
    delimiter: str | None

    @property
    def read(self) -> int:
        """Lines there were."""
        return self.columns.height + self.refused.height + self.control


def read_content(path: Path) -> bytes:
    """Bytes of a file, unpacked if they are gzip or a zip archive with one file. Raises DecodeError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DecodeError("cannot read", file=path, got=error.strerror, remedy="check the path") from None
    try:
        if content.startswith(_GZIP):
            return gzip.decompress(content)
        if content.startswith(_ZIP):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = [name for name in archive.namelist() if not name.endswith("/") and "__MACOSX" not in name]
                if len(names) != 1:
                    raise DecodeError(
                        "zip archive is not one table",
                        file=path,
                        expected="one file in it",
                        got=", ".join(names) or "none",
                    )
                return archive.read(names[0])
    except (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise DecodeError(
            f"cannot be unpacked: {error}", file=path, remedy="fetch the file again; it may be cut short"
        ) from None
    return content


def read_table_text(path: Path, *, delimiter: str | None = None, header: bool | None = None) -> TableText:
    """A table file as text. delimiter, header: found from the first lines when None. Raises DecodeError."""
    content = read_content(path)
    if content.startswith(_PARQUET):
        return _from_parquet(path, content)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if path.suffix == ".parquet":
            raise DecodeError("not a Parquet file", file=path, remedy="fetch the file again") from None
        raise DecodeError("not UTF-8 text", file=path, got=f"{error.reason} at byte {error.start}") from None
    return _from_lines(path, text, delimiter, header)


def _from_lines(path: Path, text: str, delimiter: str | None, header: bool | None) -> TableText:
    lines = pl.Series("text", [text]).str.split("\n").explode().str.strip_chars_end("\r")
    if lines.len() and lines[-1] == "":
        lines = lines.head(-1)
    frame = pl.DataFrame({"line": pl.int_range(1, lines.len() + 1, eager=True), "text": lines})
    empty = pl.col("text").str.strip_chars().eq("") | pl.col("text").str.starts_with("#")
    control = frame.filter(empty).height
    frame = frame.filter(~empty)
    if not frame.height:
        raise DecodeError("no records", file=path, expected="a header and at least one record", got=f"{control} lines")
    sample = frame["text"].head(_SAMPLE_LINES).to_list()
    delimiter = delimiter or _find_delimiter(sample)
    if len(delimiter) != 1:
        raise ConfigError("not a delimiter", expected="one character", got=delimiter)
    names = _fields(sample[0], delimiter)
    if header is None:
        header = not any(_numeric(name) for name in names)
    if header:
        control += 1
        frame = frame.slice(1)
    else:
        names = [str(index) for index in range(len(names))]
    if not frame.height:
        raise DecodeError(
            "no records", file=path, expected="at least one record below the header", got="the header only"
        )
    return _split(frame, _distinct(names), delimiter, control)


def _split(frame: pl.DataFrame, names: list[str], delimiter: str, control: int) -> TableText:
    count = len(names)
    if frame["text"].str.contains('"', literal=True).any():
        records = [_fields(text, delimiter) for text in frame["text"]]
        counts = pl.Series("count", [len(record) for record in records], dtype=pl.Int64)
        fine = [record for record in records if len(record) == count]
        columns = pl.DataFrame(fine, schema=dict.fromkeys(names, pl.String), orient="row")
    else:
        counts = frame["text"].str.count_matches(delimiter, literal=True).cast(pl.Int64) + 1
        columns = (
            frame.filter(counts == count)["text"]
            .str.split_exact(delimiter, count - 1)
            .struct.rename_fields(names)
            .struct.unnest()
        )
    code = pl.when(counts < count).then(pl.lit("truncated")).otherwise(pl.lit("extra_fields"))
    refused = frame.with_columns(code.alias("code")).filter(counts != count).select("line", "code", "text")
    return TableText(columns, frame.filter(counts == count)["line"], refused, control, delimiter)


def _fields(text: str, delimiter: str) -> list[str]:
    return next(csv.reader([text], delimiter=delimiter), [])


def _find_delimiter(sample: list[str]) -> str:
    """Delimiter that gives most lines the same number of fields, above one."""

    def score(delimiter: str) -> tuple[int, int]:
        counts = [len(_fields(line, delimiter)) for line in sample]
        usual = max(set(counts), key=counts.count)
        return (counts.count(usual), usual) if usual > 1 else (0, 0)

    return max(DELIMITERS, key=score)


def _numeric(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _distinct(names: list[str]) -> list[str]:
    """Column names made distinct: a repeated one gets its position."""
    return [name if names.index(name) == index else f"{name}#{index}" for index, name in enumerate(names)]


def _from_parquet(path: Path, content: bytes) -> TableText:
    try:
        frame = pl.read_parquet(io.BytesIO(content))
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DecodeError(f"not a readable Parquet file: {error}", file=path, remedy="fetch the file again") from None
    if not frame.height:
        raise DecodeError("no records", file=path, expected="at least one record", got="none")
    columns = []
    for name, dtype in frame.schema.items():
        column = pl.col(name)
        if isinstance(dtype, pl.Datetime):
            if dtype.time_zone is not None:
                column = column.dt.convert_time_zone("UTC").dt.to_string("%Y-%m-%d %H:%M:%S%.9f+00:00")
            else:
                column = column.dt.to_string("%Y-%m-%d %H:%M:%S%.9f")
        elif dtype.is_nested():
            continue
        columns.append(column.cast(pl.String))
    return TableText(
        frame.select(columns),
        pl.int_range(1, frame.height + 1, eager=True).alias("line"),
        pl.DataFrame(schema={"line": pl.Int64, "code": pl.String, "text": pl.String}),
        0,
        None,
    )
