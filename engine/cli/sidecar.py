"""`twinloop sidecar`: the watchdog, the snapshots and the alarms beside a live session."""

import asyncio
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from twinloop.engine.cli import OK
from twinloop.engine.cli.screen import compiling, note

Texts = Annotated[list[str] | None, Parameter(consume_multiple=False, negative="")]


def sidecar(config: Path, *, set: Texts = None) -> int:  # noqa: A002 - the flag's name
    """Run beside a session until Ctrl-C: watch it, take snapshots of it, and send alarms.

    For example:

        twinloop sidecar examples/paper.toml

    Start it with the same file as `twinloop live`, before or after it, from a
    supervisor of its own. A session whose heartbeat stands still is fenced, its
    process ended, and every order of its symbols cancelled by a key of the
    sidecar's own ($TWINLOOP_CANCEL_KEY, $TWINLOOP_CANCEL_SECRET), which needs no
    right but that. Alarms go to sidecar/alarms.jsonl in the session's folder and to
    the webhook in $TWINLOOP_WEBHOOK. Snapshots shorten the session's next start.

    Parameters
    ----------
    config
        The session's TOML file; see docs/live.md.
    set
        KEY=VALUE of any setting, such as sidecar.metrics_port=9100.
    """
    from twinloop.engine.config import parse_override  # noqa: PLC0415
    from twinloop.engine.crash_points import arm_from_environment  # noqa: PLC0415
    from twinloop.engine.live.config import load_session  # noqa: PLC0415

    arm_from_environment()
    loaded = load_session(config, dict(parse_override(text) for text in set or ()))
    with compiling():
        from twinloop.engine.sidecar.process import run_sidecar  # noqa: PLC0415 - loads the compiler

        asyncio.run(run_sidecar(loaded, note))
    return OK
