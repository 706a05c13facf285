"""What the shipped kernels promise, on all of them: a table of the catalogue's losses drives most tests.

How exact results are is for the oracle to say; here the entry points are held against each other, against
differences, and against what a loss must fulfil whatever its formula is.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
import pytest
import symloss_kernels as sk

SIZES = {"K": 4, "M": 4, "D": 3, "C": 2, "H": 3, "W": 2}
N = 6
ENTRIES = ("value", "grad", "value_and_grad", "grad_and_hess", "hvp")
ROWS = ("huber", "softmax_cross_entropy", "softmax_center", "contrastive", "gram_style", "standardized_mse")
#: Parameters that differ from the defaults, for all losses that have them.
UNUSUAL = {
    "delta": 0.7, "beta": 0.6, "gamma": 1.5, "alpha": 0.4, "margin": 4.0, "pos_weight": 2.5, "strength": 0.3,
    "content_weight": 2.0, "style_weight": 0.5,
}  # fmt: skip


class Sample(NamedTuple):
    """The arrays of a call, and the numbers of those that are predictions."""

    loss: Any
    inputs: list[np.ndarray]
    places: list[int]
    parameters: dict[str, float]

    def call(self, entry: str, inputs: Any = None, **keywords: Any) -> Any:
        """One entry point, with this sample's inputs and parameters unless others are given."""
        given = self.inputs if inputs is None else inputs
        if entry == "hvp" and "vector" not in keywords:
            keywords["vector"] = self.vector(given)
        return getattr(self.loss, entry)(*given, **(self.parameters | keywords))

    def vector(self, inputs: Any) -> Any:
        """A vector in the shape of the predictions."""
        rng = np.random.default_rng(99)
        parts = [rng.standard_normal(np.shape(inputs[i])) for i in self.places]
        return joined([part.astype(inputs[self.places[0]].dtype) for part in parts])

    def at(self, rows: Any) -> list[np.ndarray]:
        """The inputs of some samples only."""
        return [np.ascontiguousarray(array[rows]) for array in self.inputs]


def joined(parts: list[Any]) -> Any:
    """One array, or a tuple of several, as `vector` and `out` take them."""
    return parts[0] if len(parts) == 1 else tuple(parts)


def parts_of(found: Any) -> list[np.ndarray]:
    """The arrays of one prediction or several."""
    return list(found) if isinstance(found, tuple) else [found]


def flat(result: Any) -> list[Any]:
    """All numbers and arrays in a result."""
    return [leaf for part in result for leaf in flat(part)] if isinstance(result, tuple) else [result]


def ordinary(loss: Any, n: int, sizes: dict[str, int], dtype: Any, rng: np.random.Generator) -> list[np.ndarray]:
    """Ordinary inputs inside the domain of a loss: n samples, with dimensions of these sizes."""
    inputs = []
    for entry in loss.info.inputs:
        shape = (n, *(sizes[dim] for dim in entry.core))
        if entry.kind == "label":
            inputs.append(rng.integers(0, sizes[entry.dims[0]], shape))
        elif entry.values is not None:
            inputs.append(rng.choice(entry.values, shape).astype(dtype))
        elif entry.high == 1.0:
            inputs.append(rng.uniform(0.15, 0.85, shape).astype(dtype))
        else:
            inputs.append((1.5 * rng.standard_normal(shape)).astype(dtype))
    return inputs


def sample(name: str, n: int = N, dtype: Any = np.float64, seed: int = 1) -> Sample:
    """Ordinary inputs inside the domain of a loss, and parameters that are not the defaults."""
    loss = getattr(sk, name)
    inputs = ordinary(loss, n, SIZES, dtype, np.random.default_rng(seed))
    places = [i for i, entry in enumerate(loss.info.inputs) if entry.kind == "prediction"]
    return Sample(loss, inputs, places, {entry.name: UNUSUAL[entry.name] for entry in loss.info.parameters})


def same_bits(got: Any, expected: Any, what: str = "") -> None:
    """The same numbers to the last bit; a NaN equals a NaN."""
    got, expected = flat(got), flat(expected)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        a, b = np.asarray(a), np.asarray(b)
        assert a.dtype == b.dtype, what
        np.testing.assert_array_equal(a, b, err_msg=what)


def close(got: Any, expected: Any, tolerance: float, what: str = "") -> None:
    """Equal within `tolerance` of the largest entry."""
    got, expected = flat(got), flat(expected)
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        bound = tolerance * max(1e-30, float(np.max(np.abs(b), initial=0.0)))
        np.testing.assert_allclose(a, b, rtol=0, atol=bound, err_msg=what)


