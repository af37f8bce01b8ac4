"""The shipped bases: the files are those of the catalogue and of the model card, small, and refused once changed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.models.bases.catalogue import BASES, BaseEntry
from lipforcing_core.models.codecs.block import BlockCodec
from lipforcing_core.models.config import DiTConfig
from lipforcing_core.models.wan import WanTransformer

MAX_BYTES = 7_000_000


@pytest.fixture(params=BASES, ids=lambda entry: entry.name)
def base(request: pytest.FixtureRequest) -> BaseEntry:
    return request.param


def test_files_are_those_of_catalogue_and_card(base: BaseEntry) -> None:
    assert base.check() is base
    card = base.model_file.with_name("MODEL_CARD.md").read_text(encoding="utf-8")
    assert base.model_sha256 in card
    assert base.codec_sha256 in card
    assert base.model_file.stat().st_size + base.codec_file.stat().st_size <= MAX_BYTES


def test_weights_fill_the_network_they_are_for(base: BaseEntry) -> None:
    stored = load_file(base.model_file)
    model = WanTransformer(DiTConfig(**base.fits["model"]))
    model.load_state_dict(stored)
    assert all(bool(torch.isfinite(value).all()) for value in stored.values())
    codec = BlockCodec.load(base.codec_file)
    assert codec.latent_channels == model.config.out_channels


def test_a_changed_or_missing_file_is_refused(
    base: BaseEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "lipforcing_core.models.bases.catalogue._shipped", lambda name: tmp_path / Path(name).name
    )
    with pytest.raises(IncompatibleCheckpointError, match="is missing; install the package again"):
        base.check()
    (tmp_path / f"{base.name}.safetensors").write_bytes(b"other")
    with pytest.raises(IncompatibleCheckpointError, match="was changed"):
        base.check()


def test_each_file_is_looked_at(base: BaseEntry) -> None:
    for changed in (replace(base, model_sha256="0" * 64), replace(base, codec_sha256="0" * 64)):
        with pytest.raises(IncompatibleCheckpointError, match="not 0000"):
            changed.check()


def test_an_unknown_base_lists_the_known() -> None:
    with pytest.raises(
        BadInputError, match=r"unknown base checkpoint .nano-bass. .did you mean .nano-base.*known: nano-base"
    ):
        BASES["nano-bass"]
