"""Puppets behind bars, as a player shows them: a mouth under a bar, and a face that letterboxing leaves free."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.assemble import assemble_manifest
from lipforcing_core.curation.backends import CurationBackends, load_backends
from lipforcing_core.curation.pipeline import curate_source
from lipforcing_core.curation.reasons import RejectReason
from lipforcing_core.curation.records import SourceFacts, Status
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.stored_run import read_run
from lipforcing_core.curation.story import Story
from lipforcing_core.curation.story_text import story_text
from lipforcing_core.media.ffmpeg import input_file, run_ffmpeg
from lipforcing_core.puppets.recording import ClipPlan, Shot, render_clip
from lipforcing_core.puppets.rig import PuppetScript
from tests.curation.runs import tell

SIZE, NUM_FRAMES = 320, 60
SETTINGS = CurationSettings(min_segment_s=2.0, sync_filter=False, quality_threshold=100.0)
Told = Callable[..., Story]


@dataclass(frozen=True)
class Puppet:
    """A clip of one puppet, and how low its lips and its chin are, in pixels."""

    path: Path
    lips_y: tuple[float, float]
    chin_y: float


@pytest.fixture(scope="module")
def puppet(tmp_path_factory: pytest.TempPathFactory) -> Puppet:
    script = PuppetScript.varied(portrait="astronaut", seed=1, num_frames=NUM_FRAMES, size=SIZE)
    path = tmp_path_factory.mktemp("puppet") / "plain.mp4"
    plan = ClipPlan(kind="reel", seed=0, shots=(Shot(script=script, speech_seed=2),))
    frames = render_clip(path, plan).frames
    assert frames is not None
    y = {name: np.array(points)[:, 1] for name, points in frames.landmarks.items()}
    lips = np.concatenate([y["mouth_left"], y["mouth_right"], y["upper_lip"], y["lower_lip"]])
    return Puppet(path, (float(lips.min()), float(lips.max())), float(y["chin"].max()))


@pytest.fixture(scope="module")
def backends() -> CurationBackends:
    return load_backends(SETTINGS)


@pytest.fixture
def told(puppet: Puppet, backends: CurationBackends, store: StepStore, tmp_path: Path) -> Told:
    """The story of the puppet after a filter of ffmpeg."""

    def run(name: str, **options: str | int) -> Story:
        folder = tmp_path / "corpus"
        folder.mkdir()
        path = folder / "barred.mp4"
        clip = input_file(puppet.path)
        barred = clip.video.filter(name, **options).output(clip.audio, str(path), vcodec="libx264", crf=28)
        run_ffmpeg(barred, puppet.path)
        outcome = curate_source(
            path, settings=SETTINGS, backends=backends, store=store, root=folder, facts=SourceFacts()
        )
        folders = {outcome.source: folder}
        assemble_manifest([outcome], tmp_path / "run", SETTINGS, store=store, folders=folders)
        return tell(read_run(tmp_path / "run"), store, str(path))

    return run


@pytest.mark.parametrize("colour", ["black", "0x203060"])
def test_a_mouth_under_a_bar_is_beyond_the_border(puppet: Puppet, told: Told, colour: str) -> None:
    """The bar begins in the middle of the lips and goes to the lower border."""
    y = round(sum(puppet.lips_y) / 2)
    story = told("drawbox", x=0, y=y, width="iw", height=SIZE - y, color=colour, thickness="fill")
    (piece,) = story.pieces
    assert piece.decision.reason is RejectReason.LIPS_CUT_OFF
    assert piece.decision.measured == piece.decision.scores.lips_outside
    assert piece.piece is not None
    assert piece.piece.picture_xyxy is not None
    left, top, right, bottom = piece.piece.picture_xyxy
    assert (left, top, right) == (0, 0, SIZE)
    assert y - 2 <= bottom <= y + 4, "the line between is blurred"
    text = story_text(story)
    assert f"picture     within bars: 0, 0, {SIZE}, {bottom}" in text
    assert "the lips lie beyond the border of the picture, or under a bar" in text


@pytest.mark.parametrize(
    ("width", "height", "x", "y"), [(SIZE, SIZE + 120, 0, 60), (SIZE + 200, SIZE, 100, 0)]
)
def test_bars_that_leave_the_face_free_cost_nothing(
    width: int, height: int, x: int, y: int, told: Told
) -> None:
    story = told("pad", width=width, height=height, x=x, y=y, color="black")
    (piece,) = story.pieces
    assert piece.decision.status is Status.ACCEPTED
    assert piece.decision.scores.lips_outside == 0.0
    assert piece.piece is not None
    assert piece.piece.picture_xyxy == pytest.approx((x, y, x + SIZE, y + SIZE), abs=8), "but for ringing"


def test_a_bar_below_the_lips_is_like_a_border_there(puppet: Puppet, told: Told) -> None:
    """The chin is hidden, and the lips are seen."""
    y = round((puppet.lips_y[1] + puppet.chin_y) / 2) + 6
    assert y < puppet.chin_y
    story = told("drawbox", x=0, y=y, width="iw", height=SIZE - y, color="black", thickness="fill")
    (piece,) = story.pieces
    assert piece.decision.status is Status.ACCEPTED
    assert piece.piece is not None
    assert piece.piece.picture_xyxy == pytest.approx((0, 0, SIZE, y), abs=3)


def test_a_picture_without_bars_has_none(told: Told) -> None:
    story = told("null")
    (piece,) = story.pieces
    assert piece.decision.status is Status.ACCEPTED
    assert piece.piece is not None
    assert piece.piece.picture_xyxy is None
    assert "within bars" not in story_text(story)
