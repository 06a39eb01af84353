"""Words shared between processes: whole or not at all, never another layout's."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from twinloop.data.errors import DataError
from twinloop.engine.live.shared import LOOKS_MAX, SharedReader, SharedWords

WORDS = ("one", "two", "three")
# Publishes words that always add up, as fast as it can, until it is killed.
WRITER = """
import sys
from pathlib import Path
from twinloop.engine.live.shared import SharedWords

block = SharedWords(Path(sys.argv[1]), ("one", "two", "three"))
number = 0
print("writes", flush=True)
while True:
    number += 1
    block.publish({"one": number, "two": -2 * number, "three": number})
"""


def test_a_reader_in_another_process_never_sees_half_a_publication(tmp_path: Path) -> None:
    path = tmp_path / "words"
    reader = SharedReader(path, WORDS)
    assert reader.read() is None
    for _ in range(2):  # The second writer takes the file of the first, which was killed.
        with subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE) as writer:
            assert writer.stdout is not None
            assert writer.stdout.readline() == b"writes\n"
            last, different, whole = -1, 0, 0
            while different < 200:
                found = reader.read()
                if found is None:  # The writer was stopped in the middle of a publication for longer than we looked.
                    continue
                whole += 1
                assert found["one"] + found["two"] + found["three"] == 0
                assert found["one"] >= last
                different += found["one"] != last
                last = found["one"]
            writer.kill()
        assert whole >= different >= 200
    reader.close()


def test_a_writer_that_died_in_the_middle_leaves_nothing_to_read(tmp_path: Path) -> None:
    path = tmp_path / "words"
    block = SharedWords(path, WORDS)
    block.publish({"one": 1, "three": 3})
    reader = SharedReader(path, WORDS)
    assert reader.read() == {"one": 1, "two": 0, "three": 3}
    content = bytearray(path.read_bytes())
    content[48:56] = (int.from_bytes(content[48:56], "little") + 1).to_bytes(8, "little")  # Begun, not done.
    path.write_bytes(content)
    assert LOOKS_MAX > 1
    assert reader.read() is None
    SharedWords(path, WORDS).publish({"two": 2})
    assert reader.read() == {"one": 0, "two": 2, "three": 0}
    block.close()
    reader.close()


def test_another_layout_is_refused(tmp_path: Path) -> None:
    SharedWords(tmp_path / "words", ("one", "two", "four")).close()
    with pytest.raises(DataError, match="another version"):
        SharedReader(tmp_path / "words", WORDS).read()
    (tmp_path / "words").write_bytes(b"short")
    assert SharedReader(tmp_path / "words", WORDS).read() is None


def test_a_word_is_seen_by_who_maps_the_same_file(tmp_path: Path) -> None:
    mine = SharedWords(tmp_path / "words", WORDS)
    other = SharedWords(tmp_path / "words", WORDS)
    assert mine.peek(0) == 0
    other.publish({"one": 77})
    assert mine.peek(0) == 77
    mine.close()
    other.close()


# Writes a block where the disk has no room for one more page; in a mount of its own, so that nobody else has that disk.
FULL = """
set -e
mount -t tmpfs -o size=16k none "$1"
head -c 16384 /dev/zero > "$1/all"
exec "$2" -c '
import sys
from pathlib import Path
from twinloop.engine.live.shared import SharedWords
try:
    SharedWords(Path(sys.argv[1]) / "words", ("one",))
except OSError as error:
    print(error.strerror, error.filename)
' "$1"
"""


def test_a_full_disk_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    """A page of a mapping that the disk has no room for ends whoever writes to it by a signal."""
    unshare = [shutil.which("unshare") or "", "--user", "--map-root-user", "--mount"]
    if not unshare[0] or subprocess.run([*unshare, "true"], capture_output=True, check=False).returncode:
        pytest.skip("no mounts of one's own here")
    found = subprocess.run(
        [*unshare, "sh", "-c", FULL, "sh", str(tmp_path), sys.executable], capture_output=True, text=True, check=False
    )
    assert (found.returncode, found.stdout) == (0, f"No space left on device {tmp_path / 'words'}\n"), found.stderr


def test_a_block_of_another_layout_never_takes_a_page_away_that_a_reader_has_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "words"
    SharedWords(path, WORDS).close()
    sizes: list[int] = []
    cut = os.ftruncate

    def noted(handle: int, size: int) -> None:
        sizes.append(size)
        cut(handle, size)

    monkeypatch.setattr(os, "ftruncate", noted)
    SharedWords(path, ("one",)).close()
    assert sizes == [path.stat().st_size]
    assert sizes[0] > 0
    reader = SharedReader(path, ("one",))
    assert reader.read() == {"one": 0}
    reader.close()
