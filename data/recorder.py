"""What a market sent, as it came and as rows, in files that grow, roll over and are never overwritten.

    recorder = Recorder(folder, "binance-usdm", instruments, roll_ns=HOUR)
    recorder.on_raw(place, frame, now); recorder.on_rows(rows); recorder.roll(now); recorder.close()

Per instrument and period `usdm_btcusdt_20261126T150000.gz`, lines as binance_raw reads them, and `.rows` beside it. A file that still grows
ends in `.part`: after a crash it can be read up to the last sync. This module must not open a socket, read a clock or wait for a disk.
"""

import os
import zlib
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np

from twinloop.data.atomic import make_folder, write_atomic
from twinloop.data.binance_raw import MARKETS
from twinloop.data.book_sync import Rows
from twinloop.data.errors import DataError
from twinloop.data.instruments import Instrument, to_toml
from twinloop.data.rowfile import RowWriter, join_rows, pick

LEVEL: Final = 3  # Of compression: a twelfth of the text, at some hundred MB a second.
BUFFER_BYTES: Final = 1 << 16
ROWS_TOGETHER: Final = 1 << 14
INSTRUMENTS_FILE: Final = "instruments.toml"
_GZIP: Final = 31  # zlib's window bits of a gzip member.


class _RawFile:
    """One growing file of lines. packed: as gzip."""

    def __init__(self, path: Path, *, packed: bool) -> None:
        self.path = path
        self._part = path.with_name(path.name + ".part")
        self._stream: BinaryIO = self._part.open("xb")
        self._packer = zlib.compressobj(LEVEL, zlib.DEFLATED, _GZIP) if packed else None
        self._waiting: list[bytes] = []
        self._waiting_bytes = 0
        self._failed: OSError | None = None
        self.lines = 0
        self.text_bytes = 0

    def write(self, text: bytes, local_ns: int) -> None:
        line = b"%d %b\n" % (local_ns, text.replace(b"\n", b" ") if b"\n" in text else text)
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        self.lines += 1
        self.text_bytes += len(line)
        if self._waiting_bytes >= BUFFER_BYTES:
            self._drain()

    def _drain(self) -> None:
        content = b"".join(self._waiting)
        self._waiting, self._waiting_bytes = [], 0
        self._write(content if self._packer is None else self._packer.compress(content))

    def _write(self, content: bytes) -> None:
        """What a disk took in part only cannot be gone on with, though it may have room again later."""
        if self._failed is not None:
            raise self._failed
        try:
            self._stream.write(content)
            self._stream.flush()
        except OSError as error:
            self._failed = error
            raise

    def flush(self) -> int:
        """Hand everything to the system so that it can be read: a descriptor of its own, to be synced and closed."""
        self._drain()
        if self._packer is not None:
            self._write(self._packer.flush(zlib.Z_SYNC_FLUSH))
        return os.dup(self._stream.fileno())

    def close(self) -> None:
        """Make it durable and give it its name; a file without a line is removed, and one that failed stays a `.part`."""
        try:
            self._drain()
            if self._packer is not None:
                self._write(self._packer.flush())
            os.fsync(self._stream.fileno())
        finally:
            self._stream.close()
        if self.lines:
            self._part.rename(self.path)
        else:
            self._part.unlink()