def every(names: Any = sk.__all__) -> Any:
    return pytest.mark.parametrize("name", names)


# Entry points agree


@every()
def test_value_gradient_and_both_at_once_agree_to_the_last_bit(name):
    made = sample(name)
    weight = np.linspace(0.5, 2.0, N)
    for how in ("mean", "none"):
        value, grad = made.call("value_and_grad", weight=weight, reduction=how)
        same_bits(made.call("value", weight=weight, reduction=how), value, "value")
        alone = made.call("grad", weight=weight, reduction=how)
        same_bits(alone, grad, "gradient")
    # The Hessian shares more factors: a few roundings of the largest entry.
    close(
        made.call("grad_and_hess", weight=weight, reduction="none")[0], grad, 1e-14, "gradient with Hessian"
    )


@every()
def test_the_hessians_diagonal_is_its_product_with_unit_vectors(name):
    made = sample(name)
    _, hess = made.call("grad_and_hess", reduction="sum")
    shapes = [made.inputs[i].shape for i in made.places]
    for place, (shape, diagonal) in enumerate(zip(shapes, parts_of(hess), strict=True)):
        for entry in np.ndindex(*shape[1:]):
            vectors = [np.zeros(other) for other in shapes]
            vectors[place][(slice(None), *entry)] = 1.0
            product = parts_of(made.call("hvp", vector=joined(vectors), reduction="sum"))[place]
            # Both have the rounding errors of terms that cancel: of the size of the largest entry.
            found, wanted = product[(slice(None), *entry)], diagonal[(slice(None), *entry)]
            np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-13 * max(1e-30, abs(diagonal).max()))


@every()
def test_hessian_is_symmetric(name):
    made = sample(name)
    rng = np.random.default_rng(4)
    u, v = ([rng.standard_normal(made.inputs[i].shape) for i in made.places] for _ in range(2))

    def product(a, b):
        pairs = zip(a, parts_of(made.call("hvp", vector=joined(b))), strict=True)
        return np.concatenate([(x * y).ravel() for x, y in pairs])

    left, right = product(u, v), product(v, u)
    assert abs(left.sum() - right.sum()) <= 1e-13 * max(1e-30, abs(left).sum())


# Differences


#: The fifth derivatives of these losses, up to 1e5 of the first here, times STEP^4/30 are below 1e-9 of it,
#: and the rounding of a value, 1e-16/STEP, is 1e-12.
STEP, SLACK = 5e-4, 1e-8


def derivative(function: Any, made: Sample, vectors: list[np.ndarray]) -> list[np.ndarray]:
    """The derivative of arrays along vectors, one a prediction, by central differences of fourth order."""
    at = []
    for k in (-2, -1, 1, 2):
        inputs = list(made.inputs)
        for i, vector in zip(made.places, vectors, strict=True):
            inputs[i] = inputs[i] + k * STEP * vector
        at.append(function(inputs))
    return [(8 * (c - b) - (d - a)) / (12 * STEP) for a, b, c, d in zip(*at, strict=True)]


def one_by_one(made: Sample, rng: np.random.Generator) -> Iterator[tuple[int, list[np.ndarray]]]:
    """Vectors that are 0 for all predictions but one, for each in turn."""
    for alone in range(len(made.places)):
        vectors = [np.zeros(made.inputs[i].shape) for i in made.places]
        vectors[alone] = rng.uniform(-1, 1, vectors[alone].shape)
        yield alone, vectors


@every()
def test_gradient_against_differences_of_the_value_sample_by_sample(name):
    made = sample(name)
    rng = np.random.default_rng(2)
    grads = parts_of(made.call("grad", reduction="sum"))
    for alone, vectors in one_by_one(made, rng):
        slope = derivative(lambda inputs: [made.call("value", inputs, reduction="none")], made, vectors)
        along = (grads[alone] * vectors[alone]).reshape(N, -1).sum(-1)
        close(slope[0], along, SLACK)


@every()
def test_hessian_times_vector_against_differences_of_the_gradient_with_cross_blocks(name):
    made = sample(name)
    rng = np.random.default_rng(3)
    for _, vectors in one_by_one(made, rng):
        slopes = derivative(lambda inputs: parts_of(made.call("grad", inputs)), made, vectors)
        products = parts_of(made.call("hvp", vector=joined(vectors)))
        scale = max(abs(product).max() for product in products)
        for slope, product in zip(slopes, products, strict=True):
            # Where the Hessian is 0, gradients of size 1 still differ by their rounding.
            np.testing.assert_allclose(slope, product, rtol=0, atol=SLACK * max(scale, 1e-3))


