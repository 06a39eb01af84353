"""Where the fields of a record stand: what is read together should share cache lines, and an array of rows should not straddle them."""

from typing import Any, Final

import numpy as np

LINE: Final = 64  # Bytes of a cache line.


def aligned(*fields: Any) -> np.dtype[np.void]:
    """A record of (name, type[, shape]) fields in their order, each on its natural boundary."""
    return np.dtype(list(fields), align=True)


def by_lines(*fields: Any) -> np.dtype[np.void]:
    """As `aligned`, and every array and record of a line or more begins on a line of its own; the whole is whole lines."""
    names, formats, offsets = [], [], []
    end = 0
    for name, *described in fields:
        kind = np.dtype((described[0], described[1])) if len(described) == 2 else np.dtype(described[0])
        boundary = LINE if kind.itemsize >= LINE and (kind.subdtype or kind.names) else kind.alignment
        end += -end % boundary
        names.append(name)
        formats.append(kind)
        offsets.append(end)
        end += kind.itemsize
    spec = {"names": names, "formats": formats, "offsets": offsets, "itemsize": end + -end % LINE}
    return np.dtype(spec, align=True)  # type: ignore[call-overload]


def zeros(dtype: np.dtype[np.void]) -> np.ndarray[Any, np.dtype[np.void]]:
    """An array of one zeroed record that begins on a line."""
    memory = np.zeros(dtype.itemsize + LINE, np.uint8)
    start = -memory.ctypes.data % LINE
    return memory[start : start + dtype.itemsize].view(dtype)
