"""The exceptions of twinloop's lower layers, one tree; `engine/errors.py` extends it.

    TwinloopError            anything a caller may want to catch at the top
    ├── ConfigError          a setting, parameter or instrument definition that cannot stand
    └── DataError            data that is not what it has to be: file, line, field, expected, got, remedy
        ├── DecodeError      bytes or text that do not decode to rows
        ├── CatalogError     a catalog that cannot serve or take what was asked
        │   └── OverlapError a day that the catalog already holds, with other contents
        └── CorruptError     a stored file whose bytes are not the ones that were written

An exception of this tree means bad input or a failing peer, never a bug of ours (those are assertions). Its text is meant
for the user: what, where, expected, got and what to do; lower case, no full stop. This module must not import anything of
twinloop.
"""

from os import PathLike, fspath


def _message(
    what: str,
    file: str | None,
    line: int | None,
    field: str | None,
    expected: object,
    got: object,
    remedy: str | None,
) -> str:
    where = file or ""
    if line is not None:
        where += f":{line}" if file else f"line {line}"
    parts = [f"{where}: {what}" if where else what]
    if field is not None:
        parts.append(f"field {field}")
    if expected is not None:
        parts.append(f"expected {expected}")
    if got is not None:
        parts.append(f"got {got!r}" if isinstance(got, str | bytes) else f"got {got}")
    text = ", ".join(parts)
    return f"{text}; {remedy}" if remedy else text


class TwinloopError(Exception):
    """Base of every exception twinloop raises on purpose.

    what: one clause that says what is wrong. file, line (1-based), field, expected, got, remedy: as far as they are known;
    all stay readable as attributes, so that a report can group by them.
    """

    def __init__(
        self,
        what: str,
        *,
        file: str | PathLike[str] | None = None,
        line: int | None = None,
        field: str | None = None,
        expected: object = None,
        got: object = None,
        remedy: str | None = None,
    ) -> None:
        self.what = what
        self.file = None if file is None else str(fspath(file))
        self.line = line
        self.field = field
        self.expected = expected
        self.got = got
        self.remedy = remedy
        super().__init__(_message(what, self.file, line, field, expected, got, remedy))


class ConfigError(TwinloopError):
    """A setting, parameter or instrument definition that cannot stand."""


class DataError(TwinloopError):
    """Data that is not what it has to be."""


class DecodeError(DataError):
    """Bytes or text that do not decode to rows."""


class CatalogError(DataError):
    """A catalog that cannot serve or take what was asked."""


class OverlapError(CatalogError):
    """A day that the catalog already holds, with other contents."""


class CorruptError(DataError):
    """A stored file whose bytes are not the ones that were written."""
