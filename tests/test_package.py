"""The packages as they are used: light to import, standing alone, the same on every run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import symloss
from symloss.emit import digest, manifest
from symloss.spec import Prediction, Target, loss

ROOT = Path(__file__).parent.parent
KERNELS = ROOT / "generated" / "symloss_kernels"


def run(code: str, **environment: str) -> str:
    """What a fresh interpreter prints."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "generated")])
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": paths} | environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


BLOCK = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {names}:
            raise ImportError(f"{{name}} must not be imported here")
sys.meta_path.insert(0, Block())
"""


@pytest.mark.parametrize(
    "module", ["symloss", "symloss.errors", "symloss.losses", "symloss.cli", "symloss.pipeline"]
)
def test_importing_symloss_loads_nothing_heavy(module):
    heavy = "{'sympy', 'numba', 'mpmath', 'numpy', 'torch'}"
    assert run(f"import sys, {module}; print(sorted({heavy} & set(sys.modules)))") == "[]\n"


def test_the_public_names_are_there():
    assert run("import symloss; print([hasattr(symloss, n) for n in symloss.__all__].count(False))") == "0\n"
    assert run("import symloss; print(dir(symloss) == sorted(symloss.__all__))") == "True\n"
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        symloss.nothing  # noqa: B018


def test_the_version_is_that_of_the_project():
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert symloss.__version__ == project["version"]


def test_importing_the_kernels_loads_nothing():
    heavy = "{'sympy', 'symloss', 'numba', 'numpy'}"
    assert run(f"import sys, symloss_kernels; print(sorted({heavy} & set(sys.modules)))") == "[]\n"


def test_the_kernels_stand_alone():
    code = BLOCK.format(names={"sympy", "symloss", "mpmath", "jinja2", "scipy", "torch"}) + (
        "import numpy as np, symloss_kernels as sk\n"
        "value, grad = sk.huber.value_and_grad(np.array([0.5, 3.0]), np.array([0.0, 0.0]))\n"
        "print(value, grad.tolist())\n"
        "value, grad = sk.softmax_cross_entropy.value_and_grad(np.zeros((1, 2)), np.array([0]))\n"
        "print(value, grad.tolist())\n"
    )
    assert run(code) == "1.3125 [0.25, 0.5]\n0.6931471805599453 [[-0.5, 0.5]]\n"


def test_the_kernels_can_be_copied_under_another_name(tmp_path):
    import shutil

    shutil.copytree(KERNELS, tmp_path / "their_losses", ignore=shutil.ignore_patterns("__pycache__", ".*"))
    code = BLOCK.format(names={"sympy", "symloss", "symloss_kernels"}) + (
        f"sys.path.insert(0, {str(tmp_path)!r})\n"
        "import their_losses\n"
        "print(their_losses.mse.value([3.0], [1.0]))\n"
    )
    assert run(code) == "4.0\n"


@pytest.mark.parametrize("folder", ["symloss_kernels", "docs"])
def test_what_is_committed_is_what_the_manifest_says(folder):
    said = manifest(ROOT / "generated" / folder)
    assert said
    for path, facts in said.items():
        assert digest((ROOT / "generated" / folder / path).read_text()) == facts["sha256"], path
        assert (ROOT / "templates" / facts["template"]).is_file(), path
        assert facts["spec"] == "" or (ROOT / facts["spec"]).is_file(), path


def test_every_spec_has_its_kernels_and_its_page():
    specs = {path.stem for path in (ROOT / "specs").rglob("[!_]*.py")}
    assert {path.stem for path in (KERNELS / "cpu").glob("[!_]*.py")} == specs
    for code in ("en", "zh"):
        assert {path.stem for path in (ROOT / "generated/docs" / code / "losses").glob("*.md")} - {"index"} == specs
    assert {path.stem for path in (ROOT / "generated/docs/curves").glob("*.js")} == specs


def test_nothing_generated_knows_when_or_where_it_was_made():
    for folder in ("symloss_kernels", "docs"):
        for path in manifest(ROOT / "generated" / folder) or {}:
            text = (ROOT / "generated" / folder / path).read_text()
            assert str(ROOT) not in text
            assert str(Path.home()) + "/" not in text


NAMES = ("huber", "softmax_focal", "l2_normalized_mse")


def test_generation_does_not_depend_on_the_hash_seed(tmp_path):
    """What a seed of its own gives is what was committed, with another."""
    out = tmp_path / "symloss_kernels"
    code = (
        "from pathlib import Path; from symloss.catalog import Catalog\n"
        "from symloss.pipeline import Options, generate\n"
        f"generate(Catalog(), Path({str(out)!r}), Options(only={NAMES}))\n"
    )
    run(code, PYTHONHASHSEED="4242")
    made = [path for name in NAMES for path in tmp_path.rglob(f"{name}.*") if ".symloss_cache" not in path.parts]
    assert {path.relative_to(tmp_path).parts[:2] for path in made} >= {
        ("symloss_kernels", "cpu"), ("symloss_kernels", "cuda"), ("docs", "en"), ("docs", "zh"), ("docs", "curves"),
    }  # fmt: skip
    for path in made:
        committed = ROOT / "generated" / path.relative_to(tmp_path)
        assert path.read_bytes() == committed.read_bytes(), f"{committed} is stale"


def test_compile_gives_what_the_package_has(tmp_path):
    import numpy as np

    text = (ROOT / "specs" / "regression" / "huber.py").read_text()
    from_text = symloss.compile(text)
    (tmp_path / "huber.py").write_text(text)
    from_file = symloss.compile(tmp_path / "huber.py")
    by_name = symloss.compile("huber")
    x, y = np.array([0.5, 3.0]), np.array([0.0, 0.0])
    for made in (from_text, from_file, by_name):
        value, grad = made.value_and_grad(x, y, delta=2.0)
        assert value == (0.125 + 4.0) / 2
        assert grad.tolist() == [0.25, 1.0]
    assert symloss.compile("huber") is by_name


def test_compile_takes_a_function():
    import numpy as np

    @loss(title="Fourth power")
    def fourth(prediction: Prediction, target: Target):
        return (prediction - target) ** 4

    value, grad = symloss.compile(fourth).value_and_grad(np.array([2.0]), np.array([0.0]))
    assert (value, grad.tolist()) == (16.0, [32.0])


def test_compile_refuses_what_it_cannot_use(tmp_path):
    from symloss import SpecError

    with pytest.raises(SpecError, match="there is no spec file"):
        symloss.compile(tmp_path / "nowhere.py")
    with pytest.raises(SpecError, match="there is no loss `hubber`"):
        symloss.compile("hubber")
    with pytest.raises(SpecError, match="declares no `a`"):
        symloss.compile((ROOT / "specs" / "regression" / "huber.py").read_text(), name="a")
    with pytest.raises(TypeError, match="got 3"):
        symloss.compile(3)


def test_a_generated_traceback_shows_its_source():
    import inspect

    source = inspect.getsource(sys.modules[type(symloss.compile("huber")).__module__])
    assert "class Loss" in source


def test_a_kernels_hash_covers_all_that_it_compiles_in():
    """Numba's cache looks at a kernel's own file only, so a module missing from the hash would leave it stale."""
    import re

    from symloss.printers.lanes import RUNTIME
    from symloss.targets import _COMPILED_IN

    wanted, found = {*RUNTIME, "_math"}, set()
    while wanted:
        name = wanted.pop()
        found.add(name)
        text = (KERNELS / f"{name}.py").read_text()
        wanted |= set(re.findall(r"^from \.(\w+) import", text, re.MULTILINE)) - found
    assert found == set(_COMPILED_IN)
    cpu = [KERNELS / "_domains.py", *(KERNELS / "cpu").glob("[a-z]*.py")]
    cuda = [KERNELS / "cuda" / "_steps.py", *(KERNELS / "cuda").glob("[a-z]*.py")]
    versions = []
    for paths in (cpu, cuda):
        found = {re.search(r"functions of the package, version (\w+)\.$", path.read_text(), re.MULTILINE) for path in paths}
        assert None not in found
        versions.append({match[1] for match in found})
    assert [len(version) for version in versions] == [1, 1] and versions[0] != versions[1]


def test_without_the_cuda_package_only_gpu_arrays_notice():
    said = run("""
import sys
sys.modules["numba_cuda"] = None  # as if it weren't installed
import numpy as np
import symloss_kernels as sk

class OnTheGpu:
    __cuda_array_interface__ = {"shape": (2,), "typestr": "<f4", "data": (0, False), "version": 2}

x = np.ones(2)
assert sk.huber.value(x, x) == 0.0
for inputs, keywords in (((OnTheGpu(), x), {}), ((x, OnTheGpu()), {}), ((x, x), {"weight": OnTheGpu()})):
    for _ in range(2):
        try:
            sk.huber.grad(*inputs, **keywords)
        except ImportError as error:
            print(error)
assert sk.huber.value(x, x) == 0.0
""")
    assert len(set(said.splitlines())) == 1
    assert 'pip install "symloss[cuda]"' in said and "cu12" in said and "cu13" in said


def test_the_cpu_needs_nothing_of_cuda():
    said = run("""
import sys
import numpy as np
import symloss_kernels as sk

sk.softmax_cross_entropy.value_and_grad(np.zeros((2, 3)), np.zeros(2, int))
print([name for name in sys.modules if "cuda" in name and "symloss" in name])
""")
    assert said.strip() == "[]"
