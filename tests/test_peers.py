"""The shipped losses beside the libraries that people use today, on ordinary inputs.

A peer is an independent derivation of the same mathematics, so this finds a wrong factor, sign, convention or
reduction; it can't show more digits than the peer has. How exact the kernels are is for the oracle to say,
and at the end of this file stand inputs at which peers are wrong.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import pytest
import symloss_kernels as sk
from mpmath import mp, mpf

from symloss.ulp import ulp_error

N, K = 12, 4
REDUCTIONS = ("none", "mean", "sum")


# Inputs: from (random numbers, dtype) to the arrays of a call.


def draw(*kinds: Any) -> Callable[[np.random.Generator, Any], tuple[np.ndarray, ...]]:
    """Inputs of these kinds; a kind is a name of `KINDS` and a core shape."""

    def make(rng: np.random.Generator, dtype: Any) -> tuple[np.ndarray, ...]:
        arrays = [KINDS[kind](rng, (*lead, *shape)) for kind, lead, shape in kinds]
        return tuple(a if a.dtype.kind == "i" else a.astype(dtype) for a in arrays)

    return make


def some_ignored(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    label = rng.integers(0, K, shape)
    label[::3] = -100
    return label


KINDS = {
    "real": lambda rng, shape: 2 * rng.standard_normal(shape),
    "unit": lambda rng, shape: rng.uniform(0.05, 0.95, shape),
    "bit": lambda rng, shape: rng.integers(0, 2, shape).astype(float),
    "label": lambda rng, shape: rng.integers(0, K, shape),
    "ignored": some_ignored,
    "simplex": lambda rng, shape: rng.dirichlet(np.full(shape[-1], 2.0), shape[:-1]),
    "onehot": lambda rng, shape: np.eye(shape[-1])[rng.integers(0, shape[-1], shape[:-1])],
}


def samples(*kinds: str, core: tuple[int, ...] = ()) -> Callable:
    """One array a kind, each of shape (N, *core), labels of shape (N,)."""
    scalar = ("label", "ignored", "bit")
    return draw(*((kind, (N,), () if kind in scalar else core) for kind in kinds))


PAIR = samples("real", "real")
ROWS = samples("real", "real", core=(K,))
LOGITS = samples("real", "label", core=(K,))
MAPS = samples("real", "real", core=(2, 3, 2))


@dataclass(frozen=True)
class Case:
    """A loss beside the same loss of a peer.

    Attributes:
        loss: its name here.
        inputs: makes the arrays.
        peer: the peer's loss, from its module and the arrays. A third argument `how`, where `own` holds, is
            the reduction, and without it the result is one value a sample.
        keywords: parameters and the like of the call here.
        own: whether the peer's own reductions are used, too.
        hessian: whether the peer can differentiate twice.
        note: what tells the case from others of the loss.
    """

    loss: str
    inputs: Callable
    peer: Callable
    keywords: dict[str, Any] = field(default_factory=dict)
    own: bool = True
    hessian: bool = True
    note: str = ""

    def __str__(self) -> str:
        return f"{self.loss}-{self.note}" if self.note else self.loss


def formula(loss: str, inputs: Callable, peer: Callable, note: str = "", **keywords: Any) -> Case:
    """A case whose peer is a formula or a function without reductions."""
    return Case(loss, inputs, peer, keywords, own=False, note=note)


def torch_focal(t: Any, z: Any, y: Any, alpha: float, gamma: float) -> Any:
    """torchvision.ops.sigmoid_focal_loss, line by line."""
    p = t.sigmoid(z)
    ce = t.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
    p_t = p * y + (1 - p) * (1 - y)
    return (alpha * y + (1 - alpha) * (1 - y)) * ce * (1 - p_t) ** gamma


def torch_js(t: Any, q: Any, p: Any) -> Any:
    """Half the two Kullback-Leibler divergences from the mean."""
    kl = t.nn.functional.kl_div
    m = ((p + q) / 2).log()
    return (kl(m, p, reduction="none") + kl(m, q, reduction="none")).sum(-1) / 2


def torch_gram(t: Any, x: Any) -> Any:
    rows = x.flatten(-2)
    return rows @ rows.mT / rows.shape[-2] / rows.shape[-1]


def torch_style(t: Any, x: Any, y: Any) -> Any:
    return ((torch_gram(t, x) - torch_gram(t, y)) ** 2).sum((-2, -1))


def torch_standard(t: Any, x: Any) -> Any:
    return (x - x.mean(-1, keepdim=True)) / x.std(-1, keepdim=True, correction=0)


def torch_unit(t: Any, x: Any) -> Any:
    low = x.amin(-1, keepdim=True)
    return (x - low) / (x.amax(-1, keepdim=True) - low)


def torch_center(t: Any, x: Any, c: Any, y: Any) -> Any:
    return ((x - c[t.arange(len(x)), y]) ** 2).sum(-1) / 2


def torch_contrastive(t: Any, a: Any, b: Any, s: Any, margin: float) -> Any:
    d = t.linalg.vector_norm(a - b, dim=-1)
    return s * d**2 / 2 + (1 - s) * t.relu(margin - d) ** 2 / 2


def f(name: str, **options: Any) -> Callable:
    """A loss of torch.nn.functional, with its own reductions."""
    return lambda t, x, y, how: getattr(t.nn.functional, name)(x, y, reduction=how, **options)


def torch_kl(t: Any, q: Any, p: Any, how: str) -> Any:
    kl = t.nn.functional.kl_div
    if how == "none":
        return kl(q.log(), p, reduction="none").sum(-1)
    return kl(q.log(), p, reduction="batchmean" if how == "mean" else how)


CENTERS = draw(("real", (N,), (3,)), ("real", (N,), (K, 3)), ("label", (N,), ()))

TORCH = [
    Case("mse", PAIR, f("mse_loss")),
    Case("mae", PAIR, f("l1_loss")),
    Case("huber", PAIR, f("huber_loss")),
    Case("huber", PAIR, f("huber_loss", delta=0.3), {"delta": 0.3}, note="delta"),
    Case("smooth_l1", PAIR, f("smooth_l1_loss")),
    Case("smooth_l1", PAIR, f("smooth_l1_loss", beta=2.5), {"beta": 2.5}, note="beta"),
    Case("smooth_l1", PAIR, f("smooth_l1_loss", beta=0.0), {"beta": 0.0}, note="beta-0"),
    formula("l1_norm", ROWS, lambda t, x, y: t.linalg.vector_norm(x - y, ord=1, dim=-1)),
    formula("l2_norm", ROWS, lambda t, x, y: t.linalg.vector_norm(x - y, dim=-1)),
    # torch's second derivative of it has an epsilon of 1e-12 in a denominator, which shows in float64.
    Case("binary_cross_entropy", samples("unit", "unit"), f("binary_cross_entropy"), hessian=False),
    formula(
        "binary_cross_entropy",
        samples("unit", "unit"),
        lambda t, q, y: -(y * q.log() + (1 - y) * (-q).log1p()),
        "formula",
    ),
    Case("binary_cross_entropy_with_logits", samples("real", "unit"), f("binary_cross_entropy_with_logits")),
    Case(
        "binary_cross_entropy_with_logits",
        samples("real", "bit"),
        lambda t, z, y, how: t.nn.functional.binary_cross_entropy_with_logits(
            z, y, reduction=how, pos_weight=t.tensor(3.0, dtype=z.dtype)
        ),
        {"pos_weight": 3.0},
        note="pos_weight",
    ),
    formula(
        "binary_cross_entropy_with_logits",
        samples("real", "bit"),
        lambda t, z, y: t.nn.functional.soft_margin_loss(z, 2 * y - 1, reduction="none"),
        note="soft_margin",
    ),
    formula("binary_focal", samples("real", "bit"), lambda t, z, y: torch_focal(t, z, y, 0.25, 2.0)),
    formula(
        "binary_focal",
        samples("real", "bit"),
        lambda t, z, y: torch_focal(t, z, y, 0.75, 0.5),
        "alpha-gamma",
        alpha=0.75,
        gamma=0.5,
    ),
    formula(
        "binary_focal",
        samples("real", "bit"),
        lambda t, z, y: torch_focal(t, z, y, 0.5, 0.0),
        "gamma-0",
        alpha=0.5,
        gamma=0.0,
    ),
    Case("softmax_cross_entropy", LOGITS, f("cross_entropy")),
    Case(
        "softmax_cross_entropy",
        samples("real", "ignored", core=(K,)),
        f("cross_entropy"),
        {"ignore_index": -100},
        note="ignore_index",
    ),
    formula(
        "softmax_cross_entropy",
        LOGITS,
        lambda t, z, y: t.nn.functional.nll_loss(z.log_softmax(-1), y, reduction="none"),
        "nll",
    ),
    Case("soft_target_cross_entropy", samples("real", "simplex", core=(K,)), f("cross_entropy")),
    formula(
        "cross_entropy", samples("simplex", "simplex", core=(K,)), lambda t, q, p: -(p * q.log()).sum(-1)
    ),
    Case(
        "sparse_cross_entropy",
        samples("simplex", "label", core=(K,)),
        lambda t, q, y, how: t.nn.functional.nll_loss(q.log(), y, reduction=how),
    ),
    formula(
        "softmax_focal",
        LOGITS,
        lambda t, z, y: (
            (1 - t.exp(-t.nn.functional.cross_entropy(z, y, reduction="none"))) ** 1.5
            * t.nn.functional.cross_entropy(z, y, reduction="none")
        ),
        gamma=1.5,
    ),
    Case("kl_divergence", samples("simplex", "simplex", core=(K,)), torch_kl),
    formula("js_divergence", samples("simplex", "simplex", core=(K,)), torch_js),
    formula(
        "l2_normalized_mse",
        ROWS,
        lambda t, x, y: 2 - 2 * t.nn.functional.cosine_similarity(x, y, dim=-1),
    ),
    formula(
        "standardized_mse",
        ROWS,
        lambda t, x, y: ((torch_standard(t, x) - torch_standard(t, y)) ** 2).mean(-1),
    ),
    formula("min_max_mse", ROWS, lambda t, x, y: ((torch_unit(t, x) - torch_unit(t, y)) ** 2).mean(-1)),
    formula("feature_reconstruction", MAPS, lambda t, x, y: ((x - y) ** 2).flatten(1).mean(-1)),
    formula("gram_style", MAPS, torch_style),
    formula(
        "perceptual",
        samples("real", "real", "real", core=(2, 3, 2)),
        lambda t, x, y, s: 0.5 * ((x - y) ** 2).flatten(1).mean(-1) + 3 * torch_style(t, x, s),
        content_weight=0.5,
        style_weight=3.0,
    ),
    formula("center", CENTERS, torch_center),
    formula(
        "softmax_center",
        draw(("real", (N,), (K,)), ("real", (N,), (3,)), ("real", (N,), (K, 3)), ("label", (N,), ())),
        lambda t, z, x, c, y: (
            t.nn.functional.cross_entropy(z, y, reduction="none") + 0.1 * torch_center(t, x, c, y)
        ),
        strength=0.1,
    ),
    formula(
        "contrastive",
        samples("real", "real", "bit", core=(3,)),
        lambda t, a, b, s: torch_contrastive(t, a, b, s, 4.0),
        margin=4.0,
    ),
]

OPTAX = [
    formula("mse", PAIR, lambda o, x, y: o.squared_error(x, y)),
    formula("huber", PAIR, lambda o, x, y: o.huber_loss(x, y, delta=0.7), delta=0.7),
    formula(
        "binary_cross_entropy_with_logits",
        samples("real", "unit"),
        lambda o, z, y: o.sigmoid_binary_cross_entropy(z, y),
    ),
    formula(
        "binary_focal",
        samples("real", "bit"),
        lambda o, z, y: o.sigmoid_focal_loss(z, y, alpha=0.25, gamma=2.0),
    ),
    formula(
        "softmax_cross_entropy", LOGITS, lambda o, z, y: o.softmax_cross_entropy_with_integer_labels(z, y)
    ),
    formula(
        "soft_target_cross_entropy",
        samples("real", "simplex", core=(K,)),
        lambda o, z, p: o.softmax_cross_entropy(z, p),
    ),
    formula(
        "kl_divergence",
        samples("simplex", "simplex", core=(K,)),
        lambda o, q, p: o.kl_divergence(importlib.import_module("jax.numpy").log(q), p),
    ),
    formula("l2_normalized_mse", ROWS, lambda o, x, y: 2 * o.cosine_distance(x, y)),
]


def weights(rng: np.random.Generator) -> np.ndarray:
    """Unequal weights, one of them zero."""
    weight = rng.uniform(0.25, 2.0, N)
    weight[1] = 0.0
    return weight


def close(got: Any, expected: Any, dtype: Any, what: str) -> None:
    """Equal up to the rounding of the peer.

    A peer works in the dtype throughout: an entry is the difference of numbers as large as the largest one of
    the array, after some tens of operations, and a float32 sum of N entries adds N more roundings; a second
    derivative of a normalised row divides by the row's small spread, twice. 256 eps of the largest entry
    holds all of it; a wrong constant or sign is off by 1e4 times that in float32 already.
    """
    got, expected = np.asarray(got, dtype=float), np.asarray(expected, dtype=float)
    assert got.shape == expected.shape, what
    bound = 256 * np.finfo(dtype).eps * max(abs(expected).max(initial=0.0), 1e-30)
    assert (abs(got - expected) <= bound).all(), f"{what}: {got} is not {expected}"


def predictions(loss: Any) -> list[int]:
    return [i for i, entry in enumerate(loss.info.inputs) if entry.kind == "prediction"]


def as_tuple(found: Any) -> tuple[np.ndarray, ...]:
    return found if isinstance(found, tuple) else (found,)


def compare(case: Case, dtype: Any, peer: Callable, second: Callable) -> None:
    """Hold every reduction, with and without weights, against a peer.

    Args:
        case: the case.
        dtype: the precision.
        peer: from (inputs, reduction, weight) to the value and the gradients, one a prediction.
        second: from (inputs, weight, vectors) to the Hessian times vectors, of the weighted mean.
    """
    rng = np.random.default_rng(7)
    loss, inputs = getattr(sk, case.loss), case.inputs(rng, dtype)
    for weight in (None, weights(rng)):
        for how in REDUCTIONS:
            value, grad = loss.value_and_grad(*inputs, reduction=how, weight=weight, **case.keywords)
            expected, grads = peer(inputs, how, weight)
            close(value, expected, dtype, f"{how} value")
            for got, wanted in zip(as_tuple(grad), grads, strict=True):
                close(got, wanted, dtype, f"{how} gradient")
    if not case.hessian or dtype != np.float64:
        return
    places = predictions(loss)
    vectors = [rng.standard_normal(inputs[i].shape) for i in places]
    vector = vectors[0] if len(places) == 1 else tuple(vectors)
    products = loss.hvp(*inputs, vector=vector, weight=weight, **case.keywords)
    for got, wanted in zip(as_tuple(products), second(inputs, weight, vectors), strict=True):
        close(got, wanted, dtype, "Hessian times a vector")
    _, hess = loss.grad_and_hess(*inputs, weight=weight, **case.keywords)
    for at, (place, got) in enumerate(zip(places, as_tuple(hess), strict=True)):
        core = inputs[place].shape[1:]
        diagonal = np.zeros(inputs[place].shape)
        for entry in np.ndindex(*core):  # one entry of every sample at a time: samples don't mix
            unit = [np.zeros_like(v) for v in vectors]
            unit[at][(slice(None), *entry)] = 1.0
            diagonal[(slice(None), *entry)] = second(inputs, weight, unit)[at][(slice(None), *entry)]
        close(got, diagonal, dtype, "the Hessian's diagonal")


def ids(table: list[Case]) -> list[str]:
    return [str(case) for case in table]


def weight_of_mean(case: Case, inputs: tuple[np.ndarray, ...], weight: np.ndarray | None) -> np.ndarray:
    """One weight a sample, 0 for an ignored one."""
    counted = np.ones(N) if weight is None else weight
    if "ignore_index" in case.keywords:
        counted = counted * (inputs[-1] != case.keywords["ignore_index"])
    return counted


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", TORCH, ids=ids(TORCH))
def test_torch(case, dtype):
    torch = pytest.importorskip("torch")
    places = predictions(getattr(sk, case.loss))

    def reduced(tensors, inputs, how, weight):
        if case.own and weight is None:
            return case.peer(torch, *tensors, how)
        each = case.peer(torch, *tensors, "none") if case.own else case.peer(torch, *tensors)
        full = torch.from_numpy(weight_of_mean(case, inputs, weight)).to(each.dtype)
        each = each * full
        return each if how == "none" else each.sum() / (full.sum() if how == "mean" else 1)

    def tensors_of(inputs):
        tensors = [torch.from_numpy(array.copy()) for array in inputs]
        return tensors, [tensors[i].requires_grad_() for i in places]

    def peer(inputs, how, weight):
        tensors, leaves = tensors_of(inputs)
        value = reduced(tensors, inputs, how, weight)
        return value.detach().numpy(), [g.numpy() for g in torch.autograd.grad(value.sum(), leaves)]

    def second(inputs, weight, vectors):
        tensors, leaves = tensors_of(inputs)
        value = reduced(tensors, inputs, "mean", weight)
        grads = torch.autograd.grad(value, leaves, create_graph=True)
        along = sum((g * torch.from_numpy(v)).sum() for g, v in zip(grads, vectors, strict=True))
        # A linear loss has a gradient that doesn't depend on anything: torch has no graph for it.
        if not along.requires_grad:
            return [np.zeros_like(v) for v in vectors]
        products = torch.autograd.grad(along, leaves, materialize_grads=True)
        return [product.numpy(force=True) for product in products]

    compare(case, dtype, peer, second)


def test_every_shipped_loss_has_a_case():
    assert {case.loss for case in TORCH} == set(sk.__all__)


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
def test_torch_weights_of_classes_and_label_smoothing(dtype):
    """Two options of torch's that are a weight and a target here."""
    torch = pytest.importorskip("torch")
    z, y = LOGITS(np.random.default_rng(3), dtype)
    classes = np.array([0.5, 2.0, 1.0, 3.0], dtype)
    smooth = (0.9 * np.eye(K)[y] + 0.1 / K).astype(dtype)
    for how in REDUCTIONS:
        for options, found in (
            ({"weight": torch.from_numpy(classes)}, sk.softmax_cross_entropy.value_and_grad(
                z, y, weight=classes[y], reduction=how)),
            ({"label_smoothing": 0.1}, sk.soft_target_cross_entropy.value_and_grad(
                z, smooth, reduction=how)),
        ):  # fmt: skip
            logits = torch.from_numpy(z.copy()).requires_grad_()
            value = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y), reduction=how, **options)
            value.sum().backward()
            close(found[0], value.detach().numpy(), dtype, f"{how} value")
            close(found[1], logits.grad.numpy(), dtype, f"{how} gradient")


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize("case", OPTAX, ids=ids(OPTAX))
def test_optax(case, dtype):
    jax = pytest.importorskip("jax")
    optax = pytest.importorskip("optax")
    if not hasattr(jax, "enable_x64"):
        pytest.skip("this version of jax has no jax.enable_x64, which float64 needs")

    def reduced(x, rest, weight, how):
        each = case.peer(optax.losses, x, *rest)
        full = weight.astype(each.dtype)
        each = each * full
        return each if how == "none" else each.sum() / (full.sum() if how == "mean" else 1)

    @partial(jax.jit, static_argnums=3)
    def value_and_grad(x, rest, weight, how):
        grad = jax.grad(lambda x: reduced(x, rest, weight, how).sum())(x)
        return reduced(x, rest, weight, how), grad

    @jax.jit
    def product(x, rest, weight, vector):
        return jax.jvp(jax.grad(lambda x: reduced(x, rest, weight, "mean")), (x,), (vector,))[1]

    def peer(inputs, how, weight):
        x, *rest = inputs
        value, grad = value_and_grad(x, rest, np.ones(N) if weight is None else weight, how)
        return np.asarray(value), [np.asarray(grad)]

    def second(inputs, weight, vectors):
        x, *rest = inputs
        return [np.asarray(product(x, rest, weight, vectors[0]))]

    with jax.enable_x64(True):
        compare(case, dtype, peer, second)


