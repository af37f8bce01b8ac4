"""The face detectors that exist. Each lives in a file of its own and is imported only when it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from lipforcing_core.base.catalogue import Catalogue, FileEntry
from lipforcing_core.base.errors import BadInputError

if TYPE_CHECKING:
    from lipforcing_core.faces.detectors.protocol import FaceDetector, FaceFilter


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model file that is there, and the SHA-256 of its content."""

    path: Path
    sha256: str


@dataclass(frozen=True, kw_only=True)
class DetectorEntry(FileEntry):
    """One face detector.

    load: makes it from its files, in the order of ``files``, and from the rule of which faces are usable.
    """

    load: Callable[[Sequence[ModelFile], FaceFilter], FaceDetector]


def _lbp(files: Sequence[ModelFile], face_filter: FaceFilter) -> FaceDetector:
    from lipforcing_core.faces.detectors.lbp import LbpDetector

    return LbpDetector(face_filter=face_filter)


def _scrfd(files: Sequence[ModelFile], face_filter: FaceFilter) -> FaceDetector:
    from lipforcing_core.faces.detectors.scrfd import ScrfdDetector

    (model,) = files
    return ScrfdDetector(model.path, sha256=model.sha256, face_filter=face_filter)


def _yunet(files: Sequence[ModelFile], face_filter: FaceFilter) -> FaceDetector:
    from lipforcing_core.faces.detectors.yunet import YunetDetector

    (model,) = files
    return YunetDetector(model.path, sha256=model.sha256, face_filter=face_filter)


def _buffalo(files: Sequence[ModelFile], face_filter: FaceFilter) -> FaceDetector:
    from lipforcing_core.faces.detectors.buffalo import BuffaloDetector

    boxes, landmarks = files
    return BuffaloDetector(
        boxes.path,
        landmarks.path,
        boxes_sha256=boxes.sha256,
        landmarks_sha256=landmarks.sha256,
        face_filter=face_filter,
    )


DETECTORS = Catalogue(
    kind="face detector",
    entries=(
        DetectorEntry(
            name="lbp",
            summary="LBP cascade of scikit-image: boxes of frontal faces, without points",
            load=_lbp,
        ),
        DetectorEntry(
            name="scrfd",
            summary="SCRFD of InsightFace: boxes and five points",
            weights=("scrfd-500m",),
            files=("scrfd_500m_kps.onnx",),
            licence="non-commercial research only",
            load=_scrfd,
        ),
        DetectorEntry(
            name="yunet",
            summary="YuNet of OpenCV: boxes and five points from a model of 0.3 MB",
            weights=("yunet",),
            files=("yunet_n_dynamic.onnx",),
            load=_yunet,
        ),
        DetectorEntry(
            name="buffalo_l",
            summary="buffalo_l of InsightFace: boxes, five points, and the 106 landmarks of the released students",
            weights=("insightface-buffalo-l",),
            files=("det_10g.onnx", "2d106det.onnx"),
            licence="non-commercial research only",
            load=_buffalo,
        ),
    ),
)


def load_detector(
    name: str = DETECTORS.default,
    model_path: Path | None = None,
    *,
    sha256: str | None = None,
    face_filter: FaceFilter | None = None,
) -> FaceDetector:
    """The detector called ``name``, from the model file at ``model_path`` where it reads one.

    Further files that the detector reads must stand beside that file. With ``sha256`` the file must have that hash.
    ``face_filter`` replaces the default ``FaceFilter()``.
    Raises ``BadInputError`` for an unknown name, an unexpected hash or a file that is no such model, and
    ``MissingWeightsError`` where a needed file is absent.
    """
    from lipforcing_core.base.products import file_sha256
    from lipforcing_core.faces.detectors.protocol import FaceFilter
    from lipforcing_core.weights.chosen import checked_files

    paths = checked_files(DETECTORS, name, model_path)
    files = [ModelFile(path=Path(path), sha256=file_sha256(path)) for path in paths]
    if sha256 is not None and files and files[0].sha256 != sha256:
        raise BadInputError(
            f"{model_path}: sha256 is {files[0].sha256}, expected {sha256}; get the file again"
        )
    return DETECTORS[name].load(files, face_filter or FaceFilter())
