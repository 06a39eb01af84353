"""Cuts one instrument's stream of rows into Parquet parts, in flat memory.

Rows are dealt out by kind and date into buffers; a buffer that is full, or whose date has passed, becomes a part. This
module must not decide what counts: the ledger does.
"""

import contextlib
from itertools import pairwise
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
from numpy.typing import NDArray

from twinloop.data.atomic import atomic_file, file_digest
from twinloop.data.instruments import Instrument
from twinloop.data.ledger import Part, partition_folder
from twinloop.data.parquet import GROUP_OF_KIND, GROUPS, Group, rows_to_frame, write_records
from twinloop.data.rowfile import RowChecker, Rows, pick, rows_digest, words_of
from twinloop.data.times import DAY_NS, MINUTE_NS, interval_label
from twinloop.kernels.rows import ROW

PART_ROWS: Final = 1 << 17  # Rows of one part at most, 8 MB; even, so that a two-row fact is never cut.


class _Buffer:
    """Rows of one kind and date on their way to a part, in memory that is filled again for the next one."""

    def __init__(self, kind: str, group: Group, date: str) -> None:
        self.kind, self.group, self.date = kind, group, date
        self.rows: Rows = np.empty(PART_ROWS, ROW)  # Pages of memory are taken when they are first written.
        self.places = np.empty(PART_ROWS, np.int64)
        self.used = 0

    def fill(self, rows: Rows, places: NDArray[np.int64]) -> int:
        """Take as many of the rows as there is room for; how many."""
        taken = min(rows.size, self.rows.size - self.used)
        stop = self.used + taken
        words_of(self.rows)[self.used : stop] = words_of(rows[:taken])
        self.places[self.used : stop] = places[:taken]
        self.used = stop
        return taken


def kind_label(group: Group, interval_ns: int) -> str:
    """Name of a kind in the catalog: the group's, with the interval for bars ("bars-1m")."""
    return f"{group.name}-{interval_label(interval_ns)}" if interval_ns else group.name


def date_unit(interval_ns: int) -> str:
    """Calendar unit of a partition, "D", "M" or "Y": days, but months of bars from a minute and years from a day on."""
    if interval_ns >= DAY_NS:
        return "Y"
    return "M" if interval_ns >= MINUTE_NS else "D"


class PartWriter:
    """Writes the parts of one ingest; `finish` returns them in order, `abandon` removes their files.

    Raises DataError for rows that break a rule of RowChecker. Part files have the ingest's number in their names, so they
    never touch an earlier ingest's.
    """

    def __init__(self, root: Path, number: int, instrument: Instrument) -> None:
        self._root = root
        self._number = number
        self._instrument = instrument
        self._checker = RowChecker()
        self._buffers: dict[tuple[str, str], _Buffer] = {}
        self._count: dict[tuple[str, str], int] = {}
        self._place = 0
        self.parts: list[Part] = []

    def write(self, rows: Rows) -> None:
        """Deal out the next rows of the stream, (n,) ROW, whole facts."""
        self._checker.check(rows)
        places = np.arange(self._place, self._place + rows.size)
        self._place += rows.size
        groups = GROUP_OF_KIND[rows["kind"]]
        for index in np.unique(groups):
            chosen = groups == index
            group = GROUPS[int(index)]
            if group.tail:
                self._deal_bars(group, pick(rows, chosen), places[chosen])
            else:
                self._deal(group, pick(rows, chosen), places[chosen], 0)

    def _deal_bars(self, group: Group, rows: Rows, places: NDArray[np.int64]) -> None:
        intervals = rows["interval_ns"][1::2]
        labels = np.array([interval_label(max(int(interval), 1)) for interval in intervals])
        for label in np.unique(labels):
            chosen = labels == label
            both = np.repeat(chosen, 2)
            self._deal(group, pick(rows, both), places[both], max(int(intervals[chosen][0]), 1))

    def _deal(self, group: Group, rows: Rows, places: NDArray[np.int64], interval_ns: int) -> None:
        kind, unit = kind_label(group, interval_ns), date_unit(interval_ns)
        dates = rows["local_ns"].astype("datetime64[ns]").astype(f"datetime64[{unit}]")
        edges = [0, *(np.flatnonzero(dates[1:] != dates[:-1]) + 1).tolist(), rows.size]
        for start, stop in pairwise(edges):
            date = str(dates[start])
            # Time never goes back, so an earlier date of this kind is complete.
            for key in [key for key in self._buffers if key[0] == kind and key[1] != date]:
                self._flush(self._buffers.pop(key))
            buffer = self._buffers.get((kind, date))
            if buffer is None:
                buffer = self._buffers[kind, date] = _Buffer(kind, group, date)
            at = start
            while at < stop:
                at += buffer.fill(rows[at:stop], places[at:stop])
                if buffer.used == PART_ROWS:
                    self._flush(buffer)

    def _flush(self, buffer: _Buffer) -> None:
        if not buffer.used:
            return
        rows, places = buffer.rows[: buffer.used], buffer.places[: buffer.used]
        buffer.used = 0
        instrument = self._instrument
        folder = partition_folder(instrument.venue, buffer.kind, instrument.symbol, buffer.date)
        number = self._count[buffer.kind, buffer.date] = self._count.get((buffer.kind, buffer.date), -1) + 1
        relative = f"{folder}/{self._number:08d}-{number:04d}.parquet"
        path = self._root / relative
        frame = rows_to_frame(buffer.group, rows, places)
        with atomic_file(path) as temporary:
            # Our own description, so that a part still says what it is without the ledger.
            write_records(
                temporary,
                frame,
                {"twinloop": msgspec.json.encode({"kind": buffer.kind, "instrument": instrument}).decode()},
            )
        self.parts.append(
            Part(
                path=relative,
                venue=instrument.venue,
                symbol=instrument.symbol,
                kind=buffer.kind,
                date=buffer.date,
                rows=rows.size,
                records=frame.height,
                size=path.stat().st_size,
                file_digest=file_digest(path),
                rows_digest=rows_digest(rows),
                first_local_ns=int(rows["local_ns"][0]),
                last_local_ns=int(rows["local_ns"][-1]),
                first_row=int(places[0]),
                last_row=int(places[-1]),
            )
        )

    def finish(self) -> list[Part]:
        """Write what is left and return all parts by kind and time."""
        self._checker.finish()
        for buffer in self._buffers.values():
            self._flush(buffer)
        self._buffers.clear()
        self.parts.sort(key=lambda part: (part.kind, part.date, part.first_row))
        return self.parts

    def remove(self, parts: list[Part]) -> None:
        """Remove the files of parts that will not count."""
        for part in parts:
            with contextlib.suppress(OSError):
                (self._root / part.path).unlink(missing_ok=True)
