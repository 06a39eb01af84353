"""`twinloop journal`: check a session's journal, look at its rows, export, archive and retire them."""

import itertools
import sys
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import App, Parameter

from twinloop.data.errors import ConfigError
from twinloop.engine.cli import CHECK_FAILED, INCOMPLETE, OK
from twinloop.engine.cli.screen import out, say, say_json

if TYPE_CHECKING:
    from twinloop.engine.journal.archive_index import Archived
    from twinloop.engine.journal.listing import Choice
    from twinloop.engine.journal.reader import Commit, Journal, Segment

Flag = Annotated[bool, Parameter(negative="")]
Kinds = Annotated[list[str], Parameter(consume_multiple=False, negative="")]
_DAY_S: Final = 86_400
HELP = """Check a session's journal, look at its rows, export, archive and retire them.

For example:

    twinloop journal verify sessions/paper/journal
    twinloop journal show sessions/paper/journal --kind NEW --kind FILL
    twinloop journal export sessions/paper/journal fills.csv --kind FILL
    twinloop journal archive sessions/paper/journal
"""
app = App(name="journal", help=HELP, help_format="plaintext")


@app.command
def verify(folder: Path, *, archived: Flag = False, json: Flag = False) -> int:
    """Check every commit of a journal: checksums, order, and that nothing is missing.

    For example:

        twinloop journal verify sessions/paper/journal

    Exits with 0 when every commit is as it was written, with 3 when one was changed
    (naming file, byte and row), with 5 when the end is torn, as by a process that was
    killed, and with 6 when facts are missing or an epoch was used again.

    Parameters
    ----------
    folder
        The journal's folder.
    archived
        Read the segments in the archive too.
    json
        Print one JSON document.
    """
    from twinloop.engine.journal.forecast import forecast  # noqa: PLC0415
    from twinloop.engine.journal.reader import open_journal  # noqa: PLC0415

    journal = open_journal(folder)
    before = sum(1 for _ in _archived(journal)) if archived else 0
    disk = forecast(journal)
    code = CHECK_FAILED if journal.problems else INCOMPLETE if journal.torn_bytes else OK
    if json:
        say_json({
            "folder": str(folder), "commits": journal.commits, "rows": journal.rows, "first_commit": journal.first_commit,
            "archived_commits": before, "next_sequence": journal.next_sequence(), "epoch": journal.epoch,
            "torn_bytes": journal.torn_bytes, "problems": [str(problem) for problem in journal.problems],
            "segments": [_segment(segment) for segment in journal.segments],
            "disk": {"bytes_per_s": disk.bytes_per_s, "free_bytes": disk.free_bytes, "full_in_s": disk.full_in_s},
        })  # fmt: skip
        return code
    _table([_segment(segment) for segment in journal.segments])
    _conclude(journal, before)
    rate = (
        f"{disk.bytes_per_s * _DAY_S / 1e9:.2f} GB a day at the last hour's rate, {disk.free_bytes / 1e9:.0f} GB free"
    )
    say(f"disk  {rate}" + (f", full in {disk.full_in_s / _DAY_S:.1f} days" if disk.full_in_s is not None else ""))
    return code


def _conclude(journal: "Journal", before: int) -> None:
    for problem in journal.problems:
        say(f"! {problem}")
    if journal.torn_bytes:
        last = journal.segments[-1]
        say(
            f"! {last.path.name}: {journal.torn_bytes:,} bytes from byte {last.end} on are in no commit ({last.tail}): "
            "being written now, or the end of a process that was killed"
        )
    where = f"{journal.commits + before:,} commits, {journal.rows:,} rows, epoch {journal.epoch}, next fact {journal.next_sequence()}"
    if journal.first_commit > before:
        where += f", from commit {journal.first_commit} on"
    good = not journal.problems and not journal.torn_bytes
    say(f"{'whole' if good else 'NOT whole'}  {where}")


