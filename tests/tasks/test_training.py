"""Training as steps: what is shared between presets, what is found under older keys, and what the bundles hold."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.base.products import StepStore, file_sha256, read_json
from lipforcing_core.models.bases.catalogue import BASES
from lipforcing_core.models.codecs.block import BlockCodec
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.runtime.bundle import describe_bundle
from tasks import training, training_sets
from tasks.latents import Encoding
from tasks.training_keys import Recipe
from tasks.training_runs import student_preset
from tasks.training_sets import CODEC_FILE, TrainingSet
from tests.tasks.tiny_training import short_preset, tiny_training_set, train_in_process
from tests.training.conftest import make_clip, write_clip


def with_another_reward(name: str) -> Preset:
    values = short_preset(name=name).model_dump()
    values["distill"]["reward_beta"] = 0.0
    return Preset.model_validate(values)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    return tiny_training_set(tmp_path_factory.mktemp("training-set"))


@pytest.fixture
def store(tmp_path: Path) -> StepStore:
    return StepStore(tmp_path / "steps")


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Runs jobs in this process, and gives the names of those that ran."""
    return train_in_process(monkeypatch)


def test_presets_that_differ_in_name_and_reward_share_teacher_and_student(
    store: StepStore, data: TrainingSet, jobs: list[str]
) -> None:
    progress: list[tuple[int, int]] = []
    preset = short_preset()
    teacher = training.train_teacher.fn(store, preset, data, lambda *now: progress.append(now))
    assert progress == [(2, 4), (4, 4)]
    student = training.pretrain_student.fn(store, preset, data, teacher.bundle)
    assert jobs == ["train-base", "train-lora", "train-diffusion_forcing"]
    assert not teacher.reused
    assert not student.reused
    assert {(row["stage"], row["step"]) for row in teacher.metrics} == {
        (stage, step) for stage in ("base", "lora") for step in (1, 2)
    }
    other = with_another_reward("other")
    teacher_again = training.train_teacher.fn(store, other, data)
    student_again = training.pretrain_student.fn(store, other, data, teacher_again.bundle)
    assert len(jobs) == 3, "nothing was trained again"
    assert teacher_again.reused
    assert student_again.reused
    assert teacher_again.metrics == teacher.metrics
    for model, kind, stage in (
        (teacher_again, "teacher", "teacher"),
        (student_again, "student", "pretrained"),
    ):
        about = describe_bundle(model.bundle)
        assert (about.kind.value, about.stage, about.preset) == (kind, stage, other), "its own preset"
    weights = [file_sha256(model.bundle / "model.safetensors") for model in (teacher, teacher_again)]
    assert weights[0] == weights[1]
    assert describe_bundle(teacher.bundle).preset == preset

    distilled = training.distill_student.fn(
        store, preset, data, teacher.bundle, student.bundle, Path("weights")
    )
    other_distilled = training.distill_student.fn(
        store, other, data, teacher_again.bundle, student_again.bundle, Path("weights")
    )
    assert jobs[3:] == ["train-distill", "train-distill"]
    assert describe_bundle(distilled.bundle).stage == "distilled"
    ours, theirs = (load_file(m.bundle / "model.safetensors") for m in (distilled, other_distilled))
    assert ours.keys() == theirs.keys()
    assert training.distill_student.fn(
        store, preset, data, teacher.bundle, student.bundle, Path("weights")
    ).reused


def test_another_adapter_keeps_the_base(store: StepStore, data: TrainingSet, jobs: list[str]) -> None:
    preset = short_preset()
    training.train_teacher.fn(store, preset, data)
    lora = preset.lora.model_copy(update={"learning_rate": 0.5})
    training.train_teacher.fn(store, preset.model_copy(update={"lora": lora}), data)
    assert jobs == ["train-base", "train-lora", "train-lora"]


