"""Numba's view of a strategy: the types of `self`, `ctx` and events, and what calls a user's function from the loop.

`self` is a Record over the strategy's area with the class's helper methods; `ctx` is the node's address; an event is a few
addresses of records. Nothing here allocates, counts references or copies. Attributes of events are lowered from the
declarations of engine/strategy_events.py, methods of ctx are compiled from engine/strategy_context.py: one source for both worlds.
This module must not be imported with the JIT off: there the Python classes themselves are used.
"""

import hashlib
import inspect
import threading
from functools import cache
from types import FunctionType
from typing import Any, ClassVar, Final

import numpy as np
from llvmlite import ir
from numba import cfunc, from_dtype, njit, types
from numba.core import cgutils, errors
from numba.core import ir as numba_ir
from numba.core.callconv import CPUCallConv
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import AnalysisPass, register_pass
from numba.core.datamodel import register_default
from numba.core.datamodel.models import PrimitiveModel, RecordModel, StructModel
from numba.core.imputils import impl_ret_untracked, lower_getattr_generic
from numba.core.lowering import Lower
from numba.core.typed_passes import NativeLowering, NopythonTypeInference
from numba.core.typing.templates import AttributeTemplate, infer_getattr
from numba.extending import intrinsic, overload, overload_attribute, overload_method

import twinloop.kernels.record_names  # noqa: F401 - before anything is compiled for a record
from twinloop.engine import strategy_context, strategy_events
from twinloop.engine.strategy_context import Context
from twinloop.engine.strategy_events import FLAG, MONEY, MONEY_PER_UNIT, PRICE, QTY, Event
from twinloop.engine.strategy_requests import node_of
from twinloop.kernels.bars import BAR, BAR_STATE
from twinloop.kernels.desk import hash_decision, record_refusal
from twinloop.kernels.intrinsics import record_at
from twinloop.kernels.node import BAR_SLOT, INSTRUMENT, ORDER
from twinloop.kernels.rows import ROW

_I8: Final = ir.IntType(8)
_I64: Final = ir.IntType(64)
_POINTER: Final = _I8.as_pointer()
_SOURCES: Final = {
    "row": ROW,
    "tail": ROW,
    "market": INSTRUMENT,
    "closed": BAR,
    "state": BAR_STATE,
    "slot": BAR_SLOT,
    "order": ORDER,
}
# Division by zero and bad indices end the run with the user's line instead of doing something undefined to the node.
OPTIONS: Final[dict[str, Any]] = {"error_model": "python", "boundscheck": True}
CONTEXT_OPTIONS: Final[dict[str, Any]] = {"error_model": "numpy"}


class SelfType(types.Record):  # type: ignore[misc]
    """`self` of one strategy class: the record of its area. A subclass per strategy class carries its methods."""

    def __init__(self, name: str, record: Any, parameters: frozenset[str], digest: str) -> None:
        self.fields = record.fields
        self.size = record.size
        self.aligned = record.aligned
        self.parameters = parameters
        self.strategy = name
        types.Type.__init__(self, f"Self[{name}]{digest}")
        self.bitwidth = record.bitwidth

    def can_convert_to(self, typingctx: Any, other: Any) -> None:
        """No other type is like it."""

    def typeof(self, name: str) -> Any:
        """The type of a field; an unknown one is the author's mistake, not a KeyError."""
        if name not in self.fields:
            raise errors.TypingError(f"Unknown attribute '{name}' of type Self[{self.strategy}]")
        return self.fields[name].type


class ContextType(types.Type):  # type: ignore[misc]
    """`ctx`: the address of a node of a known dtype."""

    def __init__(self, node: Any) -> None:
        self.node = node
        super().__init__(f"Context[{hashlib.blake2b(node.name.encode(), digest_size=8).hexdigest()}]")


class EventType(types.Type):  # type: ignore[misc]
    """An event: the addresses of its records."""

    def __init__(self, event: type[Event]) -> None:
        self.event = event
        self.records = {source: from_dtype(_SOURCES[source]) for source in event.sources}
        self.attributes = strategy_events.fields(event)
        super().__init__(event.__name__)


@register_default(ContextType)
class _ContextModel(PrimitiveModel):  # type: ignore[misc]
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, _POINTER)


@register_default(EventType)
class _EventModel(StructModel):  # type: ignore[misc]
    def __init__(self, manager: Any, numba_type: Any) -> None:
        super().__init__(manager, numba_type, [(source, types.voidptr) for source in numba_type.event.sources])


register_default(SelfType)(RecordModel)


# Events.


@infer_getattr
class _EventAttributes(AttributeTemplate):  # type: ignore[misc]
    key = EventType

    def generic_resolve(self, event: EventType, name: str) -> Any:
        field = event.attributes.get(name)
        if field is None:
            return None
        if field.unit in (PRICE, QTY, MONEY):
            return types.float64
        return types.boolean if field.unit == FLAG else types.int64


