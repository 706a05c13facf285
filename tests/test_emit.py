"""Rendering is strict; a folder changes all at once, and only as far as it must."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from symloss import emit as module
from symloss import swap
from symloss.emit import File, difference, emit, header, manifest, render
from symloss.errors import SymlossError


def files(**texts: str) -> dict[str, File]:
    return {
        name.replace("__", "/") + ".py": File(text, "t.jinja", f"{name}.spec") for name, text in texts.items()
    }


def content(folder: Path) -> dict[str, str]:
    return {p.relative_to(folder).as_posix(): p.read_text() for p in sorted(folder.rglob("*")) if p.is_file()}


def beside(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.parent.iterdir() if path != folder)


def test_a_new_folder_holds_the_files_and_a_manifest(tmp_path):
    out = tmp_path / "deep" / "package"
    done = emit(files(a="1\n", sub__b="2\n"), out)
    assert done.written == ("a.py", "manifest.json", "sub/b.py")
    assert content(out).keys() == {"a.py", "sub/b.py", "manifest.json"}
    said = json.loads((out / "manifest.json").read_text())
    assert said["files"]["sub/b.py"] == {
        "sha256": "53c234e5e8472b6ac51c1ae1cab3fe06fad053beb8ebfd8977b010655bfdd3c3",
        "spec": "sub__b.spec",
        "template": "t.jinja",
    }
    assert list(said["files"]) == sorted(said["files"])
    assert beside(out) == []


def test_nothing_is_touched_when_nothing_changed(tmp_path):
    out = tmp_path / "package"
    emit(files(a="1\n", sub__b="2\n"), out)
    before = {path: path.stat() for path in [out, *out.rglob("*")]}
    done = emit(files(a="1\n", sub__b="2\n"), out)
    assert (done.written, done.removed) == ((), ())
    assert done.unchanged == ("a.py", "manifest.json", "sub/b.py")
    after = {path: path.stat() for path in [out, *out.rglob("*")]}
    assert {p: (s.st_mtime_ns, s.st_ino) for p, s in before.items()} == {
        p: (s.st_mtime_ns, s.st_ino) for p, s in after.items()
    }


def test_files_that_did_not_change_keep_their_time(tmp_path):
    out = tmp_path / "package"
    emit(files(a="1\n", b="2\n", c="3\n"), out)
    os.utime(out / "a.py", ns=(10**18, 10**18))
    done = emit(files(a="1\n", b="two\n"), out)
    assert (done.written, done.unchanged, done.removed) == (("b.py", "manifest.json"), ("a.py",), ("c.py",))
    assert (out / "a.py").stat().st_mtime_ns == 10**18
    assert content(out)["b.py"] == "two\n"
    assert not (out / "c.py").exists()
    assert beside(out) == []


def test_caches_are_carried_along_for_what_did_not_change(tmp_path):
    out = tmp_path / "package"
    emit(files(cpu__a="1\n", cpu__b="2\n"), out)
    cache = out / "cpu" / "__pycache__"
    cache.mkdir()
    (cache / "a.value-12.py311.nbi").write_text("compiled a")
    (cache / "b.cpython-311.pyc").write_text("compiled b")
    (out / module.CACHE).mkdir()
    (out / module.CACHE / "results.json").write_text("{}")
    emit(files(cpu__a="1\n", cpu__b="two\n"), out)
    assert (cache / "a.value-12.py311.nbi").read_text() == "compiled a"
    assert not (cache / "b.cpython-311.pyc").exists()
    assert (out / module.CACHE / "results.json").read_text() == "{}"


def test_a_folder_that_symloss_did_not_make_is_refused(tmp_path):
    out = tmp_path / "package"
    out.mkdir()
    (out / "thesis.txt").write_text("three years of work")
    with pytest.raises(SymlossError, match="wasn't made by symloss"):
        emit(files(a="1\n"), out)
    assert content(out) == {"thesis.txt": "three years of work"}
    emit(files(a="1\n"), out, force=True)
    assert content(out)["thesis.txt"] == "three years of work"
    assert content(out)["a.py"] == "1\n"


def test_a_file_in_the_way_is_refused_and_others_are_carried_along(tmp_path):
    out = tmp_path / "package"
    emit(files(a="1\n"), out)
    (out / "b.py").write_text("mine\n")
    (out / "notes.md").write_text("also mine\n")
    with pytest.raises(SymlossError, match=r"b\.py is in the way"):
        emit(files(a="1\n", b="2\n"), out)
    assert content(out)["b.py"] == "mine\n"
    emit(files(a="1\n", b="2\n"), out, force=True)
    assert content(out)["b.py"] == "2\n"
    assert content(out)["notes.md"] == "also mine\n"


def test_a_file_for_a_folder_is_refused(tmp_path):
    (tmp_path / "package").write_text("a file")
    with pytest.raises(SymlossError, match="is a file"):
        emit(files(a="1\n"), tmp_path / "package")


@pytest.mark.parametrize("path", ["/etc/passwd", "../a.py", "a/../../b.py", "manifest.json"])
def test_files_stay_inside(tmp_path, path):
    with pytest.raises(ValueError, match="can't be called"):
        emit({path: File("x", "t")}, tmp_path / "package")


def test_an_edited_file_is_put_right(tmp_path):
    out = tmp_path / "package"
    emit(files(a="1\n"), out)
    (out / "a.py").write_text("edited\n")
    assert "-edited" in difference(files(a="1\n"), out)
    assert emit(files(a="1\n"), out).written == ("a.py",)
    assert difference(files(a="1\n"), out) == ""


def test_the_difference_names_what_is_new_changed_and_gone(tmp_path):
    out = tmp_path / "package"
    emit(files(a="1\n", gone="2\n"), out)
    diff = difference(files(a="one\n", new="3\n"), out)
    assert "--- package/a.py (as it is)\n+++ package/a.py (as generated)" in diff
    assert "-1\n+one\n" in diff
    assert "--- package/gone.py (as it is)\n+++ /dev/null" in diff
    assert "--- /dev/null\n+++ package/new.py (as generated)" in diff
    assert content(out)["a.py"] == "1\n"


CHILD = """
import sys
from pathlib import Path
from symloss import swap
from symloss.emit import File, emit
if {fallback}:
    swap.exchange = lambda: None
