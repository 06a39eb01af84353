"""What a stranger gets: the README's two commands from a fresh clone in a fresh environment, and help that shows how."""

import os
import re
import subprocess
import tempfile
from pathlib import Path

from harness import ROOT, NotMetError, Outcome, bar, say
from start import twinloop

FILLS_MIN = 100
COMMAND_TIMEOUT_S = 1800


def readme_commands() -> list[str]:
    """The README's first shell block, which runs the main job, and the one behind its mark, which passes the tests."""
    path = ROOT / "README.md"
    if not path.exists():
        raise NotMetError("there is no README.md yet")
    text = path.read_text()
    block = r"```(?:sh|bash|console|shell)\n(.*?)```"
    found = [re.search(block, text, re.DOTALL), re.search(r"<!-- test command -->\n" + block, text, re.DOTALL)]
    if None in found:
        raise NotMetError("the README lacks a command in a ```sh block, or one behind <!-- test command -->")
    return ["\n".join(line.removeprefix("$ ") for line in each[1].strip().splitlines()) for each in found if each]


@bar("newcomer", 2, "commands")
def newcomer() -> Outcome:
    """Both README commands work from a fresh clone and environment; the run shows at least 100 fills and its report's path."""
    commands = readme_commands()
    # A clean environment: no interpreter path, cache or virtual environment of the one this runs in.
    kept = (
        "PATH",
        "LANG",
        "TMPDIR",
        "HTTPS_PROXY",
        "HTTP_PROXY",
        "NO_PROXY",
        "SSL_CERT_FILE",
        "PIP_INDEX_URL",
        "PIP_CERT",
    )
    done = []
    with tempfile.TemporaryDirectory() as folder:
        environment = {name: os.environ[name] for name in kept if name in os.environ} | {
            name: value for name, value in os.environ.items() if name.startswith(("PIP_", "UV_"))
        }
        environment["HOME"] = folder
        for number, command in enumerate(commands, 1):
            clone = Path(folder) / f"clone{number}"
            subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
            # The README clones first; the clone here stands in for that line.
            lines = [line for line in command.splitlines() if not line.startswith(("git clone", "cd "))]
            say(f"  command {number}: {'; '.join(lines)}")
            found = subprocess.run(
                ["bash", "-e", "-c", "\n".join(lines)], cwd=clone, capture_output=True, text=True, check=False,
                env=environment, timeout=COMMAND_TIMEOUT_S,
            )  # fmt: skip
            text = found.stdout + found.stderr
            # The report's path is the last thing the first command prints.
            reports = list(clone.rglob("report.html"))
            counts = []
            for path in clone.rglob("fills.parquet"):
                import polars as pl

                counts.append(pl.scan_parquet(path).select(pl.len()).collect().item())
            named = bool(reports) and any(
                str(report.relative_to(clone)) in text or str(report) in text for report in reports
            )
            done.append({
                "command": "; ".join(lines), "exit": found.returncode, "said_last": text.strip().splitlines()[-3:],
                "fills": max(counts, default=0), "report_named": named,
            })  # fmt: skip
    runs = done[0]["exit"] == 0 and done[0]["fills"] >= FILLS_MIN and done[0]["report_named"]
    good = int(runs) + int(done[1]["exit"] == 0)
    return Outcome(
        good, ok=good == 2, detail={"commands": done, "note": "the report as a picture is looked at by a person"}
    )


@bar("help", 0, "without example")
def helps() -> Outcome:
    """Every `--help` shows an example."""
    main = subprocess.run([*twinloop(), "--help"], capture_output=True, text=True, check=False)
    if main.returncode:
        raise NotMetError(
            f"twinloop --help exited with {main.returncode}: {(main.stderr or main.stdout).strip()[-200:]}"
        )
    names = [
        "ingest",
        "data",
        "synth",
        "backtest",
        "report",
        "bench",
        "exchange",
        "live",
        "ctl",
        "replay",
        "doctor",
        "warmup",
    ]
    names += [f"data {sub}" for sub in ("list", "show", "quality", "export")]
    lacking = []
    for name in names:
        shown = subprocess.run([*twinloop(), *name.split(), "--help"], capture_output=True, text=True, check=False)
        if shown.returncode or not re.search(r"(?im)example", shown.stdout) or f"twinloop {name}" not in shown.stdout:
            lacking.append(name)
    return Outcome(len(lacking), ok=not lacking, detail={"commands": len(names), "lacking": lacking})
