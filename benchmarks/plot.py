"""The plot of the results: the time of the fastest peer over ours, one dot a case."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

__all__ = ["draw"]

#: Which losses share a panel, top to bottom, and its title.
PANELS = (
    (("element",), "element-wise"),
    (("row",), "rows"),
    (("pair", "center", "joint", "map"), "pairs, centers, feature maps"),
)
#: From small to large. The marks differ too, for those who don't see the colours.
COLOURS = ("#1b9e77", "#d95f02", "#7570b3", "#222222")
MARKS = ("o", "s", "D", "^")


def draw(data: dict[str, Any], path: Path) -> bool:
    """Write an SVG file, the same one for the same data; False without matplotlib or without a ratio."""
    cases = [case for case in data["cases"] if case["best_peer"]]
    try:
        import matplotlib
        from matplotlib.figure import Figure
        from matplotlib.ticker import LogLocator, NullFormatter
    except ImportError:
        return False
    if not cases:
        return False
    panels = []
    for kinds, title in PANELS:
        found = [case for case in cases if case["kind"] in kinds]
        if found:
            panels.append((title, list(dict.fromkeys(case["loss"] for case in found)), found))
    dtypes = list(dict.fromkeys(case["dtype"] for case in cases))
    heights = [len(names) + 1 for _, names, _ in panels]
    with matplotlib.rc_context({"svg.hashsalt": "symloss", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(
            figsize=(4.4 + 3.6 * len(dtypes), 1.2 + 0.3 * sum(heights)),
            layout="constrained",
            facecolor="white",
        )
        grid = figure.subplots(
            len(panels), len(dtypes), squeeze=False, sharex=True, gridspec_kw={"height_ratios": heights}
        )
        for (title, names, found), axes in zip(panels, grid, strict=True):
            for axis, dtype in zip(axes, dtypes, strict=True):
                _panel(axis, names, [case for case in found if case["dtype"] == dtype], title)
                axis.set_title(f"{title}, {dtype}", fontsize=9, loc="left")
                if axis is not axes[0]:
                    axis.tick_params(labelleft=False)
            axes[-1].legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False, borderaxespad=0)
        for axis in grid[-1]:
            axis.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axis.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
            axis.xaxis.set_minor_formatter(NullFormatter())
            axis.tick_params(axis="x", labelrotation=90 if _decades(cases) > 1.6 else 0)
            axis.set_xlabel("fastest peer / symloss: right of 1, symloss is faster")
        figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    return True


def _panel(axis: Any, names: list[str], cases: list[dict[str, Any]], title: str) -> None:
    """The dots of one kind of loss in one precision: a line a loss, a mark a size."""
    sizes = list(dict.fromkeys(case["size"] for case in cases))
    if title != PANELS[2][1]:
        labels, places = sizes, {size: number for number, size in enumerate(sizes)}
    else:  # there, every loss has sizes of its own
        labels = ["first size", "second size"]
        places = {case["size"]: 0 for case in cases}
        for name in names:
            own = [case["size"] for case in cases if case["loss"] == name]
            places |= {size: number for number, size in enumerate(own)}
    for place, label in enumerate(labels):
        dots = [case for case in cases if places[case["size"]] == place]
        # Sizes stand a little below each other, so that equal ratios don't hide each other.
        shift = 0.5 * (place / max(len(labels) - 1, 1) - 0.5)
        axis.plot(
            [case["ratios"][case["best_peer"]] for case in dots],
            [names.index(case["loss"]) + shift for case in dots],
            MARKS[place % len(MARKS)],
            color=COLOURS[place % len(COLOURS)],
            markersize=5,
            label=label,
        )
    axis.set_xscale("log")
    axis.axvline(1, color="black", linewidth=1)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.grid(axis="both", which="major", color="#dddddd", linewidth=0.6)
    axis.set_axisbelow(True)


def _decades(cases: list[dict[str, Any]]) -> float:
    """How far the ratios and 1 are spread, in powers of ten."""
    found = [case["ratios"][case["best_peer"]] for case in cases]
    return math.log10(max(*found, 1.0) / min(*found, 1.0))
