"""Which of several sound tracks of a file is taken: the one that a player would play, unless only another speaks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

SILENT_DBFS = -50.0
"""Below this RMS level a track is silent, as it is for the settings of curation."""

SPEAKS_FROM = 0.05
"""A track speaks if speech fills at least this share of it.

The least talkative real clip at hand has 0.62, and tones, noise and music have 0. A track of effects on which somebody
calls once stays below.
"""


@dataclass(frozen=True, kw_only=True)
class TrackFacts:
    """What is known of one sound track.

    index: what names it in the file. is_default: whether the file flags it as the one to play. language: its tag,
    empty if it has none. loudness_dbfs: RMS level; None for digital silence. speech_share: 0 to 1; None if nobody
    looked. Both may be of an excerpt.
    """

    index: int
    is_default: bool = False
    language: str = ""
    loudness_dbfs: float | None = None
    speech_share: float | None = None

    @property
    def sounds(self) -> bool:
        """Whether it is not silent."""
        return self.loudness_dbfs is not None and self.loudness_dbfs >= SILENT_DBFS

    @property
    def speaks(self) -> bool:
        """Whether speech was found in it. Where nobody looked for speech, a track that sounds is taken to speak."""
        return self.sounds and (self.speech_share is None or self.speech_share >= SPEAKS_FROM)


@dataclass(frozen=True, kw_only=True)
class TrackChoice:
    """The track that is taken, and why.

    why: ``only``, ``default``, ``first_speaking``, ``first_sounding`` or ``first``. words: the same for people.
    """

    index: int
    why: str
    words: str


def choose_track(tracks: Sequence[TrackFacts]) -> TrackChoice:
    """The default-flagged track; where that does not speak, the first that does; else the first that sounds.

    Of several flagged tracks the first that speaks is the default, else the first that sounds, else the first. A
    default track that sounds but does not speak is kept if no other speaks, and a silent one if all are silent. Without
    a flag the first that speaks is taken, then the first that sounds, then the first. The order is that of ``tracks``.
    Raises ValueError without tracks.
    """
    if not tracks:
        raise ValueError("there is no track to choose from")
    if len(tracks) == 1:
        return TrackChoice(index=tracks[0].index, why="only", words="the only sound track")
    flagged = [track for track in tracks if track.is_default]
    default = _best(flagged) if flagged else None
    best = _best(tracks)
    if default is not None and _rank(default) >= _rank(best):
        return TrackChoice(index=default.index, why="default", words="the track that is flagged as default")
    instead = ""
    if default is not None:
        lacks = "has no speech" if default.sounds else "is silent"
        instead = f"; track {default.index}, flagged as default, {lacks}"
    why, words = {
        2: ("first_speaking", "the first track with speech"),
        1: ("first_sounding", "the first track that is not silent"),
        0: ("first", "the first track, all are silent"),
    }[_rank(best)]
    return TrackChoice(index=best.index, why=why, words=words + instead)


def _rank(track: TrackFacts) -> int:
    return 2 if track.speaks else 1 if track.sounds else 0


def _best(tracks: Sequence[TrackFacts]) -> TrackFacts:
    """The first of the highest rank."""
    return max(tracks, key=_rank)
