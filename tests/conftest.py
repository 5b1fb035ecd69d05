"""Fixtures that several test files share."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

# Some tests load onnxruntime themselves, before facegrep does and switches its telemetry off.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real photos and clips that may not be part of the project."""
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("FACEGREP_TEST_DATA") or default)
    if not folder.is_dir():
        pytest.skip("the photos that may not be committed are not here (FACEGREP_TEST_DATA)")
    return folder
