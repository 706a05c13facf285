"""The host side of the kernels, on three losses whose kernels are written here by hand.

The kernels are plain Python for most tests, which are about what the host does around them; the tests of
compilation use the same text with Numba.
"""

import copy
import importlib
import inspect
import itertools
import os
import pickle
import pydoc
import subprocess
import sys
import warnings
from pathlib import Path

import jinja2
import numpy as np
import pytest

TEMPLATES = Path(__file__).parent.parent / "templates" / "kernels"
MODULES = ("_arrays", "_checks", "_domains", "_grams", "_help", "_info", "_lanes", "_memory", "_numba", "_operands",
           "_outputs", "_pieces", "_precision", "_products", "_runs", "_runtime", "_shortcuts", "_threads")  # fmt: skip

# Kernels in plain Python, in the form that the runtime calls: an input or output that all samples share has no axis of
# samples, and what goes there is added.
PLAIN = """
import numpy as np

class Kernel:
    \"\"\"What Numba makes of a function, as far as the runtime uses it; NaN for samples outside their domains.\"\"\"

    def __init__(self, function, refuses):
        self.function, self.refuses, self.__module__ = function, refuses, __name__

    def typeof_pyval(self, value):
        return type(value)

    def compile(self, signature):
        return self

    def __call__(self, *arguments):
        return np.nan if self.refuses(*arguments) else self.function(*arguments)

def outside(label, size):
    return bool(np.any((label < 0) | (label >= size)))

def own(array, i, core):
    return array[i] if array.ndim > core else array

def put(array, i, core, value):
    if array.ndim > core:
        array[i] = value
    else:
        array += value

def kept(values, i, value):
    if values is not None:
        values[i] = value
    return value

def blank(array, core):
    if array.ndim > core:
        array[...] = 0.0

def weighed(samples, weight):
    for i in range(samples):
        w = 1.0 if weight is None else weight[i]
        if w != 0.0:
            yield i, w
"""

HUBER = (
    PLAIN
    + """
def terms(samples, prediction, target, delta, weight):
    for i, w in weighed(samples, weight):
        r = float(own(prediction, i, 0)) - float(own(target, i, 0))
        yield i, w, r, abs(r) <= delta

def value(samples, prediction, target, delta, weight, values):
    return sum(
        kept(values, i, w * (r * r / 2 if near else delta * (abs(r) - delta / 2)))
        for i, w, r, near in terms(samples, prediction, target, delta, weight)
    )

def grad(samples, prediction, target, delta, weight, scale, grads):
    for i, w, r, near in terms(samples, prediction, target, delta, weight):
        put(grads, i, 0, w * scale * (r if near else delta * np.sign(r)))

def value_and_grad(samples, prediction, target, delta, weight, scale, values, grads):
    grad(samples, prediction, target, delta, weight, scale, grads)
    return value(samples, prediction, target, delta, weight, values)

def grad_and_hess(samples, prediction, target, delta, weight, scale, grads, hesses):
    grad(samples, prediction, target, delta, weight, scale, grads)
    for i, w, r, near in terms(samples, prediction, target, delta, weight):
        put(hesses, i, 0, w * scale * near)

def hvp(samples, prediction, target, delta, vector, weight, scale, hvps):
    for i, w, r, near in terms(samples, prediction, target, delta, weight):
        put(hvps, i, 0, w * scale * near * own(vector, i, 0))
"""
)

SOFTMAX = (
    PLAIN
    + """
def row(logits, i):
    z = own(logits, i, 1).astype(float)
    e = np.exp(z - z.max())
    return z, e, e.sum()

def value(samples, logits, label, weight, values):
    total = 0.0
    for i, w in weighed(samples, weight):
        z, e, s = row(logits, i)
        total += kept(values, i, w * (np.log(s) + z.max() - z[own(label, i, 0)]))
    return total

def grad(samples, logits, label, weight, scale, grads):
    for i, w in weighed(samples, weight):
        z, e, s = row(logits, i)
        put(grads, i, 1, w * scale * (e / s - (np.arange(len(z)) == own(label, i, 0))))

def value_and_grad(samples, logits, label, weight, scale, values, grads):
    grad(samples, logits, label, weight, scale, grads)
    return value(samples, logits, label, weight, values)

value_narrow, grad_narrow, value_and_grad_narrow = value, grad, value_and_grad
"""
)

CENTER = (
    PLAIN
    + """
def residuals(samples, features, centers, label, weight):
    for i, w in weighed(samples, weight):
        t = own(label, i, 0)
        yield i, w, t, own(features, i, 1).astype(float) - own(centers, i, 2)[t]

def value(samples, features, centers, label, weight, values):
    return sum(
        kept(values, i, w * (r @ r) / 2) for i, w, t, r in residuals(samples, features, centers, label, weight)
    )

def grad(samples, features, centers, label, weight, scale, grad_features, grad_centers):
    blank(grad_centers, 2)
    for i, w, t, r in residuals(samples, features, centers, label, weight):
        put(grad_features, i, 1, w * scale * r)
        own(grad_centers, i, 2)[t] -= w * scale * r

def value_and_grad(samples, features, centers, label, weight, scale, values, gf, gc):
    grad(samples, features, centers, label, weight, scale, gf, gc)
    return value(samples, features, centers, label, weight, values)

def grad_and_hess(samples, features, centers, label, weight, scale, gf, gc, hf, hc):
    grad(samples, features, centers, label, weight, scale, gf, gc)
    blank(hc, 2)
    for i, w, t, r in residuals(samples, features, centers, label, weight):
        put(hf, i, 1, w * scale)
        own(hc, i, 2)[t] += w * scale

def hvp(samples, features, centers, label, vf, vc, weight, scale, hf, hc):
    blank(hc, 2)
    for i, w, t, _ in residuals(samples, features, centers, label, weight):
        r = w * scale * (own(vf, i, 1).astype(float) - own(vc, i, 2)[t])
        put(hf, i, 1, r)
        own(hc, i, 2)[t] -= r

value_narrow, grad_narrow, value_and_grad_narrow = value, grad, value_and_grad
grad_and_hess_narrow, hvp_narrow = grad_and_hess, hvp
"""
)


