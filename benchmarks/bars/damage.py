"""One damaged input and its expected outcome, and the ways to damage a list of records.

An expectation is written down by hand; it must never be taken from what a reader happens to do.
"""

import io
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from twinloop.engine import cli

RECORDS: Final = 12
AT: Final = 6  # The record that is damaged.
START_MS: Final = 1_723_161_255_000
DONE, UNUSABLE, INCOMPLETE = cli.OK, cli.DATA, cli.INCOMPLETE
ALL: Final = tuple(range(RECORDS))
ALL_BUT: Final = tuple(number for number in ALL if number != AT)
Rows = Any
Content = bytes | Callable[[Path], None]


@dataclass(frozen=True)
class Damage:
    """One damaged input. rows: records of the sound input whose rows are kept, in their order; change: what else differs."""

    mutation: str
    what: str
    content: Content
    kept: int = 0
    quarantined: dict[str, int] = field(default_factory=dict)
    exit_code: int = DONE
    rows: Sequence[int] = ()
    change: Callable[[list[Rows]], list[Rows]] | None = None
    arguments: Sequence[str] = ()
    packed: bool = False


@dataclass(frozen=True)
class Reader:
    """A sound input: its file's name, its content, the rows each record gives, and the flags that read it."""

    name: str
    file: str
    content: Content
    widths: Sequence[int]
    arguments: Sequence[str]
    damages: Sequence[Damage]


def text(lines: Sequence[str], *, last: str = "\n") -> bytes:
    """Lines as a file."""
    return ("\n".join(lines) + last).encode()


def instead(lines: Sequence[str], number: int, line: str) -> list[str]:
    """The lines with one replaced."""
    return [*lines[:number], line, *lines[number + 1 :]]


def moved(items: Sequence[Any], source: int, target: int) -> list[Any]:
    """The items with one taken out and put where it then has the number `target`."""
    rest = [*items[:source], *items[source + 1 :]]
    return [*rest[:target], items[source], *rest[target:]]


def cut_gzip(content: bytes) -> bytes:
    """A gzip stream that breaks off right behind this content."""
    packer = zlib.compressobj(wbits=31)
    return packer.compress(content) + packer.flush(zlib.Z_FULL_FLUSH)


def zipped(content: bytes) -> bytes:
    """A zip archive of one file."""
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive_file:
        archive_file.writestr("x.csv", content)
    return packed.getvalue()


def lift(earlier: int, later: int) -> Callable[[list[Rows]], list[Rows]]:
    """A record received behind a later one takes its receive time; `earlier` and `later` are places in the kept order."""

    def change(groups: list[Rows]) -> list[Rows]:
        groups[later]["local_ns"] = groups[earlier]["local_ns"][-1]
        return groups

    return change
