"""Live sessions that lose their feeds and their user stream, are filled in part and refused: each journal replays bit for bit.

The short form of the bar `parity` of benchmarks/bars, which runs 20 sessions of 60 s.
"""

import asyncio
from pathlib import Path

from reference.faulty_sessions import Replayed, session


def test_two_sessions_under_faults_replay_in_another_process(tmp_path: Path) -> None:
    async def both() -> list[Replayed]:
        folders = [tmp_path / str(seed) for seed in (1, 2)]
        for folder in folders:
            folder.mkdir()
        return await asyncio.gather(*(session(folder, seed, 0.0) for seed, folder in enumerate(folders, 1)))

    for found in asyncio.run(both()):
        assert found.same, found.difference
        assert found.missing() == []
        assert found.met["fills"] >= 5
        assert found.decisions >= found.requests > 20
        assert found.hashes > 20
