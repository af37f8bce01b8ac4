"""The benchmark of curation on a tiny clip: what is counted, and that the stages are the whole; no times."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from benchmarks import curation
from benchmarks.curation import Plan, compare, extent, limit, main, overhead, spent, table
from benchmarks.recipe import CLIPS, Recipe
from benchmarks.stages import DECODE, REST, Clocks, Stages
from lipforcing_core.base.products import StepStore
from lipforcing_core.curation.backends import CurationBackends
from lipforcing_core.curation.pipeline import curate_source
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.media.decode import opened_video, presentation_times
from lipforcing_core.media.encode import VideoWriter, mux
from lipforcing_core.quality.protocol import QualityScore
from lipforcing_core.sound.activity.protocol import SpeechActivity
from lipforcing_core.sync.offset import SyncScore

SECONDS = 3
FRAMES = 25 * SECONDS
SIZE = (160, 120)
SETTINGS = CurationSettings(min_segment_s=1.0, max_segment_s=10.0)


class _Face:
    """Finds the same face in every picture."""

    backend_id = "same-v1"

    def __init__(self) -> None:
        self.calls = 0

    def detect(self, frame: np.ndarray) -> list[Face]:
        self.calls += 1
        points = np.array([[60.0, 45.0], [100.0, 45.0], [80.0, 60.0], [65.0, 80.0], [95.0, 80.0]])
        return [Face(box_xyxy=(45.0, 20.0, 115.0, 105.0), score=1.0, points=points)]


class _Expert:
    backend_id = "even-v1"

    def score(self, frames: np.ndarray, waveform: np.ndarray) -> SyncScore:
        return SyncScore(
            confidence=9.0,
            distance=1.0,
            offset_frames=0,
            num_windows=len(frames),
            backend=self.backend_id,
            distances=(1.0,) * 31,
        )


class _Quality:
    backend_id = "fine-v1"

    def __init__(self) -> None:
        self.frames: list[int] = []

    def score(self, frames: np.ndarray) -> QualityScore:
        self.frames.append(len(frames))
        return QualityScore(value=90.0, backend=self.backend_id, higher_is_better=True)


class _Activity:
    backend_id = "speaks-v1"

    def activity(self, waveform_S: np.ndarray) -> SpeechActivity:
        hops = np.ones(-(-len(waveform_S) // 512), dtype=np.float32)
        return SpeechActivity(probability_N=hops, hop=512, num_samples=len(waveform_S))


@pytest.fixture
def backends() -> CurationBackends:
    return CurationBackends(detector=_Face(), sync_expert=_Expert(), quality=_Quality(), activity=_Activity())


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three seconds of moving noise of 25 frames a second, with sound."""
    folder = tmp_path_factory.mktemp("clip")
    rng = np.random.default_rng(0)
    width, height = SIZE
    noise_HW3 = rng.integers(0, 255, (height, width, 3), dtype=np.uint8)
    with VideoWriter(folder / "picture.mp4", width=width, height=height) as writer:
        for frame in range(FRAMES):
            writer.write(np.roll(noise_HW3, frame, axis=1))
    mux(folder / "picture.mp4", rng.uniform(-0.3, 0.3, 16000 * SECONDS), folder / "clip.mp4")
    return folder / "clip.mp4"


def test_curation_decodes_a_source_once_and_a_clip_once(
    clip: Path, backends: CurationBackends, tmp_path: Path
) -> None:
    stages = Stages()
    with stages.attached():
        curate_source(clip, settings=SETTINGS, backends=backends, store=StepStore(tmp_path), root=clip.parent)
    assert (stages.source_frames, stages.clip_frames) == (FRAMES, FRAMES)
    assert {DECODE, "clip decode", "encode", "sync", "quality", "placing", "crops: warp"} <= set(
        stages.seconds
    )


@pytest.mark.parametrize(("copies", "source_passes"), [(False, 4), (True, 3)])
def test_the_recipe_decodes_every_copy(
    copies: bool, source_passes: int, clip: Path, backends: CurationBackends, tmp_path: Path
) -> None:
    """Resampling, cut search, cutting and alignment read frames of the source; muxing, sync and rating the clip's."""
    recipe = Recipe(tmp_path, backends, copies_25fps=copies)
    (product,) = recipe.run(clip)
    assert recipe.source_frames == source_passes * FRAMES
    assert recipe.clip_frames == 3 * FRAMES
    assert isinstance(backends.detector, _Face)
    assert backends.detector.calls == FRAMES
    assert isinstance(backends.quality, _Quality)
    assert backends.quality.frames == [3]
    assert product.parent == tmp_path / CLIPS
    assert len(presentation_times(product)) == FRAMES
    with opened_video(product) as (container, stream):
        assert (stream.width, stream.height) == (512, 512)
        assert len(container.streams.audio) == 1
    for step in ("resampled", "scenes", "pieces", "aligned", "synced"):
        assert len(list((tmp_path / step).glob("*.mp4"))) == 1, step


def test_the_recipe_drops_a_piece_with_a_frame_without_a_face(
    clip: Path, backends: CurationBackends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends.detector, "detect", lambda frame: [])
    assert Recipe(tmp_path, backends).run(clip) == []


