"""Curves as SVG: the small pictures of the gallery, and the plot that `symloss plot` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from symloss.curves import Curve
from symloss.emit import digest, render

CARD, PLOT = "docs/card.svg.jinja", "docs/plot.svg.jinja"
#: What the ends of the range leave out: a loss that goes to infinity shouldn't flatten all the rest.
SEEN = 0.97
#: A step that is this many times its neighbours', and this share of the range, is a jump.
JUMP, TALL = 8.0, 0.04


@dataclass(frozen=True)
class Frame:
    """Where numbers lie in a picture: x from `low` to `high`, y from `bottom` to `top`, in pixels."""

    low: float
    high: float
    bottom: float
    top: float
    left: float
    right: float
    upper: float
    lower: float

    def x(self, value: float) -> float:
        """The pixel of an x."""
        return self.left + (value - self.low) / (self.high - self.low) * (self.right - self.left)

    def y(self, value: float) -> float:
        """The pixel of a y; far outside is just outside."""
        share = (value - self.bottom) / (self.top - self.bottom)
        return self.lower - min(max(share, -0.5), 1.5) * (self.lower - self.upper)


def extent(lines: Sequence[np.ndarray]) -> tuple[float, float]:
    """The range of y that shows these lines: what is finite, less what shoots up at the ends; 0 is in it."""
    finite = np.concatenate([line[np.isfinite(line)] for line in lines] or [np.zeros(1)])
    if not finite.size:
        return -1.0, 1.0
    low, high = np.quantile(finite, [1 - SEEN, SEEN])
    spread = max(high - low, 1e-12)
    low, high = max(finite.min(), low - spread / 2), min(finite.max(), high + spread / 2)
    low, high = min(low, 0.0), max(high, 0.0)
    margin = 0.06 * ((high - low) or 2.0)
    return float(low - margin), float(high + margin)


def path(x: np.ndarray, y: np.ndarray, frame: Frame) -> str:
    """A line as the `d` of an SVG path; it breaks where y is not finite, and at jumps."""
    with np.errstate(invalid="ignore"):
        steps = np.abs(np.diff(y, prepend=y[:1], append=y[-1:]))
    tall = TALL * (frame.top - frame.bottom)
    text, drawing = "", False
    for i, (at, value) in enumerate(zip(x, y, strict=True)):
        if not np.isfinite(value):
            drawing = False
            continue
        around = max(steps[i - 1] if i else 0.0, steps[i + 1] if i + 1 < len(steps) else 0.0)
        if drawing and steps[i] > tall and steps[i] > JUMP * around:
            drawing = False
        text += f"{'L' if drawing else 'M'}{frame.x(at):.1f} {frame.y(value):.1f}"
        drawing = True
    return text


def card(curve: Curve, alt: str) -> str:
    """The small picture of a loss and its gradient, without numbers."""
    bottom, top = extent([curve.value, curve.grad])
    frame = Frame(curve.x[0], curve.x[-1], bottom, top, 0, 240, 6, 114)
    return render(
        CARD,
        alt=alt,
        zero=f"{frame.y(0.0):.1f}",
        value=path(curve.x, curve.value, frame),
        grad=path(curve.x, curve.grad, frame),
    )


def plot(
    lines: Sequence[tuple[str, np.ndarray, np.ndarray]],
    title: str,
    axis: str,
    bounds: tuple[float, float] | None = None,
    styled: bool = True,
) -> str:
    """A picture with axes and a legend.

    Args:
        lines: of each its name, x and y.
        title: what it shows.
        axis: what x is.
        bounds: the range of y; by default what shows all lines.
        styled: whether it brings its colours; on the site they come from the site's style.
    """
    bottom, top = bounds or extent([y for _, _, y in lines])
    low, high = min(x[0] for _, x, _ in lines), max(x[-1] for _, x, _ in lines)
    frame = Frame(low, high, bottom, top, 56, 624, 40, 320)
    return render(
        PLOT,
        title=title,
        axis=axis,
        box=f"box-{digest(title)[:8]}",  # two pictures on a page have different ones
        styled=styled,
        x_ticks=[(f"{frame.x(t):.1f}", f"{t:g}") for t in ticks(low, high)],
        y_ticks=[(f"{frame.y(t):.1f}", f"{t:g}") for t in ticks(bottom, top)],
        lines=[(name, i, path(x, y, frame)) for i, (name, x, y) in enumerate(lines)],
    )


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """About `count` round numbers between two ends."""
    rough = (high - low) / count
    tens = 10.0 ** np.floor(np.log10(rough))
    step = min((s * tens for s in (1, 2, 5, 10)), key=lambda s: abs(s - rough))
    first = np.ceil(low / step - 1e-9)
    return [float(f"{n * step:.6g}") + 0.0 for n in np.arange(first, np.floor(high / step + 1e-9) + 1)]
