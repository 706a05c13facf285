"""What all tests share: the same random numbers every time, and no writing into the user's folders."""

from __future__ import annotations

import os

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
