"""The losses as one would write them by hand in NumPy: the mean over the samples, and its gradient.

Each takes the inputs of the kernel of the same name, with its parameters at the values of the table in
`losses.py`, and gives the value and one gradient a prediction. They are written to be fast without becoming
unreadable: a temporary that is no longer needed is overwritten, and what is shared is computed once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["of"]

Array = np.ndarray
Result = tuple[Any, list[Array]]


def of(loss: str) -> Any:
    """The function for a loss, or None."""
    return globals().get(loss)


# Element-wise.


def mse(x: Array, y: Array) -> Result:
    r = x - y
    value = np.vdot(r, r) / r.size
    r *= 2 / r.size
    return value, [r]


def mae(x: Array, y: Array) -> Result:
    r = x - y
    value = np.abs(r).mean()
    np.sign(r, out=r)
    r /= r.size
    return value, [r]


def huber(x: Array, y: Array) -> Result:
    r = x - y
    slope = np.clip(r, -1, 1)  # the loss is slope * (r - slope / 2) in both branches
    r -= slope / 2
    value = np.vdot(slope, r) / r.size
    slope /= r.size
    return value, [slope]


smooth_l1 = huber  # the same function where beta = delta = 1


def binary_cross_entropy(q: Array, y: Array) -> Result:
    value = -(y * np.log(q) + (1 - y) * np.log1p(-q)).mean()
    return value, [(q - y) / (q * (1 - q) * q.size)]


def _softplus_and_sigmoid(z: Array) -> tuple[Array, Array]:
    e = np.exp(-np.abs(z))
    return np.maximum(z, 0) + np.log1p(e), np.where(z >= 0, 1, e) / (1 + e)


def binary_cross_entropy_with_logits(z: Array, y: Array) -> Result:
    softplus, grad = _softplus_and_sigmoid(z)
    value = (softplus - y * z).mean()
    grad -= y
    grad /= z.size
    return value, [grad]


def binary_focal(z: Array, y: Array) -> Result:
    sign = 2 * y - 1
    softplus, wrong = _softplus_and_sigmoid(-sign * z)  # -log p_t and 1 - p_t
    weight = 0.25 * y + 0.75 * (1 - y)
    weight *= wrong
    weight *= wrong
    value = (weight * softplus).mean()
    weight *= sign / -z.size
    return value, [weight * (2 * (1 - wrong) * softplus + wrong)]


# Rows.


def _softmax(z: Array) -> tuple[Array, Array, Array]:
    """The shifted logits, their softmax, and the logarithm of the sum of their exponentials."""
    shifted = z - z.max(-1, keepdims=True)
    p = np.exp(shifted)
    total = p.sum(-1, keepdims=True)
    p /= total
    return shifted, p, np.log(total)


def softmax_cross_entropy(z: Array, label: Array) -> Result:
    shifted, p, log_total = _softmax(z)
    rows = np.arange(len(z))
    value = (log_total[:, 0] - shifted[rows, label]).mean()
    p[rows, label] -= 1
    p /= len(z)
    return value, [p]


def soft_target_cross_entropy(z: Array, t: Array) -> Result:
    shifted, p, log_total = _softmax(z)
    shifted -= log_total
    value = -np.vdot(t, shifted) / len(z)
    p *= t.sum(-1, keepdims=True)
    p -= t
    p /= len(z)
    return value, [p]


def softmax_focal(z: Array, label: Array) -> Result:
    shifted, p, log_total = _softmax(z)
    rows = np.arange(len(z))
    loss = log_total[:, 0] - shifted[rows, label]
    right = p[rows, label]
    wrong = 1 - right
    value = (wrong * wrong * loss).mean()
    p[rows, label] -= 1
    p *= ((2 * wrong * right * loss + wrong * wrong) / len(z))[:, None]
    return value, [p]


def sparse_cross_entropy(q: Array, label: Array) -> Result:
    rows = np.arange(len(q))
    picked = q[rows, label]
    grad = np.zeros_like(q)
    grad[rows, label] = -1 / (picked * len(q))
    return -np.log(picked).mean(), [grad]


def cross_entropy(q: Array, p: Array) -> Result:
    value = -np.vdot(p, np.log(q)) / len(q)
    grad = p / q
    grad /= -len(q)
    return value, [grad]


def kl_divergence(q: Array, p: Array) -> Result:
    ratio = p / q
    value = np.vdot(p, np.log(ratio)) / len(q)
    ratio /= -len(q)
    return value, [ratio]


def js_divergence(q: Array, p: Array) -> Result:
    m = (p + q) / 2
    log_q = np.log(q / m)
    value = (np.vdot(p, np.log(p / m)) + np.vdot(q, log_q)) / (2 * len(q))
    log_q /= 2 * len(q)
    return value, [log_q]


def l1_norm(x: Array, y: Array) -> Result:
    r = x - y
    value = np.abs(r).sum() / len(r)
    np.sign(r, out=r)
    r /= len(r)
    return value, [r]


def _lengths(x: Array) -> Array:
    return np.sqrt(np.einsum("nd,nd->n", x, x))


def l2_norm(x: Array, y: Array) -> Result:
    r = x - y
    length = _lengths(r)
    r /= (len(r) * length)[:, None]
    return length.mean(), [r]


def l2_normalized_mse(x: Array, y: Array) -> Result:
    length = _lengths(x)[:, None]
    a = x / length
    r = a - y / _lengths(y)[:, None]
    value = np.vdot(r, r) / len(r)
    a *= np.einsum("nd,nd->n", r, a)[:, None]
    r -= a
    r *= 2 / (len(r) * length)
    return value, [r]


def min_max_mse(x: Array, y: Array) -> Result:
    rows = np.arange(len(x))
    low, high = x.argmin(-1), x.argmax(-1)
    span = (x[rows, high] - x[rows, low])[:, None]
    a = (x - x[rows, low][:, None]) / span
    least = y.min(-1, keepdims=True)
    r = a - (y - least) / (y.max(-1, keepdims=True) - least)
    value = np.vdot(r, r) / r.size
    r *= 2 / (r.size * span)
    along = np.einsum("nd,nd->n", r, a)
    total = r.sum(-1)
    r[rows, low] -= total - along
    r[rows, high] -= along
    return value, [r]


def standardized_mse(x: Array, y: Array) -> Result:
    spread = x.std(-1, keepdims=True)
    a = (x - x.mean(-1, keepdims=True)) / spread
    r = a - (y - y.mean(-1, keepdims=True)) / y.std(-1, keepdims=True)
    value = np.vdot(r, r) / r.size
    a *= (np.einsum("nd,nd->n", r, a) / x.shape[-1])[:, None]
    r -= r.mean(-1, keepdims=True)
    r -= a
    r *= 2 / (r.size * spread)
    return value, [r]


# Pairs of rows, centers, feature maps.


def contrastive(a: Array, b: Array, similar: Array) -> Result:
    r = a - b
    d = _lengths(r)
    gap = np.maximum(1 - d, 0)
    value = (similar * d * d + (1 - similar) * gap * gap).mean() / 2
    r *= ((similar - (1 - similar) * gap / d) / len(r))[:, None]
    return value, [r, -r]


def _add_rows(to: Array, label: Array, rows: Array) -> None:
    """`numpy.add.at` for rows: sorted by label and summed in runs, which is several times as fast."""
    order = label.argsort(kind="stable")
    found, starts = np.unique(label[order], return_index=True)
    to[found] += np.add.reduceat(rows[order], starts, axis=0)


def center(x: Array, centers: Array, label: Array) -> Result:
    r = x - centers[label]
    value = np.vdot(r, r) / (2 * len(r))
    r /= len(r)
    grad_centers = np.zeros_like(centers)
    _add_rows(grad_centers, label, -r)
    return value, [r, grad_centers]


def softmax_center(z: Array, x: Array, centers: Array, label: Array) -> Result:
    value, grads = softmax_cross_entropy(z, label)
    distance, of_center = center(x, centers, label)
    for grad in of_center:
        grad /= 256
    return value + distance / 256, grads + of_center


def feature_reconstruction(x: Array, y: Array) -> Result:
    return mse(x, y)


def gram_style(x: Array, y: Array) -> Result:
    rows, target = (a.reshape(*a.shape[:-2], -1) for a in (x, y))
    count = rows.shape[-2] * rows.shape[-1]
    r = (rows @ rows.swapaxes(-1, -2) - target @ target.swapaxes(-1, -2)) / count
    value = np.vdot(r, r) / len(x)
    r *= 4 / (count * len(x))
    return value, [(r @ rows).reshape(x.shape)]


def perceptual(x: Array, content: Array, style: Array) -> Result:
    value, [grad] = mse(x, content)
    of_style, [style_grad] = gram_style(x, style)
    grad += style_grad
    return value + of_style, [grad]
