"""Sync-C, Sync-D and the audio-visual offset of a clip, as one sync expert hears and sees it (method F.6).

Sync-C does not see a constant offset (the minimum is taken over all), so the offset always stands beside it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lipforcing_core.metrics.backends import Backend
from lipforcing_core.metrics.measures.given_speech import driven_by_unrelated, speech_given
from lipforcing_core.metrics.measures.protocol import ClipMeasure, Direction

if TYPE_CHECKING:
    from lipforcing_core.metrics.networks.protocol import SyncResult
    from lipforcing_core.metrics.scored import ScoredClip

MIN_FRAMES = 6  # a window of five frames, and one that the reference implementation leaves out (method F.6)


def _against_driving_speech(clip: ScoredClip) -> SyncResult:
    return clip.backends.sync.score(clip.frames, clip.truth.speech)


SYNC_C = ClipMeasure(
    name="sync_c",
    label="Sync-C",
    direction=Direction.HIGHER,
    backend=Backend.SYNC_EXPERT,
    published_name="Sync-C",
    min_frames=MIN_FRAMES,
    summary="Confidence of the sync expert that lips and the driving speech belong together: median minus minimum "
    "distance over offsets of up to 15 frames. Blind to a constant offset.",
    compute=lambda clip: clip.once(_against_driving_speech).confidence,
)

SYNC_D = ClipMeasure(
    name="sync_d",
    label="Sync-D",
    direction=Direction.LOWER,
    backend=Backend.SYNC_EXPERT,
    published_name="Sync-D",
    min_frames=MIN_FRAMES,
    summary="Smallest mean distance between lip and sound embeddings over offsets of up to 15 frames, "
    "against the driving speech.",
    compute=lambda clip: clip.once(_against_driving_speech).distance,
)

AV_OFFSET_FRAMES = ClipMeasure(
    name="av_offset_frames",
    label="AV offset",
    unit="frames",
    direction=Direction.NONE,
    backend=Backend.SYNC_EXPERT,
    min_frames=MIN_FRAMES,
    summary="Offset at which the sync expert finds the best match; positive: the sound lies earlier than the picture.",
    compute=lambda clip: clip.once(_against_driving_speech).offset_frames,
)

SYNC_C_GIVEN = ClipMeasure(
    name="sync_c_given",
    label="Sync-C (speech given)",
    direction=Direction.HIGHER,
    backend=Backend.SYNC_EXPERT,
    min_frames=MIN_FRAMES,
    summary="Sync-C of a prediction made from unrelated speech, against that unrelated speech.",
    applies=driven_by_unrelated,
    compute=lambda clip: clip.backends.sync.score(clip.frames, clip.once(speech_given)).confidence,
)
