"""The machine that a run is made on: its processor, its packages, and how many threads everybody gets.

Nothing here imports a package that reads the number of threads when it is loaded.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import subprocess
from importlib import metadata
from pathlib import Path

__all__ = ["Others", "describe", "limit_threads", "pool_memory", "version"]

#: The variables from which libraries take their number of threads.
VARIABLES = (
    "SYMLOSS_NUM_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "NUMBA_NUM_THREADS",
)

PACKAGES = ("symloss", "numpy", "numba", "llvmlite", "torch", "jax", "jaxlib", "scikit-learn", "pytensor")

#: Flags of /proc/cpuinfo that name vector instructions.
VECTOR = re.compile(r"(avx\w*|fma|f16c|sse4_2|amx\w*|asimd|sve\w*)")


def limit_threads(threads: int) -> None:
    """Give every library `threads` threads; must run before the first of them is imported.

    JAX has no setting for it: it takes one thread a core that the process may run on. So the process is kept
    on `threads` cores, where the system can do that.
    """
    for name in VARIABLES:
        os.environ[name] = str(threads)
    # Its pool of compiling processes would be started for every run, and two small files gain nothing by it.
    os.environ.setdefault("TORCHINDUCTOR_COMPILE_THREADS", "1")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, _cores(threads))


def _cores(threads: int) -> set[int]:
    """The numbers of that many of the usable processors, each on a core of its own while there are enough."""
    usable = sorted(os.sched_getaffinity(0))
    first_of_core, others = [], []
    for cpu in usable:
        file = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        siblings = re.findall(r"\d+", file.read_text()) if file.exists() else [str(cpu)]
        (first_of_core if cpu == int(siblings[0]) else others).append(cpu)
    return set((first_of_core + others)[:threads])


def pool_memory(gigabytes: float = 8) -> float:
    """Take memory for all arrays of the run beforehand, where the C library is glibc; how many gigabytes.

    By default glibc gives a large array back to the system when it is freed, or keeps it, as two thresholds
    happen to stand after earlier calls, and the next call waits for its pages to be mapped again. Softmax
    cross-entropy of 512 x 50257 float64 took PyTorch 30 ms with its pages there, 170 ms without, and 600 ms
    where a virtual machine had to be given them first. So nothing goes back, and a pool whose pages are there
    already is in the heap from the start.
    """
    try:
        libc = ctypes.CDLL(None)
        mallopt, malloc, madvise, free = libc.mallopt, libc.malloc, libc.madvise, libc.free
    except (OSError, AttributeError):
        return 0.0
    malloc.restype, malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
    madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    free.argtypes = [ctypes.c_void_p]
    # M_TRIM_THRESHOLD, M_MMAP_MAX and M_ARENA_MAX of malloc.h: nothing is trimmed, nothing is mapped by
    # itself, and there is one heap for all threads.
    if not all([mallopt(-1, -1), mallopt(-4, 0), mallopt(-8, 1)]):
        return 0.0
    size = int(min(gigabytes * 1e9, _available() / 2))
    block = malloc(size)
    if not block:
        return 0.0
    huge = 1 << 21
    start = -(-block // huge) * huge
    madvise(start, (block + size - start) // huge * huge, 14)  # MADV_HUGEPAGE, which NumPy asks for, too
    ctypes.memset(block, 0, size)
    free(block)
    return size / 1e9


def _available() -> int:
    """Bytes of memory that are free or can be made so; 0 where that isn't known."""
    file = Path("/proc/meminfo")
    found = re.search(r"^MemAvailable:\s*(\d+) kB", file.read_text() if file.exists() else "", re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


class Others:
    """What other processes take of the processors that this one may use, since the last question.

    A thread of OpenMP that waits for one on an occupied core waits for the scheduler, some 20 ms, so that a
    second job on the machine makes PyTorch and scikit-learn look ten times as slow as they are.
    """

    def __init__(self) -> None:
        self._last = self._read()

    def share(self) -> float | None:
        """The part from 0 to 1, with what a virtual machine wasn't given; None where that isn't known."""
        last, self._last = self._last, self._read()
        if last is None or self._last is None or self._last[1] == last[1]:
            return None
        busy, total, own = (new - old for new, old in zip(self._last, last, strict=True))
        return max(busy - own, 0.0) / total

    @staticmethod
    def _read() -> tuple[float, float, float] | None:
        """Seconds: of these processors in use, of them in all, and of this process and its children."""
        file = Path("/proc/stat")
        if not file.exists() or not hasattr(os, "sched_getaffinity"):
            return None
        usable = {f"cpu{cpu}" for cpu in os.sched_getaffinity(0)}
        busy = total = 0
        for line in file.read_text().splitlines():
            name, *ticks = line.split()
            if name in usable:
                # user, nice, system, idle, iowait, irq, softirq, steal; guests are counted in user already.
                counts = [int(tick) for tick in ticks[:8]]
                total += sum(counts)
                busy += sum(counts) - counts[3] - counts[4]
        hertz = os.sysconf("SC_CLK_TCK")
        return busy / hertz, total / hertz, sum(os.times()[:4])


def version(package: str) -> str | None:
    """The installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def describe(threads: int) -> dict[str, object]:
    """What a reader must know to judge the numbers: processor, system, packages, threads."""
    info = Path("/proc/cpuinfo")
    text = info.read_text() if info.exists() else ""
    model = re.search(r"^model name\s*:\s*(.+)$", text, re.MULTILINE)
    flags = re.search(r"^(?:flags|Features)\s*:\s*(.+)$", text, re.MULTILINE)
    return {
        "cpu": model[1].strip() if model else platform.processor() or platform.machine(),
        "vector_instructions": [f for f in (flags[1].split() if flags else []) if VECTOR.fullmatch(f)],
        "cpus": os.cpu_count(),
        "threads": threads,
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "compiler": _compiler(),
        "versions": {package: version(package) for package in PACKAGES},
    }


def _compiler() -> str | None:
    """The C++ compiler that torch.compile uses."""
    try:
        done = subprocess.run(["g++", "--version"], capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.splitlines()[0]
