"""Near-duplicates of a corpus: which clip stays, what becomes of the other, and what the contract says."""

from __future__ import annotations

import hashlib
import itertools
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.assemble import CurationReport, assemble_manifest, mark_duplicates
from lipforcing_core.curation.contract import check_contract
from lipforcing_core.curation.duplicates import find_twins
from lipforcing_core.curation.funnel import balance
from lipforcing_core.curation.manifest import read_decisions, read_manifest
from lipforcing_core.curation.prints import (
    PrintedClip,
    read_fingerprints,
    read_printed,
    write_fingerprints,
)
from lipforcing_core.curation.records import ClipRecord, Decision, SourceFacts, SourceOutcome, StoredClip
from lipforcing_core.curation.results import FingerprintResult
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.fingerprints.clips import ClipFingerprint
from lipforcing_core.fingerprints.picture import PictureFingerprint

from .test_outcomes import clip

SCORES = {
    "loudness_dbfs": -20.0,
    "detected_fraction": 1.0,
    "absent_frames": 0,
    "face_height_px": 200.0,
    "detector_backend": "d",
    "sync_confidence": 8.0,
    "sync_distance": 6.0,
    "av_offset_measured": 0,
    "av_offset_applied": 0,
    "av_offset_remaining": 0,
    "sync_backend": "s",
    "quality": 20.0,
    "quality_backend": "q",
}


def footage(seed: int) -> ClipFingerprint:
    """A fingerprint that has nothing to do with those of other seeds."""
    rng = np.random.default_rng(seed)
    return ClipFingerprint(
        picture=PictureFingerprint(look=7, motion_TB=rng.integers(-40, 40, (24, 24)).astype(np.int8)),
        codes_N=np.repeat(rng.integers(1, 2**32, 48, dtype=np.uint32), 5),
    )


def dubbed(own: ClipFingerprint, seed: int) -> ClipFingerprint:
    """The same picture with the sound of another seed."""
    return ClipFingerprint(picture=own.picture, codes_N=footage(seed).codes_N)


def printed(clip_id: str, source: str, split: str, print_: ClipFingerprint, **more: object) -> PrintedClip:
    values = {"start_frame": 0, "clip_id": clip_id, "source": source, "split": split, "fingerprint": print_}
    return PrintedClip(**(values | more))  # type: ignore[arg-type]


def told(clips: list[PrintedClip], *, reject: bool = False) -> dict[str, tuple[str, bool]]:
    return {name: (twin.of.clip_id, twin.rejects) for name, twin in find_twins(clips, reject=reject).items()}


@pytest.mark.parametrize("order", itertools.permutations(range(3)))
def test_within_a_split_the_shortest_name_stays_and_the_others_are_marked(order: tuple[int, ...]) -> None:
    clips = [
        printed("a", "backup/copy.mp4", "train", footage(1)),
        printed("b", "talk.mp4", "train", footage(1)),
        printed("c", "x.mp4", "train", footage(2)),
    ]
    assert told([clips[n] for n in order]) == {"a": ("b", False)}
    assert told([clips[n] for n in order], reject=True) == {"a": ("b", True)}


def test_test_stays_before_val_before_train_and_the_other_splits_lose_theirs() -> None:
    clips = [
        printed("a", "a.mp4", "train", footage(1)),
        printed("b", "long name.mp4", "val", footage(1)),
        printed("c", "longest name.mp4", "test", footage(1)),
    ]
    assert told(clips) == {"a": ("c", True), "b": ("c", True)}


def test_the_first_of_a_source_stays() -> None:
    clips = [
        printed("a", "a.mp4", "train", footage(1), start_frame=200),
        printed("b", "a.mp4", "train", footage(1), start_frame=100),
    ]
    assert told(clips) == {"a": ("b", False)}


def test_a_marked_clip_still_bars_its_other_twins_from_other_splits() -> None:
    """b has the picture of a and the sound of c: a and c have nothing in common, but b is in val with a."""
    a, c = footage(1), footage(2)
    b = ClipFingerprint(picture=a.picture, codes_N=c.codes_N)
    clips = [
        printed("a", "a.mp4", "val", a),
        printed("b", "bb.mp4", "val", b),
        printed("c", "c.mp4", "train", c),
    ]
    assert told(clips) == {"b": ("a", False), "c": ("b", True)}
    assert told(clips, reject=True) == {"b": ("a", True)}, "b is gone, and c is like nobody"