# What a loss must fulfil


def perfect(name: str) -> tuple[Sample, list[np.ndarray]]:
    """A prediction that is right: equal to the target, or to the center, or certain of the label."""
    made = sample(name)
    inputs = [array.copy() for array in made.inputs]
    if name in ("cross_entropy", "sparse_cross_entropy", "binary_cross_entropy"):
        label = np.arange(N) % 4
        inputs[0] = np.eye(4)[label] if inputs[0].ndim > 1 else label % 2.0
        inputs[1] = label if name.startswith("sparse") else inputs[0].copy()
    elif name == "center":
        inputs[0] = inputs[1][np.arange(N), inputs[2]]
    elif name == "contrastive":
        inputs[1], inputs[2] = inputs[0].copy(), np.ones(N)
    else:
        inputs[1:] = [inputs[0].copy() for _ in inputs[1:]]
    return made, inputs


EXACT = [
    "mse", "mae", "huber", "smooth_l1", "l1_norm", "l2_norm", "min_max_mse", "standardized_mse", "gram_style",
    "feature_reconstruction", "perceptual", "center", "contrastive", "js_divergence",
]  # fmt: skip
#: From losses that are 0 at a perfect prediction to the gradient there. A row of length 1 or more
#: less its unit vector keeps a rounding; at a certain prediction, a corner of the domain, the slope is that
#: of -log q at 1, and a divergence falls with every entry of the prediction.
PERFECT = dict.fromkeys(EXACT, 0.0) | {
    "l2_normalized_mse": 1e-15,
    "kl_divergence": 1.0,
    "cross_entropy": 1.0,
    "sparse_cross_entropy": 1.0,
    "binary_cross_entropy": 1.0,
}


@pytest.mark.parametrize(("name", "size"), PERFECT.items())
def test_value_and_gradient_are_zero_at_a_perfect_prediction(name, size):
    made, inputs = perfect(name)
    values, grad = made.call("value_and_grad", inputs, reduction="none")
    np.testing.assert_array_equal(values, np.zeros(N))
    largest = max(abs(part).max() for part in parts_of(grad))
    assert largest == size if size in (0.0, 1.0) else largest <= size


@pytest.mark.parametrize("name", ["binary_cross_entropy_with_logits", "soft_target_cross_entropy"])
def test_gradient_is_zero_where_the_logits_give_the_targets_distribution(name):
    rng = np.random.default_rng(5)
    if name == "soft_target_cross_entropy":
        target = rng.dirichlet(np.ones(4), N)
        logits = np.log(target)
    else:
        target = rng.uniform(0.1, 0.9, N)
        logits = np.log(target) - np.log1p(-target)
    # The logits are rounded: to an ulp of themselves, times a curvature of at most 1/4.
    grad = getattr(sk, name).grad(logits, target, reduction="sum")
    np.testing.assert_allclose(grad, 0.0, atol=8 * np.finfo(float).eps)


def logit(p: float) -> float:
    return float(np.log(p) - np.log1p(-p))


#: (loss, target, the best constant prediction)
CONSTANTS = [
    ("mse", np.array([0.0, 1.0, 5.0, 2.0]), 2.0),
    ("mae", np.array([0.0, 1.0, 7.0, 2.0, 30.0]), 2.0),
    ("smooth_l1", np.array([-1.0, 0.0, 100.0]), -0.0),
    ("huber", np.array([-5.0, 0.0, 100.0]), 0.0),
    ("binary_cross_entropy_with_logits", np.array([1.0, 0.0, 0.0, 0.0]), logit(0.25)),
    ("binary_cross_entropy", np.array([1.0, 0.0, 0.0, 1.0, 0.0]), 0.4),
]


@pytest.mark.parametrize(("name", "target", "best"), CONSTANTS, ids=[row[0] for row in CONSTANTS])
def test_the_best_constant_prediction_is_the_right_functional(name, target, best):
    loss = getattr(sk, name)

    def slope(x):  # one prediction shared by all samples: its gradient is their sum
        grad = loss.grad(np.float64(x), target)
        assert np.shape(grad) == ()
        return grad

    assert abs(slope(best)) <= 1e-15
    assert slope(best - 1e-3) < 0 < slope(best + 1e-3)


