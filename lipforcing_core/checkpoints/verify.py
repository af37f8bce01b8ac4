"""Checking checkpoints that are here: sizes, hashes, and the names and shapes of all tensors."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from lipforcing_core.base.errors import IncompatibleCheckpointError, MissingWeightsError
from lipforcing_core.checkpoints.form import check_form
from lipforcing_core.checkpoints.networks import wanted_by
from lipforcing_core.weights.spec import WeightSpec


def verify_weights(spec: WeightSpec, weights_dir: Path, *, hashes: bool = True) -> str:
    """Check the files of a checkpoint; returns in words what was checked.

    Names and shapes come from the headers, so they take no memory and seconds at most; ``hashes`` reads whole files.
    JSON and the mouth mask are read.
    An ONNX graph is not opened: its hash tells a truncated or foreign one, and without ``hashes`` only its size, where
    that is registered. Files that are not needed are checked where they are here.
    Raises ``MissingWeightsError`` saying how to get a file that is not here, and ``IncompatibleCheckpointError``
    naming the file and its first key, size or hash that differs.
    """
    for path in spec.missing(weights_dir):
        raise MissingWeightsError(f"{path} does not exist: {spec.how_to_get(weights_dir)}")
    both = zip(spec.files, spec.paths(weights_dir), strict=True)
    here = [(file, path) for file, path in both if path.is_file()]
    readable = []
    for file, path in here:
        if not file.tensors:
            file.check_size(path)
            if check_form(file, path):
                readable.append(path.name)
    said = []
    wanted = wanted_by(spec)
    if wanted is not None:
        checkpoint = wanted.check(spec.tensor_files(weights_dir))
        said.append(f"{len(checkpoint.tensors)} tensors fit {spec.network}")
    elif readable:
        said.append(f"{', '.join(readable)} can be read")
    if hashes:
        known = 0
        for file, path in here:
            file.check_content(path)
            known += file.expected_hash is not None
        said.append(f"hash of {known} of {len(here)} files known and right" if known else "no public hash")
    return "; ".join(said) or "present, nothing to check without hashes"


def verify_fetched(spec: WeightSpec, weights_dir: Path, fetched: Collection[Path]) -> str:
    """``verify_weights`` without hashes, of a checkpoint of which the files ``fetched`` were downloaded just now.

    What came and does not fit is moved aside to ``FILE.wrong``, so that no wrong file stands under its name and the
    next attempt downloads it again; the error says so. A file that was here before stays.
    """
    try:
        return verify_weights(spec, weights_dir, hashes=False)
    except IncompatibleCheckpointError as error:
        files = spec.paths(weights_dir)
        named = [path for path in files if str(error).startswith(f"{path}: ")]
        wrong = [
            path for path in named or spec.tensor_files(weights_dir) if path in fetched and path.is_file()
        ]
        if not wrong:
            raise
        for path in wrong:
            path.replace(_aside(path))
        listed = ", ".join(str(_aside(path)) for path in wrong)
        raise IncompatibleCheckpointError(
            f"{error}; what came was moved aside ({listed}): the same command fetches it again, and {spec.page} tells "
            "whether the file has changed"
        ) from error


def _aside(path: Path) -> Path:
    return path.with_name(path.name + ".wrong")
