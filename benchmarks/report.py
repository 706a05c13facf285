"""The page of results: from what was measured to tables, in Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import plot
from benchmarks.session import OURS, OURS_OUT, fraction
from benchmarks.timing import geometric_mean

__all__ = ["page", "read_notes", "write"]

KINDS = {
    "element": "Element-wise losses, {} elements",
    "row": "Losses of rows, {}",
    "other": "Pairs of rows, centers and feature maps",
}

MEASURED = """\
Each contestant computes the mean loss and its gradient in the predictions, from the same inputs, in one
process. Before anything is timed its results are compared with ours, and one that differs is listed and not
timed. Then they take turns, in an order that is shuffled in each round. Before each turn is a pause, in which
the threads of the one before go to sleep. A time is the median of the samples; a sample is one call, or the
mean of as many as take a millisecond. Compiling isn't counted.

- **symloss** allocates its gradient anew in each call, as PyTorch, JAX, PyTensor and the NumPy formulas do.
  **symloss, out=** writes into the caller's array. scikit-learn's losses do that too, so they are compared
  with it. They give the gradient of the sum, and are excused from the pass that would divide it.
- {memory}
- **PyTorch** is the loss of `torch.nn.functional` where there is one, and `torch.autograd.grad`.
  **torch.compile** is the same function, compiled for the shape at hand. **JAX** is
  `jit(value_and_grad(...))`. **PyTensor** is its Numba mode. **NumPy** is the formula and its gradient,
  written by hand.
- Everybody has {threads} threads and {threads} cores.
- **Ratio** is the time of the fastest peer over ours: above 1, symloss is faster.
- **Bandwidth** is what must move (each input read once, each gradient written once) over the time of symloss,
  as a part of what the faster of two copy loops moves: Numba loops on {threads} threads that read two arrays
  and write one, plainly or with non-temporal stores. For cases of 8 MB and more the loops move as many bytes
  as the loss and take their turns with the others. What fits in a cache can exceed 100 %.
- Sizes: samples x core dimensions. `center` has features x centers behind its samples, `softmax_center`
  classes x features: the paper's 2 features and 10 classes, and the embeddings of a classifier. Feature maps
  are channels x height x width: from the first block of VGG-16 for an image of 256 x 256, and its fourth.
"""


def write(data: dict[str, Any], folder: Path) -> None:
    """Write the page and, where matplotlib is installed, the plot beside it."""
    drawn = plot.draw(data, folder / "cpu.svg")
    (folder / "cpu.md").write_text(page(data, read_notes(folder), drawn), encoding="utf-8")


def read_notes(folder: Path) -> str:
    """What was written by hand about the rows of a run that fall short; empty where there is nothing."""
    notes = folder / "notes.md"
    return notes.read_text(encoding="utf-8") if notes.exists() else ""


def page(data: dict[str, Any], notes: str = "", drawn: bool = True) -> str:
    """The whole page.

    Args:
        data: what `session.run` gives.
        notes: Markdown that goes under the rows that fall short.
        drawn: whether there is a plot to show.
    """
    parts = ["# The CPU benchmark", _repeat(data)]
    if drawn:
        parts.append("![The time of the fastest peer over ours, for every loss and size](cpu.svg)")
    parts += ["## Summary", *_summary(data), "## Rows that fall short", _short(data)]
    if notes:
        parts.append(notes.strip())
    parts += ["## How it is measured", _measured(data)]
    parts += ["## The machine", _machine(data), *_tables(data), "## Left out", _left_out(data)]
    return "\n\n".join(parts) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]], left: int = 1) -> str:
    """A Markdown table; the first `left` columns are words, the others are numbers."""
    rule = ["---"] * left + ["--:"] * (len(head) - left)
    return "\n".join("| " + " | ".join(row) + " |" for row in (head, rule, *rows))


def number(x: float | None, digits: int = 3) -> str:
    """A number with so many digits, or all of an integer's; no exponent."""
    if x is None or not math.isfinite(x):
        return "–"
    if abs(x) < 10**digits:
        x = float(f"{x:.{digits}g}")  # 9.999 becomes 10.0, which has one decimal less
    if x == 0:
        return "0"
    return f"{x:.{max(digits - 1 - math.floor(math.log10(abs(x))), 0)}f}"


def percent(x: float | None) -> str:
    """A fraction in percent."""
    return "–" if x is None or not math.isfinite(x) else f"{number(100 * x, 2)} %"


def _measured(data: dict[str, Any]) -> str:
    pool = data["options"]["pool_gigabytes"]
    if pool:
        memory = (
            f"All arrays come from a pool of {pool:g} GB whose pages are mapped before the run, and nothing\n"
            "  is given back to the system. Otherwise a call waits for its pages to be mapped, or not, by\n"
            "  what was called before it; for large arrays that takes longer than the loss."
        )
    else:
        memory = "Freed memory goes back to the system, and is mapped again, as the C library sees fit."
    return MEASURED.format(threads=data["machine"]["threads"], memory=memory).strip()


