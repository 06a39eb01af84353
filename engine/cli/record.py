"""`twinloop record`: a venue's market into files, as it came and as rows."""

import asyncio
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from twinloop.data.errors import ConfigError
from twinloop.engine.cli import OK
from twinloop.engine.cli.screen import Activity, say, say_json


def record(
    symbols: Annotated[list[str], Parameter(negative="")],
    *,
    venue: Literal["binance-spot", "binance-usdm", "binance-coinm"] = "binance-usdm",
    out: Path = Path("recordings"),
    duration: str | None = None,
    roll: str = "1h",
    sync: str = "5s",
    stream: str = "",
    rest: str = "",
    compress: bool = True,
    rows: bool = True,
    marks: bool = True,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Record a venue's books, quotes and trades until Ctrl-C.

    For example:

        twinloop record BTCUSDT ETHUSDT --duration 1h

        twinloop ingest recordings/usdm_btcusdt_*.gz --instrument binance-usdm:BTCUSDT

    Or of the practice exchange:

        twinloop record BTCUSDT --stream ws://127.0.0.1:9080 --rest http://127.0.0.1:9080

    Every frame is written as it came, behind its receive time, with a snapshot of
    the book where one is needed; row files hold what a live session would have
    handled. Connections are watched and replaced as in a session. The instruments'
    rules stand beside the files, for `twinloop ingest --instruments`.

    Parameters
    ----------
    symbols
        As the venue writes them.
    venue
        The market.
    out
        Folder of the files; nothing in it is ever overwritten.
    duration
        Such as 90s or 1h; without it, until Ctrl-C.
    roll
        New files after so long, at whole multiples in UTC.
    sync
        What is older survives a loss of power; 0s waits for a file's end.
    stream
        Another address of the streams than the venue's own.
    rest
        Another address of the REST interface.
    compress
        Write gzip.
    rows
        Write row files too.
    marks
        Mark prices and funding too; of futures.
    json
        Print one JSON document at the end.
    """
    from twinloop.engine.gateway.endpoints import check_address  # noqa: PLC0415
    from twinloop.engine.live.recording import Recording, RecordPlan, RecordProgress  # noqa: PLC0415 - loads the feeds
    from twinloop.engine.units import duration_ns  # noqa: PLC0415

    times = {}
    for flag, text, least in (("--duration", duration or "0s", 0), ("--roll", roll, 10**9), ("--sync", sync, 0)):
        try:
            times[flag] = duration_ns(text)
        except ValueError as error:
            raise ConfigError("not a duration", field=flag, expected=str(error), got=text) from None
        if times[flag] < least:
            raise ConfigError("too short", field=flag, expected="1s or more", got=text)
    for flag, address, schemes in (("--stream", stream, ("wss", "ws")), ("--rest", rest, ("https", "http"))):
        if address:
            check_address(flag, address, schemes)
    names = [symbol.upper() for symbol in symbols]
    if not names or len(set(names)) != len(names):
        raise ConfigError("which symbols", field="symbols", expected="one or more, each once", got=" ".join(names))
    plan = RecordPlan(
        venue=venue, symbols=names, folder=out, stream=stream, rest=rest, duration_ns=times["--duration"],
        roll_ns=times["--roll"], sync_ns=times["--sync"], packed=compress, rows=rows, marks=marks,
    )  # fmt: skip
    total = plan.duration_ns / 1e9 or None
    with Activity("recording", quiet=json) as activity:

        def show(progress: RecordProgress) -> None:
            state = "stale" if progress.stale else "fresh"
            activity.update(
                progress.seconds, total, f"{progress.lines:,} frames, {progress.lines_per_s:,.0f}/s, {state}"
            )

        recording = Recording(plan, show)
        found = asyncio.run(recording.run())
    files = [str(path) for path in recording.recorder.finished]
    if json:
        say_json({"files": files, "seconds": round(found.seconds, 3), "frames": found.lines, "bytes": found.text_bytes,
                  "rows": found.rows, "connects": found.connects})  # fmt: skip
        return OK
    say(f"{found.lines:,} frames ({found.text_bytes / 1e6:,.1f} MB), {found.rows:,} rows in {found.seconds:,.0f} s")
    for name in files:
        say(f"  {name}")
    return OK
