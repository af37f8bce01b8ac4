"""What the report of an experiment shows and says, on tiny videos."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
import pytest

from lipforcing_core.base.products import write_json
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.media.encode import VideoWriter, write_wav
from lipforcing_core.metrics.manifest import EvalItem
from lipforcing_core.metrics.suite import Evaluation
from lipforcing_core.presets import load_preset
from tasks import experiment_report
from tasks.corpora import CuratedCorpus
from tasks.evaluation import Scorers
from tasks.experiment import Experiment
from tasks.experiment_report import REQUEST_FILE, sample_rows, sample_videos, trained_stages, write_report
from tasks.judging import COPY, TRUE, WITH_UNRELATED, Judged
from tasks.warehousing import HeldOutSet, RunInfo, System
from tasks.workspace import Workspace
from warehouse.report.context import ReportContext


def _video(path: Path, grey: int) -> Path:
    with VideoWriter(path, width=32, height=32) as writer:
        for _ in range(8):
            writer.write(np.full((32, 32, 3), grey, np.uint8))
    return path


@pytest.fixture
def judged(tmp_path: Path) -> Judged:
    """Two clips; the second has no source of its own and no unrelated speech."""
    sound = tmp_path / "speech.wav"
    write_wav(sound, np.zeros(16_000 * 8 // 25))
    videos = {
        (system, clip): _video(tmp_path / f"{number}_{clip}.mp4", 40 * number)
        for number, (system, clips) in enumerate(
            {TRUE: "ab", COPY: "a", "distilled": "ab", WITH_UNRELATED: "a"}.items(), 1
        )
        for clip in clips
    }
    labels = {TRUE: "Truth", COPY: "Source, copied", "distilled": "Student", WITH_UNRELATED: "Other audio"}
    return Judged(
        evaluation=cast(Evaluation, None),
        dataset=HeldOutSet(name="d", version="1", num_clips=2, description=""),
        systems=[System(system=s, label=label, kind="peer", description="") for s, label in labels.items()],
        items=[
            EvalItem(clip_id=clip, identity=clip, truth_video=videos[TRUE, clip], driving_audio=sound)
            for clip in "ab"
        ],
        videos=videos,
    )


def test_every_clip_shows_the_systems_that_it_has_the_source_first(judged: Judged) -> None:
    rows = sample_rows(judged, puppets=False)
    assert [row.caption for row in rows] == [f"{clip}, frame {frame}" for clip in "ab" for frame in (2, 4, 6)]
    assert list(rows[0].images) == ["Source, copied", "Truth", "Student", "Other audio"]
    assert list(rows[3].images) == ["Truth", "Student"]
    assert all(png.startswith(b"\x89PNG") for row in rows for png in row.images.values())


def test_videos_play_what_was_driven_by_their_sound(judged: Judged) -> None:
    first, second = sample_videos(judged, "to its own speech")
    assert first.caption == "a, to its own speech"
    assert first.columns == ["Source, copied", "Truth", "Student"]
    assert second.columns == ["Truth", "Student"]
    assert first.mp4[4:8] == b"ftyp"


def test_the_summary_says_where_the_teacher_came_from_and_how_many_steps_the_student_takes() -> None:
    nano = load_preset("nano")
    assert trained_stages(nano) == (
        f"a bidirectional teacher, finetuned from the base checkpoint {nano.base_checkpoint}, then a causal student of "
        "2 steps, then its distillation"
    )
    schedule = nano.schedule.model_copy(update={"t_list": (0.999, 0.9, 0.7, 0.0)})
    other = nano.model_copy(update={"base_checkpoint": None, "schedule": schedule})
    assert "trained from nothing, then a causal student of 3 steps" in trained_stages(other)


def test_the_page_names_its_own_model_request_and_stages(
    judged: Judged, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contexts: list[ReportContext] = []

    def build(_warehouse: Path, context: ReportContext, out: Path) -> Path:
        contexts.append(context)
        return out

    monkeypatch.setattr(experiment_report, "build_report", build)
    run = RunInfo(run_id="mine-1", flow="mine", config={})
    folder = tmp_path / "a run"
    folder.mkdir()
    write_json(folder / REQUEST_FILE, {"name": "mine"})
    experiment = Experiment(
        run=run,
        corpus=CuratedCorpus(manifest=tmp_path / "manifest.parquet"),
        curation=CurationSettings(),
        preset=load_preset("nano"),
        device="cpu",
        scorers=Scorers(),
        found=None,
    )
    page = write_report(Workspace(tmp_path), experiment, folder, judged, [], parameters=1.64)
    (context,) = contexts
    assert page == folder / "report.html"
    assert (folder / "frames.png").is_file()
    assert context.commands[0].command == f"lipforcing run train_eval --request '{folder}/request.json'"
    assert context.next_steps[0].command.endswith(f"--model '{folder}/models/distilled'")
    assert context.training_stages == ["base", "lora", "diffusion_forcing", "distill"]
    assert context.links == {"Request of the run": "request.json"}
    assert "a 1.6 M-parameter lip-sync model: a bidirectional teacher, finetuned" in context.summary
    assert "{" not in context.summary, "every place of the text is filled"
