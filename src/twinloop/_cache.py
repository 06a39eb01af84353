"""Where compiled code is kept: a folder named by a digest of everything that could make it stale.

Numba's own cache notices an edit of the file a function stands in, and of no other: a constant changed in one kernel file
would keep its old value in every compiled caller. So the folder's name holds a digest of all kernel sources, of the versions
of NumPy, Numba, llvmlite and Python, and of the CPU, and it is chosen before the first kernel is imported.

This module must stay cheap (a few milliseconds, nothing heavy imported) and must not import anything of twinloop.
"""

import hashlib
import os
import platform
import re
import sys
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path

_DIGEST_SIZE = 12
_FOLDER = re.compile(r"kernels-[0-9a-f]{24}")
_OLD_S = 14 * 86_400  # Folders of other digests that nothing touched for so long are removed.
# What is compiled: every kernel, and the strategies' view of the node.
_COMPILED = (("kernels", "*.py"), ("engine", "strategy*.py"))
# Settings of Numba that change the code it makes; its own index does not look at them.
_SETTINGS = (
    "BOUNDSCHECK", "CPU_FEATURES", "CPU_NAME", "DEBUGINFO", "ENABLE_AVX", "FULL_TRACEBACKS", "LOOP_VECTORIZE",
    "OPT", "SLP_VECTORIZE",
)  # fmt: skip
_VERSION_FILES = (("numba", "_version.py"), ("numpy", "version.py"), ("llvmlite", "_version.py"))


def _cpu() -> str:
    """What tells this CPU's instruction set from another's."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    names = ("vendor_id", "cpu family", "model", "model name", "flags", "Features", "CPU part")
    seen: dict[str, str] = {}
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in names:
            seen.setdefault(name.strip(), value.strip())
    return f"{platform.machine()} {seen}"


def _version(package: str, file: str) -> bytes:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return b"absent"
    try:
        return (Path(spec.origin).parent / file).read_bytes()
    except OSError:
        return spec.origin.encode()


@cache
def kernel_digest() -> str:
    """Hex digest of all compiled sources, the versions of what compiles them, and the CPU; constant for the process."""
    state = hashlib.blake2b(digest_size=_DIGEST_SIZE)
    root = Path(__file__).parent
    for folder, pattern in _COMPILED:
        for path in sorted((root / folder).glob(pattern)):
            state.update(f"{folder}/{path.name}\0".encode())
            state.update(hashlib.blake2b(path.read_bytes()).digest())
    for package, file in _VERSION_FILES:
        state.update(_version(package, file))
    settings = [os.environ.get(f"NUMBA_{name}") for name in _SETTINGS]
    state.update(f"{sys.version} {_cpu()} {settings}".encode())
    return state.hexdigest()


def _base() -> Path:
    """The folder above the digests: $TWINLOOP_CACHE_DIR, else $NUMBA_CACHE_DIR, else the user's cache folder."""
    chosen = os.environ.get("TWINLOOP_CACHE_DIR") or os.environ.get("NUMBA_CACHE_DIR")
    if chosen:
        path = Path(chosen).absolute()
        # A child process inherits what its parent chose.
        return path.parent if _FOLDER.fullmatch(path.name) else path
    caches = os.environ.get("XDG_CACHE_HOME")
    try:
        return (Path(caches) if caches else Path.home() / ".cache") / "twinloop"
    except RuntimeError:  # No home folder.
        return _temporary()


def _temporary() -> Path:
    """A folder for this user among the temporary ones."""
    import tempfile  # noqa: PLC0415 - slow to import, seldom needed.

    user = os.getuid() if hasattr(os, "getuid") else os.getpid()
    return Path(tempfile.gettempdir()) / f"twinloop-{user}"


def _writable(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.touch()
        probe.unlink(missing_ok=True)
    except OSError:
        return False
    return True


def _remove_old(base: Path, current: Path) -> None:
    import shutil  # noqa: PLC0415 - slow to import, seldom needed.

    oldest = time.time() - _OLD_S  # Housekeeping of files, no part of any result.
    for folder in base.glob("kernels-*"):
        if folder != current and _FOLDER.fullmatch(folder.name) and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)


@cache
def cache_folder() -> Path:
    """The folder for this digest, made if need be. One that cannot be written to is replaced by a temporary one.

    Never fall back to Numba's own choice of place: that is beside the sources, without the digest.
    """
    name = f"kernels-{kernel_digest()}"
    folder = _base() / name
    fresh = not folder.is_dir()
    if not _writable(folder):
        folder = _temporary() / name
        fresh = not folder.is_dir()
        if not _writable(folder):
            import tempfile  # noqa: PLC0415 - slow to import, seldom needed.

            folder = Path(tempfile.mkdtemp(prefix="twinloop-")) / name
            folder.mkdir()
    if fresh:
        _remove_old(folder.parent, folder)
    os.utime(folder)
    return folder


def use_cache_folder() -> Path:
    """Point Numba at the folder of this digest; to be called before any kernel is imported."""
    folder = cache_folder()
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
    numba_config = sys.modules.get("numba.core.config")
    if numba_config is not None:
        numba_config.CACHE_DIR = str(folder)  # type: ignore[attr-defined]
    return folder