def test_the_best_constant_logits_are_the_logarithms_of_the_classes_shares():
    label = np.array([0, 1, 1, 2, 2, 2, 2, 3])
    best = np.log(np.array([1, 2, 4, 1]) / 8)
    np.testing.assert_allclose(sk.softmax_cross_entropy.grad(best, label), np.zeros(4), atol=1e-16)
    assert abs(sk.softmax_cross_entropy.grad(best + np.eye(4)[2], label)).max() > 0.1


def test_softmax_of_two_classes_is_the_binary_loss():
    z = np.array([-800.0, -30.0, -1.0, 0.0, 0.3, 37.0, 800.0])
    for label in (np.zeros(7, int), np.ones(7, int)):
        rows = np.stack([np.zeros(7), z], -1)
        value, grad = sk.softmax_cross_entropy.value_and_grad(rows, label, reduction="none")
        _, hess = sk.softmax_cross_entropy.grad_and_hess(rows, label, reduction="none")
        binary = sk.binary_cross_entropy_with_logits
        expected, slope = binary.value_and_grad(z, label, reduction="none")
        _, curve = binary.grad_and_hess(z, label, reduction="none")
        # A few ulp each; relative to the entry itself, not to the largest.
        np.testing.assert_allclose(value, expected, rtol=1e-14)
        np.testing.assert_allclose(grad[:, 1], slope, rtol=1e-14)
        np.testing.assert_allclose(grad[:, 0], -slope, rtol=1e-14)
        np.testing.assert_allclose(hess, np.stack([curve, curve], -1), rtol=1e-14)


def test_label_conventions_agree():
    made = sample("softmax_cross_entropy")
    z, label = made.inputs
    q = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    hot = np.eye(4)[label]
    for integers, rows, x in (
        (sk.softmax_cross_entropy, sk.soft_target_cross_entropy, z),
        (sk.sparse_cross_entropy, sk.cross_entropy, q),
    ):
        close(integers.value_and_grad(x, label), rows.value_and_grad(x, hot), 1e-14)
        v = np.ones_like(x)
        v[:, 0] = 3.0
        close(integers.hvp(x, label, vector=v), rows.hvp(x, hot, vector=v), 1e-14)
    for kind in (np.int8, np.uint16, np.int32, np.uint64):
        same_bits(
            sk.softmax_cross_entropy.grad(z, label.astype(kind)), sk.softmax_cross_entropy.grad(z, label)
        )
    bits = np.array([0, 1, 1, 0, 1, 0])
    for kind in (bool, np.int32, np.float32):
        expected = sk.binary_cross_entropy_with_logits.grad(z[:, 0].copy(), bits.astype(float))
        same_bits(sk.binary_cross_entropy_with_logits.grad(z[:, 0].copy(), bits.astype(kind)), expected)


def test_a_loss_of_logits_is_that_of_probabilities_through_the_chain_rule():
    z, y = np.linspace(-3, 3, N), np.array([0.0, 1.0, 0.3, 0.9, 0.5, 1.0])
    q = 1 / (1 + np.exp(-z))
    inner, outer = sk.binary_cross_entropy, sk.binary_cross_entropy_with_logits
    slope, bend = q * (1 - q), q * (1 - q) * (1 - 2 * q)
    grad, hess = inner.grad_and_hess(q, y, reduction="sum")
    wanted = outer.grad_and_hess(z, y, reduction="sum")
    # The chain rule divides by q(1 - q) and multiplies by it again: some ulp, amplified by 1/(1 - q).
    close((grad * slope, hess * slope**2 + grad * bend), wanted, 1e-13)
    made = sample("softmax_cross_entropy")
    z, label = made.inputs
    q = np.exp(z) / np.exp(z).sum(-1, keepdims=True)
    jacobian = np.einsum("nj,jk->njk", q, np.eye(4)) - np.einsum("nj,nk->njk", q, q)
    grad = sk.sparse_cross_entropy.grad(q, label)
    close(np.einsum("nj,njk->nk", grad, jacobian), sk.softmax_cross_entropy.grad(z, label), 1e-13)
    v = np.random.default_rng(0).standard_normal(z.shape)
    # H_z v = J H_q J v + (d/dt J(z + t v)) g, and dJ/dt from dq = J v.
    dq = np.einsum("njk,nk->nj", jacobian, v)
    turn = np.einsum("nj,jk->njk", dq, np.eye(4)) - np.einsum("nj,nk->njk", dq, q)
    turn -= np.einsum("nj,nk->njk", q, dq)
    first = sk.sparse_cross_entropy.hvp(q, label, vector=dq)
    chain = np.einsum("nj,njk->nk", first, jacobian) + np.einsum("nj,njk->nk", grad, turn)
    close(chain, sk.softmax_cross_entropy.hvp(z, label, vector=v), 1e-13)


