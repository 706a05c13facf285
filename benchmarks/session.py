"""A run: every loss, size and precision; the contestants are checked against ours and then timed in turn."""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import symloss_kernels

from benchmarks import losses, machine, timing
from benchmarks.peers import PEERS, Case, Contestant, Peer, Unavailable, disagreement, ours

__all__ = ["OURS", "OURS_OUT", "Options", "fraction", "moved", "ratios", "run", "summary"]

OURS, OURS_OUT = "symloss", "symloss_out"
DTYPES = ("float32", "float64")

#: Where a case moves this much, the copy loop is timed beside it; smaller cases live in a cache.
LARGE = 8_000_000


@dataclass(frozen=True)
class Options:
    """What is run.

    Attributes:
        losses, sizes, dtypes, peers: names to which the run is limited; empty for all.
        budget: seconds of timing a case.
        threads: threads for everybody.
        quick: tiny sizes.
    """

    losses: Sequence[str] = ()
    sizes: Sequence[str] = ()
    dtypes: Sequence[str] = ()
    peers: Sequence[str] = ()
    budget: float = 2.0
    threads: int = 2
    quick: bool = False

    @property
    def turns(self) -> dict[str, float]:
        """How `timing.interleave` takes turns."""
        return {"settle": 0.0, "turn": 1e-3} if self.quick else {}


def run(
    options: Options,
    peers: Sequence[Peer] = PEERS,
    kernels: Any = symloss_kernels,
    say: Callable[[str], None] = lambda line: print(line, file=sys.stderr, flush=True),
) -> dict[str, Any]:
    """All that was measured, as it is written to the JSON file.

    Args:
        options: what is run.
        peers: the libraries to compare with.
        kernels: the package of our losses.
        say: takes one line of progress a case.
    """
    data: dict[str, Any] = {
        "machine": machine.describe(options.threads),
        "options": {"quick": options.quick, "budget_seconds": options.budget},
        "peers": {},
        "copy_bytes_per_second": {},
        "cases": [],
        "left_out": [],
        "mismatches": [],
        "failures": [],
    }
    chosen = []
    for peer in peers:
        if options.peers and peer.key not in options.peers:
            continue
        data["peers"][peer.key] = {"title": peer.title, "given_output": peer.given_output}
        if machine.version(peer.package) is None:
            data["left_out"].append({"peer": peer.key, "reason": f"{peer.package} isn't installed"})
        else:
            chosen.append(peer)
    for dtype in options.dtypes or DTYPES:
        element = losses.QUICK["element"] if options.quick else losses.SIZES["element"]
        nbytes = 3 * element[-1].samples * np.dtype(dtype).itemsize
        timings, speeds = _copies(nbytes, np.dtype(dtype), options)
        measured, _ = timing.interleave(timings, options.budget, **options.turns)
        data["copy_bytes_per_second"][dtype] = {n: speeds[n] / t.median for n, t in measured.items()}

    plan = list(_plan(options, kernels, data["failures"]))
    effort = [_effort(entry, options) for entry in plan]
    start = time.perf_counter()
    for number, entry in enumerate(plan):
        record = _case(*entry, options, chosen, kernels, data)
        gc.collect()  # what the frameworks hold in cycles, up to gigabytes
        elapsed = time.perf_counter() - start
        left = elapsed / sum(effort[: number + 1]) * sum(effort[number + 1 :])
        name, size, dtype = entry
        head = f"[{number + 1:3}/{len(plan)}] {name} {size} {dtype}"
        say(f"{head:60} {_in_words(record, data):42} {_minutes(elapsed)}, about {_minutes(left)} left")
    data["summary"] = summary(data)
    return data


def _plan(
    options: Options, kernels: Any, failures: list[dict[str, str]]
) -> Iterator[tuple[str, losses.Size, str]]:
    """The cases in order: the sizes of a loss follow each other, as PyTensor compiles once for them all."""
    table = losses.QUICK if options.quick else losses.SIZES
    names = [name for name in losses.ROWS if name in kernels.__all__]
    names += [name for name in kernels.__all__ if name not in losses.ROWS]
    for name in names:
        if options.losses and name not in options.losses:
            continue
        sizes = table.get(losses.row_of(getattr(kernels, name).info).sizes)
        if sizes is None:
            why = "no sizes for its signature: give it a row in benchmarks/losses.py"
            failures.append({"loss": name, "reason": why})
            continue
        for dtype in options.dtypes or DTYPES:
            for size in sizes:
                if not options.sizes or str(size) in options.sizes:
                    yield name, size, dtype


def _effort(entry: tuple[str, losses.Size, str], options: Options) -> float:
    """About the seconds of a case: its budget, compiling, and what large arrays take beyond that."""
    entries = entry[1].samples * float(np.prod(entry[1].core))
    return options.budget + (0.5 if options.quick else 3) + 1e-6 * entries


