"""Which base a preset starts from: the one it names, if the network and the encoders are the same."""

from __future__ import annotations

from typing import Any

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key
from lipforcing_core.models.bases.catalogue import BASES
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.runtime.shipped_base import shipped_base


def _nano(**changes: dict[str, Any]) -> Preset:
    values = load_preset("nano").model_dump()
    for section, change in changes.items():
        values[section] |= change
    return Preset.model_validate(values)


def test_nano_starts_from_the_shipped_base() -> None:
    assert shipped_base(_nano()) is BASES["nano-base"]


@pytest.mark.parametrize("name", ["1.3b", "14b"])
def test_presets_with_a_public_base_have_none(name: str) -> None:
    assert shipped_base(load_preset(name)) is None


def test_settings_of_training_do_not_matter() -> None:
    changed = _nano(lora={"steps": 3}, schedule={"guidance_scale": 3.0}, base={"steps": 7})
    assert shipped_base(changed) is BASES["nano-base"]


@pytest.mark.parametrize(
    ("section", "change", "words"),
    [
        ("model", {"dim": 64}, r"model.dim = 64, but its base_checkpoint nano-base was trained with 128"),
        ("model", {"num_layers": 4}, r"model.num_layers = 4, .* with 6; leave base_checkpoint out"),
        ("backends", {"text": "umt5"}, r"backends.text = 'umt5', .* with 'hash'"),
    ],
)
def test_another_network_or_encoder_is_refused(section: str, change: dict[str, Any], words: str) -> None:
    with pytest.raises(BadInputError, match=words):
        shipped_base(_nano(**{section: change}))


def test_without_a_name_the_base_is_trained() -> None:
    values = load_preset("nano").model_dump()
    del values["base_checkpoint"]
    assert shipped_base(Preset.model_validate(values)) is None


def test_a_preset_without_a_shipped_base_keeps_its_key() -> None:
    values = load_preset("nano").model_dump()
    del values["base_checkpoint"]
    older, named = Preset.model_validate(values), Preset.model_validate(values | {"base_checkpoint": None})
    assert "base_checkpoint" not in older.model_dump()
    assert content_key(older) == content_key(named) != content_key(_nano())
    assert Preset.model_validate_json(_nano().model_dump_json()) == _nano()