def _repeat(data: dict[str, Any]) -> str:
    options = data["options"]
    words = "python -m benchmarks.cpu --out benchmarks/results" + (" --quick" if options["quick"] else "")
    return (
        "One run. To repeat it, in a checkout (a full run takes about twenty minutes on two cores):\n\n"
        f'```\npip install -e ".[bench]"\n{words}\n```\n\n'
        "All numbers, with the versions of the packages, are in `cpu.json` beside this page."
    )


# Summary.


def _summary(data: dict[str, Any]) -> list[str]:
    titles = {"fastest": "**the fastest of all**", "fastest_library": "the fastest but for NumPy by hand"}
    titles |= {key: peer["title"] for key, peer in data["peers"].items()}
    rows = [
        (
            titles[key],
            str(found["cases"]),
            *(number(found[column]) for column in ("geometric_mean", "smallest", "largest")),
            str(found["below_1"]),
        )
        for key, found in data["summary"].items()
    ]
    head = ("time of the peer over ours", "cases", "geometric mean", "smallest", "largest", "below 1")
    parts = [table(head, rows)]
    compared = [case for case in data["cases"] if case["best_peer"]]
    if compared:
        worst = min(compared, key=lambda case: case["ratios"][case["best_peer"]])
        peer = data["peers"][worst["best_peer"]]["title"]
        overall = data["summary"]["fastest"]
        parts.append(
            f"Over {overall['cases']} cases the geometric mean of fastest peer / symloss is "
            f"**{number(overall['geometric_mean'])}**, and the smallest is **{number(overall['smallest'])}** "
            f"({_name(worst)}, {peer})."
        )
    groups: dict[tuple[str, str], list[float]] = {}
    for case in compared:
        groups.setdefault((_group(case)[1], case["dtype"]), []).append(case["ratios"][case["best_peer"]])
    rows = [
        (title, dtype, str(len(found)), number(geometric_mean(found)), number(min(found)))
        for (title, dtype), found in groups.items()
    ]
    head = ("fastest peer over ours", "dtype", "cases", "geometric mean", "smallest")
    parts.append(table(head, rows, left=2))
    return parts + _bandwidth(data) + _gram(data)


def _bandwidth(data: dict[str, Any]) -> list[str]:
    """The losses that only wait for memory, at the largest size, beside the copy loops."""
    cases = [case for case in data["cases"] if case["algebraic"]]
    largest = max((int(case["size"]) for case in cases), default=0)
    cases = [case for case in cases if int(case["size"]) == largest]
    if not cases:
        return []
    rows = []
    for case in cases:
        speeds = case["copy_bytes_per_second"]
        rows.append(
            (
                case["loss"],
                case["dtype"],
                percent(fraction(case)),
                percent(fraction(case, OURS_OUT)),
                percent(fraction(case, OURS, "plain")),
                percent(fraction(case, OURS_OUT, "plain")),
                *(number(speeds[name] / 1e9) for name in ("plain", "non-temporal")),
            )
        )
    head = (
        "bandwidth", "dtype", "of the faster loop", "with out=", "of the plain loop", "with out=",
        "plain, GB/s", "non-temporal, GB/s",
    )  # fmt: skip
    words = (
        f"Element-wise losses without exponentials and logarithms at {largest} elements: their bandwidth as "
        "a part of that of a copy loop that takes turns with them."
    )
    return [words, table(head, rows, left=2)]


def _gram(data: dict[str, Any]) -> list[str]:
    rows = []
    for case in data["cases"]:
        if case["loss"] == "gram_style" and "torch" in case["ratios"] and OURS in case["seconds"]:
            seconds = [case["seconds"][key]["median"] * 1e3 for key in (OURS, "torch")]
            rows.append((case["size"], case["dtype"], *map(number, seconds), number(case["ratios"]["torch"])))
    if not rows:
        return []
    head = ("`gram_style`, features", "dtype", "symloss, ms", "PyTorch, ms", "PyTorch over ours")
    return [table(head, rows, left=2)]


def _short(data: dict[str, Any]) -> str:
    """Where a peer is faster, by the ratio."""
    short = [case for case in data["cases"] if case["best_peer"] and case["ratios"][case["best_peer"]] < 1]
    if not short:
        return "None: in no case is a peer faster."
    rows = []
    for case in sorted(short, key=lambda case: case["ratios"][case["best_peer"]]):
        best = case["best_peer"]
        mine = OURS_OUT if data["peers"][best]["given_output"] else OURS
        times = [_time(case["seconds"][key]["median"]) for key in (mine, best)]
        ratio = number(case["ratios"][best])
        rows.append((case["loss"], case["size"], case["dtype"], data["peers"][best]["title"], *times, ratio))
    return table(("loss", "size", "dtype", "fastest peer", "ours", "its", "ratio"), rows, left=4)


