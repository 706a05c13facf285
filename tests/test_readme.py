"""What README shows works as it is shown."""

from __future__ import annotations

import contextlib
import io
import re
from pathlib import Path

import pytest
from blocks import blocks

from symloss.catalog import load_text, trace

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = [block.text for block in blocks(README) if block.language == "python"]
SPECS = [block for block in BLOCKS if "@loss(" in block]
CALLS = [block for block in BLOCKS if block not in SPECS]


def test_there_is_something_to_test():
    assert len(SPECS) == 2
    assert len(CALLS) == 3


def test_the_first_spec_is_the_shipped_one():
    from symloss.catalog import Catalog

    (made,) = load_text(SPECS[0]).values()
    assert trace(made).formula == Catalog().loss("softmax_cross_entropy").formula


def test_the_derived_gradient_is_the_one_that_is_shown():
    from symloss.catalog import Catalog
    from symloss.show import show

    lines = [
        re.sub(" +=", " =", line) for line in re.findall(r"^(?:value|grad_logits) .*", README, re.MULTILINE)
    ]
    assert len(lines) >= 2
    said = list(show(Catalog().loss("softmax_cross_entropy"), "stabilised"))
    assert [line for line in lines[:2] if line not in said] == []


def test_the_calls_run_one_after_the_other_and_print_what_they_say():
    """A comment behind a `print` says what it prints."""
    names: dict[str, object] = {"__name__": "readme"}
    for block in CALLS:
        for said in re.findall(r"^print\((.*)\)  # ([\d\[].*)$", block, re.MULTILINE):
            block += f"\nshown.append(({said[0]!r}, {said[1]!r}, str([{said[0]}])))\n"
        names["shown"] = []
        with contextlib.redirect_stdout(io.StringIO()):
            exec(compile(block, "README.md", "exec"), names)
        for expression, said, printed in names["shown"]:  # type: ignore[attr-defined]
            wanted = [float(number) for number in re.findall(r"-?\d[\d.e+-]*", said)]
            got = [float(number) for number in re.findall(r"-?\d[\d.e+-]*", printed)]
            assert got == pytest.approx(wanted, rel=1e-8), expression


def test_the_own_spec_compiles_and_gives_a_density():
    import numpy as np
    from scipy.stats import t

    import symloss

    made = symloss.compile(SPECS[1])
    x = np.array([-3.0, 0.0, 0.5, 20.0])
    values = made.value(np.zeros(4), x, reduction="none", width=2.0, nu=3.0)
    np.testing.assert_allclose(values, -t.logpdf(x, 3.0, scale=2.0), rtol=1e-13)


def test_every_command_is_listed():
    from typer.main import get_command

    from symloss.cli import app

    for command in get_command(app).commands:  # type: ignore[attr-defined]
        assert f"`symloss {command}" in README
