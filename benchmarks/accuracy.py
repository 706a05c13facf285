"""How many digits our kernels and other libraries keep, at ordinary, confident and extreme inputs.

    python -m benchmarks.accuracy

Two parts. The first is what `symloss verify` measures, for every loss, output and precision, in ulp. The
second gives the same inputs to us and to the libraries that are installed, and counts the digits of every
result (`digits`) against the exact one, which `symloss.oracle` evaluates from the formula at the very floats
that were given. Writes `measured/accuracy.json`; a run of some losses or of one part only prints, unless
`--out` is given.
"""

from __future__ import annotations

import argparse
import json
import math
import platform
import sys
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import numpy as np
from mpmath import mp, mpf

from benchmarks import accuracy_peers as peers
from benchmarks import accuracy_points as inputs
from benchmarks import machine

__all__ = ["CAPS", "compare", "digits", "main", "measure_ours", "rounded", "show"]

ROOT = Path(__file__).resolve().parent.parent
DTYPES = ("float32", "float64")
OUTPUTS = ("value", "grad", "hess")
#: Digits of a result that is as good as it can be: one more than the precision has.
CAPS = {"float32": 9.0, "float64": 17.0}
#: A result with fewer digits is lost: its relative error is above 0.8.
LOST = 0.1
#: Points a loss for `symloss.verify`: an element costs the oracle a fraction of a row.
POINTS = {"element": 400, "row": 60}


# Digits.


def digits(got: float, exact: mpf, dtype: str) -> float:
    """How many decimal digits of a result are right.

    -log10 of the relative error, between 0 and `CAPS`, with these rules where that says too little:

    - A result that is equal to the exact one has the cap; so has an infinity, or the largest float, for an
      exact result that is infinite or beyond the largest float.
    - NaN, or an infinity for a finite result: 0. A zero for a number that doesn't round to zero: 0. Any
      number for an exact zero: 0.
    - Below the smallest normal number no float keeps its digits, so there an error of up to one smallest
      subnormal counts as none.

    Args:
        got: what a library gave.
        exact: the exact result; not NaN.
        dtype: the precision of the inputs, "float32" or "float64".
    """
    from symloss.ulp import ulp_error

    cap = CAPS[dtype]
    info = np.finfo(dtype)
    least, most = mpf(float(info.smallest_subnormal)), mpf(float(info.max))
    if math.isnan(got):
        return 0.0
    if not mp.isfinite(exact) or abs(exact) > most:
        # A library that answers float32 in float64 may hold the result: then it is compared as it is.
        if ulp_error(got, exact, dtype) == 0:
            return cap
        if not (mp.isfinite(exact) and math.isfinite(got)):
            return 0.0
    if math.isinf(got):
        return 0.0
    with mp.workdps(40):
        error = abs(mpf(got) - exact)
        if error == 0:
            return cap
        if exact == 0 or (got == 0 and abs(exact) > least / 2):
            return 0.0
        if abs(exact) < float(info.tiny) and error <= least:
            return cap
        return float(min(max(-mp.log10(error / abs(exact)), 0), cap))


# Part one: what is verified.


def measure_ours(loss: Any, dtype: str, count: int | None = None) -> dict[str, dict[str, Any]]:
    """The rows of `symloss.verify` for a loss in one precision, by output.

    Errors are in ulp: `ulp` is the worst forward error where the problem is well conditioned, `mixed` the
    worst mixed error elsewhere, infinite where a result was NaN or infinite and shouldn't be. `worst` is the
    point that comes nearest to its bound, or misses it by the most.
    """
    from symloss.verify import verify

    points = count or POINTS["row" if loss.dims else "element"]
    report = verify(loss, _kernel(loss.name), dtype, count=points, seed=inputs.SEED)
    found = {}
    for row in report.rows:
        mixed_is_worse = row.mixed / row.bounds.mixed > row.forward / row.bounds.forward
        found[row.output] = {
            "results": row.count,
            "undefined": row.undefined,
            "ulp": rounded(row.forward),
            "mixed": rounded(row.mixed),
            "bound": rounded(row.bounds.forward),
            "missed": row.failed,
            "passed": row.passed,
            "worst": row.worst_mixed if mixed_is_worse else row.worst,
        }
    return found


def _kernel(name: str) -> Any:
    import symloss_kernels

    return getattr(symloss_kernels, name)


def rounded(x: float) -> float | int:
    """Three significant digits; whole numbers that aren't long have no point."""
    short = float(f"{x:.3g}")
    return int(short) if abs(short) < 1e6 and short == int(short) else short


# Part two: the comparison.


class Exact(NamedTuple):
    """An exact result that is defined: of which point, at which entry of the differentiated input."""

    point: int
    at: tuple[int, ...]
    value: mpf