#: From each loss to its kernels, and a test of their first arguments that says whether samples are outside.
KERNELS = {
    "huber": (HUBER, "lambda samples, *_: False"),
    "softmax": (SOFTMAX, "lambda samples, logits, label, *_: outside(label, logits.shape[-1])"),
    "center": (CENTER, "lambda samples, features, centers, label, *_: outside(label, centers.shape[-2])"),
    "bounded": (
        HUBER,
        "lambda samples, q, t, *_: bool(np.any((q <= 0) | (q > 1)) or np.any((t != 0) & (t != 1) & (t == t)))",
    ),
}
MADE = """
for name in ("value", "grad", "value_and_grad", "grad_and_hess", "hvp"):
    for name in (name, f"{name}_narrow"):
        if name in globals():
            globals()[name] = Kernel(globals()[name], REFUSES)
"""


def described(name, title, signature, inputs, **more):
    """The literals of one loss, as the catalogue's template takes them."""
    facts = {"parameters": [], "kinks": [], "limits": [], "references": []}
    facts |= {"formula": f'"formula of {name}"', "latex": '"x^2"', "family": '"test"'} | more
    return facts | {
        "name": f'"{name}"',
        "title": f'"{title}"',
        "signature": f'"{signature}"',
        "inputs": [
            {"name": f'"{entry[0]}"', "kind": f'"{entry[1]}"', "dims": repr(entry[2])} | entry[3]
            for entry in inputs
        ],
    }


DELTA = {"name": '"delta"', "default": "1.0", "low": "0.0", "open_low": "True", "domain": '"delta > 0"'}
UNIT = {"low": "0.0", "high": "1.0"}
LOSSES = [
    described(
        "huber",
        "Huber loss",
        "(),()->()",
        [("prediction", "prediction", (), {}), ("target", "target", (), {})],
        parameters=[DELTA],
        references=['"Huber 1964"'],
        kinks=['"none of first order"'],
    ),
    described(
        "softmax",
        "Softmax cross-entropy",
        "(k),()->()",
        [("logits", "prediction", ("K",), {}), ("label", "label", ("K",), {})],
    ),
    described(
        "center",
        "Center loss",
        "(d),(m,d),()->()",
        [
            ("features", "prediction", ("D",), {}),
            ("centers", "prediction", ("M", "D"), {}),
            ("label", "label", ("M",), {}),
        ],
    ),
    # Huber's kernels under domains, for the checks.
    described(
        "bounded",
        "Bounded",
        "(),()->()",
        [
            ("q", "prediction", (), {"low": "0.0", "open_low": "True", "high": "1.0"}),
            ("target", "target", (), {"values": "(0.0, 1.0)"}),
        ],
        parameters=[
            {"name": '"alpha"', "default": "0.25", **UNIT, "domain": '"0 <= alpha <= 1"'},
        ],
    ),
]