@app.command
def show(
    folder: Path,
    *,
    kind: Kinds | None = None,
    start: str | None = None,
    end: str | None = None,
    sequence: int | None = None,
    limit: int = 20,
    last: int = 0,
    archived: Flag = False,
    json: Flag = False,
) -> int:
    """Show rows of a journal, in natural units.

    For example:

        twinloop journal show sessions/paper/journal --limit 50
        twinloop journal show sessions/paper/journal --kind ALERT --kind HALT --last 10
        twinloop journal show sessions/paper/journal --kind NEW --kind FILL --start 2026-11-26T10:00:00

    Parameters
    ----------
    folder
        The journal's folder.
    kind
        Only rows of this kind, such as FILL; may be given several times. Seals are shown when asked for.
    start
        From this local date or time on, UTC unless it says otherwise.
    end
        Up to this local date or time, without it.
    sequence
        From this sequence on.
    limit
        Rows at most, from the first on.
    last
        The last so many instead.
    archived
        Begin with the segments in the archive.
    json
        Print one JSON document.
    """
    from twinloop.engine.journal.listing import Listing, chosen_rows, sentence  # noqa: PLC0415
    from twinloop.engine.journal.reader import open_journal  # noqa: PLC0415

    choice = _choice(kind, start, end, sequence)
    journal = open_journal(folder)
    listing = Listing(journal.header.instruments)
    rows = chosen_rows(_commits(journal, archived=archived), choice)
    count = min(max(last if last > 0 else limit, 0), sys.maxsize)
    chosen = deque(rows, maxlen=count) if last > 0 else itertools.islice(rows, count)
    if json:
        say_json({"folder": str(folder), "rows": [listing.record(each) for each in chosen]})
        return OK
    shown = ("commit", "sequence", "time", "kind", "instrument", "side")
    records = []
    for each in chosen:
        record = listing.record(each)
        records.append(
            {name: record[name] for name in shown}
            | {"what": sentence(listing.payload(each.row), record.get("meaning", ""))}
        )
    _table(records)
    return OK


@app.command
def export(
    folder: Path,
    path: Path,
    *,
    kind: Kinds | None = None,
    start: str | None = None,
    end: str | None = None,
    archived: Flag = False,
    json: Flag = False,
) -> int:
    """Write rows of a journal to a .csv file (names and exact decimals) or a .parquet file (every field as it is).

    For example:

        twinloop journal export sessions/paper/journal fills.csv --kind FILL
        twinloop journal export sessions/paper/journal all.parquet

    Parameters
    ----------
    folder
        The journal's folder.
    path
        Where to write; its ending chooses the form.
    kind
        Only rows of this kind; may be given several times.
    start
        From this local date or time on, UTC unless it says otherwise.
    end
        Up to this local date or time, without it.
    archived
        Begin with the segments in the archive.
    json
        Print one JSON document.
    """
    from twinloop.engine.journal.export import export_rows  # noqa: PLC0415
    from twinloop.engine.journal.reader import open_journal  # noqa: PLC0415

    choice = _choice(kind, start, end, None)
    journal = open_journal(folder)
    rows = export_rows(path, _commits(journal, archived=archived), choice, journal.header.instruments)
    size = path.stat().st_size
    if json:
        say_json({"path": str(path), "rows": rows, "size": size})
    else:
        say(f"{path}  {rows:,} rows, {size:,} bytes")
    return OK


@app.command
def archive(folder: Path, *, keep: int = 2, json: Flag = False) -> int:
    """Turn sealed segments of a journal into zstd Parquet, which restores them byte for byte.

    For example:

        twinloop journal archive sessions/paper/journal

    May run while the session does: the segments being written are never touched, and
    what was archived is read by replay, recovery and the sidecar as before. A segment
    goes only after its Parquet file was read back and gave the same bytes.

    Parameters
    ----------
    folder
        The journal's folder.
    keep
        How many of the newest segments stay as they are, at least 1.
    json
        Print one JSON document.
    """
    from twinloop.engine.journal.archive import archive as put_away  # noqa: PLC0415 - loads Polars
    from twinloop.engine.journal.folder import ARCHIVE, FolderLock, segments_of  # noqa: PLC0415

    if keep < 1:
        raise ConfigError("the segment being written stays", field="--keep", expected="at least 1", got=keep)
    segments_of(folder)
    lock = FolderLock(folder / ARCHIVE)
    try:
        done = put_away(folder, keep=keep)
    finally:
        lock.close()
    if json:
        say_json({"folder": str(folder), "archived": [_put_away(entry) for entry in done]})
        return OK
    _table([_put_away(entry) for entry in done])
    before, after = sum(entry.size for entry in done), sum(entry.parquet_size for entry in done)
    say(f"archived {len(done)} segments, {before:,} bytes as {after:,}")
    return OK


