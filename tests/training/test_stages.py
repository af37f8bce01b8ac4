"""Every stage: a killed run that is continued gives the bits of an undisturbed one, and each trains what it should."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets import Preset
from lipforcing_core.training.initial import start_at_reference
from lipforcing_core.training.loop import StepMetrics, read_metrics
from lipforcing_core.training.model_file import save_model
from lipforcing_core.training.stages.distillation import Distillation
from lipforcing_core.training.stages.forcing import StudentForcing
from lipforcing_core.training.stages.protocol import Stage, StageInputs
from lipforcing_core.training.stages.teacher import TeacherBase, TeacherLora
from lipforcing_core.training.strategies.one_device import OneDevice
from tests.training.conftest import tiny_preset
from tests.training.fakes import FakeReward

STAGES = ("base", "lora", "diffusion_forcing", "distill")


def stage_of(name: str, preset: Preset) -> Stage:
    base = TeacherBase.of(preset)
    assert base is not None
    stages: list[Stage] = [base, TeacherLora.of(preset), StudentForcing.of(preset), Distillation.of(preset)]
    (found,) = (stage for stage in stages if stage.name == name)
    return found


def averaging(preset: Preset) -> Preset:
    """The preset with an exponential average of weights, a centred reward, and accumulation, all of which are state."""
    values = preset.model_dump()
    for name in STAGES[:-1]:
        values[name] |= {"ema_decay": 0.5, "accumulation": 2}
    values["distill"] |= {"reward_centre_momentum": 0.9}
    values["distill"]["student"] |= {"ema_decay": 0.5, "accumulation": 2}
    return Preset.model_validate(values)


def weights_of(path: Path) -> dict[str, Tensor]:
    return load_file(path)


def changed(before: dict[str, Tensor], after: dict[str, Tensor]) -> set[str]:
    assert before.keys() == after.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("with_average", [False, True])
@pytest.mark.parametrize("name", STAGES)
def test_a_killed_run_continues_exactly(
    name: str, with_average: bool, preset: Preset, inputs: StageInputs, tmp_path: Path
) -> None:
    stage = stage_of(name, averaging(preset) if with_average else preset)
    undisturbed = stage.run(inputs, tmp_path / "undisturbed", strategy=OneDevice())

    def kill(metrics: StepMetrics) -> None:
        assert (metrics.stage, metrics.num_steps) == (name, 4)
        if metrics.step == 3:  # one step after the last state
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage.run(inputs, tmp_path / "killed", strategy=OneDevice(), on_step=kill)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    seen: list[int] = []
    continued = stage.run(
        inputs, tmp_path / "killed", strategy=OneDevice(), on_step=lambda metrics: seen.append(metrics.step)
    )
    assert seen == [3, 4]
    assert (continued.stage, continued.steps) == (name, 4)
    assert read_metrics(continued.metrics_path) == read_metrics(undisturbed.metrics_path)
    assert not changed(weights_of(continued.model_path), weights_of(undisturbed.model_path))


@pytest.mark.parametrize("name", STAGES)
def test_a_stage_trains_and_logs(name: str, preset: Preset, inputs: StageInputs, tmp_path: Path) -> None:
    result = stage_of(name, preset).run(inputs, tmp_path, strategy=OneDevice())
    start = weights_of(inputs.init["base"])
    if name == "base":
        assert preset.base is not None
        start = start_at_reference(WanTransformer(preset.model.config()), preset.base.seed).state_dict()
    assert changed(start, weights_of(result.model_path))
    rows = read_metrics(result.metrics_path)
    assert {row["step"] for row in rows} == {1, 2, 3, 4}
    assert {row["stage"] for row in rows} == {name}
    names = {row["name"] for row in rows}
    if name == "distill":
        assert names == {
            "critic_loss", "critic_grad_norm", "student_loss", "matching_loss", "student_grad_norm", "reward",
            "reward_spread", "effective_samples", "guided_share", "learning_rate",
        }  # fmt: skip
        assert {row["step"] for row in rows if row["name"] == "student_loss"} == {2, 4}
    else:
        assert names == {"loss", "grad_norm", "learning_rate"}


@pytest.mark.parametrize("name", STAGES)
def test_recomputing_changes_nothing(name: str, preset: Preset, inputs: StageInputs, tmp_path: Path) -> None:
    values = preset.model_dump()
    (values["distill"]["student"] if name == "distill" else values[name])["recompute"] = True
    models = [
        stage_of(name, each).run(inputs, tmp_path / str(number), strategy=OneDevice()).model_path
        for number, each in enumerate((preset, Preset.model_validate(values)))
    ]
    assert not changed(*map(weights_of, models))


def test_a_finished_run_is_not_repeated(preset: Preset, inputs: StageInputs, tmp_path: Path) -> None:
    stage = StudentForcing.of(preset)
    first = stage.run(inputs, tmp_path, strategy=OneDevice())
    rows = read_metrics(first.metrics_path)
    stage.run(inputs, tmp_path, strategy=OneDevice(), on_step=lambda _: pytest.fail("ran again"))
    assert read_metrics(first.metrics_path) == rows


def _another_seed(preset: Preset, inputs: StageInputs) -> tuple[Preset, StageInputs]:
    values = preset.model_dump()
    values["distill"]["student"]["seed"] += 1
    return Preset.model_validate(values), inputs


def _another_reward(preset: Preset, inputs: StageInputs) -> tuple[Preset, StageInputs]:
    class Other(FakeReward):
        backend_id = "other-reward"

    return preset, replace(inputs, reward=Other())


def _another_critic(preset: Preset, inputs: StageInputs) -> tuple[Preset, StageInputs]:
    path = inputs.init["critic"].with_name("other.safetensors")
    save_model(OneDevice(), WanTransformer(preset.model.config()).init_weights(1), path)
    return preset, replace(inputs, init={**inputs.init, "critic": path})


def _other_data(preset: Preset, inputs: StageInputs) -> tuple[Preset, StageInputs]:
    class Other:
        key = "other"
        batch = inputs.data.batch

    return preset, replace(inputs, data=Other())


@pytest.mark.parametrize("change", [_another_seed, _another_reward, _another_critic, _other_data])
def test_a_run_of_anything_else_is_refused(
    change: Callable[[Preset, StageInputs], tuple[Preset, StageInputs]],
    preset: Preset,
    inputs: StageInputs,
    tmp_path: Path,
) -> None:
    Distillation.of(preset).run(inputs, tmp_path, strategy=OneDevice())
    preset, inputs = change(preset, inputs)
    with pytest.raises(IncompatibleCheckpointError, match="other settings"):
        Distillation.of(preset).run(inputs, tmp_path, strategy=OneDevice())


def test_lora_keeps_frozen_weights_and_merges(preset: Preset, inputs: StageInputs, tmp_path: Path) -> None:
    before = weights_of(inputs.init["base"])
    result = TeacherLora.of(preset).run(inputs, tmp_path, strategy=OneDevice())
    names = changed(before, weights_of(result.model_path))
    adapted = ("self_attn.q", "cross_attn.o", "ffn.0", "ffn.2")
    assert {f"blocks.0.{layer}.weight" for layer in adapted} <= names
    whole = ("patch_embedding.", "audio_proj.", "audio_cond_projs.")
    assert all(any(name.startswith(start) for name in names) for start in whole)
    rest = {name for name in names if not name.startswith(whole)}
    assert all(
        name.endswith("weight") and (".attn" in name or "_attn." in name or "ffn." in name) for name in rest
    )
    assert not any("norm" in name for name in rest)


def test_the_average_is_what_is_saved(preset: Preset, inputs: StageInputs, tmp_path: Path) -> None:
    """With decay 1 from the first update on, the average is the network after that update."""
    values = preset.model_dump()
    values["diffusion_forcing"] |= {"ema_decay": 1.0, "ema_start": 1}
    values["distill"]["student"] |= {"ema_decay": 1.0, "ema_start": 1}
    averaged = Preset.model_validate(values)
    once = preset.model_dump()
    once["diffusion_forcing"] |= {"steps": 1}
    once["distill"]["student"] |= {"steps": 1}
    single = Preset.model_validate(once)
    for name in ("diffusion_forcing", "distill"):
        long = stage_of(name, averaged).run(inputs, tmp_path / name / "long", strategy=OneDevice())
        short = stage_of(name, single).run(inputs, tmp_path / name / "short", strategy=OneDevice())
        plain = stage_of(name, preset).run(inputs, tmp_path / name / "plain", strategy=OneDevice())
        if name == "diffusion_forcing":  # the cosine of a shorter run differs later, not in its first update
            assert not changed(weights_of(long.model_path), weights_of(short.model_path))
        assert changed(weights_of(long.model_path), weights_of(plain.model_path))


def test_a_larger_teacher_needs_a_critic_of_the_students_size(
    preset: Preset, inputs: StageInputs, tmp_path: Path
) -> None:
    teacher = preset.model_copy(update={"model": preset.model.model_copy(update={"dim": 36})})
    (tmp_path / "larger.toml").write_text(_as_toml(teacher), encoding="utf-8")
    larger = tmp_path / "larger.safetensors"
    save_model(OneDevice(), WanTransformer(teacher.model.config()).init_weights(0), larger)
    distill = preset.distill.model_copy(update={"teacher_preset": str(tmp_path / "larger.toml")})
    stage = Distillation.of(preset.model_copy(update={"distill": distill}))
    assert stage.teacher_model.dim == 36
    init = {**inputs.init, "teacher": larger}
    result = stage.run(replace(inputs, init=init), tmp_path / "out", strategy=OneDevice())
    assert result.model_path.is_file()
    with pytest.raises(IncompatibleCheckpointError, match=r"larger\.safetensors: .* has shape"):
        stage.run(replace(inputs, init={**init, "critic": larger}), tmp_path / "wrong", strategy=OneDevice())


def _as_toml(preset: Preset) -> str:
    """A preset written back as TOML: plain values, then sections, then sections of sections."""

    def write(values: dict[str, object], name: str) -> list[str]:
        plain = {key: value for key, value in values.items() if not isinstance(value, dict)}
        lines = [f"[{name}]"] if name else []
        lines += [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
        for key, value in values.items():
            if isinstance(value, dict):
                lines += write(value, f"{name}.{key}".lstrip("."))
        return lines

    return "\n".join(write(preset.model_dump(mode="json", exclude_none=True), ""))


def test_the_tiny_preset_trains_every_stage() -> None:
    assert {stage_of(name, tiny_preset()).num_steps for name in STAGES} == {4}
