"""Compiled entries: one C function per callback, generated, compiled, and cached under the digest of all they are made from.

Numba's cache keys an entry by its own source file and bytecode only; what it calls is a frozen global. So the source of the entries is
written to a file in a folder named by the strategy's digest, inside the cache folder named by the kernels' digest: another user's source,
another kernel or another compiler is another file, and a stale entry can never be found. Only entries are cached: they contain all they
call. This module must not be imported with the JIT off.
"""

import ctypes
import hashlib
import os
import shutil
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from types import FunctionType
from typing import Any, Final

from numba import cfunc, njit, types
from numba.core.caching import NullCache
from numba.core.errors import NumbaError
from numba.core.serialize import cloudpickle
from numba.extending import register_jitable

from twinloop._cache import cache_folder
from twinloop.engine.strategy import ARGUMENTS, Fields
from twinloop.engine.strategy_context import Context
from twinloop.engine.strategy_errors import StrategyError, from_numba
from twinloop.engine.strategy_events import EVENTS, fields
from twinloop.engine.strategy_image import DONE, entries_folder, is_known, keep_entries
from twinloop.engine.strategy_source import dispatchers_of, methods_of, reached_functions
from twinloop.engine.strategy_types import (
    USER_OPTIONS,
    call_checked,
    context_type,
    event_type,
    make_event,
    pointer_as,
    self_type,
)
from twinloop.kernels import codes
from twinloop.kernels.callbacks import callback_failed
from twinloop.kernels.intrinsics import record_at
from twinloop.kernels.node import SizeClass, node_dtype

_lock = threading.Lock()  # The user's functions change their names while they are compiled.
_OLD_S: Final = 14 * 86_400
# The name carries the digest: Numba names machine code by module, function, a count per process, and types. Two processes that compiled
# two strategies would give both entries the same symbol, and a third that loads both would run one for the other.
_ENTRY: Final = """
def {callback}_{digest}(address):
    node = record_at(address, NODE)
    if node["status"] != 0:
        return
    strategy = pointer_as(address + AREAS + node["current_strategy"] * AREA_BYTES, SELF)
    ctx = pointer_as(address, CONTEXT)
{records}    error = call_checked(FUNCTION_{callback}, (strategy, ctx{event}))
    if error != 0:
        node["request"]["value"] = error
        node["request"]["limit"] = TOKEN
        node["request"]["order_id"] = {number}
        callback_failed(node, {number}, error)
"""
_ROW: Final = '    row = node["inbox"][node["current_slot"]]\n'
_MARKET: Final = '    market = node["decision"]["instruments"][row["instrument"]]\n'
_RECORDS: Final = {
    "on_trade": _ROW + _MARKET,
    "on_quote": _ROW + _MARKET,
    "on_book": _ROW + _MARKET,
    "on_timer": _ROW,
    "on_feed": _ROW,
    "on_fill": _ROW + '    tail = node["inbox"][(node["current_slot"] + 1) & node["inbox_mask"]]\n' + _MARKET,
    "on_order": _ROW
    + '    order = node["decision"]["orders"][row["order_id"] & (ORDERS - 1)]\n'
    + '    market = node["decision"]["instruments"][order["instrument"]]\n',
    "on_bar": '    slot = node["decision"]["bars"][node["current_bar"]]\n    state = slot["state"]\n    closed = state["closed"]\n'
    '    market = node["decision"]["instruments"][slot["instrument"]]\n',
}


def _entry_source(callback: str, digest: str) -> str:
    records, event = "", ""
    if callback in EVENTS:
        records = _RECORDS[callback]
        event = f", make_event(EVENT_{callback}, ({', '.join(EVENTS[callback].sources)},))"
    number = codes.CALLBACKS.index(callback)
    return _ENTRY.format(callback=callback, digest=digest, number=number, records=records, event=event)


def token_of(digest: str) -> int:
    """What a failing entry leaves in the node, so that its strategy can be told from others."""
    return int(digest[:15], 16)


@contextmanager
def _named(functions: list[Any], digest: str) -> Iterator[None]:
    """While compiling, the user's functions carry the digest in their names, for the same reason as the entries."""
    before = [function.__qualname__ for function in functions]
    for function in functions:
        function.__qualname__ += f"${digest}"
    try:
        yield
    finally:
        for function, name in zip(functions, before, strict=True):
            function.__qualname__ = name


class _Description(ctypes.Structure):
    """Numba's excinfo: a pickle of (class, arguments, place); the rest is set for arguments known at run time only."""

    _fields_ = (
        ("data", ctypes.c_void_p),
        ("size", ctypes.c_int32),
        ("hash", ctypes.c_void_p),
        ("unwrap", ctypes.c_void_p),
        ("count", ctypes.c_int32),
    )


def exception_at(address: int) -> tuple[Any, ...]:
    """(class, arguments, (function, file, line)) of the exception described at an address that call_checked returned."""
    found = _Description.from_address(address)
    kind, arguments, place = cloudpickle.loads(ctypes.string_at(found.data, found.size))
    return kind, ("its arguments are known at run time only",) if found.unwrap else arguments, place