def build(folder):
    """Render the runtime around the kernels above, as a package."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    package = folder / "plain_kernels"
    (package / "cpu").mkdir(parents=True)
    header = "# A header."
    for name in MODULES:
        (package / f"{name}.py").write_text(
            environment.get_template(f"{name}.py.jinja").render(header=header)
        )
    titles = [{"name": loss["name"].strip('"'), "title": loss["title"].strip('"')} for loss in LOSSES]
    init = environment.get_template("__init__.py.jinja")
    (package / "__init__.py").write_text(init.render(header=header, losses=titles, package=package.name))
    catalog = environment.get_template("_catalog.py.jinja")
    (package / "_catalog.py").write_text(catalog.render(header=header, descriptions=LOSSES))
    (package / "cpu" / "__init__.py").write_text("")
    for name, (text, refuses) in KERNELS.items():
        made = MADE.replace("REFUSES", refuses)
        (package / "cpu" / f"{name}.py").write_text(text + made)
    return package


@pytest.fixture(scope="module")
def packages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runtime")
    build(folder)
    sys.path.insert(0, str(folder))
    yield folder
    sys.path.remove(str(folder))


@pytest.fixture(scope="module")
def sk(packages):
    return importlib.import_module("plain_kernels")


def huber(p, t, delta=1.0):
    r = np.asarray(p, float) - np.asarray(t, float)
    return np.where(abs(r) <= delta, r * r / 2, delta * (abs(r) - delta / 2))


def huber_grad(p, t, delta=1.0):
    return np.clip(np.asarray(p, float) - np.asarray(t, float), -delta, delta)


def softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def cross_entropy(z, label):
    label = np.broadcast_to(label, np.broadcast_shapes(z.shape[:-1], label.shape))
    full = np.broadcast_to(np.log(softmax(z)), (*label.shape, z.shape[-1]))
    return -np.take_along_axis(full, label[..., None], -1)[..., 0]


def data(*shape, seed=0, dtype=float):
    return (2 * np.random.default_rng(seed).standard_normal(shape)).astype(dtype)


def raises(kind, *parts):
    """Expect an error of `kind` that says every part."""

    class Expectation:
        def __enter__(self):
            self.raised = pytest.raises(kind)
            self.info = self.raised.__enter__()

        def __exit__(self, *error):
            done = self.raised.__exit__(*error)
            for part in parts:
                assert part in str(self.info.value), f"{part!r} is not said in: {self.info.value}"
            return done

    return Expectation()


# Reductions and weights


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (1,), (5,), (2, 3)])
def test_value_of_each_reduction(sk, dtype, shape):
    p, t = data(*shape, dtype=dtype), data(*shape, seed=1, dtype=dtype)
    expected = huber(p, t, 0.5)
    none = sk.huber.value(p, t, delta=0.5, reduction="none")
    assert none.dtype == dtype
    assert none.shape == shape
    assert isinstance(none, np.ndarray) == (shape != ())
    np.testing.assert_allclose(none, expected, rtol=1e-6)
    total = sk.huber.value(p, t, delta=0.5, reduction="sum")
    mean = sk.huber.value(p, t, delta=0.5)
    assert type(total) is float
    assert type(mean) is float
    assert total == pytest.approx(expected.sum())
    assert mean == pytest.approx(expected.mean())


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("weight", [None, 2.0, "samples", "row", "holes"])
@pytest.mark.parametrize("ignore", [None, -100, 2])
def test_every_combination_of_reduction_weight_and_ignored_labels(sk, reduction, weight, ignore):
    z = data(4, 3, 5)
    label = np.random.default_rng(2).integers(0, 5, (4, 3))
    label[0, :2] = 2
    if ignore == -100:
        label[1, 1] = -100
    w = {"samples": abs(data(4, 3, seed=3)), "row": abs(data(3, seed=3)), "holes": np.eye(4, 3)}.get(
        weight, weight
    )
    counted = label != ignore if ignore is not None else np.ones((4, 3), bool)
    full = np.broadcast_to(1.0 if w is None else w, (4, 3)) * counted
    losses = full * cross_entropy(z, np.where(counted, label, 0))
    denominator = full.sum() if reduction == "mean" else 1.0
    expected = losses if reduction == "none" else losses.sum() / denominator
    onehot = np.eye(5)[np.where(counted, label, 0)]
    gradient = full[..., None] * (softmax(z) - onehot) / denominator
    value, grad = sk.softmax.value_and_grad(z, label, weight=w, reduction=reduction, ignore_index=ignore)
    np.testing.assert_allclose(value, expected, rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(grad, gradient, rtol=1e-12, atol=1e-14)
    alone = sk.softmax.value(z, label, weight=w, reduction=reduction, ignore_index=ignore)
    np.testing.assert_array_equal(alone, value)
    np.testing.assert_array_equal(
        sk.softmax.grad(z, label, weight=w, reduction=reduction, ignore_index=ignore), grad
    )


def test_sample_of_weight_zero_or_ignored_adds_nothing_even_when_it_is_nan(sk):
    p = np.array([1.0, np.nan, 3.0])
    value, grad = sk.huber.value_and_grad(p, np.zeros(3), weight=[1, 0, 1])
    assert value == pytest.approx((0.5 + 2.5) / 2)
    np.testing.assert_array_equal(grad, [0.5, 0.0, 0.5])
    z = np.array([[0.0, 0.0], [np.nan, np.inf]])
    assert sk.softmax.value(z, [0, -1], ignore_index=-1) == pytest.approx(np.log(2))
    # The ignored sample's weight is not in the denominator, whatever it is.
    assert sk.softmax.value(z, [0, -1], ignore_index=-1, weight=[3.0, np.nan]) == pytest.approx(np.log(2))


def test_nan_flows(sk):
    assert np.isnan(sk.huber.value([np.nan, 1.0], [0.0, 0.0]))
    value, grad = sk.huber.value_and_grad([2.0, 1.0], [0.0, 0.0], weight=[np.nan, 1.0])
    assert np.isnan(value)
    assert np.isnan(grad).all()
    # No mean, no gradient of it: the sample of weight 0 is no exception.
    assert np.isnan(sk.huber.grad([2.0, 1.0], [0.0, 0.0], weight=[np.nan, 0.0])).all()
    none = sk.huber.value([np.nan, 1.0], [0.0, 0.0], reduction="none")
    np.testing.assert_array_equal(np.isnan(none), [True, False])


@pytest.mark.parametrize(
    ("p", "keywords"),
    [
        (np.empty(0), {}),
        (np.empty((0, 3), np.float32), {}),
        (np.ones(3), {"weight": 0.0}),
        (np.ones(2), {"weight": [1.0, -1.0]}),
    ],
)
def test_empty_mean_is_nan_with_a_warning(sk, p, keywords):
    t = np.zeros_like(p)
    with pytest.warns(RuntimeWarning, match="Mean of empty slice") as caught:
        assert np.isnan(sk.huber.value(p, t, **keywords))
    assert caught[0].filename == __file__
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        value, grad = sk.huber.value_and_grad(p, t, **keywords)
    assert np.isnan(value)
    assert grad.shape == p.shape
    assert grad.dtype == p.dtype
    assert np.isnan(grad).all()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        total, grad = sk.huber.value_and_grad(p, t, reduction="sum", **keywords)
        none = sk.huber.value(p, t, reduction="none", **keywords)
    assert none.shape == p.shape
    assert total == none.sum()


def test_all_labels_ignored_is_an_empty_mean(sk):
    z = data(3, 4)
    with pytest.warns(RuntimeWarning, match="Mean of empty slice"):
        value, grad = sk.softmax.value_and_grad(z, [-1, -1, -1], ignore_index=-1)
    assert np.isnan(value)
    assert np.isnan(grad).all()
    assert sk.softmax.value(z, [-1, -1, -1], ignore_index=-1, reduction="sum") == 0.0
    with pytest.warns(RuntimeWarning):
        grads = sk.center.grad(np.empty((0, 2)), np.ones((3, 2)), np.empty(0, int))
    assert grads.features.shape == (0, 2)
    assert np.isnan(grads.centers).all()
    zeros = sk.center.grad(np.empty((0, 2)), np.ones((3, 2)), np.empty(0, int), reduction="sum")
    np.testing.assert_array_equal(zeros.centers, np.zeros((3, 2)))


def test_curvature_is_scaled_like_the_gradient(sk):
    p, t = np.array([0.5, 3.0, -0.25, 0.1]), np.zeros(4)
    w = np.array([1.0, 2.0, 3.0, 0.0])
    inside = abs(p) <= 1
    for reduction, scale in {"mean": 6.0, "sum": 1.0, "none": 1.0}.items():
        grad, hess = sk.huber.grad_and_hess(p, t, weight=w, reduction=reduction)
        np.testing.assert_allclose(grad, w * huber_grad(p, t) / scale)
        np.testing.assert_allclose(hess, w * inside / scale)
        v = np.array([1.0, 2.0, -3.0, 4.0])
        np.testing.assert_allclose(
            sk.huber.hvp(p, t, vector=v, weight=w, reduction=reduction), w * inside * v / scale
        )


# Broadcasting


SHAPES = [(), (1,), (3,), (2, 1), (2, 3), (4, 1, 1), (1, 3), (1, 1, 1)]


@pytest.mark.parametrize(("left", "right"), list(itertools.product(SHAPES, SHAPES)))
def test_gradient_has_its_inputs_shape_however_it_was_broadcast(sk, left, right):
    p, t = data(*left), data(*right, seed=1)
    samples = np.broadcast_shapes(left, right)
    w = abs(data(*samples, seed=2))
    full = w * huber_grad(p, t) / w.sum()
    expected = np.array([full[i] for i in np.ndindex(samples)]).reshape(samples)
    axes = tuple(range(len(samples) - len(left)))
    expected = expected.sum(axes)
    expected = expected.sum(tuple(i for i, n in enumerate(left) if n == 1), keepdims=True).reshape(left)
    value, grad = sk.huber.value_and_grad(p, t, weight=w)
    assert np.shape(grad) == left
    np.testing.assert_allclose(grad, expected, rtol=1e-12, atol=1e-15)
    assert value == pytest.approx((w * huber(p, t)).sum() / w.sum())
    assert sk.huber.value(p, t, reduction="none").shape == samples


def test_contributions_are_summed_in_float64(sk):
    t = np.zeros((20_000, 2), np.float32)
    tenth = np.float32(0.1)
    assert sk.huber.grad(tenth, t, reduction="sum") == np.float32(40_000 * float(tenth))
    partly = sk.huber.grad(np.full((1, 2), tenth), t, reduction="sum")
    np.testing.assert_array_equal(partly, np.full((1, 2), np.float32(20_000 * float(tenth))))
    assert partly.dtype == np.float32


@pytest.mark.parametrize("lead", [(), (1,), (6,), (2, 1)])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_several_predictions_and_a_sparse_one(sk, lead, dtype):
    x, c = data(2, 6, 3, dtype=dtype), data(*lead, 4, 3, seed=1, dtype=dtype)
    label = np.random.default_rng(0).integers(0, 4, (2, 6))
    w = abs(data(2, 6, seed=5))
    full = np.broadcast_to(c, (2, 6, 4, 3)).astype(float)
    picked = np.take_along_axis(full, label[..., None, None], 2)[:, :, 0]
    each = w[..., None] * (x - picked) / w.sum()
    onehot = np.eye(4)[label][..., None]

    def summed(array):
        padded = (1,) * (2 - len(lead)) + lead
        axes = tuple(i for i in range(2) if padded[i] == 1)
        return array.sum(axes, keepdims=True).reshape(c.shape)

    value, grad = sk.center.value_and_grad(x, c, label, weight=w)
    assert value == pytest.approx((w * ((x - picked) ** 2).sum(-1)).sum() / 2 / w.sum(), rel=1e-6)
    assert grad._fields == ("features", "centers")
    assert type(sk.center.grad(x, c, label)) is type(grad)
    assert grad.centers.dtype == dtype
    np.testing.assert_allclose(grad.features, each, rtol=1e-5)
    np.testing.assert_allclose(grad.centers, summed(-each[..., None, :] * onehot), rtol=1e-4, atol=1e-7)
    grad2, hess = sk.center.grad_and_hess(x, c, label, weight=w)
    np.testing.assert_array_equal(grad2.centers, grad.centers)
    share = np.broadcast_to(w[..., None, None] / w.sum() * onehot, (2, 6, 4, 3))
    np.testing.assert_allclose(hess.centers, summed(share), rtol=1e-5)
    vector = {"features": data(2, 6, 3, seed=8), "centers": data(*lead, 4, 3, seed=9)}
    hv = sk.center.hvp(x, c, label, vector=vector, weight=w)
    vc = np.take_along_axis(np.broadcast_to(vector["centers"], (2, 6, 4, 3)), label[..., None, None], 2)[
        :, :, 0
    ]
    expected = w[..., None] * (vector["features"] - vc) / w.sum()
    np.testing.assert_allclose(hv.features, expected, rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(hv.centers, summed(-expected[..., None, :] * onehot), rtol=1e-4, atol=1e-7)
    again = sk.center.hvp(x, c, label, vector=type(grad)(**vector), weight=w)
    np.testing.assert_array_equal(again.centers, hv.centers)
    assert pickle.loads(pickle.dumps(grad)).centers.shape == c.shape


def test_dense_and_sparse_outputs_keep_nothing_of_what_was_there(sk):
    x, c = data(3, 2), data(3, 4, 2, seed=1)
    out = (np.full((3, 2), 7.0), np.full((3, 4, 2), 7.0))
    grad = sk.center.grad(x, c, [0, 1, 1], reduction="sum", out=out)
    expected = np.zeros((3, 4, 2))
    for i, label in enumerate([0, 1, 1]):
        expected[i, label] = c[i, label] - x[i]
    np.testing.assert_allclose(grad.centers, expected)
    np.testing.assert_allclose(grad.features, -expected.sum(1))


# Arrays of every kind


def variants(array):
    """The same entries in other memory."""
    yield "list", array.tolist() if array.dtype == np.float64 else array
    yield "fortran", np.asfortranarray(array)
    yield "strided", np.repeat(array, 2, axis=-1)[..., ::2]
    yield "reversed", array[::-1].copy()[::-1]
    frozen = array.copy()
    frozen.flags.writeable = False
    yield "read-only", frozen
    yield "broadcast", np.broadcast_to(array, array.shape)
    yield "swapped", array.astype(array.dtype.newbyteorder())
    record = np.zeros(array.shape, [("pad", np.int8), ("x", array.dtype)])
    record["x"] = array
    yield "field", record["x"]
    memory = np.zeros(array.nbytes + 1, np.uint8)[1:].view(array.dtype).reshape(array.shape)
    memory[...] = array
    assert not memory.flags.aligned
    yield "unaligned", memory
    yield "matrix subclass", array.view(type("Sub", (np.ndarray,), {}))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_any_memory_layout(sk, dtype):
    p, t = data(3, 4, dtype=dtype), data(3, 4, seed=1, dtype=dtype)
    expected = sk.huber.value_and_grad(p, t)
    w = abs(data(3, 4, seed=2))
    weighted = sk.huber.value_and_grad(p, t, weight=w)
    names = []
    for (name, left), (_, right), (_, weight) in zip(variants(p), variants(t), variants(w), strict=True):
        names.append(name)
        value, grad = sk.huber.value_and_grad(left, right)
        assert value == expected[0], name
        np.testing.assert_array_equal(grad, expected[1])
        assert grad.dtype == dtype
        assert type(grad) is np.ndarray
        np.testing.assert_array_equal(sk.huber.value_and_grad(p, t, weight=weight)[1], weighted[1])
    assert len(names) == 10


def test_memory_maps_and_large_read_only_arrays_are_not_copied(sk, tmp_path):
    np.save(tmp_path / "a.npy", data(5))
    mapped = np.load(tmp_path / "a.npy", mmap_mode="r")
    assert sk.huber.value(mapped, mapped) == 0.0
    arrays = sys.modules["plain_kernels._arrays"]
    tidied = arrays.tidy("x", "prediction", np.asarray(mapped), np.dtype(float))
    assert np.shares_memory(tidied, mapped)
    assert tidied.flags.writeable
    unaligned = dict(variants(data(3, 4)))["unaligned"]
    assert arrays.tidy("x", "prediction", unaligned, np.dtype(float)).flags.aligned


def test_inputs_are_never_changed(sk):
    p, t, w = data(4, 3), data(3, seed=1), abs(data(4, 1, seed=2))
    before = [array.copy() for array in (p, t, w)]
    sk.huber.value_and_grad(p, t, weight=w)
    sk.huber.hvp(p, t, weight=w, vector=p)
    for array, old in zip((p, t, w), before, strict=True):
        np.testing.assert_array_equal(array, old)
    z, label = data(3, 4), np.array([0, 9, 2])
    sk.softmax.value_and_grad(z, label, ignore_index=9)
    np.testing.assert_array_equal(label, [0, 9, 2])


def test_precision_is_that_of_the_predictions(sk):
    p32, p64 = data(3, dtype=np.float32), data(3)
    assert sk.huber.grad(p32, p64).dtype == np.float32
    assert sk.huber.grad(p64, p32).dtype == np.float64
    assert sk.huber.value(1.5, 1).__class__ is float
    assert sk.huber.grad([1.5, 2.5], [1, 2]).dtype == np.float64
    for target in (
        [1, 0, 1],
        np.array([True, False, True]),
        np.array([1, 0, 1], np.float16),
        np.array([1, 0, 1], ">i2"),
    ):
        np.testing.assert_array_equal(sk.huber.grad(p32, target), sk.huber.grad(p32, np.float32([1, 0, 1])))
    x, c = data(2, 3, dtype=np.float32), data(4, 3)
    assert {g.dtype for g in sk.center.grad(x, c, [0, 1])} == {np.dtype(float)}
    assert {g.dtype for g in sk.center.grad(x, c.astype(np.float32), [0, 1])} == {np.dtype(np.float32)}


def test_python_float_beside_arrays_takes_their_precision(sk):
    precision = sys.modules["plain_kernels._arrays"].precision
    single = np.ones(3, np.float32)
    assert precision([("mean", single, single), ("scale", 1.0, np.asarray(1.0))]) == np.float32
    assert precision([("mean", single, single), ("scale", np.ones(1), np.ones(1))]) == np.float64
    assert precision([("mean", 1.0, np.asarray(1.0)), ("scale", 1.0, np.asarray(1.0))]) == np.float64


@pytest.mark.parametrize("dtype", ["i1", "u1", "i8", "u8", ">i4", "i2"])
def test_labels_of_any_integer_dtype(sk, dtype):
    z = data(3, 4)
    assert sk.softmax.value(z, np.array([0, 3, 1], dtype)) == sk.softmax.value(z, [0, 3, 1])


def test_inputs_by_name(sk):
    assert sk.huber.value(target=[1.0], prediction=[3.0]) == sk.huber.value([3.0], [1.0])
    assert sk.huber.value([3.0], target=[1.0]) == 1.5


# out


def test_out_gets_the_results_and_is_returned(sk):
    p, t = data(2, 3, dtype=np.float32), data(2, 3, seed=1)
    value_out, grad_out, hess_out = (np.empty((2, 3), np.float32) for _ in range(3))
    assert sk.huber.value(p, t, reduction="none", out=value_out) is value_out
    np.testing.assert_array_equal(value_out, sk.huber.value(p, t, reduction="none"))
    assert sk.huber.grad(p, t, out=grad_out) is grad_out
    np.testing.assert_array_equal(grad_out, sk.huber.grad(p, t))
    grad_out[:] = 0
    value, grad = sk.huber.value_and_grad(p, t, out=grad_out)
    assert grad is grad_out
    assert value == sk.huber.value(p, t)
    values, grad = sk.huber.value_and_grad(p, t, reduction="none", out=(value_out, grad_out))
    assert values is value_out
    assert grad is grad_out
    np.testing.assert_array_equal(grad, sk.huber.grad(p, t, reduction="sum"))
    grad, hess = sk.huber.grad_and_hess(p, t, out=(grad_out, hess_out))
    assert grad is grad_out
    assert hess is hess_out
    assert sk.huber.hvp(p, t, vector=p, out=hess_out) is hess_out
    scalar = np.empty(())
    assert sk.huber.grad(2.0, 0.0, out=scalar) is scalar
    assert scalar == 1.0


@pytest.mark.parametrize("order", ["strided", "fortran", "reversed"])
def test_out_in_any_layout(sk, order):
    p, t, w = data(3, 4), data(3, 4, seed=1), np.eye(3, 4)
    out = {
        "strided": np.full((3, 8), 9.0)[:, ::2],
        "fortran": np.full((3, 4), 9.0, order="F"),
        "reversed": np.full((3, 4), 9.0)[::-1],
    }[order]
    assert sk.huber.grad(p, t, weight=w, out=out) is out
    np.testing.assert_array_equal(out, sk.huber.grad(p, t, weight=w))


def test_out_of_broadcast_inputs(sk):
    p, t = data(3, 1), data(4, seed=1)
    out = np.full((3, 1), 9.0)
    sk.huber.grad(p, t, out=out)
    np.testing.assert_array_equal(out, sk.huber.grad(p, t))
    out = np.full((), 9.0)
    sk.huber.grad(np.float64(0.3), t, out=out)
    np.testing.assert_array_equal(out, sk.huber.grad(0.3, t))
    out = np.full(0, 1.0)
    assert sk.huber.grad(np.empty(0), np.empty(0), reduction="sum", out=out) is out


def test_out_may_overlap_what_is_read(sk):
    z, label = data(4, 4), [0, 1, 2, 3]
    expected = sk.softmax.grad(z, label)
    for make in (lambda a: a, lambda a: a.T, lambda a: a[::-1], lambda a: a[:, ::-1]):
        memory = z.copy()
        out = make(memory)
        sk.softmax.grad(memory, label, out=out)
        np.testing.assert_array_equal(out, expected)
    memory = np.concatenate([data(5), [0.0]])
    p = memory[:-1].copy()
    sk.huber.grad(memory[:-1], np.zeros(5), weight=[1, 0, 1, 1, 1], out=memory[1:])
    np.testing.assert_array_equal(memory[1:], sk.huber.grad(p, np.zeros(5), weight=[1, 0, 1, 1, 1]))
    v = data(5, seed=3)
    kept = v.copy()
    sk.huber.hvp(p, np.zeros(5), vector=v[::-1], out=v)
    np.testing.assert_array_equal(v, sk.huber.hvp(p, np.zeros(5), vector=kept[::-1]))


@pytest.mark.parametrize(
    ("call", "keywords", "kind", "parts"),
    [
        ("value", {"out": np.empty(3)}, ValueError, ["out", 'reduction="none"']),
        ("value", {"out": np.empty(2), "reduction": "none"}, ValueError, ["(2,)", "(3,)"]),
        ("grad", {"out": np.empty((3, 1))}, ValueError, ["`out`", "(3, 1)", "(3,)"]),
        ("grad", {"out": np.empty(3, np.float32)}, TypeError, ["float32", "float64"]),
        ("grad", {"out": np.empty(3, ">f8")}, TypeError, [">f8", "float64"]),
        ("grad", {"out": np.broadcast_to(0.0, 3)}, ValueError, ["read-only"]),
        ("grad", {"out": [0.0, 0.0, 0.0]}, TypeError, ["NumPy array", "list"]),
        ("value_and_grad", {"out": np.empty(3), "reduction": "none"}, TypeError, ["pair", "ndarray"]),
        ("value_and_grad", {"out": (np.empty(3),), "reduction": "none"}, TypeError, ["pair"]),
        (
            "value_and_grad",
            {"out": (np.empty(3), np.empty(4)), "reduction": "none"},
            ValueError,
            ["out[1]", "(4,)"],
        ),
        ("grad_and_hess", {"out": np.empty(3)}, TypeError, ["pair"]),
        ("grad_and_hess", {"out": (SAME := np.empty(3), SAME)}, ValueError, ["out[1]", "overlaps"]),
        (
            "value_and_grad",
            {"out": (SAME, SAME[::-1]), "reduction": "none"},
            ValueError,
            ["out[1]", "overlaps"],
        ),
    ],
)
def test_out_that_does_not_fit_is_refused(sk, call, keywords, kind, parts):
    with raises(kind, *parts):
        getattr(sk.huber, call)(data(3), data(3), **keywords)


def test_out_of_several_predictions_is_checked_one_by_one(sk):
    x, c, label = data(2, 3), data(4, 3), [0, 1]
    with raises(TypeError, "out", "features, centers"):
        sk.center.grad(x, c, label, out=np.empty((2, 3)))
    with raises(ValueError, "out.centers", "(3, 4)", "(4, 3)"):
        sk.center.grad(x, c, label, out=(np.empty((2, 3)), np.empty((3, 4))))
    memory = np.empty((4, 3))
    with raises(ValueError, "out.centers", "overlaps"):
        sk.center.grad(x, c, label, out=(memory[:2], memory))


@pytest.mark.parametrize(
    ("keywords", "first"),
    [
        ({"delta": -1.0}, [1.0, 2.0]),
        ({"weight": [1.0, 2.0, 3.0]}, [1.0, 2.0]),
        ({"reduction": "avg"}, [1.0, 2.0]),
        ({"wieght": 1.0}, [1.0, 2.0]),
        ({}, [1, 2]),
    ],
)
def test_nothing_is_written_when_something_is_refused(sk, keywords, first):
    out = np.full(2, 7.0)
    with pytest.raises((TypeError, ValueError)):
        sk.huber.grad(first, [0.0, 0.0], out=out, **keywords)
    np.testing.assert_array_equal(out, [7.0, 7.0])
    pair = (np.full(2, 7.0), np.full(3, 7.0))
    with pytest.raises(ValueError, match=r"out\[1\]"):
        sk.huber.grad_and_hess([1.0, 2.0], [0.0, 0.0], weight=[0.0, 1.0], out=pair)
    np.testing.assert_array_equal(pair[0], [7.0, 7.0])


# Refused


@pytest.mark.parametrize(
    ("loss", "inputs", "kind", "parts"),
    [
        ("huber", (np.ones(3), np.ones(4)), ValueError, ["broadcast", "`prediction` (3,)", "`target` (4,)"]),
        ("softmax", (np.float64(1.0), 0), ValueError, ["`logits`", "()", "(..., K)"]),
        ("softmax", (np.ones((2, 0)), [0, 0]), ValueError, ["K", "`logits`", "empty", "(2, 0)"]),
        (
            "center",
            (np.ones(2), np.ones((4, 3)), 0),
            ValueError,
            ["dimension D", "2 in `features`", "3 in `centers`"],
        ),
        ("softmax", (np.ones((3, 4)), [0, 4, 1]), ValueError, ["label[1]", "= 4", "dimension K", "0 to 3"]),
        (
            "softmax",
            (np.ones((2, 2, 4)), [[0, 1], [1, -1]]),
            ValueError,
            ["label[1, 1]", "= -1", "ignore_index"],
        ),
        ("softmax", (np.ones(4), 4), ValueError, ["`label` = 4"]),
        ("softmax", (np.ones((1, 4)), np.array([2**64 - 1], np.uint64)), ValueError, [str(2**64 - 1)]),
        ("softmax", (np.ones((2, 4)), [0.0, 1.0]), TypeError, ["`label`", "float64", "integers"]),
        ("softmax", (np.ones((2, 4)), [True, False]), TypeError, ["`label`", "bool", "integers"]),
        ("huber", ([1, 2], [1, 2]), TypeError, ["`prediction`", "int64", "astype"]),
        ("huber", ([True, False], [1, 2]), TypeError, ["`prediction`", "bool"]),
        ("huber", ([1j, 2], [1, 2]), TypeError, ["`prediction`", "complex128"]),
        ("huber", (np.array([1.0, None]), [1, 2]), TypeError, ["`prediction`", "object"]),
        ("huber", (np.ones(2, np.float16), [1, 2]), TypeError, ["float16", "astype(np.float32)"]),
        ("huber", (np.ones(2, np.longdouble), [1, 2]), TypeError, ["astype(np.float64)"]),
        ("huber", (["a", "b"], [1, 2]), TypeError, ["`prediction`"]),
        ("huber", ([[1.0], [1.0, 2.0]], [1, 2]), ValueError, ["`prediction`", "no array"]),
        ("huber", (np.ones(2), [1j, 2]), TypeError, ["`target`", "complex128", "real"]),
        ("huber", (np.ones(2), [None, 1.0]), TypeError, ["`target`", "object"]),
        ("huber", (np.ones(2), np.ma.masked_array([1.0, 2.0], [0, 1])), TypeError, ["`target`", "masked"]),
        ("huber", (np.ones(2),), TypeError, ["huber.value", "missing `target`"]),
        ("huber", (), TypeError, ["missing `prediction`"]),
        ("huber", (1.0, 2.0, 3.0), TypeError, ["2 input(s)", "prediction, target", "3"]),
        ("bounded", ([0.5, 0.0], [0, 1]), ValueError, ["`q[1]` = 0.0", "(0, 1]"]),
        ("bounded", ([0.5, 1.5], [0, 1]), ValueError, ["`q[1]` = 1.5"]),
        ("bounded", ([[0.5], [0.5]], [[0.5], [1]]), ValueError, ["`target[0, 0]` = 0.5", "{0, 1}"]),
        ("bounded", (0.5, 2), ValueError, ["`target` = 2.0", "{0, 1}"]),
    ],
)
def test_refused_inputs_are_named_with_their_value_and_what_was_expected(sk, loss, inputs, kind, parts):
    with raises(kind, *parts):
        getattr(sk, loss).value(*inputs)


@pytest.mark.parametrize("position", [0, 1, 1023, 1024, 2500, 4999])
def test_position_of_the_entry_outside_its_domain(sk, position):
    q = np.full(5000, 0.5, np.float32)
    q[position] = 1.25
    with raises(ValueError, f"`q[{position}]` = 1.25"):
        sk.bounded.value(q, 0)
    label = np.zeros(5000, int)
    label[position] = 3
    with raises(ValueError, f"`label[{position}]` = 3"):
        sk.softmax.value(np.zeros(2), label)


def test_entries_at_the_ends_of_a_domain(sk):
    tiny = np.nextafter(0.0, 1.0)
    assert np.isfinite(sk.bounded.value([tiny, 1.0, 0.5], [0, 1, 1]))
    tiny = np.nextafter(np.float32(0), np.float32(1))
    assert np.isfinite(sk.bounded.value(np.array([tiny, 1.0], np.float32), [0, 1]))
    with raises(ValueError, "`q[0]`"):
        sk.bounded.value([np.nextafter(1.0, 2.0)], [0])
    # NaN is an entry of no domain and flows; so do infinities where all reals are allowed.
    assert np.isnan(sk.bounded.value([np.nan, 0.5], [0, np.nan]))
    assert sk.huber.value([np.inf], [0.0]) == np.inf


@pytest.mark.parametrize(
    ("keywords", "kind", "parts"),
    [
        ({"delta": 0.0}, ValueError, ["`delta` = 0.0", "delta > 0"]),
        ({"delta": -1}, ValueError, ["`delta` = -1", "delta > 0"]),
        ({"delta": np.nan}, ValueError, ["`delta` = nan", "delta > 0"]),
        ({"delta": np.inf}, ValueError, ["`delta` = inf", "finite"]),
        ({"delta": 10**400}, ValueError, ["`delta`", "finite"]),
        ({"delta": "1"}, TypeError, ["`delta`", "real number", "'1'"]),
        ({"delta": None}, TypeError, ["`delta`", "None"]),
        ({"delta": 1j}, TypeError, ["`delta`", "1j"]),
        ({"delta": True}, TypeError, ["`delta`", "True"]),
        ({"delta": np.ones(2)}, TypeError, ["`delta`", "real number"]),
        ({"detla": 1.0}, TypeError, ["huber.value", "`detla`", "did you mean `delta`?"]),
        ({"weights": 1.0}, TypeError, ["did you mean `weight`?"]),
        ({"reduce": "sum"}, TypeError, ["did you mean `reduction`?"]),
        ({"predictions": 1.0}, TypeError, ["did you mean `prediction`?"]),
        ({"xyz": 1.0}, TypeError, ["`xyz`", "it takes prediction, target, delta, reduction, weight, out"]),
        ({"vector": np.ones(3)}, TypeError, ["no keyword `vector`"]),
        ({"prediction": np.ones(3)}, TypeError, ["`prediction` twice"]),
        ({"reduction": "avg"}, ValueError, ["'avg'", '"mean", "sum" or "none"']),
        ({"reduction": None}, ValueError, ["None"]),
        ({"ignore_index": -1}, TypeError, ["ignore_index", "no label"]),
        ({"weight": np.ones(2)}, ValueError, ["`weight`", "(2,)", "(3,)"]),
        ({"weight": np.ones((2, 3))}, ValueError, ["`weight`", "(2, 3)"]),
        ({"weight": np.ones((1, 3))}, ValueError, ["`weight`", "(1, 3)"]),
        ({"weight": [1j, 1, 1]}, TypeError, ["`weight`", "complex"]),
        ({"weight": [None, 1, 1]}, TypeError, ["`weight`", "object"]),
    ],
)
def test_refused_keywords(sk, keywords, kind, parts):
    with raises(kind, *parts):
        sk.huber.value(np.ones(3), np.ones(3), **keywords)


def test_parameters_of_every_real_type(sk):
    expected = sk.huber.value([3.0], [0.0], delta=2.0)
    for delta in (2, np.float32(2), np.int8(2), np.array(2.0), np.float64(2)):
        assert sk.huber.value([3.0], [0.0], delta=delta) == expected
    for alpha in (0, 1, 0.5):
        assert np.isfinite(sk.bounded.value([0.5], [0], alpha=alpha))
    with raises(ValueError, "`alpha` = 1.0000001", "0 <= alpha <= 1"):
        sk.bounded.value([0.5], [0], alpha=1.0000001)


def test_ignore_index_must_be_an_integer(sk):
    with raises(TypeError, "ignore_index", "1.5"):
        sk.softmax.value(np.ones((1, 3)), [0], ignore_index=1.5)
    assert sk.softmax.value(np.ones((1, 3)), np.array([0], np.uint8), ignore_index=-100) == pytest.approx(
        np.log(3)
    )
    top = np.array([0, 2**64 - 1], np.uint64)
    assert sk.softmax.value(np.ones((2, 3)), top, ignore_index=2**64 - 1) == pytest.approx(np.log(3))


@pytest.mark.parametrize(
    ("vector", "kind", "parts"),
    [
        (None, TypeError, ["missing `vector`"]),
        (np.ones((2, 3)), TypeError, ["features, centers", "ndarray"]),
        ((np.ones((2, 3)),), TypeError, ["1 parts"]),
        ({"features": np.ones((2, 3))}, TypeError, ["['features']", "'centers'"]),
        ((np.ones((2, 3)), np.ones(3)), ValueError, ["vector.centers", "(3,)", "(4, 3)"]),
        ((np.ones((2, 3)) * 1j, np.ones((4, 3))), TypeError, ["vector.features", "complex"]),
    ],
)
def test_refused_vectors(sk, vector, kind, parts):
    with raises(kind, *parts):
        sk.center.hvp(np.ones((2, 3)), np.ones((4, 3)), [0, 1], vector=vector)


def test_vector_must_have_the_predictions_shape_and_may_be_of_any_real_dtype(sk):
    with raises(ValueError, "`vector`", "()", "(3,)"):
        sk.huber.hvp(np.ones(3), np.ones(3), vector=1.0)
    result = sk.huber.hvp(np.ones(3, np.float32), np.ones(3), vector=[1, 2, 3], reduction="sum")
    np.testing.assert_array_equal(result, np.array([1, 2, 3], np.float32))
    assert result.dtype == np.float32


class OnTheGpu:
    """An array in a GPU's memory."""

    __cuda_array_interface__: dict = {}  # noqa: RUF012


