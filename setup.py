"""Builds the Cython edges; all metadata and tool settings live in pyproject.toml."""

import os
from pathlib import Path

from Cython.Build import cythonize
from setuptools import Extension, find_packages, setup

ROOT = Path(__file__).parent
for part in ("engine", "kernels", "data"):
    if not (ROOT / "src/twinloop" / part).is_dir():
        raise SystemExit(
            f"src/twinloop/{part} is not a link to a folder: clone with `git -c core.symlinks=true clone ...`"
        )

# TWINLOOP_CHECKED=1 builds the decoders with every bound checked; CI runs the suite against that build once.
CHECKED = os.environ.get("TWINLOOP_CHECKED") == "1"
DIRECTIVES = {
    "language_level": 3,
    "boundscheck": CHECKED,
    "wraparound": False,
    "initializedcheck": CHECKED,
    "cdivision": True,
    "embedsignature": True,
}

os.chdir(ROOT)
sources = sorted(
    Path("src/twinloop") / part / path.name for part in ("kernels", "data") for path in (ROOT / part).glob("*.pyx")
)
extensions = [
    Extension(f"twinloop.{path.parent.name}.{path.stem}", [path.as_posix()], extra_compile_args=["-O3"])
    for path in sources
]
setup(
    packages=find_packages("src"),
    package_dir={"": "src"},
    package_data={
        "twinloop": ["py.typed"],
        "twinloop.data": ["*.pyi", "*.pxd"],
        "twinloop.engine": ["assets/*"],
    },
    options={"build_ext": {"parallel": os.cpu_count() or 1}},  # Else the compiler takes one core, and minutes.
    ext_modules=cythonize(extensions, include_path=["src"], build_dir="build/cython", compiler_directives=DIRECTIVES),
)
