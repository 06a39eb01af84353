"""How long a request travels to the venue and an answer back: constant, drawn with a seed, or interpolated from measured rows.

Draws are counter-based: a function of (seed, order id, leg), independent of how many other orders there are and of workers.
"""

import math
from typing import Any, Final

import numpy as np

from twinloop.kernels.intrinsics import mix
from twinloop.kernels.jit import njit

CONSTANT: Final = 0
SEEDED: Final = 1  # entry_ns or response_ns plus an exponential with mean jitter_ns.
MEASURED: Final = 2  # Interpolated over time between measured (time, entry, response) rows.
MEASURED_ROWS: Final = 1024

LATENCY: Final = np.dtype(
    [
        ("kind", "<i8"),
        ("entry_ns", "<i8"),
        ("response_ns", "<i8"),
        ("jitter_ns", "<i8"),
        ("seed", "<i8"),
        ("measured_count", "<i8"),
        ("measured_ns", "<i8", (MEASURED_ROWS,)),
        ("measured_entry_ns", "<i8", (MEASURED_ROWS,)),
        ("measured_response_ns", "<i8", (MEASURED_ROWS,)),
    ],
    align=True,
)


@njit(cache=True)
def _uniform(seed: int, order_id: int, leg: int) -> float:
    """A number in (0, 1], the same for the same three integers."""
    word = mix(mix(mix(seed, order_id), leg), 0x1234567)
    return (float((word >> 11) & ((1 << 53) - 1)) + 1.0) / 9007199254740992.0


@njit(cache=True)
def _interpolate(times: Any, values: Any, count: int, now_ns: int) -> int:
    """Linear between neighbours, the end values outside; nanoseconds are far below 2**53, so float64 products round once."""
    if count == 0:
        return 0
    if now_ns <= times[0]:
        return int(values[0])
    if now_ns >= times[count - 1]:
        return int(values[count - 1])
    low = 0
    high = count - 1
    while high - low > 1:
        middle = (low + high) // 2
        if times[middle] <= now_ns:
            low = middle
        else:
            high = middle
    part = float(now_ns - times[low]) / float(times[high] - times[low])
    return int(values[low]) + int(part * float(values[high] - values[low]))


@njit(cache=True)
def _delay(latency: Any, base_ns: int, order_id: int, leg: int) -> int:
    if latency["kind"] == SEEDED and latency["jitter_ns"] > 0:
        return base_ns - int(math.log(_uniform(latency["seed"], order_id, leg)) * float(latency["jitter_ns"]))
    return base_ns


@njit(cache=True)
def entry_delay(latency: Any, now_ns: int, order_id: int, leg: int) -> int:
    """Nanoseconds from the decision at now_ns to the venue."""
    if latency["kind"] == MEASURED:
        return _interpolate(latency["measured_ns"], latency["measured_entry_ns"], latency["measured_count"], now_ns)
    return _delay(latency, latency["entry_ns"], order_id, 2 * leg)


@njit(cache=True)
def response_delay(latency: Any, venue_ns: int, order_id: int, leg: int) -> int:
    """Nanoseconds from the venue's event to the node."""
    if latency["kind"] == MEASURED:
        return _interpolate(
            latency["measured_ns"], latency["measured_response_ns"], latency["measured_count"], venue_ns
        )
    return _delay(latency, latency["response_ns"], order_id, 2 * leg + 1)
