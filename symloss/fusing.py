"""Fuses loops: one that stores joins an earlier one over the same indices, if it needs nothing in between.

A row that is read by fewer loops comes from memory or from a cache less often, and is loaded once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from symloss.program import Loop, Reduce, Statement
from symloss.statements import made, read, stored


def fused(statements: Sequence[Statement], alike: Callable[[Reduce | Loop, Loop], bool]) -> list[Statement]:
    """The same statements with fewer loops.

    Args:
        statements: of one pass over a sample, or of a loop or a branch in it.
        alike: whether two loops over the same indices are printed in the same way.
    """
    done: list[Statement] = []
    for statement in statements:
        place = _place(done, statement, alike) if isinstance(statement, Loop) else None
        if place is None:
            done.append(statement)
        else:
            earlier = done[place]
            assert isinstance(earlier, (Reduce, Loop)) and isinstance(statement, Loop)
            more = [inner for inner in statement.body if inner not in earlier.body]
            done[place] = replace(earlier, body=(*earlier.body, *more))
    return done


def _place(done: Sequence[Statement], loop: Loop, alike: Callable[[Reduce | Loop, Loop], bool]) -> int | None:
    """The number of the last statement that a loop can join.

    Nothing from there on makes what the loop reads, or writes where it writes.
    """
    needed = {*read([loop]), *stored([loop])}
    for place in reversed(range(len(done))):
        earlier = done[place]
        if needed & {*made([earlier], inside=False), *stored([earlier])}:
            return None
        if isinstance(earlier, (Reduce, Loop)) and earlier.loops == loop.loops and alike(earlier, loop):
            own = [inner for inner in loop.body if inner not in earlier.body]
            if not set(made(own)) & set(made(earlier.body)):
                return place
    return None
