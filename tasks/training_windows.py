"""What the plan of training windows makes of the clips of a training set, from the lengths in the manifest alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.media.clock import FPS
from lipforcing_core.media.window_plan import ReferenceKind, is_replanned, plan_windows
from lipforcing_core.presets.schema import VideoPreset
from lipforcing_core.training.dataset import ClipSource
from tasks.progress import note


def long_enough(clips: Sequence[ClipSource], video: VideoPreset) -> list[ClipSource]:
    """The clips that hold a window; how many do not is told. Raises ``BadInputError`` where none does."""
    chosen = [clip for clip in clips if clip.num_frames >= video.window_frames]
    wanted = f"a training window of {video.window_frames} frames ({float(video.window_frames / FPS):.2f} s)"
    if clips and not chosen:
        raise BadInputError(f"all {len(clips)} clips are shorter than {wanted}")
    if short := len(clips) - len(chosen):
        note(f"{short} of {len(clips)} clips are left out, since they are shorter than {wanted}")
    return chosen


def any_replanned(clips: Sequence[ClipSource], video: VideoPreset) -> bool:
    """Whether any clip has other windows or references than in the first version of the plan."""
    return any(
        is_replanned(
            clip.num_frames, window_frames=video.window_frames, stride_frames=video.window_stride_frames
        )
        for clip in clips
    )


def count_references(clips: Sequence[ClipSource], video: VideoPreset) -> dict[str, int]:
    """Windows by the kind of their reference: the keys are ``windows_disjoint``, ``windows_partial``, ``windows_none``.

    Clips shorter than a window count for none; encoding refuses them by name.
    """
    counts = Counter(
        window.kind
        for clip in clips
        if clip.num_frames >= video.window_frames
        for window in plan_windows(
            clip.num_frames, window_frames=video.window_frames, stride_frames=video.window_stride_frames
        )
    )
    return {f"windows_{kind.value}": counts[kind] for kind in ReferenceKind}


def references_line(counts: Mapping[str, int]) -> str:
    """The counts of ``count_references`` as one sentence."""
    disjoint, partial, none = (counts[f"windows_{kind.value}"] for kind in ReferenceKind)
    return (
        f"{disjoint + partial + none} training windows: {disjoint} with a disjoint reference, "
        f"{partial} with a partial one, {none} without any"
    )
