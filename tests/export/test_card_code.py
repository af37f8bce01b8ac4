"""The code that a card shows runs as it stands, in the folder of the card."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from lipforcing_core.export.protocol import ExportSettings
from lipforcing_core.export.run import write_export

from .conftest import FORMS


@pytest.mark.parametrize("form", FORMS)
def test_the_code_of_the_card_runs(
    form: str,
    curated_once: Path,
    tmp_path: Path,
    settings: ExportSettings,
    no_network: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "out"
    write_export(curated_once, folder, form=form, settings=settings)
    card = (folder / "README.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", card, re.DOTALL)
    (library,) = re.findall(r"^(?:import|from) (\w+)", code, re.MULTILINE)
    pytest.importorskip(library, reason=f"needs {library}: pip install -e '.[dev]'")
    monkeypatch.chdir(folder)
    if library == "datasets":
        import datasets

        monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    exec(code.replace('"FOLDER"', repr(str(folder))), {})
