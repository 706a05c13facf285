"""What all tests share: the same random numbers every time, and no writing into the user's folders."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("fixed", derandomize=True, deadline=None, print_blob=True)
settings.load_profile("fixed")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory):
    """Compiled specs go into a folder of this run."""
    before = os.environ.get("SYMLOSS_CACHE")
    os.environ["SYMLOSS_CACHE"] = str(tmp_path_factory.mktemp("compiled"))
    yield
    if before is None:
        del os.environ["SYMLOSS_CACHE"]
    else:
        os.environ["SYMLOSS_CACHE"] = before


@pytest.fixture
def importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`tmp_path`, whose packages can be imported. They are forgotten afterwards, so that another test's
    package of the same name, in another folder, isn't taken for this one's."""
    monkeypatch.syspath_prepend(tmp_path)
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]
