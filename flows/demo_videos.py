"""The user's own videos in the demo: re-synced to puppet speech by the student the demo trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from lipforcing_core.errors import LipForcingError
from lipforcing_core.puppets.corpus import CorpusIndex
from lipforcing_core.puppets.pairs import DRIVING
from tasks.curation import Source
from tasks.generation import GenerationJob, generate_file
from tasks.progress import step
from tasks.workspace import Workspace


@dataclass(frozen=True, kw_only=True)
class UserVideo:
    """What became of one of the user's videos; ``output`` is None where nothing could be made."""

    name: str
    outcome: str
    output: Path | None


def resync_user_videos(
    workspace: Workspace, sources: Sequence[Source], corpus: CorpusIndex, bundle: Path, folder: Path
) -> list[UserVideo]:
    """Redraw the lips of each video for a held-out speech. A video that cannot be used says why."""
    if not sources:
        return []
    speech = corpus.pairs[0] / DRIVING
    out = folder / "your_videos"
    out.mkdir(exist_ok=True)
    done = []
    with step(f"re-sync {len(sources)} of your videos") as advance:
        for index, source in enumerate(sources):
            done.append(_resync(source.path, speech, bundle, out / f"{index:03d}_{source.path.stem}.mp4"))
            advance(index + 1, len(sources))
    return done


def _resync(video: Path, speech: Path, bundle: Path, output: Path) -> UserVideo:
    job = GenerationJob(name=video.name, video=video, audio=speech, bundle=bundle)
    try:
        report = generate_file(job, output)
    except LipForcingError as error:
        return UserVideo(name=video.name, outcome=f"not re-synced: {error}", output=None)
    return UserVideo(name=video.name, outcome=f"{report.num_frames} frames in {output}", output=output)
