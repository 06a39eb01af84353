import numpy as np

from twinloop.kernels.merge import sum_fields
from twinloop.kernels.rows import HEADER, ROW


def test_sum_of_fields_counts_every_field_once() -> None:
    generator = np.random.Generator(np.random.PCG64(7))
    rows = generator.integers(0, 256, (50, 64), dtype=np.uint8).view(ROW).reshape(-1)
    names = [name for name, _, _ in HEADER] + ["price", "qty", "order_id", "code"]
    expected = sum(int(value) for name in names for value in rows[name])
    with np.errstate(over="ignore"):
        got = sum_fields(rows.view(np.int64).reshape(-1, 8))
    assert (got - expected) % 2**64 == 0
