"""A replay says whether the journal it compared ends as a session in order ends it: half a copy is not taken for a whole one."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from reference import sessions
from reference.paper_config import paper_file
from reference.small_venue import SmallVenue

from twinloop.engine import cli
from twinloop.engine.live.process import LiveProcess


def test_a_journal_that_was_copied_by_half_is_told_from_a_whole_one(
    tmp_path: Path, strategy_folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async def lived(process: LiveProcess, task: asyncio.Task[None]) -> None:
        await sessions.until(lambda: process.loop.counts.requests >= 3, task)

    async def all_of_it() -> Path:
        async with SmallVenue(6) as venue:
            address = f"127.0.0.1:{venue.port}"
            path = paper_file(tmp_path, f"{strategy_folder / 'busy.py'}:Busy", f"ws://{address}", f"http://{address}")
            return (await sessions.in_session(path, [], lived)).loaded.place / "journal"

    whole = asyncio.run(all_of_it())
    half = tmp_path / "half"
    shutil.copytree(whole, half)
    segment = half / "segment-000001.journal"
    segment.write_bytes(segment.read_bytes()[: segment.stat().st_size // 2 + 13])
    assert cli.run(["replay", str(whole)]) == cli.OK
    assert "no end in order" not in capsys.readouterr().out
    assert cli.run(["replay", str(half)]) == cli.OK
    said = capsys.readouterr().out
    assert "no end in order" in said
    assert "the copy is not whole" in said
    assert cli.run(["replay", str(half), "--json"]) == cli.OK
    found = json.loads(capsys.readouterr().out)
    assert (found["same"], found["ended_in_order"]) == (True, False)
