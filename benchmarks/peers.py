"""The contestants: for each library, how its users get the value and the gradient of a loss.

A contestant is built for one case and then called without arguments, again and again. What it returns is the
library's own; `result` brings it into NumPy's terms for the comparison with ours, which isn't timed. NumPy's
arrays are shared by all that can read them (PyTorch's tensors are views), JAX has its own copy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from benchmarks import by_hand
from benchmarks.losses import Row, Size

__all__ = ["PEERS", "Case", "Contestant", "Peer", "Unavailable", "disagreement", "ours"]


class Unavailable(Exception):
    """Why a peer isn't in a case; the message is printed in the results."""


class Case(NamedTuple):
    """A loss at one size in one dtype, with its inputs; `predicted` are the places of the predictions."""

    loss: str
    row: Row
    size: Size
    dtype: np.dtype
    inputs: list[np.ndarray]
    predicted: list[int]
    threads: int


class Contestant(NamedTuple):
    """What is timed, and how its result becomes the value and the gradients as arrays."""

    call: Callable[[], Any]
    result: Callable[[Any], tuple[float, list[np.ndarray]]]


@dataclass(frozen=True)
class Peer:
    """A library, or a way to use one.

    Attributes:
        key: its name on the command line and in the JSON file.
        title: its name in the page.
        package: what must be installed.
        build: makes a contestant for a case, or raises.
        given_output: whether it writes into arrays that are made once; otherwise each call makes new ones.
    """

    key: str
    title: str
    package: str
    build: Callable[[Case], Contestant]
    given_output: bool = False


def _as_arrays(value: Any, grads: Iterable[Any]) -> tuple[float, list[np.ndarray]]:
    return float(value), [np.asarray(grad) for grad in grads]


def ours(loss: Any, case: Case, given_output: bool) -> Contestant:
    """The kernel of this project; with `given_output` its gradients go into arrays that are made once."""
    several = len(case.predicted) > 1
    keywords: dict[str, Any] = dict(case.row.parameters)
    if given_output:
        out = tuple(np.empty_like(case.inputs[i]) for i in case.predicted)
        keywords["out"] = out if several else out[0]
    inputs, value_and_grad = case.inputs, loss.value_and_grad
    return Contestant(
        lambda: value_and_grad(*inputs, **keywords),
        lambda result: _as_arrays(result[0], result[1] if several else [result[1]]),
    )


def _needs(formula: Callable | None) -> Callable:
    if formula is None:
        raise Unavailable("no formula of it is written down here")
    return formula


# NumPy.


def _numpy(case: Case) -> Contestant:
    formula, inputs = _needs(by_hand.of(case.loss)), case.inputs
    return Contestant(lambda: formula(*inputs), lambda result: _as_arrays(*result))


# PyTorch.


@lru_cache
def _torch_ops() -> Any:
    import torch

    class Ops:
        abs, exp, log, log1p, sqrt, sigmoid, relu = (
            torch.abs, torch.exp, torch.log, torch.log1p, torch.sqrt, torch.sigmoid, torch.relu,
        )  # fmt: skip
        where, matmul, softplus = torch.where, torch.matmul, torch.nn.functional.softplus
        mse = torch.nn.functional.mse_loss
        log_softmax = staticmethod(lambda z: torch.log_softmax(z, -1))
        logsumexp = staticmethod(lambda z: torch.logsumexp(z, -1))
        min = staticmethod(lambda x: torch.amin(x, -1, keepdim=True))
        max = staticmethod(lambda x: torch.amax(x, -1, keepdim=True))
        pick = staticmethod(lambda x, label: x.gather(-1, label[:, None])[:, 0])
        rows = staticmethod(lambda x, label: x.index_select(0, label))
        flat = staticmethod(lambda x: x.flatten(-2))

    return Ops


