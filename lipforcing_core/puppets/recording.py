"""From a plan to a finished clip: shots one after the other, one sound track, a container, a truth file."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key
from lipforcing_core.media.clock import SAMPLE_RATE
from lipforcing_core.media.encode import VideoWriter, mux, write_wav
from lipforcing_core.puppets.backdrop import moving_texture
from lipforcing_core.puppets.packaging import Packaging, package
from lipforcing_core.puppets.rig import FrameTruth, PuppetScript, frame_truths, render
from lipforcing_core.puppets.speech import TimedPhoneme, Utterance, synthesise
from lipforcing_core.puppets.truth import (
    ClipTruth,
    CutTruth,
    FrameColumns,
    Outcome,
    ShotTruth,
    read_truth,
    truth_path,
    write_truth,
)

RENDER_VERSION = 2
"""Part of every recipe; raised when the same plan gives other frames or samples."""
MAX_OFFSET_FRAMES = 10
CLIP_CRF = 16
MARK = {"comment": "synthetic: animated portrait with synthesised speech"}

_MARGIN_S = 0.5
_OFFSET_RATE = 25


@dataclass(frozen=True, kw_only=True)
class Shot:
    """One shot: its picture and the seed of its speech."""

    script: PuppetScript
    speech_seed: int


@dataclass(frozen=True, kw_only=True)
class ClipPlan:
    """Everything that decides what a clip contains. All shots share size and frame rate."""

    kind: str
    seed: int
    shots: tuple[Shot, ...]
    sample_rate: int | None = SAMPLE_RATE
    """Of the sound in the file; None leaves it out."""
    av_offset_frames: int = 0
    """Frames of 1/25 s by which the sound comes too early (positive) or too late (negative)."""
    silent: bool = False
    blur_sigma: float = 0.0
    """Gaussian blur in pixels."""
    faceless: bool = False
    packaging: Packaging = Packaging.PLAIN
    defects: tuple[str, ...] = ()
    expected_outcome: Outcome = Outcome.ACCEPT
    expected_reason: str | None = None

    def __post_init__(self) -> None:
        if not self.shots:
            raise ValueError("a clip needs at least one shot")
        if len({(shot.script.size, shot.script.frame_rate) for shot in self.shots}) > 1:
            raise ValueError("the shots of a clip must share size and frame rate")
        if abs(self.av_offset_frames) > MAX_OFFSET_FRAMES:
            raise ValueError(f"av_offset_frames is {self.av_offset_frames}, limit {MAX_OFFSET_FRAMES}")

    @property
    def size(self) -> int:
        """Width and height in pixels as drawn."""
        return self.shots[0].script.size

    @property
    def frame_rate(self) -> Fraction:
        """Frames a second."""
        return self.shots[0].script.frame_rate

    @property
    def num_frames(self) -> int:
        """Frames of all shots as drawn."""
        return sum(shot.script.num_frames for shot in self.shots)

    @property
    def recipe(self) -> str:
        """Key of everything that decides the content."""
        return content_key("puppet-clip", RENDER_VERSION, self)


def render_clip(path: Path | str, plan: ClipPlan) -> ClipTruth:
    """Write the clip of a plan to ``path`` (``.mp4``) and its truth beside it; returns the truth.

    The truth is written last. A clip whose truth names the same recipe is finished and not drawn again.
    """
    path = Path(path)
    if (finished := _finished(path, plan)) is not None:
        return finished
    recording = Recording(plan)
    with tempfile.TemporaryDirectory(prefix=".puppet-", suffix=".tmp", dir=_made(path.parent)) as folder:
        picture = Path(folder) / "picture.mp4"
        with VideoWriter(
            picture,
            width=plan.size,
            height=plan.size,
            crf=CLIP_CRF,
            frame_rate=plan.frame_rate,
            metadata=MARK,
        ) as writer:
            for frame in recording.frames():
                writer.write(plan.packaging.turn(frame))
        clip = picture
        if plan.sample_rate is not None:
            sound = Path(folder) / "sound.wav"
            write_wav(sound, recording.waveform(), plan.sample_rate)
            clip = Path(folder) / "clip.mp4"
            mux(picture, sound, clip, metadata=MARK)
        package(clip, path, plan.packaging)
    truth = recording.truth(path.name)
    write_truth(path, truth)
    return truth


class Recording:
    """The content of a plan: frames, sound and truth."""

    def __init__(self, plan: ClipPlan) -> None:
        self.plan = plan

    def frames(self) -> Iterator[np.ndarray]:
        """All frames as drawn, uint8 [size, size, 3] RGB."""
        plan = self.plan
        for index, shot in enumerate(plan.shots):
            if plan.faceless:
                source = moving_texture(shot.script.seed, plan.size, shot.script.num_frames)
            else:
                source = render(shot.script, self._utterances[index], start_s=self._lead_s(index))
            for frame in source:
                if plan.blur_sigma:
                    yield cv2.GaussianBlur(frame, (0, 0), plan.blur_sigma)
                else:
                    yield frame

    def waveform(self) -> np.ndarray:
        """The sound track at ``plan.sample_rate``, float32 [S], shifted by the injected offset."""
        plan = self.plan
        if plan.sample_rate is None:
            raise ValueError("this plan has no sound")
        num_samples = round(plan.num_frames / plan.frame_rate * SAMPLE_RATE)
        if plan.silent:
            speech = np.zeros(num_samples, dtype=np.float32)
        else:
            track = np.concatenate([utterance.waveform for utterance in self._utterances])
            start = round(self._sound_start_s * SAMPLE_RATE)
            speech = track[start : start + num_samples]
        return _resampled(speech, plan.sample_rate)

    def truth(self, name: str) -> ClipTruth:
        """What is known about the clip, under the file name it gets."""
        plan = self.plan
        kept = plan.packaging.kept_frames(plan.num_frames)
        times_s = [float(index / plan.frame_rate) for index in kept]
        frames = None if plan.faceless else FrameColumns.of(self._frame_truths(kept), times_s)
        width, height = plan.packaging.picture_size(plan.size)
        return ClipTruth(
            name=name,
            kind=plan.kind,
            recipe=plan.recipe,
            seed=plan.seed,
            width_px=width,
            height_px=height,
            frame_rate=plan.frame_rate,
            num_frames=len(kept),
            duration_s=float(plan.num_frames / plan.frame_rate),
            sample_rate=plan.sample_rate,
            av_offset_frames=plan.av_offset_frames,
            defects=list(plan.defects),
            expected_outcome=plan.expected_outcome,
            expected_reason=plan.expected_reason,
            cuts=self._cuts(),
            shots=self._shots(),
            phonemes=[] if plan.silent or plan.sample_rate is None else self._phonemes(),
            frames=frames,
        )

    @cached_property
    def _utterances(self) -> list[Utterance]:
        """One per shot; the first starts early and the last ends late, so that a shift finds speech there."""
        last = len(self.plan.shots) - 1
        return [
            synthesise(
                shot.speech_seed,
                float(shot.script.num_frames / shot.script.frame_rate)
                + _MARGIN_S * (index == 0)
                + _MARGIN_S * (index == last),
            )
            for index, shot in enumerate(self.plan.shots)
        ]

    @property
    def _sound_start_s(self) -> float:
        return _MARGIN_S + self.plan.av_offset_frames / _OFFSET_RATE

    @staticmethod
    def _lead_s(index: int) -> float:
        return _MARGIN_S if index == 0 else 0.0

    def _starts(self) -> list[int]:
        counts = [shot.script.num_frames for shot in self.plan.shots]
        return [sum(counts[:index]) for index in range(len(counts))]

    def _cuts(self) -> list[CutTruth]:
        rate = self.plan.frame_rate
        return [
            CutTruth(
                frame=start,
                frame_25=round(start / rate * _OFFSET_RATE),
                time_s=round(float(start / rate), 6),
            )
            for start in self._starts()[1:]
        ]

    def _shots(self) -> list[ShotTruth]:
        return [
            ShotTruth(
                portrait=None if self.plan.faceless else shot.script.portrait,
                seed=shot.script.seed,
                speech_seed=shot.speech_seed,
                start_frame=start,
                stop_frame=start + shot.script.num_frames,
                mirror=shot.script.mirror,
            )
            for shot, start in zip(self.plan.shots, self._starts(), strict=True)
        ]

    def _phonemes(self) -> list[TimedPhoneme]:
        duration_s = float(self.plan.num_frames / self.plan.frame_rate)
        found: list[TimedPhoneme] = []
        begin_s = -self._sound_start_s
        for utterance in self._utterances:
            for symbol, start_s, stop_s in utterance.phonemes:
                start, stop = max(0.0, begin_s + start_s), min(duration_s, begin_s + stop_s)
                if stop > start:
                    found.append((symbol, round(start, 4), round(stop, 4)))
            begin_s += utterance.duration_s
        return found

    def _frame_truths(self, kept: list[int]) -> list[FrameTruth]:
        everything: list[FrameTruth] = []
        for index, shot in enumerate(self.plan.shots):
            everything += frame_truths(shot.script, self._utterances[index], start_s=self._lead_s(index))
        return [everything[index] for index in kept]


def _finished(path: Path, plan: ClipPlan) -> ClipTruth | None:
    if not (path.is_file() and truth_path(path).is_file()):
        return None
    try:
        truth = read_truth(path)
    except BadInputError:  # of another version, or damaged: drawn again
        return None
    return truth if truth.recipe == plan.recipe else None


def _resampled(speech: np.ndarray, sample_rate: int) -> np.ndarray:
    if sample_rate == SAMPLE_RATE:
        return speech
    from scipy.signal import resample_poly

    ratio = Fraction(sample_rate, SAMPLE_RATE)
    resampled: np.ndarray = resample_poly(speech, ratio.numerator, ratio.denominator).astype(np.float32)
    return resampled


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
