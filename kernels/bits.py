"""Words of bits, exact division by a fixed step, overlapping copies: what the order book needs of the machine.

A word is an int64 used as 64 bits. Every operation has two bodies with the same result: plain Python integers (JIT off, and
whoever calls from Python) and one or two machine instructions. This module must not know of books, prices or rows.
"""

from typing import Any, Final, TypeAlias

import numpy as np
from llvmlite import ir
from numba import config, extending, njit, types
from numba.core import cgutils
from numba.extending import overload

import twinloop.kernels.record_names  # noqa: F401 - before anything is compiled for a record

Int: TypeAlias = Any  # An int64 when compiled; an int or np.int64 with the JIT off.
intrinsic: Final[Any] = extending.intrinsic  # As annotated, what it returns could not be called.

WORD_BITS: Final = 64
WORD_SHIFT: Final = 6  # index >> WORD_SHIFT is the word of a bit, index & BIT_MASK its place there.
BIT_MASK: Final = WORD_BITS - 1

_MASK: Final = 2**WORD_BITS - 1
_INT64: Final = np.dtype("<i8")
_SIGN: Final = 2 ** (WORD_BITS - 1)
_I64: Final = ir.IntType(WORD_BITS)
_NEWTON_STEPS: Final = 5  # 3 correct bits double to more than 64.


def highest_bit(word: Int) -> Int:
    """Index of the highest set bit of a word that is not 0."""
    return (int(word) & _MASK).bit_length() - 1


def grid_offset(value: Int, base: Int, inverse: Int, shift: Int) -> Int:
    """The quotient (value - base) / step if it is a whole number >= 0, else one outside 0 .. 2**64 / step, as an int64.

    step = odd << shift, inverse = odd_inverse(odd). For a multiple of the step the product with the inverse is the exact quotient
    of the odd part, and rotating right takes the power of two out; for any other distance the result is larger than every
    possible quotient (Granlund and Montgomery, "Division by invariant integers using multiplication", 1994, section 9). So
    `0 <= grid_offset(...) < n` asks in one comparison whether a distance is on the grid and below n steps, for n <= 2**63 / step.
    """
    product = ((int(value) - int(base)) * int(inverse)) & _MASK
    shift = int(shift)
    rotated = (product >> shift) | ((product << (WORD_BITS - shift)) & _MASK)
    return rotated - 2**WORD_BITS if rotated & _SIGN else rotated


def odd_inverse(odd: Int) -> Int:
    """The int64 whose product with an odd number is 1 modulo 2**64."""
    inverse = pow(int(odd), -1, 2**WORD_BITS)
    return inverse - 2**WORD_BITS if inverse & _SIGN else inverse


def move_entries(table: Any, row: Int, to: Int, source: Int, count: Int) -> None:
    """Copy table[row, source:source + count] to table[row, to:to + count], which may overlap; a C-ordered 2-D array.

    One memmove. Compiled, nothing checks the bounds.
    """
    table[row, to : to + count] = table[row, source : source + count].copy()


@njit(cache=True)
def bit(index: Int) -> Int:
    """The word with only bit index (0..63) set."""
    return np.int64(1) << np.int64(index)


@njit(cache=True)
def bits_through(index: Int) -> Int:
    """The word with the bits 0..index set, index within 0..63."""
    return ~(np.int64(-2) << np.int64(index))


if config.DISABLE_JIT:

    def set_word(record: Any, index: Int, value: Int) -> None:
        """Twin: store an int64 at 8 * index."""
        record.setfield(np.int64(value), _INT64, 8 * int(index))

else:

    @intrinsic
    def set_word(typing: Any, record: Any, index: Any, value: Any) -> Any:
        """Store an int64 in the 8 bytes at 8 * index of a record: a field chosen by number. Nothing checks the index."""

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            words = builder.bitcast(arguments[0], _I64.as_pointer())
            builder.store(arguments[2], builder.gep(words, [arguments[1]]), align=8)
            return context.get_dummy_value()

        return types.void(record, types.int64, types.int64), generate


# What compiled callers get in place of the Python bodies above.


@intrinsic
def _highest_bit(typing: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        zeros = builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 1))
        return builder.xor(zeros, ir.Constant(_I64, BIT_MASK))

    return types.int64(types.int64), generate


@intrinsic
def _grid_offset(typing: Any, value: Any, base: Any, inverse: Any, shift: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        value, base, inverse, shift = arguments
        product = builder.mul(builder.sub(value, base), inverse)
        right = builder.and_(shift, ir.Constant(_I64, BIT_MASK))
        left = builder.and_(builder.neg(shift), ir.Constant(_I64, BIT_MASK))
        return builder.or_(builder.lshr(product, right), builder.shl(product, left))  # LLVM makes it one rotate.

    return types.int64(types.int64, types.int64, types.int64, types.int64), generate


@intrinsic
def _move_entries(typing: Any, table: Any, row: Any, to: Any, source: Any, count: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        _, row, to, source, count = arguments
        start = builder.mul(row, builder.extract_value(array.shape, 1))
        target = builder.gep(array.data, [builder.add(start, to)])
        origin = builder.gep(array.data, [builder.add(start, source)])
        cgutils.raw_memmove(builder, target, origin, count, itemsize=array.itemsize)
        return context.get_dummy_value()

    return types.void(table, types.int64, types.int64, types.int64, types.int64), generate


def _are_integers(*arguments: Any) -> bool:
    return all(isinstance(argument, types.Integer) for argument in arguments)


@overload(highest_bit)
def _compiled_highest_bit(word: Any) -> Any:
    def highest(word: Any) -> Any:
        return _highest_bit(np.int64(word))

    return highest if _are_integers(word) else None


@overload(grid_offset)
def _compiled_grid_offset(value: Any, base: Any, inverse: Any, shift: Any) -> Any:
    def offset(value: Any, base: Any, inverse: Any, shift: Any) -> Any:
        return _grid_offset(np.int64(value), np.int64(base), np.int64(inverse), np.int64(shift))

    return offset if _are_integers(value, base, inverse, shift) else None


@overload(odd_inverse)
def _compiled_odd_inverse(odd: Any) -> Any:
    def invert(odd: Any) -> Any:
        inverse = np.int64(odd)  # Correct modulo 8.
        for _ in range(_NEWTON_STEPS):
            inverse *= np.int64(2) - np.int64(odd) * inverse
        return inverse

    return invert if _are_integers(odd) else None


@overload(move_entries)
def _compiled_move_entries(table: Any, row: Any, to: Any, source: Any, count: Any) -> Any:
    def move(table: Any, row: Any, to: Any, source: Any, count: Any) -> Any:
        _move_entries(table, np.int64(row), np.int64(to), np.int64(source), np.int64(count))

    return move if isinstance(table, types.Array) and _are_integers(row, to, source, count) else None