e = np.exp
#: (loss, raw prediction, target, parameters, value, gradient, Hessian), by hand.
BY_HAND = [
    ("mse", 1e20, 0.0, {}, 1e40, 2e20, 2.0),
    ("mse", -1e3, 37.0, {}, 1037.0**2, -2074.0, 2.0),
    ("mae", 1e20, -1e20, {}, 2e20, 1.0, 0.0),
    ("mae", -36.9, 37.0, {}, 73.9, -1.0, 0.0),
    ("huber", 1e20, 0.0, {"delta": 2.0}, 2e20, 2.0, 0.0),
    ("huber", -1e3, 0.0, {"delta": 1e3}, 5e5, -1e3, 1.0),
    ("huber", 2.0, 0.0, {"delta": np.nextafter(2.0, 0.0)}, 2.0, 2.0, 0.0),  # just outside
    ("huber", 2.0, 0.0, {"delta": np.nextafter(2.0, 3.0)}, 2.0, 2.0, 1.0),  # just inside
    ("smooth_l1", 2.0, 0.0, {"beta": np.nextafter(2.0, 0.0)}, 1.0, 1.0, 0.0),
    ("smooth_l1", 2.0, 0.0, {"beta": np.nextafter(2.0, 3.0)}, 1.0, 1.0, 0.5),
    ("smooth_l1", -37.0, 0.0, {"beta": 2.0}, 36.0, -1.0, 0.0),
    ("smooth_l1", 1e3, 0.0, {"beta": 1e4}, 50.0, 0.1, 1e-4),
    *(
        row
        for big in (1e20, 1e3)
        for row in (
            ("binary_cross_entropy_with_logits", big, 1.0, {}, 0.0, 0.0, 0.0),
            ("binary_cross_entropy_with_logits", big, 0.0, {}, big, 1.0, 0.0),
            ("binary_cross_entropy_with_logits", -big, 1.0, {}, big, -1.0, 0.0),
            ("binary_cross_entropy_with_logits", -big, 0.0, {}, 0.0, 0.0, 0.0),
            ("binary_cross_entropy_with_logits", big, 0.25, {}, 0.75 * big, 0.75, 0.0),
            ("binary_focal", big, 1.0, {}, 0.0, 0.0, 0.0),
            ("binary_focal", big, 0.0, {}, 0.75 * big, 0.75, 0.0),
            ("binary_focal", -big, 1.0, {"gamma": 0.5}, 0.25 * big, -0.25, 0.0),
        )
    ),
    # exp(-37) and exp(-36.9) are under half an ulp of 1, so that 1 + x is 1 and log(1 + x) is x.
    *(
        row
        for x in (36.9, 37.0)
        for row in (
            ("binary_cross_entropy_with_logits", x, 1.0, {}, e(-x), -e(-x), e(-x)),
            ("binary_cross_entropy_with_logits", -x, 0.0, {}, e(-x), e(-x), e(-x)),
            ("binary_cross_entropy_with_logits", x, 0.0, {}, x, 1.0, e(-x)),
            ("binary_cross_entropy_with_logits", -x, 1.0, {"pos_weight": 2.0}, 2 * x, -2.0, 2 * e(-x)),
        )
    ),
]


@pytest.mark.parametrize(("name", "raw", "target", "parameters", "value", "grad", "hess"), BY_HAND)
def test_values_derived_by_hand(name, raw, target, parameters, value, grad, hess):
    loss = getattr(sk, name)
    raw, target = np.array([raw]), np.array([target])
    # 1e-15: what scikit-learn's own table asks for, about 4 ulp; nothing below 5e-324 is left.
    found, slope = loss.value_and_grad(raw, target, reduction="none", **parameters)
    np.testing.assert_allclose(found, value, rtol=1e-15)
    np.testing.assert_allclose(slope, grad, rtol=1e-15)
    np.testing.assert_allclose(loss.grad_and_hess(raw, target, **parameters)[1], hess, rtol=1e-15)
    product = loss.hvp(raw, target, vector=np.ones(1), **parameters)
    np.testing.assert_allclose(product, hess, rtol=1e-15)


# Domains, parameters, pickling


