"""`twinloop ctl`: an operator's word to a running session."""

import time
from pathlib import Path
from typing import Annotated, Any, Literal

from cyclopts import Parameter

from twinloop.engine.cli import OK
from twinloop.engine.cli.screen import say, say_json

Command = Literal["halt", "reduce", "resume", "flatten", "status", "limits", "watch"]


def ctl(
    command: Command,
    session: Path = Path("sessions/paper"),
    *,
    every: float = 1.0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Command a running session, or ask how it stands.

    For example:

        twinloop ctl status sessions/paper

        twinloop ctl halt sessions/paper

        twinloop ctl watch sessions/paper

    halt stops trading and cancels every working order; reduce lets positions only
    shrink; resume trades again; flatten is halt, then closing orders. Each is
    written to the journal with who gave it before it acts.

    Parameters
    ----------
    command
        What to do. watch shows the session until Ctrl-C.
    session
        The session's folder.
    every
        Seconds between two looks of watch.
    json
        Print the answer as one JSON document.
    """
    from twinloop.engine.live.control import SOCKET, ask  # noqa: PLC0415

    place = session / SOCKET
    if command == "watch":
        return _watch(place, every)
    found = ask(place, {"command": command})
    if json:
        say_json(found)
    elif command == "status":
        from twinloop.engine.cli.screen import out  # noqa: PLC0415
        from twinloop.engine.live.status import status_table  # noqa: PLC0415 - draws

        out().print(status_table(found))
    elif command == "limits":
        for line in found["lines"]:
            say(line)
    else:
        say(f"{command}: fact {found['sequence']} of the journal; the session is {found['state']}")
    return OK


def _watch(place: Path, every: float) -> int:
    from rich.live import Live  # noqa: PLC0415

    from twinloop.engine.cli.screen import out  # noqa: PLC0415
    from twinloop.engine.live.control import ask  # noqa: PLC0415
    from twinloop.engine.live.status import status_table  # noqa: PLC0415

    def look() -> dict[str, Any]:
        return ask(place, {"command": "status"})

    with Live(status_table(look()), console=out(), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(every)
                live.update(status_table(look()), refresh=True)
        except KeyboardInterrupt:
            return OK
