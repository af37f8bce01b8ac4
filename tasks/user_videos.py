"""The user's own videos in an experiment on puppets: re-synced to puppet speech by the student it trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from lipforcing_core.base.errors import LipForcingError
from lipforcing_core.base.products import StepStore, link_or_copy
from lipforcing_core.curation.sources import why_inaccessible
from tasks.curation import Source
from tasks.dispatch import fan_out
from tasks.generation import GenerationJob, generate_step
from tasks.progress import step
from tasks.resources import Work
from tasks.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class UserVideo:
    """What became of one of the user's videos; ``output`` is None where nothing could be made."""

    name: str
    outcome: str
    output: Path | None


def resync_user_videos(
    workspace: Workspace, sources: Sequence[Source], speech: Path | None, bundle: Path, folder: Path
) -> list[UserVideo]:
    """Redraw the lips of each video for a held-out speech. A video that cannot be used says why."""
    if not sources or speech is None:
        return []
    work = partial(_resync, speech=speech, bundle=bundle, store=workspace.store)
    with step(f"re-sync {len(sources)} of your videos", "videos") as advance:
        done = fan_out(
            work, [source.path for source in sources], name="re-sync", work=Work.GENERATE, advance=advance
        )
    out = folder / "your_videos"
    out.mkdir(exist_ok=True)
    return [
        _place(video, out / f"{index:03d}_{Path(video.name).stem}.mp4") for index, video in enumerate(done)
    ]


def _resync(video: Path, *, speech: Path, bundle: Path, store: StepStore) -> UserVideo:
    if problem := why_inaccessible(video):
        return UserVideo(name=video.name, outcome=f"not re-synced: {problem}", output=None)
    job = GenerationJob(name=video.name, video=video, audio=speech, bundle=bundle)
    try:
        report = generate_step(job, store=store).report
    except LipForcingError as error:
        return UserVideo(name=video.name, outcome=f"not re-synced: {error}", output=None)
    return UserVideo(name=video.name, outcome=f"{report.num_frames} frames", output=report.output)


def _place(video: UserVideo, final: Path) -> UserVideo:
    """The same with its output among the products of the run."""
    if video.output is None:
        return video
    link_or_copy(video.output, final)
    return replace(video, outcome=f"{video.outcome} in {final}", output=final)
