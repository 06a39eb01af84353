"""What `twinloop record` wrote can be ingested and traded: end to end against the practice exchange, on real sockets."""

import asyncio
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reference.sessions import until
from reference.stream_relay import StreamRelay

from twinloop.data.binance_raw import read_raw
from twinloop.data.errors import DataError
from twinloop.data.instruments import read_instruments
from twinloop.data.recorder import Recorder
from twinloop.data.rowfile import join_rows, open_rows, pick, words_of
from twinloop.engine import cli
from twinloop.engine.exchange.server import Server
from twinloop.engine.live.recording import Recording, RecordPlan
from twinloop.kernels import rows as table

SECOND = 10**9


@pytest.fixture
def port() -> Iterator[int]:
    """A practice exchange in a thread of its own."""
    ready, stop = threading.Event(), asyncio.Event()
    found: list[Any] = []

    async def serve() -> None:
        async with Server(seed=7, turns_per_s=100) as server:
            found.extend([server.port, asyncio.get_running_loop()])
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    assert ready.wait(20)
    yield found[0]
    found[1].call_soon_threadsafe(stop.set)
    thread.join()


def raw_rows(folder: Path) -> Any:
    """Rows of the raw files, with the reader's own order around snapshots."""
    instrument = next(iter(read_instruments(folder / "instruments.toml").values()))
    reader = read_raw(sorted(folder.glob("*.gz")), instrument, clock_offset_ns=0, assumed_latency_ns=0)
    rows = join_rows(list(reader))
    return rows, reader.report


def file_rows(folder: Path) -> Any:
    return join_rows([np.array(open_rows(path, verify=True)[0]) for path in sorted(folder.glob("*.rows"))])