def compare(
    loss: Any, dtype: str, group: str, libraries: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    """The tables of one loss, precision and group of inputs: one for each output that a peer has.

    Args:
        loss: the traced loss; it has an entry in `accuracy_peers.ENTRIES`.
        dtype: "float32" or "float64".
        group: a name of `accuracy_points.GROUPS`.
        libraries: from the libraries that are installed to what `accuracy_peers.load` gave.
    """
    entry = peers.ENTRIES[loss.name]
    names = [given.name for given in loss.inputs]
    arrays = dict(zip(names, inputs.draw(entry.kind, group, np.dtype(dtype)), strict=True))
    predicted = loss.predictions[0].name
    for output in OUTPUTS:
        calls = [call for call in entry.calls if call.package in libraries and output in call.texts]
        if not calls:
            continue
        exact = _exact(loss, output, arrays, predicted)
        rows = []
        for call in (peers.own(loss), *calls):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of logarithms of 0, and rows that sum to 1 less an ulp
                got = peers.evaluate(call, output, libraries[call.package], arrays, predicted)
            rows.append(_row(call, output, got, exact, arrays, dtype))
        yield {
            "loss": loss.name,
            "dtype": dtype,
            "output": output if output == "value" else f"{output}_{predicted}",
            "group": group,
            "rows": rows,
        }


def _exact(loss: Any, output: str, arrays: Mapping[str, np.ndarray], predicted: str) -> list[Exact]:
    from symloss.oracle import NOTHING, Oracle

    oracle = Oracle(loss)
    found = []
    for n in range(inputs.COUNT):
        point = {name: array[n] for name, array in arrays.items()}
        shape = () if output == "value" else point[predicted].shape
        for at in np.ndindex(shape):
            value = oracle.evaluate(output, point, None if output == "value" else predicted, at)
            if value == value:
                # Below `NOTHING` the oracle doesn't tell a number from 0, and no float does.
                found.append(Exact(n, at, value if abs(value) > NOTHING else mpf(0)))
    return found


def _row(
    call: peers.Call,
    output: str,
    got: np.ndarray,
    exact: Sequence[Exact],
    arrays: Mapping[str, np.ndarray],
    dtype: str,
) -> dict[str, Any]:
    """What one library kept of one output."""
    kept = [digits(float(got[(e.point, *e.at)]), e.value, dtype) for e in exact]
    worst = min(range(len(kept)), key=kept.__getitem__)
    wider = "" if got.dtype == dtype else f"answers in {got.dtype}"
    place = exact[worst]
    texts = _apart(float(got[(place.point, *place.at)]), place.value)
    return {
        "library": call.package,
        "call": call.texts[output],
        "results": len(kept),
        "lost": sum(found < LOST for found in kept),
        "lowest": rounded(round(kept[worst], 2)),
        "median": rounded(round(median(kept), 2)),
        "worst": _described(arrays, place),
        "got": texts[0],
        "exact": texts[1],
        "note": "; ".join(note for note in (call.note, wider) if note),
    }


def _described(arrays: Mapping[str, np.ndarray], place: Exact) -> str:
    """A point in a line: logits = (40, 0), label = 0, entry 1.

    Numbers have five digits, or all where five would make it another number of the point, or 0 or 1: a
    prediction that is its target but for an ulp, a probability of 1 less 1e-12.
    """
    values = [array[place.point] for array in arrays.values()]
    meant: dict[str, set[float]] = {}
    for x in (0.0, 1.0, *(float(x) for value in values for x in np.ravel(value))):
        meant.setdefault(f"{x:.5g}", set()).add(x)

    def shown(x: Any) -> str:
        if np.ndim(x):
            return f"({', '.join(map(shown, x))})"
        short = f"{float(x):.5g}"
        return short if len(meant[short]) == 1 else str(x)

    parts = [f"{name} = {shown(value)}" for name, value in zip(arrays, values, strict=True)]
    at = ", ".join(map(str, place.at))
    return ", ".join(parts) + (f", entry {at}" if at else "")


def _apart(got: float, exact: mpf) -> tuple[str, str]:
    """Two numbers in as few digits as show that they differ, at least four."""
    texts = ("", "")
    for places in (4, 6, 9, 13, 17, 21):
        texts = (_number(mpf(got), places), _number(exact, places))
        if texts[0] != texts[1]:
            break
    return texts


def _number(x: mpf, places: int) -> str:
    return "nan" if mp.isnan(x) else mp.nstr(x, places, min_fixed=-4, max_fixed=6).removesuffix(".0")


# The run.


def run(only: Sequence[str], peers_only: bool, say: Any) -> dict[str, Any]:
    """Measure, and return what the JSON file holds.

    Args:
        only: names of losses; none for all.
        peers_only: leave out the first part.
        say: is called with a line for each step.
    """
    from symloss.catalog import Catalog

    catalog = Catalog()
    losses = [catalog.loss(name) for name in only] if only else catalog.load()[0]
    libraries, absent = _libraries()
    for title in absent:
        say(f"not installed, left out: {title}")
    ours: dict[str, Any] = {}
    tables: list[dict[str, Any]] = []
    for loss in losses:
        for dtype in DTYPES:
            if not peers_only:
                say(f"{loss.name}, {dtype}: verifying")
                ours.setdefault(loss.name, {})[dtype] = measure_ours(loss, dtype)
            if loss.name in peers.ENTRIES:
                say(f"{loss.name}, {dtype}: comparing")
                for group in inputs.GROUPS:
                    tables += compare(loss, dtype, group, libraries)
    packages = ("symloss", "numpy", "numba", *(name for name in libraries if name != "symloss"))
    about = {
        "seed": inputs.SEED,
        "points": {"verify": POINTS, "group": inputs.COUNT},
        "groups": inputs.GROUPS,
        "caps": CAPS,
        "versions": {name: machine.version(name) for name in packages},
        "python": ".".join(platform.python_version_tuple()[:2]),
        "imports": {name: peers.IMPORTS[name] for name in libraries},
        "remarks": {name: peers.REMARKS[name] for name in libraries if name in peers.REMARKS},
        "titles": {name: peers.TITLES[name] for name in libraries},
        "absent": absent,
        "without_peer": [loss.name for loss in losses if loss.name not in peers.ENTRIES],
    }
    return {"about": about, "ours": ours, "peers": tables}


def _libraries() -> tuple[dict[str, dict[str, Any]], list[str]]:
    """What the installed libraries' calls use, and which of them are absent."""
    found, absent = {}, []
    for name in peers.IMPORTS:
        try:
            found[name] = peers.load(name)
        except ImportError:
            absent.append(peers.TITLES[name])
    return found, absent


# What is printed.


def show(data: Mapping[str, Any], console: Any) -> None:
    """Print the two parts as tables on a `rich` console."""
    from rich.table import Table

    if data["ours"]:
        table = Table("loss", "dtype", "output", "results", "ulp", "mixed", "bound", "missed", "worst at")
        for loss, dtypes in data["ours"].items():
            for dtype, outputs in dtypes.items():
                for output, row in outputs.items():
                    cells = (row[key] for key in ("results", "ulp", "mixed", "bound", "missed", "worst"))
                    table.add_row(loss, dtype, output, *map(str, cells))
        console.print(table)
    for part in data["peers"]:
        title = f"{part['loss']}, {part['output']}, {part['dtype']}, {part['group']}: digits"
        keys = ("lowest", "median", "lost", "results", "worst", "got", "exact")
        table = Table("library", *keys, title=title)
        for row in part["rows"]:
            table.add_row(data["about"]["titles"][row["library"]], *(str(row[key]) for key in keys))
        console.print(table)


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    options = argparse.ArgumentParser(
        prog="python -m benchmarks.accuracy", description=(__doc__ or "").splitlines()[0]
    )
    options.add_argument("--only", nargs="+", default=[], metavar="NAME", help="only these losses")
    options.add_argument("--peers-only", action="store_true", help="only the comparison with libraries")
    options.add_argument(
        "--out", type=Path, metavar="FILE", help="the JSON file; of a full run measured/accuracy.json"
    )
    return options


def main(arguments: list[str] | None = None) -> int:
    """Measure, print, and write the results; 2 for a loss that isn't there."""
    given = parser().parse_args(arguments)
    machine.limit_threads(1)
    from rich.console import Console

    from symloss.errors import SymlossError

    notes = Console(stderr=True)
    try:
        data = run(given.only, given.peers_only, lambda line: notes.print(line, highlight=False))
    except SymlossError as error:
        print(error, file=sys.stderr)
        return 2
    console = Console()
    show(data, console if console.is_terminal else Console(width=200))
    full = not (given.only or given.peers_only)
    if file := given.out or (ROOT / "measured" / "accuracy.json" if full else None):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(dumped(data), encoding="utf-8")
    return 0


def dumped(data: Mapping[str, Any]) -> str:
    """The JSON file's text: the same for the same results.

    JSON has no infinity; 1e999 is JSON, and read as one.
    """
    text = json.dumps(data, indent=1, sort_keys=True).replace(": Infinity", ": 1e999")
    json.loads(text, parse_constant=_refuse)
    return text + "\n"


def _refuse(name: str) -> None:
    raise ValueError(f"{name} isn't JSON")


if __name__ == "__main__":
    sys.exit(main())
