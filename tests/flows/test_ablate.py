"""The grid of ablations: what its cells share, what a second run does, and what a mistaken request is told.

The stages are trained for real, of a tiny network; the corpus and the scores are made up.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from flows import ablate as flow
from flows.catalogue import FLOWS, parse_request, run_flow
from flows.summaries import AblateSummary
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.metrics.protocol import precropped
from lipforcing_core.metrics.suite import Evaluation
from lipforcing_core.metrics.values import MetricValue
from lipforcing_core.presets import Preset
from lipforcing_core.runtime.bundle import describe_bundle
from tasks import ablation, experiment
from tasks.experiment import FoundCorpus, Parents
from tasks.judging import Judged
from tasks.training import TrainedModel
from tasks.training_sets import TrainingSet
from tasks.warehousing import HeldOutSet, System
from tests.tasks.tiny_training import short_preset, tiny_training_set, train_in_process
from warehouse.query import fetch

HELD_OUT = HeldOutSet(name="clips", version="1", num_clips=2, description="two clips")
SHARED = ["train-base", "train-lora", "train-diffusion_forcing"]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    return tiny_training_set(tmp_path_factory.mktemp("training-set"))


class World:
    """What ran: the jobs of training, and the presets and bundles of the students that were judged."""

    def __init__(self, jobs: list[str]) -> None:
        self.jobs = jobs
        self.judged: list[tuple[Preset, Path]] = []
        self.parents: list[tuple[Path, Path]] = []
        self.die_after: int | None = None

    def judge(
        self, _workspace: Any, _items: Any, dataset: HeldOutSet, models: Mapping[str, TrainedModel],
        preset: Preset, *, controls: bool, **_: Any,
    ) -> Judged:  # fmt: skip
        assert not controls
        assert set(models) == {"distilled"}
        if self.die_after is not None and len(self.judged) >= self.die_after:
            raise KeyboardInterrupt
        self.judged.append((preset, models["distilled"].bundle))
        value = MetricValue(
            system="distilled", clip_id=None, metric="sync_c", value=4.0 + 0.1 * len(self.judged), n=2,
            protocol_id=precropped().id, backend="fake@1", no_interval_because="made up",
        )  # fmt: skip
        evaluation = Evaluation(
            protocol=precropped(), values=(value,), unavailable=(), differences=(), missing=()
        )
        system = System(
            system="distilled", label="Distilled student", kind="student", description="made up",
            variant=preset.name, num_steps=len(preset.schedule.t_list) - 1,
        )  # fmt: skip
        return Judged(evaluation=evaluation, dataset=dataset, systems=[system], items=[], videos={})


@pytest.fixture
def world(data: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> World:
    """A made-up corpus and made-up scores, with training of a tiny network."""
    world = World(train_in_process(monkeypatch))
    found = SimpleNamespace(encoded=lambda _store, _preset: data)
    distil = experiment.training.distill_student

    def distil_noted(
        store: Any, preset: Any, given: Any, teacher: Path, student: Path, *rest: Any, **kw: Any
    ) -> Any:
        world.parents.append((teacher, student))
        return distil(store, preset, given, teacher, student, *rest, **kw)

    monkeypatch.setattr(experiment, "training_data", lambda *_: found)
    monkeypatch.setattr(experiment.training, "distill_student", distil_noted)
    made_up(world, monkeypatch)
    return world


@pytest.fixture
def untrained(data: TrainingSet, monkeypatch: pytest.MonkeyPatch) -> World:
    """As ``world``, with made-up models."""
    world = World([])

    def model(stage: str) -> TrainedModel:
        world.jobs.append(stage)
        row = {"stage": stage, "step": 1, "name": "loss", "value": 0.5}
        return TrainedModel(bundle=Path(stage), metrics=[row], reused=False)

    def parents(*_: Any) -> Parents:
        return Parents(data=data, teacher=model("lora"), pretrained=model("diffusion_forcing"))

    monkeypatch.setattr(flow, "train_parents", parents)
    monkeypatch.setattr(ablation, "distil", lambda *_: model("distill"))
    made_up(world, monkeypatch)
    return world


def made_up(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ablation, "judge", world.judge)
    monkeypatch.setattr(flow, "find_corpus", lambda *_: FoundCorpus())
    monkeypatch.setattr(flow, "curated_clips", lambda *_: (Path("manifest.parquet"), None))
    monkeypatch.setattr(flow, "require_clips", lambda *_: None)
    monkeypatch.setattr(flow, "held_out", lambda *_: ([], HELD_OUT))


def run(
    workspace: Path, tables: Sequence[str] = ("cfg_schedule",), seeds: int = 1, **other: Any
) -> AblateSummary:
    request = {
        "workspace": workspace,
        "tables": tables,
        "seeds": seeds,
        "device": "cpu",
        "preset": short_preset().model_dump(mode="json"),
    }
    summary = run_flow("ablate", parse_request(FLOWS["ablate"], request | other))
    assert isinstance(summary, AblateSummary)
    return summary


def ask(workspace: Path, sql: str) -> list[tuple[Any, ...]]:
    return fetch(workspace / "state" / "warehouse" / "warehouse.duckdb", sql)[1]


def test_the_cells_of_a_repetition_share_teacher_and_student(tmp_path: Path, world: World) -> None:
    summary = run(tmp_path, seeds=2)
    distilled = ["train-distill"] * 8
    base, *rest = SHARED
    assert world.jobs == [base, *rest, *rest, *distilled], (
        "one base, then teacher and student once for each seed"
    )
    assert (summary.num_cells, summary.num_finished_before) == (8, 0)
    assert len(set(world.parents[:4])) == len(set(world.parents[4:])) == 1
    assert len(set(world.parents)) == 2
    for folder, num in (
        ("train-base", 1),
        ("train-teacher", 2),
        ("train-pretrained", 2),
        ("train-distilled", 8),
    ):
        assert len(list((tmp_path / "state" / "steps" / folder).glob("*/result.json"))) == num, folder
    for preset, bundle in world.judged:
        assert describe_bundle(bundle).preset == preset
    assert [preset.distill.guidance for preset, _ in world.judged[:4]] == [
        "everywhere", "nowhere", "inside", "outside",
    ]  # fmt: skip
    assert {preset.distill.reward_beta for preset, _ in world.judged} == {0}
    assert len({preset.distill.student.seed for preset, _ in world.judged}) == 2


def test_a_finished_grid_computes_nothing_and_answers_the_same(tmp_path: Path, untrained: World) -> None:
    first = run(tmp_path)
    untrained.jobs.clear()
    again = run(tmp_path)
    assert not untrained.jobs
    assert len(untrained.judged) == 4, "nothing was judged again"
    assert again == first.model_copy(update={"num_finished_before": 4})


def test_more_tables_and_seeds_add_to_what_is_finished(tmp_path: Path, world: World) -> None:
    first = run(tmp_path)
    world.jobs.clear()
    more = run(tmp_path, ["cfg_schedule", "reward"], 1)
    assert world.jobs == ["train-distill"] * 2, "two of four rows of the second table are those of the first"
    assert (more.num_cells, more.num_finished_before, more.run_id) == (6, 4, first.run_id)
    world.jobs.clear()
    run(tmp_path, ["cfg_schedule"], 2)
    assert world.jobs == [*SHARED[1:], *["train-distill"] * 4]
    assert len(ask(tmp_path, "from ablation_runs")) == 10


def test_a_killed_grid_goes_on(tmp_path: Path, world: World) -> None:
    world.die_after = 2
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path)
    assert world.jobs == [*SHARED, *["train-distill"] * 3]
    world.die_after = None
    world.jobs.clear()
    summary = run(tmp_path)
    assert world.jobs == ["train-distill"], "the third was distilled, and is only judged"
    assert summary.num_finished_before == 2
    assert len(world.judged) == 4
    assert summary.tables is not None
    assert [len(row.scores) for row in summary.tables.rows] == [4] * 4


def test_a_cell_of_another_version_is_not_finished(
    tmp_path: Path, untrained: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(tmp_path)
    monkeypatch.setattr(ablation, "__version__", "99.0")
    assert run(tmp_path).num_finished_before == 0
    assert len(untrained.judged) == 8


def test_the_tables_hold_printed_and_own_numbers(tmp_path: Path, untrained: World) -> None:
    summary = run(tmp_path, seeds=3)
    assert summary.tables is not None
    rows = {row.variant: row for row in summary.tables.rows}
    assert list(rows) == ["static", "no-cfg", "windowed", "reverse"]
    scores = {score.metric: score for score in rows["static"].scores}
    # judged as the first of every repetition: the 1st, 5th and 9th
    assert (scores["Sync-C"].published, scores["Sync-C"].own) == (7.13, pytest.approx(4.5))
    assert scores["Sync-C"].low is not None
    assert scores["Sync-C"].low < 4.5
    assert (scores["FVD"].published, scores["FVD"].own) == (138.32, None)
    assert rows["static"].repetitions == 3
    assert summary.tables.backends == ["Sync-C: fake@1"]
    (pair, *_) = summary.tables.contrasts
    assert (pair.label_a, pair.label_b, pair.verdict) == ("CFG everywhere", "no CFG", "opposite direction")
    assert summary.markdown is not None
    text = summary.markdown.read_text(encoding="utf-8")
    assert "| CFG everywhere | 7.13 | 4.50 [3.51, 5.49] | 7.85 | - | 138.32 | - | 0.916 | - | 3, 2 |" in text
    assert (
        "| cfg_schedule | CFG everywhere | no CFG | Sync-C | -0.99 | +0.10 [+0.10, +0.10] | opposite direction |"
        in text
    )


def test_runs_say_what_they_are(tmp_path: Path, untrained: World) -> None:
    summary = run(tmp_path)
    rows = ask(tmp_path, "select run_id, grid, base_preset, variant, repetition from ablation_runs")
    assert {(grid, preset, number) for _, grid, preset, _, number in rows} == {(summary.run_id, "nano", 0)}
    for run_id, *_, variant, _ in rows:
        assert run_id.startswith(f"ablate-{variant}-0-")
        config = json.loads((tmp_path / "runs" / "ablate" / run_id / "config.json").read_text())
        assert config["preset"]["name"] == f"nano-{variant}"
    stages = ask(
        tmp_path, f"select distinct stage from training_steps where run_id = '{rows[0][0]}' order by 1"
    )
    assert [stage for (stage,) in stages] == ["diffusion_forcing", "distill", "lora"]
    (shared,) = ask(tmp_path, f"select flow, status from runs where run_id = '{summary.run_id}'")
    assert shared == ("ablate", "completed")


def test_progress_names_every_cell_and_says_how_long_the_rest_takes(
    tmp_path: Path, untrained: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    clock = iter(float(60 * tick) for tick in range(10))
    monkeypatch.setattr(ablation, "note", told.append)
    monkeypatch.setattr(ablation, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    run(tmp_path)
    assert told == [
        "cell 1 of 4: static (CFG everywhere), repetition 0",
        "cell 2 of 4: no-cfg (no CFG), repetition 0; about 6 min left",
        "cell 3 of 4: windowed (windowed CFG, 2 steps (j1 = 30)), repetition 0; about 3 min left",
        "cell 4 of 4: reverse (CFG outside the window), repetition 0; about 80 s left",
    ]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (
            {"tables": ["step"]},
            "unknown ablation 'step' (did you mean 'steps'?); known: cfg_schedule, reward, steps,",
        ),
        ({"tables": []}, "tables: name at least one of cfg_schedule, reward"),
        ({"seeds": 0}, "seeds: should be greater than or equal to 1"),
        ({"preset": {"extends": "nano", "schedule": {"shift": 3.0}}}, "schedule.shift = 5, not 3"),
        (
            {"preset": {"extends": "nano", "distill": {"reward_beta": 0.0}}, "tables": ["reward"]},
            "give the preset a",
        ),
        ({"preset": "14b"}, "preset 14b builds on downloaded weights"),
        ({"name": "a/b"}, "the name of the grid 'a/b' cannot be a file name"),
    ],
)
def test_a_mistake_is_one_sentence_and_is_told_before_any_work(
    values: dict[str, Any], words: str, tmp_path: Path, untrained: World
) -> None:
    with pytest.raises(BadInputError) as error:
        run(tmp_path, **{"tables": ["cfg_schedule"]} | values)
    assert words in str(error.value)
    assert "\n" not in str(error.value)
    assert not untrained.jobs
    assert not (tmp_path / "runs").exists()


def test_a_preset_without_reward_has_the_tables_that_need_none(tmp_path: Path, untrained: World) -> None:
    values = short_preset().model_dump(mode="json")
    values["distill"]["reward_beta"] = 0.0
    assert run(tmp_path, preset=values).num_cells == 4


def test_a_table_is_run_once_however_often_it_is_named() -> None:
    request = parse_request(FLOWS["ablate"], {"tables": ["steps", "reward", "steps"]})
    assert request.tables == ("steps", "reward")
