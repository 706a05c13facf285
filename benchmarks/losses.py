"""The losses of the comparison: one row a loss, its inputs, sizes and formula in other libraries.

A formula is the mean over the samples, written once for PyTorch, JAX and PyTensor in terms of `ops`, the few
functions that they call differently (`peers.py`). Where PyTorch has the loss, or most of it, the row has that
form too, which is what its users write. The gradient is the library's own business. NumPy gives none: its
forms, with gradients, are in `by_hand.py` under the name of the loss.

A loss of the catalogue without a row gets inputs from what the kernel says of itself, and is timed alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

__all__ = ["QUICK", "ROWS", "SIZES", "Row", "Size", "draw", "row_of"]


class Size(NamedTuple):
    """How large the inputs are: the number of samples, and the core dimensions in the signature's order."""

    samples: int
    core: tuple[int, ...] = ()

    def __str__(self) -> str:
        return "x".join(map(str, (self.samples, *self.core)))


#: The sizes by the kind of loss. `pair`: two sets of embeddings. `center` and `joint`: the features of 2
#: dimensions and 10 classes of the paper on center loss, and the embeddings of a face or image classifier.
#: `map`: the feature maps of the first block of VGG-16 for a 256 x 256 image, and of its fourth.
SIZES = {
    "element": (Size(32), Size(10_000), Size(4_000_000)),
    "row": (Size(32, (10,)), Size(65536, (10,)), Size(8192, (1000,)), Size(512, (50257,))),
    "pair": (Size(64, (128,)), Size(4096, (128,))),
    "center": (Size(64, (2, 10)), Size(4096, (128, 1000))),
    "joint": (Size(64, (10, 2)), Size(4096, (1000, 128))),
    "map": (Size(1, (64, 256, 256)), Size(1, (512, 32, 32))),
}

#: Tiny ones, to see that everything works.
QUICK = {
    "element": (Size(100),),
    "row": (Size(16, (5,)),),
    "pair": (Size(16, (4,)),),
    "center": (Size(16, (3, 4)),),
    "joint": (Size(16, (4, 3)),),
    "map": (Size(1, (3, 4, 5)),),
}


@dataclass(frozen=True)
class Row:
    """One loss of the comparison.

    Attributes:
        inputs: the kind of each input, a name of `KINDS`.
        sizes: a name of `SIZES`.
        formula: the mean loss from `ops` and the inputs.
        torch: the same from the module torch and the inputs, where that isn't how one writes it there.
        sklearn: the class in sklearn._loss, its arguments, and our value over its.
        parameters: keywords of our call, where they aren't the defaults.
        shared: inputs without a dimension for samples.
        picked: inputs of which one entry a sample is read.
        algebraic: whether there is nothing but memory to wait for: no exponential, no logarithm.
    """

    inputs: tuple[str, ...]
    sizes: str = "row"
    formula: Callable | None = None
    torch: Callable | None = None
    sklearn: tuple[str, dict[str, Any], float] | None = None
    parameters: dict[str, float] = field(default_factory=dict)
    shared: tuple[int, ...] = ()
    picked: tuple[int, ...] = ()
    algebraic: bool = False


# Inputs.

Rng = np.random.Generator


def _simplex(rng: Rng, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Probabilities that sum to 1, as a softmax gives them."""
    p = rng.standard_normal(shape, dtype)
    np.exp(p, out=p)
    p /= p.sum(-1, keepdims=True)
    return p


def _embedding(rng: Rng, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Vectors whose distances lie on both sides of a margin of 1."""
    return rng.standard_normal(shape, dtype) * dtype.type(0.7 / math.sqrt(shape[-1]))


#: From random numbers, a shape and a dtype to an array. A label is made by `draw`.
KINDS: dict[str, Callable[[Rng, tuple[int, ...], np.dtype], np.ndarray]] = {
    "real": lambda rng, shape, dtype: rng.standard_normal(shape, dtype),
    "unit": lambda rng, shape, dtype: 0.02 + dtype.type(0.96) * rng.random(shape, dtype),
    "positive": lambda rng, shape, dtype: 0.1 + rng.random(shape, dtype),
    "bit": lambda rng, shape, dtype: rng.integers(0, 2, shape).astype(dtype),
    "simplex": _simplex,
    "embedding": _embedding,
}


def draw(info: Any, row: Row, size: Size, dtype: np.dtype) -> list[np.ndarray]:
    """The inputs of a loss, from its description, its row and the size; the same ones every time."""
    rng = np.random.default_rng(0)
    dims = list(dict.fromkeys(dim for entry in info.inputs for dim in entry.core))
    length = dict(zip(dims, size.core, strict=True))
    arrays = []
    for place, (entry, kind) in enumerate(zip(info.inputs, row.inputs, strict=True)):
        if kind == "label":
            arrays.append(rng.integers(0, length[entry.dims[0]], size.samples))
            continue
        lead = () if place in row.shared else (size.samples,)
        arrays.append(KINDS[kind](rng, lead + tuple(length[dim] for dim in entry.core), dtype))
    return arrays


def row_of(info: Any) -> Row:
    """The row of a loss; for one that has none, inputs that lie in their domains, and no formula."""
    return ROWS.get(info.name) or Row(tuple(_kind(entry) for entry in info.inputs), _sizes(info))


def _kind(entry: Any) -> str:
    if entry.kind == "label":
        return "label"
    if entry.values is not None:
        return "bit"
    if entry.low >= 0:
        return "unit" if entry.high <= 1 else "positive"
    return "real"


def _sizes(info: Any) -> str:
    cores = [entry.core for entry in info.inputs]
    dims = len({dim for core in cores for dim in core})
    if dims == 2 and len(cores[0]) == 1:
        return "center"
    return {0: "element", 1: "row", 3: "map"}.get(dims, "")


# Formulas that need more than a line.


def _huber(ops: Any, x: Any, y: Any) -> Any:
    size = ops.abs(x - y)
    return ops.where(size <= 1, size * size / 2, size - 0.5).mean()


def _binary_cross_entropy(ops: Any, q: Any, y: Any) -> Any:
    return -(y * ops.log(q) + (1 - y) * ops.log1p(-q)).mean()


def _focal(ops: Any, z: Any, y: Any) -> Any:
    return _focal_of(ops.sigmoid(z), ops.softplus(z) - y * z, y)


def _focal_torch(t: Any, z: Any, y: Any) -> Any:
    ce = t.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="none")
    return _focal_of(t.sigmoid(z), ce, y)


