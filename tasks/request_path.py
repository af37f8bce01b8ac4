"""Paths in requests: text of any bytes through JSON and back, and never the empty text; and URIs in their place."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BeforeValidator,
    PlainSerializer,
    ValidatorFunctionWrapHandler,
    WrapValidator,
)

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

_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://.+", re.DOTALL)


def is_uri(text: str) -> bool:
    """Whether a text is a URI, such as ``s3://bucket/talks``, and no path of this file system."""
    return _URI.fullmatch(text) is not None


def _a_uri(text: str) -> str:
    if not is_uri(text):
        raise ValueError("must be a URI, such as s3://bucket/talks")
    return text


Uri = Annotated[str, AfterValidator(_a_uri)]


def _uri_or_path(value: Any, as_path: ValidatorFunctionWrapHandler) -> Path | str:
    if isinstance(value, str) and is_uri(value):
        return value
    path: Path = as_path(value)
    return path


def _place_as_text(place: Path | str) -> str:
    return place if isinstance(place, str) else path_as_text(place)


RequestPlace = Annotated[
    RequestPath,
    WrapValidator(_uri_or_path),
    PlainSerializer(_place_as_text, return_type=str, when_used="json"),
]
"""A path; or a text, the URI of a place in an object store or on another machine."""
