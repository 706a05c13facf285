"""Programs as Numba kernels for CUDA: one module a loss.

The bodies are those of the CPU's kernels: lanes of samples where a loss has nothing but samples, lanes of a
row's entries otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from symloss.derive import Derivation
from symloss.emit import render
from symloss.lower import lower
from symloss.precision import Arithmetic
from symloss.printers.numba_cpu import DONE, formula_lines, import_lines
from symloss.printers.threads import DeviceBody
from symloss.program import ENTRIES

TEMPLATE = "kernels/device_loss.py.jinja"
#: What a kernel takes from which module; everything else is a function of `_math.py`.
RUNTIME = {
    "_numba": frozenset({"cuda"}),
    "_primitives": frozenset({
        "add_to", "any_lane", "blank", "lanes_sum", "load", "load_wide", "occupied", "only", "opposite",
        "label_at", "put", "put_unless", "run", "select", "times_over", "wide", "within", "without",
    }),
    "_teams": frozenset({
        "MANY", "ROOM", "counted", "entry_start", "entry_step", "first_max", "hand_in", "is_first",
        "is_outside", "lane_start", "lane_step", "max_of", "min_of", "number_of", "piece_of", "product_of",
        "refuse", "row_start", "row_step", "sum_of", "together", "zero_row",
    }),
}  # fmt: skip


def module(derivation: Derivation, header: str, chosen: Mapping[str, Arithmetic]) -> str:
    """The source of a loss's kernels; the arguments are those of the CPU's."""
    loss = derivation.loss
    programs = [lower(derivation, entry) for entry in ENTRIES]
    bodies = [DeviceBody(program, chosen[program.entry]) for program in programs]
    kernels = [_kernel(body) for body in bodies]
    used = {"kernel"}.union(*(kernel["used"] for kernel in kernels))
    labels = [i.name for i in loss.inputs if i.kind == "label"]
    used |= {"MANY", "add", "counted", "cuda", "hand_in", "load_wide"} if labels else set()
    return render(
        TEMPLATE,
        header=header,
        title=loss.title.rstrip("."),
        formula=formula_lines(loss),
        signature=loss.signature,
        imports=import_lines(used, RUNTIME, "."),
        kernels=[{key: value for key, value in kernel.items() if key != "used"} for kernel in kernels],
        labels=labels,
        staged=[body.program.entry for body in bodies if not body.works_in_place()],
        scratch={p.entry: [[name, *dims] for name, dims in p.scratch.items()] for p in programs if p.scratch},
    )


def _kernel(body: DeviceBody) -> dict[str, Any]:
    """What the template needs: name, arguments, docstring, and lists of lines; and what it uses."""
    program, loss = body.program, body.program.loss
    lines = [f"zero_row({name}, sample, nothing)" for name in program.sparse]
    lines += ["together()"] if program.sparse else []
    lines += body.lines()
    used = body.scalar.used | {"load_wide"}
    labels = [i for i in loss.inputs if i.kind == "label"]
    refuses = bool(body.tested or labels)
    outputs, scratch = list(program.outputs), list(program.scratch)
    arguments = ["samples", *(i.name for i in loss.inputs), *(p.name for p in loss.parameters)]
    if program.entry == "hvp":
        arguments += [f"vector_{i.name}" for i in loss.predictions]
    arguments += ["weight"] + (["ignore_index"] if labels else [])
    arguments += ["mean_scale"] if program.entry != "value" else []
    arguments += ["values"] if program.has_value else []
    arguments += [*outputs, *scratch]
    arguments += ["partials"] if program.has_value else []
    arguments += ["refusal"] if refuses else []
    before, counts = [], []
    if program.entry != "value":
        before.append("mean_scale = number_of(mean_scale)")
        before.append("nothing = 0.0 * mean_scale")  # NaN where there is nothing to divide by
        used.add("number_of")
    if loss.dims:
        used |= {"row_start", "row_step", "zero_row", "together"}
        before += [f"{name} = piece_of({name})" for name in outputs]
        before += [f"{name} = {name}[row_start()]" for name in scratch]
        used |= {"piece_of"} if outputs else set()
        if any(re.search(r"\bteam\)", line) for line in lines):
            before.append("team = cuda.shared.array(ROOM, float64)")
            used |= {"ROOM", "cuda", "float64"}
    else:
        used |= {"blank", "lane_start", "lane_step", "occupied", "run"}
    for label in labels:
        used |= {"counted", "is_outside"}
        more = f"{label.name}, sample, ignore_index, {label.role.dims[0]}"
        counts.append(f"refused = refused | is_outside({more})")
        counts.append(f"sample_weight = counted(sample_weight, {more})")
    if refuses:
        before.append("refused = False")
        used.add("refuse")
    if program.has_value:
        used |= {"finish", "put", "hand_in"}
        used |= {"is_first", "add"} if loss.dims else {"lanes_sum", "tally", "within"}
    words = set(re.findall(r"\w+", " ".join([*lines, *counts])))
    sizes: dict[str, str] = {}
    for given in loss.inputs:
        for axis, dim in enumerate(given.dims):
            if given.kind != "label" and dim in words:
                sizes.setdefault(dim, f"{dim} = {given.name}.shape[{axis - len(given.dims)}]")
    return {
        "name": program.entry,
        "arguments": arguments,
        "doc": DONE[program.entry],
        "before": [*(sizes[dim] for dim in loss.dims if dim in sizes), *before],
        "rows": bool(loss.dims),
        "outputs": outputs,
        "inputs": loss.predictions[0].name,
        "counts": counts,
        "has_value": program.has_value,
        "has_factor": any(re.search(r"\bfactor\b", line) for line in lines),
        "refuses": refuses,
        "body": lines,
        "used": used,
    }
