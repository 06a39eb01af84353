"""Whatever is appended, committed, rolled over, closed, killed and gone on with: the journal reads as a plain list of commits."""

import os
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from reference import journal as twin
from reference.small_journals import OPTIONS, append, facts

from twinloop.engine.journal.archive import archive, restore_segment
from twinloop.engine.journal.archive_index import read_index
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.recovery import resume
from twinloop.engine.journal.writer import FileLayer


class Lost(FileLayer):
    """A process that was killed: nothing is given back, nothing is finished."""

    def trim(self, handle: int, size: int) -> None:
        """Leave the room as it is."""
        os.fstat(handle)
        assert size >= 0


class Machine(RuleBasedStateMachine):
    """The twin is a list of the bytes of each commit, and what was appended since."""

    folder: Path

    @initialize(durability=st.sampled_from(["async", "group", "strict"]), segment_rows=st.sampled_from([8, 20, 64]))
    def begin(self, durability: str, segment_rows: int) -> None:
        self.options = OPTIONS | {"durability": durability, "segment_rows": segment_rows, "group_us": 0}
        self.commits: list[bytes] = []
        self.open: list[bytes] = []
        self.sequence = 0
        self.gone = 0  # Commits that are in the archive.
        self.epoch = 0
        self.kill = False
        self._open()

    def _open(self) -> None:
        layer = Lost() if self.kill else FileLayer()
        self.journal = resume(self.folder, layer=layer, **self.options).writer
        self.open.clear()
        self.sequence = sum(len(each) for each in self.commits) // 64
        assert self.journal.epoch == self.epoch + 1
        assert self.journal.commits == len(self.commits)
        self.epoch += 1

    @rule(count=st.integers(1, 3))
    def append(self, count: int) -> None:
        if sum(map(len, self.open)) // 64 + count + 1 > self.options["segment_rows"]:
            return
        rows = facts(self.sequence, count)
        append(self.journal, rows)
        self.open.append(rows.tobytes())
        self.sequence += count

    @rule()
    def commit(self) -> None:
        if self.open:
            self.commits.append(b"".join(self.open))
            self.open.clear()
        assert self.journal.commit(1, 2) == len(self.commits)

    @rule()
    def wait(self) -> None:
        assert self.journal.wait(len(self.commits), 10.0)
        assert self.journal.reached() == len(self.commits)

    @rule(kill=st.booleans())
    def close_and_go_on(self, kill: bool) -> None:
        self.journal.close()
        assert self.journal.failure == ""
        self.kill = kill
        self._open()

    @precondition(lambda self: len(list(self.folder.glob("segment-*.journal"))) > 3)
    @rule()
    def put_away(self) -> None:
        assert self.journal.wait(len(self.commits), 10.0)
        archive(self.folder, keep=2)
        self.gone = read_index(self.folder)[-1].next_commit

    @invariant()
    def what_is_safe_can_be_read(self) -> None:
        if not hasattr(self, "journal"):
            return
        reached = self.journal.reached()
        assert reached <= len(self.commits)
        found = open_journal(self.folder)
        assert found.problems == []
        assert found.first_commit == self.gone
        rows = [commit.rows.tobytes() for commit in found.each()]
        assert rows == self.commits[self.gone : self.gone + len(rows)]
        assert self.gone + len(rows) >= reached

    def teardown(self) -> None:
        if not hasattr(self, "journal"):
            return
        self.journal.close()
        found: list[bytes] = []
        restored = self.folder / "restored"
        for path in sorted((self.folder / "archive").glob("*.parquet")):
            restore_segment(path, restored / path.with_suffix(".journal").name)
        for path in [*sorted(restored.glob("segment-*")), *sorted(self.folder.glob("segment-*.journal"))]:
            slow = twin.read(path.read_bytes())
            assert slow is not None
            assert slow.header["first_commit"] == len(found)
            found += slow.commits
        assert found == self.commits


def test_a_journal_reads_as_the_list_of_its_commits(tmp_path_factory: pytest.TempPathFactory) -> None:
    class InFolder(Machine):
        def __init__(self) -> None:
            super().__init__()
            self.folder = tmp_path_factory.mktemp("journal")

    run_state_machine_as_test(InFolder, settings=settings(stateful_step_count=40, max_examples=40))