def test_results_under_older_keys_are_found(store: StepStore, data: TrainingSet, jobs: list[str]) -> None:
    """A teacher and a student that an earlier version finished are moved to where it would have put them."""
    preset = short_preset()
    teacher = training.train_teacher.fn(store, preset, data)
    student = training.pretrain_student.fn(store, preset, data, teacher.bundle)
    recipe = Recipe(preset=preset, windows=data.windows, num_threads=training.NUM_THREADS)
    before = {
        "train-teacher": recipe.before("teacher", []),
        "train-pretrained": recipe.before("pretrained", [file_sha256(teacher.bundle / "model.safetensors")]),
    }
    for step, key in before.items():
        (finished,) = (path.parent for path in (store.root / step).glob("*/result.json"))
        finished.rename(finished.with_name(key))
    jobs.clear()
    assert training.train_teacher.fn(store, preset, data).reused
    again = training.pretrain_student.fn(store, preset, data, teacher.bundle)
    assert again.reused
    assert again.metrics == student.metrics
    assert not jobs
    warmed = preset.model_copy(update={"lora": preset.lora.model_copy(update={"warmup_steps": 1})})
    assert not training.train_teacher.fn(store, warmed, data).reused, "its warm-up is another one now"


def test_a_killed_job_continues_in_its_folder(
    store: StepStore, data: TrainingSet, jobs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    preset, run = short_preset(), training._stage_job

    def killed(stage: Any, *args: Any) -> None:
        run(stage, *args)
        if stage.name == "lora":
            raise KeyboardInterrupt

    monkeypatch.setattr(training, "_stage_job", killed)
    with pytest.raises(KeyboardInterrupt):
        training.train_teacher.fn(store, preset, data)
    monkeypatch.setattr(training, "_stage_job", run)
    teacher = training.train_teacher.fn(store, preset, data)
    assert jobs == ["train-base", "train-lora", "train-lora"], "the base was kept"
    assert {row["stage"] for row in teacher.metrics} == {"base", "lora"}
    (base,) = (store.root / "train-base").glob("*/result.json")
    assert read_json(base) == {"stages": {"base": 2}}


def test_a_preset_with_a_public_base_says_so(store: StepStore, data: TrainingSet) -> None:
    with pytest.raises(BadInputError, match="public checkpoint"):
        training.train_teacher.fn(store, short_preset().model_copy(update={"base": None}), data)


def nano_at_64_px(**changes: Any) -> Preset:
    """The nano network, which the shipped base fits, on small pictures, one step a stage."""
    values = load_preset("nano").model_dump() | changes
    values["video"] |= {"size": 64}
    values["lora"] |= {"steps": 1, "batch_size": 1}
    return Preset.model_validate(values)


@pytest.fixture(scope="module")
def encoded_by_the_base(tmp_path_factory: pytest.TempPathFactory) -> TrainingSet:
    folder = tmp_path_factory.mktemp("training-set")
    (folder / "windows").mkdir()
    shutil.copyfile(BASES["nano-base"].codec_file, folder / "codec.safetensors")
    codec = BlockCodec.load(folder / "codec.safetensors")
    write_clip(folder / "windows" / "clip.safetensors", *make_clip(0, 33), codec, nano_at_64_px())
    return TrainingSet(folder=folder)


def test_a_shipped_base_is_finetuned_and_not_trained(
    store: StepStore, encoded_by_the_base: TrainingSet, jobs: list[str]
) -> None:
    teacher = training.train_teacher.fn(store, nano_at_64_px(), encoded_by_the_base)
    assert jobs == ["train-lora"]
    assert {row["stage"] for row in teacher.metrics} == {"lora"}
    shipped = load_file(BASES["nano-base"].model_file)
    tuned = load_file(teacher.bundle / "model.safetensors")
    moved = {name: float((tuned[name] - shipped[name].float()).abs().max()) for name in shipped}
    assert moved["head.head.weight"] == 0.0, "the adapter leaves it alone"
    assert 0.0 < moved["patch_embedding.weight"] < 0.01, "one small step from the base"
    other_base = nano_at_64_px()
    values = other_base.base.model_dump() | {"steps": 7}  # type: ignore[union-attr]
    again = other_base.model_copy(update={"base": type(other_base.base)(**values)})
    assert training.train_teacher.fn(store, again, encoded_by_the_base).reused, (
        "how the base was made is not read"
    )


def test_a_base_of_another_size_is_refused_before_any_job(
    store: StepStore, encoded_by_the_base: TrainingSet, jobs: list[str]
) -> None:
    values = nano_at_64_px().model_dump()
    values["model"] |= {"num_layers": 4}
    with pytest.raises(BadInputError, match="num_layers = 4, but its base_checkpoint nano-base"):
        training.train_teacher.fn(store, Preset.model_validate(values), encoded_by_the_base)
    assert jobs == []


def test_the_codec_of_the_base_encodes_the_clips(
    store: StepStore, jobs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_base = training_sets.prepare_training_set.fn(store, [], nano_at_64_px())
    assert file_sha256(with_base.codec_file) == BASES["nano-base"].codec_sha256
    assert jobs == [], "nothing is fitted"
    values = nano_at_64_px().model_dump()
    del values["base_checkpoint"]
    monkeypatch.setattr(
        training_sets,
        "_fit_codec",
        lambda clips, preset, folder: (folder / CODEC_FILE).write_bytes(b"fitted"),
    )
    fitted = training_sets.prepare_training_set.fn(store, [], Preset.model_validate(values))
    assert fitted.folder != with_base.folder
    assert jobs == ["fit"]


def test_a_model_of_another_width_is_refused(tmp_path: Path) -> None:
    values = nano_at_64_px().model_dump()
    values["model"] |= {"audio_dim": 160}
    shutil.copyfile(BASES["nano-base"].codec_file, tmp_path / "codec.safetensors")
    encoding = Encoding(preset=Preset.model_validate(values), codec_file=tmp_path / "codec.safetensors")
    with pytest.raises(IncompatibleCheckpointError, match=r"width 320, and model\.audio_dim is 160"):
        encoding.load()


def test_a_parent_of_another_codec_is_refused(store: StepStore, data: TrainingSet, tmp_path: Path) -> None:
    (tmp_path / "codec.safetensors").write_bytes(b"another")
    with pytest.raises(BadInputError, match="another codec"):
        training.pretrain_student.fn(store, short_preset(), data, tmp_path)


def test_a_stage_may_differ_from_the_preset_of_its_teacher(
    tmp_path: Path, store: StepStore, data: TrainingSet
) -> None:
    teacher = training.train_teacher.fn(store, short_preset(), data).bundle
    own = describe_bundle(teacher).preset
    assert student_preset(None, teacher) == own
    changed = own.model_dump(mode="json")
    changed["distill"]["reward_beta"] = 0.0
    assert student_preset(changed, teacher).distill.reward_beta == 0.0
    changed["window"]["window_latents"] += 1
    assert student_preset(changed, teacher).window.window_latents == own.window.window_latents + 1
    changed["model"]["num_layers"] += 2
    with pytest.raises(BadInputError, match=r"its \[model\] is not the one that .* was trained with"):
        student_preset(changed, teacher)


def test_a_stage_that_cannot_fit_is_refused_before_anything_is_loaded(
    store: StepStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The files that it would load are not there."""
    from lipforcing_core.training.plan import fit
    from lipforcing_core.training.stages.teacher import BASE, TeacherLora

    monkeypatch.setattr(fit.os, "sysconf", lambda name: 100)  # pages of 100 bytes, 100 of them
    stage, nowhere = TeacherLora.of(short_preset()), tmp_path / "nowhere"
    with pytest.raises(
        BadInputError, match=r"teacher \(LoRA\) of preset nano needs .* this machine has 9\.31e-06 GiB"
    ):
        training._stage_job(
            stage, short_preset(), TrainingSet(folder=nowhere), {BASE: nowhere}, nowhere, None, "cpu"
        )
