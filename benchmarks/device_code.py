"""What the compiler makes of the CUDA kernels, with no GPU at hand: registers, instructions, accesses.

    python -m benchmarks.device_code [--out benchmarks/results/cuda_code.md]

Every kernel is compiled to PTX and linked for each architecture by the compilers in numba-cuda's wheels.
"""

from __future__ import annotations

import argparse
import inspect
import itertools
import re
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib import import_module
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import version

__all__ = ["ARCHITECTURES", "Code", "compile_all", "page"]

ARCHITECTURES = ((8, 0), (9, 0))
ENTRIES = ("value", "grad", "value_and_grad", "grad_and_hess", "hvp")
#: Types of a prediction: of bfloat16 there are only the bits.
DTYPES = {"float32": "float32", "float64": "float64", "float16": "float16", "bfloat16": "int16"}
#: An instruction of PTX, whether or not a predicate guards it.
INSTRUCTION = re.compile(r"^\t(?!\.)[^\n]*;$", re.MULTILINE)


class Code(NamedTuple):
    """One compiled kernel.

    Attributes:
        loss: the loss.
        entry: the entry point.
        dtype: the type of the predictions.
        architecture: as in "sm_90".
        has_rows: whether teams of threads have rows.
        registers: how many a thread needs.
        local: bytes of local memory that a thread needs, spilled registers included.
        shared: bytes of shared memory that a block needs.
        instructions: of PTX.
        wide_loads: how many loads of 128 bits there are.
        wide_stores: how many stores of 128 bits there are.
    """

    loss: str
    entry: str
    dtype: str
    architecture: str
    has_rows: bool
    registers: int
    local: int
    shared: int
    instructions: int
    wide_loads: int
    wide_stores: int


def arguments(loss: Any, module: Any, entry: str, dtype: str) -> tuple[Any, ...]:
    """The types of a kernel's arguments in the usual call: no weights, no ignored labels, a mean."""
    from numba import types

    absent = types.Tuple(())
    number = getattr(types, DTYPES[dtype])
    inputs = {entry.name: entry for entry in loss.info.inputs}
    scratch = {name: len(dims) for name, *dims in getattr(module, "SCRATCH", {}).get(entry, ())}
    known: dict[str, Any] = {
        "samples": types.int64,
        "weight": absent,
        "ignore_index": absent,
        "mean_scale": types.float64,
        "values": absent,
        "partials": types.Array(types.float64, 2, "C"),
        "refusal": types.Array(types.int32, 1, "C"),
    }
    found = []
    for name in inspect.signature(getattr(module, entry).py_func).parameters:
        given = inputs.get(re.sub("^(vector|grad|hess|hvp)_", "", name))
        if name in known:
            found.append(known[name])
        elif name in scratch:
            found.append(types.Array(types.float64, 1 + scratch[name], "C"))
        elif given is None:
            found.append(types.float64)  # a parameter
        elif given.kind == "label":
            found.append(types.Array(types.int64, 1, "C"))
        else:
            found.append(types.Array(number, 1 + len(given.core), "C"))
    return tuple(found)


