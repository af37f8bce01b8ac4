"""The puppet corpus as a step: reels to train on, reels with defects, and held-out pairs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from lipforcing_core.base.products import StepStore, content_key
from lipforcing_core.puppets.corpus import CorpusIndex, reel_plan
from lipforcing_core.puppets.defects import defect_plans
from lipforcing_core.puppets.pairs import pair_plan, render_pair
from lipforcing_core.puppets.recording import RENDER_VERSION, render_clip
from tasks.dispatch import fan_out
from tasks.progress import Advance
from tasks.recording import step_task

Draw = Callable[[Path], object]


@dataclass(frozen=True, kw_only=True)
class CorpusSize:
    """How much to render. ``side`` is that of the frames in pixels."""

    num_reels: int
    num_pairs: int
    side: int = 320


@step_task()
def render_puppets(
    store: StepStore, seed: int, size: CorpusSize, advance: Advance | None = None
) -> CorpusIndex:
    """Render the corpus once; items that a killed run had finished are kept."""
    defects = defect_plans(seed, size=size.side)

    def work(folder: Path) -> dict[str, list[str]]:
        names = {
            "reels": [f"reels/reel_{i:03d}.mp4" for i in range(size.num_reels)],
            "defects": [f"defects/{name}.mp4" for name in defects],
            "pairs": [f"heldout/pair_{i:03d}" for i in range(size.num_pairs)],
        }
        jobs: list[tuple[str, Draw]] = [
            *((n, partial(_draw_reel, seed, i, size.side)) for i, n in enumerate(names["reels"])),
            *(
                (n, partial(_draw_defect, seed, d, size.side))
                for d, n in zip(defects, names["defects"], strict=True)
            ),
            *((n, partial(_draw_pair, seed, i, size.side)) for i, n in enumerate(names["pairs"])),
        ]
        fan_out(partial(_draw, folder), jobs, name="render-puppet", advance=advance)
        return names

    done = store.run("puppets", content_key(RENDER_VERSION, seed, size), work, resumable=True)
    paths = {part: tuple(done.folder / name for name in names) for part, names in done.result.items()}
    return CorpusIndex(out_dir=done.folder, **paths)


def _draw(folder: Path, job: tuple[str, Draw]) -> None:
    name, draw = job
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    draw(folder / name)


def _draw_reel(seed: int, index: int, side: int, path: Path) -> None:
    render_clip(path, reel_plan(seed, index, size=side))


def _draw_defect(seed: int, name: str, side: int, path: Path) -> None:
    render_clip(path, defect_plans(seed, size=side)[name])


def _draw_pair(seed: int, index: int, side: int, path: Path) -> None:
    render_pair(path, pair_plan(seed, index, size=side))
