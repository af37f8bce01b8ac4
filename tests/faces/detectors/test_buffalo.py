"""``buffalo_l`` on tiny graphs of the signatures of ``det_10g.onnx`` and ``2d106det.onnx``, whose answers are known.

The graph of the boxes works at 512 x 512 pixels and finds one face, in a picture with red in it. The graph of the
landmarks finds the middle of all red that it sees, and puts each landmark at a fixed place beside that.
"""

from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import av
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.faces.anchors import anchors_from_landmarks, anchors_from_points, anchors_of
from lipforcing_core.faces.detectors.catalogue import DETECTORS, load_detector
from lipforcing_core.faces.detectors.protocol import Face
from lipforcing_core.faces.landmarks106 import Landmarks106
from lipforcing_core.faces.sightings import intersection_over_union
from lipforcing_core.faces.track import track_face
from lipforcing_core.weights.chosen import files_beside
from tasks.workspace import Workspace

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
BOX = (60.0, 30.0, 160.0, 150.0)
FIVE = np.array([[90.0, 70.0], [130, 70], [110, 95], [95, 120], [125, 120]])
# From the middle of the red, in units of 0.75 times the longer side of the box: half the square the network sees.
OFFSETS = np.random.default_rng(0).uniform(-0.3, 0.3, (106, 2))


def save_graph(
    path: Path, nodes: list[onnx.NodeProto], inputs: list, outputs: list, **constants: np.ndarray
) -> Path:
    weights = [
        numpy_helper.from_array(np.asarray(value, dtype=np.float32), name)
        for name, value in constants.items()
    ]
    weights.append(numpy_helper.from_array(np.array([2], dtype=np.int64), "red"))
    graph = helper.make_graph(nodes, "tiny", inputs, outputs, weights)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def write_landmarks(
    path: Path, *, offsets: np.ndarray = OFFSETS, size: int = 192, kind: int = TensorProto.FLOAT
) -> Path:
    """The middle of the red, where it is brighter than half, plus ``offsets``; -1 to 1 is the picture."""
    number = len(offsets)
    grid = np.arange(size) / (size / 2) - 1
    nodes = [
        helper.make_node("Cast", ["data"], ["raw"], to=TensorProto.FLOAT),
        # These names tell InsightFace that the graph scales its pixels itself, as the public file does.
        helper.make_node("Sub", ["raw", "mean"], ["centred"], name="_minusscalar0"),
        helper.make_node("Mul", ["centred", "scale"], ["scaled"], name="_mulscalar0"),
        helper.make_node("Gather", ["scaled", "red"], ["red_only"], axis=1),
        helper.make_node("Relu", ["red_only"], ["bright"]),
        helper.make_node("ReduceSum", ["bright"], ["total"], keepdims=0),
    ]
    for axis in ("x", "y"):
        nodes += [
            helper.make_node("Mul", ["bright", f"grid_{axis}"], [f"bright_{axis}"]),
            helper.make_node("ReduceSum", [f"bright_{axis}"], [f"sum_{axis}"], keepdims=0),
            helper.make_node("Div", [f"sum_{axis}", "total"], [f"middle_{axis}"]),
            helper.make_node("Mul", [f"middle_{axis}", f"is_{axis}"], [f"all_{axis}"]),
        ]
    nodes.append(helper.make_node("Sum", ["all_x", "all_y", "offsets"], ["fc1"]))
    return save_graph(
        path,
        nodes,
        [helper.make_tensor_value_info("data", kind, ["N", 3, size, size])],
        [helper.make_tensor_value_info("fc1", TensorProto.FLOAT, [1, 2 * number])],
        mean=127.5,
        scale=1 / 127.5,
        grid_x=grid[None, :],
        grid_y=grid[:, None],
        is_x=np.tile([1, 0], number)[None],
        is_y=np.tile([0, 1], number)[None],
        offsets=offsets.reshape(1, -1),
    )


