"""Latent windows: clips are encoded once, then every step draws its batch from (seed, step) alone.

Shape letters: B batch, C channels, T latent frames, H W latent size, N video frames, D features, S audio
samples.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import atomic_path, content_key
from lipforcing_core.media.clock import SAMPLES_PER_FRAME, samples_for_frames
from lipforcing_core.media.window_plan import ReferenceKind, hidden_latents, plan_windows
from lipforcing_core.models.audio_encoders.protocol import AudioEncoder
from lipforcing_core.models.codecs.pixels import to_model_range
from lipforcing_core.models.codecs.protocol import VideoCodec
from lipforcing_core.models.conditions import Conditions
from lipforcing_core.presets.schema import VideoPreset
from lipforcing_core.training.latent_files import clips_in, write_clip

_WINDOWS_AT_ONCE = 4
CODEC_FIT_FRAMES = 24
"""First frames of every clip that a codec is fitted on: enough for the statistics of its blocks."""


@dataclass(frozen=True, kw_only=True)
class ClipSource:
    """A curated clip: aligned square video at 25 fps, ``num_frames`` long, and its corrected sound at 16 kHz."""

    clip_id: str
    num_frames: int
    clip_path: Path
    audio_path: Path


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One training batch. ``audio_BND`` has one row per video frame, ``waveform_BS`` is fp32 in [-1, 1]."""

    latents_BCTHW: Tensor
    masked_BCTHW: Tensor
    reference_BC1HW: Tensor
    reference_sequence_BCTHW: Tensor
    audio_BND: Tensor
    waveform_BS: Tensor
    keep_mask_HW: Tensor

    def select(self, samples_B: Tensor) -> Batch:
        """The samples at these indices, or where this mask is true."""
        values = {name: getattr(self, name)[samples_B] for name in _SAMPLE_FIELDS}
        return replace(self, **values)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch on a device."""
        values = {field.name: getattr(self, field.name).to(device) for field in fields(self)}
        return replace(self, **values)

    def silenced(self, samples_B: Tensor) -> Batch:
        """The batch with the audio features of some samples (boolean ``[B]``) replaced by zeros: "no audio"."""
        return replace(self, audio_BND=self.audio_BND.masked_fill(samples_B.view(-1, 1, 1), 0.0))

    def conditions(self, text_BLD: Tensor) -> Conditions:
        """The model's conditions of this batch; a single text row is used for every sample."""
        return Conditions(
            text_BLD=text_BLD.expand(len(self.latents_BCTHW), -1, -1),
            audio_BND=self.audio_BND,
            reference_BC1HW=self.reference_BC1HW,
            keep_mask_HW=self.keep_mask_HW,
            masked_video_BCTHW=self.masked_BCTHW,
            reference_sequence_BCTHW=self.reference_sequence_BCTHW,
        )


def codec_frames(sources: Sequence[ClipSource], video: VideoPreset) -> Iterator[np.ndarray]:
    """What a codec is fitted on: the first frames of every clip, ``[F, size, size, 3]`` uint8, in the order given."""
    return (_read_small(source, video.size, stop=CODEC_FIT_FRAMES) for source in sources)


def encode_clip(
    source: ClipSource, path: Path, *, codec: VideoCodec, audio_encoder: AudioEncoder, video: VideoPreset
) -> int:
    """Write the latent windows of a clip (see ``encode_frames``); ``MediaError`` for an unreadable one."""
    from lipforcing_core.media.decode import read_audio

    return encode_frames(
        _read_small(source, video.size),
        read_audio(source.audio_path),
        path,
        clip_id=source.clip_id,
        codec=codec,
        audio_encoder=audio_encoder,
        video=video,
    )


def encode_frames(
    frames: np.ndarray,
    waveform: np.ndarray,
    path: Path,
    *,
    clip_id: str,
    codec: VideoCodec,
    audio_encoder: AudioEncoder,
    video: VideoPreset,
) -> int:
    """Write the latent windows of a clip to a safetensors file, atomically, and return how many there are.

    They are those of ``media.window_plan``; a file in which references are partial says so.
    ``frames [F, size, size, 3]`` uint8 RGB, ``waveform [S]`` at 16 kHz. Each window is encoded on its own, as at
    inference: its first latent codes one frame. The mouth is blanked to mid-grey by the pixel mask *after*
    scaling to [-1, 1] (A.4). Raises ``BadInputError`` for a clip shorter than one window.
    """
    from lipforcing_core.faces.mask import keep_mask, latent_keep_mask

    if len(frames) < video.window_frames:
        raise BadInputError(
            f"clip {clip_id} has {len(frames)} frames; a training window needs {video.window_frames}"
        )
    plan = plan_windows(
        len(frames), window_frames=video.window_frames, stride_frames=video.window_stride_frames
    )
    starts = [window.target.start for window in plan]
    pixels = to_model_range(frames)[0]
    mask = torch.from_numpy(keep_mask(video.size).astype(np.float32))
    latents, masked = [], []
    for group in _batched(starts, _WINDOWS_AT_ONCE):
        windows = torch.stack([pixels[:, start : start + video.window_frames] for start in group])
        latents.append(codec.encode(windows))
        masked.append(codec.encode(windows * mask))
    waveform = _exact_length(waveform, samples_for_frames(len(frames)))
    tensors = {
        "latents": torch.cat(latents).half().contiguous(),
        "masked_latents": torch.cat(masked).half().contiguous(),
        "audio": torch.from_numpy(audio_encoder.encode(waveform, len(frames))),
        "waveform": torch.from_numpy(waveform),
        "starts": torch.tensor(starts),
        "keep_mask": torch.from_numpy(latent_keep_mask(*latents[0].shape[-2:]).astype(np.float32)),
    }
    with atomic_path(path) as temporary:
        write_clip(
            temporary,
            tensors,
            clip_id=clip_id,
            codec=codec.backend_id,
            audio=audio_encoder.backend_id,
            has_partial_references=any(window.kind is ReferenceKind.PARTIAL for window in plan),
        )
    return len(starts)


