"""Who is who by faces: closed-form clusters, what is remembered, and the splits that follow."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.assemble import CurationReport, assemble_manifest
from lipforcing_core.curation.identities import Known, Seen, identify, look_alikes, settle, single_linkage
from lipforcing_core.curation.likeness import face_crops, mean_direction
from lipforcing_core.curation.manifest import read_decisions, read_manifest
from lipforcing_core.curation.records import SourceFacts, SourceOutcome
from lipforcing_core.curation.results import EmbeddingResult
from lipforcing_core.curation.settings import CurationSettings

from .test_duplicates import stored

COSINE = 0.8


def at(degrees: float) -> np.ndarray:
    """A face at an angle: two are one person up to acos(0.8) = 36.87 degrees."""
    return np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], dtype=np.float32)


def seen(clip_id: str, degrees: float, identity: str | None = None) -> Seen:
    return Seen(clip_id=clip_id, vector_D=at(degrees), identity=identity)


def test_single_linkage_joins_by_chains_and_at_the_threshold() -> None:
    angles = [0, 36, 72, 110, 146, 200]
    clusters = single_linkage(np.stack([at(a) for a in angles]), COSINE)
    assert clusters.tolist() == [0, 0, 0, 3, 3, 5]
    assert single_linkage(np.stack([at(0), at(36.8)]), COSINE).tolist() == [0, 0]
    assert single_linkage(np.stack([at(0), at(36.95)]), COSINE).tolist() == [0, 1]
    assert single_linkage(np.stack([at(0), at(70), at(35)]), COSINE).tolist() == [0, 0, 0]


def test_single_linkage_reaches_across_blocks() -> None:
    """2 100 people with two clips each, a thousand rows apart."""
    rng = np.random.default_rng(0)
    people = rng.standard_normal((2100, 128)).astype(np.float32)
    people /= np.linalg.norm(people, axis=1, keepdims=True)
    clusters = single_linkage(np.concatenate([people, people]), COSINE)
    assert clusters.tolist() == [*range(2100), *range(2100)]


@pytest.mark.parametrize("order", itertools.permutations(range(4)))
def test_a_cluster_is_named_after_its_smallest_clip(order: tuple[int, ...]) -> None:
    clips = [seen("b", 0), seen("a", 30), seen("c", 90), seen("d", 180, "anna")]
    given = identify([clips[n] for n in order], Known(), cosine=COSINE)
    assert given == {"a": "person-a", "b": "person-a", "c": "person-c"}


def test_somebody_like_an_official_person_is_that_person() -> None:
    clips = [seen("a", 20), seen("b", 50), seen("x", 0, "anna"), seen("y", 80, "ben"), seen("z", 200)]
    given = identify(clips, Known(), cosine=COSINE)
    assert given == {"a": "anna", "b": "anna", "z": "person-z"}, "a is nearer to Anna than b to Ben"


def test_what_was_given_once_stays_whatever_comes(store: StepStore) -> None:
    first = settle([seen("m", 0), seen("n", 70)], store, "net", cosine=COSINE)
    assert first == {"m": "person-m", "n": "person-n"}
    bridge = [seen("n", 70), seen("a", 34), seen("b", 200), seen("m", 0)]
    second = settle(bridge, store, "net", cosine=COSINE)
    assert second == {"m": "person-m", "n": "person-n", "a": "person-m", "b": "person-b"}
    assert settle(bridge[::-1], store, "net", cosine=COSINE) == second
    gone = settle([seen("o", 65)], store, "net", cosine=COSINE)
    assert gone == {"o": "person-n"}, "somebody whose clips have left the corpus is still known"
    assert settle([seen("o", 65)], store, "other net", cosine=COSINE) == {"o": "person-o"}


def test_people_of_two_splits_who_look_like_one_are_told() -> None:
    vectors = np.stack([at(0), at(30), at(31), at(90)])
    lines = look_alikes(vectors, ["a", "b", "b", "c"], ["train", "val", "val", "test"], cosine=COSINE)
    assert lines == ["a (train) and b (val) look like one person, and stand in different splits"]
    assert look_alikes(vectors, ["a", "b", "b", "c"], ["val"] * 4, cosine=COSINE) == []
    many = np.stack([at(0)] * 8)
    lines = look_alikes(many, list("abcdefgh"), ["train"] + ["val"] * 7, cosine=COSINE)
    assert lines[5:] == ["2 more pairs of identities look like one person across splits"]


def test_a_direction_is_the_mean_of_directions() -> None:
    assert mean_direction(np.array([[10.0, 0], [0, 0.1]])) == pytest.approx([2**-0.5, 2**-0.5])
    assert mean_direction(np.array([[1.0, 0], [-1, 0], [0, 0]])).tolist() == [0, 0]


def test_the_face_network_sees_the_face_where_it_was_trained_on_it() -> None:
    """In the template the nose lies in the middle, at 205 of 512 rows; for ArcFace its anchor is near row 66 of 112.

    The crop has square pixels again: 4 columns of the aligned square show as much as 3 rows (420 x 560).
    """
    frames = np.zeros((1, 256, 256, 3), dtype=np.uint8)
    frames[0, 97:109, 122:134] = 255  # around (127.5, 102)
    crop = face_crops(frames)
    assert crop.shape == (1, 112, 112, 3)
    rows, columns = np.nonzero(crop[0, ..., 0] > 127)
    assert columns.mean() == pytest.approx(55.3, abs=1.5)
    assert rows.mean() == pytest.approx(66, abs=4)
    height, width = np.ptp(rows) + 1, np.ptp(columns) + 1
    assert height / width == pytest.approx(560 / 420, abs=0.15)


def with_face(outcome: SourceOutcome, degrees: float, store: StepStore) -> SourceOutcome:
    result = EmbeddingResult.of(at(degrees), "net").to_json()
    store.run("identity", outcome.source_id, lambda folder: result)
    (clip,) = outcome.clips
    path = f"identity/{outcome.source_id}/result.json"
    return outcome.model_copy(update={"clips": (clip.model_copy(update={"embedding": path}),)})


def assembled(
    faces: dict[str, float], facts: dict[str, SourceFacts], folder: Path, store: StepStore
) -> CurationReport:
    outcomes = [with_face(stored(store, name, None), degrees, store) for name, degrees in faces.items()]
    known = {name: facts.get(name, SourceFacts()) for name in faces}
    settings = CurationSettings(same_person_cosine=COSINE, val_fraction=0.5)
    return assemble_manifest(outcomes, folder, settings, store=store, facts=known)


def test_splits_are_disjoint_in_people_without_labels(tmp_path: Path, store: StepStore) -> None:
    faces = {f"{n:02d}.mp4": float(90 * (n % 4)) for n in range(32)}
    report = assembled(faces, {}, tmp_path, store)
    clips = read_manifest(report.manifest)
    assert len(clips) == 32
    assert {c.identity_from for c in clips} == {"cluster"}
    people = {c.source: c.identity for c in clips}
    sides = {(faces[c.source], c.split) for c in clips}
    assert len(sides) == 4, "a person is on one side"
    assert len({(faces[name], person) for name, person in people.items()}) == len(set(people.values())) == 4
    more = {"new 1.mp4": 45.0 + 180, "new 2.mp4": 2.0, **faces}
    again = {c.source: c for c in read_manifest(assembled(more, {}, tmp_path / "b", store).manifest)}
    assert all((again[c.source].identity, again[c.source].split) == (c.identity, c.split) for c in clips)
    assert again["new 2.mp4"].identity == people["00.mp4"]


def test_without_faces_the_corpus_and_the_source_decide(tmp_path: Path, store: StepStore) -> None:
    outcomes = [stored(store, "a.mp4", None), stored(store, "b.mp4", None)]
    facts = {"a.mp4": SourceFacts(identity="anna"), "b.mp4": SourceFacts()}
    report = assemble_manifest(outcomes, tmp_path, CurationSettings(), store=store, facts=facts)
    found = {c.source: (c.identity, c.identity_from) for c in read_manifest(report.manifest)}
    assert found == {"a.mp4": ("anna", "official"), "b.mp4": (None, "source")}
    assert not (store.root / "identities").exists()


def test_somebody_who_is_officially_held_out_is_not_trained_on(tmp_path: Path, store: StepStore) -> None:
    faces = {
        "exam.mp4": 0.0,
        "more of him.mp4": 10.0,
        "other.mp4": 90.0,
        "trained.mp4": 180.0,
        "t2.mp4": 181.0,
    }
    facts = {"exam.mp4": SourceFacts(split="test"), "trained.mp4": SourceFacts(split="train")}
    report = assembled(faces, facts, tmp_path, store)
    assert report.contract.success, report.contract.failures
    found = {c.source: c.split for c in read_manifest(report.manifest)}
    assert set(found) == {"exam.mp4", "other.mp4", "trained.mp4", "t2.mp4"}
    assert (found["exam.mp4"], found["trained.mp4"], found["t2.mp4"]) == ("test", "train", "train")
    (lost,) = [d for d in read_decisions(report.decisions) if d.status == "rejected"]
    assert (lost.source, lost.reason, lost.clip_id) == ("more of him.mp4", "held_out_person", None)
    assert "officially in the split test" in lost.message