#: (loss, inputs, the class in sklearn._loss and its arguments, the factor to ours, keywords of ours)
SKLEARN = [
    ("mse", PAIR, "HalfSquaredError", {}, 2.0, {}),
    ("mae", PAIR, "AbsoluteError", {}, 1.0, {}),
    ("huber", PAIR, "HuberLoss", {"delta": 0.8}, 1.0, {"delta": 0.8}),
    ("binary_cross_entropy_with_logits", samples("real", "bit"), "HalfBinomialLoss", {}, 1.0, {}),
    ("softmax_cross_entropy", LOGITS, "HalfMultinomialLoss", {"n_classes": K}, 1.0, {}),
]


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("name", "inputs", "peer", "options", "factor", "keywords"), SKLEARN)
def test_sklearn(name, inputs, peer, options, factor, keywords, dtype):
    losses = pytest.importorskip("sklearn._loss")
    rng = np.random.default_rng(5)
    raw, target = inputs(rng, dtype)
    for weight in (None, weights(rng).astype(dtype)):
        theirs = getattr(losses, peer)(**options)
        full = np.ones(N, dtype) if weight is None else weight
        loss = getattr(sk, name)
        values = factor * theirs.loss(target.astype(dtype), raw, weight)
        close(loss.value(raw, target, weight=weight, reduction="none", **keywords), values, dtype, "values")
        close(
            loss.value(raw, target, weight=weight, **keywords), values.sum() / full.sum(), dtype, "the mean"
        )
        grad, hess = theirs.gradient_hessian(target.astype(dtype), raw, weight)
        if name == "mae":  # the exact second derivative is 0; theirs is 1, for boosting
            hess = np.zeros_like(hess)
        if name == "huber":
            assert 0 < hess.sum() < full.sum(), "both branches occur"
        found = loss.grad_and_hess(raw, target, weight=weight, reduction="sum", **keywords)
        close(found[0], factor * grad, dtype, "gradient")
        close(found[1], factor * hess, dtype, "Hessian")


