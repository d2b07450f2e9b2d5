"""Programs that packages of the distribution bring, for tests/ops."""

import os
import shutil

import pytest


def tool(name: str, *, package: str) -> str:
    """Its path. Missing, it skips the test, and fails it where all are wanted (CI=true, COPILOT_OPS=required)."""
    found = shutil.which(name)
    if found is not None:
        return found
    reason = f"needs {name}: apt-get install --no-install-recommends {package}"
    if os.environ.get("COPILOT_OPS") == "required" or os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)
