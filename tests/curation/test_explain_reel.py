"""The story of a reel that was really curated: its reading, its faces and the clips of rejected pieces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.base.timed_steps import TimedSteps
from lipforcing_core.curation.assemble import assemble_manifest
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.pipeline import curate_source
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.curation.results import Reading
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.stored_run import read_run
from lipforcing_core.curation.story_page import write_story_page
from lipforcing_core.curation.story_text import story_text
from tests.curation.runs import tell


def test_the_reading_and_the_clips_are_found(
    reel: Callable[..., Path],
    store: StepStore,
    settings: CurationSettings,
    backends: CurationBackends,
    tmp_path: Path,
) -> None:
    path = reel("mixed", ["face", "grey", "flat", "face"], offset_frames=3)
    facts = SourceFacts(identity="anna")
    outcome = curate_source(
        path, settings=settings, backends=backends, store=store, root=path.parent, facts=facts
    )
    known = {outcome.source: facts}
    folders = {outcome.source: path.parent}
    assemble_manifest([outcome], tmp_path / "run", settings, store=store, facts=known, folders=folders)
    story = tell(read_run(tmp_path / "run"), store, str(path))
    assert story.path == str(path)
    assert story.facts == {"identity": "anna"}
    assert isinstance(story.reading, Reading)
    assert len(story.reading.shots) == 4
    kinds = [(p.decision.reason, p.clip is not None, p.face) for p in story.pieces]
    assert kinds == [(None, True, 0), ("no_face", False, None), ("quality_low", True, 0), (None, True, 0)]
    rejected = story.pieces[2].clip
    assert rejected is not None
    assert rejected.is_relative_to(store.root / "read")
    write_story_page(tmp_path / "page.html", story)
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<img src=") == 9  # three frames of each of three clips
    assert "<dt>time</dt><dd>not recorded</dd>" in page  # a plain store measures no time
    docs = (tmp_path / "run" / "data_docs.html").read_text(encoding="utf-8")
    assert docs.count("<img src=") == 3
    assert docs.count("no aligned clip") == 1


def test_the_times_are_those_of_the_work_however_often_it_is_used(
    reel: Callable[..., Path],
    store: StepStore,
    settings: CurationSettings,
    backends: CurationBackends,
    tmp_path: Path,
) -> None:
    path = reel("two", ["face", "grey"])
    told = []
    for run, threshold in (("first", 85.0), ("again", 85.0), ("stricter", 84.0)):
        changed = settings.model_copy(update={"quality_threshold": threshold})
        timed = TimedSteps(store.root)
        outcome = curate_source(path, settings=changed, backends=backends, store=timed, root=path.parent)
        folders = {outcome.source: path.parent}
        assemble_manifest([outcome], tmp_path / run, changed, store=store, folders=folders)
        story = tell(read_run(tmp_path / run), store, str(path))
        told.append(story.costs)
        if run == "first":
            worked = timed.costs
            texts = story_text(story).split("\npiece ")
    assert told[0] == told[1] == told[2]
    assert list(told[0]) == ["read", "speech", "fingerprint", "quality", "sync"]
    for step, cost in told[0].items():
        assert cost is not None
        assert (cost.done, cost.reused) == (worked[step].done, 0)
        assert cost.wall_s == pytest.approx(worked[step].wall_s, abs=1e-4)
        assert cost.cpu_s == pytest.approx(worked[step].cpu_s, abs=1e-4)
    assert told[0]["speech"].done == 2  # type: ignore[union-attr]
    assert told[0]["quality"].done == 1, "the grey picture has no face"  # type: ignore[union-attr]
    lines = [line for text in texts for line in text.splitlines() if line.startswith("  time ")]
    assert len(lines) == 3
    assert "  time        read " in lines[0]
    assert [word in lines[1] for word in ("read", "speech", "fingerprint", "quality", "sync")] == [
        False, True, True, True, True,
    ]  # fmt: skip
    assert [word in lines[2] for word in ("speech", "quality", "not recorded")] == [True, False, False]
