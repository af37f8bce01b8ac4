"""A corpus on its way through the driver: discovery, keys, and the clips that follow its facts."""

from __future__ import annotations

from pathlib import Path

import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import content_key
from lipforcing_core.curation.facts import side_warnings
from lipforcing_core.curation.manifest import read_decisions, read_manifest
from lipforcing_core.curation.records import SourceFacts, SourceOutcome, StoredClip
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.source_rows import SOURCES, read_source_rows
from lipforcing_core.curation.sources import find_sources
from tasks import curating, together
from tasks.curating import Corpus, curate_corpus, discover, require_contract, survey
from tasks.curation import Source
from tasks.outcomes import model_hashes, outcome_key
from tasks.workspace import Workspace
from tests.curation.test_outcomes import clip, decision, outcome

SETTINGS = CurationSettings()


@pytest.fixture
def voxceleb2(tmp_path: Path) -> Path:
    root = tmp_path / "vox"
    for name in ("dev/mp4/id00901/AAAAAAAAAAA/00001", "test/mp4/id00902/BBBBBBBBBBB/00001"):
        (root / name).parent.mkdir(parents=True)
        (root / f"{name}.mp4").write_text(name)
        sound = root / f"{name}.m4a".replace("/mp4/", "/aac/")
        sound.parent.mkdir(parents=True)
        sound.write_text(f"sound of {name}")
    return root


def test_the_key_of_an_outcome_is_what_it_always_was() -> None:
    """A key that changes repeats the work of every corpus that was ever curated, so it changes only on purpose."""
    known = SourceFacts(identity="anna", licence="CC0-1.0", commercial_ok=True)
    keys = [
        outcome_key(Path("r/sub/a.mp4"), Path("r"), "ab" * 32, facts, settings="s", code="c")
        for facts in (SourceFacts(), known, known.model_copy(update={"split": "test"}))
    ]
    assert keys[:2] == ["3bdef42a3c0f1c96", "ddad316d1d46a11b"]
    assert keys[2] not in keys[:2], "what a corpus says belongs to the key"


def test_a_folder_is_found_as_ever(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "b.mp4").touch()
    (tmp_path / "x.txt").touch()
    (tmp_path / "sources.csv").write_text("path,identity,colour\na.mp4,anna,red\n")
    found, files = discover(tmp_path), find_sources(tmp_path)
    assert [source.path for source in found.sources] == list(files.sources)
    assert found.facts == {"a.mp4": SourceFacts(identity="anna")}
    assert found.identity() == {"facts": {"a.mp4": SourceFacts(identity="anna")}}
    assert (found.ignored, found.warnings, found.problems) == (files.ignored, side_warnings(files), ())
    assert found.omitted == ()


def test_a_corpus_is_found_with_its_facts_and_problems(voxceleb2: Path) -> None:
    (voxceleb2 / "vox2_meta.csv").write_text("VoxCeleb2 ID ,Set \nid00903 ,x \n")
    found = discover(voxceleb2, "voxceleb2")
    assert [known.split for known in found.facts.values()] == [None, "test"]
    assert found.problems == ("vox2_meta.csv, line 2, Set: must be dev or test, and is 'x'",)
    assert {source.root for source in found.sources} == {voxceleb2}
    before = found.identity()
    assert before == {"corpus": "voxceleb2", "facts": content_key(found.facts)}, (
        "a key, however large the corpus"
    )
    (voxceleb2 / "test").rename(voxceleb2 / "dev2")
    (voxceleb2 / "vox2_meta.csv").write_text("VoxCeleb2 ID ,Set \nid00902 ,dev \n")
    assert discover(voxceleb2, "voxceleb2").identity() != before
    with pytest.raises(BadInputError, match="takes no list of test clips"):
        discover(voxceleb2, "voxceleb2", voxceleb2 / "vox2_meta.csv")


