"""Held-out evaluation items: one head motion with two speeches, so that the right answer is known.

A folder holds ``source.mp4`` (speech A), ``truth.mp4`` (the same motion, light and background, speech B),
``driving.wav`` (B), ``unrelated.wav`` (C) and ``pair.json``. A lip-sync system gets the source and B; its
perfect answer is the truth.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key
from lipforcing_core.base.user_file import read_json_object
from lipforcing_core.media.encode import write_wav
from lipforcing_core.puppets.portraits import portrait_names
from lipforcing_core.puppets.recording import RENDER_VERSION, ClipPlan, Recording, Shot, render_clip
from lipforcing_core.puppets.rig import PuppetScript
from lipforcing_core.puppets.seeds import child_seed
from lipforcing_core.puppets.truth import ClipTruth, clip_truth, write_compact_json

SOURCE, TRUTH, DRIVING, UNRELATED, INDEX = (
    "source.mp4",
    "truth.mp4",
    "driving.wav",
    "unrelated.wav",
    "pair.json",
)


@dataclass(frozen=True, kw_only=True)
class PairPlan:
    """The three recordings of one item: same pictures, different speech."""

    source: ClipPlan
    driven: ClipPlan
    unrelated: ClipPlan

    @property
    def recipe(self) -> str:
        """Key of everything that decides the content."""
        return content_key("puppet-pair", RENDER_VERSION, self)


@dataclass(frozen=True, kw_only=True)
class PairTruth:
    """What is known about one item. ``unrelated_speech`` has the lips that would go with ``unrelated.wav``."""

    recipe: str
    source: ClipTruth
    truth: ClipTruth
    unrelated_speech: ClipTruth


def pair_plan(seed: int, index: int, *, num_frames: int = 81, size: int = 320) -> PairPlan:
    """The plan of one item at 25 fps and 16 kHz; its seeds are never used by reels."""
    own = child_seed(seed, "held-out", index)
    names = portrait_names()
    script = PuppetScript.varied(
        portrait=names[index % len(names)], seed=child_seed(own, "picture"), num_frames=num_frames, size=size
    )
    speeches = [child_seed(own, "speech", letter) for letter in "ABC"]
    plans = [
        ClipPlan(kind="held_out", seed=seed, shots=(Shot(script=script, speech_seed=speech),))
        for speech in speeches
    ]
    return PairPlan(source=plans[0], driven=plans[1], unrelated=plans[2])


def render_pair(folder: Path | str, plan: PairPlan) -> PairTruth:
    """Write one item into its folder; the index is written last and a finished item is not drawn again."""
    folder = Path(folder)
    if (found := _finished(folder, plan)) is not None:
        return found
    truth = PairTruth(
        recipe=plan.recipe,
        source=render_clip(folder / SOURCE, plan.source),
        truth=render_clip(folder / TRUTH, plan.driven),
        unrelated_speech=Recording(plan.unrelated).truth(UNRELATED),
    )
    write_wav(folder / DRIVING, Recording(plan.driven).waveform())
    write_wav(folder / UNRELATED, Recording(plan.unrelated).waveform())
    write_compact_json(folder / INDEX, asdict(truth))
    return truth


def read_pair(folder: Path | str) -> PairTruth:
    """What is known about the item in a folder; raises BadInputError where there is none."""
    path = Path(folder) / INDEX
    if not path.exists():
        raise BadInputError(f"{folder}: is no held-out item, it has no {INDEX}")
    values = read_json_object(path)
    try:
        return PairTruth(
            recipe=values["recipe"],
            source=clip_truth(values["source"]),
            truth=clip_truth(values["truth"]),
            unrelated_speech=clip_truth(values["unrelated_speech"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadInputError(f"{path}: is no index of a held-out item ({error}); render it again") from error


def _finished(folder: Path, plan: PairPlan) -> PairTruth | None:
    if not all((folder / name).is_file() for name in (SOURCE, TRUTH, DRIVING, UNRELATED, INDEX)):
        return None
    try:
        found = read_pair(folder)
    except BadInputError:  # of another version, or damaged: drawn again
        return None
    return found if found.recipe == plan.recipe else None
