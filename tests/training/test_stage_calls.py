"""What every stage hands to its loss or iteration: batches, draws, prompts, rates, networks, each the right one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from lipforcing_core.diffusion.schedule import FlowSchedule, SyncWindow, TimeWindow
from lipforcing_core.models.lora import lora_layers
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets import Preset
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training.dataset import Batch, LatentWindows
from lipforcing_core.training.draws import forcing_draws, role_draws, step_generator, teacher_draws
from lipforcing_core.training.iteration import Distilled, MicroBatch
from lipforcing_core.training.model_file import save_model
from lipforcing_core.training.optimisation import learning_rate_factor
from lipforcing_core.training.stages import distillation, forcing, teacher
from lipforcing_core.training.stages.alone import run_key
from lipforcing_core.training.stages.distillation import Distillation
from lipforcing_core.training.stages.forcing import StudentForcing
from lipforcing_core.training.stages.protocol import Stage, StageInputs
from lipforcing_core.training.stages.teacher import TeacherBase, TeacherLora
from lipforcing_core.training.state_files import saved_states
from lipforcing_core.training.strategies.one_device import OneDevice
from tests.training.fakes import FakeReward, read_state

CHUNKS = [(0, 3), (3, 6)]


@dataclass
class Watched:
    """Batches of the real data, and what was asked for."""

    data: LatentWindows
    key: str = "watched"
    asked: list[tuple[int, int, int]] = field(default_factory=list)
    given: list[Batch] = field(default_factory=list)

    def batch(self, size: int, seed: int, step: int) -> Batch:
        self.asked.append((size, seed, step))
        self.given.append(self.data.batch(size, seed, step))
        return self.given[-1]


@pytest.fixture
def watched(data: LatentWindows) -> Watched:
    return Watched(data)


@pytest.fixture
def unusual(preset: Preset) -> Preset:
    """Settings of which none is a default, and which differ from stage to stage."""
    values = preset.model_dump()
    values["schedule"] |= {
        "shift": 3.0, "num_steps": 40, "t_list": (0.95, 0.6, 0.3, 0.0), "guidance_scale": 2.5,
        "sync_window_start": 10, "sync_window_stop": 30,
    }  # fmt: skip
    common = {"accumulation": 2, "lr_schedule": "cosine", "warmup_steps": 1, "steps": 3}
    for number, name in enumerate(("base", "lora", "diffusion_forcing")):
        values[name] |= common | {
            "seed": 100 + number,
            "learning_rate": 0.01 * (number + 1),
            "batch_size": number + 1,
        }
    for name in ("base", "lora"):
        values[name] |= {"text_dropout": 0.3, "audio_dropout": 0.6}
    values["lora"] |= {"rank": 3, "alpha": 6.0}
    values["distill"] |= {"critic_per_student": 2, "critic_learning_rate": 0.07}
    values["distill"]["student"] |= common | {
        "seed": 200,
        "learning_rate": 0.05,
        "batch_size": 2,
        "weight_decay": 0.03,
    }
    return Preset.model_validate(values)


@pytest.fixture
def own_weights(preset: Preset, tmp_path: Path) -> dict[str, Path]:
    """Different weights for every role."""
    paths = {}
    for seed, name in enumerate(("base", "teacher", "student", "critic")):
        paths[name] = tmp_path / "init" / f"{name}.safetensors"
        save_model(OneDevice(), WanTransformer(preset.model.config()).init_weights(seed), paths[name])
    return paths


def equal(ours: Any, theirs: Any) -> bool:
    """Whether two dataclasses of tensors and values (nested) hold the same."""
    if isinstance(ours, Tensor):
        return torch.equal(ours, theirs)
    if isinstance(ours, tuple):
        return len(ours) == len(theirs) and all(map(equal, ours, theirs))
    if hasattr(ours, "__dataclass_fields__"):
        return all(equal(getattr(ours, f.name), getattr(theirs, f.name)) for f in fields(ours))
    return bool(ours == theirs)


def same_weights(network: nn.Module, path: Path) -> bool:
    stored = load_file(path)
    return all(torch.equal(value, stored[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("name", ["base", "lora"])
def test_a_teacher_stage(
    name: str, unusual: Preset, watched: Watched, prompts: Prompts, own_weights: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    calls: list[tuple[Any, ...]] = []

    def loss(network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        calls.append((network.training, *args, kwargs))
        adapters = {(layer.lora_A.out_features, layer.scaling) for _, layer in lora_layers(network)}
        assert adapters == ({(3, 6.0 / 3)} if name == "lora" else set())
        return sum((p.sum() for p in network.parameters() if p.requires_grad), torch.zeros(()))

    monkeypatch.setattr(teacher, "flow_loss", loss)
    base = TeacherBase.of(unusual)
    assert base is not None
    stage: Stage = base if name == "base" else TeacherLora.of(unusual)
    settings = base.settings if name == "base" else unusual.lora
    inputs = StageInputs(data=watched, prompts=prompts, init=own_weights)
    stage.run(inputs, tmp_path / "out", strategy=OneDevice())
    assert watched.asked == [(settings.batch_size, settings.seed, micro) for micro in range(6)]
    assert len(calls) == 6
    for micro, (training, batch, given_prompts, draws, kwargs) in enumerate(calls):
        assert training
        assert equal(batch, watched.given[micro])
        assert equal(given_prompts, prompts)
        expected = teacher_draws(
            step_generator(settings.seed, name, micro), batch.latents_BCTHW.shape, schedule=FlowSchedule(shift=3.0),
            text_dropout=0.3, audio_dropout=0.6,
        )  # fmt: skip
        assert equal(draws, expected)
        assert kwargs == {"shift": 3.0, "settings": settings}


def test_the_forcing_stage(
    unusual: Preset, watched: Watched, prompts: Prompts, own_weights: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    calls: list[tuple[Any, ...]] = []

    def loss(network: nn.Module, *args: Any, **kwargs: Any) -> Tensor:
        if not calls:
            assert same_weights(network, own_weights["teacher"])
        calls.append((*args, kwargs))
        return sum((p.sum() for p in network.parameters()), torch.zeros(()))

    monkeypatch.setattr(forcing, "forcing_loss", loss)
    settings = unusual.diffusion_forcing
    inputs = StageInputs(data=watched, prompts=prompts, init=own_weights)
    StudentForcing.of(unusual).run(inputs, tmp_path / "out", strategy=OneDevice())
    assert watched.asked == [(settings.batch_size, settings.seed, micro) for micro in range(6)]
    for micro, (batch, given_prompts, draws, kwargs) in enumerate(calls):
        assert equal(batch, watched.given[micro])
        assert equal(given_prompts, prompts)
        expected = forcing_draws(
            step_generator(settings.seed, "diffusion_forcing", micro), batch.latents_BCTHW.shape,
            t_list=(0.95, 0.6, 0.3, 0.0), chunks=CHUNKS,
        )  # fmt: skip
        assert equal(draws, expected)
        assert kwargs == {"settings": settings}


def test_the_distillation_stage(
    unusual: Preset, watched: Watched, prompts: Prompts, own_weights: dict[str, Path], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    calls: list[tuple[list[MicroBatch], dict[str, Any]]] = []

    def iteration(state: Distilled, micro_batches: Iterable[MicroBatch], **kwargs: Any) -> dict[str, float]:
        if not calls:
            check_networks(state, own_weights)
        calls.append((list(micro_batches), kwargs))
        return {"critic_loss": 0.0}

    monkeypatch.setattr(distillation, "distill_iteration", iteration)
    stage, reward, strategy = Distillation.of(unusual), FakeReward(), OneDevice()
    assert stage.num_steps == 6
    inputs = StageInputs(data=watched, prompts=prompts, init=own_weights, reward=reward)
    stage.run(inputs, tmp_path / "out", strategy=strategy)
    assert watched.asked == [(2, 200, micro) for micro in range(12)]
    student = unusual.distill.student
    for index, (micros, kwargs) in enumerate(calls):
        trains = index in (1, 3, 5)
        rate = kwargs.pop("student_rate")
        assert rate == (0.05 * learning_rate_factor(student, index // 2) if trains else None)
        assert equal(kwargs.pop("negative_text_BLD"), prompts.negative_text_BLD)
        assert kwargs == {
            "settings": unusual.distill, "t_list": (0.95, 0.6, 0.3, 0.0), "reward": reward, "strategy": strategy,
            "guidance": TimeWindow(low=0.5, high=0.9, guidance_scale=2.5),
        }  # fmt: skip
        assert len(micros) == 2
        for micro, got in enumerate(micros, start=2 * index):
            batch = watched.given[micro]
            assert equal(got.waveform_BS, batch.waveform_BS)
            assert equal(got.conditions, batch.conditions(prompts.text_BLD))
            roles = {
                role: role_draws(
                    step_generator(200, f"distill/{role}", micro), batch.latents_BCTHW.shape, chunks=CHUNKS,
                    num_calls=3, schedule=FlowSchedule(shift=3.0),
                )
                for role in ("critic", "student")
            }  # fmt: skip
            assert equal(got.critic, roles["critic"])
            assert equal(got.student, roles["student"]) if trains else got.student is None


def check_networks(state: Distilled, own_weights: dict[str, Path]) -> None:
    assert same_weights(state.student, own_weights["student"])
    assert same_weights(state.critic, own_weights["critic"])
    assert same_weights(state.teacher, own_weights["teacher"])
    assert not any(p.requires_grad for p in state.teacher.parameters())
    assert not state.teacher.training
    for network, optimiser, rate in (
        (state.student, state.student_optimiser, 0.05),
        (state.critic, state.critic_optimiser, 0.07),
    ):
        assert network.training
        (group,) = optimiser.param_groups
        assert {id(p) for p in group["params"]} == {id(p) for p in network.parameters()}
        assert (group["lr"], group["weight_decay"], group["betas"]) == (rate, 0.03, (0.0, 0.999))


def test_guidance_of_the_distillation(unusual: Preset) -> None:
    def of(**values: Any) -> Any:
        distill = unusual.distill.model_copy(update=values)
        return Distillation.of(unusual.model_copy(update={"distill": distill})).guidance()

    assert of(guidance="nowhere").where == "nowhere"
    steps = of(window_edges="steps")
    assert steps == SyncWindow(
        start_step=10, stop_step=30, guidance_scale=2.5, schedule=FlowSchedule(shift=3.0, num_steps=40)
    )


def test_a_distillation_scales_its_reward_as_set(unusual: Preset, inputs: StageInputs) -> None:
    distill = unusual.distill.model_copy(update={"reward_centre_momentum": 0.5, "reward_clamp": 0.25})
    stage = Distillation.of(unusual.model_copy(update={"distill": distill}))
    state = stage._build(inputs, OneDevice())
    assert state.reward_scale(torch.tensor([0.0, 4.0])).tolist() == [-0.25, 0.25]
    assert state.reward_scale.state_dict() == {"mean": 2.0}


def test_a_distillation_needs_a_reward(unusual: Preset, inputs: StageInputs, tmp_path: Path) -> None:
    without = StageInputs(data=inputs.data, prompts=inputs.prompts, init=inputs.init)
    with pytest.raises(AssertionError, match="reward"):
        Distillation.of(unusual).run(without, tmp_path, strategy=OneDevice())


def test_networks_and_inputs_go_to_the_device_of_the_strategy(
    unusual: Preset, watched: Watched, prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    inputs = StageInputs(data=watched, prompts=prompts, init={})
    moved = inputs.prompts_on(torch.device("meta"))
    assert (moved.text_BLD.device.type, moved.negative_text_BLD.device.type) == ("meta", "meta")
    devices: list[set[str]] = []

    def loss(network: Any, batch: Batch, prompts: Prompts, draws: Any, **_: Any) -> Tensor:
        everything = [getattr(batch, f.name) for f in fields(batch)]
        everything += [getattr(draws, f.name) for f in fields(draws)] + [prompts.text_BLD]
        devices.append({tensor.device.type for tensor in everything})
        return torch.zeros(())

    monkeypatch.setattr(teacher, "flow_loss", loss)
    stage = TeacherLora.of(unusual)
    loss_of = teacher._loss_of(stage, 3.0, stage.settings, inputs, OneDevice("meta"))
    loss_of(None, 0)  # type: ignore[arg-type]
    assert devices == [{"meta"}]


@pytest.mark.parametrize("with_average", [False, True])
def test_a_distillation_follows_its_student_and_keeps_states(
    with_average: bool, preset: Preset, inputs: StageInputs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bias of the student is 10, 20 and 40 after its updates and 999 after each iteration of the critic alone."""
    levels = iter([999.0, 10.0, 999.0, 20.0, 999.0, 40.0])

    def iteration(state: Distilled, *_: Any, student_rate: float | None, **__: Any) -> dict[str, float]:
        level = next(levels)
        assert (student_rate is None) == (level == 999.0)
        with torch.no_grad():
            state.student.patch_embedding.bias.fill_(level)
        return {"critic_loss": level}

    monkeypatch.setattr(distillation, "distill_iteration", iteration)
    values = preset.model_dump()
    values["distill"]["critic_per_student"] = 2
    values["distill"]["student"] |= {"steps": 3, "checkpoint_every": 4}
    if with_average:
        values["distill"]["student"] |= {"ema_decay": 0.5, "ema_start": 2}
    stage = Distillation.of(Preset.model_validate(values))
    seen: list[tuple[str, int, int]] = []
    result = stage.run(
        inputs, tmp_path, strategy=OneDevice(), on_step=lambda m: seen.append((m.stage, m.step, m.num_steps))
    )
    assert seen == [("distill", step, 6) for step in range(1, 7)]
    assert (result.stage, result.steps) == ("distill", 6)
    bias = load_file(result.model_path)["patch_embedding.bias"]
    assert set(bias.tolist()) == {30.0 if with_average else 40.0}
    states = saved_states(tmp_path / "states")
    assert [path.name for path in states] == ["step-00000004", "step-00000006"]
    plain, tensors = read_state(states[-1])
    assert plain["key"] == run_key(stage, inputs)
    assert set(plain["optimisers"]) == {"student", "critic"}
    assert {name.split(".")[1] for name in tensors if name.startswith("modules.")} == {"student", "critic"}
    assert set(plain["others"]) == {"reward_scale"} | ({"average"} if with_average else set())
    assert any(name.startswith("others.average.") for name in tensors) == with_average