def test_what_was_recorded_is_ingested_and_traded(
    tmp_path: Path, port: int, strategy_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, catalog = tmp_path / "recordings", tmp_path / "catalog"
    address = ["--stream", f"ws://127.0.0.1:{port}", "--rest", f"http://127.0.0.1:{port}"]
    code = cli.run(
        [
            "record",
            "btcusdt",
            "--out",
            str(folder),
            "--duration",
            "5s",
            "--roll",
            "2s",
            "--sync",
            "1s",
            "--json",
            *address,
        ]
    )
    document = json.loads(capsys.readouterr().out)
    assert code == 0
    assert document["frames"] > 200
    assert document["connects"] == 1
    raw = sorted(folder.glob("*.gz"))
    assert len(raw) >= 3
    assert sorted(document["files"]) == sorted(
        str(path) for path in folder.iterdir() if path.suffix in {".gz", ".rows"}
    )
    assert not list(folder.glob("*.part"))

    # Byte for byte what a node would have handled is what the raw lines say.
    read, report = raw_rows(folder)
    assert (report.quarantined, report.findings["depth_gaps"], report.findings["fallback"]) == (0, 0, 0)
    wrote = file_rows(folder)
    for kind in (table.TRADE, table.QUOTE, table.LEVEL):
        one, other = pick(wrote, wrote["kind"] == kind), pick(read, read["kind"] == kind)
        assert len(one) > 50
        for name in ("sequence", "side", "price", "qty", "venue_ns"):
            # A snapshot taken for a new file is followed, in the reader's rows, by copies of updates it lacks.
            assert set(one[name].tolist()) == set(other[name].tolist()), (table.KIND_NAME[kind], name)
    for kind, least in ((table.TRADE, 50), (table.MARK, 3)):
        whole = pick(wrote, wrote["kind"] == kind)
        assert len(whole) >= least
        assert words_of(whole).tobytes() == words_of(pick(read, read["kind"] == kind)).tobytes()

    instruments = ["--instrument", "binance-usdm:BTCUSDT", "--instruments", str(folder / "instruments.toml")]
    assert cli.run(["ingest", *map(str, raw), "--catalog", str(catalog), *instruments]) == 0
    assert list(catalog.rglob("*.parquet"))
    capsys.readouterr()

    for source in (
        f'catalog = "{catalog}"\nsymbol = "BTCUSDT"',
        f"file = {json.dumps([str(each) for each in sorted(folder.glob('*.rows'))[:1]])}",
    ):
        config = tmp_path / "backtest.toml"
        config.write_text(
            f'limits = "research"\n[run]\nname = "recorded"\nout = "{tmp_path / "runs"}"\n[[data]]\n{source}\n'
            f'[venue]\nentry_latency = "1ms"\nresponse_latency = "1ms"\n[[strategy]]\npath = "{strategy_folder / "busy.py"}:Busy"\n'
        )
        code = cli.run(["backtest", str(config), "--json"])
        said = capsys.readouterr()
        assert code == 0, said.err
        assert json.loads(said.out.splitlines()[-1])


def test_a_reset_connection_leaves_a_recording_that_says_so(tmp_path: Path) -> None:
    async def all_of_it() -> None:
        async with Server(seed=8, turns_per_s=100) as server, StreamRelay(f"ws://127.0.0.1:{server.port}") as relay:
            plan = RecordPlan(
                venue="binance-usdm", symbols=["BTCUSDT"], folder=tmp_path, stream=relay.address, rest=f"http://127.0.0.1:{server.port}",
                roll_ns=3600 * SECOND, sync_ns=0,
            )  # fmt: skip
            recording = Recording(plan, lambda _: None)
            task = asyncio.create_task(recording.run())
            await until(lambda: hasattr(recording, "feeds"), task)
            feeds, recorder = recording.feeds, recording.recorder

            async def some_more(connects: int) -> None:
                await until(lambda: feeds.connects == connects and not feeds.stale, task)
                already = recorder.lines
                await until(lambda: recorder.lines >= already + 100, task)

            await some_more(1)
            relay.reset()
            await until(lambda: feeds.stale, task)
            await some_more(2)
            recording.stopping.set()
            found = await task
            assert found.connects == 2

    asyncio.run(all_of_it())
    read, report = raw_rows(tmp_path)
    assert report.findings["depth_gaps"] == 1
    assert report.messages["snapshot"] == 2
    told = [
        table.KIND_NAME[int(row["kind"])]
        for row in file_rows(tmp_path)
        if table.FEED_GAP <= int(row["kind"]) <= table.FEED_RECOVERED
    ]
    assert told == ["FEED_STALE", "FEED_GAP", "FEED_RECOVERED"] * 2
    assert np.count_nonzero(read["kind"] == table.FEED_GAP) == 1


@pytest.mark.parametrize("where", ["on_raw", "on_rows", "flush"])
def test_a_disk_that_fails_ends_a_recording_with_one_error(
    tmp_path: Path, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whichever task meets it, however deep: what a person reads is the disk's error."""

    def fails(*_: object) -> None:
        raise DataError("cannot record", got="No space left on device")

    monkeypatch.setattr(Recorder, where, fails)

    async def all_of_it() -> None:
        async with Server(seed=8, turns_per_s=100) as server:
            address = f"127.0.0.1:{server.port}"
            plan = RecordPlan(
                venue="binance-usdm", symbols=["BTCUSDT"], folder=tmp_path, stream=f"ws://{address}", rest=f"http://{address}",
                sync_ns=SECOND // 2,
            )  # fmt: skip
            await asyncio.wait_for(Recording(plan, lambda _: None).run(), 30)

    with pytest.raises(DataError, match="No space left on device"):
        asyncio.run(all_of_it())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--duration", "5"], "duration"),
        (["--roll", "1ms"], "1s or more"),
        (["--stream", "ws://example.org"], "plain connection to another machine"),
        (["BTCUSDT"], "each once"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.run(["record", "BTCUSDT", *arguments, "--out", str(tmp_path / "never")]) == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "never").exists()


def test_a_venue_that_does_not_answer_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code = cli.run(["record", "BTCUSDT", "--rest", "http://127.0.0.1:9", "--out", str(tmp_path / "never")])
    assert code != 0
    assert "does not answer" in capsys.readouterr().err