#: (loss, inputs, from the modules of a peer and the arrays to one value a sample, keywords of ours)
SCIPY = [
    ("kl_divergence", samples("simplex", "simplex", core=(K,)),
     lambda s, d, q, p: s.rel_entr(p, q).sum(-1), {}),
    ("js_divergence", samples("simplex", "simplex", core=(K,)),
     lambda s, d, q, p: d.jensenshannon(p, q, axis=-1) ** 2, {}),
    ("huber", PAIR, lambda s, d, x, y: s.huber(0.6, x - y), {"delta": 0.6}),
    ("softmax_cross_entropy", LOGITS,
     lambda s, d, z, y: -s.log_softmax(z, axis=-1)[np.arange(N), y], {}),
    ("cross_entropy", samples("simplex", "simplex", core=(K,)),
     lambda s, d, q, p: (s.entr(p) + s.rel_entr(p, q)).sum(-1), {}),
    ("l1_norm", ROWS, lambda s, d, x, y: np.array(list(map(d.cityblock, x, y))), {}),
    ("l2_norm", ROWS, lambda s, d, x, y: np.array(list(map(d.euclidean, x, y))), {}),
    ("l2_normalized_mse", ROWS, lambda s, d, x, y: 2 * np.array(list(map(d.cosine, x, y))), {}),
    ("standardized_mse", ROWS, lambda s, d, x, y: 2 * np.array(list(map(d.correlation, x, y))), {}),
]  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float32, np.float64], ids=["float32", "float64"])
@pytest.mark.parametrize(("name", "inputs", "peer", "keywords"), SCIPY, ids=[row[0] for row in SCIPY])
def test_scipy(name, inputs, peer, keywords, dtype):
    special = pytest.importorskip("scipy.special")
    distance = pytest.importorskip("scipy.spatial.distance")
    arrays = inputs(np.random.default_rng(11), dtype)
    expected = peer(special, distance, *arrays)
    value, _ = getattr(sk, name).value_and_grad(*arrays, reduction="none", **keywords)
    close(value, expected, dtype, name)