@lower_getattr_generic(EventType)
def _event_getattr(context: Any, builder: Any, event: EventType, value: Any, name: str) -> Any:
    field = event.attributes[name]
    members = cgutils.create_struct_proxy(event)(context, builder, value=value)

    def load(source: str, number: str) -> tuple[Any, Any]:
        record = event.records[source]
        pointer = builder.bitcast(getattr(members, source), context.get_value_type(record))
        return context.get_getattr(record, number)(context, builder, record, pointer, number), record.typeof(number)

    def integer(number: str) -> Any:
        loaded, kind = load(field.source, number)
        return context.cast(builder, loaded, kind, types.int64)

    found = integer(field.name)
    if field.minus:
        found = builder.sub(found, integer(field.minus))
    if field.unit == FLAG:
        return builder.icmp_signed("!=", builder.and_(found, ir.Constant(_I64, field.mask)), ir.Constant(_I64, 0))
    if field.unit in (PRICE, QTY, MONEY):
        found = builder.sitofp(found, ir.DoubleType())
        if field.unit == MONEY:
            per_unit = ir.Constant(ir.DoubleType(), MONEY_PER_UNIT)
        else:
            per_unit, _ = load("market", "prices_per_unit" if field.unit == PRICE else "qtys_per_unit")
        found = builder.fdiv(found, per_unit)
    return impl_ret_untracked(context, builder, event, found)


@intrinsic
def make_event(_typingctx: Any, event: Any, records: Any) -> Any:
    """An event of a type from a tuple of its records, in the order of its sources."""
    kind = event.instance_type

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        members = cgutils.create_struct_proxy(kind)(context, builder)
        for source, record in zip(kind.event.sources, cgutils.unpack_tuple(builder, args[1]), strict=True):
            setattr(members, source, builder.bitcast(record, _POINTER))
        return members._getvalue()  # noqa: SLF001 - Numba's own way.

    return kind(event, records), codegen


# ctx.


@intrinsic
def _node_record(_typingctx: Any, ctx: Any) -> Any:
    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], context.get_value_type(ctx.node))

    return ctx.node(ctx), codegen


@overload(node_of, strict=False)
def _node_of(ctx: Any) -> Any:
    if isinstance(ctx, ContextType):
        return lambda ctx: _node_record(ctx)  # noqa: PLW0108 - Numba wants a Python function.
    return None


def _register_context() -> None:
    for name, value in vars(Context).items():
        if isinstance(value, property):
            _add_attribute(ContextType, name, value.fget, CONTEXT_OPTIONS)
        elif isinstance(value, FunctionType) and not name.startswith("_"):
            _add_method(ContextType, name, value, CONTEXT_OPTIONS)


def _returning(function: Any) -> Any:
    """A function of the same signature that returns the given one: what Numba asks of an overload."""
    names = ", ".join(inspect.signature(function).parameters)
    made: dict[str, Any] = {"function": function}
    exec(f"def implementation({names}):\n    return function", made)  # noqa: S102 - names of our own or checked methods.
    made["implementation"].__defaults__ = function.__defaults__
    return made["implementation"]


def _add_method(kind: type, name: str, function: Any, options: dict[str, Any]) -> None:
    overload_method(kind, name, strict=False, jit_options=options)(_returning(function))


def _add_attribute(kind: type, name: str, function: Any, options: dict[str, Any]) -> None:
    overload_attribute(kind, name, strict=False, jit_options=options)(_returning(function))


_register_context()


# self.


@register_pass(mutates_CFG=False, analysis_only=True)
class _CheckAssignments(AnalysisPass):  # type: ignore[misc]
    """Numba would silently cut a float stored in an int field, and let helpers assign parameters."""

    _name = "twinloop_check_assignments"

    def __init__(self) -> None:
        AnalysisPass.__init__(self)

    def run_pass(self, state: Any) -> bool:
        for block in state.func_ir.blocks.values():
            for statement in block.body:
                if isinstance(statement, numba_ir.SetAttr):
                    self._check(state.typemap, statement)
        return False

    def _check(self, typemap: Any, statement: Any) -> None:
        target = typemap[statement.target.name]
        if not isinstance(target, SelfType):
            return
        name = statement.attr
        value = typemap[statement.value.name]
        if name in target.parameters:
            raise errors.TypingError(f"assigned parameter '{name}'", loc=statement.loc)
        field = target.fields[name].type
        if isinstance(field, types.Integer) and isinstance(value, types.Float):
            raise errors.TypingError(f"float stored in int field '{name}'", loc=statement.loc)
        if isinstance(field, types.Record | types.NestedArray):
            raise errors.TypingError(f"assigned whole field '{name}'", loc=statement.loc)


class _Line(threading.local):
    """Where lowering of a user's function is, so that an exception that Numba raises there (1 / 0, a bad index) has a line."""

    function: Any = None
    loc: Any = None


_line = _Line()
_set_static_user_exc = CPUCallConv.set_static_user_exc


def _set_exception(
    self: Any, builder: Any, exc: Any, exc_args: Any = None, loc: Any = None, func_name: Any = None
) -> None:
    """As Numba's, with the line of the user's statement where Numba gives none; other functions are left alone."""
    if loc is None and _line.function is not None and builder.function is _line.function:
        loc = _line.loc
    _set_static_user_exc(self, builder, exc, exc_args, loc, func_name)


