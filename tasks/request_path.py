"""Paths in requests: text of any bytes through JSON and back, and never the empty text."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, PlainSerializer

from lipforcing_core.base.names import path_as_text, path_from_text


def _not_empty(value: Any) -> Any:
    """Python takes an empty text for the current folder; who leaves a field of a form empty does not mean that."""
    if value == "":
        raise ValueError("must not be empty; '.' is the current folder")
    return value


def _real(path: Path) -> Path:
    """A path whose name is not UTF-8 comes escaped through JSON (see ``path_as_text``)."""
    return path if os.path.lexists(path) else path_from_text(str(path))


RequestPath = Annotated[
    Path,
    BeforeValidator(_not_empty),
    AfterValidator(_real),
    PlainSerializer(path_as_text, return_type=str, when_used="json"),
]
