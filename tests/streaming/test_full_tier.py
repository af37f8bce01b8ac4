"""A released student with downloaded backends, end to end in miniature: files in, frames out, and what is missing."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from typer.testing import CliRunner

from apps.cli.main import app
from lipforcing_core.base.errors import BadInputError, IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.base.products import StepStore, file_sha256, read_json
from lipforcing_core.media.decode import read_frames
from lipforcing_core.models.codecs.causal_codec import PairedCodec
from lipforcing_core.models.codecs.wan_vae import WanVAECodec
from lipforcing_core.runtime import encoders, prompts
from lipforcing_core.runtime.bundle import (
    Bundle,
    BundleKind,
    find_model,
    load_any,
    load_bundle,
    load_official,
    save_bundle,
)
from lipforcing_core.streaming.generate import GenerationReport, generate_video
from lipforcing_core.streaming.generators import load_generator
from lipforcing_core.weights import registry
from tasks.generation import GenerationJob, generate_step
from tests.streaming.full_tier import ALL_WEIGHTS, TEXT_LEN, UMT5, shrink, tiny_preset, write_weights
from tests.streaming.helpers import FixedFace, texture, write_speech, write_video

STUDENT = "lipforcing-14b"


@pytest.fixture(scope="session")
def official_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("official")
    write_weights(folder)
    return folder


@pytest.fixture
def weights(official_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A weights folder of one's own, in a process where full size is tiny."""
    shrink(monkeypatch)
    return Path(shutil.copytree(official_files, tmp_path / "weights"))


@pytest.fixture
def clip(tmp_path: Path) -> tuple[Path, Path]:
    """20 frames, and 0.72 s of sound: chunks of 9 and 12 frames, the last three beyond the sound."""
    return write_video(tmp_path / "v.mp4", texture(20)), write_speech(tmp_path / "a.wav", 0.72)


def generate(bundle: Bundle, clip: tuple[Path, Path], output: Path) -> GenerationReport:
    return generate_video(
        *clip,
        output,
        generator=load_generator(bundle),
        audio_encoder=bundle.audio_encoder,
        detector=FixedFace(),
    )


def file_of(name: str, weights: Path) -> Path:
    (path,) = registry.find_weight(name).tensor_files(weights)
    return path


