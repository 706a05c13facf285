"""Write the trusted numbers: values and derivatives from closed forms found by hand, at 60 digits.

    python tests/trusted/make.py

Nothing here uses symloss: each loss has its value, gradient, Hessian diagonal and Hessian-vector product
written in a form that doesn't cancel. The oracle, which evaluates the textbook formula and differentiates
by hyper-dual numbers, must agree to 25 digits.
"""

from __future__ import annotations

import json
from pathlib import Path

from mpmath import mp, mpf

mp.dps = 60


def sigmoid(z):
    return 1 / (1 + mp.exp(-z)) if z > 0 else mp.exp(z) / (1 + mp.exp(z))


def softplus(z):
    return z + mp.log1p(mp.exp(-z)) if z > 0 else mp.log1p(mp.exp(z))


def dot(a, b):
    return mp.fsum(x * y for x, y in zip(a, b, strict=True))


def huber(p):
    r, d = p["prediction"] - p["target"], p["delta"]
    if abs(r) <= d:
        return r**2 / 2, [r], [mpf(1)], p["vector"]
    return d * (abs(r) - d / 2), [d * mp.sign(r)], [mpf(0)], [mpf(0)]


def binary_cross_entropy_with_logits(p):
    z, up, down = p["logits"], p["pos_weight"] * p["target"], 1 - p["target"]
    h = (up + down) * sigmoid(z) * sigmoid(-z)
    value = up * softplus(-z) + down * softplus(z)
    return value, [down * sigmoid(z) - up * sigmoid(-z)], [h], [h * p["vector"][0]]


def binary_focal(p):
    sign = 1 if p["target"] == 1 else -1
    a, g = (p["alpha"] if sign == 1 else 1 - p["alpha"]), p["gamma"]
    z = sign * p["logits"]
    q, u, log_q = sigmoid(z), sigmoid(-z), -softplus(-z)
    slope = a * u**g * (g * q * log_q - u)
    h = a * u**g * q * (-g * (g * q * log_q - u) + g * u * (log_q + 1) + u)
    return -a * u**g * log_q, [sign * slope], [h], [h * p["vector"][0]]


def softmax_cross_entropy(p):
    z, t = p["logits"], p["label"]
    top = max(z)
    total = mp.fsum(mp.exp(x - top) for x in z)
    q = [mp.exp(x - top) / total for x in z]
    rest = [mp.fsum(q[:k] + q[k + 1 :]) for k in range(len(z))]  # 1 - q without cancelling
    others = mp.fsum(mp.exp(x - z[t]) for k, x in enumerate(z) if k != t)
    v = p["vector"]
    return (
        mp.log1p(others),
        [-rest[k] if k == t else q[k] for k in range(len(z))],
        [a * b for a, b in zip(q, rest, strict=True)],
        [a * mp.fsum(b * (v[k] - w) for b, w in zip(q, v, strict=True)) for k, a in enumerate(q)],
    )


def kl_divergence(p):
    pairs = list(zip(p["prediction"], p["target"], strict=True))
    h = [y / q**2 for q, y in pairs]
    value = mp.fsum(y * mp.log(y / q) for q, y in pairs)
    return value, [-y / q for q, y in pairs], h, [a * v for a, v in zip(h, p["vector"], strict=True)]


def js_divergence(p):
    pairs = list(zip(p["prediction"], p["target"], strict=True))
    h = [y / (2 * q * (q + y)) for q, y in pairs]
    value = mp.fsum(y * mp.log(2 * y / (q + y)) + q * mp.log(2 * q / (q + y)) for q, y in pairs) / 2
    grad = [mp.log(2 * q / (q + y)) / 2 for q, y in pairs]
    return value, grad, h, [a * v for a, v in zip(h, p["vector"], strict=True)]


def l2_norm(p):
    r = [a - b for a, b in zip(p["prediction"], p["target"], strict=True)]
    n = mp.sqrt(dot(r, r))
    u = [x / n for x in r]
    along = dot(u, p["vector"])
    hv = [(v - x * along) / n for x, v in zip(u, p["vector"], strict=True)]
    return n, u, [(1 - x**2) / n for x in u], hv


