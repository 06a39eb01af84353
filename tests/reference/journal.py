"""A journal's segment read from its description, slowly: the oracle of data/journal_scan.pyx. Shares no helper with it."""

import json
import struct
from dataclasses import dataclass
from typing import Any

SEAL = 96


def crc32c(content: bytes, before: int = 0) -> int:
    """CRC32C bit by bit: reflected polynomial 0x82F63B78, inverted at both ends."""
    state = before ^ 0xFFFFFFFF
    for byte in content:
        state ^= byte
        for _ in range(8):
            state = state >> 1 ^ (0x82F63B78 if state & 1 else 0)
    return state ^ 0xFFFFFFFF


@dataclass
class Read:
    """header: its JSON. commits: the row bytes of each, seals left out. end: byte behind the last."""

    header: dict[str, Any]
    commits: list[bytes]
    end: int
    checksum: int


def read(content: bytes) -> Read | None:
    """The whole commits from the start of a segment; None where its header does not stand."""
    if len(content) < 24 or content[:8] != b"TWINLOOP":
        return None
    version, blocks, length, checksum = struct.unpack("<IIII", content[8:24])
    if version != 1 or blocks * 64 > len(content) or 24 + length > blocks * 64:
        return None
    if crc32c(content[:20] + bytes(4) + content[24 : blocks * 64]) != checksum:
        return None
    header = json.loads(content[24 : 24 + length])
    at, number, before = blocks * 64, header["first_commit"], header["checksum"]
    found: list[bytes] = []
    while True:
        rows = []
        place = at
        while len(row := content[place : place + 64]) == 64 and row[24] not in {0, SEAL}:
            rows.append(row)
            place += 64
        if len(row) < 64 or row[24] != SEAL:
            break
        count, stored = struct.unpack("<qq", row[32:48])
        body = b"".join(rows)
        if count != len(rows) or stored != crc32c(body + row[:40] + bytes(8) + row[48:], before):
            break
        assert struct.unpack("<q", row[16:24])[0] == number
        found.append(body)
        number += 1
        before, at = stored, place + 64
    return Read(header, found, at, before)
