"""Making a base checkpoint, which stands for the public base where there is none of the size.

Puppets are drawn from a seed, a codec is fitted on them, and the bidirectional transformer is trained whole on their
latents with the settings of the preset's ``[base]`` section. On one thread the same settings give the same bytes on
the same machine; a killed run goes on where it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from lipforcing_core.base.errors import BadInputError
from lipforcing_core.base.products import atomic_path, file_sha256, link_or_copy, write_json
from lipforcing_core.presets.schema import Preset
from lipforcing_core.runtime.encoders import load_text_encoder
from lipforcing_core.runtime.prompts import encode_prompts
from lipforcing_core.training.base_corpus import BaseCorpusSettings, make_base_corpus
from lipforcing_core.training.dataset import LatentWindows
from lipforcing_core.training.loop import read_metrics
from lipforcing_core.training.stages.protocol import StageInputs
from lipforcing_core.training.stages.teacher import TeacherBase
from lipforcing_core.training.strategies.catalogue import load_strategy

NUM_THREADS = 1
"""Sums depend on how they are split among threads in the last bits, so the number is part of the recipe."""
MODEL_FILE, CODEC_FILE, RESULT_FILE = "base.safetensors", "base-codec.safetensors", "result.json"

Progress = Callable[[str, int, int], None]
"""Called with ``"draw"`` or ``"train"``, the number of finished clips or steps, and of all."""


@dataclass(frozen=True, kw_only=True)
class BaseResult:
    """The files of a finished base, their SHA-256, and the loss over the last hundred steps."""

    model_file: Path
    codec_file: Path
    model_sha256: str
    codec_sha256: str
    num_steps: int
    loss: float


def make_base(
    preset: Preset,
    corpus: BaseCorpusSettings,
    out_dir: Path,
    on_progress: Progress = lambda stage, done, total: None,
) -> BaseResult:
    """Train a base for ``preset`` into ``out_dir``.

    Leaves ``base.safetensors`` (weights in float16: half the size, and the noise of training is larger), the codec, the
    corpus, the training states with ``base/metrics.jsonl``, and ``result.json``. Raises ``BadInputError`` for a preset
    without a ``[base]`` section or with a downloaded codec, and where ``out_dir`` holds another corpus.
    """
    stage = TeacherBase.of(preset)
    if stage is None:
        raise BadInputError(f"preset {preset.name} has no [base] section, which says how its base is trained")
    before = torch.get_num_threads()
    torch.set_num_threads(NUM_THREADS)
    try:
        data = make_base_corpus(corpus, preset, out_dir, lambda done, total: on_progress("draw", done, total))
        inputs = StageInputs(
            data=LatentWindows(data.windows, preset.video),
            prompts=encode_prompts(load_text_encoder(preset), preset.schedule.prompt),
            init={},
        )
        trained = stage.run(
            inputs,
            out_dir / stage.name,
            strategy=load_strategy(),
            on_step=lambda metrics: on_progress("train", metrics.step, metrics.num_steps),
        )
    finally:
        torch.set_num_threads(before)
    half = {name: value.half() for name, value in load_file(trained.model_path).items()}
    with atomic_path(out_dir / MODEL_FILE) as temporary:
        save_file(half, temporary)
    link_or_copy(data.codec_file, out_dir / CODEC_FILE)
    result = BaseResult(
        model_file=out_dir / MODEL_FILE,
        codec_file=out_dir / CODEC_FILE,
        model_sha256=file_sha256(out_dir / MODEL_FILE),
        codec_sha256=file_sha256(out_dir / CODEC_FILE),
        num_steps=trained.steps,
        loss=_last_loss(trained.metrics_path),
    )
    write_json(
        out_dir / RESULT_FILE,
        {
            "model_sha256": result.model_sha256,
            "codec_sha256": result.codec_sha256,
            "num_steps": result.num_steps,
            "loss": result.loss,
            "corpus": corpus,
            "preset": preset,
        },
    )
    return result


def _last_loss(metrics: Path) -> float:
    losses = [float(str(row["value"])) for row in read_metrics(metrics) if row["name"] == "loss"][-100:]
    return sum(losses) / len(losses)