def write_boxes(path: Path) -> Path:
    """``BOX`` and ``FIVE`` of a frame 256 wide, doubled: one anchor of stride 8 fires, as surely as red is bright."""
    row, column, width = 20, 30, 64
    centre = np.array([column * 8, row * 8])
    box, five = np.array(BOX) * 2, FIVE * 2
    nodes = [
        helper.make_node("Gather", ["picture", "red"], ["red_only"], axis=1),
        helper.make_node("ReduceMax", ["red_only"], ["brightest"], keepdims=0),
        helper.make_node("Relu", ["brightest"], ["certainty"]),
    ]
    constants: dict[str, np.ndarray] = {}
    outputs = []
    for (name, columns), stride in itertools.product([("score", 1), ("box", 4), ("five", 10)], (8, 16, 32)):
        values = np.zeros((2 * (512 // stride) ** 2, columns))
        if stride == 8:
            at = 2 * (row * width + column)
            values[at] = {
                "score": [1.0],
                "box": np.concatenate([centre - box[:2], box[2:] - centre]) / 8,
                "five": (five - centre).ravel() / 8,
            }[name]
        output, constant = f"{name}{stride}", f"{name}{stride}_values"
        constants[constant] = values
        gate = ["Mul", [constant, "certainty"]] if name == "score" else ["Identity", [constant]]
        nodes.append(helper.make_node(*gate, [output]))
        outputs.append(helper.make_tensor_value_info(output, TensorProto.FLOAT, ["n", columns]))
    picture = helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, "h", "w"])
    return save_graph(path, nodes, [picture], outputs, **constants)


@pytest.fixture(scope="module")
def pack(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``det_10g.onnx``, with ``2d106det.onnx`` beside it."""
    path = write_boxes(tmp_path_factory.mktemp("buffalo_l") / "det_10g.onnx")
    write_landmarks(path.with_name("2d106det.onnx"))
    return path


def patch(
    at: tuple[int, int], colour: tuple[int, int, int] = RED, size: tuple[int, int] = (192, 256)
) -> np.ndarray:
    """A black frame (height, width), with a patch of 17 x 17 pixels around (x, y)."""
    frame = np.zeros((*size, 3), dtype=np.uint8)
    frame[at[1] - 8 : at[1] + 9, at[0] - 8 : at[0] + 9] = colour
    return frame


def test_rule_rounds_landmarks_then_means_half_to_even() -> None:
    landmarks = np.zeros((2, 106, 2))
    landmarks[:, [43, 48, 49, 51, 50]] = [
        [10.4, 20.6],
        [10.4, 20.6],
        [10.4, 20.6],
        [10.4, 20.6],
        [12.6, 20.6],
    ]
    landmarks[:, 101:106] = [60.49, 19.51]
    landmarks[:, [74, 77, 83, 86]] = [[30.4, 41.2], [30.4, 40.8], [31.4, 41.6], [31.4, 42.4]]
    # Brow: 10 four times and 13, mean 10.6; nose: 30, 30, 31, 31 and 41, 41, 42, 42, means 30.5 and 41.5.
    np.testing.assert_array_equal(anchors_from_landmarks(landmarks), [[[11, 21], [60, 20], [30, 42]]] * 2)


def test_landmarks_come_before_five_points() -> None:
    landmarks = np.random.default_rng(1).uniform(20, 90, (106, 2))
    plain = Face(box_xyxy=BOX, score=0.9, points=FIVE)
    full = Face(box_xyxy=BOX, score=0.9, points=FIVE, landmarks106=landmarks)
    np.testing.assert_array_equal(anchors_of(plain), anchors_from_points(FIVE))
    np.testing.assert_array_equal(anchors_of(full), anchors_from_landmarks(landmarks))
    assert not np.array_equal(anchors_of(plain), anchors_of(full))


@pytest.mark.parametrize(
    "box", [BOX, (50.0, 60.5, 171.25, 140.0), (-40.0, 30.0, 120.0, 190.0), (40.0, -20.0, 330.0, 180.0)]
)
def test_landmarks_land_in_the_frame(pack: Path, box: tuple[float, float, float, float]) -> None:
    """Boxes that are tall, wide, larger than the crop, and partly outside the frame."""
    found = Landmarks106(pack.with_name("2d106det.onnx")).locate(patch((100, 90)), box)
    half_side = 0.75 * max(box[2] - box[0], box[3] - box[1])
    assert (found.shape, found.dtype) == ((106, 2), np.float64)
    np.testing.assert_allclose(found, np.array([100, 90]) + half_side * OFFSETS, atol=0.3)


def test_network_sees_only_the_crop(pack: Path) -> None:
    """Red outside 1.5 times the box, here from x = 20 to 200 and y = 0 to 180, does not draw the landmarks."""
    model = Landmarks106(pack.with_name("2d106det.onnx"))
    near = model.locate(patch((100, 90)), BOX)
    np.testing.assert_array_equal(model.locate(np.maximum(patch((100, 90)), patch((230, 90))), BOX), near)
    moved = model.locate(np.maximum(patch((100, 90)), patch((180, 90))), BOX)
    np.testing.assert_allclose(moved - near, [[40, 0]] * 106, atol=0.5)


def test_detector_gives_boxes_points_and_landmarks(pack: Path) -> None:
    detector = load_detector("buffalo_l", pack)
    digests = [file_sha256(path)[:12] for path in files_beside(DETECTORS["buffalo_l"], pack)]
    assert detector.backend_id == f"buffalo_l-anchors106@sha256:{digests[0]}+{digests[1]}"
    (face,) = detector.detect(patch((110, 80)))
    np.testing.assert_allclose(face.box_xyxy, BOX, atol=1e-3)
    np.testing.assert_allclose(face.points, FIVE, atol=1e-3)
    np.testing.assert_allclose(face.landmarks106, np.array([110, 80]) + 90 * OFFSETS, atol=0.3)


@pytest.mark.parametrize("colour", [GREEN, BLUE])
def test_channels_are_handed_over_as_the_reference_does(pack: Path, colour: tuple[int, int, int]) -> None:
    """RGB as if it were BGR: the graph's third channel is red, and green or blue there is no face."""
    assert load_detector("buffalo_l", pack).detect(patch((110, 80), colour)) == []


def test_track_follows_the_landmarks(pack: Path) -> None:
    """The box stands still and so do the five points; the red moves by 2 pixels a frame, and with it the crop."""
    frames = [patch((80 + 2 * index, 80)) for index in range(21)]
    track = track_face(frames, load_detector("buffalo_l", pack), stride=5)
    middle = np.array([[80 + 2 * index, 80] for index in range(21)])
    want = anchors_from_landmarks(middle[:, None] + 90 * OFFSETS)
    inner = slice(5, 16)  # away from the ends, where a moving average lags
    assert np.abs(track.anchors_F32[inner] - want[inner]).max() <= 1.5


@pytest.mark.parametrize(
    "difference",
    [{"offsets": OFFSETS[:68]}, {"size": 128}, {"kind": TensorProto.UINT8}],
    ids=["68", "128", "uint8"],
)
def test_another_network_is_refused_by_name(pack: Path, tmp_path: Path, difference: dict) -> None:
    boxes = Path(shutil.copy(pack, tmp_path))
    write_landmarks(tmp_path / "2d106det.onnx", **difference)
    with pytest.raises(
        BadInputError, match=r"2d106det\.onnx is no network of 106 landmarks: it maps data \["
    ):
        load_detector("buffalo_l", boxes)


def test_swapped_and_junk_files_are_refused_by_name(pack: Path, tmp_path: Path) -> None:
    boxes, landmarks = tmp_path / "det_10g.onnx", tmp_path / "2d106det.onnx"
    shutil.copy(pack, landmarks)
    shutil.copy(pack.with_name("2d106det.onnx"), boxes)
    with pytest.raises(BadInputError, match=r"det_10g\.onnx has no key-point outputs"):
        load_detector("buffalo_l", boxes)
    shutil.copy(pack, boxes)
    with pytest.raises(BadInputError, match=r"2d106det\.onnx is no network of 106 landmarks"):
        load_detector("buffalo_l", boxes)
    landmarks.write_bytes(b"not a model at all" * 10)
    with pytest.raises(BadInputError, match=r"2d106det\.onnx is not a usable ONNX model"):
        load_detector("buffalo_l", boxes)


def test_missing_files_say_what_to_get(pack: Path, tmp_path: Path) -> None:
    boxes = tmp_path / "det_10g.onnx"
    for path in (None, boxes):
        with pytest.raises(MissingWeightsError, match=r"get det_10g\.onnx.*non-commercial.*InsightFace"):
            load_detector("buffalo_l", path)
    shutil.copy(pack, boxes)
    with pytest.raises(
        MissingWeightsError,
        match=r"does not exist: get .*insightface-buffalo-l.*, with 2d106det\.onnx beside",
    ):
        load_detector("buffalo_l", boxes)
    with pytest.raises(MissingWeightsError, match=r"weights fetch insightface-buffalo-l --accept-licence"):
        Workspace(tmp_path).detector_model("buffalo_l", None)
    assert list(tmp_path.iterdir()) == [boxes]


@pytest.mark.parametrize("clip", ["hdtf/row1", "hallo3/row1", "talkvid/row2"])
def test_real_faces(media_dir: Path, tmp_path: Path, clip: str) -> None:
    """A real SCRFD finds, with the channels as they are handed over here, the face that it finds in BGR."""
    released = media_dir / "models" / "scrfd_500m_kps.onnx"
    if not released.is_file():
        pytest.skip(f"no {released}")
    boxes = Path(shutil.copy(released, tmp_path / "det_10g.onnx"))
    write_landmarks(tmp_path / "2d106det.onnx")
    by_scrfd, by_buffalo = load_detector("scrfd", released), load_detector("buffalo_l", boxes)
    with av.open(str(media_dir / "vs" / clip / "input.mp4")) as container:
        frames = list(itertools.islice(container.decode(video=0), 0, None, 25))
    for frame in frames:
        pixels = frame.to_ndarray(format="rgb24")
        (want, *_), (got, *_) = by_scrfd.detect(pixels), by_buffalo.detect(pixels)
        assert intersection_over_union(want, got) > 0.95
        middle = (np.array(got.box_xyxy[:2]) + np.array(got.box_xyxy[2:])) / 2
        assert (np.abs(got.landmarks106 - middle) <= 1.3 * 0.75 * max(got.width, got.height)).all()
