"""`twinloop reconcile`: where a session's journal and its venue differ, and what a person accepts of it."""

import time
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from twinloop.engine.cli import CHECK_FAILED, OK
from twinloop.engine.cli.screen import say, say_json

LOOK_S = 60.0  # A wallet that differs is looked at for half a minute.


def reconcile(
    session: Path,
    *,
    show: Annotated[bool, Parameter(negative="")] = False,
    accept: str = "",
    reason: str = "",
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Compare a running session's positions, margin and spot balances with its venue's; accept a difference.

    For example:

        twinloop reconcile sessions/live

        twinloop reconcile sessions/live --accept 3fa9c01b --reason "moved 0.5 BTC in"

    A difference that no trade explains halts a session. Accepted, a position is booked
    for no strategy at the market's price, money as a transfer, and both stand in the
    journal; trading goes on when somebody resumes. Exits with 6 while anything differs.

    Parameters
    ----------
    session
        The session's folder.
    show
        Look and tell, which is what happens without --accept.
    accept
        Number of a difference, as it was shown.
    reason
        Why it is right to book it; kept beside the journal.
    json
        Print one JSON document instead of text.
    """
    from twinloop.data.errors import ConfigError  # noqa: PLC0415
    from twinloop.engine.live.control import SOCKET, ask  # noqa: PLC0415

    place = session / SOCKET
    if show and accept:
        raise ConfigError("--show and --accept exclude each other")
    booked: dict[str, Any] = {}
    if accept:
        booked = ask(place, {"command": "accept", "id": accept, "reason": reason})
    found = _look(place)
    if json:
        say_json(
            {"breaks": found["breaks"], "state": found["state"]} | ({"sequence": booked["sequence"]} if booked else {})
        )
    else:
        if booked:
            say(f"booked as fact {booked['sequence']} of the journal")
        for each in found["breaks"]:
            say(f"{each['id']}  {each['name']}: the journal says {each['journal']}, the venue {each['venue']}")
            if each["told"]:
                said = "; ".join(each["told"])
                say(
                    f"          the venue told of: {said}"
                    + ("" if each["explained"] else ", which does not explain it")
                )
        if not found["breaks"]:
            say(f"the journal and the venue agree; the session is {found['state']}")
    return CHECK_FAILED if found["breaks"] else OK


def _look(place: Path) -> dict[str, Any]:
    """What differs, by a look that began after this was asked for."""
    from twinloop.engine.live.control import ask  # noqa: PLC0415
    from twinloop.engine.live.session_errors import SessionError  # noqa: PLC0415

    asked = ask(place, {"command": "breaks", "look": True})
    until = time.monotonic() + LOOK_S
    while time.monotonic() < until:
        found = ask(place, {"command": "breaks"})
        if found["looked_ns"] >= asked["now_ns"]:
            return found
        time.sleep(0.1)
    raise SessionError(
        "the venue was not heard", file=place.parent, expected="its word on the account", got=f"none in {LOOK_S:.0f} s",
        remedy="see `twinloop ctl status`",
    )  # fmt: skip