def _case(
    name: str,
    size: losses.Size,
    dtype: str,
    options: Options,
    peers: Sequence[Peer],
    kernels: Any,
    data: dict[str, Any],
) -> dict[str, Any] | None:
    """Build, check and time one case; its record goes into `data`, and so does what is left out."""
    loss = getattr(kernels, name)
    about = {"loss": name, "size": str(size), "dtype": dtype}
    row = losses.row_of(loss.info)
    try:
        inputs = losses.draw(loss.info, row, size, np.dtype(dtype))
        predicted = [i for i, entry in enumerate(loss.info.inputs) if entry.kind == "prediction"]
        case = Case(name, row, size, np.dtype(dtype), inputs, predicted, options.threads)
        contestants = {OURS: ours(loss, case, False), OURS_OUT: ours(loss, case, True)}
        expected = contestants[OURS].result(contestants[OURS].call())
        wrong = disagreement(case, expected, contestants[OURS_OUT].result(contestants[OURS_OUT].call()))
        if wrong:
            raise ValueError(f"with out=, {wrong}")
    except Exception as error:  # the run goes on with the other losses and ends with a failure
        data["failures"].append({**about, "reason": _reason(error)})
        return None
    for peer in peers:
        try:
            contestant = peer.build(case)
            wrong = disagreement(case, expected, contestant.result(contestant.call()))
        except Exception as error:  # whatever a peer raises, it is listed and the others go on
            data["left_out"].append({"peer": peer.key, **about, "reason": _reason(error)})
            continue
        if wrong:
            data["mismatches"].append({"peer": peer.key, **about, "found": wrong})
        else:
            contestants[peer.key] = contestant
    record = {**about, "kind": row.sizes, "algebraic": row.algebraic, "bytes": moved(case)}
    _measure(contestants, case, record, options, data)
    data["cases"].append(record)
    return record


def _measure(
    contestants: dict[str, Contestant],
    case: Case,
    record: dict[str, Any],
    options: Options,
    data: dict[str, Any],
) -> None:
    """Time the contestants of a case in turn, with the copy loops where it is large, and fill its record."""
    calls = {key: contestant.call for key, contestant in contestants.items()}
    copies, exact = _copies(record["bytes"], case.dtype, options) if record["bytes"] >= LARGE else ({}, {})
    others = machine.Others()
    timings, failed = timing.interleave(calls | copies, options.budget, **options.turns)
    for key, error in failed.items():
        about = {entry: record[entry] for entry in ("loss", "size", "dtype")}
        if key in (OURS, OURS_OUT):
            data["failures"].append({**about, "reason": _reason(error)})
        else:
            data["left_out"].append({"peer": key, **about, "reason": _reason(error)})
    record["others"] = others.share()
    record["seconds"] = {
        key: {"median": t.median, "min": t.best, "samples": len(t.samples), "batch": t.batch}
        for key, t in timings.items()
        if key in calls
    }
    record["copy_bytes_per_second"] = {
        name: exact[name] / timings[name].median for name in copies if name in timings
    } or data["copy_bytes_per_second"][record["dtype"]]
    found = ratios(record, data)
    record["ratios"] = found
    record["best_peer"] = min(found, key=found.__getitem__, default=None)
    record["bandwidth_fraction"] = fraction(record)


def _copies(
    nbytes: int, dtype: np.dtype, options: Options
) -> tuple[dict[str, Callable[[], None]], dict[str, int]]:
    """The copy loops that move that much, by name, and the exact number of bytes of each."""
    loops = {name: timing.copy_loop(name, nbytes, dtype, options.threads) for name in timing.COPY_LOOPS}
    return {n: call for n, (call, _) in loops.items()}, {n: count for n, (_, count) in loops.items()}


def moved(case: Case) -> int:
    """What must move: every input read once, every gradient written once.

    Of an input of which a label picks one entry a sample, only those entries are read.
    """
    read = sum(
        case.size.samples * array.itemsize if place in case.row.picked else array.nbytes
        for place, array in enumerate(case.inputs)
    )
    return read + sum(case.inputs[place].nbytes for place in case.predicted)


def ratios(record: dict[str, Any], data: dict[str, Any]) -> dict[str, float]:
    """The time of each peer over ours; above 1 we are faster.

    A peer that writes into given arrays is compared with our call that does so, the others with the one that
    makes new arrays, as they do.
    """
    medians = {key: entry["median"] for key, entry in record["seconds"].items()}
    found = {}
    for key, peer in data["peers"].items():
        mine = OURS_OUT if peer["given_output"] else OURS
        if key in medians and mine in medians:
            found[key] = medians[key] / medians[mine]
    return found


def summary(data: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The ratios over all cases: of the fastest peer, the fastest but for NumPy by hand, and each peer."""
    of_case = [case["ratios"] for case in data["cases"]]
    libraries = [{key: x for key, x in found.items() if key != "numpy"} for found in of_case]
    lists = {"fastest": [min(f.values()) for f in of_case if f]}
    lists["fastest_library"] = [min(f.values()) for f in libraries if f]
    for key in data["peers"]:
        lists[key] = [found[key] for found in of_case if key in found]
    return {
        key: {
            "cases": len(found),
            "geometric_mean": timing.geometric_mean(found),
            "smallest": min(found),
            "largest": max(found),
            "below_1": sum(x < 1 for x in found),
        }
        for key, found in lists.items()
        if found
    }


def fraction(record: dict[str, Any], key: str = OURS, loop: str | None = None) -> float | None:
    """The bandwidth of a contestant over that of a copy loop, by default of the fastest one."""
    speeds = record["copy_bytes_per_second"]
    speed = max(speeds.values()) if loop is None else speeds[loop]
    entry = record["seconds"].get(key)
    return entry and record["bytes"] / entry["median"] / speed


def _reason(error: Exception) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines() or [""]
    return lines[0] if isinstance(error, Unavailable) else f"{type(error).__name__}: {lines[0]}"[:200]


def _in_words(record: dict[str, Any] | None, data: dict[str, Any]) -> str:
    if record is None or OURS not in record["seconds"]:
        return "failed"
    words = f"{record['seconds'][OURS]['median'] * 1e6:.4g} us"
    if best := record["best_peer"]:
        words += f", {data['peers'][best]['title']} x {record['ratios'][best]:.2f}"
    if (record["others"] or 0) > 0.05:
        words += f", disturbed: others took {record['others']:.0%}"
    return words


def _minutes(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02}"
