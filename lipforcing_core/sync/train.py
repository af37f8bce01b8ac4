"""Training of NanoSyncNet on puppets, and its accuracy on puppets it has not seen.

Two losses. Of all windows of all clips in a batch, each window of lips must be nearest to its own sound and the other
way round (InfoNCE; the windows of the same clip a few frames away are the hard negatives that make Sync-C sharp). And
for each clip the shift of least mean distance must be the true one: the decision that the offset search takes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import atomic_path, write_json
from lipforcing_core.sync.augment import augment
from lipforcing_core.sync.evaluate import OffsetAccuracy, offset_accuracy
from lipforcing_core.sync.experts.nano import (
    EMBEDDING_SCALE,
    NanoExpert,
    NanoSyncNet,
    columns_of,
    log_mel,
    standardise,
)
from lipforcing_core.sync.experts.protocol import WINDOW_FRAMES
from lipforcing_core.sync.offset import MAX_OFFSET
from lipforcing_core.sync.puppet_data import PuppetClip, puppet_clips

WEIGHTS_FILE, RESULT_FILE = "nano.safetensors", "result.json"
_SHIFTS = MAX_OFFSET  # as far as the offset search goes
_HELD_OUT = 1_000_003  # added to the seed for puppets that are not trained on
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, kw_only=True)
class SyncTrainSettings:
    """Data, batches and optimiser. With ``num_threads`` fixed, a seed gives the same weights on the same machine."""

    seed: int = 0
    num_clips: int = 72
    num_frames: int = 108
    num_steps: int = 300
    batch_clips: int = 8
    batch_frames: int = 48
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    temperature: float = 0.1
    shift_temperature: float = 0.05
    shift_weight: float = 0.5
    held_out_clips: int = 24
    num_threads: int = 1

    def __post_init__(self) -> None:
        shortest = 2 * _SHIFTS + WINDOW_FRAMES + 1
        if not shortest <= self.batch_frames <= self.num_frames:
            raise BadInputError(
                f"batch_frames must be between {shortest} and num_frames={self.num_frames}, not {self.batch_frames}"
            )
        if not 1 <= self.batch_clips <= self.num_clips:
            raise BadInputError(
                f"batch_clips must be between 1 and num_clips={self.num_clips}, not {self.batch_clips}"
            )


@dataclass(frozen=True, kw_only=True)
class SyncTrainResult:
    """Where the weights are, what they are called, the last losses, and the accuracy on held-out puppets."""

    weights: Path
    backend_id: str
    final_loss: float
    accuracy: tuple[OffsetAccuracy, ...]


def train_sync_expert(
    settings: SyncTrainSettings, out_dir: Path, on_progress: Progress = lambda stage, done, total: None
) -> SyncTrainResult:
    """Render puppets, train, evaluate; leaves ``nano.safetensors`` and ``result.json`` in ``out_dir``.

    ``on_progress(stage, done, total)`` is called with the stages ``render``, ``train`` and ``evaluate``.
    """
    threads_before = torch.get_num_threads()
    torch.set_num_threads(settings.num_threads)
    try:
        clips = []
        for clip in puppet_clips(settings.seed, settings.num_clips, settings.num_frames, mouths_only=True):
            clips.append(clip)
            on_progress("render", len(clips), settings.num_clips)
        network, final_loss = fit_network(settings, clips, on_progress)
        weights = Path(out_dir) / WEIGHTS_FILE
        with atomic_path(weights) as temporary:
            metadata = {"format": "pt", "settings": json.dumps(asdict(settings), sort_keys=True)}
            save_file(network.state_dict(), temporary, metadata=metadata)
        expert = NanoExpert.load(weights)
        accuracy = offset_accuracy(
            expert,
            seed=settings.seed + _HELD_OUT,
            num_clips=settings.held_out_clips,
            on_progress=lambda done, total: on_progress("evaluate", done, total),
        )
    finally:
        torch.set_num_threads(threads_before)
    result = SyncTrainResult(
        weights=weights, backend_id=expert.backend_id, final_loss=final_loss, accuracy=accuracy
    )
    write_json(Path(out_dir) / RESULT_FILE, {**asdict(result), "weights": WEIGHTS_FILE, "settings": settings})
    return result


def fit_network(
    settings: SyncTrainSettings, clips: list[PuppetClip], on_progress: Progress
) -> tuple[NanoSyncNet, float]:
    """Train on clips of mouth regions; the network in evaluation mode and the running mean of its last losses."""
    generator = torch.Generator().manual_seed(settings.seed)
    rng = np.random.default_rng([settings.seed, 0xBA7C])
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = NanoSyncNet()
    network.train()
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: _learning_rate_factor(step, settings.num_steps)
    )
    recent = 0.0
    for step in range(settings.num_steps):
        mouth_BFCHW, mel_BMT = _batch(settings, clips, rng, generator)
        loss = contrastive_loss(network.embed_lips(mouth_BFCHW), network.embed_sound(mel_BMT), settings)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimiser.step()
        schedule.step()
        recent = loss.item() if step == 0 else 0.98 * recent + 0.02 * loss.item()
        on_progress("train", step + 1, settings.num_steps)
    return network.eval(), recent


def contrastive_loss(lips_BND: Tensor, sound_BND: Tensor, settings: SyncTrainSettings) -> Tensor:
    """InfoNCE over all windows of the batch plus the choice of the shift of each clip.

    Surplus lip windows at the end (there is one more than sound windows) are left out.
    """
    num_windows = sound_BND.shape[1]
    lips_BND = lips_BND[:, :num_windows]
    cosines = lips_BND.flatten(0, 1) @ sound_BND.flatten(0, 1).T / EMBEDDING_SCALE**2
    own = torch.arange(len(cosines))
    logits = cosines / settings.temperature
    per_window = functional.cross_entropy(logits, own) + functional.cross_entropy(logits.T, own)

    middle_BND = lips_BND[:, _SHIFTS : num_windows - _SHIFTS]
    shifted_BNDK = sound_BND.unfold(1, middle_BND.shape[1], 1).permute(0, 3, 2, 1)
    distance_BNK = torch.linalg.vector_norm(middle_BND[..., None] - shifted_BNDK, dim=2)
    shift_logits_BK = -distance_BNK.mean(dim=1) / (EMBEDDING_SCALE * settings.shift_temperature)
    target_B = torch.full((len(shift_logits_BK),), _SHIFTS)
    return per_window / 2 + settings.shift_weight * functional.cross_entropy(shift_logits_BK, target_B)


def _batch(
    settings: SyncTrainSettings, clips: list[PuppetClip], rng: np.random.Generator, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Degraded mouths and the log-mel columns of their sound, up to 8 ms early or late."""
    num_frames = settings.batch_frames
    mouths, mels = [], []
    for index in rng.choice(len(clips), settings.batch_clips, replace=False):
        clip = clips[index]
        start = int(rng.integers(0, len(clip.frames) - num_frames + 1))
        mouths.append(clip.frames[start : start + num_frames])
        sound = clip.sound(
            start_frame=start, num_frames=num_frames, lead_samples=int(rng.integers(-128, 129))
        )
        gain, noise = 10 ** rng.uniform(-0.3, 0.3), 10 ** rng.uniform(-4, -2)
        noisy = gain * (sound + noise * rng.standard_normal(len(sound)))
        mels.append(log_mel(noisy.astype(np.float32))[: columns_of(num_frames - WINDOW_FRAMES)])
    mouth_BFCHW = torch.from_numpy(np.stack(mouths)).permute(0, 1, 4, 2, 3).float()
    mouth_BFCHW = standardise(augment(mouth_BFCHW, generator))
    return mouth_BFCHW, torch.from_numpy(np.stack(mels)).transpose(1, 2)


def _learning_rate_factor(step: int, num_steps: int) -> float:
    """Warm-up over the first twentieth, then a cosine to zero."""
    warm_up = max(1, num_steps // 20)
    if step < warm_up:
        return (step + 1) / warm_up
    return 0.5 * (1 + math.cos(math.pi * (step - warm_up) / max(1, num_steps - warm_up)))
