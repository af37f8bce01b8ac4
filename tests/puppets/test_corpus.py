"""The corpus on disk: files hold what their truth says, and come back identical."""

from __future__ import annotations

import json
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from lipforcing_core.base.errors import BadInputError, MediaError
from lipforcing_core.media.decode import read_audio, read_frames
from lipforcing_core.media.probe import probe
from lipforcing_core.puppets import recording
from lipforcing_core.puppets.corpus import CorpusIndex, reel_plan, render_corpus, render_pairs, render_reels
from lipforcing_core.puppets.defects import OFFSETS, defect_plans
from lipforcing_core.puppets.pairs import INDEX, pair_plan, read_pair, render_pair
from lipforcing_core.puppets.recording import ClipPlan, Recording, render_clip
from lipforcing_core.puppets.truth import Outcome, read_truth, truth_path

SIZE = 128
SEED = 7


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> CorpusIndex:
    calls: list[tuple[int, int]] = []
    index = render_corpus(
        tmp_path_factory.mktemp("corpus"),
        seed=SEED,
        num_reels=2,
        num_pairs=1,
        size=SIZE,
        on_progress=lambda done, total: calls.append((done, total)),
    )
    total = 2 + len(defect_plans(SEED)) + 1
    assert calls == [(done, total) for done in range(1, total + 1)]
    return index


def defect(corpus: CorpusIndex, name: str) -> Path:
    """The clip whose name begins so."""
    return next(path for path in corpus.defects if path.stem.startswith(name))


def short(plan: ClipPlan, num_frames: int) -> ClipPlan:
    """The same plan with shots of so many frames."""
    shots = [replace(shot, script=replace(shot.script, num_frames=num_frames)) for shot in plan.shots]
    return replace(plan, shots=tuple(shots))


def test_folders_and_truth_files(corpus: CorpusIndex) -> None:
    assert [path.parent.name for path in corpus.reels] == ["reels", "reels"]
    assert all(path.is_file() and truth_path(path).is_file() for path in corpus.reels + corpus.defects)
    assert {path.name for path in corpus.pairs[0].iterdir()} == {
        *("source.mp4", "source.json", "truth.mp4", "truth.json", "driving.wav", "unrelated.wav", "pair.json")
    }
    assert not list(corpus.out_dir.rglob(".*"))


def test_reels_have_the_promised_shape(corpus: CorpusIndex) -> None:
    for path in corpus.reels:
        truth, info = corpus.truth(path), probe(path)
        assert (info.num_frames, info.frame_rate) == (truth.num_frames, truth.frame_rate)
        assert info.sample_rate == truth.sample_rate
        assert (info.width, info.height) == (SIZE, SIZE)
        assert len(truth.shots) == 3
        for shot in truth.shots:
            assert (shot.stop_frame - shot.start_frame) / truth.frame_rate * 25 >= 162
        for cut in truth.cuts:
            assert Fraction(cut.frame) / truth.frame_rate == Fraction(cut.frame_25, 25)
        assert truth.frames is not None
        assert len(truth.frames.aperture) == truth.num_frames
        assert truth.expected_outcome is Outcome.ACCEPT
    assert {corpus.truth(path).frame_rate for path in corpus.reels} == {25, 30}


def test_the_cut_detector_finds_exactly_the_planted_cuts(corpus: CorpusIndex) -> None:
    from scenedetect import AdaptiveDetector, detect

    for path in corpus.reels:
        found = [start.frame_num for start, _ in detect(str(path), AdaptiveDetector())][1:]
        assert found == [cut.frame for cut in corpus.truth(path).cuts]


def test_a_decoded_reel_shows_what_was_drawn(corpus: CorpusIndex) -> None:
    drawn = Recording(reel_plan(SEED, 0, size=SIZE))
    decoded = read_frames(corpus.reels[0], 0, 20).astype(int)
    expected = np.stack([frame for _, frame in zip(range(20), drawn.frames(), strict=False)])
    assert np.abs(decoded - expected).mean() < 4.0
    heard, spoken = read_audio(corpus.reels[0]), drawn.waveform()
    assert abs(len(heard) - len(spoken)) <= 640
    length = min(len(heard), len(spoken))
    assert np.corrcoef(heard[:length], spoken[:length])[0, 1] > 0.95


