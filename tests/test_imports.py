"""Imports go one way, kernels <- data <- engine, and kernels need nothing but NumPy and the compiler."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import twinloop

PACKAGE = Path(twinloop.__file__).parent
LOWER = {"kernels": {"kernels"}, "data": {"kernels", "data"}, "engine": {"kernels", "data", "engine"}}
KERNEL_LIBRARIES = {"numpy", "numba", "llvmlite"}
MODULES = sorted(path for part in LOWER for path in (PACKAGE / part).rglob("*.py*") if path.suffix in {".py", ".pyi"})
CYTHON = sorted(path for part in LOWER for path in (PACKAGE / part).rglob("*.py*") if path.suffix in {".pyx", ".pxd"})


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0]


def imported(path: Path) -> Iterator[tuple[int, str]]:
    """(line, dotted name) of every import of a module, those inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: write absolute imports"
            assert node.module is not None
            if node.module == "twinloop":
                yield from ((node.lineno, f"twinloop.{alias.name}") for alias in node.names)
            else:
                yield node.lineno, node.module


def imported_by_cython(path: Path) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        words = line.split()
        if words[:1] in (["cimport"], ["import"], ["from"]) and len(words) > 1:
            yield number, words[1]


def test_the_walk_sees_the_package() -> None:
    assert {part_of(path) for path in MODULES} == set(LOWER)
    assert len(MODULES) > 40


@pytest.mark.parametrize("path", MODULES + CYTHON, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_one_way(path: Path) -> None:
    part = part_of(path)
    found = imported_by_cython(path) if path in CYTHON else imported(path)
    for line, name in found:
        top, _, rest = name.partition(".")
        where = f"{path.relative_to(PACKAGE)}:{line} imports {name}"
        assert top not in LOWER, f"{where}: from the repository's root that is a second copy of the package"
        if top == "twinloop" and rest:
            below = rest.split(".")[0]
            # What belongs to the package itself: its version, the cache guard, how a command is interrupted.
            its_own = {"_cache", "_interruption", "__version__"}
            assert below in LOWER[part] or (below in its_own and part == "engine"), where
        if part == "kernels":
            assert top in KERNEL_LIBRARIES | {"twinloop"} | set(sys.stdlib_module_names), where
