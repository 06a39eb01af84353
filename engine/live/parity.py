"""The proof that replay equals live: a journal's facts, through the same kernels in another process, take every decision again.

    found = replay_journal(Path("journal"))
    found.difference is None      # every request, verdict and hash was the same

Open loop: every fact comes from the journal, own orders and timers too; what the kernel asks for is compared with what it asked for
then, byte by byte. The first difference names the fact it stands at. Nothing but the journal and the strategies' files is read.

Where the beginning was retired and is not at hand, it starts at the oldest snapshot that stands for it: of what came before, that state is
all that is taken on trust, and `uncovered` says so.

How many facts came at once must not matter. As committed, they come in the batches of the session, and what depends on those would be
the same again: `batch` cuts them otherwise.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from twinloop.data.errors import ConfigError, CorruptError, TwinloopError
from twinloop.data.rowfile import Rows, join_rows
from twinloop.engine.journal.archive_index import first_held
from twinloop.engine.journal.follower import JournalFollower
from twinloop.engine.journal.reader import Commit, Journal, open_journal
from twinloop.engine.journal.snapshot import Head, read_snapshot, snapshots_of
from twinloop.engine.live import node_state
from twinloop.engine.live.node import Handled, LiveNode
from twinloop.engine.live.session import changed_since, compiled_strategies, session_from_plain
from twinloop.kernels.rows import HASH, KIND_NAME, ORIGIN, REQUEST, ROW_SIZE, VERDICT

if TYPE_CHECKING:
    from twinloop.engine.strategy_compiler import CompiledStrategy

_WORDS = ("venue_ns", "local_ns", "sequence")


@dataclass(frozen=True)
class Difference:
    """Where a replay first did otherwise. sequence: of the fact that caused it, as the journal numbers them."""

    commit: int
    sequence: int
    what: str
    then: str
    now: str

    def __str__(self) -> str:
        """In one line."""
        return f"at fact {self.sequence} (commit {self.commit}): {self.what}: then {self.then}, now {self.now}"


@dataclass
class Parity:
    """What a replay found. changed: what is no longer as it was when the session ran.

    from_commit, from_sequence: where it began; what came before is not proven. passed_over: why older snapshots could not be used.
    """

    commits: int = 0
    facts: int = 0
    requests: int = 0
    verdicts: int = 0
    hashes: int = 0
    decisions: int = 0
    difference: Difference | None = None
    changed: list[str] = field(default_factory=list)
    decision_hash: str = ""
    from_commit: int = 0
    from_sequence: int = 0
    passed_over: list[str] = field(default_factory=list)
    ended: bool = False  # The journal ends as a session in order ends it: with a hash of the whole state.
    torn_bytes: int = 0  # Behind its last whole commit.

    @property
    def open_end(self) -> str:
        """What is to be said of a journal that does not end in order; empty where it does."""
        if self.difference is not None or (self.ended and not self.torn_bytes):
            return ""
        torn = f", and {self.torn_bytes:,} bytes behind it are in no commit" if self.torn_bytes else ""
        return (
            f"the journal has no end in order{torn}: the session still runs, its process was killed, or the copy is not whole; "
            "what is there is compared"
        )

    @property
    def uncovered(self) -> str:
        """What the replay says nothing about, in words; empty where it is all of the journal."""
        if not self.from_commit:
            return ""
        return f"facts 0 to {self.from_sequence - 1} (commits 0 to {self.from_commit - 1})"


def replay_journal(
    folder: Path, progress: Callable[[int, int], None] | None = None, *, batch: int = 0, copies: Path | None = None
) -> Parity:
    """Replay a journal and compare. Raises the project's errors for a journal that is damaged or cannot be replayed."""
    journal = open_journal(folder)
    return replay(journal, progress, batch=batch, copies=copies)


def replay(
    journal: Journal, progress: Callable[[int, int], None] | None = None, *, batch: int = 0, copies: Path | None = None
) -> Parity:
    """Replay a journal that was read already. progress: called with commits done and commits in all.

    batch: rows handed to the kernel at once, at most; 0: those of a commit together, as they came.
    copies: a folder with the Parquet files of segments that were retired.
    """
    if batch < 0:
        raise ConfigError("a batch has rows", field="batch", expected="0 for those of the session, or more", got=batch)
    session = session_from_plain(journal.segments[0].header.session)
    compiled = compiled_strategies(session)
    found = Parity(changed=changed_since(session, compiled), torn_bytes=journal.torn_bytes)
    found.difference = _same_session(journal)
    if found.difference is not None:
        return found
    node = LiveNode(session, "recorded", compiled)
    commits = every_commit(journal, copies)
    if journal.first_commit and (held := first_held(journal.folder, copies)):
        node, head = _from_snapshot(journal, compiled, node, held, found)
        commits = _commits_from(journal.folder, head, copies)
    for commit in commits:
        facts = commit.facts
        handled = _in_batches(node, facts, batch) if commit.number else node.start()
        found.commits += 1
        found.facts += len(facts)
        found.difference = _compare(commit, facts, node, handled, found)
        found.ended = bool(((commit.notes["kind"] == HASH) & (commit.notes["state_hash"] != 0)).any())
        if found.difference is not None:
            break
        if progress is not None and found.commits % 256 == 0:
            progress(found.commits, journal.start[0] - found.from_commit)
    found.decisions = node.decisions()
    found.decision_hash = f"{node.decision_hash() & (2**64 - 1):016x}"
    return found


