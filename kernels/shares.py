"""Shares compared without dividing: is a * b at most c * d, exactly, over the whole of int64.

A limit in 1e-8 of something is a question of two products that do not fit in 64 bits. Rounding the quotient would move the limit by a
unit; two 128-bit products and one comparison do not, and cost a nanosecond. This module must not know what is compared.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic, overload

from twinloop.kernels.jit import INNER, njit

_I128 = ir.IntType(128)
_untyped: Any = types
_intrinsic: Any = intrinsic  # Numba's stub keeps the `typing` argument that callers never pass.


def product_within(a: int, b: int, c: int, d: int) -> bool:
    """Whether a * b <= c * d, in exact arithmetic; all four int64, any sign."""
    return int(a) * int(b) <= int(c) * int(d)


@_intrinsic
def _product_within(typing: Any, a: Any, b: Any, c: Any, d: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        wide = [builder.sext(argument, _I128) for argument in arguments]
        return builder.icmp_signed("<=", builder.mul(wide[0], wide[1]), builder.mul(wide[2], wide[3]))

    i64 = types.int64
    return _untyped.boolean(i64, i64, i64, i64), generate


@njit(**INNER)
def _compiled(a: int, b: int, c: int, d: int) -> bool:
    return _product_within(a, b, c, d)


@overload(product_within)
def _product_within_compiled(a: Any, b: Any, c: Any, d: Any) -> Any:
    def compare(a: Any, b: Any, c: Any, d: Any) -> Any:
        return _compiled(int(a), int(b), int(c), int(d))

    return compare if all(isinstance(each, types.Integer) for each in (a, b, c, d)) else None
