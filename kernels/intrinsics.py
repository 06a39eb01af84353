"""What Numba has no word for: records at addresses, calls by address, 64-byte copies, wrapping hashes.

Each intrinsic has a Python twin that runs when the JIT is off, so that the same kernel source gives the same result. Addresses stay
inside the process: they are never hashed, journalled or written to a file.
"""

import ctypes
from collections.abc import Callable
from typing import Any, Final

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

WORD: Final = np.dtype("<i8")
_I64: Final = ir.IntType(64)
_MULTIPLIER: Final = 0x9E3779B97F4A7C15  # 2**64 / golden ratio, Knuth's multiplicative hash constant.
_MASK: Final = 2**64 - 1
_SIGN: Final = 2**63
# Salt and odd multiplier of each word of a row: multiples of the constant above, none of them equal.
_ROW_SALTS: Final = tuple(
    ((2 * place + 1) * _MULTIPLIER & _MASK, (2 * place + 17) * _MULTIPLIER & _MASK | 1) for place in range(8)
)
HASH_PAGE: Final = 512  # Words.
ROW_BYTES: Final = 64

# With the JIT off a "code address" is a key of this table.
_functions: dict[int, Callable[[int], Any]] = {}


def register(function: Callable[[int], Any]) -> int:
    """Return the number that `call_at` accepts for a Python function of one address, with the JIT off."""
    key = len(_functions) + 1
    _functions[key] = function
    return key


if config.DISABLE_JIT:
    _views: dict[tuple[int, int], np.void] = {}

    def record_at(address: int, dtype: np.dtype[np.void]) -> Any:
        """Twin: a writable view of the record at an address; kept, because making one costs microseconds."""
        key = (int(address), id(dtype))
        if key in _views:
            return _views[key]
        memory = (ctypes.c_char * dtype.itemsize).from_address(int(address))
        view = np.frombuffer(memory, dtype=dtype)[0]  # type: ignore[call-overload]
        if dtype.itemsize > ROW_BYTES:  # Of rows there are too many.
            _views[key] = view
        return view

    def book_at(venue: Any, address: int) -> Any:
        """Twin: the book at an address."""
        return record_at(address, venue.dtype["books"].base)

    def forget_records() -> None:
        """Drop kept views: their memory is about to be freed."""
        _views.clear()

    def call_at(function: int, address: int) -> None:
        """Twin: call the registered Python function."""
        _functions[int(function)](int(address))

    def prefetch(address: int) -> None:
        """Twin: nothing to fetch."""

    def copy_row(to: Any, row: Any) -> None:
        """Twin: copy 64 bytes word by word."""
        for offset in range(0, 64, 8):
            to.setfield(row.getfield(WORD, offset), WORD, offset)

    def out_of_line() -> None:
        """Twin: nothing to mark."""

    def word_at(record: Any, index: int) -> int:
        """Twin: the 8 bytes at 8 * index as an int64."""
        return int(record.getfield(WORD, 8 * int(index)))

    def mix(state: int, word: int) -> int:
        """Twin: one step of the rolling hash, on wrapping 64-bit integers."""
        value = ((int(state) ^ int(word)) * _MULTIPLIER) & _MASK
        value ^= value >> 32
        return value - 2**64 if value & _SIGN else value

    def mix_row(state: int, row: Any) -> int:
        """Twin: mix a row of 8 words into the rolling hash, each scrambled by constants of its place."""
        total = 0
        for place, (salt, multiplier) in enumerate(_ROW_SALTS):
            value = ((word_at(row, place) ^ salt) * multiplier) & _MASK
            total += value ^ value >> 32
        total &= _MASK
        return mix(state, total - 2**64 if total & _SIGN else total)

    def hash_memory(address: int, words: int, state: int) -> int:
        """Twin: mix every 8-byte word of a stretch of memory; of a page of zeros nothing."""
        memory = np.frombuffer((ctypes.c_int64 * int(words)).from_address(int(address)), WORD)  # type: ignore[call-overload]
        for start in range(0, int(words), HASH_PAGE):
            page = memory[start : start + HASH_PAGE]
            if page.any():
                state = mix(state, start)
                for word in page:
                    state = mix(state, int(word))
        return state

