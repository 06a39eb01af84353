"""Shared fixtures: real data by environment variable, Hypothesis without deadlines (first calls compile)."""

import gc
import os
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

sys.path.insert(0, str(Path(__file__).parent))

settings.register_profile(
    "twinloop",
    deadline=None,
    derandomize=True,
    max_examples=int(os.environ.get("TWINLOOP_EXAMPLES", "50")),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
settings.load_profile("twinloop")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of recorded markets; tests that need it skip where it is absent."""
    folder = os.environ.get("TWINLOOP_REAL_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("TWINLOOP_REAL_DATA does not name a folder of recorded markets")
    return Path(folder)


_STATM = Path("/proc/self/statm")
_MORE_BYTES = 512 << 20
_resident = [0]  # After the last look through all objects.


def pytest_runtest_logfinish() -> None:
    """Collect cycles when the process has grown much: the collector counts objects, and a few of ours hold tens of megabytes each."""
    if not _STATM.exists():
        return
    resident = int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    if resident > _resident[0] + _MORE_BYTES:
        gc.collect()
        _resident[0] = int(_STATM.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
