"""The merge and the venue order from their definitions: lists of facts, Python's stable sort."""

import numpy as np

CONTINUES, TAIL = 1, 2
BAR = 12


def facts(rows: np.ndarray) -> list[list[np.ndarray]]:
    grouped: list[list[np.ndarray]] = []
    for i in range(rows.size):
        if rows["flags"][i] & TAIL:
            grouped[-1].append(rows[i : i + 1])
        else:
            grouped.append([rows[i : i + 1]])
    return grouped


def joined(grouped: list[list[np.ndarray]], dtype: np.dtype) -> np.ndarray:
    return np.frombuffer(b"".join(row.tobytes() for fact in grouped for row in fact), dtype)


def merged(sources: list[np.ndarray]) -> np.ndarray:
    everything = [fact for rows in sources for fact in facts(rows)]  # source order, then row order
    everything.sort(key=lambda fact: int(fact[0]["local_ns"][0]))
    return joined(everything, sources[0].dtype)


def venue_ordered(rows: np.ndarray) -> np.ndarray:
    everything = facts(rows)
    everything.sort(key=effective_ns)
    return joined(everything, rows.dtype)


def effective_ns(fact: list[np.ndarray]) -> int:
    """When a fact takes effect at the venue: a bar from its start."""
    at = int(fact[0]["venue_ns"][0]) or int(fact[0]["local_ns"][0])
    return at - int(fact[1]["interval_ns"][0]) if fact[0]["kind"][0] == BAR and len(fact) == 2 else at