_SAMPLE_FIELDS = (
    "latents_BCTHW",
    "masked_BCTHW",
    "reference_BC1HW",
    "reference_sequence_BCTHW",
    "audio_BND",
    "waveform_BS",
)


def windows_key(hashes: Sequence[str], video: VideoPreset) -> str:
    """The key of what is drawn from latent windows: the clips' files, and what of the video settings drawing reads."""
    return content_key(list(hashes), video.window_frames, video.reference)


class LatentWindows:
    """Batches of windows from the files of ``encode_clip``; samples are read from disk when drawn."""

    def __init__(self, paths: Sequence[Path], video: VideoPreset) -> None:
        """paths: files of single clips, or shards of them.

        Raises ``BadInputError`` if there is no file, if one is no file of latent windows, or if clips were encoded by
        different backends.
        """
        if not paths:
            raise BadInputError("there are no training clips: curation accepted none, or none is long enough")
        self._video = video
        self._clips = [clip for path in paths for clip in clips_in(path, video.window_frames)]
        backends = {(clip.about["codec"], clip.about["audio"]) for clip in self._clips}
        if len(backends) > 1:
            raise BadInputError(f"the training clips were encoded by different backends: {sorted(backends)}")
        self.key = windows_key([clip.sha256 for clip in self._clips], video)
        first = self._clips[0]
        with first.stored() as stored:
            self.keep_mask_HW: Tensor = stored.get_tensor(first.name("keep_mask"))
            self.latent_shape: tuple[int, ...] = tuple(
                stored.get_slice(first.name("latents")).get_shape()[1:]
            )
            self.audio_dim: int = stored.get_slice(first.name("audio")).get_shape()[1]

    @property
    def num_windows(self) -> int:
        """How many windows there are in all clips."""
        return sum(len(clip.starts) for clip in self._clips)

    def batch(self, size: int, seed: int, step: int) -> Batch:
        """The batch of a step: ``size`` windows of clips drawn uniformly. Equal arguments give equal batches."""
        rng = np.random.default_rng([seed, step])
        samples = [self._sample(rng) for _ in range(size)]
        stacked = {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}
        return Batch(**stacked, keep_mask_HW=self.keep_mask_HW)

    def _sample(self, rng: np.random.Generator) -> dict[str, Tensor]:
        clip = self._clips[rng.integers(len(self._clips))]
        index = int(rng.integers(len(clip.starts)))
        reference_index = int(rng.integers(len(clip.starts))) if self._video.reference == "random" else index
        start, frames = clip.starts[index], self._video.window_frames
        target, references = clip.plan[index].target, clip.references(index)
        choice = int(rng.integers(max(1, len(references))))
        with clip.stored() as stored:
            latents = stored.get_slice(clip.name("latents"))
            target_CTHW = latents[index].float()
            sequence_CTHW = torch.zeros_like(target_CTHW)
            if references:
                chosen = references[choice]
                sequence_CTHW = latents[clip.starts.index(chosen.start)].float()
                sequence_CTHW[:, hidden_latents(target, chosen)] = 0.0
            return {
                "latents_BCTHW": target_CTHW,
                "masked_BCTHW": stored.get_slice(clip.name("masked_latents"))[index].float(),
                "reference_BC1HW": latents[reference_index][:, :1].float(),
                "reference_sequence_BCTHW": sequence_CTHW,
                "audio_BND": stored.get_slice(clip.name("audio"))[start : start + frames],
                "waveform_BS": stored.get_slice(clip.name("waveform"))[
                    start * SAMPLES_PER_FRAME : (start + frames) * SAMPLES_PER_FRAME
                ],
            }


def _read_small(source: ClipSource, size: int, stop: int | None = None) -> np.ndarray:
    """The clip's frames at the model's size, ``[F, size, size, 3]`` uint8."""
    from lipforcing_core.media.decode import iter_frames

    frames = list(_resized(iter_frames(source.clip_path, 0, stop), size))
    if not frames:
        raise BadInputError(f"clip {source.clip_id} ({source.clip_path}) has no frames")
    return np.stack(frames)


def _resized(frames: Iterator[np.ndarray], size: int) -> Iterator[np.ndarray]:
    import cv2

    for frame in frames:
        same = frame.shape[:2] == (size, size)
        yield frame if same else cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)


def _batched(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Consecutive groups of at most ``size`` items."""
    return (items[start : start + size] for start in range(0, len(items), size))


def _exact_length(waveform: np.ndarray, num_samples: int) -> np.ndarray:
    """Cut or zero-pad to the length of the picture."""
    waveform = waveform[:num_samples].astype(np.float32)
    return np.pad(waveform, (0, num_samples - len(waveform)))