def _write(folder: Path, name: str, text: str) -> Path:
    """Write a file that another process may be writing as well."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    if not path.exists():
        draft = folder / f"{name}.{os.getpid()}"
        draft.write_text(text, encoding="utf-8")
        draft.replace(path)
    return path


def _remove_old() -> None:
    """Drop entries that nobody used for long: of strategies that have been edited since."""
    oldest = time.time() - _OLD_S  # Housekeeping of files, no part of any result.
    for folder in (cache_folder() / "strategies").glob("*-*"):
        if folder.stat().st_mtime < oldest:
            parent = f"{folder.name}_{hashlib.sha1(str(folder).encode(), usedforsecurity=False).hexdigest()}"
            shutil.rmtree(cache_folder() / parent, ignore_errors=True)
            shutil.rmtree(folder, ignore_errors=True)


@cache
def _jitable(function: FunctionType) -> None:
    """Let compiled code call a plain function of the user's."""
    register_jitable(**USER_OPTIONS)(function)


def _prepare(cls: type, functions: list[FunctionType]) -> list[Any]:
    """Make what the callbacks reach callable from compiled code; returns all the user's functions."""
    found: list[Any] = list(functions)
    decorated = {id(holder): holder for holder in dispatchers_of(cls)}
    for reached in reached_functions(functions):
        found.append(reached.function)
        if reached.decorated:
            decorated[id(reached.holder)] = reached.holder
        else:
            _jitable(reached.function)
    # The user's own cache=True would not notice an edited callee in another file; ours holds the result anyway.
    own = [one for one in decorated.values() if not isinstance(getattr(one, "_cache", None), NullCache | None)]
    for holder in own:
        holder._cache = NullCache()  # noqa: SLF001 - Numba has no public way.
    for holder in own:
        if getattr(holder, "overloads", None):
            holder.recompile()
    return found


def _known_names(cls: type, declared: Fields) -> dict[str, Iterable[str]]:
    known: dict[str, Iterable[str]] = {event.__name__: list(fields(event)) for event in EVENTS.values()}
    known["Context"] = [name for name in vars(Context) if not name.startswith("_") and name != "node"]
    known[cls.__name__] = [*declared.names(), *methods_of(cls)]
    return known


def _names(
    cls: type, declared: Fields, size: SizeClass, digest: str, methods: dict[str, FunctionType]
) -> dict[str, Any]:
    """The globals of the generated entries."""
    node = node_dtype(size)
    assert node.fields is not None
    decision, decision_at = node.fields["decision"][:2]
    assert decision.fields is not None
    areas_at = decision_at + decision.fields["areas"][1]
    assert areas_at % 8 == 0
    assert size.area_bytes % 8 == 0
    names: dict[str, Any] = {
        "__name__": __name__,  # Environments of cached code are looked up in this module.
        "NODE": node,
        "AREAS": areas_at,
        "AREA_BYTES": size.area_bytes,
        "ORDERS": size.orders,
        "TOKEN": token_of(digest),
        "SELF": self_type(cls, declared.dtype, frozenset(declared.parameters), methods, digest),
        "CONTEXT": context_type(node),
        "callback_failed": callback_failed,
        "record_at": record_at,
        "pointer_as": pointer_as,
        "make_event": make_event,
        "call_checked": call_checked,
    }
    for callback in ARGUMENTS:
        if callback in methods:
            names[f"FUNCTION_{callback}"] = njit(**USER_OPTIONS)(methods[callback])
            if callback in EVENTS:
                names[f"EVENT_{callback}"] = event_type(callback)
    return names


def build_entries(
    cls: type, declared: Fields, callbacks: tuple[str, ...], size: SizeClass, digest: str, keep: bool
) -> tuple[dict[str, Any], bool]:
    """Entries by callback, compiled or loaded, and whether all came from the cache. keep: use the cache at all.

    Raises StrategyError for what cannot be compiled.
    """
    methods = {name: value for name, value in methods_of(cls).items() if isinstance(value, FunctionType)}
    users = _prepare(cls, list(methods.values()))
    names = _names(cls, declared, size, digest, methods)
    text = "".join(_entry_source(callback, digest) for callback in callbacks)
    folder = entries_folder(cls, digest)
    path = f"<entries of {cls.__name__}>"
    if keep:
        path = str(_write(folder, "entries.py", text))
        os.utime(folder)
    exec(compile(text, path, "exec"), names)  # noqa: S102 - our own template.
    known = keep and is_known(cls, digest)
    entries: dict[str, Any] = {}
    with _lock, _named(users, digest):
        for callback in callbacks:
            try:
                if not known:  # By itself first: its errors come without ours around them.
                    event = [names[f"EVENT_{callback}"]] if callback in EVENTS else []
                    names[f"FUNCTION_{callback}"].compile((names["SELF"], names["CONTEXT"], *event))
                entries[callback] = cfunc(types.void(types.int64), cache=keep)(names[f"{callback}_{digest}"])
            except NumbaError as error:
                files = sorted({function.__code__.co_filename for function in users})
                made = from_numba(error, f"{cls.__name__}.{callback}", files, _known_names(cls, declared))
                if made.line is None:
                    code = methods[callback].__code__
                    made = StrategyError(made.what, file=code.co_filename, line=code.co_firstlineno, remedy=made.remedy)
                raise made from None
    cached = bool(entries) and all(entry.cache_hits for entry in entries.values())
    if keep and not cached:
        keep_entries(cls, digest, entries)
        _write(folder, DONE, "")
        _remove_old()
    return entries, cached
