"""Numbers under their names on a screen of any width: as a table where it fits, else name by number. None is ever cut.

A price or a position that ends in an ellipsis is worse than none: whoever is in a hurry takes it for the number. This module must not know
what the numbers are.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from rich.console import Console, ConsoleOptions
from rich.table import Table
from rich.text import Text

GAP: Final = 2  # Between two columns, and between two pairs.


class Fitting:
    """Rows of the same columns. left: columns of words; styles: of a row's cells, by (row, name)."""

    def __init__(
        self,
        rows: Sequence[Mapping[str, str]],
        *,
        left: frozenset[str] = frozenset(),
        styles: Mapping[tuple[int, str], str] | None = None,
    ) -> None:
        self._rows = list(rows)
        self._left = left
        self._styles = styles or {}

    def _width(self, name: str) -> int:
        return max(len(name), *(len(row[name]) for row in self._rows))

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Table | Text]:
        """As a table, or packed."""
        if not self._rows:
            return
        names = list(self._rows[0])
        if sum(map(self._width, names)) + GAP * (len(names) - 1) > options.max_width:
            for at, row in enumerate(self._rows):
                yield from packed(
                    {name: row[name] for name in names if row[name]},
                    options.max_width,
                    {name: self._styles.get((at, name), "") for name in names},
                )
            return
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, GAP, 0, 0))
        for name in names:
            justify = "left" if name in self._left else "right"
            table.add_column(name, justify=justify, no_wrap=True, min_width=self._width(name))  # type: ignore[arg-type]
        for at, row in enumerate(self._rows):
            table.add_row(*(Text(row[name], style=self._styles.get((at, name), "")) for name in names))
        yield table


class Packed:
    """Pairs of a name and what it is, as many to a line as fit; one without anything to say is left out."""

    def __init__(self, pairs: Mapping[str, str], style: str = "dim") -> None:
        self._pairs = {name: text for name, text in pairs.items() if text != ""}
        self._style = style

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """Lines."""
        yield from packed(self._pairs, options.max_width, dict.fromkeys(self._pairs, self._style))


def packed(pairs: Mapping[str, str], width: int, styles: Mapping[str, str]) -> Iterator[Text]:
    """Lines of "name text", broken between two pairs and never within one; what is longer than a line is folded."""
    line = Text(overflow="fold")
    for name, text in pairs.items():
        long = len(name) + len(text) + (1 if text else 0)
        if line and len(line) + GAP + long > width:
            yield line
            line = Text(overflow="fold")
        if line:
            line.append(" " * GAP)
        line.append(f"{name} " if text else name, style="dim")
        line.append(text, style=styles.get(name, ""))
    if line:
        yield line
