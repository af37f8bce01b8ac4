"""ArcFace on tiny ONNX graphs of the same signatures, whose embedding is known: a projection of the mean colour."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import onnxruntime
import pytest
from insightface.model_zoo import ArcFaceONNX
from onnx import TensorProto, helper, numpy_helper
from onnxruntime import InferenceSession, SessionOptions

from lipforcing_core.base.errors import IncompatibleCheckpointError
from lipforcing_core.base.onnx_session import open_session
from lipforcing_core.base.products import file_sha256
from lipforcing_core.metrics.measures.identity import mean_cosine
from lipforcing_core.metrics.networks.arcface import ArcFaceFeatures, _is_arcface, open_arcface
from lipforcing_core.metrics.networks.catalogue import load_extractor

PROJECTION = np.random.default_rng(0).standard_normal((3, 512)).astype(np.float32)


def write_graph(
    path: Path,
    *,
    batch: int | str = "N",
    size: int = 112,
    width: int = 512,
    kind: int = 1,
    image: str = "image",
    rows: int | str = 1,  # as the public files declare it
) -> Path:
    nodes = [
        helper.make_node("Cast", [image], ["number"], to=TensorProto.FLOAT),
        helper.make_node("GlobalAveragePool", ["number"], ["mean"]),
        helper.make_node("Flatten", ["mean"], ["colour"]),
        helper.make_node("MatMul", ["colour", "projection"], ["embedding"]),
    ]
    graph = helper.make_graph(
        nodes,
        "arcface",
        [helper.make_tensor_value_info(image, kind, [batch, 3, size, size])],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, [rows, width])],
        [numpy_helper.from_array(PROJECTION[:, :width], "projection")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


@pytest.mark.parametrize("batch", ["N", 1])
def test_embedding_of_flat_frames(batch: int | str, tmp_path: Path) -> None:
    path = write_graph(tmp_path / "glintr100.onnx", batch=batch)
    extractor = load_extractor("arcface-r100", weights=path)
    assert extractor.backend_id == f"arcface-r100@sha256:{file_sha256(path)[:12]}"
    colours = np.random.default_rng(1).integers(0, 256, (19, 3), dtype=np.uint8)
    frames = np.broadcast_to(colours[:, None, None], (19, 40, 30, 3))
    features = extractor.embed(frames)
    assert features.shape == (19, 512)
    assert features.dtype == np.float32
    np.testing.assert_allclose(features, (colours - 127.5) / 127.5 @ PROJECTION, rtol=1e-4, atol=1e-4)
    assert mean_cosine(features, features) == pytest.approx(1.0)
    assert mean_cosine(features, extractor.embed(255 - frames)) == pytest.approx(-1.0)


@pytest.mark.parametrize("rows", [1, "N"])
def test_the_network_of_buffalo_l_is_read_as_insightface_reads_it(rows: int | str, tmp_path: Path) -> None:
    """The signature of ``w600k_r50.onnx``; InsightFace takes BGR, and frames of 112 x 112 need no resizing."""
    path = write_graph(tmp_path / "w600k_r50.onnx", batch="None", image="input.1", rows=rows)
    network = open_arcface(path)
    assert [entry.name for entry in network.get_inputs()] == ["input.1"]
    frames = np.random.default_rng(2).integers(0, 256, (19, 112, 112, 3), dtype=np.uint8)
    frames[..., 0] //= 2
    features = ArcFaceFeatures(network, "arcface-r50").embed(frames)
    theirs = ArcFaceONNX(str(path), session=open_session(path)).get_feat(
        [frame[..., ::-1] for frame in frames]
    )
    assert features.shape == (19, 512)
    np.testing.assert_allclose(features, theirs, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "difference", [{"size": 128}, {"width": 256}, {"batch": 4}, {"kind": TensorProto.UINT8}]
)
def test_another_signature_is_refused(difference: dict[str, int], tmp_path: Path) -> None:
    path = write_graph(tmp_path / "other.onnx", **difference)
    with pytest.raises(IncompatibleCheckpointError, match=r"other\.onnx.*112, 112.*512"):
        load_extractor("arcface-r100", weights=path)


def test_a_file_that_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.onnx").write_text("<html>")
    with pytest.raises(IncompatibleCheckpointError, match=r"page\.onnx"):
        load_extractor("arcface-r100", weights=tmp_path / "page.onnx")


def test_the_session_keeps_to_one_thread_and_to_the_processor(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, SessionOptions, list[str]]] = []
    made = onnxruntime.InferenceSession

    def session(path: str, options: SessionOptions, *, providers: list[str]) -> InferenceSession:
        opened.append((path, options, providers))
        return made(path, options, providers=providers)

    monkeypatch.setattr(onnxruntime, "InferenceSession", session)
    path = write_graph(tmp_path / "glintr100.onnx")
    open_arcface(path)
    ((given, options, providers),) = opened
    assert (given, providers) == (str(path), ["CPUExecutionProvider"])
    assert (options.intra_op_num_threads, options.inter_op_num_threads) == (1, 1)
    assert options.log_severity_level == 3  # errors, no warnings


class Counting:
    """A network of the wanted signature that says how many pictures it was given at a time."""

    def __init__(self, batch: int | str) -> None:
        self.batch, self.sizes = batch, []

    def get_inputs(self) -> list[SimpleNamespace]:
        return [SimpleNamespace(name="pictures", shape=[self.batch, 3, 112, 112])]

    def run(self, outputs: None, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
        assert outputs is None
        (images,) = inputs.values()
        assert list(inputs) == ["pictures"]
        assert images.flags.c_contiguous
        self.sizes.append(len(images))
        return [images.mean(axis=(2, 3))]


@pytest.mark.parametrize(("batch", "sizes"), [("N", [16, 16, 1]), (1, [1] * 33)])
def test_pictures_pass_in_batches_that_the_network_takes(batch: int | str, sizes: list[int]) -> None:
    network = Counting(batch)
    frames = np.full((33, 20, 24, 3), 51, np.uint8)
    features = ArcFaceFeatures(network, "mine").embed(frames)  # type: ignore[arg-type]
    assert network.sizes == sizes
    np.testing.assert_allclose(features, np.full((33, 3), -0.6), atol=1e-6)


@pytest.mark.parametrize(
    ("inputs", "outputs", "fits"),
    [
        ([[1, 3, 112, 112]], [[1, 512]], True),
        ([["N", 3, 112, 112]], [["N", 512]], True),
        ([[2, 3, 112, 112]], [[2, 512]], False),
        ([["N", 1, 112, 112]], [["N", 512]], False),
        ([["N", 3, 112, 112]], [["N", 512, 1]], False),
        ([["N", 3, 112, 112]], [["N", 512], ["N", 512]], False),
        ([["N", 3, 112, 112], [1]], [["N", 512]], False),
        ([], [["N", 512]], False),
        ([["N", 3, 112, 112]], [], False),
    ],
)
def test_signatures(inputs: list[list[int | str]], outputs: list[list[int | str]], fits: bool) -> None:
    given, made = (
        [SimpleNamespace(shape=shape, type="tensor(float)") for shape in shapes]
        for shapes in (inputs, outputs)
    )
    assert _is_arcface(given, made) is fits
    for entry in given:
        entry.type = "tensor(uint8)"
    assert not _is_arcface(given, made)
