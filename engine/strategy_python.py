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
from twinloop.engine.strategy_events import EVENTS
from twinloop.engine.strategy_source import callbacks_of, is_users_file
from twinloop.kernels import codes
from twinloop.kernels.callbacks import callback_failed
from twinloop.kernels.intrinsics import register
from twinloop.kernels.node import SizeClass, node_dtype

_ENTRY: Final = ctypes.CFUNCTYPE(None, ctypes.c_int64)


def node_at(address: int, dtype: np.dtype[np.void]) -> Any:
    """A writable view of the node at an address. The caller keeps the memory alive."""
    memory = (ctypes.c_char * dtype.itemsize).from_address(int(address))
    return np.frombuffer(memory, dtype=dtype)[0]  # type: ignore[call-overload]


class NodeViews:
    """A node at an address as Python reads it often: the words of its head by number, its rows and instruments as lists of views."""

    def __init__(self, address: int, dtype: np.dtype[np.void]) -> None:
        self.node = node_at(address, dtype)
        assert dtype.fields is not None
        heads = ("status", "current_slot", "current_strategy", "current_bar", "inbox_mask")
        at = {name: dtype.fields[name][1] for name in heads}
        self.head = (ctypes.c_int64 * (max(at.values()) // 8 + 1)).from_address(address)
        self.status, self.slot, self.strategy, self.bar, self.mask = (at[name] // 8 for name in heads)
        self.decision = self.node["decision"]
        self.rows = list(self.node["inbox"])
        self.markets = list(self.decision["instruments"])
        self.ctx = Context(self.node)

    def records(self, callback: str) -> dict[str, Any]:
        """The records an event of a callback is read from, in the node as it is now."""
        if callback == "on_bar":
            slot = self.decision["bars"][self.head[self.bar]]
            state = slot["state"]
            return {"closed": state["closed"], "slot": slot, "state": state, "market": self.markets[slot["instrument"]]}
        at = self.head[self.slot]
        row = self.rows[at]
        if callback in {"on_timer", "on_feed"}:
            return {"row": row}
        if callback == "on_order":
            orders = self.decision["orders"]
            order = orders[int(row["order_id"]) & (orders.shape[0] - 1)]
            return {"row": row, "order": order, "market": self.markets[order["instrument"]]}
        market = self.markets[row["instrument"]]
        if callback == "on_fill":
            return {"row": row, "tail": self.rows[(at + 1) & self.head[self.mask]], "market": market}
        return {"row": row, "market": market}


def _field_property(name: str, *, whole: bool, parameter: bool, integer: bool = False) -> property:
    """A field of the area as an attribute. Scalars are handed out as Python numbers, so that 1 / 0 raises as it does compiled."""

    def get(strategy: Any) -> Any:
        value = strategy.__dict__["_area"][name]
        return value if whole else value.item()

    def store(strategy: Any, value: Any) -> None:
        if parameter or whole:
            raise AttributeError(f'field "{name}" cannot be assigned')
        if integer and isinstance(value, float):
            raise TypeError(f'int field "{name}" would cut off a float; convert it with int(...)')
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
        body[name] = _field_property(name, whole=whole, parameter=False, integer=spec.type is int)
    return type(cls.__name__, (cls,), body)


_callback_failed: Final = getattr(callback_failed, "py_func", callback_failed)


class PythonEntries:
    """Entries of one strategy's callbacks and what they need: views of the node, the objects of the class, the first error."""

    def __init__(self, cls: type, declared: Fields, values: Mapping[str, Any], size: SizeClass, name: str) -> None:
        self._declared = declared
        self._values = dict(values)
        self._name = name
        self._dtype = node_dtype(size)
        self._plain = issubclass(cls, PythonStrategy)
        self._class = cls if self._plain else python_class(cls, declared)
        self._nodes: dict[int, NodeViews] = {}
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

    def _object(self, views: NodeViews, address: int, callback: str) -> Any:
        """The object whose methods run: one per node and slot; of a plain-Python strategy a new one at on_start."""
        slot = views.head[views.strategy]
        key = (address, slot)
        if self._plain and callback == "on_start":
            self._objects.pop(key, None)
        made = self._objects.get(key)
        if made is not None:
            return made
        if self._plain:
            made = self._class()
            for name, value in self._values.items():
                setattr(made, name, value)
        else:
            made = object.__new__(self._class)
            area = views.decision["areas"][slot][: self._declared.dtype.itemsize]
            made.__dict__["_area"] = area.view(np.dtype((np.record, self._declared.dtype)))[0]
        self._objects[key] = made
        return made

    def _run(self, callback: str, function: FunctionType | None, address: int) -> None:
        views = self._nodes.get(address)
        if views is None:
            views = self._nodes[address] = NodeViews(address, self._dtype)
        if views.head[views.status] != 0:
            return
        try:
            strategy = self._object(views, address, callback)
            if function is None:
                return
            event = EVENTS.get(callback)
            arguments = () if event is None else (event(**views.records(callback)),)
            if self._plain:
                function(strategy, views.ctx, *arguments)
            else:
                # As compiled code does, division by zero raises, also of NumPy numbers.
                with np.errstate(divide="raise", invalid="raise"):
                    function(strategy, views.ctx, *arguments)
        except BaseException as error:  # noqa: BLE001 - it must not cross the loop; the caller raises it.
            self._error = from_python(error, f"strategy {self._name}: {callback}", is_users_file)
            _callback_failed(views.node, codes.CALLBACKS.index(callback), 0)

    def take_error(self) -> StrategyRunError | None:
        """The first error since the last call, or None."""
        error, self._error = self._error, None
        return error


Entry = Callable[[int], None]