#: (loss, inputs, from sklearn.metrics, the arrays and a weight to the mean)
METRICS = [
    ("mse", PAIR, lambda m, x, y, w: m.mean_squared_error(y, x, sample_weight=w)),
    ("mae", PAIR, lambda m, x, y, w: m.mean_absolute_error(y, x, sample_weight=w)),
    ("binary_cross_entropy", samples("unit", "bit"),
     lambda m, q, y, w: m.log_loss(y, q, sample_weight=w, labels=[0, 1])),
    ("sparse_cross_entropy", samples("simplex", "label", core=(K,)),
     lambda m, q, y, w: m.log_loss(y, q, sample_weight=w, labels=range(K))),
    ("cross_entropy", samples("simplex", "onehot", core=(K,)),
     lambda m, q, p, w: m.log_loss(p.argmax(-1), q, sample_weight=w, labels=range(K))),
]  # fmt: skip


@pytest.mark.parametrize(("name", "inputs", "peer"), METRICS, ids=[row[0] for row in METRICS])
def test_sklearn_metrics(name, inputs, peer):
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(13)
    arrays = inputs(rng, np.float64)
    for weight in (None, weights(rng)):
        value, _ = getattr(sk, name).value_and_grad(*arrays, weight=weight)
        close(value, peer(metrics, *arrays, weight), np.float64, name)


