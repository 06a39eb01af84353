"""`twinloop ctl`: an operator's word to a running session."""

import sys
import time
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from cyclopts import Parameter

from twinloop.engine.cli import OK
from twinloop.engine.cli.screen import say, say_json

EVERY_S: Final = (0.05, 86_400.0)
Command = Literal["halt", "reduce", "resume", "flatten", "tighten", "ack", "status", "limits", "watch"]


def ctl(
    command: Command,
    session: Path = Path("sessions/paper"),
    *,
    at_market: Annotated[bool, Parameter(negative="")] = False,
    confirm: str = "",
    limit: str = "",
    symbol: str = "",
    alert: str = "",
    every: float = 1.0,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Command a running session, or ask how it stands.

    For example:

        twinloop ctl status sessions/paper

        twinloop ctl halt sessions/paper

        twinloop ctl watch sessions/paper

        twinloop ctl tighten sessions/paper --limit max_daily_loss_pct=1

    halt stops trading and cancels every working order; reduce lets positions only
    shrink; resume trades again; flatten is halt, then closes the positions with
    orders within the limits' collar, until none is left; tighten makes a limit
    stricter, over restarts too; ack says that a person has seen an alert. Each is
    written to the journal with who gave it before it acts. A session ends by Ctrl-C in
    its terminal, or by `kill PID` with the process that status names.

    Parameters
    ----------
    command
        What to do. watch shows the session until Ctrl-C.
    session
        The session's folder.
    at_market
        Of flatten: market orders where there is no price to set a limit by. Asks for
        the session's name first.
    confirm
        The session's name, where nobody can be asked for it.
    limit
        Of tighten: a key of the [limits] table and its new value, as KEY=VALUE.
    symbol
        Of tighten: the one symbol, of a limit per symbol; without it all of them.
    alert
        Of ack: the alert's name, such as OVERFILL, or its number.
    every
        Seconds between two looks of watch.
    json
        Print the answer as one JSON document.
    """
    from twinloop.data.errors import ConfigError  # noqa: PLC0415
    from twinloop.engine.live.control import SOCKET, ask  # noqa: PLC0415

    place = session / SOCKET
    if command == "watch":
        if json:
            raise ConfigError("watch shows a screen", field="--json", expected="status", got="watch")
        return watch(place, check_every(every))
    document: dict[str, Any] = {"command": command}
    if at_market:
        _confirmed(command, session.name, confirm)
        document["at_market"] = True
    if command == "tighten":
        key, equals, value = limit.partition("=")
        if not equals:
            raise ConfigError(
                "tighten needs a limit", field="--limit", expected="KEY=VALUE such as max_order_qty=0.5", got=limit or "nothing"
            )  # fmt: skip
        document |= {"limit": key.strip(), "value": value.strip(), "symbol": symbol}
    elif limit or symbol:
        raise ConfigError("--limit and --symbol belong to tighten", got=command)
    if command == "ack":
        document["alert"] = int(alert) if alert.isdecimal() else alert
    found = ask(place, document)
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
        for line in found.get("lines", ()):
            say(line)
        say(f"{command}: fact {found['sequence']} of the journal; the session is {found['state']}")
    return OK


def _confirmed(command: str, name: str, typed: str) -> None:
    """ConfigError unless a person typed the session's name."""
    from twinloop.data.errors import ConfigError  # noqa: PLC0415

    if command != "flatten":
        raise ConfigError("--at-market belongs to flatten", got=command)
    if not typed and sys.stdin.isatty():
        typed = input(
            f"Market orders may trade at any price. Type the session's name, {name}, to close its positions: "
        )
    if typed.strip() != name:
        raise ConfigError(
            "not confirmed", field="--confirm", expected=name, got=typed or "nothing", remedy="nothing was sent"
        )


def check_every(seconds: float) -> float:
    """Seconds between two looks. ConfigError for what is no such time."""
    from twinloop.data.errors import ConfigError  # noqa: PLC0415

    if EVERY_S[0] <= seconds <= EVERY_S[1]:
        return seconds
    least, most = EVERY_S
    raise ConfigError(
        "not a time between two looks", field="--every", expected=f"{least:g} to {most:g} seconds", got=seconds
    )


def watch(place: Path, every: float) -> int:
    """Show a session's status every so many seconds until Ctrl-C. place: its control socket."""
    from rich.live import Live  # noqa: PLC0415

    from twinloop.engine.cli.screen import out  # noqa: PLC0415
    from twinloop.engine.live.control import ask  # noqa: PLC0415
    from twinloop.engine.live.status import status_table  # noqa: PLC0415

    def look(*, again: bool = True) -> dict[str, Any]:
        return ask(place, {"command": "status", "again": again})

    with Live(status_table(look(again=False)), console=out(), auto_refresh=False) as live:
        try:
            while True:
                time.sleep(every)
                live.update(status_table(look()), refresh=True)
        except KeyboardInterrupt:
            pass
    if not out().is_terminal:  # Of what is no terminal the last view alone is written, without a line's end.
        say("")
    return OK