def test_stages_add_up_to_the_whole_and_are_told_without_what_runs_inside(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The clocks are read five times: when made, and at both ends of two nested parts."""
    readings = iter(
        [
            Clocks(0, 0, 0),
            Clocks(1, 1, 0),
            Clocks(3, 2, 5),
            Clocks(6, 4, 5),
            Clocks(10, 8, 6),
        ]
    )
    monkeypatch.setattr("benchmarks.stages._now", lambda: next(readings))
    stages = Stages()
    with stages.part("outer"), stages.part("inner"):
        pass
    assert stages.seconds[REST] == Clocks(1, 1, 0)
    assert stages.seconds["outer"] == Clocks(2 + 4, 1 + 4, 5 + 1)
    assert stages.seconds["inner"] == Clocks(3, 2, 0)


def test_while_a_source_is_read_other_threads_are_those_of_its_decoder(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    readings = iter([Clocks(), Clocks(1, 1, 0), Clocks(2, 2, 0), Clocks(5, 4, 7), Clocks(6, 5, 7)])
    monkeypatch.setattr("benchmarks.stages._now", lambda: next(readings))
    stages = Stages()
    with stages.part("reading"), stages.part("encode"):
        pass
    assert stages.seconds["encode"] == Clocks(3, 2, 0)
    assert stages.seconds[DECODE] == Clocks(0, 0, 7)


def test_functions_are_put_back() -> None:
    from lipforcing_core.curation import crops, reading, steps

    before = (reading.cut_out, steps.read, crops.warped_yuv)
    with Stages().attached():
        assert reading.cut_out is not before[0]
    assert (reading.cut_out, steps.read, crops.warped_yuv) == before


def test_the_table_tells_shares_and_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    stages = Stages()
    stages.seconds = {DECODE: Clocks(wall=1.0, caller=0.5, others=2.5), "encode": Clocks(1.0, 1.0, 0.0)}
    first, second = table(stages, 100)
    assert (first["stage"], first["cpu_ms_per_frame"], first["frames_per_s"]) == (DECODE, 30.0, 33.3)
    assert (first["share"], second["share"]) == (0.75, 0.25)
    assert first["limit"] == "threads of the decoder"
    monkeypatch.setattr(curation, "usable_cpus", lambda: 2)
    assert limit(stages, 100).startswith("the 2 cores: 50 frames/s")
    monkeypatch.setattr(curation, "usable_cpus", lambda: 8)
    assert limit(stages, 100).startswith("the calling thread: 67 frames/s")


def test_children_are_counted() -> None:
    """A child that computes for a while costs CPU time that this process does not spend itself."""
    import subprocess
    import sys

    busy = "import time\nwhile time.process_time() < 0.3: pass"
    assert spent(lambda: subprocess.run([sys.executable, "-c", busy], check=True))["cpu_s"] >= 0.25


def test_both_are_compared_and_their_sums_fit(
    clip: Path, backends: CurationBackends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curation, "load_backends", lambda settings: backends)
    result = compare(clip, Plan(settings=SETTINGS, repeats=1), tmp_path)
    assert sum(row["share"] for row in result["stages"]) == pytest.approx(1.0, abs=0.01)
    assert (result["curation"]["source_passes"], result["recipe"]["source_passes"]) == (1, 4)
    assert (result["curation"]["clip_passes"], result["recipe"]["clip_passes"]) == (1, 3)
    assert result["recipe"]["clips"] == 1
    assert result["recipe"]["beside_over_source"] > 1
    cpu_s = result["samples"]["recipe"][0]["cpu_s"] / result["samples"]["curation"][0]["cpu_s"]
    assert result["recipe_over_curation_cpu"] == pytest.approx(cpu_s, abs=0.01)
    assert not list(tmp_path.iterdir()), "a run clears up behind itself"


def test_disk_beside_the_products(
    clip: Path, backends: CurationBackends, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At least the sound with 15 frames before and after it stays beside the clip: 32 kB a second."""
    monkeypatch.setattr(curation, "load_backends", lambda settings: backends)
    found = extent(clip, SETTINGS, tmp_path)
    sound = 2 * 640 * (FRAMES + 30)
    assert 0.5 * sound < found["beside_over_source"] * clip.stat().st_size < sound + 20_000  # kept as FLAC
    assert found["peak_memory_gb"] >= found["of_it_before_the_source_gb"] > 0


def test_the_command_line_measures_a_clip(
    clip: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(curation, "TINY_SOURCES", 2)
    monkeypatch.setattr(curation, "_in_fresh_process", _here)
    main([str(clip), "--repeats", "1", "--skip-recipe", "--output", str(tmp_path)])
    printed = capsys.readouterr().out
    assert "CPU s a second of video" in printed
    (file,) = tmp_path.glob("curation_lbp_*.json")
    kept = json.loads(file.read_text())
    assert kept["clips"][0]["frames"] == FRAMES
    assert "recipe" not in kept["clips"][0]
    assert kept["recipe_reencodes_25fps"] is True
    assert kept["overhead_per_source"]["cpu_ms"] > 0


def _here(work: Callable[..., object], *arguments: object) -> object:
    return work(*arguments)


def test_a_missing_model_ends_with_a_sentence() -> None:
    with pytest.raises(SystemExit, match="scrfd"):
        main(["--detector", "scrfd", "--skip-recipe", "nowhere.mp4"])


def test_overhead_is_that_of_a_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(curation, "TINY_SOURCES", 2)
    found = overhead(SETTINGS, tmp_path)
    assert 0 < found["cpu_ms"] < 1000
    assert found["wall_ms"] > 0
