"""Histograms as inline SVG: static, small, coloured by the page's style sheet."""

from html import escape
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

WIDTH: Final = 560
HEIGHT: Final = 190
LEFT, RIGHT, TOP, BOTTOM = 40, 10, 22, 28
BINS_MAX: Final = 48


def histogram(values: Floats, unit: str, *, noun: str, signed: str | None = None) -> str:
    """SVG of finite values with the median and 99th percentile marked, or a sentence where they are all equal.

    unit: printed after numbers. noun: what is counted ("orders"). signed: "cost" colours values above 0 as bad, "gain" as
    good. The outer half percent on either side is gathered in the edge bars, which say so.
    """
    values = np.sort(values[np.isfinite(values)])
    if not len(values):
        return '<p class="empty">nothing to count</p>'
    low, high = _limits(values)
    if values[0] == values[-1] or low >= high:
        text = f"{len(values):,} {noun}, all at {_number(float(values[0]))} {unit}"
        return f'<p class="empty">{escape(text)}</p>'
    edges = _edges(values, low, high, zero=signed is not None)
    counts = np.histogram(np.clip(values, edges[0], edges[-1]), edges)[0]
    parts = [
        f'<svg class="hist" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{escape(noun)} by {escape(unit)}">'
    ]
    parts += _grid(int(counts.max()))
    parts += _bars(counts, edges, values, unit, noun, signed)
    parts += _axis(edges, unit)
    parts += _marks(values, edges, unit)
    return "".join(parts) + "</svg>"


def _limits(values: Floats) -> tuple[float, float]:
    if len(values) < 200:
        return float(values[0]), float(values[-1])
    cut = int(len(values) * 0.005)
    return float(values[cut]), float(values[-1 - cut])


def _edges(values: Floats, low: float, high: float, *, zero: bool) -> Floats:
    """Even bins over round numbers; with `zero`, an edge lies at 0 so that a bar has one sign."""
    wanted = int(np.clip(np.sqrt(len(values)) * 1.5, 8, BINS_MAX))
    step = _round_step((high - low) / wanted)
    first, last = np.floor(low / step + 1e-9), np.ceil(high / step - 1e-9)
    if zero and first <= 0 <= last:
        return np.arange(first, last + 1) * step
    return np.arange(first, max(last, first + 1) + 1) * step


def _round_step(step: float) -> float:
    power = 10.0 ** np.floor(np.log10(step))
    return float(power * next(m for m in (1, 2, 2.5, 5, 10) if step <= m * power * (1 + 1e-9)))


def _x(value: float, edges: Floats) -> float:
    share = (value - edges[0]) / (edges[-1] - edges[0])
    return LEFT + float(np.clip(share, 0, 1)) * (WIDTH - LEFT - RIGHT)


def _grid(top: int) -> list[str]:
    parts = []
    step = max(1, round(_round_step(top / 3)))
    for count in range(0, top + 1, step):
        y = _y(count, top)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{count:,}</text>')
    return parts


def _y(count: float, top: int) -> float:
    return HEIGHT - BOTTOM - count / top * (HEIGHT - TOP - BOTTOM)


def _bars(
    counts: npt.NDArray[np.int64], edges: Floats, values: Floats, unit: str, noun: str, signed: str | None
) -> list[str]:
    parts, top = [], int(counts.max())
    for index, count in enumerate(counts.tolist()):
        if not count:
            continue
        left, right = float(edges[index]), float(edges[index + 1])
        x, x_end, y = _x(left, edges), _x(right, edges), _y(count, top)
        kind = ""
        if signed:
            positive = left + right > 0
            kind = f' class="{"cost" if positive == (signed == "cost") else "gain"}"'
        text = f"{_number(left)} to {_number(right)} {unit}"
        if index == 0 and values[0] < left:
            text = f"up to {_number(right)} {unit}"
        if index == len(counts) - 1 and values[-1] > right:
            text = f"{_number(left)} {unit} or more"
        parts.append(
            f'<rect{kind} x="{x + 0.5:.1f}" y="{y:.1f}" width="{max(x_end - x - 1, 0.8):.1f}" '
            f'height="{HEIGHT - BOTTOM - y:.1f}" rx="1.5"><title>{escape(text)}: {count:,} {escape(noun)}</title></rect>'
        )
    return parts


def _axis(edges: Floats, unit: str) -> list[str]:
    step = _round_step(float(edges[-1] - edges[0]) / 6)
    first = np.ceil(edges[0] / step - 1e-9)
    ticks = np.arange(first, np.floor(edges[-1] / step + 1e-9) + 1) * step
    parts = []
    for place, tick in enumerate(ticks.tolist()):
        x = _x(tick, edges)
        label = _number(tick) + (f" {unit}" if place == len(ticks) - 1 else "")
        anchor = "end" if x > WIDTH - 40 else "middle"
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 8}" text-anchor="{anchor}">{escape(label)}</text>')
    return parts


def _marks(values: Floats, edges: Floats, unit: str) -> list[str]:
    """Median and 99th percentile as dashed lines with labels that do not overlap."""
    parts, taken = [], -np.inf
    for name, share in (("median", 0.5), ("p99", 0.99)):
        value = float(np.quantile(values, share))
        x = _x(value, edges)
        text = f"{name} {_number(value)} {unit}"
        width = 7.6 * len(text)  # of the larger letters of a narrow page
        anchor, left = ("end", x - width) if x + width > WIDTH - RIGHT else ("start", x)
        parts.append(f'<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 6}" y2="{HEIGHT - BOTTOM}"/>')
        if left > taken:
            shift = -4 if anchor == "end" else 4
            parts.append(
                f'<text class="mark" x="{x + shift:.1f}" y="{TOP - 8}" text-anchor="{anchor}">{escape(text)}</text>'
            )
            taken = left + width + 6
    return parts


def _number(value: float) -> str:
    if value == 0 or abs(value) < 1e-12:
        return "0"
    size = abs(value)
    return f"{value:,.0f}" if size >= 1000 else f"{value:.4g}"
