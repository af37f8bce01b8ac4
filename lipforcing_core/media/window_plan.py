"""Which stretches of a clip a model is trained to draw, and which stretches it may be shown as reference meanwhile.

A training window is ``4T - 3`` frames long and is encoded on its own, so that its first latent codes one frame and
each later one four. It may therefore start at any frame of the clip.

Targets are the windows of the grid 0, stride, 2 stride, ... and a last one that is flush with the end of the clip, so
that every frame is in a target. A dense grid, whose stride is at most half a window, stays as it is: it leaves out
fewer frames than its stride at the end, and what was trained on such windows stays right.

References are targets too, since the first and the last of them are the farthest that a clip has from any other. They
must not show the mouth that the model is to draw:

* ``disjoint``: windows that share no frame with the target. Any of them will do.
* ``partial``: no window of the clip is disjoint. The farthest one is taken, which shares the fewest frames, and its
  latents that show a frame of the target are hidden (zeros, as for a lacking reference). It shares at most
  ``window - 12`` frames, so that it shows at least 3 latents, one chunk of the published student. A codec that looks
  back in time, as Wan's does, may leave a trace of the frames before in the first latents that are shown.
* ``none``: even the farthest window shares more; the whole reference is zeros.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.clock import FRAMES_PER_LATENT, latents_for_frames
from lipforcing_core.media.segments import Segment

PLAN_VERSION = 2
"""Version of the plan, for the keys of work on clips of which ``is_replanned`` is true."""
PUBLISHED_WINDOW_FRAMES = 81
"""Length and stride of the training windows of the published models."""
MIN_SHOWN_FRAMES = 3 * FRAMES_PER_LATENT
"""What a partial reference shows of the clip outside the target, at least."""


class ReferenceKind(StrEnum):
    """How much a reference shows, from the best to the worst."""

    DISJOINT = "disjoint"
    PARTIAL = "partial"
    NONE = "none"


@dataclass(frozen=True, kw_only=True)
class PlannedWindow:
    """A target with the references that it may be given, in the order of time; they are empty for ``none``."""

    target: Segment
    references: tuple[Segment, ...]
    kind: ReferenceKind


def plan_windows(num_frames: int, *, window_frames: int, stride_frames: int) -> tuple[PlannedWindow, ...]:
    """The training windows of a clip of ``num_frames``, in the order of time. The result depends on nothing else.

    A stride of more than a window leaves the frames between its windows out, as it says.
    Raises ``BadInputError`` for a clip shorter than a window, and for a window that is not whole latents.
    """
    starts = _starts(num_frames, window_frames, stride_frames)
    return with_references(starts, window_frames)


def with_references(starts: Sequence[int], window_frames: int) -> tuple[PlannedWindow, ...]:
    """Windows that begin at these frames of one clip, in the order given, each with its references among the others."""
    windows = [Segment(start, start + window_frames) for start in starts]
    return tuple(_with_references(target, windows) for target in windows)


def grid_starts(num_frames: int, *, window_frames: int, stride_frames: int) -> list[int]:
    """Where the windows of the grid alone begin; empty for a clip shorter than a window."""
    return list(range(0, num_frames - window_frames + 1, stride_frames))


def is_replanned(num_frames: int, *, window_frames: int, stride_frames: int) -> bool:
    """Whether a clip has other windows or references than in the first version.

    That took the grid alone, and had no partial references. Keys of finished work depend on it. False for a clip
    shorter than a window, which has no windows at all.
    """
    before = grid_starts(num_frames, window_frames=window_frames, stride_frames=stride_frames)
    if not before:
        return False
    plan = plan_windows(num_frames, window_frames=window_frames, stride_frames=stride_frames)
    return [row.target.start for row in plan] != before or any(
        row.kind is ReferenceKind.PARTIAL for row in plan
    )


def reference_kind(
    num_frames: int,
    *,
    window_frames: int = PUBLISHED_WINDOW_FRAMES,
    stride_frames: int = PUBLISHED_WINDOW_FRAMES,
) -> ReferenceKind:
    """The kind of the worst reference among the targets of a clip; ``none`` for a clip shorter than a window."""
    if num_frames < window_frames:
        return ReferenceKind.NONE
    plan = plan_windows(num_frames, window_frames=window_frames, stride_frames=stride_frames)
    return max((row.kind for row in plan), key=list(ReferenceKind).index)


def hidden_latents(target: Segment, reference: Segment) -> slice:
    """The latents of a reference window that show a frame of the target; an empty slice if none does."""
    first = max(target.start, reference.start) - reference.start
    stop = min(target.stop, reference.stop) - reference.start
    if stop <= first:
        return slice(0, 0)
    return slice(latents_for_frames(first + 1) - 1, latents_for_frames(stop))


def _starts(num_frames: int, window_frames: int, stride_frames: int) -> list[int]:
    if stride_frames < 1 or window_frames < 1 or window_frames % FRAMES_PER_LATENT != 1:
        raise BadInputError(
            f"training windows of {window_frames} frames every {stride_frames} frames are impossible; "
            "a window is 4T - 3 frames long (9, 33, 81, ...), and the stride at least one frame"
        )
    last = num_frames - window_frames
    if last < 0:
        raise BadInputError(f"a clip of {num_frames} frames holds no training window of {window_frames}")
    starts = grid_starts(num_frames, window_frames=window_frames, stride_frames=stride_frames)
    is_dense = 2 * stride_frames <= window_frames
    return starts if is_dense or starts[-1] == last else [*starts, last]


def _with_references(target: Segment, windows: Sequence[Segment]) -> PlannedWindow:
    shifts = [abs(window.start - target.start) for window in windows]
    farthest = max(shifts)
    if farthest >= target.num_frames:
        kind, least = ReferenceKind.DISJOINT, target.num_frames
    elif farthest >= MIN_SHOWN_FRAMES:
        kind, least = ReferenceKind.PARTIAL, farthest
    else:
        return PlannedWindow(target=target, references=(), kind=ReferenceKind.NONE)
    references = tuple(window for window, shift in zip(windows, shifts, strict=True) if shift >= least)
    return PlannedWindow(target=target, references=references, kind=kind)
