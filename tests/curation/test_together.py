"""Clips that repeat each other stand in one split where none is declared, and in those that are declared otherwise."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.assemble import CurationReport, assemble_manifest
from lipforcing_core.curation.manifest import read_decisions, read_manifest
from lipforcing_core.curation.records import SourceFacts, SourceOutcome
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.curation.together import with_repeats_together

from .test_duplicates import dubbed, footage, stored


def would_be(name: str) -> str:
    """The split that a file of ``stored`` has alone, where half of all files are held out: the first byte decides."""
    source_id = hashlib.sha256(name.encode()).hexdigest()[:16]
    return "val" if hashlib.sha256(f"source:{source_id}".encode()).digest()[0] < 128 else "train"


def names_of(split: str, num: int) -> list[str]:
    """So many file names that would be in a split, the shortest first, which is the last one of the alphabet."""
    names = (f"{chr(ord('z') - length)}{'x' * length}{n}.mp4" for length in range(1, 20) for n in range(10))
    return [name for name in names if would_be(name) == split][:num]


def curated(
    outcomes: list[SourceOutcome],
    folder: Path,
    store: StepStore,
    facts: dict[str, SourceFacts] | None = None,
    mode: str = "mark",
) -> CurationReport:
    known = {outcome.source: (facts or {}).get(outcome.source, SourceFacts()) for outcome in outcomes}
    settings = CurationSettings.model_validate({"val_fraction": 0.5, "near_duplicates": mode})
    report = assemble_manifest(outcomes, folder, settings, store=store, facts=known)
    assert report.contract.success, report.contract.failures
    return report


def splits(report: CurationReport) -> dict[str, str]:
    return {clip.source: clip.split for clip in read_manifest(report.manifest)}


@pytest.mark.parametrize("first", ["train", "val"])
def test_copies_of_a_talk_do_not_expel_each_other(first: str, tmp_path: Path, store: StepStore) -> None:
    """Thirteen files, of which six would be in each split and the original in this one."""
    original, *rest = names_of(first, 7)
    other = names_of("val" if first == "train" else "train", 12)[6:]
    copies = [*rest, *other]
    assert all(len(copy) >= len(original) for copy in copies)
    outcomes = [stored(store, name, footage(1)) for name in (*copies, original)]
    found = splits(curated(outcomes, tmp_path / "a", store))
    assert found == dict.fromkeys([original, *copies], first)
    assert splits(curated(outcomes[::-1], tmp_path / "b", store)) == found
    alone = splits(curated(outcomes[-1:], tmp_path / "c", store))
    assert alone == {original: first}, "copies move no original"


def test_they_are_together_through_others_too(tmp_path: Path, store: StepStore) -> None:
    """The second shares the picture of the first and the sound of the third."""
    (train,), (val, third) = names_of("train", 1), names_of("val", 2)
    prints = {train: footage(1), val: dubbed(footage(1), 2), third: footage(2)}
    found = splits(curated([stored(store, n, p) for n, p in prints.items()], tmp_path, store))
    shortest = min(prints, key=lambda name: (len(name), name))
    assert found == dict.fromkeys(prints, would_be(shortest))


@pytest.mark.parametrize("mode", ["mark", "off"])
def test_clips_with_the_same_bytes_are_together_whoever_looks(
    mode: str, tmp_path: Path, store: StepStore
) -> None:
    names = [*names_of("train", 1), *names_of("val", 1)]
    outcomes = [stored(store, name, None, clip_sha256="ab" * 32) for name in names]
    assert len(set(splits(curated(outcomes, tmp_path, store, mode=mode)).values())) == 1


def test_near_duplicates_stay_where_they_are_if_nobody_looks(tmp_path: Path, store: StepStore) -> None:
    names = {name: split for split in ("train", "val") for name in names_of(split, 1)}
    outcomes = [stored(store, name, footage(1)) for name in names]
    assert splits(curated(outcomes, tmp_path, store, mode="off")) == names


def test_all_clips_of_a_person_come_along(tmp_path: Path, store: StepStore) -> None:
    """``anna`` would be in val and ``ben`` in train: their hashes begin with 0x15 and 0xf7."""
    people = {"a.mp4": "anna", "anna 2.mp4": "anna", "ben 1.mp4": "ben", "ben 2.mp4": "ben"}
    facts = {name: SourceFacts(identity=person) for name, person in people.items()}
    prints = {name: footage(number) for number, name in enumerate(people)}
    apart = splits(curated([stored(store, n, p) for n, p in prints.items()], tmp_path / "a", store, facts))
    assert apart == {"a.mp4": "val", "anna 2.mp4": "val", "ben 1.mp4": "train", "ben 2.mp4": "train"}
    prints["ben 2.mp4"] = dubbed(prints["anna 2.mp4"], 9)
    other = StepStore(tmp_path / "other store")
    together = splits(curated([stored(other, n, p) for n, p in prints.items()], tmp_path / "b", other, facts))
    assert together == dict.fromkeys(people, "val")


@pytest.mark.parametrize(
    ("declared", "expected"),
    [
        ("train", {"talk.mp4": "train", "t": "train", "v": "train"}),
        ("val", {"talk.mp4": "val", "v": "val"}),
        ("test", {"talk.mp4": "test"}),
    ],
)
def test_a_declared_split_stays_and_is_not_enlarged(
    declared: str, expected: dict[str, str], tmp_path: Path, store: StepStore
) -> None:
    """Both copies repeat the declared clip, but not each other: one its picture, the other its sound."""
    names = {"t": names_of("train", 1)[0], "v": names_of("val", 1)[0]}
    own = footage(1)
    picture, sound = dubbed(own, 7), dubbed(footage(5), 1)
    outcomes = [
        stored(store, "talk.mp4", own),
        stored(store, names["t"], picture),
        stored(store, names["v"], sound),
    ]
    report = curated(outcomes, tmp_path, store, {"talk.mp4": SourceFacts.model_validate({"split": declared})})
    assert splits(report) == {names.get(name, name): split for name, split in expected.items()}
    lost = {d.reason for d in read_decisions(report.decisions) if d.status == "rejected"}
    assert lost == ({"near_duplicate"} if declared != "train" else set())


def test_a_person_with_a_declared_split_is_not_moved(store: StepStore) -> None:
    """Of two sources of a person one is declared; what the other one is, is for the contract to judge."""
    (stranger,) = names_of("val", 1)
    prints = {"eve.mp4": footage(1), "eve again.mp4": footage(2), stranger: dubbed(footage(2), 8)}
    given = {"eve.mp4": "train", "eve again.mp4": "val", stranger: "train"}
    outcomes = [
        stored(store, name, print_, split=given[name], identity=None if name == stranger else "eve")
        for name, print_ in prints.items()
    ]
    facts = {
        "eve.mp4": SourceFacts(identity="eve", split="train"),
        "eve again.mp4": SourceFacts(identity="eve"),
    }
    by_id = {outcome.clips[0].record.clip_id: prints[outcome.source] for outcome in outcomes}
    found = with_repeats_together(outcomes, facts, by_id)
    assert {outcome.source: outcome.clips[0].record.split for outcome in found} == given
