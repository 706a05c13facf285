"""Handwritten digits by softmax regression, trained with three losses.

A linear model of scikit-learn's bundled digits (8 x 8 pixels, ten classes) is fitted by SciPy's L-BFGS. Every
step takes the loss and its gradient with respect to the model's output from one kernel call; the chain rule
through the linear model is one matrix product. Softmax cross-entropy is compared with the focal loss and
with the squared error on one-hot targets.

    python examples/digits.py
    python examples/digits.py --penalty 1e-3 --gamma 5
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import symloss_kernels as sk
from scipy.optimize import OptimizeResult, minimize
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

#: From the model's output (n, 10) and the labels (n,) to the mean loss and its gradient by the output.
ValueAndGrad = Callable[[np.ndarray, np.ndarray], tuple[float, np.ndarray]]


def fit(
    pixels: np.ndarray, labels: np.ndarray, loss: ValueAndGrad, penalty: float
) -> tuple[np.ndarray, OptimizeResult]:
    """Minimise the mean loss of a linear model plus penalty/2 times its squared weights.

    Args:
        pixels: the inputs (n, features), the last one a constant 1 for the bias.
        labels: the classes (n,).
        loss: value and gradient for the outputs.
        penalty: at least 0; the bias isn't penalised.

    Returns:
        The weights (features, classes) and SciPy's report.
    """
    shape = (pixels.shape[1], labels.max() + 1)
    penalised = np.ones((shape[0], 1))
    penalised[-1] = 0

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        weights = flat.reshape(shape)
        value, grad = loss(pixels @ weights, labels)
        decay = penalty * penalised * weights
        return value + np.vdot(decay, weights) / 2, (pixels.T @ grad + decay).ravel()

    result = minimize(
        objective, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 500}
    )
    return result.x.reshape(shape), result


def one_hot_mse(outputs: np.ndarray, labels: np.ndarray) -> tuple[float, np.ndarray]:
    """The squared error against one-hot rows: least-squares classification."""
    return sk.mse.value_and_grad(outputs, np.eye(outputs.shape[1])[labels])


def accuracy(pixels: np.ndarray, labels: np.ndarray, weights: np.ndarray) -> float:
    """The share of samples whose largest output is the right class."""
    return float(np.mean(np.argmax(pixels @ weights, axis=1) == labels))


def main() -> None:
    """Train with each loss and print a table of accuracies."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--penalty", type=float, default=1e-3, help="weight decay (default: 0.001)")
    parser.add_argument(
        "--gamma", type=float, default=2.0, help="focusing parameter of the focal loss (default: 2)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the split into train and test (default: 0)"
    )
    options = parser.parse_args()

    pixels, labels = load_digits(return_X_y=True)
    pixels = np.hstack([pixels / 16, np.ones((len(pixels), 1))])
    train_x, test_x, train_y, test_y = train_test_split(
        pixels, labels, test_size=0.25, random_state=options.seed, stratify=labels
    )
    losses: dict[str, ValueAndGrad] = {
        "softmax_cross_entropy": sk.softmax_cross_entropy.value_and_grad,
        "softmax_focal": lambda logits, label: sk.softmax_focal.value_and_grad(
            logits, label, gamma=options.gamma
        ),
        "mse on one-hot": one_hot_mse,
    }
    print(f"{len(train_y)} digits for training, {len(test_y)} for testing, penalty {options.penalty:g}")
    print(f"{'loss':<24}{'train':>8}{'test':>8}{'steps':>8}{'seconds':>9}")
    for name, loss in losses.items():
        start = time.perf_counter()
        weights, result = fit(train_x, train_y, loss, options.penalty)
        seconds = time.perf_counter() - start
        train, test = accuracy(train_x, train_y, weights), accuracy(test_x, test_y, weights)
        print(f"{name:<24}{train:>8.2%}{test:>8.2%}{result.nit:>8}{seconds:>9.2f}")


if __name__ == "__main__":
    main()
