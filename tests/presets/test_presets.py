"""Presets: the shipped ones load and agree with the method; what a user gets wrong is named in one sentence."""

from __future__ import annotations

import re
from importlib.resources import files
from pathlib import Path

import pytest
from pydantic import ValidationError

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.models.audio_encoders.catalogue import AUDIO_ENCODERS
from lipforcing_core.presets import load_preset, preset_names
from lipforcing_core.presets.load import shipped_folder


def _nano_text() -> str:
    return files("lipforcing_core.presets").joinpath("nano.toml").read_text(encoding="utf-8")


def _written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_names() -> None:
    assert {"1.3b", "14b", "nano"} <= set(preset_names())
    assert preset_names() == sorted(
        path.stem for path in shipped_folder().iterdir() if path.suffix == ".toml"
    )


@pytest.mark.parametrize("name", preset_names())
def test_shipped_presets_agree_with_the_method(name: str) -> None:
    preset = load_preset(name)
    assert preset.name == name
    assert preset.schedule.t_list == (0.999, 0.769, 0.0)
    assert (preset.window.chunk_latents, preset.window.window_latents, preset.window.sink_latents) == (
        3,
        7,
        1,
    )
    assert preset.distill.critic_per_student == 5
    assert preset.model.in_channels == 4 * preset.model.out_channels + 1


@pytest.mark.parametrize(("name", "trains_a_base"), [("nano", True), ("1.3b", False), ("14b", False)])
def test_which_presets_have_a_base_of_their_own(name: str, trains_a_base: bool) -> None:
    preset = load_preset(name)
    assert (preset.base is not None) == (preset.base_checkpoint is not None) == trains_a_base


@pytest.mark.parametrize(("name", "sizes"), [("1.3b", (1536, 8960, 12, 30)), ("14b", (5120, 13824, 40, 40))])
def test_published_sizes(name: str, sizes: tuple[int, ...]) -> None:
    model = load_preset(name).model
    assert (model.dim, model.ffn_dim, model.num_heads, model.num_layers) == sizes
    assert model.audio_dim == 10752


def test_sections_become_settings() -> None:
    preset = load_preset("nano")
    assert preset.model.config().dim == preset.model.dim
    assert preset.window.config().past_budget == 4
    assert preset.schedule.flow().tau(20) == pytest.approx(0.882353, abs=1e-6)
    assert preset.schedule.sync_window().scale(0.7).item() == preset.schedule.guidance_scale > 1
    assert preset.codec is not None
    assert preset.codec.settings().num_channels == 16


def test_a_file_is_a_preset_too(tmp_path: Path) -> None:
    path = _written(tmp_path, _nano_text().replace('name = "nano"', 'name = "mine"'))
    assert load_preset(path).name == "mine"
    assert load_preset(str(path)) == load_preset(path)


def test_presets_are_frozen() -> None:
    with pytest.raises(ValidationError):
        load_preset("nano").name = "other"  # type: ignore[misc]


def test_unknown_name_lists_the_known() -> None:
    with pytest.raises(BadInputError) as caught:
        load_preset("nanoo")
    known = ", ".join(preset_names())
    assert str(caught.value) == (
        f"unknown preset 'nanoo' (did you mean 'nano'?); known: {known}, or the path of a .toml file"
    )
    with pytest.raises(BadInputError, match=rf"^unknown preset 'wav2lip'; known: {re.escape(known)}, or"):
        load_preset("wav2lip")


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"none\.toml: there is no such file"):
        load_preset(tmp_path / "none.toml")


def test_malformed_toml_gives_the_line(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"not valid TOML.*line 2"):
        load_preset(_written(tmp_path, 'name = "x"\nsummary = oops\n'))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "\nsize = 128",
            "\nsizes = 128",
            r"unknown key 'video.sizes' \(did you mean 'video.size'\?\); known keys: r",
        ),
        ("\nsize = 128", "\n", "missing key 'video.size'$"),
        ("\nsize = 128", "\nsize = 'big'", r"video.size: should be a whole number \(got 'big'\)$"),
        (
            "[video]",
            "video = 3\n[zzz]",
            r"video: must be a table \[video\] \(got 3\)\n.*unknown key 'zzz'; known keys: b",
        ),
        ("window_frames = 33", "window_frames = 32", "4T - 3"),
        ("num_heads = ", "num_heads = 7 # ", "does not split"),
        ("in_channels = 65", "in_channels = 50", r"in_channels=50 .*: use 16, 49 or 65"),
        (
            "window_latents = 7",
            "window_latents = 3",
            r"window: .* must hold the sink \(1\) and the chunk \(3\)",
        ),
        ("num_channels = 16", "num_channels = 8", r"\(8\) must be model.out_channels \(16\)"),
        ("t_list = [0.999, 0.769, 0.0]", "t_list = [0.769, 0.999, 0.0]", r"must fall .*, not \[0.769"),
        ("mouth_weight = ", "trepa_weight = 10\nmouth_weight = ", "not available in this version"),
        (
            'reference = "random"',
            'reference = "best"',
            r"video.reference: should be 'random' or 'first' \(got 'best'\)$",
        ),
        (
            'codec = "block-pca"\ndecoder = "block-pca"',
            'codec = "wan-vae"\ndecoder = "taehv"',
            "belongs to backends.codec = 'block-pca' and",
        ),
        (
            'codec = "block-pca"',
            'codec = "wan-vae"',
            "backends: block-pca cannot decode the latents of wan-vae: .* must be wan-vae or taehv$",
        ),
        (
            'audio = "log-mel"',
            'audio = "logmel"',
            "backends.audio: unknown audio encoder 'logmel' .*; "
            rf"known: {', '.join(AUDIO_ENCODERS.names)} \(got 'logmel'\)$",
        ),
    ],
)
def test_bad_keys_and_values_are_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    text = _nano_text()
    assert old in text
    with pytest.raises(BadInputError, match=message) as caught:
        load_preset(_written(tmp_path, text.replace(old, new, 1)))
    for line in str(caught.value).splitlines():
        assert line.startswith(f"{tmp_path / 'mine.toml'}: ")
        assert "{" not in line, "no tables of values"


def test_every_mistake_has_a_line_of_its_own(tmp_path: Path) -> None:
    text = (
        _nano_text()
        .replace("\nsize = 128", "\nsizes = 128")
        .replace("window_frames = 33", "window_frames = []")
    )
    with pytest.raises(BadInputError) as caught:
        load_preset(_written(tmp_path, text))
    lines = str(caught.value).splitlines()
    assert sorted(line.split(": ")[1].split(" (")[0] for line in lines) == [
        "unknown key 'video.sizes'",
        "video.window_frames",
    ]


def test_presets_load_without_torch() -> None:
    import subprocess
    import sys

    code = (
        "import sys; import lipforcing_core.presets as p; preset = p.load_preset('14b'); "
        "preset.window.config(); preset.model.config(); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
