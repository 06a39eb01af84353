"""Running tests by name, so that a bar can say of each whether it is there, was run, and what it found."""

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from harness import ROOT, TIMEOUT_S, NotMetError

PASSED, FAILED, SKIPPED, MISSING = "passed", "failed", "skipped", "missing"


def exists(name: str) -> bool:
    """Whether the repository has a test `path::function` of that name."""
    path, _, function = name.partition("::")
    function = function.partition("[")[0]
    file = ROOT / path
    return file.is_file() and bool(re.search(rf"^def {re.escape(function)}\(", file.read_text("utf-8"), re.MULTILINE))


def run(names: Sequence[str], *arguments: str, **environment: str) -> tuple[dict[str, str], str]:
    """What each test found, all cases of it taken together, and what pytest printed. A name with [..] is one case of its test."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        command = [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-p",
            "no:cacheprovider",
            f"--basetemp={folder}/t",
            f"--junitxml={report}",
        ]
        done = subprocess.run(
            [*command, *arguments, *names], cwd=ROOT, text=True, capture_output=True, check=False, timeout=TIMEOUT_S,
            env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), os.environ.get("PYTHONPATH", "")]), **environment},
        )  # fmt: skip
        if not report.exists():
            raise NotMetError(f"pytest did not run: {(done.stderr or done.stdout).strip()[-600:]}")
        cases = list(ET.parse(report).iter("testcase"))
    found = {}
    for name in names:
        path, _, function = name.partition("::")
        module = path.removesuffix(".py").replace("/", ".")
        mine = [
            case for case in cases
            if case.get("classname") == module and case.get("name", "").startswith(function)
            and ("[" in function or case.get("name", "").partition("[")[0] == function)
        ]  # fmt: skip
        found[name] = max((_of(case) for case in mine), key=_WORST.index, default=MISSING)
    return found, done.stdout


_WORST = (PASSED, SKIPPED, FAILED)


def _of(case: ET.Element) -> str:
    tags = {child.tag for child in case}
    if tags & {"failure", "error"}:
        return FAILED
    return SKIPPED if "skipped" in tags else PASSED
