import os
import subprocess
import sys
from pathlib import Path

KERNEL = """
import sys
import numpy as np
from numba import njit
if sys.argv[1] == "named":
    import twinloop.kernels.record_names
from twinloop.kernels.intrinsics import out_of_line

@njit(cache=True, error_model="numpy")
def last(record):
    out_of_line()
    return record["values"][record["values"].shape[0] - 1]

@njit(cache=True)
def ask(records):
    return last(records[0])

for size in sys.argv[2:]:
    records = np.zeros(1, np.dtype([("values", "i8", (int(size),))]))
    records[0]["values"][-1] = int(size)
    assert ask(records) == int(size), f"{size}: {ask(records)}"
"""


def test_cached_code_for_two_record_types_is_not_mixed_up(tmp_path: Path) -> None:
    script = tmp_path / "kernel.py"
    script.write_text(KERNEL)
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "cache")}
    for sizes in (["3"], ["5"], ["3", "5"], ["5", "3"]):
        done = subprocess.run(
            [sys.executable, script, "named", *sizes], env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
