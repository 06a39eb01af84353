"""What a user derives from: Strategy, compiled, and PythonStrategy, plain Python; and how fields are declared.

    class EmaCross(tl.Strategy):
        fast_span: int = 100                    # a parameter: annotated, with a default; read only in callbacks
        fast: tl.State[float] = 0.0             # state
        window: tl.Array[float, 64]             # state: a fixed array, zeros
        trend: tl.State[tl.indicators.EMA]      # state: a record, here of an indicator

        def on_trade(self, ctx, trade): ...

This module must not import Numba: defining a strategy is quick, compiling it is engine/strategy_compiler.py's.
"""

import enum
import inspect
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final, TypeVar

import numpy as np

from twinloop.engine.instrument_names import suggestion
from twinloop.engine.strategy_errors import ParameterError, StrategyError, remedy, suggest
from twinloop.kernels.codes import CALLBACKS

# What a callback is handed besides self; the names say the kind, users may choose their own.
ARGUMENTS: Final = {
    "on_start": ("ctx",),
    "on_trade": ("ctx", "trade"),
    "on_quote": ("ctx", "quote"),
    "on_book": ("ctx", "book"),
    "on_bar": ("ctx", "bar"),
    "on_timer": ("ctx", "timer"),
    "on_fill": ("ctx", "fill"),
    "on_order": ("ctx", "order"),
    "on_stop": ("ctx",),
    "on_feed": ("ctx", "feed"),
}
assert tuple(ARGUMENTS) == CALLBACKS

_SCALARS: Final = {float: "<f8", int: "<i8", bool: "?"}
_INT_MIN: Final = -(2**63)
_INT_MAX: Final = 2**63 - 1


@dataclass(frozen=True)
class StateSpec:
    """What a state field holds: a scalar type, a shape (() for a scalar), or a record's dtype."""

    type: Any
    shape: tuple[int, ...] = ()


@dataclass(frozen=True)
class SymbolSpec:
    """Marks a parameter that names an instrument."""


_T = TypeVar("_T")
if TYPE_CHECKING:
    State = Annotated[_T, "state"]
    Symbol = Any  # A name where it is given, a slot where it is read.
    Array: Any  # A size is not a type: as a value that may be anything, a checker takes `Array[float, 64]`, and its elements for Any.
else:

    class State:
        """`State[float]`, `State[int]`, `State[bool]`, or `State[dtype]` of a record such as an indicator's."""

        def __class_getitem__(cls, item: Any) -> StateSpec:
            return StateSpec(item)

    class Array:
        """`Array[float, 64]`, `Array[int, 4, 16]`: a fixed array, zeros at the start."""

        def __class_getitem__(cls, item: Any) -> StateSpec:
            kind, *shape = item if isinstance(item, tuple) else (item,)
            return StateSpec(kind, tuple(shape) or (0,))

    class Symbol:
        """`Symbol = "BTCUSDT"`: a parameter given as a name, an instrument's slot (int) in callbacks."""


def array(kind: type, *shape: int) -> Any:
    """A fixed array field without an annotation: `window = tl.array(float, 64)`."""
    return StateSpec(kind, tuple(shape) or (0,))


def record(dtype: "np.dtype[np.void]") -> Any:
    """A record field without an annotation: `trend = tl.record(tl.indicators.EMA)`."""
    return StateSpec(dtype)


class Strategy:
    """Base of compiled strategies: annotated fields, and callbacks `on_<event>(self, ctx, event)`.

    Callbacks and the helpers they call are compiled; see the module's docstring for fields. With the JIT off the same class
    runs as plain Python, so that print and pdb work.
    """

    compiled: ClassVar[bool] = True


class PythonStrategy:
    """Base of plain-Python strategies: any library, any Python, at the price of a call into Python per event.

    Annotated fields with defaults are parameters, as of Strategy; every other attribute is the strategy's own business. State
    of such a strategy is not in the node: it is not hashed and not restored from a snapshot.
    """

    compiled: ClassVar[bool] = False


