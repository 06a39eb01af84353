"""What a strategy's compiled code depends on: its methods, the user's functions they reach, the modules, the frozen values.

Used for the check before compiling and for the digest under which compiled strategies are cached. "The user's" means: neither
the standard library, nor installed packages, nor twinloop itself (whose kernels have a digest of their own).
This module must not import Numba, and never runs a strategy.
"""

import ast
import dis
import enum
import hashlib
import sys
import sysconfig
from collections.abc import Iterator
from functools import cache, lru_cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any, Final, NamedTuple

import numpy as np

import twinloop
from twinloop.engine.strategy import PythonStrategy, Strategy
from twinloop.kernels.codes import CALLBACKS

_DIGEST_SIZE: Final = 12
_BASES: Final = (Strategy, PythonStrategy, object)
_SCALARS: Final = (int, float, bool, str, bytes, complex, type(None), enum.Enum, np.generic, np.dtype)


@cache
def _foreign_folders() -> tuple[str, ...]:
    paths = sysconfig.get_paths()
    folders = {paths[name] for name in ("stdlib", "platstdlib", "purelib", "platlib")}
    package = Path(twinloop.__file__).parent
    folders |= {str(package), *(str((package / part).resolve()) for part in ("kernels", "data", "engine"))}
    return tuple(folder.rstrip("/") + "/" for folder in folders)


@lru_cache(maxsize=4096)
def is_users_file(file: str | None) -> bool:
    """Whether a source file is the user's own."""
    if not file or file.startswith("<frozen"):
        return False
    return not file.startswith(_foreign_folders()) and "/site-packages/" not in file and "/dist-packages/" not in file


def methods_of(cls: type) -> dict[str, Any]:
    """Functions, properties, static and class methods a strategy class defines or inherits from the user's classes."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base not in _BASES:
            found.update(
                (name, value)
                for name, value in vars(base).items()
                if isinstance(value, FunctionType | staticmethod | classmethod | property) or hasattr(value, "py_func")
            )
    return found


def callbacks_of(cls: type) -> tuple[str, ...]:
    """Callbacks a strategy class has, in the order of their slots."""
    methods = methods_of(cls)
    return tuple(name for name in CALLBACKS if name in methods)


class Reached(NamedTuple):
    """A function of the user's that compiled code calls. decorated: the user made it a Numba function himself."""

    function: Any
    holder: Any
    decorated: bool


