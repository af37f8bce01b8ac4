"""LatentSync's recipe for training data, as a pipeline that copies directories: what curation is compared with.

Every step reads the files of the step before and writes a folder of its own: resample, cut into scenes, cut into
pieces of five seconds, align, correct the sync, rate. The commands and their options are those of the reference
(bytedance/LatentSync, commit a229c39); detector, sync expert and quality scorer are those that curation is given.
"""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.steps import QUALITY_FRAME_SIZE, SYNC_FRAME_SIZE, small_frames
from lipforcing_core.faces.align import align_points, warp_face_latentsync
from lipforcing_core.faces.anchors import anchors_of
from lipforcing_core.media.clock import FPS, SAMPLE_RATE
from lipforcing_core.media.decode import opened_video, presentation_times, read_audio
from lipforcing_core.quality.protocol import sampled_indices

SCENE_THRESHOLD = 2.0
PIECE_S = 5
CLIP_SIZE = 512
CLIP_CRF = 13
MIN_FRAMES = 32
"""Shorter pieces give no score, neither here nor in the reference."""

CLIPS = "rated"
"""The folder of the last step, which holds the products."""


@dataclass
class Recipe:
    """One run over one source. ``copies_25fps`` copies the picture of a source of 25 fps, as the reference does.

    source_frames, clip_frames: frames decoded of the size of the source and of the size of a clip.
    """

    folder: Path
    backends: CurationBackends
    copies_25fps: bool = False
    source_frames: int = 0
    clip_frames: int = 0
    clips: list[Path] = field(default_factory=list)

    def run(self, source: Path) -> list[Path]:
        """The finished clips of a source."""
        resampled = self._resample(source)
        for scene in self._scenes(resampled):
            for piece in self._pieces(scene):
                self._curate(piece)
        return self.clips

    def _below(self, step: str) -> Path:
        folder = self.folder / step
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _resample(self, source: Path) -> Path:
        resampled = self._below("resampled") / f"{source.stem}.mp4"
        with opened_video(source) as (_, stream):
            is_25fps = stream.average_rate == FPS
        if is_25fps and self.copies_25fps:
            ffmpeg("-i", source, "-c:v", "copy", "-ar", SAMPLE_RATE, "-q:a", 0, resampled)
        else:
            ffmpeg("-i", source, "-r", int(FPS), "-ar", SAMPLE_RATE, "-q:a", 0, resampled)
            self.source_frames += len(presentation_times(source))
        return resampled

    def _scenes(self, video: Path) -> list[Path]:
        from scenedetect import AdaptiveDetector, detect, split_video_ffmpeg

        found = detect(str(video), AdaptiveDetector(adaptive_threshold=SCENE_THRESHOLD), start_in_scene=True)
        folder = self._below("scenes")
        if split_video_ffmpeg(str(video), found, output_dir=folder) != 0:
            raise RuntimeError(f"the scenes of {video} could not be cut")
        scenes = sorted(folder.glob("*.mp4"))
        self.source_frames += len(presentation_times(video))
        self.source_frames += sum(len(presentation_times(scene)) for scene in scenes)
        return scenes

    def _pieces(self, scene: Path) -> list[Path]:
        folder = self._below("pieces")
        out = folder / f"{scene.stem}_%03d.mp4"
        cut = ("-segment_time", PIECE_S, "-f", "segment", "-reset_timestamps", 1)
        ffmpeg("-i", scene, "-map", 0, "-c:v", "copy", *cut, "-q:a", 0, out)
        return sorted(folder.glob(f"{scene.stem}_*.mp4"))

    def _curate(self, piece: Path) -> None:
        aligned = self._align(piece)
        if aligned is None:
            return
        synced = self._synchronise(aligned)
        rated = self._below(CLIPS) / piece.name
        self.backends.quality.score(self._sampled(synced))
        rated.write_bytes(synced.read_bytes())
        self.clips.append(rated)

    def _sampled(self, clip: Path) -> np.ndarray:
        wanted = set(sampled_indices(len(presentation_times(clip))))
        sampled = []
        with opened_video(clip) as (container, stream):
            for index, frame in enumerate(container.decode(stream)):
                self.clip_frames += 1
                if index in wanted:
                    sampled.append(_reduced(frame.to_ndarray(format="rgb24"), QUALITY_FRAME_SIZE))
        return np.stack(sampled)

    def _align(self, piece: Path) -> Path | None:
        """The aligned clip with its sound; None where a frame shows no face, or there are too few."""
        frames = _all_frames(piece)
        self.source_frames += len(frames)
        anchors = []
        for frame in frames:
            faces = self.backends.detector.detect(frame)
            if not faces:
                return None
            anchors.append(anchors_of(faces[0]))
        if len(frames) < MIN_FRAMES:
            return None
        matrices_F23, _ = align_points(np.stack(anchors))
        crops = [warp_face_latentsync(f, matrix) for f, matrix in zip(frames, matrices_F23, strict=True)]
        temporary, aligned = self._below("temporary"), self._below("aligned") / piece.name
        picture, sound = temporary / piece.name, temporary / f"{piece.stem}.wav"
        _write(picture, crops)
        ffmpeg("-i", piece, "-ar", SAMPLE_RATE, "-q:a", 0, "-map", "a", sound)
        ffmpeg("-i", picture, "-i", sound, "-c:v", "libx264", "-c:a", "aac", "-q:v", 0, "-q:a", 0, aligned)
        self.clip_frames += len(crops)
        return aligned

    def _synchronise(self, aligned: Path) -> Path:
        frames_FHW3 = small_frames(aligned, SYNC_FRAME_SIZE)
        self.clip_frames += len(frames_FHW3)
        offset = self.backends.sync_expert.score(frames_FHW3, read_audio(aligned)).offset_frames
        synced = self._below("synced") / aligned.name
        shifted = ("-itsoffset", f"{float(offset / FPS):g}", "-i", aligned)
        ffmpeg("-i", aligned, *shifted, "-map", "0:v", "-map", "1:a", "-c", "copy", synced)
        return synced


def ffmpeg(*arguments: object) -> None:
    """Run ffmpeg with these arguments as they are typed; raises ``RuntimeError`` with its message where it fails."""
    from imageio_ffmpeg import get_ffmpeg_exe

    command = [get_ffmpeg_exe(), "-loglevel", "error", "-nostdin", "-y", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"ffmpeg failed: {done.stderr.strip()}")


def _all_frames(path: Path) -> list[np.ndarray]:
    """All frames at once, as the reference holds them; converted in the scaler's quickest way."""
    with opened_video(path) as (container, stream):
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]


def _write(path: Path, crops: list[np.ndarray]) -> None:
    from imageio_ffmpeg import write_frames

    writer: Any = write_frames(
        str(path),
        (CLIP_SIZE, CLIP_SIZE),
        fps=int(FPS),
        codec="libx264",
        quality=None,
        macro_block_size=1,
        output_params=["-crf", str(CLIP_CRF)],
    )
    writer.send(None)
    for crop in crops:
        writer.send(np.ascontiguousarray(crop))
    writer.close()


def _reduced(frame: np.ndarray, size: int) -> np.ndarray:
    import cv2

    reduced: np.ndarray = cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA)
    return reduced
