"""Settings shared by all tests."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("steadyhand", deadline=None, max_examples=60, derandomize=True)
settings.load_profile("steadyhand")


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real data that does not ship with the project; tests skip where it is absent.

    Set STEADYHAND_TEST_DATA, or place it at ../shared/data beside the checkout.
    """
    default = Path(__file__).parents[2] / "shared" / "data"
    folder = Path(os.environ.get("STEADYHAND_TEST_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}")
    return folder
