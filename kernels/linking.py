"""Functions that are compiled once and called through a slot, instead of being copied into the module of every caller.

Numba links the code of every callee, and of theirs, into each function's own module, optimises it there again and makes machine code
of it again: for a tree of kernels the work grows with the square of its depth. While `separate()` is in force, a kernel that is kept
out of line anyway (intrinsics.out_of_line) is compiled once; callers load its address from a slot, an int64 at a symbol of the
callee's name and argument types. So machine code of a caller stays valid in another process that gives the slot its own address.
A kernel that another process compiles meanwhile is only promised: its callers need to know no more of it than what it returns.

Exceptions and any types pass as between all compiled functions. Written for the internals of Numba 0.68, the only one that is allowed.
"""

import ctypes
import gc
import hashlib
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, NamedTuple

import llvmlite.binding
from llvmlite import ir
from numba import config
from numba.core import cgutils, imputils, types, typing
from numba.core.registry import cpu_target

import twinloop.kernels.record_names  # noqa: F401 - before anything is compiled for a record


class Linked(NamedTuple):
    """A function compiled separately: the symbol of its machine code, and the object file that holds it."""

    symbol: str
    object_code: bytes


class Promised(NamedTuple):
    """What callers need of an overload that another process compiles, under the names that a compile result has for it."""

    entry_point: object
    signature: Any
    objectmode: bool = False


class BrokenPromiseError(Exception):
    """A promised kernel turned out to return another type, or may fail."""


_slots: dict[str, ctypes.c_int64] = {}
_linked: dict[str, Linked] = {}
_promised: set[str] = set()  # Slots that what was compiled since separate() began leaves to another image.
_promises: dict[Any, Any] = {}  # What a dispatcher that another process compiles returns, for the while of separate().
_fresh: dict[int, tuple[Any, dict[str, Any]]] | None = (
    None  # Dispatchers since separate() began, their options; None: not in force.
)
_NO_WRAPPERS = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}  # They make up a third of the compile time.


def is_separate() -> bool:
    """Whether separate() is in force."""
    return _fresh is not None


@contextmanager
def separate(promises: Mapping[Any, Any] = MappingProxyType({})) -> Iterator[dict[str, Linked]]:
    """Compile kernels separately; gives what was compiled, by slot name.

    promises: kernels that are compiled elsewhere and cannot fail, with the type each returns: their slots are filled by another image.
    """
    global _fresh  # noqa: PLW0603 - the compiler calls back without a place to keep state
    if _fresh is not None:
        raise RuntimeError("kernels are being compiled already")
    _fresh = {}
    _promises.update(promises)
    _linked.clear()
    _promised.clear()
    collecting = gc.isenabled()
    gc.disable()  # The compiler makes millions of objects and hardly any garbage.
    try:
        yield _linked
    finally:
        if collecting:
            gc.enable()
        for dispatcher, options in _fresh.values():
            dispatcher._reset_overloads()  # noqa: SLF001 - without wrappers, Python cannot call it
            dispatcher.targetoptions.clear()
            dispatcher.targetoptions.update(options)
        _promises.clear()
        _fresh = None


def promised() -> list[str]:
    """Slots that another image fills, of what was compiled last."""
    return sorted(_promised)


def begin(dispatcher: Any) -> None:
    """Before a dispatcher is compiled: forget what was compiled for Python's callers, whose object files hold all callees."""
    if _fresh is not None and id(dispatcher) not in _fresh:
        _fresh[id(dispatcher)] = (dispatcher, dict(dispatcher.targetoptions))
        dispatcher.targetoptions.update(_NO_WRAPPERS)
        dispatcher._reset_overloads()  # noqa: SLF001


def promise(dispatcher: Any, arguments: tuple[Any, ...]) -> None:
    """Before an overload is compiled: have callers reach it through a slot that another image fills, if it is promised."""
    if dispatcher not in _promises or arguments in dispatcher.overloads:
        return
    promised = Promised(object(), typing.signature(_promises[dispatcher], *arguments))
    dispatcher.overloads[arguments] = promised
    name = _slot_name(dispatcher, arguments)
    slot(name)  # Machine code that names it is made before anyone fills it.
    _promised.add(name)
    call = _call_through(name, promised.signature, never_fails=not config.BOUNDSCHECK)
    cpu_target.target_context._defns[promised.entry_point].append(call, call.signature)  # noqa: SLF001


