"""Style transfer: one photograph's content in another's style, with losses from symloss_kernels.

A small convolutional network with random weights (fixed seed) turns an image into features. The kernels
`feature_reconstruction` and `gram_style` give the loss and its gradient with respect to these features, and
PyTorch carries the gradient on to the pixels, which L-BFGS changes. Both photographs come with scikit-learn.
Random filters are enough for colors and textures (Ustyuzhaninov et al. 2016, arXiv:1606.00021); a trained
network would paint finer.

    python examples/perceptual.py --out picture.png

writes content, style and result side by side and prints how the loss falls.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import symloss_kernels as sk
import torch
from PIL import Image
from sklearn.datasets import load_sample_images
from torch import Tensor, nn


class KernelLoss(torch.autograd.Function):
    """A loss of (features, target) whose value and gradient come from one kernel call."""

    @staticmethod
    def forward(ctx: Any, features: Tensor, target: Tensor, loss: Any) -> Tensor:
        """The value; the gradient is kept for the way back."""
        value, grad = loss.value_and_grad(features.detach().numpy(), target.numpy())
        ctx.save_for_backward(torch.from_numpy(grad))
        return features.new_tensor(value)

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor, None, None]:
        """The kept gradient times what comes from above."""
        (grad,) = ctx.saved_tensors
        return upstream * grad, None, None


class Features(nn.Module):
    """Three levels of random 3 x 3 filters, each level at half the resolution of the one before."""

    def __init__(self, channels: tuple[int, ...] = (32, 48, 64), seed: int = 0) -> None:
        """Draw the weights: the same for the same seed."""
        super().__init__()
        torch.manual_seed(seed)
        levels = []
        for inputs, outputs in zip((3, *channels), channels, strict=False):
            conv = nn.Conv2d(inputs, outputs, 3, padding=1, padding_mode="reflect")
            nn.init.orthogonal_(conv.weight, gain=2**0.5)
            nn.init.normal_(conv.bias, std=0.1)
            levels.append(nn.Sequential(conv, nn.ReLU()))
        self.levels = nn.ModuleList(levels)
        self.requires_grad_(False)

    def forward(self, image: Tensor) -> list[Tensor]:
        """The features (c, h, w) of every level for an image (3, h, w) with entries in [0, 1]."""
        x = image[None] * 2 - 1
        found = []
        for number, level in enumerate(self.levels):
            x = level(nn.functional.avg_pool2d(x, 2) if number else x)
            found.append(x[0])
        return found


class Objective:
    """The weighted sum of content and style losses for one pair of images.

    Each term is divided by its value at the start image, so that the weights don't depend on the scale of the
    random features.
    """

    def __init__(self, content: Tensor, style: Tensor, start: Tensor, content_weight: float) -> None:
        """Compute the features to be matched, and each term's value at the start."""
        self.network = Features()
        self.content = self.network(content)
        self.style = self.network(style)
        values = self.terms(start)
        weights = [content_weight / len(self.content)] * len(self.content) + [1 / len(self.style)] * len(
            self.style
        )
        self.weights = [weight / float(value) for weight, value in zip(weights, values, strict=True)]

    def terms(self, image: Tensor) -> list[Tensor]:
        """The content loss and the style loss of every level."""
        found = self.network(image)
        content = [
            KernelLoss.apply(f, y, sk.feature_reconstruction)
            for f, y in zip(found, self.content, strict=True)
        ]
        style = [KernelLoss.apply(f, y, sk.gram_style) for f, y in zip(found, self.style, strict=True)]
        return content + style

    def __call__(self, image: Tensor) -> Tensor:
        """The total."""
        return torch.stack([w * term for w, term in zip(self.weights, self.terms(image), strict=True)]).sum()


def photograph(name: str, size: int) -> Tensor:
    """The middle square of one of scikit-learn's photographs, as (3, size, size) in [0, 1]."""
    bundle = load_sample_images()
    picture = next(
        image for image, file in zip(bundle.images, bundle.filenames, strict=True) if name in str(file)
    )
    height, width, _ = picture.shape
    edge = min(height, width)
    top, left = (height - edge) // 2, (width - edge) // 2
    square = Image.fromarray(picture[top : top + edge, left : left + edge]).resize(
        (size, size), Image.LANCZOS
    )
    return torch.from_numpy(np.array(square, dtype=np.float32) / 255).permute(2, 0, 1).contiguous()


def transfer(objective: Objective, start: Tensor, steps: int) -> tuple[Tensor, list[float]]:
    """Change the pixels of `start` until the loss is low; gives the image and the loss every ten steps."""
    pixels = torch.logit(start).requires_grad_(True)  # the image is their sigmoid, and so stays within [0, 1]
    optimizer = torch.optim.LBFGS([pixels], max_iter=10, history_size=20, line_search_fn="strong_wolfe")

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = objective(torch.sigmoid(pixels))
        loss.backward()
        return loss

    history = [objective(start).item()]
    print(f"{'step':>6}{'loss':>12}{'fallen by':>12}")
    print(f"{0:>6}{history[0]:>12.4g}{'':>12}")
    for step in range(10, steps + 1, 10):
        optimizer.step(closure)
        history.append(objective(torch.sigmoid(pixels)).item())
        print(f"{step:>6}{history[-1]:>12.4g}{history[0] / history[-1]:>11.1f}x")
    return torch.sigmoid(pixels.detach()), history


def main() -> None:
    """Transfer the style and write the picture."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("perceptual.png"),
        help="the picture to write (default: perceptual.png)",
    )
    parser.add_argument(
        "--content",
        default="china",
        choices=("china", "flower"),
        help="the photograph that gives the content",
    )
    parser.add_argument(
        "--style", default="flower", choices=("china", "flower"), help="the photograph that gives the style"
    )
    parser.add_argument("--size", type=int, default=112, help="edge of the images in pixels (default: 112)")
    parser.add_argument("--steps", type=int, default=100, help="steps of L-BFGS (default: 100)")
    parser.add_argument(
        "--content-weight", type=float, default=0.05, help="weight beside the style's 1 (default: 0.05)"
    )
    options = parser.parse_args()

    content, style = photograph(options.content, options.size), photograph(options.style, options.size)
    torch.manual_seed(0)
    start = 0.4 + 0.2 * torch.rand_like(content)  # gray with a little noise
    result, _ = transfer(Objective(content, style, start, options.content_weight), start, options.steps)
    row = torch.cat([content, style, result], dim=2)
    Image.fromarray((row.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8)).save(options.out)
    print(f"wrote {options.out}: content, style, result")


if __name__ == "__main__":
    main()
