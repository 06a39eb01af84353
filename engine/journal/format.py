"""The bytes of a journal segment: a header in whole 64-byte blocks, then rows and nothing else.

    header   8 magic bytes, u4 format version, u4 blocks of 64 bytes, u4 length of the JSON, u4 CRC32C of all blocks with this field 0, JSON,
             zeros to the end of the last block
    rows     commits: rows of kernels/rows.py, the last of each a SEAL
    zeros    room not used yet

A SEAL holds how many rows its commit has before it, both clocks, and a checksum: CRC32C over those rows and the seal itself (its checksum
taken as 0), continued from the checksum of the seal before, across segments too. So a commit is whole or it is not there, and none can be
left out, changed or put elsewhere without being seen.
"""

import struct
from typing import Any, Final

import msgspec
from crc32c import crc32c

from twinloop.data.errors import CorruptError, DataError
from twinloop.kernels.rows import ROW, ROW_SIZE, SEAL

MAGIC: Final = b"TWINLOOP"
VERSION: Final = 1
_FIXED: Final = struct.Struct("<8sIIII")
# venue_ns, local_ns, sequence, kind, seven bytes of the row's header, rows, checksum, monotonic_ns, wall_ns
_SEAL: Final = struct.Struct("<qqqB7xqqqq")
assert _SEAL.size == ROW_SIZE
CHECKSUM_AT: Final = int(ROW.fields["checksum"][1])  # type: ignore[index]
SEGMENT_NAME: Final = "segment-{:06d}.journal"


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What a segment says of itself.

    epoch: of the process that wrote it. first_sequence: of the first fact in it. first_commit, checksum: number of its first commit and
    the checksum that one continues. session: see engine/live/session.py. code, config: digests of the kernels and of the session.
    """

    epoch: int
    segment: int
    first_sequence: int
    first_commit: int
    checksum: int
    code: str
    config: str
    session: dict[str, Any] = {}
    created_ns: int = 0


def header_bytes(header: Header) -> bytes:
    """A header as it stands in a file."""
    text = msgspec.json.encode(header)
    blocks = -(-(_FIXED.size + len(text)) // ROW_SIZE)
    body = bytearray(blocks * ROW_SIZE)
    _FIXED.pack_into(body, 0, MAGIC, VERSION, blocks, len(text), 0)
    body[_FIXED.size : _FIXED.size + len(text)] = text
    struct.pack_into("<I", body, _FIXED.size - 4, crc32c(bytes(body)))
    return bytes(body)


def read_header(data: Any, file: Any) -> tuple[Header, int]:
    """The header at the start of a file's bytes, and how many bytes it takes. Raises DataError, CorruptError."""
    if len(data) < _FIXED.size:
        raise CorruptError(
            "a journal segment without a header", file=file, expected=f"{_FIXED.size} bytes", got=len(data)
        )
    magic, version, blocks, length, checksum = _FIXED.unpack_from(data, 0)
    if magic != MAGIC:
        raise DataError("not a journal segment", file=file, expected=repr(MAGIC), got=repr(bytes(magic)))
    if version != VERSION:
        raise DataError(
            "a journal of another format", file=file, expected=f"version {VERSION}", got=version,
            remedy="read it with the version of twinloop that wrote it",
        )  # fmt: skip
    size = blocks * ROW_SIZE
    if size > len(data) or _FIXED.size + length > size:
        raise CorruptError(
            "a journal segment whose header breaks off", file=file, expected=f"{size} bytes", got=len(data)
        )
    body = bytearray(data[:size])
    struct.pack_into("<I", body, _FIXED.size - 4, 0)
    if crc32c(bytes(body)) != checksum:
        raise CorruptError(
            "a journal segment whose header is damaged", file=file, expected="its checksum", got="another"
        )
    try:
        return msgspec.json.decode(body[_FIXED.size : _FIXED.size + length], type=Header), size
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise CorruptError("a journal segment whose header cannot be read", file=file, got=str(error)) from None


def pack_seal(into: Any, at: int, commit: int, rows: int, monotonic_ns: int, wall_ns: int, local_ns: int) -> None:
    """Write a SEAL row with checksum 0 at a byte offset."""
    _SEAL.pack_into(into, at, 0, local_ns, commit, SEAL, rows, 0, monotonic_ns, wall_ns)


def commit_checksum(data: Any, previous: int) -> int:
    """Checksum of a commit: its rows and its seal with checksum 0, as one buffer, continued from the one before."""
    return int(crc32c(data, previous))
