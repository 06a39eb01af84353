"""The machine code of a strategy's callbacks in one file, so that a process that finds it loads it without Numba's type system.

Numba's own cache holds the same code, but to load it Numba registers everything it knows to compile, most of a warm start's time. The file
stands in the strategy's folder, named by the digest of all its code was made from (strategy_entry.py); one that is damaged, or that refers
to something this process does not have, counts as none. It must not compile, and must not be imported with the JIT off.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import llvmlite.binding
from numba.core.registry import cpu_target

from twinloop._cache import cache_folder
from twinloop.kernels import image

DONE: Final = "done"
_FILE: Final = "entries.image"
_NEEDS: Final = "needs"
# Numba hands a function its environment (of print, of objects) through a symbol of this prefix; only its own cache restores it.
_ENVIRONMENT: Final = re.compile(r"_ZN08NumbaEnv[^\s,()\"]+")


def entries_folder(cls: type, digest: str) -> Path:
    """Where everything of a strategy's compiled entries is kept."""
    return cache_folder() / "strategies" / f"{cls.__name__}-{digest}"


def is_known(cls: type, digest: str) -> bool:
    """Whether these very sources were compiled before, and so passed the check."""
    return (entries_folder(cls, digest) / DONE).exists()


def load_entries(cls: type, digest: str, callbacks: Sequence[str]) -> dict[str, int] | None:
    """Addresses of a known strategy's entries by callback, for the life of the process; None: ask Numba."""
    folder = entries_folder(cls, digest)
    if (str(folder), digest) in _loaded:
        return _loaded[str(folder), digest]
    parts = image.read(folder / _FILE)
    if (
        not parts
        or parts[0][0] != _NEEDS
        or [name for name, _, _ in parts[1:]] != [f"door:{each}" for each in callbacks]
    ):
        return None
    _ = cpu_target.target_context  # Made when first asked for: it tells LLVM Numba's helpers.
    # LLVM ends the process over a symbol that it cannot find.
    if any(llvmlite.binding.address_of_symbol(name) is None for name in parts[0][2].decode().split()):
        return None
    os.utime(folder)
    _loaded[str(folder), digest] = image.load_parts(parts[1:])
    return _loaded[str(folder), digest]


_loaded: dict[tuple[str, str], dict[str, int]] = {}
_kept: list[Any] = []  # Their code must outlive the addresses.


def keep_entries(cls: type, digest: str, entries: Mapping[str, Any]) -> None:
    """Keep entries compiled just now (CFunc by callback) as an image, unless only Numba can load them."""
    needs: set[str] = set()
    parts: list[image.Part] = []
    for callback, entry in entries.items():
        if entry.cache_hits:  # Loaded: what it refers to is no longer known.
            return
        library = entry._library  # noqa: SLF001
        module = library._final_module  # noqa: SLF001
        if _uses_environment(str(module)):
            return
        declared = [each.name for each in (*module.functions, *module.global_variables) if each.is_declaration]
        needs.update(name for name in declared if not name.startswith("llvm."))
        parts.append((f"door:{callback}", entry._wrapper_name, bytes(library._get_compiled_object())))  # noqa: SLF001
    folder = entries_folder(cls, digest)
    _kept.extend(entries.values())
    _loaded[str(folder), digest] = {callback: entry.address for callback, entry in entries.items()}
    image.write(folder / _FILE, [(_NEEDS, "", "\n".join(sorted(needs)).encode()), *parts])


def _uses_environment(text: str) -> bool:
    names = _ENVIRONMENT.findall(text)
    return len(names) != len(set(names))  # Named once: where it is defined.