# Machine, tables, what is missing.


def _machine(data: dict[str, Any]) -> str:
    machine = data["machine"]
    versions = ", ".join(f"{name} {found}" for name, found in machine["versions"].items() if found)
    copies = "; ".join(
        f"{dtype}: " + ", ".join(f"{name} {number(speed / 1e9)} GB/s" for name, speed in speeds.items())
        for dtype, speeds in data["copy_bytes_per_second"].items()
    )
    lines = [
        f"- {machine['cpu']}, {machine['cpus']} processors, of which {machine['threads']} are used; "
        f"{machine['system']}",
        f"- vector instructions: {', '.join(machine['vector_instructions']) or 'unknown'}",
        f"- Python {machine['python']}, {versions}",
        f"- C++ compiler of torch.compile: {machine['compiler'] or 'none'}",
        f"- the copy loops, at the size of the largest element-wise case: {copies}",
    ]
    others = [case["others"] for case in data["cases"] if case.get("others") is not None]
    if others:
        mean = sum(others) / len(others)
        lines.append(
            f"- other processes took {percent(mean)} of the time of these processors, {percent(max(others))} "
            "in the case with the most"
        )
    return "\n".join(lines)


def _group(case: dict[str, Any]) -> tuple[str, str]:
    """The kind of table that a case goes into, and the table's title."""
    kind = case["kind"] if case["kind"] in KINDS else "other"
    return kind, KINDS[kind].format(case["size"])


def _tables(data: dict[str, Any]) -> list[str]:
    groups: dict[tuple[str, str, str], list[dict[str, Any]]] = {}
    for case in data["cases"]:
        groups.setdefault((*_group(case), case["dtype"]), []).append(case)
    order = list(KINDS)
    parts = []
    for key in sorted(groups, key=lambda key: order.index(key[0])):
        parts += [f"## {key[1]}, {key[2]}", _times(groups[key], data, sized=key[0] == "other")]
    return parts


def _times(cases: list[dict[str, Any]], data: dict[str, Any], sized: bool) -> str:
    """One table of times in one unit, with the ratio and the part of the bandwidth."""
    seconds = [entry["median"] for case in cases for entry in case["seconds"].values()]
    unit, scale = ("ms", 1e3) if geometric_mean(seconds) > 1e-3 else ("µs", 1e6)
    keys = [OURS, OURS_OUT, *data["peers"]]
    titles = ["symloss", "symloss, out=", *(peer["title"] for peer in data["peers"].values())]
    rows = []
    for case in cases:
        cells = [case["seconds"].get(key) for key in keys]
        times = [number(cell and cell["median"] * scale) for cell in cells]
        best = case["best_peer"]
        ratio = f"{number(case['ratios'][best])} ({data['peers'][best]['title']})" if best else "–"
        name = f"{case['loss']} {case['size']}" if sized else case["loss"]
        rows.append((name, *times, ratio, percent(case["bandwidth_fraction"])))
    return table((f"time in {unit}", *titles, "ratio", "bandwidth"), rows)


def _left_out(data: dict[str, Any]) -> str:
    reasons: dict[tuple[str, str], dict[str, list[str]]] = {}
    for entry in data["left_out"]:
        cases = reasons.setdefault((entry["peer"], entry["reason"]), {})
        if "loss" in entry:
            cases.setdefault(entry["loss"], []).append(f"{entry['size']} {entry['dtype']}")
    measured: dict[str, int] = {}
    for case in data["cases"]:
        measured[case["loss"]] = measured.get(case["loss"], 0) + 1
    rows = []
    for (peer, reason), cases in reasons.items():
        names = (
            name if len(sizes) == measured.get(name) else f"{name} ({'; '.join(sizes)})"
            for name, sizes in cases.items()
        )
        title = data["peers"].get(peer, {"title": peer})["title"]
        rows.append((title, reason, ", ".join(names) or "all"))
    parts = [table(("contestant", "why", "losses"), rows, left=3)] if rows else ["Nothing."]
    if data["mismatches"]:
        rows = [(e["peer"], e["loss"], e["size"], e["dtype"], e["found"]) for e in data["mismatches"]]
        parts.append("Not timed, because the result isn't ours:")
        parts.append(table(("peer", "loss", "size", "dtype", "found"), rows, left=5))
    if data["failures"]:
        rows = [(e["loss"], e.get("size", ""), e.get("dtype", ""), e["reason"]) for e in data["failures"]]
        parts.append("Ours failed:")
        parts.append(table(("loss", "size", "dtype", "why"), rows, left=4))
    return "\n\n".join(parts)


def _name(case: dict[str, Any]) -> str:
    return f"{case['loss']} {case['size']} {case['dtype']}"


def _time(seconds: float) -> str:
    return f"{number(seconds * 1e3)} ms" if seconds >= 1e-3 else f"{number(seconds * 1e6)} µs"
