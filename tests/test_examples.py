"""The examples run as a reader would run them, and reach what they promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


def run(name: str, *arguments: str, folder: Path) -> str:
    """What an example prints."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        cwd=folder, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_digits_reaches_95_percent_and_shows_the_others(tmp_path):
    printed = run("digits.py", folder=tmp_path)
    rows = dict(re.findall(r"^(\w.*?)  .* ([\d.]+)% +\d+ +[\d.]+$", printed, re.MULTILINE))
    assert list(rows) == ["softmax_cross_entropy", "softmax_focal", "mse on one-hot"]
    assert float(rows["softmax_cross_entropy"]) >= 95
    assert all(float(test) >= 90 for test in rows.values())


def test_perceptual_falls_tenfold_and_writes_the_picture(tmp_path):
    pytest.importorskip("torch", reason="the perceptual example's network is PyTorch's")
    image = pytest.importorskip("PIL.Image")
    printed = run("perceptual.py", "--out", "picture.png", "--size", "64", "--steps", "40", folder=tmp_path)
    falls = [float(fall) for fall in re.findall(r"([\d.]+)x$", printed, re.MULTILINE)]
    assert len(falls) == 4
    assert falls[-1] >= 10
    with image.open(tmp_path / "picture.png") as picture:
        assert picture.size == (192, 64)
        result = np.asarray(picture)[:, 128:].reshape(-1, 3)
        assert len(np.unique(result, axis=0)) > 500  # the result isn't a blank square
