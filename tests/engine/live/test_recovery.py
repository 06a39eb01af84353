"""A session that died goes on as if it had not: the same decisions, the same orders, nothing twice."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from twinloop.data.instruments import Instrument
from twinloop.data.rowfile import join_rows
from twinloop.engine.journal.reader import open_journal
from twinloop.engine.journal.recovery import make_ready
from twinloop.engine.journal.writer import JournalWriter
from twinloop.engine.live.node import LiveNode
from twinloop.engine.live.parity import replay_journal
from twinloop.engine.live.recorded import RecordedNode
from twinloop.engine.live.recovery import recover
from twinloop.engine.live.session import Session, session_to_plain, with_digests
from twinloop.engine.live.session_errors import SessionError


def writer(folder: Path, session: Session, **more: Any) -> JournalWriter:
    return JournalWriter(
        folder,
        session=dict(session_to_plain(session)),
        code=session.code,
        config=session.digest(),
        durability="async",
        **more,
    )


def run(recorded: RecordedNode, tape: Any, batch: int = 50) -> None:
    for at in range(0, len(tape), batch):
        recorded.handle(tape[at : at + batch])


@pytest.mark.parametrize("died_at", [0, 50, 2000, 7777])
@pytest.mark.parametrize("torn", [0, 1, 100])
def test_a_session_goes_on_after_its_death(
    session: Session, market: tuple[Instrument, Any], tmp_path: Path, died_at: int, torn: int
) -> None:
    session, tape = with_digests(session), market[1]
    whole = RecordedNode(LiveNode(session, "paper"), writer(tmp_path / "whole", session))
    whole.start()
    run(whole, tape[:died_at])
    run(whole, tape[died_at:])
    whole.journal.close()

    folder = tmp_path / "died"
    first = RecordedNode(LiveNode(session, "paper"), writer(folder, session))
    first.start()
    run(first, tape[:died_at])
    first.journal.close()  # Lets go of the lock, as the end of a process does.
    path = next(folder.glob("segment-*"))
    path.write_bytes(path.read_bytes() + b"\x07" * torn)  # What the process was writing.

    begun = folder / "segment-000009.journal.part"  # A segment it was making room for.
    begun.touch()

    ready = make_ready(folder)
    assert ready.torn_bytes == torn
    assert not begun.exists()
    assert ready.journal is not None
    found = recover(ready.journal, session)
    assert found.facts == first.node.sequence
    lost = [node.decision["accounts"]["day_equity"].tolist() for node in (found.node, first.node)]
    assert lost[0] == lost[1], "the day's loss counts on over a restart"
    assert found.node.state_hash() == first.node.state_hash()
    second = RecordedNode(found.node, writer(folder, session, **ready.behind))
    assert second.journal.epoch == 2
    run(second, tape[died_at:])
    second.journal.close()
    assert second.node.state_hash() == whole.node.state_hash()
    assert second.node.decision_hash() == whole.node.decision_hash()

    def requests(place: Path) -> bytes:
        return bytes(join_rows([commit.requests for commit in open_journal(place).each()]).tobytes())

    assert requests(folder) == requests(tmp_path / "whole")
    assert replay_journal(folder).difference is None


def test_another_configuration_is_not_gone_on_with(
    session: Session, market: tuple[Instrument, Any], tmp_path: Path
) -> None:
    session = with_digests(session)
    recorded = RecordedNode(LiveNode(session, "paper"), writer(tmp_path, session))
    recorded.start()
    run(recorded, market[1][:100])
    recorded.journal.close()
    with pytest.raises(SessionError, match=r"cash was 100000\.00000000 and is 0\.00000001"):
        recover(open_journal(tmp_path), msgspec.structs.replace(session, cash=1))
    with pytest.raises(SessionError, match="twinloop's own code has changed"):
        recover(open_journal(tmp_path), msgspec.structs.replace(session, code="other"))
