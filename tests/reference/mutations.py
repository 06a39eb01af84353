"""Texts of the venue's messages, damaged at random as fuzz tests of their decoders need them."""

import random
from collections.abc import Sequence
from typing import Final

# What is written over a piece of a text: what JSON is made of, and what it must not hold.
PIECES: Final = (
    b"", b'"', b"\\", b"-", b".", b"e5", b"9" * 20, b" ", b"\0", b"\xff", b"null", b"[", b"]", b"{}", b"0", b"NaN", b'"s":"X",',
)  # fmt: skip


def mutated(rng: random.Random, text: bytes, others: Sequence[bytes]) -> bytes:
    """A text with 0 to 3 damages: a byte changed, a piece replaced, left out or repeated, or the end of another text behind its beginning."""
    found = bytearray(text)
    for _ in range(rng.choice([0, 1, 1, 2, 3])):
        if not found:
            break
        at = rng.randrange(len(found))
        choice = rng.randrange(5)
        if choice == 0:
            found[at] = rng.randrange(256)
        elif choice == 1:
            found[at : at + rng.randrange(1, 4)] = rng.choice(PIECES)
        elif choice == 2:
            del found[at : at + rng.randrange(1, 12)]
        elif choice == 3:
            found[at:at] = found[rng.randrange(len(found)) :][: rng.randrange(20)]
        else:
            other = rng.choice(others)
            found[at:] = other[rng.randrange(len(other)) :]
    return bytes(found)