@pytest.mark.parametrize("offset", OFFSETS)
def test_an_injected_offset_is_in_the_samples_of_the_file(corpus: CorpusIndex, offset: int) -> None:
    """Positive: the matching sound lies earlier, so sound delayed by the offset fits the lips best."""
    path = defect(corpus, f"offset_{'early' if offset > 0 else 'late'}_{abs(offset):02d}")
    truth = corpus.truth(path)
    assert truth.av_offset_frames == offset
    assert truth.frames is not None
    aperture = np.array(truth.frames.aperture)
    sound = read_audio(path)[: len(aperture) * 640].reshape(len(aperture), 640)
    loudness = np.sqrt((sound.astype(np.float64) ** 2).mean(axis=1))
    reach = 12
    inner = slice(reach, len(aperture) - reach)
    delays = range(-reach, reach + 1)
    fit = [np.corrcoef(aperture[inner], np.roll(loudness, delay)[inner])[0, 1] for delay in delays]
    assert delays[int(np.argmax(fit))] == offset
    assert max(fit) > 0.6


def test_phonemes_move_with_the_injected_offset() -> None:
    plan = defect_plans(SEED, size=SIZE)["offset_early_07"]
    shifted = Recording(plan).truth("a.mp4").phonemes
    straight = Recording(replace(plan, av_offset_frames=0)).truth("a.mp4").phonemes
    assert straight[5][0] in {symbol for symbol, _, _ in shifted}
    later = next(p for p in straight if p[1] > 1.0)
    assert any(p[0] == later[0] and p[1] == pytest.approx(later[1] - 0.28, abs=2e-4) for p in shifted)


def test_defects_are_what_they_are_called(corpus: CorpusIndex) -> None:
    assert not probe(defect(corpus, "no_audio")).has_audio
    assert np.abs(read_audio(defect(corpus, "silent_audio"))).max() < 1e-4
    assert probe(defect(corpus, "too_short")).duration_s == 3
    with pytest.raises(MediaError):
        probe(defect(corpus, "truncated"))
    sharp = next(Recording(replace(defect_plans(SEED, size=SIZE)["blurred"], blur_sigma=0.0)).frames())
    assert detail(read_frames(defect(corpus, "blurred"), 0, 1)[0]) < 0.1 * detail(sharp)
    assert corpus.truth(defect(corpus, "faceless")).frames is None
    for path in corpus.defects:
        truth = corpus.truth(path)
        assert (truth.expected_reason is None) == (truth.expected_outcome is Outcome.ACCEPT)


def detail(frame: np.ndarray) -> float:
    """Power of the differences between neighbours' differences."""
    return float((np.diff(frame.astype(float), n=2, axis=0) ** 2).mean())


def test_the_scene_without_a_face_moves() -> None:
    frames = [*Recording(short(defect_plans(SEED, size=SIZE)["faceless"], 30)).frames()]
    assert np.abs(frames[0].astype(int) - frames[-1]).mean() > 1.0


def test_unusual_packagings_decode_to_the_drawn_picture(corpus: CorpusIndex) -> None:
    plans = defect_plans(SEED, size=SIZE)
    rotated = defect(corpus, "rotated")
    assert probe(rotated).rotation_deg % 360 in (90, 270)
    drawn = next(Recording(plans["rotated"]).frames()).astype(int)
    assert np.abs(read_frames(rotated, 0, 1)[0] - drawn).mean() < 5.0

    odd = defect(corpus, "odd_size")
    assert not odd.name.isascii()
    truth, info = corpus.truth(odd), probe(odd)
    assert (info.width, info.height) == (truth.width_px, truth.height_px) == (SIZE - 1, SIZE - 3)

    uneven = defect(corpus, "variable_rate")
    truth = corpus.truth(uneven)
    assert probe(uneven).is_variable_rate
    assert len(read_frames(uneven)) == truth.num_frames
    assert truth.frames is not None
    assert len(set(np.round(np.diff(truth.frames.time_s), 4))) > 1


def test_the_same_plan_gives_the_same_bytes(tmp_path: Path) -> None:
    plan = short(reel_plan(3, 1, size=SIZE), 12)
    for name in ("one.mp4", "two.mp4"):
        render_clip(tmp_path / name, plan)
    assert (tmp_path / "one.mp4").read_bytes() == (tmp_path / "two.mp4").read_bytes()
    render_clip(tmp_path / "three.mp4", short(reel_plan(4, 1, size=SIZE), 12))
    assert (tmp_path / "one.mp4").read_bytes() != (tmp_path / "three.mp4").read_bytes()


