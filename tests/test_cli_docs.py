"""The commands that show losses: `docs build`, `docs pdf`, `docs serve`, `plot`."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import urlopen
from xml.etree import ElementTree

import pytest
from typer.testing import CliRunner

from symloss.cli import app

ROOT = Path(__file__).resolve().parent.parent
SPEC = """from sympy import exp
from symloss.spec import Positive, Prediction, Target, loss


@loss(title="Welsch loss")
def welsch(prediction: Prediction, target: Target, scale: Positive = 1):
    return 1 - exp(-((prediction - target) / scale) ** 2)
"""


def run(*arguments: str):
    return CliRunner().invoke(app, arguments)


# --- plot ------------------------------------------------------------------------------------------------


def test_a_plot_is_drawn_in_the_terminal():
    done = run("plot", "huber", "--set", "delta=2")
    assert done.exit_code == 0 and "Huber loss (delta = 2)" in done.output
    lines = done.output.splitlines()
    assert len(lines) >= 20 and max(map(len, lines)) <= 120
    assert len(set("".join(lines)) & set(map(chr, range(0x2801, 0x2900)))) > 20
    assert "loss" in done.output and "gradient" in done.output and "curvature" in done.output
    assert done.output.rstrip().endswith("x: prediction")


def test_a_terminal_without_dots_gets_letters():
    done = subprocess.run(
        [sys.executable, "-m", "symloss", "plot", "mae"], env={"PYTHONIOENCODING": "ascii", "PATH": ""},
        capture_output=True, check=True,
    )  # fmt: skip
    text = done.stdout.decode("ascii")
    assert "+---" in text and text.count("+") > 50 and "?" not in text.splitlines()[3]


def test_a_plot_is_written_as_svg(tmp_path):
    file = tmp_path / "deep" / "focal.svg"
    done = run("plot", "binary_focal", "--out", str(file), "--set", "gamma=0.5", "--set", "alpha=0.25")
    assert done.exit_code == 0 and str(file) in done.output
    text = file.read_text(encoding="utf-8")
    root = ElementTree.fromstring(text)
    assert root.get("aria-label") == "Binary focal loss (alpha = 0.25, gamma = 0.5)"
    assert len(root.findall(".//*[@clip-path]")) == 3


def test_own_losses_are_plotted(tmp_path):
    (tmp_path / "welsch.py").write_text(SPEC, encoding="utf-8")
    done = run("plot", "welsch", "--specs", str(tmp_path))
    assert done.exit_code == 0 and "Welsch loss (scale = 1)" in done.output


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("huber", "--set", "delat=2"), "no parameter (did you mean `delta`?); it has delta"),
        (("mae", "--set", "delta=2"), "the loss has none"),
        (("huber", "--set", "delta=-1"), "outside its domain: delta > 0"),
        (("huber", "--set", "delta=nan"), "outside its domain"),
        (("huber", "--set", "delta=inf"), "outside its domain"),
        (("huber", "--set", "delta"), "write --set delta=NUMBER"),
        (("hubert",), "there is no loss `hubert`"),
        (("huber", "--out", "x.png"), "ends in .svg"),
    ],
)
def test_what_makes_no_sense_is_refused(arguments, said):
    done = run("plot", *arguments)
    assert done.exit_code == 1 and said in " ".join(done.stderr.split())


# --- docs ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def own(tmp_path_factory):
    """Own specs, and the site that the command made of them."""
    pytest.importorskip("sphinx", reason="Sphinx is not installed")
    pytest.importorskip("myst_parser", reason="MyST is not installed")
    pytest.importorskip("pydata_sphinx_theme", reason="the theme is not installed")
    folder = tmp_path_factory.mktemp("own")
    (folder / "my_specs").mkdir()
    (folder / "my_specs" / "welsch.py").write_text(SPEC, encoding="utf-8")
    return folder


def docs(folder, command, *more):
    return run(
        "docs", command, "--specs", str(folder / "my_specs"), "--out", str(folder / "my_losses"), *more
    )


@pytest.mark.xdist_group("own site")
def test_own_losses_get_a_site(own):
    done = docs(own, "build")
    assert done.exit_code == 0, done.output
    page = own / "my_losses_site/en/losses/welsch.html"
    assert "built in" in done.output and str(own / "my_losses_site/index.html") in done.output
    assert "Welsch loss" in page.read_text(encoding="utf-8")
    again = docs(own, "build")
    assert again.exit_code == 0 and again.output.startswith("unchanged in")


@pytest.mark.xdist_group("own site")
def test_the_site_is_served_until_it_is_interrupted(own):
    command = [sys.executable, "-m", "symloss", "docs", "serve", "--port", "0"]
    command += ["--specs", str(own / "my_specs"), "--out", str(own / "my_losses")]
    # What a shell starts in the background ignores this signal, and so would what the tests start.
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip
    try:
        url = ""
        until = time.monotonic() + 60
        while not url and time.monotonic() < until:
            found = re.search(r"serving (http://127\.0\.0\.1:\d+/)", process.stdout.readline())
            url = found[1] if found else ""
        assert "Welsch" in urlopen(f"{url}zh/losses/welsch.html", timeout=10).read().decode("utf-8")
        process.send_signal(signal.SIGINT)
        assert process.wait(timeout=20) == 0
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()
        process.communicate()


@pytest.mark.xdist_group("own site")
def test_a_folder_of_something_else_is_left_alone(own, tmp_path):
    (tmp_path / "mine.txt").write_text("x", encoding="utf-8")
    done = docs(own, "build", "--site", str(tmp_path))
    assert done.exit_code == 1 and "holds no site" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_own_specs_need_a_place():
    done = run("docs", "build", "--specs", "nowhere")
    assert done.exit_code == 2 and "--out" in done.output + done.stderr
