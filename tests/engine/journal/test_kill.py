"""kill -9 at any moment loses nothing that was called safe, and the folder goes on."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from reference.small_journals import OPTIONS, append, facts, writer

from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.recovery import resume

# Commits of one to three rows, reported once they are safe; segments are small, so that kills fall into rolls too.
CHILD = """
import os, sys
from pathlib import Path
import numpy as np
from twinloop.engine.journal.recovery import resume
from twinloop.kernels import rows as table

recovered = resume(
    Path(sys.argv[1]), session={}, code="c", config="d", durability=sys.argv[2], segment_rows=int(sys.argv[3]), group_us=50
)
journal = recovered.writer
mark, _, sequence = recovered.journal.start if recovered.journal else (0, 0, 0)
out = np.zeros(3, table.ROW)
out["kind"] = table.TRADE
os.write(1, b"s%d\\n" % mark)
for number in range(mark, mark + 1_000_000):
    count = number % 3 + 1
    out["sequence"] = np.arange(sequence, sequence + 3)
    sequence += count
    journal.append(out[:count])
    mark = journal.commit(number, number)
    assert mark == number + 1
    if journal.wait(mark, 10.0):
        os.write(1, b"%d\\n" % mark)
"""
SEED = 20
KILLS = int(os.environ.get("TWINLOOP_KILLS", "6"))


def run_and_kill(folder: Path, durability: str, segment_rows: int, after: int) -> tuple[int, int]:
    """(mark the child began with, highest mark it called safe) of a child that is killed after it said so `after` times."""
    command = [sys.executable, "-c", CHILD, str(folder), durability, str(segment_rows)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        began = int(child.stdout.readline()[1:])
        for _ in range(after):
            assert child.stdout.readline()
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
    assert child.returncode == -signal.SIGKILL
    whole = rest.split(b"\n")[:-1]
    return began, int(whole[-1]) if whole else began + after


@pytest.mark.parametrize("segment_rows", [12, 1 << 12])
@pytest.mark.parametrize("durability", ["async", "group", "strict"])
def test_what_was_safe_survives_kills_again_and_again(tmp_path: Path, durability: str, segment_rows: int) -> None:
    generator = random.Random(SEED)
    safe = 0
    for _ in range(KILLS if segment_rows == 12 else 2):
        began, safe = run_and_kill(tmp_path, durability, segment_rows, generator.randrange(1, 200))
        journal = open_journal(tmp_path)
        assert journal.problems == []
        assert began <= safe <= journal.commits
        sequence = 0
        for number, commit in enumerate(journal.each()):
            count = number % 3 + 1
            assert commit.rows["sequence"].tolist() == list(range(sequence, sequence + count)), number
            sequence += count
    recovered = resume(tmp_path, **OPTIONS)
    append(recovered.writer, facts(sequence, 1))
    recovered.writer.commit(1, 1)
    recovered.writer.close()
    assert open_journal(tmp_path).commits >= safe + 1
    assert not list(tmp_path.glob("*.part"))


READER = """
import sys
from pathlib import Path
from twinloop.engine.journal.reader import open_journal
folder, wanted, seen = Path(sys.argv[1]), int(sys.argv[2]), 0
print("ready", flush=True)
while seen < wanted:
    journal = open_journal(folder)
    assert journal.problems == []
    commits = [commit.number for commit in journal.each()]
    assert commits == list(range(len(commits)))
    assert len(commits) >= seen
    seen = len(commits)
print(seen, flush=True)
"""


@pytest.mark.parametrize("durability", ["async", "strict"])
def test_another_process_reads_while_segments_come_and_are_trimmed(tmp_path: Path, durability: str) -> None:
    """What is being written is neither torn nor damaged for good, and room that is given back is not looked at."""
    with writer(tmp_path, durability=durability, segment_rows=300) as journal:
        command = [sys.executable, "-c", READER, str(tmp_path), "3000"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as reader:
            assert reader.stdout is not None
            assert reader.stdout.readline() == "ready\n"
            for number in range(3000):
                append(journal, facts(number, 1))
                journal.commit(1, 1)
            assert int(reader.stdout.readline()) == 3000
    assert reader.returncode == 0
