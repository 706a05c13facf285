"""Loading specs: what is found, and how each mistake is told."""

from __future__ import annotations

import ast
import re
import textwrap
from pathlib import Path

import pytest

from symloss import validate
from symloss.catalog import Catalog, load, load_text, shipped, trace
from symloss.errors import SpecError, UnsupportedError
from symloss.printers import lanes, numba_cuda

START = """\
import math
import sympy
from sympy import *
from symloss.spec import *


@loss
"""


def spec(text: str) -> str:
    """A spec file whose function starts on line 8."""
    return START + textwrap.dedent(text).lstrip("\n")


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    return folder


# Each is (what is wrong, the spec below START, the line to name, what the message says).
MISTAKES = [
    ("unknown symbol", """
        def f(prediction: Prediction, delta: Positive = 1):
            return delta * (prediction - Symbol("dleta"))**2
        """, 9, "`dleta`, which is no input (did you mean `delta`?)"),
    ("symbol of an input's name", """
        def f(prediction: Prediction, target: Target):
            return (prediction - Symbol("target"))**2 + target
        """, 9, "use the function's argument"),
    ("undefined name", """
        def f(prediction: Prediction, target: Target):
            return (prediction - targte)**2
        """, 9, "NameError: name 'targte' is not defined (did you mean `target`?)"),
    ("an index compared by Python", """
        def f(x: Prediction["K"], label: Label["K"]):
            k = index("K")
            return Sum(Piecewise((x[k]**2, k != label), (0, True)), k)
        """, 10, "`k != label` is always True, as Python compares symbols: write Ne(k, label) from sympy"),
    ("an input compared by Python, in a name", """
        def f(x: Prediction, target: Target):
            positive = target == 1
            return Piecewise((x**2, positive), (target * x, True))
        """, 9, "`target == 1` is always False, as Python compares symbols: write Eq(target, 1) from sympy"),
    ("a dimension's name for its size", """
        def f(x: Prediction["M"]):
            i = index("M")
            return Sum(x[i]**2, i) / M
        """, 10, 'the size of the dimension is size("M") from symloss.spec'),
    ("SymPy's maximum over an index", """
        def f(x: Prediction["K"]):
            from sympy import Max
            k = index("K")
            return Max(x[k], k)
        """, 11, "index `k` outside of a reduction; `Max` is SymPy's, which has no indices: import Max from symloss.spec"),
    ("unused input", """
        def f(prediction: Prediction, target: Target):
            return prediction**2
        """, 8, "the input `target` isn't used"),
    ("unused parameter", """
        def f(prediction: Prediction,
              delta: Positive = 1):
            return prediction**2
        """, 9, "the parameter `delta` isn't used"),
    ("index outside a sum", """
        def f(x: Prediction["K"]):
            k = index("K")
            return x[k]**2
        """, 9, "the index `k` outside of a reduction"),
    ("unknown dimension", """
        def f(x: Prediction["K"], label: Label["K"]):
            return Sum(x[index("K")], index("K")) * size("J") + x[label]
        """, 9, "no input has the dimension `J`"),
    ("wrong dimension", """
        def f(x: Prediction["K"], y: Target["D"]):
            k = index("K")
            return Sum(x[k] * y[k], k)
        """, 10, "`y` has dimension D where it is indexed by `k`"),
    ("wrong number of indices", """
        def f(x: Prediction["K"]):
            k = index("K")
            return Sum(x[k, k], k)
        """, 10, "`x` has 1 core dimension(s) (K) and is indexed by 2"),
    ("index by a number", """
        def f(x: Prediction["K"]):
            return x[0]
        """, 9, "`x` is indexed by 0; write an index"),
    ("array without index", """
        def f(x: Prediction["K"]):
            k = index("K")
            return Sum(exp(x), k)
        """, 10, "the formula must index it: write x[k]"),
    ("arithmetic on an array", """
        def f(x: Prediction["K"], y: Target["K"]):
            r = x - y
            return r
        """, 9, "the formula must index it"),
    ("returned array", """
        def f(x: Prediction["K"]):
            return x
        """, 8, "the formula must index it"),
    ("indexed scalar", """
        def f(x: Prediction):
            return x[0]
        """, 9, 'annotate it Prediction["K"]'),
    ("label over a dimension that no input has", """
        def f(x: Prediction["K"], label: Label["J"]):
            k = index("K")
            return Sum(x[k], k) * label
        """, 8, "the label `label` indexes J, which no input has"),
    ("label as a summation index", """
        def f(x: Prediction["K"], label: Label["K"]):
            return x[label] * Sum(x[label], label)
        """, 9, "Sum can't run over `label`, which is an input"),
    ("label without dimension", """
        def f(x: Prediction["K"], label: Label):
            return x[label]
        """, 8, "label `label` must say what it indexes"),
    ("SymPy's Sum", """
        def f(x: Prediction):
            k = Symbol("k")
            return sympy.Sum(x**k, (k, 1, 3))
        """, 10, "SymPy's `Sum`: write Sum(x[k], k)"),
    ("SymPy's Product", """
        def f(x: Prediction):
            k = Symbol("k")
            return sympy.Product(x + k, (k, 1, 30))
        """, 10, "SymPy's `Product`: write Product(x[k], k)"),
    ("SymPy's Indexed", """
        def f(x: Prediction):
            return x * IndexedBase("y")[0]
        """, 9, "SymPy's `Indexed`"),
    ("derivative in the formula", """
        def f(x: Prediction):
            return x + Derivative(gamma(x) * x, x)
        """, 9, "SymPy's `Derivative`"),
    ("Heaviside", """
        def f(x: Prediction):
            return x * Heaviside(x)
        """, 9, "SymPy's `Heaviside`: write Piecewise"),
    ("no prediction", """
        def f(x: Target, y: Target):
            return (x - y)**2
        """, 8, "no prediction to differentiate by"),
    ("no input", """
        def f():
            return Integer(1)
        """, 8, "the loss has no input"),
    ("no annotation", """
        def f(prediction, target: Target):
            return (prediction - target)**2
        """, 8, "`prediction` needs an annotation"),
    ("wrong annotation", """
        def f(prediction: float, target: Target):
            return (prediction - target)**2
        """, 8, "`prediction` needs an annotation"),
    ("star arguments", """
        def f(*prediction: Prediction):
            return prediction[0]
        """, 8, "name every input"),
    ("parameter without default", """
        def f(x: Prediction, delta: Positive):
            return x * delta
        """, 8, "parameter `delta` needs a default"),
    ("input with default", """
        def f(x: Prediction = 1):
            return x
        """, 8, "input `x` has a default"),
    ("default outside its domain", """
        def f(x: Prediction, delta: Positive = 0):
            return x * delta
        """, 8, "default 0 of parameter `delta` is outside its domain"),
    ("default that is no number", """
        def f(x: Prediction, delta: Positive = "one"):
            return x * delta
        """, 8, "default one of parameter `delta`"),
    ("complex domain", """
        def f(x: Prediction, delta: S.Complexes = 1):
            return x * delta
        """, 8, "the domain of `delta`"),
    ("domain that can't be checked", """
        def f(x: Prediction, delta: S.Integers = 1):
            return x * delta
        """, 8, "the domain of `delta` is Integers, which the kernels can't check"),
    ("empty domain", """
        def f(x: Prediction, y: Target.over(Interval(1, 0))):
            return x * y
        """, 8, "domain"),
    ("discrete prediction", """
        def f(x: Prediction.over(FiniteSet(0, 1))):
            return x
        """, 8, "the prediction `x` takes single values only"),
    ("imaginary unit", """
        def f(x: Prediction):
            return x * I
        """, 9, "contains I: a loss is a real number"),
    ("infinity", """
        def f(x: Prediction):
            return Piecewise((x, x > 0), (oo, True))
        """, 9, "contains oo: a formula is made of finite numbers"),
    ("not a number", """
        def f(x: Prediction):
            return Piecewise((x, x > 0), (nan, True))
        """, 9, "contains nan"),
    ("unsupported function", """
        def f(x: Prediction):
            return zeta(x)
        """, 9, "uses `zeta`, which symloss can't compute"),
    ("undefined function", """
        def f(x: Prediction):
            return Function("wobble")(x)
        """, 9, "calls `wobble`, which is not defined"),
    ("Python's if", """
        def f(x: Prediction):
            return x if x > 0 else -x
        """, 9, "write Piecewise"),
    ("Python's max", """
        def f(x: Prediction):
            return max(0, 1 - x)
        """, 9, "write Piecewise"),
    ("math's functions", """
        def f(x: Prediction):
            return math.exp(x)
        """, 9, "import exp, log, sqrt, ... from sympy"),
    ("Python's sum", """
        def f(x: Prediction["K"]):
            return sum(x)
        """, 9, "write Sum(x[k], k)"),
    ("no formula", """
        def f(x: Prediction):
            x**2
        """, 8, "must return a SymPy expression; it returned None"),
    ("a condition for a formula", """
        def f(x: Prediction):
            return x > 0
        """, 8, "must return a SymPy expression"),
    ("Python's own name", """
        def max(x: Prediction):
            return x
        """, 8, "`max`, is Python's own"),
    ("soft keyword", """
        def match(x: Prediction):
            return x
        """, 8, "`match`, is Python's own"),
    ("input with Python's own name", """
        def f(input: Prediction):
            return input
        """, 8, "`input`, is Python's own; choose another, such as `f_input`"),
    ("name of the kernel API", """
        def value(x: Prediction):
            return x
        """, 8, "`value`, is one that the kernels use"),
    ("argument of the kernel API", """
        def f(x: Prediction, weight: Target):
            return x * weight
        """, 8, "`weight`, is one that the kernels use"),
    ("name of an output", """
        def f(x: Prediction, grad_x: Target):
            return x * grad_x
        """, 8, "`grad_x`, is one that the kernels use"),
    ("private name", """
        def _f(x: Prediction):
            return x
        """, 8, "must not start with an underscore"),
    ("foreign letters", """
        def f(x: Prediction, δ: Positive = 1):
            return x * δ
        """, 8, "must be an identifier of plain letters"),
    ("dimension of an input's name", """
        def f(K: Prediction["K"]):
            k = index("K")
            return Sum(K[k], k)
        """, 8, "`K` is the name of a dimension and of an input"),
    ("dimensions that differ in case", """
        def f(x: Prediction["K", "k"]):
            return Sum(x[index("K"), index("k", "j")], index("K"), index("k", "j"))
        """, 8, "differs from another one in case only"),
    ("dimension that is no name", """
        def f(x: Prediction["2"]):
            return x
        """, 8, "a core dimension is named by an identifier"),
    ("wrong arguments of a loss", """
        def f(x: Prediction):
            from symloss.losses import huber
            return huber(x)
        """, 10, "missing a required argument: 'target'"),
    ("wrong dimensions of a loss", """
        def f(x: Prediction):
            from symloss.losses import l2_norm
            return l2_norm(x, x)
        """, 10, "takes `prediction` with 1 core dimension(s), and was given 0"),
    ("unknown loss", """
        def f(x: Prediction):
            from symloss.losses import hubber
            return hubber(x, 0)
        """, 9, "there is no loss `hubber` (did you mean `huber`?)"),
    ("division by zero", """
        def f(x: Prediction):
            return x * (1 / 0)
        """, 9, "ZeroDivisionError"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "line", "message"), [m[1:] for m in MISTAKES], ids=[m[0] for m in MISTAKES])
