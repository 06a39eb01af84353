"""A second node that follows a session's journal in another process, checks every decision, and writes snapshots.

    replica = Replica(folder, every_rows=..., every_ns=...)
    while replica.step(): ...     # what was sealed since; then wait a little and ask again

Every fact goes through the same kernels, and requests, verdicts and hash checkpoints must come out as they stand in the journal: a
difference is a ParityError, damage a CorruptError, and either ends the replica for good: it is an alarm. A snapshot is taken only of a state
that was checked so. This module must not wait, and must not touch the journal's segments.
"""

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

from twinloop.data.errors import ConfigError
from twinloop.engine import crash_points
from twinloop.engine.journal.archive_index import first_held
from twinloop.engine.journal.follower import JournalFollower, headers_of
from twinloop.engine.journal.reader import Commit
from twinloop.engine.journal.snapshot import keep_newest, write_snapshot
from twinloop.engine.live.rebuild import Rebuilt, begin
from twinloop.engine.live.session import changed_since, compiled_strategies, session_from_plain
from twinloop.engine.seam import WORLD
from twinloop.engine.sidecar.shadow import Gap, Shadow

EVERY_ROWS: Final = 1_000_000
EVERY_NS: Final = 300_000_000_000  # Five minutes.
AGAIN_NS: Final = 10_000_000_000  # After a snapshot that could not be written.
KEPT: Final = 3


@dataclass
class Counts:
    """What a replica did so far."""

    commits: int = 0
    rows: int = 0  # With seals.
    grown: int = 0  # Of them, those that were sealed since the journal's end was first reached.
    facts: int = 0
    snapshots: int = 0
    snapshot_commit: int = 0


class Replica:
    """Follows the journal of a folder from its newest snapshot on, and writes the next when rows and time are due.

    rebuilt: None until the journal has a segment. shadow: (entry, response) latency in ns of a shadow beside it, or None. copies: a folder with the
    Parquet files of retired segments. Raises ConfigError where the session ran on other code than this process has.

    caught_up: whether it has reached the journal's end once; counts.grown is what was sealed since. said: what a person has to know, (of what,
    words), until it is taken away: why there is no shadow, why a snapshot could not be written. A disk that takes none is asked again, and the
    following goes on.
    """

    def __init__(
        self,
        folder: Path,
        *,
        every_rows: int = EVERY_ROWS,
        every_ns: int = EVERY_NS,
        kept: int = KEPT,
        shadow: tuple[int, int] | None = None,
        copies: Path | None = None,
    ) -> None:
        self.folder = folder
        self.caught_up = False
        self.said: list[tuple[str, str]] = []
        self._copies = copies
        self.rebuilt: Rebuilt | None = None
        self.shadow: Shadow | None = None
        self.gap: Gap | None = None
        self._latencies = shadow
        self.counts = Counts()
        self._every_rows, self._every_ns, self._kept = every_rows, every_ns, kept
        self._follower = JournalFollower(folder, copies=copies)
        self._rows = 0
        self._one = threading.Lock()
        self._closed = False
        self._since_ns = WORLD.monotonic_ns()
        self._not_before_ns = self._since_ns

    def close(self) -> None:
        """Let the journal go, after the step that may go on in another thread."""
        with self._one:
            self._closed = True
            self._follower.close()

    def step(self) -> list[Commit]:
        """Handle what was sealed since, up to about 1 MiB of it: those commits; empty when nothing is new."""
        with self._one:
            return [] if self._closed else self._step()

    def _step(self) -> list[Commit]:
        if self.rebuilt is None and not self._begin():
            return []
        assert self.rebuilt is not None
        commits = self._follower.read()
        self.rebuilt.take(commits, self._follower.epoch)
        if self.shadow is not None and commits:
            self.shadow.take(commits)
            self.gap = self.shadow.gap(self.rebuilt.node)
        self.counts.commits += len(commits)
        self.counts.facts = self.rebuilt.facts
        rows = sum(len(commit.rows) + 1 for commit in commits)
        self._rows += rows
        self.counts.rows += rows
        if self.caught_up:
            self.counts.grown += rows
        self.caught_up = self.caught_up or not commits
        if self._is_due():
            self._try_snapshot()
        return commits

    def _try_snapshot(self) -> None:
        """What the disk does not take now it may take later: nothing that was followed is lost by it."""
        try:
            self.snapshot()
        except OSError as error:
            self.said.append(("snapshot", f"no snapshot could be written: {error.strerror or error}"))
            self._not_before_ns = WORLD.monotonic_ns() + AGAIN_NS

    @property
    def behind_bytes(self) -> int:
        """How much of the journal lies in later segments than the one being read."""
        return self._follower.behind_bytes

    def snapshot(self) -> Path:
        """Write a snapshot of what was handled so far, and remove the oldest."""
        rebuilt, header = self.rebuilt, self._follower.header
        assert rebuilt is not None
        assert header is not None
        head = rebuilt.head(header.epoch, header.config, WORLD.wall_ns())
        parts = rebuilt.parts()
        if self.shadow is not None:
            parts |= self.shadow.parts()
            head = msgspec.structs.replace(head, words=head.words | {"shadow": self.shadow.words()})
        if crash_points.armed:
            crash_points.reach("snapshot")
        path = write_snapshot(self.folder, head, parts)
        if crash_points.armed:
            crash_points.reach("snapshot-named")
        keep_newest(self.folder, self._kept)
        self.counts.snapshots += 1
        self.counts.snapshot_commit = head.commit
        self._rows, self._since_ns = 0, WORLD.monotonic_ns()
        return path

    def _is_due(self) -> bool:
        """Every so many rows, and after so long where there is anything new."""
        now_ns = WORLD.monotonic_ns()
        if now_ns < self._not_before_ns:
            return False
        return self._rows >= self._every_rows or (self._rows > 0 and now_ns - self._since_ns >= self._every_ns)

    def _begin(self) -> bool:
        """Take the newest snapshot over, once there is a journal."""
        header = next(headers_of(self.folder), None)  # Of any segment: each tells the session.
        if header is None:
            return False
        session = session_from_plain(header.session)
        compiled = compiled_strategies(session)
        self._refuse_other_code(changed_since(session, compiled))
        self.rebuilt = begin(self.folder, session, header.config, compiled)
        if self._latencies is not None:
            self.shadow = Shadow(session, compiled, *self._latencies)
            parts, words = self.rebuilt.extra
            if self.rebuilt.commit and not self.shadow.restore(parts, words.get("shadow", {})):
                if first_held(self.folder, self._copies):
                    self.shadow = None
                    self.said.append((
                        "shadow", "there is no shadow: it would have to live through commits that were retired, and no copy of them is here",
                    ))  # fmt: skip
                else:
                    self.rebuilt = Rebuilt(session, self.folder, compiled)  # The shadow has to live through all of it.
        if self.shadow is not None and self.rebuilt.commit:
            self.gap = self.shadow.gap(self.rebuilt.node)
        self._follower = JournalFollower(
            self.folder, commit=self.rebuilt.commit, checksum=self.rebuilt.checksum if self.rebuilt.commit else None,
            copies=self._copies,
        )  # fmt: skip
        return True

    def _refuse_other_code(self, changed: list[str]) -> None:
        if changed:
            raise ConfigError(
                "the session beside which this runs has other code", file=self.folder, expected="what the session began with",
                got="changed since: " + ", ".join(changed), remedy="start the sidecar from the version and files that the session runs",
            )  # fmt: skip