def values_of(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Globals, closure values and attributes of the user's modules that a function names."""
    code = function.__code__
    globals_: set[str] = set()
    attributes: set[str] = set()
    pending = [code]
    while pending:
        inner = pending.pop()
        _names(inner, globals_, attributes)
        pending.extend(constant for constant in inner.co_consts if isinstance(constant, type(code)))
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:  # Not set yet.
            continue
    for name in sorted(globals_):
        if name not in function.__globals__:
            continue
        value = function.__globals__[name]
        yield name, value
        yield from _module_values(name, value, sorted(attributes), 0)


def _names(code: CodeType, globals_: set[str], attributes: set[str]) -> None:
    """Add the names a code object loads as globals, and the attributes it loads of anything but its own arguments.

    `self.level` and `trade.price` name nothing of the module, whatever else of it is called so.
    """
    arguments = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
    loaded = None  # The argument on top of the stack.
    for instruction in dis.get_instructions(code):
        name = instruction.opname
        if name in {"LOAD_GLOBAL", "LOAD_NAME"}:
            globals_.add(instruction.argval)
        elif name in {"LOAD_ATTR", "LOAD_METHOD"} and loaded not in arguments:
            attributes.add(instruction.argval)
        last = instruction.argval[-1] if isinstance(instruction.argval, tuple) else instruction.argval
        loaded = last if name.startswith("LOAD_FAST") else None


def _module_values(path: str, value: Any, names: list[str], depth: int) -> Iterator[tuple[str, Any]]:
    """Attributes that code may mean by module.name, module.module.name, ..."""
    if depth > 4 or not isinstance(value, ModuleType) or not is_users_file(getattr(value, "__file__", None)):
        return
    for attribute in names:
        if attribute in vars(value):
            yield f"{path}.{attribute}", vars(value)[attribute]
            yield from _module_values(f"{path}.{attribute}", vars(value)[attribute], names, depth + 1)


def reached_functions(start: list[FunctionType]) -> list[Reached]:
    """The user's functions that the given ones may call, transitively, the given ones left out."""
    found: dict[int, Reached] = {}
    seen = {id(function) for function in start}
    pending = list(start)
    while pending:
        for _, value in values_of(pending.pop()):
            function = getattr(value, "py_func", value)
            if not isinstance(function, FunctionType) or id(function) in seen:
                continue
            if is_users_file(function.__code__.co_filename):
                seen.add(id(function))
                found[id(function)] = Reached(function, value, value is not function)
                pending.append(function)
    return list(found.values())


def _imported(module: ModuleType, source: bytes) -> set[str]:
    """Names of modules a source imports, anywhere in it."""
    package = module.__package__ or ""
    names: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = package.split(".")
                base = ".".join([*parts[: len(parts) - node.level + 1], *([base] if base else [])])
            names.add(base)
            names.update(f"{base}.{alias.name}" for alias in node.names)
    return names


@lru_cache(maxsize=1024)
def _imports_of(name: str, file: str, _modified_ns: int) -> tuple[bytes, frozenset[str]]:
    source = Path(file).read_bytes()
    return source, frozenset(_imported(sys.modules[name], source))


def module_sources(start: set[str]) -> dict[str, bytes]:
    """Source of each of the user's modules among the given ones and those they import, transitively."""
    found: dict[str, bytes] = {}
    pending = sorted(start)
    seen = set(pending)
    while pending:
        name = pending.pop()
        module = sys.modules.get(name)
        file = getattr(module, "__file__", None)
        if module is None or file is None or not is_users_file(file) or not file.endswith(".py"):
            continue
        try:
            source, imports = _imports_of(name, file, Path(file).stat().st_mtime_ns)
        except (OSError, SyntaxError):  # Run from somewhere that is gone: the functions themselves are hashed as well.
            continue
        found[name] = source
        new = imports - seen
        seen |= new
        pending.extend(sorted(new))
    return found


def dispatchers_of(cls: type) -> list[Any]:
    """Every Numba function in the modules a strategy class depends on: one of them may have a cache of its own."""
    modules = {base.__module__ for base in cls.__mro__ if base not in _BASES}
    found = {}
    for name in module_sources(modules):
        for value in vars(sys.modules[name]).values():
            if hasattr(value, "py_func") and is_users_file(value.py_func.__code__.co_filename):
                found[id(value)] = value
    return list(found.values())


def _update(state: Any, value: Any, depth: int = 0) -> None:
    """Hash a value that compiled code freezes; what it cannot hold is left out."""
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        state.update(f"{value.dtype.str}{value.shape}".encode())
        state.update(np.ascontiguousarray(value).tobytes())
    elif isinstance(value, tuple) and depth < 8:
        state.update(f"({len(value)}".encode())
        for item in value:
            _update(state, item, depth + 1)
    elif isinstance(value, _SCALARS):
        state.update(f"{type(value).__name__}={value!r};".encode())


def _update_file(state: Any, file: str) -> None:
    """Hash what tells that an installed package's file was replaced."""
    try:
        stat = Path(file).stat()
    except OSError:
        return
    state.update(f"{file}{stat.st_mtime_ns}{stat.st_size}".encode())


def _update_code(state: Any, code: Any) -> None:
    state.update(code.co_code)
    for constant in code.co_consts:
        if isinstance(constant, type(code)):
            _update_code(state, constant)
        else:
            _update(state, constant)
    state.update(repr((code.co_names, code.co_varnames, code.co_freevars)).encode())


def strategy_digest(cls: type, extra: str) -> str:
    """Hex digest of everything of the user's that a strategy's machine code depends on; extra: what the caller adds."""
    state = hashlib.blake2b(digest_size=_DIGEST_SIZE)
    state.update(f"{cls.__module__}.{cls.__qualname__}\0{extra}\0".encode())
    methods = [getattr(value, "fget", value) for value in methods_of(cls).values()]
    functions: list[Any] = [function for function in methods if isinstance(function, FunctionType)]
    reached: list[Any] = [found.function for found in reached_functions(functions)]
    modules = {base.__module__ for base in cls.__mro__ if base not in _BASES}
    modules |= {function.__module__ for function in reached if function.__module__}
    for name, source in sorted(module_sources(modules).items()):
        state.update(f"{name}\0{len(source)}\0".encode())
        state.update(source)
    everything: list[Any] = [*functions, *reached]
    for function in sorted(everything, key=lambda found: (found.__module__ or "", found.__qualname__)):
        state.update(f"{function.__module__}.{function.__qualname__}\0".encode())
        _update_code(state, function.__code__)
        _update(state, function.__defaults__ or ())
        for name, value in values_of(function):
            state.update(name.encode())
            _update(state, value)
            foreign = getattr(value, "py_func", value)
            if isinstance(foreign, FunctionType) and not is_users_file(foreign.__code__.co_filename):
                _update_file(state, foreign.__code__.co_filename)
    return state.hexdigest()
