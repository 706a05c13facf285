"""The path as a whole: what is derived anew, what is remembered, what a mistake leaves standing.

Stand-ins take the place of derivation and printing, so that these tests are about the path alone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from symloss import pipeline, stamps
from symloss.catalog import Catalog
from symloss.emit import CACHE, File
from symloss.errors import SymlossError
from symloss.pipeline import Options, check, generate
from symloss.targets import TARGETS, Target

SPEC = """\
from symloss.spec import Prediction, Target, loss
{imports}

@loss(title="{name}")
def {name}(prediction: Prediction, target: Target):
    return {formula}
"""


@dataclass
class Derived:
    loss: Any


class Bench:
    """A folder of specs, a folder to generate into, and a count of what was derived."""

    def __init__(self, folder: Path) -> None:
        self.specs, self.out = folder / "specs", folder / "made"
        self.specs.mkdir()
        self.derived: list[str] = []

    def write(self, name: str, formula: str, imports: str = "") -> None:
        (self.specs / f"{name}.py").write_text(SPEC.format(name=name, formula=formula, imports=imports))

    def generate(self, **options: Any) -> pipeline.Result:
        self.derived.clear()
        return generate(Catalog([self.specs]), self.out, Options(**options))

    def check(self, **options: Any) -> tuple[str, pipeline.Result]:
        self.derived.clear()
        return check(Catalog([self.specs]), self.out, Options(**options))

    def read(self, path: str) -> str:
        return (self.out / path).read_text()


@pytest.fixture
def bench(tmp_path, monkeypatch) -> Bench:
    made = Bench(tmp_path)

    def derive(loss: Any) -> Derived:
        made.derived.append(loss.name)
        if loss.title == "hopeless":
            raise SymlossError("it can't be derived")
        return Derived(loss)

    def build(derivation: Derived, package: str) -> tuple[dict[str, File], dict[str, Any]]:
        loss = derivation.loss
        text = f"{loss.name} = {loss.formula}\n"
        return {f"{loss.name}.txt": File(text, "t", loss.file)}, {"name": loss.name, "pair": (1, 2)}

    def shared(entries: Any, package: str) -> dict[str, File]:
        return {"index.txt": File(f"{package}: {[(e['name'], e['pair']) for e in entries]}\n", "t")}

    stub = ModuleType("symloss.derive")
    stub.derive = derive  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "symloss.derive", stub)
    for name in list(TARGETS):
        monkeypatch.delitem(TARGETS, name)
    monkeypatch.setitem(TARGETS, "plain", Target("plain", lambda out: out, build, shared))
    made.write("first", "(prediction - target)**2")
    made.write("second", "prediction * target")
    return made


def test_everything_is_generated(bench):
    result = bench.generate()
    assert result.losses == {"first": "derived", "second": "derived"}
    assert result.errors == ()
    assert bench.read("first.txt") == "first = (prediction - target)**2\n"
    assert bench.read("index.txt") == "made: [('first', [1, 2]), ('second', [1, 2])]\n"


def test_a_second_run_derives_and_writes_nothing(bench):
    bench.generate()
    before = {path: path.stat().st_mtime_ns for path in bench.out.rglob("*")}
    result = bench.generate()
    assert bench.derived == []
    assert result.losses == {"first": "unchanged", "second": "unchanged"}
    assert result.emitted["plain"].written == ()
    assert {path: path.stat().st_mtime_ns for path in bench.out.rglob("*")} == before


def test_only_what_changed_is_derived(bench):
    bench.generate()
    bench.write("second", "prediction + target")
    result = bench.generate()
    assert bench.derived == ["second"]
    assert result.emitted["plain"].written == ("manifest.json", "second.txt")
    assert bench.read("second.txt") == "second = prediction + target\n"


def test_a_spec_is_derived_anew_when_one_that_it_uses_changes(bench):
    bench.write("third", "second(prediction, target)", "from symloss.losses import second")
    bench.write("fourth", "third(prediction, target)", "from symloss.losses import third")
    bench.generate()
    bench.write("second", "prediction + target")
    bench.generate()
    assert bench.derived == ["fourth", "second", "third"]
    assert bench.read("fourth.txt") == "fourth = prediction + target\n"


def test_everything_is_derived_anew_when_the_engine_changes(bench, monkeypatch):
    bench.generate()
    monkeypatch.setattr(stamps, "engine", lambda: "another")
    bench.generate()
    assert bench.derived == ["first", "second"]


def test_force_derives_everything(bench):
    bench.generate()
    result = bench.generate(force=True)
    assert bench.derived == ["first", "second"]
    assert result.emitted["plain"].written == ()


@pytest.mark.parametrize("garbage", [b"", b"{", b"[]", b'{"engine": 1}', b"\xff"])
def test_a_broken_memory_costs_only_time(bench, garbage):
    bench.generate()
    (bench.out / CACHE / "results.json").write_bytes(garbage)
    result = bench.generate()
    assert bench.derived == ["first", "second"]
    assert result.emitted["plain"].written == ()


def test_files_do_not_depend_on_what_is_remembered(bench):
    bench.write("third", "prediction - target")
    bench.generate()
    bench.write("second", "prediction + target")
    bench.generate()
    after = {path.name: path.read_text() for path in bench.out.iterdir() if path.is_file()}
    bench.generate(force=True)
    assert {path.name: path.read_text() for path in bench.out.iterdir() if path.is_file()} == after


def test_a_loss_that_is_gone_disappears(bench):
    bench.generate()
    (bench.specs / "second.py").unlink()
    result = bench.generate()
    assert result.emitted["plain"].removed == ("second.txt",)
    assert not (bench.out / "second.txt").exists()
    assert bench.read("index.txt") == "made: [('first', [1, 2])]\n"


def test_a_mistake_leaves_the_others_standing(bench):
    bench.generate()
    bench.write("second", "prediction * targte")
    result = bench.generate()
    assert [error.line for error in result.errors] == [6]
    assert "name 'targte' is not defined" in result.errors[0].message
    assert result.losses == {"first": "unchanged"}
    assert bench.read("first.txt").startswith("first")
    bench.write("second", "prediction * target")
    assert bench.generate().errors == ()
    assert bench.read("second.txt") == "second = prediction*target\n"


def test_a_loss_that_cannot_be_derived_is_told_like_a_mistake(bench):
    bench.write("hopeless", "prediction + target**3")
    result = bench.generate()
    assert [error.message for error in result.errors] == ["`hopeless`: it can't be derived"]
    assert Path(result.errors[0].file).name == "hopeless.py"
    assert sorted(result.losses) == ["first", "second"]


def test_when_no_loss_is_left_nothing_is_written(bench):
    bench.generate()
    for name in ("first", "second"):
        bench.write(name, "prediction")
    with pytest.raises(SymlossError, match="no loss to generate"):
        bench.generate()
    assert bench.read("first.txt") == "first = (prediction - target)**2\n"


def test_only_derives_the_named_and_keeps_the_others(bench):
    bench.generate()
    bench.write("first", "prediction - target")
    bench.write("second", "prediction + target")
    result = bench.generate(only=("second",))
    assert bench.derived == ["second"]
    assert result.losses == {"first": "unchanged", "second": "derived"}
    assert bench.read("first.txt") == "first = (prediction - target)**2\n"
    assert bench.read("index.txt") == "made: [('first', [1, 2]), ('second', [1, 2])]\n"
    bench.generate()
    assert bench.read("first.txt") == "first = prediction - target\n"


def test_only_into_a_new_folder_makes_a_package_of_those(bench):
    bench.generate(only=("second",))
    assert bench.derived == ["second"]
    assert sorted(path.name for path in bench.out.glob("*.txt")) == ["index.txt", "second.txt"]


def test_only_with_an_unknown_name(bench):
    with pytest.raises(SymlossError, match=r"there is no loss `secnd` \(did you mean `second`\?\)"):
        bench.generate(only=("secnd",))


def test_check_tells_and_writes_nothing(bench):
    bench.generate()
    assert bench.check()[0] == ""
    bench.write("second", "prediction + target")
    diff, _ = bench.check()
    assert "-second = prediction*target\n+second = prediction + target\n" in diff
    assert bench.read("second.txt") == "second = prediction*target\n"
    (bench.out / "first.txt").write_text("edited\n")
    assert "-edited\n" in bench.check()[0]


def test_check_of_nothing_shows_everything(bench):
    diff, _ = bench.check()
    assert "+first = (prediction - target)**2\n" in diff
    assert not bench.out.exists()


def test_progress_counts_to_the_end(bench):
    seen: list[tuple[str, int, int]] = []
    bench.generate(progress=lambda *step: seen.append(step))
    assert seen == [("specs/first.py", 1, 2), ("specs/second.py", 2, 2)]


def test_a_bug_is_told_in_full_and_costs_the_other_losses_nothing(bench, monkeypatch):
    plain = TARGETS["plain"]

    def bug(derivation: Any, package: str) -> Any:
        if derivation.loss.name == "first":
            raise ZeroDivisionError("a bug")
        return plain.build(derivation, package)

    monkeypatch.setitem(TARGETS, "plain", replace(plain, build=bug))
    (error,) = bench.generate().errors
    assert "first.py" in str(error) and "`first`: this is a mistake of symloss" in str(error)
    assert "ZeroDivisionError: a bug" in str(error) and "in bug" in str(error)
    assert bench.read("second.txt") == "second = prediction*target\n" and not (bench.out / "first.txt").exists()


def test_the_engine_counts_every_module_and_template():
    stamps.engine.cache_clear()
    first = stamps.engine()
    stamps.engine.cache_clear()
    assert stamps.engine() == first
    assert len(first) == 64
