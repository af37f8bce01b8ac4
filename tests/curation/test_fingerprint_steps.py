"""The steps ``fingerprint`` and ``identity`` on a real reading, and the same video again in another encoding."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from lipforcing_core.base.products import StepStore, read_json
from lipforcing_core.curation.assemble import assemble_manifest
from lipforcing_core.curation.backends import CurationBackends, load_backends, require_backends
from lipforcing_core.curation.manifest import read_decisions, read_manifest
from lipforcing_core.curation.pipeline import curate_source
from lipforcing_core.curation.records import SourceFacts
from lipforcing_core.curation.results import EmbeddingResult, FingerprintResult
from lipforcing_core.curation.settings import CurationSettings
from lipforcing_core.fingerprints.clips import ClipFingerprint, compare


class MeanColour:
    """A face network whose vector is the mean colour of what it is shown."""

    backend_id = "mean-colour-v1"
    shapes: ClassVar[list[tuple[int, ...]]] = []

    def embed(self, frames: np.ndarray) -> np.ndarray:
        type(self).shapes.append(frames.shape)
        return frames.mean(axis=(1, 2)).astype(np.float32)


def re_encoded(source: Path, target: Path, *options: str) -> Path:
    from imageio_ffmpeg import get_ffmpeg_exe

    subprocess.run([get_ffmpeg_exe(), "-v", "error", "-i", str(source), *options, str(target)], check=True)
    return target


def test_another_encoding_of_a_test_video_is_rejected(
    reel: Callable[..., Path],
    backends: CurationBackends,
    settings: CurationSettings,
    store: StepStore,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    own = reel("twice", ["face"], shot_frames=80)
    (folder / "exam.mp4").write_bytes(own.read_bytes())
    small = ("-vf", "scale=288:216", "-c:v", "libx264", "-crf", "28", "-af", "volume=0.6", "-ar", "22050")
    re_encoded(own, folder / "copy.mp4", *small)
    other = reel("other words", ["face"], shot_frames=80, seed=5)
    (folder / "other.mp4").write_bytes(other.read_bytes())
    known = replace(backends, identity=MeanColour())
    names = ("exam.mp4", "copy.mp4", "other.mp4")
    outcomes = [
        curate_source(folder / name, settings=settings, backends=known, store=store, root=folder)
        for name in names
    ]
    prints: dict[str, ClipFingerprint] = {}
    for outcome in outcomes:
        (clip,) = outcome.clips
        assert clip.fingerprint is not None
        assert clip.embedding is not None
        prints[outcome.source] = FingerprintResult.model_validate(
            read_json(store.root / clip.fingerprint)
        ).fingerprint()
        vector_D = EmbeddingResult.model_validate(read_json(store.root / clip.embedding)).vector_D()
        assert np.linalg.norm(vector_D) == pytest.approx(1)
    assert MeanColour.shapes[0] == (3, 112, 112, 3)
    copied, foreign = (compare(prints["exam.mp4"], prints[name]) for name in names[1:])
    assert copied.same_sound
    assert not foreign.same_sound
    facts = {name: SourceFacts(split="test" if name == "exam.mp4" else None) for name in names}
    without = [o.model_copy(update={"clips": tuple(_faceless(c) for c in o.clips)}) for o in outcomes]
    report = assemble_manifest(without, tmp_path / "out", settings, store=store, facts=facts)
    assert [c.source for c in read_manifest(report.manifest)] == ["exam.mp4", "other.mp4"]
    (lost,) = [d for d in read_decisions(report.decisions) if d.reason == "near_duplicate"]
    assert (lost.source, lost.duplicate_of) == ("copy.mp4", outcomes[0].clips[0].record.clip_id)


def _faceless(clip: object) -> object:
    return clip.model_copy(update={"embedding": None})  # type: ignore[attr-defined]


def write_network(path: Path) -> Path:
    """An ONNX file of the signature of ArcFace, whose vector is the mean colour times ones."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    nodes = [
        helper.make_node("GlobalAveragePool", ["image"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["colour"]),
        helper.make_node("MatMul", ["colour", "ones"], ["embedding"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 112, 112])
    vector = helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [1, 512])
    ones = numpy_helper.from_array(np.ones((3, 512), dtype=np.float32), "ones")
    graph = helper.make_graph(nodes, "arcface", [image], [vector], [ones])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_the_face_network_is_opened_before_any_work(tmp_path: Path) -> None:
    from lipforcing_core.base.errors import LipForcingError

    model = write_network(tmp_path / "glintr100.onnx")
    loaded = load_backends(CurationSettings(identity_model=model))
    assert loaded.identity is not None
    assert loaded.identity.backend_id.startswith("arcface-r100@sha256:")
    assert loaded.identity.embed(np.zeros((2, 112, 112, 3), np.uint8)).shape == (2, 512)
    require_backends(CurationSettings(identity_model=model))
    with pytest.raises(LipForcingError, match="absent"):
        require_backends(CurationSettings(identity_model=tmp_path / "absent.onnx"))
    assert load_backends(CurationSettings()).identity is None
