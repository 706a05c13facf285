"""The command line: what it prints where, and with which exit code."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import symloss
from symloss.cli import app

ROOT = Path(__file__).parent.parent
GOOD = """\
from symloss.spec import Prediction, Target, loss


@loss(title="Good")
def good(prediction: Prediction, target: Target):
    return (prediction - target)**2
"""
BAD = GOOD.replace("good", "bad").replace("- target", "- targte")


def run(*arguments: object):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture
def specs(tmp_path) -> Path:
    folder = tmp_path / "specs"
    folder.mkdir()
    (folder / "good.py").write_text(GOOD)
    return folder


def test_without_arguments_it_helps():
    result = run()
    for command in ("list", "show", "generate", "verify", "new"):
        assert f" {command} " in result.output


@pytest.mark.parametrize("command", ["list", "show", "generate", "verify", "new"])
def test_each_command_helps(command):
    result = run(command, "--help")
    assert result.exit_code == 0
    assert "--help" in result.output
    assert len(result.output.splitlines()) > 5


def test_version():
    result = run("--version")
    assert (result.exit_code, result.output) == (0, f"symloss {symloss.__version__}\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ["unknown"],
        ["generate", "--unknown"],
        ["generate", "--target", "fortran"],
        ["generate", "--jobs", "-1"],
        ["generate", "--specs", "x"],
        ["generate", "--out", "not-a-name"],
        ["show"],
        ["show", "huber", "--stage", "nothing"],
        ["show", "huber", "--stage", "trail", "--trail"],
        ["verify", "--dtype", "float16"],
        ["verify", "--points", "0"],
        ["new"],
    ],
)
def test_wrong_use_exits_with_2(arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "Usage" in result.stderr
    assert result.stdout == ""


def test_list_is_tab_separated_in_a_pipe():
    result = run("list")
    assert result.exit_code == 0
    assert "huber\t(),()->()\tregression\tHuber loss" in result.stdout.splitlines()


def test_list_of_own_specs_names_what_it_refuses(specs):
    (specs / "bad.py").write_text(BAD)
    result = run("list", "--specs", specs)
    assert result.exit_code == 1
    assert result.stdout == "good\t(),()->()\tother\tGood\n"
    assert "bad.py:6:" in result.stderr
    assert "targte" in result.stderr
    assert "Traceback" not in result.stderr


def test_show_formula_needs_no_derivation():
    result = run("show", "mse", "--stage", "formula")
    assert result.exit_code == 0
    assert result.stdout.startswith("mse = ")


@pytest.mark.parametrize(
    "stage", ["formula", "lifted", "derived", "stabilised", "trail", "program", "kernel", "latex", "all"]
)
def test_every_stage_is_shown(stage):
    result = run("show", "huber", "--stage", stage)
    assert result.exit_code == 0
    assert len(result.stdout) > 20
    assert str(ROOT) not in result.stdout


def test_show_draws_the_loss(monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    result = run("show", "huber")
    assert result.exit_code == 0
    assert "\x1b" not in result.stdout
    lines = result.stdout.splitlines()
    assert lines[:2] == ["Huber loss · Huber 损失", "huber(prediction, target)  (),()->()  regression · 回归"]
    for part in (
        "    ℓ = ⎨",
        "    ─────────── = ⎨",
        "        ∂²ℓ        ⎧ 1   if │prediction - target│ ≤ δ",
        "    delta (δ) = 1, δ > 0",
    ):
        assert part in lines
    assert "== lifted ==" not in result.stdout
    assert "differentiate, grad prediction" not in result.stdout
    assert "differentiate, grad prediction" in run("show", "huber", "--trail").stdout
    assert "== lifted ==" in run("show", "huber", "--stage", "all").stdout


@pytest.mark.parametrize("width", [80, 120])
def test_show_fits_the_terminal(monkeypatch, width):
    from rich.cells import cell_len

    monkeypatch.setenv("COLUMNS", str(width))
    widths = [cell_len(line) for line in run("show", "perceptual", "--trail").stdout.splitlines()]
    assert width * 3 // 4 < max(widths) <= width


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk"])
@pytest.mark.parametrize("options", [[], ["--trail"], ["--stage", "all"]])
def test_show_on_a_terminal_without_unicode(encoding, options):
    done = subprocess.run(
        [sys.executable, "-m", "symloss", "show", "kl_divergence", *options],
        capture_output=True,
        env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": encoding},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = done.stdout.decode(encoding)
    assert "sum_k target[k] * log(target[k]/prediction[k])" in said
    assert "∑" not in said and "散度" not in said


def test_show_of_an_unknown_loss_names_the_nearest():
    result = run("show", "hubber")
    assert result.exit_code == 1
    assert "error: there is no loss `hubber` (did you mean `huber`?)" in result.stderr
    assert result.stdout == ""


def test_generate_own_specs(specs, importable):
    out = importable / "my_losses"
    result = run("generate", "--specs", specs, "--out", out, "--jobs", 1)
    assert result.exit_code == 0, result.output
    assert "1 losses, 1 of them derived anew" in result.stdout
    assert (out / "cpu" / "good.py").is_file()
    assert (importable / "my_losses_docs" / "en" / "losses" / "good.md").is_file()
    import my_losses

    assert my_losses.good.value([3.0], [1.0]) == 4.0


def test_generate_keeps_the_good_and_names_the_bad(specs, tmp_path):
    (specs / "bad.py").write_text(BAD)
    result = run("generate", "--specs", specs, "--out", tmp_path / "made", "--target", "kernels", "--jobs", 1)
    assert result.exit_code == 1
    assert "bad.py:6:" in result.stderr
    assert (tmp_path / "made" / "cpu" / "good.py").is_file()
    assert not (tmp_path / "made_docs").exists()


def test_check_fails_with_a_diff(specs, tmp_path):
    out = tmp_path / "made"
    arguments = ["generate", "--specs", specs, "--out", out, "--target", "kernels", "--jobs", 1]
    assert run(*arguments).exit_code == 0
    assert run(*arguments, "--check").exit_code == 0
    (out / "cpu" / "good.py").write_text("edited = 1\n")
    result = run(*arguments, "--check")
    assert result.exit_code == 1
    assert "-edited = 1\n" in result.stdout
    assert "run `symloss generate`" in result.stderr
    assert (out / "cpu" / "good.py").read_text() == "edited = 1\n"


def test_jobs_give_the_same_files(specs, tmp_path):
    (specs / "other.py").write_text(GOOD.replace("good", "other").replace("**2", "**4"))
    made = []
    for jobs in (1, 2):
        out = tmp_path / str(jobs) / "made"
        assert run("generate", "--specs", specs, "--out", out, "--jobs", jobs).exit_code == 0
        files = [p for p in sorted(out.parent.rglob("*")) if p.is_file() and ".symloss_cache" not in p.parts]
        made.append({p.relative_to(out.parent).as_posix(): p.read_bytes() for p in files})
    assert made[0] == made[1]


def test_a_folder_that_is_not_ours_is_left_alone(specs, tmp_path):
    out = tmp_path / "precious"
    out.mkdir()
    (out / "thesis.txt").write_text("three years of work")
    result = run("generate", "--specs", specs, "--out", out, "--jobs", 1)
    assert result.exit_code == 1
    assert "--force" in result.stderr
    assert [path.name for path in out.iterdir()] == ["thesis.txt"]


def test_a_missing_folder_of_specs(tmp_path):
    result = run("generate", "--specs", tmp_path / "nowhere", "--out", tmp_path / "made")
    assert result.exit_code == 1
    assert "there is no folder or file" in result.stderr


def test_new_writes_a_spec_that_passes(tmp_path):
    result = run("new", "robust_error", "--dir", tmp_path / "mine")
    assert result.exit_code == 0
    assert "robust_error.py" in result.stdout
    listed = run("list", "--specs", tmp_path / "mine")
    assert listed.exit_code == 0
    assert listed.stdout == "robust_error\t(),()->()\town\tRobust error\n"
    verified = run("verify", "--specs", tmp_path / "mine", "--points", 60)
    assert verified.exit_code == 0, verified.stderr
    assert verified.stdout.count("\tok\t") == 8


def test_new_overwrites_nothing(tmp_path):
    (tmp_path / "mine.py").write_text("mine")
    result = run("new", "mine", "--dir", tmp_path)
    assert result.exit_code == 1
    assert "already there" in result.stderr
    assert (tmp_path / "mine.py").read_text() == "mine"


@pytest.mark.parametrize("name", ["not-a-name", "class", "max", "value", "_x", "match"])
def test_new_refuses_names_that_a_loss_cannot_have(tmp_path, name):
    result = run("new", "--dir", tmp_path, "--", name)
    assert result.exit_code == 1
    assert f"`{name}`" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_verify_prints_a_table():
    result = run("verify", "mse", "--points", 20, "--dtype", "float64")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[0].startswith("mse\tfloat64\tvalue\t")


def test_it_runs_as_a_module_and_in_a_pipe():
    done = subprocess.run(
        [sys.executable, "-m", "symloss", "list"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        check=False,
    )
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
    assert "softmax_cross_entropy\t(k),()->()\tclassification\tSoftmax cross-entropy" in done.stdout
