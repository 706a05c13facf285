"""What was measured of the shipped losses, by `benchmarks/accuracy.py`: `measured/accuracy.json`."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

from symloss.catalog import data_folder

ACCURACY = "accuracy.json"


@cache
def accuracy() -> dict[str, Any]:
    """All of it: `about`, `ours` (by loss, precision, output) and `peers`; empty if nothing was measured."""
    try:
        found: dict[str, Any] = json.loads((data_folder("measured") / ACCURACY).read_text(encoding="utf-8"))
    except OSError:
        return {"about": {}, "ours": {}, "peers": []}
    return found


def accuracy_of(name: str) -> dict[str, dict[str, dict[str, Any]]]:
    """What was measured of one loss: from precision to output to results."""
    measured: dict[str, dict[str, dict[str, Any]]] = accuracy()["ours"].get(name, {})
    return measured
