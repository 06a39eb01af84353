"""What every witness does with the practice exchange besides its own calls: arm a fault, and print what it found."""

import json
import sys
import urllib.request
from typing import Any

KEY, SECRET = "practice-key", "practice-secret"


def arm(rest: str, fault: str) -> None:
    """Have the exchange meet a fault once."""
    body = json.dumps({"fault": fault}).encode()
    with urllib.request.urlopen(urllib.request.Request(f"{rest}/control", data=body), timeout=10) as answer:
        assert answer.status == 200


def tell(found: dict[str, Any]) -> None:
    """The one line that the test reads."""
    print(json.dumps(found))  # noqa: T201 - it is what the test reads
    sys.stdout.flush()