def version(v):
    texts = {{f"sub{{i % 7}}/m{{i}}.py": f"version {{v}} of {{i}}\\n" * 50 for i in range(150 + 10 * v)}}
    return {{path: File(text, "t") for path, text in texts.items()}}
versions = [version(0), version(1)]
out = Path(sys.argv[1])
print("ready", flush=True)
while True:
    for version in versions:
        emit(version, out)
"""


def versions() -> list[dict[str, str]]:
    made = []
    for v in (0, 1):
        made.append({f"sub{i % 7}/m{i}.py": f"version {v} of {i}\n" * 50 for i in range(150 + 10 * v)})
    return made


def killed(out: Path, fallback: bool, after: float) -> None:
    """Run a process that writes one version after the other, and kill it at some moment."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD.format(fallback=fallback), str(out)], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    child.stdout.readline()
    time.sleep(after)
    child.send_signal(signal.SIGKILL)
    child.wait()
    child.stdout.close()


def whole(out: Path) -> bool:
    """Whether a folder is one of the two versions, to the last file."""
    found = content(out)
    said = {path: facts["sha256"] for path, facts in json.loads(found.pop("manifest.json"))["files"].items()}
    return found in versions() and said == {path: module.digest(text) for path, text in found.items()}


def test_killed_at_any_moment_the_old_or_the_new_folder_stands(tmp_path):
    out = tmp_path / "package"
    emit({path: File(text, "t") for path, text in versions()[0].items()}, out)
    draw = random.Random(0)
    debris = 0
    for _ in range(30):
        killed(out, False, draw.uniform(0, 0.08))
        assert whole(out)
        debris += beside(out) != []
    assert debris > 3  # the process was killed in the middle of writing often enough to mean something
    emit({path: File(text, "t") for path, text in versions()[1].items()}, out)
    assert beside(out) == []
    assert whole(out)


def test_without_an_exchange_of_folders_the_next_run_mends(tmp_path):
    out = tmp_path / "package"
    emit({path: File(text, "t") for path, text in versions()[0].items()}, out)
    draw = random.Random(1)
    for _ in range(10):
        killed(out, True, draw.uniform(0, 0.08))
        assert whole(out if out.exists() else swap.beside(out, "old"))
    emit({path: File(text, "t") for path, text in versions()[1].items()}, out)
    assert beside(out) == []
    assert whole(out)


def test_the_old_folder_comes_back_after_a_kill_between_two_renames(tmp_path):
    out = tmp_path / "package"
    emit(files(a="old\n"), out)
    out.rename(swap.beside(out, "old"))
    swap.beside(out, "new").mkdir()
    swap.recover(out)
    assert content(out)["a.py"] == "old\n"
    assert beside(out) == []


def test_two_runs_take_turns(tmp_path):
    out = tmp_path / "package"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", CHILD.format(fallback=False), str(out)], stdout=subprocess.PIPE
        )
        for _ in range(2)
    ]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    time.sleep(0.5)
    running = [child.poll() for child in children]
    for child in children:
        child.kill()
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
    assert running == [None, None]
    assert whole(out)


@pytest.fixture
def templates(tmp_path, monkeypatch):
    monkeypatch.setattr("symloss.catalog.data_folder", lambda name: tmp_path)
    module.environment.cache_clear()
    module._variables.cache_clear()
    yield tmp_path
    module.environment.cache_clear()
    module._variables.cache_clear()


def test_a_template_gets_exactly_what_it_uses(templates):
    (templates / "t.jinja").write_text("{% for x in xs %}\n{{ name }}={{ x }}\n{% endfor %}\n")
    assert render("t.jinja", xs=[1, 2], name="a") == "a=1\na=2\n"
    with pytest.raises(TypeError, match=r"missing variables \['name'\]"):
        render("t.jinja", xs=[1, 2])
    with pytest.raises(TypeError, match=r"unused variables \['extra'\]"):
        render("t.jinja", xs=[1, 2], name="a", extra=3)


def test_a_template_may_use_variables_of_what_it_includes(templates):
    (templates / "part.jinja").write_text("{{ x }}{{ shared }}\n")
    (templates / "t.jinja").write_text("{% for x in xs %}{% include 'part.jinja' %}{% endfor %}")
    assert render("t.jinja", xs=[1, 2], shared="!") == "1!\n2!\n"


def test_a_missing_key_is_an_error(templates):
    from jinja2 import UndefinedError

    (templates / "t.jinja").write_text("{{ facts.missing }}")
    with pytest.raises(UndefinedError):
        render("t.jinja", facts={})


def test_the_header_names_spec_and_template():
    assert header("kernels/loss.py.jinja", "specs/a.py") == (
        "Generated by symloss from specs/a.py with templates/kernels/loss.py.jinja.\n"
        "Don't edit: change those and generate again."
    )


def test_a_manifest_that_is_not_ours_is_none(tmp_path):
    assert manifest(tmp_path) is None
    (tmp_path / "manifest.json").write_text('{"files": {}}')
    assert manifest(tmp_path) is None
    (tmp_path / "manifest.json").write_text("[1")
    assert manifest(tmp_path) is None
