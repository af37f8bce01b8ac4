"""The puppet corpus on disk: training reels, clips with defects, held-out pairs.

``reels/`` and ``defects/`` hold clips with a truth file each; ``heldout/pair_NNN/`` one evaluation item each.
Everything follows from one seed; finished clips are not drawn again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np

from lipforcing_core.puppets.defects import defect_plans
from lipforcing_core.puppets.pairs import PairTruth, pair_plan, read_pair, render_pair
from lipforcing_core.puppets.portraits import portrait_names
from lipforcing_core.puppets.recording import ClipPlan, Shot, render_clip
from lipforcing_core.puppets.rig import PuppetScript
from lipforcing_core.puppets.seeds import child_seed
from lipforcing_core.puppets.truth import ClipTruth, read_truth

SHOTS_PER_REEL = 3

_SHOT_FRAMES_25 = (165, 170, 175)
_FORMATS = (
    (Fraction(25), 16000),
    (Fraction(30), 44100),
    (Fraction(25), 48000),
    (Fraction(30), 16000),
)

Progress = Callable[[int, int], None]
"""Called with the number of finished items and of all items."""


@dataclass(frozen=True, kw_only=True)
class CorpusIndex:
    """Where the parts of a rendered corpus are."""

    out_dir: Path
    reels: tuple[Path, ...]
    defects: tuple[Path, ...]
    pairs: tuple[Path, ...]
    """Folders of the held-out items."""

    def truth(self, clip: Path) -> ClipTruth:
        """What is known about a reel or a clip with a defect."""
        return read_truth(clip)

    def pair(self, folder: Path) -> PairTruth:
        """What is known about a held-out item."""
        return read_pair(folder)


def render_corpus(
    out_dir: Path | str,
    *,
    seed: int,
    num_reels: int,
    num_pairs: int,
    size: int = 320,
    defects: bool = True,
    on_progress: Progress | None = None,
) -> CorpusIndex:
    """Render a whole corpus into ``reels/``, ``defects/`` and ``heldout/`` under ``out_dir``."""
    out_dir = Path(out_dir)
    num_defects = len(defect_plans(seed, size=size)) if defects else 0
    total = num_reels + num_defects + num_pairs
    count = _Counter(total, on_progress)
    reels = render_reels(out_dir / "reels", seed, num_reels, size=size, on_item=count)
    broken = render_defects(out_dir / "defects", seed, size=size, on_item=count) if defects else []
    pairs = render_pairs(out_dir / "heldout", seed, num_pairs, size=size, on_item=count)
    return CorpusIndex(out_dir=out_dir, reels=tuple(reels), defects=tuple(broken), pairs=tuple(pairs))


def render_reels(
    out_dir: Path | str,
    seed: int,
    num_reels: int,
    *,
    size: int = 320,
    on_item: Callable[[], None] | None = None,
) -> list[Path]:
    """Training reels ``reel_NNN.mp4``: three shots of 6.6 to 7 s each, hard cuts, mixed formats."""
    return [
        _rendered(Path(out_dir) / f"reel_{index:03d}.mp4", reel_plan(seed, index, size=size), on_item)
        for index in range(num_reels)
    ]


def render_defects(
    out_dir: Path | str, seed: int, *, size: int = 320, on_item: Callable[[], None] | None = None
) -> list[Path]:
    """Clips that curation must correct, reject or survive, named after what was done to them."""
    plans = defect_plans(seed, size=size)
    return [_rendered(Path(out_dir) / f"{name}.mp4", plan, on_item) for name, plan in plans.items()]


def render_pairs(
    out_dir: Path | str,
    seed: int,
    num_pairs: int,
    num_frames: int = 81,
    *,
    size: int = 320,
    on_item: Callable[[], None] | None = None,
) -> list[Path]:
    """Held-out items ``pair_NNN/``: a source, other speech to drive it, and the truth of the result."""
    folders = []
    for index in range(num_pairs):
        folder = Path(out_dir) / f"pair_{index:03d}"
        render_pair(folder, pair_plan(seed, index, num_frames=num_frames, size=size))
        folders.append(folder)
        if on_item is not None:
            on_item()
    return folders


def reel_plan(seed: int, index: int, *, size: int = 320, num_shots: int = SHOTS_PER_REEL) -> ClipPlan:
    """The plan of one reel; formats rotate with the index, portraits alternate from shot to shot."""
    frame_rate, sample_rate = _FORMATS[index % len(_FORMATS)]
    reel_seed = child_seed(seed, "reel", index)
    rng = np.random.default_rng(reel_seed)
    names = portrait_names()
    first = int(rng.integers(len(names)))
    shots = []
    for shot in range(num_shots):
        frames_25 = int(rng.choice(_SHOT_FRAMES_25))
        script = PuppetScript.varied(
            portrait=names[(first + shot) % len(names)],
            seed=child_seed(reel_seed, "picture", shot),
            num_frames=int(frames_25 * frame_rate / 25),
            size=size,
            frame_rate=frame_rate,
        )
        shots.append(Shot(script=script, speech_seed=child_seed(reel_seed, "speech", shot)))
    return ClipPlan(kind="reel", seed=seed, shots=tuple(shots), sample_rate=sample_rate)


@dataclass
class _Counter:
    """Counts finished items for a progress callback."""

    total: int
    on_progress: Progress | None
    done: int = 0

    def __call__(self) -> None:
        self.done += 1
        if self.on_progress is not None:
            self.on_progress(self.done, self.total)


def _rendered(path: Path, plan: ClipPlan, on_item: Callable[[], None] | None) -> Path:
    render_clip(path, plan)
    if on_item is not None:
        on_item()
    return path