class Recorder:
    """Of some instruments of one venue, each with its own files. rows: whether they are written too. Raises DataError for a disk's error."""

    def __init__(
        self,
        folder: Path,
        venue: str,
        instruments: Sequence[Instrument],
        now_ns: int,
        *,
        roll_ns: int,
        packed: bool = True,
        rows: bool = True,
    ) -> None:
        self.folder = folder
        self.finished: list[Path] = []
        self.lines = self.text_bytes = self.row_count = 0
        self._market = MARKETS[venue].replace("coinm", "cm")
        self._instruments = list(instruments)
        self._roll_ns, self._packed, self._with_rows = roll_ns, packed, rows
        self._last_ns = 0
        self._ends_ns = 0
        self._raw: list[_RawFile] = []
        self._rows: list[RowWriter] = []
        self._pending: list[Rows] = []
        self._pending_rows = 0
        try:
            make_folder(folder)
            write_atomic(folder / INSTRUMENTS_FILE, to_toml(instruments).encode())
            self._open(now_ns)
        except OSError as error:
            raise self._failed(error) from None

    def _failed(self, error: OSError) -> DataError:
        return DataError(
            "cannot record", file=self.folder, got=error.strerror or type(error).__name__,
            remedy="what stands in the folder is whole up to the last sync",
        )  # fmt: skip

    def _open(self, now_ns: int) -> None:
        self._ends_ns = (now_ns // self._roll_ns + 1) * self._roll_ns
        moment = datetime.fromtimestamp(now_ns // 10**9, UTC)
        for instrument in self._instruments:
            name = f"{self._market}_{instrument.symbol.lower()}_{moment:%Y%m%dT%H%M%S}"
            path = self.folder / (name + (".gz" if self._packed else ".txt"))
            if path.exists():
                raise DataError("would overwrite a recording", file=path, remedy="record into another folder")
            self._raw.append(_RawFile(path, packed=self._packed))
            if self._with_rows:
                self._rows.append(RowWriter(self.folder / f"{name}.rows", [instrument], source="twinloop record"))

    def on_raw(self, place: int, text: bytes, local_ns: int) -> None:
        """A text as it came. What is of no instrument goes to the first one's file: its reader counts it."""
        raw = self._raw[max(place, 0)]
        self.lines += 1
        self.text_bytes += len(text)
        try:
            raw.write(text, local_ns)
        except OSError as error:
            raise self._failed(error) from None

    def on_rows(self, rows: Rows) -> None:
        """Rows as a node would get them; `instrument` is the place here."""
        if not self._with_rows or not len(rows):
            return
        local = np.maximum.accumulate(np.maximum(rows["local_ns"], self._last_ns))
        self._last_ns = int(local[-1])
        rows["local_ns"] = local
        self._pending.append(rows)
        self._pending_rows += len(rows)
        self.row_count += len(rows)
        if self._pending_rows >= ROWS_TOGETHER:
            try:
                self._write_rows(self._rows)
            except OSError as error:
                raise self._failed(error) from None

    def _write_rows(self, writers: list[RowWriter]) -> None:
        if not self._pending:
            return
        rows = join_rows(self._pending)
        self._pending, self._pending_rows = [], 0
        for place, writer in enumerate(writers):
            its = pick(rows, rows["instrument"] == place)
            if len(its):
                its["instrument"] = 0
                try:
                    writer.write(its)
                except OSError:  # It may hold half of them: the raw lines hold them all.
                    writers.remove(writer)
                    writer.abandon()
                    raise

    def flush(self) -> list[int]:
        """Hand everything to the system: descriptors to sync and close, which may be done elsewhere."""
        try:
            self._write_rows(self._rows)
            return [raw.flush() for raw in self._raw]
        except OSError as error:
            raise self._failed(error) from None

    def due(self, now_ns: int) -> bool:
        """Whether the files' period is over."""
        return now_ns >= self._ends_ns

    def roll(self, now_ns: int) -> None:
        """Finish the files and begin new ones."""
        self.close()
        try:
            self._open(now_ns)
        except OSError as error:
            raise self._failed(error) from None

    def close(self) -> None:
        """Finish the files: durable, and with their names; every one of them, whatever happens to another."""
        failed: OSError | None = None
        raw, writers = self._raw, self._rows
        self._raw, self._rows = [], []
        try:
            self._write_rows(writers)
        except OSError as error:
            failed = error
        files: list[_RawFile | RowWriter] = [*raw, *writers]
        for each in files:
            try:
                each.close()
            except OSError as error:
                failed = failed or error
            else:
                self.finished += [each.path] if isinstance(each, RowWriter) or each.lines else []
        if failed is not None:
            raise self._failed(failed) from None


def sync(descriptors: Sequence[int]) -> None:
    """Wait until the disk has what these descriptors wrote, and close them. For a thread of its own."""
    for descriptor in descriptors:
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
