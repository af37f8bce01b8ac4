"""The grid of ablations: exactly the printed tables, and variants that change what their table says and no more."""

from __future__ import annotations

import csv
from itertools import pairwise
from typing import Any

import pytest

from apps.cli.flow_commands import ABLATIONS_IN_HELP
from lipforcing_core.base.errors import BadInputError
from lipforcing_core.diffusion.schedule import FlowSchedule
from lipforcing_core.presets import Preset, load_preset
from lipforcing_core.presets.ablations import ABLATIONS, VARIANTS, repetition, variants_of
from lipforcing_core.training.stages.distillation import Distillation
from lipforcing_core.training.stages.forcing import StudentForcing
from lipforcing_core.training.stages.teacher import TeacherLora
from warehouse.published import PUBLISHED_CSV

NANO = load_preset("nano")
TABLES = ("ablation_cfg_schedule", "ablation_reward", "ablation_steps", "ablation_landing_j1")


def printed() -> list[dict[str, str]]:
    with open(PUBLISHED_CSV, encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_the_help_names_them_all() -> None:
    assert tuple(ABLATIONS) == ABLATIONS_IN_HELP


def test_the_rows_are_those_of_the_printed_tables_in_their_order() -> None:
    of_tables = [row for row in printed() if row["table"] in TABLES]
    rows = list(dict.fromkeys((r["table"], r["method"], r["variant"], r["steps"]) for r in of_tables))
    ours = [
        (row.table, row.method, row.printed_variant, str(row.num_steps))
        for ablation in ABLATIONS.values()
        for row in ablation.rows
        if row.table in TABLES
    ]
    assert len(rows) == 16
    assert ours == rows


def test_the_baseline_is_in_the_main_table() -> None:
    rows = {(r["method"], r["variant"], r["steps"]) for r in printed() if r["table"] == "main_hdtf"}
    baseline = [
        (row.method, row.printed_variant, str(row.num_steps)) for row in ABLATIONS["self_forcing"].rows
    ]
    assert baseline == [("Self Forcing", "1.3B", "4"), ("Lip Forcing", "1.3B", "2")]
    assert set(baseline) <= rows


def test_rows_with_equal_printed_numbers_are_one_variant() -> None:
    """Windowed without reward stands in all four tables with the same numbers, and so do the others that recur."""
    numbers: dict[tuple[str, ...], set[str]] = {}
    for ablation in ABLATIONS.values():
        for row in ablation.rows:
            key = (row.table, row.method, row.printed_variant, str(row.num_steps))
            values = tuple(
                r["value"]
                for metric in ("Sync-C", "Sync-D", "FVD", "SSIM")
                for r in printed()
                if (r["table"], r["method"], r["variant"], r["steps"]) == key and r["metric"] == metric
            )
            assert len(values) == 4, key
            numbers.setdefault(values, set()).add(row.variant)
    assert all(len(variants) == 1 for variants in numbers.values())
    assert len(numbers) == len(VARIANTS) == 12


def test_every_variant_is_in_a_table_and_every_one_of_a_table_is_there() -> None:
    assert [variant.name for variant in variants_of(list(ABLATIONS))] == list(VARIANTS)
    assert [v.name for v in variants_of(["steps"])] == ["windowed", "one-step", "landing-25", "four-steps"]


EXPECTED: dict[str, tuple[str, bool, list[float]]] = {
    # where the teacher is guided, whether there is a reward, where the student lands in the 50 steps of the teacher
    "static": ("everywhere", False, [0, 30]),
    "no-cfg": ("nowhere", False, [0, 30]),
    "windowed": ("inside", False, [0, 30]),
    "reverse": ("outside", False, [0, 30]),
    "static-reward": ("everywhere", True, [0, 30]),
    "windowed-reward": ("inside", True, [0, 30]),
    "one-step": ("inside", False, [0]),
    "landing-25": ("inside", False, [0, 25]),
    "four-steps": ("inside", False, [0, 12.5, 25, 37.5]),
    "landing-13": ("inside", False, [0, 13]),
    "landing-37": ("inside", False, [0, 37]),
    "self-forcing": ("everywhere", False, [0, 12.5, 25, 37.5]),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_is_what_its_row_says(name: str) -> None:
    guidance, reward, landings = EXPECTED[name]
    preset = VARIANTS[name].preset(NANO)
    assert preset.distill.guidance == guidance
    assert preset.distill.reward_beta == (NANO.distill.reward_beta if reward else 0)
    schedule = FlowSchedule(shift=NANO.schedule.shift, num_steps=NANO.schedule.num_steps)
    for level, j in zip(preset.schedule.t_list, [*landings, 50], strict=True):
        s = 1 - j / schedule.num_steps
        exact = schedule.shift * s / (1 + (schedule.shift - 1) * s)
        assert level == pytest.approx(exact, abs=1.001e-3)


def changed(base: Any, other: Any, path: str = "") -> set[str]:
    """The keys whose values differ."""
    if not (isinstance(base, dict) and isinstance(other, dict)):
        return set() if base == other else {path}
    keys = base.keys() | other.keys()
    return {k for key in keys for k in changed(base.get(key), other.get(key), f"{path}.{key}".strip("."))}


MAY_CHANGE = {
    "cfg_schedule": {"distill.guidance"},
    "reward": {"distill.guidance", "distill.reward_beta"},
    "steps": {"schedule.t_list"},
    "landing_j1": {"schedule.t_list"},
}


@pytest.mark.parametrize("ablation", MAY_CHANGE)
def test_the_cells_of_a_table_differ_in_what_it_varies_alone(ablation: str) -> None:
    presets = [VARIANTS[row.variant].preset(NANO).model_dump() for row in ABLATIONS[ablation].rows]
    seen = set().union(*(changed(a, b) for a, b in pairwise(presets)))
    assert seen - {"name"} == MAY_CHANGE[ablation]
    for preset in presets:
        from_base = changed(NANO.model_dump(), preset)
        assert from_base <= {"name", "distill.reward_beta"} | MAY_CHANGE[ablation]


def test_the_full_method_is_the_preset_itself() -> None:
    assert changed(NANO.model_dump(), VARIANTS["windowed-reward"].preset(NANO).model_dump()) == {"name"}


def test_all_variants_are_distilled_differently() -> None:
    assert len({Distillation.of(variant.preset(NANO)) for variant in VARIANTS.values()}) == len(VARIANTS)


def test_a_variant_says_all_three_things_whatever_the_base_says() -> None:
    odd = NANO.model_dump()
    odd["distill"]["guidance"] = "nowhere"
    odd["schedule"]["t_list"] = [0.999, 0.5, 0.0]
    for variant in VARIANTS.values():
        assert variant.preset(Preset.model_validate(odd)) == variant.preset(NANO)


def test_repetitions_differ_in_every_stage_that_is_trained_and_share_the_base() -> None:
    assert repetition(NANO, 0) == NANO
    presets = [repetition(NANO, number) for number in range(4)]
    for stage in (TeacherLora, StudentForcing, Distillation):
        assert len({stage.of(preset) for preset in presets}) == 4
    differing = {"lora.seed", "diffusion_forcing.seed", "distill.student.seed"}
    assert changed(NANO.model_dump(), presets[1].model_dump()) == differing
    seeds = [s for p in presets for s in (p.lora.seed, p.diffusion_forcing.seed, p.distill.student.seed)]
    assert len(set(seeds)) == len(seeds)


@pytest.mark.parametrize(
    ("section", "changes", "variant", "words"),
    [
        ("schedule", {"shift": 3.0}, "windowed", "noise levels of schedule.shift = 5, not 3"),
        ("distill", {"reward_beta": 0.0}, "windowed-reward", "give the preset a reward"),
        (
            "distill",
            {"window_edges": "steps"},
            "static",
            "variant static of preset nano: distill: guidance = ",
        ),
    ],
)
def test_a_base_that_a_variant_cannot_be_made_of(
    section: str, changes: dict[str, Any], variant: str, words: str
) -> None:
    values = NANO.model_dump()
    values[section] |= changes
    with pytest.raises(BadInputError) as error:
        VARIANTS[variant].preset(Preset.model_validate(values))
    assert words in str(error.value)
    assert "\n" not in str(error.value)
