"""Performance statistics from their definitions, one plain loop each; shares nothing with the package."""

from itertools import combinations
from math import erf, log, sqrt
from typing import Any


def normal_cdf(z: Any) -> Any:
    return (1 + erf(z / sqrt(2))) / 2


def mean(values: Any) -> Any:
    return sum(values) / len(values)


def sample_sd(values: Any) -> Any:
    centre = mean(values)
    return sqrt(sum((v - centre) ** 2 for v in values) / (len(values) - 1))


def standardised_moment(values: Any, power: Any) -> Any:
    centre = mean(values)
    sd = sqrt(mean([(v - centre) ** 2 for v in values]))
    return mean([((v - centre) / sd) ** power for v in values])


def downside(values: Any, minimum: Any = 0.0) -> Any:
    return sqrt(sum((min(v - minimum, 0.0)) ** 2 for v in values) / len(values))


def sharpe(values: Any) -> Any:
    return mean(values) / sample_sd(values)


def linear_quantile(values: Any, share: Any) -> Any:
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    low = int(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (place - low) * (ordered[high] - ordered[low])


def omega(values: Any, threshold: Any = 0.0) -> Any:
    gains = sum(v - threshold for v in values if v > threshold)
    losses = sum(threshold - v for v in values if v < threshold)
    return gains / losses


def max_drawdown(equity: Any) -> Any:
    return min(e / max(equity[: i + 1]) - 1 for i, e in enumerate(equity))


def longest_underwater(times: Any, equity: Any) -> Any:
    """Longest time from a peak to the first later sample at or above it, or to the end."""
    longest = 0
    for i, (start, level) in enumerate(zip(times, equity, strict=True)):
        if level < max(equity[: i + 1]) or i + 1 == len(equity) or equity[i + 1] >= level:
            continue
        back = next((j for j in range(i + 1, len(equity)) if equity[j] >= level), len(equity) - 1)
        longest = max(longest, times[back] - start)
    return longest


def recovery(times: Any, equity: Any) -> Any:
    depth = [e / max(equity[: i + 1]) - 1 for i, e in enumerate(equity)]
    trough = depth.index(min(depth))
    if depth[trough] == 0:
        return 0
    back = next((j for j in range(trough + 1, len(equity)) if depth[j] == 0), None)
    return None if back is None else times[back] - times[trough]


def newey_west_factor(values: Any, lags: Any) -> Any:
    centre = mean(values)
    variance = sum((v - centre) ** 2 for v in values)
    total = variance
    for k in range(1, lags + 1):
        covariance = sum((values[i] - centre) * (values[i - k] - centre) for i in range(k, len(values)))
        total += 2 * (1 - k / (lags + 1)) * covariance
    return total / variance


def pbo(columns: Any, blocks: Any) -> Any:
    """(share of logits <= 0, slope, share of losses, logits) of columns of returns, trimmed at their start."""
    length = len(columns[0]) // blocks
    skip = len(columns[0]) - length * blocks
    parts = [[c[skip + b * length : skip + (b + 1) * length] for b in range(blocks)] for c in columns]
    logits, inside, outside = [], [], []
    for chosen in combinations(range(blocks), blocks // 2):
        rest = [b for b in range(blocks) if b not in chosen]
        here = [sharpe([r for b in chosen for r in part[b]]) for part in parts]
        there = [sharpe([r for b in rest for r in part[b]]) for part in parts]
        best = here.index(max(here))
        rank = 1 + sum(other < there[best] for other in there)
        share = rank / (len(columns) + 1)
        logits.append(log(share / (1 - share)))
        inside.append(here[best])
        outside.append(there[best])
    x, y = mean(inside), mean(outside)
    slope = sum((a - x) * (b - y) for a, b in zip(inside, outside, strict=True)) / sum((a - x) ** 2 for a in inside)
    share = sum(value <= 0 for value in logits) / len(logits)
    return share, slope, sum(value < 0 for value in outside) / len(outside), logits
