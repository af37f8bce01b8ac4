"""A preset file that says only what differs, and settings changed on the command line."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key
from lipforcing_core.presets import load, load_preset, make_preset, preset_names
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


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A copy of the folder of shipped presets, which stands for it."""
    folder = tmp_path / "presets"
    shutil.copytree(load.shipped_folder(), folder, ignore=lambda _, names: [n for n in names if "." not in n])
    monkeypatch.setattr(load, "shipped_folder", lambda: folder)
    shipped_presets.cache_clear()
    yield folder
    shipped_presets.cache_clear()


def test_a_shipped_preset_may_extend_another(shipped: Path) -> None:
    before = preset_names()
    write(shipped, "mini.toml", 'extends = "nano"\nsummary = "Nano in a hurry."\n\n[lora]\nsteps = 3\n')
    write(shipped, "micro.toml", 'extends = "mini"\nname = "micro"\nwithout = ["base_checkpoint"]\n')
    assert preset_names() == sorted([*before, "mini", "micro"])
    nano, mini, micro = (load_preset(name) for name in ("nano", "mini", "micro"))
    assert (mini.name, mini.summary, mini.lora.steps) == ("mini", "Nano in a hurry.", 3)
    same = {"name": "nano", "summary": nano.summary, "lora": nano.lora}
    assert mini.model_copy(update=same) == nano
    assert micro == mini.model_copy(update={"name": "micro", "base_checkpoint": None})
    assert shipped_presets()["mini"].preset == mini
    assert shipped_presets().names[0] == "nano"
    listed = CliRunner().invoke(app, ["presets", "list"], catch_exceptions=False).output
    assert "mini     Nano in a hurry.\n" in listed


def test_a_user_may_extend_such_a_preset(shipped: Path, tmp_path: Path) -> None:
    write(shipped, "mini.toml", 'extends = "nano"\n[lora]\nsteps = 3\n')
    mine = load_preset(write(tmp_path, "mine.toml", 'extends = "mini"\n[lora]\nrank = 2\n'))
    assert (mine.name, mine.lora.steps, mine.lora.rank) == ("mine", 3, 2)
    assert make_preset({"extends": "mini"}) == load_preset("mini")


@pytest.mark.parametrize(
    ("mini", "micro", "circle"),
    [
        ("micro", "mini", "extend each other in a circle: mini -> micro -> mini$"),
        ("mini", "nano", "extend each other in a circle: mini -> mini$"),
        ("micro.toml", "mini", "extend each other in a circle: mini -> mini$"),
        ("mini.toml", "nano", r"extend each other in a circle: \S*mini.toml -> \S*mini.toml$"),
        (
            "mikro",
            "nano",
            r"mini.toml: extends = 'mikro' is .* \(did you mean 'micro'\?\); known: .*micro, mini, nano",
        ),
    ],
)
def test_shipped_presets_in_a_circle_are_refused(shipped: Path, mini: str, micro: str, circle: str) -> None:
    write(shipped, "mini.toml", f'extends = "{mini}"\n')
    write(shipped, "micro.toml", f'extends = "{micro}"\n')
    with pytest.raises(BadInputError, match=circle):
        load_preset("mini")


def test_a_misspelt_base_comes_with_the_known_names(tmp_path: Path) -> None:
    known = ", ".join(preset_names())
    with pytest.raises(BadInputError) as caught:
        make_preset({"extends": "nanoo"}, "the request")
    assert str(caught.value) == (
        "the request: extends = 'nanoo' is neither a known name nor a TOML file (did you mean 'nano'?); "
        f"known: {known}"
    )
    with pytest.raises(BadInputError, match=f"nor a TOML file; known: {known}$"):
        load_preset(write(tmp_path, "mine.toml", 'extends = "wav2lip"\n'))