CPUCallConv.set_static_user_exc = _set_exception


class _UserLower(Lower):  # type: ignore[misc]
    def lower_inst(self, inst: Any) -> None:
        before = _line.function, _line.loc
        _line.function, _line.loc = self.builder.function, self.loc
        try:
            super().lower_inst(inst)
        finally:
            _line.function, _line.loc = before


@register_pass(mutates_CFG=True, analysis_only=False)
class _UserLowering(NativeLowering):  # type: ignore[misc]
    """Numba's lowering that knows its line."""

    _name = "twinloop_lowering"

    @property
    def lowering_class(self) -> Any:
        return _UserLower


class UserCompiler(CompilerBase):  # type: ignore[misc]
    """Numba's pipeline with our check of assignments after type inference."""

    def define_pipelines(self) -> list[Any]:
        """One pipeline."""
        passes = DefaultPassBuilder.define_nopython_pipeline(self.state)
        passes.add_pass_after(_CheckAssignments, NopythonTypeInference)
        passes.passes = [(_UserLowering, text) if one is NativeLowering else (one, text) for one, text in passes.passes]
        passes.finalize()
        return [passes]


USER_OPTIONS: Final[dict[str, Any]] = {**OPTIONS, "pipeline_class": UserCompiler}


def self_type(
    cls: type, dtype: np.dtype[np.void], parameters: frozenset[str], methods: dict[str, Any], digest: str
) -> SelfType:
    """The type of a strategy class's `self`, with its helper methods. The digest makes it another type in machine code's names."""
    kind = type(f"Self_{cls.__name__}", (SelfType,), {})
    register_default(kind)(RecordModel)
    for name, function in methods.items():
        _add_method(kind, name, function, USER_OPTIONS)
    made: SelfType = kind(cls.__name__, from_dtype(dtype), parameters, digest)
    return made


# Entering a user's function.


@intrinsic
def pointer_as(_typingctx: Any, _address: Any, kind: Any) -> Any:
    """An address as a value of a type that is one pointer."""
    target = kind.instance_type

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(target))

    return target(types.int64, kind), codegen


@intrinsic
def call_checked(typingctx: Any, function: Any, arguments: Any) -> Any:
    """Call a compiled function; 0, or the address of Numba's description of the exception it ended with (1: none there)."""
    inner = function.get_call_type(typingctx, tuple(arguments.types), {})

    def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        compiled = function.dispatcher.get_compile_result(inner)
        context.active_code_library.add_linking_library(compiled.library)
        values = [
            context.cast(builder, value, given, wanted)
            for value, given, wanted in zip(
                cgutils.unpack_tuple(builder, args[1]), arguments.types, compiled.signature.args, strict=True
            )
        ]
        status, result = context.call_internal_no_propagate(builder, compiled.fndesc, compiled.signature, values)
        outcome = cgutils.alloca_once_value(builder, ir.Constant(_I64, 0))
        with builder.if_else(status.is_error, likely=False) as (failed, fine):
            with failed:
                description = builder.ptrtoint(status.excinfoptr, _I64)
                builder.store(builder.select(status.is_user_exc, description, ir.Constant(_I64, 1)), outcome)
            with fine:
                if context.enable_nrt:
                    context.nrt.decref(builder, compiled.signature.return_type, result)
        return builder.load(outcome)

    return types.int64(function, arguments), codegen


@cache
def context_type(dtype: np.dtype[np.void]) -> ContextType:
    """The type of ctx over nodes of a dtype."""
    return ContextType(from_dtype(dtype))


@cache
def event_type(callback: str) -> EventType:
    """The type of the event a callback is handed."""
    return EventType(strategy_events.EVENTS[callback])


# Refusals of plain-Python strategies in a compiled run.


class _Doors:
    """Compiled refusal by node dtype, made when a plain-Python strategy first needs it."""

    made: ClassVar[dict[Any, Any]] = {}


def refuse_door(node: Any, verdict: int, operation: int) -> None:
    """Number and record a refusal from Python. node: the np.void or np.record of a node in memory that stays where it is."""
    dtype = node.dtype
    if dtype not in _Doors.made:
        NODE = np.dtype((np.void, dtype))  # noqa: N806 - Numba freezes it like a constant.

        @cfunc(types.void(types.int64, types.int64, types.int64))
        def door(address: int, verdict: int, operation: int) -> None:
            it = record_at(address, NODE)
            hash_decision(it, verdict)
            it["measured"]["decisions"] += 1
            record_refusal(it, it["current_strategy"], it["request"]["instrument"], verdict, operation)

        _Doors.made[dtype] = door.ctypes
    _Doors.made[dtype](int(node["address"]), int(verdict), int(operation))


assert strategy_context.Context is Context
__all__ = [
    "OPTIONS",
    "USER_OPTIONS",
    "ContextType",
    "EventType",
    "SelfType",
    "call_checked",
    "context_type",
    "event_type",
    "make_event",
    "njit",
    "pointer_as",
    "refuse_door",
    "self_type",
]