def test_a_mistake_is_told_with_file_line_and_advice(tmp_path, text, line, message):
    write(tmp_path, bad=spec(text), good=spec("def good(x: Prediction):\n    return x**2"))
    losses, errors = load([tmp_path])
    assert [loss.name for loss in losses] == ["good"]
    assert len(errors) == 1
    assert message in errors[0].message
    assert (Path(errors[0].file).name, errors[0].line) == ("bad.py", line)
    assert str(errors[0]).startswith(f"{tmp_path.resolve() / 'bad.py'}:{line}: ")


FILES = [
    ("syntax", "def f(:\n", 1, "this is not Python"),
    ("no spec", "x = 1\n", 1, "there is no spec in this file"),
    ("import", "import not_there_at_all\n", 1, "No module named 'not_there_at_all'; a spec may import"),
    ("unknown import", "from sympy import exq\n", 1, "cannot import name 'exq'"),
    (
        "missing import",
        "\n@loss\ndef f(x: Prediction):\n    return x\n",
        2,
        "write `from symloss.spec import loss`",
    ),
    (
        "missing function",
        spec("def f(x: Prediction):\n    return x * ext(x)").replace("from sympy import *", ""),
        9,
        "'ext' is not defined",
    ),
    ("exit", "raise SystemExit(3)\n", 1, "SystemExit"),
    (
        "twice",
        spec("def f(x: Prediction):\n    return x\n\n\n@loss\ndef f(x: Prediction):\n    return x"),
        None,
        "twice",
    ),
    ("bytes", b"\xff\xfe\x00", None, "can't be read"),
]


