"""`twinloop report`: a finished run's page, built again from its tables, or opened."""

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from twinloop.engine.cli import OK
from twinloop.engine.cli.screen import say, say_json


def report(
    run: Path | None = None,
    *,
    out: Path = Path("runs"),
    open: Annotated[bool, Parameter(negative="")] = False,  # noqa: A002 - the flag's name
    summary: Annotated[bool, Parameter(negative="")] = False,
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Build a finished run's report again from its tables, and print where it is.

    For example:

        twinloop report
        twinloop report runs/market_maker --open
        twinloop report runs/market_maker --summary

    Parameters
    ----------
    run
        The run's folder; the latest one under --out by default.
    out
        Folder of runs.
    open
        Show the page in the browser.
    summary
        Print the run's numbers as `twinloop backtest` does.
    json
        Print the run's summary as one JSON document.
    """
    from twinloop.data.errors import DataError  # noqa: PLC0415

    if run is None:
        found = sorted(out.glob("*/summary.json"), key=lambda path: path.stat().st_mtime)
        if not found:
            raise DataError("no finished run", file=out, remedy="make one with `twinloop backtest`, or name its folder")
        run = found[-1].parent
    from twinloop.engine.console import print_run, result_dict  # noqa: PLC0415
    from twinloop.engine.report import write_report  # noqa: PLC0415
    from twinloop.engine.results import load_run  # noqa: PLC0415

    loaded = load_run(run)
    page = write_report(loaded)
    if json:
        say_json(result_dict(loaded))
    elif summary:
        print_run(loaded)
    else:
        say(str(page))
    if open:
        import webbrowser  # noqa: PLC0415

        webbrowser.open(page.resolve().as_uri())
    return OK
