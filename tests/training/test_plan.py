"""Plans: what a GPU holds, how long a step takes, what is said of it, and when a run is refused."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
from typer.testing import CliRunner

from apps.cli.main import app
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.training.plan import advice, fit
from lipforcing_core.training.plan.advice import advise
from lipforcing_core.training.plan.calls import Counts
from lipforcing_core.training.plan.duration import MFU, step_time
from lipforcing_core.training.plan.gpus import GIB, GPUS
from lipforcing_core.training.plan.layout import BF16, FP32, FRAGMENTED, RESERVE_BYTES, Layout, Traffic
from lipforcing_core.training.plan.meter import Work
from lipforcing_core.training.plan.networks import Weights
from lipforcing_core.training.plan.stages import Setup, guided_share, mean_last_exit, plan_stage
from tests.training.conftest import tiny_preset

GOLDEN = Path(__file__).with_name("plan_of_nano.txt")
H200 = GPUS["h200"]
CARD_24 = replace(GPUS["rtx4090"], memory_gib=24.0)


def tiny(**changes: object) -> Preset:
    """The tiny preset with other settings of Diffusion Forcing."""
    values = tiny_preset().model_dump()
    values["diffusion_forcing"] |= changes
    return Preset.model_validate(values)


def setup_of(preset: Preset, *, gpus: int = 1, offload: bool = False, memory_gib: float = 24.0) -> Setup:
    return Setup(
        preset=preset, layout=Layout(gpu=replace(CARD_24, memory_gib=memory_gib), gpus=gpus, offload=offload)
    )


def test_the_plan_of_nano_reads_as_ever() -> None:
    """After a change of the text or of what stages compute: write what the command prints into the file; read it."""
    result = CliRunner().invoke(app, ["train", "plan", "--preset", "nano", "--gpu", "rtx4090"])
    assert result.exit_code == 0
    assert result.output == GOLDEN.read_text(encoding="utf-8")


def test_the_large_teacher_is_refused_on_one_card_of_24_gb_with_what_makes_it_fit() -> None:
    setup = Setup(preset=load_preset("14b"), layout=Layout(gpu=CARD_24))
    with pytest.raises(BadInputError) as refused:
        fit.require_fit_on(setup, "lora")
    message = str(refused.value)
    assert message.startswith("teacher (LoRA) of preset 14b needs ")
    assert "GiB on the GPU (parameters 55.5, " in message
    assert "which has 24.0 GiB; it fits with " in message
    assert "\n" not in message
    knobs = advise(setup, "lora")
    assert knobs
    for knob in knobs:
        assert knob.plan.fits
        assert (knob.training in message) if knob.training else (knob.words not in message)
        assert plan_stage(knob.setup, "lora") == knob.plan
    gpus = next(knob.setup.layout.gpus for knob in knobs if knob.option.startswith("--gpus"))
    fewer = replace(setup, layout=replace(setup.layout, gpus=gpus // 2))
    assert not plan_stage(fewer, "lora").fits


def test_what_fits_is_not_refused_and_what_is_not_planned_neither() -> None:
    fit.require_fit_on(setup_of(tiny_preset()), "diffusion_forcing")
    fit.require_fit(tiny_preset(), "base", "cpu")
    fit.require_fit(tiny_preset(), "distill", "cpu")


def test_a_cpu_refuses_only_what_its_memory_clearly_cannot_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    large = load_preset("14b")
    with pytest.raises(
        BadInputError, match=r"GiB for weights, gradients and optimiser alone, and this machine has 23\.0"
    ):
        fit.require_fit_on_cpu(large, "lora", 23 * GIB)
    fit.require_fit_on_cpu(large, "lora", 64 * GIB)
    monkeypatch.setattr(fit, "plan_stage", lambda *_: pytest.fail("a CPU does not wait for a plan"))
    fit.require_fit(tiny_preset(), "lora", "cpu")


def test_settings_are_turned_before_more_is_bought(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(advice, "ENOUGH", 2)
    preset = tiny(batch_size=8, accumulation=1)
    whole = plan_stage(setup_of(preset), "diffusion_forcing")
    tight = setup_of(preset, memory_gib=(whole.needed - whole.memory["activations"] / 2) / GIB)
    options = [knob.option for knob in advise(tight, "diffusion_forcing")]
    assert options == [
        "--set diffusion_forcing.recompute=true",
        "--set diffusion_forcing.batch_size=1 --set diffusion_forcing.accumulation=8",
    ]


def test_larger_gpus_are_the_last_remedy_and_none_is_said_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    hopeless = setup_of(tiny(), memory_gib=1.0)  # less than what CUDA itself takes
    (larger,) = advise(hopeless, "diffusion_forcing")
    assert larger.option == "--gpu rtx4090"
    assert larger.plan.fits
    monkeypatch.setattr(advice, "GPUS", ())
    with pytest.raises(BadInputError, match=r"which has 1\.0 GiB; no change of the settings makes it fit"):
        fit.require_fit_on(hopeless, "diffusion_forcing")


def test_shards_offload_and_averages() -> None:
    preset = tiny(ema_decay=0.9)
    one, four = (plan_stage(setup_of(preset, gpus=n), "diffusion_forcing").memory for n in (1, 4))
    for what in ("parameters", "gradients", "optimiser", "average"):
        assert four[what] == one[what] / 4
    assert "gathered weights" in four
    assert "gathered weights" not in one
    assert one["optimiser"] == 2 * one["parameters"] == 2 * one["average"]
    away = plan_stage(setup_of(preset, gpus=4, offload=True), "diffusion_forcing")
    assert not away.memory.keys() & {"parameters", "gradients", "optimiser", "average"}
    assert away.step.host_s > 0
    rest = sum(size for what, size in away.memory.items() if what != "reserve")
    assert away.memory["reserve"] == pytest.approx(RESERVE_BYTES + FRAGMENTED * rest)


def test_the_distillation_holds_three_networks() -> None:
    preset = tiny_preset()
    plan, student = (plan_stage(setup_of(preset), name) for name in ("distill", "diffusion_forcing"))
    assert plan.trained == 2 * student.trained
    assert plan.weights == 3 * student.weights
    cut = Layout(gpu=H200, gpus=2)
    assert cut.frozen_bytes(1000.0, tiny(precision="bf16").diffusion_forcing) == 1000 * BF16 / 2
    assert cut.frozen_bytes(1000.0, preset.diffusion_forcing) == 1000 * FP32 / 2
    assert plan.memory["frozen networks"] == plan.memory["parameters"] / 2 == student.memory["parameters"]
    assert (
        plan.memory["KV cache"] == 2 * 4 * 4 * 16 * 24 * 4 * 2
    )  # k and v, layers, latents, tokens, width, bytes, batch


def test_what_travels_by_hand() -> None:
    weights = Weights(total=1000.0, trained=300.0, block=200.0, outside=100.0)
    counts = Counts(weights=weights, forward=Work(), backward=Work(), passes=3.0, graded_passes=2.0)
    settings = tiny(precision="bf16").diffusion_forcing
    four = Layout(gpu=H200, gpus=4).traffic(counts, settings, passes=1.0)
    assert four.link_bytes == 3 / 4 * (((3 + 2 + 1) * 1000 + 2 * 100) * BF16 + 300 * FP32)
    assert four.host_bytes == 0
    away = Layout(gpu=H200, gpus=4, offload=True).traffic(counts, settings)
    assert away.host_bytes == (5 * 1000 + 2 * 100 + 300) * FP32 / 4
    assert Layout(gpu=H200).traffic(counts, settings) == Traffic()
    gathered = Layout(gpu=H200, gpus=2).gathered_bytes([weights], settings)
    assert gathered == (2 * 200 + 100) * BF16 + 200 * (BF16 + FP32)


@pytest.mark.parametrize(("accumulation", "gpus", "each"), [(16, 4, 4), (16, 3, 6), (2, 4, 1), (1, 1, 1)])
def test_every_gpu_takes_its_share_of_the_micro_batches(accumulation: int, gpus: int, each: int) -> None:
    assert (
        Layout(gpu=H200, gpus=gpus).micro_batches(tiny(accumulation=accumulation).diffusion_forcing) == each
    )


def test_a_step_takes_as_long_as_the_slowest_of_its_parts() -> None:
    settings = tiny(precision="bf16").diffusion_forcing
    work = Work(flops=989e12, moved_bytes=4.8e12, operations=1000.0)
    layout = Layout(gpu=H200, gpus=2)
    step = step_time(work, Traffic(link_bytes=45e9), 0.0, layout, settings)
    assert step.arithmetic_s == pytest.approx(1 / MFU)
    assert step.memory_s == pytest.approx(1.0)
    assert step.link_s == pytest.approx(0.1)
    assert step.bound == "arithmetic"
    assert step.total_s == step.arithmetic_s
    slow = step_time(work, Traffic(link_bytes=4500e9), 1e9, layout, settings)
    assert slow.bound == "link between GPUs"
    assert slow.total_s == pytest.approx(10.0 + 0.5e9 * 36 / 4.8e12)


def test_the_guided_share_is_that_of_the_method() -> None:
    assert guided_share(load_preset("14b")) == pytest.approx(0.40, abs=0.005)  # I: P(CFG on)


def test_all_gpus_wait_for_the_one_with_most_calls() -> None:
    assert mean_last_exit(1, 4) == 0.0
    assert mean_last_exit(2, 1) == 0.5
    assert mean_last_exit(2, 4) == 1 - 1 / 16
    every = [max(draws) for draws in product(range(4), repeat=3)]
    assert mean_last_exit(4, 3) == pytest.approx(sum(every) / len(every))


def test_all_gpus_make_the_pass_that_one_of_them_needs() -> None:
    """Guidance everywhere costs as much as the chance that any of many GPUs is guided."""
    values = tiny_preset().model_dump()
    values["schedule"] |= {"t_list": (0.9, 0.0)}
    some = Preset.model_validate(values)
    values["distill"] |= {"guidance": "everywhere"}
    always = Preset.model_validate(values)
    flops = [
        plan_stage(setup_of(preset, gpus=gpus), "distill").step.flops
        for gpus in (1, 64)
        for preset in (some, always)
    ]
    assert flops[0] < 0.97 * flops[1]
    assert flops[2] == pytest.approx(flops[3])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--preset", "nanoo"], "unknown preset 'nanoo' (did you mean 'nano'?)"),
        (["--gpu", "h20"], "unknown GPU 'h20' (did you mean 'h200'?); known: h200, h100"),
        (["--stage", "distil"], "unknown stage 'distil' (did you mean 'distill'?)"),
    ],
)
def test_unknown_words_are_answered_with_known_ones(words: list[str], message: str) -> None:
    result = CliRunner().invoke(app, ["train", "plan", *words])
    assert result.exit_code != 0
    assert message in str(result.exception)


def test_a_plan_for_machines_says_that_it_does_not_fit(tmp_path: Path) -> None:
    preset = tmp_path / "small.toml"
    preset.write_text('extends = "nano"\n[model]\nnum_layers = 4\n[video]\nwindow_frames = 21\n')
    words = ["train", "plan", "--preset", str(preset), "--stage", "lora", "--memory-gb", "1.5", "--json"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 1
    values = json.loads(result.stdout)
    stage = values["stages"]["lora"]
    assert not stage["fits"]
    assert stage["needed_bytes"] == pytest.approx(sum(stage["memory_bytes"].values()), abs=9)
    assert stage["capacity_bytes"] == 1.5 * GIB
    assert stage["fits_with"][0]["option"].startswith("--gpu ")
    assert values["assumed"]["mfu"] == MFU