def _in_batches(node: LiveNode, facts: Rows, batch: int) -> Handled:
    if not batch or len(facts) <= batch:
        return node.handle(facts)
    parts = [node.handle(facts[at]) for at in node.pieces(facts, batch)]
    return Handled(
        join_rows([part.facts for part in parts]),
        join_rows([part.requests for part in parts]),
        join_rows([part.verdicts for part in parts]),
    )


def every_commit(journal: Journal, copies: Path | None = None) -> Iterator[Commit]:
    """The commits of a journal from the first on, those in its archive too. CorruptError where its beginning was retired."""
    if journal.first_commit:
        from twinloop.engine.journal.archive import each_archived  # noqa: PLC0415 - Polars is loaded when it is needed

        yield from each_archived(journal.folder, copies, before=journal.first_commit)
    yield from journal.each()


def _from_snapshot(
    journal: Journal, compiled: list["CompiledStrategy"], node: LiveNode, held: int, found: Parity
) -> tuple[LiveNode, Head]:
    """The node of the oldest snapshot from which on every commit is there. held: the first commit that is. CorruptError without one."""
    for path in reversed(snapshots_of(journal.folder)):
        try:
            head, parts = read_snapshot(path)
            if head.commit < held:
                continue
            node_state.take_over(node, path, head, parts, journal.header.config)
        except (TwinloopError, OSError) as error:
            found.passed_over.append(f"snapshot {path.name} is not used: {error}")
            node = LiveNode(node.session, "recorded", compiled)
            continue
        found.from_commit, found.from_sequence = head.commit, head.sequence
        return node, head
    raise CorruptError(
        "the beginning of this journal was retired, and no snapshot stands for it", file=journal.folder,
        expected=f"a snapshot of commit {held} or a later one", got="; ".join(found.passed_over) or "none",
        remedy="name the folder that holds the retired segments' Parquet files: `twinloop replay --archive FOLDER`",
    )  # fmt: skip


def _commits_from(folder: Path, head: Head, copies: Path | None) -> Iterator[Commit]:
    """The commits behind a snapshot."""
    follower = JournalFollower(folder, commit=head.commit, checksum=head.checksum, copies=copies)
    try:
        while read := follower.read():
            yield from read
    finally:
        follower.close()


def _same_session(journal: Journal) -> Difference | None:
    """Every segment must be of the same session, and no epoch used by two processes."""
    first = journal.segments[0].header
    commit = 0
    last = 0
    for segment in journal.segments:
        header = segment.header
        commit = header.first_commit
        if header.config != first.config:
            return Difference(
                commit,
                header.first_sequence,
                "the session's configuration changed",
                first.config[:12],
                header.config[:12],
            )
        if header.epoch < last:
            return Difference(
                commit, header.first_sequence, "an epoch was used again", f"after {last}", str(header.epoch)
            )
        last = header.epoch
    return None


def _compare(commit: Commit, facts: Rows, node: LiveNode, handled: Handled, found: Parity) -> Difference | None:
    notes = commit.notes
    for what, then, now in (
        ("facts", facts, handled.facts),
        ("requests", commit.requests, handled.requests),
        ("verdicts", notes[notes["kind"] == VERDICT], handled.verdicts),
    ):
        difference = first_difference(commit.number, what, then, now)
        if difference is not None:
            return difference
    found.requests += len(handled.requests)
    found.verdicts += len(handled.verdicts)
    for row in notes[notes["kind"] == HASH]:
        found.hashes += 1
        last = int(facts[-1]["sequence"]) if len(facts) else node.sequence - 1
        if int(row["decisions"]) != node.decisions():
            return Difference(
                commit.number, last, "number of decisions", str(int(row["decisions"])), str(node.decisions())
            )
        if int(row["decision_hash"]) != node.decision_hash():
            return Difference(
                commit.number, last, "decision hash", _hex(row["decision_hash"]), _hex(node.decision_hash())
            )
        if int(row["state_hash"]) and int(row["state_hash"]) != node.state_hash():
            return Difference(commit.number, last, "state hash", _hex(row["state_hash"]), _hex(node.state_hash()))
    return None


def first_difference(commit: int, what: str, then: Rows, now: Rows) -> Difference | None:
    """The first row in which two arrays differ."""
    if then.tobytes() == now.tobytes():
        return None
    raw_then, raw_now = then.tobytes(), now.tobytes()
    for at in range(max(len(then), len(now))):
        one, other = (raw[at * ROW_SIZE : (at + 1) * ROW_SIZE] for raw in (raw_then, raw_now))
        if one != other:
            row = then[at] if at < len(then) else now[at]
            return Difference(
                commit,
                int(row["sequence"]),
                what,
                _tell(then[at]) if at < len(then) else "nothing",
                _tell(now[at]) if at < len(now) else "nothing",
            )
    return None


def _tell(row: Any) -> str:
    """A row in words."""
    kind = int(row["kind"])
    name = KIND_NAME.get(kind, str(kind))
    if ORIGIN.get(kind) == REQUEST:
        return f"{name} order {int(row['order_id'])} {int(row['side']):+d} {int(row['qty'])} at {int(row['price'])}"
    if kind == VERDICT:
        return f"{name} code {int(row['code'])} rule {int(row['rule'])}"
    fields = ", ".join(f"{each} {int(row[each])}" for each in (*_WORDS, "price", "qty", "order_id"))
    return f"{name} {fields}"


def _hex(value: Any) -> str:
    return f"{int(value) & (2**64 - 1):016x}"
