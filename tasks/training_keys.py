"""The keys that training products are stored under: made of what a step reads, and of nothing else.

Until stage version 2 a key held the whole preset, so a preset of another name or reward trained its teacher again.
Results under those keys are still right where the computation has not changed since, and are then looked up too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lipforcing_core.base.products import content_key
from lipforcing_core.media.window_plan import PLAN_VERSION
from lipforcing_core.presets import Preset
from tasks.training_device import CPU

if TYPE_CHECKING:
    from lipforcing_core.models.bases.catalogue import BaseEntry
    from lipforcing_core.presets.schema import StageSettings
    from lipforcing_core.training.stages.protocol import Stage

TRAINING_SET_VERSION = 2
_SET_VERSION_BEFORE = 1
_STAGE_VERSION_BEFORE = 2


def training_set(
    hashes: Sequence[Any], preset: Preset, base: BaseEntry | None = None, *, replanned: bool = False
) -> str:
    """The key of latent windows: clips, picture and window sizes, codec and audio encoder.

    base: the shipped base whose codec encodes them; without one a codec is fitted on the clips.
    replanned: whether any clip has other windows or references than in the first version of the plan.
    """
    video, backends = preset.video, preset.backends
    sizes = [video.size, video.window_frames, video.window_stride_frames]
    if replanned:
        sizes.append(PLAN_VERSION)
    if base is not None:
        return content_key(
            TRAINING_SET_VERSION, hashes, sizes, base.codec_sha256, backends.codec, backends.audio
        )
    return content_key(TRAINING_SET_VERSION, hashes, sizes, preset.codec, backends.codec, backends.audio)


def training_set_before(hashes: Sequence[Any], preset: Preset) -> str:
    """The key of the same windows with all backends in it."""
    return content_key(_SET_VERSION_BEFORE, hashes, preset.video, preset.codec, preset.backends)


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """What the keys of all stages of a preset are made from.

    device: the training strategy. Results of the CPU have the keys that they had before there was a choice.
    """

    preset: Preset
    windows: Sequence[Path]
    num_threads: int
    device: str = CPU

    @cached_property
    def window_hashes(self) -> list[str]:
        """The content of the training set."""
        from lipforcing_core.training.latent_files import content_of

        return [sha256 for path in self.windows for sha256 in content_of(path)]

    def key(self, stage: Stage, parents: Mapping[str, str]) -> str:
        """The key of a stage's result; ``parents`` as for ``stage_key``, by content or by key."""
        from lipforcing_core.training.dataset import windows_key
        from lipforcing_core.training.stages.protocol import stage_key

        data = windows_key(self.window_hashes, self.preset.video)
        elsewhere = [] if self.device == CPU else [self.device]
        return content_key(stage_key(stage, data, parents), self.num_threads, *elsewhere)

    def before(self, name: str, parents: Sequence[str], reward: str | None = None) -> str:
        """The key of the model called ``name`` with the whole preset in it."""
        return content_key(
            _STAGE_VERSION_BEFORE, name, self.preset, self.window_hashes, parents, reward, self.num_threads
        )


def teacher_before(recipe: Recipe) -> list[str]:
    """Older keys of a teacher: its warm-up and the weights by noise level have changed since, where it has any."""
    base, lora = recipe.preset.base, recipe.preset.lora
    stages = [lora] if base is None else [base, lora]
    unchanged = all(_unchanged(stage) and stage.timestep_weighting == "none" for stage in stages)
    return [recipe.before("teacher", [])] if unchanged and recipe.device == CPU else []


def pretrained_before(recipe: Recipe, teacher: str) -> list[str]:
    """Older keys of a pre-trained student; ``teacher``: the content of the weights it starts from."""
    forcing = recipe.preset.diffusion_forcing
    unchanged = _unchanged(forcing) and forcing.objective == "x0"
    return [recipe.before("pretrained", [teacher])] if unchanged and recipe.device == CPU else []


def _unchanged(settings: StageSettings) -> bool:
    return settings.warmup_steps == 0 and settings.ema_decay is None