def link(dispatcher: Any, arguments: tuple[Any, ...]) -> None:
    """Have callers reach a compiled overload through its slot."""
    compiled = dispatcher.overloads[arguments]
    name = _slot_name(dispatcher, arguments)
    if name in _linked or isinstance(compiled, Promised):
        return
    symbol = compiled.fndesc.llvm_func_name
    _linked[name] = Linked(symbol, bytes(compiled.library._get_compiled_object()))  # noqa: SLF001
    slot(name).value = compiled.library.get_pointer_to_function(symbol)
    context = cpu_target.target_context
    call = _call_through(name, compiled.signature, never_fails=_never_fails(compiled.library, symbol))
    context.remove_user_function(compiled.entry_point)
    context._defns[compiled.entry_point].append(call, call.signature)  # noqa: SLF001


def check_kept(dispatcher: Any, returned: Any) -> None:
    """Raise BrokenPromiseError unless every overload just compiled of a kernel that others were promised is as they were told.

    With bounds checked everything may fail, and nobody was told otherwise.
    """
    for compiled in dispatcher.overloads.values():
        never_fails = bool(config.BOUNDSCHECK) or _never_fails(compiled.library, compiled.fndesc.llvm_func_name)
        if compiled.signature.return_type != returned or not never_fails:
            raise BrokenPromiseError(
                f"{dispatcher.py_func.__qualname__} was promised to return {returned} and never to fail; it returns"
                f" {compiled.signature.return_type} and {'never fails' if never_fails else 'may fail'}"
            )


def _slot_name(dispatcher: Any, arguments: tuple[Any, ...]) -> str:
    describe = (
        f"{dispatcher.py_func.__module__}.{dispatcher.py_func.__qualname__}{tuple(str(each) for each in arguments)}"
    )
    digest = hashlib.blake2b(describe.encode(), digest_size=12).hexdigest()
    return f"twinloop.{dispatcher.py_func.__name__}.{digest}"


def slot(name: str) -> ctypes.c_int64:
    """The slot of a name, known to machine code from now on."""
    if name not in _slots:
        _slots[name] = ctypes.c_int64(0)
        llvmlite.binding.add_symbol(name, ctypes.addressof(_slots[name]))
    return _slots[name]


def _never_fails(library: Any, symbol: str) -> bool:
    """Whether every way out of the machine code returns status 0: no division by zero, no bounds error, nothing raised."""
    module = library._final_module  # noqa: SLF001
    proven: dict[str, bool] = {}

    def is_zero(text: str, value: str, seen: set[str]) -> bool:
        if value == "0" or value in seen:
            return True
        made = re.search(rf"^\s*{re.escape(value)} = (.*)$", text, re.MULTILINE) if value.startswith("%") else None
        if made is None:
            return False
        if made[1].startswith("phi i32"):
            sources = re.findall(r"\[ (\S+), %", made[1])
            return all(is_zero(text, source, seen | {value}) for source in sources)
        called = re.match(r"(?:tail |musttail |notail )?call .*?@\"?([^\"(]+)\"?\(", made[1])
        return called is not None and proves(called[1])

    def proves(name: str) -> bool:
        if name not in proven:
            proven[name] = True  # While it calls itself.
            try:
                function = module.get_function(name)
            except NameError:
                proven[name] = False
                return False
            text = str(function)
            ends = re.findall(r"^\s*ret i32 (\S+)", text, re.MULTILINE)
            proven[name] = bool(ends) and not function.is_declaration and all(is_zero(text, end, set()) for end in ends)
        return proven[name]

    return proves(symbol)


def _call_through(name: str, described: Any, *, never_fails: bool) -> Any:
    """What a caller's code does, as imputils.user_function does it, but at the address in the slot."""

    def call(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        convention = context.call_conv
        kind = convention.get_function_type(described.return_type, described.args)
        module = builder.module
        held = module.globals.get(name) or ir.GlobalVariable(module, ir.IntType(64), name)
        function = builder.inttoptr(builder.load(held), kind.as_pointer())
        if never_fails:
            # Room for the result without clearing it first, none for an error: a caller in a loop would clear them at each turn, called
            # or not.
            with builder.goto_entry_block():
                result = builder.alloca(kind.args[0].pointee)
            packed = convention._get_arg_packer(described.args).as_arguments(builder, arguments)  # noqa: SLF001
            builder.call(function, [result, ir.Constant(kind.args[1], None), *packed])
            if described.return_type is types.none:
                return context.get_dummy_value()
            value = context.get_returned_value(builder, described.return_type, builder.load(result))
            return imputils.impl_ret_new_ref(context, builder, described.return_type, value)
        status, value = convention.call_function(builder, function, described.return_type, described.args, arguments)
        with cgutils.if_unlikely(builder, status.is_error):
            convention.return_status_propagate(builder, status)
        value = imputils.fix_returning_optional(context, builder, signature, status, value)
        return imputils.impl_ret_new_ref(context, builder, described.return_type, value)

    call.signature = described.args  # type: ignore[attr-defined]
    call.libs = ()  # type: ignore[attr-defined]
    return call
