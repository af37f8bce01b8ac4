"""The full-size networks that checkpoints must fit.

What a file must hold is learned from a network on the meta device: names and shapes, no memory.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from pkgutil import resolve_name
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from lipforcing_core.base.catalogue import either
from lipforcing_core.presets import load_preset, preset_names
from lipforcing_core.weights.checkpoint import Checkpoint
from lipforcing_core.weights.keymaps import find_key_map
from lipforcing_core.weights.load import Fit, KeyMap, match_names
from lipforcing_core.weights.mismatch import Shaped, first_mismatch

if TYPE_CHECKING:
    from lipforcing_core.models.config import DiTConfig
    from lipforcing_core.weights.spec import WeightSpec

_LORA_RANK, _LORA_ALPHA = 128, 64
_I2V_CHANNELS = 33  # of the image-to-video OmniAvatar: noise, reference and mask (method A.3)


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What a checkpoint must hold: tensors on the meta device, how its names map to them, where they lie."""

    tensors: Mapping[str, Tensor]
    key_map: KeyMap | None = None
    root: str | None = None
    fit: Fit | None = None

    def check(self, files: list[Path]) -> Checkpoint:
        """Check names and shapes in the headers of the files; errors as those of ``load_network``."""
        checkpoint = Checkpoint.open(files, root=self.root)
        match_names(checkpoint, self.tensors, self.key_map, self.fit)
        return checkpoint


def wanted_by(spec: WeightSpec) -> Wanted | None:
    """What the files of a registered checkpoint must hold; None where no network of this project reads them."""
    if spec.network is None:
        return None
    return Wanted(
        tensors=meta_tensors(spec.network),
        key_map=find_key_map(spec.key_map) if spec.key_map else None,
        root=spec.root,
        fit=_trim_time_kernel if spec.network == "taehv" else None,
    )


def meta_tensors(network: str) -> dict[str, Tensor]:
    """All tensors of the full-size network called ``network``, on the meta device."""
    return _NETWORKS[network]()


def preset_fit(tensors: Mapping[str, Shaped]) -> str:
    """In words: the presets whose lip-sync transformer these tensors fill, or why they fill that of none."""
    fitting, problems = [], []
    for preset in preset_names():
        mismatch = first_mismatch(_lipsync(preset), tensors)
        if mismatch is None:
            fitting.append(preset)
        else:
            problems.append(f"{preset}: {' '.join(mismatch)}")
    if fitting:
        return f"fits preset {either(fitting)}"
    return f"fits no shipped preset ({'; '.join(problems)})"


def _state(build: Callable[[], nn.Module]) -> dict[str, Tensor]:
    with torch.device("meta"):
        network = build()
    return {name: value.to("meta") for name, value in network.state_dict().items()}


def _transformer(config: DiTConfig) -> dict[str, Tensor]:
    from lipforcing_core.models.wan import WanTransformer

    return _state(lambda: WanTransformer(config))


def _lipsync_config(preset: str) -> DiTConfig:
    return load_preset(preset).model.config()


def _text_to_video(preset: str) -> dict[str, Tensor]:
    config = _lipsync_config(preset)
    return _transformer(replace(config, in_channels=config.out_channels, audio_dim=None))


def _lipsync(preset: str) -> dict[str, Tensor]:
    return _transformer(_lipsync_config(preset))


def _adapter(preset: str, *, in_channels: int | None = None) -> dict[str, Tensor]:
    from lipforcing_core.models.lora import FULLY_TRAINED, adapter_state_dict, inject_lora
    from lipforcing_core.models.wan import WanTransformer

    with torch.device("meta"):
        network = WanTransformer(_lipsync_config(preset))
    inject_lora(network, rank=_LORA_RANK, alpha=_LORA_ALPHA)
    tensors = adapter_state_dict(network, also=FULLY_TRAINED)
    if in_channels is not None:
        out, _, *kernel = tensors["patch_embedding.weight"].shape
        tensors["patch_embedding.weight"] = torch.empty(out, in_channels, *kernel, device="meta")
    return tensors


def _wav2vec2() -> dict[str, Tensor]:
    from lipforcing_core.models.audio_encoders.wav2vec2 import Wav2Vec2Features, base_960h_config

    return _state(lambda: Wav2Vec2Features(base_960h_config()))


def _umt5() -> dict[str, Tensor]:
    from lipforcing_core.models.text_encoders.umt5 import UMT5_XXL, UMT5Network

    return _state(lambda: UMT5Network(UMT5_XXL))


def _torchvision(model: str) -> dict[str, Tensor]:
    from lipforcing_core.base.torchvision_shim import ensure_torchvision

    return _state(getattr(ensure_torchvision().models, model))


def _built_by(callable_path: str) -> dict[str, Tensor]:
    """``package.module:name`` of a class or function that takes no arguments; imported here, not before."""
    return _state(resolve_name(callable_path))


def _trim_time_kernel(name: str, stored: Tensor, wanted_shape: Sequence[int]) -> Tensor:
    from lipforcing_core.models.codecs.taehv import trim_time_kernel

    return trim_time_kernel(name, stored, wanted_shape)


_NETWORKS: dict[str, Callable[[], dict[str, Tensor]]] = {
    "wan-t2v-1.3b": partial(_text_to_video, "1.3b"),
    "wan-t2v-14b": partial(_text_to_video, "14b"),
    "lipsync-1.3b": partial(_lipsync, "1.3b"),
    "lipsync-14b": partial(_lipsync, "14b"),
    "omniavatar-adapter-1.3b": partial(_adapter, "1.3b", in_channels=_I2V_CHANNELS),
    "omniavatar-adapter-14b": partial(_adapter, "14b", in_channels=_I2V_CHANNELS),
    "omniavatar-ls-adapter-1.3b": partial(_adapter, "1.3b"),
    "omniavatar-ls-adapter-14b": partial(_adapter, "14b"),
    "wan-vae": partial(_built_by, "lipforcing_core.models.codecs.wan_vae:WanVAE"),
    "taehv": partial(_built_by, "lipforcing_core.models.codecs.taehv:TinyAutoencoder"),
    "wav2vec2-base": _wav2vec2,
    "umt5-xxl": _umt5,
    "syncnet-v2": partial(_built_by, "lipforcing_core.sync.experts.syncnet_v2:SyncNetV2"),
    "inception-v3-fid": partial(_built_by, "lipforcing_core.metrics.networks.inception:InceptionPool"),
    "i3d-400": partial(_built_by, "lipforcing_core.metrics.networks.i3d:I3D"),
    "hyperiqa": partial(_built_by, "lipforcing_core.quality.hyperiqa:build_hyperiqa"),
    "alexnet": partial(_torchvision, "alexnet"),
    "vgg16": partial(_torchvision, "vgg16"),
}
