"""Every stage: a killed run that is continued gives the bits of an undisturbed one; losses are those of the method."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.diffusion.schedule import FlowSchedule
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.conditions import EncodedConditions
from lipforcing_core.models.kv_cache import KVCache
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets import Preset
from lipforcing_core.runtime.prompts import Prompts
from lipforcing_core.training import diffusion_forcing, distill
from lipforcing_core.training.checkpoint import step_generator
from lipforcing_core.training.common import save_model, weigh_mouth
from lipforcing_core.training.dataset import Batch, LatentWindows
from lipforcing_core.training.diffusion_forcing import draw_chunk_levels, forcing_loss, pretrain_student
from lipforcing_core.training.distill import (
    Networks,
    critic_loss,
    distill_student,
    guided_prediction,
    matching_loss,
)
from lipforcing_core.training.loop import (
    StageResult,
    StepMetrics,
    compute_precision,
    learning_rate_factor,
    read_metrics,
)
from lipforcing_core.training.reward import SyncReward, reward_loss
from lipforcing_core.training.rollout import roll_out
from lipforcing_core.training.teacher import flow_loss, train_base, train_lora

OnStep = Callable[[StepMetrics], None]
Stage = Callable[[Path, OnStep | None], StageResult]


class FakeReward:
    """Prefers loud rollouts; stands for a sync expert."""

    backend_id = "fake-reward"

    def score(self, latents_BCTHW: Tensor, waveform_BS: Tensor) -> Tensor:
        return latents_BCTHW.abs().mean(dim=(1, 2, 3, 4))


@pytest.fixture(scope="session")
def base_path(preset: Preset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network that is not at its initial zero output."""
    path = tmp_path_factory.mktemp("base") / "model.safetensors"
    model = WanTransformer(preset.model.config()).init_weights(0)
    torch.nn.init.normal_(model.head.head.weight, std=0.1, generator=torch.Generator().manual_seed(0))
    save_model(model, path)
    return path


@pytest.fixture(params=["base", "lora", "diffusion_forcing", "distill"])
def stage(
    request: pytest.FixtureRequest, preset: Preset, data: LatentWindows, prompts: Prompts, base_path: Path
) -> Stage:
    def run(out_dir: Path, on_step: OnStep | None = None) -> StageResult:
        if request.param == "base":
            return train_base(preset, data, prompts, out_dir, on_step=on_step)
        if request.param == "lora":
            return train_lora(preset, data, prompts, out_dir, init=base_path, on_step=on_step)
        if request.param == "diffusion_forcing":
            return pretrain_student(preset, data, prompts, out_dir, init=base_path, on_step=on_step)
        return distill_student(
            preset, data, prompts, out_dir,
            student_init=base_path, teacher_init=base_path, reward=FakeReward(), on_step=on_step,
        )  # fmt: skip

    return run


def test_a_killed_run_continues_exactly(stage: Stage, tmp_path: Path) -> None:
    undisturbed = stage(tmp_path / "undisturbed", None)

    def kill(metrics: StepMetrics) -> None:
        if metrics.step == 3:  # one step after the last state
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stage(tmp_path / "killed", kill)
    assert not (tmp_path / "killed" / "model.safetensors").exists()
    seen: list[int] = []
    continued = stage(tmp_path / "killed", lambda metrics: seen.append(metrics.step))
    assert seen == [3, 4]
    assert read_metrics(continued.metrics_path) == read_metrics(undisturbed.metrics_path)
    ours, theirs = load_file(continued.model_path), load_file(undisturbed.model_path)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_finished_run_is_not_repeated(
    preset: Preset, data: LatentWindows, prompts: Prompts, base_path: Path, tmp_path: Path
) -> None:
    first = pretrain_student(preset, data, prompts, tmp_path, init=base_path)
    rows = read_metrics(first.metrics_path)
    assert {row["step"] for row in rows} == {1, 2, 3, 4}
    pretrain_student(
        preset, data, prompts, tmp_path, init=base_path, on_step=lambda _: pytest.fail("ran again")
    )
    assert read_metrics(first.metrics_path) == rows


def test_a_run_of_other_settings_is_refused(
    preset: Preset, data: LatentWindows, prompts: Prompts, tmp_path: Path
) -> None:
    train_base(preset, data, prompts, tmp_path)
    assert preset.base is not None
    other = preset.model_copy(update={"base": preset.base.model_copy(update={"learning_rate": 0.5})})
    with pytest.raises(IncompatibleCheckpointError, match="other settings"):
        train_base(other, data, prompts, tmp_path)


