"""Callbacks that run in Python: of plain-Python strategies always, of every strategy with the JIT off.

The same ctx and events as compiled strategies see, over views of the node. With the loop compiled, an entry is a C function that calls
into Python; with the JIT off it is a number that intrinsics.call_at knows. An exception never crosses the loop: it is kept, the node's
status says so, and the caller raises it when the run has stopped. This module must not import engine/strategy_types.py.
"""

import ctypes
from collections.abc import Callable, Mapping
from types import FunctionType
from typing import Any, Final

import numpy as np
from numba import config

from twinloop.engine.strategy import Fields, PythonStrategy
from twinloop.engine.strategy_context import Context
from twinloop.engine.strategy_errors import StrategyRunError, from_python
from twinloop.engine.strategy_events import EVENTS, records_of
from twinloop.engine.strategy_source import callbacks_of
from twinloop.kernels import codes
from twinloop.kernels.intrinsics import register
from twinloop.kernels.node import SizeClass, node_dtype

_ENTRY: Final = ctypes.CFUNCTYPE(None, ctypes.c_int64)


def node_at(address: int, dtype: np.dtype[np.void]) -> Any:
    """A writable view of the node at an address. The caller keeps the memory alive."""
    memory = (ctypes.c_char * dtype.itemsize).from_address(int(address))
    return np.frombuffer(memory, dtype=dtype)[0]  # type: ignore[call-overload]


def _field_property(name: str, *, whole: bool, parameter: bool) -> property:
    """A field of the area as an attribute. Scalars are handed out as Python numbers, so that 1 / 0 raises as it does compiled."""

    def get(strategy: Any) -> Any:
        value = strategy.__dict__["_area"][name]
        return value if whole else value.item()

    def store(strategy: Any, value: Any) -> None:
        if parameter or whole:
            raise AttributeError(f'field "{name}" cannot be assigned')
        strategy.__dict__["_area"][name] = value

    return property(get, store)


def python_class(cls: type, declared: Fields) -> type:
    """The strategy class with its fields living in an area; nothing else can be assigned."""

    def refuse(strategy: Any, name: str, value: Any) -> None:
        if name not in declared.parameters and name not in declared.state:
            raise AttributeError(
                f"self.{name} is assigned but not declared; declare it in the class: {name}: tl.State[float] = 0.0"
            )
        object.__setattr__(strategy, name, value)

    body: dict[str, Any] = {"__setattr__": refuse, "__module__": cls.__module__, "__qualname__": cls.__qualname__}
    for name in declared.parameters:
        body[name] = _field_property(name, whole=False, parameter=True)
    for name, spec in declared.state.items():
        whole = bool(spec.shape) or isinstance(spec.type, np.dtype)
        body[name] = _field_property(name, whole=whole, parameter=False)
    return type(cls.__name__, (cls,), body)


class PythonEntries:
    """Entries of one strategy's callbacks and what they need: views of the node, the objects of the class, the first error."""

    def __init__(self, cls: type, declared: Fields, values: Mapping[str, Any], size: SizeClass, name: str) -> None:
        self._declared = declared
        self._values = dict(values)
        self._name = name
        self._dtype = node_dtype(size)
        self._plain = issubclass(cls, PythonStrategy)
        self._class = cls if self._plain else python_class(cls, declared)
        self._nodes: dict[int, Any] = {}
        self._objects: dict[tuple[int, int], Any] = {}
        self._error: StrategyRunError | None = None
        self._kept: list[Any] = []
        self.addresses: dict[str, int] = {}
        callbacks = callbacks_of(cls)
        if self._plain and "on_start" not in callbacks:
            callbacks = ("on_start", *callbacks)  # A new run gets a new object.
        for callback in callbacks:
            self.addresses[callback] = self._make(callback)

    def _make(self, callback: str) -> int:
        function = getattr(self._class, callback, None)

        def entry(address: int) -> None:
            self._run(callback, function, address)

        if config.DISABLE_JIT:
            return register(entry)
        made = _ENTRY(entry)
        self._kept.append(made)
        return int(ctypes.cast(made, ctypes.c_void_p).value or 0)

    def _object(self, node: Any, address: int, callback: str) -> Any:
        slot = int(node["current_strategy"])
        key = (address, slot)
        if self._plain and callback == "on_start":
            self._objects.pop(key, None)
        if key not in self._objects:
            if self._plain:
                made = self._class()
                for name, value in self._values.items():
                    setattr(made, name, value)
            else:
                made = object.__new__(self._class)
                area = node["decision"]["areas"][slot][: self._declared.dtype.itemsize]
                made.__dict__["_area"] = area.view(np.dtype((np.record, self._declared.dtype)))[0]
            self._objects[key] = made
        return self._objects[key]

    def _run(self, callback: str, function: FunctionType | None, address: int) -> None:
        node = self._nodes.get(address)
        if node is None:
            node = self._nodes[address] = node_at(address, self._dtype)
        if node["status"] != 0:
            return
        try:
            strategy = self._object(node, address, callback)
            if function is None:
                return
            ctx = Context(node)
            arguments = [EVENTS[callback](**records_of(callback, node))] if callback in EVENTS else []
            # As compiled code does, division by zero raises, also of NumPy numbers.
            handling = np.errstate() if self._plain else np.errstate(divide="raise", invalid="raise")
            with handling:
                function(strategy, ctx, *arguments)
        except BaseException as error:  # noqa: BLE001 - it must not cross the loop; the caller raises it.
            self._error = from_python(error, f"strategy {self._name}: {callback}")
            node["error_sequence"] = node["decision"]["clock"]["sequence"]
            node["status"] = codes.RUN_STRATEGY_ERROR

    def take_error(self) -> StrategyRunError | None:
        """The first error since the last call, or None."""
        error, self._error = self._error, None
        return error


Entry = Callable[[int], None]
