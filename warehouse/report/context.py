"""What the report needs beside the warehouse: words, pictures, and which system plays which part."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, kw_only=True)
class SampleRow:
    """One held-out clip, the same instants by different systems: a caption and one PNG per column.

    ``images`` maps a column title (Source, Truth, Teacher, ...) to PNG bytes, in the order they are shown.
    """

    caption: str
    images: Mapping[str, bytes]


@dataclass(frozen=True, kw_only=True)
class SampleVideo:
    """One video that the page plays with its sound: an MP4 file (H.264, AAC) as bytes, and what it shows.

    ``columns`` names the pictures that stand side by side in the video, from left to right; a video of one picture may
    leave it empty.
    """

    caption: str
    mp4: bytes
    columns: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True)
class EmbeddedNote:
    """One part that stands in for a larger one: what runs here, and what the full tier uses."""

    part: str
    embedded: str
    full: str


@dataclass(frozen=True, kw_only=True)
class Command:
    """A command to copy, with the reason to run it."""

    purpose: str
    command: str


@dataclass(frozen=True, kw_only=True)
class Question:
    """The question of the headline: which systems and metrics answer it, by their names in the warehouse.

    Does ``system``, driven by new audio, match that audio better than the untouched ``copied`` source and than
    itself driven by ``unrelated`` audio? ``metric`` answers first, ``independent_metric`` checks it without
    the network that selected the data and rewarded the training.
    """

    system: str
    copied: str
    unrelated: str
    metric: str
    independent_metric: str
    quality_metric: str
    """What is plotted against speed."""


@dataclass(frozen=True, kw_only=True)
class ReportContext:
    """Everything a report shows that is not a row of the warehouse."""

    title: str
    run_id: str
    summary: str
    question: Question
    stage_pairs: Sequence[tuple[str, str]] = ()
    """Pairs (after, before) whose paired differences tell what a stage changed; empty: all pairs stored."""
    training_stages: Sequence[str] = ()
    """Stages of training in their order, for the curves; stages that are not named follow by name."""
    sample_videos: Sequence[SampleVideo] = ()
    sample_images: Sequence[SampleRow] = ()
    embedded_notes: Sequence[EmbeddedNote] = ()
    versions: Mapping[str, str] = field(default_factory=dict)
    commands: Sequence[Command] = ()
    next_steps: Sequence[Command] = ()
    links: Mapping[str, str] = field(default_factory=dict)
    """Other products of the run: label to path relative to the report."""
