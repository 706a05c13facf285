"""The calls that are held against the exact results: for each loss, how a library's users get its numbers.

A call is the text that is evaluated, so that what a reader sees is what was measured. Its names are those of
our loss's inputs, one sample a row, and what `IMPORTS` binds. Gradients are the library's own: autograd for
PyTorch, `jax.grad` for JAX and optax, the methods of scikit-learn's losses; SciPy has none. A call takes the
form that the library's documentation recommends, with logits where there is one. A library with another
definition is here only where it is ours up to a factor that the call shows. What it clips or adds is part of
its arithmetic, and said in a note.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["ENTRIES", "IMPORTS", "REMARKS", "TITLES", "Call", "Entry", "evaluate", "load", "own"]

#: What is run before a library's calls, by the package that must be installed.
IMPORTS = {
    "symloss": "import symloss_kernels as sk",
    "torch": "import torch; from torch.nn import functional as F",
    "optax": "import jax, optax; from jax import numpy as jnp; jax.config.update('jax_enable_x64', True)",
    "jax": "import jax; from jax import numpy as jnp; jax.config.update('jax_enable_x64', True)",
    "scikit-learn": (
        "import numpy as np; from sklearn.metrics import log_loss; from sklearn._loss import "
        "AbsoluteError, HalfBinomialLoss, HalfMultinomialLoss, HalfSquaredError, HuberLoss"
    ),
    "scipy": "import numpy as np; from scipy import special; from scipy.spatial import distance",
}
#: What holds for all calls of a library.
REMARKS = {
    "optax": "JAX takes subnormal numbers for 0 on a CPU",
    "jax": "takes subnormal numbers for 0 on a CPU",
    "scikit-learn": "its losses are computed in float64 and rounded to the precision of the data",
}
TITLES = {
    "symloss": "symloss", "torch": "PyTorch", "optax": "optax", "jax": "JAX", "scikit-learn": "scikit-learn",
    "scipy": "SciPy",
}  # fmt: skip


@dataclass(frozen=True)
class Call:
    """How one library gives the outputs of one loss.

    Attributes:
        package: a key of `IMPORTS`.
        texts: from an output ("value", "grad", "hess": the Hessian's diagonal) to the expression for it.
        note: what a reader must know of the library's arithmetic.
    """

    package: str
    texts: Mapping[str, str]
    note: str = ""


@dataclass(frozen=True)
class Entry:
    """A loss with a counterpart.

    Attributes:
        kind: of its inputs, a name of `accuracy_points.KINDS`.
        calls: its counterparts.
    """

    kind: str
    calls: tuple[Call, ...]


def own(loss: Any) -> Call:
    """Our call; `loss` has a name and inputs."""
    names = ", ".join(given.name for given in loss.inputs)
    texts = {
        "value": f'sk.{loss.name}.value({names}, reduction="none")',
        "grad": f'sk.{loss.name}.grad({names}, reduction="none")',
        "hess": f'sk.{loss.name}.grad_and_hess({names}, reduction="none")[1]',
    }
    return Call("symloss", texts)


def load(library: str) -> dict[str, Any]:
    """The names that the library's calls use.

    Raises:
        ImportError: when it isn't installed.
    """
    names: dict[str, Any] = {}
    exec(IMPORTS[library], names)
    return names


def evaluate(
    call: Call, output: str, names: Mapping[str, Any], inputs: Mapping[str, np.ndarray], predicted: str
) -> np.ndarray:
    """What a call gives at all points, as an array of NumPy.

    Args:
        call: the call.
        output: a key of its texts.
        names: what `load` gave for its library.
        inputs: from the names of our inputs to arrays with the points along the first axis.
        predicted: the name of the input that is differentiated.
    """
    arrays = {name: _given(call.package, names, array, name == predicted) for name, array in inputs.items()}
    with np.errstate(all="ignore"):
        result = eval(call.texts[output], {**names, **arrays})
    return np.asarray(result.detach() if call.package == "torch" else result)


def _given(library: str, names: Mapping[str, Any], array: np.ndarray, differentiated: bool) -> Any:
    """An array as the library takes it: its own copy."""
    if library == "torch":
        tensor = names["torch"].from_numpy(array.copy())
        return tensor.requires_grad_() if differentiated else tensor
    return names["jnp"].asarray(array) if library in ("optax", "jax") else array.copy()


# Calls.


def _torch(x: str, value: str, note: str = "", hess: str = "") -> Call:
    texts = {"value": value, "grad": f"torch.autograd.grad({_total(value)}, {x})[0]"}
    return Call("torch", {**texts, **({"hess": hess} if hess else {})}, note)


def _jax(x: str, value: str, note: str = "", hess: str = "", library: str = "optax") -> Call:
    texts = {"value": value, "grad": f"jax.grad(lambda {x}: {_total(value)})({x})"}
    return Call(library, {**texts, **({"hess": hess} if hess else {})}, note)


def _total(value: str) -> str:
    """The sum of the samples' values, whose gradient has those of the samples."""
    return f"{value}.sum()" if value[0].isalpha() and _closes_last(value) else f"({value}).sum()"


def _closes_last(text: str) -> bool:
    """Whether a call is all of the expression: its first parenthesis closes with the last one."""
    depth = 0
    for place, sign in enumerate(text):
        depth += (sign == "(") - (sign == ")")
        if sign == ")" and depth == 0:
            return place == len(text) - 1
    return False


def _sklearn(made: str, arguments: str, factor: str = "", hess: bool = False, note: str = "") -> Call:
    texts = {
        "value": f"{factor}{made}.loss({arguments})",
        "grad": f"{factor}{made}.gradient({arguments})",
    }
    if hess:
        texts["hess"] = f"{factor}{made}.gradient_hessian({arguments})[1]"
    return Call("scikit-learn", texts, note)


def _scipy(value: str, note: str = "") -> Call:
    return Call("scipy", {"value": value}, note)


_PAIRWISE = "np.array([{} for x, y in zip(prediction, target)])"
_COMPOSED = "put together from functions of the library, which has no such loss"
_WITH_LABEL = "label.astype(logits.dtype), logits"
_CROSS_ENTROPY = 'F.cross_entropy(logits, {}, reduction="none")'
_TORCH_HESSIAN = (
    "torch.func.vmap(lambda logits, {0}: torch.func.hessian(F.cross_entropy)(logits, {0}).diagonal())"
    "(logits, {0})"
)
_JAX_HESSIAN = "jax.vmap(lambda logits, {0}: jnp.diag(jax.hessian(optax.{1})(logits, {0})))(logits, {0})"
_TO_MEAN = 'F.kl_div(((target + prediction) / 2).log(), {}, reduction="none").sum(-1)'

ENTRIES: dict[str, Entry] = {
    # Regression.
    "mse": Entry(
        "smooth residual",
        (
            _torch("prediction", 'F.mse_loss(prediction, target, reduction="none")'),
            _jax("prediction", "optax.squared_error(prediction, target)"),
            _sklearn("HalfSquaredError()", "target, prediction", "2 * "),
        ),
    ),
    "mae": Entry(
        "residual",
        (
            _torch("prediction", 'F.l1_loss(prediction, target, reduction="none")'),
            _sklearn("AbsoluteError()", "target, prediction"),
        ),
    ),
    "huber": Entry(
        "smooth residual",
        (
            _torch("prediction", 'F.huber_loss(prediction, target, reduction="none")'),
            _jax("prediction", "optax.huber_loss(prediction, target)"),
            _sklearn("HuberLoss(delta=1.0)", "target, prediction", hess=True),
            _scipy("special.huber(1, prediction - target)"),
        ),
    ),
    "smooth_l1": Entry(
        "smooth residual", (_torch("prediction", 'F.smooth_l1_loss(prediction, target, reduction="none")'),)
    ),
    "l1_norm": Entry(
        "vectors",
        (
            _torch("prediction", "torch.linalg.vector_norm(prediction - target, ord=1, dim=-1)"),
            _jax("prediction", "jnp.linalg.norm(prediction - target, ord=1, axis=-1)", library="jax"),
            _scipy(_PAIRWISE.format("distance.cityblock(x, y)")),
        ),
    ),
    "l2_norm": Entry(
        "vectors",
        (
            _torch("prediction", "torch.linalg.vector_norm(prediction - target, dim=-1)"),
            _torch("prediction", "F.pairwise_distance(prediction, target)", "adds 1e-6 to the difference"),
            _jax("prediction", "jnp.linalg.norm(prediction - target, axis=-1)", library="jax"),
            _scipy(_PAIRWISE.format("distance.euclidean(x, y)")),
        ),
    ),
    "feature_reconstruction": Entry(
        "maps",
        (
            _torch("features", 'F.mse_loss(features, target_features, reduction="none").mean((-3, -2, -1))'),
            _jax("features", "optax.squared_error(features, target_features).mean((-3, -2, -1))"),
        ),
    ),
    # Rows that are normalised first.
    "l2_normalized_mse": Entry(
        "vectors",
        (
            _torch(
                "prediction", "2 - 2 * F.cosine_similarity(prediction, target, dim=-1)",
                "takes lengths for at least 1e-8, its default eps",
            ),
            _jax("prediction", "2 * optax.cosine_distance(prediction, target)"),
            _scipy(_PAIRWISE.format("2 * distance.cosine(x, y)"), "clipped to [0, 2] before it is doubled"),
        ),
    ),
    "standardized_mse": Entry(
        "vectors",
        (
            _torch(
                "prediction",
                "F.mse_loss(F.layer_norm(prediction, (4,), eps=0.0), F.layer_norm(target, (4,), eps=0.0), "
                'reduction="none").mean(-1)',
                _COMPOSED,
            ),
            _scipy(
                _PAIRWISE.format("2 * distance.correlation(x, y)"), "clipped to [0, 2] before it is doubled"
            ),
        ),
    ),
    # Classification.
    "binary_cross_entropy": Entry(
        "probability, target",
        (
            _torch(
                "prediction", 'F.binary_cross_entropy(prediction, target, reduction="none")',
                "the logarithms are at least -100, and the gradient's denominator at least 1e-12",
            ),
            _jax(
                "prediction",
                "-(jax.scipy.special.xlogy(target, prediction) + jax.scipy.special.xlog1py(1 - target, "
                "-prediction))",
                _COMPOSED, library="jax",
            ),
            _scipy(
                "-(special.xlogy(target, prediction) + special.xlog1py(1 - target, -prediction))", _COMPOSED
            ),
        ),
    ),
    "binary_cross_entropy_with_logits": Entry(
        "logit, target",
        (
            _torch(
                "logits", 'F.binary_cross_entropy_with_logits(logits, target, reduction="none")',
                hess="torch.func.vmap(torch.func.hessian(F.binary_cross_entropy_with_logits))"
                "(logits, target)",
            ),
            _jax(
                "logits", "optax.sigmoid_binary_cross_entropy(logits, target)",
                hess="jax.vmap(jax.hessian(optax.sigmoid_binary_cross_entropy))(logits, target)",
            ),
            _sklearn("HalfBinomialLoss()", "target, logits", hess=True),
            _scipy(
                "-(target * special.log_expit(logits) + (1 - target) * special.log_expit(-logits))", _COMPOSED
            ),
        ),
    ),
    "binary_focal": Entry(
        "logit, outcome",
        (
            _jax(
                "logits", "optax.sigmoid_focal_loss(logits, target, alpha=0.25, gamma=2.0)",
                hess="jax.vmap(jax.hessian(lambda logits, target: optax.sigmoid_focal_loss(logits, target, "
                "alpha=0.25, gamma=2.0)))(logits, target)",
            ),
        ),
    ),
    "softmax_cross_entropy": Entry(
        "logits, label",
        (
            _torch("logits", _CROSS_ENTROPY.format("label"), hess=_TORCH_HESSIAN.format("label")),
            _jax(
                "logits", "optax.softmax_cross_entropy_with_integer_labels(logits, label)",
                hess=_JAX_HESSIAN.format("label", "softmax_cross_entropy_with_integer_labels"),
            ),
            _sklearn("HalfMultinomialLoss(n_classes=4)", _WITH_LABEL, hess=True),
            _scipy("-special.log_softmax(logits, axis=-1)[np.arange(len(label)), label]"),
        ),
    ),
    "soft_target_cross_entropy": Entry(
        "logits, distribution",
        (
            _torch("logits", _CROSS_ENTROPY.format("target"), hess=_TORCH_HESSIAN.format("target")),
            _jax(
                "logits", "optax.softmax_cross_entropy(logits, target)",
                hess=_JAX_HESSIAN.format("target", "softmax_cross_entropy"),
            ),
            _scipy("-(target * special.log_softmax(logits, axis=-1)).sum(-1)", _COMPOSED),
        ),
    ),
    "sparse_cross_entropy": Entry(
        "distribution, label",
        (
            _torch("prediction", 'F.nll_loss(prediction.log(), label, reduction="none")'),
            Call(
                "scikit-learn",
                {
                    "value": "np.array([log_loss([k], [q], labels=range(4)) "
                    "for k, q in zip(label, prediction)])"
                },
                "clips to [eps, 1 - eps], with the eps of the data's precision",
            ),
        ),
    ),
    "cross_entropy": Entry(
        "distributions",
        (
            _torch("prediction", "-torch.special.xlogy(target, prediction).sum(-1)", _COMPOSED),
            _jax(
                "prediction", "-jax.scipy.special.xlogy(target, prediction).sum(-1)", _COMPOSED,
                library="jax",
            ),
            _scipy("-special.xlogy(target, prediction).sum(-1)", _COMPOSED),
        ),
    ),
    # Divergences.
    "kl_divergence": Entry(
        "distributions",
        (
            _torch("prediction", 'F.kl_div(prediction.log(), target, reduction="none").sum(-1)'),
            _jax("prediction", "optax.kl_divergence(jnp.log(prediction), target)"),
            _jax("prediction", "jax.scipy.special.rel_entr(target, prediction).sum(-1)", library="jax"),
            _scipy("special.rel_entr(target, prediction).sum(-1)"),
        ),
    ),
    "js_divergence": Entry(
        "distributions",
        (
            _torch(
                "prediction",
                f"({_TO_MEAN.format('target')} + {_TO_MEAN.format('prediction')}) / 2",
                _COMPOSED,
            ),
            _scipy(
                "distance.jensenshannon(target, prediction, axis=-1) ** 2",
                "takes a square root, which the call undoes",
            ),
        ),
    ),
}  # fmt: skip
