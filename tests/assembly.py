"""Reads what Numba compiled: a function's blocks, its loops, and what each loop computes with.

Only x86 is understood: there an arithmetic instruction's name ends in ps or pd where it takes a whole register of
numbers (packed), and in ss or sd where it takes one (scalar).
"""

from __future__ import annotations

import platform
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from numba import njit, typeof

X86 = platform.machine().lower() in ("x86_64", "amd64", "i686")
_ARITHMETIC = re.compile(
    r"v?(?:add|sub|mul|div|sqrt|min|max|scalef|rndscale|round|fn?m(?:add|sub)(?:132|213|231)?)([ps])[sd]"
)
_LABEL = re.compile(r'("[^"]+"|[\w.$@]+):')
_ADDRESS = re.compile(r'movabsq\s+\$("[^"]+"|[A-Za-z_][^,]*),\s+(%\w+)')
_MOVE = re.compile(r"movq\s+(%\w+|-?\d*\(%\w+\)),\s+(%\w+|-?\d*\(%\w+\))")
#: What a kernel may call in a loop: those of `_memory` and `_tiles`, which only copy
#: (tiles), memory, and Numba's counting of references.
_OWN = re.compile(r'"?(_ZN15symloss_kernels(?:7_memory|6_tiles)|NRT_|numba_|memset|memcpy|memmove)')


@dataclass
class Block:
    """Instructions without a jump among them: their names, what they call, and the labels jumped to."""

    names: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    goes_on: bool = True


class Work(NamedTuple):
    """What one loop does beside the loops in it."""

    depth: int
    packed: int
    scalar: int
    calls: list[str]


def compiled(dispatcher: Any, args: tuple[Any, ...]) -> str:
    """The machine code of a kernel for arguments like these, as text.

    It is compiled anew: one from the cache has no text.
    """
    options = {name: value for name, value in dispatcher.targetoptions.items() if name != "nopython"}
    fresh = njit(**options)(dispatcher.py_func)
    fresh.compile(tuple(map(typeof, args)))
    (signature,) = fresh.signatures
    return function(fresh.inspect_asm(signature), fresh.overloads[signature].fndesc.mangled_name)


def function(text: str, name: str) -> str:
    """The lines of one function."""
    found = re.search(rf'^"?{re.escape(name)}"?:\n(.*?)^\.Lfunc_end', text, re.MULTILINE | re.DOTALL)
    if found is None:
        raise ValueError(f"there is no function {name}")
    return found[1]


def blocks(text: str) -> dict[str, Block]:
    """The blocks of a function in their order, by label."""
    found = {"": Block()}
    block = found[""]
    addresses: dict[str, str] = {}  # the functions whose addresses registers and stack slots hold
    for line in text.splitlines():
        line = line.split("#")[0].strip()
        if label := _LABEL.fullmatch(line):
            block = found[label[1]] = Block()
            continue
        if not line or line.startswith("."):
            continue
        if held := _ADDRESS.fullmatch(line):
            addresses[held[2]] = held[1]
        elif (moved := _MOVE.fullmatch(line)) and moved[1] in addresses:
            addresses[moved[2]] = addresses[moved[1]]
        name, *operands = line.split()
        block.names.append(name)
        if name.startswith("call"):
            target = operands[-1].lstrip("*")
            block.calls.append(addresses.get(target, target))
        elif name.startswith("j") or name in ("ret", "retq", "ud2"):
            block.targets += operands[-1:]
            goes_on = name.startswith("j") and name not in ("jmp", "jmpq")
            block.goes_on = goes_on
            block = found[f"after {len(found)}"] = Block()
    return found


def loops(found: dict[str, Block]) -> list[tuple[str, set[str]]]:
    """The natural loops: the head of each, and all of its blocks.

    A jump back goes to a block that every way from the start to the jump leads through (its head); the loop is the
    blocks from which the jump is reached without the head.
    """
    order = list(found)
    after: dict[str, list[str]] = {}
    for label, following in zip(order, [*order[1:], None], strict=True):
        block = found[label]
        after[label] = [target for target in block.targets if target in found]
        if block.goes_on and following is not None:
            after[label].append(following)
    reached, waiting = {""}, [""]
    while waiting:
        new = set(after[waiting.pop()]) - reached
        reached |= new
        waiting += new
    before: dict[str, list[str]] = {label: [] for label in reached}
    for label in reached:
        for target in after[label]:
            before[target].append(label)
    # The blocks through which every way to a block leads.
    through = {label: set(reached) for label in reached} | {"": {""}}
    changed = True
    while changed:
        changed = False
        for label in order:
            if label in reached and label:
                new = {label}.union(set.intersection(*(through[b] for b in before[label])))
                changed |= new != through[label]
                through[label] = new
    bodies: dict[str, set[str]] = {}
    for label in order:
        for head in after[label] if label in reached else ():
            if head in through[label]:
                body, waiting = bodies.setdefault(head, {head}), [label]
                while waiting:
                    if (block := waiting.pop()) not in body:
                        body.add(block)
                        waiting += before[block]
    return sorted(bodies.items(), key=lambda loop: order.index(loop[0]))


def work(text: str) -> list[Work]:
    """What each loop of a function does; a loop's depth is how many others it lies in."""
    found = blocks(text)
    nest = loops(found)
    result = []
    for head, body in nest:
        inner = set().union(*(other for start, other in nest if start != head and start in body))
        names, calls = [], []
        for label in sorted(body - inner):
            names += found[label].names
            calls += found[label].calls
        kinds = [match[1] for match in map(_ARITHMETIC.fullmatch, names) if match]
        depth = sum(head in other for start, other in nest if start != head)
        result.append(Work(depth, kinds.count("p"), kinds.count("s"), calls))
    return result


def slow(loops: list[Work]) -> list[str]:
    """Complaints about loops that compute number by number, or that call a function for numbers."""
    complaints = []
    for loop in loops:
        if 10 * loop.scalar > loop.packed:
            complaints.append(f"a loop of depth {loop.depth} has {loop.packed} packed and {loop.scalar} scalar instructions")
        complaints += [f"a loop calls {name}" for name in loop.calls if not _OWN.match(name)]
    return complaints