@dataclass(frozen=True)
class Parameter:
    """One parameter: `kind` is float, int, bool, an IntEnum, or SymbolSpec."""

    name: str
    kind: Any
    default: Any

    def store(self, value: Any, symbols: Mapping[str, int]) -> Any:
        """A value as it is stored (a symbol becomes its slot). Raises ParameterError."""
        if isinstance(self.kind, SymbolSpec):
            if not isinstance(value, str):
                raise self._wrong("the name of an instrument", value)
            if value not in symbols:
                raise ParameterError(
                    f'no instrument "{value}" in this run',
                    field=self.name,
                    expected="one of " + ", ".join(symbols),
                    remedy=suggestion(value, symbols) or None,
                )
            return symbols[value]
        if isinstance(self.kind, type) and issubclass(self.kind, enum.IntEnum):
            if isinstance(value, str) and value in self.kind.__members__:
                return int(self.kind[value])
            if isinstance(value, int) and not isinstance(value, bool) and value in list(self.kind):
                return int(value)
            raise self._wrong("one of " + ", ".join(self.kind.__members__), value)
        if self.kind is bool:
            if not isinstance(value, bool | np.bool_):
                raise self._wrong("true or false", value)
            return bool(value)
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | float | np.integer | np.floating):
            raise self._wrong(f"a number ({self.kind.__name__})", value)
        if self.kind is int:
            if int(value) != value or not _INT_MIN <= value <= _INT_MAX:
                raise self._wrong("an integer of 64 bits", value)
            return int(value)
        if not np.isfinite(value):
            raise self._wrong("a finite number", value)
        return float(value)

    def _wrong(self, expected: str, got: Any) -> ParameterError:
        return ParameterError("parameter of the wrong type or range", field=self.name, expected=expected, got=got)


@dataclass(frozen=True)
class Fields:
    """What a strategy class declares, in the order of its areas: parameters first."""

    parameters: dict[str, Parameter]
    state: dict[str, StateSpec]
    initial: dict[str, Any]
    dtype: "np.dtype[np.void]" = field(compare=False)

    def names(self) -> list[str]:
        """All field names."""
        return [*self.parameters, *self.state]


def _class_line(cls: type, name: str) -> tuple[str | None, int | None]:
    """File and line where a class names a field, as far as its source can be had."""
    for base in cls.__mro__:
        if base in (Strategy, PythonStrategy, object):
            continue
        try:
            file = inspect.getsourcefile(base)
            lines, first = inspect.getsourcelines(base)
        except (OSError, TypeError):
            continue
        for i, text in enumerate(lines):
            if text.split(":")[0].split("=")[0].strip() == name:
                return file, first + i
    return None, None


def _refuse(cls: type, name: str, what: str, fix: str) -> StrategyError:
    file, line = _class_line(cls, name)
    return StrategyError(f'field "{name}" {what}', file=file, line=line, remedy=fix)


def _annotations(cls: type) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base in (Strategy, PythonStrategy, object):
            continue
        try:
            found.update(inspect.get_annotations(base, eval_str=True))
        except NameError as error:
            file, line = _class_line(cls, "class " + base.__name__)
            raise StrategyError(
                f"annotations of {base.__name__} cannot be read: {error}",
                file=file,
                line=line,
                remedy="import the name at the top of the module",
            ) from None
    return found


def _values(cls: type) -> dict[str, Any]:
    """Class attributes that are not functions, of the class and its bases."""
    found: dict[str, Any] = {}
    for base in reversed(cls.__mro__):
        if base not in (Strategy, PythonStrategy, object):
            found.update(base.__dict__)
    return {
        name: value
        for name, value in found.items()
        if not (name.startswith("__") and name.endswith("__"))
        and not callable(value)
        and not isinstance(value, staticmethod | classmethod | property)
    } | {name: value for name, value in found.items() if isinstance(value, type) and not name.startswith("__")}


def _state_field(cls: type, name: str, spec: StateSpec, value: Any) -> tuple[Any, Any]:
    """Dtype entry and initial value of a state field."""
    if isinstance(spec.type, np.dtype):
        if spec.shape or value is not None:
            raise _refuse(cls, name, "is a record and takes no default", "set it up in on_start")
        return (name, spec.type), None
    if spec.type not in _SCALARS:
        fix = "use tl.State[float | int | bool], tl.Array[float, 64], or tl.State[dtype] of a record"
        raise _refuse(cls, name, f"has a state of type {getattr(spec.type, '__name__', spec.type)!r}", fix)
    if spec.shape and spec.type is bool:
        raise _refuse(cls, name, "is an array of bool", "use tl.Array[int, ...] with 0 and 1")
    base = _SCALARS[spec.type]
    if any(not isinstance(size, int) or size < 1 for size in spec.shape):
        raise _refuse(cls, name, "has no fixed size", "state its size as integers: tl.Array[float, 64]")
    if value is not None and (not isinstance(value, int | float) or (spec.type is int and not isinstance(value, int))):
        raise _refuse(cls, name, f"starts as {value!r}", f"start it with a {spec.type.__name__}")
    return ((name, base, spec.shape) if spec.shape else (name, base)), value