def test_a_twin_says_what_is_the_same_and_how_far_apart_it_is() -> None:
    own = footage(1)
    clips = [
        printed("a", "a.mp4", "test", own),
        printed("b", "b.mp4", "train", dubbed(own, 9), start_frame=50),
    ]
    twin = find_twins(clips, reject=False)["b"]
    assert twin.words == "same picture as a.mp4 from frame 0 (test)"
    assert (twin.distance, twin.threshold) == (pytest.approx(0, abs=1e-6), 0.4)
    clips[1] = printed(
        "b", "b.mp4", "train", ClipFingerprint(picture=footage(5).picture, codes_N=own.codes_N)
    )
    twin = find_twins(clips, reject=False)["b"]
    assert (twin.words, twin.threshold) == ("same sound as a.mp4 from frame 0 (test)", 0.35)


def test_clips_of_other_data_sets_stay_and_are_not_told_of() -> None:
    clips = [
        printed("a", "a.mp4", "test", footage(1)),
        printed("z", "zzz.mp4", "train", footage(1), origin="other/manifest.parquet"),
        printed("y", "yyy.mp4", "train", footage(1), origin="other/manifest.parquet"),
    ]
    assert told(clips) == {"a": ("y", True)}


def stored(store: StepStore, name: str, print_: ClipFingerprint | None, **changes: object) -> SourceOutcome:
    """A source with one accepted clip of 125 frames whose files lie in the store."""
    clip_id = hashlib.sha256(name.encode()).hexdigest()[:16]
    values: dict[str, object] = {
        "clip_id": clip_id,
        "source_id": clip_id,
        "source": name,
        "source_sha256": clip_id * 4,
        "licence": None,
        "commercial_ok": None,
        "clip_path": f"clips/{clip_id}.mp4",
        "audio_path": f"clips/{clip_id}.wav",
        "alignment_path": f"clips/{clip_id}.npz",
        "clip_sha256": clip_id * 4,
        "audio_sha256": clip_id * 4,
        "scores": SCORES,
    }
    record = clip(**(values | changes))
    for kind in ("mp4", "wav", "npz"):
        path = store.root / f"{clip_id}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
    fingerprint = None
    if print_ is not None:
        result = FingerprintResult.of(print_).to_json()
        fingerprint = f"fingerprint/{clip_id}/result.json"
        store.run("fingerprint", clip_id, lambda folder: result)
    decision = Decision.model_validate(
        SCORES
        | {"source": name, "source_id": clip_id, "level": "segment", "start_frame": 0, "stop_frame": 125}
        | {"seconds": 5.0, "status": "accepted", "clip_id": clip_id}
    )
    names = {"clip": f"{clip_id}.mp4", "audio": f"{clip_id}.wav", "alignment": f"{clip_id}.npz"}
    return SourceOutcome(
        source=name,
        source_id=clip_id,
        sha256=clip_id * 4,
        frames_in=125,
        clips=(StoredClip(record=record, fingerprint=fingerprint, **names),),
        decisions=(decision,),
    ).check_balance()


def assembled(
    outcomes: list[SourceOutcome],
    folder: Path,
    store: StepStore,
    splits: dict[str, str] | None = None,
    against: list[Path] | None = None,
    **chosen: object,
) -> CurationReport:
    facts = {o.source: SourceFacts.model_validate({"split": (splits or {}).get(o.source)}) for o in outcomes}
    settings = CurationSettings.model_validate({"val_fraction": 0.0} | chosen)
    return assemble_manifest(outcomes, folder, settings, store=store, facts=facts, against=against or [])