@app.command
def retire(
    folder: Path, *, older_than: str = "", beyond: str = "", archive: Path | None = None, json: Flag = False
) -> int:
    """Remove the oldest archived segments: those older than a time, or beyond a size in all.

    For example:

        twinloop journal retire sessions/paper/journal --older-than 90d
        twinloop journal retire sessions/paper/journal --beyond 50GB

    Copy the archive elsewhere first: with --archive nothing goes that its copy there does
    not give back, and `twinloop replay --archive` reads it from there. Only what a
    snapshot stands for is removed, so that the session can start again.

    Parameters
    ----------
    folder
        The journal's folder.
    older_than
        Remove what is wholly older, such as 90d.
    beyond
        Remove the oldest until the archive is no larger, such as 50GB.
    archive
        The folder with the copies of the archive's Parquet files.
    json
        Print one JSON document.
    """
    import time  # noqa: PLC0415

    from twinloop.engine.journal.archive import retire as remove  # noqa: PLC0415 - loads Polars
    from twinloop.engine.journal.folder import ARCHIVE, FolderLock, segments_of  # noqa: PLC0415
    from twinloop.engine.units import duration_ns  # noqa: PLC0415

    try:
        age_ns = duration_ns(older_than) if older_than else None
    except ValueError as error:
        raise ConfigError("not a time", field="--older-than", expected=str(error), got=older_than) from None
    size = _bytes(beyond) if beyond else None
    if age_ns is None and size is None:
        raise ConfigError(
            "nothing says what to remove", field="--older-than, --beyond", expected="one of them", got="none"
        )
    segments_of(folder)
    lock = FolderLock(folder / ARCHIVE)
    try:
        gone = remove(
            folder,
            now_ns=time.time_ns(),
            age_ns=age_ns,
            size=size,
            up_to_commit=_snapshot_commit(folder),
            copies=archive,
        )
    finally:
        lock.close()
    if json:
        say_json({"folder": str(folder), "retired": [_put_away(entry) for entry in gone]})
        return OK
    _table([_put_away(entry) for entry in gone])
    say(f"retired {len(gone)} segments, {sum(entry.parquet_size for entry in gone):,} bytes")
    return OK


def _snapshot_commit(folder: Path) -> int:
    """How many commits the oldest whole snapshot stands for: a later one may yet prove damaged. ConfigError where there is none."""
    from twinloop.engine.journal.snapshot import oldest_whole  # noqa: PLC0415

    commit = oldest_whole(folder)
    if commit is not None:
        return commit
    raise ConfigError(
        "no snapshot stands for what would be removed: the session could not start again", file=folder,
        expected="a whole snapshot", got="none", remedy="let `twinloop sidecar` follow the session first",
    )  # fmt: skip


def _bytes(text: str) -> int:
    """Bytes of "50GB"."""
    units = {"B": 1, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
    number = text.rstrip("BKMGTbkmgt").strip()
    unit = units.get(text[len(number) :].strip().upper())
    if unit is None or not number.isascii() or not number.isdigit():
        raise ConfigError("not a size", field="--beyond", expected="a whole number of B, KB, MB, GB or TB", got=text)
    return int(number) * unit


def _put_away(entry: "Archived") -> dict[str, Any]:
    from twinloop.data.times import to_text  # noqa: PLC0415

    return {
        "segment": entry.segment, "epoch": entry.epoch, "commits": entry.next_commit - entry.first_commit, "rows": entry.rows,
        "last": to_text(entry.last_wall_ns) if entry.last_wall_ns else "", "size": entry.size, "parquet": entry.parquet_size,
    }  # fmt: skip


def _choice(kind: list[str] | None, start: str | None, end: str | None, sequence: int | None) -> "Choice":
    from twinloop.data.times import to_ns  # noqa: PLC0415
    from twinloop.engine.journal.listing import Choice, kinds_named  # noqa: PLC0415

    return Choice(
        kinds_named(kind or []), None if start is None else to_ns(start), None if end is None else to_ns(end), sequence
    )


def _archived(journal: "Journal") -> "Iterator[Commit]":
    from twinloop.engine.journal.archive import each_archived  # noqa: PLC0415 - Polars is loaded when it is needed

    return each_archived(journal.folder, before=journal.first_commit)


def _commits(journal: "Journal", *, archived: bool) -> "Iterator[Commit]":
    return itertools.chain(_archived(journal), journal.each()) if archived else journal.each()


def _segment(segment: "Segment") -> dict[str, Any]:
    from twinloop.data.times import to_text  # noqa: PLC0415

    return {
        "segment": segment.path.name,
        "epoch": segment.header.epoch,
        "commits": segment.commits,
        "rows": segment.rows - segment.commits,
        "first_sequence": segment.header.first_sequence,
        "first": to_text(segment.first_wall_ns) if segment.commits else "",
        "last": to_text(segment.last_wall_ns) if segment.commits else "",
        "size": segment.end,
        "checksum": f"{segment.checksum:08x}",
    }


def _table(records: list[dict[str, Any]]) -> None:
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    if not records:
        say("nothing there")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name, value in records[0].items():
        table.add_column(name, justify="right" if isinstance(value, int) else "left", no_wrap=True)
    for record in records:
        table.add_row(
            *(  # Names come from a file: shown as they are, not as markup.
                Text(f"{value:,}" if isinstance(value, int) and name != "sequence" else str(value))
                for name, value in record.items()
            )
        )
    console = out()
    if not console.is_terminal:
        console.width = 240
    console.print(table)