def _torch(case: Case, compiled: bool = False) -> Contestant:
    import torch

    own, formula = case.row.torch, case.row.formula
    module, loss = (torch, own) if own else (_torch_ops(), _needs(formula))
    torch.set_num_threads(case.threads)

    def function(*tensors: Any) -> Any:
        return loss(module, *tensors)

    if compiled:
        torch._dynamo.reset()  # it keeps eight compiled forms of a function, and then silently none
        function = torch.compile(function, dynamic=False, fullgraph=True)
    tensors = [torch.from_numpy(array) for array in case.inputs]
    leaves = [tensors[i].requires_grad_() for i in case.predicted]

    def call() -> Any:
        value = function(*tensors)
        return value, torch.autograd.grad(value, leaves)

    return Contestant(call, lambda result: _as_arrays(result[0].detach(), result[1]))


def _torch_compile(case: Case) -> Contestant:
    return _torch(case, compiled=True)


# JAX.


@lru_cache
def _jax_ops() -> Any:
    import jax
    from jax import numpy as jnp

    jax.config.update("jax_enable_x64", True)

    class Ops:
        abs, exp, log, log1p, sqrt, where, matmul = (
            jnp.abs, jnp.exp, jnp.log, jnp.log1p, jnp.sqrt, jnp.where, jnp.matmul,
        )  # fmt: skip
        sigmoid, relu = jax.nn.sigmoid, jax.nn.relu
        # Half the time of jax.nn.softplus on a CPU.
        softplus = staticmethod(lambda z: jnp.maximum(z, 0) + jnp.log1p(jnp.exp(-jnp.abs(z))))
        mse = staticmethod(lambda x, y: ((x - y) ** 2).mean())
        log_softmax = staticmethod(lambda z: jax.nn.log_softmax(z, -1))
        logsumexp = staticmethod(lambda z: jax.nn.logsumexp(z, -1))
        min = staticmethod(lambda x: jnp.min(x, -1, keepdims=True))
        max = staticmethod(lambda x: jnp.max(x, -1, keepdims=True))
        pick = staticmethod(lambda x, label: jnp.take_along_axis(x, label[:, None], -1)[:, 0])
        rows = staticmethod(lambda x, label: x[label])
        flat = staticmethod(lambda x: x.reshape(*x.shape[:-2], -1))

    return Ops


def _jax(case: Case) -> Contestant:
    import jax

    ops, formula = _jax_ops(), _needs(case.row.formula)
    function = jax.jit(jax.value_and_grad(lambda *x: formula(ops, *x), argnums=tuple(case.predicted)))
    arrays = [jax.numpy.array(array) for array in case.inputs]
    return Contestant(
        lambda: jax.block_until_ready(function(*arrays)), lambda result: _as_arrays(result[0], result[1])
    )


# scikit-learn.


def _sklearn(case: Case) -> Contestant:
    from sklearn._loss import loss as losses

    if case.row.sklearn is None:
        raise Unavailable("it has no such loss")
    name, options, factor = case.row.sklearn
    raw, target = case.inputs
    if raw.ndim == 2:
        options = {**options, "n_classes": raw.shape[-1]}
    target = target.astype(case.dtype)
    loss_gradient = getattr(losses, name)(**options).loss_gradient
    values, grad = np.empty(len(raw), case.dtype), np.empty_like(raw)
    threads = case.threads if raw.size >= 10_000 else 1  # below, waking the others costs more than they do

    def call() -> Any:
        loss_gradient(target, raw, None, values, grad, threads)
        return values.mean(), grad

    # Its gradient is that of the sum; that of the mean would take one more pass, which isn't asked of it.
    return Contestant(call, lambda result: _as_arrays(factor * result[0], [result[1] * (factor / len(raw))]))


# PyTensor.


