"""Face detectors behind one protocol.

``lbp`` needs no file and finds frontal faces as boxes; ``scrfd`` and ``yunet`` need a model file and also
give five points; ``buffalo_l`` needs two files and gives 106 landmarks besides. Each lives in a module of
its own and is imported only when asked for.
"""

from __future__ import annotations

from pathlib import Path

from lipforcing_core.base.errors import BadInputError, MissingWeightsError
from lipforcing_core.base.products import file_sha256
from lipforcing_core.faces.detectors.protocol import FaceDetector, FaceFilter

DETECTOR_NAMES = ("lbp", "scrfd", "yunet", "buffalo_l")
BUFFALO_LANDMARKS_FILE = "2d106det.onnx"


def load_detector(
    name: str = "lbp",
    model_path: Path | None = None,
    *,
    sha256: str | None = None,
    face_filter: FaceFilter | None = None,
) -> FaceDetector:
    """The detector called ``name``: ``lbp`` (default, no file), ``scrfd``, ``yunet`` (one ONNX file) or ``buffalo_l``.

    The last takes the path of ``det_10g.onnx`` and reads ``2d106det.onnx`` beside it. With ``sha256`` the file at
    ``model_path`` must have that hash. ``face_filter`` replaces the default ``FaceFilter()``.
    Raises ``BadInputError`` for an unknown name, an unexpected hash or a file that is no such model, and
    ``MissingWeightsError`` where a needed file is absent.
    """
    face_filter = face_filter or FaceFilter()
    if name == "lbp":
        from lipforcing_core.faces.detectors.lbp import LbpDetector

        if model_path is not None:
            raise BadInputError(f"the lbp detector takes no model file, but {model_path} was given")
        return LbpDetector(face_filter=face_filter)
    if name == "scrfd":
        from lipforcing_core.faces.detectors.scrfd import ScrfdDetector

        path, digest = _checked_model(model_path, "scrfd-500m", sha256)
        return ScrfdDetector(path, sha256=digest, face_filter=face_filter)
    if name == "yunet":
        from lipforcing_core.faces.detectors.yunet import YunetDetector

        path, digest = _checked_model(model_path, "yunet", sha256)
        return YunetDetector(path, sha256=digest, face_filter=face_filter)
    if name == "buffalo_l":
        from lipforcing_core.faces.detectors.buffalo import BuffaloDetector

        path, digest = _checked_model(model_path, "insightface-buffalo-l", sha256)
        landmarks_path, landmarks_digest = _checked_model(
            detector_files(name, path)[1], "insightface-buffalo-l", None, file_name=BUFFALO_LANDMARKS_FILE
        )
        return BuffaloDetector(
            path,
            landmarks_path,
            boxes_sha256=digest,
            landmarks_sha256=landmarks_digest,
            face_filter=face_filter,
        )
    raise BadInputError(f"unknown face detector {name!r}; known: {', '.join(DETECTOR_NAMES)}")


def detector_files(name: str, model_path: Path | None) -> list[Path]:
    """The files that ``load_detector(name, model_path)`` reads: besides the name, all that its results depend on."""
    if model_path is None:
        return []
    beside = [model_path.with_name(BUFFALO_LANDMARKS_FILE)] if name == "buffalo_l" else []
    return [model_path, *beside]


def _checked_model(
    path: Path | None, weight_name: str, expected: str | None, *, file_name: str | None = None
) -> tuple[Path, str]:
    """The model file and its SHA-256; looked at before any library that might download a missing file.

    ``file_name`` is given for a file that must stand beside the one whose path the user gave.
    """
    if path is None or not Path(path).is_file():
        from lipforcing_core.weights.registry import find_weight

        spec = find_weight(weight_name)
        problem = "no model file was given" if path is None else f"{path} does not exist"
        remedy = "give its path" if file_name is None else "put it there"
        raise MissingWeightsError(
            f"face detector {spec.name}: {problem}. Get {file_name or Path(spec.file).name} from {spec.source}, "
            f"{spec.url} (licence: {spec.licence}), and {remedy}; "
            "or use the detector 'lbp', which needs no file."
        )
    digest = file_sha256(path)
    if expected is not None and digest != expected:
        raise BadInputError(f"{path}: sha256 is {digest}, expected {expected}; get the file again")
    return Path(path), digest