@every()
def test_both_ends_of_a_domain_belong_to_it_and_nothing_beyond(name):
    made = sample(name)
    bounded = 0
    for i, entry in enumerate(made.loss.info.inputs):
        low, high = (entry.low, entry.high) if entry.values is None else (entry.values[0], entry.values[-1])
        if high == np.inf or entry.kind == "label":
            continue
        bounded += 1
        for end, beyond in ((low, -np.inf), (high, np.inf)):
            inputs = [array.copy() for array in made.inputs]
            for name in chain.from_iterable(entry.picked):  # of such an input no other entry is read
                inputs[made.loss._inputs.index(name)].flat[-1] = inputs[i].shape[-1] - 1
            inputs[i].flat[-1] = end
            values, _ = made.call("value_and_grad", inputs, reduction="none")
            assert not np.isnan(values).any()
            inputs[i].flat[-1] = np.nextafter(end, beyond)
            with pytest.raises(ValueError, match=rf"`{entry.name}\[.*outside its domain"):
                made.call("value_and_grad", inputs)
    assert bounded == sum(entry.high == 1.0 or entry.values is not None for entry in made.loss.info.inputs)


@every([name for name in sk.__all__ if getattr(sk, name).info.parameters])
def test_parameters_at_and_outside_the_ends_of_their_domains(name):
    made = sample(name)
    for entry in made.loss.info.parameters:
        below = 0.0 if entry.open_low else np.nextafter(entry.low, -np.inf)
        for bad in (below, np.nan, np.inf, -1):
            with pytest.raises(ValueError, match=f"`{entry.name}` = .* outside its domain"):
                made.call("value_and_grad", **{entry.name: bad})
        with pytest.raises(TypeError, match=f"`{entry.name}` must be a real number"):
            made.call("value_and_grad", **{entry.name: "1"})
        if not entry.open_low:
            value, grad = made.call("value_and_grad", **{entry.name: entry.low})
            assert all(np.isfinite(part).all() for part in (value, *parts_of(grad)))


@every()
def test_pickling_gives_the_same_loss(name):
    assert pickle.loads(pickle.dumps(getattr(sk, name))) is getattr(sk, name)


# Weights, reductions, out


@every()
def test_weights_multiply_value_gradient_and_curvature(name):
    made = sample(name)
    weight = np.linspace(0.3, 2.0, N)
    for entry in ENTRIES:
        plain = made.call(entry, reduction="none")
        weighted = made.call(entry, reduction="none", weight=weight)
        total = made.call(entry, reduction="sum", weight=weight)
        mean = made.call(entry, weight=weight)
        for a, b, c, d in zip(*map(flat, (plain, weighted, total, mean)), strict=True):
            full = weight.reshape(N, *[1] * (a.ndim - 1)) * a
            close(b, full, 1e-14, entry)
            close(c, full.sum() if np.ndim(c) == 0 else full, 1e-14, entry)
            close(d, (full.sum() if np.ndim(d) == 0 else full) / weight.sum(), 1e-14, entry)


@every()
def test_weight_zero_leaves_a_sample_out_though_it_is_infinite_or_nan(name):
    made = sample(name)
    keep = np.array([0, 1, 3, 4])
    weight = np.array([1.0, 2.0, 0.0, 0.5, 1.0, 0.0])
    spoiled = [array.copy() for array in made.inputs]
    for entry, array in zip(made.loss.info.inputs, spoiled, strict=True):
        if entry.kind != "label":
            array[2] = np.nan
            array[5] = np.nan if entry.high == 1.0 or entry.values is not None else np.inf
    for entry in ENTRIES:
        vector = [np.asarray(v) for v in parts_of(made.vector(spoiled))]
        extra = {"vector": joined(vector)} if entry == "hvp" else {}
        found = flat(made.call(entry, spoiled, weight=weight, **extra))
        extra = {"vector": joined([v[keep] for v in vector])} if entry == "hvp" else {}
        alone = flat(made.call(entry, made.at(keep), weight=weight[keep], **extra))
        for a, b in zip(found, alone, strict=True):
            if np.ndim(a) and np.shape(a)[0] == N:
                same_bits(a[keep], b, entry)
                assert not a[[2, 5]].any()
            else:  # a sum over the samples, which lie in other lanes now: an ulp or two
                close(a, b, 1e-15, entry)