def gram_style(p):
    """One channel: the Gram matrix is a number."""
    f, y = p["features"], p["target_features"]
    n = len(f)
    gap = (dot(f, f) - dot(y, y)) / n
    slope = [2 * x / n for x in f]
    along = dot(slope, p["vector"])
    return (
        gap**2,
        [2 * gap * s for s in slope],
        [2 * s**2 + 4 * gap / n for s in slope],
        [2 * s * along + 4 * gap / n * v for s, v in zip(slope, p["vector"], strict=True)],
    )


CASES = [
    (huber, "prediction", {"prediction": 0.3, "target": 0.1, "delta": 1.0}, [2.5]),
    (huber, "prediction", {"prediction": 1e200, "target": -0.1, "delta": 0.1}, [2.5]),
    (huber, "prediction", {"prediction": 1.0, "target": 0.0, "delta": 1.0}, [2.5]),
    *(
        (binary_cross_entropy_with_logits, "logits", {"logits": z, "target": y, "pos_weight": w}, [1.5])
        for z in (-1000.0, -36.7, -1e-30, 0.0, 0.3, 40.0, 745.2)
        for y, w in ((0.0, 1.0), (1.0, 1.0), (0.3, 2.5))
    ),
    *(
        (binary_focal, "logits", {"logits": z, "target": y, "alpha": 0.25, "gamma": g}, [1.5])
        for z in (-1000.0, -36.7, 0.3, 40.0, 1000.0)
        for y in (0.0, 1.0)
        for g in (0.0, 0.5, 1.0, 2.0)
    ),
    (softmax_cross_entropy, "logits", {"logits": [0.5, -1.25, 3.0], "label": 1}, [1.0, -2.0, 0.5]),
    (softmax_cross_entropy, "logits", {"logits": [100.0, 0.0, -50.0], "label": 0}, [1.0, -2.0, 0.5]),
    (softmax_cross_entropy, "logits", {"logits": [-1000.0, 1000.0], "label": 0}, [1.0, -2.0]),
    (softmax_cross_entropy, "logits", {"logits": [7.0, 7.0, 7.0, 7.0], "label": 3}, [1.0, 2.0, 3.0, 4.5]),
    (kl_divergence, "prediction", {"prediction": [0.2, 0.8], "target": [0.7, 0.3]}, [1.0, -2.0]),
    (kl_divergence, "prediction", {"prediction": [1e-30, 1.0], "target": [0.5, 0.5]}, [1.0, -2.0]),
    (js_divergence, "prediction", {"prediction": [0.2, 0.8], "target": [0.7, 0.3]}, [1.0, -2.0]),
    (js_divergence, "prediction", {"prediction": [1e-300, 1.0], "target": [0.5, 0.5]}, [1.0, -2.0]),
    (l2_norm, "prediction", {"prediction": [3.0, 4.5, -1e-8], "target": [0.1, 0.0, 0.0]}, [1.0, -2.0, 3.0]),
    (l2_norm, "prediction", {"prediction": [1e300, 2e300], "target": [0.0, 0.0]}, [1.0, -2.5]),
    (
        gram_style,
        "features",
        {"features": [0.5, -1.5, 2.25, 0.1], "target_features": [1.0, 0.3, -0.2, 0.7]},
        [1.0, -2.0, 0.5, 3.0],
    ),
]


def exact(value):
    if isinstance(value, list):
        return [mpf(x) for x in value]
    return mpf(value) if isinstance(value, float) else value


def main() -> None:
    """Write losses.json beside this file."""
    cases = []
    for function, wrt, point, vector in CASES:
        numbers = {name: exact(value) for name, value in point.items()} | {"vector": exact(vector)}
        value, grad, hess, hvp = function(numbers)
        arrays = {"grad": grad, "hess": hess, "hvp": hvp}
        cases.append(
            {
                "loss": function.__name__,
                "wrt": wrt,
                "point": point,
                "vector": vector,
                "value": mp.nstr(value, 30),
                **{name: [mp.nstr(x, 30) for x in array] for name, array in arrays.items()},
            }
        )
    text = "[\n" + ",\n".join(map(json.dumps, cases)) + "\n]\n"
    Path(__file__).with_name("losses.json").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
