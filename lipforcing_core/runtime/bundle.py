"""What is needed to run a trained model: from a bundle folder, or a released student from its registered file.

A bundle folder holds ``bundle.json`` (what it is), ``preset.json`` (the full preset), ``model.safetensors`` and, for
the embedded codec, ``codec.safetensors``. Other backends are read from the weights folder (``runtime.encoders``).

A released student (``lipforcing-14b``) needs no folder of its own: its 28 GB are read from where ``lipforcing weights
fetch`` puts them. Its id carries the file's hash, which is computed once and remembered (``weights.digest``).
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError
from lipforcing_core.base.products import ByteProgress, atomic_path, file_sha256, write_json
from lipforcing_core.base.suggestions import did_you_mean, unknown
from lipforcing_core.base.user_file import field, read_json_object
from lipforcing_core.faces.mask import load_mask_source
from lipforcing_core.models.audio_encoders.protocol import AudioEncoder
from lipforcing_core.models.causal import CausalStudent
from lipforcing_core.models.codecs.protocol import VideoCodec
from lipforcing_core.models.wan import WanTransformer
from lipforcing_core.presets import Preset, check_preset, load_preset
from lipforcing_core.runtime.encoders import load_audio_encoder, load_codec, model_dtype, require_widths
from lipforcing_core.runtime.header import require_fitting_header
from lipforcing_core.runtime.prompts import load_prompts, needed_weights
from lipforcing_core.weights.digest import remembered_sha256
from lipforcing_core.weights.load import load_network
from lipforcing_core.weights.registered import fill_registered
from lipforcing_core.weights.registry import find_weight, require_all_weights, require_weight

FORMAT = 1
ABOUT_FILE, PRESET_FILE = "bundle.json", "preset.json"
MODEL_FILE, CODEC_FILE = "model.safetensors", "codec.safetensors"
_LARGEST_DESCRIPTION = 4_000_000  # bytes of bundle.json or preset.json
OFFICIAL = {"lipforcing-14b": "14b"}
"""Released students by registered name, and the preset of each."""
OFFICIAL_MASK = "latentsync-mask"
"""The mouth mask that released students were trained with; one drawn otherwise is a shift of their input (A.4)."""

ModelSource = Path | str
"""A bundle folder, or the name of a released student."""


class BundleKind(StrEnum):
    """Which network the bundle holds."""

    TEACHER = "teacher"
    STUDENT = "student"


@dataclass(frozen=True, kw_only=True)
class Bundle:
    """A loaded model with its codec, audio encoder and text embeddings, in evaluation mode.

    Model and codec are on one device. text_BLD, negative_text_BLD: ``[1, text_len, text_dim]`` of the preset's prompt
    and of the empty one, on the CPU.
    model_id: ``kind-stage@sha256:...`` of the weights, or ``name@sha256:...`` of a released student; it is written on
    everything the model makes.
    mask: the mouth mask it was trained with, ``[256, 256]`` uint8, 255 = keep; None: the drawn one (``faces.mask``).
    """

    kind: BundleKind
    stage: str
    model_id: str
    preset: Preset
    model: WanTransformer | CausalStudent
    codec: VideoCodec
    audio_encoder: AudioEncoder
    text_BLD: Tensor
    negative_text_BLD: Tensor
    mask: np.ndarray | None = None


@dataclass(frozen=True, kw_only=True)
class BundleDescription:
    """What a bundle folder says of itself. ``sha256`` is that of the weights when they were written."""

    kind: BundleKind
    stage: str
    sha256: str
    preset: Preset


def save_bundle(
    folder: Path, *, kind: BundleKind, stage: str, preset: Preset, model_file: Path, codec_file: Path | None
) -> None:
    """Write a bundle folder; it appears under its name only when complete. ``codec_file``: of a fitted codec."""
    with atomic_path(folder) as temporary:
        temporary.mkdir(parents=True)
        shutil.copyfile(model_file, temporary / MODEL_FILE)
        if codec_file is not None:
            shutil.copyfile(codec_file, temporary / CODEC_FILE)
        write_json(temporary / PRESET_FILE, preset)
        sha256 = file_sha256(temporary / MODEL_FILE)
        write_json(
            temporary / ABOUT_FILE,
            {"format": FORMAT, "kind": kind.value, "stage": stage, "sha256": sha256},
        )


def describe_bundle(folder: Path) -> BundleDescription:
    """Read what a bundle is without loading its weights; errors as for ``load_bundle``."""
    if not (folder / ABOUT_FILE).is_file():
        raise BadInputError(
            f"{folder} is not a model bundle (no {ABOUT_FILE}); `lipforcing demo` and `lipforcing train` write them"
        )
    try:
        return _description(folder)
    except IncompatibleCheckpointError:
        raise
    except BadInputError as error:
        problem = str(error).splitlines()[0]
        raise IncompatibleCheckpointError(f"{folder}: its description is damaged ({problem})") from error


def _description(folder: Path) -> BundleDescription:
    about = folder / ABOUT_FILE
    facts = read_json_object(about, largest=_LARGEST_DESCRIPTION)
    if field(facts, "format", int, about) != FORMAT:
        raise IncompatibleCheckpointError(
            f"{folder}: bundle format {facts['format']}, expected {FORMAT}: use the version of the package that "
            "wrote it"
        )
    texts = {name: field(facts, name, str, about) for name in ("kind", "stage", "sha256")}
    if texts["kind"] not in list(BundleKind):
        raise BadInputError(f"{about}: {unknown('kind', texts['kind'], BundleKind)}")
    if not re.fullmatch(r"[0-9a-f]{64}", texts["sha256"]):
        raise BadInputError(f"{about}: 'sha256' is no SHA-256")
    if not re.fullmatch(r"[\w.+-]{1,60}", texts["stage"]):  # part of the id that results carry
        raise BadInputError(f"{about}: 'stage' is no name of a stage")
    preset = folder / PRESET_FILE
    values = read_json_object(preset, largest=_LARGEST_DESCRIPTION)
    return BundleDescription(
        kind=BundleKind(texts["kind"]),
        stage=texts["stage"],
        sha256=texts["sha256"],
        preset=check_preset(values, str(preset)),
    )


def load_bundle(
    folder: Path,
    *,
    weights_dir: Path | None = None,
    device: str = "cpu",
    on_progress: ByteProgress | None = None,
) -> Bundle:
    """Load a bundle folder strictly: a missing, foreign or damaged part is an error that names it.

    weights_dir: where the files of backends that are not embedded lie; ``MissingWeightsError`` lists all that are not
    there. on_progress: follows the transformer's weights.
    """
    about = describe_bundle(folder)
    weights = folder / MODEL_FILE
    if not weights.is_file() or file_sha256(weights) != about.sha256:
        raise IncompatibleCheckpointError(
            f"{weights}: missing, truncated or changed since it was written; copy the bundle again, or train it again"
        )
    require_fitting_header(about.preset, weights)
    require_all_weights(needed_weights(about.preset, weights_dir), weights_dir)
    return _assemble(
        about.kind,
        about.preset,
        stage=about.stage,
        model_id=f"{about.kind.value}-{about.stage}@sha256:{about.sha256[:12]}",
        fill=partial(load_network, files=weights, on_progress=on_progress),
        weights_dir=weights_dir,
        device=device,
        codec_file=folder / CODEC_FILE,
    )


def load_official(
    name: str, *, weights_dir: Path, device: str = "cpu", on_progress: ByteProgress | None = None
) -> Bundle:
    """Load a released student and its backends from the weights folder, in bfloat16 on every device.

    In float32 the 14B model would take 57 GB. on_progress: follows the hash, where it is not remembered, and then the
    transformer's weights. Raises ``BadInputError`` for a name that is not in ``OFFICIAL``, one ``MissingWeightsError``
    for all files that are not there, and ``IncompatibleCheckpointError`` for one that does not fit.
    """
    preset = model_preset(name)
    require_files(name, weights_dir)
    mask = load_mask_source(require_weight(OFFICIAL_MASK, weights_dir))  # small, so before what takes minutes
    return _assemble(
        BundleKind.STUDENT,
        preset,
        stage="released",
        model_id=f"{name}@sha256:{remembered_sha256(official_file(name, weights_dir), on_progress)[:12]}",
        fill=partial(fill_registered, name=name, weights_dir=weights_dir, on_progress=on_progress),
        weights_dir=weights_dir,
        device=device,
        mask=mask,
    )


def official_file(name: str, weights_dir: Path) -> Path:
    """The file of a released student; ``MissingWeightsError`` saying how to get it if it is not there."""
    require_all_weights([name], weights_dir)
    (file,) = find_weight(name).tensor_files(weights_dir)
    return file


def find_model(text: str) -> ModelSource:
    """What a user calls a model: a bundle folder, or the name of a released student (a folder wins).

    Raises ``BadInputError`` if it is neither; the folder is not looked into.
    """
    if Path(text).is_dir():
        return Path(text)
    if text not in OFFICIAL:
        raise BadInputError(
            f"{text} is neither a folder with a model bundle nor a released student{did_you_mean(text, OFFICIAL)} "
            f"(known: {', '.join(OFFICIAL)})"
        )
    return text


def model_preset(model: ModelSource) -> Preset:
    """The preset of a model, read without its weights; errors as those of ``describe_bundle`` and ``load_official``."""
    if isinstance(model, Path):
        return describe_bundle(model).preset
    if model not in OFFICIAL:
        raise BadInputError(unknown("released student", model, OFFICIAL))
    return load_preset(OFFICIAL[model])


def require_files(model: ModelSource, weights_dir: Path, *, also: Sequence[str] = ()) -> None:
    """Raise one ``MissingWeightsError`` for all registered files that the model needs and that are not there.

    also: other registered weights that are needed beside it, told in the same error.
    """
    own = [model, OFFICIAL_MASK] if isinstance(model, str) else []
    require_all_weights([*own, *needed_weights(model_preset(model), weights_dir), *also], weights_dir)


def load_any(
    model: ModelSource, *, weights_dir: Path, device: str = "cpu", on_progress: ByteProgress | None = None
) -> Bundle:
    """``load_bundle`` or ``load_official``, as the model asks for."""
    if isinstance(model, Path):
        return load_bundle(model, weights_dir=weights_dir, device=device, on_progress=on_progress)
    return load_official(model, weights_dir=weights_dir, device=device, on_progress=on_progress)


def _assemble(
    kind: BundleKind,
    preset: Preset,
    *,
    stage: str,
    model_id: str,
    fill: Callable[..., None],
    weights_dir: Path | None,
    device: str,
    codec_file: Path | None = None,
    mask: np.ndarray | None = None,
) -> Bundle:
    """Load the parts, the text encoder first: it is large, and gone before the transformer comes.

    ``fill(network, dtype=..., device=...)`` reads the transformer's weights into a network on the meta device.
    """
    prompts = load_prompts(preset, weights_dir, device)
    codec = load_codec(preset, weights_dir, device, codec_file=codec_file)
    audio_encoder = load_audio_encoder(preset, weights_dir, device)
    require_widths(preset, codec, audio_encoder)
    with torch.device("meta"):
        model = _build_model(kind, preset)
    fill(model, dtype=model_dtype(preset), device=device)
    return Bundle(
        kind=kind,
        stage=stage,
        model_id=model_id,
        preset=preset,
        model=model.eval().requires_grad_(False),
        codec=codec,
        audio_encoder=audio_encoder,
        text_BLD=prompts.text_BLD,
        negative_text_BLD=prompts.negative_text_BLD,
        mask=mask,
    )


def _build_model(kind: BundleKind, preset: Preset) -> WanTransformer | CausalStudent:
    if kind is BundleKind.STUDENT:
        return CausalStudent(preset.model.config(), preset.window.config())
    return WanTransformer(preset.model.config())
