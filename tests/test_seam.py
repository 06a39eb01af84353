"""The live side reaches clocks, randomness, sleep and market sockets through engine/seam.py alone."""

import ast
from pathlib import Path

import pytest

import twinloop

PACKAGE = Path(twinloop.__file__).parent / "engine"
FOLDERS = ("live", "journal", "gateway", "sidecar")
BANNED = {
    "time",
    "random",
    "uuid",
    "secrets",
    "datetime",
    "socket",
    "numpy.random",
    "websockets.asyncio.client",
    "urllib.request",
}
CALLS = {"asyncio.sleep", "os.urandom", "os.getrandom", "np.random"}
ALLOWED = {("live/control.py", "socket")}  # The operator's socket is no part of what a session decides on.
SOURCES = sorted(path for folder in FOLDERS for path in (PACKAGE / folder).rglob("*.py"))


def dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def reached(path: Path) -> list[tuple[int, str]]:
    """(line, what) of everything outside that a source reaches by itself."""
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [(node.lineno, alias.name) for alias in node.names if alias.name in BANNED]
        elif isinstance(node, ast.ImportFrom) and node.module in BANNED:
            found.append((node.lineno, str(node.module)))
        elif isinstance(node, ast.Attribute) and dotted(node) in CALLS:
            found.append((node.lineno, dotted(node)))
    return found


def test_the_walk_sees_what_it_looks_for(tmp_path: Path) -> None:
    source = tmp_path / "x.py"
    source.write_text(
        "import time\nfrom random import random\nasync def f():\n    await asyncio.sleep(1)\n    np.random.rand()\n"
    )
    assert {what for _, what in reached(source)} == {"time", "random", "asyncio.sleep", "np.random"}
    assert len(SOURCES) > 10


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_nothing_reaches_around_the_seam(path: Path) -> None:
    where = str(path.relative_to(PACKAGE))
    for line, what in reached(path):
        assert (where, what) in ALLOWED, f"engine/{where}:{line} reaches {what}: ask engine/seam.py"
