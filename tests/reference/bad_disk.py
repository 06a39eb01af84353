"""A disk whose sync fails once, for a process as it is: bad_disk.c between it and the system."""

import os
import subprocess
from pathlib import Path


class BadDisk:
    """env: of the process that has it. fail: the next sync of a journal's segment does. calls: (what, file) from that one on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        library = folder / "bad_disk.so"
        source = Path(__file__).with_name("bad_disk.c")
        compiler = os.environ.get("CC", "cc")
        subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
        self.env = {"LD_PRELOAD": str(library), "BAD_DISK": str(folder)}

    def fail(self) -> None:
        (self._folder / "fail").touch()

    def calls(self) -> list[tuple[str, str]]:
        lines = (self._folder / "calls").read_text().splitlines()
        return [(line.partition(" ")[0], line.partition(" ")[2]) for line in lines]
