"""Numba's njit, compiling a function once for each type and not once for each literal.

A call with a literal argument (`answer(venue, EXPIRED, 0)`) makes Numba compile the callee anew for that very number; kernels call each
other with dozens of named constants, and compiling took minutes. Nothing here specialises on a value, so a literal is an int64.
"""

from typing import Any, Final

import numba
from numba import config, types

import twinloop.kernels.record_names  # noqa: F401 - before anything is compiled for a record
from twinloop.kernels import linking

# For functions that only kernels call: no wrappers for Python and for C, which make up a third of their compile time.
INNER: Final[dict[str, Any]] = {"cache": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def njit(*arguments: Any, **options: Any) -> Any:
    """numba.njit; the compiled function takes literal arguments by their plain type."""
    # Kernels never divide by what may be zero: no way out for an error, that every caller would have to look for.
    options.setdefault("error_model", "numpy")
    decorate = numba.njit(*arguments, **options)
    if config.DISABLE_JIT:
        return decorate
    if arguments:
        return _by_type(decorate)
    return lambda function: _by_type(decorate(function))


def _by_type(dispatcher: Any) -> Any:
    template = dispatcher.get_call_template
    out_of_line = "out_of_line" in dispatcher.py_func.__code__.co_names

    def get_call_template(args: Any, kws: Any) -> Any:
        linking.begin(dispatcher)
        args = tuple(types.unliteral(arg) for arg in args)
        kws = {name: types.unliteral(arg) for name, arg in kws.items()}
        if out_of_line and linking.is_separate():
            linking.promise(dispatcher, tuple(dispatcher.fold_argument_types(args, kws)[1]))
        found = template(args, kws)
        if out_of_line and linking.is_separate():
            linking.link(dispatcher, tuple(found[2]))
        return found

    dispatcher.get_call_template = get_call_template
    _keep_out_of_files(dispatcher)
    return dispatcher


def _keep_out_of_files(dispatcher: Any) -> None:
    """Code compiled separately refers to slots: it belongs to an image, and never to Numba's own cache."""
    cache = dispatcher._cache  # noqa: SLF001
    load, save = cache.load_overload, cache.save_overload

    def load_overload(*arguments: Any) -> Any:
        return None if linking.is_separate() else load(*arguments)

    def save_overload(*arguments: Any) -> None:
        if not linking.is_separate():
            save(*arguments)

    cache.load_overload, cache.save_overload = load_overload, save_overload
