"""`twinloop doctor`: whether the installation is sound, and what it consists of."""

import os
import platform
import re
import shutil
import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Annotated, Final

from cyclopts import Parameter

import twinloop
from twinloop.engine.cli import CHECK_FAILED, OK
from twinloop.engine.cli.screen import out, say_json

PACKAGES: Final = ("numba", "llvmlite", "numpy", "polars", "msgspec", "pydantic", "cyclopts", "rich")
FREE_GB: Final = 1.0


def doctor(
    *,
    catalog: Path = Path("catalog"),
    json: Annotated[bool, Parameter(negative="")] = False,
) -> int:
    """Check the installation: versions, caches, disk, links.

    For example:

        twinloop doctor
        twinloop doctor --json

    Exit code 6 when a check fails; each failure says what to do.

    Parameters
    ----------
    catalog
        The catalog's folder to look for.
    json
        Print one JSON document.
    """
    facts: list[tuple[str, str]] = []
    checks: list[tuple[str, bool, str]] = []
    facts.append(("twinloop", f"{twinloop.__version__} in {Path(twinloop.__file__).parent}"))
    facts.append(("python", f"{platform.python_version()} {sys.executable}"))
    facts.append(("platform", f"{platform.platform()}, {os.cpu_count()} CPUs, {_cpu_name()}"))
    facts.append(("packages", ", ".join(f"{name} {_version(name)}" for name in PACKAGES)))
    for check in (_python, _links, _decoders, _jit, _code_cache, _row_cache, _data):
        try:
            name, fine, text = check(catalog)
        except Exception as error:  # noqa: BLE001 - a check that breaks is a failed check
            name, fine, text = check.__name__.strip("_"), False, f"{type(error).__name__}: {error}"
        checks.append((name, fine, text))
    fine = all(passed for _, passed, _ in checks)
    if json:
        say_json(
            {
                "ok": fine,
                "facts": dict(facts),
                "checks": [{"name": name, "ok": passed, "detail": text} for name, passed, text in checks],
            }
        )
    else:
        console = out()
        for name, text in facts:
            console.print(f"     {name:<13} {text}", markup=False, soft_wrap=True)
        for name, passed, text in checks:
            console.print("[green]ok[/green]  " if passed else "[red]FAIL[/red]", end=" ")
            console.print(f"{name:<13} {text}", markup=False, soft_wrap=True)
        console.print("all checks passed" if fine else "some checks failed")
    return OK if fine else CHECK_FAILED


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.machine())


def _python(_: Path) -> tuple[str, bool, str]:
    fine = sys.version_info >= (3, 11) and sys.maxsize > 2**32 and sys.byteorder == "little"
    return (
        "interpreter",
        fine,
        "3.11 or newer, 64 bits, little-endian"
        if fine
        else "needs Python 3.11 or newer on a 64-bit little-endian machine",
    )


def _links(_: Path) -> tuple[str, bool, str]:
    root = Path(twinloop.__file__).parent
    broken = [part for part in ("kernels", "data", "engine") if not (root / part).is_dir()]
    if broken:
        return "package", False, f"{', '.join(broken)} not folders: clone again with `git -c core.symlinks=true clone`"
    linked = (root / "kernels").is_symlink()
    return "package", True, "a checkout, its three folders linked" if linked else "installed"


def _sources(folder: Path, name: str) -> set[Path]:
    """What a compiled module is built from, as far as it stands beside it."""
    found: set[Path] = set()
    wanted = [folder / f"{name}.pyx"]
    while wanted:
        path = wanted.pop()
        for each in (path, path.with_suffix(".pxd")):
            if each.exists() and each not in found:
                found.add(each)
                text = each.read_text(encoding="utf-8")
                wanted += [folder / f"{other}.pxd" for other in re.findall(r"from twinloop\.data\.(\w+) cimport", text)]
    return found


def _decoders(_: Path) -> tuple[str, bool, str]:
    folder = Path(twinloop.__file__).parent / "data"
    stale = []
    # What is compiled, and only that, has its types beside it.
    names = sorted(path.stem for path in folder.glob("*.pyi"))
    for name in names:
        try:
            built = Path(str(import_module(f"twinloop.data.{name}").__file__))
        except ImportError as error:
            return (
                "decoders",
                False,
                f"{name} cannot be loaded ({error}): run `pip install .` with a C compiler at hand",
            )
        newest = max((each.stat().st_mtime for each in _sources(folder, name)), default=0.0)
        if newest > built.stat().st_mtime + 1:
            stale.append(name)
    if stale:
        return "decoders", False, f"{', '.join(stale)} older than the source: run `python setup.py build_ext --inplace`"
    return "decoders", True, f"{len(names)} compiled"


def _jit(_: Path) -> tuple[str, bool, str]:
    if os.environ.get("NUMBA_DISABLE_JIT", "0") not in {"", "0"}:
        return "compiler", False, "NUMBA_DISABLE_JIT is set: everything runs 100 times slower; unset it"
    return "compiler", True, "on"


def _size(folder: Path, pattern: str) -> tuple[int, float]:
    files = [path for path in folder.rglob(pattern) if path.is_file()] if folder.is_dir() else []
    return len(files), sum(path.stat().st_size for path in files) / 1e6


def _code_cache(_: Path) -> tuple[str, bool, str]:
    from twinloop._cache import cache_folder, kernel_digest  # noqa: PLC0415

    folder = cache_folder()
    count, size = _size(folder, "*.nbc")
    state = f"{count} compiled functions, {size:.0f} MB" if count else "empty: `twinloop warmup` fills it"
    writable = os.access(folder, os.W_OK)
    return (
        "code cache",
        writable,
        f"{folder}, digest {kernel_digest()}, {state}" + ("" if writable else ", not writable"),
    )


def _row_cache(_: Path) -> tuple[str, bool, str]:
    from twinloop._cache import cache_folder  # noqa: PLC0415
    from twinloop.data.atomic import TEMPORARY_MARK  # noqa: PLC0415

    folder = cache_folder().parent / "rows"
    count, size = _size(folder, "*.rows")
    free = shutil.disk_usage(folder if folder.is_dir() else folder.parent).free / 1e9
    fine = free >= FREE_GB
    text = f"{folder}, {count} row files, {size:.0f} MB, {free:.1f} GB free"
    begun, size = _size(folder, f"*{TEMPORARY_MARK}*")
    if begun:
        text += f"; {begun} unfinished ({size:.0f} MB): remove *{TEMPORARY_MARK}* while no run is reading data"
    return (
        "row cache",
        fine,
        text if fine else f"{text}: less than {FREE_GB:g} GB; remove old row files, they are built again when needed",
    )


def _data(catalog: Path) -> tuple[str, bool, str]:
    if not catalog.is_dir():
        return "catalog", True, f"none at {catalog} (synthetic markets need none)"
    from twinloop.data.catalog import Catalog  # noqa: PLC0415

    held = Catalog(catalog).list()
    return "catalog", True, f"{catalog}: {held.height} kinds, {int(held['rows'].sum()):,} rows"
