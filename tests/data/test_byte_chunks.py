"""Chunks of a file: the same bytes however they are packed, and damage told apart from the end."""

import gzip
import io
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twinloop.data.byte_chunks import BrokenStreamError, byte_chunks

TEXT = b"".join(b"%d %d\n" % (i, i * i * 7919 % 104729) for i in range(4000))


def zipped(*names: str) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, TEXT)
    return packed.getvalue()


def read(path: Path, chunk_bytes: int) -> tuple[bytes, bool]:
    """What was given out, and whether the stream broke."""
    found = []
    try:
        for chunk in byte_chunks(path, chunk_bytes):
            assert 0 < len(chunk) <= chunk_bytes
            found.append(chunk)
    except BrokenStreamError:
        return b"".join(found), True
    return b"".join(found), False


@pytest.mark.parametrize("chunk_bytes", [1000, 65536, 1 << 20])
@pytest.mark.parametrize(
    "content",
    [TEXT, gzip.compress(TEXT), gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:]) + b"\0" * 9, zipped("one.csv")],
    ids=["plain", "gzip", "members", "zip"],
)
def test_packing_changes_no_byte(tmp_path: Path, content: bytes, chunk_bytes: int) -> None:
    (tmp_path / "file").write_bytes(content)
    assert read(tmp_path / "file", chunk_bytes) == (TEXT, False)


@given(data=st.data())
def test_damage_gives_a_prefix_or_is_seen(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    """A cut gzip gives a prefix and is told; a flipped bit is told, whatever it gives."""
    path = tmp_path_factory.getbasetemp() / "damaged"
    packed = bytearray(gzip.compress(TEXT))
    path.write_bytes(packed[: data.draw(st.integers(10, len(packed) - 1))])
    found, broken = read(path, 4096)
    assert broken
    assert TEXT.startswith(found)
    # The header's time, flags and system bytes carry no contents.
    packed[data.draw(st.integers(10, len(packed) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(packed)
    found, broken = read(path, 4096)
    assert broken


def test_bytes_before_damage_are_given_out(tmp_path: Path) -> None:
    packed = bytearray(gzip.compress(TEXT))
    packed[-6] ^= 1  # The checksum: all contents are before it.
    (tmp_path / "file").write_bytes(packed)
    assert read(tmp_path / "file", 1 << 20) == (TEXT, True)


def test_archives_of_several_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(zipped("one.csv", "two.csv"))
    with pytest.raises(BrokenStreamError, match="expected one file"):
        list(byte_chunks(tmp_path / "file"))