def compile_all(names: Sequence[str] = (), dtypes: Sequence[str] = tuple(DTYPES)) -> list[Code]:
    """Kernels, compiled and linked for each architecture, in a process of its own; without names all."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_compile_all, tuple(names), tuple(dtypes)).result()


def _compile_all(names: Sequence[str], dtypes: Sequence[str]) -> list[Code]:
    return list(_codes(names, dtypes))


def _codes(names: Sequence[str], dtypes: Sequence[str]) -> Iterator[Code]:
    import symloss_kernels
    from numba.cuda import compiler, dispatcher

    class Device:
        """What numba-cuda asks a GPU for when it compiles what a kernel calls."""

        compute_capability = ARCHITECTURES[0]

    dispatcher.get_current_device = lambda: Device
    for name in names or symloss_kernels.__all__:
        loss, module = getattr(symloss_kernels, name), import_module(f"symloss_kernels.cuda.{name}")
        for dtype, entry in itertools.product(dtypes, ENTRIES):
            # What cuda.compile_ptx calls, which compiles anew for each architecture: types and LLVM's code
            # are the same for all, and take three quarters of the time.
            library, _ = compiler._compile_pyfunc_with_fixup(
                getattr(module, entry).py_func,
                arguments(loss, module, entry, dtype),
                device=False,
                abi="numba",
                cc=ARCHITECTURES[0],
            )
            for architecture in ARCHITECTURES:
                (ptx,) = library.get_asm_strs(cc=architecture)
                yield Code(
                    name,
                    entry,
                    dtype,
                    f"sm_{architecture[0]}{architecture[1]}",
                    any(given.core for given in loss.info.inputs),
                    *_linked(ptx, architecture),
                    len(INSTRUCTION.findall(ptx)),
                    len(re.findall(r"\bld\.global[.\w]*\.v(?:4\.[fbu]32|2\.[fbu]64)", ptx)),
                    len(re.findall(r"\bst\.global[.\w]*\.v(?:4\.[fbu]32|2\.[fbu]64)", ptx)),
                )


def _linked(ptx: str, architecture: tuple[int, int]) -> tuple[int, int, int]:
    """What the linker reports: registers, bytes of local memory, bytes of shared memory."""
    from cuda.bindings import nvjitlink

    options = [f"-arch=sm_{architecture[0]}{architecture[1]}", "-verbose"]
    handle = nvjitlink.create(len(options), options)
    try:
        text = ptx.encode()
        nvjitlink.add_data(handle, nvjitlink.InputType.PTX, text, len(text), "kernel")
        nvjitlink.complete(handle)
        log = bytearray(nvjitlink.get_info_log_size(handle))
        nvjitlink.get_info_log(handle, log)
    finally:
        nvjitlink.destroy(handle)
    said = log.decode()

    def count(pattern: str) -> int:
        return sum(map(int, re.findall(pattern, said)))

    return (
        count(r"Used (\d+) registers"),
        count(r"(\d+) bytes (?:stack frame|spill stores|spill loads)"),
        count(r"(\d+) bytes smem"),
    )


PAGE = """\
# What the compiler makes of the CUDA kernels

Compiled by numba-cuda {numba_cuda} and linked by nvJitLink {linker}, with no GPU at hand; `python -m
benchmarks.device_code` makes this page. The types are those of the usual call: contiguous arrays, no weights,
no ignored labels, the mean. A thread computes four numbers at a time.

Registers are those that the linker reports for {architectures}. Local memory is where registers are spilled
to; a kernel without has 0. Wide accesses are those of 128 bits: a kernel has each access twice, once as a
whole for four neighbours, and once one by one for the end of an array and for one that isn't aligned.

| loss | kernel | type | registers | local, bytes | shared, bytes | instructions of PTX | wide loads, stores |
|---|---|---|---|---|---|---|---|
"""


def page(codes: Sequence[Code]) -> str:
    """The table of all kernels, in Markdown."""
    architectures = list(dict.fromkeys(code.architecture for code in codes))
    by_kernel: dict[tuple[str, str, str], list[Code]] = {}
    for code in codes:
        by_kernel.setdefault((code.loss, code.entry, code.dtype), []).append(code)
    linkers = [found for name in ("nvidia-nvjitlink-cu12", "nvidia-nvjitlink") if (found := version(name))]
    text = PAGE.format(
        numba_cuda=version("numba-cuda"),
        linker=linkers[0] if linkers else "of unknown version",
        architectures=" and ".join(architectures),
    )
    for (loss, entry, dtype), found in by_kernel.items():
        one = found[-1]
        registers, local = (", ".join(str(code[place]) for code in found) for place in (5, 6))
        text += (
            f"| `{loss}` | `{entry}` | {dtype} | {registers} | {local} | {one.shared} | {one.instructions} "
            f"| {one.wide_loads}, {one.wide_stores} |\n"
        )
    return text


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "cuda_code.md")
    chosen = parser.parse_args()
    codes = compile_all()
    chosen.out.write_text(page(codes), encoding="utf-8")
    spilling = [code for code in codes if code.local]
    print(f"{len(codes)} kernels, {len(spilling)} of them with local memory; {chosen.out} written")


if __name__ == "__main__":
    main()
