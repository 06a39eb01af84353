"""`twinloop handover`: a stopped session's positions, money and state as a file that another version or configuration goes on from."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from twinloop.engine.cli import OK
from twinloop.engine.cli.screen import Activity, compiling, say, say_json


def handover(session: Path, *, out: Path | None = None, json: Annotated[bool, Parameter(negative="")] = False) -> int:
    """Hand a stopped session over to one of another version or configuration.

    For example:

        twinloop handover sessions/live

        twinloop live new.toml      # with continues = "sessions/live/handover.json"

    Writes positions, money, the day's loss, halts and the strategies' state by
    name, and seals the session: it is not started again. It has to have ended in
    order (Ctrl-C), with no order left, and its strategies' files and twinloop's
    version have to be those it ran with: change them after this.

    Parameters
    ----------
    session
        The session's folder.
    out
        The file to write; handover.json in that folder by default.
    json
        Print one JSON document instead of text.
    """
    from twinloop.data.errors import ConfigError  # noqa: PLC0415
    from twinloop.engine.journal.folder import FolderLock  # noqa: PLC0415
    from twinloop.engine.live import handover_file  # noqa: PLC0415

    place = session.parent if session.name == "journal" else session
    if not (place / "journal").is_dir():
        raise ConfigError("no session", file=place, expected="a folder with a journal", got="none")
    handover_file.refuse_sealed(place)
    path = (out or place / "handover.json").resolve()
    lock = FolderLock(place / "journal")
    try:
        with compiling(quiet=json), Activity("replaying", quiet=json) as activity:
            from twinloop.engine.live.recovery import hand_over_of  # noqa: PLC0415 - loads the compiler

            past = hand_over_of(
                place / "journal", lambda done, total: activity.update(done, total, f"{done:,} commits")
            )
        handover_file.seal(place, path, past)
    finally:
        lock.close()
    if json:
        say_json(handover_file.told(past) | {"file": str(path)})
        return OK
    say(f"{past.name}, epoch {past.epoch}, is handed over: {path}")
    texts = {each.symbol: each.qty_text for each in past.instruments}
    for owner, positions in [(each.name, each.positions) for each in past.strategies] + [("nobody", past.unassigned)]:
        for symbol, words in positions.items():
            if words["qty"]:
                say(f"  {owner} holds {texts[symbol](words['qty'])} {symbol}")
    say(f'go on with continues = "{path}" under [session] of a file with another name')
    return OK