LABELLED = [n for n in sk.__all__ if any(i.kind == "label" for i in getattr(sk, n).info.inputs)]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@every(LABELLED)
def test_weight_ignored_labels_reduction_and_out_all_at_once(name, reduction):
    made = sample(name)
    made.inputs[-1][[1, 4]] = -7
    weight = np.array([0.5, 3.0, 1.5, 0.0, 2.0, 1.0])
    keep = [0, 2, 5]
    singles = [made.call("value_and_grad", made.at([i])) for i in keep]
    denominator = weight[keep].sum() if reduction == "mean" else 1.0
    outs = [np.full(made.inputs[i].shape, np.nan) for i in made.places]
    values = np.full(N, np.nan)
    out = (values, joined(outs)) if reduction == "none" else joined(outs)
    value, grad = made.call("value_and_grad", weight=weight, ignore_index=-7, reduction=reduction, out=out)
    each = np.zeros(N)
    each[keep] = [weight[i] * single[0] for i, single in zip(keep, singles, strict=True)]
    close(value, each if reduction == "none" else each.sum() / denominator, 1e-14)
    assert reduction != "none" or value is values
    for place, (part, array) in enumerate(zip(parts_of(grad), outs, strict=True)):
        assert part is array
        expected = np.zeros(array.shape)
        for i, single in zip(keep, singles, strict=True):
            expected[i] = weight[i] * parts_of(single[1])[place][0] / denominator
        close(part, expected, 1e-14)


# Broadcasting


def shared(made: Sample, place: int) -> list[np.ndarray]:
    """The inputs with one that all samples share: the first sample's."""
    inputs = list(made.inputs)
    inputs[place] = inputs[place][0]
    return inputs


@every(["center", "contrastive", "huber", "softmax_cross_entropy"])
def test_gradient_of_a_shared_prediction_is_the_sum_over_the_samples(name):
    made = sample(name, n=9)  # nine labels of four classes: some repeat
    weight = np.linspace(0.5, 1.5, 9)
    for at, place in enumerate(made.places):
        inputs = shared(made, place)
        repeated = list(inputs)
        repeated[place] = np.broadcast_to(inputs[place], made.inputs[place].shape).copy()
        vector = parts_of(made.vector(inputs))
        spread = list(vector)
        spread[at] = np.broadcast_to(vector[at], repeated[place].shape).copy()
        for entry in ("value_and_grad", "grad_and_hess", "hvp"):
            both = ({"vector": joined(vector)}, {"vector": joined(spread)}) if entry == "hvp" else ({}, {})
            found = flat(made.call(entry, inputs, weight=weight, **both[0]))
            expected = flat(made.call(entry, repeated, weight=weight, **both[1]))
            for a, b in zip(found, expected, strict=True):
                wanted = b if np.shape(a) == np.shape(b) else b.sum(0)
                assert np.shape(a) == np.shape(wanted)
                close(a, wanted, 1e-14, entry)


def test_labels_that_repeat_add_up_in_shared_centers():
    x = np.array([[1.0, 0.0], [3.0, 1.0], [5.0, 5.0]])
    centers = np.array([[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]])
    grads = sk.center.grad(x, centers, np.array([1, 1, 2]), reduction="sum")
    np.testing.assert_array_equal(grads.centers, [[0, 0], [-2, 1], [-3, -3]])
    np.testing.assert_array_equal(grads.features, [[0, -1], [2, 0], [3, 3]])
    # The cross block: moving a center moves the gradient of every feature of its class.
    vector = (np.zeros_like(x), np.array([[7.0, 7.0], [1.0, 0.0], [0.0, 2.0]]))
    products = sk.center.hvp(x, centers, np.array([1, 1, 2]), vector=vector, reduction="sum")
    np.testing.assert_array_equal(products.features, [[-1, 0], [-1, 0], [0, -2]])
    np.testing.assert_array_equal(products.centers, [[0, 0], [2, 0], [0, 2]])


@every(["huber", "softmax_cross_entropy", "l2_norm"])
def test_partly_broadcast_predictions_get_sums_along_the_broadcast_axes(name):
    core = tuple(SIZES[dim] for dim in getattr(sk, name).info.inputs[0].core)
    rng = np.random.default_rng(6)
    x = rng.standard_normal((3, 1, *core))
    if name == "softmax_cross_entropy":
        target = rng.integers(0, 4, (2, 1, 5))
    else:
        target = rng.standard_normal((2, 1, 5, *core))
    loss = getattr(sk, name)
    full = np.broadcast_to(x, (2, 3, 5, *core)).copy()
    weight = rng.uniform(0.5, 1, (3, 1))
    value, grad = loss.value_and_grad(x, target, weight=weight)
    expected, grads = loss.value_and_grad(full, target, weight=weight)
    assert grad.shape == x.shape
    close(value, expected, 1e-15)
    close(grad, grads.sum((0, 2))[:, None], 1e-14)
    _, hess = loss.grad_and_hess(x, target, reduction="sum")
    close(hess, loss.grad_and_hess(full, target, reduction="sum")[1].sum((0, 2))[:, None], 1e-14)