def test_a_file_that_is_left_out_has_rows_and_belongs_to_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (folder / name).touch()
    (folder / "sources.csv").write_text("path,split\na.mp4,val\nb.mp4,dev\n")
    (folder / "c.mp4").chmod(0)  # what is left out is not opened
    (folder / "c.mp4.meta.json").write_text('{"split": 3}')
    found = discover(folder)
    workspace = Workspace(tmp_path / "ws")
    done = accepted(workspace, "a.mp4", 1)
    for module in (curating, together):
        monkeypatch.setattr(module, "find_outcome", lambda store, key: done)
    corpus = Corpus(sources=tuple(found.sources), hashes=(done.sha256,), keys=("a.mp4",), facts=found.facts)
    curated = curate_corpus(workspace, corpus, SETTINGS, tmp_path / "out", found)
    rows = {d.source: (d.status.value, d.reason, d.num_frames, d.message) for d in read_decisions(
        curated.report.decisions) if d.reason}  # fmt: skip
    words = "should be 'train', 'val' or 'test' (got"
    assert rows == {
        "b.mp4": ("quarantined", "annotation_unusable", 0, f"sources.csv, line 3, split: {words} 'dev')"),
        "c.mp4": ("quarantined", "annotation_unusable", 0, f"c.mp4.meta.json, split: {words} 3)"),
    }
    kept = read_source_rows(tmp_path / "out" / SOURCES)
    assert [(row.source, row.status) for row in kept] == [
        ("a.mp4", "accepted"), ("b.mp4", "quarantined"), ("c.mp4", "quarantined")
    ]  # fmt: skip
    assert {row.folder for row in kept} == {str(folder)}
    counts = curated.report.balance
    assert (counts.sources_in, counts.sources_accepted, counts.sources_quarantined) == (3, 1, 2)
    assert curated.report.contract.success
    assert "annotation_unusable" in curated.report.data_docs.read_text()
    assert curated.is_settled
    (folder / "c.mp4").unlink()
    (folder / "c.mp4.meta.json").unlink()
    assert discover(folder).identity() != found.identity()


def test_separate_sound_belongs_to_the_keys_and_to_the_run(voxceleb2: Path, tmp_path: Path) -> None:
    found = discover(voxceleb2, "voxceleb2")
    workspace = Workspace(tmp_path / "ws")
    before = survey(workspace, found.sources, SETTINGS, found.facts)
    assert before == survey(workspace, found.sources, SETTINGS, found.facts)
    (voxceleb2 / "dev/aac/id00901/AAAAAAAAAAA/00001.m4a").write_text("another sound")
    after = survey(workspace, found.sources, SETTINGS, found.facts)
    assert before.hashes == after.hashes
    assert [a == b for a, b in zip(before.keys, after.keys, strict=True)] == [False, True]
    assert content_key(before.listing()) != content_key(after.listing())
    assert before.facts == found.facts


def test_sources_without_anything_new_have_the_key_of_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curating, "code_digest", lambda: "c")
    monkeypatch.setattr(curating, "settings_digest", lambda settings: "s")
    (tmp_path / "a.mp4").write_text("a")
    (tmp_path / "a.mp4.meta.json").write_text('{"identity": "anna"}')
    found = discover(tmp_path)
    corpus = survey(Workspace(tmp_path / "ws"), found.sources, SETTINGS, found.facts)
    assert corpus.keys == survey(Workspace(tmp_path / "ws"), found.sources, SETTINGS).keys
    assert corpus.keys == (
        outcome_key(
            tmp_path / "a.mp4",
            tmp_path,
            corpus.hashes[0],
            SourceFacts(identity="anna"),
            settings="s",
            code="c",
        ),
    )
    assert corpus.listing() == [("a.mp4", corpus.hashes[0])]