@lru_cache
def _pytensor_ops() -> Any:
    from pytensor import tensor as pt

    class Ops:
        abs, exp, log, log1p, sqrt, where, matmul = (
            pt.abs, pt.exp, pt.log, pt.log1p, pt.sqrt, pt.where, pt.matmul,
        )  # fmt: skip
        sigmoid, softplus = pt.sigmoid, pt.softplus
        relu = staticmethod(lambda x: pt.maximum(x, 0))
        mse = staticmethod(lambda x, y: ((x - y) ** 2).mean())
        log_softmax = staticmethod(lambda z: pt.special.log_softmax(z, axis=-1))
        logsumexp = staticmethod(lambda z: pt.logsumexp(z, axis=-1))
        min = staticmethod(lambda x: pt.min(x, axis=-1, keepdims=True))
        max = staticmethod(lambda x: pt.max(x, axis=-1, keepdims=True))
        pick = staticmethod(lambda x, label: x[pt.arange(x.shape[0]), label])
        rows = staticmethod(lambda x, label: x[label])
        flat = staticmethod(lambda x: x.reshape((x.shape[0], x.shape[1], -1)))

    return Ops


@lru_cache(maxsize=1)  # the sizes of one loss follow each other
def _pytensor_function(
    formula: Callable, kinds: tuple[tuple[int, str], ...], predicted: tuple[int, ...]
) -> Any:
    import pytensor
    from pytensor import tensor as pt

    symbols = [pt.tensor(dtype=dtype, shape=(None,) * ndim) for ndim, dtype in kinds]
    value = formula(_pytensor_ops(), *symbols)
    grads = pytensor.grad(value, [symbols[i] for i in predicted])
    function = pytensor.function(symbols, [value, *grads], mode="NUMBA")
    function.trust_input = True  # skips checks of the arguments, which cost as much as a small loss
    return function


def _pytensor(case: Case) -> Contestant:
    kinds = tuple((array.ndim, str(array.dtype)) for array in case.inputs)
    function = _pytensor_function(_needs(case.row.formula), kinds, tuple(case.predicted))
    inputs = case.inputs
    return Contestant(lambda: function(*inputs), lambda result: _as_arrays(result[0], result[1:]))


PEERS = (
    Peer("torch", "PyTorch", "torch", _torch),
    Peer("compile", "torch.compile", "torch", _torch_compile),
    Peer("jax", "JAX", "jax", _jax),
    Peer("sklearn", "scikit-learn", "scikit-learn", _sklearn, given_output=True),
    Peer("pytensor", "PyTensor", "pytensor", _pytensor),
    Peer("numpy", "NumPy", "numpy", _numpy),
)

#: How far a peer's result may be from ours, over the largest entry. Loose: the rounding of a float32 sum of
#: 4 million terms is allowed, a wrong factor or sign isn't.
TOLERANCE = {"float32": 2e-3, "float64": 1e-6}


def disagreement(
    case: Case, ours: tuple[float, list[np.ndarray]], theirs: tuple[float, list[np.ndarray]]
) -> str | None:
    """What is different between two results, in words, or None."""
    bound = TOLERANCE[case.dtype.name]
    value, expected = theirs[0], ours[0]
    if not abs(value - expected) <= bound * abs(expected):
        return f"the value is {value:.6g}, ours is {expected:.6g}"
    if len(theirs[1]) != len(ours[1]):
        return f"{len(theirs[1])} gradients, ours are {len(ours[1])}"
    for number, (grad, expected_grad) in enumerate(zip(theirs[1], ours[1], strict=True)):
        which = f"gradient {number + 1} of {len(ours[1])}" if len(ours[1]) > 1 else "the gradient"
        if grad.shape != expected_grad.shape or grad.dtype != expected_grad.dtype:
            found = f"{grad.dtype}{list(grad.shape)}"
            return f"{which} is {found}, ours is {expected_grad.dtype}{list(expected_grad.shape)}"
        error, largest = np.abs(grad - expected_grad).max(), np.abs(expected_grad).max()
        if not error <= bound * largest:
            return f"{which} is off by {error:.3g} where the largest entry is {largest:.3g}"
    return None