def test_a_result_cant_go_to_another_device(sk):
    with raises(TypeError, "`out`", "GPU", "same device"):
        sk.huber.grad(np.ones(2), np.ones(2), out=OnTheGpu())


# What is shown


def test_help_shows_the_losss_own_inputs_and_parameters(sk):
    signature = inspect.signature(sk.huber.value)
    assert str(signature) == "(prediction, target, *, delta=1.0, reduction='mean', weight=None, out=None)"
    assert list(inspect.signature(sk.softmax.hvp).parameters) == [
        "logits", "label", "vector", "reduction", "weight", "ignore_index", "out",
    ]  # fmt: skip
    assert inspect.signature(sk.softmax.hvp).parameters["vector"].default is inspect.Parameter.empty
    text = pydoc.plain(pydoc.render_doc(sk.huber.value_and_grad))
    assert "value_and_grad(prediction, target, *, delta=1.0" in text
    for part in ("Huber loss", "formula of huber", "delta = 1.0, delta > 0", "one pass"):
        assert part in text
    text = pydoc.plain(pydoc.render_doc(sk.softmax))
    for part in (
        "Softmax cross-entropy",
        "(k),()->()",
        "(..., K)",
        "integers from 0 to K - 1",
        "value_and_grad(logits",
    ):
        assert part in text
    assert sk.huber.value.__doc__ != sk.softmax.value.__doc__


