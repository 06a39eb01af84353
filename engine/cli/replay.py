"""`twinloop replay`: a session's journal through the same kernels again, decision by decision."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from twinloop.engine.cli import CHECK_FAILED, INCOMPLETE, OK
from twinloop.engine.cli.screen import Activity, compiling, say, say_json


def replay(
    journal: Path, *, batch: int = 0, archive: Path | None = None, json: Annotated[bool, Parameter(negative="")] = False
) -> int:
    """Replay a session's journal and compare every decision with the one taken then.

    For example:

        twinloop replay sessions/paper/journal

        twinloop replay sessions/paper/journal --archive /mnt/archive/paper

    Only the journal's files and the strategies' sources are read. Exits with 0 when
    every request, verdict and hash is the same, bit for bit, and with 6 at the first
    that is not, naming the fact where it shows. Where the beginning was retired and is
    not given, it starts at the oldest snapshot, says which facts it does not cover, and
    exits with 5 when the rest is the same.

    Parameters
    ----------
    journal
        The journal's folder.
    archive
        A folder with the Parquet files of segments that were retired.
    batch
        Hand so many rows to the engine at once instead of those that the session
        handled together: the decisions must not depend on it. 0: as they came.
    json
        Print one JSON document instead of text.
    """
    with compiling(quiet=json), Activity("replaying", quiet=json) as activity:
        from twinloop.engine.live.parity import replay_journal  # noqa: PLC0415 - loads the compiler

        found = replay_journal(
            journal, lambda done, total: activity.update(done, total, f"{done:,} commits"), batch=batch, copies=archive
        )
        seconds = activity.seconds
    difference = found.difference
    same = INCOMPLETE if found.uncovered else OK
    if json:
        say_json({
            "same": difference is None,
            "difference": None if difference is None else {
                "commit": difference.commit, "sequence": difference.sequence, "what": difference.what, "then": difference.then,
                "now": difference.now,
            },
            "changed": found.changed, "commits": found.commits, "facts": found.facts, "requests": found.requests,
            "verdicts": found.verdicts, "hashes": found.hashes, "decisions": found.decisions, "decision_hash": found.decision_hash,
            "from_commit": found.from_commit, "from_sequence": found.from_sequence, "uncovered": found.uncovered,
            "passed_over": found.passed_over, "ended_in_order": found.ended, "torn_bytes": found.torn_bytes, "seconds": seconds,
        })  # fmt: skip
        return same if difference is None else CHECK_FAILED
    for each in found.changed:
        say(f"! changed since the session: {each}")
    for each in found.passed_over:
        say(f"! {each}")
    if found.uncovered:
        say(f"! not covered: {found.uncovered}, which were retired: name the folder that holds them with --archive")
    counts = (
        f"{found.facts:,} facts, {found.decisions:,} decisions, {found.requests:,} requests, {found.hashes:,} hashes"
    )
    if found.open_end:
        say(f"! {found.open_end}")
    if difference is None:
        say(f"same  {counts} in {found.commits:,} commits, decision hash {found.decision_hash}, {seconds:.1f} s")
        return same
    say(f"NOT the same  after {counts}")
    say(f"first difference {difference}")
    return CHECK_FAILED
