"""What a stage is run on, read from files: the same for a job of a flow and for a worker of ``torchrun``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.presets.schema import Preset
from lipforcing_core.runtime.bundle import CODEC_FILE
from lipforcing_core.runtime.encoders import load_codec, load_text_encoder
from lipforcing_core.runtime.prompts import encode_prompts
from lipforcing_core.sync.experts.catalogue import load_sync_expert
from lipforcing_core.training.dataset import LatentWindows
from lipforcing_core.training.reward import RewardModel, SyncReward
from lipforcing_core.training.stages.distillation import Distillation
from lipforcing_core.training.stages.protocol import Stage, StageInputs


def stage_inputs(
    stage: Stage,
    preset: Preset,
    windows: Sequence[Path],
    codec_file: Path,
    init: Mapping[str, Path],
    *,
    expert_file: Path | None,
    device: str,
) -> StageInputs:
    """Latent windows, encoded prompts, the files of the weights it starts from, and a reward where it needs one.

    codec_file: what the windows were encoded with. expert_file: of the sync expert of the preset, where it needs one.
    device: where rollouts are decoded for the reward, as torch calls it.
    """
    rewarded = isinstance(stage, Distillation)
    return StageInputs(
        data=LatentWindows(list(windows), preset.video),
        prompts=encode_prompts(load_text_encoder(preset), preset.schedule.prompt),
        init=init,
        reward=load_reward(preset, codec_file, expert_file, device) if rewarded else None,
    )


def check_codec(codec_file: Path, bundles: Sequence[Path]) -> None:
    """Latents of another codec mean something else to a model: raises ``BadInputError`` for such a bundle.

    codec_file: what the latents were encoded with.
    """
    for bundle in bundles:
        if file_sha256(bundle / CODEC_FILE) != file_sha256(codec_file):
            raise BadInputError(
                f"{bundle} was trained on latents of another codec, fitted on other clips; "
                "give the manifest that it was trained on"
            )


def load_reward(preset: Preset, codec_file: Path, expert_file: Path | None, device: str) -> RewardModel:
    """The sync expert of a preset behind its decoder."""
    codec = load_codec(preset, None, device, codec_file=codec_file)
    return SyncReward(codec, load_sync_expert(preset.backends.sync, expert_file))