else:

    def forget_records() -> None:
        """Nothing is kept when compiled."""

    @intrinsic
    def record_at(typingctx: Any, address: Any, dtype: Any) -> Any:
        """Return the record of dtype at an address. Nothing checks the address."""
        record = dtype.dtype

        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[0], context.get_value_type(record))

        return record(types.int64, dtype), codegen

    @intrinsic
    def book_at(typingctx: Any, venue: Any, address: Any) -> Any:
        """Return the book at an address, a record like those that the venue holds. Nothing checks the address."""
        record = venue.typeof("books").dtype

        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return builder.inttoptr(args[1], context.get_value_type(record))

        return record(venue, types.int64), codegen

    @intrinsic
    def call_at(typingctx: Any, function: Any, address: Any) -> Any:
        """Call the C function void(int64) at an address."""

        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            kind = ir.FunctionType(ir.VoidType(), [_I64])
            builder.call(builder.inttoptr(args[0], kind.as_pointer()), [args[1]])
            return context.get_dummy_value()

        return types.void(types.int64, types.int64), codegen

    @intrinsic
    def prefetch(typingctx: Any, address: Any) -> Any:
        """Ask the processor for the cache line at an address, which need not exist."""

        def codegen(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
            small = ir.IntType(32)
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, small, small, small])
            fetch = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
            builder.call(fetch, [pointer, small(0), small(3), small(1)])
            return context.get_dummy_value()

        return types.void(types.int64), codegen

    @intrinsic
    def copy_row(typingctx: Any, to: Any, row: Any) -> Any:
        """Copy 64 bytes from row to to (whole-record assignment in Numba goes field by field)."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            vector = ir.VectorType(_I64, 4).as_pointer()
            target, source = builder.bitcast(args[0], vector), builder.bitcast(args[1], vector)
            halves = [builder.load(builder.gep(source, [ir.Constant(_I64, i)]), align=8) for i in (0, 1)]
            for i, half in enumerate(halves):
                builder.store(half, builder.gep(target, [ir.Constant(_I64, i)]), align=8)
            return context.get_dummy_value()

        return types.void(to, row), codegen

    @intrinsic
    def out_of_line(typingctx: Any) -> Any:
        """First statement of a long or seldom function: keeps LLVM from copying it into every caller.

        Without it the loop's kernels grow tenfold by inlining and take minutes to compile; the call costs about two nanoseconds.
        """

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            builder.function.attributes.discard("alwaysinline")  # Numba hands a forceinline caller's flag down.
            builder.function.attributes.add("noinline")
            return context.get_dummy_value()

        return types.void(), codegen

    @intrinsic
    def word_at(typingctx: Any, record: Any, index: Any) -> Any:
        """Return the 8 bytes at 8 * index of a record as an int64."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            pointer = builder.bitcast(args[0], _I64.as_pointer())
            return builder.load(builder.gep(pointer, [args[1]]), align=8)

        return types.int64(record, types.int64), codegen

    @intrinsic
    def mix(typingctx: Any, state: Any, word: Any) -> Any:
        """One step of the rolling hash: xor, multiply, fold the high half down; wraps modulo 2**64."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            value = builder.mul(builder.xor(args[0], args[1]), ir.Constant(_I64, _MULTIPLIER))
            return builder.xor(value, builder.lshr(value, ir.Constant(_I64, 32)))

        return types.int64(types.int64, types.int64), codegen

    @intrinsic
    def _load(typingctx: Any, address: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return builder.load(builder.inttoptr(args[0], _I64.as_pointer()), align=8)

        return types.int64(types.int64), codegen

    @intrinsic
    def mix_row(typingctx: Any, state: Any, row: Any) -> Any:
        """Mix a row of 8 words into the rolling hash: the words side by side, since one after the other each waits for the last."""

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            words = builder.bitcast(args[1], _I64.as_pointer())
            total = ir.Constant(_I64, 0)
            for place, (salt, multiplier) in enumerate(_ROW_SALTS):
                word = builder.load(builder.gep(words, [ir.Constant(_I64, place)]), align=8)
                value = builder.mul(builder.xor(word, ir.Constant(_I64, salt)), ir.Constant(_I64, multiplier))
                total = builder.add(total, builder.xor(value, builder.lshr(value, ir.Constant(_I64, 32))))
            value = builder.mul(builder.xor(args[0], total), ir.Constant(_I64, _MULTIPLIER))
            return builder.xor(value, builder.lshr(value, ir.Constant(_I64, 32)))

        return types.int64(types.int64, row), codegen

    from twinloop.kernels.jit import njit

    @njit(cache=True)
    def hash_memory(address: int, words: int, state: int) -> int:
        """Mix every 8-byte word of a stretch of memory into state; of a page of zeros nothing, so that unused room costs little."""
        for start in range(0, words, HASH_PAGE):
            end = min(start + HASH_PAGE, words)
            used = 0
            for i in range(start, end):
                used |= _load(address + 8 * i)
            if used != 0:
                state = mix(state, start)
                for i in range(start, end):
                    state = mix(state, _load(address + 8 * i))
        return state
