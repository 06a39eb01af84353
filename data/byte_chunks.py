"""Bytes of a plain, gzip or zip file in bounded chunks, with a broken stream told apart from its end.

Memory stays flat however far the file expands. The module must not know what the bytes mean.
"""

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final

CHUNK_BYTES: Final = 1 << 20
_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_WINDOW: Final = 31
_ZIP_MAGIC: Final = b"PK\x03\x04"
_READ_BYTES: Final = 1 << 18


class BrokenStreamError(Exception):
    """The compressed stream is truncated or damaged; every byte before the damage was given out."""


def byte_chunks(path: Path, chunk_bytes: int = CHUNK_BYTES) -> Iterator[bytes]:
    """Contents of the file, decompressed if it starts as gzip or zip, in chunks of at most chunk_bytes.

    Members of a gzip file follow each other as one stream; zero padding after the last is ignored. A zip archive must hold
    one file. Raises BrokenStreamError after the last good byte (of a zip archive: the last good chunk), OSError as `open`
    does.
    """
    with path.open("rb") as file:
        magic = file.read(len(_ZIP_MAGIC))
        file.seek(0)
        if magic.startswith(_GZIP_MAGIC):
            yield from _gunzipped(file, chunk_bytes)
            return
        if magic == _ZIP_MAGIC:
            yield from _unzipped(file, chunk_bytes)
            return
        while chunk := file.read(chunk_bytes):
            yield chunk


def _gunzipped(file: IO[bytes], chunk_bytes: int) -> Iterator[bytes]:
    pending = b""
    member = zlib.decompressobj(wbits=_GZIP_WINDOW)
    while True:
        pending = pending or file.read(_READ_BYTES)
        if not pending:
            raise BrokenStreamError("the gzip stream breaks off")
        before = member.copy()
        try:
            chunk = member.decompress(pending, chunk_bytes)
        except zlib.error as error:
            yield from _until_damage(before, pending)
            raise BrokenStreamError(f"the gzip stream is damaged: {error}") from None
        if chunk:
            yield chunk
        pending = member.unconsumed_tail
        if member.eof:
            pending = member.unused_data.lstrip(b"\0")
            while not pending and (pending := file.read(_READ_BYTES)):
                pending = pending.lstrip(b"\0")
            if not pending:
                return
            member = zlib.decompressobj(wbits=_GZIP_WINDOW)


def _until_damage(member: "zlib._Decompress", pending: bytes) -> Iterator[bytes]:
    """Feed byte by byte what failed as a whole, so that nothing before the damage is lost; one chunk of all that gave."""
    parts = []
    for index in range(len(pending)):
        try:
            parts.append(member.decompress(pending[index : index + 1]))
        except zlib.error:
            break
    if found := b"".join(parts):
        yield found


def _unzipped(file: IO[bytes], chunk_bytes: int) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if len(members) != 1:
                raise BrokenStreamError(f"expected one file in the zip archive, got {len(members)}")
            with archive.open(members[0]) as content:
                while chunk := content.read(chunk_bytes):
                    yield chunk
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
        raise BrokenStreamError(f"the zip archive is damaged: {error}") from None