def test_the_released_student_generates(weights: Path, clip: tuple[Path, Path], tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    bundle = load_official(STUDENT, weights_dir=weights, on_progress=lambda *done: seen.append(done))
    report = generate(bundle, clip, tmp_path / "out.mp4")
    assert [chunk.num_frames for chunk in report.ledger.chunks] == [9, 9]
    assert "audio features" in report.ledger.setup_s
    frames = read_frames(report.output)
    assert frames.shape == (18, 192, 192, 3)
    changed = np.abs(frames.astype(int) - read_frames(clip[0])[:18].astype(int)).mean(axis=(0, 3))
    assert (
        changed[100:140, 70:122].mean() > 3 * changed[:40].mean()
    )  # the mouth, and the picture above the face
    digest = file_sha256(file_of(STUDENT, weights))
    assert report.model_id == bundle.model_id == f"{STUDENT}@sha256:{digest[:12]}"
    assert seen[-1][0] == seen[-1][1] > 0


def test_what_is_loaded_for_it(weights: Path) -> None:
    bundle = load_official(STUDENT, weights_dir=weights)
    assert {p.dtype for p in bundle.model.parameters()} == {torch.bfloat16}
    assert not any(p.requires_grad or p.is_meta for p in bundle.model.parameters())
    assert isinstance(bundle.codec, PairedCodec)
    assert bundle.mask is not None
    generator = load_generator(bundle)
    assert generator.mask is bundle.mask
    drawn = load_generator(replace(bundle, mask=None))
    assert not torch.equal(generator._keep, drawn._keep)  # type: ignore[attr-defined]
    ids = [
        f"{name}@sha256:{file_sha256(file_of(weight, weights))[:12]}"
        for name, weight in (("wan-vae", "wan2.1-vae"), ("taehv", "taew2.1"))
    ]
    assert bundle.codec.backend_id == "+".join(ids)
    assert bundle.audio_encoder.backend_id.startswith("wav2vec2@sha256:")
    assert bundle.audio_encoder.feature_dim == bundle.preset.model.audio_dim
    assert bundle.text_BLD.shape == bundle.negative_text_BLD.shape == (1, TEXT_LEN, UMT5.dim)
    assert bundle.text_BLD[0, :4].abs().sum(dim=1).min() > 0  # a person talking </s>
    assert bundle.text_BLD[0, 4:].abs().max() == 0
    assert bundle.negative_text_BLD[0, 1:].abs().max() == 0


def test_a_bundle_with_the_same_weights_gives_the_same_frames(
    weights: Path, clip: tuple[Path, Path], tmp_path: Path
) -> None:
    official = load_official(STUDENT, weights_dir=weights)
    save_file(
        {name: value.float() for name, value in official.model.state_dict().items()},
        tmp_path / "model.safetensors",
    )
    save_bundle(
        tmp_path / "bundle",
        kind=BundleKind.STUDENT,
        stage="test",
        preset=tiny_preset(),
        model_file=tmp_path / "model.safetensors",
        codec_file=None,
    )
    mine = load_any(find_model(str(tmp_path / "bundle")), weights_dir=weights)
    assert mine.mask is None, "bundles are trained here, with the drawn mask"
    generate(replace(official, mask=None), clip, tmp_path / "official.mp4")
    generate(mine, clip, tmp_path / "mine.mp4")
    assert np.array_equal(read_frames(tmp_path / "official.mp4"), read_frames(tmp_path / "mine.mp4"))
    with pytest.raises(MissingWeightsError, match=r"wan2\.1-vae.*umt5-xxl.*no weights folder"):
        load_bundle(tmp_path / "bundle")


def test_all_that_is_missing_is_said_at_once(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingWeightsError) as caught:
        load_official(STUDENT, weights_dir=tmp_path / "empty")
    message = str(caught.value)
    for name in ALL_WEIGHTS:
        for path in registry.find_weight(name).paths(tmp_path / "empty"):
            assert str(path) in message
    assert f"lipforcing weights fetch {' '.join(ALL_WEIGHTS)}`" in message
    assert "licence: MIT" in message
    tokenizer = weights / "text" / "umt5-xxl" / "tokenizer.json"
    tokenizer.unlink()
    file_of("taew2.1", weights).unlink()
    with pytest.raises(MissingWeightsError, match=r"^2 checkpoints.*taew2_1\.pth.*tokenizer\.json") as caught:
        load_official(STUDENT, weights_dir=weights)
    assert "wav2vec2" not in str(caught.value)


def test_a_foreign_file_is_refused(weights: Path) -> None:
    shutil.copyfile(file_of("taew2.1", weights), file_of("wan2.1-vae", weights))
    with pytest.raises(IncompatibleCheckpointError, match=r"Wan2\.1_VAE\.pth: conv1\.bias is missing"):
        load_official(STUDENT, weights_dir=weights)


def test_a_mask_that_is_none_is_said_before_the_large_files_are_read(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_early(*_: object) -> str:
        raise AssertionError("28 GB were read first")

    monkeypatch.setattr("lipforcing_core.runtime.bundle.remembered_sha256", too_early)
    registry.find_weight("latentsync-mask").path(weights).write_bytes(b"not a png")
    with pytest.raises(BadInputError, match="is not a 256 x 256 mask"):
        load_official(STUDENT, weights_dir=weights)


def test_the_prompt_is_encoded_once(weights: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = tiny_preset()
    computed = prompts.load_prompts(preset, weights)
    (kept,) = (weights / "text" / "prompts").iterdir()
    monkeypatch.setattr(prompts, "load_text_encoder", None)
    again = prompts.load_prompts(preset, weights)
    assert torch.equal(again.text_BLD, computed.text_BLD)
    assert torch.equal(again.negative_text_BLD, computed.negative_text_BLD)
    kept.write_bytes(kept.read_bytes()[:-4])
    with pytest.raises(IncompatibleCheckpointError, match=kept.name):
        prompts.load_prompts(preset, weights)


def test_with_its_embeddings_kept_the_registered_encoder_is_not_needed(
    weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only with those of the registered file: embeddings of another one are found through that file alone."""
    preset = tiny_preset()
    computed = prompts.load_prompts(preset, weights)
    encoder = file_of("umt5-xxl", weights)
    _register(monkeypatch, "umt5-xxl", sha256=file_sha256(encoder))
    encoder.unlink()
    assert torch.equal(prompts.load_prompts(preset, weights).text_BLD, computed.text_BLD)
    assert prompts.needed_weights(preset, weights) == ["wan2.1-vae", "taew2.1", "wav2vec2-base-960h"]
    load_official(STUDENT, weights_dir=weights)
    other = preset.model_copy(update={"schedule": preset.schedule.model_copy(update={"prompt": "a singer"})})
    with pytest.raises(MissingWeightsError, match=r"models_t5_umt5-xxl-enc-bf16\.pth"):
        prompts.load_prompts(other, weights)
    _register(monkeypatch, "umt5-xxl", sha256="0" * 64)
    with pytest.raises(MissingWeightsError, match="umt5-xxl is needed"):
        prompts.load_prompts(preset, weights)


def _register(monkeypatch: pytest.MonkeyPatch, name: str, *, sha256: str) -> None:
    """Another hash for the tensors of a registered checkpoint."""
    specs = tuple(
        replace(
            spec,
            files=tuple(replace(file, sha256=sha256) if file.tensors else file for file in spec.files),
        )
        if spec.name == name
        else spec
        for spec in registry.all_weights()
    )
    monkeypatch.setattr(registry, "all_weights", lambda: specs)


def test_unknown_models_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInputError, match=r"wan2\.1-vae is neither .* \(known: lipforcing-14b\)"):
        find_model("wan2.1-vae")
    with pytest.raises(BadInputError, match="unknown released student 'tests'; known: lipforcing-14b"):
        load_official("tests", weights_dir=tmp_path)
    with pytest.raises(BadInputError, match="not a model bundle"):
        load_any(find_model(str(tmp_path)), weights_dir=tmp_path)


def test_the_wan_vae_may_decode_as_well_and_foreign_pairs_are_refused(weights: Path) -> None:
    preset = tiny_preset()

    def with_backends(**names: str) -> object:
        return preset.model_copy(update={"backends": preset.backends.model_copy(update=names)})

    codec = encoders.load_codec(with_backends(decoder="wan-vae"), weights)  # type: ignore[arg-type]
    assert isinstance(codec, WanVAECodec)
    for names in ({"decoder": "block-pca"}, {"codec": "block-pca"}):
        with pytest.raises(BadInputError, match="cannot decode"):
            encoders.load_codec(with_backends(**names), weights)  # type: ignore[arg-type]


def test_a_step_depends_on_every_file(
    weights: Path, clip: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lipforcing_core.faces.detectors.catalogue.load_detector", lambda *_: FixedFace())
    store, speech = StepStore(tmp_path / "steps"), write_speech(tmp_path / "b.wav", 0.2)
    job = GenerationJob(name="x", video=clip[0], audio=speech, bundle=STUDENT, weights=weights)
    first = generate_step(job, store=store)
    assert generate_step(job, store=store).report == first.report
    other = {name: value * 1.01 for name, value in torch.load(file_of("taew2.1", weights)).items()}
    torch.save(other, file_of("taew2.1", weights))
    assert generate_step(job, store=store).report.output != first.report.output


def test_the_command(
    weights: Path, clip: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``weights`` is the folder of that name of the workspace ``tmp_path``."""
    monkeypatch.setattr("lipforcing_core.faces.detectors.catalogue.load_detector", lambda *_: FixedFace())
    arguments = [str(clip[0]), str(clip[1]), "-o", str(tmp_path / "out.mp4"), "--model", STUDENT]
    command = ["--workspace", str(tmp_path), "generate", *arguments, "--device", "cpu"]
    result = CliRunner().invoke(app, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "slow: a model of preset 14b is made for a GPU" in result.output
    assert f"18 frames by {STUDENT}@sha256:" in result.output
    assert "nano" not in result.output
    assert read_json(tmp_path / "out.mp4.provenance.json")["model_id"].startswith(STUDENT)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_in_the_official_types(weights: Path, clip: tuple[Path, Path], tmp_path: Path) -> None:
    on_cpu = load_official(STUDENT, weights_dir=weights)
    on_gpu = load_official(STUDENT, weights_dir=weights, device="cuda")
    assert {p.device.type for p in on_gpu.model.parameters()} == {"cuda"}
    video = torch.rand(1, 3, 9, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    latents = on_cpu.codec.encode(video)
    close = torch.nn.functional.cosine_similarity
    assert close(on_gpu.codec.encode(video.cuda()).cpu().flatten(), latents.flatten(), dim=0) > 0.999
    decoded = on_gpu.codec.decode(latents.cuda()).cpu()
    assert (decoded - on_cpu.codec.decode(latents)).abs().mean() < 0.01
    generate(on_cpu, clip, tmp_path / "cpu.mp4")
    report = generate(on_gpu, clip, tmp_path / "gpu.mp4")
    difference = read_frames(tmp_path / "cpu.mp4").astype(int) - read_frames(report.output).astype(int)
    assert np.abs(difference).mean() < 2.0
