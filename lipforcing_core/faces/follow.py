"""Every face of a shot, followed while its frames come, with a place in each frame after a bounded delay.

``track.track_face`` sees a whole shot and then chooses one face. Here nothing is known of the frames to come but the
next few seconds, and nothing is chosen: each face that is seen in three looks becomes a track of its own, and the first
one already in two where a third would come too late. Where both apply they say the same.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from lipforcing_core.faces.align import align_points
from lipforcing_core.faces.detectors.protocol import Face, FaceFilter
from lipforcing_core.faces.pose import pitch_deg, yaw_deg
from lipforcing_core.faces.sightings import (
    MIN_CHAIN_LOOKS,
    FaceState,
    Look,
    Sighting,
    bridged,
    held_frames,
    intersection_over_union,
    link,
    similar_size,
    state_of,
    weight,
)
from lipforcing_core.faces.smooth import BOX_SIZE_SIGMA_FRAMES, POINT_SIGMA_FRAMES, smooth_run

MAX_TRACKS = 3
"""Faces beyond this many of one shot are left out: a clip needs one, and each costs a crop of every frame.

Faces that are too small to be usable (``FaceFilter``) take the place of no other one: people in the background, or
mistakes of the detector, may be all that is seen before the speaker comes.
"""
SIGMAS = 4
"""Where the Gaussian of ``smooth`` ends."""
FAR_FUTURE = 2**40


@dataclass(frozen=True, kw_only=True)
class Placement:
    """Where a face is in one frame.

    matrix_23: from frame pixels to the template crop (``align``). box_4: x0, y0, x1, y1. Where the state is ABSENT the
    matrix is that of the nearest frame in sight that shows the face, and the box is NaN. yaw_deg, pitch_deg: the turn
    of the head (``pose``), in frames that were looked at by a detector with points.
    """

    state: FaceState
    matrix_23: np.ndarray
    box_4: np.ndarray
    yaw_deg: float | None = None
    pitch_deg: float | None = None


@dataclass
class _Track:
    """One face: the chains of sightings that show it, one after the other."""

    chains: list[list[Sighting]] = field(default_factory=list)
    last_matrix_23: np.ndarray | None = None
    last_frame: int = -FAR_FUTURE

    @property
    def sightings(self) -> list[Sighting]:
        return [sighting for chain in self.chains for sighting in chain]

    @property
    def is_small(self) -> bool:
        return _is_small(self.chains[-1])


def _is_small(chain: list[Sighting]) -> bool:
    """Whether a face was nowhere seen as large as a usable one is."""
    return not any(FaceFilter().is_large_enough(sighting.face) for sighting in chain)


class FaceFollower:
    """Follows the faces of one shot that begins at frame ``start``.

    ``look`` takes what a detector finds in the frames that ``wants`` names. ``settle`` gives the places of all frames
    up to one that lies ``delay`` frames before the last look, or to the end of the shot; what it gives does not
    depend on when it is asked. A face that is lost goes on as the same track where one of about the same size is found
    in its place, or, while no other face is in sight, elsewhere; of several that it could be it is none. Elsewhere one
    that is too small to be usable never continues one that is large enough, nor the other way round.
    """

    def __init__(self, start: int, *, stride: int, max_gap_frames: int) -> None:
        self._start, self._stride = start, stride
        self._max_gap = max(max_gap_frames, stride)
        self._settled = start
        self._looks: list[int] = []
        self._chains: list[list[Sighting]] = []
        self._tracks: list[_Track] = []
        self._has_points = False
        self._certain: deque[list[Placement | None]] = deque()

    def wants(self, frame: int) -> bool:
        """Whether this frame is to be looked at; the last frame of a shot is, besides."""
        return (frame - self._start) % self._stride == 0

    @property
    def delay(self) -> int:
        """How many frames after a frame must have been looked at before its place is certain."""
        if self._has_points:
            return round(SIGMAS * POINT_SIGMA_FRAMES) + self._max_gap
        return round(SIGMAS * BOX_SIZE_SIGMA_FRAMES) + 2 * self._max_gap

    def look(self, frame: int, faces: Sequence[Face]) -> None:
        """Take the faces that the detector found in a frame; looks come in order of time."""
        self._has_points = self._has_points or any(face.points is not None for face in faces)
        self._looks.append(frame)
        self._chains += link(self._chains, Look(frame, list(faces)), self._max_gap)
        for chain in self._chains:
            if len(chain) == MIN_CHAIN_LOOKS and chain[-1].frame == frame and not self._is_followed(chain):
                self._follow(chain)
        self._make_certain(frame - self.delay, FAR_FUTURE)

    def _is_followed(self, chain: list[Sighting]) -> bool:
        return any(chain is other for track in self._tracks for other in track.chains)

    def _follow_seldom_seen(self, stop: int) -> None:
        """Before frames that show it become certain, follow a face that was seen twice while nobody else is known.

        Looks may fail for so long between its sightings that the third one comes after more frames than can wait.
        """
        waiting = [
            chain
            for chain in self._chains
            if len(chain) > 1
            and chain[0].frame - self._stride < stop
            and not (self._tracks and _is_small(chain))
            and not self._is_followed(chain)
        ]
        if waiting:
            self._follow(max(waiting, key=weight))

    def _follow(self, chain: list[Sighting]) -> None:
        """Take a chain that has just become long enough as a track, or as what continues one."""
        ended = [t for t in self._tracks if t.chains[-1][-1].frame < chain[0].frame]
        alike = [track for track in ended if similar_size(chain, track.chains[-1])]
        here = [t for t in alike if intersection_over_union(t.chains[-1][-1].face, chain[0].face) > 0]
        if len(here) != 1:
            elsewhere = [track for track in alike if track.is_small == _is_small(chain)]
            here = elsewhere if len(self._tracks) == len(ended) else []
        rivals = [track for track in self._tracks if _is_small(chain) or not track.is_small]
        if len(here) == 1:
            here[0].chains.append(chain)
        elif len(rivals) < MAX_TRACKS:
            self._tracks.append(_Track(chains=[chain]))

    def settle(self, stop: int, *, ended: bool = False) -> list[list[Placement | None]]:
        """For every track the places in the frames from the last settled one to ``stop``, None before it is in sight.

        ended: whether the shot ends at ``stop``; otherwise ``stop`` is at most ``delay`` before the last look.
        """
        if ended:
            self._make_certain(stop, stop)
        frames = [self._certain.popleft() for _ in range(stop - (self._settled - len(self._certain)))]
        return [
            [places[number] if number < len(places) else None for places in frames]
            for number in range(len(self._tracks))
        ]

    def _make_certain(self, stop: int, end: int) -> None:
        """Decide on the frames before ``stop``, with what is known now and not when somebody asks."""
        if stop <= self._settled:
            return
        if all(track.is_small for track in self._tracks):
            self._follow_seldom_seen(stop)
        first, self._settled = self._settled, stop
        rows = [self._places(track, first, stop, end) for track in self._tracks]
        self._certain += [[row[position] for row in rows] for position in range(stop - first)]
        self._forget(stop)

    def _places(self, track: _Track, first: int, stop: int, end: int) -> list[Placement | None]:
        sightings = track.sightings
        missed = sorted(set(self._looks) - {sighting.frame for sighting in sightings})
        found: dict[int, Placement] = {}
        runs = bridged(sightings, self._max_gap)
        for run, held in zip(runs, held_frames(runs, self._start, end, self._stride), strict=True):
            if held[-1] < first or held[0] >= stop + self.delay:
                continue
            boxes_F4, anchors_F32 = smooth_run(run, held)
            matrices_F23 = align_points(anchors_F32)[0]
            seen = [sighting.frame for sighting in run]
            turns = {
                frame: (yaw_deg(face.points), pitch_deg(face.points))
                for frame, face in run
                if first <= frame < stop and face.points is not None
            }
            for row, frame in enumerate(held.tolist()):
                if not first <= frame < stop + self.delay:
                    continue
                yaw, pitch = turns.get(frame, (None, None))
                found[frame] = Placement(
                    state=state_of(frame, seen, missed),
                    matrix_23=matrices_F23[row],
                    box_4=boxes_F4[row],
                    yaw_deg=yaw,
                    pitch_deg=pitch,
                )
        return self._with_absent(track, found, first, stop)

    def _with_absent(
        self, track: _Track, found: dict[int, Placement], first: int, stop: int
    ) -> list[Placement | None]:
        """The places of the frames wanted; frames without the face take the nearest place that is in sight."""
        ahead = sorted(frame for frame in found if frame >= first)
        places: list[Placement | None] = []
        for frame in range(first, stop):
            place = found.get(frame)
            if place is not None:
                track.last_matrix_23, track.last_frame = place.matrix_23, frame
            else:
                coming = next((f for f in ahead if f > frame and f <= frame + self.delay), None)
                nearer = coming is not None and coming - frame < frame - track.last_frame
                matrix_23 = found[coming].matrix_23 if coming is not None and nearer else track.last_matrix_23
                if matrix_23 is not None:
                    nowhere = np.full(4, np.nan)
                    place = Placement(state=FaceState.ABSENT, matrix_23=matrix_23, box_4=nowhere)
            places.append(place)
        return places

    def _forget(self, stop: int) -> None:
        """Drop what no later frame depends on, so that the memory of a long shot stays bounded."""
        oldest = stop - 2 * self.delay - 2 * self._max_gap
        self._looks = [frame for frame in self._looks if frame >= oldest]
        self._chains = [chain for chain in self._chains if chain[-1].frame >= oldest]
        for track in self._tracks:
            for chain in track.chains[:-1]:
                if chain[-1].frame < oldest:
                    track.chains.remove(chain)
            for chain in track.chains:
                early = sum(sighting.frame < oldest for sighting in chain)
                del chain[: max(0, min(early, len(chain) - MIN_CHAIN_LOOKS - 1))]