# Where peers are wrong.


def torch_functional(name: str, *rest: Any, **options: Any) -> Callable:
    """A loss of torch.nn.functional, of the prediction alone; a number given beside it is its target."""

    def call(torch: Any, x: Any) -> Any:
        more = [torch.full_like(x, r) if isinstance(r, float) else torch.tensor(r) for r in rest]
        return getattr(torch.nn.functional, name)(x, *more, reduction="sum", **options)

    return call


def torch_value(call: Callable, x: Any) -> float:
    torch = pytest.importorskip("torch")
    return float(call(torch, torch.from_numpy(x)))


def torch_grad(call: Callable, x: Any) -> float:
    """The first entry of a gradient by torch."""
    torch = pytest.importorskip("torch")
    leaf = torch.from_numpy(x.copy()).requires_grad_()
    return float(torch.autograd.grad(call(torch, leaf), leaf)[0].flatten()[0])


def optax_grad(call: Callable, x: Any) -> float:
    jax = pytest.importorskip("jax")
    losses = pytest.importorskip("optax").losses
    if not hasattr(jax, "enable_x64"):
        pytest.skip("this version of jax has no jax.enable_x64, which float64 needs")
    with jax.enable_x64(True):
        return float(jax.grad(lambda x: call(losses, x))(jax.numpy.asarray(x)).flatten()[0])


