"""Puppet clips for the sync expert: mouths cut from aligned crops, with the sound that moved them.

Alignment in use is rougher than the truth: the box cascade frames faces its own way and jitters. Each clip is
therefore aligned by points somewhere between the landmarks and the box, displaced and scaled at random, with a slow
wobble on top.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from lipforcing_core.faces.align import align_points, warp_face
from lipforcing_core.faces.anchors import anchors_from_box
from lipforcing_core.media.clock import SAMPLES_PER_FRAME
from lipforcing_core.puppets.portraits import portrait_names
from lipforcing_core.puppets.rig import FrameTruth, PuppetScript, frame_truths, render
from lipforcing_core.puppets.speech import Utterance, synthesise
from lipforcing_core.sync.experts.nano import MOUTH_REGION

CROP_SIZE = 128
LEAD_FRAMES = 16  # sound before and after the picture, so that it can be shifted
_RENDER_SHARE = 1.5  # rendered frame to crop: a face fills half the frame
_MIN_RENDER_SIZE, _MAX_RENDER_SIZE = 192, 320
_RESAMPLED_SHARE = 0.25  # of the clips, filmed at 30 fps and reduced to 25
_MIX = (-0.15, 1.15)
_SHIFT_SD, _SCALE_SD, _WOBBLE_SD = 0.03, 0.03, 0.01


@dataclass(frozen=True, kw_only=True)
class PuppetClip:
    """Aligned crops [F, S, S, 3] uint8 (or only their mouth regions) and the sound around them.

    ``waveform`` float32 at 16 kHz starts ``LEAD_FRAMES`` frames before the first picture and ends as many after the
    last.
    """

    frames: np.ndarray
    waveform: np.ndarray

    def sound(
        self, *, start_frame: int = 0, num_frames: int | None = None, lead_samples: int = 0
    ) -> np.ndarray:
        """The sound of some frames, ``lead_samples`` ahead of the picture (an offset of ``lead_samples / 640``)."""
        num_frames = len(self.frames) if num_frames is None else num_frames
        start = (LEAD_FRAMES + start_frame) * SAMPLES_PER_FRAME + lead_samples
        return self.waveform[start : start + num_frames * SAMPLES_PER_FRAME]


def puppet_clips(
    seed: int, num_clips: int, num_frames: int, *, size: int = CROP_SIZE, mouths_only: bool = False
) -> Iterator[PuppetClip]:
    """Clips of new voices, words, framings and head motions; portraits take turns. Equal seeds give equal clips.

    ``mouths_only`` keeps ``cut_mouth`` of every crop, at the standard crop size only.
    """
    assert size == CROP_SIZE or not mouths_only
    names = portrait_names()
    for index in range(num_clips):
        clip_seed = int(np.random.SeedSequence([seed, index, 0x5F]).generate_state(1)[0])
        rng = np.random.default_rng([clip_seed, 0xA11])
        frame_rate = Fraction(30) if rng.random() < _RESAMPLED_SHARE else Fraction(25)
        script = PuppetScript.varied(
            portrait=names[index % len(names)],
            seed=clip_seed,
            num_frames=math.ceil(num_frames * frame_rate / 25),
            size=min(max(round(_RENDER_SHARE * size), _MIN_RENDER_SIZE), _MAX_RENDER_SIZE),
            frame_rate=frame_rate,
        )
        utterance = synthesise(clip_seed, (num_frames + 2 * LEAD_FRAMES) / 25)
        cut = cut_mouth if mouths_only else None
        yield _clip(script, utterance, rng, size, cut)


def cut_mouth(crop: np.ndarray) -> np.ndarray:
    """The mouth region of a 128-pixel crop at full size, [56, 80, 3]: whole 8-pixel blocks of the crop's grid."""
    x0, y0, x1, y1 = (round(share * CROP_SIZE) for share in MOUTH_REGION)
    return crop[y0:y1, x0:x1]


def _clip(
    script: PuppetScript,
    utterance: Utterance,
    rng: np.random.Generator,
    size: int,
    cut: Callable[[np.ndarray], np.ndarray] | None,
) -> PuppetClip:
    start_s = LEAD_FRAMES / 25
    kept = _kept_frames(script)
    truths = frame_truths(script, utterance, start_s=start_s)
    matrices_F23, _ = align_points(_rough_points([truths[k] for k in kept], rng))
    filmed = list(render(script, utterance, start_s=start_s))
    crops = (warp_face(filmed[k], matrix, size) for k, matrix in zip(kept, matrices_F23, strict=True))
    frames = np.stack([crop if cut is None else cut(crop) for crop in crops])
    return PuppetClip(frames=frames, waveform=utterance.waveform)


def _kept_frames(script: PuppetScript) -> list[int]:
    """The filmed frame nearest to each instant of the 25 fps clock."""
    num_frames = int(script.num_frames * 25 / script.frame_rate)
    return [min(round(k * script.frame_rate / 25), script.num_frames - 1) for k in range(num_frames)]


def _rough_points(truths: list[FrameTruth], rng: np.random.Generator) -> np.ndarray:
    """Left brow, right brow and nose [F, 3, 2] as a detector might place them."""
    marks_F32 = np.array([[t.landmarks[n] for n in ("left_brow", "right_brow", "nose")] for t in truths])
    boxes_F4 = np.array([t.face_box for t in truths])
    mix = rng.uniform(*_MIX)
    points_F32 = (1 - mix) * marks_F32 + mix * anchors_from_box(boxes_F4)
    side_F = boxes_F4[:, 2] - boxes_F4[:, 0]
    centre_F12 = points_F32.mean(axis=1, keepdims=True)
    scale_F = 1 + rng.normal(0, _SCALE_SD) + _wobble(len(truths), 1, rng)[:, 0]
    shift_F2 = (rng.normal(0, _SHIFT_SD, 2) + _wobble(len(truths), 2, rng)) * side_F[:, None]
    rough_F32: np.ndarray = (
        centre_F12 + (points_F32 - centre_F12) * scale_F[:, None, None] + shift_F2[:, None]
    )
    return rough_F32


def _wobble(num_frames: int, width: int, rng: np.random.Generator) -> np.ndarray:
    """Random displacements of looks five frames apart, linear in between: [F, width]."""
    looks = rng.normal(0, _WOBBLE_SD, (num_frames // 5 + 2, width))
    at = np.arange(num_frames) / 5
    return np.stack([np.interp(at, np.arange(len(looks)), looks[:, k]) for k in range(width)], axis=1)
