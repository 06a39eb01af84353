"""The bytes of a journal segment: a header in whole 64-byte blocks, then rows and nothing else.

    header   8 magic bytes, u4 format version, u4 blocks of 64 bytes, u4 length of the JSON, u4 CRC32C of all blocks with this field 0, JSON,
             zeros to the end of the last block
    rows     commits: rows of kernels/rows.py, the last of each a SEAL
    zeros    room not used yet

A SEAL holds the number of its commit (in `sequence`), how many rows stand before it in the commit, both clocks, and a checksum: CRC32C over
those rows and the seal itself (its checksum taken as 0), continued from the checksum of the seal before, across segments too. So a commit
is whole or it is not there, and none can be left out, changed or put elsewhere without being seen. The compiled halves are
data/journal_write.pyx and data/journal_scan.pyx. This module must not open files.
"""

import struct
from typing import Annotated, Any, Final

import msgspec

from twinloop.data.errors import ConfigError, CorruptError, DataError
from twinloop.data.instruments import Instrument
from twinloop.data.journal_scan import crc32c
from twinloop.kernels.rows import ROW_SIZE

MAGIC: Final = b"TWINLOOP"
VERSION: Final = 1
HEADER_MAX: Final = 1 << 20  # A header that claims more is not one: nothing is allocated for it.
SEGMENT_NAME: Final = "segment-{:06d}.journal"
SEGMENT_PATTERN: Final = "segment-*.journal"
_FIXED: Final = struct.Struct("<8sIIII")
Count = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
Checksum = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment says of itself.

    epoch: of the process that wrote it, strictly rising. segment: counted from 1. first_sequence: of the first fact in it. first_commit,
    checksum: number of its first commit and the checksum that one continues. code, config: digests of the kernels and of the session.
    instruments: by slot, the rows' instrument number. session: what the session wrote of itself (engine/live/session.py).
    """

    epoch: Count
    segment: Count
    first_sequence: Count
    first_commit: Count
    checksum: Checksum
    code: str
    config: str
    session: dict[str, Any] = {}
    instruments: tuple[Instrument, ...] = ()
    created_ns: int = 0


def header_bytes(header: Header) -> bytes:
    """A header as it stands in a file."""
    text = msgspec.json.encode(header)
    blocks = -(-(_FIXED.size + len(text)) // ROW_SIZE)
    body = bytearray(blocks * ROW_SIZE)
    if len(body) > HEADER_MAX:
        raise DataError("a journal's header is too large", expected=f"at most {HEADER_MAX} bytes", got=len(body))
    _FIXED.pack_into(body, 0, MAGIC, VERSION, blocks, len(text), 0)
    body[_FIXED.size : _FIXED.size + len(text)] = text
    struct.pack_into("<I", body, _FIXED.size - 4, crc32c(body))
    return bytes(body)


def claimed_size(start: bytes) -> int:
    """Bytes that the header claims which starts so, at most HEADER_MAX: how much to read for read_header."""
    blocks = int.from_bytes(start[12:16], "little")
    return max(min(blocks * ROW_SIZE, HEADER_MAX), ROW_SIZE)


def read_header(data: Any, file: Any) -> tuple[Header, int]:
    """The header at the start of a file's bytes, and how many bytes it takes. Raises DataError, CorruptError.

    data: bytes or anything sliced to bytes-like; no more than HEADER_MAX of it is looked at.
    """
    if len(data) < _FIXED.size:
        raise CorruptError(
            "a journal segment without a header", file=file, expected=f"{_FIXED.size} bytes", got=len(data)
        )
    magic, version, blocks, length, checksum = _FIXED.unpack(data[: _FIXED.size])
    if magic != MAGIC:
        raise DataError("not a journal segment", file=file, expected=repr(MAGIC), got=repr(magic))
    if version != VERSION:
        raise DataError(
            "a journal of another format", file=file, expected=f"version {VERSION}", got=version,
            remedy="read it with the version of twinloop that wrote it",
        )  # fmt: skip
    size = blocks * ROW_SIZE
    if size > min(len(data), HEADER_MAX) or _FIXED.size + length > size:
        raise CorruptError(
            "a journal segment whose header breaks off", file=file, expected=f"{size} bytes", got=len(data)
        )
    body = bytearray(data[:size])
    struct.pack_into("<I", body, _FIXED.size - 4, 0)
    found = crc32c(body)
    if found != checksum:
        raise CorruptError(
            "a journal segment whose header is damaged", file=file, expected=f"checksum {checksum:08x}", got=f"{found:08x}",
        )  # fmt: skip
    try:
        return msgspec.json.decode(body[_FIXED.size : _FIXED.size + length], type=Header), size
    except (msgspec.DecodeError, UnicodeDecodeError, ConfigError) as error:
        raise CorruptError("a journal segment whose header cannot be read", file=file, got=str(error)) from None
