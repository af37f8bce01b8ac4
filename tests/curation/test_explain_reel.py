"""The story of a reel that was really curated: its reading, its faces and the clips of rejected pieces."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.assemble import assemble_manifest
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.pipeline import curate_source
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.curation.results import Reading
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.stored_run import read_run
from lipforcing_core.curation.story import tell
from lipforcing_core.curation.story_page import write_story_page


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
    docs = (tmp_path / "run" / "data_docs.html").read_text(encoding="utf-8")
    assert docs.count("<img src=") == 3
    assert docs.count("no aligned clip") == 1
