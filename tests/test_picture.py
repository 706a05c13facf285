"""Curves as SVG."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from symloss.curves import Curve
from symloss.printers.picture import Frame, card, extent, path, plot, ticks

X = np.linspace(-5, 5, 96)
FRAME = Frame(-5, 5, -1, 6, 0, 240, 0, 120)


@pytest.mark.parametrize(
    ("y", "pieces"),
    [
        (np.abs(X), 1),
        (np.sign(X), 2),
        (np.where(np.abs(X) < 1, 1.0, 0.0), 3),
        (X**2 / 5, 1),
        (np.where(X > 4, np.nan, X), 1),
        (np.where(np.abs(X) < 1, np.inf, 1.0), 2),
        (np.full(96, np.nan), 0),
        (np.exp(X) / 25, 1),
    ],
    ids=["kink", "jump", "two jumps", "smooth", "end", "gap", "nothing", "steep"],
)
def test_a_line_breaks_where_the_curve_does(y, pieces):
    assert path(X, y, FRAME).count("M") == pieces


def test_a_line_goes_through_its_points():
    numbers = [float(n) for n in re.findall(r"-?[\d.]+", path(X, X, FRAME))]
    xs, ys = np.array(numbers[::2]), np.array(numbers[1::2])
    np.testing.assert_allclose(xs, (X + 5) / 10 * 240, atol=0.051)
    inside = (X > -4) & (X < 5)
    np.testing.assert_allclose(ys[inside], 120 - (X[inside] + 1) / 7 * 120, atol=0.051)


@pytest.mark.parametrize(
    ("y", "low", "high"),
    [
        (X**2, (-3, 0), (25, 28)),
        (np.where(X > 4.9, 1e6, X), (-7, -5), (4, 12)),
        (np.zeros(96), (-1, 0), (0, 1)),
        (np.full(96, np.inf), (-1, -1), (1, 1)),
    ],
    ids=["all", "not what shoots up", "flat", "nothing"],
)
def test_the_range_shows_what_counts(y, low, high):
    bottom, top = extent([y])
    assert low[0] <= bottom <= low[1] and high[0] <= top <= high[1] and bottom < top


@pytest.mark.parametrize(("low", "high"), [(-5, 5), (0, 1), (-0.06, 25.9), (1e-9, 3e-9), (-4e6, 1e7)])
def test_ticks_are_round_and_few(low, high):
    found = ticks(low, high)
    assert 3 <= len(found) <= 12 and low <= found[0] and found[-1] <= high * (1 + 1e-9)
    np.testing.assert_allclose(np.diff(found), found[1] - found[0], rtol=1e-5)
    assert re.fullmatch(r"[125]\.?0*", f"{found[1] - found[0]:.6e}".partition("e")[0])


@pytest.mark.parametrize("styled", [True, False])
def test_a_plot_is_sound_and_says_what_it_shows(styled):
    text = plot([("a < b", X, X), ("c & d", X, -X)], 'title "x"', "axis", styled=styled)
    root = ElementTree.fromstring(text)
    words = ["".join(node.itertext()) for node in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"a < b", "c & d", 'title "x"', "axis", "0"} <= set(words)
    assert len(root.findall(".//*[@clip-path]")) == 2 and ("<style>" in text) is styled


def test_a_card_is_sound():
    root = ElementTree.fromstring(card(Curve(X, X**2, 2 * X, X), "x"))
    assert root.get("role") == "img" and len(root) == 3