@pytest.mark.parametrize(("text", "line", "message"), [f[1:] for f in FILES], ids=[f[0] for f in FILES])
def test_a_file_that_does_not_run_is_refused(tmp_path, text, line, message):
    (tmp_path / "bad.py").write_bytes(text if isinstance(text, bytes) else text.encode())
    losses, errors = load([tmp_path])
    assert losses == []
    assert len(errors) == 1
    assert message in errors[0].message
    assert Path(errors[0].file).name == "bad.py"
    assert line is None or errors[0].line == line


def test_a_missing_import_of_sympy_is_named(tmp_path):
    write(tmp_path, bad="from symloss.spec import *\n\n@loss\ndef f(x: Prediction):\n    return exp(x)\n")
    _, errors = load([tmp_path])
    assert "write `from sympy import exp`" in errors[0].message
    assert errors[0].line == 5


def test_shipped_specs_all_load():
    losses, errors = load()
    assert errors == []
    assert len(losses) >= 25
    assert [loss.name for loss in losses] == sorted(loss.name for loss in losses)


def test_private_files_and_folders_are_skipped(tmp_path):
    good = "def good(x: Prediction):\n    return x**2"
    write(tmp_path, good=spec(good), _draft="raise SystemExit")
    (tmp_path / "_old").mkdir()
    write(tmp_path / "_old", other=spec(good))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    write(tmp_path / "deep" / "er", nested=spec("def nested(x: Prediction):\n    return x**4"))
    losses, errors = load([tmp_path])
    assert [loss.name for loss in losses] == ["good", "nested"]
    assert errors == []


