"""Numba's njit, compiling a function once for each type and not once for each literal.

A call with a literal argument (`answer(venue, EXPIRED, 0)`) makes Numba compile the callee anew for that very number; kernels call each
other with dozens of named constants, and compiling took minutes. Nothing here specialises on a value, so a literal is an int64.
"""

from typing import Any, Final

import numba
from numba import config, types

import twinloop.kernels.record_names  # noqa: F401 - before anything is compiled for a record

# For functions that only kernels call: no wrappers for Python and for C, which make up a third of their compile time.
INNER: Final[dict[str, Any]] = {"cache": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


def njit(*arguments: Any, **options: Any) -> Any:
    """numba.njit; the compiled function takes literal arguments by their plain type."""
    decorate = numba.njit(*arguments, **options)
    if config.DISABLE_JIT:
        return decorate
    if arguments:
        return _by_type(decorate)
    return lambda function: _by_type(decorate(function))


def _by_type(dispatcher: Any) -> Any:
    template = dispatcher.get_call_template

    def get_call_template(args: Any, kws: Any) -> Any:
        return template(
            tuple(types.unliteral(arg) for arg in args), {name: types.unliteral(arg) for name, arg in kws.items()}
        )

    dispatcher.get_call_template = get_call_template
    return dispatcher
