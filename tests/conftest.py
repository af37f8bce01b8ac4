"""Fixtures for all tests: quiet libraries, one thread each, and the folders with optional test data."""

from __future__ import annotations

import builtins
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

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

# No test depends on the speed of the machine; where CI says so, examples are the same in every run.
settings.register_profile(
    "house",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=bool(os.environ.get("CI")),
)
settings.load_profile("house")

REPOSITORY = Path(__file__).resolve().parents[1]


def _data_folder(variable: str, name: str) -> Path:
    """The folder that the variable names, which must then exist, or ``shared/NAME`` beside the repository."""
    given = os.environ.get(variable)
    folder = Path(given or REPOSITORY.parent / "shared" / name)
    if not folder.is_dir():
        if given:
            pytest.fail(f"{variable}={given} is not a folder", pytrace=False)
        pytest.skip(f"no {name} data: set {variable} to its folder")
    return folder


@pytest.fixture(scope="session")
def parity_dir() -> Path:
    """Folder with golden vectors of the reference implementations, a sub-folder for each component.

    Skips where it is absent; fails where ``LIPFORCING_PARITY_DIR`` is set to a folder without any.
    """
    variable = "LIPFORCING_PARITY_DIR"
    folder = _data_folder(variable, "parity")
    if os.environ.get(variable) and not any(folder.rglob("meta.json")):
        pytest.fail(f"{variable}={folder} holds no vectors: no sub-folder has a meta.json", pytrace=False)
    return folder


@pytest.fixture(scope="session")
def media_dir() -> Path:
    """Folder with real talking-head clips; skips where it is absent and ``LIPFORCING_MEDIA_DIR`` is not set."""
    return _data_folder("LIPFORCING_MEDIA_DIR", "media")


@pytest.fixture
def encodings_are_named(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make a package fail where it opens text without naming the encoding: the default is another on other machines."""

    def watch(package: str) -> None:
        def check(encoding: str | None) -> None:
            frame = sys._getframe(2)
            while frame.f_back is not None and frame.f_globals.get("__name__") == "pathlib":
                frame = frame.f_back
            name = frame.f_globals.get("__name__", "")
            assert encoding is not None or not name.startswith(package), f"{name} names no encoding"

        def text_encoding(encoding: str | None, stacklevel: int = 2) -> str:
            check(encoding)
            return original(encoding, stacklevel)

        def opened(file: Any, mode: str = "r", *arguments: Any, **options: Any) -> Any:
            check("" if "b" in mode or len(arguments) > 1 else options.get("encoding"))
            return plain(file, mode, *arguments, **options)

        original, plain = io.text_encoding, builtins.open
        monkeypatch.setattr(io, "text_encoding", text_encoding)
        monkeypatch.setattr(builtins, "open", opened)

    return watch
