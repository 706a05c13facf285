"""All float32 inputs of the kernels' functions of one number: a command of its own, for it takes minutes.

    python tests/exhaustive.py                 the functions that losses use most
    python tests/exhaustive.py exp lgamma      these
    python tests/exhaustive.py --step 1001 exp   every 1001st input

Each of the 2^32 floats goes through the function of float32 lanes and, widened, through that of float64 lanes, which
tests/test_math.py compares with mpmath. Printed are the worst error in units of the last place and its input, and the
exit status is 1 where an error is above the function's bound.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from typing import Any

import numpy as np
from numba import njit

#: Bounds in ulp. Those that aren't here are within 1.
BOUNDS = dict.fromkeys(
    ("besseli0", "besseli1", "besseli2", "besseli_ratio", "besseli_ratio_slope", "digamma", "erf", "erfc", "erfc_hazard",
     "erfc_hazard_slope", "gamma", "lgamma", "log_besseli0", "log_erfc", "log_half_erfc", "tetragamma", "trigamma"), 2.0
)  # fmt: skip
USUAL = (
    "acos", "acosh", "asin", "asinh", "atan", "atanh", "bose", "cos", "cosh", "erf", "erfc", "erfc_hazard", "exp", "expm1",
    "expm1_minus_x", "hypot1", "hypot1m1", "log", "log1mexp", "log1p", "log1p_square", "log_erfc", "log_half_erfc",
    "logcosh", "over_expm1", "sech2", "sigmoid", "sin", "sinh", "softplus", "sqrt", "tan", "tanh", "tilt", "x_minus_log1p",
)  # fmt: skip
BLOCK = 1 << 14
#: Where a sample begins that all tests include: zeros, the largest numbers and the infinities, 1, NaN; and negative.
ENDS = [sign << 31 | bits for sign in (0, 1) for bits in (0, 0x7F7FFFFE, 0x3F7FFFFF, 0x7FC00000)]


@njit(nogil=True, error_model="numpy")
def compare(inputs, got, exact, worst):
    """Keep the worst error in `worst`: its size, its input, and how many are above 1/2."""
    for i in range(inputs.shape[0]):
        a, b = float(got[i]), exact[i]
        if b != b or a != a:
            error = 0.0 if b != b and a != a else math.inf
        elif abs(b) >= 3.4028235677973366e38:  # what rounds to infinity
            error = (
                0.0 if a == b or (abs(a) >= 3.4028234663852886e38 and (a > 0.0) == (b > 0.0)) else math.inf
            )
        elif a == 0.0 and math.copysign(1.0, a) != math.copysign(1.0, b):
            error = math.inf  # a zero of the wrong sign
        else:
            exponent = math.frexp(b)[1] - 24
            step = math.ldexp(1.0, max(exponent, -149))
            error = abs(a - b) / step
        if error > worst[0]:
            worst[0], worst[1] = error, inputs[i]
        if error > 0.5:
            worst[2] += 1.0


def comparison(package: str, name: str) -> Any:
    """A compiled function of (first, last, step, worst) that tests the floats with these bits."""
    memory, width = import_module(f"{package}._memory"), import_module(f"{package}._lanes").LANES
    function = getattr(import_module(f"{package}._math"), name)
    load, put, run = memory.load, memory.put, import_module(f"{package}._runs").run

    @njit(nogil=True, error_model="numpy")
    def compare_all(bits, inputs, widened, got, exact, first, last, step, worst):
        at = first
        while at < last:
            count = min(bits.shape[0], (last - at + step - 1) // step)
            for i in range(count):
                bits[i] = np.uint32(at + i * step)
                widened[i] = inputs[i]
            for i in range(0, count, width):
                place = run(i, count)
                put(got, (place,), function(load(inputs, (place,), None)), None)
            for i in range(0, count, width):
                place = run(i, count)
                put(exact, (place,), function(load(widened, (place,), None)), None)
            compare(inputs[:count], got[:count], exact[:count], worst)
            at += count * step

    return compare_all


def exhaust(package: str, name: str, step: int = 1) -> tuple[float, float, float]:
    """The worst error of a function in ulp, its input, and the share of results that aren't the nearest float."""
    compare_all = comparison(package, name)

    def work(first: int, last: int, step: int) -> np.ndarray:
        bits = np.zeros(BLOCK, np.uint32)
        worst = np.zeros(3)
        compare_all(
            bits,
            bits.view(np.float32),
            np.zeros(BLOCK),
            np.zeros(BLOCK, np.float32),
            np.zeros(BLOCK),
            first,
            last,
            step,
            worst,
        )
        return worst

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(lambda part: work(part << 28, (part + 1) << 28, step), range(16)))
    if step > 1:
        found += [work(bits, bits + 3, 1) for bits in ENDS]
    worst = max(found, key=lambda each: each[0])
    return worst[0], worst[1], sum(each[2] for each in found) / (2**32 / step)


def main() -> int:
    """Test the functions named on the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("names", nargs="*", default=USUAL)
    parser.add_argument("--package", default="symloss_kernels", help="where the kernels are")
    parser.add_argument("--step", type=int, default=1, help="test every STEP-th float")
    given = parser.parse_args()
    failed = False
    for name in given.names:
        start = time.perf_counter()
        error, at, share = exhaust(given.package, name, given.step)
        bound = BOUNDS.get(name, 1.0)
        failed |= not error <= bound
        print(f"{name:20} {error:8.4f} ulp at {float(at)!r:24} {100 * share:7.3f} % not nearest,"
              f" {time.perf_counter() - start:5.1f} s{'' if error <= bound else '   ABOVE ' + str(bound)}", flush=True)  # fmt: skip
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