# Memory and threads


def strided(array: np.ndarray) -> np.ndarray:
    wide = np.repeat(array, 2, axis=-1) if array.ndim else array
    return wide[..., ::2]


def unwriteable(array: np.ndarray) -> np.ndarray:
    array = array.copy()
    array.flags.writeable = False
    return array


LAYOUTS = {
    "strided": strided,
    "backwards": lambda a: a[::-1].copy()[::-1],
    "fortran": np.asfortranarray,
    "read-only": unwriteable,
    "swapped bytes": lambda a: a.astype(a.dtype.newbyteorder()),
    "a list of lists": lambda a: a.tolist(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@every(ROWS)
def test_any_memory_layout_gives_the_same_bits(name, layout):
    made = sample(name)
    inputs = [LAYOUTS[layout](array) for array in made.inputs]
    for entry in ("value_and_grad", "grad_and_hess", "hvp"):
        extra = {"vector": made.vector(made.inputs)} if entry == "hvp" else {}
        same_bits(made.call(entry, inputs, **extra), made.call(entry), entry)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", ["huber", "softmax_cross_entropy"])
def test_read_only_maps_weights_and_out_in_both_precisions(name, dtype, tmp_path):
    made = sample(name, dtype=dtype)
    maps = []
    for i, array in enumerate(made.inputs):
        np.save(tmp_path / f"{i}.npy", array)
        maps.append(np.load(tmp_path / f"{i}.npy", mmap_mode="r"))
    for weight in (None, np.ones(N, dtype), np.linspace(0, 2, N).astype(dtype)):
        expected = made.call("value_and_grad", weight=weight)
        assert expected[1].dtype == dtype
        out = np.full(made.inputs[0].shape, 9, dtype)
        found = made.call("value_and_grad", maps, weight=weight, out=out)
        assert found[1] is out
        same_bits(found, expected)


@every()
def test_one_sample_alone_is_what_it_is_in_a_batch_and_a_column_what_a_line_is(name):
    made = sample(name)
    values, grad = made.call("value_and_grad", reduction="none")
    alone = [array[2] for array in made.inputs]
    value, part = made.call("value_and_grad", alone)
    assert isinstance(value, float)
    same_bits(np.float64(value), values[2])
    same_bits(tuple(parts_of(part)), tuple(g[2] for g in parts_of(grad)))
    column = [array[:, None] for array in made.inputs]
    found = made.call("value_and_grad", column, reduction="none")
    same_bits(found[0], values[:, None])
    same_bits(tuple(parts_of(found[1])), tuple(g[:, None] for g in parts_of(grad)))


@every()
def test_no_samples(name):
    made = sample(name)
    none = [array[:0] for array in made.inputs]
    for entry in ENTRIES:
        for part in flat(made.call(entry, none, reduction="sum")):
            assert part == 0.0 if np.ndim(part) == 0 else part.shape[0] == 0
        with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
            results = flat(made.call(entry, none))
        assert all(np.isnan(part) for part in results if np.ndim(part) == 0)
    if len(made.places) > 1:  # what no sample uses has a gradient of zeros
        last = made.places[-1]
        none[last] = made.inputs[last][0]
        grad = flat(made.call("grad", none, reduction="sum"))[-1]
        np.testing.assert_array_equal(grad, np.zeros(none[last].shape))


@every()
def test_nan_flows_through_its_own_sample_and_no_other(name):
    made = sample(name)
    clean = made.call("value_and_grad", reduction="none")
    others = [0, 1, 3, 4, 5]
    for i, entry in enumerate(made.loss.info.inputs):
        if entry.kind == "label" or entry.dims[:1] == ("M",):
            continue
        inputs = [array.copy() for array in made.inputs]
        inputs[i].reshape(N, -1)[2, 0] = np.nan
        found = made.call("value_and_grad", inputs, reduction="none")
        assert np.isnan(found[0][2]), entry.name
        assert any(np.isnan(part[2]).any() for part in parts_of(found[1])), entry.name
        for a, b in zip(flat(found), flat(clean), strict=True):
            same_bits(a[others], b[others], entry.name)


def test_threads_that_call_at_once_get_the_same_bits():
    made = [sample(name, n=500, seed=seed) for name in ROWS for seed in range(2)]
    expected = [one.call("value_and_grad") for one in made]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(5):
            for got, wanted in zip(
                pool.map(lambda one: one.call("value_and_grad"), made), expected, strict=True
            ):
                same_bits(got, wanted)