def _focal_of(p: Any, ce: Any, y: Any) -> Any:
    """As torchvision and optax have it, line by line, with alpha = 1/4 and gamma = 2."""
    p_t = p * y + (1 - p) * (1 - y)
    alpha_t = 0.25 * y + 0.75 * (1 - y)
    return (alpha_t * ce * (1 - p_t) ** 2).mean()


def _nll(ops: Any, z: Any, label: Any) -> Any:
    return ops.logsumexp(z) - ops.pick(z, label)


def _softmax_focal(ops: Any, z: Any, label: Any) -> Any:
    nll = _nll(ops, z, label)
    return ((1 - ops.exp(-nll)) ** 2 * nll).mean()


def _softmax_focal_torch(t: Any, z: Any, label: Any) -> Any:
    nll = t.nn.functional.cross_entropy(z, label, reduction="none")
    return ((1 - t.exp(-nll)) ** 2 * nll).mean()


def _js(ops: Any, q: Any, p: Any) -> Any:
    m = (p + q) / 2
    return (p * ops.log(p / m) + q * ops.log(q / m)).sum(-1).mean() / 2


def _js_torch(t: Any, q: Any, p: Any) -> Any:
    log_m = t.log((p + q) / 2)  # a logarithm more, which costs less here than a division and its gradient
    return (p * (t.log(p) - log_m) + q * (t.log(q) - log_m)).sum(-1).mean() / 2


def _unit_length(ops: Any, x: Any) -> Any:
    return x / ops.sqrt((x * x).sum(-1, keepdims=True))


def _l2_normalized_torch(t: Any, x: Any, y: Any) -> Any:
    f = t.nn.functional
    return f.mse_loss(f.normalize(x, dim=-1), f.normalize(y, dim=-1), reduction="sum") / len(x)


def _unit_range(ops: Any, x: Any) -> Any:
    low = ops.min(x)
    return (x - low) / (ops.max(x) - low)


def _standard(ops: Any, x: Any) -> Any:
    offset = x - x.mean(-1, keepdims=True)
    return offset / ops.sqrt((offset * offset).mean(-1, keepdims=True))


def _standardized_torch(t: Any, x: Any, y: Any) -> Any:
    f, core = t.nn.functional, x.shape[-1:]
    return f.mse_loss(f.layer_norm(x, core, eps=0.0), f.layer_norm(y, core, eps=0.0))


def _contrastive(ops: Any, a: Any, b: Any, similar: Any) -> Any:
    square = ((a - b) ** 2).sum(-1)
    gap = ops.relu(1 - ops.sqrt(square))
    return (similar * square + (1 - similar) * gap * gap).mean() / 2


def _center(ops: Any, x: Any, centers: Any, label: Any) -> Any:
    return ((x - ops.rows(centers, label)) ** 2).sum(-1).mean() / 2


def _softmax_center(ops: Any, z: Any, x: Any, centers: Any, label: Any) -> Any:
    return _nll(ops, z, label).mean() + _center(ops, x, centers, label) / 256


def _softmax_center_torch(t: Any, z: Any, x: Any, centers: Any, label: Any) -> Any:
    offset = x - centers.index_select(0, label)
    return t.nn.functional.cross_entropy(z, label) + (offset**2).sum(-1).mean() / 512


def _gram(ops: Any, x: Any) -> Any:
    rows = ops.flat(x)
    return ops.matmul(rows, rows.mT) / (x.shape[-1] * x.shape[-2] * x.shape[-3])


def _gram_style(ops: Any, x: Any, y: Any) -> Any:
    return ((_gram(ops, x) - _gram(ops, y)) ** 2).sum((-2, -1)).mean()