def test_lora_keeps_frozen_weights_and_merges(
    preset: Preset, data: LatentWindows, prompts: Prompts, base_path: Path, tmp_path: Path
) -> None:
    before = load_file(base_path)
    after = load_file(train_lora(preset, data, prompts, tmp_path, init=base_path).model_path)
    assert after.keys() == before.keys()
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    assert "blocks.0.self_attn.q.weight" in changed
    assert "patch_embedding.weight" in changed
    assert not any(
        "norm" in name or "modulation" in name or name.startswith("head") for name in changed - _AUDIO
    )
    assert not any(name.endswith("attn.q.bias") for name in changed)


_AUDIO = {"audio_proj.norm_out.weight", "audio_proj.norm_out.bias"}


def test_accumulation_equals_a_larger_batch(preset: Preset) -> None:
    """The mean of two halves of a batch is the mean of the batch, so the settings only trade memory for time."""
    error = torch.rand(4, 16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    mask = torch.ones(8, 8)
    whole = weigh_mouth(error, mask, 2.0).mean()
    halves = sum(weigh_mouth(part, mask, 2.0).mean() / 2 for part in error.split(2))
    torch.testing.assert_close(whole, halves)


def test_mouth_weight_counts_only_inside_the_mask() -> None:
    mask = torch.tensor([[1.0, 0.0], [1.0, 1.0]])
    inside, outside = torch.zeros(1, 1, 1, 2, 2), torch.zeros(1, 1, 1, 2, 2)
    inside[..., 0, 1] = 1
    outside[..., 1, 1] = 1
    assert weigh_mouth(inside, mask, 2.0).item() == pytest.approx(2 / 4)
    assert weigh_mouth(outside, mask, 2.0).item() == pytest.approx(1 / 4)


def test_gaussian_timestep_weights_are_those_of_the_schedule(
    preset: Preset, data: LatentWindows, prompts: Prompts, base_path: Path
) -> None:
    assert preset.base is not None
    model = WanTransformer(preset.model.config())
    model.load_state_dict(load_file(base_path))
    batch, generator = data.batch(1, seed=0, step=0), torch.Generator().manual_seed(3)
    t_B = preset.schedule.flow().sample_t(1, generator)
    weight = FlowSchedule(shift=preset.schedule.shift, num_steps=1000).loss_weights(t_B)
    losses = []
    for weighting in ("none", "gaussian"):
        settings = preset.base.model_copy(update={"timestep_weighting": weighting})
        losses.append(flow_loss(model, batch, prompts, preset, settings, generator.manual_seed(3)))
    assert 0 < weight.item() != pytest.approx(1, abs=0.01)
    assert losses[1].item() == pytest.approx(losses[0].item() * weight.item(), rel=1e-6)


@pytest.mark.parametrize("device", ["cpu", "xpu"])
def test_mixed_precision_is_that_of_the_device(preset: Preset, device: str) -> None:
    """(Autocast of xpu can be entered without such a device; that of cuda cannot.)"""
    full, mixed = (preset.lora.model_copy(update={"precision": name}) for name in ("fp32", "bf16"))
    with compute_precision(mixed, torch.device(device, 0)):
        assert torch.is_autocast_enabled(device)
        assert torch.get_autocast_dtype(device) == torch.bfloat16
        assert torch.is_autocast_enabled("cpu") == (device == "cpu")
    with compute_precision(full, torch.device(device)):
        assert not torch.is_autocast_enabled(device)


@pytest.mark.gpu
def test_mixed_precision_on_a_gpu_computes_in_bfloat16(preset: Preset) -> None:
    x = torch.ones(2, 2, device="cuda")
    with compute_precision(preset.lora.model_copy(update={"precision": "bf16"}), x.device):
        assert (x @ x).dtype == torch.bfloat16


def test_losses_take_the_precision_of_the_device_of_their_batch(
    preset: Preset, data: LatentWindows, prompts: Prompts, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The meta device stands for a GPU; no network is called, since entering autocast ends each loss here."""

    class Entered(Exception):
        pass

    def autocast(device_type: str, **_: object) -> None:
        raise Entered(device_type)

    monkeypatch.setattr(torch, "autocast", autocast)
    monkeypatch.setattr(diffusion_forcing, "draw_chunk_levels", lambda size, num, *_: torch.zeros(size, num))
    values = preset.model_dump()
    for settings in (values["lora"], values["diffusion_forcing"], values["distill"]["student"]):
        settings["precision"] = "bf16"
    preset = Preset.model_validate(values)
    batch, prompts = _on_meta(data.batch(2, seed=0, step=0)), _on_meta(prompts)
    none: Any = None
    networks = Networks(student=none, critic=none, teacher=none)
    generator, x_t = torch.Generator(), batch.latents_BCTHW
    losses = [
        lambda: flow_loss(none, batch, prompts, preset, preset.lora, generator),
        lambda: forcing_loss(none, batch, prompts, preset, preset.diffusion_forcing, generator),
        lambda: critic_loss(networks, batch, prompts, preset, generator),
        lambda: matching_loss(networks, batch, prompts, preset, generator),
        lambda: guided_prediction(none, x_t, none, batch, prompts, preset),
        lambda: distill._predict(none, x_t, none, batch, prompts, preset),
    ]
    for loss in losses:
        with torch.device("meta"), pytest.raises(Entered, match="meta"):
            loss()


def _on_meta(values: Batch | Prompts) -> Any:
    return replace(values, **{field.name: getattr(values, field.name).to("meta") for field in fields(values)})


def test_learning_rate_warms_up_and_falls(preset: Preset) -> None:
    settings = preset.diffusion_forcing.model_copy(
        update={"steps": 110, "warmup_steps": 10, "lr_schedule": "cosine"}
    )
    factors = [learning_rate_factor(settings, step) for step in range(110)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[9] == factors[10] == pytest.approx(1)
    assert factors[60] == pytest.approx(0.55)
    assert 0.1 < factors[-1] < 0.11


def test_levels_are_shared_within_chunks_only(preset: Preset) -> None:
    levels = draw_chunk_levels(200, 6, preset, torch.Generator().manual_seed(0))
    assert levels.shape == (200, 6)
    assert torch.equal(levels[:, 0], levels[:, 2])
    assert torch.equal(levels[:, 3], levels[:, 5])
    assert set(levels.unique().tolist()) == set(torch.tensor(preset.schedule.t_list).tolist())
    assert (levels[:, 0] != levels[:, 3]).float().mean() == pytest.approx(2 / 3, abs=0.12)


@pytest.fixture
def networks(preset: Preset, base_path: Path) -> Networks:
    weights = load_file(base_path)
    student = CausalStudent(preset.model.config(), preset.window.config())
    critic, teacher = WanTransformer(preset.model.config()), WanTransformer(preset.model.config())
    for network in (student, critic, teacher):
        network.load_state_dict(weights)
    return Networks(student=student, critic=critic, teacher=teacher.requires_grad_(False))


@pytest.mark.parametrize("with_grad", [True, False])
def test_rollout_has_gradient_at_the_exit_only(
    preset: Preset,
    data: LatentWindows,
    prompts: Prompts,
    networks: Networks,
    monkeypatch: pytest.MonkeyPatch,
    with_grad: bool,
) -> None:
    student, calls = networks.student, []
    denoise = student.denoise_chunk

    def watched(x: Tensor, t: float, encoded: EncodedConditions, cache: KVCache) -> Tensor:
        calls.append((t, torch.is_grad_enabled()))
        assert not any(key.requires_grad for key in cache.keys)
        return denoise(x, t, encoded, cache)

    monkeypatch.setattr(student, "denoise_chunk", watched)
    conditions, exits = data.batch(1, seed=0, step=0).conditions(prompts.text_BLD), set()
    for step in range(8):
        calls.clear()
        generator = step_generator(0, "roll", step)
        rollout = roll_out(
            student, conditions, t_list=(0.9, 0.5, 0.0), generator=generator, with_grad=with_grad
        )
        assert rollout.shape == (1, 16, 6, 8, 8)
        assert rollout.requires_grad == with_grad
        assert calls in ([(0.9, with_grad)] * 2, [(0.9, False), (0.5, with_grad)] * 2)
        exits.add(len(calls))
    assert exits == {2, 4}


def test_matching_loss_is_zero_where_critic_equals_teacher(
    preset: Preset, data: LatentWindows, prompts: Prompts, networks: Networks
) -> None:
    outside = preset.model_copy(
        update={"schedule": preset.schedule.model_copy(update={"guidance_scale": 1.0})}
    )
    batch = data.batch(2, seed=0, step=0)
    loss_B, _ = matching_loss(networks, batch, prompts, outside, step_generator(0, "x", 0))
    torch.testing.assert_close(loss_B, torch.zeros(2), atol=1e-9, rtol=0)


def test_matching_gradient_is_the_published_one(
    preset: Preset, data: LatentWindows, prompts: Prompts, networks: Networks, monkeypatch: pytest.MonkeyPatch
) -> None:
    """dL/dX = (critic - teacher) / (n numel), n = mean|X - teacher| per sample (golden value, method I)."""
    rollout = torch.randn(2, 16, 6, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    fake, real = rollout.detach() * 0.5 + 1, rollout.detach() * 0.9
    monkeypatch.setattr(distill, "roll_out", lambda *args, **kwargs: rollout)
    monkeypatch.setattr(distill, "_predict", lambda *args: fake)
    monkeypatch.setattr(distill, "guided_prediction", lambda *args: real)
    loss_B, _ = matching_loss(
        networks, data.batch(2, seed=0, step=0), prompts, preset, step_generator(0, "x", 0)
    )
    loss_B.sum().backward()
    for sample in range(2):
        size = (rollout[sample] - real[sample]).abs().mean() + 1e-6
        expected = (fake[sample] - real[sample]) / (size * rollout[sample].numel())
        torch.testing.assert_close(rollout.grad[sample], expected.detach())


def test_guidance_acts_inside_the_window_only(
    preset: Preset, data: LatentWindows, prompts: Prompts, networks: Networks
) -> None:
    batch = data.batch(3, seed=0, step=0)
    t_B = torch.tensor([0.95, 0.7, 0.3], dtype=torch.float64)
    x_t = torch.randn(batch.latents_BCTHW.shape, generator=torch.Generator().manual_seed(1))
    plain = preset.model_copy(update={"schedule": preset.schedule.model_copy(update={"guidance_scale": 1.0})})
    with torch.no_grad():
        guided = guided_prediction(networks.teacher, x_t, t_B, batch, prompts, preset)
        conditional = guided_prediction(networks.teacher, x_t, t_B, batch, prompts, plain)
    assert torch.equal(guided[[0, 2]], conditional[[0, 2]])
    assert not torch.allclose(guided[1], conditional[1])


def test_critic_loss_trains_the_critic_alone(
    preset: Preset, data: LatentWindows, prompts: Prompts, networks: Networks
) -> None:
    critic_loss(
        networks, data.batch(2, seed=0, step=0), prompts, preset, step_generator(0, "c", 0)
    ).backward()
    assert all(parameter.grad is None for parameter in networks.student.parameters())
    assert all(parameter.grad is None for parameter in networks.teacher.parameters())
    assert any(parameter.grad is not None for parameter in networks.critic.parameters())


def test_reward_weightings() -> None:
    loss, reward = torch.tensor([1.0, 3.0]), torch.tensor([0.0, 1.0])
    weight = torch.tensor(2.0).exp()
    published = reward_loss(loss, reward, beta=2.0, weighting="per_sample")
    torch.testing.assert_close(published, (1 + weight * 3) / 2)
    normalised = reward_loss(loss, reward, beta=2.0, weighting="self_normalized")
    torch.testing.assert_close(normalised, (1 + weight * 3) / (1 + weight))
    assert torch.isfinite(reward_loss(loss, 100 * reward, beta=2.0, weighting="self_normalized"))


def test_sync_reward_hands_over_pixels_and_fp32_sound(codec, data: LatentWindows) -> None:  # type: ignore[no-untyped-def]
    class Expert:
        backend_id = "expert-v1"

        def reward_score(self, frames, waveform) -> float:  # type: ignore[no-untyped-def]
            assert frames.shape == (21, 64, 64, 3)
            assert frames.dtype == "uint8"
            assert waveform.dtype == "float32"
            return float(frames.mean())

    batch = data.batch(2, seed=0, step=0)
    reward = SyncReward(codec, Expert())
    scores = reward.score(batch.latents_BCTHW, batch.waveform_BS)
    expected = ((codec.decode(batch.latents_BCTHW) + 1) * 127.5).mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(scores, expected, atol=0.5, rtol=0)
    assert reward.backend_id.startswith("expert-v1+block-pca-v1@sha256:")


def test_a_larger_teacher_needs_a_critic_of_the_students_size(
    preset: Preset, data: LatentWindows, prompts: Prompts, base_path: Path, tmp_path: Path
) -> None:
    teacher = preset.model_copy(update={"model": preset.model.model_copy(update={"dim": 36})})
    (tmp_path / "larger.toml").write_text(_as_toml(teacher), encoding="utf-8")
    larger = tmp_path / "larger.safetensors"
    save_model(WanTransformer(teacher.model.config()).init_weights(0), larger)
    distill = preset.distill.model_copy(update={"teacher_preset": str(tmp_path / "larger.toml")})
    chosen = preset.model_copy(update={"distill": distill})
    run = partial(
        distill_student, chosen, data, prompts, tmp_path / "out",
        student_init=base_path, teacher_init=larger, reward=FakeReward(),
    )  # fmt: skip
    with pytest.raises(IncompatibleCheckpointError, match=r"larger\.safetensors: .* has shape"):
        run()
    assert run(critic_init=base_path).model_path.is_file()


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
