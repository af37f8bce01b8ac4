"""Fixtures for all tests: quiet libraries, one thread each, and the folders with optional test data."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

for name, value in {
    "DO_NOT_TRACK": "1",
    "GX_ANALYTICS_ENABLED": "false",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "PREFECT_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "RAY_AUTH_MODE": "disabled",
    "RAY_USAGE_STATS_ENABLED": "0",
}.items():
    os.environ.setdefault(name, value)

REPOSITORY = Path(__file__).resolve().parents[1]


def _data_folder(variable: str, name: str) -> Path:
    folder = Path(os.environ.get(variable, REPOSITORY.parent / "shared" / name))
    if not folder.is_dir():
        pytest.skip(f"no {name} data: set {variable} to its folder")
    return folder


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """Folder with golden vectors of the reference implementations; skips where it is absent."""
    return _data_folder("LIPFORCING_PARITY_DIR", "parity")


@pytest.fixture(scope="session")
def media_dir() -> Path:
    """Folder with real talking-head clips; skips where it is absent."""
    return _data_folder("LIPFORCING_MEDIA_DIR", "media")
