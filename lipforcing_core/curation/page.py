"""Pages of curation: a template beside the code, filled in and written as one self-contained file."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lipforcing_core.base.products import atomic_path


def write_page(
    path: Path | str, template: Path, filters: Mapping[str, Callable[..., str]], /, **values: Any
) -> None:
    """Write a page. A value is escaped unless the template says ``safe``, and one that is missing is an error."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(filters)
    page = environment.from_string(template.read_text(encoding="utf-8")).render(values)
    with atomic_path(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