def test_info_reads_well(sk):
    text = repr(sk.huber.info)
    for part in (
        "Huber loss (huber)",
        "formula of huber",
        "(),()->()",
        "delta = 1.0",
        "Kinks:",
        "Huber 1964",
    ):
        assert part in text
    assert "{0, 1}" in repr(sk.bounded.info)
    assert "(0, 1]" in repr(sk.bounded.info)
    assert sk.huber.info.parameters[0].default == 1.0
    assert [entry.name for entry in sk.center.info.predictions] == ["features", "centers"]
    assert repr(sk.huber) == "<loss huber(prediction, target, delta=1.0): (),()->()>"
    assert sk.huber._repr_latex_() == "$\\displaystyle x^2$"


def test_pickling_by_name(sk):
    assert pickle.loads(pickle.dumps(sk.huber)) is sk.huber
    method = pickle.loads(pickle.dumps(sk.huber.value))
    assert method([3.0], [0.0]) == 2.5
    assert copy.deepcopy({"loss": sk.huber})["loss"] is sk.huber
    assert copy.copy(sk.huber) is sk.huber
    runtime = sys.modules["plain_kernels._runtime"]
    homeless = runtime.Loss(sk.huber.info, lambda: sys.modules["plain_kernels.cpu.huber"])
    assert homeless.value([3.0], [0.0]) == 2.5
    with raises(pickle.PicklingError, "huber"):
        pickle.dumps(homeless)


