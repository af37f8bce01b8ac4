"""Latent windows number by number: every frame, sample and feature of these clips tells where it comes from."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.faces.mask import keep_mask, latent_keep_mask
from lipforcing_core.media import decode
from lipforcing_core.presets.schema import VideoPreset
from lipforcing_core.training.dataset import (
    Batch,
    ClipSource,
    LatentWindows,
    codec_frames,
    encode_clip,
    encode_frames,
    windows_key,
)

VIDEO = VideoPreset(size=64, window_frames=21, window_stride_frames=12, reference="random")
STARTS = [0, 12, 24, 36, 48, 60]
NUM_FRAMES = 81


class Blocks:
    """Codes every fourth frame by the means of its blocks of eight, and notes how many windows it is given."""

    backend_id, latent_channels = "blocks-v1", 3

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def encode(self, video_BCFHW: Tensor) -> Tensor:
        assert video_BCFHW.dtype == torch.float32
        self.sizes.append(len(video_BCFHW))
        return F.avg_pool3d(video_BCFHW[:, :, ::4], (1, 8, 8))


class Numbers:
    """The features of a frame are its number and the first sample of its sound."""

    backend_id, feature_dim, lookahead_s = "numbers-v1", 2, 0.0

    def encode(self, waveform: np.ndarray, num_frames: int) -> np.ndarray:
        assert len(waveform) == 640 * num_frames
        assert waveform.dtype == np.float32
        return np.stack([np.arange(num_frames), waveform[::640]], axis=1).astype(np.float32)


def level(frame: int) -> float:
    """The brightness of a frame in -1 ... 1; the blue channel has the opposite one."""
    return 3 * frame / 127.5 - 1


def numbered(num_frames: int = NUM_FRAMES) -> np.ndarray:
    red = np.broadcast_to(3 * np.arange(num_frames)[:, None, None], (num_frames, 64, 64))
    return np.stack([red, np.full_like(red, 51), 255 - red], axis=-1).astype(np.uint8)


def counting(num_samples: int) -> np.ndarray:
    """A sound whose n-th sample is n / 65536, exact in float32."""
    return np.arange(num_samples) / 65536


def write(path: Path, frames: np.ndarray, waveform: np.ndarray, codec: Blocks | None = None) -> int:
    return encode_frames(
        frames,
        waveform,
        path,
        clip_id=path.stem,
        codec=codec or Blocks(),
        audio_encoder=Numbers(),
        video=VIDEO,
    )  # type: ignore[arg-type]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "numbered.safetensors"
    assert write(path, numbered(), counting(NUM_FRAMES * 640)) == len(STARTS)
    return path


def test_a_file_holds_every_window_of_its_clip(tmp_path: Path) -> None:
    codec, path = Blocks(), tmp_path / "clip.safetensors"
    assert write(path, numbered(), counting(NUM_FRAMES * 640), codec) == 6
    assert codec.sizes == [4, 4, 2, 2], "four windows at once, as pictures and masked"
    stored = load_file(path)
    assert stored["latents"].dtype == stored["masked_latents"].dtype == torch.float16
    assert stored["latents"].shape == stored["masked_latents"].shape == (6, 3, 6, 8, 8)
    assert stored["starts"].tolist() == STARTS
    kept = torch.from_numpy(keep_mask(64).reshape(8, 8, 8, 8).mean(axis=(1, 3)))
    assert 0 < float(kept.mean()) < 1
    for number, start in enumerate(STARTS):
        levels = torch.tensor([level(start + 4 * t) for t in range(6)])
        for channel, values in enumerate((levels, torch.full((6,), -0.6), -levels)):
            want = values[:, None, None].expand(6, 8, 8)
            torch.testing.assert_close(stored["latents"][number, channel].float(), want, atol=6e-4, rtol=0)
            torch.testing.assert_close(
                stored["masked_latents"][number, channel].float(), want * kept, atol=6e-4, rtol=0
            )
    assert torch.equal(stored["keep_mask"], torch.from_numpy(latent_keep_mask(8, 8).copy()))
    assert torch.equal(stored["waveform"], torch.arange(NUM_FRAMES * 640) / 65536)
    assert torch.equal(stored["audio"][:, 0], torch.arange(81.0))
    with safe_open(path, framework="pt") as opened:
        about = opened.metadata()["about"]
    assert about == '{"audio": "numbers-v1", "clip_id": "clip", "codec": "blocks-v1"}', (
        "always the same bytes"
    )


@pytest.mark.parametrize("num_samples", [21 * 640 - 500, 21 * 640, 21 * 640 + 500])
def test_sound_is_cut_or_padded_to_the_picture(num_samples: int, tmp_path: Path) -> None:
    path = tmp_path / "clip.safetensors"
    assert write(path, numbered(21), 1 + counting(num_samples)) == 1
    sound = load_file(path)["waveform"]
    assert sound.shape == (21 * 640,)
    heard = min(num_samples, 21 * 640)
    assert torch.equal(sound[:heard], 1 + torch.arange(heard) / 65536)
    assert not sound[heard:].any()


def start_of(latents_CTHW: Tensor) -> int:
    """The frame that the first latent of a window shows."""
    frame = float(latents_CTHW[0, 0].mean() + 1) * 127.5 / 3
    assert frame == pytest.approx(round(frame), abs=0.05)
    return round(frame)


def drawn(windows: LatentWindows, *, seed: int = 0, steps: int = 30) -> Iterator[dict[str, Tensor]]:
    """The samples of many batches, one by one."""
    for step in range(steps):
        batch = windows.batch(20, seed, step)
        names = [field.name for field in fields(batch) if field.name != "keep_mask_HW"]
        for sample in range(20):
            yield {name: getattr(batch, name)[sample] for name in names}


def test_everything_in_a_sample_belongs_to_its_window(clip: Path) -> None:
    stored = load_file(clip)
    for sample in drawn(LatentWindows([clip], VIDEO), steps=2):
        start = start_of(sample["latents_BCTHW"])
        number = STARTS.index(start)
        assert torch.equal(sample["latents_BCTHW"], stored["latents"][number].float())
        assert torch.equal(sample["masked_BCTHW"], stored["masked_latents"][number].float())
        assert sample["audio_BND"][:, 0].tolist() == list(range(start, start + 21))
        assert torch.equal(sample["audio_BND"][:, 1], torch.arange(start, start + 21) * 640 / 65536)
        sound = torch.arange(start * 640, (start + 21) * 640) / 65536
        assert torch.equal(sample["waveform_BS"], sound)
        assert sample["reference_BC1HW"].shape == (3, 1, 8, 8)
        assert {value.dtype for value in sample.values()} == {torch.float32}


def test_references_are_of_any_window_and_sequences_of_any_apart(clip: Path) -> None:
    """600 samples: each window about 100 times, each pair with a reference about 17 times."""
    windows, references, sequences = Counter[int](), Counter[tuple[int, int]](), Counter[tuple[int, int]]()
    for sample in drawn(LatentWindows([clip], VIDEO)):
        start = start_of(sample["latents_BCTHW"])
        windows[start] += 1
        references[start, start_of(sample["reference_BC1HW"])] += 1
        sequences[start, start_of(sample["reference_sequence_BCTHW"])] += 1
    assert set(windows) == set(STARTS)
    assert min(windows.values()) > 60
    assert set(references) == {(start, other) for start in STARTS for other in STARTS}
    assert set(sequences) == {(a, b) for a in STARTS for b in STARTS if abs(a - b) >= 24}


def test_windows_that_just_touch_do_not_overlap(tmp_path: Path) -> None:
    """With a stride of one window the neighbour is a sequence too."""
    video = VIDEO.model_copy(update={"window_stride_frames": 21})
    path = tmp_path / "clip.safetensors"
    encode_frames(
        numbered(42),
        counting(42 * 640),
        path,
        clip_id="x",
        codec=Blocks(),
        audio_encoder=Numbers(),
        video=video,
    )  # type: ignore[arg-type]
    for sample in drawn(LatentWindows([path], video), steps=1):
        starts = {start_of(sample["latents_BCTHW"]), start_of(sample["reference_sequence_BCTHW"])}
        assert starts == {0, 21}


def first_frames(latents_CTHW: Tensor) -> list[int | None]:
    """The first frame that each latent shows; None for one that is hidden."""
    return [
        start_of(latents_CTHW[:, n:]) if latents_CTHW[:, n].any() else None
        for n in range(latents_CTHW.shape[1])
    ]


def test_a_partial_reference_hides_what_it_shares_with_the_target(tmp_path: Path) -> None:
    """37 frames hold no two windows of 21. Those at 0 and 16 share the frames 16 to 20; latents begin every four.

    Latent 4 of the window at 0 shows the frames 13 to 16 (``Blocks`` codes the last of them), latent 5 those to 20.
    """
    path = tmp_path / "clip.safetensors"
    assert write(path, numbered(37), counting(37 * 640)) == 3
    stored = load_file(path)
    assert stored["starts"].tolist() == [0, 12, 16]
    with safe_open(path, framework="pt") as opened:
        assert json.loads(opened.metadata()["about"])["references"] == "partial"
    seen = {
        start_of(sample["latents_BCTHW"]): first_frames(sample["reference_sequence_BCTHW"])
        for sample in drawn(LatentWindows([path], VIDEO), steps=3)
    }
    assert seen == {
        0: [None, None, 24, 28, 32, 36],
        12: [0, 4, 8, None, None, None],
        16: [0, 4, 8, 12, None, None],
    }


def test_a_file_of_earlier_versions_has_no_partial_references(tmp_path: Path) -> None:
    """Its key has not changed, so what is drawn from it has not either."""
    old, path = tmp_path / "old.safetensors", tmp_path / "clip.safetensors"
    write(path, numbered(33), counting(33 * 640))
    about = {"clip_id": "clip", "codec": "blocks-v1", "audio": "numbers-v1"}
    save_file(load_file(path), old, metadata={"about": json.dumps(about)})
    for file, is_shown in ((path, True), (old, False)):
        samples = list(drawn(LatentWindows([file], VIDEO), steps=2))
        assert all(bool(sample["reference_sequence_BCTHW"].any()) is is_shown for sample in samples)


def test_a_reference_may_be_the_first_latent_of_its_own_window(clip: Path) -> None:
    windows = LatentWindows([clip], VIDEO.model_copy(update={"reference": "first"}))
    for sample in drawn(windows, steps=2):
        assert torch.equal(sample["reference_BC1HW"], sample["latents_BCTHW"][:, :1])


def test_clips_are_drawn_alike_however_long_they_are(clip: Path, tmp_path: Path) -> None:
    short = tmp_path / "short.safetensors"
    assert write(short, numbered(25)[4:], 1 + counting(21 * 640)) == 1
    windows = LatentWindows([clip, short], VIDEO)
    assert windows.num_windows == 7
    assert windows.latent_shape == (3, 6, 8, 8)
    assert windows.audio_dim == 2
    assert torch.equal(windows.batch(1, 0, 0).keep_mask_HW, torch.from_numpy(latent_keep_mask(8, 8).copy()))
    of_short = [float(sample["waveform_BS"][0]) >= 1 for sample in drawn(windows)]
    assert np.mean(of_short) == pytest.approx(0.5, abs=0.07)


def test_every_step_and_every_seed_has_an_order_of_its_own(clip: Path) -> None:
    windows = LatentWindows([clip], VIDEO)

    def order(seed: int, step: int) -> tuple[int, ...]:
        return tuple(start_of(latents) for latents in windows.batch(12, seed, step).latents_BCTHW)

    keys = [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (2, 0)]
    assert len({order(*key) for key in keys}) == len(keys)
    assert order(0, 1) == order(0, 1)


def test_the_key_is_that_of_files_window_and_reference(clip: Path) -> None:
    def key(text: str) -> str:
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    assert windows_key(["b", "a"], VIDEO) == key('[["b","a"],21,"random"]')
    of_file = hashlib.sha256(clip.read_bytes()).hexdigest()
    assert LatentWindows([clip], VIDEO).key == key(f'[["{of_file}"],21,"random"]')


def a_batch(clip: Path) -> Batch:
    return LatentWindows([clip], VIDEO).batch(3, 0, 0)


def test_samples_are_selected_by_number_or_mask_and_moved_whole(clip: Path) -> None:
    batch = a_batch(clip)
    for chosen, numbers in ((torch.tensor([2, 0]), [2, 0]), (torch.tensor([False, True, True]), [1, 2])):
        some = batch.select(chosen)
        assert torch.equal(some.keep_mask_HW, batch.keep_mask_HW)
        for name in ("latents_BCTHW", "masked_BCTHW", "reference_BC1HW", "reference_sequence_BCTHW", "audio_BND",
                     "waveform_BS"):  # fmt: skip
            assert torch.equal(getattr(some, name), getattr(batch, name)[numbers]), name
    moved = batch.to("meta")
    assert {getattr(moved, field.name).device.type for field in fields(moved)} == {"meta"}
    assert batch.latents_BCTHW.device.type == "cpu"


def test_conditions_are_those_of_the_batch(clip: Path) -> None:
    batch, text = a_batch(clip), torch.ones(1, 2, 4)
    got = batch.conditions(text)
    assert torch.equal(got.text_BLD, torch.ones(3, 2, 4))
    assert got.audio_BND is batch.audio_BND
    assert got.reference_BC1HW is batch.reference_BC1HW
    assert got.keep_mask_HW is batch.keep_mask_HW
    assert got.masked_video_BCTHW is batch.masked_BCTHW
    assert got.reference_sequence_BCTHW is batch.reference_sequence_BCTHW
    own = torch.arange(24.0).view(3, 2, 4)
    assert torch.equal(batch.conditions(own).text_BLD, own)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Videos of 30 frames, and the same sound for all; takes note of which frames are asked for.

    A "small" video has the numbered frames at 64 pixels. A "large" one has 192: nine pixels with mean 20 + n for each
    of frame n. An "empty" one has no frame.
    """
    asked: list[tuple[Any, ...]] = []
    nine = np.tile([[-1, -1, -1], [-1, 8, -1], [-1, -1, -1]], (64, 64))[:, :, None]

    def iter_frames(path: Path, start: int = 0, stop: int | None = None) -> Iterator[np.ndarray]:
        asked.append((path, start, stop))
        if path.stem == "large":
            yield from (np.repeat(20 + n + nine, 3, axis=2).astype(np.uint8) for n in range(30)[:stop])
        elif path.stem == "small":
            yield from numbered(30)[:stop]

    monkeypatch.setattr(decode, "iter_frames", iter_frames)
    monkeypatch.setattr(decode, "read_audio", lambda path: counting(30 * 640) + (path.name == "small.wav"))
    return asked


