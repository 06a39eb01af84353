"""From a strategy class to addresses that the loop calls: check, compile or load, and what a run needs to know.

    compiled = compile_strategy(EmaCross, {"fast_span": 50}, STANDARD, symbols=("BTCUSDT",))
    node["callbacks"][slot, codes.ON_TRADE] = compiled.addresses["on_trade"]
    node["decision"]["areas"][slot] = np.frombuffer(compiled.initial_area(), "u1")

Each callback gets an entry `void(int64 address of the node)`. Of a Strategy it is compiled code, cached under a digest of all it was
made from; with the JIT off, and of a PythonStrategy, it calls Python. An exception in a callback sets node["status"] to
RUN_STRATEGY_ERROR, and from then on no entry runs anything; the caller raises `compiled.take_error(node)`. Where node["failures_halt"] is
set it halts the strategy instead, and the caller asks `compiled.error_at` what it was.

A CompiledStrategy has to outlive the nodes that hold its addresses. Never share one between threads when its callbacks run in Python.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numba import config

from twinloop.engine.strategy import Fields, PythonStrategy, Strategy, fields_of, parameter_values, require_names
from twinloop.engine.strategy_errors import (
    ParameterError,
    StrategyError,
    StrategyErrors,
    StrategyRunError,
    from_compiled,
)
from twinloop.engine.strategy_python import PythonEntries
from twinloop.engine.strategy_source import callbacks_of, is_users_file, methods_of, strategy_digest
from twinloop.kernels.codes import CALLBACKS
from twinloop.kernels.node import STANDARD, SizeClass


@dataclass(eq=False)
class CompiledStrategy:
    """A strategy with its parameters set, ready for a node of one size class.

    addresses: entry by callback name (with the JIT off: numbers of intrinsics.register). parameters: every parameter by name, as
    stored (a symbol is its slot). state_dtype: layout of its area, parameters first. source_digest: of everything of the user's
    that its code depends on. compiled: whether callbacks are machine code. cached: whether that came from the cache.
    """

    name: str
    strategy: type
    size: SizeClass
    fields: Fields
    parameters: dict[str, Any]
    source_digest: str
    addresses: dict[str, int]
    compiled: bool
    cached: bool = False
    _kept: list[Any] = field(default_factory=list, repr=False)  # What the addresses point into.
    _python: PythonEntries | None = field(default=None, repr=False)

    @property
    def state_dtype(self) -> np.dtype[np.void]:
        """Layout of the area: parameters, then state."""
        return self.fields.dtype

    def initial_area(self) -> bytes:
        """Bytes of a fresh area, `size.area_bytes` long: parameters and initial state, then zeros."""
        area = np.zeros(self.size.area_bytes, "u1")
        record = area[: self.state_dtype.itemsize].view(self.state_dtype)[0]
        for name, value in self.parameters.items():
            record[name] = value
        for name, value in self.fields.initial.items():
            if value is not None:
                record[name] = value
        return area.tobytes()

    def read_state(self, area: Any) -> dict[str, Any]:
        """Parameters and state in an area (bytes or (area_bytes,) u1), as Python numbers, arrays (copies) and dicts."""
        size = self.state_dtype.itemsize
        record = np.frombuffer(bytes(memoryview(area)[:size]), self.state_dtype)[0]
        return {name: _plain(record[name]) for name in self.fields.names()}

    def take_error(self, node: Any = None) -> StrategyRunError | None:
        """What this strategy raised, once node["status"] is RUN_STRATEGY_ERROR; None if it was another one.

        Of Python callbacks the error's `__cause__` is the user's own exception, with its traceback.
        """
        if self._python is not None:
            return self._python.take_error()
        if node is None:
            return StrategyRunError(
                f"strategy {self.name} or another one failed", remedy="run with --debug to get the traceback"
            )
        from twinloop.engine.strategy_entry import token_of  # noqa: PLC0415 - not with the JIT off.

        request = node["request"]
        if int(request["limit"]) != token_of(self.source_digest):
            return None
        return self.error_at(int(request["order_id"]), int(request["value"]))

    def error_at(self, number: int, address: int) -> StrategyRunError:
        """What a callback of this strategy raised, by its number and where that is described."""
        if self._python is not None:
            error = self._python.take_error()
            assert error is not None
            return error
        from twinloop.engine.strategy_entry import exception_at  # noqa: PLC0415 - not with the JIT off.

        callback = CALLBACKS[number]
        where = f"strategy {self.name}: {callback}"
        if address <= 1:
            return StrategyRunError(f"{where} failed", remedy="run with --debug to get the traceback")
        return from_compiled(exception_at(address), where, is_users_file, methods_of(self.strategy)[callback])

    def raise_error(self, node: Any = None) -> None:
        """Raise what take_error finds, if anything; an interrupt (Ctrl-C, leaving pdb) as itself."""
        error = self.take_error(node)
        if error is None:
            return
        if error.__cause__ is not None and not isinstance(error.__cause__, Exception):
            raise error.__cause__
        raise error from error.__cause__


def _plain(value: Any) -> Any:
    if isinstance(value, np.void):
        assert value.dtype.names is not None
        return {name: _plain(value[name]) for name in value.dtype.names}
    return value.copy() if isinstance(value, np.ndarray) else value.item()


def _slots(symbols: Mapping[str, int] | Iterable[str]) -> dict[str, int]:
    return dict(symbols) if isinstance(symbols, Mapping) else {name: slot for slot, name in enumerate(symbols)}


def _raise(errors: list[StrategyError]) -> None:
    if errors:
        raise errors[0] if len(errors) == 1 else StrategyErrors(errors)


def _require_strategy(cls: type) -> None:
    if not (isinstance(cls, type) and issubclass(cls, Strategy | PythonStrategy)):
        raise StrategyError(
            "not a strategy", expected="a class derived from tl.Strategy or tl.PythonStrategy", got=repr(cls)
        )


def check_class(cls: type, parameters: Iterable[str]) -> None:
    """Raise every mistake in a class that can be told without data and without compiling: parameters' names, fields, callbacks, code."""
    from twinloop.engine.strategy_check import check_python_strategy, check_strategy  # noqa: PLC0415

    _require_strategy(cls)
    declared = fields_of(cls)
    require_names(declared, parameters)
    strict = not config.DISABLE_JIT
    _raise(
        check_python_strategy(cls) if issubclass(cls, PythonStrategy) else check_strategy(cls, declared, strict=strict)
    )


