"""Sightings of faces: linked from look to look, bridged over gaps, and what they say of the frames between."""

from __future__ import annotations

import itertools
from bisect import bisect_left
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from lipforcing_core.faces.detectors.protocol import Face

MIN_LINK_IOU = 0.3
MIN_CHAIN_LOOKS = 3
"""What is seen in fewer looks than this is taken for a mistake of the detector where there is another face."""
MIN_RELATIVE_SIDE = 0.5


class FaceState(StrEnum):
    """What is known of the face in one frame."""

    DETECTED = "detected"  # seen here, or by the look before and the look after
    INTERPOLATED = "interpolated"  # in a short gap where a look found nothing, or just outside all sightings
    ABSENT = "absent"  # no face, or a gap too long to bridge: pass the frame through


def intersection_over_union(a: Face, b: Face) -> float:
    """Overlap of two boxes, 0 to 1."""
    width = min(a.box_xyxy[2], b.box_xyxy[2]) - max(a.box_xyxy[0], b.box_xyxy[0])
    height = min(a.box_xyxy[3], b.box_xyxy[3]) - max(a.box_xyxy[1], b.box_xyxy[1])
    shared = max(0.0, width) * max(0.0, height)
    return shared / (a.area + b.area - shared)


class Look(NamedTuple):
    """What the detector found in one frame."""

    frame: int
    faces: list[Face]


class Sighting(NamedTuple):
    """One face in one frame."""

    frame: int
    face: Face


def link(chains: list[list[Sighting]], look: Look, max_gap: int) -> list[list[Sighting]]:
    """Append the faces of a look to the chains that they continue; returns the chains that begin with it.

    The heaviest chain so far chooses first, so a second box on the same face cannot take over its chain.
    """
    left = list(look.faces)
    open_chains = [chain for chain in chains if look.frame - chain[-1].frame <= max_gap]
    for chain in sorted(open_chains, key=weight, reverse=True):
        overlaps = [intersection_over_union(chain[-1].face, face) for face in left]
        if overlaps and max(overlaps) >= MIN_LINK_IOU:
            chain.append(Sighting(look.frame, left.pop(overlaps.index(max(overlaps)))))
    return [[Sighting(look.frame, face)] for face in left]


def bridged(sightings: list[Sighting], max_gap: int) -> list[list[Sighting]]:
    """Sightings cut into runs wherever looks failed for too long, or two neighbours do not overlap at all."""
    runs: list[list[Sighting]] = []
    for sighting in sightings:
        if runs:
            before = runs[-1][-1]
            near = sighting.frame - before.frame <= max_gap
            if near and intersection_over_union(before.face, sighting.face) > 0:
                runs[-1].append(sighting)
                continue
        runs.append([sighting])
    return runs


def held_frames(runs: list[list[Sighting]], start: int, stop: int, stride: int) -> list[np.ndarray]:
    """The frames of every run, with up to one stride at both ends; between two runs the nearer one holds."""
    edges = [start - 1, *itertools.chain(*((run[0].frame, run[-1].frame) for run in runs)), stop]
    held = []
    for number, run in enumerate(runs):
        before, after = edges[2 * number], edges[2 * number + 3]
        low = run[0].frame - min(stride, _share(run[0].frame - before - 1, alone=number == 0))
        high = run[-1].frame + min(stride, _share(after - run[-1].frame - 1, alone=number + 1 == len(runs)))
        held.append(np.arange(low, high + 1))
    return held


def _share(gap: int, *, alone: bool) -> int:
    """How much of a gap one run may take: all of it at the edge of the shot, half of it between two runs."""
    return gap if alone else gap // 2


def weight(chain: list[Sighting]) -> float:
    """How much of a face a chain is: the sum of its sizes, each times the certainty of the detector."""
    total: float = sum(sighting.face.score * sighting.face.area**0.5 for sighting in chain)
    return total


def similar_size(a: list[Sighting], b: list[Sighting]) -> bool:
    """Whether two chains may show the same face at different times."""
    return MIN_RELATIVE_SIDE <= _median_side(a) / _median_side(b) <= 1 / MIN_RELATIVE_SIDE


def _median_side(chain: list[Sighting]) -> float:
    return float(np.median([sighting.face.area**0.5 for sighting in chain]))


def state_of(frame: int, seen: list[int], missed: list[int]) -> FaceState:
    """DETECTED where no look failed between the sightings on either side of the frame."""
    position = bisect_left(seen, frame)
    if position < len(seen) and seen[position] == frame:
        return FaceState.DETECTED
    if position in (0, len(seen)):
        return FaceState.INTERPOLATED
    failed = any(seen[position - 1] < look < seen[position] for look in missed)
    return FaceState.INTERPOLATED if failed else FaceState.DETECTED