def test_a_repeat_of_a_test_clip_becomes_a_rejection_that_names_it(tmp_path: Path, store: StepStore) -> None:
    outcomes = [stored(store, "exam.mp4", footage(1)), stored(store, "b.mp4", dubbed(footage(1), 4))]
    report = assembled(outcomes, tmp_path / "a", store, {"exam.mp4": "test"})
    assert report.contract.success, report.contract.failures
    (kept,) = read_manifest(report.manifest)
    (lost,) = [d for d in read_decisions(report.decisions) if d.status == "rejected"]
    assert (kept.source, kept.split, kept.duplicate_of) == ("exam.mp4", "test", None)
    assert (lost.source, lost.reason, lost.duplicate_of) == ("b.mp4", "near_duplicate", kept.clip_id)
    assert (lost.measured, lost.threshold) == (pytest.approx(0, abs=1e-6), 0.4)
    assert lost.scores.sync_confidence == 8.0
    assert report.balance.holds
    assert not (tmp_path / "a" / "clips" / f"{outcomes[1].source_id}.mp4").exists()
    assert {row.stage: row.num_frames for row in report.funnel}["unique"] == 125
    assert list(read_fingerprints(tmp_path / "a" / "fingerprints.parquet")) == [kept.clip_id]
    second = assembled(outcomes[::-1], tmp_path / "b", store, {"exam.mp4": "test"})
    for one, other in ((report.manifest, second.manifest), (report.decisions, second.decisions)):
        assert one.read_bytes() == other.read_bytes()


@pytest.mark.parametrize(("mode", "clips", "marked"), [("mark", 2, 1), ("reject", 1, 0), ("off", 2, 0)])
def test_the_settings_say_what_becomes_of_a_repeat_within_a_split(
    mode: str, clips: int, marked: int, tmp_path: Path, store: StepStore
) -> None:
    outcomes = [stored(store, "a.mp4", footage(1)), stored(store, "bb.mp4", footage(1))]
    report = assembled(outcomes, tmp_path / "a", store, near_duplicates=mode)
    found = read_manifest(report.manifest)
    assert len(found) == clips
    assert [c.duplicate_of for c in found if c.duplicate_of] == [outcomes[0].source_id] * marked
    decided = {d.source: d.duplicate_of for d in read_decisions(report.decisions)}
    assert decided == {"a.mp4": None, "bb.mp4": None if mode == "off" else outcomes[0].source_id}
    assert report.contract.success, report.contract.failures


def test_another_data_set_is_held_against_its_manifest(tmp_path: Path, store: StepStore) -> None:
    published = assembled(
        [stored(store, "old.mp4", footage(1))], tmp_path / "old", store, {"old.mp4": "test"}
    )
    outcomes = [stored(store, "b.mp4", footage(1)), stored(store, "c.mp4", footage(2))]
    report = assembled(outcomes, tmp_path / "new", store, against=[published.manifest])
    assert [c.source for c in read_manifest(report.manifest)] == ["c.mp4"]
    (lost,) = [d for d in read_decisions(report.decisions) if d.status == "rejected"]
    assert lost.duplicate_of == read_manifest(published.manifest)[0].clip_id
    assert str(published.manifest) in lost.message
    with pytest.raises(BadInputError, match="nothere: there is no such data set; give a curation's manifest"):
        read_printed([tmp_path / "nothere"])
    published.manifest.with_name("fingerprints.parquet").unlink()
    with pytest.raises(BadInputError, match="curate that data set again"):
        assembled(outcomes, tmp_path / "new", store, against=[published.manifest])


def test_a_data_set_is_known_by_its_folder_or_by_its_fingerprints_alone(
    tmp_path: Path, store: StepStore
) -> None:
    published = assembled(
        [stored(store, "old.mp4", footage(1))], tmp_path / "old", store, {"old.mp4": "test"}
    )
    (known,) = read_printed([published.manifest])
    prints = tmp_path / "old" / "fingerprints.parquet"
    assert read_printed([tmp_path / "old"])[0].origin == str(published.manifest) == known.origin
    for given in (prints, tmp_path / "old"):
        (alone,) = read_printed([given])
        assert alone.origin == str(prints)
        assert (alone.clip_id, alone.source, alone.start_frame, alone.split) == (
            known.clip_id,
            "old.mp4",
            known.start_frame,
            "test",
        )
        assert np.array_equal(alone.fingerprint.codes_N, known.fingerprint.codes_N)
        published.manifest.unlink(missing_ok=True)
    report = assembled(
        [stored(store, "b.mp4", footage(1))], tmp_path / "new", store, against=[tmp_path / "old"]
    )
    assert read_manifest(report.manifest) == []
    table = pq.read_table(prints)
    pq.write_table(table.drop_columns(["split"]), prints)
    with pytest.raises(BadInputError, match="no file of fingerprints"):
        read_printed([prints])