def compile_strategy(
    cls: type,
    params: Mapping[str, Any] | None = None,
    size: SizeClass = STANDARD,
    symbols: Mapping[str, int] | Iterable[str] = (),
    *,
    name: str = "",
    cache: bool = True,
) -> CompiledStrategy:
    """Check a strategy class, set its parameters, and compile its callbacks (or load them from the cache).

    symbols: names of the run's instruments by slot, for tl.Symbol parameters. name: shown in results, else the class's.
    cache=False compiles anew and keeps nothing. Raises StrategyError (file, line, remedy) for mistakes in the class, ParameterError
    for parameters.
    """
    _require_strategy(cls)
    declared = fields_of(cls)
    values = parameter_values(declared, params or {}, _slots(symbols))
    if declared.dtype.itemsize > size.area_bytes:
        biggest = max(declared.dtype.names or (), key=lambda field: declared.dtype[field].itemsize)
        raise StrategyError(
            f"strategy {cls.__name__} needs {declared.dtype.itemsize} bytes of parameters and state, mostly {biggest}",
            expected=f"at most {size.area_bytes} bytes in a node of size {size.name}",
            remedy="use smaller arrays, or a larger size class",
        )
    digest = strategy_digest(
        cls, f"{declared.dtype.descr}{declared.dtype.itemsize}{tuple(declared.parameters)}{tuple(size)}"
    )
    made = CompiledStrategy(name or cls.__name__, cls, size, declared, values, digest, {}, compiled=False)
    if issubclass(cls, PythonStrategy) or config.DISABLE_JIT:
        from twinloop.engine.strategy_check import check_python_strategy, check_strategy  # noqa: PLC0415

        _raise(
            check_python_strategy(cls)
            if issubclass(cls, PythonStrategy)
            else check_strategy(cls, declared, strict=False)
        )
        made._python = PythonEntries(cls, declared, values, size, made.name)  # noqa: SLF001 - built here.
        made.addresses.update(made._python.addresses)  # noqa: SLF001
        return made
    from twinloop.engine.strategy_image import is_known, load_entries  # noqa: PLC0415 - not with the JIT off.

    made.compiled = True
    if cache and is_known(cls, digest):
        addresses = load_entries(cls, digest, callbacks_of(cls))
        if addresses is not None:
            made.addresses.update(addresses)
            made.cached = True
            return made
    else:
        from twinloop.engine.strategy_check import check_strategy  # noqa: PLC0415 - only for what is new

        _raise(check_strategy(cls, declared))
    from twinloop.engine.strategy_entry import build_entries  # noqa: PLC0415 - loads what compiles

    entries, made.cached = build_entries(cls, declared, callbacks_of(cls), size, digest, cache)
    made.addresses.update({callback: entry.address for callback, entry in entries.items()})
    made._kept.extend(entries.values())  # noqa: SLF001
    return made


__all__ = [
    "CompiledStrategy",
    "ParameterError",
    "StrategyError",
    "StrategyErrors",
    "StrategyRunError",
    "compile_strategy",
]