def sklearn_loss(name: str, **options: Any) -> Any:
    return getattr(pytest.importorskip("sklearn._loss"), name)(**options)


def kl_exact(q: Any, p: Any) -> mpf:
    q, p = ([mpf(float(x)) for x in row] for row in (q, p))
    return mp.fsum(b * mp.log(b / a) for a, b in zip(q, p, strict=True))


F32, F64 = np.float32, np.float64
CONFIDENT = np.array([[40.0, 0.0, 0.0]])
NEAR = np.array([1, -1, 2, -2]) * 2.0**-20
EQUAL32, NEAR32 = np.full(4, 0.25, F32), (0.25 + NEAR).astype(F32)
RIGHT = np.array([0])

#: (what, ours, a peer's, the exact result, dtype). The exact results are functions, for their digits.
WRONG = [
    (
        "softmax cross-entropy of a confident row: 1 plus 8e-18 is 1, so torch says 0",
        lambda: sk.softmax_cross_entropy.value(CONFIDENT, RIGHT),
        lambda: torch_value(torch_functional("cross_entropy", [0]), CONFIDENT),
        lambda: mp.log1p(2 * mp.exp(-40)),
        F64,
    ),
    (
        "and its gradient is p - 1, which is 0",
        lambda: sk.softmax_cross_entropy.grad(CONFIDENT, RIGHT)[0, 0],
        lambda: torch_grad(torch_functional("cross_entropy", [0]), CONFIDENT),
        lambda: -2 * mp.exp(-40) / (1 + 2 * mp.exp(-40)),
        F64,
    ),
    (
        "in optax, too",
        lambda: sk.softmax_cross_entropy.grad(CONFIDENT, RIGHT)[0, 0],
        lambda: optax_grad(lambda o, z: o.softmax_cross_entropy_with_integer_labels(z, 0), CONFIDENT[0]),
        lambda: -2 * mp.exp(-40) / (1 + 2 * mp.exp(-40)),
        F64,
    ),
    (
        "and in scikit-learn",
        lambda: sk.softmax_cross_entropy.grad(CONFIDENT, RIGHT)[0, 0],
        lambda: sklearn_loss("HalfMultinomialLoss", n_classes=3).gradient(np.array([0.0]), CONFIDENT)[0, 0],
        lambda: -2 * mp.exp(-40) / (1 + 2 * mp.exp(-40)),
        F64,
    ),
    (
        "the gradient of the binary cross-entropy at a confident logit: torch subtracts 1 from a sigmoid",
        lambda: sk.binary_cross_entropy_with_logits.grad(np.array([40.0]), np.array([1.0]))[0],
        lambda: torch_grad(torch_functional("binary_cross_entropy_with_logits", 1.0), np.array([40.0])),
        lambda: -1 / (1 + mp.exp(40)),
        F64,
    ),
    (
        "binary cross-entropy of a tiny probability: torch's logarithm ends at -100",
        lambda: sk.binary_cross_entropy.value(np.array([1e-60]), np.array([1.0])),
        lambda: torch_value(torch_functional("binary_cross_entropy", 1.0), np.array([1e-60])),
        lambda: -mp.log(mpf(1e-60)),
        F64,
    ),
    (
        "and its gradient at 1e12",
        lambda: sk.binary_cross_entropy.grad(np.array([1e-60]), np.array([1.0]))[0],
        lambda: torch_grad(torch_functional("binary_cross_entropy", 1.0), np.array([1e-60])),
        lambda: -1 / mpf(1e-60),
        F64,
    ),
    (
        "sklearn.metrics.log_loss clips at the machine's epsilon",
        lambda: sk.binary_cross_entropy.value(np.array([1e-60]), np.array([1.0])),
        lambda: pytest.importorskip("sklearn.metrics").log_loss([1], [1e-60], labels=[0, 1]),
        lambda: -mp.log(mpf(1e-60)),
        F64,
    ),
    (
        "log(1 + exp(100)) in float32: torch's soft margin overflows",
        lambda: sk.binary_cross_entropy_with_logits.value(np.array([100], F32), np.array([0], F32)),
        lambda: torch_value(torch_functional("soft_margin_loss", -1.0), np.array([100], F32)),
        lambda: mp.log1p(mp.exp(100)),
        F32,
    ),
    (
        "and its gradient is inf/inf",
        lambda: sk.binary_cross_entropy_with_logits.grad(np.array([100], F32), np.array([0], F32))[0],
        lambda: torch_grad(torch_functional("soft_margin_loss", -1.0), np.array([100], F32)),
        lambda: 1 / (1 + mp.exp(-100)),
        F32,
    ),
    (
        "divergence of nearly equal rows in float32: torch subtracts logarithms",
        lambda: sk.kl_divergence.value(NEAR32, EQUAL32),
        lambda: torch_value(
            lambda t, q: t.nn.functional.kl_div(q.log(), t.from_numpy(EQUAL32), reduction="sum"), NEAR32
        ),
        lambda: kl_exact(NEAR32, EQUAL32),
        F32,
    ),
    (
        "focal loss of a confident logit in float32: 1 - p_t is 0",
        lambda: sk.binary_focal.value(np.array([20], F32), np.array([1], F32)),
        lambda: torch_value(lambda t, z: torch_focal(t, z, t.ones_like(z), 0.25, 2.0), np.array([20], F32)),
        lambda: (mp.exp(-20) / (1 + mp.exp(-20))) ** 2 * mp.log1p(mp.exp(-20)) / 4,
        F32,
    ),
    (
        "its gradient for gamma < 1 is 0 * inf",
        lambda: sk.binary_focal.grad(np.array([20], F32), np.array([1], F32), gamma=0.5)[0],
        lambda: torch_grad(lambda t, z: torch_focal(t, z, t.ones_like(z), 0.25, 0.5), np.array([20], F32)),
        lambda: mp.diff(
            lambda z: (mp.exp(-z) / (1 + mp.exp(-z))) ** mpf("0.5") * mp.log1p(mp.exp(-z)) / 4, 20
        ),
        F32,
    ),
    (
        "the norm of a long vector: torch squares without scaling",
        lambda: sk.l2_norm.value(np.array([3e200, 4e200]), np.zeros(2)),
        lambda: torch_value(lambda t, x: t.linalg.vector_norm(x), np.array([3e200, 4e200])),
        lambda: mp.hypot(mpf(3e200), mpf(4e200)),
        F64,
    ),
    (
        "the angle between nearly parallel vectors: scipy subtracts a cosine from 1",
        lambda: sk.l2_normalized_mse.value(np.array([1, 1e-9]), np.array([1.0, 0.0])),
        lambda: 2 * pytest.importorskip("scipy.spatial.distance").cosine([1, 1e-9], [1, 0]),
        lambda: 2 - 2 / mp.hypot(1, mpf(1e-9)),
        F64,
    ),
]


@pytest.mark.parametrize(
    ("ours", "theirs", "exact", "dtype"), [row[1:] for row in WRONG], ids=[r[0] for r in WRONG]
)
def test_where_a_peer_is_wrong(ours, theirs, exact, dtype):
    with mp.workdps(60):
        truth = exact()
        # What the kernels promise for rows; element-wise losses keep half of it.
        assert ulp_error(dtype(ours()), truth, dtype) <= 8
        error = ulp_error(dtype(theirs()), truth, dtype)
    if error <= 1000:
        pytest.skip(f"this version of the peer is right: {error:.3g} ulp")
