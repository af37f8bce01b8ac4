"""The key of a stage changes with what it reads, and with nothing else: every setting of a preset is tried."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import ValidationError

from lipforcing_core.presets import Preset
from lipforcing_core.presets.schema import StageSettings
from lipforcing_core.training.dataset import windows_key
from lipforcing_core.training.loop import StageResult
from lipforcing_core.training.stages.distillation import Distillation
from lipforcing_core.training.stages.forcing import StudentForcing
from lipforcing_core.training.stages.protocol import Stage, stage_key
from lipforcing_core.training.stages.teacher import TeacherBase, TeacherLora
from tests.training.conftest import tiny_preset
from tests.training.fakes import stage_settings

STAGES = ("base", "lora", "diffusion_forcing", "distill")
TEACHER = {"base", "lora"}
EVERY = set(STAGES)
READERS: dict[str, set[str]] = {
    "video.window_frames": EVERY,
    "video.reference": EVERY,
    "video": set(),  # size and stride are in the windows themselves
    "name": set(),
    "summary": set(),
    "base_checkpoint": set(),  # the content of its weights is the parent of the adapter's key
    "codec": set(),  # in the windows
    "backends.text": EVERY,
    "backends": set(),
    "model": EVERY,
    "window": {"diffusion_forcing", "distill"},
    "schedule.prompt": EVERY,
    "schedule.shift": TEACHER | {"distill"},
    "schedule.t_list": {"diffusion_forcing", "distill"},
    "schedule": {"distill"},
    "distill.teacher_preset": set(),  # another preset's model is read instead
    "distill": {"distill"},
    "base": {"base"},
    "lora": {"lora"},
    "diffusion_forcing": {"diffusion_forcing"},
}


@dataclass(frozen=True, kw_only=True)
class Small:
    """A stage that is only named here."""

    name: ClassVar[str] = "small"
    version: ClassVar[int] = 4
    starts_from: ClassVar[tuple[str, ...]] = ("teacher",)
    num_steps: ClassVar[int] = 1

    size: int
    settings: StageSettings

    def run(self, *_: Any, **__: Any) -> StageResult:
        raise NotImplementedError


def keys_of(preset: Preset) -> dict[str, str]:
    base = TeacherBase.of(preset)
    stages: list[Stage] = [TeacherLora.of(preset), StudentForcing.of(preset), Distillation.of(preset)]
    stages += [] if base is None else [base]
    data = windows_key(["hash"], preset.video)
    return {stage.name: stage_key(stage, data, {}) for stage in stages}


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def other_values(value: Any) -> list[Any]:
    """Values to try instead; some will not be allowed."""
    if isinstance(value, str):
        known = ["wav2vec2", "umt5", "syncnet-v2", "wan-vae", "gaussian", "first", "bf16", "constant", "cosine", "flow",
                 "per_sample", "outside", "mean"]  # fmt: skip
        return [*known, f"{value}!"]
    if isinstance(value, tuple | list):
        return [(*value[:-1], value[-1] + 1), (0.9, 0.5, 0.0), (value[0] / 2, *value[1:])]
    return [value + 1, value * 2, value + 4, value / 2, 12]


def with_value(values: dict[str, Any], path: str, value: Any) -> dict[str, Any]:
    first, _, rest = path.partition(".")
    return values | {first: with_value(values[first], rest, value) if rest else value}


def test_every_setting_moves_the_keys_of_its_readers_alone() -> None:
    preset = tiny_preset()
    before, values = keys_of(preset), preset.model_dump()
    tried = 0
    for path, value in leaves(values):
        if value is None:
            continue
        expected = next(READERS[prefix] for prefix in _prefixes(path) if prefix in READERS)
        if path.endswith(("checkpoint_every", "recompute")):
            expected = set()
        changed = _changed(values, path, value)
        if changed is None:
            continue
        tried += 1
        after = keys_of(changed)
        assert {name for name in STAGES if before[name] != after[name]} == expected, path
    assert tried > 90


def _changed(values: dict[str, Any], path: str, value: Any) -> Preset | None:
    for other in other_values(value):
        if other != value:
            try:
                return Preset.model_validate(with_value(values, path, other))
            except ValidationError:
                continue
    return None


def _prefixes(path: str) -> Iterator[str]:
    parts = path.split(".")
    for length in range(len(parts), 0, -1):
        yield ".".join(parts[:length])


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("guidance", "outside"),
        ("window_edges", "steps"),
        ("critic_objective", "flow"),
        ("critic_clip_norm", 10.0),
        ("critic_accumulation", "mean"),
        ("reward_centre_momentum", 0.9),
        ("reward_clamp", 1.0),
    ],
)
def test_options_that_came_later_move_the_key_unless_they_have_their_default(
    name: str, value: object
) -> None:
    preset = tiny_preset()
    assert name not in preset.distill.model_dump()
    changed = preset.model_copy(update={"distill": preset.distill.model_copy(update={name: value})})
    assert changed.distill.model_dump()[name] == value
    assert Preset.model_validate(changed.model_dump()) == changed
    before, after = keys_of(preset), keys_of(changed)
    assert {stage for stage in STAGES if before[stage] != after[stage]} == {"distill"}


def test_two_presets_that_differ_in_name_and_reward_share_teacher_and_student() -> None:
    preset = tiny_preset()
    values = preset.model_dump() | {"name": "other", "summary": "another reward"}
    values["distill"] |= {"reward_beta": 0.0}
    values["backends"] |= {"sync": "syncnet-v2"}
    before, after = keys_of(preset), keys_of(Preset.model_validate(values))
    assert {name for name in STAGES if before[name] == after[name]} == {"base", "lora", "diffusion_forcing"}


def test_data_parents_and_version_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    stage = StudentForcing.of(tiny_preset())
    keys = {
        stage_key(stage, "data", {"teacher": "a"}),
        stage_key(stage, "other", {"teacher": "a"}),
        stage_key(stage, "data", {"teacher": "b"}),
    }
    assert len(keys) == 3
    before = stage_key(stage, "data", {"teacher": "a"})
    monkeypatch.setattr(StudentForcing, "version", StudentForcing.version + 1)
    assert stage_key(stage, "data", {"teacher": "a"}) != before


def test_a_key_is_that_of_name_version_settings_data_and_parents() -> None:
    """Keys of finished work: another order or another content would train everything again."""
    settings = stage_settings(steps=7, checkpoint_every=3)
    read = {
        name: value for name, value in settings.model_dump(mode="json").items() if name != "checkpoint_every"
    }
    parts = ["small", 4, {"settings": read, "size": 5}, "data", {"teacher": "abc"}]
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    key = hashlib.sha256(text.encode()).hexdigest()[:16]
    assert stage_key(Small(size=5, settings=settings), "data", {"teacher": "abc"}) == key


def test_versions_change_on_purpose_only() -> None:
    """With a version the keys change, and what was trained before is trained again."""
    preset = tiny_preset()
    base = TeacherBase.of(preset)
    assert base is not None
    stages: list[Stage] = [base, TeacherLora.of(preset), StudentForcing.of(preset), Distillation.of(preset)]
    assert {stage.name: stage.version for stage in stages} == {
        "base": 3, "lora": 3, "diffusion_forcing": 3, "distill": 3,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("student", "values", "version"),
    [
        ({}, {"reward_weighting": "self_normalized", "reward_centre_momentum": 0.9}, 3),
        ({"accumulation": 2}, {"reward_weighting": "per_sample"}, 3),
        ({"accumulation": 2}, {"reward_weighting": "legacy_batch_mean"}, 3),
        ({"accumulation": 2}, {"reward_weighting": "self_normalized"}, 4),
        ({"accumulation": 2}, {"reward_weighting": "per_sample", "reward_centre_momentum": 0.9}, 4),
    ],
)
def test_a_distillation_whose_micro_batches_weigh_each_other_is_another_one_than_before(
    student: dict[str, Any], values: dict[str, Any], version: int
) -> None:
    """Until version 4 every micro-batch was weighed by itself; what one of them gives has not changed."""
    changed = tiny_preset().model_dump()
    changed["distill"] |= values
    changed["distill"]["student"] |= student
    assert Distillation.of(Preset.model_validate(changed)).version == version


def test_a_preset_without_a_base_has_no_base_stage() -> None:
    assert TeacherBase.of(tiny_preset().model_copy(update={"base": None})) is None


def test_a_teacher_of_another_preset_is_read(tmp_path: Path) -> None:
    preset = tiny_preset()
    distill = preset.distill.model_copy(update={"teacher_preset": "nano"})
    stage = Distillation.of(preset.model_copy(update={"distill": distill}))
    assert stage.teacher_model.dim == 128
    assert stage.model == preset.model
    assert stage.settings.teacher_preset is None, "the name of a preset says nothing about its content"
    same = Distillation.of(preset)
    assert same.teacher_model == same.model
    assert stage_key(stage, "d", {}) != stage_key(same, "d", {})
