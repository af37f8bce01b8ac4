"""Find the cuts of a video."""

from __future__ import annotations

import logging
from itertools import pairwise
from pathlib import Path

from lipforcing_core.media.decode import decoder_errors, presentation_times

ADAPTIVE_THRESHOLD = 2.0
MIN_CONTENT_CHANGE = 15.0
MIN_SHOT_FRAMES = 12


def detect_shots(
    path: Path | str,
    *,
    threshold: float = ADAPTIVE_THRESHOLD,
    min_content_change: float = MIN_CONTENT_CHANGE,
    min_shot_frames: int = MIN_SHOT_FRAMES,
) -> list[tuple[int, int]]:
    """Shots of a constant-rate video as half-open frame ranges that cover it from 0 to its end.

    PySceneDetect's adaptive detector: a frame is a cut where its change against the frame before is
    ``threshold`` times that of its neighbours and at least ``min_content_change`` (0 to 255). Cuts closer
    than ``min_shot_frames`` are one. A video without a cut is one shot. Raises MediaError.
    """
    from scenedetect import AdaptiveDetector, SceneManager, open_video
    from scenedetect.video_stream import VideoOpenFailure

    logging.getLogger("pyscenedetect").setLevel(logging.WARNING)
    num_frames = len(presentation_times(path))
    manager = SceneManager()
    manager.add_detector(
        AdaptiveDetector(
            adaptive_threshold=threshold,
            min_content_val=min_content_change,
            min_scene_len=min_shot_frames,
        )
    )
    with decoder_errors(path):
        try:
            manager.detect_scenes(
                open_video(str(path), backend="pyav", suppress_output=True), show_progress=False
            )
        except VideoOpenFailure as error:
            raise OSError(str(error)) from error
    starts = {start.frame_num for start, _ in manager.get_scene_list()}
    edges = [0, *sorted(frame for frame in starts if 0 < frame < num_frames), num_frames]
    return list(pairwise(edges))