def test_a_file_in_another_folder_and_another_model_are_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record of the earlier run, which names the file as it was, would be overwritten."""
    (tmp_path / "in/a").mkdir(parents=True)
    (tmp_path / "in/a/00001.mp4").write_text("a")

    def listing() -> list[tuple[str, str]]:
        found = discover(tmp_path / "in")
        return survey(Workspace(tmp_path / "ws"), found.sources, SETTINGS, found.facts).listing()

    before = listing()
    assert [name for name, _ in before] == ["a/00001.mp4"]
    (tmp_path / "in/a").rename(tmp_path / "in/b")
    assert [name for name, _ in listing()] == ["b/00001.mp4"]
    assert [sha256 for _, sha256 in listing()] == [sha256 for _, sha256 in before]

    weights = tmp_path / "expert.pth"
    weights.write_text("one")
    settings = SETTINGS.model_copy(update={"sync_weights": weights})
    one = model_hashes(settings)
    weights.write_text("another")
    assert (len(one), model_hashes(settings) == one, model_hashes(SETTINGS)) == (1, False, [])


def accepted(workspace: Workspace, source: str, number: int) -> SourceOutcome:
    """A source with one clip, whose products lie in the store."""
    clip_id = f"{number:016x}"
    names = {"clip_path": "mp4", "audio_path": "wav", "alignment_path": "npz"}
    record = clip(
        clip_id=clip_id,
        source=source,
        **{name: f"clips/{clip_id}.{suffix}" for name, suffix in names.items()},
    )
    workspace.store.root.mkdir(parents=True, exist_ok=True)
    for suffix in names.values():
        (workspace.store.root / f"{clip_id}.{suffix}").write_text(clip_id)
    stored = StoredClip(
        record=record, clip=f"{clip_id}.mp4", audio=f"{clip_id}.wav", alignment=f"{clip_id}.npz"
    )
    row = decision(source, status="accepted", reason=None, clip_id=clip_id)
    return outcome(source, row, sha256=f"{number:064x}", clips=(stored,))


def curated_with(
    facts: dict[str, SourceFacts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> curating.Curated:
    """Finished work of two sources, put together under what a corpus says of them."""
    workspace = Workspace(tmp_path / "ws")
    outcomes = {name: accepted(workspace, name, i) for i, name in enumerate(("a.mp4", "b.mp4"), start=1)}
    for module in (curating, together):
        monkeypatch.setattr(module, "find_outcome", lambda store, key: outcomes[key])
    corpus = Corpus(
        sources=tuple(Source(path=tmp_path / name, root=tmp_path) for name in outcomes),
        hashes=tuple(o.sha256 for o in outcomes.values()),
        keys=tuple(outcomes),
        facts=facts,
    )
    return curate_corpus(workspace, corpus, SETTINGS, tmp_path / "out")


def test_clips_follow_what_the_corpus_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = {
        "a.mp4": SourceFacts(
            identity="anna", split="test", licence="CC BY-NC 4.0", language="de", dataset="mine"
        ),
        "b.mp4": SourceFacts(identity="ben", split="train", consent="signed"),
    }
    curated = curated_with(facts, tmp_path, monkeypatch)
    first, second = read_manifest(curated.report.manifest)
    assert (first.split, first.identity, first.commercial_ok, first.language, first.dataset) == (
        "test", "anna", False, "de", "mine"
    )  # fmt: skip
    assert (second.split, second.consent, second.licence, second.commercial_ok) == (
        "train",
        "signed",
        None,
        None,
    )
    require_contract(curated.report)


@pytest.mark.parametrize(
    ("second", "name", "example"),
    [
        (
            SourceFacts(identity="anna", split="train"),
            "people: expect_column_values_to_be_null of leak (a person is in more than one split; 1 time)",
            "anna is in test and train",
        ),
        (
            SourceFacts(licence="CC BY-NC 4.0", commercial_ok=True),
            "rights: expect_column_values_to_be_null of contradiction (a right is claimed that the licence excludes; 1 "
            "time)",
            "b.mp4: commercial_ok is true, but its licence is CC BY-NC 4.0",
        ),
    ],
)
def test_leaks_and_contradictory_rights_break_the_contract(
    second: SourceFacts, name: str, example: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = {"a.mp4": SourceFacts(identity="anna", split="test"), "b.mp4": second}
    curated = curated_with(facts, tmp_path, monkeypatch)
    assert [check.examples for check in curated.report.contract.failures] == [(example,)]
    with pytest.raises(curating.ContractError) as told:
        require_contract(curated.report)
    first, check, books = str(told.value).split("\n")
    num_checks = curated.report.contract.num_checks
    assert first == f"the manifest breaks its contract: 1 of {num_checks} checks fails"
    assert check == f"  {name}: {example}"
    assert books == (
        "2 sources: 2 accepted (2 clips), 0 rejected, 0 quarantined; everything has been written, and "
        f"{curated.report.data_docs} shows it"
    )
    assert read_manifest(curated.report.manifest)[1].commercial_ok in (None, False), "the licence wins"