def source(name: str) -> ClipSource:
    return ClipSource(
        clip_id=name, num_frames=30, clip_path=Path(f"{name}.mp4"), audio_path=Path(f"{name}.wav")
    )


def test_a_codec_is_fitted_on_the_first_24_frames_of_every_clip(played: list[tuple[Any, ...]]) -> None:
    small, large = codec_frames([source("small"), source("large")], VIDEO)
    assert played == [(Path("small.mp4"), 0, 24), (Path("large.mp4"), 0, 24)]
    np.testing.assert_array_equal(small, numbered(24))
    levels = 20 + np.arange(24, dtype=np.uint8)
    np.testing.assert_array_equal(large, np.broadcast_to(levels[:, None, None, None], (24, 64, 64, 3)))
    assert large.dtype == np.uint8


def test_a_clip_is_read_whole_with_its_own_sound(played: list[tuple[Any, ...]], tmp_path: Path) -> None:
    path = tmp_path / "clip.safetensors"
    number = encode_clip(source("small"), path, codec=Blocks(), audio_encoder=Numbers(), video=VIDEO)  # type: ignore[arg-type]
    assert number == 2
    assert played == [(Path("small.mp4"), 0, None)]
    stored = load_file(path)
    assert [start_of(latents.float()) for latents in stored["latents"]] == [0, 9], (
        "the last ends with the clip"
    )
    assert torch.equal(stored["waveform"], 1 + torch.arange(30 * 640) / 65536)
    with safe_open(path, framework="pt") as opened:
        assert json.loads(opened.metadata()["about"])["clip_id"] == "small"


def test_a_clip_without_frames_is_named(played: list[tuple[Any, ...]]) -> None:
    with pytest.raises(BadInputError, match=r"clip empty \(empty\.mp4\) has no frames"):
        list(codec_frames([source("empty")], VIDEO))