def test_fingerprints_come_back_as_they_were(tmp_path: Path) -> None:
    prints = {"b" * 16: footage(2), "a" * 16: footage(1)}
    clips = [clip(clip_id=name, source=f"{name[0]}.mp4", split="val") for name in (*prints, "c" * 16)]
    for name in ("x", "y"):
        write_fingerprints(tmp_path / name, clips, prints)
        clips = clips[::-1]
    assert (tmp_path / "x").read_bytes() == (tmp_path / "y").read_bytes()
    found = read_fingerprints(tmp_path / "x")
    assert list(found) == ["a" * 16, "b" * 16]
    for name, own in prints.items():
        assert found[name].picture.look == own.picture.look
        assert np.array_equal(found[name].picture.motion_TB, own.picture.motion_TB)
        assert np.array_equal(found[name].codes_N, own.codes_N)
    (tmp_path / "x").write_bytes(b"no")
    with pytest.raises(BadInputError, match="no file of fingerprints"):
        read_fingerprints(tmp_path / "x")
    with pytest.raises(BadInputError, match="no such data set"):
        read_printed([tmp_path / "manifest.parquet"])


def test_clips_from_before_fingerprints_are_left_alone(tmp_path: Path, store: StepStore) -> None:
    outcomes = [stored(store, "a.mp4", None), stored(store, "b.mp4", footage(1))]
    report = assembled(outcomes, tmp_path, store)
    assert [c.source for c in read_manifest(report.manifest)] == ["a.mp4", "b.mp4"]


def test_a_pair_in_two_splits_breaks_the_contract(store: StepStore) -> None:
    settings = CurationSettings()
    outcomes = [stored(store, "a.mp4", None), stored(store, "b.mp4", None)]
    a, b = (o.clips[0].record for o in outcomes)
    decisions = [d for o in outcomes for d in o.decisions]

    def leaks(*clips: ClipRecord, others: dict[str, str] | None = None) -> list[str]:
        result = check_contract(clips, decisions, balance(outcomes), settings, {}, others)
        return [example for c in result.failures if c.table == "twins" for example in c.examples]

    marked = b.model_copy(update={"duplicate_of": a.clip_id})
    assert leaks(a, b) == leaks(a, marked) == []
    held_out = marked.model_copy(update={"split": "test"})
    assert leaks(a, held_out) == [f"{b.clip_id} (test) repeats {a.clip_id} (train)"]
    same_bytes = b.model_copy(update={"split": "val", "clip_sha256": a.clip_sha256})
    assert leaks(a, same_bytes) == [f"{b.clip_id} (val) repeats {a.clip_id} (train)"]
    foreign = b.model_copy(update={"duplicate_of": "ff" * 8})
    assert leaks(foreign, others={"ff" * 8: "train"}) == []
    assert leaks(foreign, others={"ff" * 8: "test"}) == [f"{b.clip_id} (train) repeats {'ff' * 8} (test)"]


def test_of_equal_files_the_one_with_the_official_test_split_is_kept(store: StepStore) -> None:
    own = stored(store, "a.mp4", None)
    copy = own.model_copy(update={"source": "a longer name.mp4"})
    facts = {"a longer name.mp4": SourceFacts(split="test"), "a.mp4": SourceFacts(split="train")}
    kept = {o.source: o.decisions[0].duplicate_of for o in mark_duplicates([own, copy], facts)}
    assert kept == {"a longer name.mp4": None, "a.mp4": "a longer name.mp4"}
    kept = {o.source: o.decisions[0].duplicate_of for o in mark_duplicates([own, copy])}
    assert kept == {"a longer name.mp4": "a.mp4", "a.mp4": None}