def test_a_name_is_given_once(tmp_path):
    write(tmp_path, a=spec("def same(x: Prediction):\n    return x**2"))
    write(tmp_path, b=spec("def same(x: Prediction):\n    return x**4"))
    losses, errors = load([tmp_path])
    assert [Path(loss.file).name for loss in losses] == ["a.py"]
    assert [Path(error.file).name for error in errors] == ["b.py"]
    assert "`same` is already the name of the loss in" in errors[0].message
    assert errors[0].line == 8


def test_several_specs_in_one_file(tmp_path):
    text = spec(
        "def one(x: Prediction):\n    return x**2\n\n\n@loss\ndef two(x: Prediction):\n    return one(x)**2"
    )
    losses, errors = load([write(tmp_path, both=text)])
    assert [loss.name for loss in losses] == ["one", "two"]
    assert errors == []


def test_own_specs_use_each_other_and_the_shipped_ones(tmp_path):
    write(
        tmp_path,
        zero=spec("def zero(x: Prediction):\n    return x**2"),
        both=spec("def both(x: Prediction, y: Target):\n    return zero(x) + huber(x, y)").replace(
            "import math", "from symloss.losses import huber, zero"
        ),
    )
    losses, errors = load([tmp_path])
    assert errors == []
    assert [loss.name for loss in losses] == ["both", "zero"]