def test_finished_clips_are_kept_and_others_drawn_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, plan = tmp_path / "clip.mp4", short(reel_plan(3, 0, size=SIZE), 8)
    truth = render_clip(path, plan)
    assert read_truth(path) == truth
    written = path.stat().st_mtime_ns
    assert render_clip(path, plan) == truth
    assert path.stat().st_mtime_ns == written
    truth_path(path).write_text("{", encoding="utf-8")
    assert render_clip(path, plan) == truth
    assert path.stat().st_mtime_ns != written

    monkeypatch.setattr(recording, "package", _full_disk)
    with pytest.raises(OSError, match="No space"):
        render_clip(tmp_path / "other.mp4", plan)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["clip.json", "clip.mp4"]


def _full_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


def test_the_truth_of_a_pair_is_the_same_motion_with_the_driving_speech(corpus: CorpusIndex) -> None:
    folder = corpus.pairs[0]
    pair = corpus.pair(folder)
    source, truth, other = pair.source.frames, pair.truth.frames, pair.unrelated_speech.frames
    assert source is not None
    assert truth is not None
    assert other is not None
    assert pair.source.num_frames == pair.truth.num_frames == 81
    assert source.face_box == truth.face_box
    assert source.landmarks["nose"] == truth.landmarks["nose"]
    driving, unrelated = read_audio(folder / "driving.wav"), read_audio(folder / "unrelated.wav")
    assert len(driving) == len(unrelated) == 81 * 640
    loudness = np.sqrt((driving.reshape(81, 640).astype(np.float64) ** 2).mean(axis=1))
    fits = [np.corrcoef(loudness, columns.aperture)[0, 1] for columns in (truth, source, other)]
    assert fits[0] > 0.6
    assert max(fits[1:]) < 0.5
    pictures = read_frames(folder / "source.mp4").astype(int), read_frames(folder / "truth.mp4").astype(int)
    top = int(min(y for _, y in truth.landmarks["nose"])) - 12
    assert np.abs(pictures[0][:, :top] - pictures[1][:, :top]).mean() < 1.5


def test_a_finished_pair_is_kept(tmp_path: Path) -> None:
    plan = pair_plan(1, 0, num_frames=5, size=SIZE)
    first = render_pair(tmp_path, plan)
    written = (tmp_path / INDEX).stat().st_mtime_ns
    assert render_pair(tmp_path, plan) == first == read_pair(tmp_path)
    assert (tmp_path / INDEX).stat().st_mtime_ns == written
    (tmp_path / "driving.wav").unlink()
    assert render_pair(tmp_path, plan) == first
    assert (tmp_path / "driving.wav").is_file()


def test_seeds_separate_reels_pairs_and_defects() -> None:
    plans = [reel_plan(SEED, index) for index in range(8)]
    plans += [pair_plan(SEED, index).driven for index in range(8)]
    plans += [*defect_plans(SEED).values()]
    speeches = [shot.speech_seed for plan in plans for shot in plan.shots]
    assert len(set(speeches)) == len(speeches)


def test_nothing_asked_gives_nothing(tmp_path: Path) -> None:
    assert render_reels(tmp_path, 0, 0) == []
    assert render_pairs(tmp_path, 0, 0) == []


def test_missing_damaged_and_foreign_truth_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"clip\.json: there is no truth file"):
        read_truth(tmp_path / "clip.mp4")
    for content in ("{", "[]", json.dumps({"truth_version": 99}), json.dumps({"truth_version": 1})):
        (tmp_path / "clip.json").write_text(content, encoding="utf-8")
        with pytest.raises(BadInputError, match=r"clip\.json"):
            read_truth(tmp_path / "clip.mp4")
    with pytest.raises(BadInputError, match="no held-out item"):
        read_pair(tmp_path)


def test_plans_that_cannot_be_recorded_are_refused() -> None:
    plan = reel_plan(SEED, 0, size=SIZE)
    with pytest.raises(ValueError, match="limit 10"):
        replace(plan, av_offset_frames=11)
    with pytest.raises(ValueError, match="at least one shot"):
        replace(plan, shots=())
