"""The shortest way of a call: what it is taken for, what the kernel is given, and what comes back."""

from __future__ import annotations

import math
from importlib import import_module
from itertools import product
from operator import attrgetter

import numpy as np
import pytest

shortcuts = import_module("symloss_kernels._shortcuts")
KIND = attrgetter("__class__", "dtype", "shape", "flags.carray")


class Kernel:
    """What it is called with, and an answer."""

    def __init__(self, answer: float = 6.0) -> None:
        self.answer, self.given = answer, ()

    def __call__(self, *arguments):
        self.given = arguments
        return self.answer


def way(kernel, inputs, flats=None, outputs=((3,),), rooms=(None,), divisor=3.0, is_small=True):
    made = [(np.empty, shape, inputs[0].dtype, room) for shape, room in zip(outputs, rooms, strict=True)]
    return shortcuts.Way(
        kernel, 3, flats, (None, 0.5), made, divisor, False, len(made) == 1, tuple, is_small=is_small, short={}
    )


def made(inputs, parameters=(), **more):
    kernel = Kernel(**({"answer": more.pop("answer")} if "answer" in more else {}))
    return kernel, shortcuts.shortcut(way(kernel, inputs, **more), [KIND(x) for x in inputs], parameters)


@pytest.mark.parametrize(
    ("count", "parameters", "outputs"),
    list(product((1, 2, 3), ((), (2.0,), (2.0, 7.0)), ((), ((3,),), ((3,), (3, 2))))),
)
def test_a_call(count, parameters, outputs):
    """Any number of inputs, parameters and outputs, which the kernel gets in this order."""
    inputs = tuple(np.ones((3, i)) for i in range(1, count + 1))
    kernel, short = made(inputs, parameters, outputs=outputs, rooms=(None,) * len(outputs))
    for _ in range(2):
        value, results = short(inputs)
        assert value == 2.0
        assert kernel.given[: 1 + count] == (3, *inputs)
        assert kernel.given[1 + count : len(kernel.given) - len(outputs)] == (*parameters, None, 0.5)
        written = kernel.given[len(kernel.given) - len(outputs) :]
        assert [array.shape for array in written] == list(outputs)
        if not outputs:
            assert results is None
        elif len(outputs) == 1:
            assert results is written[0]
        else:
            assert all(result is array for result, array in zip(results, written, strict=True))


def test_other_shapes_for_the_kernel():
    inputs = (np.arange(6.0).reshape(2, 3), np.ones((2, 3)))
    kernel, short = made(inputs, flats=((6,), (2, 3)), outputs=((2, 3),), rooms=((6,),))
    value, result = short(inputs)
    _, first, second, *_, written = kernel.given
    assert first.shape == (6,) and np.shares_memory(first, inputs[0])
    assert second.shape == (2, 3)
    assert written.shape == (6,) and np.shares_memory(written, result) and result.shape == (2, 3)
    assert value == 2.0


class Own(np.ndarray):
    """A class of its own, which may mean other things by its operations."""


X = np.arange(6.0).reshape(2, 3)
LOCKED = X.copy()
LOCKED.flags.writeable = False
OTHERS = {
    "too few": (X,),
    "too many": (X, X, X),
    "another dtype": (X, X.astype(np.float32)),
    "another order of bytes": (X, X.astype(">f8")),
    "another shape": (X, X.reshape(3, 2)),
    "strided": (X, np.asfortranarray(X)),
    "not to be written": (X, LOCKED),
    "a class of its own": (X, X.view(Own)),
    "a list": (X, X.tolist()),
    "a number": (1.0, X),
}


@pytest.mark.parametrize("inputs", list(OTHERS.values()), ids=OTHERS)
def test_other_inputs_are_not_taken(inputs):
    kernel, short = made((X, X))
    assert short(inputs) is None and kernel.given == ()
    assert short((X, X + 1)) is not None


def test_a_kernel_that_may_have_refused():
    """It says so by NaN; where it does many pieces, whoever calls it has looked at each."""
    _, short = made((X, X), answer=math.nan)
    assert short((X, X)) is None
    _, short = made((X, X), answer=math.nan, is_small=False)
    value, result = short((X, X))
    assert math.isnan(value) and result.shape == (3,)


def test_a_sum_that_is_no_result():
    _, short = made((X, X), divisor=0.0)
    value, result = short((X, X))
    assert value is None and result.shape == (3,)


def test_forms_are_written_once():
    before = shortcuts._maker.cache_info().currsize
    for parameter in range(50):
        made((X, X, X, X), (float(parameter),))
    assert shortcuts._maker.cache_info().currsize <= before + 1