PAIR = ("real", "real")
LABELLED = ("real", "label")
PROBABILITIES = ("simplex", "simplex")

ROWS = {
    # Element-wise.
    "mse": Row(
        PAIR,
        "element",
        lambda ops, x, y: ops.mse(x, y),
        sklearn=("HalfSquaredError", {}, 2.0),
        algebraic=True,
    ),
    "mae": Row(
        PAIR,
        "element",
        lambda ops, x, y: ops.abs(x - y).mean(),
        torch=lambda t, x, y: t.nn.functional.l1_loss(x, y),
        sklearn=("AbsoluteError", {}, 1.0),
        algebraic=True,
    ),
    "huber": Row(
        PAIR,
        "element",
        _huber,
        torch=lambda t, x, y: t.nn.functional.huber_loss(x, y),
        sklearn=("HuberLoss", {"delta": 1.0}, 1.0),
        algebraic=True,
    ),
    "smooth_l1": Row(
        PAIR,
        "element",
        _huber,
        torch=lambda t, x, y: t.nn.functional.smooth_l1_loss(x, y),
        sklearn=("HuberLoss", {"delta": 1.0}, 1.0),
        algebraic=True,
    ),
    "binary_cross_entropy": Row(
        ("unit", "unit"),
        "element",
        _binary_cross_entropy,
        torch=lambda t, q, y: t.nn.functional.binary_cross_entropy(q, y),
    ),
    "binary_cross_entropy_with_logits": Row(
        ("real", "bit"),
        "element",
        lambda ops, z, y: (ops.softplus(z) - y * z).mean(),
        torch=lambda t, z, y: t.nn.functional.binary_cross_entropy_with_logits(z, y),
        sklearn=("HalfBinomialLoss", {}, 1.0),
    ),
    "binary_focal": Row(("real", "bit"), "element", _focal, torch=_focal_torch),
    # Rows.
    "softmax_cross_entropy": Row(
        LABELLED,
        formula=lambda ops, z, label: _nll(ops, z, label).mean(),
        torch=lambda t, z, label: t.nn.functional.cross_entropy(z, label),
        sklearn=("HalfMultinomialLoss", {}, 1.0),
    ),
    "soft_target_cross_entropy": Row(
        ("real", "simplex"),
        formula=lambda ops, z, p: -(p * ops.log_softmax(z)).sum(-1).mean(),
        torch=lambda t, z, p: t.nn.functional.cross_entropy(z, p),
    ),
    "softmax_focal": Row(LABELLED, formula=_softmax_focal, torch=_softmax_focal_torch),
    "sparse_cross_entropy": Row(
        ("simplex", "label"),
        formula=lambda ops, q, label: -ops.log(ops.pick(q, label)).mean(),
        picked=(0,),
    ),
    "cross_entropy": Row(PROBABILITIES, formula=lambda ops, q, p: -(p * ops.log(q)).sum(-1).mean()),
    "kl_divergence": Row(
        PROBABILITIES,
        formula=lambda ops, q, p: (p * ops.log(p / q)).sum(-1).mean(),
        torch=lambda t, q, p: t.nn.functional.kl_div(q.log(), p, reduction="batchmean"),
    ),
    "js_divergence": Row(PROBABILITIES, formula=_js, torch=_js_torch),
    "l1_norm": Row(
        PAIR,
        formula=lambda ops, x, y: ops.abs(x - y).sum(-1).mean(),
        torch=lambda t, x, y: t.nn.functional.l1_loss(x, y, reduction="sum") / len(x),
    ),
    "l2_norm": Row(PAIR, formula=lambda ops, x, y: ops.sqrt(((x - y) ** 2).sum(-1)).mean()),
    "l2_normalized_mse": Row(
        PAIR,
        formula=lambda ops, x, y: ((_unit_length(ops, x) - _unit_length(ops, y)) ** 2).sum(-1).mean(),
        torch=_l2_normalized_torch,
    ),
    "min_max_mse": Row(PAIR, formula=lambda ops, x, y: ops.mse(_unit_range(ops, x), _unit_range(ops, y))),
    "standardized_mse": Row(
        PAIR,
        formula=lambda ops, x, y: ops.mse(_standard(ops, x), _standard(ops, y)),
        torch=_standardized_torch,
    ),
    # Pairs, centers, feature maps.
    "contrastive": Row(("embedding", "embedding", "bit"), "pair", _contrastive),
    "center": Row(("real", "real", "label"), "center", _center, shared=(1,)),
    "softmax_center": Row(
        ("real", "real", "real", "label"),
        "joint",
        _softmax_center,
        torch=_softmax_center_torch,
        parameters={"strength": 1 / 256},  # exact in binary, so that no library widens float32 to hold it
        shared=(2,),
    ),
    "feature_reconstruction": Row(PAIR, "map", lambda ops, x, y: ops.mse(x, y)),
    "gram_style": Row(PAIR, "map", _gram_style),
    "perceptual": Row(
        ("real", "real", "real"),
        "map",
        lambda ops, x, content, style: ops.mse(x, content) + _gram_style(ops, x, style),
    ),
}
