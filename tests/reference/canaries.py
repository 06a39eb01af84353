"""Keys that are looked for wherever they must not be."""

from pathlib import Path

CANARY_KEY = "CANARYKEYxq81Zp0vTmWc3RbYk7LdHs5GfJn2QaEuXo9MiBt6VwCyDzKrPeSl4NhUjAg"
CANARY_SECRET = "CANARYSECRETbN5sKq2Wv8TzXc1RmYp7LdHg4FjJo3QaEuGi9MnBt6VwCyDzKrPeSlHU"
PIECE = 10  # So many letters of a secret are a leak.


def leaks(text: str, *more: str) -> list[str]:
    """Pieces of the canaries or of other secrets, or a signature, in a text."""
    words = (CANARY_KEY, CANARY_SECRET, *more)
    pieces = {word[at : at + PIECE] for word in words for at in range(len(word) - PIECE + 1)}
    return [piece for piece in (*pieces, "signature=") if piece in text]


def everything_under(folder: Path) -> str:
    return "\n".join(path.read_bytes().decode("latin-1") for path in folder.rglob("*") if path.is_file())