def fields_of(cls: type) -> Fields:
    """Parameters and state that a strategy class declares. Raises StrategyError."""
    annotations = _annotations(cls)
    values = _values(cls)
    parameters: dict[str, Parameter] = {}
    state: dict[str, StateSpec] = {}
    initial: dict[str, Any] = {}
    layout: list[Any] = []
    compiled = issubclass(cls, Strategy)
    for name, value in values.items():
        if name in annotations:
            continue
        if isinstance(value, StateSpec):
            annotations[name] = value
            values[name] = None
        elif compiled:
            kind = type(value).__name__
            fix = f"write `{name}: {kind if kind in ('int', 'float', 'bool') else 'float'} = ...` for a parameter, "
            raise _refuse(
                cls,
                name,
                "has no annotation",
                fix + f"`{name}: tl.State[float] = ...` for state, or make it a constant of the module",
            )
    for name, kind in annotations.items():
        value = values.get(name)
        if getattr(kind, "__origin__", None) is ClassVar:
            continue
        if isinstance(kind, StateSpec):
            entry, start = _state_field(cls, name, kind, value)
            layout.append(entry)
            state[name] = kind
            initial[name] = start
            continue
        parameters[name] = _parameter(cls, name, kind, value, compiled)
    for base in ("compiled", "get", "view"):
        if base in parameters or base in state:
            raise _refuse(cls, base, "has a reserved name", "choose another name")
    head: list[Any] = [(name, _SCALARS.get(found.kind, "<i8")) for name, found in parameters.items()]
    dtype = np.dtype([*head, *layout] or [("_empty", "<i8")], align=True)
    return Fields(parameters, state, initial, dtype)


def _parameter(cls: type, name: str, kind: Any, value: Any, compiled: bool) -> Parameter:
    if isinstance(value, list | dict | set | np.ndarray):
        raise _refuse(
            cls,
            name,
            f"has a mutable default ({type(value).__name__})",
            "use tl.Array[float, 64] for state, or a constant of the module",
        )
    if kind is Symbol:
        kind = SymbolSpec()
    elif kind is str:
        fix = "use tl.Symbol for an instrument, an enum.IntEnum for a choice" + (
            "" if compiled else "; or set it in on_start"
        )
        raise _refuse(cls, name, "is a str, which compiled code does not compare", fix)
    elif not (kind in _SCALARS or (isinstance(kind, type) and issubclass(kind, enum.IntEnum))):
        fix = "a parameter is float, int, bool, an enum.IntEnum or tl.Symbol; state is tl.State[...] or tl.Array[...]"
        raise _refuse(cls, name, f"has a type that a strategy cannot hold: {getattr(kind, '__name__', kind)}", fix)
    if value is None:
        raise _refuse(
            cls,
            name,
            "is a parameter without a default",
            f"write `{name}: ... = value`, or tl.State[...] if it is state",
        )
    found = Parameter(name, kind, value)
    if not isinstance(kind, SymbolSpec):
        try:
            found.store(value, {})
        except ParameterError as error:
            raise _refuse(
                cls, name, f"has a default of the wrong type: {value!r}", f"expected {error.expected}"
            ) from None
    return found


def require_names(fields: Fields, given: Iterable[str]) -> None:
    """Raise ParameterError for a name that is no parameter."""
    for name in given:
        if name not in fields.parameters:
            known = list(fields.parameters)
            hint = "it is state, not a parameter" if name in fields.state else suggest(name, known)
            raise ParameterError(
                "no such parameter",
                field=name,
                expected="one of " + (", ".join(known) or "none"),
                remedy=remedy(hint) or None,
            )


def parameter_values(fields: Fields, given: Mapping[str, Any], symbols: Mapping[str, int]) -> dict[str, Any]:
    """Every parameter's stored value, from what is given and the defaults. Raises ParameterError."""
    require_names(fields, given)
    return {name: found.store(given.get(name, found.default), symbols) for name, found in fields.parameters.items()}
