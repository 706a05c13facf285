"""The CUDA kernels beside PyTorch, torch.compile and Liger, on the GPU at hand.

    python -m benchmarks.gpu [--out benchmarks/results/gpu.md] [--only CASE ...]

Each contestant computes the mean loss and its gradient. Times are between device events, medians of many
calls; inputs rotate through buffers that together exceed the GPU's caches. Results are compared before
anything is timed. A call of symloss ends with a Python number, so it waits for the GPU; the others don't.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.machine import version

__all__ = ["CASES", "Case", "main", "page"]

#: Calls that are timed, and calls before them.
CALLS, WARM_UP = 50, 10
#: Buffers rotate until they have this many bytes: more than any GPU's second-level cache.
ROTATE = 1 << 30


class Case(NamedTuple):
    """One loss at one size.

    Attributes:
        loss: its name.
        shape: of the predictions.
        dtype: their type.
        torch: the name of PyTorch's function in torch.nn.functional.
    """

    loss: str
    shape: tuple[int, ...]
    dtype: str
    torch: str

    @property
    def label(self) -> str:
        """How the case is called in tables."""
        return f"{self.loss} {'x'.join(map(str, self.shape))} {self.dtype}"

    @property
    def bytes_moved(self) -> int:
        """The least traffic: each input read once, the gradient written once."""
        count = 1
        for size in self.shape:
            count *= size
        size = 2 if self.dtype == "bfloat16" else 4
        return size * count * (2 if len(self.shape) == 2 else 3)


DTYPES = ("float32", "bfloat16")
ELEMENT = (
    ("mse", "mse_loss"),
    ("huber", "huber_loss"),
    ("binary_cross_entropy_with_logits", "binary_cross_entropy_with_logits"),
)
ROWS = ((8192, 1000), (4096, 50257), (2048, 256000))
CASES = [
    *(Case(loss, (1 << 28,), dtype, peer) for loss, peer in ELEMENT for dtype in DTYPES),
    *(Case("softmax_cross_entropy", shape, dtype, "cross_entropy") for shape in ROWS for dtype in DTYPES),
]


def inputs(torch: Any, case: Case) -> list[tuple[Any, Any]]:
    """Buffers to rotate through: predictions, and targets or labels."""
    kind = getattr(torch, case.dtype)
    made: list[tuple[Any, Any]] = []
    while not made or (len(made) < 8 and len(made) * case.bytes_moved < ROTATE):
        prediction = torch.randn(case.shape, device="cuda", dtype=torch.float32).to(kind)
        if len(case.shape) == 2:
            target = torch.randint(0, case.shape[1], case.shape[:1], device="cuda")
        else:
            target = torch.rand(case.shape, device="cuda", dtype=torch.float32).round().to(kind)
        made.append((prediction, target))
    return made


def contestants(torch: Any, case: Case) -> Iterator[tuple[str, Callable[[Any, Any], tuple[Any, Any]]]]:
    """Everyone who is installed, as functions from inputs to value and gradient."""
    import symloss_kernels

    ours = getattr(symloss_kernels, case.loss)
    function = getattr(torch.nn.functional, case.torch)

    def eager(prediction: Any, target: Any) -> tuple[Any, Any]:
        given = prediction.detach().requires_grad_()
        value = function(given, target)
        return value, torch.autograd.grad(value, given)[0]

    yield "symloss", ours.value_and_grad
    yield "PyTorch", eager
    yield "torch.compile", torch.compile(eager, dynamic=False)
    try:
        liger = import_module("liger_kernel.transformers.functional")
    except ImportError:
        return
    if len(case.shape) == 2:

        def fused(prediction: Any, target: Any) -> tuple[Any, Any]:
            given = prediction.detach().clone().requires_grad_()  # it writes its gradient over them
            value = liger.liger_cross_entropy(given, target)
            value = value[0] if isinstance(value, tuple) else value
            return value, torch.autograd.grad(value, given)[0]

        yield "Liger", fused


def measure(torch: Any, call: Callable[[Any, Any], Any], buffers: list[tuple[Any, Any]]) -> float:
    """The median of the times of calls, in milliseconds."""
    for i in range(WARM_UP):
        call(*buffers[i % len(buffers)])
    events = [tuple(torch.cuda.Event(enable_timing=True) for _ in range(2)) for _ in range(CALLS)]
    for i, (start, end) in enumerate(events):
        start.record()
        call(*buffers[i % len(buffers)])
        end.record()
    torch.cuda.synchronize()
    return statistics.median(start.elapsed_time(end) for start, end in events)


def bandwidth(torch: Any) -> float:
    """What a copy of a gigabyte moves, in bytes a second."""
    source = torch.empty(1 << 28, device="cuda")
    target = torch.empty_like(source)
    milliseconds = measure(torch, lambda a, b: target.copy_(a), [(source, None)])
    return 2 * source.numel() * source.element_size() / milliseconds * 1e3


def run(torch: Any, cases: list[Case]) -> list[tuple[Case, dict[str, float | str]]]:
    """The times of all contestants in all cases; a word where there is no time."""
    results = []
    for case in cases:
        buffers = inputs(torch, case)
        found: dict[str, float | str] = {}
        exact = None
        for name, call in contestants(torch, case):
            try:
                value, grad = call(*buffers[0])
                value, sample = float(value), grad.reshape(-1)[:4096].double()
                exact = (value, sample) if exact is None else exact
                near = abs(value - exact[0]) <= 1e-2 * abs(exact[0])
                scale = float(exact[1].abs().max())
                near = near and torch.allclose(sample, exact[1], rtol=5e-2, atol=1e-2 * scale)
                found[name] = measure(torch, call, buffers) if near else "differs"
            except Exception as error:
                found[name] = type(error).__name__
        results.append((case, found))
        print(case.label, found, flush=True)
    return results


def page(device: str, copied: float, results: list[tuple[Case, dict[str, float | str]]]) -> str:
    """The results in Markdown."""
    packages = ("symloss", "numba-cuda", "torch", "liger-kernel")
    versions = ", ".join(f"{name} {version(name)}" for name in packages)
    lines = [
        "# The CUDA kernels beside others",
        "",
        f"On one {device}; {versions}.",
        f"Value and gradient, milliseconds between device events, medians of {CALLS} calls.",
        f"A copy of 1 GiB moves {copied / 1e9:.0f} GB/s; **bandwidth** is the least traffic of symloss's",
        "call over its time, as a part of that. **Ratio** is the fastest peer's time over ours.",
        "",
        "| case | symloss | PyTorch | torch.compile | Liger | ratio | bandwidth |",
        "|---|---|---|---|---|---|---|",
    ]
    for case, found in results:
        cells = [_cell(found.get(name, "")) for name in ("symloss", "PyTorch", "torch.compile", "Liger")]
        own = found.get("symloss")
        peers = [time for name, time in found.items() if name != "symloss" and isinstance(time, float)]
        ratio = f"{min(peers) / own:.2f}" if peers and isinstance(own, float) else ""
        part = f"{case.bytes_moved / (own * 1e-3) / copied:.0%}" if isinstance(own, float) else ""
        lines.append(f"| {case.label} | {' | '.join(cells)} | {ratio} | {part} |")
    return "\n".join(lines) + "\n"


def _cell(time: float | str) -> str:
    return f"{time:.3f}" if isinstance(time, float) else time


def main() -> int:
    """Measure, and write the page; without a GPU, say so and write nothing."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "gpu.md")
    parser.add_argument("--only", nargs="*", default=[], help="parts of the names of cases")
    chosen = parser.parse_args()
    try:
        import torch
    except ImportError:
        print("this benchmark needs PyTorch with CUDA", file=sys.stderr)
        return 1
    if not torch.cuda.is_available():
        print("there is no GPU that PyTorch can use: nothing was measured", file=sys.stderr)
        return 1
    cases = [case for case in CASES if not chosen.only or any(part in case.label for part in chosen.only)]
    copied = bandwidth(torch)
    results = run(torch, cases)
    chosen.out.write_text(page(torch.cuda.get_device_name(), copied, results), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
