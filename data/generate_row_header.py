"""Writes `data/row.pxd`: the 64-byte row as a C struct, from the table in `kernels/rows.py`.

Cython decoders fill rows through that struct, so it must hold the same bytes as the NumPy dtype. The generated file is
committed; a test compares it with what this script gives, the C compiler checks each offset, and every decoder checks
them once more when it is imported. Run `python -m twinloop.data.generate_row_header` after a change to the table.
"""

from pathlib import Path
from typing import Final

from twinloop.kernels import rows

PATH: Final = Path(__file__).with_name("row.pxd")
_C_TYPE: Final = {"<i8": "int64_t", "<i4": "int32_t", "<u2": "uint16_t", "u1": "uint8_t", "i1": "int8_t"}
_PAYLOAD_OFFSET: Final = 32
_WORD: Final = 8


def _constants() -> dict[str, int]:
    flags = {name: value for name, value in vars(rows).items() if name.startswith("FLAG_")}
    return {**{f"KIND_{kind.name}": kind.code for kind in rows.KINDS}, **flags}


def _payload_names() -> dict[int, list[str]]:
    """Payload field names by offset, in the order in which the table names them."""
    found: dict[int, list[str]] = {offset: [] for offset in range(_PAYLOAD_OFFSET, rows.ROW_SIZE, _WORD)}
    for kind in rows.KINDS:
        for name, offset in (*kind.payload, *kind.tail):
            if name not in found[offset]:
                found[offset].append(name)
    return found


def render() -> str:
    """Text of row.pxd."""
    payload = _payload_names()
    fields = [(name, _C_TYPE[fmt], offset) for name, fmt, offset in rows.HEADER]
    fields += [(name, "int64_t", offset) for offset, names in payload.items() for name in names]
    struct = [f"        {_C_TYPE[fmt]} {name};" for name, fmt, _ in rows.HEADER]
    struct += [
        f"        union {{ {' '.join(f'int64_t {name};' for name in names)} }};" for names in payload.values() if names
    ]
    asserts = [
        f'    _Static_assert(offsetof(TwinloopRow, {name}) == {offset}, "{name}");' for name, _, offset in fields
    ]
    table = [f'        {{"{name}", offsetof(TwinloopRow, {name}), sizeof({kind})}},' for name, kind, _ in fields]
    lines = [
        "# Written by data/generate_row_header.py from kernels/rows.py; do not edit.",
        "from libc.stdint cimport int8_t, int64_t, uint8_t, uint16_t",
        "",
        "cdef extern from *:",
        '    """',
        "    #include <stddef.h>",
        "    #include <stdint.h>",
        "    #ifdef _MSC_VER",
        "    #define _Static_assert static_assert",
        "    #endif",
        "    typedef struct {",
        *struct,
        "    } TwinloopRow;",
        f'    _Static_assert(sizeof(TwinloopRow) == {rows.ROW_SIZE}, "row size");',
        *asserts,
        "    typedef struct { const char *name; int offset; int size; } TwinloopRowField;",
        "    static const TwinloopRowField TWINLOOP_ROW_FIELDS[] = {",
        *table,
        "    };",
        '    """',
        "    ctypedef struct Row 'TwinloopRow':",
        *[f"        {kind} {name}" for name, kind, _ in fields],
        "    ctypedef struct RowField 'TwinloopRowField':",
        "        const char *name",
        "        int offset",
        "        int size",
        "    const RowField *ROW_FIELDS 'TWINLOOP_ROW_FIELDS'",
        "",
        "cdef enum:",
        f"    ROW_FIELD_COUNT = {len(fields)}",
        f"    ROW_SIZE = {rows.ROW_SIZE}",
        *[f"    {name} = {value}" for name, value in _constants().items()],
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the file beside this one."""
    PATH.write_text(render(), encoding="utf-8")


if __name__ == "__main__":
    main()
