"""The kernels beside other libraries on this machine's processor: value and gradient, float32 and float64.

    python -m benchmarks.cpu --out benchmarks/results

Writes cpu.json (everything that was measured), cpu.md (tables) and cpu.svg (a plot) into the folder.
"""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks import machine

__all__ = ["main"]


def parser() -> argparse.ArgumentParser:
    """The options of the command."""
    names: dict[str, Any] = {"type": lambda text: tuple(text.split(",")), "default": ()}
    options = argparse.ArgumentParser(prog="python -m benchmarks.cpu", description=__doc__.splitlines()[0])
    options.add_argument("--out", type=Path, required=True, metavar="DIR", help="the folder of the results")
    options.add_argument("--losses", **names, metavar="NAMES", help="only these, as in mse,huber")
    options.add_argument("--sizes", **names, metavar="SIZES", help="only these, as in 4000000,8192x1000")
    options.add_argument("--dtypes", **names, metavar="DTYPES", help="only these, as in float32")
    options.add_argument(
        "--peers", **names, metavar="PEERS", help="only these of torch,compile,jax,sklearn,pytensor,numpy"
    )
    options.add_argument("--budget", type=float, metavar="SECONDS", help="of timing a case; 2 by default")
    options.add_argument("--threads", type=int, default=2, help="threads for everybody; 2 by default")
    options.add_argument(
        "--no-pool", action="store_true", help="leave it to the system when freed memory is mapped again"
    )
    options.add_argument("--quick", action="store_true", help="tiny sizes, to see that everything works")
    options.add_argument("--render", action="store_true", help="only make page and plot from the JSON file")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run, and write the results; 1 when a peer disagrees with ours or one of our losses failed."""
    given = parser().parse_args(arguments)
    file = given.out / "cpu.json"
    if given.render:
        data = json.loads(file.read_text(encoding="utf-8"))
    else:
        machine.limit_threads(given.threads)
        pool = 0.0 if given.no_pool or given.quick else machine.pool_memory()
        from benchmarks import session  # imports libraries that read their number of threads

        known = {"losses": session.losses.ROWS.keys() | set(session.symloss_kernels.__all__)}
        known["peers"] = {peer.key for peer in session.PEERS}
        known["dtypes"] = set(session.DTYPES)
        table = session.losses.QUICK if given.quick else session.losses.SIZES
        known["sizes"] = {str(size) for sizes in table.values() for size in sizes}
        for option, names in known.items():
            if unknown := set(getattr(given, option)) - names:
                parser().error(f"--{option}: {', '.join(unknown)} isn't one of {', '.join(sorted(names))}")
        budget = given.budget if given.budget is not None else 0.05 if given.quick else 2.0
        data = session.run(
            session.Options(
                given.losses, given.sizes, given.dtypes, given.peers, budget, given.threads, given.quick
            )
        )
        data["options"]["pool_gigabytes"] = round(pool, 1)
        data["date"] = datetime.date.today().isoformat()
        given.out.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    from benchmarks import report

    report.write(data, given.out)
    for entry in data["mismatches"] + data["failures"]:
        print("wrong:", ", ".join(entry.values()), file=sys.stderr)
    return 1 if data["mismatches"] or data["failures"] else 0


if __name__ == "__main__":
    sys.exit(main())
