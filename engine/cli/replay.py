"""`twinloop replay`: a session's journal through the same kernels again, decision by decision."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from twinloop.engine.cli import CHECK_FAILED, OK
from twinloop.engine.cli.screen import Activity, compiling, say, say_json


def replay(journal: Path, *, batch: int = 0, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Replay a session's journal and compare every decision with the one taken then.

    For example:

        twinloop replay sessions/paper/journal

    Only the journal's files and the strategies' sources are read. Exits with 0 when
    every request, verdict and hash is the same, bit for bit, and with 6 at the first
    that is not, naming the fact where it shows.

    Parameters
    ----------
    journal
        The journal's folder.
    batch
        Hand so many rows to the engine at once instead of those that the session
        handled together: the decisions must not depend on it. 0: as they came.
    json
        Print one JSON document instead of text.
    """
    with compiling(quiet=json), Activity("replaying", quiet=json) as activity:
        from twinloop.engine.live.parity import replay_journal  # noqa: PLC0415 - loads the compiler

        found = replay_journal(
            journal, lambda done, total: activity.update(done, total, f"{done:,} commits"), batch=batch
        )
        seconds = activity.seconds
    difference = found.difference
    if json:
        say_json({
            "same": difference is None,
            "difference": None if difference is None else {
                "commit": difference.commit, "sequence": difference.sequence, "what": difference.what, "then": difference.then,
                "now": difference.now,
            },
            "changed": found.changed, "commits": found.commits, "facts": found.facts, "requests": found.requests,
            "verdicts": found.verdicts, "hashes": found.hashes, "decisions": found.decisions, "decision_hash": found.decision_hash,
            "seconds": seconds,
        })  # fmt: skip
        return OK if difference is None else CHECK_FAILED
    for each in found.changed:
        say(f"! changed since the session: {each}")
    counts = (
        f"{found.facts:,} facts, {found.decisions:,} decisions, {found.requests:,} requests, {found.hashes:,} hashes"
    )
    if difference is None:
        say(f"same  {counts} in {found.commits:,} commits, decision hash {found.decision_hash}, {seconds:.1f} s")
        return OK
    say(f"NOT the same  after {counts}")
    say(f"first difference {difference}")
    return CHECK_FAILED