def test_package_lists_its_losses_and_suggests_the_nearest(sk):
    assert sk.__all__ == ["bounded", "center", "huber", "softmax"]
    assert dir(sk) == sorted([*sk.__all__, "get_num_threads", "num_threads"])
    assert sk.huber is sk.huber
    with raises(AttributeError, "'hubber'", "did you mean 'huber'?"):
        sk.hubber  # noqa: B018
    with raises(AttributeError, "'qqqq'", "dir() lists"):
        sk.qqqq  # noqa: B018
    assert not hasattr(sk, "__wrapped__")
    assert "huber: Huber loss" in sk.__doc__


def test_package_loads_nothing_before_use_and_submodules_stay_modules(packages):
    code = """
import sys
import plain_kernels
assert "numpy" not in sys.modules and "numba" not in sys.modules
from plain_kernels import _catalog
assert "numpy" not in sys.modules
from plain_kernels import _runtime, cpu
import plain_kernels.cpu.huber as module
assert module.value.__module__ == "plain_kernels.cpu.huber"
from plain_kernels import huber
assert type(huber).__name__ == "Loss" and plain_kernels.huber is huber
assert "plain_kernels.cpu.softmax" not in sys.modules
namespace = {}
exec("from plain_kernels import *", namespace)
assert namespace["center"] is plain_kernels.center
assert huber.value([3.0], [0.0]) == 2.5
print("fine")
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(packages)},
    )
    assert done.stdout == "fine\n", done.stderr


# Compiled kernels


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_compiled_kernels_agree_with_plain_ones(sk, dtype):
    compiled = importlib.import_module("symloss_kernels")
    p, t = data(2, 3, dtype=dtype), data(3, seed=1, dtype=dtype)
    for weight in (None, abs(data(2, 1, seed=2))):
        for left, right in ((p, t), (t, p), (p[0, 0], t), (p[:, :1], t)):
            for call in ("value", "grad"):
                result = getattr(compiled.huber, call)(left, right, weight=weight if weight is None else 2.0)
                np.testing.assert_allclose(
                    result, getattr(sk.huber, call)(left, right, weight=None), rtol=1e-6
                )
    x, c, label = data(5, 3, dtype=dtype), data(4, 3, seed=1, dtype=dtype), [0, 1, 2, 3, 3]
    value, grad = compiled.center.value_and_grad(x, c, label)
    expected = sk.center.value_and_grad(x, c, label)
    assert value == pytest.approx(expected[0], rel=1e-6)
    np.testing.assert_allclose(grad.centers, expected[1].centers, rtol=1e-5)
    np.testing.assert_allclose(
        compiled.softmax_cross_entropy.grad(x, [0, 1, 2, 0, 9], ignore_index=9),
        sk.softmax.grad(x, [0, 1, 2, 0, 9], ignore_index=9),
        rtol=1e-5,
    )


def test_memory_layouts_share_one_compiled_kernel():
    compiled = importlib.import_module("symloss_kernels")
    kernel = importlib.import_module("symloss_kernels.cpu.huber").value
    p, t = data(3, 4), data(3, 4, seed=1)
    expected = compiled.huber.value(p, t)
    compiled_before = len(kernel.signatures)
    for (_, left), (_, right) in zip(variants(p), variants(t), strict=True):
        assert compiled.huber.value(left, right) == expected
    assert len(kernel.signatures) == compiled_before
    kernel = importlib.import_module("symloss_kernels.cpu.softmax_cross_entropy").value_narrow
    z, label = data(4, 3), np.array([0, 1, 2, 1])
    expected = compiled.softmax_cross_entropy.value(z, label)
    compiled_before = len(kernel.signatures)
    frozen = label.copy()
    frozen.flags.writeable = False
    for same in (frozen, np.repeat(label, 2)[::2], label.astype("i1"), label.tolist()):
        assert compiled.softmax_cross_entropy.value(z, same) == expected
    assert len(kernel.signatures) == compiled_before
