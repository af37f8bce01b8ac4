"""How much the points of faces shake before and after smoothing: ``python -m benchmarks.jitter CLIP...``.

For each clip it prints the root mean square of the second difference of brows and nose in pixels of the crop of 512
(``lipforcing_core.faces.jitter``): as the detector gives them frame by frame, at the stride of detection with straight
lines between, and smoothed. Real faces move, so even a perfect detector would not be at zero.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

import torch

from benchmarks.timing import machine, positive, progress, publish
from lipforcing_core.base.errors import LipForcingError
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.faces.detectors.catalogue import DETECTORS, load_detector
from lipforcing_core.faces.jitter import Jitter, jitter_of
from lipforcing_core.faces.second_look import faces_in
from lipforcing_core.media.decode import iter_frames


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, measure, print, and write the result file."""
    given = _parser().parse_args(arguments)
    stride = CurationSettings().detect_stride if given.stride is None else given.stride
    clips: dict[str, dict[str, float] | str] = {}
    try:
        detector = load_detector(given.detector, given.detector_model)
        for clip in given.clip:
            progress(str(clip))
            frames = islice(iter_frames(clip), given.frames)
            try:
                clips[str(clip)] = asdict(
                    jitter_of([faces_in(frame, detector) for frame in frames], stride=stride)
                )
            except LipForcingError as error:
                clips[str(clip)] = str(error)
    except LipForcingError as error:
        raise SystemExit(f"error: {error}") from error
    result = machine(torch.device("cpu")) | {
        "detector": detector.backend_id,
        "stride": stride,
        "clips": clips,
    }
    print(report(clips, detector.backend_id, stride))
    publish(result, f"jitter_{given.detector}", given.output)


def report(clips: dict[str, dict[str, float] | str], backend: str, stride: int) -> str:
    """A line for each clip."""
    lines = [
        f"{backend}, a look every {stride} frames; pixels of the 512 crop",
        "every frame     raw  smoothed  clip",
    ]
    for name, measured in clips.items():
        if isinstance(measured, str):
            lines.append(f"{'':11} {'':>7} {'':>9}  {name}: {measured}")
        else:
            jitter = Jitter(**measured)
            lines.append(f"{jitter.every_frame:11.2f} {jitter.raw:7.2f} {jitter.smoothed:9.2f}  {name}")
    return "\n".join(lines)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.ArgumentDefaultsHelpFormatter
    )
    parser.add_argument("clip", type=Path, nargs="+", help="videos of one shot each, at their own frame rate")
    parser.add_argument(
        "--detector", choices=DETECTORS.names, default=DETECTORS.default, help="face detector"
    )
    parser.add_argument("--detector-model", type=Path, help="model file of the detector")
    parser.add_argument("--stride", type=positive, help="frames from look to look; default: that of curation")
    parser.add_argument("--frames", type=positive, default=250, help="most frames of each clip")
    parser.add_argument(
        "--output", type=Path, default=Path("benchmarks/results"), help="folder for the result file"
    )
    return parser


if __name__ == "__main__":
    main()