def test_an_own_spec_goes_before_a_shipped_one_of_its_name(tmp_path):
    write(
        tmp_path,
        huber=spec("def huber(x: Prediction):\n    return x**6"),
        use=spec("def use(x: Prediction):\n    return huber(x)").replace(
            "import math", "from symloss.losses import huber"
        ),
    )
    losses, _ = load([tmp_path])
    assert {loss.name: str(loss.formula) for loss in losses} == {"huber": "x**6", "use": "x**6"}


def test_specs_that_import_each_other_in_a_circle(tmp_path):
    for name, other in (("a", "b"), ("b", "c"), ("c", "a")):
        text = spec(f"def {name}(x: Prediction):\n    return {other}(x)")
        write(tmp_path, **{name: text.replace("import math", f"from symloss.losses import {other}")})
    losses, errors = load([tmp_path])
    assert losses == []
    assert "in a circle: a -> b -> c -> a" in errors[0].message
    assert sorted(Path(error.file).name for error in errors) == ["a.py", "b.py", "c.py"]
    assert all(error.line == 1 for error in errors)


def test_a_spec_that_needs_a_refused_one_says_so(tmp_path):
    write(
        tmp_path,
        broken="1 +\n",
        use=spec("def use(x: Prediction):\n    return broken(x)").replace(
            "import math", "from symloss.losses import broken"
        ),
    )
    _, errors = load([tmp_path])
    said = {Path(error.file).name: error.message for error in errors}
    assert said["broken.py"].startswith("this is not Python")
    assert "there is no loss `broken`" in said["use.py"]


def test_a_limit_is_validated_too(tmp_path):
    text = spec("def f(x: Prediction, b: NonNegative = 1):\n    return x**2 / b")
    text = text.replace("@loss\n", "@loss(limits={'b': {0: lambda x: x * Symbol('q')}})\n")
    _, errors = load([write(tmp_path, f=text)])
    assert "the limit at b = 0 uses `q`" in errors[0].message


def test_a_limit_at_infinity_is_refused(tmp_path):
    text = spec("def f(x: Prediction, b: Positive = 1):\n    return x**2 * (1 + 1 / b)")
    text = text.replace("@loss\n", "@loss(limits={'b': {oo: lambda x: x**2}})\n")
    _, errors = load([write(tmp_path, f=text)])
    assert "a limit is given at b = oo, which no call can ask for" in errors[0].message


def test_an_unsupported_function_has_an_error_of_its_own(tmp_path):
    _, errors = load([write(tmp_path, f=spec("def f(x: Prediction):\n    return zeta(x)"))])
    assert isinstance(errors[0], UnsupportedError)


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(SpecError, match="there is no folder or file"):
        Catalog([tmp_path / "nowhere"])


def test_names_and_dependencies_are_read_without_running():
    catalog = Catalog()
    names = catalog.names()
    file = names["softmax_center"]
    assert [source.path.stem for source in catalog.dependencies(file)] == ["softmax_cross_entropy", "center"]
    assert catalog.label(file) == "specs/combined/softmax_center.py"
    assert catalog.dependencies(names["huber"]) == ()
    assert file.is_relative_to(shipped().resolve())


def test_a_text_is_a_spec_too():
    specs = load_text(spec("def f(x: Prediction):\n    return x**2"))
    assert trace(specs["f"]).signature == "()->()"
    with pytest.raises(SpecError, match=r"<spec \w+>:9: the formula uses `y`"):
        trace(load_text(spec("def f(x: Prediction):\n    return x * Symbol('y')"))["f"])


def test_a_mistake_of_symloss_itself_is_not_hidden(tmp_path, monkeypatch):
    def broken(self):
        raise RuntimeError("a bug")

    monkeypatch.setattr("symloss.spec.LossSpec.trace", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        load([write(tmp_path, f=spec("def f(x: Prediction):\n    return x**2"))])


def test_no_input_hides_a_function_that_the_kernels_call():
    template = (shipped().parent / "templates" / "kernels" / "_math.py.jinja").read_text()
    names = ast.literal_eval(re.search(r"__all__ = (\[.*?\])", template, re.DOTALL)[1])
    assert set(names) - validate.TAKEN == {"gamma"}
    for backend in (lanes, numba_cuda):
        assert set().union(*backend.RUNTIME.values()) <= validate.TAKEN
