"""The paper's ablations of the distillation as data: which variants there are, and which printed row each stands for.

Every variant is named by three things, since the tables vary nothing else: where the teacher is guided, whether the
sync reward weighs the losses, and the noise levels of the student's steps. One variant may stand in several tables
(windowed guidance without reward, landing at step 30, is in all four), and is then trained once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.layers import merged
from lipforcing_core.presets.load import check_preset
from lipforcing_core.presets.schema import Preset

SHIFT = 5.0
"""The shift of the noise schedule that the levels below are of (method C.2)."""

ONE_STEP = (0.999, 0.0)
LANDING_13 = (0.999, 0.934, 0.0)
LANDING_25 = (0.999, 0.833, 0.0)
LANDING_30 = (0.999, 0.769, 0.0)
LANDING_37 = (0.999, 0.637, 0.0)
FOUR_STEPS = (0.999, 0.937, 0.833, 0.624, 0.0)
"""The levels of the released code for the Self Forcing baseline."""

SEED_STRIDE = 1000
"""The seeds of a preset's stages are close to each other; those of another repetition are far from all of them."""


@dataclass(frozen=True, kw_only=True)
class Variant:
    """One way to distil. guidance, reward, t_list: all that it says of a preset; everything else stays."""

    name: str
    label: str
    guidance: Literal["inside", "outside", "everywhere", "nowhere"] = "inside"
    reward: bool = False
    t_list: tuple[float, ...] = LANDING_30

    def preset(self, base: Preset) -> Preset:
        """The preset of the variant, called after both.

        Raises ``BadInputError`` for a base with another schedule than the tables', one that has no reward where the
        variant needs one, and one whose other settings do not go with the guidance of the variant.
        """
        if base.schedule.shift != SHIFT:
            raise BadInputError(
                f"preset {base.name}: the landing steps of the ablation tables are noise levels of schedule.shift = "
                f"{SHIFT:g}, not {base.schedule.shift:g}"
            )
        if self.reward and base.distill.reward_beta == 0:
            raise BadInputError(
                f"preset {base.name}: distill.reward_beta is 0, so the variant {self.name} with a reward would be the "
                "one without; give the preset a reward"
            )
        distill: dict[str, Any] = {"guidance": self.guidance}
        if not self.reward:
            distill["reward_beta"] = 0.0
        changes = {
            "name": f"{base.name}-{self.name}",
            "distill": distill,
            "schedule": {"t_list": list(self.t_list)},
        }
        name = f"variant {self.name} of preset {base.name}"
        return check_preset(merged(base.model_dump(mode="json"), changes), name)


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A printed row of the paper: the words by which it is found among the published results."""

    variant: str
    table: str
    method: str = "Lip Forcing"
    printed_variant: str
    num_steps: int


@dataclass(frozen=True, kw_only=True)
class Ablation:
    """One table of the paper, or the comparison with its baseline; ``rows`` in the printed order."""

    name: str
    summary: str
    rows: tuple[Printed, ...]


WINDOWED = Variant(name="windowed", label="windowed CFG, 2 steps (j1 = 30)")
WINDOWED_REWARD = Variant(name="windowed-reward", label="windowed CFG and reward: Lip Forcing", reward=True)
STATIC = Variant(name="static", label="CFG everywhere", guidance="everywhere")
STATIC_REWARD = Variant(
    name="static-reward", label="CFG everywhere and reward", guidance="everywhere", reward=True
)

VARIANTS: dict[str, Variant] = {
    variant.name: variant
    for variant in (
        STATIC,
        Variant(name="no-cfg", label="no CFG", guidance="nowhere"),
        WINDOWED,
        Variant(name="reverse", label="CFG outside the window", guidance="outside"),
        STATIC_REWARD,
        WINDOWED_REWARD,
        Variant(name="one-step", label="1 step", t_list=ONE_STEP),
        Variant(name="landing-25", label="2 uniform steps (j1 = 25)", t_list=LANDING_25),
        Variant(name="four-steps", label="4 steps", t_list=FOUR_STEPS),
        Variant(name="landing-13", label="2 steps, j1 = 13", t_list=LANDING_13),
        Variant(name="landing-37", label="2 steps, j1 = 37", t_list=LANDING_37),
        Variant(
            name="self-forcing",
            label="Self Forcing: 4 steps, CFG everywhere",
            guidance="everywhere",
            t_list=FOUR_STEPS,
        ),
    )
}


def _row(table: str, variant: str, printed: str, num_steps: int = 2) -> Printed:
    words = f"1.3B; {printed}"
    return Printed(variant=variant, table=table, printed_variant=words, num_steps=num_steps)


_CFG, _REWARD, _STEPS, _LANDING = (
    "ablation_cfg_schedule",
    "ablation_reward",
    "ablation_steps",
    "ablation_landing_j1",
)
_PLAIN = "windowed CFG; no reward"

ABLATIONS: dict[str, Ablation] = {
    ablation.name: ablation
    for ablation in (
        Ablation(
            name="cfg_schedule",
            summary="where the teacher is guided",
            rows=(
                _row(_CFG, "static", "CFG schedule=all-CFG; no reward; j1=30"),
                _row(_CFG, "no-cfg", "CFG schedule=no-CFG; no reward; j1=30"),
                _row(_CFG, "windowed", "CFG schedule=windowed; no reward; j1=30"),
                _row(_CFG, "reverse", "CFG schedule=reverse; no reward; j1=30"),
            ),
        ),
        Ablation(
            name="reward",
            summary="the sync reward with static and with windowed guidance",
            rows=(
                _row(_REWARD, "static", "static; j1=30"),
                _row(_REWARD, "static-reward", "static + SyncNet reward; j1=30"),
                _row(_REWARD, "windowed", "windowed; j1=30"),
                _row(_REWARD, "windowed-reward", "windowed + SyncNet reward; j1=30"),
            ),
        ),
        Ablation(
            name="steps",
            summary="how many steps the student takes",
            rows=(
                _row(_STEPS, "one-step", _PLAIN, 1),
                _row(_STEPS, "landing-25", f"{_PLAIN}; uniform, j1=25"),
                _row(_STEPS, "windowed", f"{_PLAIN}; ours, j1=30"),
                _row(_STEPS, "four-steps", _PLAIN, 4),
            ),
        ),
        Ablation(
            name="landing_j1",
            summary="where the second of two steps lands",
            rows=(
                _row(_LANDING, "landing-13", f"{_PLAIN}; j1=13"),
                _row(_LANDING, "landing-25", f"{_PLAIN}; j1=25"),
                _row(_LANDING, "windowed", f"{_PLAIN}; j1=30"),
                _row(_LANDING, "landing-37", f"{_PLAIN}; j1=37"),
            ),
        ),
        Ablation(
            name="self_forcing",
            summary="the baseline of the main table: Self Forcing in 4 steps with static guidance",
            rows=(
                Printed(
                    variant="self-forcing",
                    table="main_hdtf",
                    method="Self Forcing",
                    printed_variant="1.3B",
                    num_steps=4,
                ),
                Printed(variant="windowed-reward", table="main_hdtf", printed_variant="1.3B", num_steps=2),
            ),
        ),
    )
}
"""The four tables in the paper's order, and the baseline."""


def variants_of(ablations: Sequence[str]) -> list[Variant]:
    """The variants that these ablations compare, each once, in the order of ``VARIANTS``."""
    wanted = {row.variant for name in ablations for row in ABLATIONS[name].rows}
    return [variant for name, variant in VARIANTS.items() if name in wanted]


def repetition(base: Preset, seed: int) -> Preset:
    """The preset with other seeds of the teacher, the pre-trained and the distilled student; 0: its own.

    The base, which stands for a public checkpoint, is the same for all.
    """
    if seed == 0:
        return base
    shift = SEED_STRIDE * seed
    changes = {
        "lora": {"seed": base.lora.seed + shift},
        "diffusion_forcing": {"seed": base.diffusion_forcing.seed + shift},
        "distill": {"student": {"seed": base.distill.student.seed + shift}},
    }
    return check_preset(merged(base.model_dump(mode="json"), changes), f"preset {base.name}")
