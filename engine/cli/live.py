"""`twinloop live`: a session on a real feed, with its journal, limits and operator's socket."""

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from twinloop.engine.cli import CHECK_FAILED, OK
from twinloop.engine.cli.screen import Activity, compiling, note, say_json

Texts = Annotated[list[str] | None, Parameter(consume_multiple=False, negative="")]


def live(
    config: Path,
    *,
    set: Texts = None,  # noqa: A002 - the flag's name
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Run a session on a live feed until Ctrl-C; `twinloop ctl` watches and commands it.

    For example:

        twinloop live examples/paper.toml

        twinloop ctl watch sessions/paper

    A paper session trades a real feed against a simulated venue, through the loop,
    limits and journal of a live one. Everything it handles stands in its journal:
    `twinloop replay sessions/paper/journal` takes every decision again. Started again,
    it goes on where the journal ends. Exits with 6 where an order may still work at the
    venue.

    Parameters
    ----------
    config
        A session's TOML file; see docs/live.md.
    set
        KEY=VALUE of any setting, such as session.durability=strict.
    json
        At the end, print what it came to as one JSON document; messages go to
        standard error either way.
    """
    from twinloop.engine.config import parse_override  # noqa: PLC0415
    from twinloop.engine.crash_points import arm_from_environment  # noqa: PLC0415
    from twinloop.engine.live.config import load_session  # noqa: PLC0415

    arm_from_environment()
    loaded = load_session(config, dict(parse_override(text) for text in set or ()))
    with compiling():
        from twinloop.engine.live.process import run_session  # noqa: PLC0415 - loads the compiler

        with Activity("recovering") as recovering:

            def show(done: int, total: int) -> None:
                recovering.update(done, total, f"{done:,} commits")

            found = asyncio.run(run_session(loaded, _told, show))
    if json:
        say_json(found)
    return CHECK_FAILED if found["open_orders"] else OK


def _told(text: str) -> None:
    """A line of the session's log, with when it was said: to the millisecond, UTC."""
    from twinloop.engine.seam import WORLD  # noqa: PLC0415 - not for --help
    from twinloop.engine.wording import iso  # noqa: PLC0415

    note(f"{(iso(WORLD.wall_ns()) or '')[:23]}Z  {text}")
