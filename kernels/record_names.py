"""Give every record type its own name in machine code; importing this module is the whole effect.

Numba names a compiled function after its argument types, and a Record by a number counted up per process. Two processes that
each compile one function for a different dtype (two book windows, two node sizes) therefore write the same symbol to the cache,
and a third process that loads both runs one dtype's code on the other's memory: silently, since the symbols are weak. A name made
from the record's full description (fields, types, offsets, size) cannot be shared by two dtypes. Tried with Numba 0.68; the test
is tests/kernels/test_record_names.py. It must be imported before anything is compiled, and must do nothing else.
"""

import hashlib
from typing import Any

from numba import types


def _mangling_args(record: Any) -> tuple[str, tuple[int]]:
    """What Numba puts into symbols for a Record: 63 bits of a digest of its description."""
    digest = hashlib.blake2b(record.name.encode(), digest_size=8).digest()
    return type(record).__name__, (int.from_bytes(digest, "little") >> 1,)


def _name(record: Any) -> str:
    """What the compiler asks for thousands of times and Numba builds anew each time, field by field: a tenth of compile time."""
    return str(record.name)


setattr(types.Record, "__repr__", _name)  # noqa: B010
setattr(types.Record, "mangling_args", property(_mangling_args))  # noqa: B010 - an assignment would not type-check
