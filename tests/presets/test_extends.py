"""A preset file that says only what differs, and settings changed on the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key
from lipforcing_core.presets import load_preset, make_preset, preset_names
from lipforcing_core.presets.catalogue import shipped_presets


def write(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_only_what_differs(tmp_path: Path) -> None:
    nano = load_preset("nano")
    mine = load_preset(write(tmp_path, "mine.toml", 'extends = "nano"\n[distill]\nreward_beta = 0\n'))
    assert mine.name == "mine"
    assert mine.distill.reward_beta == 0
    assert mine.distill.student == nano.distill.student
    assert mine.model_copy(update={"name": "nano", "distill": nano.distill}) == nano
    named = write(tmp_path, "other.toml", 'extends = "mine.toml"\nname = "theirs"\n[lora]\nrank = 4\n')
    theirs = load_preset(named)
    assert (theirs.name, theirs.lora.rank, theirs.distill.reward_beta) == ("theirs", 4, 0)


def test_another_codec_takes_its_section_away(tmp_path: Path) -> None:
    text = 'extends = "nano"\nwithout = ["codec"]\n[backends]\ncodec = "wan-vae"\ndecoder = "taehv"\n'
    mine = load_preset(write(tmp_path, "mine.toml", text))
    assert (mine.codec, mine.backends.decoder) == (None, "taehv")
    with pytest.raises(BadInputError, match=r"belongs to backends\.codec"):
        load_preset(write(tmp_path, "mine.toml", text.replace('without = ["codec"]\n', "")))


def test_a_typo_keeps_its_did_you_mean(tmp_path: Path) -> None:
    path = write(tmp_path, "mine.toml", 'extends = "nano"\n[distil]\nreward_beta = 0\n[video]\nsizes = 3\n')
    with pytest.raises(BadInputError) as caught:
        load_preset(path)
    lines = str(caught.value).splitlines()
    assert all(line.startswith(f"{path}: ") for line in lines)
    assert any("unknown key 'distil' (did you mean 'distill'?)" in line for line in lines)
    assert any("unknown key 'video.sizes' (did you mean 'video.size'?)" in line for line in lines)


def test_overrides() -> None:
    nano = load_preset("nano")
    changed = load_preset("nano", overrides=["distill.reward_beta=0", "backends.sync=syncnet-v2"])
    assert (changed.distill.reward_beta, changed.backends.sync) == (0, "syncnet-v2")
    assert load_preset("nano") == nano
    assert load_preset("nano", overrides=["video.size=128"]) == nano
    assert content_key(load_preset("nano", overrides=["video.size=128"])) == content_key(nano)
    with pytest.raises(
        BadInputError, match=r"^preset 'nano' --set video.sise=3: unknown key .*'video.size'\?"
    ):
        load_preset("nano", overrides=["video.sise=3"])
    with pytest.raises(BadInputError, match=r"video.size: should be .*multiple of 16 \(got 100\)"):
        load_preset("nano", overrides=["video.size=100"])


def test_presets_from_values_at_hand(tmp_path: Path) -> None:
    nano = load_preset("nano")
    assert make_preset(nano.model_dump(mode="json")) == nano
    assert make_preset({"extends": "nano", "lora": {"rank": 2}}).lora.rank == 2
    write(tmp_path, "base.toml", 'extends = "nano"\n[lora]\nrank = 3\n')
    assert make_preset({"extends": "base.toml"}, folder=tmp_path).lora.rank == 3
    with pytest.raises(BadInputError, match=r"^the request: lora\.rank: should be greater"):
        make_preset({"extends": "nano", "lora": {"rank": 0}}, "the request")


def test_the_catalogue_of_shipped_presets() -> None:
    presets = shipped_presets()
    assert set(presets.names) == set(preset_names())
    assert presets.default == "nano"
    assert presets["nano"].is_embedded
    assert presets["14b"].weights == ("wan2.1-vae", "taew2.1", "wav2vec2-base-960h", "umt5-xxl")
    assert presets["14b"].preset == load_preset("14b")
